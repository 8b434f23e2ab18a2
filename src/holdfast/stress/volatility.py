"""Implied volatilities and bases that follow from prices alone, by stated rules.

Real option quotes of the crashes are not at hand, so volatility is a rule: causal (nothing of it looks ahead),
deterministic, and simple enough to recompute by hand. It is an assumption about a venue, not a model of a market.

- Variance now: an exponentially weighted mean of squared hourly returns, a year of 8,760 hours, that weighs the hours
  before by halves every `half_life_hours`. Inside an hour it is what it would be if the hour ended there.
- By expiry: variance returns to its long run, so that the mean over the life of an option lies nearer to it the longer
  that life is.
- By strike: a fixed smile in log-moneyness over the root of time, puts below the forward dearer than calls above it. It
  goes flat smoothly, since a kink in volatilities would be an arbitrage between neighbouring strikes.
- Bases: perpetual and futures trade above the index after rises and below it after falls, by little and within bounds.

What may not live here: anything fitted to what comes later. Derivations and worked numbers: specs/replay-prices.md.
"""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from holdfast.domain.errors import InputError
from holdfast.pricing.elementary import exp, log_ratio
from holdfast.stress.history import HOUR_NS, Floats, Instants, PriceHistory
from holdfast.stress.walk import Walk

HOURS_PER_YEAR, DAYS_PER_YEAR = 8_760.0, 365.0
_LOG_2 = 0.6931471805599453
_LIFE_MIN = 1e-9
"""Reversions in an option's life under which its mean is where it starts."""


class VolatilityRule(msgspec.Struct, frozen=True):
    """The numbers of the rule; volatilities are annual fractions.

    Attributes:
        half_life_hours: Age at which a squared return counts half.
        long_run: Volatility that long expiries are near, and that a history without earlier prices starts at.
        reversion_days: Time in which half of the distance of variance to its long run is gone.
        floor: Least implied volatility at the forward.
        cap: Greatest implied volatility at the forward.
        skew: Relative change of volatility per unit of bounded moneyness, which is x / √(1 + (x / moneyness_max)²) of
            x = ln(strike / forward) / √years.
        curvature: The same per square of it.
        moneyness_max: What bounded moneyness approaches far from the forward, on both sides.
        days_min: Fewer days to expiry count as these under the root and in the mean.
    """

    half_life_hours: float = 48.0
    long_run: float = 0.75
    reversion_days: float = 3.0
    floor: float = 0.35
    cap: float = 2.5
    skew: float = -0.08
    curvature: float = 0.06
    moneyness_max: float = 2.0
    days_min: float = 1.0

    def __post_init__(self) -> None:
        for name in ("half_life_hours", "reversion_days", "floor", "moneyness_max", "days_min"):
            if not getattr(self, name) > 0.0:
                raise InputError("out-of-range", name, getattr(self, name), "give a number above 0")
        if not self.floor <= self.long_run <= self.cap:
            raise InputError("out-of-range", "long_run", self.long_run, "put it between floor and cap")

    def updated(self, variance: ArrayLike, hours: ArrayLike, move: ArrayLike) -> Floats:
        """Annual variance after a time in which the logarithm of the price moved by `move`; scalars or arrays.

        The time's share is 1 − 2^(−hours / half-life); less than an hour counts as an hour that ends here.
        """
        kept, gain = self.update(hours, move)
        return np.asarray(kept * np.asarray(variance, np.float64) + gain, np.float64)

    def at_the_money(self, variance: ArrayLike, years: ArrayLike) -> Floats:
        """Implied volatility at the forward: annual fraction for years to expiry, given the variance now."""
        long_run = self.long_run * self.long_run
        life = np.maximum(years, self.days_min / DAYS_PER_YEAR)
        reversions = np.maximum(life * (DAYS_PER_YEAR / self.reversion_days) * _LOG_2, _LIFE_MIN)
        weight = (1.0 - exp(0.0 - reversions)) / reversions
        mean = long_run + (np.asarray(variance, np.float64) - long_run) * weight
        return np.asarray(np.clip(np.sqrt(np.maximum(mean, 0.0)), self.floor, self.cap), np.float64)

    def implied(self, variance: ArrayLike, years: ArrayLike, strike: ArrayLike, forward: ArrayLike) -> Floats:
        """Implied volatility of options.

        Args:
            variance: Annual variance now, as `variance_path` gives it; scalar or array, as all arguments.
            years: To expiry; years of 365 days.
            strike: Above 0, in the money of the forward.
            forward: Above 0.

        Returns:
            Annual fractions.
        """
        life = np.maximum(years, self.days_min / DAYS_PER_YEAR)
        ratio = log_ratio(np.asarray(strike, np.float64), np.asarray(forward, np.float64))
        depth = ratio / np.sqrt(life)
        share = depth / self.moneyness_max
        moneyness = depth / np.sqrt(1.0 + share * share)
        smile = 1.0 + moneyness * (self.skew + moneyness * self.curvature)
        return np.asarray(self.at_the_money(variance, years) * smile, np.float64)

    def update(self, hours: ArrayLike, move: ArrayLike) -> tuple[Floats, Floats]:
        """What an update multiplies variance by, and what it adds."""
        whole = np.maximum(hours, 1.0)
        kept, share = (self._kept(np.asarray(h, np.float64)) for h in (hours, whole))
        return kept, (1.0 - share) * (np.square(move) / whole * HOURS_PER_YEAR)

    def _kept(self, hours: Floats) -> Floats:
        return np.asarray(exp((-_LOG_2 / self.half_life_hours) * hours), np.float64)


