"""Charges beside the scan: contingencies, unsure oracles, a peg that is lost (CHG-1 … CHG-11, ORD-5).

What lives here: charges on quantities, each at the worse end of the range that orders allow. What may not: the
requirements of a model's own formulas (`standard`) and of collateral's haircuts (`collateral`).
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Literal, NamedTuple

from holdfast.witness.exact.book import Book
from holdfast.witness.exact.inputs import Contract
from holdfast.witness.exact.intervals import ZERO
from holdfast.witness.exact.parameters import ConfidenceRule, Kind, Measure, StandardModel
from holdfast.witness.exact.table import Table

Stage = Literal["initial", "maintenance"]


def held(table: Table, book: Book) -> list[Contract]:
    """Contracts that the account holds or can come to hold, in the order of TAB-3."""
    contracts = table.market.contracts
    names = [name for name, reach in book.range.items() if name in contracts and (reach.low or reach.high)]
    return [contracts[name] for name in sorted(names, key=table.market.places.__getitem__)]


def _rate(table: Table, kind: Kind, measure: Measure, stage: Stage) -> Fraction:
    return table.rates.get((kind, measure, stage), ZERO)


def _slope(table: Table, kind: Kind, stage: Stage) -> Fraction:
    return table.rates.get((kind, "gross", f"{stage}_slope"), ZERO)


class Charged(NamedTuple):
    """What positions pay, by component."""

    charges: Fraction = ZERO
    confidence: Fraction = ZERO
    depeg: Fraction = ZERO


def positions(table: Table, book: Book, stage: Stage, own: Callable[[Contract, Fraction], Fraction]) -> Charged:
    """What depends on each position alone: CHG-2, CHG-3, CHG-8, CHG-11 and the model's own requirement of a future.

    Of a range, what the position pays in all at its worse end (ORD-5).

    Args:
        table: Prices and charges.
        book: The account.
        stage: Which rates; unsure oracles and a lost peg count for initial margin only.
        own: What the model itself requires of a contract of a size (STD-1); 0 where it requires nothing.
    """

    def at(contract: Contract, quantity: Fraction) -> Charged:
        charge = _charge(table, contract, quantity, stage) + own(contract, abs(quantity))
        if stage == "maintenance":
            return Charged(charge)
        return Charged(charge, _confidence(table, book, contract, quantity), _depeg(table, contract, quantity))

    found = []
    for contract in held(table, book):
        reach = book.at(contract.name)
        lowest = at(contract, reach.low)
        found.append(lowest if reach.is_point else max(lowest, at(contract, reach.high), key=sum))
    return Charged(*(sum(filter(None, component), ZERO) for component in zip(*found, strict=True)))


def _charge(table: Table, contract: Contract, quantity: Fraction, stage: Stage) -> Fraction:
    size, slope = abs(quantity), _slope(table, contract.kind, stage)
    rate = _rate(table, contract.kind, "gross", stage)
    if slope:
        rate += slope * size * table.market.coins(contract)
    if quantity < 0:
        rate += _rate(table, contract.kind, "short", stage)
    return size * table.market.notional(contract) * rate if rate else ZERO


def netted(table: Table, book: Book, stage: Stage) -> Fraction:
    """The component `netted`: net short options per strike (CHG-4) and per expiry (CHG-5)."""
    options = [each for each in held(table, book) if each.is_option]

    def net_short(key: Callable[[Contract], tuple[str, *tuple[object, ...]]], measure: Measure) -> Fraction:
        rate, sums = _rate(table, "option", measure, stage), dict[tuple[str, *tuple[object, ...]], Fraction]()
        for each in options if rate else ():
            sums[key(each)] = sums.get(key(each), ZERO) + book.at(each.name).low
        return rate * sum((-net * table.market.index(name[0]) for name, net in sums.items() if net < 0), ZERO)

    return net_short(lambda each: (each.underlying, each.expiry, each.strike), "net-short-per-strike") + net_short(
        lambda each: (each.underlying, each.expiry), "net-short-per-expiry"
    )


def offset(table: Table, book: Book, stage: Stage) -> Fraction:
    """The component `offset`: perpetuals and futures against each other, the larger rate once (CHG-6, CHG-7)."""
    rates = {kind: _rate(table, kind, "offset", stage) for kind in ("perpetual", "future")}
    charged = {each.applies_to for each in table.model.charges if each.measure == "offset"}
    per_underlying: dict[str, tuple[Fraction, Fraction]] = {}
    for each in held(table, book):
        if each.kind in charged:
            notional = table.market.notional(each)
            long, short = per_underlying.get(each.underlying, (ZERO, ZERO))
            long, short = long + book.long(each.name) * notional, short + book.short(each.name) * notional
            per_underlying[each.underlying] = long, short
    return max(rates.values()) * sum((min(each) for each in per_underlying.values()), ZERO)


def missing_peg(table: Table) -> Fraction:
    """(threshold − price) · factor of CHG-11; 0 at the peg, without a rule, and without a price (MKS-11)."""
    rule = table.model.depeg
    if rule is None or rule.asset not in table.market.assets:
        return ZERO
    return max(ZERO, rule.threshold - table.market.dollars(rule.asset)) * rule.factor


def _depeg(table: Table, contract: Contract, quantity: Fraction) -> Fraction:
    """CHG-11 in the standard model: a charge on short options, perpetuals and futures."""
    if not isinstance(table.model, StandardModel) or (contract.is_option and quantity > 0):
        return ZERO
    return abs(quantity) * table.market.notional(contract) * missing_peg(table)


def collateral_doubt(table: Table, asset: str) -> Fraction:
    """Charge for unsure oracles per unit of an asset's positive value, in dollars where the credit is (COL-7)."""
    rule, collateral = table.model.confidence, table.model.rule(asset)
    if rule is None or table.market.is_sure:
        return ZERO
    dollars = table.market.dollars(table.market.inputs.numeraire) if collateral and collateral.credit_in_dollars else 1
    return _doubt(_collateral_confidence(table, asset, rule), rule.collateral_threshold) * rule.factor * dollars


