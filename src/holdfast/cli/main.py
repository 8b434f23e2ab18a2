"""The command `holdfast`: one door to everything that people type."""

import sys
from typing import Annotated

import typer

from holdfast.cli import cluster, drill, prove, replica
from holdfast.cli.bench import bench
from holdfast.cli.chaos import chaos
from holdfast.cli.conformance import conformance
from holdfast.cli.independence import independence
from holdfast.cli.inspect import inspect
from holdfast.cli.margin import margin, models
from holdfast.cli.reconcile import reconcile
from holdfast.cli.replay import replay
from holdfast.cli.simulation import sim
from holdfast.cli.terminal import INTERRUPTED
from holdfast.cli.verify import verify

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 (the shape that typer calls)
    if wanted:
        import holdfast

        typer.echo(f"holdfast {holdfast.__version__}")
        raise typer.Exit


@app.callback()
def holdfast_command(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Margin of crypto derivatives: exact, explained, reproducible to the bit."""


app.command()(margin)
app.command()(models)
app.command()(conformance)
app.command()(bench)
app.command()(replay)
app.command()(inspect)
app.command()(independence)
app.command()(reconcile)
app.command()(sim)
app.command()(verify)
app.command(hidden=True)(chaos)
app.add_typer(cluster.app, name="cluster")
app.add_typer(drill.app, name="drill")
app.add_typer(replica.app, name="replica")
app.add_typer(prove.app, name="prove")


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        app(prog_name="holdfast")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
