"""The risk table, exact (TAB-1 … TAB-5, TAB-18, PM-1, PM-7, PM-8).

What lives here: lines with their values, groups with their multipliers. What may not: an account.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from holdfast.domain.errors import InputError
from holdfast.witness.exact.grid import Ends, Factor, ends_of, factor_of
from holdfast.witness.exact.inputs import Contract, Inputs
from holdfast.witness.exact.intervals import ONE, ZERO, Interval, Number
from holdfast.witness.exact.market import DOLLAR, Market
from holdfast.witness.exact.parameters import (
    AnyModel,
    Kind,
    Measure,
    PortfolioModel,
    StandardModel,
    model_from,
    rule_for,
)
from holdfast.witness.exact.shocks import Chain, Move, basis_moves, moves, static_discounts

_ONE = Interval.point(ONE)
GroupKind = Kind | None
GroupKey = tuple[str, int, GroupKind]
"""Underlying, expiry (0 for none) and `option`, `future`, or None for the coin and its perpetuals."""


@dataclass(frozen=True)
class Line:
    """An item's values in the numeraire, per unit of quantity.

    Attributes:
        name: The item.
        group: Its group; None for an asset that is not scanned.
        v0: Value today.
        v: Values in the scenarios, in their order.
        basis: Values in the two scenarios of the basis contingency, up first; empty without one.
    """

    name: str
    group: GroupKey | None
    v0: Number
    v: tuple[Number, ...] = ()
    basis: tuple[Number, ...] = ()

    @cached_property
    def ends(self) -> Ends:
        """`v` in units."""
        return ends_of(self.v)

    @cached_property
    def today(self) -> Ends:
        """`v0` in units."""
        return ends_of((self.v0,))

    @cached_property
    def basis_change(self) -> Ends:
        """`basis` less `v0` in units."""
        return ends_of(self.basis).minus(self.today)


@dataclass(frozen=True)
class Group:
    """Lines that are taken together.

    Attributes:
        key: Underlying, expiry and kind.
        lines: Names of its lines.
        positive: M₊, the same in every scenario.
        negative: M₋.
        gain: P₊ by scenario.
        loss: P₋ by scenario.
        basis: Factor of the basis contingency; None without one.
    """

    key: GroupKey
    lines: tuple[str, ...]
    positive: Interval
    negative: Interval
    gain: tuple[Fraction, ...]
    loss: tuple[Fraction, ...]
    basis: Fraction | None

    @cached_property
    def multipliers(self) -> tuple[Factor, Factor]:
        """M₊ and M₋."""
        return factor_of(self.positive), factor_of(self.negative)

    @cached_property
    def factors(self) -> tuple[tuple[Factor, ...], tuple[Factor, ...]]:
        """P₊ and P₋ by scenario."""
        gain, loss = (tuple(factor_of(Interval.point(each)) for each in some) for some in (self.gain, self.loss))
        return gain, loss


@dataclass(frozen=True)
class Table:
    """Everything about one model at one mark that does not depend on the account."""

    name: str
    model: AnyModel
    market: Market
    lines: Mapping[str, Line]
    groups: tuple[Group, ...]
    scenarios: int

    @cached_property
    def underlyings(self) -> list[str]:
        """Underlyings that have a group, in order."""
        return list(dict.fromkeys(each.key[0] for each in self.groups))

    @cached_property
    def rates(self) -> Mapping[tuple[Kind, Measure, str], Fraction]:
        """By kind, measure, and `initial`, `maintenance` or one of them with `_slope`: rates add up (CHG-7)."""
        sums: dict[tuple[Kind, Measure, str], Fraction] = {}
        for each in self.model.charges:
            for name in ("initial", "maintenance", "initial_slope", "maintenance_slope"):
                key = each.applies_to, each.measure, name
                sums[key] = sums.get(key, ZERO) + getattr(each, name)
        return sums

    @cached_property
    def group_of(self) -> Mapping[GroupKey, Group]:
        """Groups by key."""
        return {each.key: each for each in self.groups}


def table(inputs: Inputs, model: str) -> Table:
    """The risk table of a model.

    Args:
        inputs: Items, parameters, frozen prices, time.
        model: A name of `inputs.models`.

    Raises:
        InputError: The model is not named, cannot be read, or lacks what a line needs.
    """
    if model not in inputs.models:
        raise InputError("missing-field", f"models[{model}]", None, "give the model's parameters")
    parameters, market = model_from(inputs.models[model]), Market(inputs)
    _check_rules(market, parameters)
    lines = _lines(market, parameters)
    groups = _groups(market, parameters, lines)
    scenarios = max((len(each.v) for each in lines.values()), default=0)
    return Table(model, parameters, market, lines, groups, scenarios)


def scanned_with(market: Market, model: AnyModel, asset: str) -> str | None:
    """The underlying that an asset moves with, None for one that stands still.

    Raises:
        InputError: `missing-price`, the underlying has no frozen price, so that nothing says how it moves.
    """
    rule = model.rule(asset)
    if isinstance(model, StandardModel) or rule is None or not rule.scanned or rule.underlying is None:
        return None
    if rule.underlying == DOLLAR or rule.underlying not in market.assets:
        advice = "freeze a price of the underlying, or do not scan the asset"
        raise InputError("missing-price", f"parameters.collateral[{asset}].underlying", rule.underlying, advice)
    return rule.underlying


def _lines(market: Market, model: AnyModel) -> dict[str, Line]:
    scanned = {name: scanned_with(market, model, name) for name in market.assets}
    if not isinstance(model, StandardModel):
        _check_inverse(market, scanned)
    per_underlying: dict[str, Sequence[Move]] = {}
    underlyings = {each.underlying for each in market.contracts.values()} | {*filter(None, scanned.values())}
    for underlying in sorted(underlyings):
        per_underlying[underlying] = moves(model, underlying)
    if len({len(each) for each in per_underlying.values()}) > 1:
        raise InputError("malformed", "parameters.moves", None, "give every underlying as many moves as the others")
    result = [_asset_line(market, name, scanned[name], per_underlying, basis_moves(model)) for name in market.assets]
    chains: dict[tuple[str, int, str], Chain] = {}
    result += [_contract_line(market, model, each, per_underlying, chains) for each in market.contracts.values()]
    return {each.name: each for each in result}


def _check_rules(market: Market, model: AnyModel) -> None:
    """Every contract has a rule of the standard model, and the open interest that it scales with (STD-2)."""
    if not isinstance(model, StandardModel):
        return
    stated, advice = market.inputs.open_interest, "state it, or choose rates that do not scale with it"
    for each in market.contracts.values():
        if each.is_option:
            rule_for(model.options, each.underlying, "options")
            continue
        rule = rule_for(model.futures, each.underlying, "futures")
        if rule.open_interest is not None and each.name not in stated:
            raise InputError("missing-field", f"open_interest[{each.name}]", None, advice)


def _check_inverse(market: Market, scanned: Mapping[str, str | None]) -> None:
    """TAB-18."""
    for each in market.contracts.values():
        if each.is_inverse and scanned[each.settlement] != each.underlying:
            field = f"parameters.collateral[{each.settlement}]"
            raise InputError("missing-field", field, each.name, "scan the coin of an inverse contract with itself")


def _asset_line(
    market: Market, name: str, underlying: str | None, scans: Mapping[str, Sequence[Move]], basis: Sequence[Move]
) -> Line:
    value = market.value(name)
    if underlying is None:
        length = max((len(each) for each in scans.values()), default=0)
        return Line(name, None, Number(value), (Number(value),) * length, (Number(value),) * len(basis))
    scan = tuple(Number(value * each.price) for each in scans[underlying])
    return Line(name, (underlying, 0, None), Number(value), scan, tuple(Number(value * each.price) for each in basis))


def _contract_line(
    market: Market,
    model: AnyModel,
    contract: Contract,
    scans: Mapping[str, Sequence[Move]],
    chains: dict[tuple[str, int, str], Chain],
) -> Line:
    kind: GroupKind = None if contract.kind == "perpetual" else contract.kind
    scenarios = len(scans[contract.underlying])
    cases = (None, *scans[contract.underlying], *basis_moves(model))
    if contract.is_option:
        chain = contract.underlying, contract.expiry, contract.settlement
        if chain not in chains:
            chains[chain] = Chain(market, model, contract, cases)
        values = chains[chain].values(contract)
    else:
        values = [_value(market, contract, each) for each in cases]
    group = (contract.underlying, contract.expiry, kind)
    return Line(contract.name, group, values[0], tuple(values[1 : scenarios + 1]), tuple(values[scenarios + 1 :]))


def _value(market: Market, contract: Contract, move: Move | None) -> Number:
    """TAB-1: inverse contracts have one value in every scenario, since the coin's move cancels."""
    value = market.value_at(contract, market.mark(contract)) * market.value(contract.settlement)
    return Number(value if contract.is_inverse or move is None else value * move.price)


