"""Markets, models and portfolios for the tests of the margin room, and strategies that draw from them."""

import functools
import math

import msgspec
import numpy as np
from hypothesis import strategies as st

from holdfast.domain.instruments import Kind, entry_cost
from holdfast.domain.market import SVI, Expiry, Market, Price, Underlying
from holdfast.domain.names import parse_instrument
from holdfast.domain.parameters import (
    BasisContingency,
    Charge,
    Collateral,
    ConfidenceRule,
    DepegRule,
    FutureRates,
    HaircutTier,
    Measure,
    OpenInterestScale,
    OptionRates,
    PortfolioParameters,
    Scenario,
    SkewRange,
    StandardParameters,
    StaticDiscounts,
    TailParameters,
    VolatilityRange,
    VolatilityShock,
)
from holdfast.domain.portfolio import Order, Portfolio, Position
from holdfast.margin import presets

NOW = 1_767_225_600_000_000_000
"""2026-01-01T00:00Z."""
YEAR = 365 * 86_400 * 10**9

EXPIRING = "1JAN26T000000"
"""Expires at the instant of the market."""
SETTLING = "1JAN26T001000"
"""Expires in ten minutes, within a settlement window of half an hour."""
NEAR, FAR = "9JAN26", "26JUN26"

BITCOIN_STRIKES = (40_000, 50_000, 65_000)
ETHER_STRIKES = (1_800, 2_000, 2_600)


def instrument(name):
    return parse_instrument(name)


def _options(heads, expiries, strikes):
    return [f"{h}-{e}-{k}-{t}" for h in heads for e in expiries for k in strikes for t in "CP"]


NAMES = (
    "BTC-PERPETUAL",
    "BTC_USDC-PERPETUAL",
    f"BTC-{FAR}",
    f"BTC_USDC-{NEAR}",
    *_options(("BTC", "BTC_USDC"), (NEAR, FAR), BITCOIN_STRIKES),
    f"BTC-{SETTLING}-50000-C",
    f"BTC_USDC-{SETTLING}-50000-P",
    f"BTC-{EXPIRING}-40000-C",
    f"BTC_USDC-{EXPIRING}-65000-P",
    "ETH-PERPETUAL",
    "ETH_USDC-PERPETUAL",
    f"ETH-{NEAR}",
    *_options(("ETH",), (NEAR,), ETHER_STRIKES),
    *_options(("ETH_USDC",), (FAR,), ETHER_STRIKES),
)
INSTRUMENTS = tuple(parse_instrument(n) for n in NAMES)
PERPETUAL_NAMES = tuple(n for n in NAMES if n.endswith("PERPETUAL"))


def market(*, peg=1.0, numeraire="USD", confidence=1.0, near_confidence=1.0):
    """Two coins with everything quoted; smiles for the far expiry, volatilities for the others."""
    at = {e: parse_instrument(f"BTC-{e}-50000-C").expiry for e in (EXPIRING, SETTLING, NEAR, FAR)}
    bitcoin = Underlying(
        Price(50_000.0, confidence),
        marks={
            "BTC-PERPETUAL": Price(50_100.0, 0.9),
            "BTC_USDC-PERPETUAL": Price(49_900.0, 0.95),
            f"BTC-{FAR}": Price(52_300.0),
        },
        expiries={
            at[EXPIRING]: Expiry(50_010.0, 0.02),
            at[SETTLING]: Expiry(50_020.0, 0.02, settled_fraction=0.1),
            at[NEAR]: Expiry(50_200.0, 0.04, near_confidence, 0.97, near_confidence),
            at[FAR]: Expiry(52_000.0, 0.05, svi=SVI(0.02, 0.12, -0.2, 0.01, 0.2, 0.48)),
        },
        volatilities={n: 0.6 for n in NAMES if n.startswith("BTC") and (SETTLING in n or EXPIRING in n)}
        | {n: 0.7 if n.endswith("P") else 0.55 for n in NAMES if n.startswith("BTC") and NEAR in n and n[-1] in "CP"},
        open_interest={"BTC-PERPETUAL": 3e7, "BTC_USDC-PERPETUAL": 400.0, f"BTC-{FAR}": 1e9, f"BTC_USDC-{NEAR}": 0.0},
    )
    ether = Underlying(
        Price(2_000.0, confidence),
        marks={"ETH-PERPETUAL": Price(1_990.0), "ETH_USDC-PERPETUAL": Price(2_003.0, 0.5)},
        expiries={
            at[NEAR]: Expiry(2_010.0, 0.03),
            at[FAR]: Expiry(2_080.0, -0.01, svi=SVI(0.05, 0.2, 0.1, 0.0, 0.3, 0.5)),
        },
        volatilities={n: 0.8 for n in NAMES if n.startswith("ETH") and NEAR in n and n[-1] in "CP"},
        open_interest={"ETH-PERPETUAL": 1e6, "ETH_USDC-PERPETUAL": 0.0, f"ETH-{NEAR}": 0.0},
    )
    return Market(NOW, {"BTC": bitcoin, "ETH": ether}, {"USDC": Price(peg, 0.99)}, numeraire)


