"""`holdfast inspect`: what an engine left on disk, for people: frames, snapshots, accounts, and why."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.terminal import output, reported, while_compiling
from holdfast.domain.errors import HoldfastError, InputError

if TYPE_CHECKING:
    from holdfast.core.fold import Fold

LOG_NAME = "log.sqlite"
FRAMES_MAXIMUM = 10_000

Folder = Annotated[Path, typer.Argument(help="An engine's folder, or its log file.", show_default=False)]
Frames = Annotated[str | None, typer.Option("--frames", help="Positions to print, as 5 or 5:9 (9 left out).")]
Account = Annotated[int | None, typer.Option("--account", min=0, help="Number of an account: its history.")]
Snapshot = Annotated[Path | None, typer.Option("--snapshot", help="A snapshot file to describe.")]


@reported
def inspect(folder: Folder, *, frames: Frames = None, account: Account = None, snapshot: Snapshot = None) -> None:
    """Print what an engine's log and snapshots hold. Nothing is changed."""
    if snapshot is not None:
        _print([_snapshot(snapshot)])
        return
    path = folder / LOG_NAME if folder.is_dir() else folder
    if not path.is_file():
        raise InputError("malformed", "FOLDER", str(folder), f"name a folder with a {LOG_NAME}, or a log", "has no log")
    with while_compiling():
        if account is not None:
            _print(_history(path, account))
        elif frames is not None:
            _print(_frames(path, frames))
        else:
            _print(_overview(path))


def _print(lines: Any) -> None:
    console = output()
    for line in lines:
        console.print(line, soft_wrap=True)


def _snapshot(path: Path) -> str:
    from holdfast.domain.snapshots import decode_snapshot, describe

    return describe(decode_snapshot(path.read_bytes()))


def _range(text: str, end: int) -> range:
    first, colon, last = text.partition(":")
    try:
        start = int(first)
        stop = int(last) if colon else start + 1
    except ValueError:
        raise InputError("malformed", "--frames", text, "write 5 or 5:9") from None
    if not 0 <= start < stop <= end or stop - start > FRAMES_MAXIMUM:
        advice = f"give positions from 0 to {end}, at most {FRAMES_MAXIMUM} of them; the log ends at {end}"
        raise InputError("out-of-range", "--frames", text, advice)
    return range(start, stop)


def _folded(path: Path) -> Iterator[tuple[int, bytes, "Fold", Any]]:
    """Position, bytes, fold and what was applied, for each frame of a log."""
    from holdfast.core.fold import Fold
    from holdfast.log.sqlite import SqliteLog

    fold = Fold()
    with SqliteLog(path, writable=False) as log:
        for position, data in log.read(0):
            yield position, data, fold, fold.apply(data)


def _overview(path: Path) -> Iterator[str]:
    from collections import Counter

    from holdfast.core.fold import Fold
    from holdfast.core.state import SYSTEM_ACCOUNTS, Status
    from holdfast.core.state import Account as Column
    from holdfast.core.state import Counter as Count
    from holdfast.domain.units import format_time

    fold, commands, refused = Fold(), 0, 0
    for _, _, state_after, applied in _folded(path):
        fold = state_after
        commands += len(applied.outcomes)
        refused += int((applied.outcomes["reason"] != 0).sum())
    state = fold.machine.state
    count = int(state.counters[Count.ACCOUNTS])
    statuses = Counter(state.accounts[SYSTEM_ACCOUNTS:count, Column.STATUS].tolist())
    yield f"{path}: {fold.position:,} frames, {commands:,} commands, {refused:,} of them refused"
    yield f"H          {fold.chain.hex()}"
    yield f"state root {fold.root().hex()}"
    yield f"time       {format_time(fold.time) if fold.time else 'no tick yet'}, price id {fold.price_id}"
    yield "accounts   " + ", ".join(f"{n:,} {Status(s).name}" for s, n in sorted(statuses.items()))
    for alarm in fold.machine.registry.alarms:
        yield f"alarm      {alarm.site}: {alarm.text}"
    for snapshot in sorted((path.parent / "snapshots").glob("*.hfsn")):
        yield f"snapshot   {snapshot}"


def _frames(path: Path, text: str) -> Iterator[str]:
    from holdfast.domain.frames import decode_frame
    from holdfast.domain.frames import describe as describe_frame
    from holdfast.domain.outcomes import describe as describe_outcome
    from holdfast.log.sqlite import SqliteLog

    with SqliteLog(path, writable=False) as log:
        wanted = _range(text, log.end)
    for position, data, _, applied in _folded(path):
        if position in wanted:
            frame = decode_frame(data)
            yield f"position {position}: " + describe_frame(frame, records_maximum=len(frame.records))
            for index, outcome in enumerate(applied.outcomes):
                said = _said(frame, index)
                yield (
                    f"    [{index}] {said} → {describe_outcome(outcome)}"
                    if said
                    else (f"    [{index}] {describe_outcome(outcome)}")
                )
        if position >= wanted.stop - 1:
            return


