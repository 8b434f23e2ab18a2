"""`holdfast bench`: how fast, beside the peers and the yardstick, measured in one run."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.terminal import output, reported, while_compiling
from holdfast.domain.errors import InputError, MissingLibraryError

if TYPE_CHECKING:
    from rich.table import Table

    from holdfast.bench import Result
    from holdfast.bench.cluster import ClusterResult

    Rows = Sequence[tuple[str, str]]

Name = Annotated[
    str,
    typer.Argument(
        help="Which: risk-table, remargin, account, fold, embedded, witness or cluster.", show_default=False
    ),
]
Trials = Annotated[int | None, typer.Option("--trials", min=1, help="Trials of each fault (cluster only).")]
CLUSTER = "cluster"
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@reported
def bench(name: Name, *, trials: Trials = None, json_: Json = False) -> None:
    """Measure one figure of this machine, with its peers in the same run."""
    import msgspec

    from holdfast import bench as benchmarks

    names = (*benchmarks.NAMES, CLUSTER)
    if name not in names:
        raise InputError("malformed", "NAME", name, f"use one of {', '.join(names)}", "is not a benchmark")
    if trials is not None and name != CLUSTER:
        raise InputError("malformed", "--trials", trials, f"leave it out, or measure {CLUSTER}", "is not for this one")
    with while_compiling():
        result, rows = _cluster(trials) if name == CLUSTER else _local(name)
    if json_:
        typer.echo(json.dumps(msgspec.to_builtins(result), indent=2, ensure_ascii=False))
    else:
        output().print(_table(name, rows))
        output().print(
            f"  {result.machine.get('processor', '')}, {result.machine.get('cores', '?')} cores; --json has the rest"
        )


def _local(name: str) -> "tuple[Result, Rows]":
    from holdfast import bench as benchmarks

    result = benchmarks.run(name)
    return result, benchmarks.render(result)


def _cluster(trials: int | None) -> "tuple[ClusterResult, Rows]":
    """The benchmark of the cluster, whose libraries are an extra."""
    try:
        from holdfast.bench import cluster
    except ModuleNotFoundError as error:
        raise MissingLibraryError('the cluster needs the extra: pip install "holdfast[cluster]"') from error
    result = cluster.benchmark() if trials is None else cluster.benchmark(trials=trials)
    return result, cluster.render(result)


def _table(name: str, rows: Sequence[tuple[str, str]]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(name, overflow="fold")
    table.add_column("", overflow="fold")
    for what, number in rows:
        table.add_row(what, number)
    return table