COINS = {
    "BTC": Collateral((HaircutTier(0.0, 0.02, 0.01), HaircutTier(60_000.0, 0.1, 0.05)), 0.05, "BTC", scanned=True),
    "ETH": Collateral((HaircutTier(0.0, 0.03, 0.02),), 0.1, "ETH", scanned=True),
}
STABLE = Collateral((HaircutTier(0.0, 0.01, 0.005), HaircutTier(100_000.0, 0.03, 0.02)), 0.02)
CONFIDENCE = ConfidenceRule(0.92, 0.96, 0.98, 0.3)
DEPEG = DepegRule("USDC", 0.98, 2.0)


def moves(count=300, seed=7):
    """Joint moves of both coins, correlated, deterministic."""
    generator = np.random.default_rng(seed)
    common = generator.standard_t(4, count) * 0.03
    bitcoin = np.clip(common + generator.standard_normal(count) * 0.01, -0.9, 3.0)
    ether = np.clip(1.3 * common + generator.standard_normal(count) * 0.02, -0.9, 3.0)
    return {"BTC": tuple(bitcoin.tolist()), "ETH": tuple(ether.tolist())}


def grid(count):
    """`count` different scenarios with all shocks of volatility."""
    shocks = list(VolatilityShock)
    return tuple(
        Scenario(
            1.0 if shocks[s % 5].is_skew else round(0.7 + 0.6 * ((s * 7) % count) / count, 6),
            shocks[s % 5],
            1.0 if s % 6 else 0.4,
        )
        for s in range(count)
    )


SKEW = SkewRange(0.15, -0.05, 0.12, 0.03, 0.01, 4.0, 0.6, -0.1)


def busy_portfolio(count=33):
    """A scan that uses every part of the portfolio model."""
    return PortfolioParameters(
        name="busy",
        scenarios=grid(count),
        volatility=VolatilityRange(0.4, 0.35, 0.3, 0.13, 1.0, 0.45),
        skew=SKEW,
        discounts=StaticDiscounts(0.95, 1.04, 1.0, 0.08, 0.5, 0.08),
        basis=BasisContingency(1.2, 0.85, 0.6, 1.5, futures=True),
        charges=(
            Charge("perpetual", Measure.GROSS, 0.02, 0.015, 1e-4, 5e-5),
            Charge("perpetual", Measure.OFFSET, 0.01, 0.005),
            Charge("perpetual", Measure.OFFSET, 0.002, 0.001),
            Charge("future", Measure.OFFSET, 0.01, 0.005),
            Charge("future", Measure.SHORT, 0.004, 0.002),
            Charge("option", Measure.SHORT, 0.001, 0.0005),
            Charge("option", Measure.NET_SHORT_PER_STRIKE, 0.006, 0.004),
            Charge("option", Measure.NET_SHORT_PER_EXPIRY, 0.003, 0.002),
        ),
        initial_factor=1.2,
        maintenance_factor=0.9,
        discounting=True,
        settlement_window_seconds=1800.0,
        confidence=CONFIDENCE,
        depeg=DEPEG,
        collateral=COINS | {"USD": STABLE, "USDC": STABLE},
    )


def busy_standard():
    """Every part of the standard model."""
    return StandardParameters(
        name="busy-standard",
        futures={
            "BTC": FutureRates(0.05, 0.03, 5e-5, 4e-5, "index", OpenInterestScale(1e7, 4e7)),
            "*": FutureRates(0.10, 0.06, open_interest=OpenInterestScale(100.0, 1e9)),
        },
        options={
            "*": OptionRates(
                0.15, 0.1, 0.075, 0.08, 0.3, 1.05, maximum_loss=True, unpaired_initial=1.2, unpaired_maintenance=1.1
            )
        },
        charges=(
            Charge("option", Measure.NET_SHORT_PER_STRIKE, 0.002, 0.001),
            Charge("future", Measure.OFFSET, 0.01, 0.005),
            Charge("perpetual", Measure.OFFSET, 0.01, 0.005),
        ),
        confidence=msgspec.structs.replace(CONFIDENCE, options_short_only=True, collateral_own=False),
        depeg=DEPEG,
        collateral={
            "BTC": Collateral(
                (HaircutTier(0.0, 0.2, 0.15), HaircutTier(50_000.0, 0.35, 0.25)), 0.1, "BTC", credit_in_dollars=True
            ),
            "USDC": STABLE,
            "*": Collateral((HaircutTier(0.0, 0.5, 0.4),)),
        },
    )


def busy_tail():
    """The tail model with charges, tiers and partial credit for offsets."""
    return TailParameters(
        name="busy-tail",
        confidence_level=0.983,
        moves=moves(),
        volatility_response=2.0,
        offset_cap=0.7,
        initial_factor=1.3,
        maintenance_factor=1.1,
        charges=(
            Charge("perpetual", Measure.GROSS, 0.015, 0.01),
            Charge("option", Measure.NET_SHORT_PER_EXPIRY, 0.008, 0.005),
        ),
        confidence=CONFIDENCE,
        collateral=COINS | {"USD": STABLE, "USDC": STABLE},
    )


