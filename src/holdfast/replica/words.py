"""Outcomes in words: one sentence for each reason, with names and main units. No I/O.

What lives here: the sentences, and what the numbers of each reason count (specs/commands.md). What may not: a decision,
and anything that reads a clock or a state.
"""

import enum
import math
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

from holdfast.core.state import Role, Status
from holdfast.domain.reasons import Reason
from holdfast.domain.units import INT64_MAXIMUM, NANOSECONDS_PER_SECOND, format_time
from holdfast.replica.amounts import amount_of, plain, step_of

NUMERAIRE_STEP = step_of(6)
"""Missing equity is told in millionths of the numeraire."""

Quantity: TypeAlias = Decimal | int | str | None
"""A limiting amount: in main units, a number of something, a status or instant in words, or None for none."""


class Count(enum.Enum):
    """What a number of an outcome counts."""

    NOTHING = 0
    NUMBER = 1
    NUMERAIRE = 2  # millionths of it
    STEPS = 3  # of the command's item: lots or ledger units
    INSTANT = 4  # ns since 1970
    SPAN = 5  # ns
    STATUS = 6
    ROLE = 7


class Scene(NamedTuple):
    """What a command was about.

    Attributes:
        done: What was done if it was accepted: "alice buys 10 USD of BTC-PERPETUAL from bob at 7,895".
        account: Name of its account.
        other: Name of the other account.
        item: Name of its asset or contract.
        unit: What quantities of the item are counted in.
        step: What the ledger counts of the item, in main units.
        searched: Whether a refusal says which part would have passed, so that 0 means that no part would.
        numeraire: What margin is counted in.
    """

    done: str
    account: str = "the account"
    other: str = "the other account"
    item: str = "the item"
    unit: str = "units"
    step: Fraction = Fraction(1)
    searched: bool = False
    numeraire: str = "USD"


_N, _NUMBER, _STEPS = Count.NOTHING, Count.NUMBER, Count.STEPS

COUNTS: Mapping[Reason, tuple[Count, Count]] = {
    Reason.SESSION_GAP: (_NUMBER, _N),
    Reason.SESSION_ROLE: (Count.ROLE, _N),
    Reason.MODEL_UNKNOWN: (_NUMBER, _N),
    Reason.SOURCE_UNKNOWN: (_NUMBER, _N),
    Reason.REPLICA_UNKNOWN: (_NUMBER, _N),
    Reason.VERSION_UNKNOWN: (_NUMBER, _NUMBER),
    Reason.LEASE_HELD: (Count.INSTANT, _N),
    Reason.REPLICA_SUSPENDED: (_NUMBER, _N),
    Reason.QUANTITY_INVALID: (_STEPS, _N),
    Reason.INITIAL_MARGIN: (Count.NUMERAIRE, _STEPS),
    Reason.INITIAL_MARGIN_OTHER: (Count.NUMERAIRE, _STEPS),
    Reason.BALANCE: (_STEPS, _STEPS),
    Reason.ACCOUNT_FROZEN: (Count.STATUS, _N),
    Reason.WOULD_BREACH: (_NUMBER, _N),
    Reason.CLOCK_BACKWARDS: (Count.INSTANT, Count.INSTANT),
    Reason.TOO_EARLY: (Count.SPAN, _N),
    Reason.PRICES_STALE: (_NUMBER, _NUMBER),
    Reason.ALREADY_DEFINED: (_NUMBER, _N),
}
"""What `limit` and `passes` count; reasons that are not here have neither."""

