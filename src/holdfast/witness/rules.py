"""Parameters of the three models and the rules of a venue, as the log's commands carry them.

What lives here: fields and defaults (docs/reference/parameters.md, specs/definitions.md). What may not: formulas, and
checks of parameters: the log takes none that are refused. Fields that no margin hangs on are read past.
"""

from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from holdfast.domain.errors import InputError


class OpenInterestScale(Struct, frozen=True):
    """Rise of the initial rate with open interest."""

    lower: float
    upper: float


class FutureRates(Struct, frozen=True):
    """Rates of a perpetual or future in the standard model; slopes per coin."""

    initial: float
    maintenance: float
    initial_slope: float = 0.0
    maintenance_slope: float = 0.0
    notional: str = "mark"
    open_interest: OpenInterestScale | None = None


class OptionRates(Struct, frozen=True):
    """Rates of short options in the standard model, fractions of the index."""

    initial_maximum: float
    initial_minimum: float
    call_maintenance: float
    put_maintenance: float
    put_maintenance_of_mark: float
    put_initial_over_maintenance: float = 1.0
    maximum_loss: bool = False
    unpaired_initial: float = 0.0
    unpaired_maintenance: float = 0.0


class Tier(Struct, frozen=True):
    """A haircut on the part of a balance above a threshold in the numeraire."""

    above: float
    initial: float
    maintenance: float


class Collateral(Struct, frozen=True):
    """How an asset counts."""

    tiers: tuple[Tier, ...] = ()
    liability: float = 0.0
    underlying: str | None = None
    scanned: bool = False
    credit_in_dollars: bool = False


class Charge(Struct, frozen=True):
    """A contingency charge."""

    applies_to: str
    measure: str
    initial: float
    maintenance: float
    initial_slope: float = 0.0
    maintenance_slope: float = 0.0


class Depeg(Struct, frozen=True):
    """What a stable asset below its peg costs."""

    asset: str
    threshold: float
    factor: float


class Shared(Struct, frozen=True, kw_only=True):
    """What the three models share."""

    name: str = ""
    collateral: dict[str, Collateral] = {}
    charges: tuple[Charge, ...] = ()
    depeg: Depeg | None = None

    def collateral_of(self, asset: str) -> Collateral | None:
        """The rule of an asset, none where no rule names it."""
        return self.collateral.get(asset, self.collateral.get("*"))


class Standard(Shared, frozen=True, kw_only=True, tag="standard"):
    """Per-position formulas."""

    futures: dict[str, FutureRates]
    options: dict[str, OptionRates]


class Scenario(Struct, frozen=True):
    """One point of a scan."""

    price: float
    volatility: str = "none"
    weight: float = 1.0

    @property
    def is_skew(self) -> bool:
        """Whether it twists the surface."""
        return self.volatility.startswith("skew")


class VolatilityRange(Struct, frozen=True):
    """Sizes of the volatility shocks."""

    up: float
    down: float
    short_power: float
    long_power: float
    days_floor: float = 0.0
    minimum_up: float = 0.0


class SkewRange(Struct, frozen=True):
    """Sizes of the twists."""

    linear_cap: float
    linear_cap_per_root_year: float
    absolute_cap: float
    absolute_cap_per_root_year: float
    minimum_width: float
    width_scale: float
    width_static: float
    width_per_root_year: float


class StaticDiscounts(Struct, frozen=True):
    """Discounts on an expiry's options by the sign of their value."""

    long: float
    short: float
    long_rate_factor: float
    long_rate_add: float
    short_rate_factor: float
    short_rate_add: float


class Basis(Struct, frozen=True):
    """The second reduction."""

    price_up: float
    price_down: float
    add: float
    per_year: float
    futures: bool = False


class Portfolio(Shared, frozen=True, kw_only=True, tag="portfolio"):
    """A scan of scenarios per underlying."""

    scenarios: tuple[Scenario, ...]
    volatility: VolatilityRange
    skew: SkewRange | None = None
    discounts: StaticDiscounts | None = None
    basis: Basis | None = None
    initial_factor: float = 1.0
    maintenance_factor: float = 1.0
    settlement_window_seconds: float = 0.0


class Tail(Shared, frozen=True, kw_only=True, tag="tail"):
    """Expected shortfall over joint historical moves."""

    confidence_level: float
    moves: dict[str, tuple[float, ...]]
    volatility_response: float = 0.0
    offset_cap: float = 0.8
    initial_factor: float = 1.0
    maintenance_factor: float = 0.8


Parameters: TypeAlias = Standard | Portfolio | Tail


class Rules(Struct, frozen=True):
    """How quotes become prices and clocks become time (DEF-11); ns and millionths."""

    age_maximum: int = 60 * 10**9
    ahead_maximum: int = 5 * 10**9
    sources_minimum: int = 1
    outlier_ppm: int = 50_000
    mark_interval: int = 10**9
    mark_threshold_ppm: int = 5_000
    step_maximum: int = 10 * 10**9
    live_ticks: int = 8
    checkpoint_frames: int = 256
    witness_shortfall_ppm: int = 100_000
    breach_checkpoints: int = 0
    tolerance_micros: int = 10_000
    tolerance_ppb: int = 1_000

    def tolerance(self, maintenance: float) -> float:
        """The tolerance t of QRM-19, numeraire, for the first engine's maintenance margin."""
        return self.tolerance_micros / 10**6 + (self.tolerance_ppb / 10**9) * max(maintenance, 0.0)


def read_parameters(fields: dict[str, Any]) -> Parameters:
    """The parameters of a model from the fields that a command carries.

    Raises:
        InputError: code "malformed": they are of none of the three models.
    """
    try:
        found: Parameters = msgspec.convert(fields, Parameters)
        return found
    except msgspec.ValidationError as error:
        raise InputError("malformed", "parameters", None, "write them as the reference says", str(error)) from None


def read_rules(fields: dict[str, Any]) -> Rules:
    """The rules that a `set-rules` carries."""
    return msgspec.convert({name: value for name, value in fields.items() if name != "type"}, Rules)