@functools.cache
def models():
    """Every model that the properties run over, by name."""
    return {
        "standard": presets.standard(),
        "portfolio": presets.portfolio(),
        "tail": presets.tail(moves()),
        "derive-standard": presets.derive_standard(),
        "derive-portfolio": presets.derive_portfolio(),
        "deribit-standard": presets.deribit_standard(),
        "deribit-portfolio": presets.deribit_portfolio(),
        "busy-portfolio": busy_portfolio(),
        "busy-standard": busy_standard(),
        "busy-tail": busy_tail(),
    }


def plain(parameters):
    """The model without what is not homogeneous: slopes and tiers."""
    changes = {
        "collateral": {n: msgspec.structs.replace(c, tiers=c.tiers[:1]) for n, c in parameters.collateral.items()},
        "charges": tuple(
            msgspec.structs.replace(c, initial_slope=0.0, maintenance_slope=0.0) for c in parameters.charges
        ),
    }
    if isinstance(parameters, StandardParameters):
        changes["futures"] = {
            u: msgspec.structs.replace(r, initial_slope=0.0, maintenance_slope=0.0)
            for u, r in parameters.futures.items()
        }
    return msgspec.structs.replace(parameters, **changes)


MARKETS = {
    "calm": market(),
    "off its peg": market(peg=0.9, numeraire="USDC", confidence=0.9, near_confidence=0.5),
    "above its peg": market(peg=1.03, confidence=0.95),
}
CALM = MARKETS["calm"]

eighths = st.integers(-80, 80).map(lambda n: n / 8.0)
"""Sizes that floats hold exactly, so that adding and splitting them is exact."""


def quantities(of):
    if of.inverse and of.kind is not Kind.OPTION:
        return st.integers(-400, 400).map(lambda n: n * (1_000.0 if of.underlying == "BTC" else 100.0))
    return eighths if of.underlying == "BTC" else eighths.map(lambda q: 8.0 * q)


def mark_in_asset(of, at):
    """The mark: quote currency for perpetuals and futures; a rough premium, in the settlement asset, for options."""
    if of.kind is not Kind.OPTION:
        return at.mark(of).price
    forward = at.expiry_of(of).forward
    root = math.sqrt(max(0.0, at.years_to_expiry(of)))
    premium = max(0.0, (1.0 if of.is_call else -1.0) * (forward - of.strike)) + 0.25 * forward * root
    return premium / forward if of.inverse else premium


@st.composite
def positions(draw, of, at=CALM):
    quantity = draw(quantities(of))
    entry = mark_in_asset(of, at) * draw(st.sampled_from([0.8, 1.0, 1.0, 1.25]))
    return Position(of, quantity, entry_cost(of, quantity, entry))


balances = st.fixed_dictionaries(
    {},
    optional={
        "USDC": st.integers(-200_000, 400_000).map(float),
        "BTC": st.integers(-16, 40).map(lambda n: n / 8.0),
        "ETH": st.integers(-100, 200).map(float),
        "USD": st.integers(-50_000, 100_000).map(float),
    },
)


@st.composite
def portfolios(draw, names=INSTRUMENTS, most=7, with_balances=balances):
    held = draw(st.lists(st.sampled_from(names), max_size=most, unique=True))
    return Portfolio(draw(with_balances), tuple(draw(positions(i)) for i in held))


@st.composite
def orders(draw, names=INSTRUMENTS, most=6, least=1):
    """Orders on few lines, so that several meet; limits on both sides of the mark."""
    lines = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    result = []
    for _ in range(draw(st.integers(least, most))):
        of = draw(st.sampled_from(lines))
        limit = mark_in_asset(of, CALM) * draw(st.sampled_from([0.5, 0.9, 0.99, 1.0, 1.01, 1.1, 1.6]))
        result.append(Order(of, draw(quantities(of)), max(limit, 0.0 if of.kind is Kind.OPTION else 1.0)))
    return tuple(result)


model_names = st.sampled_from(sorted(models()))
market_names = st.sampled_from(sorted(MARKETS))


def tradable(of, parameters):
    """Whether a model knows what to do with a contract."""
    if isinstance(parameters, StandardParameters):
        rates = parameters.options if of.kind is Kind.OPTION else parameters.futures
        return of.underlying in rates or "*" in rates
    return True


def gross_value(portfolio, at):
    """Σ |quantity| × notional at the index, and |balances|: what a relative rounding is relative to."""
    total = 1.0
    for p in (*portfolio.positions, *portfolio.orders):
        of = p.instrument
        unit = 1.0 if of.inverse and of.kind is not Kind.OPTION else at.underlying(of.underlying).index.price
        total += abs(p.quantity) * unit + abs(getattr(p, "cost", 0.0)) * at.asset_price(of.settlement).price
    return total + sum(abs(b) * at.asset_price(a).price for a, b in portfolio.balances.items())
