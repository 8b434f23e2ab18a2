"""Two connections to the servers, and requests whose answers may come late. What may not live here: what is asked.

An answer counts whenever it comes, on whichever connection, also after its request was given up; so requests are not
awaited one by one, but each names whom to tell.
"""

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from holdfast.client.hearing import Heard, Listener, Way
from holdfast.log.jetstream.connection import Access, connect

KEPT_S: Final = 120.0
"""How long a late answer is still passed on."""
_NO_RESPONDERS: Final = "503"
_STATUS: Final = "Status"


class Link:
    """One connection."""

    def __init__(self, access: Access, name: str, first: int, changed: Callable[[], None]) -> None:
        self._access, self._name, self._first, self._changed = access, name, first, changed
        self._client: Client | None = None
        self._prefix = ""
        self._tokens = itertools.count()
        self._listeners: dict[str, tuple[float, Listener]] = {}
        self._lost: set[str] = set()

    @property
    def is_connected(self) -> bool:
        """Whether something can be sent."""
        return self._client is not None and self._client.is_connected

    async def open(self) -> None:
        """Connect, however long it takes.

        Raises:
            AccessError: The servers refuse this user.
        """
        client = await connect(self._access, name=self._name, first=self._first, on_event=self._happened)
        self._prefix = client.new_inbox()
        await client.subscribe(f"{self._prefix}.*", cb=self._answered)
        self._client = client
        self._changed()

    async def close(self) -> None:
        """Disconnect; nothing more is heard."""
        self._listeners.clear()
        if self._client is not None:
            await self._client.close()

    async def request(self, subject: str, payload: bytes, listener: Listener) -> None:
        """Send a request; the listener is told what becomes of it."""
        token = str(next(self._tokens))
        if self._client is None:
            listener(Heard(Way.UNSENT))
            return
        self._listeners[token] = (time.monotonic(), listener)
        try:
            await self._client.publish(subject, payload, reply=f"{self._prefix}.{token}")
        except (nats.errors.Error, OSError):
            # Nothing is kept for later: what raises was not sent.
            if self._listeners.pop(token, None):
                listener(Heard(Way.UNSENT))

    def sweep(self) -> None:
        """Forget requests that are too old."""
        until = time.monotonic() - KEPT_S
        old = list(itertools.takewhile(lambda token: self._listeners[token][0] < until, self._listeners))
        for token in old:
            del self._listeners[token]
            self._lost.discard(token)

    async def _answered(self, message: Msg) -> None:
        token = message.subject.rpartition(".")[2]
        _, listener = self._listeners.pop(token, (0.0, None))
        self._lost.discard(token)
        if listener is not None:
            is_absent = bool(message.headers) and (message.headers or {}).get(_STATUS) == _NO_RESPONDERS
            listener(Heard(Way.ABSENT) if is_absent else Heard(Way.ANSWERED, message.data))

    def _happened(self, event: str) -> None:
        if event == "disconnected":
            for token, (_, listener) in list(self._listeners.items()):
                if token not in self._lost:
                    self._lost.add(token)
                    listener(Heard(Way.LOST))
        if self._client is not None:
            self._changed()


class Links:
    """Two connections that prefer different servers."""

    def __init__(self, access: Access, name: str, changed: Callable[[], None]) -> None:
        """Links that are not connected yet.

        Args:
            access: Where and as whom.
            name: For the servers' reports.
            changed: Told when a connection was won or lost.
        """
        self._links = [Link(access, f"{name}.{n}", n, changed) for n in range(2)]
        self._openings: list[asyncio.Task[None]] = []

    async def open(self, timeout_s: float) -> bool:
        """Connect; whether one of them is within the time. The other goes on trying.

        Raises:
            AccessError: The servers refuse this user.
        """
        self._openings = [asyncio.create_task(link.open()) for link in self._links]
        done, _ = await asyncio.wait(self._openings, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        return bool(done)

    async def close(self) -> None:
        """Disconnect."""
        for task in self._openings:
            task.cancel()
        await asyncio.gather(*self._openings, return_exceptions=True)
        for link in self._links:
            await link.close()

    async def request(self, path: int, subject: str, payload: bytes, listener: Listener) -> None:
        """Send a request over the connection `path`, or over the other one while that is broken."""
        link = self._links[path % 2]
        if not link.is_connected:
            link = self._links[(path + 1) % 2]
        await link.request(subject, payload, listener)

    def sweep(self) -> None:
        """Forget requests that are too old."""
        for link in self._links:
            link.sweep()
