"""Answers to questions, from the state as it is. What may not live here: waiting, connections, a decision."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from holdfast.core import quorum, sessions
from holdfast.core.cold.checkpoints import is_held
from holdfast.core.fold import Fold
from holdfast.core.state import NONE, SYSTEM_ACCOUNTS, Account, Session
from holdfast.domain.errors import InputError
from holdfast.domain.messages import Read
from holdfast.domain.outcomes import OUTCOME
from holdfast.margin.calculation import Margin, calculate
from holdfast.margin.report import components as margin_components
from holdfast.replica import views
from holdfast.replica.directory import Directory
from holdfast.replica.node import audit

ACCOUNTS_MAXIMUM = 10_000
"""Names that one answer lists."""
TOGETHER_MAXIMUM = 8
"""Questions that are answered at one position."""


def answer(fold: Fold, book: Directory, request: Read) -> dict[str, Any]:
    """The content of the answer to a question; InputError where there is none."""
    reader = _READERS.get(request.what)
    if reader is None:
        raise InputError("malformed", "what", request.what, f"ask for one of {', '.join(_READERS)}")
    try:
        found: dict[str, Any] = reader(fold, book, **request.arguments)
    except TypeError as error:
        problem = f"has other arguments than it takes ({error})"
        raise InputError(
            "malformed", request.what, sorted(request.arguments), "see specs/messages.md", problem
        ) from None
    return found


def degraded(fold: Fold, without_second: str | None = "") -> tuple[str, ...]:
    """What is not as it should be, in words.

    Args:
        fold: The state.
        without_second: Why the replica has no second engine, empty where it needs none to say; None where it has one.
    """
    registry = fold.machine.registry
    out = []
    if quorum.is_of_one(registry.replicas):
        out.append("quorum of one")
    elif registry.replicas:
        live = [r for r in registry.replicas if r.ticked and registry.ticks - r.ticked < registry.rules.live_ticks]
        if len(live) < len(registry.replicas):
            out.append(f"{len(live)} of {len(registry.replicas)} replicas are live")
        if without_second is not None:
            why = f" ({without_second})" if without_second else ""
            out.append(f"no second engine{why}: liquidations only beyond a wider shortfall")
    if registry.discrepancies:
        out.append(f"engines differ on {len(registry.discrepancies)} accounts")
    if is_held(registry):
        out.append("decisions are held: the replicas do not agree on the state")
    return tuple(out)


def _margin(fold: Fold, book: Directory, account: str | int) -> dict[str, Any]:
    """Equity and margins as the fold decides by them."""
    view = views.account_view(fold, book, book.account(account))
    return {
        "account": view.name,
        "status": view.status,
        "version": view.version,
        "equity": view.equity,
        "initial_margin": view.initial_margin,
        "maintenance_margin": view.maintenance_margin,
        "price_id": fold.price_id,
    }


def _explain(fold: Fold, book: Directory, account: str | int) -> dict[str, Any]:
    """The margin with its parts and its binding scenario."""
    return {"margin": str(_calculated(fold, book, book.account(account)))}


def components(fold: Fold, book: Directory, account: int) -> dict[str, tuple[float, float]]:
    """The components of an account's margin by name: initial and maintenance, numeraire."""
    parts = margin_components(_calculated(fold, book, account))
    return {name: (part["initial"] or 0.0, part["maintenance"] or 0.0) for name, part in parts.items()}


def _calculated(fold: Fold, book: Directory, number: int) -> Margin:
    tables = fold.machine.marked.tables
    if not tables:
        raise InputError("missing-field", "model", None, "define a margin model first")
    model = int(fold.machine.state.accounts[number, Account.MODEL])
    return calculate(views.portfolio_of(fold, book, number), fold.machine.marked.market, tables[model].parameters)


def _account(fold: Fold, book: Directory, account: str | int) -> dict[str, Any]:
    view = views.account_view(fold, book, book.account(account))
    found: dict[str, Any] = msgspec.to_builtins(view, enc_hook=_plain)
    return found


def _accounts(_fold: Fold, book: Directory, first: int = SYSTEM_ACCOUNTS) -> dict[str, Any]:
    end = min(book.accounts_count, first + ACCOUNTS_MAXIMUM)
    return {"names": [book.account_name(n) for n in range(first, end)], "count": book.accounts_count, "end": end}


def _session(fold: Fold, _book: Directory, session: int) -> dict[str, Any]:
    """What the log expects of a session next."""
    slot = _slot(fold, session)
    return {"open": slot != NONE, "next": 0 if slot == NONE else int(fold.machine.state.sessions[slot, Session.NEXT])}


def _lookup(fold: Fold, _book: Directory, session: int, number: int) -> dict[str, Any]:
    """What became of a command: "unknown" session, "not-applied", "applied" with or without the kept outcome."""
    slot = _slot(fold, session)
    if slot == NONE:
        return {"state": "session-unknown"}
    row = fold.machine.state.sessions[slot]
    expected = int(row[Session.NEXT])
    if not 1 <= number < expected:
        return {"state": "not-applied", "next": expected}
    if expected - number > int(row[Session.KEPT]):
        return {"state": "applied"}
    one = np.zeros(1, OUTCOME)
    sessions.repeat_into(fold.machine.state, slot, number, one[0])
    return {"state": "applied", "outcome": one.tobytes()}


def _definitions(fold: Fold, _book: Directory) -> dict[str, Any]:
    registry = fold.machine.registry
    return {
        "items": [{"name": d.name, "decimals": d.decimals, "lot": d.lot} for d in registry.items],
        "models": [model.name for model in registry.models],
        "sources": list(registry.sources),
        "replicas": [
            {"name": r.name, "region": r.region, "public_key": r.public_key.hex(), "suspended": r.suspended}
            for r in registry.replicas
        ],
    }


def _conservation(fold: Fold, book: Directory) -> dict[str, Any]:
    return {name: str(total) for name, total in views.sums(fold, book).items()}


def _root(fold: Fold, _book: Directory) -> dict[str, Any]:
    """The state root now, the latest checkpoints that this replica took by itself, and what all said of theirs."""
    taken = [[c.position, c.chain.hex(), c.root.hex()] for c in fold.checkpoints]
    said = audit.named_roots(fold)
    return {"root": fold.root().hex(), "chain": fold.chain.hex(), "checkpoints": taken, **said}


def _together(fold: Fold, book: Directory, questions: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """The answers to several questions [what, arguments], all of this one position."""
    if not 1 <= len(questions) <= TOGETHER_MAXIMUM:
        raise InputError("out-of-range", "questions", len(questions), f"ask 1 to {TOGETHER_MAXIMUM} together")
    asked = [Read(*question) for question in questions if len(question) == 2]
    if len(asked) < len(questions) or any(one.what == "together" for one in asked):
        advice = "give each as [what, arguments], one beside the other"
        raise InputError("malformed", "questions", None, advice)
    return {"answers": [answer(fold, book, one) for one in asked]}


_READERS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "margin": _margin,
    "explain": _explain,
    "account": _account,
    "accounts": _accounts,
    "session": _session,
    "lookup": _lookup,
    "definitions": _definitions,
    "conservation": _conservation,
    "root": _root,
    "ledger": audit.ledger,
    "holdings": audit.holdings,
    "quotes": audit.quotes,
    "parameters": audit.parameters,
    "together": _together,
}


def _slot(fold: Fold, session: int) -> int:
    return int(sessions.find_session(fold.machine.state, session)) if 0 <= session < 1 << 63 else NONE


def _plain(value: object) -> object:
    return str(value)
