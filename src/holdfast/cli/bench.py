"""`holdfast bench`: how fast, beside the peers and the yardstick, measured in one run."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.terminal import output, reported, while_compiling
from holdfast.domain.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

Name = Annotated[str, typer.Argument(help="Which: risk-table, remargin or account.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@reported
def bench(name: Name, *, json_: Json = False) -> None:
    """Measure one figure of this machine, with its peers in the same run."""
    import msgspec

    from holdfast import bench as benchmarks

    if name not in benchmarks.NAMES:
        raise InputError("malformed", "NAME", name, f"use one of {', '.join(benchmarks.NAMES)}", "is not a benchmark")
    with while_compiling():
        result = msgspec.to_builtins(benchmarks.run(name))
    if json_:
        typer.echo(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        output().print(_table(name, result))


def _table(name: str, result: dict[str, Any]) -> "Table":
    """One row per number; groups such as `peers` follow with a row for each member."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(name)
    table.add_column("", overflow="fold")
    for key, value in result.items():
        if isinstance(value, dict):
            table.add_section()
            table.add_row(f"{key.replace('_', ' ')}:", "")
            for member, number in value.items():
                table.add_row(f"  {member}", _shown(number))
        else:
            table.add_row(key.replace("_", " "), _shown(value))
    return table


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(member)}" for key, member in value.items())
    return str(value)
