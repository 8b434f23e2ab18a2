"""Instruments, the value of one unit, lots, and both spellings of names."""

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.errors import InputError
from holdfast.domain.instruments import (
    STRIKE_MAXIMUM,
    STRIKE_MINIMUM,
    Instrument,
    Kind,
    check_lot,
    check_quantity,
    entry_cost,
    lot,
    unit_value,
)
from holdfast.domain.names import asset_name, canonical_name, is_asset_name, parse_instrument

EXPIRY = 1798358400 * 10**9
assets = st.sampled_from(["BTC", "ETH", "1INCH", "USD", "USDC", "USDT", "PERPETUAL"])
expiries = st.integers(946684800 * 10**9, 4102444799 * 10**9) | st.integers(10_957, 47_481).map(
    lambda day: (day * 86_400 + 8 * 3600) * 10**9
)
strikes = st.floats(STRIKE_MINIMUM, STRIKE_MAXIMUM) | st.integers(1, 10**6).map(float)


@st.composite
def instruments(draw):
    kind = draw(st.sampled_from(Kind))
    underlying = draw(assets)
    quote = draw(assets.filter(lambda a: a != underlying))
    option = kind is Kind.OPTION
    return Instrument(
        kind,
        underlying,
        quote,
        draw(st.sampled_from([underlying, quote]) | assets),
        None if kind is Kind.PERPETUAL else draw(expiries),
        draw(strikes) if option else None,
        draw(st.booleans()) if option else None,
    )


@pytest.mark.criterion("INS-1", "INS-2")
def test_what_an_instrument_is():
    call = Instrument(Kind.OPTION, "BTC", "USD", "BTC", EXPIRY, 100000, True)
    assert call.inverse
    assert not Instrument(Kind.PERPETUAL, "BTC", "USD", "USDC").inverse
    assert call.quantity_unit == "BTC"
    assert Instrument(Kind.FUTURE, "BTC", "USD", "BTC", EXPIRY).quantity_unit == "USD"
    assert str(call) == call.name == "BTC-27DEC26-100000-C"


@pytest.mark.criterion("INS-1")
@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("perpetual", "BTC", "USD", "BTC"), "kind"),
        ((Kind.PERPETUAL, "btc", "USD", "BTC"), "underlying"),
        ((Kind.PERPETUAL, "", "USD", "BTC"), "underlying"),
        ((Kind.PERPETUAL, "BTC", "BTC", "BTC"), "quote"),
        ((Kind.PERPETUAL, "BTC", "USD", "BTC", EXPIRY), "expiry"),
        ((Kind.FUTURE, "BTC", "USD", "BTC"), "expiry"),
        ((Kind.FUTURE, "BTC", "USD", "BTC", 1.5), "expiry"),
        ((Kind.FUTURE, "BTC", "USD", "BTC", 1), "expiry"),
        ((Kind.FUTURE, "BTC", "USD", "BTC", 4102444800 * 10**9), "expiry"),
        ((Kind.FUTURE, "BTC", "USD", "BTC", EXPIRY, 1.0), "strike"),
        ((Kind.FUTURE, "BTC", "USD", "BTC", EXPIRY, None, True), "is_call"),
        ((Kind.OPTION, "BTC", "USD", "BTC", EXPIRY, None, True), "strike"),
        ((Kind.OPTION, "BTC", "USD", "BTC", EXPIRY, 0.0, True), "strike"),
        ((Kind.OPTION, "BTC", "USD", "BTC", EXPIRY, math.nan, True), "strike"),
        ((Kind.OPTION, "BTC", "USD", "BTC", EXPIRY, 1e16, True), "strike"),
        ((Kind.OPTION, "BTC", "USD", "BTC", EXPIRY, 1.0), "is_call"),
    ],
)
def test_impossible_instruments_are_refused(arguments, field):
    with pytest.raises(InputError) as caught:
        Instrument(*arguments)
    assert caught.value.field == field


@pytest.mark.criterion("INS-3")
def test_order():
    names = [
        "BTC-PERPETUAL",
        "BTC_USDC-PERPETUAL",
        "BTC-6DEC25",
        "BTC-27DEC26",
        "BTC-27DEC26-90000-C",
        "BTC-27DEC26-100000-P",
        "BTC_USDC-27DEC26-100000-P",
        "BTC-27DEC26-100000-C",
        "ETH-PERPETUAL",
    ]
    assert [i.name for i in sorted(map(parse_instrument, reversed(names)))] == names


