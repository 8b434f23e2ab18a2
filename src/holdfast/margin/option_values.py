"""Values of all options of a table in all scenarios: the compiled inner part of building a risk table.

One option at a time, eight scenarios in one register. The formulas are PM-2 to PM-6 of specs/portfolio-model.md; what
differs between models (which prices, which volatility multipliers) arrives as arrays, so one loop serves them all.
"""

from typing import NamedTuple

from holdfast.compilation import compiled
from holdfast.margin.table import Floats, Integers
from holdfast.pricing import black76
from holdfast.pricing.elementary import log
from holdfast.pricing.vectors import LANES_NARROW, load, maximum, store


class Options(NamedTuple):
    """The options of a table, n of them, as columns.

    Attributes:
        line: [n] row of the option in the table, int32.
        expiry: [n] row of its expiry in `Expiries`, int32.
        strike: [n] in the quote currency.
        sign: [n] +1 call, −1 put.
        volatility: [n] annual fraction.
        par: [n] numeraire value of one unit of its settlement asset.
        inverse: [n] 1 where settled in coin, else 0.
    """

    line: Integers
    expiry: Integers
    strike: Floats
    sign: Floats
    volatility: Floats
    par: Floats
    inverse: Floats


class Expiries(NamedTuple):
    """The expiries of a table, E of them, and their scenarios, S (padded).

    Attributes:
        forward: [E] forward today, quote currency.
        years: [E] time to expiry.
        discount: [E] discount factor.
        forwards: [E, S] shocked forward.
        prices: [E, S] multiplier of the coin's price.
        volatility_multipliers: [E, S] multiplier of volatility outside skew scenarios; 0 in them.
        skew: [E, 3] linear cap, absolute cap and width of the twist (PM-4).
    """

    forward: Floats
    years: Floats
    discount: Floats
    forwards: Floats
    prices: Floats
    volatility_multipliers: Floats
    skew: Floats


class Shocks(NamedTuple):
    """What scenarios do alike to all expiries.

    Attributes:
        minimum_volatility: [S] least shocked volatility.
        linear: [S] 1 in linear skew scenarios, else 0.
        absolute: [S] 1 in absolute skew scenarios, else 0.
    """

    minimum_volatility: Floats
    linear: Floats
    absolute: Floats


@compiled
def skew_multiplier(log_moneyness: float, cap: float, width: float) -> float:
    """max(0, 1 + capped twist) of the volatility at a log-moneyness (PM-4)."""
    twist = log_moneyness * cap
    if width > 0.0:
        twist = twist / width
    elif twist != 0.0:
        twist = 1e300 if twist > 0.0 else -1e300
    capped = min(twist, cap) if log_moneyness >= 0.0 else max(twist, -cap)
    return max(0.0, 1.0 + capped)


@compiled
def values_today(options: Options, expiries: Expiries, today: Floats, in_asset: Floats) -> None:
    """Write each option's value today in the numeraire and in its settlement asset, by table line."""
    for i in range(len(options.line)):
        e = options.expiry[i]
        forward = expiries.forward[e]
        value = black76.value(
            forward, options.strike[i], expiries.years[e], options.volatility[i], expiries.discount[e], options.sign[i]
        )
        if options.inverse[i] > 0.0:
            value = value / forward
        in_asset[options.line[i]] = value
        today[options.line[i]] = value * options.par[i]


@compiled
def values_in_scenarios(options: Options, expiries: Expiries, shocks: Shocks, out: Floats) -> None:
    """Write each option's value per scenario to its row of `out`, [L, S], numeraire."""
    count = out.shape[1]
    flat = out.reshape(-1)
    forwards, prices = expiries.forwards.reshape(-1), expiries.prices.reshape(-1)
    multipliers = expiries.volatility_multipliers.reshape(-1)
    for i in range(len(options.line)):
        e = options.expiry[i]
        strike, years, discount = options.strike[i], expiries.years[e], expiries.discount[e]
        moneyness = log(strike / expiries.forward[e])
        linear = skew_multiplier(moneyness, expiries.skew[e, 0], expiries.skew[e, 2])
        absolute = skew_multiplier(abs(moneyness), expiries.skew[e, 1], expiries.skew[e, 2])
        for s in range(0, count, LANES_NARROW):
            at = e * count + s
            forward = load(forwards, at, LANES_NARROW)
            multiplier = load(multipliers, at, LANES_NARROW)
            multiplier = multiplier + linear * load(shocks.linear, s, LANES_NARROW)
            multiplier = multiplier + absolute * load(shocks.absolute, s, LANES_NARROW)
            volatility = maximum(options.volatility[i] * multiplier, load(shocks.minimum_volatility, s, LANES_NARROW))
            value = black76.value(forward, strike, years, volatility, discount, options.sign[i])
            if options.inverse[i] > 0.0:
                value = value / forward * load(prices, at, LANES_NARROW)
            store(flat, options.line[i] * count + s, value * options.par[i])
