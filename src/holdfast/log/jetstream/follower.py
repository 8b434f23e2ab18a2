"""Every frame of the log from a position on, once, in order, from two read paths; and the log's faults, seen.

Theory of operation. Two paths read the same stream through different servers, all the time: what comes first counts,
and the death of a server delays nothing while the other path is well. What the second brings is compared with what the
first brought. A frame that this process itself appended counts as read as soon as it is acknowledged. Each new consumer
begins at the last frame known, so that it shows its history before it adds to it. Each second the follower asks the
stream for its end and its making (`watch`); when another server leads the stream, it compares the last frame read with
that leader's.

A fault is told once and ends the delivery: nothing that comes after may be believed. Servers that do not answer are no
fault.

What lives here: one sequence out of two, and whom to ask. What may not: keeping frames, or what they mean.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

from holdfast.domain.errors import InputError
from holdfast.log.errors import AccessError, ForkedError, LogError, MissingLogError
from holdfast.log.jetstream.api import SilenceError
from holdfast.log.jetstream.connection import Access, server_name
from holdfast.log.jetstream.read_path import ReadPath
from holdfast.log.jetstream.stream import STREAM, StreamState, message_at, stream_state
from holdfast.log.jetstream.tasks import end_tasks
from holdfast.log.jetstream.watch import ADVICE, Saying, Watch

WATCH_INTERVAL_S: Final = 1.0
FIRST_LOOK_S: Final = 0.05
"""How soon to learn when the stream was made, and how often to try."""
PATHS: Final = 2
RECENT_FRAMES_MAXIMUM: Final = 4_096
RECENT_LENGTH_MAXIMUM: Final = 16 << 20
"""Frames and bytes kept to compare the paths: how far one may lag behind the other and still be compared."""

_PROVED = 1 << 62
"""Beyond every position: nothing is left to be compared with a new leader's."""


