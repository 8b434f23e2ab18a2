"""The walk of a price through a bar, of which only four prices are known.

A bar says open, high, low and close, not in which order high and low came. Of the two orders the walk takes the one
that moves less: 2 × (high − low) less the distance of open and close, whichever way. If the bar closed at or above its
open, the low comes first (open, low, high, close), else the high (open, high, low, close). The other order is longer by
twice the distance of open and close, all of it movement that nothing shows to have happened. Where open and close are
equal both are as long and the low comes first.

The four prices stand at the bar's start and at one, two and three quarters of it: equal steps, and every time inside
the bar. The close so stands a quarter early, and the next open follows it by one step.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.stress.history import Floats, Instants, PriceHistory

STEPS = 4
"""Prices of one bar."""


class Walk(NamedTuple):
    """Steps of a price.

    Attributes:
        time_ns: [steps] nanoseconds UTC, strictly ascending.
        price: [steps] US dollars per coin.
        bar: [steps] the bar that a step belongs to, from 0.
    """

    time_ns: Instants
    price: Floats
    bar: NDArray[np.int64]


def walk_bar(opened: float, high: float, low: float, close: float) -> tuple[float, float, float, float]:
    """The four prices of a bar in the order in which the walk passes them; US dollars."""
    return (opened, low, high, close) if close >= opened else (opened, high, low, close)


def walk(history: PriceHistory) -> Walk:
    """The walk through all bars of a history, four steps each."""
    rises = history.close >= history.open
    price = np.empty((history.bars, STEPS))
    price[:, 0], price[:, 3] = history.open, history.close
    price[:, 1] = np.where(rises, history.low, history.high)
    price[:, 2] = np.where(rises, history.high, history.low)
    step_ns = history.durations_ns() // STEPS
    time_ns = history.time_ns[:, None] + step_ns[:, None] * np.arange(STEPS)
    return Walk(time_ns.ravel(), price.ravel(), np.repeat(np.arange(history.bars), STEPS))
