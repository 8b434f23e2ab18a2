"""The engines of a cluster: started under their supervisors on this machine, asked over the log's servers.

What lives here: starting and ending one with its supervisor, waiting until it answers and knows what the others know.
What may not: supervising, which is `supervisor`'s, and what an engine does.
"""

import asyncio
import time

from nats.aio.client import Client

from holdfast.cluster import layout
from holdfast.cluster.connections import EngineStatus, engine_status
from holdfast.cluster.errors import NotReadyError, StartError
from holdfast.cluster.layout import Layout
from holdfast.cluster.plan import Plan, Site, engine_command
from holdfast.cluster.processes import Process, find, is_held, said, start
from holdfast.cluster.supervisor import GRACE_S

_POLL_S = 0.05
_KILLED_AFTER_S = GRACE_S + 5.0


def engine_process(place: Layout, site: Site) -> Process | None:
    """The process of a site's engine; None where none runs."""
    return find(place.engine(site) / layout.ENGINE_PROCESS)


def supervisor_process(place: Layout, site: Site) -> Process | None:
    """The process of a site's supervisor; None where none runs."""
    return find(place.engine(site) / layout.SUPERVISOR_PROCESS)


def engine_runs(place: Layout, site: Site) -> bool:
    """Whether a site's engine runs on this machine, or something that will start it again."""
    is_supervised = supervisor_process(place, site) is not None or is_held(place.engine(site) / layout.SUPERVISOR_LOCK)
    return is_supervised or engine_process(place, site) is not None


def start_engine(plan: Plan, place: Layout, site: Site) -> Process:
    """Start a site's supervisor, which starts its engine; the supervisor's process.

    Raises:
        StartError: It ended at once.
    """
    folder = place.engine(site)
    process = start([*engine_command(plan), layout.ENGINE_FILE], folder, folder / layout.ENGINE_LOG)
    # It will write this itself; until then a command must find it.
    process.write(folder / layout.SUPERVISOR_PROCESS)
    return process


def end_engine(place: Layout, site: Site) -> bool:
    """End a site's supervisor, and its engine with it; False where either had to be killed."""
    supervisor, orderly = supervisor_process(place, site), True
    if supervisor is not None:
        orderly = supervisor.end(_KILLED_AFTER_S)
    engine = engine_process(place, site)
    if engine is not None:
        orderly = engine.end(GRACE_S) and orderly
    return orderly


async def statuses(client: Client, plan: Plan) -> dict[str, EngineStatus]:
    """How all engines are, by name; those that answer."""
    answers = await asyncio.gather(*(engine_status(client, site.engine) for site in plan.sites))
    return {site.engine: answer for site, answer in zip(plan.sites, answers, strict=True) if answer is not None}


async def answering(
    client: Client, place: Layout, site: Site, timeout_s: float, *, position: int = -1, elsewhere: bool = False
) -> EngineStatus:
    """Wait until an engine answers, has folded the frame at a position, and takes writes.

    Args:
        client: Of a user who may ask for its status.
        place: The cluster's folder.
        site: Whose engine.
        timeout_s: How long to wait.
        position: That it must have folded.
        elsewhere: Whether it runs on another machine, where this one cannot see that it gave up.

    Raises:
        StartError: Its supervisor gave up.
        NotReadyError: It did not get that far in time.
    """
    deadline = time.monotonic() + timeout_s
    output = place.engine(site) / layout.ENGINE_LOG
    answer: EngineStatus | None = None
    while time.monotonic() < deadline:
        answer = await engine_status(client, site.engine)
        if answer is not None and answer.position >= position and answer.serving:
            return answer
        if not elsewhere and not engine_runs(place, site):
            raise StartError(site.engine, f"ended{said(output)}", f"read {output}")
        await asyncio.sleep(_POLL_S)
    problem = f"does not answer within {timeout_s:g} s{said(output)}"
    if answer is not None:
        problem = f"is at position {answer.position} of {position} after {timeout_s:g} s"
    raise NotReadyError(site.engine, problem, f"it goes on trying; read {output}")
