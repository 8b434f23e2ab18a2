"""`holdfast replica`: one replica of a cluster, run from its file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.terminal import note, reported

app = typer.Typer(no_args_is_help=True, help="One replica of a cluster, from the file that `cluster up` writes.")

File = Annotated[Path, typer.Argument(help="The replica's engine.toml.", show_default=False)]
Run = Annotated[list[str] | None, typer.Option("--run", help="Words of another engine's command.", hidden=True)]


@app.command()
@reported
def run(file: File) -> None:
    """Run a replica until it is told to end (SIGTERM)."""
    from holdfast.cluster.layout import ENGINE_PROCESS
    from holdfast.cluster.processes import this_process
    from holdfast.replica.configuration import read_configuration
    from holdfast.replica.folder import make_folder
    from holdfast.replica.node.process import run as run_node

    configuration = read_configuration(file)
    this_process().write(make_folder(configuration.folder) / ENGINE_PROCESS)
    raise typer.Exit(run_node(configuration))


@app.command()
@reported
def supervise(file: File, *, run_: Run = None) -> None:
    """Run a replica, and start it again after a crash."""
    from holdfast.cluster.supervisor import supervise as watch
    from holdfast.replica.configuration import read_configuration

    configuration = read_configuration(file)
    command = run_ or [sys.executable, "-P", "-m", "holdfast.cli.main", "replica", "run"]
    raise typer.Exit(watch(configuration.name, configuration.folder, [*command, str(file.absolute())]))


@app.command()
@reported
def key(file: File) -> None:
    """Print a replica's public key; its private key is made where there is none."""
    from holdfast.domain.signatures import public_key_of
    from holdfast.replica.configuration import read_configuration
    from holdfast.replica.folder import key_of, make_folder

    configuration = read_configuration(file)
    public = public_key_of(key_of(make_folder(configuration.folder))).hex()
    if public != configuration.replicas[configuration.number].public_key:
        note(f"{file} names another key; give this one as public_key in cluster.toml, and write the files again")
    typer.echo(public)
