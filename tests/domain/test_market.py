"""The market: what things are worth, what is refused, and its formats."""

import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.errors import InputError
from holdfast.domain.market import SVI, Expiry, Market, Price, Underlying
from holdfast.domain.market_formats import load_market, market_from_chain, market_to_json
from holdfast.domain.names import parse_instrument
from holdfast.domain.units import parse_time

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
NOW = parse_time("2021-10-21T00:00Z")
EXPIRY = parse_time("2021-10-29T08:00Z")
BOOK = Underlying(
    index=Price(60_000.0, 0.9),
    marks={"BTC/USD:BTC": Price(60_100.0, 0.8), "BTC-31DEC21": Price(61_000.0)},
    expiries={EXPIRY: Expiry(60_500.0, forward_confidence=0.7)},
    volatilities={"BTC/USD:BTC-211029-60000-C": 0.85},
)
MARKET = Market(NOW, {"BTC": BOOK}, {"USDC": Price(0.96)}, "USDC")


def refusal(make):
    with pytest.raises(InputError) as caught:
        make()
    return caught.value.code, caught.value.field


@pytest.mark.criterion("MKT-1")
def test_names_become_canonical():
    assert set(BOOK.marks) == {"BTC-PERPETUAL", "BTC-31DEC21"}
    assert set(BOOK.volatilities) == {"BTC-29OCT21-60000-C"}
    assert BOOK.marks["BTC-PERPETUAL"] == Price(60_100.0, 0.8)
    one = Price(1.0)
    twice = {"BTC-PERPETUAL": one, "BTC/USD:BTC": one}
    assert refusal(lambda: Underlying(one, marks=twice)) == ("duplicate-line", "marks[BTC/USD:BTC]")
    assert refusal(lambda: Underlying(one, marks={"BTC": one})) == ("unknown-instrument", "marks[BTC].instrument")
    assert refusal(lambda: Market(NOW, {"ETH": BOOK})) == ("malformed", "underlyings[ETH].marks[BTC-PERPETUAL]")
    assert Underlying(one, marks={"BTC-29OCT21-60000-C": Price(0.0)}).marks["BTC-29OCT21-60000-C"].price == 0.0


@pytest.mark.criterion("MKT-1", "MKT-7")
@pytest.mark.parametrize(
    ("make", "code", "field"),
    [
        (lambda: Price(math.nan), "not-a-number", "price"),
        (lambda: Price(-1.0), "negative-price", "price"),
        (lambda: Price(1.0, 1.5), "out-of-range", "confidence"),
        (lambda: Price("1"), "not-a-number", "price"),
        (lambda: Expiry(0.0), "out-of-range", "forward"),
        (lambda: Expiry(1.0, math.inf), "not-a-number", "rate"),
        (lambda: Expiry(1.0, volatility_confidence=-0.1), "out-of-range", "volatility_confidence"),
        (lambda: Expiry(1.0, settled_fraction=1.1), "out-of-range", "settled_fraction"),
        (lambda: Underlying(Price(0.0)), "out-of-range", "index.price"),
        (lambda: Underlying(1.0), "malformed", "index"),
        (lambda: Underlying(Price(1.0), {"BTC-PERPETUAL": Price(0.0)}), "out-of-range", "marks[BTC-PERPETUAL].price"),
        (
            lambda: Underlying(Price(1.0), volatilities={"BTC-29OCT21-1-C": -0.1}),
            "out-of-range",
            "volatilities[BTC-29OCT21-1-C]",
        ),
        (lambda: Underlying(Price(1.0), volatilities={"BTC-29OCT21": 0.1}), "malformed", "volatilities[BTC-29OCT21]"),
        (
            lambda: Underlying(Price(1.0), open_interest={"BTC-PERPETUAL": -1.0}),
            "out-of-range",
            "open_interest[BTC-PERPETUAL]",
        ),
        (lambda: Underlying(Price(1.0), expiries={-1: Expiry(1.0)}), "out-of-range", "expiries"),
        (lambda: Market(-1, {}), "out-of-range", "time"),
        (lambda: Market(1.5, {}), "malformed", "time"),
        (lambda: Market(NOW, {}, {"USD": Price(0.99)}), "out-of-range", "assets[USD].price"),
        (lambda: Market(NOW, {}, {"USDC": Price(0.0)}), "out-of-range", "assets[USDC].price"),
        (lambda: Market(NOW, {}, numeraire="USDC"), "missing-price", "numeraire.assets[USDC]"),
    ],
)
def test_impossible_markets_are_refused(make, code, field):
    assert refusal(make) == (code, field)


