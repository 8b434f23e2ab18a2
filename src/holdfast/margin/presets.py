"""Parameter sets that ship: Holdfast's own models, and venues' published rules.

A preset is data. Every number says where it comes from; [M] marks those from memory or chosen by us because the venue
publishes no number, to be checked against the venue before relying on them. Venue presets have no guard rails of their
own: they reproduce, right or wrong, what the venue does. Pages that derive the models: docs/explanation/.
"""

from collections.abc import Callable, Mapping

import msgspec

from holdfast.domain.errors import InputError
from holdfast.domain.parameters import (
    AnyParameters,
    BasisContingency,
    Charge,
    Collateral,
    ConfidenceRule,
    DepegRule,
    FutureRates,
    GuardRails,
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

EMIR = GuardRails(
    regime="EMIR RTS 153/2013",
    confidence=0.99,  # art. 24, other than OTC
    offset_cap=0.80,  # art. 27
    minimum_factor=0.8,  # ours: floor of the maintenance factor of a scan
    minimum_rate=0.03,  # ours: floor of the maintenance rate of a perpetual
    minimum_scan=0.10,  # ours: floor of the scan's width
    minimum_scenarios=250,  # art. 25: at least twelve months of days
)
"""Floors under Holdfast's own models: the articles of RTS 153/2013 where it has a number, ours where it has none."""

DOLLAR = Collateral()
STABLE = Collateral(tiers=(HaircutTier(0.0, 0.02, 0.01), HaircutTier(10e6, 0.05, 0.03)))
"""Our haircut on dollar tokens: 2 % and 1 %, more above ten million."""


def _coins(scanned: bool, tiers: tuple[HaircutTier, ...] = ()) -> dict[str, Collateral]:  # noqa: FBT001
    """Coins that move with their own underlying."""
    return {
        coin: Collateral(tiers=tiers, underlying=coin if scanned else None, scanned=scanned)
        for coin in ("BTC", "ETH", "SOL")
    }


def _grid(moves: tuple[float, ...], *, tails: Mapping[float, float], ends_up_only: bool) -> tuple[Scenario, ...]:
    """A scan of price moves × volatility up, none, down; tails and, if said, both ends with volatility up only."""
    scenarios = []
    for move in moves:
        outermost = abs(move) == max(abs(m) for m in moves)
        shocks = [VolatilityShock.UP] if ends_up_only and outermost else list(VolatilityShock)[:3]
        scenarios += [Scenario(1.0 + move, shock) for shock in shocks]
    return (*scenarios, *(Scenario(price, VolatilityShock.UP, weight) for price, weight in tails.items()))


def standard() -> StandardParameters:
    """Holdfast's own standard model: rates twice the venues' usual minimum, maximum loss per expiry."""
    return StandardParameters(
        name="standard",
        futures={
            "BTC": FutureRates(0.05, 0.03, 0.00005, 0.00005),
            "ETH": FutureRates(0.05, 0.03, 0.000004, 0.000004),
            "*": FutureRates(0.10, 0.06),
        },
        options={
            "*": OptionRates(
                0.20, 0.12, 0.10, 0.10, 0.10, 1.05, maximum_loss=True, unpaired_initial=1.2, unpaired_maintenance=1.1
            )
        },
        collateral={"USD": DOLLAR, "USDC": STABLE, "USDT": STABLE}
        | _coins(scanned=False, tiers=(HaircutTier(0.0, 0.20, 0.15), HaircutTier(5e6, 0.35, 0.25))),
        confidence=ConfidenceRule(0.6, 0.6, 0.6, 0.5, options_short_only=True),
        depeg=DepegRule("USDC", 0.98, 2.0),
        rails=EMIR,
    )


def portfolio() -> PortfolioParameters:
    """Holdfast's own scenario scan: ±20 % in nine steps by three volatilities, tails, skew twists, basis."""
    return PortfolioParameters(
        name="portfolio",
        scenarios=(
            *_grid((0.20, 0.15, 0.10, 0.05, 0.0, -0.05, -0.10, -0.15, -0.20), tails={}, ends_up_only=False),
            Scenario(0.5, VolatilityShock.UP, 0.35),
            Scenario(1.5, VolatilityShock.UP, 0.35),
            Scenario(2.0, VolatilityShock.UP, 0.18),
            Scenario(1.0, VolatilityShock.SKEW_LINEAR),
            Scenario(1.0, VolatilityShock.SKEW_ABSOLUTE),
        ),
        volatility=VolatilityRange(up=0.5, down=0.3, short_power=0.3, long_power=0.13, days_floor=1.0, minimum_up=0.45),
        skew=SkewRange(0.15, -0.05, 0.15, -0.05, 0.01, 4.0, 0.6, -0.1),
        discounts=StaticDiscounts(0.98, 1.02, 1.0, 0.02, 0.5, 0.02),
        basis=BasisContingency(price_up=1.05, price_down=0.95, add=0.5, per_year=1.0, futures=True),
        charges=(
            Charge("perpetual", Measure.GROSS, 0.02, 0.015),
            Charge("future", Measure.GROSS, 0.02, 0.015),
            Charge("option", Measure.NET_SHORT_PER_STRIKE, 0.006, 0.004),
        ),
        initial_factor=1.2,
        maintenance_factor=0.9,
        discounting=True,
        confidence=ConfidenceRule(0.6, 0.6, 0.6, 0.5),
        depeg=DepegRule("USDC", 0.98, 2.0),
        collateral={"USD": DOLLAR, "USDC": STABLE, "USDT": STABLE}
        | _coins(scanned=True, tiers=(HaircutTier(0.0, 0.02, 0.01), HaircutTier(20e6, 0.10, 0.05))),
        settlement_window_seconds=1800.0,
        rails=EMIR,
    )


def tail(
    moves: Mapping[str, tuple[float, ...]], *, provenance: str = "", labels: tuple[str, ...] = ()
) -> TailParameters:
    """Holdfast's own tail model on historical moves (`history` makes them from prices).

    Args:
        moves: Relative price moves per underlying, one per joint scenario.
        provenance: Where the prices came from.
        labels: What each scenario was; none, or one per scenario.
    """
    return TailParameters(
        name="tail",
        confidence_level=0.99,
        moves=dict(moves),
        volatility_response=2.0,
        offset_cap=0.8,
        initial_factor=1.25,
        maintenance_factor=1.0,
        charges=(
            Charge("perpetual", Measure.GROSS, 0.015, 0.01),
            Charge("future", Measure.GROSS, 0.015, 0.01),
            Charge("option", Measure.NET_SHORT_PER_STRIKE, 0.008, 0.005),
        ),
        collateral={"USD": DOLLAR, "USDC": STABLE, "USDT": STABLE} | _coins(scanned=True),
        provenance=provenance,
        labels=labels,
        rails=EMIR,
    )


def derive_standard() -> StandardParameters:
    """Derive's standard manager: rates of its V3 pages, options of its deployment script, base factor of its tests."""
    majors, solana, hype, small = (
        FutureRates(0.066, 0.05),
        FutureRates(0.077, 0.067),
        FutureRates(0.10, 0.08),
        FutureRates(0.15, 0.10),
    )
    loss = HaircutTier(0.0, 0.2, 0.2)
    return StandardParameters(
        name="derive-standard",
        futures={"BTC": majors, "ETH": majors, "SOL": solana, "HYPE": hype, "*": small},
        options={
            "*": OptionRates(
                0.15, 0.13, 0.09, 0.09, 0.09, 1.05, maximum_loss=True, unpaired_initial=1.2, unpaired_maintenance=1.1
            )
        },
        collateral={"USDC": DOLLAR}
        | {c: Collateral((loss,), underlying=c, credit_in_dollars=True) for c in ("BTC", "ETH")},
        confidence=ConfidenceRule(
            0.4,
            0.4,
            0.4,
            1.0,
            options_short_only=True,
            options_with_perpetual=False,
            options_with_rate=False,
            collateral_own=False,
        ),
        depeg=DepegRule("USDC", 0.98, 2.0),
    )


def derive_portfolio() -> PortfolioParameters:
    """Derive's portfolio manager 2, numbers of its deployment script (static discounts and skews of its tests)."""
    tails = {0.34: 0.21, 0.67: 0.42, 1.5: 0.2772, 2.0: 0.1386, 3.0: 0.0693, 4.0: 0.0462, 5.0: 0.03465, 6.0: 0.02772}
    return PortfolioParameters(
        name="derive-portfolio",
        scenarios=(
            *_grid((0.18, 0.135, 0.09, 0.045, 0.0, -0.045, -0.09, -0.135, -0.18), tails=tails, ends_up_only=True),
            Scenario(1.0, VolatilityShock.SKEW_LINEAR),
            Scenario(1.0, VolatilityShock.SKEW_ABSOLUTE),
        ),
        volatility=VolatilityRange(up=0.5, down=0.3, short_power=0.3, long_power=0.13, days_floor=1.0, minimum_up=0.4),
        skew=SkewRange(0.15, -0.05, 0.15, -0.05, 0.01, 4.0, 0.6, -0.1),
        discounts=StaticDiscounts(0.95, 1.04, 1.0, 0.08, 0.5, 0.08),
        basis=BasisContingency(price_up=1.045, price_down=0.955, add=0.5, per_year=2.0),
        charges=(
            Charge("perpetual", Measure.GROSS, 0.04, 0.03),
            Charge("option", Measure.NET_SHORT_PER_STRIKE, 0.005, 0.003),
        ),
        initial_factor=1.0,
        maintenance_factor=0.8,
        discounting=True,
        settlement_window_seconds=1800.0,
        confidence=ConfidenceRule(0.55, 0.55, 0.55, 1.0),
        depeg=DepegRule("USDC", 0.98, 4.0),
        collateral={"USDC": DOLLAR} | _coins(scanned=True, tiers=(HaircutTier(0.0, 0.02, 0.015),)),  # [M] haircuts
    )


def deribit_standard() -> StandardParameters:
    """Deribit's standard margin: its linear-perpetual page, its notice of 11 January 2022 (ETH), its option rule."""
    return StandardParameters(
        name="deribit-standard",
        futures={
            "BTC": FutureRates(0.02, 0.01, 0.00005, 0.00005, notional="index"),
            "ETH": FutureRates(0.02, 0.01, 0.000004, 0.000004, notional="index"),
            "SOL": FutureRates(0.04, 0.02, 0.000005, 0.000005, notional="index"),
        },
        options={"*": OptionRates(0.15, 0.10, 0.075, 0.075, 0.075)},
        collateral={"USD": DOLLAR, "USDC": DOLLAR, "USDT": DOLLAR}
        | {coin: Collateral() for coin in ("BTC", "ETH", "SOL")},
    )


def deribit_portfolio() -> PortfolioParameters:
    """Deribit's segregated portfolio margin, as far as it is published.

    Published: ±16 % in nine buckets by volatility up, same and down; 38 % × (30/days)^0.30; the extended table's moves;
    1 % per net short option per strike; 1 % of offsetting futures. [M]: the extended table's damping, here such that a
    linear position loses no more than in the core scan, and the initial factor of 1.2.
    """
    extended = {1.0 + move: 0.16 / abs(move) for move in (-0.66, -0.33, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)}
    return PortfolioParameters(
        name="deribit-portfolio",
        scenarios=_grid((0.16, 0.12, 0.08, 0.04, 0.0, -0.04, -0.08, -0.12, -0.16), tails=extended, ends_up_only=False),
        volatility=VolatilityRange(up=0.38, down=0.38, short_power=0.30, long_power=0.30),
        charges=(
            Charge("option", Measure.NET_SHORT_PER_STRIKE, 0.012, 0.01),
            Charge("future", Measure.OFFSET, 0.012, 0.01),
            Charge("perpetual", Measure.OFFSET, 0.012, 0.01),
        ),
        initial_factor=1.2,
        maintenance_factor=1.0,
        settlement_window_seconds=1800.0,
        collateral={"USD": DOLLAR, "USDC": DOLLAR, "USDT": DOLLAR} | _coins(scanned=True),
    )


def dydx() -> StandardParameters:
    """The margin of dYdX v4 on the float kernel, for explanations; the venue's own integers are in `margin.dydx`.

    Tiers [M]: large caps 2 %, others 10 % rising to 100 % as open interest goes from 20 to 50 million dollars;
    maintenance 60 % and 50 % of the base initial rate.
    """
    return StandardParameters(
        name="dydx",
        futures={
            "BTC": FutureRates(0.02, 0.012, notional="mark"),
            "ETH": FutureRates(0.02, 0.012, notional="mark"),
            "*": FutureRates(0.10, 0.05, notional="mark", open_interest=OpenInterestScale(20e6, 50e6)),
        },
        options={},
        collateral={"USDC": DOLLAR},
    )


PRESETS: Mapping[str, Callable[[], AnyParameters]] = {
    "standard": standard,
    "portfolio": portfolio,
    "derive-standard": derive_standard,
    "derive-portfolio": derive_portfolio,
    "deribit-standard": deribit_standard,
    "deribit-portfolio": deribit_portfolio,
    "dydx": dydx,
}
"""By name. `tail` is not among them: it needs moves, so it is made by `tail`."""


def preset(name: str) -> AnyParameters:
    """A shipped parameter set.

    Raises:
        InputError: There is none of that name.
    """
    if name not in PRESETS:
        known = ", ".join([*PRESETS, "tail (with a price history)"])
        raise InputError("malformed", "model", name, f"use one of {known}", "is not a model")
    return PRESETS[name]()


def load_parameters(source: bytes | str) -> AnyParameters:
    """A parameter set from JSON: an object with `type` standard, portfolio or tail, and that model's fields.

    Raises:
        InputError: It is not such JSON, or a number is outside what its model or its rails allow.
    """
    try:
        return msgspec.json.decode(source, type=StandardParameters | PortfolioParameters | TailParameters)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        advice = "give a JSON object with `type` and the model's fields"
        raise InputError("malformed", "parameters", str(error), advice) from error
