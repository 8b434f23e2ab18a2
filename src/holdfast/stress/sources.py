"""Five price sources: three honest, one that lies, one that is stale.

The honest ones quote the market with a little noise. The liar quotes it too, but at stated hours multiplies every
price (not volatilities) by a stated factor. The stale one is late by a step, and at stated hours repeats its last
quotes with their old times. The median of fresh sources must not move by more than the honest ones differ.

What lives here: quotes as arrays. What may not: which of them to believe; that is the engine's. All noise is a function
of the seed and the step. Rules and worked hours: specs/replay-prices.md.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from holdfast.domain.units import NANOSECONDS_PER_DAY, parse_time
from holdfast.stress.history import HOUR_NS, Floats, Instants, PriceHistory
from holdfast.stress.market import MarketPath, Step
from holdfast.stress.venue import ASSETS, USDC

SOURCES = ("honest-1", "honest-2", "honest-3", "liar", "stale")
HONEST, LIAR, STALE = 3, 3, 4
"""How many are honest, and the numbers of the two others."""
PRICE_NOISE, VOLATILITY_NOISE = 0.0002, 0.002
"""Standard deviations of the relative noise: 2 basis points of a price, 0.2 % of a volatility."""
NOISE_MAX = 3.0
"""Standard deviations at which noise ends."""
LATENCY_MAX_NS = 50 * 10**6
"""Quotes are made up to so long before their step, by source and step; at least a millisecond."""


class Lie(msgspec.Struct, frozen=True):
    """From `start_ns` until before `end_ns`, nanoseconds UTC, prices are multiplied by `factor`."""

    start_ns: int
    end_ns: int
    factor: float


class Pause(msgspec.Struct, frozen=True):
    """From `start_ns` until before `end_ns`, nanoseconds UTC, old quotes are repeated."""

    start_ns: int
    end_ns: int


class Quotes(NamedTuple):
    """Quotes of one step, source by source.

    Attributes:
        source: [quotes] number in `SOURCES`.
        item: [quotes] number in `Venue.items`.
        price: [quotes] US dollars, or annual volatility as a fraction for options.
        time_ns: [quotes] when the source made it, nanoseconds UTC.
    """

    source: NDArray[np.int64]
    item: NDArray[np.int64]
    price: Floats
    time_ns: Instants


def lies_of(history: PriceHistory) -> tuple[Lie, ...]:
    """The liar's hours: each day 05:00–07:00 × 0.7 and 17:00–19:00 × 1.3, on crash days 10:00–12:00 × 0.5 too."""
    lies = []
    for day in _days(history):
        lies += [_lie(day, 5, 0.7), _lie(day, 17, 1.3)]
        if history.crash_days and _is_crash_day(history.crash_days, day):
            lies.append(_lie(day, 10, 0.5))
    return tuple(sorted(lies, key=lambda lie: lie.start_ns))


def pauses_of(history: PriceHistory) -> tuple[Pause, ...]:
    """The stale source's hours: each day 09:00–15:00, and 00:00–04:00 of crash days."""
    pauses = []
    for day in _days(history):
        if history.crash_days and _is_crash_day(history.crash_days, day):
            pauses.append(Pause(day, day + 4 * HOUR_NS))
        pauses.append(Pause(day + 9 * HOUR_NS, day + 15 * HOUR_NS))
    return tuple(pauses)


def quotes(
    path: MarketPath, *, seed: int = 1, lies: tuple[Lie, ...] | None = None, pauses: tuple[Pause, ...] | None = None
) -> Iterator[Quotes]:
    """Quotes of all sources, one batch per step of the market, in order.

    Args:
        path: The market.
        seed: Seed of the noise.
        lies: The liar's hours; by default `lies_of` the history.
        pauses: The stale source's hours; by default `pauses_of` the history.

    Yields:
        Per step and source one quote per item alive (the stale source: at its own earlier step), times of a source
        never going back. A repeated quote has the time and the price of the one that it repeats.
    """
    lies = lies_of(path.history) if lies is None else lies
    pauses = pauses_of(path.history) if pauses is None else pauses
    late: Quotes | None = None
    held: Quotes | None = None
    for number in range(path.steps):
        step = path.at(number)
        batch = [_quoted(path, step, source, seed) for source in range(STALE)]
        batch[LIAR] = _lied(path, batch[LIAR], step.time_ns, lies)
        is_paused = any(pause.start_ns <= step.time_ns < pause.end_ns for pause in pauses)
        held = held if is_paused and held is not None else late
        batch += [] if held is None else [held]
        late = _quoted(path, step, STALE, seed)
        yield Quotes(*(np.concatenate(columns) for columns in zip(*batch, strict=True)))


def _quoted(path: MarketPath, step: Step, source: int, seed: int) -> Quotes:
    """What an honest source says of every item alive."""
    random = np.random.default_rng([seed, source, step.number])
    feeds, size = step.feeds, len(path.venue.items)
    is_volatility = np.concatenate([np.zeros(len(ASSETS), bool), path.venue.is_option])
    noise = np.clip(random.standard_normal(size), -NOISE_MAX, NOISE_MAX)
    noise *= np.where(is_volatility, VOLATILITY_NOISE, PRICE_NOISE)
    noise[USDC] *= 0.5
    time_ns = step.time_ns - int(random.integers(10**6, LATENCY_MAX_NS))
    item = np.flatnonzero(np.isfinite(feeds))
    price = (feeds * (1.0 + noise))[item]
    return Quotes(np.full(item.size, source), item, price, np.full(item.size, time_ns, np.int64))


def _lied(path: MarketPath, said: Quotes, time_ns: int, lies: tuple[Lie, ...]) -> Quotes:
    factor = next((lie.factor for lie in lies if lie.start_ns <= time_ns < lie.end_ns), 1.0)
    is_volatility = np.concatenate([np.zeros(len(ASSETS), bool), path.venue.is_option])
    return said._replace(price=np.where(is_volatility[said.item], said.price, said.price * factor))


def _lie(day: int, hour: int, factor: float) -> Lie:
    return Lie(day + hour * HOUR_NS, day + (hour + 2) * HOUR_NS, factor)


def _days(history: PriceHistory) -> range:
    """Midnights from that of the first bar on."""
    first = int(history.time_ns[0]) // NANOSECONDS_PER_DAY * NANOSECONDS_PER_DAY
    return range(first, history.end_ns, NANOSECONDS_PER_DAY)


def _is_crash_day(crash_days: tuple[str, str], day: int) -> bool:
    first, last = (parse_time(f"{date}T00:00Z") for date in crash_days)
    return first <= day <= last
