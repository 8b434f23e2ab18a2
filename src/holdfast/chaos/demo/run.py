"""The flow of the demonstration: a cluster in a folder, its market, the load, the faults, and the verdict.

    from holdfast.chaos.demo.run import Job, demonstrate
    result = demonstrate(Job(minutes=3), folder, scene)

Whatever ends it, a signal included, everything that it started is ended before it returns, each process by its own
number. What lives here: the order of things. What may not: the parts (see the package's picture).
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import nats.errors

from holdfast.chaos.demo.faults import FAULTS, Actor, Fault
from holdfast.chaos.demo.market import STEPS_PER_SECOND, Market, market
from holdfast.chaos.demo.observer import Observer, words, wrong_roots
from holdfast.chaos.demo.opening import begin
from holdfast.chaos.demo.people import ACCOUNTS, People, people
from holdfast.chaos.demo.result import DemoResult, FaultResult
from holdfast.chaos.demo.scene import DONE, UNDER_WAY, Act, Scene, schedule
from holdfast.chaos.demo.threads import in_thread
from holdfast.chaos.demo.traffic import Account, Clock, Region, Source
from holdfast.chaos.demo.waits import Longest, Meter, Waits
from holdfast.chaos.demo.watch import Watch
from holdfast.client.asynchronous import AsyncClient
from holdfast.client.configuration import Configuration
from holdfast.client.errors import ClientError
from holdfast.cluster import operations
from holdfast.cluster.connections import configuration_of
from holdfast.cluster.engines import engine_runs
from holdfast.cluster.errors import NotReadyError
from holdfast.cluster.files import make_cluster
from holdfast.cluster.layout import Layout
from holdfast.cluster.plan import Plan, Site
from holdfast.domain.units import format_time
from holdfast.replica.folder import LOG_NAME
from holdfast.stress.sources import SOURCES

REGIONS: Final = ("amsterdam", "frankfurt", "london")
START_S, MEND_S, VERDICT_S = 300.0, 300.0, 120.0
"""How long things may take: a first start compiles."""
STEADY_S: Final = 2.0
"""How long all must be well before a fault counts as mended."""
LOOK_S, POLL_S = 0.35, 0.05
NOTES: Final = (
    "BTC: real hourly bars of March 2020, walked open, low, high, close, two quarter-hours in a second; quotes are "
    "stamped with the present time. ETH follows BTC by a rule; accounts and orders are made up",
    "three servers, three engines and all clients share this machine's cores",
)
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to show.

    Attributes:
        minutes: How long the market is replayed; mending may take longer.
        seed: Of population, noise and orders.
        accounts: Market makers included.
        faults: In their order.
    """

    minutes: float = 3.0
    seed: int = 1
    accounts: int = ACCOUNTS
    faults: tuple[Fault, ...] = FAULTS


def demonstrate(job: Job, folder: Path, scene: Scene) -> DemoResult:
    """Show it all, in a folder that is new or empty; the cluster's files stay there.

    Args:
        job: What to show.
        folder: Of the cluster.
        scene: Is kept up to date, for who draws it.

    Raises:
        ClusterError: Something did not start, or was not well again in time.
        ClientError: The log could not be begun.
        KeyboardInterrupt: A signal told this process to end.
    """
    return asyncio.run(_guarded(job, folder, scene))


async def _guarded(job: Job, folder: Path, scene: Scene) -> DemoResult:
    asyncio.get_running_loop().set_exception_handler(_heard)
    with _ended_by_signals(scene) as was_told:
        try:
            return await _Demo(job, folder, scene).run()
        except asyncio.CancelledError:
            if was_told():
                raise KeyboardInterrupt from None
            raise


