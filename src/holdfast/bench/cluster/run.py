"""The flow of the benchmark: throughput, latency, faults, audit."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from holdfast.bench.cluster import faults
from holdfast.bench.cluster.audit import audit
from holdfast.bench.cluster.delays import order_ms_by_delay
from holdfast.bench.cluster.load import Trader, batches, orders, steady, trade
from holdfast.bench.cluster.result import ClusterResult, Gap, Spread, spread
from holdfast.bench.cluster.stage import Stage, staged
from holdfast.bench.result import Target, at_least, at_most, machine, versions
from holdfast.bench.venue import BATCH
from holdfast.cluster.connections import connected
from holdfast.cluster.engines import statuses
from holdfast.domain.frames import RECORD, encode_frame
from holdfast.log import loops
from holdfast.log.jetstream.connection import connect
from holdfast.log.jetstream.publisher import publish
from holdfast.replica.configuration import read_configuration
from holdfast.replica.folder import LOG_NAME

ACCOUNTS: Final = 20_000
ROUNDS, BATCHES = 5, 24
"""Rounds of so many batches of each of the three clients: 294,912 trades."""
ORDERS_PER_SECOND, ORDERS_S = 1_000.0, 10.0
APPENDS = 300
TRIALS: Final = 3
FAULTS: Final[dict[str, faults.Act]] = {
    "engine killed": faults.kill_engine,
    "log step-down": faults.step_down,
    "log leader killed": faults.kill_log_leader,
}
_NO_NUMBER = 1 << 60


def benchmark(*, trials: int = TRIALS, accounts: int = ACCOUNTS, rounds: int = ROUNDS) -> ClusterResult:
    """Measure a cluster of three servers and three engines on this machine.

    Args:
        trials: Of each fault.
        accounts: Of the venue.
        rounds: Of trades in batches.
    """
    return loops.run(_measured(trials, accounts, rounds))


async def _measured(trials: int, accounts: int, rounds: int) -> ClusterResult:
    async with staged(accounts) as stage, contextlib.AsyncExitStack() as opened:
        traders = [Trader(stage, site.region, f"bench-{site.region}") for site in stage.plan.sites]
        for trader in traders:
            await opened.enter_async_context(trader.client)
        await _trades(stage, traders, 0)
        rates = [await _trades(stage, traders, 1 + number) for number in range(rounds)]
        appends = await _appends(stage)
        frames_before, began = await _position(stage), time.monotonic()
        single = await _single(stage, traders)
        frames = (await _position(stage) - frames_before) / (time.monotonic() - began)
        gaps = {name: await _gap(stage, traders, act, trials) for name, act in FAULTS.items()}
        roots = await _roots(traders)
        await opened.aclose()
        copy = stage.place.engine(stage.plan.sites[-1]) / LOG_NAME
        told = [one for trader in traders for one in trader.acknowledged]
        found = await asyncio.to_thread(audit, copy, told)
    order_ms = spread([seconds * 1e3 for seconds in single])
    by_delay = await asyncio.to_thread(order_ms_by_delay)
    return ClusterResult(
        trades_per_second=statistics.median(rates),
        rounds=rates,
        order_ms=order_ms,
        orders_per_second=ORDERS_PER_SECOND,
        append_ms=spread([seconds * 1e3 for seconds in appends]),
        order_ms_by_delay=by_delay,
        gap_s=gaps,
        acknowledged_lost=found.lost,
        applied_twice=found.twice,
        acknowledged=found.acknowledged,
        equal_roots=len(set(roots)) == 1,
        frames_per_second=frames,
        targets=_targets(statistics.median(rates), order_ms, gaps, found.lost, found.twice),
        notes=[
            "order by delay: one after the other, from all regions, every link between regions delayed so long one way",
            "three servers, three engines and the clients share this machine's cores; witnesses off",
            f"batches of {BATCH:,} trades, both sides' initial margin checked, sessions, hash chain, roots on",
        ],
        machine=machine(),
        versions=versions(),
    )


async def _trades(stage: Stage, traders: Sequence[Trader], seed: int) -> float:
    """Acknowledged trades per second of one round."""
    made = batches(stage, BATCHES * len(traders), seed)
    began = time.perf_counter()
    await asyncio.gather(*(trade(trader, made[number :: len(traders)]) for number, trader in enumerate(traders)))
    return len(made) * BATCH / (time.perf_counter() - began)


async def _single(stage: Stage, traders: Sequence[Trader]) -> list[float]:
    """Seconds from sending to acknowledgement of single orders."""
    rate = ORDERS_PER_SECOND / len(traders)
    made = orders(stage, int(ORDERS_PER_SECOND * ORDERS_S), seed=99)
    taken: list[float] = []
    loads = (steady(trader, made[number :: len(traders)], rate, taken) for number, trader in enumerate(traders))
    await asyncio.gather(*loads)
    return taken


async def _appends(stage: Stage) -> list[float]:
    """Seconds of appends of an empty frame to the log alone; the fold refuses them as out of their order."""
    site = stage.plan.sites[0]
    access = read_configuration(stage.place.engine(site) / "engine.toml").log.access()
    link = await connect(access, name="bench")
    taken = []
    frame = encode_frame(0, _NO_NUMBER, np.zeros(0, RECORD))
    try:
        for number in range(APPENDS):
            began = time.perf_counter()
            await publish(link, frame, f"bench.{number}", 5.0)
            taken.append(time.perf_counter() - began)
            await asyncio.sleep(0.005)
    finally:
        await link.close()
    return taken


async def _gap(stage: Stage, traders: Sequence[Trader], act: faults.Act, trials: int) -> Gap:
    waits = []
    for number in range(trials):
        waits.append(await faults.trial(stage, traders, act, number))
        await faults.mend(stage)
    return Gap(
        hit=spread([one.hit for one in waits]),
        others=spread([one.others for one in waits]),
        reads=spread([one.reads for one in waits]),
    )


async def _position(stage: Stage) -> int:
    async with connected(stage.place, "operator") as operator:
        return max(answer.position for answer in (await statuses(operator, stage.plan)).values())


async def _roots(traders: Sequence[Trader]) -> list[str]:
    """The root that each region's engine had at the newest checkpoint that all of them have."""
    answers = [(await trader.client.roots(at_least=-1))["checkpoints"] for trader in traders]
    common = set.intersection(*({position for position, _, _ in answer} for answer in answers))
    newest = max(common)
    return [next(root for position, _, root in answer if position == newest) for answer in answers]


def _targets(rate: float, order_ms: Spread, gaps: dict[str, Gap], lost: int, twice: int) -> list[Target]:
    killed, planned, leader = (gaps[name] for name in FAULTS)
    return [
        at_least("at least 100,000 trades per second, acknowledged", rate, 100_000.0),
        at_most("single order p50 under 5 ms", order_ms.p50, 5.0),
        at_most("single order p99 under 25 ms", order_ms.p99, 25.0),
        at_most("engine killed: its clients wait at most 1 s", killed.hit.max, 1.0),
        at_most("planned step-down of the log: at most 1 s", planned.hit.max, 1.0),
        at_most("log leader killed: p50 at most 8 s", leader.hit.p50, 8.0),
        at_most("acknowledged and lost: none", float(lost), 0.0),
        at_most("applied twice: none", float(twice), 0.0),
    ]
