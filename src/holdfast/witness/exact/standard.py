"""The standard model's own formulas (STD-1 … STD-8, ORD-5, ORD-6).

What lives here: rates of perpetuals and futures, isolated requirements of options, the maximum loss of an expiry. What
may not: the charges that all models share.
"""

from collections.abc import Sequence
from fractions import Fraction

from holdfast.witness.exact.book import Book
from holdfast.witness.exact.charges import Stage, held
from holdfast.witness.exact.inputs import Contract
from holdfast.witness.exact.intervals import NOTHING, ONE, ZERO, Interval, greatest, highest, least, total
from holdfast.witness.exact.market import DOLLAR
from holdfast.witness.exact.parameters import FutureRates, OptionRates, StandardModel, rule_for
from holdfast.witness.exact.table import Table


def future(table: Table, contract: Contract, size: Fraction, stage: Stage) -> Fraction:
    """Requirement of a perpetual or future of a size (STD-1); 0 of an option and in other models."""
    if not isinstance(table.model, StandardModel) or contract.is_option:
        return ZERO
    rule = rule_for(table.model.futures, contract.underlying, "futures")
    if rule.notional == "mark":
        notional = mark_notional(table, contract)
    elif contract.is_inverse:
        notional = ONE
    else:
        notional = table.market.index(contract.underlying) * table.market.value(contract.settlement)
    slope = rule.initial_slope if stage == "initial" else rule.maintenance_slope
    return size * notional * (future_rate(table, contract, rule, stage) + slope * size * table.market.coins(contract))


def mark_notional(table: Table, contract: Contract) -> Fraction:
    """Notional of one unit at the mark: F · v(a), of an inverse contract v(a) / F."""
    mark, unit = table.market.mark(contract), table.market.value(contract.settlement)
    return unit / mark if contract.is_inverse else unit * mark


def _open_interest(table: Table, contract: Contract) -> Fraction:
    return table.market.inputs.open_interest[contract.name] * mark_notional(table, contract)


def future_rate(table: Table, contract: Contract, rule: FutureRates, stage: Stage) -> Fraction:
    """The rate at size 0; for initial margin raised by open interest (STD-2)."""
    if stage == "maintenance":
        return rule.maintenance
    if rule.open_interest is None:
        return rule.initial
    lower, upper = rule.open_interest.lower, rule.open_interest.upper
    part = max(ZERO, (_open_interest(table, contract) - lower) / (upper - lower))
    return min(ONE, rule.initial + part * (1 - rule.initial))


def options(table: Table, book: Book, stage: Stage) -> Interval:
    """The component `options`: per expiry the isolated requirements, or the maximum loss where that is less (STD-8)."""
    if not isinstance(table.model, StandardModel):
        return NOTHING
    groups: dict[tuple[str, int], list[Contract]] = {}
    for each in held(table, book):
        if each.is_option:
            groups.setdefault((each.underlying, each.expiry), []).append(each)
    rules = table.model.options
    return total(
        _expiry(table, book, group, rule_for(rules, group[0].underlying, "options"), stage) for group in groups.values()
    )


def _expiry(table: Table, book: Book, group: Sequence[Contract], rule: OptionRates, stage: Stage) -> Interval:
    isolated = total(_isolated(table, book, each, rule, stage) for each in group)
    return least(isolated, maximum_loss(table, book, group, rule, stage)) if rule.maximum_loss else isolated


def _isolated(table: Table, book: Book, option: Contract, rule: OptionRates, stage: Stage) -> Interval:
    """A line's requirement alone (STD-6), the larger of both ends of its range."""
    value = table.lines[option.name].v0.interval
    short = short_form(table, option, rule, stage) - value
    reach = book.at(option.name)
    return greatest(*(value.times(end) if end > 0 else short.times(-end) for end in (reach.low, reach.high)))


def short_form(table: Table, option: Contract, rule: OptionRates, stage: Stage) -> Interval:
    """The venue's requirement of one short option, its mark M included (STD-4, STD-5)."""
    index, value = table.market.index(option.underlying), table.lines[option.name].v0.interval
    distance = option.strike - index if option.is_call else index - option.strike
    rate = max(rule.initial_maximum - max(ZERO, distance) / index, rule.initial_minimum)
    initial = value.plus(rate * index)
    if option.is_call:
        return initial if stage == "initial" else value.plus(rule.call_maintenance * index)
    of_mark = value.times(rule.put_maintenance_of_mark)
    maintenance = greatest(Interval.point(rule.put_maintenance * index), of_mark) + value
    return (
        maintenance
        if stage == "maintenance"
        else greatest(initial, maintenance.times(rule.put_initial_over_maintenance))
    )


def maximum_loss(table: Table, book: Book, group: Sequence[Contract], rule: OptionRates, stage: Stage) -> Interval:
    """The bound of STD-8: the worst over settlement prices, and the charge on net short calls; with orders ORD-6."""
    prices = [ZERO, *(each.strike for each in group)]
    worst = greatest(
        total(highest(book.at(each.name), table.lines[each.name].v0.interval) for each in group),
        *(total(_forgone(table, book, each, price) for each in group) for price in prices),
    )
    calls = [each for each in group if each.is_call]
    net = sum((book.at(each.name).low for each in calls), ZERO)
    par = max((par_value(table, each) for each in calls), default=ZERO)
    unpaired = rule.unpaired_initial if stage == "initial" else rule.unpaired_maintenance
    return worst.plus(unpaired * table.market.forward(group[0]) * par * max(ZERO, -net))


def _forgone(table: Table, book: Book, option: Contract, price: Fraction) -> Interval:
    """What a line is worth more today than its payoff at a settlement price."""
    payoff = par_value(table, option) * max(ZERO, price - option.strike if option.is_call else option.strike - price)
    return highest(book.at(option.name), table.lines[option.name].v0.interval.plus(-payoff))


def par_value(table: Table, option: Contract) -> Fraction:
    """Numeraire value of the strike's currency (STD-8)."""
    return table.market.value(DOLLAR if option.is_inverse else option.settlement)