def _said(frame: Any, index: int) -> str:
    """What a cold command of a frame says; empty for a hot one, and where it cannot be read."""
    from holdfast.domain.commands import CastVote, decode_cold
    from holdfast.domain.frames import RecordKind
    from holdfast.domain.votes import decode_vote, describe

    if frame.records[index]["kind"] != RecordKind.COLD:
        return ""
    try:
        command = decode_cold(frame.cold(index))
        return describe(decode_vote(command.vote)) if isinstance(command, CastVote) else str(command)
    except HoldfastError:
        return ""


def _history(path: Path, account: int) -> Iterator[str]:
    """A line for each command that named or touched an account, and how its status changed."""
    from holdfast.core.state import Account as Column
    from holdfast.core.state import Counter as Count
    from holdfast.core.state import Status
    from holdfast.domain.frames import decode_frame
    from holdfast.domain.units import format_time

    status, known = -1, False
    for position, data, fold, applied in _folded(path):
        state = fold.machine.state
        if account >= int(state.counters[Count.ACCOUNTS]):
            continue
        known = True
        at = f"{position} {format_time(fold.time) if fold.time else '-'}"
        yield from (f"{at}  {line}" for line in _mentions(decode_frame(data), applied, account))
        now = int(state.accounts[account, Column.STATUS])
        if now != status:
            equity, initial, maintenance = state.figures[account].tolist()
            figures = f"equity {equity:,.2f} initial {initial:,.2f} maintenance {maintenance:,.2f}"
            yield f"{at}  is {Status(now).name} ({figures} at the last mark)"
            status = now
    if not known:
        raise InputError("out-of-range", "--account", account, "give the number of an account of this log")


def _mentions(frame: Any, applied: Any, account: int) -> Iterator[str]:
    from holdfast.domain.commands import decode_cold
    from holdfast.domain.frames import RecordKind
    from holdfast.domain.outcomes import describe

    for index, record in enumerate(frame.records):
        outcome, detail = applied.outcomes[index], applied.details.get(index)
        if record["kind"] == RecordKind.COLD:
            try:
                command = decode_cold(frame.cold(index))
            except InputError:
                continue
            opened = type(command).__name__ == "OpenAccount" and int(outcome["made"]) == account
            if opened or getattr(command, "account", None) == account:
                yield f"{command} → {describe(outcome)}{'' if detail is None else f' {detail}'}"
            elif isinstance(detail, dict):
                yield from _in_detail(detail, account, type(command).__name__)
            else:
                yield from _in_vote(command, account)
                yield from _in_report(command, account)
        elif record["kind"] != RecordKind.QUOTE and account in (int(record["account"]), int(record["other"])):
            fields = ("account", "other", "instrument", "quantity", "price")
            text = " ".join(f"{name} {int(record[name])}" for name in fields)
            yield f"{RecordKind(int(record['kind'])).name} {text} → {describe(outcome)}"


def _in_vote(command: object, account: int) -> Iterator[str]:
    """The row of a vote about an account: what both engines found."""
    from holdfast.domain.commands import CastVote
    from holdfast.domain.votes import FLAG_WITHDRAWAL, FLAG_WITHOUT_B, Verdict, decode_vote

    if not isinstance(command, CastVote):
        return
    vote = decode_vote(command.vote)
    for row in vote.rows:
        if int(row["account"]) == account and not int(row["flags"]) & FLAG_WITHDRAWAL:
            verdict = Verdict(int(row["verdict"])).name
            second = f"; by the second engine {row['b_equity']:,.2f} and {row['b_maintenance']:,.2f}"
            yield (
                f"replica {vote.replica} votes {verdict} at price id {vote.price_id}: equity {row['a_equity']:,.2f} "
                f"maintenance {row['a_maintenance']:,.2f}"
                + (" (no second engine)" if int(row["flags"]) & FLAG_WITHOUT_B else second)
            )


def _in_report(command: object, account: int) -> Iterator[str]:
    """What two engines found of an account on which they differ: the figures, then each component that differs."""
    from holdfast.domain.commands import ReportDiscrepancy

    if not isinstance(command, ReportDiscrepancy):
        return
    for row in command.accounts:
        if row.account == account:
            figures = zip(("equity", "initial", "maintenance"), row.first, row.second, strict=True)
            told = ", ".join(f"{name} {first:,.2f} against {second:,.2f}" for name, first, second in figures)
            yield f"replica {command.replica} at price id {command.price_id}: {command.engine} engine differs: {told}"
            for name, first in row.first_parts.items():
                second = row.second_parts.get(name, (0.0, 0.0))
                if first != second:
                    yield f"    {name}: {first[0]:,.6f} / {first[1]:,.6f} against {second[0]:,.6f} / {second[1]:,.6f}"


def _in_detail(detail: dict[str, Any], account: int, command: str) -> Iterator[str]:
    """Fills and deleveraging that met an account because of another one's liquidation."""
    for item, lots, price, owner in detail.get("fills", ()):
        if owner == account:
            yield f"{command} of another account filled its order: item {item} lots {-lots} price {price}"
    for other, item, lots in detail.get("takeover", {}).get("deleveraged", ()):
        if other == account:
            yield f"{command} of another account deleveraged it: item {item} lots {lots}"