@pytest.mark.criterion("INS-4", "INS-5")
@pytest.mark.parametrize(
    ("name", "quantity", "entry", "mark", "cost", "profit"),
    [
        ("BTC-PERPETUAL", 10_000.0, 50_000.0, 40_000.0, Fraction(-1, 5), Fraction(-1, 20)),
        ("BTC-PERPETUAL", -2_500.0, 60_000.0, 50_000.0, Fraction(1, 24), Fraction(1, 120)),
        ("BTC_USDC-PERPETUAL", -1.5, 60_000.0, 50_000.0, Fraction(-90_000), Fraction(15_000)),
        ("BTC-27DEC26-100000-C", 2.0, 0.125, 0.25, Fraction(1, 4), Fraction(1, 4)),
    ],
)
def test_unit_value_worked(name, quantity, entry, mark, cost, profit):
    instrument = parse_instrument(name)
    paid = entry_cost(instrument, quantity, entry)
    assert paid == pytest.approx(float(cost), rel=1e-15)
    assert quantity * unit_value(instrument, mark) - paid == pytest.approx(float(profit), rel=1e-13)


@pytest.mark.criterion("INS-6")
@pytest.mark.parametrize(
    ("name", "price", "code"),
    [
        ("BTC-PERPETUAL", math.nan, "not-a-number"),
        ("BTC-PERPETUAL", math.inf, "not-a-number"),
        ("BTC-PERPETUAL", -1.0, "negative-price"),
        ("BTC-PERPETUAL", 0.0, "out-of-range"),
        ("BTC_USDC-27DEC26", 0.0, "out-of-range"),
        ("BTC-27DEC26-100000-C", -0.1, "negative-price"),
    ],
)
def test_impossible_prices_are_refused(name, price, code):
    with pytest.raises(InputError) as caught:
        unit_value(parse_instrument(name), price)
    assert caught.value.code == code
    assert unit_value(parse_instrument("BTC-27DEC26-100000-C"), 0.0) == 0.0


@pytest.mark.criterion("INS-7")
@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("BTC-PERPETUAL", "10"),
        ("BTC-27DEC26", "10"),
        ("ETH-PERPETUAL", "1"),
        ("BTC-27DEC26-100000-C", "0.1"),
        ("BTC_USDC-27DEC26-100000-C", "0.1"),
        ("ETH-27DEC26-100000-C", "1"),
        ("BTC_USDC-PERPETUAL", "0.0001"),
        ("ETH_USDC-27DEC26", "0.001"),
        ("SOL_USDC-PERPETUAL", "0.1"),
    ],
)
def test_lots(name, grid):
    assert lot(parse_instrument(name)) == Decimal(grid)


@pytest.mark.criterion("INS-7")
def test_lot_grid():
    call = parse_instrument("BTC-27DEC26-100000-C")
    for quantity in (0.3, -0.7, 0.0, 2, 123456.7):
        check_lot(call, quantity, "quantity")
    with pytest.raises(
        InputError, match=r"quantity: is not a whole number of lots: 0\.35; give a multiple of 0\.1 BTC"
    ):
        check_lot(call, 0.35, "quantity")
    check_lot(call, 0.35, "quantity", {call.name: Decimal("0.05")})
    check_quantity(parse_instrument("BTC-PERPETUAL"), 7e17, "quantity")
    with pytest.raises(InputError) as caught:
        check_quantity(parse_instrument("BTC-PERPETUAL"), 7.1e17, "quantity")
    assert caught.value.code == "ledger-overflow"


