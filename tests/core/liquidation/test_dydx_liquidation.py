"""The dYdX liquidation rules against the worked numbers of their specification, a second reading, and their laws."""

import math
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from holdfast.core.liquidation.dydx import (
    Account,
    LiquidationParameters,
    PriceBasis,
    bankruptcy_quote,
    deleverage,
    deleveraging_basis,
    fillable_price,
    insurance_fund_delta,
    is_permitted_change,
)
from holdfast.domain.errors import InputError
from holdfast.margin.dydx import PPM, LiquidityTier, Perpetual, Risk, margin_requirements, notional_quote_quantums

PERPETUALS = {
    "A": Perpetual(-10, 6_100_512_345, -5, LiquidityTier(20_000, 600_000)),
    "B": Perpetual(-9, 3_012_345_678, -6, LiquidityTier(50_000, 500_000)),
}
POSITIONS = {"A": 1_234_567, "B": -2_000_003}
HALF, LAST, BROKE = (Account(balance, POSITIONS) for balance in (-1_386_293, -1_265_796, -1_600_000))
DEFAULTS = LiquidationParameters()
many = settings(deadline=None, max_examples=80)


@st.composite
def markets(draw):
    return {
        name: Perpetual(
            draw(st.integers(-10, -5)),
            draw(st.integers(1, 10**10)),
            draw(st.integers(-6, -2)),
            LiquidityTier(draw(st.integers(1, PPM)), draw(st.integers(1, PPM))),
        )
        for name in "AB"
    }


sizes = st.integers(-(10**12), 10**12).filter(bool)


@st.composite
def accounts(draw, perpetuals, sizes=sizes, names="AB"):
    """Accounts whose net collateral lies around their maintenance margin, on both sides of 0."""
    positions = {name: draw(sizes) for name in draw(st.sets(st.sampled_from(names), min_size=1))}
    empty = Account(0, positions).risk(perpetuals)
    collateral = draw(st.integers(-2 * empty.maintenance, 3 * empty.maintenance))
    return Account(collateral - empty.net_collateral, positions)


@st.composite
def liquidations(draw):
    perpetuals = draw(markets())
    account = draw(accounts(perpetuals))
    assume(account.risk(perpetuals).maintenance > 0)
    identifier = draw(st.sampled_from(sorted(account.positions)))
    size = draw(st.integers(1, abs(account.positions[identifier])))
    return perpetuals, account, identifier, -size if account.positions[identifier] > 0 else size


def exact_bankruptcy_quote(account, perpetuals, identifier, base_delta):
    """The specification read again, without a rounding of its own."""
    before, after = (account.positions[identifier] + change for change in (0, base_delta))
    perpetual, risk = perpetuals[identifier], account.risk(perpetuals)
    notionals = [notional_quote_quantums(perpetual, q) for q in (before, after)]
    margins = [margin_requirements(perpetual, q).maintenance for q in (before, after)]
    share = Fraction(risk.net_collateral) * Fraction(margins[0] - margins[1], risk.maintenance)
    return notionals[0] - notionals[1] - share


@pytest.mark.criterion("DYL-1")
@pytest.mark.parametrize(
    ("account", "identifier", "base_delta", "expected"),
    [
        (HALF, "A", -1_234_567, 7_486_302),
        (HALF, "B", 2_000_003, -6_100_009),
        (LAST, "A", -1_234_567, 7_441_114),
        (LAST, "B", 2_000_003, -6_175_317),
        (LAST, "A", -234_567, 1_413_809),
        (LAST, "B", 1, -3),
        (BROKE, "A", -1_234_567, 7_566_447),
        (BROKE, "B", 2_000_003, -5_966_446),
        (BROKE, "A", -234_567, 1_437_621),
    ],
)
def test_bankruptcy_quotes_as_worked(account, identifier, base_delta, expected):
    assert bankruptcy_quote(account, PERPETUALS, identifier, base_delta) == expected


@pytest.mark.criterion("DYL-1")
def test_a_position_may_be_worth_giving_away():
    coin = {"coin": Perpetual(-8, 50_000, 0, LiquidityTier(200_000, 500_000))}
    account = Account(1_000_000, {"coin": 10**8})
    assert notional_quote_quantums(coin["coin"], 10**8) == 50_000_000_000
    assert bankruptcy_quote(account, coin, "coin", -(10**8)) == -1_000_000


