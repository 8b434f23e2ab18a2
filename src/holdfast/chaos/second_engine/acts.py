"""What the drill does, act by act, and when each is over.

Each act is a span of the log. A pass over the first engine's copy runs along, to know when nothing more comes of a mark
and which accounts wait; the verdict is another pass's, afterwards. What may not live here: judgement, words.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Collection
from typing import Final, NamedTuple

import msgspec

from holdfast.chaos.second_engine.judge import Judge, Window
from holdfast.chaos.second_engine.result import BACK, GONE, IN_ALL, IN_ONE, KILLED, NO_ERROR, OUTVOTED
from holdfast.chaos.second_engine.stage import POLL_S, Stage, Tell
from holdfast.chaos.second_engine.venue import RULES
from holdfast.cluster.plan import Site
from holdfast.core.state import Status
from holdfast.domain.commands import ReleaseAccount
from holdfast.domain.errors import invariant
from holdfast.log.sqlite import SqliteLog

FALLS: Final = {NO_ERROR: 0.010, KILLED: 0.035, IN_ALL: 0.005, OUTVOTED: 0.005, IN_ONE: 0.005}
"""Of Bitcoin's price, by act."""
QUIET_S: Final = 6.0
"""An act is over when nothing came of it for so long: more than a second engine is waited for."""
ACT_S: Final = 120.0
"""How long an act may take."""
BID_BELOW: Final = 0.001
"""How far below the price to come the maker bids."""
KILL_S: Final = 0.2


class Span(NamedTuple):
    """An act: its name, and the positions of its frames, `first` to `end` − 1.

    Attributes:
        degraded: What the first engine says at its end that is not as it should be.
    """

    name: str
    first: int
    end: int
    degraded: tuple[str, ...] = ()


class Watch:
    """The pass that runs along."""

    def __init__(self, stage: Stage) -> None:
        self.judge = Judge()
        self._stage = stage
        self._changed_at = 0.0

    async def look(self) -> None:
        """Take the frames that have come."""
        before = self._state()
        await asyncio.to_thread(self._follow)
        if self._state() != before:
            self._changed_at = time.monotonic()

    def _follow(self) -> None:
        with SqliteLog(self._stage.copy, writable=False) as log:
            self.judge.follow(frame for _, frame in log.read(self.judge.position))

    def _state(self) -> tuple[int, ...]:
        judge = self.judge
        counts = (len(judge.begun), len(judge.marks), len(judge.reports), len(judge.frozen), len(judge.suspended))
        return (*counts, len(judge.with_status(Status.LIQUIDATING)), len(judge.with_status(Status.BREACH_PENDING)))

    async def until_quiet(self, *, marks: int = 0) -> None:
        """Wait until so many marks more have come, and nothing came of them for a while."""
        wanted, deadline = len(self.judge.marks) + marks, time.monotonic() + ACT_S
        self._changed_at = time.monotonic()
        while len(self.judge.marks) < wanted or time.monotonic() - self._changed_at < QUIET_S:
            await asyncio.sleep(POLL_S)
            await self.look()
            if time.monotonic() > deadline:
                break  # What is not done by then is seen as not done.


