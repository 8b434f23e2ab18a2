"""The distributed log for a process that has no event loop of its own.

Theory of operation. A thread with a loop appends, follows the stream, and puts every frame into a local copy; callers
wait for it. Reading is reading the copy, after it has reached the end that the stream has at that moment: so a reader
sees what it and others appended before. Nothing is read or appended before the log showed the last frame of the copy.
An append repeats its frame under one message id until it is stored, through the election of a leader, which takes
seconds.

After a fault of the log nothing is appended, and reading gives what the copy has: it was read from the log before.

What lives here: waiting. What may not: the broker's ways, which are the modules' beside this one.
"""

import asyncio
import itertools
import secrets
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from holdfast.log.errors import AccessError, ClosedError, FullError, LogError, MissingLogError, UnavailableError
from holdfast.log.jetstream.api import SilenceError
from holdfast.log.jetstream.connection import Access, LogClient, connect
from holdfast.log.jetstream.follower import Follower
from holdfast.log.jetstream.publisher import Fate, Published, publish
from holdfast.log.jetstream.stream import STREAM, stream_state
from holdfast.log.jetstream.tasks import end_tasks
from holdfast.log.memory import MemoryLog
from holdfast.log.protocol import (
    GROUP_FRAMES_MAXIMUM,
    GroupLog,
    check_group,
    check_position,
    check_start,
    stop_of_read,
)

PATIENCE_S: Final = 30.0
"""How long an append or a read waits for servers that choose a leader: that takes 4 to 9 s, and may fail once."""
ATTEMPT_TIMEOUT_S: Final = 1.0
RETRY_WAIT_S: Final = 0.05

_T = TypeVar("_T")


