"""A state from a snapshot of layout `state-1` (specs/state-root.md, STR-12 and STR-13).

What lives here: where each part of a snapshot goes. What may not: the container, which is read before.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from holdfast.domain.errors import InputError
from holdfast.witness import contracts, rules
from holdfast.witness.book import Order
from holdfast.witness.clock import Replica
from holdfast.witness.ledger import ITEM_BITS
from holdfast.witness.lines import FrozenMarket, ImpossibleTableError
from holdfast.witness.quorum import Ballot, Discrepancy
from holdfast.witness.state import Model, Session, State, Withdrawal
from holdfast.witness.table import build

LAYOUT = "state-1/"
_ROLES = ("", "client", "operator", "source", "replica", "gateway")
_FEE, _LIQUIDATION_FEE, _IS_OPEN = 7, 8, 10
_COMMANDS_PER_FRAME = 16_384


def read(parts: Mapping[str, npt.NDArray[Any] | bytes]) -> tuple[State, int]:
    """The state, and the log position of its last mark.

    Raises:
        InputError: a part is missing or cannot be read, or no table can be built.
    """
    state = State()
    registry = msgspec.msgpack.decode(_part(parts, "registry"), strict=False)
    _read_definitions(state, registry, _array(parts, "items"))
    _read_market(state, parts, registry)
    _read_accounts(state, parts)
    _read_orders(state, _array(parts, "orders"))
    for identity, role, subject, following, _, _ in _array(parts, "sessions").tolist():
        state.sessions[identity] = Session(_ROLES[role], subject, following - 1)
    _read_decisions(state, registry)
    marks = registry.get("marks", [])
    return state, marks[-1]["position"] if marks else -1


def _part(parts: Mapping[str, npt.NDArray[Any] | bytes], name: str) -> Any:
    for key in (LAYOUT + name, name):
        if key in parts:
            return parts[key]
    raise InputError("missing-field", f"parts.{name}", None, f"give the parts of a snapshot of layout {LAYOUT}")


def _array(parts: Mapping[str, npt.NDArray[Any] | bytes], name: str) -> npt.NDArray[np.int64]:
    return np.asarray(_part(parts, name), np.int64)


def _read_definitions(state: State, registry: dict[str, Any], words: npt.NDArray[np.int64]) -> None:
    state.rules = rules.read_rules(registry.get("rules", {}))
    state.sources = list(registry.get("sources", []))
    for number, (definition, row) in enumerate(zip(registry.get("items", []), words.tolist(), strict=True)):
        name, decimals = definition["name"], definition.get("decimals", 0)
        if "lot" in definition:
            fees = row[_FEE], row[_LIQUIDATION_FEE]
            item = contracts.instrument(number, name, definition["lot"], decimals, state.assets, fees)
        else:
            item = contracts.asset(number, name, decimals)
        item.is_open = bool(row[_IS_OPEN])
        state.add_item(item)
    for model in registry.get("models", []):
        pending = model.get("pending")
        waiting = (pending[0], rules.read_parameters(pending[1])) if pending else None
        state.models.append(Model(model["name"], rules.read_parameters(model["parameters"]), waiting))


def _read_market(state: State, parts: Mapping[str, npt.NDArray[Any] | bytes], registry: dict[str, Any]) -> None:
    now, price_id, table_time = _array(parts, "moments").tolist()
    state.clock.now, state.market.price_id, state.clock.ticks = now, price_id, registry.get("ticks", 0)
    for item, (current, marked, fresh, total, count) in enumerate(_array(parts, "prices").tolist()):
        market = state.market
        market.current[item], market.marked[item], market.remaining[item] = current, marked, fresh
        market.sums[item], market.counts[item] = total, count
    for item, sources in enumerate(_array(parts, "quotes").tolist()):
        for source, (price, time, sequence) in enumerate(sources):
            if price:
                state.market.quote(item, source, price, time, sequence)
    try:
        market_then = FrozenMarket(state.items, state.market.marked, table_time)
        for model in state.models:
            model.table = build(model.parameters, market_then)
    except ImpossibleTableError as error:
        raise InputError("malformed", "registry.models", None, "take another snapshot", str(error)) from None


def _read_accounts(state: State, parts: Mapping[str, npt.NDArray[Any] | bytes]) -> None:
    words = _array(parts, "accounts")
    state.accounts = len(words)
    state.reserve(len(words))
    state.account_models[: len(words)] = words[:, 0]
    state.statuses[: len(words)] = np.where(words[:, 1] == 1, 0, words[:, 1])
    state.ledger.versions[: len(words)] = words[:, 2]
    state.book.last = {account: last for account, last in enumerate(words[:, 3].tolist()) if last}
    owner = np.repeat(np.arange(len(words)), words[:, 4])
    state.ledger.keys = owner << ITEM_BITS | _array(parts, "rows/items")
    state.ledger.amounts = _array(parts, "rows/amounts").copy()
    state.ledger.costs = _array(parts, "rows/costs").copy()


def _read_orders(state: State, words: npt.NDArray[np.int64]) -> None:
    for command, account, number, item, remaining, price in words.tolist():
        state.book.add(Order(account, number, item, remaining, price, command))


def _ballots(said: dict[int, dict[int, dict[str, Any]]]) -> dict[int, dict[int, Ballot]]:
    return {
        subject: {
            replica: Ballot(
                ballot.get("position", 0), ballot.get("price_id", 0), ballot.get("time", 0), ballot.get("version", 0),
                ballot.get("with_b", False),
            )
            for replica, ballot in ballots.items()
        }
        for subject, ballots in said.items()
    }  # fmt: skip


def _read_decisions(state: State, registry: dict[str, Any]) -> None:
    state.clock.replicas = [
        Replica(
            replica["name"], replica.get("region", ""), replica.get("clock", 0), replica.get("ticked", 0),
            replica.get("suspended", False),
        )
        for replica in registry.get("replicas", [])
    ]  # fmt: skip
    quorum = state.quorum
    quorum.ballots = _ballots(registry.get("ballots", {}))
    quorum.releases = _ballots(registry.get("releases", {}))
    quorum.discrepancies = {
        account: {
            replica: Discrepancy(one["position"], one["price_id"], one["version"], one["engine"])
            for replica, one in said.items()
        }
        for account, said in registry.get("discrepancies", {}).items()
    }
    quorum.marks = [(mark["position"], mark["price_id"]) for mark in registry.get("marks", [])]
    quorum.checkpoints = [checkpoint["position"] for checkpoint in registry.get("checkpoints", [])]
    quorum.words = registry.get("roots", {})
    quorum.certified = {one["position"]: one["root"] for one in registry.get("certified", [])}
    quorum.frozen = registry.get("frozen", False)
    state.withdrawals_made = registry.get("withdrawals_made", 0)
    for number, withdrawal in registry.get("withdrawals", {}).items():
        position = (withdrawal["command"] - 1) // _COMMANDS_PER_FRAME
        state.withdrawals[number] = Withdrawal(
            withdrawal["account"], withdrawal["item"], withdrawal["amount"], position
        )
