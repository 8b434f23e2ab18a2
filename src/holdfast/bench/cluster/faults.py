"""Faults, and how long clients wait for the next acknowledgement after them."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from holdfast.bench.cluster.load import Trader, ask, orders, steady
from holdfast.bench.cluster.stage import READY_S, Stage
from holdfast.cluster import operations
from holdfast.cluster.connections import ask_servers, connected
from holdfast.cluster.status import leaders
from holdfast.domain.errors import invariant
from holdfast.domain.frames import Records
from holdfast.log.jetstream.stream import STREAM

BEFORE_S, AFTER_S = 1.0, 3.0
"""How long load runs before a fault, and how long everything must have been answered after it."""
LONGEST_S = 25.0
RATE = 20.0
"""Commands per second and client."""
ASK_S = 0.02
"""Between two questions of a client."""

Act = Callable[[Stage], Awaitable[str]]
"""Makes a fault; the name of what was hit."""


class Waits(NamedTuple):
    """The longest waits of one trial, seconds: for clients of the replica that was hit, for the others, for reads."""

    hit: float
    others: float
    reads: float


async def kill_engine(stage: Stage) -> str:
    """SIGKILL of an engine; its supervisor starts it again."""
    name = stage.plan.sites[0].engine
    operations.kill(stage.folder, name, signal.SIGKILL)
    return name


async def log_leader(stage: Stage) -> str:
    """The server that leads the log's stream."""
    deadline = time.monotonic() + READY_S
    async with connected(stage.place, "system") as system:
        while time.monotonic() < deadline:
            _, log = leaders(stage.plan, await ask_servers(system, "JSZ", len(stage.plan.sites)))
            if log:
                return log
            await asyncio.sleep(0.1)
    invariant(condition=False, message="the log has no leader")
    return ""


async def kill_log_leader(stage: Stage) -> str:
    """SIGKILL of the server that leads the log."""
    name = await log_leader(stage)
    operations.kill(stage.folder, name, signal.SIGKILL)
    return name


async def step_down(stage: Stage) -> str:
    """Ask the log's leader to hand over."""
    async with connected(stage.place, "admin") as admin:
        await admin.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{STREAM}", b"", timeout=5.0)
    return ""


async def mend(stage: Stage) -> None:
    """Start what does not run, and wait until all is well again."""
    await operations.up(stage.folder, ready_s=READY_S)
    deadline = time.monotonic() + READY_S
    async with connected(stage.place, "system") as system:
        while await operations.unwell(system, stage.plan):
            invariant(time.monotonic() < deadline, "the cluster did not become well again")
            await asyncio.sleep(0.1)


async def trial(stage: Stage, traders: Sequence[Trader], act: Act, seed: int) -> Waits:
    """One fault under a steady load of all clients."""
    stop, taken = asyncio.Event(), list[float]()
    for trader in traders:
        trader.answered_at.clear()
        trader.read_at.clear()
    count = int((BEFORE_S + LONGEST_S) * RATE)
    loads = [
        asyncio.create_task(_until(stop, trader, orders(stage, count, seed * 10 + number), taken))
        for number, trader in enumerate(traders)
    ]
    reads = [asyncio.create_task(ask(trader, ASK_S, stop)) for trader in traders]
    await asyncio.sleep(BEFORE_S)
    at = time.monotonic()
    name = await act(stage)
    await _answered(traders, time.monotonic())
    end = time.monotonic()
    stop.set()
    await asyncio.gather(*loads, *reads)
    regions = {site.region for site in stage.plan.sites if name == site.engine}
    waits = {trader.region: _longest(trader.answered_at, at, end) for trader in traders}
    hit = [wait for region, wait in waits.items() if region in regions] or list(waits.values())
    others = [wait for region, wait in waits.items() if region not in regions]
    return Waits(max(hit), max(others), max(_longest(trader.read_at, at, end) for trader in traders))


async def _until(stop: asyncio.Event, trader: Trader, wanted: Sequence[Records], taken: list[float]) -> None:
    """A steady load that ends early when told to."""
    for some in range(0, len(wanted), int(RATE)):
        if stop.is_set():
            return
        await steady(trader, wanted[some : some + int(RATE)], RATE, taken)


async def _answered(traders: Sequence[Trader], since: float) -> None:
    """Wait until every client has been answered for a while without a pause."""
    deadline = since + LONGEST_S
    while time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        now = time.monotonic()
        fresh = all(trader.answered_at and now - trader.answered_at[-1] < 0.5 for trader in traders)
        if fresh and now - since > AFTER_S and all(_quiet(trader.answered_at, now) for trader in traders):
            return


def _quiet(times: Sequence[float], now: float) -> bool:
    """Whether the last second had no pause longer than a quarter of it."""
    recent = [at for at in times if at > now - 1.0]
    return len(recent) > 2 and max(b - a for a, b in pairwise(recent)) < 0.4


def _longest(times: Sequence[float], start: float, end: float) -> float:
    """The longest time between two answers that ends after `start`."""
    before = [at for at in times if at <= start]
    marks = [before[-1] if before else start, *(at for at in times if start < at <= end), end]
    return max((b - a for a, b in pairwise(marks)), default=0.0)