@pytest.mark.criterion("MKT-7")
def test_smiles():
    SVI(-0.0625, 0.25, 0.0, 0.0, 0.25, 1.0)
    SVI(-0.0499, 0.25, 0.6, 0.0, 0.25, 1.0)
    for arguments, field in (
        ((-0.0626, 0.25, 0.0, 0.0, 0.25, 1.0), "a"),
        ((-0.0501, 0.25, 0.6, 0.0, 0.25, 1.0), "a"),
        ((0.1, -0.1, 0.0, 0.0, 0.25, 1.0), "b"),
        ((0.1, 0.1, -1.0, 0.0, 0.25, 1.0), "rho"),
        ((0.1, 0.1, 0.0, math.nan, 0.25, 1.0), "m"),
        ((0.1, 0.1, 0.0, 0.0, 0.0, 1.0), "sigma"),
        ((0.1, 0.1, 0.0, 0.0, 0.25, 0.0), "tau"),
    ):
        assert refusal(lambda a=arguments: SVI(*a))[1] == field


@pytest.mark.criterion("MKT-2", "MKT-3")
def test_values_worked():
    assert MARKET.asset_price("BTC") == Price(60_000.0, 0.9)
    assert MARKET.value_of("BTC") == 62_500.0
    assert MARKET.value_of("USDC") == 1.0
    assert MARKET.value_of("USD") == 1.0416666666666667
    assert MARKET.numeraire_price() == 0.96
    assert Market(NOW, {"BTC": BOOK}, {"BTC": Price(59_000.0)}).value_of("BTC") == 59_000.0
    assert refusal(lambda: MARKET.value_of("USDT")) == ("missing-price", "assets[USDT]")
    assert refusal(lambda: MARKET.underlying("ETH"))[0] == "unknown-underlying"


@pytest.mark.criterion("MKT-4", "MKT-5")
def test_marks_and_expiries():
    mark = lambda name: MARKET.mark(parse_instrument(name))  # noqa: E731
    assert mark("BTC-PERPETUAL") == Price(60_100.0, 0.8)
    assert mark("BTC-31DEC21") == Price(61_000.0)
    assert mark("BTC-29OCT21") == Price(60_500.0, 0.7)
    assert MARKET.expiry_of(parse_instrument("BTC-29OCT21-1-C")).forward == 60_500.0
    assert refusal(lambda: mark("BTC_USDC-PERPETUAL"))[0] == "missing-price"
    assert refusal(lambda: mark("BTC-5NOV21"))[0] == "missing-price"
    assert refusal(lambda: MARKET.expiry_of(parse_instrument("BTC-5NOV21-1-C"))) == (
        "missing-price",
        "expiries[2021-11-05T08:00:00Z]",
    )
    assert refusal(lambda: MARKET.expiry_of(parse_instrument("BTC-PERPETUAL")))[0] == "malformed"


@pytest.mark.criterion("MKT-6")
def test_years_worked():
    assert MARKET.years_to_expiry(parse_instrument("BTC-29OCT21-1-C")) == 5 / 219
    assert MARKET.years_to_expiry(parse_instrument("BTC-20OCT21-1-C")) == 0.0


JSON = """{"time": "2021-10-21T00:00:00Z", "numeraire": "USD",
 "underlyings": {"BTC": {
   "index": {"price": 66900, "confidence": 0.99},
   "marks": {"BTC-PERPETUAL": 66950.5},
   "expiries": {"2021-10-29T08:00:00Z": {"forward": 67100, "rate": 0.02,
     "svi": {"a": 0.01, "b": 0.1, "rho": -0.2, "m": 0, "sigma": 0.2, "tau": 0.0228}}},
   "volatilities": {"BTC/USD:BTC-211029-60000-C": "0.85"},
   "open_interest": {"BTC-PERPETUAL": 450000000}}},
 "assets": {"USDC": 0.9998}}"""


@pytest.mark.criterion("MKT-8")
def test_json_worked():
    market = load_market(JSON)
    book = market.underlyings["BTC"]
    assert market.time == NOW
    assert book.index == Price(66_900.0, 0.99)
    assert book.marks == {"BTC-PERPETUAL": Price(66_950.5)}
    assert book.expiries == {EXPIRY: Expiry(67_100.0, 0.02, svi=SVI(0.01, 0.1, -0.2, 0.0, 0.2, 0.0228))}
    assert book.volatilities == {"BTC-29OCT21-60000-C": 0.85}
    assert book.open_interest == {"BTC-PERPETUAL": 450_000_000.0}
    assert market.assets == {"USDC": Price(0.9998)}
    assert load_market(JSON.encode()) == market
    assert load_market(market_to_json(market)) == market


