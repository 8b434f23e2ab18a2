"""Price histories: bars with their gaps, and the crashes that ship with the package.

What lives here: the form of a history and the packaged windows. What may not: reading users' files (`prices`), and
filling in what a source lacks: missing hours are said, never invented. Rules and numbers: specs/replay-prices.md.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast import examples
from holdfast.domain.errors import InputError, invariant
from holdfast.domain.units import NANOSECONDS_PER_DAY, format_time, parse_time

Instants = NDArray[np.int64]
Floats = NDArray[np.float64]

HOUR_NS = 3_600 * 10**9
DISTANCE_MIN_NS = 10**9
"""Least distance of two bars, so that a quarter of one is still an instant of its own."""
DAYS_BEFORE, DAYS_AFTER = 3, 1
"""Days of a packaged window before the first and after the last day of its crash."""
CRASHES = {
    "2020-03": ("2020-03-12", "2020-03-13"),
    "2021-05": ("2021-05-19", "2021-05-19"),
    "2022-05": ("2022-05-09", "2022-05-12"),
    "2022-06": ("2022-06-13", "2022-06-18"),
    "2022-11": ("2022-11-08", "2022-11-09"),
}
"""First and last day of each packaged crash, UTC."""
_SOURCE = "Binance BTC/USDT spot, hourly, from gapless-crypto-data 2.15.1 (MIT); a USDT is read as a dollar"


class Gap(NamedTuple):
    """A place where bars are missing.

    Attributes:
        after_ns: Opening of the last bar before it.
        before_ns: Opening of the next bar there is.
        missing: Whole bars that would have opened between.
    """

    after_ns: int
    before_ns: int
    missing: int

    def __str__(self) -> str:
        bars = "1 bar" if self.missing == 1 else f"{self.missing:,} bars"
        return f"{bars} missing between {format_time(self.after_ns)} and {format_time(self.before_ns)}"


class Fault(NamedTuple):
    """The first thing wrong with a table of bars: place, column, and what an InputError says of it."""

    row: int
    column: str
    code: str
    value: object
    advice: str
    problem: str


@dataclass(frozen=True, eq=False)
class PriceHistory:
    """Bars of Bitcoin in dollars, in order of time.

    Attributes:
        name: What to call it: "2020-03", or the name of a file.
        source: Where the prices come from, for reports.
        bar_ns: Usual distance of two bars, nanoseconds.
        time_ns: [bars] when each opens, nanoseconds UTC, ascending.
        open: [bars] US dollars per coin, as are the next three.
        high: [bars].
        low: [bars].
        close: [bars].
        crash_days: First and last day of the crash, where one is stated: "2020-03-12".
        earlier: Bars before the first one, that only volatility and recent returns look at; None where there are none.
    """

    name: str
    source: str
    bar_ns: int
    time_ns: Instants
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    crash_days: tuple[str, str] | None = None
    earlier: "PriceHistory | None" = None

    def __post_init__(self) -> None:
        fault = first_fault(self.time_ns, self.open, self.high, self.low, self.close)
        invariant(fault is None, f"a history holds a bar that no reader lets through: {fault}")
        invariant(self.bar_ns > 0, f"bars follow each other by {self.bar_ns} ns")

    @property
    def bars(self) -> int:
        """How many bars there are."""
        return len(self.time_ns)

    @property
    def end_ns(self) -> int:
        """When the last bar closes."""
        return int(self.time_ns[-1]) + self.bar_ns

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Where bars are missing, in order."""
        distance = np.diff(self.time_ns)
        places = np.flatnonzero(distance > self.bar_ns)
        return tuple(
            Gap(int(self.time_ns[i]), int(self.time_ns[i + 1]), math.ceil(int(distance[i]) / self.bar_ns) - 1)
            for i in places.tolist()
        )

    def durations_ns(self) -> Instants:
        """[bars] how long each bar lasts: `bar_ns`, or less where the next one opens sooner."""
        distance = np.append(np.diff(self.time_ns), self.bar_ns)
        return np.asarray(np.minimum(distance, self.bar_ns), np.int64)


