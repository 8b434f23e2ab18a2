"""Real market data and a portfolio that ship with the package, so that a first result needs no configuration.

What lives here: the files, and functions that read them into values. What may not: anything that a margin depends on.
Where the data come from, and their licences: ATTRIBUTION.txt in this folder.
"""

from holdfast.examples.shipped import (
    ASSUMED_STABLE,
    btc_daily_closes,
    btc_hourly_bars,
    chain_market,
    path,
    portfolio,
    with_assumed_prices,
)

__all__ = [
    "ASSUMED_STABLE",
    "btc_daily_closes",
    "btc_hourly_bars",
    "chain_market",
    "path",
    "portfolio",
    "with_assumed_prices",
]
