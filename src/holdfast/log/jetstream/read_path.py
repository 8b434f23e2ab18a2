"""One way to the frames: a connection, and a consumer that sends them through it.

Theory of operation. The consumer is ephemeral, in the memory of one server, takes no acknowledgements, and starts at
the last frame that is known, so that its first message shows whether it reads the same history. It is lost when it is
silent for a second although it beats every half, when a frame or a heartbeat shows that messages did not arrive (the
first ones may not: servers learn late from each other who listens), or when the connection was made anew; then another
is made. Which server it lives on is the servers' choice: it is made again a few times until no server serves both this
path and the other.

The first path's consumer pushes each frame as it comes. The second fetches: while the first one reads, four times a
second all that came since, which costs a fraction of a second delivery of each frame; while it does not, fifty times.
So the death of a server on the first path delays frames by a quarter of a second at most.

Flow control is on where frames are pushed. Without it a consumer that has much to send fills the server's buffer for
this connection in a moment, and the server cuts it off; with it the server waits, at the cost of one empty message each
way per megabytes. A fetch has a limit of its own. Nothing is queued on this side, so nothing can be dropped: who takes
the frames holds up the reading of the socket.

Silence is counted in ticks and not by the clock: a loop that was busy elsewhere has not listened.

What lives here: keeping frames coming. What may not: which of them are new, and what a fault is.
"""

import asyncio
import contextlib
import json
import secrets
from collections.abc import Callable
from typing import Any, Final, Protocol
from urllib.parse import urlparse

import nats.errors
from nats.aio.subscription import Subscription

from holdfast.log.jetstream.api import Answer, RefusedError, SilenceError, ask
from holdfast.log.jetstream.connection import Access, LogClient, connect, server_name
from holdfast.log.jetstream.stream import MESSAGE_ID, STREAM, header_value

TICK_S: Final = 0.25
QUICK_TICK_S: Final = 0.02
"""Between two fetches of the second path while the first does not read."""
SILENT_S: Final = 1.0
FETCH_FRAMES: Final = 256
FETCH_LENGTH: Final = 8 << 20
"""Frames and bytes of one fetch."""
HEARTBEAT_S: Final = 0.5
INACTIVE_S: Final = 5
"""How long a consumer outlives its connection. One that was left behind is then deleted by its server."""
CREATE_TIMEOUT_S: Final = 1.0
RETRY_WAIT_S: Final = 0.1
PLACINGS_MAXIMUM: Final = 5
"""How often to ask for a consumer on a server that suits; each has a chance of a third or better."""
HOME_S: Final = 5.0
HOME_MAXIMUM_S: Final = 60.0
"""Between two looks whether the preferred server is back: 5 s at first, a minute where it refuses."""
HOME_TIMEOUT_S: Final = 0.5

_ACKNOWLEDGE = b"$JS.ACK."
_LAST_SEQUENCE = "Nats-Last-Stream"
_STALLED = "Nats-Consumer-Stalled"
_STATUS = slice(9, 12)
"""Where the first line of a header has its status: `NATS/1.0 404 No Messages`."""
_FETCHED = {b"404", b"408"}
"""A fetch is over: nothing more is there."""
_TOO_LONG = b"exceeds"
"""In lower case: a fetch is over because its bytes are used up."""
_TOKENS_SHORT = 9
"""Tokens of a reply subject before servers that name domain and account in it: two fewer before the sequence."""


class Receiver(Protocol):
    """Who takes what comes."""

    def next_position(self) -> int:
        """The position that is wanted next."""
        ...

    def receive(self, position: int, frame: bytes, message_id: str) -> bool:
        """Take a frame; False says that frames before it are missing."""
        ...


class _Cluster(Answer, frozen=True, kw_only=True):
    leader: str = ""


class _Created(Answer, frozen=True, kw_only=True):
    cluster: _Cluster = _Cluster()