class Follower:
    """Delivers the frames of the log; `run` it as a task."""

    def __init__(
        self,
        access: Access,
        start: int,
        *,
        known: tuple[int, bytes] | None,
        deliver: Callable[[int, bytes, str], None],
        fault: Callable[[LogError], None],
        created: str = "",
        name: str = "follower",
        on_event: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare; nothing happens before `run`.

        Args:
            access: Where and as whom to read; the first two servers are the ones preferred.
            start: Position of the first frame to deliver; the log's end if there is nothing yet.
            known: Position `start` − 1 and the frame there, from the caller's own copy; None if it has none.
            deliver: Called in the loop with position, frame and message id, without a gap. What it raises ends `run`.
            fault: Called in the loop, once, when the log turns out not to be what was read before.
            created: `StreamState.created` as the caller remembers it; empty if it never saw it.
            name: What the servers call the connections; letters, digits and hyphens.
            on_event: Told in words what happens to connections and consumers.

        Raises:
            InputError: `start` is negative, or `known` is not at `start` − 1.
        """
        if start < 0:
            raise InputError("out-of-range", "start", start, "give a position from 0 on")
        if known is not None and known[0] != start - 1:
            raise InputError("out-of-range", "known", known[0], f"give the frame at {start - 1}, just before the start")
        self._next = start
        self._deliver = deliver
        self._fault = fault
        self._tell = on_event or (lambda _: None)
        self._watch = Watch(created)
        self._leader = ("", "")
        self._unproved = _PROVED
        self._jumped_at = -1
        self._verified = known is None
        self._recent = dict([known] if known else [])
        self._recent_length = sum(map(len, self._recent.values()))
        self._stored: dict[int, tuple[bytes, str]] = {}
        self._found: LogError | None = None
        self._failure: Exception | None = None
        self._ended = asyncio.Event()
        self._paths = [ReadPath(access, number, self, name=name, on_event=on_event) for number in range(PATHS)]
        self._paths[0].other, self._paths[1].other = self._paths[1], self._paths[0]

    @property
    def created(self) -> str:
        """When the stream was made, once it said so; for `created` of a later follower."""
        return self._watch.created

    @property
    def verified(self) -> bool:
        """Whether the log showed the frame that was `known`; until then it may be another log, or a shorter one."""
        return self._verified

    @property
    def paths(self) -> int:
        """How many read paths have a consumer at the moment, 0 to 2; with fewer than 2 a death may delay delivery."""
        return sum(path.reading for path in self._paths)

    def next_position(self) -> int:
        """The position of the frame to be delivered next."""
        return self._next

    async def run(self) -> None:
        """Deliver until a fault, until `stop`, or until this task is cancelled.

        Raises:
            Exception: What `deliver` raised.
        """
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(path.run()) for path in self._paths]
        tasks.append(asyncio.create_task(self._watch_over()))
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._ended.set()
            raised = await end_tasks([ended, *tasks])
        self._report(raised)

    def stop(self) -> None:
        """End `run`. Nothing is delivered after this."""
        self._ended.set()

    def receive(self, position: int, frame: bytes, message_id: str) -> bool:
        """Take a frame of a read path; False says that frames before it are missing."""
        if self._ended.is_set():
            return True
        if position == self._next:
            self._take(position, frame, message_id)
            while not self._ended.is_set() and self._next in self._stored:
                self._take(self._next, *self._stored[self._next])
            return True
        if position > self._next:
            self._jumped_at = self._next
            return False
        self._compare(position, frame)
        return True

    def stored(self, position: int, frame: bytes, message_id: str) -> None:
        """Take a frame that this process appended, and of which the log's leader says that it is there.

        That saves the way back through a consumer, where every frame before it is known already. What the read paths
        bring from that position later is compared with it.
        """
        if position < self._next or self._ended.is_set():
            return
        self._stored[position] = frame, message_id
        if self._verified and position == self._next:
            self.receive(position, frame, message_id)

    def _take(self, position: int, frame: bytes, message_id: str) -> None:
        self._remember(position, frame)
        self._stored.pop(position, None)
        self._next = position + 1
        try:
            self._deliver(position, frame, message_id)
        except Exception as error:  # the library would swallow it
            self._failure = error
            self._ended.set()

    def _remember(self, position: int, frame: bytes) -> None:
        recent = self._recent
        recent[position] = frame
        self._recent_length += len(frame)
        while len(recent) > RECENT_FRAMES_MAXIMUM or (self._recent_length > RECENT_LENGTH_MAXIMUM and len(recent) > 1):
            self._recent_length -= len(recent.pop(position + 1 - len(recent)))

    def _compare(self, position: int, frame: bytes) -> None:
        known = self._recent.get(position)
        if known == frame:
            self._verified = True
        elif known is not None:
            problem = f"has another frame at position {position} than the one that was read"
            self._end(ForkedError(STREAM, problem, ADVICE, position))

    def _end(self, fault: LogError) -> None:
        if not self._ended.is_set():
            self._found = fault
            self._ended.set()

    def _report(self, raised: list[Exception]) -> None:
        """Say why `run` ends: what was found, what `deliver` raised, or what a path or the watch raised."""
        for error in [self._failure, *raised]:
            if error is not None and not isinstance(error, AccessError):
                raise error
        fault = self._found or next(iter(raised), None)
        if isinstance(fault, LogError):
            self._fault(fault)

    async def _watch_over(self) -> None:
        """Look at the stream each second."""
        while not self._ended.is_set():
            await asyncio.sleep(WATCH_INTERVAL_S if self._watch.created else FIRST_LOOK_S)
            position = self._next
            sayings = await self._sayings()
            hole = bool(sayings) and await self._find_hole(position)
            await self._check_leader([saying.state for saying in sayings if saying.state])
            # Judged against what was read before the question: what came since may be newer than the answers.
            if fault := self._watch.judge(position, sayings, hole=hole):
                self._end(fault)
            elif self._watch.suspicious:
                self._tell("the stream is not what it was; looking again")

    async def _sayings(self) -> list[Saying]:
        answers = await asyncio.gather(*(self._saying(path) for path in self._paths))
        return [answer for answer in answers if answer]

    async def _saying(self, path: ReadPath) -> Saying | None:
        client = path.client
        if client is None or not client.is_connected:
            return None
        server = server_name(client)
        try:
            state = await stream_state(client)
        except MissingLogError:
            return Saying(server, None)
        except SilenceError:
            return None
        # Several servers without a leader do not know where their log ends: what one of them says proves nothing.
        return None if state.replicas and not state.leader else Saying(server, state)

    async def _find_hole(self, position: int) -> bool:
        """Whether the leader has no frame where the paths jumped over one; if it has, it is taken from there."""
        if self._jumped_at != position or self._next != position:
            return False
        self._jumped_at = -1
        answered, message = await self._ask_for(position)
        if message:
            self.receive(position, *message)
        return answered and message is None

    async def _check_leader(self, states: list[StreamState]) -> None:
        """Compare the last frame read with that of a leader that is new, as soon as it has one there."""
        leader = max(((state.leader_since, state.leader) for state in states if state.leader), default=self._leader)
        if leader != self._leader:
            self._leader = leader
            self._unproved = min(self._unproved, self._next - 1)
        if self._unproved in self._recent:
            message = (await self._ask_for(self._unproved))[1]
            if message is None:
                return
            self._compare(self._unproved, message[0])
        self._unproved = _PROVED

    async def _ask_for(self, position: int) -> tuple[bool, tuple[bytes, str] | None]:
        """Whether the leader answers through one of the paths, and the frame and message id that it has there."""
        for path in self._paths:
            if path.client:
                with contextlib.suppress(SilenceError):
                    return True, await message_at(path.client, position)
        return False, None