def _groups(market: Market, model: AnyModel, lines: Mapping[str, Line]) -> tuple[Group, ...]:
    members: dict[GroupKey, list[str]] = {}
    for line in lines.values():
        if line.group is not None:
            members.setdefault(line.group, []).append(line.name)
    return tuple(_group(market, model, key, tuple(members[key])) for key in sorted(members, key=_rank))


def _rank(key: GroupKey) -> tuple[str, int, bool]:
    underlying, expiry, kind = key
    return underlying, expiry, kind == "option"


def _group(market: Market, model: AnyModel, key: GroupKey, lines: tuple[str, ...]) -> Group:
    scenarios = moves(model, key[0])
    weights = tuple(each.weight for each in scenarios)
    if key[2] != "option":
        return Group(key, lines, _ONE, _ONE, weights, weights, _basis_factor(market, model, key, lines))
    gain = tuple(-each.weight if each.is_skew else each.weight for each in scenarios)
    positive, negative = static_discounts(market, model, market.contracts[lines[0]])
    return Group(key, lines, positive, negative, gain, weights, _basis_factor(market, model, key, lines))


def _basis_factor(market: Market, model: AnyModel, key: GroupKey, lines: tuple[str, ...]) -> Fraction | None:
    """The f of TAB-5 and PM-8."""
    if not isinstance(model, PortfolioModel) or model.basis is None:
        return None
    if key[2] is None or (key[2] == "future" and not model.basis.futures):
        return None
    return model.basis.add + model.basis.per_year * market.years(market.contracts[lines[0]])
