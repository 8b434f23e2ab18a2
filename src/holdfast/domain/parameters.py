"""Parameters of the three margin models: validated when made, versioned, and hashable to the bit.

What lives here: values only. A model is a set of these numbers, not code; `margin` compiles them, with a market, into a
risk table. What may not: formulas (they are in `margin`, derived in specs/), prices, positions.

Every set carries `GuardRails`: the floors that a regulator or a risk committee puts under it. A set below its own rails
cannot be made, so a calibration can propose numbers but never step under the floor.
"""

import enum
import hashlib
import math
from typing import Literal, TypeAlias

import msgspec

from holdfast.domain.errors import InputError

ROUNDING = 1e-9
"""Numbers of parameters this close count as equal where a bound is checked: decimals are not exact in doubles."""


def _finite(field: str, value: float, *, minimum: float = -math.inf, maximum: float = math.inf) -> None:
    if not math.isfinite(value):
        raise InputError("not-a-number", field, value, "give a finite number")
    if not minimum <= value <= maximum:
        raise InputError("out-of-range", field, value, f"give a number from {minimum:g} to {maximum:g}")


def _all_finite(record: "Parameters", path: str, *, minimum: float = -math.inf) -> None:
    """Check every float of a record."""
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if isinstance(value, float):
            _finite(f"{path}.{name}", value, minimum=minimum)


class VolatilityShock(enum.StrEnum):
    """How a scenario moves implied volatilities; the formulas are in specs/portfolio-model.md."""

    UP = "up"
    NONE = "none"
    DOWN = "down"
    SKEW_LINEAR = "skew-linear"
    SKEW_ABSOLUTE = "skew-absolute"

    @property
    def is_skew(self) -> bool:
        """Whether each expiry counts with the loss of the worse direction of the twist."""
        return self in (VolatilityShock.SKEW_LINEAR, VolatilityShock.SKEW_ABSOLUTE)