def _doubt(confidence: Fraction, threshold: Fraction) -> Fraction:
    return 1 - confidence if confidence < threshold else ZERO


def _confidence(table: Table, book: Book, contract: Contract, quantity: Fraction) -> Fraction:
    """CHG-8 and CHG-9 of one position."""
    rule, market = table.model.confidence, table.market
    if rule is None or market.is_sure or (contract.is_option and rule.options_short_only and quantity > 0):
        return ZERO
    if contract.is_option:
        doubt = _doubt(_option_confidence(table, book, contract, rule), rule.option_threshold)
    else:
        sure = min(market.confidence(contract.underlying), market.mark_confidence(contract))
        doubt = _doubt(sure, rule.perpetual_threshold)
    return abs(quantity) * market.notional(contract) * doubt * rule.factor


def _option_confidence(table: Table, book: Book, option: Contract, rule: ConfidenceRule) -> Fraction:
    market, expiry = table.market, table.market.expiry(option)
    sources = [market.confidence(option.underlying), expiry.forward_confidence, expiry.volatility_confidence]
    if rule.options_with_rate:
        sources.append(expiry.rate_confidence)
    if rule.options_with_perpetual:
        perpetuals = (each for each in held(table, book) if each.kind == "perpetual")
        sources += [market.confidence(each.name) for each in perpetuals if each.underlying == option.underlying]
    return min(sources)


def _collateral_confidence(table: Table, asset: str, rule: ConfidenceRule) -> Fraction:
    """The asset's own if the rule says so, and the index's of its underlying."""
    collateral = table.model.rule(asset)
    sources = [table.market.confidence(asset)] if rule.collateral_own else []
    if collateral is not None and collateral.underlying is not None:
        sources.append(table.market.confidence(collateral.underlying))
    return min(sources, default=Fraction(1))
