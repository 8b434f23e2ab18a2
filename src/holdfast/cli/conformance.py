"""`holdfast conformance`: other systems' published numbers against the functions that margin accounts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.terminal import output, reported, while_compiling

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from holdfast.validate.conformance.runner import Report

Paths = Annotated[list[Path], typer.Argument(help="Case files, or folders of them.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]


@reported
def conformance(paths: Paths, *, json_: Json = False) -> None:
    """Run published cases; exit status 0 only if nothing failed and nothing was unsupported."""
    with while_compiling():
        from holdfast.validate.conformance.runner import run

        report = run(paths)
    if json_:
        typer.echo(report.as_json())
    else:
        _show(report)
    raise typer.Exit(report.exit_status)


def _show(report: "Report") -> None:
    console = output()
    console.print(_counts(report))
    failures = [(Path(file.file).name, failure) for file in report.files for failure in file.failures]
    if failures:
        table = _table("file", "case", "quantity", "expected", "actual", title="Failures")
        for name, failure in failures:
            table.add_row(name, failure.id, failure.quantity, str(failure.expected), str(failure.actual))
        console.print(table)
    unsupported = [(Path(f.file).name, kind, n) for f in report.files for kind, n in f.unsupported_kinds.items()]
    if unsupported:
        table = _table("file", "kind", title="Unsupported kinds: nobody computes these yet")
        table.add_column("cases", justify="right")
        for name, kind, count in unsupported:
            table.add_row(name, kind, str(count))
        console.print(table)


def _counts(report: "Report") -> "Table":
    table = _table("file")
    for heading in ("passed", "failed", "unsupported"):
        table.add_column(heading, justify="right")
    for file in report.files:
        table.add_row(
            Path(file.file).name, str(file.passed), _count(file.failed, "red"), _count(file.unsupported, "yellow")
        )
    if len(report.files) > 1:
        table.add_section()
        failed, unsupported = _count(report.failed, "red"), _count(report.unsupported, "yellow")
        table.add_row("total", str(report.passed), failed, unsupported, style="bold")
    return table


def _count(count: int, style: str) -> "Text":
    """A number that stands out unless it is zero."""
    from rich.text import Text

    return Text(str(count), style=style if count else "dim")


def _table(*headings: str, title: str = "") -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", title_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
