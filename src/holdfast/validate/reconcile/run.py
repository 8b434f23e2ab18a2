"""One look, judged: everything that was seen, put together to a report.

What may not live here: seeing (the caller asks the source), showing.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from holdfast.validate.reconcile import approval, breaks, feeds, replicas
from holdfast.validate.reconcile.ages import Ages, aged, check_ages, next_ages
from holdfast.validate.reconcile.approval import Approved
from holdfast.validate.reconcile.findings import Alarm, Break, Finding, Label
from holdfast.validate.reconcile.lines import Statement
from holdfast.validate.reconcile.picture import Seen, picture_of
from holdfast.validate.reconcile.replicas import ReplicaState

PASSED, FOUND = 0, 1
"""Exit statuses."""


class Asked(NamedTuple):
    """What to compare with.

    Attributes:
        statements: Of outsiders.
        tolerances: By asset or contract, main units.
        approved: Parameters, None for no such comparison.
    """

    statements: Sequence[Statement] = ()
    tolerances: Mapping[str, Decimal] = {}
    approved: Approved | None = None


class Check(msgspec.Struct, frozen=True):
    """One thing that was compared: what, a sentence on how much of it, and how many findings there were."""

    name: Label
    looked_at: str
    findings: int


class Report(msgspec.Struct, frozen=True):
    """What one look came to.

    Attributes:
        source: What was looked at.
        position: Of the state that everything is of unless it says otherwise.
        time: Logical time there, ns.
        price_id: Of the last mark there.
        answered_by: The replica that answered; empty for a folder.
        checks: What was compared.
        alarms: What is wrong in the engine, its replicas, feeds and parameters.
        breaks: What differs from statements.
        replicas: How each replica was heard.
        notes: What was not compared, or is degraded.
    """

    source: str
    position: int
    time: int
    price_id: int
    answered_by: str
    checks: tuple[Check, ...]
    alarms: tuple[Alarm, ...]
    breaks: tuple[Break, ...]
    replicas: tuple[ReplicaState, ...]
    notes: tuple[str, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Alarms, then breaks."""
        return self.alarms + self.breaks

    @property
    def status(self) -> int:
        """The exit status."""
        return FOUND if self.findings else PASSED

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON has it; decimals are texts without exponents."""
        found: dict[str, Any] = plain(self)
        return {"status": self.status, **found}


class Changes(msgspec.Struct, frozen=True):
    """What is other than at an earlier look.

    Attributes:
        position: Of this look.
        time: Logical time there, ns.
        status: The exit status that this look alone would have.
        new: Findings that were not there.
        gone: Findings that are no longer there, as they were.
        changed: Findings that are there with other figures.
        replicas: Replicas whose verdict is another one.
    """

    position: int
    time: int
    status: int
    new: tuple[Finding, ...]
    gone: tuple[Finding, ...]
    changed: tuple[Finding, ...]
    replicas: tuple[ReplicaState, ...]

    def __bool__(self) -> bool:
        return bool(self.new or self.gone or self.changed or self.replicas)


def changes(before: Report, now: Report) -> Changes:
    """What one look found otherwise than an earlier one."""
    old, new = {one.key: one for one in before.findings}, {one.key: one for one in now.findings}
    verdicts = {one.name: one.verdict for one in before.replicas}
    return Changes(
        position=now.position,
        time=now.time,
        status=now.status,
        new=tuple(one for key, one in new.items() if key not in old),
        gone=tuple(one for key, one in old.items() if key not in new),
        changed=tuple(one for key, one in new.items() if key in old and old[key].figures != one.figures),
        replicas=tuple(one for one in now.replicas if verdicts.get(one.name) != one.verdict),
    )


def plain(value: Any) -> Any:
    """A value of this room as JSON has it; decimals are texts without exponents and without zeros at the end."""
    if isinstance(value, msgspec.Struct):
        return {field: plain(one) for field, one in msgspec.structs.asdict(value).items()}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    return decimal_text(value) if isinstance(value, Decimal) else value


def decimal_text(value: Decimal) -> str:
    """A decimal without an exponent, and without zeros at the end."""
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def reconcile(seen: Seen, asked: Asked, ages: Ages) -> tuple[Report, Ages]:
    """Judge one look.

    Args:
        seen: What the look brought.
        asked: What to compare it with.
        ages: Since when earlier looks' findings are there.

    Returns:
        The report, and the ages for the next look.

    Raises:
        InputError: The ages are of another log, or ahead of it.
    """
    check_ages(ages, seen.log, seen.position)
    picture = picture_of(seen.holdings)
    compared = [
        breaks.compare(one, picture, seen.history, asked.tolerances, position=seen.position, time=seen.time)
        for one in asked.statements
    ]
    found = tuple(breaks.in_order([one for statement in compared for one in statement.breaks]))
    alarms = (
        *_ledger_alarms(seen),
        *replicas.alarms(seen),
        *feeds.alarms(seen),
        *approval.alarms(seen, asked.approved),
    )
    alarms, found = aged(alarms, ages, seen.position, seen.time), aged(found, ages, seen.position, seen.time)
    lines = sum(one.lines for one in compared)
    report = Report(
        source=seen.source,
        position=seen.position,
        time=seen.time,
        price_id=int(seen.ledger.content["price_id"]),
        answered_by=seen.ledger.replica,
        checks=tuple(_checks(seen, asked, lines, alarms, found)),
        alarms=alarms,
        breaks=found,
        replicas=replicas.states(seen),
        notes=tuple(dict.fromkeys([*_notes(seen, asked, compared), *_blind(seen, found), *_distrust(seen, alarms)])),
    )
    return report, next_ages(report.findings, seen.log, seen.position)


def _ledger_alarms(seen: Seen) -> Iterator[Alarm]:
    content = seen.ledger.content
    for item, total in content["sums"].items():
        if Decimal(total):
            yield _ledger(seen, item, "sum", f"all accounts together have {Decimal(total):f} of {item} instead of 0")
    for account, asset, stated, summed in content["costs"]:
        text = f"{account}'s cost of {asset} is {stated}, and its positions cost {summed}"
        yield _ledger(seen, f"{account} {asset}", "cost", text)
    for account, number, problem in content["orders"]:
        yield _ledger(seen, f"{account} order {number}", "order", f"order {number} of {account}: {problem}")


def _ledger(seen: Seen, subject: str, code: str, text: str) -> Alarm:
    return Alarm(label=Label.LEDGER, subject=subject, code=code, text=text, position=seen.position, time=seen.time)


def _checks(seen: Seen, asked: Asked, lines: int, alarms: Sequence[Alarm], found: Sequence[Break]) -> Iterator[Check]:
    content = seen.ledger.content
    looked = {
        Label.LEDGER: f"{len(content['sums'])} items, {content['accounts']:,} accounts, "
        f"{content['open_orders']:,} open orders",
        Label.REPLICA: _replicas_looked_at(seen),
        Label.FEED: f"{len(seen.quotes[0].content['sources'])} sources, "
        f"{sum(len(one.content['items']) for one in seen.quotes):,} items",
        Label.PARAMETER: _parameters_looked_at(seen, asked),
    }
    for label, text in looked.items():
        yield Check(label, text, sum(one.label is label for one in alarms))
    if asked.statements:
        accounts = len({name for one in asked.statements for name in one.accounts})
        yield Check(Label.BREAK, f"{lines:,} lines of {accounts:,} accounts stated", len(found))


def _replicas_looked_at(seen: Seen) -> str:
    states = replicas.states(seen)
    heard = sum(one.answered for one in states)
    last = max((one.root_position for one in states), default=-1)
    where = f", roots compared up to position {last:,}" if last >= 0 else ", no roots to compare yet"
    how = "answered" if seen.replicas else "voted in this log"
    return f"{heard} of {len(states)} replicas {how}{where}"


def _parameters_looked_at(seen: Seen, asked: Asked) -> str:
    names = [f"{one['name']} v{one['version']}" for one in seen.parameters.content["models"]]
    against = [] if asked.approved is None else ["the approved file"]
    heard = sum(one.parameters is not None for one in seen.replicas)
    against += [f"{heard} replicas"] if heard > 1 else []
    return f"{', '.join(names) or 'no model'} against {' and '.join(against) or 'nothing'}"


def _notes(seen: Seen, asked: Asked, compared: Sequence[breaks.Compared]) -> Iterator[str]:
    yield from seen.ledger.degraded
    for one, statement in zip(compared, asked.statements, strict=True):
        yield from (f"{statement.label}: {text}" for text in one.notes)
    if asked.statements and not any(one.complete for one in asked.statements):
        yield from _unstated(seen, asked)
    content = seen.ledger.content
    for name in ("costs", "orders"):
        if content[f"{name}_wrong"] > len(content[name]):
            yield f"of {content[f'{name}_wrong']:,} wrong {name} the first {len(content[name])} are listed"
    if asked.approved is not None:
        stated = asked.approved.models
        for one in seen.parameters.content["models"]:
            if stated and one["name"] not in stated and one["set"] not in stated:
                yield f"the model {one['name']} is not in the approved file: it was not compared"
    positions = {one.position for one in seen.holdings}
    if len(positions) > 1:
        yield f"accounts were answered at positions {min(positions):,} to {max(positions):,}"


def _blind(seen: Seen, found: Sequence[Break]) -> Iterator[str]:
    """Say where to find explanations that a cluster cannot give."""
    if not seen.folded and any(not one.code for one in found):
        yield "a cluster does not tell its past: reconcile a replica's folder to see what moved since"


def _distrust(seen: Seen, alarms: Sequence[Alarm]) -> Iterator[str]:
    """Say so where the replica whose figures these are is itself under alarm."""
    name = seen.ledger.replica
    if any(one.label is Label.REPLICA and name in one.subject.split(", ") for one in alarms):
        yield f"{name}, whose figures these are, is itself under alarm"


def _unstated(seen: Seen, asked: Asked) -> Iterator[str]:
    """Say what no statement speaks of, unless they are of one account alone."""
    stated = {name for one in asked.statements for name in one.accounts}
    held = sum(bool(one["rows"]) for answer in seen.holdings for one in answer.content["accounts"])
    holding = int(seen.ledger.content["holding"])
    if len(stated) > 1 and holding > held:
        yield f"{holding - held:,} of {holding:,} accounts with holdings are in no statement (--complete compares them)"
