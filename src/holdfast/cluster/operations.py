"""What is done with a whole cluster: up, restart, kill, down.

Each holds the folder's lock while it works, so that two commands never work against each other; `kill` does not, as it
is for trying what happens. What lives here: the order in which things are done, and what must be well before the next.
What may not: how one server or engine is started, and how results are shown.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from nats.aio.client import Client

from holdfast.cluster import layout
from holdfast.cluster.connections import ask_servers, connected
from holdfast.cluster.engines import (
    answering,
    end_engine,
    engine_process,
    engine_runs,
    start_engine,
    statuses,
    supervisor_process,
)
from holdfast.cluster.errors import NotReadyError, NotRunningError, UnhealthyError
from holdfast.cluster.files import write_cluster
from holdfast.cluster.genesis import Sender, genesis
from holdfast.cluster.layout import Layout
from holdfast.cluster.plan import Plan, Site, read_plan
from holdfast.cluster.processes import Process, sole
from holdfast.cluster.provision import meta_leader, provide
from holdfast.cluster.servers import retire_server, server_process, server_runs, start_server
from holdfast.cluster.status import leaders
from holdfast.domain.errors import InputError
from holdfast.replica.warming import warm

READY_S = 120.0
"""How long the whole cluster may take to become ready: a first start compiles."""
SERVER_END_S = 15.0
_POLL_S = 0.1
_COMMAND = "another `holdfast cluster` command"

Tell = Callable[[str], None]
"""Takes a line of progress."""


class Done(NamedTuple):
    """What `up` did.

    Attributes:
        started: What it started.
        reloaded: Servers that ran and were told that their file changed.
        outdated: What ran and must be restarted to see that its file changed.
    """

    started: tuple[str, ...]
    reloaded: tuple[str, ...]
    outdated: tuple[str, ...]


def silent(_line: str) -> None:
    """Tell nobody."""


async def up(
    folder: Path, name: str = "", *, ready_s: float = READY_S, tell: Tell = silent, send: Sender | None = None
) -> Done:
    """Start what does not run, and wait until all of this machine is ready.

    Args:
        folder: Of the cluster; it exists.
        name: Only this server or engine.
        ready_s: How long to wait for each step.
        tell: Takes lines of progress.
        send: Sends the first commands of the log; by default a client.

    Raises:
        ClusterError: Something did not start or become ready. What was started goes on.
        UnhealthyError: Most servers have lost their data. Nothing was started.
    """
    place = Layout(folder)
    with sole(place.lock, _COMMAND):
        plan = read_plan(folder)
        servers, engines = chosen(plan, name)
        if not name:
            _refuse_empty(place, plan)
        reloaded, outdated = _renew(place, plan)
        started = [_started_server(plan, place, site, tell) for site in servers if not server_runs(place, site)]
        if not engines and name:
            return Done(tuple(started), reloaded, outdated)
        tell(f"led by {await meta_leader(place, plan, ready_s, tell)}")
        await provide(place, plan)
        if not plan.programs.engine and not all(engine_runs(place, site) for site in engines):
            await asyncio.to_thread(warm)  # Compiled here once, or by each of them at the same time.
        for site in engines:
            if not engine_runs(place, site):
                start_engine(plan, place, site)
                started.append(site.engine)
                tell(f"{site.engine} starts")
        # A folder that directs machines runs nothing itself, and waits for all.
        await _all_answer(place, engines if plan.here else plan.sites, ready_s, elsewhere=not plan.here)
        if await genesis(place, plan, send):
            tell("the log was begun")
    return Done(tuple(started), reloaded, outdated)


def _refuse_empty(place: Layout, plan: Plan) -> None:
    """Refuse to start so many servers without data that they outvote the others, who would then drop the log."""
    empty = [site.server for site in plan.local if not (place.server(site) / layout.SERVER_DATA).exists()]
    if place.genesis.exists() and 2 * len(empty) > len(plan.sites):
        problem = "have no data, though the log was begun: they would outvote the others and delete it"
        advice = "put their data back, or rebuild the log from an engine's copy: docs/how-to/repair-a-cluster.md"
        raise UnhealthyError(", ".join(empty), problem, advice)


def _renew(place: Layout, plan: Plan) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Write what differs from the plan, tell running servers, and say who does not know yet."""
    folders = {path.parent for path in write_cluster(place, plan)}
    reloaded, outdated = list[str](), list[str]()
    for site in plan.local:
        if place.server(site) in folders and server_runs(place, site):
            process = server_process(place, site)
            told = process is not None and process.signal(signal.SIGHUP)
            (reloaded if told else outdated).append(site.server)
        if place.engine(site) in folders and engine_runs(place, site):
            outdated.append(site.engine)
    return tuple(reloaded), tuple(outdated)


