"""`witness`: the other engines beside the first: all margins, frames followed, a breach of many voted and examined.

Everything is measured in a process of its own whose linear algebra has one thread, so both engines work on one core.
"""

import importlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from holdfast.bench import witness_exact
from holdfast.bench.extras import extra
from holdfast.bench.result import Figure, Result, at_most, digest_of, result_of
from holdfast.bench.timing import Samples
from holdfast.bench.venue import BATCH, POSITIONS, START, Venue
from holdfast.chaos.second_engine.venue import BITCOIN, FIRST_CLIENT, PRICE_UNIT, make_venue
from holdfast.core.fold import Applied, Fold
from holdfast.core.margins import figures_of
from holdfast.core.snapshot import content_of
from holdfast.core.state import SYSTEM_ACCOUNTS, Account, Status
from holdfast.domain import commands
from holdfast.domain.commands import ColdCommand
from holdfast.domain.errors import invariant
from holdfast.domain.frames import encode_frame
from holdfast.domain.signatures import public_key_of
from holdfast.replica.decisions import votes_for
from holdfast.replica.node.comparison import Comparison
from holdfast.replica.witnessing.messages import Ask, Follow
from holdfast.witness import Witness

if TYPE_CHECKING:
    from holdfast.replica.witnessing.child import SecondEngine

ACCOUNTS, ROUNDS = 100_000, 5
FRAMES = 64
"""Of a round of following: 262,144 trades."""
BREACH_PART, BREACH_SPARE, BREACH_FALL = 8, 0.02, 0.03
"""A venue of an eighth of the accounts, all of which a fall by 3 % takes below maintenance margin, but for a few."""
SCENARIOS = 32
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""Variables by which libraries of linear algebra are told how many threads to have."""
AGREEMENT = 1e-9
KEYS = tuple(bytes([number]) * 32 for number in range(3))
REGIONS = ("one", "two", "three")


class Breach(NamedTuple):
    """Seconds of the steps from a mark to liquidations begun, and how many accounts that were.

    Attributes:
        accounts: Whose liquidation began.
        marking: The first engine folds the mark and looks at every account.
        answering: The second engine follows it and answers for the accounts that are near.
        comparing: Both engines' numbers side by side.
        voting: The replica's vote, signed.
        counting: The fold counts two replicas' votes and begins the liquidations.
    """

    accounts: int
    marking: float
    answering: float
    comparing: float
    voting: float
    counting: float

    @property
    def seconds(self) -> float:
        """Of all steps, one after the other."""
        return self.marking + self.answering + self.comparing + self.voting + self.counting


def benchmark(*, size: int | None, repeat: int | None) -> Result:
    """Time the second engine beside the first on the same accounts, frames and breach, on one core."""
    extra("scipy", "SciPy")
    extra("nats", "nats-py, of the extra 'cluster',")
    program = f"from holdfast.bench import witness; witness.main({size or ACCOUNTS}, {repeat or ROUNDS})"
    alone = {**os.environ, **dict.fromkeys(THREADS, "1")}
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program], env=alone, stdout=subprocess.PIPE, check=True
    )
    return msgspec.json.decode(done.stdout, type=Result)


def main(accounts: int, rounds: int) -> None:
    """Measure in this process, and print the result as JSON."""
    sys.stdout.buffer.write(msgspec.json.encode(_measured(accounts, rounds)))


def _measured(accounts: int, rounds: int) -> Result:
    venue = Venue(accounts)
    fold = venue.desk.fold
    second = second_engine_of(fold)
    passes, margins, figures = _passes(fold, second, rounds)
    _agree(margins, figures)
    followed = _followed(venue, second, rounds)
    breaches = [breach(max(40, accounts // BREACH_PART)) for _ in range(rounds)]
    slowest = max(breaches, key=lambda one: one.seconds)
    options = witness_exact.OPTIONS if accounts >= ACCOUNTS else len(witness_exact.EXPIRIES) * 2
    examined, alone = examine_breach(max(40, accounts // BREACH_PART)), witness_exact.alone(options)
    processor = statistics.median(passes["processor"])
    trades = FRAMES * BATCH if accounts >= ACCOUNTS else BATCH
    names = ("first engine's sweep", "first engine folds trades", "second engine follows trades")
    samples = Samples(
        {"holdfast": passes["second"], names[0]: passes["first"], names[1]: followed[0], names[2]: followed[1]}
    )
    return result_of(
        "witness",
        accounts,
        samples,
        yardstick=None,
        peers={name: samples.median(name) for name in names},
        ratios={names[0]: samples.ratio(names[0], "holdfast")},
        figures={
            "a pass of the second engine, shortest": Figure(min(passes["second"]), "s"),
            "a pass of the second engine, processor time": Figure(processor, "s"),
            "trades followed by the second engine": Figure(trades / samples.median(names[2]), "trades/s"),
            "trades folded by the first": Figure(trades / samples.median(names[1]), "trades/s"),
            "breach: accounts": Figure(min(one.accounts for one in breaches), "accounts"),
            "breach: mark to liquidations begun, slowest": Figure(slowest.seconds, "s"),
            **{
                f"breach: {name}": Figure(statistics.median(getattr(one, name) for one in breaches), "s")
                for name in Breach._fields[1:]
            },
            **witness_exact.figures(examined, alone, options),
        },
        targets=[
            at_most("a pass of the second engine in under 2 s of one core", processor, 2.0),
            at_most("a breach of an eighth of the accounts voted by both engines within 5 s", slowest.seconds, 5.0),
            *witness_exact.targets(examined, alone),
        ],
        notes=[
            f"{accounts:,} accounts, {POSITIONS} positions and cash each, {SCENARIOS} scenarios; all components of "
            "the margin by both engines, which agree to 1e-9 of the largest",
            "one thread: its processor time is what a pass takes on a core that nobody shares",
            "a breach is on one core too: one replica's steps one after the other, two replicas' votes counted",
        ],
        digest=digest_of([figures]),
    )


def second_engine_of(fold: Fold) -> "SecondEngine":
    """A second engine from the state as it is, as a replica begins one."""
    header, parts = content_of(fold)
    made: SecondEngine = importlib.import_module("holdfast.replica.witnessing.child").SecondEngine()
    made.witness = Witness.from_snapshot({"position": header.position}, parts)
    return made


def _passes(fold: Fold, second: "SecondEngine", rounds: int) -> tuple[dict[str, list[float]], Any, np.ndarray]:
    """Seconds of both engines' margins of all clients in turns, and the margins."""
    state, arrays = fold.machine.state, fold.machine.marked.arrays
    clients = np.arange(SYSTEM_ACCOUNTS, SYSTEM_ACCOUNTS + second.witness.margins().accounts.size, dtype=np.int64)
    figures_of(state, arrays, clients)
    taken: dict[str, list[float]] = {"first": [], "second": [], "processor": []}
    margins: Any = None
    figures = np.zeros((0, 3))
    for _ in range(rounds):
        began = time.perf_counter()
        figures = figures_of(state, arrays, clients)
        taken["first"].append(time.perf_counter() - began)
        began, processor = time.perf_counter(), time.process_time()
        margins = second.witness.margins()
        taken["processor"].append(time.process_time() - processor)
        taken["second"].append(time.perf_counter() - began)
    return taken, margins, figures