@pytest.mark.criterion("DYL-1")
@many
@given(liquidations())
def test_the_quote_is_rounded_up_by_less_than_one(liquidation):
    perpetuals, account, identifier, base_delta = liquidation
    quote = bankruptcy_quote(account, perpetuals, identifier, base_delta)
    excess = quote - exact_bankruptcy_quote(account, perpetuals, identifier, base_delta)
    assert isinstance(quote, int)
    assert 0 <= excess < 1


@pytest.mark.criterion("DYL-2")
@many
@given(st.data())
def test_one_position_closed_at_bankruptcy_in_any_parts_leaves_exactly_nothing(data):
    perpetuals = data.draw(markets())
    account = data.draw(accounts(perpetuals, names="A"))
    assume(account.risk(perpetuals).maintenance > 0)
    while account.risk(perpetuals).maintenance > 0:
        left = account.positions["A"]
        size = data.draw(st.sampled_from([abs(left), data.draw(st.integers(1, abs(left)))]))
        delta = -size if left > 0 else size
        account = account.traded("A", delta, bankruptcy_quote(account, perpetuals, "A", delta))
    assert account.risk(perpetuals).net_collateral == 0
    if not account.positions:
        assert account.quote_balance == 0


@pytest.mark.criterion("DYL-2")
@pytest.mark.parametrize("order", ["AB", "BA"])
@pytest.mark.parametrize("account", [HALF, LAST, BROKE])
def test_positions_closed_one_after_the_other_leave_exactly_nothing(account, order):
    for identifier in order:
        delta = -account.positions[identifier]
        account = account.traded(identifier, delta, bankruptcy_quote(account, PERPETUALS, identifier, delta))
    assert (account.quote_balance, account.positions) == (0, {})


@pytest.mark.criterion("DYL-2", "DYL-8")
@many
@given(liquidations())
def test_a_part_keeps_the_ratio_of_collateral_rounded_for_the_account(liquidation):
    perpetuals, account, identifier, base_delta = liquidation
    quote = bankruptcy_quote(account, perpetuals, identifier, base_delta)
    before, after = account.risk(perpetuals), account.traded(identifier, base_delta, quote).risk(perpetuals)
    proportional = Fraction(before.net_collateral * after.maintenance, before.maintenance)
    assert proportional <= after.net_collateral < proportional + 1


@pytest.mark.criterion("DYL-2", "DYL-9")
@pytest.mark.parametrize("base_delta", [0, 1, -1_234_568, -1.0, True])
def test_only_reductions_have_a_bankruptcy_price(base_delta):
    with pytest.raises(InputError) as caught:
        bankruptcy_quote(HALF, PERPETUALS, "A", base_delta)
    assert caught.value.field == "base_delta"


@pytest.mark.criterion("DYL-2", "DYL-3")
def test_what_is_never_liquidatable_has_no_price():
    dust = Account(-5, {"A": 0, "B": 0} | {"D": 1})
    perpetuals = PERPETUALS | {"D": Perpetual(-10, 1, -5, LiquidityTier(20_000, 600_000))}
    for rule in (
        lambda: bankruptcy_quote(dust, perpetuals, "D", -1),
        lambda: fillable_price(dust, perpetuals, "D", DEFAULTS),
    ):
        with pytest.raises(InputError, match="no maintenance margin"):
            rule()
    with pytest.raises(InputError, match="does not reduce"):
        fillable_price(HALF, PERPETUALS, "C", DEFAULTS)


@pytest.mark.criterion("DYL-9")
@pytest.mark.parametrize(
    "make",
    [
        lambda: Account(1.0, {}),
        lambda: Account(True, {}),
        lambda: Account(1, {"A": 0.5}),
        lambda: LiquidationParameters(bankruptcy_adjustment_ppm=-1),
        lambda: LiquidationParameters(spread_to_maintenance_ppm=PPM + 1),
        lambda: LiquidationParameters(fee_ppm_max=PPM + 1),
        lambda: insurance_fund_delta(HALF, PERPETUALS, "A", -1, 6.0, DEFAULTS),
        lambda: Account(0, {"Z": 1}).risk(PERPETUALS),
    ],
)
def test_what_is_not_an_integer_in_range_is_refused(make):
    with pytest.raises(InputError):
        make()