@pytest.mark.criterion("MKT-8")
@pytest.mark.parametrize(
    ("old", "new", "code", "field"),
    [
        ('"time": "2021-10-21T00:00:00Z", ', "", "missing-field", "time"),
        ("T00:00:00Z", "", "malformed", "time"),
        ('{"price": 66900, "confidence": 0.99}', "null", "missing-field", "underlyings[BTC].index"),
        ("66950.5", "NaN", "not-a-number", "JSON"),
        ("66950.5", "true", "not-a-number", "underlyings[BTC].marks[BTC-PERPETUAL]"),
        ('"forward": 67100, ', "", "missing-field", "underlyings[BTC].expiries[2021-10-29T08:00:00Z].forward"),
        ('"tau"', '"t"', "malformed", "underlyings[BTC].expiries[2021-10-29T08:00:00Z].svi.t"),
        ('"0.85"', '"85%"', "not-a-number", "underlyings[BTC].volatilities[BTC/USD:BTC-211029-60000-C]"),
        ('"volatilities"', '"vols"', "malformed", "underlyings[BTC].vols"),
        ('"USDC": 0.9998', '"USDC": 1, "USDC": 2', "duplicate-line", "USDC"),
        ('"USDC": 0.9998', '"USDC": 1, "usdc": 2', "duplicate-line", "assets[usdc]"),
        ('"assets"', "assets", "malformed", "market"),
        ('"2021-10-29T08:00:00Z"', '"tomorrow"', "malformed", "underlyings[BTC].expiries[tomorrow]"),
    ],
)
def test_json_is_strict(old, new, code, field):
    assert old in JSON
    assert refusal(lambda: load_market(JSON.replace(old, new))) == (code, field)


prices = st.floats(1e-6, 1e9).map(Price) | st.builds(Price, st.floats(1e-6, 1e9), st.floats(0, 1))
unit = st.floats(0, 1)
smiles = st.builds(SVI, unit, unit, st.floats(-0.9, 0.9), st.floats(-1, 1), st.floats(0.1, 2), st.floats(0.01, 2))
expiries = st.dictionaries(
    st.integers(NOW, 2**62),
    st.builds(Expiry, st.floats(1, 1e6), st.floats(-1, 1), unit, unit, unit, st.none() | smiles, unit),
    max_size=3,
)


@pytest.mark.criterion("MKT-8")
@settings(deadline=None)
@given(prices, prices, expiries, st.floats(0, 5), st.integers(0, 2**62))
def test_json_round_trips(index, mark, by_expiry, volatility, time):
    book = Underlying(
        index,
        {"BTC_USDC-PERPETUAL": mark},
        by_expiry,
        {"BTC-29OCT21-0d55-P": volatility},
        {"BTC-PERPETUAL": volatility},
    )
    market = Market(time, {"BTC": book}, {"weETH": mark, "DAI": index}, "DAI")
    assert load_market(market_to_json(market)) == market


def chain_row(name, years, forward, volatility, **more):
    return {"instrument_name": name, "T_years": years, "S0": forward, "mark_iv": volatility, **more}


CHAIN = [
    chain_row("BTC-29OCT21-60000-C", 200 / 8760, 67_000.0, 85.0, market_price_btc=0.12, open_interest=3.5),
    chain_row("BTC-29OCT21-70000-C", 200 / 8760, 67_010.0, None),
    chain_row("BTC-29OCT21-80000-C", 200 / 8760, 67_100.0, 95.0, market_price_btc=math.nan),
    chain_row("BTC-26NOV21-60000-P", 872 / 8760, 68_000.0, 80.0),
]


@pytest.mark.criterion("MKT-9", "MKT-11")
def test_deribit_chain():
    market = market_from_chain(CHAIN)
    book = market.underlyings["BTC"]
    assert market.time == NOW
    assert book.index == Price(67_010.0)
    assert {e.forward for e in book.expiries.values()} == {67_010.0, 68_000.0}
    assert book.expiries[EXPIRY].rate == 0.0
    assert book.volatilities == {
        "BTC-29OCT21-60000-C": 0.85,
        "BTC-29OCT21-80000-C": 0.95,
        "BTC-26NOV21-60000-P": 0.8,
    }
    assert book.marks == {"BTC-29OCT21-60000-C": Price(0.12)}
    assert book.open_interest == {"BTC-29OCT21-60000-C": 3.5}
    assert market_from_chain(CHAIN[::-1]) == market
    columns = {key: np.array([row.get(key, math.nan) for row in CHAIN], object) for key in CHAIN[0]}
    assert market_from_chain(columns) == market
    assert market_from_chain(CHAIN, time=5).time == 5