class Measure(enum.StrEnum):
    """What quantity a contingency charge is taken on; specs/charges.md."""

    GROSS = "gross"
    SHORT = "short"
    NET_SHORT_PER_STRIKE = "net-short-per-strike"
    NET_SHORT_PER_EXPIRY = "net-short-per-expiry"
    OFFSET = "offset"


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every record of parameters has: immutability, strictness and a digest."""

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON (keys sorted), in hexadecimal: equal digests are equal parameters."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


class GuardRails(Parameters, frozen=True):
    """Floors under a parameter set; the defaults impose nothing.

    Attributes:
        regime: The rule the floors come from, as text for reports.
        confidence: Least confidence of a statistical model (0.99 in EMIR RTS 153/2013 art. 24 for non-OTC contracts).
        offset_cap: Largest share of the benefit of offsets between underlyings that may be granted (0.80 in art. 27).
        minimum_factor: Least maintenance factor of a scan; with a floor above 0 the initial factor may not be below it.
        minimum_rate: Least maintenance rate on the notional of a perpetual or future.
        minimum_scan: Least price move, as a fraction, that full-weight scenarios must reach in both directions.
        minimum_scenarios: Least number of historical scenarios.
    """

    regime: str = "none"
    confidence: float = 0.0
    offset_cap: float = 1.0
    minimum_factor: float = 0.0
    minimum_rate: float = 0.0
    minimum_scan: float = 0.0
    minimum_scenarios: int = 1

    def __post_init__(self) -> None:
        _all_finite(self, "rails", minimum=0.0)


def _check_factors(rails: GuardRails, initial: float, maintenance: float) -> None:
    """Refuse scan factors that are no numbers or under the rails."""
    least = rails.minimum_factor
    _finite("maintenance_factor", maintenance, minimum=least)
    _finite("initial_factor", initial, minimum=maintenance if least > 0.0 else 0.0)


class HaircutTier(Parameters, frozen=True):
    """Loss of value on the part of a balance above a threshold.

    Attributes:
        above: Value in the numeraire from which the tier applies.
        initial: Fraction of that part that gives no initial margin credit. Venues that add an initial to a maintenance
            haircut can exceed 1, up to 2.
        maintenance: Fraction of that part that gives no maintenance margin credit.
    """

    above: float
    initial: float
    maintenance: float

    def __post_init__(self) -> None:
        _finite("haircut.above", self.above, minimum=0.0)
        _finite("haircut.initial", self.initial, minimum=0.0, maximum=2.0)
        _finite("haircut.maintenance", self.maintenance, minimum=0.0, maximum=1.0)


class Collateral(Parameters, frozen=True):
    """How one asset counts as collateral; specs/collateral.md.

    Attributes:
        tiers: Haircuts on a positive balance, thresholds ascending from 0; none means full credit.
        liability: Extra requirement per unit of value owed, when the balance is negative.
        underlying: The underlying whose index confidence also counts and, when scanned, whose moves the asset follows.
        scanned: Whether the asset moves with its underlying in the scenarios ("risk cancelling").
        credit_in_dollars: Credit is taken on the dollar value even where the numeraire is off its peg.
    """

    tiers: tuple[HaircutTier, ...] = ()
    liability: float = 0.0
    underlying: str | None = None
    scanned: bool = False
    credit_in_dollars: bool = False

    def __post_init__(self) -> None:
        _finite("collateral.liability", self.liability, minimum=0.0)
        thresholds = [tier.above for tier in self.tiers]
        if thresholds and (thresholds[0] != 0.0 or thresholds != sorted(set(thresholds))):
            raise InputError(
                "out-of-range", "collateral.tiers", thresholds, "give thresholds that start at 0 and ascend"
            )
        if self.scanned and self.underlying is None:
            raise InputError("missing-field", "collateral.underlying", None, "name the underlying it moves with")


class ConfidenceRule(Parameters, frozen=True):
    """Initial-margin charge where an oracle is unsure: (1 − confidence) × factor × notional below the threshold.

    Attributes:
        perpetual_threshold: Threshold for perpetuals and futures.
        option_threshold: Threshold for options.
        collateral_threshold: Threshold for collateral.
        factor: Multiplies the notional (at index) and the missing confidence.
        options_short_only: Options are charged on short quantities only, else on gross.
        options_with_perpetual: The perpetual's confidence also counts for options of accounts that hold one.
        options_with_rate: The interest rate's confidence also counts for options.
        collateral_own: The asset's own confidence also counts for collateral, not only the index's.
    """

    perpetual_threshold: float
    option_threshold: float
    collateral_threshold: float
    factor: float
    options_short_only: bool = False
    options_with_perpetual: bool = True
    options_with_rate: bool = True
    collateral_own: bool = True

    def __post_init__(self) -> None:
        _all_finite(self, "confidence", minimum=0.0)


class DepegRule(Parameters, frozen=True):
    """What a stable asset below its peg costs in initial margin.

    Attributes:
        asset: The asset whose dollar price is watched.
        threshold: Price below which the rule applies.
        factor: Per unit of price below the threshold: added to the scan's initial factor (portfolio model), or charged
            on the notional of short options, perpetuals and futures (standard model).
    """

    asset: str
    threshold: float
    factor: float

    def __post_init__(self) -> None:
        _all_finite(self, "depeg", minimum=0.0)


class OpenInterestScale(Parameters, frozen=True):
    """Initial rate that rises linearly to 1 as open interest, in notional, goes from `lower` to `upper`."""

    lower: float
    upper: float

    def __post_init__(self) -> None:
        _finite("open_interest.lower", self.lower, minimum=0.0)
        _finite("open_interest.upper", self.upper, minimum=0.0)
        if self.upper <= self.lower:
            raise InputError("out-of-range", "open_interest.upper", self.upper, f"make it exceed {self.lower}")

    def scaled(self, rate: float, notional: float) -> float:
        """The initial rate at an open interest: min(1, rate + share × (1 − rate)), share clamped at 0."""
        share = max(0.0, (notional - self.lower) / (self.upper - self.lower))
        return min(1.0, rate + share * (1.0 - rate))


class FutureRates(Parameters, frozen=True):
    """Margin rates of a perpetual or future in the standard model.

    Attributes:
        initial: Initial rate on notional at size 0.
        maintenance: Maintenance rate on notional at size 0.
        initial_slope: Increase of the initial rate per coin of position size.
        maintenance_slope: Increase of the maintenance rate per coin of position size.
        notional: Whether notional is taken at the mark price or at the index.
        open_interest: Rise of the initial rate with open interest, if any.
    """

    initial: float
    maintenance: float
    initial_slope: float = 0.0
    maintenance_slope: float = 0.0
    notional: Literal["mark", "index"] = "mark"
    open_interest: OpenInterestScale | None = None

    def __post_init__(self) -> None:
        for name in ("initial", "maintenance", "initial_slope", "maintenance_slope"):
            _finite(f"futures.{name}", getattr(self, name), minimum=0.0)
        if self.initial < self.maintenance or self.initial_slope < self.maintenance_slope:
            raise InputError("out-of-range", "futures.initial", self.initial, "make it at least the maintenance rate")


class OptionRates(Parameters, frozen=True):
    """Per-position rules for short options in the standard model, as fractions of the index price.

    Attributes:
        initial_maximum: Initial rate at the money, reduced by the out-of-the-money fraction.
        initial_minimum: Least initial rate.
        call_maintenance: Maintenance rate of a short call.
        put_maintenance: Maintenance rate of a short put.
        put_maintenance_of_mark: Maintenance of a short put is at least this fraction of its mark.
        put_initial_over_maintenance: Initial margin of a short put, mark included, is at least this multiple of its
            maintenance margin, mark included.
        maximum_loss: Whether an expiry needs no more than its maximum loss over all settlement prices.
        unpaired_initial: With maximum_loss: initial charge per net short call, as a fraction of the forward.
        unpaired_maintenance: The same for maintenance.
    """

    initial_maximum: float
    initial_minimum: float
    call_maintenance: float
    put_maintenance: float
    put_maintenance_of_mark: float
    put_initial_over_maintenance: float = 1.0
    maximum_loss: bool = False
    unpaired_initial: float = 0.0
    unpaired_maintenance: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if name != "maximum_loss":
                _finite(f"options.{name}", getattr(self, name), minimum=0.0)


class Charge(Parameters, frozen=True):
    """A contingency charge per unit of notional at the index; specs/charges.md.

    Attributes:
        applies_to: The kind of instrument charged.
        measure: Which quantity counts.
        initial: Rate for initial margin (all of it, not the addition to maintenance).
        maintenance: Rate for maintenance margin.
        initial_slope: With `gross`: increase of the initial rate per coin of position size.
        maintenance_slope: With `gross`: increase of the maintenance rate per coin of position size.
    """

    applies_to: Literal["perpetual", "future", "option"]
    measure: Measure
    initial: float
    maintenance: float
    initial_slope: float = 0.0
    maintenance_slope: float = 0.0

    def __post_init__(self) -> None:
        for name in ("initial", "maintenance", "initial_slope", "maintenance_slope"):
            _finite(f"charges.{name}", getattr(self, name), minimum=0.0)
        nets_options = self.measure in (Measure.NET_SHORT_PER_STRIKE, Measure.NET_SHORT_PER_EXPIRY)
        if nets_options and self.applies_to != "option":
            raise InputError("out-of-range", "charges.measure", self.measure, "net per strike or expiry is for options")
        if self.measure is Measure.OFFSET and self.applies_to == "option":
            raise InputError("out-of-range", "charges.measure", self.measure, "offset is for perpetuals and futures")
        if (self.initial_slope or self.maintenance_slope) and self.measure is not Measure.GROSS:
            raise InputError("out-of-range", "charges.initial_slope", self.initial_slope, "slopes need measure gross")


class Scenario(Parameters, frozen=True):
    """One point of the scan.

    Attributes:
        price: Multiplier on the price of the underlying (1.18 is +18 %).
        volatility: How implied volatilities move.
        weight: Fraction of the profit or loss that counts (1 for the core of the scan, less for extreme tails).
    """

    price: float
    volatility: VolatilityShock = VolatilityShock.NONE
    weight: float = 1.0

    def __post_init__(self) -> None:
        _finite("scenario.price", self.price, minimum=0.0)
        _finite("scenario.weight", self.weight, minimum=0.0)

    @property
    def label(self) -> str:
        """As a person reads it: `+18 % vol up`."""
        move = f"{(self.price - 1.0) * 100.0:+.4g} %"
        weight = "" if self.weight == 1.0 else f" × {self.weight:.4g}"
        return f"{move} {'vol ' if not self.volatility.is_skew else ''}{self.volatility}{weight}"


class VolatilityRange(Parameters, frozen=True):
    """Size of the volatility shocks by days to expiry: range × (30 / max(days, floor))^power.

    Attributes:
        up: Relative rise at 30 days.
        down: Relative fall at 30 days.
        short_power: Power up to and including 30 days.
        long_power: Power beyond.
        days_floor: Least number of days used.
        minimum_up: Least volatility after a rise.
    """

    up: float
    down: float
    short_power: float
    long_power: float
    days_floor: float = 0.0
    minimum_up: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            _finite(f"volatility_range.{name}", getattr(self, name), minimum=0.0)


class SkewRange(Parameters, frozen=True):
    """Size of the twist of the volatility surface in skew scenarios; specs/portfolio-model.md."""

    linear_cap: float
    linear_cap_per_root_year: float
    absolute_cap: float
    absolute_cap_per_root_year: float
    minimum_width: float
    width_scale: float
    width_static: float
    width_per_root_year: float

    def __post_init__(self) -> None:
        _all_finite(self, "skew")


class StaticDiscounts(Parameters, frozen=True):
    """Discounts on the value of an expiry's options by its sign; specs/portfolio-model.md."""

    long: float
    short: float
    long_rate_factor: float
    long_rate_add: float
    short_rate_factor: float
    short_rate_add: float

    def __post_init__(self) -> None:
        _all_finite(self, "discounts", minimum=0.0)


