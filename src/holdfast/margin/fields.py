"""Everything in a table that is a rule and not a value: charges by line, group and underlying, haircuts, factors.

The rates themselves are worked out in `charges`; here they find their place in the arrays.
"""

import numpy as np

from holdfast.domain.market import Market
from holdfast.domain.parameters import (
    AnyParameters,
    Measure,
    ModelParameters,
    PortfolioParameters,
    StandardParameters,
)
from holdfast.domain.units import NANOSECONDS_PER_YEAR
from holdfast.margin import charges
from holdfast.margin.plan import Plan
from holdfast.margin.table import (
    AssetField,
    Floats,
    Group,
    GroupField,
    LineField,
    ModelField,
    Multiplier,
    TierField,
    UnderlyingField,
)

NEVER_REACHED = 1e300
"""Threshold of a tier that an asset with fewer tiers does not have; finite, so that differences are too."""


def fill_line_charges(plan: Plan, lines: Floats) -> None:
    """Add every per-unit charge to the lines' fields."""
    parameters, market = plan.parameters, plan.market
    standard = isinstance(parameters, StandardParameters)
    shortfall = charges.shortfall_of_peg(parameters, market) if standard else 0.0
    for n, instrument in enumerate(plan.instruments):
        if instrument is None:
            continue
        index = market.underlying(instrument.underlying).index.price
        line = charges.Line(
            instrument, index, charges.coins_per_unit(instrument, index), float(lines[n, LineField.TODAY])
        )
        charges.add_contingencies(parameters, line, lines[n])
        charges.add_confidence(parameters.confidence, line, market, lines[n])
        charges.add_depeg(shortfall, line, lines[n])
        if isinstance(parameters, StandardParameters):
            charges.add_standard(parameters, line, market, lines[n])


def group_fields(plan: Plan) -> Floats:
    """[G, fields of GroupField]: basis factors, maximum loss, charges on net short options."""
    fields = np.zeros((len(plan.groups), len(GroupField)))
    parameters = plan.parameters
    basis = parameters.basis if isinstance(parameters, PortfolioParameters) else None
    for n, group in enumerate(plan.groups):
        if group.expiry is None:
            continue
        if basis is not None and (group.options or basis.futures):
            years = max(0, group.expiry - plan.market.time) / NANOSECONDS_PER_YEAR
            fields[n, GroupField.BASIS_FACTOR] = basis.add + basis.per_year * years
        if group.options:
            _option_group_fields(plan, group, n, fields)
    return fields


def _option_group_fields(plan: Plan, group: Group, n: int, fields: Floats) -> None:
    parameters, market = plan.parameters, plan.market
    index = market.underlying(group.underlying).index.price
    fields[n, GroupField.STRIKE_NET_INITIAL : GroupField.STRIKE_NET_MAINTENANCE + 1] = charges.netted_rates(
        parameters, Measure.NET_SHORT_PER_STRIKE, index
    )
    fields[n, GroupField.EXPIRY_NET_INITIAL : GroupField.EXPIRY_NET_MAINTENANCE + 1] = charges.netted_rates(
        parameters, Measure.NET_SHORT_PER_EXPIRY, index
    )
    if isinstance(parameters, StandardParameters):
        members = [i for i, g in zip(plan.instruments, plan.group_of_line, strict=True) if g == n and i is not None]
        forward = market.expiry_of(members[0]).forward
        fields[n, GroupField.MAXIMUM_LOSS] = float(charges.option_rates(parameters, group.underlying).maximum_loss)
        fields[n, GroupField.UNPAIRED_INITIAL : GroupField.UNPAIRED_MAINTENANCE + 1] = charges.unpaired_rates(
            parameters, group.underlying, forward
        )


def underlying_fields(plan: Plan) -> Floats:
    """[U, fields of UnderlyingField]: rates on offsetting notional."""
    fields = np.zeros((len(plan.underlyings), len(UnderlyingField)))
    fields[:] = charges.offset_rates(plan.parameters)
    return fields


