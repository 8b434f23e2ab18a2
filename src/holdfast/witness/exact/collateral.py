"""Haircuts and liabilities of balances with their unrealised profit (COL-1 … COL-6, ORD-8).

What lives here: what one asset's balance requires. What may not: oracle confidence on it, which is a charge.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from holdfast.witness.exact.book import Book
from holdfast.witness.exact.charges import Stage, collateral_doubt
from holdfast.witness.exact.intervals import NOTHING, ZERO, Interval, greatest, total
from holdfast.witness.exact.parameters import Collateral
from holdfast.witness.exact.table import Table


def balances(table: Table, worth: Mapping[str, Interval]) -> dict[str, Interval]:
    """By asset, the value in the numeraire of cash − cost and of what is settled in it (COL-1).

    Args:
        table: The lines.
        worth: Quantity times value by line that is held.
    """
    lines: dict[str, list[Interval]] = {name: [] for name in table.market.assets}
    for name, value in worth.items():
        contract = table.market.contracts.get(name)
        lines[contract.settlement if contract else name].append(value)
    return {name: total(values) for name, values in lines.items()}


def collateral(table: Table, book: Book, held: Mapping[str, Interval], stage: Stage) -> tuple[Interval, Interval]:
    """The component `collateral`, and what unsure oracles charge on balances, a part of `confidence` (COL-7).

    Where orders move a balance, both are bounded as one sum, which stands under `collateral`: of a gain each might take
    less than all and both together more.

    Args:
        table: Rules and prices.
        book: The account.
        held: Its `balances`.
        stage: Whose haircuts count.
    """
    dollar = table.market.dollars(table.market.inputs.numeraire)
    required, doubted = NOTHING, NOTHING
    for asset, value in held.items():
        doubt = collateral_doubt(table, asset) if stage == "initial" else ZERO
        rule, gain, loss = table.model.rule(asset), book.gain.get(asset, NOTHING), book.loss.get(asset, NOTHING)
        if gain == loss == NOTHING:
            required += Required(rule, dollar, stage).over(value)
            doubted += greatest(NOTHING, value).times(doubt)
        else:
            required += Required(rule, dollar, stage, doubt).reached(value, gain, loss)
    return required, doubted


class Required:
    """What a balance of a value requires, linear between bends.

    Above 0 what it loses (COL-2, COL-5, COL-6), below 0 a part of what is owed (COL-4).

    Args:
        rule: The asset's rule; None for no credit.
        dollar: Dollar price of the numeraire.
        stage: Whose haircuts count.
        doubt: Further charge per unit of positive value.
    """

    def __init__(self, rule: Collateral | None, dollar: Fraction, stage: Stage, doubt: Fraction = ZERO) -> None:
        self._tiers: Sequence[tuple[Fraction, Fraction]] = (
            [(ZERO, Fraction(1))] if rule is None else [(each.above, getattr(each, stage)) for each in rule.tiers]
        )
        self._dollar = dollar if rule is not None and rule.credit_in_dollars else Fraction(1)
        self._doubt = doubt
        self._liability = rule.liability if rule else ZERO
        self._bends = [ZERO, *(above for above, _ in self._tiers)]

    def at(self, value: Fraction) -> Fraction:
        """The requirement of one exact value."""
        if value <= 0:
            return -value * self._liability
        ends = [above for above, _ in self._tiers[1:]] + [value]
        lost = sum(
            (rate * max(ZERO, min(value, end) - above) for (above, rate), end in zip(self._tiers, ends, strict=False)),
            ZERO,
        )
        return max(ZERO, value - (value - lost) * self._dollar) + self._doubt * value

    def over(self, value: Interval) -> Interval:
        """The requirements of all values of an interval."""
        found = [self.at(each) for each in self._along(value)]
        return Interval(min(found), max(found))

    def reached(self, value: Interval, gain: Interval, loss: Interval) -> Interval:
        """The largest on the way from value − loss to value + gain, less the part of the gain that it takes (ORD-8).

        It grows with the way and with the value from which gains are counted: so the longest way and the highest value
        bound it above, the shortest way that is certain and the lowest value below; and so does the balance as it is.
        """
        longest = Interval(value.low - loss.high, value.high + gain.high)
        start, end = value.high - loss.low, value.low + gain.low
        above = max(self._less_gain(each, value.high) for each in self._along(longest, value.high))
        certain = self._along(Interval(start, end), value.low) if start <= end else []
        below = max([self.over(value).low, *(self._less_gain(each, value.low) for each in certain)])
        return Interval(below, above)

    def _less_gain(self, value: Fraction, before: Fraction) -> Fraction:
        return self.at(value) - max(ZERO, value - before)

    def _along(self, way: Interval, *more: Fraction) -> list[Fraction]:
        return [each for each in (way.low, way.high, *more, *self._bends) if way.holds(each)]
