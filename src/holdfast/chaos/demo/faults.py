"""What is killed, one thing after another: whom a fault hits, how, and what mends it.

What lives here: the faults and the acts. What may not: when they are due, and how long clients waited (`run`).
"""

import asyncio
import signal
from functools import partial
from typing import Final, NamedTuple

from holdfast.chaos.demo.threads import in_thread
from holdfast.chaos.demo.watch import Watch
from holdfast.cluster.connections import connected
from holdfast.cluster.engines import engine_process
from holdfast.cluster.errors import NotRunningError
from holdfast.cluster.layout import Layout
from holdfast.cluster.plan import Plan
from holdfast.cluster.processes import Process
from holdfast.cluster.servers import server_process, start_server
from holdfast.log.jetstream.stream import STREAM

STOPPED_S: Final = 6.0
"""How long a process stays stopped."""
ADMIN_S, ENDED_S = 5.0, 5.0


class Fault(NamedTuple):
    """Something that is done to the cluster.

    Attributes:
        kind: Key of it, one word.
        title: For people, short.
        story: What is done, a sentence with the place of what is hit as {}.
        holds_s: How long it is left as it is, at least.
        is_survived: Whether clients go on before it is mended, which is then waited for.
    """

    kind: str
    title: str
    story: str
    holds_s: float = 0.0
    is_survived: bool = True


FAULTS: Final = (
    Fault("engine", "engine killed", "kill -9 {}: its supervisor starts it again"),
    Fault("stop", "engine stopped", f"kill -STOP {{}}, for {STOPPED_S:g} seconds", holds_s=STOPPED_S),
    Fault("follower", "follower killed", "kill -9 {}, which follows the log"),
    Fault("leader", "log leader killed", "kill -9 {}, which leads the log: the two others elect"),
    Fault("step-down", "log step-down", "{} is told to hand the log over"),
    Fault("all", "all six killed", "kill -9 {}, at once", is_survived=False),
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
        processes = self._processes(target)
        for process in processes:
            process.signal(number)
        if number == signal.SIGKILL:
            # Until the system has ended them they look as if they ran.
            await in_thread(lambda: [process.wait(ENDED_S) for process in processes])

    def _processes(self, target: str) -> list[Process]:
        """The processes of a target, all found before the first is hit."""
        found: list[Process | None] = []
        for site in self._plan.sites:
            found += [server_process(self._place, site)] if target in (site.server, ALL) else []
            found += [engine_process(self._place, site)] if target in (site.engine, ALL) else []
        running = [process for process in found if process is not None]
        if not running:
            raise NotRunningError(target, "does not run", "see its log in the folder of the demonstration")
        return running

    async def mend(self, fault: Fault, target: str) -> None:
        """Bring back what does not come back by itself."""
        if fault.kind == "stop":
            for process in self._processes(target):
                process.signal(signal.SIGCONT)
        dead = [site for site in self._plan.sites if server_process(self._place, site) is None]
        await asyncio.gather(*(in_thread(partial(start_server, self._plan, self._place, site)) for site in dead))
