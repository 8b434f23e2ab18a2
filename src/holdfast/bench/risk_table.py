"""`risk-table`: the values of many options in many scenarios, the part of building a table that costs time."""

from collections.abc import Callable
from typing import Any

import numpy as np

from holdfast.bench import options
from holdfast.bench.extras import extra
from holdfast.bench.result import Figure, Result, at_least, at_most, digest_of, result_of
from holdfast.bench.timing import interleaved
from holdfast.domain.errors import invariant
from holdfast.margin import presets
from holdfast.margin.build import build_table
from holdfast.margin.option_values import Expiries, Options, Shocks, values_in_scenarios
from holdfast.margin.table import Floats, cache_aligned

COUNT, SCENARIOS, ROUNDS = 1_000, 32, 15
AGREEMENT = 1e-9
"""Largest difference between contenders relative to the forward: the textbook formula cancels far from the money."""
QUANTLIB, BUILD = "QuantLib blackFormula loop", "Holdfast, build_table from a market"


def benchmark(*, size: int | None, repeat: int | None) -> Result:
    """Time the valuation of prepared columns, NumPy with SciPy's normal distribution, and QuantLib, in turn."""
    count, rounds = size or COUNT, repeat or ROUNDS
    contracts = options.contracts(count)
    columns, (expiries, shocks) = options.columns(contracts), options.scenarios(SCENARIOS)
    out = cache_aligned(np.zeros((count, SCENARIOS)))
    ndtr, quantlib = extra("scipy.special", "scipy").ndtr, extra("QuantLib", "QuantLib")
    by_numpy = NumpyTable(columns, expiries, shocks, ndtr)
    by_quantlib = np.zeros((count, SCENARIOS))
    market, instruments, parameters = options.market(contracts), options.instruments(contracts), presets.portfolio()
    contenders: dict[str, Callable[[], object]] = {
        "holdfast": lambda: values_in_scenarios(columns, expiries, shocks, out),
        "yardstick": by_numpy.fill,
        QUANTLIB: lambda: quantlib_table(quantlib, columns, expiries, shocks, by_quantlib),
        BUILD: lambda: build_table(parameters, market, instruments),
    }
    samples = interleaved(contenders, rounds)
    for name, theirs in (("NumPy", by_numpy.out), ("QuantLib", by_quantlib)):
        difference = float(np.abs(theirs - out).max() / expiries.forwards.max())
        invariant(difference <= AGREEMENT, f"{name} and Holdfast disagree by {difference:.2g} of the forward")
    items = count * SCENARIOS
    return result_of(
        "risk-table",
        items,
        samples,
        yardstick="NumPy with scipy.special.ndtr",
        peers={name: samples.median(name) for name in (QUANTLIB, BUILD)},
        ratios={QUANTLIB: samples.ratio(QUANTLIB, "holdfast")},
        figures={
            "per value, NumPy": Figure(samples.median("yardstick") / items * 1e9, "ns"),
            "per value, QuantLib": Figure(samples.median(QUANTLIB) / items * 1e9, "ns"),
            "build_table, per option": Figure(samples.median(BUILD) / count * 1e6, "µs"),
        },
        targets=[
            at_most("at most 1.5 times NumPy with ndtr", samples.ratio("holdfast", "yardstick"), 1.5),
            at_least("QuantLib takes at least 10 times as long", samples.ratio(QUANTLIB, "holdfast"), 10.0),
        ],
        notes=["build_table checks and prices a market and uses the preset `portfolio`; it is not compared"],
        digest=digest_of((out,)),
    )


class NumpyTable:
    """Black-76 over all options and scenarios at once, in arrays made beforehand.

    Attributes:
        out: [options, scenarios] what `fill` fills.
    """

    def __init__(self, columns: Options, expiries: Expiries, shocks: Shocks, ndtr: Callable[..., Any]) -> None:
        self.out: Floats = np.zeros((len(columns.strike), len(shocks.minimum_volatility)))
        self._columns, self._expiries, self._shocks, self._ndtr = columns, expiries, shocks, ndtr
        self._d1, self._deviation = np.empty_like(self.out), np.empty_like(self.out)

    def fill(self) -> None:
        """D·ω·(F·Φ(ω·d1) − K·Φ(ω·d2)), with results written in place."""
        c, e, out, d1, deviation = self._columns, self._expiries, self.out, self._d1, self._deviation
        forward, strike, sign = e.forwards[c.expiry], c.strike[:, None], c.sign[:, None]
        np.multiply(c.volatility[:, None], e.volatility_multipliers[c.expiry], out=deviation)
        np.maximum(deviation, self._shocks.minimum_volatility, out=deviation)
        deviation *= np.sqrt(e.years[c.expiry])[:, None]
        np.divide(forward, strike, out=d1)
        np.log(d1, out=d1)
        d1 /= deviation
        d1 += 0.5 * deviation
        np.subtract(d1, deviation, out=deviation)
        d1 *= sign
        deviation *= sign
        self._ndtr(d1, out=d1)
        self._ndtr(deviation, out=deviation)
        np.multiply(forward, d1, out=out)
        deviation *= strike
        out -= deviation
        out *= (c.sign * e.discount[c.expiry] * c.par)[:, None]


def quantlib_table(quantlib: Any, columns: Options, expiries: Expiries, shocks: Shocks, out: Floats) -> None:
    """The same by a loop over QuantLib's blackFormula, its arguments made ready as Python floats."""
    formula, call, put = quantlib.blackFormula, quantlib.Option.Call, quantlib.Option.Put
    volatility = columns.volatility[:, None] * expiries.volatility_multipliers[columns.expiry]
    volatility = np.maximum(volatility, shocks.minimum_volatility)
    deviations = (volatility * np.sqrt(expiries.years[columns.expiry])[:, None]).tolist()
    forwards, discounts = expiries.forwards.tolist(), expiries.discount.tolist()
    for n, (e, strike, sign) in enumerate(
        zip(columns.expiry.tolist(), columns.strike.tolist(), columns.sign.tolist(), strict=True)
    ):
        kind, discount = call if sign > 0.0 else put, discounts[e]
        row = [
            formula(kind, strike, forward, deviation, discount)
            for forward, deviation in zip(forwards[e], deviations[n], strict=True)
        ]
        out[n] = row
