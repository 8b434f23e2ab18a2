"""How a cluster is: what its processes on this machine do, and what its servers and engines answer.

What lives here: gathering, and judging whether all is well. What may not: how it is shown.
"""

import asyncio

import msgspec

from holdfast.cluster.connections import EngineStatus, ServerAnswer, ask_servers, connected
from holdfast.cluster.engines import engine_process, engine_runs, statuses
from holdfast.cluster.errors import ForeignError
from holdfast.cluster.layout import Layout
from holdfast.cluster.permissions import LOG_STREAM
from holdfast.cluster.plan import Plan, Site
from holdfast.cluster.processes import Process
from holdfast.cluster.servers import server_process, server_runs
from holdfast.cluster.supervisor import deaths
from holdfast.domain.errors import HoldfastError

CONNECT_S = 4.0
"""Servers that are stopped and not dead take a second each to be passed over."""


class ServerRow(msgspec.Struct, frozen=True):
    """One server.

    Attributes:
        name: Of the server.
        region: Where it is.
        here: Whether it runs from this folder.
        alive: Whether it runs, or answers where it runs elsewhere.
        stopped: Whether a signal halts its process.
        healthy: Whether it says that it has all that it should have.
        leads: Of "meta" (the group of servers) and "log", what it leads.
        version: Of the program; empty where it does not answer.
        pid: Number of its process; 0 where it is not known here.
    """

    name: str
    region: str
    here: bool
    alive: bool
    stopped: bool
    healthy: bool
    leads: tuple[str, ...]
    version: str
    pid: int


class EngineRow(msgspec.Struct, frozen=True):
    """One engine.

    Attributes:
        name: Of the replica.
        region: Where it is.
        here: Whether it runs from this folder.
        alive: Whether it answers.
        running: Whether its process runs here, or its supervisor is about to start it.
        stopped: Whether a signal halts its process.
        position: Of the last frame that it folded.
        lag: Frames behind the furthest end that any engine knows.
        time: Logical time, ns.
        degraded: What it says is not as it should be.
        suspended: Whether the others' votes say that its state is wrong.
        logic: Version of the logic that folds.
        version: Of the program.
        pid: Number of its process; 0 where it is not known.
        uptime_s: How long it runs, seconds.
        deaths: How often its supervisor here saw it die.
    """

    name: str
    region: str
    here: bool
    alive: bool
    running: bool
    stopped: bool
    position: int
    lag: int
    time: int
    degraded: tuple[str, ...]
    suspended: bool
    logic: object
    version: str
    pid: int
    uptime_s: float
    deaths: int


class ClusterStatus(msgspec.Struct, frozen=True):
    """A whole cluster.

    Attributes:
        cluster: Its name.
        folder: From which it was looked at.
        healthy: Whether every server and every engine is well, and the log has a leader.
        problem: What kept the servers from being asked, in words; empty where they were.
        servers: One row each.
        engines: One row each.
    """

    cluster: str
    folder: str
    healthy: bool
    problem: str
    servers: tuple[ServerRow, ...]
    engines: tuple[EngineRow, ...]


class _Heard(msgspec.Struct):
    """What was answered."""

    leaders: dict[str, ServerAnswer] = {}
    health: dict[str, ServerAnswer] = {}
    engines: dict[str, EngineStatus] = {}
    problem: str = ""


async def status(place: Layout, plan: Plan) -> ClusterStatus:
    """How a cluster is now. What does not answer is said to be so, and is no error."""
    heard = await _hear(place, plan)
    servers = tuple(_server_row(place, plan, site, heard) for site in plan.sites)
    engines = tuple(_engine_row(place, plan, site, heard) for site in plan.sites)
    leads = {one for row in servers for one in row.leads}
    well = all(row.healthy for row in servers) and leads == {"meta", "log"}
    well = well and all(row.alive and not row.suspended for row in engines)
    return ClusterStatus(plan.name, str(place.folder), well, heard.problem, servers, engines)


async def _hear(place: Layout, plan: Plan) -> _Heard:
    heard = _Heard({}, {}, {}, "")
    if len(plan.local) == len(plan.sites) and not any(_runs(place, site) for site in plan.sites):
        heard.problem = "no server runs"
        return heard
    try:
        await asyncio.gather(_hear_servers(place, plan, heard), _hear_engines(place, plan, heard))
    except HoldfastError as error:
        heard.problem = str(error)
    return heard


async def _hear_servers(place: Layout, plan: Plan, heard: _Heard) -> None:
    async with connected(place, "system", CONNECT_S) as system:
        count = len(plan.sites)
        heard.leaders, heard.health = await asyncio.gather(
            ask_servers(system, "JSZ", count), ask_servers(system, "HEALTHZ", count)
        )


async def _hear_engines(place: Layout, plan: Plan, heard: _Heard) -> None:
    async with connected(place, "operator", CONNECT_S) as operator:
        heard.engines = await statuses(operator, plan)


def leaders(plan: Plan, answers: dict[str, ServerAnswer]) -> tuple[str, str]:
    """The servers that lead the group of servers and the log, as most servers say; empty where they know of none."""
    alone = plan.sites[0].server if len(plan.sites) == 1 and answers else ""
    meta = [answer.data.meta_cluster.leader for answer in answers.values() if answer.data.meta_cluster]
    log = [answer.data.stream_leader(LOG_STREAM) for answer in answers.values()]
    has_log = any(answer.data.has_stream(LOG_STREAM) for answer in answers.values())
    return alone or _usual(meta), (alone if has_log else "") or _usual(log)


def _usual(names: list[str]) -> str:
    """The name that most give; empty where none gives one."""
    given = [name for name in names if name]
    return max(sorted(set(given)), key=given.count) if given else ""


def _server_row(place: Layout, plan: Plan, site: Site, heard: _Heard) -> ServerRow:
    here = site.region in plan.here
    process = server_process(place, site) if here else None
    answer, health = heard.leaders.get(site.server), heard.health.get(site.server)
    meta, log = leaders(plan, heard.leaders)
    alive = answer is not None or (here and _runs(place, site))
    return ServerRow(
        name=site.server,
        region=site.region,
        here=here,
        alive=alive,
        stopped=_is_stopped(process),
        healthy=health is not None and health.data.status == "ok",
        leads=tuple(what for what, leader in (("meta", meta), ("log", log)) if leader == site.server),
        version=answer.server.ver if answer else "",
        pid=process.pid if process else 0,
    )


def _runs(place: Layout, site: Site) -> bool:
    try:
        return server_runs(place, site)
    except ForeignError:
        return False


def _engine_row(place: Layout, plan: Plan, site: Site, heard: _Heard) -> EngineRow:
    here = site.region in plan.here
    process = engine_process(place, site) if here else None
    answer = heard.engines.get(site.engine)
    shown = answer or EngineStatus()
    end = max((one.end for one in heard.engines.values()), default=0)
    return EngineRow(
        name=site.engine,
        region=site.region,
        here=here,
        alive=answer is not None,
        running=here and engine_runs(place, site),
        stopped=_is_stopped(process),
        position=shown.position,
        lag=max(0, end - 1 - shown.position) if answer else 0,
        time=shown.time,
        degraded=shown.degraded,
        suspended=shown.suspended,
        logic=shown.logic,
        version=shown.version,
        pid=shown.pid or (process.pid if process else 0),
        uptime_s=round(shown.uptime_s, 1),
        deaths=len(deaths(place.engine(site))) if here else 0,
    )


def _is_stopped(process: Process | None) -> bool:
    return process is not None and process.is_stopped
