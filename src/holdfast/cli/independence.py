"""`holdfast independence`: how independent the two engines are, measured with mutants, pairs of them and noise."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.terminal import messages, note, output, reported, while_compiling

if TYPE_CHECKING:
    from rich.table import Table

    from holdfast.validate.independence import Measurement

FAILED = 1
"""Exit status where one engine's error, or noise, would have had an account liquidated wrongly by both verdicts."""

Seed = Annotated[int, typer.Option("--seed", help="Of the inputs, the mutants and the noise.")]
Mutants = Annotated[int, typer.Option("--mutants", help="How many of each engine.")]
Minutes = Annotated[float, typer.Option("--minutes", help="How long it may take; what does not fit is left out.")]
Report = Annotated[Path | None, typer.Option("--report", help="Write a report in Markdown here.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@reported
def independence(
    *, seed: Seed = 0, mutants: Mutants = 100, minutes: Minutes = 9.0, report: Report = None, json_: Json = False
) -> None:
    """Plant errors in one engine, in the other and in both, and see which a comparison finds."""
    with while_compiling():
        from holdfast.validate.independence import measure
        from holdfast.validate.independence.report import again, markdown, plain

    with _progress() as progress:
        found = measure(seed, mutants, minutes, progress=progress)
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(markdown(found), encoding="utf-8")
    if json_:
        typer.echo(json.dumps(plain(found), indent=2, ensure_ascii=False))
    else:
        _tell(found)
        note(f"again: {again(found)}")
    if not found.is_complete:
        note(f"time ran out after {minutes:g} minutes: {len(found.mutants)} mutants and {len(found.pairs)} pairs")
    raise typer.Exit(FAILED if found.wrong_quorum else 0)


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error where somebody is watching, drawn by no thread of its own: mutants run in forks."""
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
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task("", total=1.0)

        def show(what: str, share: float) -> None:
            bar.update(task, completed=share, description=what)
            bar.refresh()

        yield show


def _tell(found: "Measurement") -> None:
    console = output()
    for table in (_classes(found), _coincidence(found), _noise(found)):
        console.print(table)


def _classes(found: "Measurement") -> "Table":
    from holdfast.validate.independence.report import row

    table = _table(
        "wrong", "mutants", "masked", "silent", "detected", "crashed", "wrong alone", "wrong by both", "held back"
    )
    for engine in "AB":
        one = row(engine, found.mutants)
        _add(
            table, engine, one.mutants, one.masked, one.silently_agreed, one.detected, one.crashed, one.wrong_alone,
            one.wrong_quorum, one.held_back,
        )  # fmt: skip
    return table


def _coincidence(found: "Measurement") -> "Table":
    both = found.every_pair, found.alike
    table = _table("both wrong", "every pair", "alike")
    _add(table, "pairs", *(one.pairs for one in both))
    _add(table, "inputs (accounts × pairs)", *(one.inputs for one in both))
    _add(table, "coincident failures", *(one.together for one in both))
    _add(table, "expected if independent", *(f"{one.expected:,.0f}" for one in both))
    _add(table, "coincident with the same wrong figures", *(one.alike for one in both))
    _add(table, "the same ÷ inputs", *(f"{one.rate:.2e}" for one in both))
    _add(table, "pairs that no comparison finds", *(one.escaping for one in both))
    _add(table, "accounts wrongly BELOW by both", *(one.wrong_quorum for one in both))
    _add(table, "of them in agreement", *(one.wrong_agreed for one in both))
    return table


def _noise(found: "Measurement") -> "Table":
    table = _table("noise on A", "inputs", "moved", "detected", "missed", "wrong alone", "wrong by both")
    for one in found.noise:
        _add(
            table, f"{one.size:.0e}", one.inputs, one.moved, one.detected, one.missed, one.wrong_alone, one.wrong_quorum
        )
    return table


def _add(table: "Table", *cells: Any) -> None:
    table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells))


def _table(first: str, *headings: str) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(first)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table
