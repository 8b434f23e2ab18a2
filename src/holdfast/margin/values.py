"""What one unit of each line is worth, today and in every scenario (TAB-1)."""

from collections.abc import Sequence

import numpy as np

from holdfast.domain.errors import InputError
from holdfast.domain.instruments import Instrument, Kind, unit_value
from holdfast.domain.market import Market
from holdfast.domain.parameters import AnyParameters
from holdfast.margin.expiries import Term, discount_of
from holdfast.margin.option_values import Expiries, Options, values_in_scenarios, values_today
from holdfast.margin.plan import NO_GROUP, Plan
from holdfast.margin.scenarios import Columns
from holdfast.margin.table import Floats, LineField
from holdfast.pricing.implied import implied_volatility
from holdfast.pricing.surfaces import surface_volatility


def option_columns(plan: Plan, terms: Sequence[Term]) -> Options:
    """The options of the plan as columns, with the volatility of each."""
    rows = [n for n, i in enumerate(plan.instruments) if i is not None and i.kind is Kind.OPTION]
    of_group = {term.group: row for row, term in enumerate(terms)}
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
    if years == 0.0:
        return 0.0
    mark = underlying.marks.get(instrument.name)
    if mark is not None:
        price = mark.price * expiry.forward if instrument.inverse else mark.price
        discount = discount_of(parameters, expiry.rate, years)
        sign = 1.0 if instrument.is_call else -1.0
        return implied_volatility(price, expiry.forward, strike, years, discount, sign)
    advice = f"give its volatility, its mark, or a surface for its expiry among those of {instrument.underlying}"
    raise InputError("missing-volatility", f"volatilities[{instrument.name}]", instrument.name, advice)


def fill_today(plan: Plan, lines: Floats, options: Options, expiries: Expiries) -> None:
    """Fill TODAY, IN_ASSET and what says which kind a line is."""
    market = plan.market
    for n, (instrument, asset) in enumerate(zip(plan.instruments, plan.assets_of_lines, strict=True)):
        value = market.value_of(asset)
        if instrument is None:
            lines[n, LineField.TODAY], lines[n, LineField.IN_ASSET] = value, 1.0
        elif instrument.kind is Kind.OPTION:
            lines[n, LineField.STRIKE] = instrument.strike
            lines[n, LineField.OPTION_SIGN] = 1.0 if instrument.is_call else -1.0
            lines[n, LineField.PAR] = par_value(market, instrument)
        else:
            lines[n, LineField.IN_ASSET] = unit_value(instrument, market.mark(instrument).price)
            lines[n, LineField.TODAY] = lines[n, LineField.IN_ASSET] * value
    today, in_asset = lines[:, LineField.TODAY].copy(), lines[:, LineField.IN_ASSET].copy()
    values_today(options, expiries, today, in_asset)
    lines[:, LineField.TODAY], lines[:, LineField.IN_ASSET] = today, in_asset


def par_value(market: Market, instrument: Instrument) -> float:
    """Numeraire value of one unit of the currency of the strike (STD-8)."""
    return 1.0 / market.numeraire_price() if instrument.inverse else market.value_of(instrument.settlement)


def scenario_values(plan: Plan, columns: Columns, lines: Floats, options: Options, expiries: Expiries) -> Floats:
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
        values_in_scenarios(options, expiries, columns.shocks, values)
    return values + 0.0
