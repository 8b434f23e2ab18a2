"""How the servers and engines of the demonstration are, asked over connections that stay open.

What lives here: asking, and one row for each. What may not: what is done about it, and how it is shown.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, Self

import msgspec
import nats.errors
from nats.aio.client import Client

from holdfast.cluster.connections import EngineStatus, ServerAnswer, ask_servers, connected
from holdfast.cluster.engines import engine_process
from holdfast.cluster.layout import Layout
from holdfast.cluster.plan import Plan, Site
from holdfast.cluster.servers import server_process
from holdfast.cluster.status import leaders

ANSWER_S: Final = 1.0
LAG_MAXIMUM: Final = 64
"""Frames that an engine may be behind the others and still be well."""


class Row(NamedTuple):
    """A server or an engine.

    Attributes:
        name: Of it.
        state: "well", "catching up", "starting", "silent", "stopped", "dead" or "suspended".
        position: Of an engine's last frame, −1 where it does not answer, as of servers.
        lag: Frames behind the furthest engine.
        leads: Whether a server leads the log.
    """

    name: str
    state: str
    position: int = -1
    lag: int = 0
    leads: bool = False


class _Answer(EngineStatus, frozen=True):
    """An engine's answer, with its latest checkpoint."""

    checkpoint: int | None = None
    root: str | None = None


class Watch:
    """The latest answers.

    Attributes:
        servers: A row for each.
        engines: A row for each.
        degraded: What engines say is not as it should be.
        roots: By engine, the roots that it said it had, by position.
    """

    def __init__(self, place: Layout, plan: Plan, system: Client, operator: Client) -> None:
        self._place, self._plan = place, plan
        self._system, self._operator = system, operator
        self.servers = tuple(Row(site.server, "starting") for site in plan.sites)
        self.engines = tuple(Row(site.engine, "starting") for site in plan.sites)
        self.degraded: tuple[str, ...] = ()
        self.roots: dict[str, dict[int, str]] = defaultdict(dict)
        self._answered: dict[str, int] = {}

    @classmethod
    @asynccontextmanager
    async def opened(cls, place: Layout, plan: Plan) -> AsyncIterator[Self]:
        """A watch with its connections."""
        async with connected(place, "system") as system, connected(place, "operator") as operator:
            yield cls(place, plan, system, operator)

    @property
    def leader(self) -> str:
        """The server that leads the log; empty where none is known."""
        return next((row.name for row in self.servers if row.leads), "")

    @property
    def is_well(self) -> bool:
        """Whether all servers and engines are well and the log has a leader."""
        return bool(self.leader) and all(row.state == "well" for row in (*self.servers, *self.engines))

    async def look(self) -> None:
        """Ask everybody once."""
        count = len(self._plan.sites)
        answers, health, engines = await asyncio.gather(
            ask_servers(self._system, "JSZ", count, ANSWER_S),
            ask_servers(self._system, "HEALTHZ", count, ANSWER_S),
            asyncio.gather(*(self._ask(site) for site in self._plan.sites)),
        )
        _, leader = leaders(self._plan, answers)
        self.servers = tuple(self._server(site, health, leader) for site in self._plan.sites)
        known = [answer for answer in engines if answer is not None]
        end = max((answer.end for answer in known), default=0)
        self.engines = tuple(self._engine(site, one, end) for site, one in zip(self._plan.sites, engines, strict=True))
        self.degraded = tuple(dict.fromkeys(mark for answer in known for mark in answer.degraded))
        for answer in known:
            if answer.checkpoint is not None and answer.root is not None:
                self.roots[answer.name][answer.checkpoint] = answer.root

    async def _ask(self, site: Site) -> _Answer | None:
        try:
            message = await self._operator.request(f"holdfast.status.{site.engine}", b"", timeout=ANSWER_S)
            return msgspec.json.decode(message.data, type=_Answer, strict=False)
        except (nats.errors.Error, TimeoutError, msgspec.MsgspecError):
            return None

    def _server(self, site: Site, health: dict[str, ServerAnswer], leader: str) -> Row:
        process, answer = server_process(self._place, site), health.get(site.server)
        if process is None:
            return Row(site.server, "dead")
        if process.is_stopped:
            return Row(site.server, "stopped")
        state = "well" if answer is not None and answer.data.status == "ok" else "catching up"
        return Row(site.server, state, leads=leader == site.server)

    def _engine(self, site: Site, answer: _Answer | None, end: int) -> Row:
        process = engine_process(self._place, site)
        if process is None:
            return Row(site.engine, "dead")
        if process.is_stopped:
            return Row(site.engine, "stopped")
        if answer is None:
            return Row(site.engine, "silent" if self._answered.get(site.engine) == process.pid else "starting")
        self._answered[site.engine] = process.pid
        lag = max(0, end - 1 - answer.position)
        state = "well" if answer.serving and lag <= LAG_MAXIMUM else "catching up"
        return Row(site.engine, "suspended" if answer.suspended else state, answer.position, lag)
