"""The dYdX rules against the worked numbers of specs/dydx.md, a second reading in fractions, and their laws."""

import functools
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.errors import InputError
from holdfast.margin.dydx import (
    PPM,
    UINT64_MAX,
    LiquidityTier,
    Perpetual,
    Requirements,
    Risk,
    account_risk,
    initial_margin_of_notional,
    is_liquidatable,
    maintenance_margin_of_notional,
    margin_requirements,
    notional_quote_quantums,
    riskier,
    scaled_initial_margin_ppm,
)

LOWER, UPPER = 20 * 10**12, 50 * 10**12
TIER_A = LiquidityTier(20_000, 600_000, LOWER, UPPER)
PERPETUAL_A = Perpetual(-10, 6_100_512_345, -5, TIER_A, open_interest_quantums=5 * 10**12)
PERPETUAL_B = Perpetual(-9, 3_012_345_678, -6, LiquidityTier(50_000, 500_000))
PERPETUALS = {"A": PERPETUAL_A, "B": PERPETUAL_B}
POSITIONS = {"A": 1_234_567, "B": -2_000_003}

deterministic = settings(deadline=None)
sizes = st.integers(-(2**80), 2**80)
amounts = st.integers(0, 2**80)
ppms = st.integers(0, PPM)


@st.composite
def tiers(draw):
    lower, upper = sorted((draw(st.integers(0, 10**16)), draw(st.integers(0, 10**16))))
    return LiquidityTier(draw(ppms), draw(ppms), lower, upper)


@st.composite
def perpetuals(draw):
    return Perpetual(
        draw(st.integers(-12, 4)),
        draw(st.integers(0, UINT64_MAX)),
        draw(st.integers(-12, 4)),
        draw(tiers()),
        draw(st.integers(0, 2**70)),
    )


@st.composite
def risks(draw):
    # Small numbers, so that equal ratios and zero requirements are common.
    maintenance = draw(st.integers(0, 6))
    return Risk(draw(st.integers(-12, 12)), maintenance + draw(st.integers(0, 3)), maintenance)


def exact_requirements(perpetual, quantums):
    """The specification read again in fractions, with no line shared with the code."""
    unit = Fraction(10) ** (perpetual.atomic_resolution + perpetual.price_exponent + 6) * perpetual.price
    notional, interest = (math.trunc(abs(q) * unit) for q in (quantums, perpetual.open_interest_quantums))
    tier = perpetual.tier
    base, lower, upper = tier.initial_margin_ppm, tier.open_interest_lower_cap, tier.open_interest_upper_cap
    if upper == 0 or interest <= lower:
        rate = base
    elif interest >= upper:
        rate = PPM
    else:
        rate = base + math.floor(Fraction(interest - lower, upper - lower) * (PPM - base))
    initial = math.ceil(Fraction(notional * rate, PPM))
    base_initial = math.ceil(Fraction(notional * base, PPM))
    return Requirements(initial, math.ceil(Fraction(base_initial * tier.maintenance_fraction_ppm, PPM)))


@pytest.mark.criterion("DYDX-1")
@pytest.mark.parametrize(
    ("perpetual", "quantums", "expected"),
    [
        (PERPETUAL_A, 1_234_567, 7_531_491),
        (PERPETUAL_A, -1_234_567, -7_531_491),
        (PERPETUAL_A, 1, 6),
        (PERPETUAL_A, 0, 0),
        (PERPETUAL_B, -2_000_003, -6_024_700),
        (Perpetual(2, 5, 4, TIER_A), 3, 15 * 10**12),
    ],
)
def test_the_notional_is_truncated_towards_zero(perpetual, quantums, expected):
    assert notional_quote_quantums(perpetual, quantums) == expected


@pytest.mark.criterion("DYDX-2")
@pytest.mark.parametrize(
    ("open_interest", "expected"),
    [
        (0, 20_000),
        (LOWER, 20_000),
        (LOWER + 1, 20_000),
        (31_415_926_535_897, 392_920),
        (UPPER - 1, 999_999),
        (UPPER, PPM),
        (UPPER + 1, PPM),
    ],
)
def test_open_interest_raises_the_rate_in_whole_ppm_rounded_down(open_interest, expected):
    assert scaled_initial_margin_ppm(TIER_A, open_interest) == expected


