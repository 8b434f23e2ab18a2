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
    if horizon < 1:
        raise InputError("out-of-range", "horizon", horizon, "give a horizon of at least 1 step")
    if decay is not None and not 0.0 < decay < 1.0:
        raise InputError("out-of-range", "decay", decay, "give a decay between 0 and 1, such as 0.94")
    series = {name: _checked(name, values, len(clock)) for name, values in prices.items()}
    whole = whole_windows(times, horizon=horizon, step=step)
    if not series or not whole.any():
        raise InputError("missing-field", "prices", len(clock), f"give more than {horizon} neighbouring prices")
    return {
        name: tuple(_moves(values, np.diff(clock) == step, whole, decay).tolist()) for name, values in series.items()
    }


def whole_windows(times: Sequence[int], *, horizon: int, step: int) -> NDArray[np.bool_]:
    """[T − horizon] whether the window that starts at each instant has no gap in it (TAIL-5)."""
    breaks = np.concatenate([[0], np.cumsum(np.diff(np.asarray(times, np.int64)) != step)])
    whole: NDArray[np.bool_] = breaks[horizon:] == breaks[:-horizon]
    return whole


def _checked(name: str, values: Sequence[float], count: int) -> Floats:
    array = np.asarray(values, np.float64)
    if len(array) != count:
        raise InputError("malformed", f"prices[{name}]", len(array), f"give {count} prices, one per instant")
    wrong = np.flatnonzero(~(np.isfinite(array) & (array > 0.0)))
    if len(wrong):
        value = float(array[wrong[0]])
        code = "negative-price" if value <= 0.0 else "not-a-number"
        raise InputError(code, f"prices[{name}][{wrong[0]}]", value, "give a price above 0")
    return array


def _moves(prices: Floats, neighbours: NDArray[np.bool_], whole: NDArray[np.bool_], decay: float | None) -> Floats:
    """Moves over whole windows; `neighbours` says which prices are one step apart."""
    horizon = len(prices) - len(whole)
    moves: Floats = prices[horizon:] / prices[:-horizon] - 1.0
    if decay is not None:
        returns = np.where(neighbours, prices[1:] / prices[:-1] - 1.0, np.nan)
        deviation = filtered_deviation(returns, decay)
        # The deviation that belongs to a move is the one known before its first step.
        moves = moves * (deviation[-1] / deviation[: len(moves)])
    held: Floats = np.maximum(moves[whole], LEAST_MOVE)
    return held


def filtered_deviation(returns: Floats, decay: float) -> Floats:
    """[T + 1] exponentially weighted root mean square before each return and after the last (TAIL-6).

    A return that is NaN spans a gap: it tells nothing of a step, so the variance stays.
    """
    variance = np.empty(len(returns) + 1)
    variance[0] = max(float(np.nanmean(returns * returns)), 1e-18)
    for t, value in enumerate(returns):
        stays = np.isnan(value)
        variance[t + 1] = variance[t] if stays else decay * variance[t] + (1.0 - decay) * value * value
    deviation: Floats = np.sqrt(variance)
    return deviation
