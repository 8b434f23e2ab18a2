"""Building a risk table from parameters, a market and the lines that somebody holds.

The steps, each a function: name and order the lines (`plan`), value them today, value them per scenario, work out group
multipliers, and work out charges and haircuts. Prices are checked by the market; nothing here guesses a missing one.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from holdfast.domain.errors import InputError
from holdfast.domain.instruments import Instrument, Kind, unit_value
from holdfast.domain.market import Expiry, Market
from holdfast.domain.parameters import (
    AnyParameters,
    Measure,
    ModelParameters,
    PortfolioParameters,
    Scenario,
    StandardParameters,
    TailParameters,
)
from holdfast.margin import charges
from holdfast.margin.option_values import Expiries, Options, Shocks, values_in_scenarios, values_today
from holdfast.margin.plan import NO_GROUP, Plan, plan_lines
from holdfast.margin.scenarios import (
    Columns,
    option_value_multipliers,
    portfolio_columns,
    result_multipliers,
    skew_caps,
    tail_columns,
    volatility_multiplier,
)
from holdfast.margin.table import (
    Arrays,
    AssetField,
    Floats,
    Group,
    GroupField,
    Integers,
    LineField,
    LineTag,
    ModelField,
    Multiplier,
    RiskTable,
    TierField,
    UnderlyingField,
)
from holdfast.pricing.surfaces import surface_volatility
from holdfast.pricing.elementary import exp
from holdfast.pricing.implied import implied_volatility

DAYS_PER_YEAR = 365.0
SECONDS_PER_YEAR = 365.0 * 86_400.0
NEVER_REACHED = 1e300
"""Threshold of a tier that an asset with fewer tiers does not have; finite, so that differences are too."""


def build_table(
    parameters: AnyParameters, market: Market, instruments: Iterable[Instrument], assets: Iterable[str] = ()
) -> RiskTable:
    """The risk table of a set of lines.

    Args:
        parameters: The model.
        market: Prices, volatilities and confidences.
        instruments: The contracts to have lines for; repeated ones count once.
        assets: Assets to have lines for besides those that the instruments settle in.

    Returns:
        The table; its lines are in the order of TAB-3.

    Raises:
        InputError: A price, volatility or parameter is missing, or an option has expired.
    """
    plan = plan_lines(parameters, market, instruments, assets)
    columns = _columns(parameters, plan.underlyings)
    basis = _basis_columns(parameters, plan.underlyings)
    options = _options(plan)
    lines = charges.empty_fields(len(plan.names))
    _value_today(plan, lines, options, _expiries(plan, columns))
    _line_charges(plan, lines)
    basis_values = np.zeros((len(plan.names), 0))
    if basis is not None:
        basis_values = _values(plan, basis, lines, options)
    group_of_line = np.array(plan.group_of_line, np.int32)
    underlying_of_line = np.array([plan.underlying_of_group(g) for g in plan.group_of_line], np.int32)
    tags = np.zeros((len(plan.names), len(LineTag)), np.int32)
    tags[:, LineTag.GROUP], tags[:, LineTag.UNDERLYING] = group_of_line, underlying_of_line
    tags[:, LineTag.ASSET] = [plan.assets.index(a) for a in plan.assets_of_lines]
    arrays = Arrays(
        values=_values(plan, columns, lines, options),
        basis=basis_values,
        multipliers=_multipliers(plan, columns),
        lines=lines,
        tags=tags,
        group_ends=_ends(group_of_line, len(plan.groups)),
        underlying_ends=_ends(underlying_of_line, len(plan.underlyings)),
        groups=_group_fields(plan),
        underlyings=_underlying_fields(plan),
        assets=_asset_fields(plan),
        model=_model_fields(parameters, market),
    )
    return RiskTable(
        arrays=arrays,
        line_of_instrument={i: n for n, i in enumerate(plan.instruments) if i is not None},
        line_of_asset={plan.names[n]: n for n, i in enumerate(plan.instruments) if i is None},
        instruments=tuple(plan.instruments),
        line_names=tuple(plan.names),
        groups=tuple(plan.groups),
        underlyings=tuple(plan.underlyings),
        assets=tuple(plan.assets),
        scenarios=columns.labels,
        basis_scenarios=basis.labels if basis is not None else (),
        parameters=parameters,
        time=market.time,
    )


def _ends(tag: Integers, count: int) -> Integers:
    """Index after the last line of each tag 0 … count − 1; lines of one tag are consecutive."""
    return np.array([int(np.flatnonzero(tag == t)[-1]) + 1 for t in range(count)], np.int32)


# Scenarios. ------------------------------------------------------------------------------------------------------------


def _columns(parameters: AnyParameters, underlyings: Sequence[str]) -> Columns:
    names = tuple(underlyings)
    if isinstance(parameters, PortfolioParameters):
        return portfolio_columns(parameters, parameters.scenarios, names)
    if isinstance(parameters, TailParameters):
        missing = [u for u in names if u not in parameters.moves]
        if missing:
            raise InputError("missing-field", f"moves[{missing[0]}]", None, "add historical moves of this underlying")
        return tail_columns(parameters, names)
    none = np.zeros(0)
    return Columns((), (), np.zeros((len(names), 0)), Shocks(none, none, none))


def _basis_columns(parameters: AnyParameters, underlyings: Sequence[str]) -> Columns | None:
    if not isinstance(parameters, PortfolioParameters) or parameters.basis is None:
        return None
    scenarios = (Scenario(parameters.basis.price_up), Scenario(parameters.basis.price_down))
    return portfolio_columns(parameters, scenarios, tuple(underlyings))


def _option_groups(plan: Plan) -> list[int]:
    return [n for n, group in enumerate(plan.groups) if group.options]


def _expiry_of(plan: Plan, group: Group) -> tuple[Expiry, float]:
    """What the market says about a group's expiry, and the years to it."""
    example = next(i for i in plan.instruments if i and i.underlying == group.underlying and i.expiry == group.expiry)
    return plan.market.expiry_of(example), plan.market.years_to_expiry(example)