def _agree(margins: Any, figures: np.ndarray) -> None:
    """Refuse numbers of engines that do not agree."""
    for name, column in (("equity", 0), ("initial", 1), ("maintenance", 2)):
        first = figures[:, column]
        difference = float(np.abs(getattr(margins, name) - first).max() / max(1.0, np.abs(first).max()))
        invariant(difference <= AGREEMENT, f"the engines disagree on {name} by {difference:.2g} of the largest")


def _followed(venue: Venue, second: "SecondEngine", rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of both engines for the same frames of trades, in turns; the second's rows are brought up to date."""
    first, other = [], []
    count = FRAMES if venue.accounts >= ACCOUNTS else 1
    for seed in range(rounds + 1):
        frames = venue.random_trades(count, seed)
        applied, folded = _timed(_folded, venue.desk.fold, frames)
        _, followed = _timed(_caught_up, second.witness, frames, applied)
        if seed:  # The first round warms up.
            first.append(folded)
            other.append(followed)
    return first, other


def _timed(call: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """What a call gives, and its seconds."""
    began = time.perf_counter()
    result = call(*arguments)
    return result, time.perf_counter() - began


def _folded(fold: Fold, frames: Sequence[bytes]) -> list[Applied]:
    return [fold.apply(frame) for frame in frames]


def _caught_up(witness: Witness, frames: Sequence[bytes], applied: Sequence[Applied]) -> None:
    """Follow frames, and have all rows up to date."""
    for frame, one in zip(frames, applied, strict=True):
        witness.apply(frame, one.outcomes["reason"])
    witness.rows(SYSTEM_ACCOUNTS)


class _Line:
    """Frames of the first gateway behind a log, each session's numbers in order."""

    def __init__(self, fold: Fold, frames: int) -> None:
        self.fold, self._frame = fold, frames
        self._numbers: dict[int, int] = {}

    def cold(self, session: int, command: ColdCommand) -> bytes:
        """The next frame, with one command."""
        records, blob = commands.cold_records([command], session, self._number(session))
        return self._framed(records, blob)

    def open(self, role: str, subject: int = 0) -> int:
        """Open a session; its id."""
        outcome = self.opened(role, subject).outcomes[0]
        invariant(not outcome["reason"], f"a session was refused: {outcome}")
        return int(outcome["made"])

    def opened(self, role: str, subject: int = 0) -> Applied:
        """Fold the opening of a session."""
        return self.fold.apply(self.cold(0, commands.OpenSession(role, subject)))

    def quote(self, session: int, price: int, sequence: int) -> bytes:
        """The next frame, with a quote of Bitcoin."""
        quote = commands.quote(session, self._number(session), BITCOIN, price, self.fold.time, sequence)
        return self._framed(quote, b"")

    def _framed(self, records: Any, blob: bytes) -> bytes:
        self._frame += 1
        return encode_frame(0, self._frame, records, blob)

    def _number(self, session: int) -> int:
        self._numbers[session] = self._numbers.get(session, 0) + 1
        return self._numbers[session] if session else 0


def breach(accounts: int) -> Breach:
    """Let a price fall take most of a venue's accounts below maintenance margin, up to the liquidations' beginning.

    Args:
        accounts: Of the venue.
    """
    fold, line, voters, quote = _before_breach(accounts)
    comparison, second = Comparison(), second_engine_of(fold)
    comparison.started()
    applied, marked = _timed(fold.apply, quote)
    invariant(bool(applied.marks), "the quote made no mark")
    compared, answered = _second_numbers(comparison, second, fold, quote, applied)
    votes, voted = _timed(votes_for, fold, 0, KEYS[0], comparison)
    other = votes_for(fold, 1, KEYS[1], comparison)  # On another machine at the same time.
    frames = [line.cold(voter, vote[0]) for voter, vote in zip(voters, (votes, other), strict=True)]
    _, counted = _timed(_folded, fold, frames)
    begun = int(
        (
            fold.machine.state.accounts[FIRST_CLIENT : FIRST_CLIENT + accounts, Account.STATUS] == Status.LIQUIDATING
        ).sum()
    )
    return Breach(begun, marked, answered, compared, voted, counted)


def _before_breach(accounts: int) -> tuple[Fold, _Line, list[int], bytes]:
    """A venue, who goes on with its log, two voters, and the next frame, in which most accounts breach."""
    replicas = [
        commands.DefineReplica(region, public_key_of(key), region) for region, key in zip(REGIONS, KEYS, strict=True)
    ]
    venue = make_venue(accounts, 1, replicas, START, spare=BREACH_SPARE)
    fold = Fold()
    for frame in venue.frames:
        fold.apply(frame)
    line = _Line(fold, len(venue.frames))
    source, voters = line.open("source"), [line.open("replica", number) for number in range(2)]
    price = round(venue.price * (1.0 - BREACH_FALL) * PRICE_UNIT)
    return fold, line, voters, line.quote(source, price, venue.sequence + 1)


def examine_breach(accounts: int) -> witness_exact.Followed:
    """Let the exact engine examine every account of such a breach.

    Args:
        accounts: Of the venue.
    """
    fold, line, _, quote = _before_breach(accounts)
    marked = fold.apply(quote)
    invariant(bool(marked.marks), "the quote made no mark")
    status = fold.machine.state.accounts[FIRST_CLIENT : FIRST_CLIENT + accounts, Account.STATUS]
    waiting = int((status == Status.BREACH_PENDING).sum())
    followed = witness_exact.follow(fold, marked, lambda: line.opened("client"))
    invariant(followed.accounts >= waiting, f"{followed.accounts} accounts were examined, {waiting} wait")
    return followed


def _second_numbers(
    comparison: Comparison, second: "SecondEngine", fold: Fold, frame: bytes, applied: Applied
) -> tuple[float, float]:
    """Seconds of the comparison and of the second engine for a frame with a mark."""
    _, comparing = _timed(comparison.folded, fold, frame, applied, {}, 0.0)
    answering = 0.0
    for message in comparison.messages():
        if isinstance(message, Follow):
            answering += _timed(second.follow, message)[1]
        elif isinstance(message, Ask):
            answer, took = _timed(second.answer, message)
            answering += took
            comparing += _timed(comparison.answered, answer)[1]
    return comparing, answering
