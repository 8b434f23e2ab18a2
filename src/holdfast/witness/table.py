"""The risk table of one model: everything that does not depend on the account, as matrices for products.

Lines are ordered as TAB-3 says, so every group and every underlying is a slice of them. A table holds `today` [lines],
`values` [lines, scenarios] and for each line the coefficients of what is charged on a quantity by itself; what nets
between lines is held per group. The market behind it is the frozen one of MKS-8: confidences 1, rates 0.

What lives here: how a table is built from items, frozen prices and parameters (specs/risk-table.md and the pages of the
models). What may not: accounts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from holdfast.witness import black, shocks
from holdfast.witness.black import Floats
from holdfast.witness.contracts import ASSET, FUTURE, OPTION, PERPETUAL, Item
from holdfast.witness.lines import FrozenMarket, ImpossibleTableError, Line
from holdfast.witness.rules import Collateral, FutureRates, OptionRates, Parameters, Portfolio, Standard, Tail


@dataclass
class Group:
    """Lines of one underlying that share multipliers: `start` to `stop` of the table's lines.

    Attributes:
        start: Its first line.
        stop: Behind its last line.
        is_option: Whether it is an expiry's options.
        above: [2, scenarios], M₊ and P₊.
        below: [2, scenarios], M₋ and P₋.
        basis_factor: Of the second reduction, 0 for none.
        basis: [lines of the group, 2], values in the two named scenarios.
        plain: Whether all multipliers are 1.
    """

    start: int
    stop: int
    is_option: bool
    above: Floats
    below: Floats
    basis_factor: float = 0.0
    basis: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    plain: bool = True


@dataclass
class Expiry:
    """The options of one expiry, for what nets between them.

    Attributes:
        start: Their first line.
        stop: Behind their last line.
        strikes: [k] distinct strikes.
        at_strike: [lines, k], 1 where the line has the strike.
        payoffs: [lines, 1 + k], numeraire value of one unit at settlement at 0 and at each strike.
        calls: [lines], 1 for calls.
        par: [lines], numeraire value of the strike's currency.
        forward: Of the expiry.
        rates: The rules of the standard model, none in others.
        per_strike: Initial and maintenance rate times index on net short per strike.
        per_expiry: The same per expiry.
    """

    start: int
    stop: int
    strikes: Floats
    at_strike: Floats
    payoffs: Floats
    calls: Floats
    par: Floats
    forward: float
    rates: OptionRates | None
    per_strike: tuple[float, float] = (0.0, 0.0)
    per_expiry: tuple[float, float] = (0.0, 0.0)


@dataclass
class Underlying:
    """The lines of one underlying that is scanned, `start` to `stop`, and its groups."""

    name: str
    start: int
    stop: int
    groups: list[Group]


@dataclass
class Table:
    """One model's table.

    Attributes:
        parameters: The model's.
        lines: In the order of TAB-3.
        line_of: [items], the line of each item or −1.
        today: [lines], V0.
        values: [lines, scenarios], V.
        underlyings: Those that are scanned.
        expiries: Option groups.
        offsets: Per underlying both rates and [lines] notional per unit of who nets under CHG-6.
        gross: [2, lines], initial and maintenance per unit of |q|.
        square: [2, lines], per unit of q².
        short: [2, lines], per unit of a short quantity.
        isolated: [2, lines], requirement per unit of a short option in the standard model; longs need `today`.
        is_option: [lines].
        assets: Lines of the assets.
        asset_of: [lines], the place in `assets` of the settlement asset.
        collateral: By asset, its rule.
        worth: [assets], numeraire value of one.
        factors: Initial and maintenance factor of the scan.
    """

    parameters: Parameters
    lines: list[Line]
    line_of: npt.NDArray[np.int64]
    today: Floats
    values: Floats
    underlyings: list[Underlying] = field(default_factory=list)
    expiries: list[Expiry] = field(default_factory=list)
    offsets: list[tuple[Floats, Floats]] = field(default_factory=list)
    gross: Floats = field(default_factory=lambda: np.zeros((2, 0)))
    square: Floats = field(default_factory=lambda: np.zeros((2, 0)))
    short: Floats = field(default_factory=lambda: np.zeros((2, 0)))
    isolated: Floats = field(default_factory=lambda: np.zeros((2, 0)))
    is_option: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    assets: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    asset_of: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    collateral: list[Collateral | None] = field(default_factory=list)
    worth: Floats = field(default_factory=lambda: np.zeros(0))
    factors: tuple[float, float] = (1.0, 1.0)


def build(parameters: Parameters, market: FrozenMarket) -> Table:
    """The table of a model at the frozen prices.

    Raises:
        ImpossibleTableError: the model lacks what an item needs, or a value is no finite number.
    """
    ordered = _in_order(parameters, market)
    lines = _lines(ordered, market)
    line_of = np.full(len(market.items), -1, np.int64)
    line_of[[line.item.number for line in lines]] = np.arange(len(lines))
    table = Table(parameters, lines, line_of, *_values(parameters, lines, market))
    _add_assets(table)
    _add_charges(table)
    _add_offsets(table)
    _add_expiries(table)
    if isinstance(parameters, Standard):
        _add_standard(table, parameters)
    else:
        _add_underlyings(table, parameters)
    _add_depeg(table, market)
    for numbers in (table.today, table.values, table.gross, table.square, table.short, table.isolated):
        if not np.isfinite(numbers).all():
            raise ImpossibleTableError("a value of the table is no finite number")
    return table


def scanned_with(parameters: Parameters, item: Item) -> str | None:
    """The underlying whose moves an asset follows, if any; the standard model scans nothing."""
    rule = parameters.collateral_of(item.name)
    if isinstance(parameters, Standard) or rule is None or not rule.scanned:
        return None
    return rule.underlying


def _in_order(parameters: Parameters, market: FrozenMarket) -> list[Item]:
    """Items with a line, in the order of TAB-3."""

    def key(item: Item) -> tuple[object, ...]:
        if item.contract is None:
            followed = scanned_with(parameters, item)
            return (1, item.name) if followed is None else (0, followed, 0, 0, 0, 0, 0, item.name)
        contract = item.contract
        place = {PERPETUAL: 1, FUTURE: 0, OPTION: 1}[item.kind]
        return (
            0, contract.underlying, contract.expiry, place, contract.strike, not contract.is_call, contract.settlement,
            item.name,
        )  # fmt: skip

    return sorted(market.lines, key=key)


def _lines(ordered: list[Item], market: FrozenMarket) -> list[Line]:
    assets = [item.number for item in ordered if item.is_asset]
    place = {number: at for at, number in enumerate(assets)}
    found = []
    for item in ordered:
        index = market.index(item)
        is_dollars = item.has_inverse_cost
        volatility = market.marked[item.number] / 10**6 if item.kind == OPTION else 0.0
        found.append(
            Line(
                item, place[item.settlement], index, market.price(item),
                market.dollar[market.items[item.settlement].name], volatility,
                market.years(item.expiry) if item.expiry else 0.0, 1.0 / index if is_dollars else 1.0,
            )
        )  # fmt: skip
    return found


def _values(parameters: Parameters, lines: list[Line], market: FrozenMarket) -> tuple[Floats, Floats]:
    """V0 [lines] and V [lines, scenarios] (TAB-1)."""
    plan = shocks.plan(parameters)
    today = np.array([_today(line) for line in lines])
    values = np.repeat(today[:, None], plan.count, axis=1)
    for at, line in enumerate(lines):
        if isinstance(parameters, Standard):
            continue
        values[at] = _shocked(parameters, line, plan, market)
    return today, values


def _today(line: Line) -> float:
    if line.item.kind == ASSET:
        return line.worth
    if line.item.kind != OPTION:
        return -line.worth / line.price if line.is_inverse else line.price * line.worth
    coin = float(_options(line, np.array([line.price]), np.array([line.volatility]))[0])
    return coin / line.price * line.worth if line.is_inverse else coin * line.worth


def _options(line: Line, forward: Floats, volatility: Floats) -> Floats:
    call = np.array(line.is_call)
    return black.value(forward, np.array(line.strike), np.array(line.years), volatility, call)


def _shocked(parameters: Parameters, line: Line, plan: shocks.Plan, market: FrozenMarket) -> Floats:
    """V of one line in every scenario."""
    if line.item.kind == ASSET:
        followed = scanned_with(parameters, line.item)
        return line.worth * (plan.prices(followed) if followed else np.ones(plan.count))
    underlying = market.items[line.item.underlying].name
    moves = plan.prices(underlying)
    if line.item.kind != OPTION:
        return np.full(plan.count, _today(line)) if line.is_inverse else line.price * moves * line.worth
    return option_values(line, plan.option_prices(underlying), plan.volatilities(underlying, line), plan.fixed(line))


def option_values(line: Line, moves: Floats, volatilities: Floats, fixed: float) -> Floats:
    """V of an option under price multipliers and shocked volatilities; `fixed` is φ of PM-2.

    Of an inverse option the coin's move and the forward's cancel where nothing is fixed yet, also at a price of 0.
    """
    forward = line.price * (fixed + (1.0 - fixed) * moves)
    coin = _options(line, forward, volatilities)
    if not line.is_inverse:
        return coin * line.worth
    if fixed == 0.0:
        return coin / line.price * line.worth
    return coin / forward * line.worth * moves


def _add_assets(table: Table) -> None:
    lines, parameters = table.lines, table.parameters
    table.assets = np.array([at for at, line in enumerate(lines) if line.item.kind == ASSET], np.int64)
    table.asset_of = np.array([line.asset for line in lines], np.int64)
    table.collateral = [parameters.collateral_of(lines[at].item.name) for at in table.assets]
    table.worth = np.array([lines[at].worth for at in table.assets])
    table.is_option = np.array([line.item.kind == OPTION for line in lines], bool)


def _add_charges(table: Table) -> None:
    """Charges on a quantity by itself (CHG-2, CHG-3)."""
    count = len(table.lines)
    table.gross, table.square, table.short = np.zeros((2, count)), np.zeros((2, count)), np.zeros((2, count))
    table.isolated = np.zeros((2, count))
    for at, line in enumerate(table.lines):
        notional = line.coins * line.index_price
        for charge in table.parameters.charges:
            if charge.applies_to != line.item.kind:
                continue
            rates = np.array([charge.initial, charge.maintenance])
            slopes = np.array([charge.initial_slope, charge.maintenance_slope])
            if charge.measure == "gross":
                table.gross[:, at] += rates * notional
                table.square[:, at] += slopes * line.coins * notional
            elif charge.measure == "short":
                table.short[:, at] += rates * notional


def _netted_rates(table: Table, measure: str, index: float) -> tuple[float, float]:
    charges = [c for c in table.parameters.charges if c.measure == measure and c.applies_to == OPTION]
    return sum(c.initial for c in charges) * index, sum(c.maintenance for c in charges) * index


def _add_expiries(table: Table) -> None:
    """One `Expiry` per underlying and instant that options expire at."""
    keys = [(line.item.underlying, line.item.expiry) if line.item.kind == OPTION else None for line in table.lines]
    for start, stop in runs(keys):
        if keys[start] is None:
            continue
        lines = table.lines[start:stop]
        strikes = np.unique([line.strike for line in lines])
        own = np.array([line.strike for line in lines])[:, None]
        calls = np.array([line.is_call for line in lines], float)
        par = np.array([1.0 if line.is_inverse else line.worth for line in lines])
        prices = np.concatenate([[0.0], strikes])
        sign = np.where(calls[:, None] > 0, 1.0, -1.0)
        payoffs = par[:, None] * np.maximum(sign * (prices[None, :] - own), 0.0)
        index = lines[0].index_price
        rates = [_netted_rates(table, measure, index) for measure in ("net-short-per-strike", "net-short-per-expiry")]
        at_strike = (own == strikes[None, :]).astype(float)
        forward = lines[0].price
        table.expiries.append(Expiry(start, stop, strikes, at_strike, payoffs, calls, par, forward, None, *rates))


def runs(keys: Sequence[object]) -> list[tuple[int, int]]:
    """Start and stop of each run of equal keys."""
    edges = [at for at in range(1, len(keys)) if keys[at] != keys[at - 1]]
    return list(zip([0, *edges], [*edges, len(keys)], strict=True)) if keys else []


def _named(rules: dict[str, FutureRates] | dict[str, OptionRates], name: str) -> FutureRates | OptionRates:
    rule = rules.get(name, rules.get("*"))
    if rule is None:
        raise ImpossibleTableError(f"the model has no rates of {name}")
    return rule


def _add_standard(table: Table, parameters: Standard) -> None:
    for at, line in enumerate(table.lines):
        if line.item.contract is None:
            continue
        rules = parameters.options if line.item.kind == OPTION else parameters.futures
        rates = _named(rules, line.item.contract.underlying)
        if isinstance(rates, OptionRates):
            table.isolated[:, at] = _isolated(rates, line, table.today[at])
        else:
            _add_future(table, at, line, rates)
    for expiry in table.expiries:
        contract = table.lines[expiry.start].item.contract
        rates = _named(parameters.options, contract.underlying if contract else "")
        expiry.rates = rates if isinstance(rates, OptionRates) else None


def _add_future(table: Table, at: int, line: Line, rates: FutureRates) -> None:
    """STD-1; the frozen market has no open interest, so a rate that needs it has no table (STD-2)."""
    if rates.open_interest is not None:
        raise ImpossibleTableError(f"the market has no open interest of {line.item.name}")
    if line.is_inverse:
        notional = line.worth / line.price if rates.notional == "mark" else 1.0
    else:
        notional = (line.price if rates.notional == "mark" else line.index_price) * line.worth
    table.gross[:, at] += np.array([rates.initial, rates.maintenance]) * notional
    table.square[:, at] += np.array([rates.initial_slope, rates.maintenance_slope]) * line.coins * notional


def _isolated(rates: OptionRates, line: Line, mark: float) -> Floats:
    """Requirement per unit of a short option, initial and maintenance (STD-4 to STD-6)."""
    index, strike = line.index_price, line.strike
    out = max(strike - index, 0.0) if line.is_call else max(index - strike, 0.0)
    initial = max(rates.initial_maximum - out / index, rates.initial_minimum) * index + mark
    if line.is_call:
        maintenance = rates.call_maintenance * index + mark
    else:
        maintenance = max(rates.put_maintenance * index, rates.put_maintenance_of_mark * mark) + mark
        initial = max(initial, maintenance * rates.put_initial_over_maintenance)
    return np.array([initial - mark, maintenance - mark])


def _add_underlyings(table: Table, parameters: Portfolio | Tail) -> None:
    """Slices of the underlyings that are scanned, their groups, and who offsets whom."""
    table.factors = parameters.initial_factor, parameters.maintenance_factor
    names = [_underlying_name(table, at) for at in range(len(table.lines))]
    for start, stop in runs(names):
        name = names[start]
        if name is None:
            continue
        _check_inverse(table, name, start, stop)
        keys = [_group_key(line) for line in table.lines[start:stop]]
        groups = [_group(table, parameters, start + first, start + last) for first, last in runs(keys)]
        table.underlyings.append(Underlying(name, start, stop, groups))


def _underlying_name(table: Table, at: int) -> str | None:
    item = table.lines[at].item
    return item.contract.underlying if item.contract else scanned_with(table.parameters, item)


def _group_key(line: Line) -> tuple[int, bool]:
    return line.item.expiry, line.item.kind == OPTION


def _check_inverse(table: Table, name: str, start: int, stop: int) -> None:
    """TAB-18: an inverse contract needs its coin scanned with its own underlying."""
    has_inverse = any(line.is_inverse for line in table.lines[start:stop])
    has_coin = any(line.item.name == name for line in table.lines[start:stop])
    if has_inverse and not has_coin:
        raise ImpossibleTableError(f"{name} is not scanned with itself, and an inverse contract on it is")


def _group(table: Table, parameters: Portfolio | Tail, start: int, stop: int) -> Group:
    line = table.lines[start]
    is_option, is_dated = line.item.kind == OPTION, bool(line.item.expiry)
    above, below = shocks.multipliers(parameters, line.years, is_option=is_option, count=table.values.shape[1])
    plain = bool((above == 1).all() and (below == 1).all())
    group = Group(start, stop, is_option, above, below, plain=plain)
    basis = parameters.basis if isinstance(parameters, Portfolio) else None
    if isinstance(parameters, Portfolio) and basis and (is_option or (is_dated and basis.futures)):
        group.basis_factor = basis.add + basis.per_year * line.years
        group.basis = np.array([_basis_values(parameters, at) for at in table.lines[start:stop]])
    return group


def _basis_values(parameters: Portfolio, line: Line) -> Floats:
    """Values of one unit in the two named scenarios of the second reduction (PM-8)."""
    basis = parameters.basis
    assert basis is not None
    moves = np.array([basis.price_up, basis.price_down])
    if line.item.kind != OPTION:
        return np.full(2, _today(line)) if line.is_inverse else line.price * moves * line.worth
    return option_values(line, moves, np.full(2, line.volatility), shocks.fixed_part(parameters, line.years))


def _add_offsets(table: Table) -> None:
    """Who nets with whom under CHG-6, per underlying, and the larger sum of rates (CHG-7)."""
    charges = [charge for charge in table.parameters.charges if charge.measure == "offset"]
    kinds = {charge.applies_to for charge in charges}
    names = {line.item.contract.underlying for line in table.lines if line.item.contract}
    rates = [
        max((sum(getattr(c, margin) for c in charges if c.applies_to == kind) for kind in kinds), default=0.0)
        for margin in ("initial", "maintenance")
    ]
    for name in sorted(names) if any(rates) else ():
        notional = [
            line.coins * line.index_price
            if line.item.kind in kinds and line.item.contract and line.item.contract.underlying == name
            else 0.0
            for line in table.lines
        ]
        table.offsets.append((np.array(rates), np.array(notional)))


def _add_depeg(table: Table, market: FrozenMarket) -> None:
    """CHG-11: beside the scan's initial factor, or on notional in the standard model."""
    rule = table.parameters.depeg
    price = market.dollar.get(rule.asset, 0.0) if rule else 0.0
    if rule is None or not 0 < price < rule.threshold:
        return
    rate = (rule.threshold - price) * rule.factor
    if not isinstance(table.parameters, Standard):
        table.factors = table.factors[0] + rate, table.factors[1]
        return
    for at, line in enumerate(table.lines):
        if line.item.kind == OPTION:
            table.short[0, at] += rate * line.coins * line.index_price
        elif line.item.kind != ASSET:
            table.gross[0, at] += rate * line.coins * line.index_price
