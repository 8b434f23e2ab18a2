"""The liquidation auction against the worked numbers of specs/dutch-auction.md, and its laws."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from holdfast.core.liquidation.dutch_auction import (
    Auctioned,
    AuctionParameters,
    discount,
    insolvent_bid_price,
    maximum_proportion,
    may_end,
    sell_insolvent,
    sell_solvent,
    solvent_bid_price,
    withdrawals_are_blocked,
)
from holdfast.domain.errors import InputError

TERMS = AuctionParameters(
    starting_fraction=Fraction("0.95"),
    cutoff_fraction=Fraction("0.75"),
    fast_length_seconds=Fraction(900),
    slow_length_seconds=Fraction(43_200),
    insolvent_length_seconds=Fraction(3_600),
    buffer_fraction=Fraction("0.15"),
)
BOOK = Auctioned(Fraction(10_000), Fraction(-6_000))
SUNK = Auctioned(Fraction(-600), Fraction(-10_000))
many = settings(deadline=None, max_examples=80)

amounts = st.fractions(0, 10**6, max_denominator=1_000)
fractions = st.fractions(0, 1, max_denominator=1_000)
parts = fractions.filter(bool)
times = st.fractions(0, 60_000, max_denominator=10)


@st.composite
def terms(draw):
    cutoff, start = sorted((draw(fractions), draw(fractions)))
    lengths = [Fraction(draw(st.integers(0, 50_000))) for _ in range(3)]
    return AuctionParameters(start, cutoff, *lengths, draw(fractions))


@st.composite
def solvent(draw):
    """Portfolios worth at least their reserved cash, below maintenance margin."""
    reserved = draw(amounts)
    return Auctioned(reserved + draw(amounts), -draw(amounts.filter(bool)), reserved)


@pytest.mark.criterion("AUC-1")
def test_the_buffer_as_worked():
    assert BOOK.buffer_surplus(TERMS) == -8_400


@pytest.mark.criterion("AUC-2")
@pytest.mark.parametrize(
    ("elapsed", "expected"),
    [
        (0, "0.95"),
        (450, "0.85"),
        (900, "0.75"),
        (22_500, "0.375"),
        (44_099, "1/57600"),
        (44_100, "0"),
        (10**9, "0"),
    ],
)
def test_the_discount_as_worked(elapsed, expected):
    assert discount(TERMS, elapsed) == Fraction(expected)


@pytest.mark.criterion("AUC-2")
@pytest.mark.parametrize(("fast", "slow", "expected"), [(0, 100, "0.75"), (0, 0, "0"), (100, 0, "0.95")])
def test_phases_of_no_length_do_not_divide_by_zero(fast, slow, expected):
    one = Fraction(1)
    curve = AuctionParameters(Fraction("0.95"), Fraction("0.75"), fast * one, slow * one, one, one)
    assert discount(curve, 0) == Fraction(expected)
    assert discount(curve, fast + slow) == 0


@pytest.mark.criterion("AUC-2", "AUC-3")
@many
@given(terms(), solvent(), times, times)
def test_discount_and_price_never_rise_and_stay_between_their_bounds(curve, book, first, second):
    early, late = sorted((first, second))
    assert curve.starting_fraction >= discount(curve, early) >= discount(curve, late) >= 0
    most = curve.starting_fraction * (book.mark_to_market - book.reserved_cash)
    assert most >= solvent_bid_price(book, curve, early) >= solvent_bid_price(book, curve, late) >= 0


@pytest.mark.criterion("AUC-3")
def test_solvent_prices_as_worked():
    assert solvent_bid_price(BOOK, TERMS, 450) == 8_500
    assert solvent_bid_price(Auctioned(Fraction(-5), Fraction(-6)), TERMS, 44_100) == 0
    with pytest.raises(InputError, match="below the reserved cash"):
        solvent_bid_price(Auctioned(Fraction(5), Fraction(-6), Fraction(6)), TERMS, 450)


@pytest.mark.criterion("AUC-4", "AUC-5", "AUC-6")
def test_a_bid_for_everything_as_worked():
    sale = sell_solvent(BOOK, TERMS, 450, 1)
    assert maximum_proportion(BOOK, TERMS, 450) == sale.proportion == Fraction(84, 169)
    assert sale.cash_from_bidder == Fraction(714_000, 169)
    assert sale.bidder_cash_required == 8_400
    assert sale.ends_auction
    assert sale.portfolio == Auctioned(Fraction(1_564_000, 169), Fraction(204_000, 169), Fraction(714_000, 169))
    assert sale.portfolio.buffer_surplus(TERMS) == 0


@pytest.mark.criterion("AUC-5")
def test_a_bid_for_exactly_the_maximum_ends_the_auction():
    assert sell_solvent(BOOK, TERMS, 450, Fraction(84, 169)).ends_auction


@pytest.mark.criterion("AUC-5", "AUC-6")
def test_a_bid_for_a_part_as_worked():
    sale = sell_solvent(BOOK, TERMS, 450, Fraction("0.25"))
    assert (sale.proportion, sale.cash_from_bidder, sale.bidder_cash_required) == (Fraction(1, 4), 2_125, 4_225)
    assert not sale.ends_auction
    assert sale.portfolio == Auctioned(Fraction(9_625), Fraction(-2_375), Fraction(2_125))
    assert sale.portfolio.buffer_surplus(TERMS) == -4_175
    assert maximum_proportion(sale.portfolio, TERMS, 450) == Fraction(167, 507)


@pytest.mark.criterion("AUC-4")
def test_small_portfolios_may_be_sold_whole_and_covered_ones_not_at_all():
    whole = AuctionParameters(
        Fraction(1), Fraction(1), Fraction(1), Fraction(1), Fraction(1), Fraction(0), whole_sale_below=Fraction(10_000)
    )
    assert maximum_proportion(BOOK, whole, 0) == Fraction(6_000, 16_000)
    assert maximum_proportion(Auctioned(Fraction(9_999), Fraction(-1)), whole, 0) == 1
    assert maximum_proportion(SUNK, TERMS, 0) == 1
    assert maximum_proportion(Auctioned(Fraction(10_000), Fraction(9_000)), TERMS, 0) == 0


@pytest.mark.criterion("AUC-4", "AUC-6")
@many
@given(terms(), solvent(), times, times)
def test_the_maximum_proportion_restores_the_buffer_margin_and_grows_as_the_price_falls(curve, book, first, second):
    early, late = sorted((first, second))
    most = maximum_proportion(book, curve, early)
    assert 0 < most <= maximum_proportion(book, curve, late) <= 1
    assume(solvent_bid_price(book, curve, early) > 0)
    assert sell_solvent(book, curve, early, 1).portfolio.buffer_surplus(curve) == 0


@pytest.mark.criterion("AUC-5", "AUC-6")
@many
@given(terms(), solvent(), times, parts)
def test_a_sale_of_less_leaves_the_buffer_margin_unmet(curve, book, elapsed, asked):
    assume(solvent_bid_price(book, curve, elapsed) > 0)
    sale = sell_solvent(book, curve, elapsed, asked)
    surplus = sale.portfolio.buffer_surplus(curve)
    assert book.buffer_surplus(curve) < surplus <= 0
    assert (surplus == 0) is sale.ends_auction
    assert sale.proportion == min(asked, maximum_proportion(book, curve, elapsed))
    assert sale.bidder_cash_required >= sale.cash_from_bidder > 0


@pytest.mark.criterion("AUC-6")
@many
@given(terms(), solvent(), times, parts, parts)
def test_two_sales_at_one_time_leave_what_one_would(curve, book, elapsed, first, second):
    assume(solvent_bid_price(book, curve, elapsed) > 0)
    once = sell_solvent(book, curve, elapsed, first)
    assume(not once.ends_auction)
    twice = sell_solvent(once.portfolio, curve, elapsed, second)
    joint = once.proportion + (1 - once.proportion) * twice.proportion
    assert sell_solvent(book, curve, elapsed, joint).portfolio == twice.portfolio


@pytest.mark.criterion("AUC-5")
@pytest.mark.parametrize("proportion", [0, -1, Fraction(3, 2), 0.5, True, Decimal("NaN"), "1"])
def test_proportions_out_of_range_or_not_exact_are_refused(proportion):
    with pytest.raises(InputError) as caught:
        sell_solvent(BOOK, TERMS, 450, proportion)
    assert caught.value.field == "proportion"


@pytest.mark.criterion("AUC-5")
def test_a_price_of_nothing_is_refused():
    with pytest.raises(InputError, match="nothing to bid for"):
        sell_solvent(BOOK, TERMS, 44_100, 1)


@pytest.mark.criterion("AUC-2", "AUC-3")
@pytest.mark.parametrize("elapsed", [-1, 1.0, Decimal("Infinity")])
def test_times_are_exact_and_not_negative(elapsed):
    for rule in (solvent_bid_price, insolvent_bid_price):
        with pytest.raises(InputError):
            rule(BOOK, TERMS, elapsed)


@pytest.mark.criterion("AUC-2")
def test_parameters_are_exact_and_ordered():
    exact = AuctionParameters(Decimal("0.98"), Decimal("0.8"), 100, 14_400, 600, Decimal("0.2"))
    assert exact.starting_fraction == Fraction(49, 50)
    for changes in ({"starting_fraction": 0.98}, {"cutoff_fraction": Fraction("0.96")}, {"buffer_fraction": -1}):
        members = {name: getattr(TERMS, name) for name in TERMS.__struct_fields__}
        with pytest.raises(InputError) as caught:
            AuctionParameters(**members | changes)
        assert caught.value.field in changes


@pytest.mark.criterion("AUC-7")
@pytest.mark.parametrize(
    ("value", "surplus", "elapsed", "expected"),
    [
        (-600, -10_000, 0, -600),
        (-600, -10_000, 900, -2_950),
        (-600, -10_000, 3_600, -10_000),
        (-600, -10_000, 10**6, -10_000),
        (100, -300, 0, 0),
        (-100, 100, 0, 0),
        (-100, 100, 10**6, 0),
    ],
)
def test_insolvent_prices_as_worked(value, surplus, elapsed, expected):
    assert insolvent_bid_price(Auctioned(Fraction(value), Fraction(surplus)), TERMS, elapsed) == expected


@pytest.mark.criterion("AUC-7")
@many
@given(terms(), st.fractions(-(10**6), 10**6, max_denominator=1_000), amounts, times, times)
def test_an_insolvent_price_falls_from_the_value_to_the_margin(curve, value, requirement, first, second):
    early, late = sorted((first, second))
    book = Auctioned(value, value - requirement)
    assume(book.maintenance_surplus < 0)
    prices = [insolvent_bid_price(book, curve, elapsed) for elapsed in (early, late)]
    assert min(value, 0) >= prices[0] >= prices[1] >= book.maintenance_surplus
    assert insolvent_bid_price(book, curve, curve.insolvent_length_seconds) == book.maintenance_surplus


@pytest.mark.criterion("AUC-8")
def test_an_insolvent_sale_as_worked():
    sale = sell_insolvent(SUNK, TERMS, 900, Fraction(1, 2), 1_000)
    assert (sale.cash_to_bidder, sale.cash_from_security_module, sale.cash_socialised) == (1_475, 1_000, 475)
    assert (sale.bidder_cash_required, sale.ends_auction) == (3_525, False)
    assert sale.portfolio == Auctioned(Fraction(-300), Fraction(-5_000))
    with pytest.raises(InputError, match="meets the maintenance margin"):
        sell_insolvent(Auctioned(Fraction(1), Fraction(0)), TERMS, 900, 1, 0)


@pytest.mark.criterion("AUC-8")
@many
@given(terms(), amounts, amounts.filter(bool), times, parts, amounts)
def test_an_insolvent_sale_is_paid_in_full_by_module_and_holders(curve, debt, requirement, elapsed, taken, funds):
    book = Auctioned(-debt, -debt - requirement)
    sale = sell_insolvent(book, curve, elapsed, taken, funds)
    assert sale.cash_to_bidder == sale.cash_from_security_module + sale.cash_socialised
    assert 0 <= sale.cash_from_security_module <= funds
    assert sale.cash_socialised == 0 or sale.cash_from_security_module == funds
    assert debt * taken <= sale.cash_to_bidder <= (debt + requirement) * taken
    assert sale.cash_to_bidder + sale.bidder_cash_required == (debt + requirement) * taken
    assert sale.ends_auction is (taken == 1)


@pytest.mark.criterion("AUC-9")
@pytest.mark.parametrize(
    ("book", "elapsed", "is_insolvent", "expected"),
    [
        ((10_000, -6_000, 0), 450, False, False),
        ((10_000, 0, 0), 450, False, False),  # maintenance is met, the buffer is not
        ((10_000, 0, 0), 44_100, False, True),
        ((10_000, -1, 0), 44_100, False, False),
        ((11_500, 1_500, 0), 450, False, True),  # 10,000 of margin with its buffer, exactly
        ((11_499, 1_499, 0), 450, False, False),
        ((-1, -6_000, 0), 450, False, True),
        ((2_000, -6_000, 2_000), 450, False, True),
        ((2_001, -6_000, 2_000), 450, False, False),
        ((-600, -1, 0), 0, True, False),
        ((-600, 0, 0), 0, True, True),
    ],
)
def test_when_an_auction_may_end(book, elapsed, is_insolvent, expected):
    assert may_end(Auctioned(*map(Fraction, book)), TERMS, elapsed, is_insolvent=is_insolvent) is expected


@pytest.mark.criterion("AUC-10")
@pytest.mark.parametrize(
    ("shortfall", "cash", "expected"),
    [(0, 0, False), (100, 100, False), (101, 100, True), (1, -5, True), (0, -5, False)],
)
def test_when_withdrawals_are_blocked(shortfall, cash, expected):
    assert withdrawals_are_blocked(shortfall, cash) is expected