def _discount(parameters: AnyParameters, rate: float, years: float) -> float:
    """PM-6."""
    discounting = isinstance(parameters, PortfolioParameters) and parameters.discounting
    return float(exp(-max(rate, 0.0) * years)) if discounting else 1.0


def settled_fraction(parameters: AnyParameters, expiry: Expiry, years: float) -> float:
    """The part of a forward that no scenario moves any more (PM-2)."""
    window = parameters.settlement_window_seconds if isinstance(parameters, PortfolioParameters) else 0.0
    by_time = max(0.0, 1.0 - years * SECONDS_PER_YEAR / window) if window > 0.0 else 0.0
    return max(expiry.settled_fraction, by_time)


def _expiries(plan: Plan, columns: Columns) -> Expiries:
    """One row per option group, in group order."""
    groups = _option_groups(plan)
    forward, years, discount = np.zeros(len(groups)), np.zeros(len(groups)), np.ones(len(groups))
    prices = np.zeros((len(groups), columns.width))
    forwards, multipliers = np.zeros_like(prices), np.zeros_like(prices)
    skew = np.zeros((len(groups), 3))
    for row, n in enumerate(groups):
        group = plan.groups[n]
        expiry, years[row] = _expiry_of(plan, group)
        forward[row] = expiry.forward
        discount[row] = _discount(plan.parameters, expiry.rate, years[row])
        prices[row] = columns.moves[plan.underlyings.index(group.underlying)]
        settled = settled_fraction(plan.parameters, expiry, years[row])
        forwards[row] = expiry.forward * (settled + (1.0 - settled) * _forward_moves(columns, prices[row]))
        multipliers[row] = _volatility_multipliers(plan.parameters, columns, prices[row], years[row] * DAYS_PER_YEAR)
        if isinstance(plan.parameters, PortfolioParameters):
            skew[row] = skew_caps(plan.parameters.skew, years[row])
    return Expiries(forward, years, discount, forwards, prices, multipliers, skew)


def _forward_moves(columns: Columns, prices: Floats) -> Floats:
    """Skew scenarios move no forward (PM-4)."""
    return np.where(columns.shocks.linear + columns.shocks.absolute > 0.0, 1.0, prices)


def _volatility_multipliers(parameters: AnyParameters, columns: Columns, prices: Floats, days: float) -> Floats:
    if isinstance(parameters, TailParameters):
        return 1.0 + parameters.volatility_response * np.abs(prices - 1.0)
    if not isinstance(parameters, PortfolioParameters):
        return np.ones(columns.width)
    by_shock = {
        shock: volatility_multiplier(parameters.volatility, shock, days)
        for shock in {s.volatility for s in columns.scenarios}
    }
    row = [by_shock[s.volatility] for s in columns.scenarios]
    return np.array(row + row[-1:] * (columns.width - len(row)))


