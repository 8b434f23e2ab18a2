"""Parameter sets as exact numbers, read from the mapping of a parameter file.

What lives here: the fields that the pages give a meaning, all numbers as fractions, and the refusal of any other field:
a parameter that this engine does not know would be a silent disagreement. What may not: rules. A number may be an int,
a decimal text, a fraction, or a float, which counts as the binary number that it is (UNIT-5).
"""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, TypeVar

import msgspec

from holdfast.domain.errors import InputError

Volatility = Literal["up", "none", "down", "skew-linear", "skew-absolute"]
Kind = Literal["perpetual", "future", "option"]
Measure = Literal["gross", "short", "net-short-per-strike", "net-short-per-expiry", "offset"]
OTHERS = "*"


class _Fields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Tier(_Fields, frozen=True):
    """Loss of value on the part of a balance above `above` (COL-2)."""

    above: Fraction
    initial: Fraction
    maintenance: Fraction


class Collateral(_Fields, frozen=True):
    """How one asset counts."""

    tiers: tuple[Tier, ...] = ()
    liability: Fraction = Fraction(0)
    underlying: str | None = None
    scanned: bool = False
    credit_in_dollars: bool = False


class Charge(_Fields, frozen=True):
    """A charge per unit of notional at the index (CHG-2 … CHG-6)."""

    applies_to: Kind
    measure: Measure
    initial: Fraction
    maintenance: Fraction
    initial_slope: Fraction = Fraction(0)
    maintenance_slope: Fraction = Fraction(0)


class ConfidenceRule(_Fields, frozen=True):
    """Charge for unsure oracles (CHG-8)."""

    perpetual_threshold: Fraction
    option_threshold: Fraction
    collateral_threshold: Fraction
    factor: Fraction
    options_short_only: bool = False
    options_with_perpetual: bool = True
    options_with_rate: bool = True
    collateral_own: bool = True


class DepegRule(_Fields, frozen=True):
    """What a stable asset below its peg costs (CHG-11)."""

    asset: str
    threshold: Fraction
    factor: Fraction


class Model(_Fields, frozen=True, tag_field="type"):
    """What the three models share."""

    name: str
    version: int = 1
    collateral: dict[str, Collateral] = {}
    confidence: ConfidenceRule | None = None
    depeg: DepegRule | None = None
    charges: tuple[Charge, ...] = ()
    rails: dict[str, Any] = {}

    def rule(self, asset: str) -> Collateral | None:
        """The collateral rule of an asset, None where nothing names it."""
        return self.collateral.get(asset, self.collateral.get(OTHERS))


class OpenInterestScale(_Fields, frozen=True):
    """Bounds between which the initial rate rises to 1 (STD-2)."""

    lower: Fraction
    upper: Fraction


class FutureRates(_Fields, frozen=True):
    """Rates of perpetuals and futures in the standard model (STD-1)."""

    initial: Fraction
    maintenance: Fraction
    initial_slope: Fraction = Fraction(0)
    maintenance_slope: Fraction = Fraction(0)
    notional: Literal["mark", "index"] = "mark"
    open_interest: OpenInterestScale | None = None


class OptionRates(_Fields, frozen=True):
    """Rules for short options in the standard model (STD-4 … STD-8)."""

    initial_maximum: Fraction
    initial_minimum: Fraction
    call_maintenance: Fraction
    put_maintenance: Fraction
    put_maintenance_of_mark: Fraction
    put_initial_over_maintenance: Fraction = Fraction(1)
    maximum_loss: bool = False
    unpaired_initial: Fraction = Fraction(0)
    unpaired_maintenance: Fraction = Fraction(0)


class StandardModel(Model, frozen=True, tag="standard", kw_only=True):
    """Per-position formulas and the maximum loss of each expiry."""

    futures: dict[str, FutureRates]
    options: dict[str, OptionRates]


class Scenario(_Fields, frozen=True):
    """One point of the scan (PM-1)."""

    price: Fraction
    volatility: Volatility = "none"
    weight: Fraction = Fraction(1)


