"""The flow of the drill: the acts on a cluster, then the judging pass over the copy of the log that is left.

What may not live here: how a finding is counted, or shown.
"""

import asyncio
import os
import platform
import time
from pathlib import Path
from typing import NamedTuple

import holdfast
from holdfast.chaos.second_engine import evidence
from holdfast.chaos.second_engine.acts import Drill, Span
from holdfast.chaos.second_engine.evidence import Evidence
from holdfast.chaos.second_engine.judge import Judge, Window
from holdfast.chaos.second_engine.result import Result
from holdfast.chaos.second_engine.stage import Stage, Tell, staged
from holdfast.chaos.second_engine.tally import Clock, judged
from holdfast.cluster.errors import ClusterError
from holdfast.domain.errors import InputError
from holdfast.log.sqlite import SqliteLog

ACCOUNTS, ACCOUNTS_MINIMUM, ACCOUNTS_MAXIMUM = 20_000, 200, 200_000


class _Done(NamedTuple):
    """What the acts leave behind."""

    spans: list[Span]
    windows: list[Window]
    killed: int
    clock: Clock
    evidence: Evidence
    copy: Path
    names: list[str]


def run(folder: Path, accounts: int, seed: int, tell: Tell) -> Result:
    """Do the drill on this machine.

    Args:
        folder: Where the cluster and the evidence are kept; it is there and empty.
        accounts: Of clients, 200 to 200,000.
        seed: Of the venue, from 0 on.
        tell: Takes lines of progress.

    Raises:
        InputError: A number is out of its range.
        ClusterError: The cluster did not start, or something that is waited for did not come.
    """
    check(accounts, seed)
    began = time.monotonic()
    done = asyncio.run(_acts(folder, accounts, seed, tell))
    tell("the cluster has ended; its log is judged")
    judge = Judge(done.windows)
    with SqliteLog(done.copy, writable=False) as log:
        acts = judged(done.spans, (frame for _, frame in log.read(0)), judge, done.clock, done.names)
        frames = log.end
    return Result(
        accounts=accounts,
        seed=seed,
        acts=acts,
        evidence=done.evidence,
        frames=frames,
        killed=done.killed,
        roots_certified=len(judge.certified),
        roots_strange=len(judge.strange),
        contradicted=judge.contradicted,
        took_s=time.monotonic() - began,
        machine={"cores": str(os.cpu_count()), "system": platform.platform(terse=True), "processor": _processor()},
        versions={"python": platform.python_version(), "holdfast": holdfast.__version__},
    )


def check(accounts: int, seed: int) -> None:
    """Refuse numbers out of their range."""
    if not ACCOUNTS_MINIMUM <= accounts <= ACCOUNTS_MAXIMUM:
        advice = f"give a number from {ACCOUNTS_MINIMUM} to {ACCOUNTS_MAXIMUM:,}"
        raise InputError("out-of-range", "--accounts", accounts, advice)
    if seed < 0:
        raise InputError("out-of-range", "--seed", seed, "give a number from 0 on")


async def _acts(folder: Path, accounts: int, seed: int, tell: Tell) -> _Done:
    async with staged(folder / "cluster", accounts, seed, tell) as stage:
        drill = Drill(stage, tell)
        await drill.begin()
        await drill.without_error()
        found = await asyncio.to_thread(_evidence, stage, drill, folder, tell)
        await drill.without_second_engines()
        await drill.error_in_all()
        await drill.error_in_one()
        first = drill.spans[0].first
        times = await stage.stored_at(first, drill.spans[-1].end)
        names = [site.engine for site in stage.plan.sites]
        return _Done(drill.spans, drill.windows, drill.killed, Clock(first, times), found, stage.copy, names)


def _evidence(stage: Stage, drill: Drill, folder: Path, tell: Tell) -> Evidence:
    """Prove the first liquidation of the first act, and check the proof elsewhere."""
    begun = drill.watch.judge.begun
    if not begun:
        raise ClusterError("the drill", "no liquidation began without an error", "run it with more accounts")
    account = begun[0].account
    evidence.prove(stage.place.engine(stage.plan.sites[0]), account, folder)
    found = evidence.check_alone(folder, account)
    tell(f"evidence of account {account}: {'holds' if found.holds else 'REFUSED'} where Holdfast is not")
    return found


def _processor() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