class BasisContingency(Parameters, frozen=True):
    """Second reduction: per expiry the worse of two price moves, times (add + per_year × T), summed over expiries."""

    price_up: float
    price_down: float
    add: float
    per_year: float
    futures: bool = False

    def __post_init__(self) -> None:
        _all_finite(self, "basis", minimum=0.0)


Assets: TypeAlias = dict[str, Collateral]


class ModelParameters(Parameters, frozen=True, kw_only=True):
    """What the three models share.

    Attributes:
        name: Name of the set, for people.
        version: Version of the set; a change of any number is a new version.
        collateral: How assets count, by name; `*` stands for all that are not named. An asset that neither names gets
            no credit when positive and its full value when owed.
        confidence: Charge for unsure oracles, if any.
        depeg: Charge for a stable asset off its peg, if any.
        charges: Contingency charges.
        rails: Floors that the set may not go under.
    """

    name: str
    version: int = 1
    collateral: Assets = {}
    confidence: ConfidenceRule | None = None
    depeg: DepegRule | None = None
    charges: tuple[Charge, ...] = ()
    rails: GuardRails = GuardRails()

    def collateral_of(self, asset: str) -> Collateral:
        """The rule of an asset: its own, else `*`, else no credit."""
        return self.collateral.get(asset) or self.collateral.get("*") or _NO_CREDIT