def _started_server(plan: Plan, place: Layout, site: Site, tell: Tell) -> str:
    start_server(plan, place, site)
    tell(f"{site.server} runs")
    return site.server


async def _all_answer(place: Layout, engines: Sequence[Site], ready_s: float, *, elsewhere: bool) -> None:
    if engines:
        async with connected(place, "operator", ready_s) as operator:
            waits = (answering(operator, place, site, ready_s, elsewhere=elsewhere) for site in engines)
            await asyncio.gather(*waits)


async def restart(folder: Path, name: str = "", *, ready_s: float = READY_S, tell: Tell = silent) -> list[str]:
    """Restart one thing, or all of this machine one after another, each only while all others are well.

    An engine is ended in order and started again, and must have folded what the others have. A server hands over what
    it leads before it ends, and must have all its data again.

    Returns:
        The names of what was restarted, in that order.

    Raises:
        UnhealthyError: Something else is not well: one more away could cost the quorum. What was restarted is.
        NotRunningError: It was not started from this folder.
    """
    place, done = Layout(folder), list[str]()
    with sole(place.lock, _COMMAND):
        plan = read_plan(folder)
        write_cluster(place, plan)
        servers, engines = chosen(plan, name)
        for site in engines:
            await _restart_engine(plan, place, site, ready_s)
            tell(f"{site.engine} runs again")
            done.append(site.engine)
        async with connected(place, "system", ready_s) as system:
            for site in await _followers_first(system, plan, servers):
                await _restart_server(system, plan, place, site, ready_s)
                tell(f"{site.server} runs again")
                done.append(site.server)
    return done


async def _restart_engine(plan: Plan, place: Layout, site: Site, ready_s: float) -> None:
    if supervisor_process(place, site) is None:
        raise NotRunningError(site.engine, "was not started from this folder", "restart it with what started it")
    async with connected(place, "operator") as operator:
        before = await statuses(operator, plan)
        for other in plan.sites:
            answer = before.get(other.engine)
            if other is not site and (answer is None or answer.suspended or not answer.serving):
                problem = f"was not restarted, as {other.engine} is not well"
                raise UnhealthyError(site.engine, problem, f"mend {other.engine} first (`holdfast cluster up`)")
        end_engine(place, site)
        start_engine(plan, place, site)
        await answering(operator, place, site, ready_s)
        known = [answer.position for answer in (await statuses(operator, plan)).values()]
        await answering(operator, place, site, ready_s, position=max(known, default=-1))


async def _followers_first(system: Client, plan: Plan, servers: Sequence[Site]) -> list[Site]:
    """The servers in an order in which what one hands over is seldom handed over again."""
    if not servers:
        return []
    leading = leaders(plan, await ask_servers(system, "JSZ", len(plan.sites)))
    return sorted(servers, key=lambda site: leading.count(site.server))