def _heard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say nothing of questions that were on a connection when it broke: nobody waits for them any more."""
    if not isinstance(context.get("exception"), nats.errors.Error):
        loop.default_exception_handler(context)


@contextlib.contextmanager
def _ended_by_signals(scene: Scene) -> Iterator[Callable[[], bool]]:
    """Cancel this task at the first signal to end, and nothing more at the next ones: all is being ended already."""
    loop, task, told = asyncio.get_running_loop(), asyncio.current_task(), list[bool]()

    def end() -> None:
        if not told and task is not None:
            scene.turn("ending everything that was started", time.monotonic())
            task.cancel()
        told.append(True)

    for number in _SIGNALS:
        loop.add_signal_handler(number, end)
    try:
        yield lambda: bool(told)
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


class _Demo:
    """One demonstration under way."""

    def __init__(self, job: Job, folder: Path, scene: Scene) -> None:
        self._job, self._scene = job, scene
        self._folder, self._place = folder, Layout(folder)
        seconds = 60.0 * job.minutes
        scene.duration_s, scene.acts = seconds, schedule(job.faults, seconds)
        self._market: Market = market(max(1, round(seconds * STEPS_PER_SECOND)))
        self._people: People = people(self._market.at(0), accounts=job.accounts, seed=job.seed)
        self._background: list[asyncio.Task[Any]] = []
        self._accounts: list[Account] = []

    async def run(self) -> DemoResult:
        """All of it."""
        self._turn("making certificates and keys for three regions")
        plan = await in_thread(lambda: make_cluster(self._folder, REGIONS, witness=False))
        try:
            self._turn("starting three servers and three engines")
            await operations.up(self._folder, ready_s=START_S, tell=self._say)
            return await self._with_cluster(plan)
        finally:
            await self._end(plan)

    async def _end(self, plan: Plan) -> None:
        self._scene.now = "ending servers and engines"
        await operations.down(self._folder)
        # An engine's supervisor may have started it while it was being ended.
        if any(engine_runs(self._place, site) for site in plan.sites):
            await operations.down(self._folder)

    async def _with_cluster(self, plan: Plan) -> DemoResult:
        copies = {site.engine: self._place.engine(site) / LOG_NAME for site in plan.sites}
        observer = Observer(copies)
        async with contextlib.AsyncExitStack() as opened:
            opened.callback(observer.close)
            watch = await opened.enter_async_context(Watch.opened(self._place, plan))
            clock = Clock(self._market, self._scene)
            sources = [await self._source(opened, plan, clock, number) for number in range(len(SOURCES))]
            regions = [await self._region(opened, plan, clock, site) for site in plan.sites]
            try:
                self._spawn(self._watch(watch))
                self._spawn(self._observe(observer))
                self._turn("defining contracts, opening accounts, depositing")
                await self._begin(plan, sources)
                seconds = await self._loaded(plan, watch, clock, [*sources, *regions])
                return await self._judged(plan, watch, observer, seconds)
            finally:
                await self._stop_background()

    async def _begin(self, plan: Plan, sources: Sequence[Source]) -> None:
        async with AsyncClient(self._configuration("operator", plan.sites[0]), name="demo") as operator:
            try:
                await begin(operator, sources, self._accounts[-1], self._people, self._market.at(0))
            except ClientError as error:
                advice = "try again when this machine has less to do"
                raise NotReadyError("the market", f"could not be brought to the log ({error})", advice) from None

    # The parts around.

    def _configuration(self, role: str, site: Site) -> Configuration:
        """A client's configuration as one of a region has it: the region's server and engine first."""
        whole = configuration_of(self._place, role)
        near = sorted(whole.log.servers, key=lambda server: server != site.client_address)
        return Configuration(msgspec.structs.replace(whole.log, servers=tuple(near)), whole.replicas, site.region)

    async def _account(self, opened: contextlib.AsyncExitStack, client: AsyncClient, region: str) -> Account:
        account = Account(self._scene, region, await opened.enter_async_context(client))
        self._accounts.append(account)
        return account

    async def _source(self, opened: contextlib.AsyncExitStack, plan: Plan, clock: Clock, number: int) -> Source:
        site = plan.sites[number % len(plan.sites)]
        configuration = self._configuration("source", site)
        client = AsyncClient(configuration, source=number, name=f"demo source {number}")
        return Source(await self._account(opened, client, site.region), clock, number, self._job.seed)

    async def _region(self, opened: contextlib.AsyncExitStack, plan: Plan, clock: Clock, site: Site) -> Region:
        client = AsyncClient(self._configuration("client", site), name=f"demo {site.region}")
        account = await self._account(opened, client, site.region)
        number, count = plan.sites.index(site), len(plan.sites)
        makers = range(number, self._people.makers, count)
        return Region(account, clock, self._people, makers, 100 * self._job.seed + number)

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._background.append(task)
        return task

    async def _stop_background(self) -> None:
        """End what runs beside; nobody else observes from here on."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._background.clear()

    async def _watch(self, watch: Watch) -> None:
        while True:
            await watch.look()
            scene = self._scene
            scene.servers, scene.engines, scene.degraded = watch.servers, watch.engines, watch.degraded
            await asyncio.sleep(LOOK_S)

    async def _observe(self, observer: Observer) -> None:
        while True:
            seen = await in_thread(observer.look)
            self._scene.seen = seen
            for line in words(seen.happened, self._people.name):
                self._say(line)
            await asyncio.sleep(LOOK_S)

    async def _until(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Wait for a condition; what runs beside must not have ended."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            for task in self._background:
                if task.done():
                    task.result()
            if time.monotonic() > deadline:
                advice = "give --folder to keep the logs of servers and engines, and see them"
                raise NotReadyError(what, f"is not well after {timeout_s:g} s", advice)
            await asyncio.sleep(POLL_S)

    # Load and faults.

    async def _loaded(self, plan: Plan, watch: Watch, clock: Clock, load: Sequence[Source | Region]) -> float:
        """The load, and the faults under it; how long it lasted, seconds."""
        scene, stop = self._scene, asyncio.Event()
        began = time.monotonic()
        scene.load_began, scene.meter = began, Meter(began)
        scene.waits = Waits([site.region for site in plan.sites], began)
        clock.start()
        running = [self._spawn(one.run(stop)) for one in load]
        self._turn("the market opens: makers quote, users trade and ask, near three regions")
        actor = Actor(self._place, plan, watch)
        for act in scene.acts:
            await self._until(lambda act=act: time.monotonic() >= began + act.due_s, "the schedule", 3_600.0)  # type: ignore[misc]
            await self._strike(actor, watch, act)
        await self._until(lambda: scene.left_s(time.monotonic()) <= 0.0, "the schedule", 3_600.0)
        seconds = time.monotonic() - began
        self._turn("the market closes: waiting for the last answers")
        stop.set()
        await asyncio.gather(*running)
        for task in running:
            self._background.remove(task)
        return seconds

    async def _strike(self, actor: Actor, watch: Watch, act: Act) -> None:
        """One fault: done, waited for, mended."""
        scene, waits, fault = self._scene, self._scene.waits, act.fault
        assert waits is not None
        await self._until(
            lambda: watch.is_well and bool(actor.target(fault)), f"the cluster before: {fault.title}", MEND_S
        )
        act.target, act.state = actor.target(fault), UNDER_WAY
        at = time.monotonic()
        waits.begin(actor.hit(act.target))
        self._turn(fault.story.format(act.target))
        await actor.strike(fault, act.target)
        if fault.holds_s:
            await asyncio.sleep(fault.holds_s)
        if fault.is_survived:
            await self._until(lambda: self._served(act, at), f"clients after: {fault.title}", MEND_S)
            self._say(f"all clients are answered, {fault.title} {time.monotonic() - at:.1f} s ago")
        await actor.mend(fault, act.target)
        steady = _Steady(lambda: watch.is_well and self._served(act, at))
        await self._until(lambda: steady.since_s() >= STEADY_S, f"the cluster after: {fault.title}", MEND_S)
        act.longest, act.state = waits.longest(time.monotonic()), DONE
        act.well_after_s = time.monotonic() - at - STEADY_S
        scene.turn(f"all well again: {fault.title}, {_words(act.longest)}", time.monotonic())

    def _served(self, act: Act, at: float) -> bool:
        """Whether all clients are being answered; the picture's row of the fault follows."""
        now, waits = time.monotonic(), self._scene.waits
        assert waits is not None
        act.longest = waits.longest(now)
        return now - at > 1.0 and waits.are_served(now)

    # The verdict.

    async def _judged(self, plan: Plan, watch: Watch, observer: Observer, seconds: float) -> DemoResult:
        scene, regions = self._scene, self._accounts[-len(plan.sites) :]
        self._turn("comparing: what clients were told, the log, the engines' states")
        end = max(account.client.position for account in self._accounts)
        engines = [site.engine for site in plan.sites]

        def are_known() -> bool:
            newest = [max(watch.roots[engine], default=-1) for engine in engines]
            return min(newest) > end and max(observer.roots, default=-1) >= min(newest)

        await self._until(are_known, "a checkpoint of all engines", VERDICT_S)
        totals = [(await account.client.conservation(at_least=end)).content for account in regions]
        conserved = all(not Decimal(total) for content in totals for total in content.values())
        await self._stop_background()
        findings = await in_thread(lambda: observer.executions.judge(one for a in self._accounts for one in a.told))
        wrong = wrong_roots(observer.roots, watch.roots)
        common = set.intersection(*(set(watch.roots[engine]) for engine in engines), set(observer.roots))
        newest = max(common, default=-1)
        seen = observer.look()
        return DemoResult(
            minutes=self._job.minutes,
            seed=self._job.seed,
            seconds=seconds,
            faults=tuple(_fault_result(act) for act in scene.acts),
            acknowledged=findings.acknowledged,
            unknown=scene.unknown,
            acknowledged_lost=findings.lost,
            applied_twice=findings.twice,
            frames=seen.position + 1,
            root=observer.roots.get(newest, ""),
            root_position=newest,
            wrong_roots=tuple(wrong),
            equal_roots=not wrong and newest >= 0,
            equal_copies=observer.are_copies_equal(),
            conserved=conserved and observer.is_conserved(),
            accounts=self._people.accounts,
            liquidations=seen.begun,
            taken_over=seen.taken_over,
            insurance_fund_start=self._people.insurance_dollars,
            insurance_fund=seen.fund,
            bitcoin=(scene.prices[0], min(scene.prices), scene.prices[-1]),
            market_time=(
                format_time(int(self._market.time_ns[0])),
                format_time(scene.step.time_ns if scene.step else int(self._market.time_ns[0])),
            ),
            degraded=tuple(scene.degraded),
            notes=NOTES,
        )

    # Telling.

    def _say(self, text: str) -> None:
        self._scene.say(text, time.monotonic())

    def _turn(self, text: str) -> None:
        self._scene.turn(text, time.monotonic())


class _Steady:
    """For how long a condition has held, as often as it is looked at."""

    def __init__(self, condition: Callable[[], bool]) -> None:
        self._condition = condition
        self._since: float | None = None

    def since_s(self) -> float:
        """Seconds; 0 where it does not hold now."""
        now = time.monotonic()
        if not self._condition():
            self._since = None
            return 0.0
        self._since = now if self._since is None else self._since
        return now - self._since


def _fault_result(act: Act) -> FaultResult:
    longest, fault = act.longest, act.fault
    return FaultResult(
        fault.kind, fault.title, act.target, longest.hit, longest.others, longest.reads, round(act.well_after_s, 3)
    )


def _words(longest: Longest) -> str:
    named = (("its clients", longest.hit), ("others", longest.others), ("reads", longest.reads))
    return "longest waits: " + ", ".join(f"{name} {wait:.2f} s" for name, wait in named if wait is not None)
