"""Laws that a margin keeps whatever the numbers (TAB-12 … TAB-16, CON-4).

What lives here: tests of one account by its own parts, multiples and fewer scenarios, without a second opinion on any
number. They hold for every table of the promised kind, also for one whose values are another engine's. What may not: a
law for models that do not promise it.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

from holdfast.witness.exact.book import Book, Holdings, book
from holdfast.witness.exact.intervals import NOTHING, ONE, Interval, greatest, total
from holdfast.witness.exact.margin import Exact, margin
from holdfast.witness.exact.parameters import Model, PortfolioModel, StandardModel
from holdfast.witness.exact.scan import results, scan
from holdfast.witness.exact.table import Table

Item = TypeVar("Item")
Rows = dict[str, tuple[int, int]]


def laws(table: Table, holdings: Holdings) -> list[str]:
    """The laws that an account breaks, in words; empty if it keeps all that its model promises.

    Args:
        table: The risk table of its model.
        holdings: Rows of the account.
    """
    whole, account = margin(table, holdings), book(table, holdings)
    checks = (
        _signs(whole),
        _order(table, holdings, whole),
        _single_scenarios(table, account),
        _fewer_scenarios(table, account),
        _parts(table, holdings, whole),
        _scale(table, holdings, whole),
    )
    return [found for check in checks for found in check]


def _signs(whole: Exact) -> Iterator[str]:
    """CON-4."""
    for name, stages in whole.components.items():
        for stage, amount in zip(("initial", "maintenance"), stages, strict=True):
            if amount.high < 0 and name != "options":
                yield f"{name} ({stage}) is {float(amount.high)}, below 0"


def _order(table: Table, holdings: Holdings, whole: Exact) -> Iterator[str]:
    """TAB-12."""
    if margin(table, {name: holdings[name] for name in reversed(list(holdings))}) != whole:
        yield "the order of positions changes the margin"


def _single_scenarios(table: Table, account: Book) -> Iterator[str]:
    """TAB-16; in the tail model the other way round: an average of losses is at most the worst of each underlying."""
    if isinstance(table.model, StandardModel):
        return
    required = scan(table, account)
    losses = [[greatest(NOTHING, -each) for each in results(table, account, name)] for name in table.underlyings]
    if not isinstance(table.model, PortfolioModel):
        if required.low > total(greatest(*each) for each in losses).high:
            yield f"the scan requires {float(required.low)}, more than the worst losses together"
        return
    for scenario in range(table.scenarios):
        loss = total(each[scenario] for each in losses)
        if required.high < loss.low:
            yield f"scenario {scenario} loses {float(loss.low)}, the scan requires {float(required.high)}"


def _fewer_scenarios(table: Table, account: Book) -> Iterator[str]:
    """TAB-15."""
    if not isinstance(table.model, PortfolioModel):
        return
    required = scan(table, account)
    for scenario in range(table.scenarios):
        fewer = scan(without(table, scenario), account)
        if fewer.low > required.high:
            yield f"without scenario {scenario} the scan requires {float(fewer.low)}, with it {float(required.high)}"


def without(table: Table, scenario: int) -> Table:
    """The table as it would be without one of its scenarios."""

    def cut(values: tuple[Item, ...]) -> tuple[Item, ...]:
        return values[:scenario] + values[scenario + 1 :]

    return replace(
        table,
        lines={name: replace(each, v=cut(each.v)) for name, each in table.lines.items()},
        groups=tuple(replace(each, gain=cut(each.gain), loss=cut(each.loss)) for each in table.groups),
        scenarios=table.scenarios - 1,
    )


def _parts(table: Table, holdings: Holdings, whole: Exact) -> Iterator[str]:
    """TAB-13, for halves and for every line alone, the sum of standalone requirements."""
    if rewards_of_splitting(table):
        return
    for name, parts in (("halves", halves(holdings)), ("single lines", singles(table, holdings))):
        margins = [margin(table, each) for each in parts]
        for stage, required in (("initial", whole.initial), ("maintenance", whole.maintenance)):
            apart = total(getattr(each, stage) for each in margins)
            if apart.high < required.low:
                yield f"{name} need {float(apart.high)} ({stage}), the whole {float(required.low)}"


def halves(holdings: Holdings) -> list[Rows]:
    """The account in two parts of equal size, to a lot and a unit."""
    first = {name: (amount // 2, cost // 2) for name, (amount, cost) in holdings.items()}
    return [first, _rest(holdings, [first])]


def singles(table: Table, holdings: Holdings) -> list[Rows]:
    """Every contract alone with its cost, and what remains of the balances."""
    parts: list[Rows] = []
    for name, (amount, cost) in holdings.items():
        if name in table.market.contracts:
            parts.append({name: (amount, cost), table.market.contracts[name].settlement: (0, cost)})
    return [*parts, _rest(holdings, parts)]


def _rest(holdings: Holdings, parts: list[Rows]) -> Rows:
    rest: Rows = dict(holdings)
    for part in parts:
        for name, (amount, cost) in part.items():
            before = rest.get(name, (0, 0))
            rest[name] = (before[0] - amount, before[1] - cost)
    return rest


def rewards_of_splitting(table: Table) -> list[str]:
    """What in a model can make parts need less than the whole (TAB-13); empty where the law is promised."""
    model, found = table.model, []
    if has_slopes(model):
        found.append("size slopes")
    if any(len(each.tiers) > 1 for each in model.collateral.values()):
        found.append("haircut tiers")
    if any(each.positive != each.negative and each.positive.high > each.negative.low for each in table.groups):
        found.append("multipliers that favour losses")
    if any(each.measure == "offset" for each in model.charges):
        found.append("offset charges")
    if isinstance(model, StandardModel) and any(each.maximum_loss for each in model.options.values()):
        found.append("maximum loss")
    if model.confidence is not None and model.confidence.options_with_perpetual and table.market.inputs.confidences:
        found.append("confidence of perpetuals")
    return found


def has_slopes(model: Model) -> bool:
    """Whether rates grow with size."""
    slopes = [slope for each in model.charges for slope in (each.initial_slope, each.maintenance_slope)]
    if isinstance(model, StandardModel):
        slopes += [slope for each in model.futures.values() for slope in (each.initial_slope, each.maintenance_slope)]
    return any(slopes)


def _scale(table: Table, holdings: Holdings, whole: Exact) -> Iterator[str]:
    """TAB-14, for twice the account."""
    if has_slopes(table.model) or any(len(each.tiers) > 1 for each in table.model.collateral.values()):
        return
    twice = margin(table, {name: (2 * amount, 2 * cost) for name, (amount, cost) in holdings.items()})
    for stage, once, double in (
        ("initial", whole.initial, twice.initial),
        ("maintenance", whole.maintenance, twice.maintenance),
    ):
        if not _meet(once.times(ONE + ONE), double):
            yield f"twice the account needs {float(double.middle)} ({stage}), once {float(once.middle)}"


def _meet(one: Interval, other: Interval) -> bool:
    return one.low <= other.high and other.low <= one.high