class StandardParameters(ModelParameters, frozen=True, kw_only=True, tag="standard"):
    """Per-position formulas and the maximum loss of each expiry.

    Attributes:
        futures: Rates by underlying; `*` stands for all that are not named.
        options: Rules for options by underlying; `*` stands for all that are not named.
    """

    futures: dict[str, FutureRates]
    options: dict[str, OptionRates]

    def __post_init__(self) -> None:
        for underlying, rates in self.futures.items():
            if rates.maintenance < self.rails.minimum_rate:
                raise InputError(
                    "out-of-range",
                    f"futures[{underlying}].maintenance",
                    rates.maintenance,
                    f"the rails {self.rails.regime} ask for at least {self.rails.minimum_rate}",
                )


class PortfolioParameters(ModelParameters, frozen=True, kw_only=True, tag="portfolio"):
    """A scan of scenarios per underlying, and its contingencies.

    Attributes:
        scenarios: The scan.
        volatility: Sizes of volatility shocks.
        skew: Sizes of skew twists, if the scan has them.
        discounts: Static discounts on option value, if any.
        basis: Basis contingency, if any.
        initial_factor: Multiplies the scan's loss for initial margin.
        maintenance_factor: Multiplies the scan's loss for maintenance margin.
        discounting: Whether option values are discounted at the expiry's rate (never below 0).
        settlement_window_seconds: Length of the settlement average before expiry, in which the forward becomes fixed.
    """

    scenarios: tuple[Scenario, ...]
    volatility: VolatilityRange
    skew: SkewRange | None = None
    discounts: StaticDiscounts | None = None
    basis: BasisContingency | None = None
    initial_factor: float = 1.0
    maintenance_factor: float = 1.0
    discounting: bool = False
    settlement_window_seconds: float = 0.0

    def __post_init__(self) -> None:
        if not self.scenarios:
            raise InputError("missing-field", "scenarios", (), "give at least one scenario")
        _finite("settlement_window_seconds", self.settlement_window_seconds, minimum=0.0)
        _check_factors(self.rails, self.initial_factor, self.maintenance_factor)
        if self.skew is None and any(s.volatility.is_skew for s in self.scenarios):
            raise InputError("missing-field", "skew", None, "skew scenarios need the sizes of their twists")
        reach = self.rails.minimum_scan
        core = [s.price - 1.0 for s in self.scenarios if s.weight >= 1.0]
        if reach > 0.0 and (not core or max(core) < reach - ROUNDING or min(core) > ROUNDING - reach):
            raise InputError(
                "out-of-range",
                "scenarios",
                core,
                f"the rails {self.rails.regime} ask for full-weight scenarios at least as wide as ±{reach}",
            )