def asset_fields(plan: Plan) -> Floats:
    """Prices, liabilities, confidence and haircut tiers of the assets (specs/collateral.md)."""
    market, parameters = plan.market, plan.parameters
    rules = {asset: parameters.collateral_of(asset) for asset in plan.assets}
    most_tiers = max((len(rule.tiers) for rule in rules.values()), default=0)
    fields = np.zeros((len(plan.assets), AssetField.FIRST_TIER + len(TierField) * most_tiers))
    for n, (asset, rule) in enumerate(rules.items()):
        # COL-5: credit on dollars turns a loss l of the value into 1 − (1 − l)·n, n the numeraire's dollar price.
        dollars = market.numeraire_price() if rule.credit_in_dollars else 1.0
        fields[n, AssetField.PRICE] = market.value_of(asset)
        fields[n, AssetField.LIABILITY] = rule.liability
        fields[n, AssetField.CONFIDENCE] = _collateral_confidence(parameters, market, asset) * dollars
        for t in range(most_tiers):
            first = AssetField.FIRST_TIER + len(TierField) * t
            if t < len(rule.tiers):
                tier = rule.tiers[t]
                losses = [1.0 - (1.0 - loss) * dollars for loss in (tier.initial, tier.maintenance)]
                if dollars == 1.0:
                    losses = [tier.initial, tier.maintenance]
                fields[n, first : first + len(TierField)] = [tier.above, *(max(0.0, loss) for loss in losses)]
            else:
                fields[n, first + TierField.ABOVE] = NEVER_REACHED
    return fields


def _collateral_confidence(parameters: ModelParameters, market: Market, asset: str) -> float:
    """Charge per unit of positive value for an unsure price (CHG-8, COL-7)."""
    rule = parameters.confidence
    if rule is None:
        return 0.0
    underlying = parameters.collateral_of(asset).underlying
    confidence = market.underlying(underlying).index.confidence if underlying is not None else 1.0
    if rule.collateral_own:
        confidence = min(confidence, market.asset_price(asset).confidence)
    return charges.missing_confidence(confidence, rule.collateral_threshold) * rule.factor


def mark_shortcuts(model: Floats, multipliers: Floats, lines: Floats, groups: Floats, underlyings: Floats) -> None:
    """Set in `model` where the kernel may take shortcuts that change no bit of a margin.

    A family of charges counts as absent only where each of its products is an exact zero, whatever an account holds.
    Call it again whenever multipliers, rates or confidences of a table change in place.

    Args:
        model: [fields of ModelField], changed.
        multipliers: [G, 4, S].
        lines: [L, fields of LineField].
        groups: [G, fields of GroupField].
        underlyings: [U, fields of UnderlyingField].
    """
    isolated = lines[:, LineField.OPTION_LONG_INITIAL : LineField.OPTION_SHORT_MAINTENANCE + 1]
    net_strike = groups[:, GroupField.STRIKE_NET_INITIAL : GroupField.STRIKE_NET_MAINTENANCE + 1]
    net_expiry = groups[:, GroupField.EXPIRY_NET_INITIAL : GroupField.EXPIRY_NET_MAINTENANCE + 1]
    takes = lines[:, LineField.TAKES_CONFIDENCE] > 0.0
    lent = lines[:, LineField.LENDS_CONFIDENCE].min(initial=1.0)
    sure = np.minimum(lines[:, LineField.CONFIDENCE], np.where(takes, lent, 1.0))
    unsure = lines[sure < lines[:, LineField.CONFIDENCE_THRESHOLD]]
    by_value = multipliers[:, : Multiplier.VALUE_NEGATIVE + 1]
    model[ModelField.HAS_OPTIONS] = isolated.any() or groups[:, GroupField.MAXIMUM_LOSS].any()
    model[ModelField.HAS_NET_STRIKE] = net_strike.any()
    model[ModelField.HAS_NET_EXPIRY] = net_expiry.any()
    model[ModelField.HAS_OFFSET] = underlyings.any()
    model[ModelField.HAS_CONFIDENCE] = unsure[:, LineField.CONFIDENCE_LONG : LineField.CONFIDENCE_SHORT + 1].any()
    model[ModelField.HAS_DEPEG] = lines[:, LineField.DEPEG_LONG : LineField.DEPEG_SHORT + 1].any()
    model[ModelField.VALUES_ALIKE] = (by_value == by_value[:, :, :1]).all()


def model_fields(parameters: AnyParameters, market: Market) -> Floats:
    """[fields of ModelField]: factors, reduction and number of scenarios."""
    fields = np.zeros(len(ModelField))
    if isinstance(parameters, StandardParameters):
        return fields
    fields[ModelField.INITIAL_FACTOR] = parameters.initial_factor
    fields[ModelField.MAINTENANCE_FACTOR] = parameters.maintenance_factor
    fields[ModelField.INITIAL_FACTOR] += charges.shortfall_of_peg(parameters, market)
    if isinstance(parameters, PortfolioParameters):
        fields[ModelField.SCENARIOS] = len(parameters.scenarios)
    else:
        fields[ModelField.TAIL_MASS] = parameters.tail_mass
        fields[ModelField.OFFSET_CAP] = parameters.offset_cap
        fields[ModelField.SCENARIOS] = parameters.scenario_count
    return fields