TEXTS: Mapping[Reason, tuple[str, ...]] = {
    Reason.ACCEPTED: ("{done}", "equity {equity}, initial margin {initial} {numeraire}"),
    Reason.ALREADY_APPLIED: ("it was applied before, and its outcome is no longer kept",),
    Reason.SESSION_UNKNOWN: ("its session is not open; open one",),
    Reason.SESSION_GAP: ("its session expects number {limit} next; send that first",),
    Reason.SESSION_ROLE: ("its session may not send this",),
    Reason.FRAME_REPEATED: ("its gateway sent this frame before",),
    Reason.FRAME_GAP: ("its gateway left out a frame",),
    Reason.GATEWAY_UNKNOWN: ("its gateway has no session",),
    Reason.QUARANTINED: ("the replicas have set this command aside because it broke the engine",),
    Reason.MALFORMED: ("it cannot be read", "{detail}"),
    Reason.ACCOUNT_UNKNOWN: ("there is no such account",),
    Reason.ACCOUNT_SYSTEM: ("an account of the system takes no part in this; name an account of a client",),
    Reason.ACCOUNT_SAME: ("both sides are {account}; name two accounts",),
    Reason.ITEM_UNKNOWN: ("there is no such asset or contract", "{detail}"),
    Reason.NOT_AN_INSTRUMENT: ("{item} is not a contract that this can be done with", "{detail}"),
    Reason.NOT_AN_ASSET: ("{item} is not an asset",),
    Reason.INSTRUMENT_CLOSED: ("{item} has expired or is settled", "{detail}"),
    Reason.ORDER_UNKNOWN: ("{account} has no open order of this number on {item}",),
    Reason.MODEL_UNKNOWN: ("there is no such margin model", "the last has number {limit}"),
    Reason.SOURCE_UNKNOWN: ("there is no such price source", "{limit} are defined"),
    Reason.WITHDRAWAL_UNKNOWN: ("no such withdrawal is reserved",),
    Reason.REPLICA_UNKNOWN: ("there is no such replica",),
    Reason.VERSION_UNKNOWN: ("this program has no logic version {limit}", "it has up to {passes}"),
    Reason.LEASE_HELD: ("another replica holds this role", "until {limit}"),
    Reason.REPLICA_SUSPENDED: ("replica {limit} is suspended, as its state is not that of the majority",),
    Reason.QUANTITY_INVALID: ("the quantity must not be 0 or of the wrong sign", "and at most {limit} {unit}"),
    Reason.PRICE_INVALID: ("{item} cannot have this price; give one above 0",),
    Reason.LEDGER_LIMIT: ("an amount would no longer fit in the ledger; make it smaller",),
    Reason.ORDERS_LIMIT: ("{account} has as many open orders as an account may; cancel some",),
    Reason.ROWS_LIMIT: ("{account} holds as many different contracts as an account may; close some",),
    Reason.FILL_BEYOND_ORDER: ("the order has fewer left than this fills, or is on the other side",),
    Reason.FILL_BEYOND_LIMIT: ("the price is worse than the order's limit",),
    Reason.VALUE_INVALID: ("a value is outside what is allowed", "{detail}"),
    Reason.NO_PRICE: ("{item} has no price yet; post its prices, which marks it",),
    Reason.INITIAL_MARGIN: (
        "{account} would have equity {equity} against an initial margin of {initial} {numeraire}",
        "{missing} {numeraire} are missing",
        "{part}",
    ),
    Reason.INITIAL_MARGIN_OTHER: (
        "{other} would be below its initial margin",
        "{missing} {numeraire} are missing",
        "{part}",
    ),
    Reason.BALANCE: ("{account} lacks {limit} {unit}", "{passes} {unit} would pass"),
    Reason.ACCOUNT_FROZEN: (
        "{account} may only reduce positions or not act at all, as it is below maintenance margin or set aside",
        "it is {limit}",
    ),
    Reason.ACCOUNT_FROZEN_OTHER: (
        "{other} may only reduce positions or not act at all, as it is below maintenance margin or set aside",
    ),
    Reason.WOULD_BREACH: ("{limit} accounts would fall below initial margin; force it if that is meant",),
    Reason.QUOTE_OLD: ("the quote of {item} is older than the source's last one",),
    Reason.QUOTE_FUTURE: ("the quote of {item} is too far ahead of logical time; tick first",),
    Reason.CLOCK_BACKWARDS: ("the clock said {limit} before", "{passes} is the earliest that would pass"),
    Reason.TOO_EARLY: ("{item} expires in {limit}",),
    Reason.PRICES_STALE: ("fresh prices come from {limit} sources", "{passes} are needed", "post prices, then repeat"),
    Reason.TABLE_IMPOSSIBLE: ("no risk table can be built from the prices of {item}", "{detail}"),
    Reason.ALREADY_DEFINED: ("it is defined already", "its number is {limit}"),
    Reason.DEFINITION_INVALID: ("the definition cannot be used", "{detail}"),
    Reason.VOTE_INVALID: ("the vote cannot be used", "{detail}"),
    Reason.VOTE_MISMATCH: ("the vote is about another state", "{detail}"),
    Reason.NOT_LIQUIDATING: ("{account} is not being liquidated",),
    Reason.PLAN_OUTDATED: ("{account} changed since the plan was made",),
    Reason.PLAN_INCREASES: ("the plan would make a position larger",),
    Reason.NOT_RESERVED: ("nothing is reserved for this",),
    Reason.NOTHING_FILLED: ("no order on the book met the plan",),
    Reason.DECISIONS_FROZEN: ("nothing that cannot be taken back begins while state roots differ", "{detail}"),
    Reason.INTERNAL: ("the engine erred on it; it was undone and recorded as an alarm", "{detail}"),
}
"""The clauses of each reason's sentence. A clause is left out where a number or text of it is missing."""


