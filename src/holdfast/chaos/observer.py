"""Asks all engines how they are, all the time, over connections that no relay touches. What may not: judgement."""

import asyncio
import json
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import nats.errors
from nats.aio.client import Client

from holdfast.chaos.checks import Sight
from holdfast.chaos.journal import now
from holdfast.cluster.connections import connected
from holdfast.cluster.layout import Layout
from holdfast.cluster.plan import Plan
from holdfast.domain.errors import HoldfastError

INTERVAL_S = 0.5
ANSWER_S = 1.0
_HALTED = "does not acknowledge"
_END_S = 15.0


class Observer:
    """A thread that asks.

    Attributes:
        sights: What was answered, in the order of time.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.sights: list[Sight] = []
        self._place, self._plan = Layout(folder), plan
        self._ending = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="observer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join(_END_S)

    async def _run(self) -> None:
        while not self._ending.is_set():
            try:
                async with connected(self._place, "operator") as client:
                    while not self._ending.is_set():
                        await asyncio.gather(*(self._ask(client, site.engine) for site in self._plan.sites))
                        await asyncio.sleep(INTERVAL_S)
            except HoldfastError:
                await asyncio.sleep(INTERVAL_S)  # No server takes a connection now.

    async def _ask(self, client: Client, engine: str) -> None:
        at = now()
        try:
            message = await client.request(f"holdfast.status.{engine}", b"", timeout=ANSWER_S)
        except (nats.errors.Error, TimeoutError):
            return
        self.sights.append(sight_of(at, engine, json.loads(message.data)))


def sight_of(at: int, engine: str, said: dict[str, Any]) -> Sight:
    """What an engine's answer says."""
    checkpoint = said.get("checkpoint")
    return Sight(
        at=at,
        engine=engine,
        position=int(said["position"]),
        serving=bool(said["serving"]),
        halted=any(_HALTED in word for word in said["degraded"]),
        checkpoint=-1 if checkpoint is None else int(checkpoint),
        root=said.get("root") or "",
        heard_at=now(),
    )