class BasisRule(msgspec.Struct, frozen=True):
    """How far perpetual and futures are from the index after a move.

    Attributes:
        lookback_hours: The return of these hours counts.
        perpetual_response: Premium of the perpetual per unit of that logarithmic return.
        perpetual_bounds: Its least and greatest premium, as fractions of the index.
        annual: Annual premium of futures without a return, as a fraction.
        annual_response: Its change per unit of the return.
        annual_bounds: Its bounds.
    """

    lookback_hours: float = 24.0
    perpetual_response: float = 0.01
    perpetual_bounds: tuple[float, float] = (-0.01, 0.005)
    annual: float = 0.05
    annual_response: float = 0.3
    annual_bounds: tuple[float, float] = (-0.3, 0.25)

    def perpetual(self, index: float, recent: float) -> float:
        """The price of a perpetual, US dollars: index × (1 + bounded response × recent return)."""
        low, high = self.perpetual_bounds
        return index * (1.0 + min(max(self.perpetual_response * recent, low), high))

    def future(self, index: float, recent: float, years: float) -> float:
        """The price of a dated future, US dollars: index × (1 + bounded annual premium × years to expiry)."""
        low, high = self.annual_bounds
        return index * (1.0 + min(max(self.annual + self.annual_response * recent, low), high) * max(years, 0.0))


def variance_path(history: PriceHistory, walk: Walk, rule: VolatilityRule) -> Floats:
    """[steps] annual variance at each step of the walk; each looks only at bars before its own and its own price.

    Bars before the history, where it has them, are gone through first.
    """
    times, closes = _known_closes(history)
    known = _known_variances(rule, times, closes)
    place = closes.size - 1 - history.bars + walk.bar
    hours = np.maximum(walk.time_ns - times[place], 0) / HOUR_NS
    return rule.updated(known[place], hours, log_ratio(walk.price, closes[place]))


def _known_variances(rule: VolatilityRule, times: Instants, closes: Floats) -> Floats:
    """[closes] annual variance when each close was known, from the long run on."""
    kept, gain = rule.update(np.diff(times) / HOUR_NS, log_ratio(closes[1:], closes[:-1]))
    result = [rule.long_run * rule.long_run]
    for keep, add in zip(kept.tolist(), gain.tolist(), strict=True):
        result.append(keep * result[-1] + add)
    return np.array(result)


def recent_returns(history: PriceHistory, walk: Walk, lookback_hours: float) -> Floats:
    """[steps] logarithm of the price over the last close that was known `lookback_hours` earlier.

    Where no close is so old, the oldest price there is stands for it.
    """
    times, closes = _known_closes(history)
    place = np.searchsorted(times, walk.time_ns - round(lookback_hours * HOUR_NS), side="right") - 1
    ratio: Any = log_ratio(walk.price, closes[np.maximum(place, 0)])
    return np.asarray(ratio, np.float64)


def _known_closes(history: PriceHistory) -> tuple[Instants, Floats]:
    """When each close was known, with the first open before them all."""
    parts = [history] if history.earlier is None else [history.earlier, history]
    times = [parts[0].time_ns[:1], *(part.time_ns + part.durations_ns() for part in parts)]
    return np.concatenate(times), np.concatenate([parts[0].open[:1], *(part.close for part in parts)])