@pytest.mark.criterion("DYL-3")
@pytest.mark.parametrize(
    ("balance", "identifier", "adjustment_ppm", "expected"),
    [
        (-1_386_293, "A", PPM, Fraction(75_269_721, 12_345_670)),
        (-1_386_293, "B", PPM, Fraction(60_322_309, 20_000_030)),
        (-1_386_293, "A", 2 * PPM, Fraction(37_612_266, 6_172_835)),
        (-1_386_293, "B", 2 * PPM, Fraction(30_198_809, 10_000_015)),
        (-1_600_000, "A", PPM, Fraction(37_612_266, 6_172_835)),
        (-1_600_000, "B", PPM, Fraction(30_198_809, 10_000_015)),
        (0, "A", PPM, Fraction(7_531_491, 1_234_567)),
        (-1_265_795, "B", PPM, Fraction(6_024_700, 2_000_003)),
    ],
)
def test_fillable_prices_as_worked(balance, identifier, adjustment_ppm, expected):
    parameters = LiquidationParameters(bankruptcy_adjustment_ppm=adjustment_ppm)
    assert fillable_price(Account(balance, POSITIONS), PERPETUALS, identifier, parameters) == expected


@pytest.mark.criterion("DYL-3")
@many
@given(liquidations(), st.integers(0, 3 * PPM), st.integers(0, PPM), st.integers(1, 10**9))
def test_a_fillable_price_goes_against_the_account_as_it_empties_and_no_further_than_the_spread(
    liquidation, adjustment_ppm, spread_ppm, loss
):
    perpetuals, account, identifier, _ = liquidation
    parameters = LiquidationParameters(adjustment_ppm, spread_ppm)
    size = account.positions[identifier]
    oracle = Fraction(notional_quote_quantums(perpetuals[identifier], size), size)
    poorer = Account(account.quote_balance - loss, account.positions)
    now, later = (fillable_price(a, perpetuals, identifier, parameters) for a in (account, poorer))
    maintenance = margin_requirements(perpetuals[identifier], size).maintenance
    worst = oracle - Fraction(spread_ppm, PPM) * maintenance / size
    assert min(now, later) >= 0
    if size > 0:
        assert worst <= later <= now <= oracle
    else:
        assert worst >= later >= now >= oracle


@pytest.mark.criterion("DYL-4")
@pytest.mark.parametrize(
    ("identifier", "quote_delta", "expected"),
    [
        ("A", 7_600_199, 38_000),
        ("A", 7_490_000, 3_698),
        ("A", 7_486_302, 0),
        ("A", 7_480_000, -6_302),
        ("B", -6_050_000, 30_250),
    ],
)
def test_insurance_fund_deltas_as_worked(identifier, quote_delta, expected):
    delta = -POSITIONS[identifier]
    assert insurance_fund_delta(HALF, PERPETUALS, identifier, delta, quote_delta, DEFAULTS) == expected


@pytest.mark.criterion("DYL-4")
@many
@given(liquidations(), st.integers(-(10**9), 10**9), st.integers(0, PPM))
def test_the_fund_pays_exactly_up_to_bankruptcy_and_takes_nothing_below_it(liquidation, excess, fee_ppm):
    perpetuals, account, identifier, base_delta = liquidation
    floor = bankruptcy_quote(account, perpetuals, identifier, base_delta)
    quote = floor + excess
    parameters = LiquidationParameters(fee_ppm_max=fee_ppm)
    delta = insurance_fund_delta(account, perpetuals, identifier, base_delta, quote, parameters)
    if excess <= 0:
        assert delta == excess
        assert quote - delta == floor
    else:
        assert 0 <= delta <= excess
        assert delta == min(math.floor(Fraction(abs(quote) * fee_ppm, PPM)), excess)
        assert quote - delta >= floor


@pytest.mark.criterion("DYL-5")
@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((60, 200, 100), (100, 100, 50), True),
        ((60, 200, 100), (30, 100, 50), True),
        ((60, 200, 100), (29, 100, 50), False),
        ((60, 200, 100), (70, 210, 101), False),
        ((-10, 20, 10), (0, 0, 0), True),
        ((-10, 20, 10), (-5, 0, 0), False),
        ((-10, 0, 0), (-9, 0, 0), True),
        ((-10, 0, 0), (-10, 0, 0), False),
    ],
)
def test_permitted_changes_as_worked(before, after, expected):
    assert is_permitted_change(Risk(*before), Risk(*after)) is expected


