"""A reconciliation in the terminal: what was compared, alarms by kind, breaks by size; 80 columns suffice."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from holdfast.domain.units import format_time
from holdfast.validate.reconcile.findings import Alarm, Break, Finding, Label
from holdfast.validate.reconcile.replicas import ReplicaState
from holdfast.validate.reconcile.run import Changes, Check, Report, decimal_text

NAMES = {
    Label.LEDGER: "ledger",
    Label.REPLICA: "replicas",
    Label.FEED: "feeds",
    Label.PARAMETER: "parameters",
    Label.BREAK: "statements",
}
"""What each check is called."""
STYLES = {"agrees": "green", "differs": "bold red", "alone": "dim", "silent": "yellow"}
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400


def show(console: Console, report: Report) -> None:
    """Print a whole report."""
    at = _time(report.time) if report.time else "no time yet"
    by = f", answered by {report.answered_by}" if report.answered_by else ""
    console.print(Text(report.source, style="bold"))
    console.print(Text(f"position {report.position:,}, {at}, price id {report.price_id:,}{by}"))
    console.print(_checks(report.checks))
    if any(one.region for one in report.replicas):
        console.print(_replicas(report.replicas))
    for alarm in report.alarms:
        console.print(Padding(_alarm(alarm, report.position, report.time), (0, 0, 0, 1)))
    if report.breaks:
        console.print(_breaks(report.breaks, report.position, report.time))
    for text in report.notes:
        console.print(Text(f"note: {text}", style="dim"))


def show_changes(console: Console, changes: Changes) -> None:
    """Print what changed, a line each; nothing where nothing did."""
    signs: Sequence[tuple[str, str, Iterable[Finding]]] = (
        ("+", "red", changes.new),
        ("~", "yellow", changes.changed),
        ("−", "green", changes.gone),
    )
    at = f"{changes.position} {_time(changes.time)}" if changes.time else str(changes.position)
    for sign, style, findings in signs:
        for one in findings:
            console.print(Text(f"{sign} {at}  {line_of(one)}", style=style), soft_wrap=True)
    for replica in changes.replicas:
        text = f"~ {at}  replica {replica.name}: {replica.verdict}{_because(replica)}"
        console.print(Text(text, style=STYLES[replica.verdict]), soft_wrap=True)


def line_of(finding: Finding) -> str:
    """A finding in one line."""
    if isinstance(finding, Alarm):
        return f"{finding.label.upper()} ALARM {finding.code}: {finding.text}"
    ours = "nothing" if finding.ours is None else decimal_text(finding.ours)
    dollars = f", {_dollars(finding)}" if finding.dollars is not None else ""
    why = f"; {finding.explanation}" if finding.explanation else "; unexplained"
    return (
        f"break {finding.account} {finding.item} {finding.what}: ours {ours}, theirs {decimal_text(finding.theirs)}"
        f"{dollars}{why}"
    )


def _time(nanoseconds: int) -> str:
    """An instant to the second."""
    return format_time(nanoseconds - nanoseconds % 10**9)


def _checks(checks: Sequence[Check]) -> Table:
    table = Table(box=box.SIMPLE, show_header=False, padding=(0, 1), pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for check in checks:
        word = "break" if check.name is Label.BREAK else "alarm"
        count = f"{check.findings:,} {word}{'' if check.findings == 1 else 's'}"
        result = Text(count, style="bold red") if check.findings else Text("ok", style="green")
        table.add_row(NAMES[check.name], result, check.looked_at)
    return table


def _replicas(replicas: Sequence[ReplicaState]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("replica", "region"):
        table.add_column(name, overflow="fold")
    for name in ("position", "frames behind", "root compared at"):
        table.add_column(name, justify="right")
    table.add_column("state")
    for one in replicas:
        numbers = (one.position, one.lag, one.root_position)
        shown = [f"{n:,}" if one.answered and n >= 0 else "–" for n in numbers]
        table.add_row(one.name, one.region, *shown, Text(one.verdict, style=STYLES[one.verdict]))
    return table


def _because(replica: ReplicaState) -> str:
    return f" ({replica.problem})" if replica.problem else ""


def _alarm(alarm: Alarm, position: int, time: int) -> Text:
    text = Text(f"{alarm.label.upper()} ALARM ", style="bold red")
    text.append(f"{alarm.code}: ", style="bold")
    text.append(alarm.text, style="default")
    text.append(f" ({_since(alarm, position, time)})", style="dim")
    return text


def _breaks(breaks: Sequence[Break], position: int, time: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("break", overflow="fold", ratio=1)
    table.add_column("ours\ntheirs", justify="right", no_wrap=True)
    table.add_column("difference\ndollars", justify="right", no_wrap=True)
    for one in breaks:
        what = Text(f"{one.account}  {one.item} {one.what}\n", style="bold")
        what.append(one.explanation or "unexplained", style="default" if one.explanation else "yellow")
        for text in (one.note, f"{one.statement} at {one.position:,}, {_since(one, position, time)}"):
            what.append(f"\n{text}" if text else "", style="dim")
        ours = "–" if one.ours is None else _number(one.ours)
        sign = "+" if one.difference > 0 else ""
        table.add_row(
            what,
            f"{ours}\n{_number(one.theirs)}",
            f"{sign}{_number(one.difference)} {one.unit}\n{_dollars(one)}",
        )
    return table


def _number(value: object) -> str:
    """A decimal for people: thousands separated."""
    whole, point, rest = decimal_text(value).partition(".")  # type: ignore[arg-type]
    return f"{int(whole):,}{point}{rest}" if whole not in ("-0", "") else f"{whole}{point}{rest}"


def _dollars(one: Break) -> str:
    return "no mark" if one.dollars is None else f"${one.dollars:,.2f}"


def _since(finding: Finding, position: int, time: int) -> str:
    """Since when a finding is there."""
    frames = position - finding.first_position
    if not frames:
        return "new" if finding.first_position == position else ""
    age = _duration((time - finding.first_time) / 1e9)
    return f"since {finding.first_position:,}: {frames:,} frames, {age}"


def _duration(seconds: float) -> str:
    if seconds < _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    return f"{seconds / _HOUR_S:.1f} h" if seconds < 2 * _DAY_S else f"{seconds / _DAY_S:.0f} days"
