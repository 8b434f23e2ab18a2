"""`holdfast cluster`: several engines over one replicated log, started, watched and ended on this machine."""

import asyncio
import json
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from holdfast.cli.terminal import is_compiled, messages, note, output, reported, while_compiling
from holdfast.domain.errors import InputError, MissingLibraryError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from rich.table import Table

    from holdfast.cluster.status import ClusterStatus, EngineRow, ServerRow

NOT_WELL = 1
"""Exit status of `status` where something does not run, does not answer or has not caught up."""
BROKEN_PROMISE = 1
"""Exit status of `demo` where something was lost or doubled, or engines have different states."""
DEMO_MINUTES = (0.2, 15.0)
REGIONS = ("amsterdam", "frankfurt", "london")
SIGNALS = ("KILL", "STOP", "CONT", "TERM")
_ABSENT = "–"
_NUMBERS = ("position", "lag", "deaths", "pid")
_WIDTH = 110
"""Columns that the tables take at least: names and positions are never broken."""

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="A cluster: replicated log, several engines, on this machine or on three.")

Name = Annotated[str, typer.Argument(help="Only this server or engine, such as engine-amsterdam.", show_default=False)]
Folder = Annotated[Path, typer.Option("--folder", help="The cluster's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Regions = Annotated[str, typer.Option("--regions", help="Regions of a new cluster: three names, or five.")]
Wait = Annotated[float, typer.Option("--wait", help="Seconds that each step may take.")]
HOME = Path("~/.holdfast/cluster")


@app.command()
@reported
def up(
    name: Name = "",
    *,
    folder: Folder = HOME,
    regions: Regions = "",
    without_witness: Annotated[
        bool,
        typer.Option(
            "--without-witness", help="For a new cluster: no second engine beside each; nothing is withdrawn."
        ),
    ] = False,
    wait: Wait = 120,
    json_: Json = False,
) -> None:
    """Start what does not run; the first time, make the cluster. It goes on when this command has ended."""
    operations = _operations()
    home = _made(folder, regions, witness=not without_witness)
    _compile()
    with _progress() as tell:
        done = asyncio.run(operations.up(home, name, ready_s=wait, tell=tell))
    state = _status_of(home)
    if json_:
        typer.echo(json.dumps({**done._asdict(), "status": _plain(state)}, indent=2))
        return
    _show(state)
    for what, names in (("reloaded", done.reloaded), ("restart, as their files changed,", done.outdated)):
        if names:
            note(f"{what} {', '.join(names)}")
    started = ", ".join(done.started) or "nothing: everything ran"
    note(f"started {started}; clients use {home / 'clients' / 'client.toml'}")


@app.command()
@reported
def status(*, folder: Folder = HOME, json_: Json = False) -> None:
    """Show servers and engines; exit status 0 only if all are well."""
    _operations()
    state = _status_of(folder.expanduser())
    if json_:
        typer.echo(json.dumps(_plain(state), indent=2))
    else:
        _show(state)
    raise typer.Exit(0 if state.healthy else NOT_WELL)


@app.command()
@reported
def kill(
    name: Annotated[str, typer.Argument(help="Server or engine.", show_default=False)],
    *,
    folder: Folder = HOME,
    signal_: Annotated[str, typer.Option("--signal", help="KILL, STOP, CONT or TERM.")] = "KILL",
    supervisor: Annotated[
        bool, typer.Option("--with-supervisor", help="Kill an engine's supervisor too: it then stays dead.")
    ] = False,
    json_: Json = False,
) -> None:
    """Kill a server or an engine, to see what happens. An engine's supervisor starts it again; a server needs `up`."""
    operations = _operations()
    word = signal_.upper().removeprefix("SIG")
    if word not in SIGNALS:
        raise InputError("malformed", "--signal", signal_, f"use one of {', '.join(SIGNALS)}")
    number = signal.Signals[f"SIG{word}"]
    pid = operations.kill(folder.expanduser(), name, number, with_supervisor=supervisor)
    if json_:
        typer.echo(json.dumps({"name": name, "pid": pid, "signal": number.name}))
    else:
        typer.echo(f"{number.name} to {name}, process {pid}")


@app.command()
@reported
def restart(name: Name = "", *, folder: Folder = HOME, wait: Wait = 120, json_: Json = False) -> None:
    """Restart one thing, or all one after another, each only while all others are well: clients go on."""
    operations = _operations()
    with _progress() as tell:
        done = asyncio.run(operations.restart(folder.expanduser(), name, ready_s=wait, tell=tell))
    typer.echo(json.dumps({"restarted": done}) if json_ else f"restarted {', '.join(done)}")


@app.command()
@reported
def down(name: Name = "", *, folder: Folder = HOME, json_: Json = False) -> None:
    """End the engines and then the servers, in order. Their data stay."""
    operations = _operations()
    with _progress() as tell:
        killed = asyncio.run(operations.down(folder.expanduser(), name, tell=tell))
    if json_:
        typer.echo(json.dumps({"killed": killed}))
    elif killed:
        note(f"{', '.join(killed)} did not end in time and was killed; nothing acknowledged is lost by that")


@app.command()
@reported
def files(
    *,
    folder: Annotated[Path, typer.Option("--folder", help="Where to write: new, or made by this command before.")],
    hosts: Annotated[
        str, typer.Option("--hosts", help="A new cluster's machines, as amsterdam=10.0.0.1,frankfurt=…,london=….")
    ] = "",
    json_: Json = False,
) -> None:
    """Write the folders of machines of their own, to be copied to them; or again, after cluster.toml was changed."""
    from holdfast.cluster.files import make_machines, write_cluster
    from holdfast.cluster.layout import Layout
    from holdfast.cluster.plan import PLAN_NAME, read_plan

    home = folder.expanduser()
    if hosts:
        _refuse_existing(home, PLAN_NAME)
        plan = make_machines(home, _hosts(hosts))
        written = [home]
    else:
        plan = read_plan(home)
        written = write_cluster(Layout(home), plan)
    copied = {} if plan.here else {site.host: str(Layout(home).machine(site).folder) for site in plan.sites}
    if json_:
        typer.echo(json.dumps({"written": [str(path) for path in written], "copy": copied}, indent=2))
        return
    for host, source in copied.items():
        typer.echo(f"copy {source} to {host}")
    note(
        f"{len(written)} files differed and were written" if not hosts else f"keep {home}/authority/authority.key safe"
    )


@app.command()
@reported
def rebuild(
    engine: Annotated[str, typer.Argument(help="The engine whose copy of the log is to be believed.")],
    *,
    folder: Folder = HOME,
    even_if_lost: Annotated[
        bool, typer.Option("--even-if-lost", help="Go on though another copy holds frames that this one does not.")
    ] = False,
    json_: Json = False,
) -> None:
    """Make the servers' log anew from an engine's copy, all engines being down: see docs/how-to/repair-a-cluster.md."""
    _operations()
    from holdfast.cluster.rebuild import rebuild as make_anew

    with _progress() as tell:
        done = asyncio.run(make_anew(folder.expanduser(), engine, even_if_lost=even_if_lost, tell=tell))
    if json_:
        typer.echo(json.dumps(done._asdict()))
        return
    typer.echo(f"the log has {done.frames:,} frames" + (f"; what it was is in {done.kept}" if done.kept else ""))
    for name in done.contradicting:
        note(f"empty the folder of {name} but for engine.toml, authority.pem and replica.key before it starts")


@app.command()
@reported
def demo(
    *,
    minutes: Annotated[float, typer.Option("--minutes", help="How long the market is replayed.")] = 3.0,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Make the cluster here (new or empty) and keep its files.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of population, noise and orders.")] = 1,
    json_: Json = False,
) -> None:
    """Show it: a cluster under load, killed piece by piece, while the crash of March 2020 replays.

    Exit status 0 only if nothing that was acknowledged was lost or doubled and all engines have one state.
    """
    _operations()
    if not DEMO_MINUTES[0] <= minutes <= DEMO_MINUTES[1]:
        raise InputError("out-of-range", "--minutes", minutes, f"give {DEMO_MINUTES[0]:g} to {DEMO_MINUTES[1]:g}")
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("malformed", "--folder", str(folder), "name a folder that is new or empty", "is in use")
    _compile()
    from holdfast.chaos.demo.run import Job, demonstrate
    from holdfast.chaos.demo.scene import Scene
    from holdfast.chaos.demo.view import shown, summary

    with ExitStack() as stack:
        home = folder.expanduser() if folder else Path(stack.enter_context(_temporary())) / "cluster"
        scene = Scene(time.monotonic(), 60.0 * minutes)
        with shown(scene, messages()):
            result = demonstrate(Job(minutes=minutes, seed=seed), home, scene)
    if json_:
        typer.echo(result.as_json())
    else:
        console = output()
        console.width = max(console.width, _WIDTH)
        for part in summary(result):
            console.print(part)
        again = f" --folder {home}" if folder else ""
        console.print(f"  go on: holdfast cluster up{again}, and docs/tutorials/first-cluster.md")
    raise typer.Exit(0 if result.is_kept else BROKEN_PROMISE)


def _temporary() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="holdfast-demo-", ignore_cleanup_errors=True)


def _hosts(text: str) -> dict[str, str]:
    hosts: dict[str, str] = {}
    for item in text.split(","):
        region, equals, host = item.strip().partition("=")
        if not equals:
            raise InputError("malformed", "--hosts", item, "write it like amsterdam=10.0.0.1,frankfurt=10.0.0.2")
        if region in hosts:
            raise InputError("duplicate-line", "--hosts", region, "give each region once")
        hosts[region] = host
    return hosts


def _refuse_existing(home: Path, plan_name: str) -> None:
    if (home / plan_name).exists():
        advice = "leave --hosts out to write its files again, or name a new folder"
        raise InputError("malformed", "--hosts", str(home), advice, "is for a new cluster, and the folder has one")


def _made(folder: Path, regions: str, *, witness: bool) -> Path:
    """The folder, with a new cluster if it has none."""
    from holdfast.cluster.files import make_cluster
    from holdfast.cluster.plan import PLAN_NAME, read_plan

    home = folder.expanduser()
    names = tuple(one.strip() for one in regions.split(",")) if regions else ()
    if not (home / PLAN_NAME).exists():
        make_cluster(home, names or REGIONS, witness=witness)
    elif names and names != (have := tuple(site.region for site in read_plan(home).sites)):
        advice = f"this cluster has {','.join(have)}; leave --regions out, or name a new folder"
        raise InputError("malformed", "--regions", regions, advice, "is for a new cluster")
    return home


def _compile() -> None:
    """Compile once here, rather than in every engine at the same time."""
    if not is_compiled():
        from holdfast.replica.warming import warm

        with while_compiling():
            warm()


def _operations() -> "ModuleType":
    """The operations; says what to install where the library came without what a cluster needs."""
    try:
        from holdfast.cluster import operations
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("nats"):
            raise
        raise MissingLibraryError("a cluster needs nats-py: pip install 'holdfast[cluster]'") from None
    return operations


def _status_of(home: Path) -> "ClusterStatus":
    from holdfast.cluster.layout import Layout
    from holdfast.cluster.plan import read_plan
    from holdfast.cluster.status import status as look

    return asyncio.run(look(Layout(home), read_plan(home)))


@contextmanager
def _progress() -> "Iterator[Callable[[str], None]]":
    """A status line on standard error where somebody is watching, and nothing elsewhere."""
    console = messages()
    if not console.is_terminal:
        yield lambda _line: None
        return
    with console.status("looks what runs") as shown:
        yield shown.update


def _plain(state: "ClusterStatus") -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(state)
    return plain


def _show(state: "ClusterStatus") -> None:
    console = output()
    console.width = max(console.width, _WIDTH)
    console.print(_table("servers", ("server", "region", "state", "leads", "version", "pid"), state.servers, _server))
    columns = ("engine", "state", "position", "lag", "logical time", "version", "deaths", "pid")
    console.print(_table("engines", columns, state.engines, _engine))
    for mark in dict.fromkeys(mark for row in state.engines for mark in row.degraded):
        names = ", ".join(row.name for row in state.engines if mark in row.degraded)
        console.print(f"  degraded: {mark} ({names})", soft_wrap=True)
    if state.problem:
        note(state.problem)


def _table(title: str, columns: tuple[str, ...], rows: tuple[T, ...], cells: Callable[[T], tuple[str, ...]]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if column in _NUMBERS else "left", no_wrap=True)
    for row in rows:
        table.add_row(*cells(row))
    return table


def _server(row: "ServerRow") -> tuple[str, ...]:
    state = "well" if row.healthy else "catching up" if row.alive else "dead" if row.here else "silent"
    leads = ", ".join(row.leads) or _ABSENT
    return row.name, row.region, "stopped" if row.stopped else state, leads, row.version or _ABSENT, _number(row.pid)


def _engine(row: "EngineRow") -> tuple[str, ...]:
    from holdfast.domain.units import NANOSECONDS_PER_SECOND, format_time

    state = "starting" if row.running else "dead" if row.here else "silent"
    if row.alive:
        state = "suspended" if row.suspended else "degraded" if row.degraded else "well"
    version = f"{row.version or _ABSENT} (logic {row.logic})" if row.logic is not None else row.version or _ABSENT
    return (
        row.name,
        "stopped" if row.stopped else state,
        f"{row.position:,}" if row.alive else _ABSENT,
        f"{row.lag:,}" if row.alive else _ABSENT,
        format_time(row.time // NANOSECONDS_PER_SECOND * NANOSECONDS_PER_SECOND) if row.time else _ABSENT,
        version,
        f"{row.deaths}",
        _number(row.pid),
    )


def _number(pid: int) -> str:
    return str(pid) if pid else _ABSENT
