"""`holdfast sim`: the cluster simulated under faults, seed by seed; and whether planted bugs are found."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.terminal import messages, output, reported, while_compiling
from holdfast.domain.errors import InputError, MissingLibraryError

if TYPE_CHECKING:
    from rich.table import Table

    from holdfast.simulation.campaign import Campaign, Found

FAILED = 1
"""Exit status where a law was broken, or a planted bug was found by no seed."""
SEEDS_MAXIMUM = 10_000_000

Seeds = Annotated[int, typer.Option("--seeds", help="How many seeds, one after the other.")]
First = Annotated[int, typer.Option("--from", help="The first seed.")]
Planted = Annotated[bool, typer.Option("--planted", help="Plant each known bug and count the seeds that find it.")]
Bug = Annotated[str, typer.Option("--bug", help="Plant this bug alone; --planted lists them.")]
Trace = Annotated[Path | None, typer.Option("--trace", help="Write down what happened in the first seed.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@reported
def sim(
    *,
    seeds: Seeds = 100,
    first: First = 0,
    planted: Planted = False,
    bug: Bug = "",
    trace: Trace = None,
    json_: Json = False,
) -> None:
    """Simulate a cluster under faults; exit status 0 only if every law held, or every planted bug was found."""
    with while_compiling(), _needing_nats():
        from holdfast.simulation import bugs, campaign

    _check(seeds, first, bug, tuple(bugs.BUGS))
    if trace is not None:
        _write_trace(trace, first, bug)
    chosen = range(first, first + seeds)
    with _progress() as progress:
        if planted:
            found = campaign.power(chosen, names=(bug,) if bug else (), progress=progress)
        else:
            done = campaign.run(chosen, bug=bug, progress=progress)
    if planted:
        _tell_planted(found, json_=json_)
        raise typer.Exit(0 if all(one.found for one in found) else FAILED)
    _tell(done, bug, json_=json_)
    raise typer.Exit(FAILED if done.failed else 0)


def _check(seeds: int, first: int, bug: str, known: tuple[str, ...]) -> None:
    if not 1 <= seeds <= SEEDS_MAXIMUM:
        raise InputError("out-of-range", "--seeds", seeds, f"give a number from 1 to {SEEDS_MAXIMUM:,}")
    if first < 0:
        raise InputError("out-of-range", "--from", first, "give a number from 0 on")
    if bug and bug not in known:
        raise InputError("malformed", "--bug", bug, f"use one of {', '.join(known)}", "is not known")


@contextmanager
def _needing_nats() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "nats":
            raise
        raise MissingLibraryError("the simulation needs nats-py: pip install 'holdfast[cluster]'") from None


def _write_trace(path: Path, seed: int, bug: str) -> None:
    from holdfast.simulation.bugs import planted
    from holdfast.simulation.run import simulate

    with planted(bug):
        result = simulate(seed, keep_trace=True)
    path.write_text("".join(line + "\n" for line in result.lines or ()), encoding="utf-8")
    messages().print(f"{path}: what happened in seed {seed}")


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error where somebody is watching, and nothing elsewhere."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = messages()
    if not console.is_terminal:
        yield lambda _what, _share: None
        return
    columns = (
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda what, share: bar.update(task, completed=share, description=what)


def _tell(done: "Campaign", bug: str, *, json_: bool) -> None:
    from holdfast.simulation.campaign import rerun_command

    failed = [
        {"seed": one.seed, "law": one.law, "problem": one.problem, "again": rerun_command(one.seed, bug)}
        for one in done.failed
    ]
    if json_:
        typer.echo(json.dumps(done._asdict() | {"failed": failed, "bug": bug}, indent=2))
        return
    console = output()
    console.print(_counts(done))
    for one in failed:
        console.print(f"seed {one['seed']}: {one['problem']}", soft_wrap=True)
        console.print(f"  again: {one['again']}", soft_wrap=True)
    console.print(f"{done.seeds - len(failed)} of {done.seeds} seeds hold; trace {done.trace[:16]}")


def _counts(done: "Campaign") -> "Table":
    table = _table("what happened", "times")
    for what, count in sorted(done.counts.items()):
        table.add_row(what, f"{count:,}")
    table.add_row("simulated seconds", f"{done.seconds:,.0f}")
    return table


def _tell_planted(found: "list[Found]", *, json_: bool) -> None:
    if json_:
        typer.echo(json.dumps([one._asdict() for one in found], indent=2))
        return
    table = _table("planted bug", "found by", "first seed", "broken laws")
    for one in found:
        laws = ", ".join(f"{law} {count}" for law, count in sorted(one.laws.items(), key=lambda item: -item[1]))
        table.add_row(one.name, f"{one.found} of {one.seeds}", str(one.first) if one.found else "–", laws)
    output().print(table)


def _table(*headings: Any) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for heading in headings:
        table.add_column(heading)
    return table