def quantities(outcome: Any, scene: Scene) -> tuple[Quantity, Quantity]:
    """The limiting amount and what would pass, in main units; None where the reason has none."""
    counts = COUNTS.get(Reason(int(outcome["reason"])), (_N, _N))
    limit, passes = int(outcome["limit"]), int(outcome["passes"])
    searched = scene.searched or counts[0] is not Count.NUMERAIRE
    return (
        _told(counts[0], limit, scene) if limit or counts[0] is _NUMBER else None,
        _told(counts[1], passes, scene) if passes or (searched and counts[1] is _STEPS) else None,
    )


def _told(count: Count, value: int, scene: Scene) -> Quantity:
    return None if count is Count.NOTHING else _TELLERS[count](value, scene)


def _name_in(names: type[enum.IntEnum], value: int) -> str | None:
    """The name of a member other than 0, in words."""
    return names(value).name.lower().replace("_", " ") if value and value in set(names) else None


_TELLERS: Mapping[Count, Callable[[int, Scene], Quantity]] = {
    Count.NUMBER: lambda value, _: value,
    Count.NUMERAIRE: lambda value, _: amount_of(value, NUMERAIRE_STEP),
    Count.STEPS: lambda value, scene: amount_of(value, scene.step),
    Count.INSTANT: lambda value, _: format_time(value) if 0 < value < INT64_MAXIMUM else None,
    Count.SPAN: lambda value, _: f"{plain(Fraction(value, NANOSECONDS_PER_SECOND))} s",
    Count.STATUS: lambda value, _: _name_in(Status, value),
    Count.ROLE: lambda value, _: _name_in(Role, value),
}


def sentence(outcome: Any, scene: Scene, detail: object = None) -> str:
    """An outcome as one sentence.

    Args:
        outcome: Of type `domain.outcomes.OUTCOME`.
        scene: What the command was about.
        detail: What the fold said besides.
    """
    reason = Reason(int(outcome["reason"]))
    limit, passes = quantities(outcome, scene)
    known = scene._asdict() | {
        "limit": _text(limit),
        "missing": _cents(limit),
        "passes": _text(passes),
        "part": _part(passes, scene),
        "detail": detail if isinstance(detail, str) else "",
        "equity": "",
        "initial": "",
    }
    if outcome["equity"] or outcome["initial"]:
        known |= {"equity": money(outcome["equity"]), "initial": money(outcome["initial"])}
    clauses = [clause.format(**known) for clause in TEXTS.get(reason, ()) if _complete(clause, known)]
    text = "; ".join(clauses) or reason.name.lower().replace("_", " ")
    head = "" if reason is Reason.ACCEPTED else "refused: "
    return head + text + (" (sent before: its first outcome)" if outcome["repeated"] else "")


def _complete(clause: str, known: Mapping[str, object]) -> bool:
    return all(known[field] != "" for field in known if f"{{{field}}}" in clause)


def _text(quantity: Quantity) -> str:
    if quantity is None:
        return ""
    return quantity if isinstance(quantity, str) else plain(quantity)


def _cents(missing: Quantity) -> str:
    """Missing equity to the cent, rounded up."""
    if not isinstance(missing, Decimal):
        return ""
    return f"{missing.quantize(Decimal('0.01'), rounding=ROUND_CEILING):,f}"


def _part(passes: Quantity, scene: Scene) -> str:
    if passes is None:
        return ""
    if not passes:
        return "no part of it would pass"
    return f"{_text(passes)} {scene.unit} would pass"


def money(value: float) -> str:
    """An amount of the numeraire to the cent."""
    return f"{value:,.2f}" if math.isfinite(value) else "no number"


DEGRADED_EMBEDDED = ("quorum of one",)
"""What every answer of an embedded engine says: nobody else checks it."""