@pytest.mark.criterion("DYL-6")
@pytest.mark.parametrize(
    ("collateral", "is_final_settlement", "expected"),
    [
        (-1, False, PriceBasis.BANKRUPTCY),
        (-1, True, PriceBasis.BANKRUPTCY),
        (0, False, None),
        (0, True, PriceBasis.ORACLE),
    ],
)
def test_who_is_deleveraged_and_at_what_price(collateral, is_final_settlement, expected):
    assert deleveraging_basis(Risk(collateral, 10, 5), is_final_settlement=is_final_settlement) is expected


@pytest.mark.criterion("DYL-7")
def test_deleveraging_as_worked():
    given_ = [
        (5_000_000, 1_000),
        (1_437_000, -234_567),
        (1_450_000, -234_567),
        (9_000_000, -2_000_000),
        (15_000_000, -2_000_000),
    ]
    outcome = deleverage(BROKE, [Account(quote, {"A": base}) for quote, base in given_], PERPETUALS, "A")
    assert [(f.candidate, f.base_delta, f.quote_delta) for f in outcome.fills] == [
        (2, -234_567, 1_437_621),
        (4, -1_000_000, 6_128_826),
    ]
    assert [(a.quote_balance, a.positions.get("A", 0)) for a in outcome.offsetting] == [
        (5_000_000, 1_000),
        (1_437_000, -234_567),
        (12_379, 0),
        (9_000_000, -2_000_000),
        (8_871_174, -1_000_000),
    ]
    assert (outcome.liquidated.quote_balance, outcome.liquidated.positions) == (5_966_447, {"B": -2_000_003})
    assert outcome.remaining == 0


@pytest.mark.criterion("DYL-6", "DYL-7")
def test_final_settlement_trades_at_the_oracle_price():
    account, other = Account(-7_000_000, {"A": 1_234_567}), Account(8_000_000, {"A": -1_000_000})
    outcome = deleverage(account, [other], PERPETUALS, "A", PriceBasis.ORACLE)
    assert [f.quote_delta for f in outcome.fills] == [6_100_512]
    assert (outcome.liquidated.positions, outcome.remaining) == ({"A": 234_567}, -234_567)


@pytest.mark.criterion("DYL-7")
def test_dust_without_a_bankruptcy_price_stays():
    perpetuals = {"D": Perpetual(-10, 1, -5, LiquidityTier(20_000, 600_000))}
    outcome = deleverage(Account(-5, {"D": 1}), [Account(100, {"D": -1})], perpetuals, "D")
    assert (outcome.fills, outcome.remaining, outcome.liquidated) == ((), -1, Account(-5, {"D": 1}))


@pytest.mark.criterion("DYL-8")
@many
@given(st.data(), st.sampled_from(PriceBasis))
def test_deleveraging_conserves_and_bankrupts_nobody(data, basis):
    perpetuals = data.draw(markets())
    account = data.draw(accounts(perpetuals, names="A"))
    others = data.draw(st.lists(accounts(perpetuals), max_size=5))
    outcome = deleverage(account, others, perpetuals, "A", basis)
    before, after = (account, *others), (outcome.liquidated, *outcome.offsetting)
    assert sum(a.quote_balance for a in before) == sum(a.quote_balance for a in after)
    for name in "AB":
        assert sum(a.positions.get(name, 0) for a in before) == sum(a.positions.get(name, 0) for a in after)
    assert sum(f.base_delta for f in outcome.fills) + outcome.remaining == -account.positions["A"]
    for old, new in zip(before, after, strict=True):
        was, now = old.risk(perpetuals), new.risk(perpetuals)
        assert now.net_collateral >= 0 or was.net_collateral < 0
        assert now.maintenance <= was.maintenance
        # Each position's maintenance is rounded up to a unit, which a smaller position feels more.
        rounded = min(was.net_collateral * (now.maintenance - n) for n in (0, len(new.positions)))
        assert now.net_collateral * was.maintenance >= rounded
        assert abs(new.positions.get("A", 0)) <= abs(old.positions.get("A", 0))