@pytest.mark.criterion("DYDX-2")
def test_caps_that_coincide_or_are_zero_do_not_divide_by_zero():
    step = LiquidityTier(20_000, 600_000, LOWER, LOWER)
    assert [scaled_initial_margin_ppm(step, LOWER + k) for k in (-1, 0, 1)] == [20_000, 20_000, PPM]
    assert scaled_initial_margin_ppm(LiquidityTier(20_000, 600_000), 10**30) == 20_000


@pytest.mark.criterion("DYDX-3")
@pytest.mark.parametrize(
    ("notional", "open_interest", "custom_ppm", "expected"),
    [
        (7_531_531, 0, 0, 150_631),
        (-7_531_531, 0, 0, 150_631),
        (7_531_531, 31_415_926_535_897, 0, 2_959_290),
        (7_531_531, UPPER, 0, 7_531_531),
        (7_531_531, 0, 100_000, 753_154),
        (7_531_531, 0, 19_999, 150_631),
        (1, 0, 0, 1),
        (0, UPPER, 0, 0),
    ],
)
def test_the_initial_margin_of_a_notional_is_rounded_up(notional, open_interest, custom_ppm, expected):
    assert initial_margin_of_notional(TIER_A, notional, open_interest, custom_ppm) == expected


@pytest.mark.criterion("DYDX-4")
@pytest.mark.parametrize(("notional", "expected"), [(7_531_531, 90_379), (-7_531_531, 90_379), (51, 2), (0, 0)])
def test_the_maintenance_margin_is_rounded_up_twice(notional, expected):
    assert maintenance_margin_of_notional(TIER_A, notional) == expected


@pytest.mark.criterion("DYDX-5")
def test_a_position_requires_what_its_notional_requires_at_the_open_interest():
    assert margin_requirements(PERPETUAL_A, 1_234_567) == Requirements(2_734_557, 90_378)
    assert margin_requirements(PERPETUAL_A, -1_234_567) == Requirements(2_734_557, 90_378)
    assert margin_requirements(PERPETUAL_A, 1_234_567, 0) == Requirements(150_630, 90_378)
    assert margin_requirements(PERPETUAL_A, 1_234_567, 0, 500_000) == Requirements(3_765_746, 90_378)
    assert margin_requirements(PERPETUAL_A, 0) == Requirements(0, 0)


@pytest.mark.criterion("DYDX-6")
def test_numbers_as_large_as_the_chain_can_hold_do_not_overflow():
    perpetual = Perpetual(-6, UINT64_MAX, -1, LiquidityTier(100, PPM))
    expected = 3_402_823_669_209_384_634_264_811_192_843_492
    assert margin_requirements(perpetual, UINT64_MAX) == Requirements(expected, expected)


@pytest.mark.criterion("DYDX-5")
@deterministic
@given(perpetuals(), sizes)
def test_requirements_agree_with_the_specification_read_in_fractions(perpetual, quantums):
    assert margin_requirements(perpetual, quantums) == exact_requirements(perpetual, quantums)


@pytest.mark.criterion("DYDX-7")
def test_an_account_adds_up_its_positions():
    assert account_risk(-1_000_000, POSITIONS, PERPETUALS) == Risk(506_791, 3_035_792, 240_996)
    assert account_risk(-7, {}, {}) == Risk(-7, 0, 0)


@pytest.mark.criterion("DYDX-7")
def test_the_rate_an_account_chose_raises_its_initial_margin_only():
    chosen = account_risk(-1_000_000, POSITIONS, PERPETUALS, {"B": 100_000})
    assert chosen == Risk(506_791, 2_734_557 + 602_470, 240_996)


@pytest.mark.criterion("DYDX-7")
@deterministic
@given(st.dictionaries(st.integers(0, 9), st.tuples(perpetuals(), sizes), max_size=5), sizes, st.randoms())
def test_the_order_of_positions_does_not_matter(held, quote_balance, random):
    markets = {key: perpetual for key, (perpetual, _) in held.items()}
    positions = [(key, quantums) for key, (_, quantums) in held.items()]
    shuffled = random.sample(positions, len(positions))
    first = account_risk(quote_balance, dict(positions), markets)
    assert account_risk(quote_balance, dict(shuffled), markets) == first
    assert first.net_collateral - quote_balance == sum(
        notional_quote_quantums(markets[key], quantums) for key, quantums in positions
    )


@pytest.mark.criterion("DYDX-8")
@pytest.mark.parametrize(
    ("net_collateral", "maintenance", "expected"),
    [(240_996, 240_996, False), (240_995, 240_996, True), (-5, 0, False), (0, 0, False), (0, 1, True), (-1, 1, True)],
)
def test_equality_is_safe_and_no_requirement_means_no_liquidation(net_collateral, maintenance, expected):
    assert is_liquidatable(net_collateral, maintenance) is expected


