"""`embedded`: trades acknowledged durably, one engine on a SQLite log with synchronous=FULL."""

import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from holdfast.bench.result import Figure, Result, at_least, at_most, result_of
from holdfast.bench.timing import Samples
from holdfast.bench.venue import BATCH, Venue
from holdfast.domain.errors import invariant
from holdfast.domain.frames import decode_frame
from holdfast.log.sqlite import SqliteLog
from holdfast.replica.embedded import EmbeddedEngine

ACCOUNTS, ROUNDS, FRAMES, SINGLE = 100_000, 5, 64, 300
GROUP = 8
"""Frames per commit: 32,768 trades."""
CHECKPOINT_FRAMES = 256


def benchmark(*, size: int | None, repeat: int | None) -> Result:
    """Time trades from submission to acknowledgement, in groups and one by one."""
    venue = Venue(size or ACCOUNTS, checkpoint_frames=CHECKPOINT_FRAMES)
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as name:
        folder = Path(name)
        with SqliteLog(folder / "log.sqlite") as log:
            for some in range(0, len(venue.desk.frames), GROUP):
                log.append_group(venue.desk.frames[some : some + GROUP])
        began = time.perf_counter()
        engine = EmbeddedEngine(SqliteLog(folder / "log.sqlite"), folder=folder)
        replayed = time.perf_counter() - began
        with engine:
            commands = sum(len(decode_frame(frame).records) for frame in venue.desk.frames)
            seconds = [_groups(venue, engine, seed) for seed in range(repeat or ROUNDS)]
            single = [_single(venue, engine, n) for n in range(SINGLE)]
            engine.snapshot()
            fsync = _fsync(folder)
        began = time.perf_counter()
        with EmbeddedEngine(SqliteLog(folder / "log.sqlite"), folder=folder) as again:
            start = time.perf_counter() - began
            digest = again.fold.root().hex()
    trades = _frames(venue) * BATCH
    rate = trades / statistics.median(seconds)
    single_ms = np.percentile(single, [50, 99]) * 1e3
    figures = {
        "trades per second, acknowledged": Figure(rate, "trades/s"),
        "single trade, p50": Figure(float(single_ms[0]), "ms"),
        "single trade, p99": Figure(float(single_ms[1]), "ms"),
        "fsync of 4 KiB, p50": Figure(float(np.percentile(fsync, 50)) * 1e3, "ms"),
        "fsync of 4 KiB, p99": Figure(float(np.percentile(fsync, 99)) * 1e3, "ms"),
        "replay of the venue's making": Figure(commands / replayed, "commands/s"),
        "of it per account, opening and deposit": Figure(2.0, "cold commands"),
        "start from a snapshot, kernels loaded": Figure(start, "s"),
    }
    return result_of(
        "embedded",
        trades,
        Samples({"holdfast": seconds}),
        yardstick=None,
        peers={},
        ratios={},
        figures=figures,
        targets=[
            at_least("at least 200,000 trades per second, acknowledged", rate, 200_000.0),
            at_most("start under 3 s", start, 3.0),
        ],
        notes=[f"groups of {GROUP} frames of {BATCH:,} trades, one commit forced to disk each"],
        digest=digest,
    )


def _frames(venue: Venue) -> int:
    return FRAMES if venue.accounts >= ACCOUNTS else GROUP


def _groups(venue: Venue, engine: EmbeddedEngine, seed: int) -> float:
    frames = venue.random_trades(_frames(venue), seed=seed + 10)
    began = time.perf_counter()
    for some in range(0, len(frames), GROUP):
        engine.submit(frames[some : some + GROUP], trusted=True)
    return time.perf_counter() - began


def _single(venue: Venue, engine: EmbeddedEngine, n: int) -> float:
    one = np.array([n % venue.accounts])
    frame = venue.trades(one + 4, (one + 1) % venue.accounts + 4, venue.held[one, 0], np.array([1]))
    began = time.perf_counter()
    applied = engine.submit([frame], trusted=True)
    seconds = time.perf_counter() - began
    invariant(len(applied[0].outcomes) == 1, "one trade has one outcome")
    return seconds


def _fsync(folder: Path) -> list[float]:
    """Seconds of appending 4 KiB to a file and forcing it, many times: the disk's own share."""
    taken = []
    with (folder / "fsync").open("ab") as file:
        for _ in range(100):
            file.write(bytes(4_096))
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    return taken
