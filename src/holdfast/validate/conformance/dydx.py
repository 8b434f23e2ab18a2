"""Adapter for the dYdX v4 cases: their field names on one side, the venue's margin and liquidation rules on the other.

What lives here: the translation of a case into a call and of its result into exact checks. What may not: a formula.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from holdfast.core.liquidation.dydx import (
    Account,
    LiquidationParameters,
    bankruptcy_quote,
    deleverage,
    fillable_price,
    insurance_fund_delta,
)
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

COIN = "coin"
"""The perpetual of cases that have one and do not name it."""


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


def _bankruptcy_price(raw: RawCase) -> Evaluation:
    inputs = raw["inputs"]
    quote = bankruptcy_quote(_account(inputs), _perpetuals(raw), inputs["perpetual_id"], inputs["delta_quantums"])
    return Evaluation(path_of(bankruptcy_quote), (exact("bankruptcy price in quote", raw["expected"], quote),))


def _fillable_price(raw: RawCase) -> Evaluation:
    inputs = raw["inputs"]
    parameters = LiquidationParameters(
        bankruptcy_adjustment_ppm=inputs["bankruptcy_adjustment_ppm"],
        spread_to_maintenance_ppm=inputs["spread_to_mmr_ppm"],
    )
    price = fillable_price(_account(inputs), _perpetuals(raw), inputs["perpetual_id"], parameters)
    return Evaluation(path_of(fillable_price), (exact("fillable price", Fraction(raw["expected"]), price),))


def _insurance_fund_delta(raw: RawCase) -> Evaluation:
    inputs = raw["inputs"]
    side = 1 if inputs["is_buy"] else -1
    delta = insurance_fund_delta(
        _account(inputs),
        _perpetuals(raw),
        inputs["perpetual_id"],
        side * inputs["fill_quantums"],
        -side * inputs["fill_quote_quantums"],
        LiquidationParameters(fee_ppm_max=inputs["max_liquidation_fee_ppm"]),
    )
    return Evaluation(path_of(insurance_fund_delta), (exact("insurance fund delta", raw["expected"], delta),))


def _deleveraging(raw: RawCase) -> Evaluation:
    inputs, expected = raw["inputs"], raw["expected"]
    stated = inputs["liquidated"]
    liquidated = Account(stated["quote"], {COIN: stated["base"]})
    offsetting = [Account(quote, {COIN: base}) for quote, base in inputs["offsetting"]]
    outcome = deleverage(liquidated, offsetting, {COIN: _coin(inputs["price_usd"])}, COIN)
    return Evaluation(
        path_of(deleverage),
        (
            exact("liquidated account", expected["liquidated"], _pair(outcome.liquidated)),
            exact("offsetting accounts", expected["offsetting"], [_pair(account) for account in outcome.offsetting]),
            exact("remaining", expected["remaining"], outcome.remaining),
        ),
    )


def _account(inputs: Mapping[str, Any]) -> Account[int]:
    return Account(inputs["quote_balance"], dict(inputs["positions"]))


def _perpetuals(raw: RawCase) -> dict[int, Perpetual]:
    """The perpetuals that a file's cases share; JSON names them by text, positions by number."""
    return {
        int(name): Perpetual(
            stated["atomic_resolution"],
            stated["price"],
            stated["exponent"],
            LiquidityTier(stated["im_ppm"], stated["mm_frac_ppm"]),
        )
        for name, stated in raw["common"]["perpetuals"].items()
    }


def _coin(price_usd: int) -> Perpetual:
    """The perpetual of the deleveraging cases, which state its price alone: the file's first in all the rest."""
    return Perpetual(-8, price_usd, 0, LiquidityTier(200_000, 500_000))


def _pair(account: Account[str]) -> list[int]:
    return [account.quote_balance, account.positions.get(COIN, 0)]


def _tier(initial_margin_ppm: int, caps: Mapping[str, Any], maintenance_fraction_ppm: int = 0) -> LiquidityTier:
    """The tier of a case; cases of the initial margin alone state no maintenance fraction, and none takes part."""
    return LiquidityTier(initial_margin_ppm, maintenance_fraction_ppm, caps["oi_lower_cap"], caps["oi_upper_cap"])


def _risk(pair: tuple[int, int]) -> Risk:
    """[net collateral, maintenance margin]; the initial margin takes no part in the order of risk."""
    net_collateral, maintenance = pair
    return Risk(net_collateral, initial=maintenance, maintenance=maintenance)


ADAPTERS: dict[str, Adapter] = {
    "bankruptcy_price": _bankruptcy_price,
    "deleveraging": _deleveraging,
    "fillable_price": _fillable_price,
    "insurance_fund_delta": _insurance_fund_delta,
    "is_liquidatable": _is_liquidatable,
    "margin_requirement": _margin_requirement,
    "oi_scaled_im": _scaled_initial_margin,
    "oi_scaled_imf_ppm": _scaled_initial_margin_ppm,
    "risk_order": _risk_order,
}