@pytest.mark.criterion("DYDX-8")
def test_one_quote_quantum_decides():
    safe, unsafe = (account_risk(balance, POSITIONS, PERPETUALS) for balance in (-1_265_795, -1_265_796))
    assert not safe.is_liquidatable
    assert unsafe.is_liquidatable


@deterministic
@given(risks())
def test_an_account_that_covers_its_initial_margin_is_not_liquidatable(risk):
    assert not (risk.is_initially_collateralized and risk.is_liquidatable)


@pytest.mark.criterion("DYDX-9")
def test_an_isolated_account_stands_alone():
    together = account_risk(200_000, {"A": 1_234_567}, PERPETUALS)
    cross, isolated = account_risk(200_000, {}, PERPETUALS), account_risk(-7_500_000, {"A": 1_234_567}, PERPETUALS)
    assert isolated.is_liquidatable
    assert not cross.is_liquidatable
    assert not together.is_liquidatable


@pytest.mark.criterion("DYDX-10")
def test_the_order_of_risk_has_the_published_ties_broken():
    from_the_riskiest = [(-10, 0), (-900, 10), (-10, 10), (21, 30), (7, 10), (0, 0), (1, 0), (2, 0)]
    accounts = [Risk(collateral, maintenance, maintenance) for collateral, maintenance in from_the_riskiest]
    for i, first in enumerate(accounts):
        for j, second in enumerate(accounts):
            assert riskier(first, second) == (i < j) - (i > j)
    from_the_safest = list(reversed(accounts))
    assert sorted(accounts, key=functools.cmp_to_key(riskier)) == from_the_safest


@pytest.mark.criterion("DYDX-10")
@deterministic
@given(risks(), risks(), risks())
def test_the_order_of_risk_is_total(first, second, third):
    assert riskier(first, second) in (-1, 0, 1)
    assert riskier(first, second) == -riskier(second, first)
    same = (first.net_collateral, first.maintenance) == (second.net_collateral, second.maintenance)
    assert (riskier(first, second) == 0) is same
    if riskier(first, second) >= 0 and riskier(second, third) >= 0:
        assert riskier(first, third) >= 0


@pytest.mark.criterion("DYDX-10")
@deterministic
@given(st.integers(-(2**70), 2**70), st.integers(1, 2**70), st.integers(-(2**70), 2**70), st.integers(1, 2**70))
def test_where_ratios_exist_the_smaller_one_is_riskier(c1, m1, c2, m2):
    ratios = Fraction(c1, m1), Fraction(c2, m2)
    if ratios[0] != ratios[1]:
        assert riskier(Risk(c1, m1, m1), Risk(c2, m2, m2)) == (1 if ratios[0] < ratios[1] else -1)


@pytest.mark.criterion("DYDX-11")
@deterministic
@given(perpetuals(), sizes, ppms)
def test_maintenance_is_at_most_initial_and_initial_at_most_the_notional(perpetual, quantums, custom_ppm):
    required = margin_requirements(perpetual, quantums, custom_initial_margin_ppm=custom_ppm)
    assert 0 <= required.maintenance <= required.initial <= abs(notional_quote_quantums(perpetual, quantums))


@pytest.mark.criterion("DYDX-11")
@deterministic
@given(perpetuals(), amounts, amounts, amounts)
def test_requirements_grow_with_size_and_open_interest(perpetual, quantums, more, more_interest):
    smaller, larger = (margin_requirements(perpetual, q) for q in (quantums, quantums + more))
    assert smaller.initial <= larger.initial
    assert smaller.maintenance <= larger.maintenance
    crowded = margin_requirements(perpetual, quantums, perpetual.open_interest_quantums + more_interest)
    assert smaller.initial <= crowded.initial
    assert smaller.maintenance == crowded.maintenance


@pytest.mark.criterion("DYDX-11")
@deterministic
@given(tiers(), st.tuples(ppms, ppms, ppms), amounts, st.integers(0, 2 * 10**16))
def test_requirements_grow_with_the_rates(tier, rates, notional, open_interest):
    other_ppm, other_fraction, custom_ppm = rates
    caps = tier.open_interest_lower_cap, tier.open_interest_upper_cap
    higher = LiquidityTier(
        max(tier.initial_margin_ppm, other_ppm), max(tier.maintenance_fraction_ppm, other_fraction), *caps
    )
    initial = initial_margin_of_notional(tier, notional, open_interest)
    assert initial <= initial_margin_of_notional(higher, notional, open_interest)
    assert initial <= initial_margin_of_notional(tier, notional, open_interest, custom_ppm)
    assert maintenance_margin_of_notional(tier, notional) <= maintenance_margin_of_notional(higher, notional)