class VolatilityRange(_Fields, frozen=True):
    """Size of the volatility shocks (PM-3)."""

    up: Fraction
    down: Fraction
    short_power: Fraction
    long_power: Fraction
    days_floor: Fraction = Fraction(0)
    minimum_up: Fraction = Fraction(0)


class SkewRange(_Fields, frozen=True):
    """Size of the twists (PM-4)."""

    linear_cap: Fraction
    linear_cap_per_root_year: Fraction
    absolute_cap: Fraction
    absolute_cap_per_root_year: Fraction
    minimum_width: Fraction
    width_scale: Fraction
    width_static: Fraction
    width_per_root_year: Fraction


class StaticDiscounts(_Fields, frozen=True):
    """Discounts on an expiry's value by its sign (PM-7)."""

    long: Fraction
    short: Fraction
    long_rate_factor: Fraction
    long_rate_add: Fraction
    short_rate_factor: Fraction
    short_rate_add: Fraction


class BasisContingency(_Fields, frozen=True):
    """The second reduction (PM-8)."""

    price_up: Fraction
    price_down: Fraction
    add: Fraction
    per_year: Fraction
    futures: bool = False


class PortfolioModel(Model, frozen=True, tag="portfolio", kw_only=True):
    """A scan of scenarios per underlying."""

    scenarios: tuple[Scenario, ...]
    volatility: VolatilityRange
    skew: SkewRange | None = None
    discounts: StaticDiscounts | None = None
    basis: BasisContingency | None = None
    initial_factor: Fraction = Fraction(1)
    maintenance_factor: Fraction = Fraction(1)
    discounting: bool = False
    settlement_window_seconds: Fraction = Fraction(0)


class TailModel(Model, frozen=True, tag="tail", kw_only=True):
    """Expected shortfall over joint moves (TAIL-1 … TAIL-4)."""

    confidence_level: Fraction
    moves: dict[str, tuple[Fraction, ...]]
    volatility_response: Fraction = Fraction(0)
    offset_cap: Fraction = Fraction(4, 5)
    initial_factor: Fraction = Fraction(1)
    maintenance_factor: Fraction = Fraction(4, 5)
    labels: tuple[str, ...] | None = ()
    provenance: str = ""


Rule = TypeVar("Rule")


def rule_for(rules: Mapping[str, Rule], underlying: str, field: str) -> Rule:
    """The rule of an underlying, else that of `*`.

    Raises:
        InputError: `missing-field`, neither is there.
    """
    if underlying not in rules and OTHERS not in rules:
        raise InputError("missing-field", f"parameters.{field}[{underlying}]", None, "give a rule for it or for *")
    return rules[underlying if underlying in rules else OTHERS]


AnyModel = StandardModel | PortfolioModel | TailModel


def exact(value: object, field: str) -> Fraction:
    """A number as a fraction, nothing rounded.

    Args:
        value: An int, a decimal text, a fraction, a decimal, or a float, which counts as its binary number.
        field: Where it stands.

    Raises:
        InputError: `not-a-number`.
    """
    if isinstance(value, int | float | str | Fraction | Decimal) and not isinstance(value, bool):
        try:
            return Fraction(value)
        except (ValueError, OverflowError, ZeroDivisionError):
            pass
    raise InputError("not-a-number", field, value, "give an int, a decimal text, a fraction or a finite float")


def _decode(wanted: type, value: object) -> object:
    if wanted is Fraction:
        return exact(value, "parameters")
    raise NotImplementedError(wanted)


def model_from(parameters: Mapping[str, Any]) -> AnyModel:
    """The model that the mapping of a parameter file describes.

    Raises:
        InputError: `malformed`, an unknown or absent field, or one of another kind; `not-a-number`.
    """
    try:
        model: AnyModel = msgspec.convert(dict(parameters), AnyModel, dec_hook=_decode)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        raise InputError("malformed", "parameters", None, f"mend it: {error}") from None
    return model
