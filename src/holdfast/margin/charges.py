"""Per-unit charges of a line: what a position pays beside the scan, worked out once per table.

Each function turns rules and a market into rates per unit of quantity, so that the kernel only multiplies. Formulas and
worked numbers: specs/charges.md and specs/standard-model.md, whose numbers the docstrings name. All rates are in the
numeraire; charges on notional take dollars as numeraire, as the venues do (CHG-1).
"""

import math
from dataclasses import dataclass

import numpy as np

from holdfast.domain.errors import InputError
from holdfast.domain.instruments import Instrument, Kind
from holdfast.domain.market import Market
from holdfast.domain.parameters import (
    AnyParameters,
    ConfidenceRule,
    FutureRates,
    Measure,
    OptionRates,
    StandardParameters,
)
from holdfast.margin.table import Floats, LineField


@dataclass(frozen=True)
class Line:
    """An instrument line while its rates are worked out.

    Attributes:
        instrument: The contract.
        index: Dollar price of the underlying.
        coins: Coins of the underlying per unit of quantity (CHG-1).
        today: Value of one unit, numeraire.
    """

    instrument: Instrument
    index: float
    coins: float
    today: float

    @property
    def notional(self) -> float:
        """Notional of one unit at the index: coins × index."""
        return self.coins * self.index


def coins_per_unit(instrument: Instrument, index: float) -> float:
    """1 for options and linear contracts; 1/index for inverse perpetuals and futures (CHG-1)."""
    return 1.0 / index if instrument.inverse and instrument.kind is not Kind.OPTION else 1.0


def add_contingencies(parameters: AnyParameters, line: Line, fields: Floats) -> None:
    """Add gross, short and offset charges to the fields of a line (CHG-2, CHG-3, CHG-6, CHG-7)."""
    for charge in parameters.charges:
        if charge.applies_to != line.instrument.kind:
            continue
        rates = (charge.initial * line.notional, charge.maintenance * line.notional)
        if charge.measure is Measure.GROSS:
            fields[LineField.CHARGE_LONG_INITIAL] += rates[0]
            fields[LineField.CHARGE_LONG_MAINTENANCE] += rates[1]
        if charge.measure in (Measure.GROSS, Measure.SHORT):
            fields[LineField.CHARGE_SHORT_INITIAL] += rates[0]
            fields[LineField.CHARGE_SHORT_MAINTENANCE] += rates[1]
            fields[LineField.SLOPE_INITIAL] += charge.initial_slope * line.notional * line.coins
            fields[LineField.SLOPE_MAINTENANCE] += charge.maintenance_slope * line.notional * line.coins
        if charge.measure is Measure.OFFSET:
            fields[LineField.OFFSET_NOTIONAL] = line.notional


def netted_rates(parameters: AnyParameters, measure: Measure, index: float) -> tuple[float, float]:
    """Initial and maintenance rate per net short option (CHG-4, CHG-5), numeraire."""
    charges = [c for c in parameters.charges if c.measure is measure]
    return math.fsum(c.initial for c in charges) * index, math.fsum(c.maintenance for c in charges) * index


def offset_rates(parameters: AnyParameters) -> tuple[float, float]:
    """Initial and maintenance rate on offsetting notional (CHG-6).

    Rates for one kind of instrument add up (CHG-7). Perpetuals and futures offset each other, so rates given for both
    kinds count once: the larger.
    """
    charges = [c for c in parameters.charges if c.measure is Measure.OFFSET]
    of_kinds = [[c for c in charges if c.applies_to == kind] for kind in ("perpetual", "future")]
    return (
        max(math.fsum(c.initial for c in of_kind) for of_kind in of_kinds),
        max(math.fsum(c.maintenance for c in of_kind) for of_kind in of_kinds),
    )


def add_confidence(rule: ConfidenceRule | None, line: Line, market: Market, fields: Floats) -> None:
    """Set what the confidence charge of a line is worked out from (CHG-8, CHG-9)."""
    instrument = line.instrument
    if rule is None:
        return
    confidence = market.underlying(instrument.underlying).index.confidence
    charge = rule.factor * line.notional
    if instrument.kind is Kind.OPTION:
        expiry = market.expiry_of(instrument)
        confidence = min(confidence, expiry.forward_confidence, expiry.volatility_confidence)
        if rule.options_with_rate:
            confidence = min(confidence, expiry.rate_confidence)
        fields[LineField.CONFIDENCE_THRESHOLD] = rule.option_threshold
        fields[LineField.TAKES_CONFIDENCE] = float(rule.options_with_perpetual)
    else:
        confidence = min(confidence, market.mark(instrument).confidence)
        fields[LineField.CONFIDENCE_THRESHOLD] = rule.perpetual_threshold
    if instrument.kind is Kind.PERPETUAL:
        fields[LineField.LENDS_CONFIDENCE] = market.mark(instrument).confidence
    fields[LineField.CONFIDENCE] = confidence
    fields[LineField.CONFIDENCE_SHORT] = charge
    fields[LineField.CONFIDENCE_LONG] = 0.0 if instrument.kind is Kind.OPTION and rule.options_short_only else charge