class TailParameters(ModelParameters, frozen=True, kw_only=True, tag="tail"):
    """Expected shortfall over joint historical scenarios of all underlyings.

    Attributes:
        confidence_level: The level of the expected shortfall, such as 0.99.
        moves: For each underlying its relative price moves, one per scenario; index s of every list is the same
            scenario, so that correlation counts.
        volatility_response: Relative rise of implied volatility per unit of absolute price move.
        offset_cap: Share of the benefit between underlyings that is granted.
        initial_factor: Multiplies the expected shortfall for initial margin.
        maintenance_factor: Multiplies it for maintenance margin.
        provenance: Where the moves come from.
        labels: What each scenario was, such as its dates; none, or one per scenario.
    """

    confidence_level: float
    moves: dict[str, tuple[float, ...]]
    volatility_response: float = 0.0
    offset_cap: float = 0.8
    initial_factor: float = 1.0
    maintenance_factor: float = 0.8
    provenance: str = ""
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _finite("confidence_level", self.confidence_level, minimum=self.rails.confidence, maximum=1.0)
        _finite("offset_cap", self.offset_cap, minimum=0.0, maximum=self.rails.offset_cap)
        _finite("volatility_response", self.volatility_response, minimum=0.0)
        _check_factors(self.rails, self.initial_factor, self.maintenance_factor)
        counts = {name: len(moves) for name, moves in self.moves.items()}
        if len(set(counts.values())) != 1:
            raise InputError("out-of-range", "moves", counts, "give every underlying the same number of scenarios")
        if self.scenario_count < self.rails.minimum_scenarios:
            raise InputError("out-of-range", "moves", counts, f"give at least {self.rails.minimum_scenarios} scenarios")
        if self.labels and len(self.labels) != self.scenario_count:
            advice = f"give {self.scenario_count} labels, one per scenario, or none"
            raise InputError("out-of-range", "labels", len(self.labels), advice)
        if self.tail_mass < 1.0:
            raise InputError(
                "out-of-range",
                "confidence_level",
                self.confidence_level,
                f"{self.scenario_count} scenarios reach at most {1.0 - 1.0 / max(1, self.scenario_count):.6g}",
            )
        for name, moves in self.moves.items():
            for index, move in enumerate(moves):
                _finite(f"moves[{name}][{index}]", move, minimum=-1.0)

    @property
    def scenario_count(self) -> int:
        """Number of joint scenarios."""
        return len(next(iter(self.moves.values()), ()))

    @property
    def tail_mass(self) -> float:
        """How many scenarios, with a fraction, the shortfall averages over: (1 − confidence) × count.

        A product within ROUNDING of a whole number is that number: 1 − 0.9 is a little less than 0.1 in doubles.
        """
        mass = (1.0 - self.confidence_level) * self.scenario_count
        return float(round(mass)) if abs(mass - round(mass)) < ROUNDING else mass


AnyParameters: TypeAlias = StandardParameters | PortfolioParameters | TailParameters

_NO_CREDIT = Collateral(tiers=(HaircutTier(0.0, 1.0, 1.0),))
