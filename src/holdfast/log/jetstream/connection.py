"""A connection to the log's servers, with the settings that a log needs.

Theory of operation. nats-py is made for messages that may be late or lost. Here it is set up so that nothing is sent
late and no fault is waited for:

- Nothing is kept while there is no connection: a publish then fails at once, what was queued when the connection broke
  is dropped, and every request that waited for an answer ends. Its fate is unknown, and the caller's repeat says so
  sooner than a timeout would.
- A peer that is silent for 3 s is dead (a ping each second, two unanswered), and connecting never ends, 50 ms apart.
- A connection is cut and not closed in order. An orderly end waits until everything was sent and, with TLS, until the
  peer took leave; a machine that froze does neither, and the library would wait for it before it tries another one.
- Who asks for encryption sends no password without it, whatever a server says about itself.

What lives here: connecting. What may not: subjects, streams, frames.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import ParseResult

import nats.errors
from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.protocol.parser import PERMISSIONS_ERR, PING_OP

from holdfast.domain.errors import InputError
from holdfast.log.errors import AccessError
from holdfast.log.jetstream.tasks import end_tasks

CONNECT_TIMEOUT_S: Final = 1.0
RECONNECT_WAIT_S: Final = 0.05
PING_INTERVAL_S: Final = 1
PINGS_OUTSTANDING_MAXIMUM: Final = 2
READ_LENGTH: Final = 1 << 20
"""Bytes to take from the socket at once. The library's 32 KiB need eight turns of the loop for one large frame."""