def missing_confidence(confidence: float, threshold: float) -> float:
    """1 − confidence below the threshold, else 0."""
    return 1.0 - confidence if confidence < threshold else 0.0


def shortfall_of_peg(parameters: AnyParameters, market: Market) -> float:
    """(threshold − price) × factor of the watched asset below its threshold, else 0 (CHG-11)."""
    rule = parameters.depeg
    if rule is None:
        return 0.0
    return max(0.0, rule.threshold - market.asset_price(rule.asset).price) * rule.factor


def add_depeg(shortfall: float, line: Line, fields: Floats) -> None:
    """Set the depeg charges of a line of the standard model (CHG-11)."""
    if line.instrument.kind is not Kind.OPTION:
        fields[LineField.DEPEG_LONG] = shortfall * line.notional
    fields[LineField.DEPEG_SHORT] = shortfall * line.notional


def add_standard(parameters: StandardParameters, line: Line, market: Market, fields: Floats) -> None:
    """Add the standard model's rates to the fields of a line (STD-1 to STD-6)."""
    if line.instrument.kind is Kind.OPTION:
        _add_option(option_rates(parameters, line.instrument.underlying), line, fields)
    else:
        _add_future(future_rates(parameters, line.instrument.underlying), line, market, fields)


def future_rates(parameters: StandardParameters, underlying: str) -> FutureRates:
    """The rates of an underlying's perpetuals and futures: its own, else `*`."""
    rates = parameters.futures.get(underlying) or parameters.futures.get("*")
    if rates is None:
        advice = f"use a model with rates for {underlying} ({parameters.name} has {', '.join(parameters.futures)})"
        raise InputError("missing-field", f"futures[{underlying}]", None, advice)
    return rates


def option_rates(parameters: StandardParameters, underlying: str) -> OptionRates:
    """The rules of an underlying's options: its own, else `*`."""
    rates = parameters.options.get(underlying) or parameters.options.get("*")
    if rates is None:
        known = ", ".join(parameters.options) or "none: it does not margin options"
        advice = f"use a model with rules for options on {underlying} ({parameters.name} has {known})"
        raise InputError("missing-field", f"options[{underlying}]", None, advice)
    return rates


def _add_future(rates: FutureRates, line: Line, market: Market, fields: Floats) -> None:
    """STD-1 and STD-2; the notional at the mark is the size of the value today."""
    par = 1.0 if line.instrument.inverse else market.value_of(line.instrument.settlement)
    notional = abs(line.today) if rates.notional == "mark" else line.notional * par
    initial = rates.initial
    if rates.open_interest is not None:
        interest = market.underlying(line.instrument.underlying).open_interest.get(line.instrument.name)
        if interest is None:
            advice = "add it to the market, 0 if there is none: the initial rate rises with it"
            raise InputError("missing-field", f"open_interest[{line.instrument.name}]", None, advice)
        initial = rates.open_interest.scaled(initial, interest * abs(line.today))
    for side in (LineField.CHARGE_LONG_INITIAL, LineField.CHARGE_SHORT_INITIAL):
        fields[side] += notional * initial
        fields[side + 2] += notional * rates.maintenance
    fields[LineField.SLOPE_INITIAL] += notional * rates.initial_slope * line.coins
    fields[LineField.SLOPE_MAINTENANCE] += notional * rates.maintenance_slope * line.coins


def _add_option(rates: OptionRates, line: Line, fields: Floats) -> None:
    """STD-4 to STD-6, venue's form less the mark for short options, the mark for long ones."""
    instrument, index, mark = line.instrument, line.index, line.today
    strike = float(instrument.strike or 0.0)
    out_of_the_money = max(strike - index if instrument.is_call else index - strike, 0.0) / index
    initial = max(rates.initial_maximum - out_of_the_money, rates.initial_minimum) * index + mark
    if instrument.is_call:
        maintenance = rates.call_maintenance * index + mark
    else:
        maintenance = max(rates.put_maintenance * index, rates.put_maintenance_of_mark * mark) + mark
        initial = max(initial, maintenance * rates.put_initial_over_maintenance)
    fields[LineField.OPTION_LONG_INITIAL] = mark
    fields[LineField.OPTION_LONG_MAINTENANCE] = mark
    fields[LineField.OPTION_SHORT_INITIAL] = max(0.0, initial - mark)
    fields[LineField.OPTION_SHORT_MAINTENANCE] = max(0.0, maintenance - mark)


def unpaired_rates(parameters: AnyParameters, underlying: str, forward: float) -> tuple[float, float]:
    """Initial and maintenance charge per net short call of an expiry (STD-8), currency of the strike."""
    if not isinstance(parameters, StandardParameters):
        return 0.0, 0.0
    rates = option_rates(parameters, underlying)
    return rates.unpaired_initial * forward, rates.unpaired_maintenance * forward


def empty_fields(lines: int) -> Floats:
    """[lines, fields of LineField] of a line that is charged nothing."""
    fields = np.zeros((lines, len(LineField)))
    fields[:, [LineField.CONFIDENCE, LineField.LENDS_CONFIDENCE]] = 1.0
    return fields
