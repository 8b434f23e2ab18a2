"""`holdfast drill`: an error planted in real engines on purpose, and whether anything wrong came of it."""

import json
import secrets
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.terminal import messages, note, output, reported, while_compiling
from holdfast.domain.errors import MissingLibraryError

if TYPE_CHECKING:
    from rich.table import Table

    from holdfast.chaos.second_engine.result import Result

FAILED = 1
"""Exit status where something was liquidated wrongly, not named in time, or not proved."""

app = typer.Typer(no_args_is_help=True, help="Plant an error on purpose, and see that nothing wrong comes of it.")

Accounts = Annotated[int, typer.Option("--accounts", help="Clients' accounts, 200 to 200,000.")]
Seed = Annotated[int, typer.Option("--seed", help="Of what they hold; by default a new one.")]
Report = Annotated[Path | None, typer.Option("--report", help="Write a report in Markdown here.")]
Keep = Annotated[Path | None, typer.Option("--keep", help="A new folder for cluster and evidence, to be kept.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.callback()
def drill() -> None:
    """Plant an error on purpose, and see that nothing wrong comes of it."""


@app.command("second-engine")
@reported
def second_engine(
    *, accounts: Accounts = 20_000, seed: Seed = -1, report: Report = None, keep: Keep = None, json_: Json = False
) -> None:
    """Wrong numbers in the first engines of a real cluster with second engines; about four minutes."""
    try:
        from holdfast.chaos.second_engine.report import markdown, plain
        from holdfast.chaos.second_engine.run import check, run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("nats", "scipy"):
            raise
        raise MissingLibraryError("a cluster needs its extra: pip install 'holdfast[cluster]'") from None
    seed = seed if seed != -1 else secrets.randbelow(1 << 32)
    check(accounts, seed)
    again = f"holdfast drill second-engine --accounts {accounts} --seed {seed}"
    note(f"seed {seed}; again: {again}")
    began = time.monotonic()
    with while_compiling(), tempfile.TemporaryDirectory(prefix="holdfast-drill-") as made:
        folder = keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        result = run(
            folder,
            accounts,
            seed,
            lambda line: messages().print(f"{time.monotonic() - began:7.1f} s  {line}", highlight=False),
        )
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(markdown(result, again), encoding="utf-8")
    if json_:
        typer.echo(json.dumps(plain(result), indent=2, ensure_ascii=False))
    else:
        _show(result)
    raise typer.Exit(FAILED if result.problems else 0)


def _show(result: "Result") -> None:
    console = output()
    console.print(_table(result))
    for act in result.acts:
        for text in act.named_by:
            console.print(f"{act.name}: {text}")
    for line in result.problems or ["no wrong liquidation; every error was named within a mark; the evidence holds"]:
        console.print(line)


def _table(result: "Result") -> "Table":
    from rich import box
    from rich.table import Table

    from holdfast.chaos.second_engine.report import HEADS, rows

    table = Table(box=box.SIMPLE_HEAD)
    for number, head in enumerate(HEADS):
        table.add_column(head, justify="right" if number else "left", overflow="fold")
    for row in rows(result):
        table.add_row(*row)
    return table