# Values. ---------------------------------------------------------------------------------------------------------------


def _options(plan: Plan) -> Options:
    """The options of the plan as columns, with the volatility of each."""
    rows = [n for n, i in enumerate(plan.instruments) if i is not None and i.kind is Kind.OPTION]
    of_group = {group: row for row, group in enumerate(_option_groups(plan))}
    held = [plan.instruments[n] for n in rows]
    volatility = [option_volatility(plan.parameters, plan.market, i) for i in held if i is not None]
    return Options(
        line=np.array(rows, np.int32),
        expiry=np.array([of_group[plan.group_of_line[n]] for n in rows], np.int32),
        strike=np.array([i.strike for i in held if i is not None], np.float64),
        sign=np.array([1.0 if i.is_call else -1.0 for i in held if i is not None], np.float64),
        volatility=np.array(volatility, np.float64),
        par=np.array([plan.market.value_of(i.settlement) for i in held if i is not None], np.float64),
        inverse=np.array([float(i.inverse) for i in held if i is not None], np.float64),
    )


def option_volatility(parameters: AnyParameters, market: Market, instrument: Instrument) -> float:
    """The volatility of an option: quoted, else from the surface, else implied from its mark (PM-11).

    Raises:
        InputError: There is none of the three, or the mark is outside the option's bounds.
    """
    underlying = market.underlying(instrument.underlying)
    quoted = underlying.volatilities.get(instrument.name)
    if quoted is not None:
        return quoted
    expiry, years = market.expiry_of(instrument), market.years_to_expiry(instrument)
    strike = float(instrument.strike or 0.0)
    if expiry.svi is not None:
        return float(surface_volatility(expiry.svi, strike, expiry.forward))
    mark = underlying.marks.get(instrument.name)
    if mark is not None:
        price = mark.price * expiry.forward if instrument.inverse else mark.price
        discount = _discount(parameters, expiry.rate, years)
        sign = 1.0 if instrument.is_call else -1.0
        return implied_volatility(price, expiry.forward, strike, years, discount, sign)
    if years == 0.0:
        return 0.0
    advice = f"give its volatility, its mark, or a surface for its expiry among those of {instrument.underlying}"
    raise InputError("missing-volatility", f"volatilities[{instrument.name}]", instrument.name, advice)


def _value_today(plan: Plan, lines: Floats, options: Options, expiries: Expiries) -> None:
    """Fill TODAY, IN_ASSET and what says which kind a line is."""
    market = plan.market
    for n, (instrument, asset) in enumerate(zip(plan.instruments, plan.assets_of_lines, strict=True)):
        value = market.value_of(asset)
        if instrument is None:
            lines[n, LineField.TODAY], lines[n, LineField.IN_ASSET] = value, 1.0
        elif instrument.kind is Kind.OPTION:
            lines[n, LineField.STRIKE] = instrument.strike
            lines[n, LineField.OPTION_SIGN] = 1.0 if instrument.is_call else -1.0
            lines[n, LineField.PAR] = _par(market, instrument)
        else:
            lines[n, LineField.IN_ASSET] = unit_value(instrument, market.mark(instrument).price)
            lines[n, LineField.TODAY] = lines[n, LineField.IN_ASSET] * value
            lines[n, LineField.PERPETUAL] = float(instrument.kind is Kind.PERPETUAL)
    today, in_asset = lines[:, LineField.TODAY].copy(), lines[:, LineField.IN_ASSET].copy()
    values_today(options, expiries, today, in_asset)
    lines[:, LineField.TODAY], lines[:, LineField.IN_ASSET] = today, in_asset


def _par(market: Market, instrument: Instrument) -> float:
    """Numeraire value of one unit of the currency of the strike (STD-8)."""
    return 1.0 / market.numeraire_price() if instrument.inverse else market.value_of(instrument.settlement)


def _values(plan: Plan, columns: Columns, lines: Floats, options: Options) -> Floats:
    """[L, S] value of one unit per scenario (TAB-1)."""
    values = np.zeros((len(plan.names), columns.width))
    for n, instrument in enumerate(plan.instruments):
        today = lines[n, LineField.TODAY]
        group = plan.group_of_line[n]
        if group == NO_GROUP or (instrument is not None and instrument.inverse):
            values[n] = today
        else:
            values[n] = today * columns.moves[plan.underlying_of_group(group)]
    if len(options.line) and columns.width:
        values_in_scenarios(options, _expiries(plan, columns), columns.shocks, values)
    return values + 0.0