@pytest.mark.criterion("INS-8", "INS-9", "INS-10")
@pytest.mark.parametrize(
    ("deribit", "ccxt", "contract"),
    [
        ("BTC-PERPETUAL", "BTC/USD:BTC", (Kind.PERPETUAL, "BTC", "USD", "BTC")),
        ("BTC_USDT-PERPETUAL", "BTC/USDT:USDT", (Kind.PERPETUAL, "BTC", "USDT", "USDT")),
        ("BTC_USD_USDC-PERPETUAL", "BTC/USD:USDC", (Kind.PERPETUAL, "BTC", "USD", "USDC")),
        ("BTC-6DEC25", "BTC/USD:BTC-251206", (Kind.FUTURE, "BTC", "USD", "BTC", 1765008000 * 10**9)),
        ("BTC_USDC-27DEC26", "BTC/USDC:USDC-261227", (Kind.FUTURE, "BTC", "USDC", "USDC", EXPIRY)),
        (
            "BTC_USDC-27DEC26-100000-C",
            "BTC/USDC:USDC-261227-100000-C",
            (Kind.OPTION, "BTC", "USDC", "USDC", EXPIRY, 100000.0, True),
        ),
        (
            "XRP_USDC-27DEC26-0d55-P",
            "XRP/USDC:USDC-261227-0.55-P",
            (Kind.OPTION, "XRP", "USDC", "USDC", EXPIRY, 0.55, False),
        ),
        (
            "BTC-27DEC26T153000-100000-P",
            "BTC/USD:BTC-261227T153000-100000-P",
            (Kind.OPTION, "BTC", "USD", "BTC", 1798385400 * 10**9, 100000.0, False),
        ),
    ],
)
def test_names_worked(deribit, ccxt, contract):
    expected = Instrument(*contract)
    assert expected.name == deribit
    assert expected.ccxt_symbol == ccxt
    for spelling in (deribit, ccxt, deribit.lower(), f"  {ccxt.lower()}\n"):
        assert parse_instrument(spelling) == expected
    assert hash(parse_instrument(ccxt)) == hash(expected)
    assert canonical_name(ccxt) == deribit


@pytest.mark.criterion("INS-10")
@settings(deadline=None)
@given(instruments())
def test_names_round_trip(instrument):
    assert parse_instrument(instrument.name) == instrument
    assert parse_instrument(instrument.ccxt_symbol) == instrument
    assert parse_instrument(f" {instrument.name.lower()} ") == instrument


@pytest.mark.criterion("INS-8")
@settings(deadline=None)
@given(instruments(), instruments())
def test_names_are_unique(left, right):
    assert (left.name == right.name) == (left == right) == (left.sort_key == right.sort_key)


@pytest.mark.criterion("INS-10")
def test_leading_zero_and_day_are_read():
    assert canonical_name("BTC-06DEC25") == "BTC-6DEC25"
    assert canonical_name("BTC-27DEC26-100000.50-C") == "BTC-27DEC26-100000d5-C"


@pytest.mark.criterion("INS-11")
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("BTC", "balances"),
        ("BTC/USD", "spot"),
        ("BTC-31FEB26", "31FEB26"),
        ("BTC-27DEX26", "27DEX26"),
        ("BTC/USD:BTC-261327", "261327"),
        ("BTC-27DEC26-100000", "C or P"),
        ("BTC-27DEC26-1e5-C", "1E5"),
        ("BTC-27DEC26-0-C", "strike"),
        ("BTC-27DEC26-100000-X", "'X'"),
        ("BTC_USDC_X_Y-PERPETUAL", "BTC_USDC_X_Y"),
        ("B?C-PERPETUAL", "B?C"),
        ("BTC_BTC-PERPETUAL", "quote"),
        ("BTC-27DEC26T250000", "250000"),
        ("", "no expiry"),
        ("X" * 1000, "text"),
        (None, "text"),
        ([], "text"),
    ],
)
def test_wrong_names_say_what_is_wrong(name, part):
    with pytest.raises(InputError) as caught:
        parse_instrument(name)
    assert caught.value.code == "unknown-instrument"
    assert part in str(caught.value)
    assert "BTC-27DEC26-100000-C" in caught.value.advice


@pytest.mark.criterion("INS-11")
@settings(deadline=None)
@given(st.text(max_size=30) | st.text("BTC-_/:USD27EP0d5.", max_size=30))
def test_any_text_is_an_instrument_or_an_input_error(text):
    try:
        instrument = parse_instrument(text)
    except InputError:
        return
    assert parse_instrument(instrument.name) == instrument


@pytest.mark.criterion("INS-11")
def test_assets_are_told_from_instruments():
    assert is_asset_name("BTC")
    assert is_asset_name("weETH")
    assert not any(map(is_asset_name, ("", "BTC-PERPETUAL", "BTC/USD", "B C")))
    assert asset_name(" usdc ") == "USDC"
    assert asset_name("weETH") == "weETH"
