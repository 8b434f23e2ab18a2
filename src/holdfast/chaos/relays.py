"""Relays: connections that pass through this process, where they can be delayed, frozen, dropped and cut.

Each relay listens on a port of the loopback interface and connects to one server. It knows nothing of what passes: TLS
goes through it unread. What a condition does to bytes:

    delay    they come later, in their order
    freeze   they are kept, both ways, and come when the relay is healed; nobody is told
    drop     those of one direction are thrown away; the connection stays. When the relay is healed, a connection that
             lost bytes is cut, as nothing could put it together again
    cut      connections are closed at once, new ones as soon as they are made

All relays run in one thread with its own event loop; the methods of `Relays` may be called from anywhere.
What lives here: bytes. What may not: who is meant by a relay's two ends (`wiring`).
"""

import asyncio
import contextlib
import random
import threading
from collections import deque
from collections.abc import Callable, Iterable
from enum import IntEnum
from types import TracebackType
from typing import Final, NamedTuple, Self, cast

from holdfast.cluster.plan import LOOPBACK, free_ports
from holdfast.domain.errors import invariant

WAITING_BYTES_MAXIMUM: Final = 1 << 20
"""Of one direction of one connection, before its sender is made to wait."""
_CALL_S: Final = 10.0

Link = tuple[str, str]
"""Who connects, and to which server."""


class Direction(IntEnum):
    """Of bytes on a link."""

    THERE = 0
    BACK = 1


class Counts(NamedTuple):
    """What relays did since they were made.

    Attributes:
        connections: That were made.
        passed: Bytes passed on.
        delayed: Bytes that came later than they could have.
        held: Bytes that met a frozen relay.
        dropped: Bytes thrown away.
        cut: Connections closed by a relay.
    """

    connections: int = 0
    passed: int = 0
    delayed: int = 0
    held: int = 0
    dropped: int = 0
    cut: int = 0

    def __sub__(self, before: "Counts") -> "Counts":
        return Counts(*(now - then for now, then in zip(self, before, strict=True)))


class _Side(asyncio.Protocol):
    """One end of a connection through a relay: from it come the bytes of one direction."""

    def __init__(self, connection: "_Connection", direction: Direction) -> None:
        self._connection, self._direction = connection, direction

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connection.made(self._direction, cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        self._connection.pipes[self._direction].take(data)

    def eof_received(self) -> bool:
        self._connection.pipes[self._direction].end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._connection.pipes[self._direction].end()

    def pause_writing(self) -> None:
        self._connection.pipes[1 - self._direction].block(is_full=True)

    def resume_writing(self) -> None:
        self._connection.pipes[1 - self._direction].block(is_full=False)


class _Pipe:
    """The bytes of one direction of one connection."""

    def __init__(self, connection: "_Connection", direction: Direction) -> None:
        self._connection, self._direction = connection, direction
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._length = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_full = False
        self._has_ended = False
        self.is_torn = False

    def take(self, data: bytes) -> None:
        """Bytes came."""
        relay, now = self._connection.relay, self._loop.time()
        if relay.dropped[self._direction]:
            relay.count(dropped=len(data))
            self.is_torn = True
            return
        delay_s = relay.delay_of()
        self._due = max(self._due, now + delay_s)
        relay.count(delayed=len(data) if delay_s else 0, held=len(data) if relay.is_frozen else 0)
        self._waiting.append((self._due, data))
        self._length += len(data)
        self.flush()

    def end(self) -> None:
        """No more bytes come; the other side learns it after those that wait, unless it must not."""
        if not self._has_ended:
            self._has_ended = True
            if self._connection.relay.dropped[self._direction]:
                self.is_torn = True
            self.flush()

    def block(self, *, is_full: bool) -> None:
        """Whether the receiver takes no more for now."""
        self._is_full = is_full
        self.flush()

    def flush(self) -> None:
        """Pass on what is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        target = self._connection.sides.get(Direction(1 - self._direction))
        if target is None or self._connection.relay.is_frozen:
            self._throttle()
            return
        if target.is_closing():
            self._waiting.clear()
            return
        now = self._loop.time()
        while self._waiting and self._waiting[0][0] <= now and not self._is_full and not target.is_closing():
            _, data = self._waiting.popleft()
            self._length -= len(data)
            self._connection.relay.count(passed=len(data))
            target.write(data)
        if self._waiting and not self._is_full:
            self._timer = self._loop.call_at(self._waiting[0][0], self.flush)
        if self._has_ended and not self._waiting and not self.is_torn:
            target.close()
        self._throttle()

    def _throttle(self) -> None:
        source = self._connection.sides.get(self._direction)
        if source is None or source.is_closing():
            return
        with contextlib.suppress(RuntimeError):
            if self._length > WAITING_BYTES_MAXIMUM or self._is_full:
                source.pause_reading()
            else:
                source.resume_reading()

    def stop(self) -> None:
        """Pass nothing on any more."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()


class _Connection:
    """A connection through a relay: two sides, two directions."""

    def __init__(self, relay: "_Relay") -> None:
        self.relay = relay
        self.sides: dict[Direction, asyncio.Transport] = {}
        self.pipes = (_Pipe(self, Direction.THERE), _Pipe(self, Direction.BACK))
        self._opening: asyncio.Task[None] | None = None

    def made(self, direction: Direction, transport: asyncio.Transport) -> None:
        """A side is connected; the side that asked comes first, and the server is then connected to."""
        self.sides[direction] = transport
        if direction is Direction.THERE:
            self.relay.connections.add(self)
            self.relay.count(connections=1)
            if self.relay.is_cut:
                self.abort()
                return
            self._opening = asyncio.get_running_loop().create_task(self._open())
        else:
            self.pipes[Direction.THERE].flush()

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: _Side(self, Direction.BACK), LOOPBACK, self.relay.target)
        except OSError:
            self.abort()

    def heal(self) -> None:
        """Go on as before, or not at all."""
        if any(pipe.is_torn for pipe in self.pipes):
            self.abort()
            return
        for pipe in self.pipes:
            pipe.flush()
        if len(self.sides) == len(Direction) and all(side.is_closing() for side in self.sides.values()):
            self.relay.connections.discard(self)

    def abort(self) -> None:
        """Close both sides at once."""
        self.relay.connections.discard(self)
        self.relay.count(cut=1)
        for pipe in self.pipes:
            pipe.stop()
        if self._opening is not None:
            self._opening.cancel()
        for side in self.sides.values():
            side.abort()