@pytest.mark.criterion("MKT-11")
def test_rates_from_forwards():
    book = market_from_chain(CHAIN, rate_from_forwards=True).underlyings["BTC"]
    rate = book.expiries[parse_time("2021-11-26T08:00Z")].rate
    assert 67_010.0 * math.exp(rate * 872 / 8760) == pytest.approx(68_000.0, rel=1e-12)
    assert book.expiries[EXPIRY].rate == 0.0


@pytest.mark.criterion("MKT-9", "MKT-10")
@pytest.mark.parametrize(
    ("rows", "code", "field"),
    [
        ([], "missing-field", "rows"),
        ([{"strike": 1}], "missing-field", "columns"),
        ([chain_row("BTC-PERPETUAL", 0.1, 1.0, 1.0)], "malformed", "rows[0].instrument_name"),
        ([chain_row("BTC-29OCT21-1-C", 0.1, "x", 1.0)], "not-a-number", "rows[0].S0"),
        ([chain_row("BTC-29OCT21-1-C", None, 1.0, 1.0)], "missing-field", "T_years"),
        ([chain_row("BTC-29OCT21-1-C", 0.01, 1.0, 1.0)] * 2, "duplicate-line", "rows"),
        ([{"ttm_years": "soon"}], "not-a-number", "rows[0].ttm_years"),
        ([{"ttm_years": 0.1}], "missing-field", "rows[0].date"),
        ({"instrument_name": ["a"], "S0": []}, "malformed", "rows"),
        (7, "malformed", "rows"),
    ],
)
def test_chains_that_cannot_be_read(rows, code, field):
    assert refusal(lambda: market_from_chain(rows)) == (code, field)


def quote(years, strike=60_000.0, letter="C"):
    return {"date": "2021-10-21", "underlying": "BTC", "ttm_years": years, "forward_usd": 67_000.0} | {
        "strike": strike,
        "type": letter,
        "bid_iv": 0.8,
        "ask_iv": 0.9,
    }


@pytest.mark.criterion("MKT-10")
def test_quoted_chain_worked():
    market = market_from_chain([quote(0.04289242541152263), quote(0.10122575874485597, letter="P")])
    assert market.time == parse_time("2021-10-20T21:24:34Z")
    volatilities = market.underlyings["BTC"].volatilities
    assert volatilities == {
        "BTC-5NOV21-60000-C": pytest.approx(0.85, rel=1e-15),
        "BTC-26NOV21-60000-P": pytest.approx(0.85, rel=1e-15),
    }


@pytest.mark.criterion("MKT-10")
def test_quoted_chain_of_365_days():
    market = market_from_chain([quote((8 + 1 / 3) / 365), quote((36 + 1 / 3) / 365)])
    assert market.time == NOW
    assert set(market.underlyings["BTC"].volatilities) == {"BTC-29OCT21-60000-C", "BTC-26NOV21-60000-C"}
    alone = market_from_chain([quote((8 + 1 / 3) / 365)])
    assert alone.time == NOW


def shared_table(name):
    path = DATA / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"needs {name}.parquet, and ../shared/data is absent")
    return pytest.importorskip("pyarrow.parquet", reason="reading parquet needs pyarrow").read_table(path)


@pytest.mark.criterion("MKT-9")
def test_real_deribit_chain():
    market = market_from_chain(shared_table("deribit_btc_chain_2025-12-05"))
    book = market.underlyings["BTC"]
    assert abs(market.time - parse_time("2025-12-05T01:10Z")) < 60 * 10**9
    assert len(book.volatilities) == len(book.marks) == 676
    assert len(book.expiries) == 11
    assert book.expiries[parse_time("2025-12-26T08:00Z")].forward == pytest.approx(92_726.41, abs=0.06)
    assert 0.3 < statistics.median(book.volatilities.values()) < 0.6
    assert load_market(market_to_json(market)) == market


@pytest.mark.criterion("MKT-10", "MKT-11")
def test_real_quoted_chain():
    market = market_from_chain(shared_table("btc_chain_bid_ask_iv_2021-10-21"), rate_from_forwards=True)
    book = market.underlyings["BTC"]
    assert [parse_instrument(f"BTC-{date}").expiry for date in ("5NOV21", "26NOV21", "31DEC21", "25MAR22")] == list(
        book.expiries
    )
    assert len(book.volatilities) == 49
    rates = [expiry.rate for expiry in book.expiries.values()]
    assert rates[0] == 0.0
    assert all(0.10 < rate < 0.125 for rate in rates[1:])
