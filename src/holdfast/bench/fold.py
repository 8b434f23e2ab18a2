"""`fold`: bilateral trades through the fold in one process, and what each of its promises costs."""

import asyncio
import hashlib
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from holdfast.bench.asyncio_engine import DictEngine
from holdfast.bench.result import Figure, Result, at_least, result_of
from holdfast.bench.timing import Samples
from holdfast.bench.venue import BATCH, Venue
from holdfast.core import sessions
from holdfast.core.snapshot import fold_from, snapshot_of
from holdfast.core.state import Account, Counter
from holdfast.domain.errors import invariant
from holdfast.domain.frames import chain_hash, decode_frame

ACCOUNTS, ROUNDS, FRAMES = 100_000, 5, 256
CHECKPOINT_FRAMES = 256
"""A state root every 1,048,576 commands: at the rate to reach, each two seconds."""


BASELINE = "asyncio and dictionaries"


def frames_for(accounts: int) -> int:
    """Frames of one pass; few where the venue is small, which is a trial and no measurement."""
    return FRAMES if accounts >= ACCOUNTS else 8


def benchmark(*, size: int | None, repeat: int | None) -> Result:
    """Time trades with all promises on, and without one at a time."""
    accounts, rounds = size or ACCOUNTS, repeat or ROUNDS
    frames = frames_for(accounts)
    venue = Venue(accounts, checkpoint_frames=CHECKPOINT_FRAMES)
    plain = Venue(accounts, with_multipliers=False, checkpoint_frames=CHECKPOINT_FRAMES)
    for one in (venue, plain):
        _trades(one, one.random_trades(4, seed=99))
    samples: dict[str, list[float]] = {"holdfast": [], "multipliers off": []}
    for n in range(rounds):
        for name, one in (("holdfast", venue), ("multipliers off", plain)):
            samples[name].append(_trades(one, one.random_trades(frames, seed=n)))
    per_trade = {name: statistics.median(values) / (frames * BATCH) for name, values in samples.items()}
    baseline = _baseline(venue)
    figures = _costs(venue, per_trade) | _memory(venue)
    figures["trades per second"] = Figure(1 / per_trade["holdfast"], "trades/s")
    figures[f"{BASELINE}, trades per second"] = Figure(1 / baseline, "trades/s")
    return result_of(
        "fold",
        frames * BATCH,
        Samples(samples),
        yardstick=None,
        peers={
            "multipliers off": statistics.median(samples["multipliers off"]),
            BASELINE: baseline * frames * BATCH,
        },
        ratios={BASELINE: baseline / per_trade["holdfast"]},
        figures=figures,
        targets=[at_least("at least 500,000 trades per second", 1 / per_trade["holdfast"], 500_000.0)],
        notes=[
            f"{accounts:,} accounts, 20 positions each, 32 scenarios; both sides' initial margin, sessions, "
            f"multipliers, hash chain, and a state root every {CHECKPOINT_FRAMES} frames of {BATCH:,} trades",
            "the baseline has no log, sessions, hashes, roots, multipliers or charges",
        ],
        digest=venue.desk.fold.root().hex(),
    )


def _trades(venue: Venue, frames: Sequence[bytes]) -> float:
    """Seconds to fold frames of trades, all of which must be accepted."""
    applied = []
    began = time.perf_counter()
    for frame in frames:
        applied.append(venue.desk.fold.apply(frame))
    seconds = time.perf_counter() - began
    refused = sum(int(np.count_nonzero(one.outcomes["reason"])) for one in applied)
    invariant(refused * 100 < len(frames) * BATCH, f"{refused} of the trades were refused")
    return seconds


def _baseline(venue: Venue) -> float:
    """Seconds per trade of the obvious engine on the same trades."""
    frames = venue.random_trades(4, seed=7)
    _trades(venue, frames)  # Their numbers are used up either way, so the fold gets them too.
    records = np.concatenate([decode_frame(frame).records for frame in frames])
    engine = DictEngine(venue)
    asyncio.run(engine.run(records[:BATCH]))
    began = time.perf_counter()
    asyncio.run(engine.run(records))
    return (time.perf_counter() - began) / len(records)


def _costs(venue: Venue, per_trade: dict[str, float]) -> dict[str, Figure]:
    """What each promise costs per trade, measured apart."""
    frames = venue.random_trades(frames_for(venue.accounts), seed=1_000)
    count = len(frames) * BATCH
    chain = _timed(lambda: [chain_hash(bytes(32), frame) for frame in frames]) / count
    decoding = _timed(lambda: [decode_frame(frame) for frame in frames]) / count
    turns = _timed(lambda: _turns(venue, count)) / count
    _trades(venue, frames)
    began = time.perf_counter()
    venue.desk.fold.root()
    root = time.perf_counter() - began
    dirty = venue.accounts
    return {
        "multipliers, per trade": Figure((per_trade["holdfast"] - per_trade["multipliers off"]) * 1e9, "ns"),
        "hash chain, per trade": Figure(chain * 1e9, "ns"),
        "decoding and checksum, per trade": Figure(decoding * 1e9, "ns"),
        "session's turn, per trade": Figure(turns * 1e9, "ns"),
        "one state root, most accounts changed": Figure(root * 1e3, "ms"),
        "state root, per account": Figure(root / dirty * 1e9, "ns"),
        "state root, per trade": Figure(root / (CHECKPOINT_FRAMES * BATCH) * 1e9, "ns"),
        "SHA-256 of this machine": Figure(_sha256_rate() / 1e9, "GB/s"),
    }


def _turns(venue: Venue, count: int) -> None:
    sessions.take_turns(venue.desk.fold.machine.state, venue.client, count)


def _timed(call: Callable[[], object]) -> float:
    call()
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _sha256_rate() -> float:
    data = bytes(64 << 20)
    began = time.perf_counter()
    hashlib.sha256(data)
    return len(data) / (time.perf_counter() - began)


def _memory(venue: Venue) -> dict[str, Figure]:
    """Bytes of the state per account, and how long a snapshot takes to write and to read."""
    state = venue.desk.fold.machine.state
    used = int(state.counters[Counter.ACCOUNTS])
    size = sum(array.nbytes for array in state)
    began = time.perf_counter()
    data = snapshot_of(venue.desk.fold)
    written = time.perf_counter()
    fold_from(data)
    read = time.perf_counter()
    rows = int(state.accounts[:used, Account.COUNT].sum())
    return {
        "memory per account": Figure(size / used, "bytes"),
        "rows per account": Figure(rows / used, "rows"),
        "snapshot": Figure(len(data) / 1e6, "MB"),
        "writing a snapshot": Figure(written - began, "s"),
        "reading it": Figure(read - written, "s"),
    }
