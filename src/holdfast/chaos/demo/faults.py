"""What is killed, one thing after another: whom a fault hits, how, and what mends it.

What lives here: the faults and the acts. What may not: when they are due, and how long clients waited (`run`).
"""

import asyncio
import signal
from collections.abc import Sequence
from typing import Final, NamedTuple

from holdfast.chaos.demo.watch import Watch
from holdfast.cluster.connections import connected
from holdfast.cluster.engines import engine_process
from holdfast.cluster.errors import NotRunningError
from holdfast.cluster.layout import Layout
from holdfast.cluster.plan import Plan, Site
from holdfast.cluster.processes import Process
from holdfast.cluster.servers import server_process, start_server
from holdfast.log.jetstream.stream import STREAM

STOPPED_S: Final = 6.0
"""How long a process stays stopped."""
ADMIN_S: Final = 5.0


class Fault(NamedTuple):
    """Something that is done to the cluster.

    Attributes:
        kind: Key of it, one word.
        title: For people, short.
        story: What is done, a sentence with the place of what is hit as {}.
        mending: What brings it back.
    """

    kind: str
    title: str
    story: str
    mending: str


FAULTS: Final = (
    Fault("engine", "engine killed", "kill -9 {}", "its supervisor starts it again"),
    Fault("stop", "engine stopped", "kill -STOP {}", "kill -CONT after 6 s"),
    Fault("follower", "follower killed", "kill -9 {}, a follower of the log", "it is started again"),
    Fault("leader", "log leader killed", "kill -9 {}, which leads the log", "the others elect, then it is started again"),
    Fault("step-down", "log step-down", "{} is asked to hand the log over", "nothing to mend"),
    Fault("all", "all six killed", "kill -9 {}", "the servers are started again, supervisors start the engines"),
)
"""In the order in which they are done."""
ALL: Final = "all servers and engines"


class Actor:
    """Does what faults say, to processes that were started from the folder and to nothing else."""

    def __init__(self, place: Layout, plan: Plan, watch: Watch) -> None:
        self._place, self._plan, self._watch = place, plan, watch

    def target(self, fault: Fault) -> str:
        """What a fault hits now: the name of a server or an engine, or ALL; empty while the log has no leader."""
        sites, leader = self._plan.sites, self._watch.leader
        match fault.kind:
            case "engine":
                return sites[0].engine
            case "stop":
                return sites[1 % len(sites)].engine
            case "follower":
                return next((site.server for site in reversed(sites) if site.server != leader), "") if leader else ""
            case "all":
                return ALL
            case _:
                return leader

    def hit(self, target: str) -> tuple[str, ...]:
        """Regions whose engine is hit."""
        return tuple(site.region for site in self._plan.sites if target in (site.engine, ALL))

    async def strike(self, fault: Fault, target: str) -> None:
        """Do it."""
        if fault.kind == "step-down":
            async with connected(self._place, "admin", ADMIN_S) as admin:
                await admin.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{STREAM}", b"", timeout=ADMIN_S)
            return
        number = signal.SIGSTOP if fault.kind == "stop" else signal.SIGKILL
        for process in self._processes(target):
            if process is not None:
                process.signal(number)

    def _processes(self, target: str) -> list[Process | None]:
        """The processes of a target, all found before the first is hit."""
        found: list[Process | None] = []
        for site in self._plan.sites:
            found += [server_process(self._place, site)] if target in (site.server, ALL) else []
            found += [engine_process(self._place, site)] if target in (site.engine, ALL) else []
        if not any(found):
            raise NotRunningError(target, "does not run", "see its log in the folder of the demonstration")
        return found

    async def mend(self, fault: Fault, target: str) -> None:
        """Bring back what does not come back by itself."""
        if fault.kind == "stop":
            for process in self._processes(target):
                if process is not None:
                    process.signal(signal.SIGCONT)
        dead = [site for site in self._plan.sites if server_process(self._place, site) is None]
        await self._start(dead)

    async def _start(self, dead: Sequence[Site]) -> None:
        """Start servers in threads; even where this is cancelled, it returns only when they have started."""
        starting = [asyncio.to_thread(start_server, self._plan, self._place, site) for site in dead]
        work = asyncio.gather(*starting, return_exceptions=True)
        try:
            results = await asyncio.shield(work)
        except asyncio.CancelledError:
            await work
            raise
        for result in results:
            if isinstance(result, BaseException):
                raise result
