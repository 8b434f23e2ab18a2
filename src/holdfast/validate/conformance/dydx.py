"""Adapter for the dYdX v4 cases: their field names on one side, `holdfast.margin.dydx` on the other.

What lives here: the translation of a case into a call and of its result into exact checks. What may not: a formula.
"""

from collections.abc import Mapping
from typing import Any

from holdfast.margin.dydx import (
    LiquidityTier,
    Perpetual,
    Risk,
    initial_margin_of_notional,
    is_liquidatable,
    margin_requirements,
    riskier,
    scaled_initial_margin_ppm,
)
from holdfast.validate.conformance.cases import Adapter, Evaluation, RawCase, exact, path_of


def _margin_requirement(raw: RawCase) -> Evaluation:
    inputs = raw["inputs"]
    stated = inputs["perpetual"]
    perpetual = Perpetual(
        atomic_resolution=stated["atomic_resolution"],
        price=stated["price"],
        price_exponent=stated["exponent"],
        tier=_tier(stated["im_ppm"], inputs, stated["mm_frac_ppm"]),
        open_interest_quantums=inputs["open_interest_quantums"],
    )
    required = margin_requirements(perpetual, inputs["quantums"])
    initial, maintenance = raw["expected"]
    return Evaluation(
        path_of(margin_requirements),
        (
            exact("initial margin", initial, required.initial),
            exact("maintenance margin", maintenance, required.maintenance),
        ),
    )


def _scaled_initial_margin(raw: RawCase) -> Evaluation:
    inputs = raw["inputs"]
    tier = _tier(inputs["im_ppm"], inputs)
    margin = initial_margin_of_notional(tier, inputs["notional"], inputs["oi_notional"])
    return Evaluation(path_of(initial_margin_of_notional), (exact("initial margin", raw["expected"], margin),))


def _scaled_initial_margin_ppm(raw: RawCase) -> Evaluation:
    inputs = raw["inputs"]
    rate_ppm = scaled_initial_margin_ppm(_tier(inputs["im_ppm"], inputs), inputs["oi_notional"])
    return Evaluation(path_of(scaled_initial_margin_ppm), (exact("initial margin ppm", raw["expected"], rate_ppm),))


def _is_liquidatable(raw: RawCase) -> Evaluation:
    verdict = is_liquidatable(raw["inputs"]["nc"], raw["inputs"]["mmr"])
    return Evaluation(path_of(is_liquidatable), (exact("liquidatable", raw["expected"], verdict),))


def _risk_order(raw: RawCase) -> Evaluation:
    order = riskier(_risk(raw["inputs"]["first"]), _risk(raw["inputs"]["second"]))
    return Evaluation(path_of(riskier), (exact("order of risk", raw["expected"], order),))


def _tier(initial_margin_ppm: int, caps: Mapping[str, Any], maintenance_fraction_ppm: int = 0) -> LiquidityTier:
    """The tier of a case; cases of the initial margin alone state no maintenance fraction, and none takes part."""
    return LiquidityTier(initial_margin_ppm, maintenance_fraction_ppm, caps["oi_lower_cap"], caps["oi_upper_cap"])


def _risk(pair: tuple[int, int]) -> Risk:
    """[net collateral, maintenance margin]; the initial margin takes no part in the order of risk."""
    net_collateral, maintenance = pair
    return Risk(net_collateral, initial=maintenance, maintenance=maintenance)


ADAPTERS: dict[str, Adapter] = {
    "is_liquidatable": _is_liquidatable,
    "margin_requirement": _margin_requirement,
    "oi_scaled_im": _scaled_initial_margin,
    "oi_scaled_imf_ppm": _scaled_initial_margin_ppm,
    "risk_order": _risk_order,
}
