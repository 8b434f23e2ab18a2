"""Black-76 on arrays, with SciPy's normal distribution (specs/pricing.md).

What lives here: the value of a European option on a forward. What may not: margin. Rates of the ledger's market are 0
(MKS-8), so there is no discounting.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from holdfast.domain.errors import MissingLibraryError

try:
    from scipy.special import ndtr
except ImportError as error:
    raise MissingLibraryError("the second engine needs SciPy: pip install 'holdfast[cluster]'") from error

Floats: TypeAlias = npt.NDArray[np.float64]


def value(forward: Floats, strike: Floats, years: Floats, volatility: Floats, is_call: npt.NDArray[np.bool_]) -> Floats:
    """The value of options per coin, in the money of forward and strike; the arguments broadcast.

    It is the intrinsic value and the option of the pair that is out of the money (PRC-5), and the intrinsic value alone
    where the forward, the time or the volatility is not above 0 (PRC-7).
    """
    forward, strike, years, volatility, is_call = np.broadcast_arrays(forward, strike, years, volatility, is_call)
    sign = np.where(is_call, 1.0, -1.0)
    intrinsic: Floats = np.maximum(sign * (forward - strike), 0.0)
    alive = (forward > 0) & (strike > 0) & (years > 0) & (volatility > 0)
    if alive.any():
        intrinsic[alive] += _time_value(forward[alive], strike[alive], volatility[alive] * np.sqrt(years[alive]))
    return intrinsic


def _time_value(forward: Floats, strike: Floats, spread: Floats) -> Floats:
    """The value of the option of the pair that is out of the money; `spread` is σ√T."""
    low, high = np.minimum(forward, strike), np.maximum(forward, strike)
    with np.errstate(over="ignore", divide="ignore"):
        first = np.log(low / high) / spread + 0.5 * spread
    worth: Floats = np.maximum(low * ndtr(first) - high * ndtr(first - spread), 0.0)
    return worth
