"""`account`: the margin of one account from Python, with everything prepared and from a cold portfolio."""

from collections.abc import Callable

import numpy as np

from holdfast.bench import options
from holdfast.bench.result import Figure, Result, at_most, digest_of, result_of
from holdfast.bench.timing import interleaved
from holdfast.margin import kernel, presets
from holdfast.margin.account import account_of, assets_of, figures_of, instruments_of
from holdfast.margin.build import build_table
from holdfast.margin.calculation import calculate
from holdfast.margin.table import MARGIN_FIELDS

POSITIONS, ROUNDS, CALLS, COLD_CALLS = 20, 15, 5_000, 20
NAMED, COLD = "figures with names", "calculate from a portfolio and a market"
LIMIT_SECONDS = 5e-6


def benchmark(*, size: int | None, repeat: int | None) -> Result:
    """Time the kernel on one account under the preset `derive-portfolio`, then the calls above it."""
    lines = max(2, size or POSITIONS)
    contracts = options.contracts(lines - 2)  # the perpetual and the cash are lines too
    market, portfolio, parameters = options.market(contracts), options.portfolio(contracts), presets.derive_portfolio()
    table = build_table(parameters, market, instruments_of(portfolio), assets_of(portfolio))
    account = account_of(table, portfolio)
    arrays, line, quantity, out = table.arrays, account.line, account.quantity, np.empty(MARGIN_FIELDS)
    contenders: dict[str, Callable[[], object]] = {
        "holdfast": lambda: kernel.account(arrays, line, quantity, 0, lines, out),
        NAMED: lambda: figures_of(table, account),
    }
    rounds = repeat or ROUNDS
    samples = interleaved(contenders, rounds, calls=CALLS)
    cold = interleaved({COLD: lambda: calculate(portfolio, market, parameters)}, rounds, calls=COLD_CALLS)
    seconds = samples.median("holdfast")
    return result_of(
        "account",
        1,
        samples,
        yardstick=None,
        peers={NAMED: samples.median(NAMED), COLD: cold.median(COLD)},
        ratios={},
        figures={
            "per call, prepared": Figure(seconds * 1e6, "µs"),
            "per call, figures with names": Figure(samples.median(NAMED) * 1e6, "µs"),
            "per call, cold": Figure(cold.median(COLD) * 1e6, "µs"),
            "lines": Figure(float(lines), ""),
        },
        targets=[at_most("under 5 µs per call from Python, everything prepared", seconds, LIMIT_SECONDS)],
        notes=["the time includes Python's own call of a function of six arguments"],
        digest=digest_of((out,)),
    )
