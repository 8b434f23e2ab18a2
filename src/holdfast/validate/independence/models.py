"""Drawn parameters of the three models, so that no rule of a model is the same in two situations.

What lives here: draws from a seeded generator; every field that a margin of the ledger's market can hang on is used in
some draw. What may not: markets and accounts.
"""

from random import Random
from typing import Any, Literal, NamedTuple

from holdfast.domain import parameters as p

COINS = ("BTC", "ETH")
PEG = 0.99
"""Threshold of the depeg rule, dollars."""
TIER_STARTS = (10_000.0, 150_000.0)
"""Where the second haircut tier of a coin may start, numeraire."""
_KINDS: tuple[Literal["perpetual", "future", "option"], ...] = ("perpetual", "future", "option")


def drawn(random: Random) -> tuple[p.AnyParameters, ...]:
    """One model of each kind: standard, portfolio, tail."""
    return _standard(random), _portfolio(random), _tail(random)


def _tiers(random: Random, most: float) -> tuple[p.HaircutTier, ...]:
    second = random.choice(TIER_STARTS)
    first = p.HaircutTier(0.0, most / 2, most / 3)
    return (first, p.HaircutTier(second, most, most * 0.7)) if random.random() < 0.7 else (first,)


def _collateral(random: Random, *, scanned: bool) -> dict[str, p.Collateral]:
    """Coins move with themselves where the model scans; a dollar is a dollar, so that equity can be set exactly."""
    rules = {
        coin: p.Collateral(
            tiers=_tiers(random, random.uniform(0.02, 0.3)),
            liability=random.choice((0.0, 0.05)),
            underlying=coin,
            scanned=scanned,
        )
        for coin in COINS
    }
    rules["USDC"] = p.Collateral(
        tiers=_tiers(random, 0.05), liability=random.choice((0.0, 0.02)), credit_in_dollars=random.random() < 0.5
    )
    return rules | {"USD": p.Collateral()}


def _charges(random: Random) -> tuple[p.Charge, ...]:
    """Contingency charges of every measure."""
    found = []
    for kind in _KINDS:
        slopes = (random.uniform(1e-6, 2e-5), 5e-6) if kind != "option" and random.random() < 0.6 else (0.0, 0.0)
        if random.random() < 0.7:
            found.append(p.Charge(kind, p.Measure.GROSS, random.uniform(0.005, 0.02), 0.005, *slopes))
        if random.random() < 0.5:
            found.append(p.Charge(kind, p.Measure.SHORT, 0.004, random.uniform(0.001, 0.003)))
        if kind != "option" and random.random() < 0.7:
            found.append(p.Charge(kind, p.Measure.OFFSET, random.uniform(0.001, 0.02), 0.001))
    for measure in (p.Measure.NET_SHORT_PER_STRIKE, p.Measure.NET_SHORT_PER_EXPIRY):
        if random.random() < 0.7:
            found.append(p.Charge("option", measure, random.uniform(0.001, 0.02), 0.001))
    return tuple(found)


def _shared(random: Random, *, scanned: bool) -> dict[str, Any]:
    return {
        "collateral": _collateral(random, scanned=scanned),
        "charges": _charges(random),
        "depeg": p.DepegRule("USDC", PEG, random.uniform(1.0, 3.0)) if random.random() < 0.8 else None,
        "confidence": p.ConfidenceRule(0.6, 0.6, 0.6, 0.5) if random.random() < 0.5 else None,
    }


def _standard(random: Random) -> p.StandardParameters:
    futures = {
        name: p.FutureRates(
            random.uniform(0.03, 0.1),
            0.03,
            *random.choice(((0.0, 0.0), (1e-4, 5e-5))),
            notional=random.choice(("mark", "index")),
        )
        for name in ("BTC", "*")
    }
    options = p.OptionRates(
        random.uniform(0.12, 0.2),
        0.1,
        0.075,
        random.uniform(0.05, 0.09),
        random.choice((0.0, 0.5)),
        random.choice((1.0, 1.1)),
        maximum_loss=random.random() < 0.7,
        unpaired_initial=1.2,
        unpaired_maintenance=1.1,
    )
    return p.StandardParameters(
        name="standard", futures=futures, options={"*": options}, **_shared(random, scanned=False)
    )


class _Style(NamedTuple):
    """What a portfolio model is about: in a model with large moves of prices nothing else would ever bind.

    Attributes:
        moves: Least and most step of prices, fractions.
        twist: Cap of the skew scenarios, 0 for none.
        basis: Least and most factor of the basis contingency, none for no such rule.
    """

    moves: tuple[float, float]
    twist: float = 0.0
    basis: tuple[float, float] | None = None


_STYLES = (
    _Style((0.08, 0.16), twist=0.15, basis=(0.3, 0.8)),
    _Style((0.08, 0.16)),
    _Style((0.005, 0.03), twist=0.6),
    _Style((0.005, 0.03), basis=(1.5, 3.0)),
)


def _scenarios(random: Random, style: _Style) -> tuple[p.Scenario, ...]:
    shock, move = p.VolatilityShock, random.uniform(*style.moves)
    prices = (1.0 - 2 * move, 1.0 - move, 1.0, 1.0 + move, 1.0 + 2 * move)
    plain = [p.Scenario(price, turn) for price in prices for turn in (shock.UP, shock.NONE, shock.DOWN)]
    dampened = [p.Scenario(1.0 - 3 * move, shock.UP, 0.35), p.Scenario(1.0 + 6 * move, shock.UP, 0.2)]
    twists = [p.Scenario(1.0, shock.SKEW_LINEAR), p.Scenario(1.0, shock.SKEW_ABSOLUTE, 0.8)]
    return tuple(plain + dampened + (twists if style.twist else []))


def _portfolio(random: Random) -> p.PortfolioParameters:
    style, twist = random.choice(_STYLES), random.uniform(0.5, 1.0)
    factor = random.uniform(*style.basis) if style.basis else 0.0
    up = random.uniform(1.04, 1.12)
    return p.PortfolioParameters(
        name="portfolio",
        scenarios=_scenarios(random, style),
        volatility=p.VolatilityRange(
            random.uniform(0.1, 0.6), 0.3, 0.3, 0.13, random.choice((0.0, 1.0)), random.choice((0.0, 0.7))
        ),
        skew=p.SkewRange(style.twist, -0.05, twist * style.twist, -0.04, 0.01, 4.0, 0.6, -0.1) if style.twist else None,
        discounts=p.StaticDiscounts(0.97, 1.02, 1.0, 0.3, 0.5, 0.4) if random.random() < 0.6 else None,
        basis=p.BasisContingency(up, 2.0 - up, factor, 1.0, futures=random.random() < 0.5) if style.basis else None,
        initial_factor=random.uniform(1.0, 1.3),
        maintenance_factor=random.uniform(0.8, 1.0),
        discounting=random.random() < 0.5,
        settlement_window_seconds=random.choice((0.0, 1_800.0)),
        **_shared(random, scanned=True),
    )


def _tail(random: Random, count: int = 40) -> p.TailParameters:
    moves = {coin: tuple(random.gauss(0.0, 0.06) for _ in range(count)) for coin in COINS}
    if random.random() < 0.3:
        moves["BTC"] = (-1.0, *moves["BTC"][1:])
    return p.TailParameters(
        name="tail",
        moves=moves,
        confidence_level=random.choice((0.9, 0.975, 0.93)),
        volatility_response=random.choice((0.0, 2.0)),
        offset_cap=random.choice((0.0, 0.5, 1.0)),
        initial_factor=1.1,
        maintenance_factor=0.8,
        **_shared(random, scanned=True),
    )
