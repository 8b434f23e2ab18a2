"""Volatility surfaces: the raw SVI smile of one expiry, bounded as the venue that publishes its parameters bounds it.

Theory of operation. SVI gives the total variance w of one expiry as a hyperbola in log-moneyness k. Far from the
forward a hyperbola overstates volatility, so k is clamped to four standard deviations of the smile's own level, and w
to 144 (a volatility of 1200 % over one year).

What lives here: functions over `Real` (floats, arrays, vectors inside a kernel: the same bits). What may not live here:
fitting. Source: J. Gatheral, "A parsimonious arbitrage-free implied volatility parameterization" (2004); the bounds are
those of Derive's option feeds (specs/pricing.md).
"""

from typing import Protocol

from holdfast.pricing.elementary import log_ratio
from holdfast.pricing.vectors import Real, maximum, minimum, real_function, square_root

LOG_MONEYNESS_CAP = 4.0
"""Standard deviations √(a + bσ) to which ln(K/F) is clamped on both sides."""
TOTAL_VARIANCE_MAX = 144.0
"""Largest total variance."""
_PRICE_MIN = 1e-300


class SVIParameters(Protocol):
    """What `surface_volatility` reads: the fields of `holdfast.domain.market.SVI`."""

    @property
    def a(self) -> float:
        """Level of total variance."""

    @property
    def b(self) -> float:
        """Slope of the wings."""

    @property
    def rho(self) -> float:
        """Tilt, between −1 and 1."""

    @property
    def m(self) -> float:
        """Log-moneyness of the centre."""

    @property
    def sigma(self) -> float:
        """Width of the bottom, in log-moneyness."""

    @property
    def tau(self) -> float:
        """Time to expiry, in years, for which the parameters were fitted."""


@real_function
def svi_volatility(strike: Real, forward: Real, a: Real, b: Real, rho: Real, m: Real, sigma: Real, tau: Real) -> Real:
    """The annual volatility of a strike: √(w/τ) with w = min(a + b·(ρ(k − m) + √((k − m)² + σ²)), 144).

    k is ln(K/F) clamped to ±4·√(a + bσ). A negative w or a + bσ, which no real smile gives, counts as 0.

    Args:
        strike: Strike, > 0.
        forward: Forward price, > 0, in the same money.
        a: Level of total variance.
        b: Slope of the wings, ≥ 0.
        rho: Tilt, between −1 and 1.
        m: Log-moneyness of the centre.
        sigma: Width of the bottom, ≥ 0.
        tau: Years to expiry for which the parameters hold, > 0.

    Returns:
        Volatility as an annual fraction.
    """
    bound = LOG_MONEYNESS_CAP * square_root(maximum(a + b * sigma, 0.0))
    moneyness = log_ratio(maximum(strike, _PRICE_MIN), maximum(forward, _PRICE_MIN))
    offset = minimum(maximum(moneyness, 0.0 - bound), bound) - m
    variance = a + b * (rho * offset + square_root(offset * offset + sigma * sigma))
    return square_root(minimum(maximum(variance, 0.0), TOTAL_VARIANCE_MAX) / tau)


def surface_volatility(surface: SVIParameters, strike: Real, forward: Real) -> Real:
    """`svi_volatility` with the parameters of one object, such as `holdfast.domain.market.SVI`."""
    p = surface
    return svi_volatility(strike, forward, p.a, p.b, p.rho, p.m, p.sigma, p.tau)