@pytest.mark.criterion("DYDX-12")
@deterministic
@given(tiers(), st.lists(amounts, min_size=1, max_size=6), st.integers(0, 2 * 10**16))
def test_dividing_a_notional_never_lowers_the_requirement(tier, parts, open_interest):
    whole = initial_margin_of_notional(tier, sum(parts), open_interest)
    assert sum(initial_margin_of_notional(tier, part, open_interest) for part in parts) >= whole
    kept = maintenance_margin_of_notional(tier, sum(parts))
    assert sum(maintenance_margin_of_notional(tier, part) for part in parts) >= kept


@pytest.mark.criterion("DYDX-12")
@deterministic
@given(perpetuals(), st.lists(amounts, min_size=1, max_size=6), st.sampled_from([1, -1]))
def test_dividing_a_position_loses_at_most_the_truncation_of_its_notional(perpetual, parts, side):
    whole = margin_requirements(perpetual, side * sum(parts))
    divided = [margin_requirements(perpetual, side * part) for part in parts]
    power = perpetual.atomic_resolution + perpetual.price_exponent + 6
    truncates = power < 0 and perpetual.price % 10**-power != 0
    slack = len(parts) - 1 if truncates else 0
    assert sum(part.initial for part in divided) >= whole.initial - slack
    assert sum(part.maintenance for part in divided) >= whole.maintenance - slack


@pytest.mark.criterion("DYDX-12")
def test_dust_escapes_by_the_rule_of_the_venue():
    perpetual = Perpetual(-6, 7, -1, LiquidityTier(PPM, PPM))
    assert margin_requirements(perpetual, 2) == Requirements(1, 1)
    assert margin_requirements(perpetual, 1) == Requirements(0, 0)


@pytest.mark.criterion("DYDX-13")
@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: LiquidityTier(PPM + 1, 0), "initial_margin_ppm"),
        (lambda: LiquidityTier(-1, 0), "initial_margin_ppm"),
        (lambda: LiquidityTier(0.05, 0), "initial_margin_ppm"),
        (lambda: LiquidityTier(0, PPM + 1), "maintenance_fraction_ppm"),
        (lambda: LiquidityTier(0, True), "maintenance_fraction_ppm"),
        (lambda: LiquidityTier(0, 0, -1, 0), "open_interest_lower_cap"),
        (lambda: LiquidityTier(0, 0, 2, 1), "open_interest_lower_cap"),
        (lambda: LiquidityTier(0, 0, 0, UINT64_MAX + 1), "open_interest_upper_cap"),
        (lambda: Perpetual(-65, 1, 0, TIER_A), "atomic_resolution"),
        (lambda: Perpetual(0, -1, 0, TIER_A), "price"),
        (lambda: Perpetual(0, UINT64_MAX + 1, 0, TIER_A), "price"),
        (lambda: Perpetual(0, 1.0, 0, TIER_A), "price"),
        (lambda: Perpetual(0, 1, 65, TIER_A), "price_exponent"),
        (lambda: Perpetual(0, 1, 0, TIER_A, -1), "open_interest_quantums"),
        (lambda: Risk(0, 1, 2), "maintenance"),
        (lambda: Risk(0, -1, 0), "initial"),
        (lambda: notional_quote_quantums(PERPETUAL_A, 1.0), "quantums"),
        (lambda: notional_quote_quantums(PERPETUAL_A, "1"), "quantums"),
        (lambda: scaled_initial_margin_ppm(TIER_A, -1), "open_interest_notional"),
        (lambda: initial_margin_of_notional(TIER_A, 1, 0, PPM + 1), "custom_initial_margin_ppm"),
        (lambda: margin_requirements(PERPETUAL_A, 1, -1), "open_interest_quantums"),
        (lambda: account_risk(0.5, {}, {}), "quote_balance"),
        (lambda: account_risk(0, {"C": 1}, PERPETUALS), "positions"),
        (lambda: is_liquidatable(0, -1), "maintenance"),
    ],
)
def test_what_is_not_a_number_of_the_venue_is_refused_by_name(make, field):
    with pytest.raises(InputError) as refusal:
        make()
    assert refusal.value.field == field
