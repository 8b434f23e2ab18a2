"""Joint historical moves for the tail model, from price series on one clock (TAIL-5 to TAIL-7)."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from holdfast.domain.errors import InputError
from holdfast.margin.table import Floats

LEAST_MOVE = -1.0 + 1e-6
"""A filtered move goes no lower: a price stays above 0."""


def joint_moves(
    times: Sequence[int],
    prices: Mapping[str, Sequence[float]],
    *,
    horizon: int,
    step: int,
    decay: float | None = None,
) -> dict[str, tuple[float, ...]]:
    """Overlapping moves of all series over the same windows.

    Args:
        times: [T] ascending instants, any unit.
        prices: By underlying, [T] positive prices on that clock.
        horizon: Length of a move, in steps; the margin period of risk.
        step: Distance of neighbouring instants, in the unit of `times`; windows across a longer gap are dropped.
        decay: λ of the volatility filter (TAIL-6), such as 0.94; None for plain moves.

    Returns:
        By underlying, one relative move per window, in order of time.

    Raises:
        InputError: Lengths differ, a price is not positive and finite, or no window is left.
    """
    clock = np.asarray(times, np.int64)
    if horizon < 1 or (decay is not None and not 0.0 < decay < 1.0):
        raise InputError("out-of-range", "horizon", (horizon, decay), "give a horizon ≥ 1 and a decay inside (0, 1)")
    series = {name: _checked(name, values, len(clock)) for name, values in prices.items()}
    breaks = np.concatenate([[0], np.cumsum(np.diff(clock) != step)])
    whole = breaks[horizon:] == breaks[:-horizon]
    if not series or not whole.any():
        raise InputError("missing-field", "prices", len(clock), f"give more than {horizon} neighbouring prices")
    return {name: tuple(_moves(values, whole, horizon, decay).tolist()) for name, values in series.items()}


def _checked(name: str, values: Sequence[float], count: int) -> Floats:
    array = np.asarray(values, np.float64)
    if len(array) != count:
        raise InputError("malformed", f"prices[{name}]", len(array), f"give {count} prices, one per instant")
    wrong = np.flatnonzero(~(np.isfinite(array) & (array > 0.0)))
    if len(wrong):
        raise InputError("not-a-number", f"prices[{name}][{wrong[0]}]", float(array[wrong[0]]), "give positive prices")
    return array


def _moves(prices: Floats, whole: NDArray[np.bool_], horizon: int, decay: float | None) -> Floats:
    moves: Floats = prices[horizon:] / prices[:-horizon] - 1.0
    if decay is not None:
        deviation = filtered_deviation(prices[1:] / prices[:-1] - 1.0, decay)
        # The deviation that belongs to a move is the one known before its first step.
        moves = moves * (deviation[-1] / deviation[: len(moves)])
    held: Floats = np.maximum(moves[whole], LEAST_MOVE)
    return held


def filtered_deviation(returns: Floats, decay: float) -> Floats:
    """[T + 1] exponentially weighted root mean square before each return and after the last (TAIL-6)."""
    variance = np.empty(len(returns) + 1)
    variance[0] = max(float(np.mean(returns * returns)), 1e-18)
    for t, value in enumerate(returns):
        variance[t + 1] = decay * variance[t] + (1.0 - decay) * value * value
    deviation: Floats = np.sqrt(variance)
    return deviation