def first_fault(time_ns: Instants, opened: Floats, high: Floats, low: Floats, close: Floats) -> Fault | None:
    """The first row that is no bar, judged in this order within a row: numbers, range, time."""
    columns = {"open": opened, "high": high, "low": low, "close": close}
    found = [_first(~np.isfinite(c), name, "not-a-number", c, "give a finite price") for name, c in columns.items()]
    advice = "give a price above 0 US dollars"
    found += [_first(c <= 0.0, name, "out-of-range", c, advice, "is not above 0") for name, c in columns.items()]
    top, bottom = np.maximum(opened, close), np.minimum(opened, close)
    advice = "make high the highest and low the lowest of the four prices"
    found.append(_first(high < low, "high", "out-of-range", high, advice, "is below the low"))
    found.append(_first(high < top, "high", "out-of-range", high, advice, "is below the open or the close"))
    found.append(_first(low > bottom, "low", "out-of-range", low, advice, "is above the open or the close"))
    distance = np.diff(time_ns, prepend=time_ns[:1] - 1)
    texts = [format_time(int(time_ns[i])) for i in np.flatnonzero(distance <= 0)[:1]]
    found.append(_first(distance == 0, "time", "duplicate-line", texts, "give each bar once", "is there twice"))
    found.append(
        _first(distance < 0, "time", "out-of-range", texts, "sort the rows by time", "is before the row above")
    )
    near = np.append(False, distance[1:] < DISTANCE_MIN_NS) & (distance > 0)
    texts = [format_time(int(time_ns[i])) for i in np.flatnonzero(near)[:1]]
    advice = "give bars of at least a second"
    found.append(_first(near, "time", "out-of-range", texts, advice, "is less than a second after the row above"))
    faults = [fault for fault in found if fault is not None]
    return min(faults, key=lambda fault: fault.row, default=None)


def _first(
    wrong: NDArray[np.bool_], column: str, code: str, values: Floats | list[str], advice: str, problem: str = ""
) -> Fault | None:
    places = np.flatnonzero(wrong)
    if not places.size:
        return None
    row = int(places[0])
    value = values[0] if isinstance(values, list) else float(values[row])
    return Fault(row, column, code, value, advice, problem)


def windows() -> tuple[str, ...]:
    """Names of the packaged windows, in order of time."""
    return tuple(CRASHES)


def load_window(name: str, *, whole_month: bool = False) -> PriceHistory:
    """A packaged crash.

    Args:
        name: One of `windows()`.
        whole_month: The calendar month of the name, instead of three days before the crash's first day to one day
            after its last.

    Returns:
        Hourly bars. Those before the window that the package has stand in `earlier`.

    Raises:
        InputError: There is no such window ("malformed").
    """
    if name not in CRASHES:
        advice = f"use one of {', '.join(windows())}"
        raise InputError("malformed", "window", name, advice, "is not a window that ships with the package")
    times, bars = examples.btc_hourly_bars()
    time_ns, prices = np.array(times, np.int64), np.array(bars)
    first, last = (parse_time(f"{day}T00:00Z") for day in CRASHES[name])
    start, end = first - DAYS_BEFORE * NANOSECONDS_PER_DAY, last + (DAYS_AFTER + 1) * NANOSECONDS_PER_DAY
    if whole_month:
        start, end = _month(name)
    inside = (time_ns >= start) & (time_ns < end)
    before = (time_ns < start) & (time_ns >= start - 31 * NANOSECONDS_PER_DAY)
    earlier = _history(f"before {name}", time_ns[before], prices[before]) if before.any() else None
    return _history(name, time_ns[inside], prices[inside], CRASHES[name], earlier)


def _history(
    name: str,
    time_ns: Instants,
    prices: Floats,
    crash_days: tuple[str, str] | None = None,
    earlier: PriceHistory | None = None,
) -> PriceHistory:
    opened, high, low, close = np.ascontiguousarray(prices.T)
    return PriceHistory(name, _SOURCE, HOUR_NS, time_ns, opened, high, low, close, crash_days, earlier)


def _month(name: str) -> tuple[int, int]:
    year, month = (int(part) for part in name.split("-"))
    following = f"{year + month // 12}-{month % 12 + 1:02d}"
    return parse_time(f"{name}-01T00:00Z"), parse_time(f"{following}-01T00:00Z")