class ReadPath:
    """Frames from about the wanted position on, again and again, until its task is cancelled.

    Attributes:
        client: The connection; None while there is none.
        reading: Whether there is a consumer.
        other: The other path, whose servers this one keeps off if it can.
    """

    def __init__(
        self, access: Access, number: int, receiver: Receiver, *, name: str, on_event: Callable[[str], None] | None
    ) -> None:
        """Prepare.

        Args:
            access: Where and as whom to connect.
            number: Which server to prefer, as an index into those of `access`.
            receiver: Who takes the frames.
            name: What the servers call the connection.
            on_event: Told in words what happens.
        """
        self.client: LogClient | None = None
        self.reading = False
        self.other: ReadPath | None = None
        self._access = access
        self._number = number
        self._receiver = receiver
        self._name = f"{name}-{number}"
        self._on_event = on_event
        self._consumer_server = ""
        self._alive = False
        self._lost = asyncio.Event()
        self._sequence = 0
        self._home_s = HOME_S
        self._fetches = number % 2 == 1
        self._consumer, self._inbox, self._fetched = "", "", 0
        self._last_event = ""

    async def run(self) -> None:
        """Read until cancelled.

        Raises:
            AccessError: The servers refuse this user.
        """
        while True:
            client = await connect(self._access, name=self._name, first=self._number, on_event=self._tell)
            self.client = client
            self._home_s = HOME_S if self._is_home(client) else min(2 * self._home_s, HOME_MAXIMUM_S)
            try:
                while not await self._consume(client):
                    await asyncio.sleep(RETRY_WAIT_S)
            finally:
                self.client = None
                await client.close()

    def servers(self) -> set[str]:
        """The servers that this path needs at the moment: that of its connection and that of its consumer."""
        return {server_name(self.client), self._consumer_server} if self.client else set()

    def renew(self) -> None:
        """Begin again with another consumer, which shows whether it knows the same frames."""
        self._lost.set()

    async def _consume(self, client: LogClient) -> bool:
        """Make a consumer and read until it is lost; True asks for a new connection."""
        subscription = None
        try:
            subscription = await self._placed(client)
            self.reading = True
            return await self._watch(client)
        except (RefusedError, SilenceError, nats.errors.Error) as error:
            self._tell(f"no consumer ({error})")
            return client.is_closed
        finally:
            self.reading = False
            self._consumer_server = ""
            if subscription:
                await _unsubscribe(client, subscription)

    async def _placed(self, client: LogClient) -> Subscription:
        """A consumer on a server that suits, or after a few tries on any."""
        for left in reversed(range(PLACINGS_MAXIMUM)):
            consumer = f"{self._name}-{secrets.token_hex(6)}"
            inbox = client.new_inbox()
            self._lost.clear()
            start = max(1, self._receiver.next_position())
            self._sequence = start - 1
            subscription = await client.subscribe(inbox)
            client.shortcuts[subscription._id] = self._received
            try:
                configuration = self._configuration(consumer, inbox, start)
                question = f"CONSUMER.CREATE.{STREAM}.{consumer}"
                created = await ask(client, question, configuration, _Created, CREATE_TIMEOUT_S)
                self._consumer_server = created.cluster.leader
                self._consumer, self._inbox = consumer, inbox
                if left == 0 or self._suits(client):
                    return subscription
                await ask(client, f"CONSUMER.DELETE.{STREAM}.{consumer}", None, Answer, CREATE_TIMEOUT_S)
            except BaseException:
                await _unsubscribe(client, subscription)
                raise
            await _unsubscribe(client, subscription)
        raise SilenceError("no server suits")

    def _configuration(self, consumer: str, inbox: str, start: int) -> dict[str, Any]:
        pushed = {"deliver_subject": inbox, "flow_control": True, "idle_heartbeat": int(HEARTBEAT_S * 1e9)}
        return {
            "stream_name": STREAM,
            "action": "create",
            "config": {
                "name": consumer,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": start,
                "ack_policy": "none",
                "max_deliver": 1,
                "replay_policy": "instant",
                "inactive_threshold": int(INACTIVE_S * 1e9),
                "num_replicas": 1,
                "mem_storage": True,
                **({} if self._fetches else pushed),
            },
        }

    def _suits(self, client: LogClient) -> bool:
        """Whether the death of one server leaves this path or the other."""
        own = self._consumer_server == server_name(client)
        return own or self.other is None or self._consumer_server not in self.other.servers()

    async def _watch(self, client: LogClient) -> bool:
        """Wait until the consumer is lost; True if a new connection to the preferred server is due."""
        reconnects = client.stats["reconnects"]
        silent_s, away_s = 0.0, 0.0
        while silent_s < SILENT_S:
            tick_s = QUICK_TICK_S if self._fetches and self._is_needed() else TICK_S
            self._alive, self._fetched = False, 0
            if self._fetches:
                await self._fetch(client)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(tick_s):
                    await self._lost.wait()
            if self._lost.is_set() or client.is_closed or client.stats["reconnects"] != reconnects:
                return client.is_closed
            silent_s = 0.0 if self._alive else silent_s + tick_s
            away_s = 0.0 if self._is_home(client) else away_s + tick_s
            if away_s >= self._home_s and await self._home_answers():
                return True
        self._tell("the consumer is silent")
        return False

    def _is_needed(self) -> bool:
        """Whether nobody else brings the frames, or more of them wait than one fetch takes."""
        return self.other is None or not self.other.reading or self._fetched >= FETCH_FRAMES

    async def _fetch(self, client: LogClient) -> None:
        """Ask for what there is; the answer's end says so if it is less."""
        question = json.dumps({"batch": FETCH_FRAMES, "max_bytes": FETCH_LENGTH, "no_wait": True}).encode()
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{self._consumer}"
        with contextlib.suppress(nats.errors.Error):
            await client.publish(subject, question, reply=self._inbox)

    def _received(self, reply: bytes, frame: bytes, header: bytes) -> bytes:
        """One message of the consumer: a frame, a heartbeat, or a question whether more may come.

        Returns:
            The subject to answer to; empty for none.
        """
        if not reply.startswith(_ACKNOWLEDGE):
            return self._control(reply, header)
        self._alive, self._fetched = True, self._fetched + 1
        tokens = reply.split(b".")
        sequence = int(tokens[5] if len(tokens) == _TOKENS_SHORT else tokens[7])
        if not self._lost.is_set():
            self._sequence = sequence
            if not self._receiver.receive(sequence - 1, frame, header_value(header, MESSAGE_ID)):
                self._lost.set()
        return b""

    def _control(self, reply: bytes, header: bytes) -> bytes:
        if self._fetches and header[_STATUS] not in _FETCHED:
            if _TOO_LONG in header.lower():
                self._fetched = FETCH_FRAMES
            else:
                self._tell("the consumer is gone")  # Nobody responds, it was deleted, or its server ends.
                self._lost.set()
            return b""
        self._alive = True
        last = header_value(header, _LAST_SEQUENCE)
        if last and int(last) > self._sequence:
            self._tell(f"messages up to {last} were sent and did not arrive")
            self._lost.set()
        return reply or header_value(header, _STALLED).encode()

    def _is_home(self, client: LogClient) -> bool:
        """Whether the client is connected to the preferred server, or to none."""
        url = client.connected_url
        home = urlparse(self._home())
        return url is None or (url.hostname, url.port) == (home.hostname, home.port)

    def _home(self) -> str:
        return self._access.servers[self._number % len(self._access.servers)]

    async def _home_answers(self) -> bool:
        """Whether the preferred server greets a connection."""
        home = urlparse(self._home())
        try:
            async with asyncio.timeout(HOME_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(home.hostname, home.port)
                try:
                    return (await reader.readline()).startswith(b"INFO")
                finally:
                    writer.transport.abort()
        except (OSError, TimeoutError, ValueError):
            return False

    def _tell(self, event: str) -> None:
        """Pass an event on, but not the same one again and again."""
        if self._on_event and event != self._last_event:
            self._last_event = event
            self._on_event(f"read path {self._number}: {event}")


async def _unsubscribe(client: LogClient, subscription: Subscription) -> None:
    client.shortcuts.pop(subscription._id, None)
    with contextlib.suppress(Exception):
        await subscription.unsubscribe()
