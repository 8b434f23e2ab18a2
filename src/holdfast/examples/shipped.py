"""The shipped files as values: a market, a portfolio, and daily closes and hourly bars of Bitcoin."""

import csv
import gzip
from collections.abc import Iterable
from importlib.resources import as_file, files
from pathlib import Path

import msgspec

from holdfast.domain.instruments import Instrument, Kind
from holdfast.domain.market import Market, Price
from holdfast.domain.market_formats import market_from_chain
from holdfast.domain.names import parse_instrument
from holdfast.domain.portfolio import Portfolio
from holdfast.domain.portfolio_formats import from_json
from holdfast.domain.units import parse_time

CHAIN, CLOSES = "btc_chain_2021-10-21.csv", "btcusdt_daily_close_2017_2024.csv"
BARS = "btcusdt_hourly_crash_months.csv.gz"
ASSUMED_STABLE = ("USDC", "USDT")
"""Dollar tokens that an option chain says nothing of and that are taken at one dollar."""


def path(name: str) -> Path:
    """Where a shipped file lies, for programs that want a file: `path("portfolio.json")`."""
    with as_file(files(__package__) / name) as found:
        return found


def chain_market() -> Market:
    """The market of the shipped chain: 49 Bitcoin options of four expiries, on the evening of 20 October 2021.

    The chain states forwards and volatilities only. So the index is the forward of the nearest expiry (67,106.44 USD),
    rates are 0, the perpetuals BTC-PERPETUAL and BTC_USDC-PERPETUAL are marked at the index, and USDC and USDT count
    one dollar: assumptions, not quotes.
    """
    market = market_from_chain(list(csv.DictReader(_lines(CHAIN))))
    perpetuals = [parse_instrument(name) for name in ("BTC-PERPETUAL", "BTC_USDC-PERPETUAL")]
    return with_assumed_prices(market, perpetuals)[0]


def with_assumed_prices(market: Market, instruments: Iterable[Instrument]) -> tuple[Market, tuple[str, ...]]:
    """Complete the market of a bare option chain: perpetuals at the index, dollar tokens at one dollar.

    Args:
        market: A market that may lack marks of perpetuals. What it has stays as it is.
        instruments: The contracts to complete it for; only perpetuals on its underlyings matter.

    Returns:
        The market, and the names of the perpetuals that got the index as their mark, in order.
    """
    underlyings = dict(market.underlyings)
    assumed = []
    for instrument in sorted(set(instruments)):
        found = underlyings.get(instrument.underlying)
        if instrument.kind is Kind.PERPETUAL and found is not None and instrument.name not in found.marks:
            marks = found.marks | {instrument.name: found.index}
            underlyings[instrument.underlying] = msgspec.structs.replace(found, marks=marks)
            assumed.append(instrument.name)
    assets = {name: Price(1.0) for name in ASSUMED_STABLE} | market.assets
    return msgspec.structs.replace(market, underlyings=underlyings, assets=assets), tuple(assumed)


def portfolio() -> Portfolio:
    """A desk's book on the shipped chain: option spreads over three expiries, both perpetuals, coins and dollars."""
    return from_json("\n".join(_lines("portfolio.json")))


def btc_daily_closes() -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Closes of BTC/USDT on Binance, one per UTC day from August 2017 to the end of 2023.

    Returns:
        Instants in nanoseconds UTC (the midnight that ends the day) and closes in USDT. Days whose last hour the source
        lacks are missing, so neighbours can be more than a day apart.
    """
    rows = list(csv.DictReader(_lines(CLOSES)))
    return tuple(parse_time(row["time"]) for row in rows), tuple(float(row["BTC"]) for row in rows)


def btc_hourly_bars() -> tuple[tuple[int, ...], tuple[tuple[float, float, float, float], ...]]:
    """Hourly bars of BTC/USDT on Binance for the five months of its crashes: 2020-03, 2021-05, 2022-05, -06 and -11.

    Returns:
        Instants at which the bars open, nanoseconds UTC, ascending, and (open, high, low, close) in USDT. Hours that
        the source lacks are missing, so neighbours can be more than an hour apart, as the months are.
    """
    text = gzip.decompress((files(__package__) / BARS).read_bytes()).decode("utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    bars = [
        (parse_time(row["time"]), tuple(float(row[name]) for name in ("open", "high", "low", "close"))) for row in rows
    ]
    return tuple(time for time, _ in bars), tuple((o, h, low, c) for _, (o, h, low, c) in bars)


def _lines(name: str) -> list[str]:
    return (files(__package__) / name).read_text(encoding="utf-8").splitlines()