class Drill:
    """The acts on one cluster.

    Attributes:
        spans: The acts done so far.
        windows: Where all engines had the error.
        killed: Second engines killed.
    """

    def __init__(self, stage: Stage, tell: Tell) -> None:
        self.stage, self.watch, self._tell = stage, Watch(stage), tell
        self.spans: list[Span] = []
        self.windows: list[Window] = []
        self.killed = 0

    async def begin(self) -> None:
        """Take what the log begins with."""
        await self.watch.until_quiet()

    async def without_error(self) -> None:
        """A price fall, all engines right."""
        async with self._act(NO_ERROR):
            await self._fall(NO_ERROR)

    async def without_second_engines(self) -> None:
        """A price fall while no second engine lives, then their return."""
        killing = asyncio.create_task(self._keep_killing())
        try:
            async with self._act(KILLED):
                await self._until_absent()
                await self._fall(KILLED)
        finally:
            killing.cancel()
            await asyncio.gather(killing, return_exceptions=True)
        async with self._act(BACK):
            await self._until_compared()
            await self._mark_again()

    async def error_in_all(self) -> None:
        """The error in every first engine, at a price fall; then without it again."""
        async with self._act(IN_ALL):
            await self._plant(self.stage.plan.sites)
            await self._fall(IN_ALL)
            await self._mark_again()
        async with self._act(GONE):
            await self._plant(())
            await self._mark_again()
        frozen = self.watch.judge.with_status(Status.FROZEN)
        self._tell(f"the operator releases {len(frozen)} frozen accounts")
        if frozen:
            receipt = await self.stage.operator.submit_cold([ReleaseAccount(account) for account in frozen])
            invariant(bool(receipt), "a frozen account was not released")
        await self._mark_again()

    async def error_in_one(self) -> None:
        """The error in one first engine, at a price fall; first without state roots, so that votes alone must do."""
        await self.stage.set_rules(msgspec.structs.replace(RULES, checkpoint_frames=0, breach_checkpoints=0))
        async with self._act(OUTVOTED):
            await self._plant(self.stage.plan.sites[-1:])
            await self._fall(OUTVOTED)
            await self._mark_again()
        # No root before the next price fall, so that it is seen how soon after it one speaks.
        await self.stage.set_rules(msgspec.structs.replace(RULES, checkpoint_frames=0))
        async with self._act(IN_ONE):
            await self._fall(IN_ONE)
            await self._mark_again()

    # Steps.

    @contextlib.asynccontextmanager
    async def _act(self, name: str) -> AsyncIterator[None]:
        await self.watch.look()
        first, began = self.watch.judge.position, time.monotonic()
        yield
        await self.watch.look()
        judge = self.watch.judge
        said = (await self.stage.status(self.stage.plan.sites[0])).get("degraded", ())
        self.spans.append(Span(name, first, judge.position, tuple(said)))
        begun = sum(one.position >= first for one in judge.begun)
        self._tell(f"{name}: {begun} liquidations begun, {time.monotonic() - began:.0f} s")

    async def _fall(self, act: str) -> None:
        price = self.stage.price * (1.0 - FALLS[act])
        await self.stage.bid(price * (1.0 - BID_BELOW))
        await self.stage.quote(price)
        await self.watch.until_quiet(marks=1)

    async def _mark_again(self) -> None:
        await self.stage.mark()
        await self.watch.until_quiet(marks=1)

    async def _plant(self, sites: Collection[Site]) -> None:
        """Have the error in some engines from the next mark on; nothing is marked meanwhile."""
        await self.watch.look()
        judge, is_in_all = self.watch.judge, len(sites) == len(self.stage.plan.sites)
        self.stage.plant(sites)
        if self.windows and self.windows[-1].end > judge.position:
            self.windows[-1] = self.windows[-1]._replace(end=judge.position)
        if is_in_all:
            self.windows.append(Window(judge.position, 1 << 62))
        judge.windows = list(self.windows)

    async def _until_absent(self) -> None:
        async def all_absent() -> bool:
            seen = [await self.stage.second(site) for site in self.stage.plan.sites]
            return all(one.get("absent") for one in seen)

        await self.stage.until("the second engines' end", all_absent)

    async def _until_compared(self) -> None:
        """Wait until every second engine has answered for the accounts that wait; a mark before that would pass it."""
        before = [(await self.stage.second(site)).get("compared", 0) for site in self.stage.plan.sites]

        async def all_answered() -> bool:
            now = [(await self.stage.second(site)).get("compared", 0) for site in self.stage.plan.sites]
            return all(new > old for new, old in zip(now, before, strict=True))

        await self.stage.until("answers of the second engines", all_answered)

    async def _keep_killing(self) -> None:
        """Kill every second engine as soon as it lives: another begins a few seconds after each death."""
        while True:
            self.killed += await self.stage.kill_second_engines()
            await asyncio.sleep(KILL_S)
