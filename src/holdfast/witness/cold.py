"""Cold commands that were accepted, and the marks that ticks and quotes cause.

What lives here: what each command changes (specs/commands.md). What may not: whether it is accepted.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from holdfast.domain.errors import HoldfastError
from holdfast.witness import accounts, contracts, liquidation, rules, votes, whole
from holdfast.witness.contracts import OPTION, Item
from holdfast.witness.hot import Hot
from holdfast.witness.ledger import FEES, INSURANCE, WITHDRAWALS, WORLD
from holdfast.witness.lines import DOLLAR
from holdfast.witness.market import index_steps
from holdfast.witness.quorum import read_vote
from holdfast.witness.state import (
    ASIDE,
    BREACH_PENDING,
    HEALTHY,
    LIQUIDATING,
    RESTRICTED,
    SYSTEM_ACCOUNTS,
    Model,
    Session,
    State,
    Withdrawal,
)

LOGIC = 1


class ImpossibleError(HoldfastError):
    """An accepted command that is impossible by this ledger; `account` where it is about one, else −1."""

    def __init__(self, what: str, account: int = -1) -> None:
        self.account = account
        super().__init__(what)


class Cold:
    """Accepted cold commands over a state.

    Attributes:
        mark_position: Log position of the frame with the last mark, −1 if none.
        position: Of the frame that is applied.
        breached: Whether an account was BREACH_PENDING after a mark of this frame.
        unsupported: Why no margin can be given any more, empty as a rule.
    """

    def __init__(self, state: State, hot: Hot) -> None:
        self.state = state
        self.hot = hot
        self.mark_position = -1
        self.position = 0
        self.breached = False
        self.unsupported = ""
        self._handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "define-asset": self._define_asset,
            "define-instrument": self._define_instrument,
            "define-model": self._define_model,
            "define-source": lambda command: state.sources.append(command["name"]),
            "define-replica": lambda command: state.clock.define(command["name"], command.get("region", "")),
            "restore-replica": self._restore_replica,
            "release-freeze": lambda _: state.quorum.release(),
            "set-rules": lambda command: setattr(state, "rules", rules.read_rules(command)),
            "activate-version": self._activate,
            "tick": self._tick,
            "mark": self._mark,
            "open-account": lambda command: ignore(state.open_account(command["model"])),
            "choose-model": self._choose_model,
            "deposit": self._deposit,
            "request-withdrawal": self._request_withdrawal,
            "cancel-withdrawal": self._cancel_withdrawal,
            "funding": self._funding,
            "settle": self._settle,
            "release-account": self._release_account,
            "vote": self._vote,
            "report-discrepancy": lambda command: self._with_rows(votes.report, command),
            "liquidate": self._liquidate,
            "take-lease": ignore,
            "confirm-payment": ignore,
            "quarantine": ignore,
            "cosign": ignore,
            "publish-liabilities": ignore,
        }

    def apply(self, command: dict[str, Any]) -> None:
        """Do what an accepted command does.

        Raises:
            ImpossibleError: it cannot have been accepted.
        """
        handler = self._handlers.get(command["type"])
        if handler is None:
            self.unsupported = f"command {command['type']} is not known to this engine"
            raise ImpossibleError(self.unsupported)
        handler(command)

    def open_session(self, command: dict[str, Any], identity: int) -> None:
        """SES-2."""
        self.state.sessions[identity] = Session(command["role"], command.get("subject", 0))

    # Definitions

    def _define_asset(self, command: dict[str, Any]) -> None:
        self.state.add_item(contracts.asset(len(self.state.items), command["name"], command["decimals"]))
        self._rebuild()

    def _define_instrument(self, command: dict[str, Any]) -> None:
        fees = command.get("fee_ppm", 0), command.get("liquidation_fee_ppm", 0)
        self.hot.flush()
        self.state.add_item(
            contracts.instrument(
                len(self.state.items),
                command["name"],
                command["lot"],
                command["price_decimals"],
                self.state.assets,
                fees,
            )
        )
        self._rebuild()

    def _define_model(self, command: dict[str, Any]) -> None:
        parameters = rules.read_parameters(command["parameters"])
        effective = command.get("effective", 0)
        known = [model for model in self.state.models if model.name == command["name"]]
        if not known:
            self.state.models.append(Model(command["name"], parameters))
        elif effective > self.state.clock.now:
            known[0].pending = effective, parameters
        else:
            known[0].parameters, known[0].pending = parameters, None
        self._rebuild()

    def _rebuild(self) -> None:
        problem = self.state.build_tables()
        if problem:
            raise ImpossibleError(f"no risk table can be built: {problem}")

    def _restore_replica(self, command: dict[str, Any]) -> None:
        self.state.clock.replicas[command["replica"]].suspended = False
        self.state.quorum.forget_replica(command["replica"])

    def _activate(self, command: dict[str, Any]) -> None:
        if command["logic"] != LOGIC:
            self.unsupported = f"logic {command['logic']} is not known to this engine"
            raise ImpossibleError(self.unsupported)

    # Time and marks

    def _tick(self, command: dict[str, Any]) -> None:
        """TIM-4."""
        state = self.state
        before = state.clock.tick(command["replica"], command["clock"], state.rules)
        self._adopt_versions()
        for item in range(len(state.items)):
            state.market.reprice(item, state.clock.now, state.rules)
        if state.clock.now > before:
            state.market.average(state.dated(), state.clock.now, state.rules)
        interval = state.rules.mark_interval
        if before // interval != state.clock.now // interval:
            due = [
                item.number
                for item in state.items
                if item.is_asset and item.name != DOLLAR and state.market.current[item.number] > 0
                and not state.market.is_stale(item.number, state.rules)
            ]  # fmt: skip
            if due and not self.mark(due) and len(due) > 1:
                for one in due:
                    self.mark([one])

    def _adopt_versions(self) -> None:
        """DEF-7, DEF-9: a version that no table can be built from is dropped."""
        for model in self.state.models:
            if model.pending and model.pending[0] <= self.state.clock.now:
                old, model.parameters = model.parameters, model.pending[1]
                model.pending = None
                if self.state.build_tables():
                    model.parameters = old

    def _mark(self, command: dict[str, Any]) -> None:
        if not self.mark([command["item"]]):
            raise ImpossibleError("a mark was accepted that no risk table can be built from")

    def quote(self, session: int, item: int, price: int, time: int, sequence: int) -> bool:
        """Take an accepted quote; whether it makes a mark due (MKS-6)."""
        state = self.state
        if item >= len(state.items):
            raise ImpossibleError(f"a quote of item {item}, which is not defined, was accepted")
        state.market.quote(item, state.sessions[session].subject, price, time, sequence)
        state.market.reprice(item, state.clock.now, state.rules)
        return (
            state.items[item].is_asset
            and not state.market.is_stale(item, state.rules)
            and state.market.has_moved(item, state.rules)
        )

    def mark(self, assets: list[int]) -> bool:
        """Freeze prices, build the tables and look at the accounts exposed; whether it could be done (MKS-5)."""
        state = self.state
        saved = state.market.save()
        state.market.freeze(assets, state.items, state.rules)
        if state.build_tables():
            state.market.restore(saved)
            return False
        self.mark_position = self.position
        self.hot.flush()
        self._look(assets)
        return True

    def _look(self, assets: list[int]) -> None:
        """Statuses of exposed accounts (MKS-7, LIQ-1)."""
        state = self.state
        exposed = np.array(sorted(self._exposed(assets)), np.int64)
        if not len(exposed):
            return
        found = accounts.margins(state, exposed, with_orders=False)
        statuses = state.statuses[found.accounts]
        below = np.where(found.equity < found.maintenance, BREACH_PENDING, HEALTHY)
        free = np.isin(statuses, (HEALTHY, RESTRICTED, BREACH_PENDING))
        restored = (statuses == LIQUIDATING) & (found.equity >= found.initial)
        statuses = np.where(free, below, np.where(restored, HEALTHY, statuses))
        state.statuses[found.accounts] = statuses
        state.statuses[np.setdiff1d(exposed, found.accounts)] = ASIDE
        self.breached |= bool((state.statuses[SYSTEM_ACCOUNTS : state.accounts] == BREACH_PENDING).any())

    def _exposed(self, assets: list[int]) -> set[int]:
        state = self.state
        bits = sum({1 << asset % 62 for asset in assets})
        owner, item = state.ledger.accounts_and_items()
        touched = (state.columns.mask[item] & bits != 0) & ((state.ledger.amounts != 0) | (state.ledger.costs != 0))
        exposed = set(np.unique(owner[touched]).tolist()) | set(state.book.by_account)
        return {account for account in exposed if account >= SYSTEM_ACCOUNTS}

    # Accounts and money

    def _choose_model(self, command: dict[str, Any]) -> None:
        if command.get("dry_run", False):
            return
        account = self._account(command)
        self.state.account_models[account] = command["model"]
        self.state.ledger.versions[account] += 1
        self.state.statuses[account] = HEALTHY

    def _account(self, command: dict[str, Any]) -> int:
        account = int(command["account"])
        if not SYSTEM_ACCOUNTS <= account < self.state.accounts:
            raise ImpossibleError("a command for an account that does not exist was accepted", account)
        return account

    def _deposit(self, command: dict[str, Any]) -> None:
        account = command["account"] if command["account"] == INSURANCE else self._account(command)
        self.state.ledger.post(WORLD, command["item"], -command["amount"])
        self.state.ledger.post(account, command["item"], command["amount"])

    def _request_withdrawal(self, command: dict[str, Any]) -> None:
        state, account = self.state, self._account(command)
        item, amount = command["item"], command["amount"]
        state.ledger.post(account, item, -amount)
        state.ledger.post(WITHDRAWALS, item, amount)
        state.withdrawals_made += 1
        state.withdrawals[state.withdrawals_made] = Withdrawal(account, item, amount, self.position)

    def _cancel_withdrawal(self, command: dict[str, Any]) -> None:
        withdrawal = self.state.withdrawals.pop(command["withdrawal"], None)
        if withdrawal is None:
            raise ImpossibleError(f"withdrawal {command['withdrawal']} was cancelled, and waits no more")
        self.state.quorum.releases.pop(command["withdrawal"], None)
        self.state.ledger.post(WITHDRAWALS, withdrawal.item, -withdrawal.amount)
        self.state.ledger.post(withdrawal.account, withdrawal.item, withdrawal.amount)

    def _release_account(self, command: dict[str, Any]) -> None:
        account = self._account(command)
        self.state.statuses[account] = RESTRICTED
        self.state.quorum.discrepancies.pop(account, None)
        self.state.ledger.versions[account] += 1

    def _funding(self, command: dict[str, Any]) -> None:
        """LED-12."""
        self.hot.flush()
        state, item = self.state, self.state.items[command["item"]]
        price = state.market.step_price(item, state.items)
        given = 0
        for account, lots, _ in list(state.ledger.holders(item.number)):
            side = 1 if lots > 0 else -1
            paid = whole.ceiling(side * abs(item.cost(lots, price)) * command["rate_ppb"], 10**9)
            state.ledger.post(account, item.settlement, -paid)
            given += paid
        state.ledger.post(FEES, item.settlement, given)

    def _settle(self, command: dict[str, Any]) -> None:
        """LED-13."""
        self.hot.flush()
        state, item = self.state, self.state.items[command["item"]]
        if not state.market.counts[item.number]:
            raise ImpossibleError(f"{item.name} was settled without a settlement average")
        average = state.market.settlement_average(item.number)
        total = 0
        for account, lots, cost in list(state.ledger.holders(item.number)):
            value = settlement_value(item, state.items[item.settlement].decimals, lots, average)
            state.ledger.post(account, item.number, -lots, -cost)
            state.ledger.post(account, item.settlement, value - cost, -cost)
            total += value
        state.ledger.post(FEES, item.settlement, -total)
        for order in state.book.of_item(item.number):
            state.book.remove(order)
            state.ledger.versions[order.account] += 1
        state.close_item(item)
        self._rebuild()

    # Decisions

    def _vote(self, command: dict[str, Any]) -> None:
        self.hot.flush()
        votes.cast(self.state, read_vote(command["vote"]))

    def _with_rows(self, do: Callable[[State, dict[str, Any]], None], command: dict[str, Any]) -> None:
        self.hot.flush()
        do(self.state, command)

    def _liquidate(self, command: dict[str, Any]) -> None:
        self.hot.flush()
        account, version = self._account(command), self.state.version(command["account"])
        status = self.state.status(account)
        if status != LIQUIDATING:
            liquidation.begin(self.state, account)
        liquidation.stage(self.state, account, [(item, lots) for item, lots in command.get("reductions", ())])
        if status != LIQUIDATING:
            raise ImpossibleError(f"a stage of a liquidation that never began; its status was {status}", account)
        if version != command["version"]:
            raise ImpossibleError(f"a plan for version {command['version']} was accepted at {version}", account)


def ignore(_: object) -> None:
    """What a command does that rows and margins do not depend on."""


def settlement_value(item: Item, decimals: int, lots: int, average: int) -> int:
    """What `lots` are worth at the settlement average, units of the settlement asset, rounded down (LED-14)."""
    if item.kind != OPTION:
        return whole.floor(*item.exact_cost(lots, index_steps(average, item.decimals)))
    contract = item.contract
    assert contract is not None
    difference = average - contract.strike * 10**8
    paid = max(difference if contract.is_call else -difference, Fraction(0))
    in_asset = paid / average if contract.is_inverse else paid / 10**8
    exact = in_asset * lots * item.multiplier * 10**decimals / item.divisor
    return whole.floor(exact.numerator, exact.denominator)