def _multipliers(plan: Plan, columns: Columns) -> Floats:
    """[G, 4, S] (TAB-4)."""
    result = np.ones((len(plan.groups), len(Multiplier), columns.width))
    if not isinstance(plan.parameters, PortfolioParameters):
        return result
    for n, group in enumerate(plan.groups):
        result[n, Multiplier.RESULT_POSITIVE :] = result_multipliers(
            columns.scenarios, options=group.options, width=columns.width
        )
        if group.options:
            expiry, years = _expiry_of(plan, group)
            discount = _discount(plan.parameters, expiry.rate, years)
            positive, negative = option_value_multipliers(plan.parameters.discounts, expiry.rate, years, discount)
            result[n, Multiplier.VALUE_POSITIVE], result[n, Multiplier.VALUE_NEGATIVE] = positive, negative
    return result


# Charges. --------------------------------------------------------------------------------------------------------------


def _line_charges(plan: Plan, lines: Floats) -> None:
    parameters, market = plan.parameters, plan.market
    standard = isinstance(parameters, StandardParameters)
    shortfall = charges.shortfall_of_peg(parameters, market) if standard else 0.0
    held = _perpetual_confidence(plan)
    for n, instrument in enumerate(plan.instruments):
        if instrument is None:
            continue
        index = market.underlying(instrument.underlying).index.price
        line = charges.Line(
            instrument, index, charges.coins_per_unit(instrument, index), float(lines[n, LineField.TODAY])
        )
        charges.add_contingencies(parameters, line, lines[n])
        charges.add_confidence(parameters.confidence, line, market, held.get(instrument.underlying, 1.0), lines[n])
        charges.add_depeg(shortfall, line, lines[n])
        if isinstance(parameters, StandardParameters):
            charges.add_standard(parameters, line, market, lines[n])


def _perpetual_confidence(plan: Plan) -> dict[str, float]:
    """Least confidence of the perpetuals of each underlying in the table."""
    least: dict[str, float] = {}
    for instrument in plan.instruments:
        if instrument is not None and instrument.kind is Kind.PERPETUAL:
            sure = plan.market.mark(instrument).confidence
            least[instrument.underlying] = min(sure, least.get(instrument.underlying, 1.0))
    return least


def _group_fields(plan: Plan) -> Floats:
    fields = np.zeros((len(plan.groups), len(GroupField)))
    parameters = plan.parameters
    basis = parameters.basis if isinstance(parameters, PortfolioParameters) else None
    for n, group in enumerate(plan.groups):
        if group.expiry is None:
            continue
        if basis is not None and (group.options or basis.futures):
            years = max(0, group.expiry - plan.market.time) / (SECONDS_PER_YEAR * 1e9)
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
        par = max(_par(market, i) for i in members)
        fields[n, GroupField.MAXIMUM_LOSS] = float(charges.option_rates(parameters, group.underlying).maximum_loss)
        fields[n, GroupField.UNPAIRED_INITIAL : GroupField.UNPAIRED_MAINTENANCE + 1] = charges.unpaired_rates(
            parameters, group.underlying, forward, par
        )


def _underlying_fields(plan: Plan) -> Floats:
    fields = np.zeros((len(plan.underlyings), len(UnderlyingField)))
    fields[:] = charges.offset_rates(plan.parameters)
    return fields


def _asset_fields(plan: Plan) -> Floats:
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


def _model_fields(parameters: AnyParameters, market: Market) -> Floats:
    fields = np.zeros(len(ModelField))
    if isinstance(parameters, StandardParameters):
        return fields
    fields[ModelField.INITIAL_FACTOR] = parameters.initial_factor
    fields[ModelField.MAINTENANCE_FACTOR] = parameters.maintenance_factor
    if isinstance(parameters, PortfolioParameters):
        fields[ModelField.INITIAL_FACTOR] += charges.shortfall_of_peg(parameters, market)
        fields[ModelField.SCENARIOS] = len(parameters.scenarios)
    else:
        fields[ModelField.TAIL_MASS] = parameters.tail_mass
        fields[ModelField.OFFSET_CAP] = parameters.offset_cap
        fields[ModelField.SCENARIOS] = parameters.scenario_count
    return fields