_REFUSALS = ("authorization violation", "certificate verify failed", "does not encrypt")
"""Words of an error that another attempt will not mend."""


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out what asyncio says of every encrypted connection that the other end closes: nothing follows from it."""
    return "eof_received() has no effect when using ssl" not in record.getMessage()


logging.getLogger("asyncio").addFilter(_is_news)


class ConnectionLostError(nats.errors.Error):
    """The connection broke while an answer was awaited: what was asked may have been done."""


@dataclass(frozen=True)
class Access:
    """Where the log's servers are, and as whom to connect.

    Attributes:
        servers: Addresses such as `tls://10.0.0.1:4222`, the nearest first.
        user: Name of the user; empty where the servers ask for none.
        password: The user's password.
        certificate_authority: File with the certificates to trust; without it those of the system. Where it is given,
            or an address begins with `tls://`, nothing is sent without encryption.
        inbox: Prefix of the subjects on which this user may receive answers.
    """

    servers: tuple[str, ...]
    user: str = ""
    password: str = field(default="", repr=False)
    certificate_authority: Path | None = None
    inbox: str = "_INBOX"

    @property
    def encrypted(self) -> bool:
        """Whether only encrypted connections will do."""
        return self.certificate_authority is not None or any(server.startswith("tls:") for server in self.servers)


class LogClient(Client):
    """The library's client, with five changes.

    It sends nothing to a server that does not encrypt, if it should. It connects again after every error that a server
    reports, where the library gives up for ever. Closed while it connects again, it stays closed. A ping goes behind
    what waits to be sent, where the library's own overtakes it: after `flush` a subscription is known to the server.
    And it has a shortcut for subscriptions that carry every frame of the log: the library makes an object, a dictionary
    of headers, a place in a queue and a turn of a task of each message, which with two read paths would be most of what
    following costs.

    Attributes:
        shortcuts: By the number of a subscription: who takes reply subject, payload and header of its messages as they
            came, and returns the subject to answer to with an empty message, if any.
    """

    def __init__(self, *, encrypted: bool) -> None:
        super().__init__()
        self.shortcuts: dict[int, Callable[[bytes, bytes, bytes], bytes]] = {}
        self._encrypted = encrypted

    def _connect_command(self) -> bytes:
        """What is said first, with the password, when the connection is as encrypted as it will be."""
        if self._encrypted and not self._server_info.get("tls_required"):
            raise nats.errors.Error("nats: the server does not encrypt")
        return super()._connect_command()

    async def close(self) -> None:
        """Close the connection. See `end_tasks`: connecting again may not hear that it should end."""
        own = asyncio.current_task()
        while (again := self._reconnection_task) is not None and again is not own and not again.done():
            await end_tasks([again])
        await super().close()

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        await self._send_command(PING_OP + b"\r\n")
        await self._flush_pending()

    async def _process_err(self, err_msg: str) -> None:
        if PERMISSIONS_ERR in err_msg:
            await super()._process_err(err_msg)
        else:
            error = nats.errors.Error(f"nats: {err_msg.strip(chr(39))}")
            await self._error_cb(error)
            await self._process_op_err(error)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        take = self.shortcuts.get(sid)
        if take is None:
            await super()._process_msg(sid, subject, reply, data, headers)
        elif answer_to := take(reply, data, headers or b""):
            await self.publish(answer_to.decode())


async def connect(
    access: Access, *, name: str, first: int = 0, on_event: Callable[[str], None] | None = None
) -> LogClient:
    """Connect to one of the servers, however long it takes, and stay connected to one until the client is closed.

    Args:
        access: Where and as whom.
        name: What the servers call this connection in their own reports.
        first: Which server to prefer, as an index into `access.servers`; then the others in their order.
        on_event: Told in words of connections won and lost, and of errors; called in the loop.

    Raises:
        AccessError: Every server refuses this user, or is not who it should be.
        InputError: There is no server, or the certificates cannot be read.
    """
    if not access.servers:
        raise InputError("missing-field", "servers", None, "name at least one server")
    start = first % len(access.servers)
    trust = _trust(access.certificate_authority) if access.encrypted else None
    watcher = _Watcher(access, on_event)
    try:
        await watcher.client.connect(
            servers=[*access.servers[start:], *access.servers[:start]],
            name=name,
            tls=trust,
            user=access.user or None,
            password=access.password if access.user else None,
            inbox_prefix=access.inbox,
            pending_size=-1,
            dont_randomize=True,
            connect_timeout=CONNECT_TIMEOUT_S,  # type: ignore[arg-type]
            reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]
            max_reconnect_attempts=-1,
            ping_interval=PING_INTERVAL_S,
            max_outstanding_pings=PINGS_OUTSTANDING_MAXIMUM,
            error_cb=watcher.error,
            disconnected_cb=watcher.disconnected,
            reconnected_cb=watcher.connected,
        )
        await watcher.connected()
    except BaseException:
        await watcher.client.close()
        raise
    return watcher.client


def server_name(client: Client) -> str:
    """The name of the server that the client is connected to; empty while there is none."""
    return str(client._server_info.get("server_name", "")) if client.is_connected else ""


def _trust(certificate_authority: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=certificate_authority)
    except (OSError, ssl.SSLError) as error:
        advice = "give a file with certificates in PEM"
        raise InputError("malformed", "certificate_authority", str(certificate_authority), advice) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


class _Watcher:
    """A client and what happens to its connection."""

    def __init__(self, access: Access, on_event: Callable[[str], None] | None) -> None:
        self.client = LogClient(encrypted=access.encrypted)
        self.client._transport = _CuttingTransport()  # type: ignore[no-untyped-call]
        self._access = access
        self._on_event = on_event
        self._was_connected = False
        self._refusals = 0
        self._last_event = ""

    async def connected(self) -> None:
        self._was_connected = True
        url = self.client.connected_url
        self._tell(f"connected to {url.netloc if url else 'a server'}")

    async def disconnected(self) -> None:
        """Forget what was not sent and end what waits for an answer."""
        self.client._pending.clear()
        self.client._pending_data_size = 0
        for future in list(self.client._resp_map.values()):
            if not future.done():
                future.set_exception(ConnectionLostError("nats: the connection broke before the answer"))
        self._tell("disconnected")

    async def error(self, error: Exception) -> None:
        """Report an error; end the first connecting if every server refuses."""
        text = " ".join(str(error).split()) or type(error).__name__
        self._tell(text)
        if not self._was_connected and any(word in text.lower() for word in _REFUSALS):
            self._refusals += 1
            if self._refusals >= len(self._access.servers):
                advice = "check the user, the password and the certificates of this configuration"
                raise AccessError(", ".join(self._access.servers), f"refuse the connection ({text})", advice)

    def _tell(self, event: str) -> None:
        """Pass an event on, but not the same one again and again."""
        if self._on_event and event != self._last_event:
            self._last_event = event
            self._on_event(event)


class _CuttingTransport(TcpTransport):
    """The library's transport, which takes more at once and does not wait for a peer that may be frozen."""

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: float) -> None:  # noqa: ARG002
        await super().connect(uri, READ_LENGTH, connect_timeout)  # type: ignore[arg-type]

    async def read(self, buffer_size: int) -> bytes:  # noqa: ARG002
        reader = self._io_reader
        return await reader.read(READ_LENGTH) if reader else b""

    def close(self) -> None:
        for writer in (self._io_writer, self._bare_io_writer):
            if writer is not None:
                writer.transport.abort()

    async def wait_closed(self) -> None:
        """Give the loop a turn to drop what was cut. After a failed handshake the library's own wait never ends."""
        await asyncio.sleep(0)

    def __bool__(self) -> bool:
        """True always: the client makes a transport of its own where there seems to be none."""
        return True
