"""Questions to the replicas of a region, and to those of another one when the first is slow.

What may not live here: what the answers mean, writes.
"""

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from holdfast.client.errors import BusyError, ClientError, RefusedError, UnreachableError
from holdfast.client.hearing import Heard, Way
from holdfast.client.questions import Floor, Hedge, Regions
from holdfast.domain.errors import InputError
from holdfast.domain.messages import Busy, Found, Read, Refused, decode_reply, encode_message

if TYPE_CHECKING:
    from holdfast.client.links import Links

PAUSE_S, PAUSE_MAXIMUM_S = 0.01, 0.25
"""Before all regions are asked again that turned a question away; doubled each time."""
AGAIN_S: Final = 0.5
"""After which silent regions are asked again."""


class _Event(NamedTuple):
    region: str
    heard: Heard


class Asker:
    """Asks, hedges, and never goes back behind what was seen."""

    def __init__(self, links: "Links", regions: Regions) -> None:
        self._links = links
        self._regions = regions
        self._hedge = Hedge()
        self.floor = Floor()

    async def ask(self, question: Read, timeout_s: float) -> Found:
        """The first good answer.

        Args:
            question: Its minimum position is raised to what was seen before.
            timeout_s: How long to try.

        Raises:
            RefusedError: The question cannot be answered.
            BusyError: All replicas were busy all the time.
            UnreachableError: Nobody answered, or nobody was far enough.
        """
        asking = _Asking(self, question, time.monotonic() + timeout_s)
        try:
            return await asking.run()
        finally:
            asking.over = True

    def order(self) -> list[str]:
        """The regions, the one to ask first before the others."""
        return self._regions.order(time.monotonic())

    @property
    def delay_s(self) -> float:
        """After which another region is asked too."""
        return self._hedge.delay_s

    async def put(self, asking: "_Asking", region: str) -> None:
        """Put a question to a region."""
        began = time.monotonic()

        def heard(event: Heard) -> None:
            now = time.monotonic()
            if event.way is Way.ANSWERED:
                # Late answers too say how long a region takes.
                self._regions.note(region, now - began)
                if not asking.over:
                    self._hedge.note(now - began)
            elif event.way is Way.ABSENT:
                self._regions.avoid(region, now)
            if not asking.over:
                asking.came.put_nowait(_Event(region, event))

        await self._links.request(asking.asked, f"holdfast.read.{region}", asking.payload, heard)

    def missed(self, region: str) -> None:
        """Another region's answer came first."""
        self._regions.missed(region, time.monotonic())

    def avoid(self, region: str) -> None:
        """Ask a region last for a moment."""
        self._regions.avoid(region, time.monotonic())


class _Asking:
    """One question on its way."""

    def __init__(self, asker: Asker, question: Read, deadline: float) -> None:
        self._asker = asker
        self._deadline = deadline
        self._minimum = asker.floor.minimum(question.minimum_position)
        self.payload = encode_message(
            Read(question.what, question.arguments, self._minimum, question.staleness_ms, question.wait_ms)
        )
        self.came: asyncio.Queue[_Event] = asyncio.Queue()
        self.asked = 0
        self.over = False
        self._pending: list[str] = []
        self._left = asker.order()
        self._next_at = 0.0
        self._pause_s = PAUSE_S
        self._trouble: ClientError = UnreachableError(
            question.what, "no replica answered in time", "see that the cluster runs, and try again"
        )

    async def run(self) -> Found:
        while (now := time.monotonic()) < self._deadline:
            if now >= self._next_at:
                await self._ask_next(now)
            with contextlib.suppress(TimeoutError):
                until = min(self._next_at, self._deadline)
                async with asyncio.timeout(max(0.0, until - time.monotonic())):
                    event = await self.came.get()
                found = self._taken(event)
                if found is not None:
                    return found
        raise self._trouble

    async def _ask_next(self, now: float) -> None:
        """Put the question to the next region; when all were asked and are silent, to all again after a while."""
        if not self._left:
            self._left, self._next_at = self._asker.order(), now + AGAIN_S
            return
        region = self._left.pop(0)
        self._pending.append(region)
        self._next_at = now + self._asker.delay_s
        await self._asker.put(self, region)
        self.asked += 1

    def _go_on(self) -> None:
        """A region cannot answer: the next one is due at once, or all again after a pause."""
        now = time.monotonic()
        if self._left:
            self._next_at = now
        elif not self._pending:
            self._left, self._next_at = self._asker.order(), now + self._pause_s
            self._pause_s = min(2 * self._pause_s, PAUSE_MAXIMUM_S)

    def _taken(self, event: _Event) -> Found | None:
        """The answer, if the event is one that can be used; else the next region is due."""
        with contextlib.suppress(ValueError):
            self._pending.remove(event.region)
        reply = None
        if event.heard.way is Way.ANSWERED:
            with contextlib.suppress(InputError):
                reply = decode_reply(event.heard.data)
        if isinstance(reply, Found) and self._asker.floor.use(reply, self._minimum):
            for region in self._pending:
                self._asker.missed(region)
            return reply
        if isinstance(reply, Refused) and reply.code != "elsewhere":
            raise RefusedError(reply.code, reply.field, reply.problem, reply.advice)
        self._note_trouble(event, reply)
        self._go_on()
        return None

    def _note_trouble(self, event: _Event, reply: object) -> None:
        if isinstance(reply, Busy):
            self._asker.avoid(event.region)
            after_s = reply.retry_after_ms / 1_000
            self._trouble = BusyError(event.region, f"is busy ({reply.problem})", "ask again later", after_s)
        elif isinstance(reply, Refused):
            self._trouble = UnreachableError(event.region, f"{reply.field} {reply.problem}", reply.advice)
        elif isinstance(reply, Found):
            problem = f"answers of position {reply.position}, and {self._minimum} was asked for"
            self._trouble = UnreachableError(event.region, problem, "ask again later")