async def _restart_server(system: Client, plan: Plan, place: Layout, site: Site, ready_s: float) -> None:
    process = server_process(place, site)
    if process is None:
        raise NotRunningError(site.server, "was not started from this folder", "restart it with what started it")
    problem = await unwell(system, plan)
    if problem:
        raise UnhealthyError(site.server, f"was not restarted, as {problem}", "mend that first")
    retire_server(process, site)
    start_server(plan, place, site)
    deadline = time.monotonic() + ready_s
    while problem := await unwell(system, plan):
        if time.monotonic() > deadline:
            raise NotReadyError(site.server, f"{problem} after {ready_s:g} s", "see `holdfast cluster status`")
        await asyncio.sleep(_POLL_S)


async def unwell(system: Client, plan: Plan) -> str:
    """What keeps the servers from being able to spare one, in words; empty where nothing does."""
    health = await ask_servers(system, "HEALTHZ", len(plan.sites))
    for site in plan.sites:
        answer = health.get(site.server)
        if answer is None or answer.data.status != "ok":
            return f"{site.server} {'does not answer' if answer is None else 'has not caught up'}"
    meta, log = leaders(plan, await ask_servers(system, "JSZ", len(plan.sites)))
    return "" if meta and log else "the log has no leader"


def kill(folder: Path, name: str, number: signal.Signals, *, with_supervisor: bool = False) -> int:
    """Send a signal to a server or an engine; the number of its process.

    Args:
        folder: Of the cluster.
        name: Of the server or engine.
        number: The signal.
        with_supervisor: Kill an engine's supervisor first, so that nothing starts the engine again.

    Raises:
        NotRunningError: No such process runs from this folder.
    """
    place = Layout(folder)
    servers, engines = chosen(read_plan(folder), name)
    if with_supervisor:
        for site in engines:
            _signal(supervisor_process(place, site), signal.SIGKILL, f"the supervisor of {name}")
    found = [server_process(place, site) for site in servers] + [engine_process(place, site) for site in engines]
    return _signal(found[0], number, name)


def _signal(process: Process | None, number: signal.Signals, name: str) -> int:
    if process is None or not process.signal(number):
        raise NotRunningError(name, "does not run from this folder", "see `holdfast cluster status`")
    return process.pid


async def down(folder: Path, name: str = "", *, tell: Tell = silent) -> list[str]:
    """End the engines and then the servers of this machine, in order.

    Args:
        folder: Of the cluster.
        name: Only this server or engine.
        tell: Takes lines of progress.

    Returns:
        The names of what did not end in time and was killed.
    """
    place, killed = Layout(folder), list[str]()
    with sole(place.lock, _COMMAND):
        servers, engines = chosen(read_plan(folder), name)
        running = [site for site in engines if engine_runs(place, site)]
        orderly = await asyncio.gather(*(asyncio.to_thread(end_engine, place, site) for site in running))
        killed += [site.engine for site, well in zip(running, orderly, strict=True) if not well]
        for site in running:
            tell(f"{site.engine} ended")
        found = [(site, process) for site in servers if (process := server_process(place, site))]
        orderly = await asyncio.gather(*(asyncio.to_thread(process.end, SERVER_END_S) for _, process in found))
        killed += [site.server for (site, _), well in zip(found, orderly, strict=True) if not well]
        for site, _ in found:
            tell(f"{site.server} ended")
    return killed


def chosen(plan: Plan, name: str) -> tuple[tuple[Site, ...], tuple[Site, ...]]:
    """The sites whose server, and those whose engine, a name means; all of this machine without a name.

    Raises:
        InputError: Nothing of this machine has that name.
    """
    local = plan.local
    if not name:
        return local, local
    servers = tuple(site for site in local if site.server == name)
    engines = tuple(site for site in local if site.engine == name)
    if not servers and not engines:
        names = ", ".join(name for site in local for name in (site.server, site.engine)) or "nothing here"
        raise InputError("malformed", "NAME", name, f"use one of {names}", "does not run from this folder")
    return servers, engines