class _Relay:
    """One relay, in the loop's thread."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.connections: set[_Connection] = set()
        self.is_frozen = self.is_cut = False
        self.dropped = [False, False]
        self.delay_s, self.jitter_s = 0.0, 0.0
        self.counts = Counts()
        self._server: asyncio.Server | None = None
        self._chance = random.Random(target)  # noqa: S311 (jitter)

    async def open(self) -> int:
        loop = asyncio.get_running_loop()
        (port,) = free_ports(1)
        self._server = await loop.create_server(lambda: _Side(_Connection(self), Direction.THERE), LOOPBACK, port)
        return port

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.abort()

    def delay_of(self) -> float:
        """How long the next bytes are delayed, seconds."""
        return max(0.0, self.delay_s + self.jitter_s * self._chance.uniform(-1, 1)) if self.delay_s else 0.0

    def count(self, **more: int) -> None:
        self.counts = self.counts._replace(**{name: getattr(self.counts, name) + n for name, n in more.items() if n})

    def delay(self, delay_s: float, jitter_s: float) -> None:
        self.delay_s, self.jitter_s = delay_s, jitter_s

    def freeze(self) -> None:
        self.is_frozen = True

    def drop(self, direction: Direction) -> None:
        self.dropped[direction] = True

    def cut(self) -> None:
        self.is_cut = True
        for connection in list(self.connections):
            connection.abort()

    def heal(self) -> None:
        self.is_frozen = self.is_cut = False
        self.dropped = [False, False]
        self.delay(0.0, 0.0)
        for connection in list(self.connections):
            connection.heal()


class Relays:
    """All relays of a cluster; a context manager that starts and ends their thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relays", daemon=True)
        self._relays: dict[Link, _Relay] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._each(self._relays, lambda relay: relay.close())
        self._call(lambda: None)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_S)
        self._loop.close()

    def add(self, link: Link, port: int) -> int:
        """A relay for a link to a server's port; the port that it listens on."""
        invariant(link not in self._relays, f"{link} has one relay")
        relay = _Relay(port)
        listening = asyncio.run_coroutine_threadsafe(relay.open(), self._loop).result(_CALL_S)
        self._relays[link] = relay
        return listening

    @property
    def links(self) -> tuple[Link, ...]:
        """All links that have a relay."""
        return tuple(self._relays)

    def delay(self, links: Iterable[Link], delay_s: float, jitter_s: float = 0.0) -> None:
        """Delay the bytes of links both ways, each by `delay_s` ± at most `jitter_s`; they keep their order."""
        self._each(links, lambda relay: relay.delay(delay_s, jitter_s))

    def freeze(self, links: Iterable[Link]) -> None:
        """Let nothing through until links are healed, and tell nobody."""
        self._each(links, lambda relay: relay.freeze())

    def drop(self, links: Iterable[Link], *directions: Direction) -> None:
        """Throw away the bytes of one direction, or of both."""
        for direction in directions:
            self._each(links, lambda relay, direction=direction: relay.drop(direction))  # type: ignore[misc]

    def cut(self, links: Iterable[Link]) -> None:
        """Close the connections of links and refuse new ones."""
        self._each(links, lambda relay: relay.cut())

    def heal(self, links: Iterable[Link] | None = None) -> None:
        """End every condition of links, or of all."""
        self._each(self._relays if links is None else links, lambda relay: relay.heal())

    def counts(self, links: Iterable[Link] | None = None) -> Counts:
        """What the relays of links, or all, did so far."""
        found: list[Counts] = []
        self._each(self._relays if links is None else links, lambda relay: found.append(relay.counts))
        return Counts(*(sum(column) for column in zip(*found, strict=True))) if found else Counts()

    def _each(self, links: Iterable[Link], action: Callable[[_Relay], None]) -> None:
        relays = [self._relays[link] for link in links]

        def act() -> None:
            for relay in relays:
                action(relay)

        self._call(act)

    def _call(self, action: Callable[[], None]) -> None:
        """Do something in the loop's thread, and wait until it is done."""

        async def act() -> None:
            action()
            await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(act(), self._loop).result(_CALL_S)
