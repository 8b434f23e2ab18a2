"""`holdfast bench`: how fast, beside the peers and the yardstick, measured in one run."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.terminal import output, reported, while_compiling
from holdfast.domain.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

Name = Annotated[
    str, typer.Argument(help="Which: risk-table, remargin, account, fold or embedded.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@reported
def bench(name: Name, *, json_: Json = False) -> None:
    """Measure one figure of this machine, with its peers in the same run."""
    import msgspec

    from holdfast import bench as benchmarks

    if name not in benchmarks.NAMES:
        raise InputError("malformed", "NAME", name, f"use one of {', '.join(benchmarks.NAMES)}", "is not a benchmark")
    with while_compiling():
        result = benchmarks.run(name)
    if json_:
        typer.echo(json.dumps(msgspec.to_builtins(result), indent=2, ensure_ascii=False))
    else:
        output().print(_table(name, benchmarks.render(result)))
        output().print(
            f"  {result.machine.get('processor', '')}, {result.machine.get('cores', '?')} cores; --json has the rest"
        )


def _table(name: str, rows: Sequence[tuple[str, str]]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(name, overflow="fold")
    table.add_column("", overflow="fold")
    for what, number in rows:
        table.add_row(what, number)
    return table