class JetStreamLog:
    """A `Log` in a JetStream stream, with a copy on this side."""

    def __init__(
        self,
        access: Access,
        copy: GroupLog | None = None,
        *,
        created: str = "",
        name: str = "log",
        on_event: Callable[[str], None] | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Begin to follow the stream. Returns before there is a connection.

        Args:
            access: Where the servers are and as whom to connect.
            copy: What was read from this log before, to be continued; the log closes it. By default a new one in
                memory.
            created: When the stream was made, as it said when the copy was begun; empty if that is not known.
            name: What the servers call the connections; letters, digits and hyphens.
            on_event: Told in words what happens to connections; called in another thread.
            patience_s: How long a call waits for servers that do not answer.
        """
        self._access = access
        self._copy = copy if copy is not None else MemoryLog()
        self._name = name
        self._on_event = on_event
        self._patience_s = patience_s
        self._nonce = secrets.token_hex(8)
        self._numbers = itertools.count()
        self._fault: LogError | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._arrived: list[bytes] = []
        self._acknowledged_end = 0
        self._kept = asyncio.Event()
        self._closing = asyncio.Event()
        end = self._copy.end
        known = next(self._copy.read(end - 1), None) if end else None
        self._follower = Follower(
            access,
            end,
            known=known,
            deliver=self._deliver,
            fault=self._fail,
            created=created,
            name=name,
            on_event=on_event,
        )
        self._loop = asyncio.new_event_loop()
        self._client: asyncio.Future[LogClient] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name=f"{name}-follower", daemon=True)
        self._thread.start()

    @property
    def created(self) -> str:
        """When the stream was made, as it says; empty until it said so. To be given back with the copy."""
        return self._follower.created

    def append(self, frame: bytes) -> int:
        """See `Log`. Repeats the frame under one message id while the servers do not take it."""
        check_group((frame,))
        return self._wait(self._append(frame))

    def read(self, start: int, limit: int | None = None) -> Iterator[tuple[int, bytes]]:
        """See `Log`."""
        end = self.end
        check_start(start, end)
        return self._read(start, stop_of_read(start, limit, end))

    def _read(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        for entry in self._copy.read(start, stop - start):
            self._check_open()
            yield entry

    def follow(self, start: int, timeout_s: float | None = None) -> Iterator[tuple[int, bytes]]:
        """See `Log`. Ends with the fault where the log turns out to have one."""
        check_start(start, self.end)
        return self._follow(start, timeout_s)

    def _follow(self, position: int, timeout_s: float | None) -> Iterator[tuple[int, bytes]]:
        while (stop := self._wait_beyond(position, timeout_s)) is not None:
            for found, frame in self._copy.read(position, stop - position):
                yield found, frame
                position = found + 1
                if self._closed:
                    return

    def _wait_beyond(self, position: int, timeout_s: float | None) -> int | None:
        """The copy's end once it is beyond `position`; None after the timeout or the closing."""
        with self._changed:
            ready = self._changed.wait_for(
                lambda: self._closed or self._fault or self._copy.end > position, timeout=timeout_s
            )
            if self._closed or not ready:
                return None
            end = self._copy.end
            if end <= position and self._fault:
                raise self._fault
            return end

    @property
    def end(self) -> int:
        """See `Log`. Waits until the copy has all that the stream has."""
        self._check_open()
        if self._fault is None:
            self._wait(self._catch_up())
        return self._copy.end

    def hash_at(self, position: int) -> bytes:
        """See `Log`."""
        check_position(position, self.end)
        return self._copy.hash_at(position)

    @property
    def head_hash(self) -> bytes:
        """See `Log`."""
        end = self.end
        return self._copy.hash_at(end - 1) if end else self._copy.head_hash

    def close(self) -> None:
        """See `Log`. Closes the copy too."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()
        self._copy.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise _closed()

    def _wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do something in the loop and wait for it."""
        with self._changed:
            # Under the lock, so that closing finds it among what it has to end.
            if self._closed or self._fault:
                work.close()
                raise self._fault if self._fault and not self._closed else _closed()
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError as error:
            raise _closed() from error

    def _run(self) -> None:
        """The thread: follow until closed, then end whatever still waits."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        tasks = [asyncio.create_task(self._connect()), asyncio.create_task(self._follow_stream())]
        await self._closing.wait()
        await end_tasks(tasks)
        await end_tasks(asyncio.all_tasks() - {asyncio.current_task()})

    async def _follow_stream(self) -> None:
        try:
            await self._follower.run()
        except LogError as error:
            self._fail(error)

    async def _connect(self) -> None:
        """Keep the connection that appends, until cancelled."""
        try:
            client = await connect(self._access, name=f"{self._name}-append", on_event=self._on_event)
        except LogError as error:
            self._fail(error)
            return
        try:
            self._client.set_result(client)
            await self._closing.wait()
        finally:
            await client.close()

    def _deliver(self, position: int, frame: bytes, message_id: str) -> None:  # noqa: ARG002
        """Take a frame of the follower; those of one turn of the loop become one group of the copy."""
        if not self._arrived:
            self._loop.call_soon(self._keep)
        self._arrived.append(frame)

    def _keep(self) -> None:
        frames, self._arrived = self._arrived, []
        try:
            for start in range(0, len(frames), GROUP_FRAMES_MAXIMUM):
                self._copy.append_group(frames[start : start + GROUP_FRAMES_MAXIMUM])
        except LogError as error:
            self._fail(error)
            self._follower.stop()
        self._kept.set()
        with self._changed:
            self._changed.notify_all()

    def _fail(self, fault: LogError) -> None:
        with self._changed:
            self._fault = self._fault or fault
            self._kept.set()
            self._changed.notify_all()

    async def _append(self, frame: bytes) -> int:
        message_id = f"{self._nonce}.{next(self._numbers)}.0"
        unknown, last = False, Published(Fate.REFUSED, problem="no server showed the log")
        try:
            async with asyncio.timeout(self._patience_s):
                client = await asyncio.shield(self._client)
                await self._until_verified()
                while last.again and not self._fault:
                    # Until its answer says otherwise, an attempt that is given up may have been taken.
                    before, unknown = unknown, True
                    last = await publish(client, frame, message_id, ATTEMPT_TIMEOUT_S)
                    unknown = before or last.fate is Fate.UNKNOWN
                    if last.fate is Fate.STORED:
                        self._acknowledged_end = max(self._acknowledged_end, last.position + 1)
                        return last.position
                    await asyncio.sleep(RETRY_WAIT_S)
        except TimeoutError:
            pass
        raise self._fault or _append_error(last, unknown=unknown)

    async def _catch_up(self) -> None:
        """Wait until the copy has what the stream has now, or the log has a fault."""
        problem = "no server could be reached"
        try:
            async with asyncio.timeout(self._patience_s):
                while not self._fault:
                    try:
                        end = max(await self._stream_end(), self._acknowledged_end)
                        problem = f"its end is {end}, and not all of it arrived"
                        await self._until_kept(end)
                        return await self._until_verified()
                    except (SilenceError, MissingLogError) as error:
                        problem = str(error)
                        await asyncio.sleep(RETRY_WAIT_S)
        except TimeoutError as error:
            advice = "see that a majority of the servers runs; what was read before is in the copy"
            raise UnavailableError(STREAM, f"cannot be read ({problem})", advice) from error

    async def _until_kept(self, end: int) -> None:
        while self._copy.end < end and not self._fault:
            self._kept.clear()
            await self._kept.wait()

    async def _until_verified(self) -> None:
        """Wait until the log showed the last frame of the copy: before that it is not known to be the copy's log."""
        while not self._follower.verified and not self._fault:
            await asyncio.sleep(RETRY_WAIT_S)

    async def _stream_end(self) -> int:
        client = await asyncio.shield(self._client)
        return (await stream_state(client)).end


def _closed() -> ClosedError:
    return ClosedError(STREAM, "was closed", "make a new one")


def _append_error(published: Published, *, unknown: bool) -> LogError:
    """Why an append ends without an acknowledgement."""
    if unknown:
        advice = "send its commands again under their numbers: that is safe, and tells whether they are in the log"
        return UnavailableError(STREAM, f"did not answer an append ({published.problem})", advice)
    if not published.again:
        return AccessError(STREAM, f"refuses the frame ({published.problem})", "mend the configuration")
    if "maximum" in published.problem or "resources" in published.problem:
        return FullError(STREAM, f"there is no room ({published.problem})", "give the servers more storage")
    problem = f"took no frame ({published.problem}); nothing was appended"
    return UnavailableError(STREAM, problem, "see that a majority of the servers runs, and send it again")
