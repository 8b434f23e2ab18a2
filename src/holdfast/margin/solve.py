"""What would change a margin: liquidation prices, and the smallest trade that restores initial margin (RES-4, RES-6).

Both ask the same functions that margin the account, at other prices or quantities, until an inequality turns. Nothing
is assumed of the shape of the requirement but that steps of the search are finer than its wiggles.
"""

from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass

import msgspec

from holdfast.domain.errors import InputError
from holdfast.domain.instruments import Instrument, Kind
from holdfast.domain.market import Market, Price, Underlying
from holdfast.domain.names import parse_instrument
from holdfast.domain.parameters import AnyParameters
from holdfast.margin.account import Account, figures_of
from holdfast.margin.calculation import Margin, calculate
from holdfast.margin.charges import coins_per_unit
from holdfast.margin.orders import orders_requirement
from holdfast.margin.table import LineField, LineTag
from holdfast.margin.values import option_volatility
from holdfast.pricing.elementary import exp

SEARCH_RANGE = 4.605170185988092
"""Liquidation prices are searched this far from the index in the logarithm: between S/100 and 100·S."""
FIRST_STEP = 0.02
"""First step of the logarithm of the price in the search for a crossing."""
STEP_GROWTH = 1.05
"""Ratio of neighbouring steps: fine near today's price, where crossings lie close together, coarse far away."""
PRICE_PRECISION = 1e-9
"""Relative width at which a liquidation price counts as found."""
TRADE_STEPS = 48
"""Sizes tried per direction in the search for a restoring trade, in geometric steps up to the largest."""
LARGEST_TRADE = 2.0
"""Largest trade tried, as a multiple of the largest position's notional."""
SMALLEST_TRADE = 1e-6
"""Smallest trade tried, as a fraction of the largest."""
BISECTIONS = 60


@dataclass(frozen=True)
class LiquidationPrice:
    """Prices of an underlying at which equity meets maintenance margin; None where there is no crossing.

    Attributes:
        underlying: The underlying whose prices move together; volatilities and all other underlyings stay.
        index: Its index price today.
        below: The nearest such price at or below the index.
        above: The nearest such price above it.
    """

    underlying: str
    index: float
    below: float | None
    above: float | None


@dataclass(frozen=True)
class RestoringTrade:
    """The smallest single trade after which initial margin is met.

    Attributes:
        instrument: What to trade.
        quantity: How much, signed, in the instrument's unit.
        price: The mark it is counted at: quote currency for perpetuals and futures, settlement asset for options.
        notional: Its notional at the index, dollars.
        available: What is available after it.
    """

    instrument: Instrument
    quantity: float
    price: float
    notional: float
    available: float


def liquidation_prices(margin: Margin) -> tuple[LiquidationPrice, ...]:
    """The liquidation prices of every underlying on the margin's table, each moved alone (RES-4)."""
    return tuple(liquidation_price(margin, underlying) for underlying in margin.table.underlyings)


def liquidation_price(margin: Margin, underlying: str) -> LiquidationPrice:
    """The prices of one underlying at which equity = maintenance margin, solved (RES-4)."""
    index = margin.market.underlying(underlying).index.price
    portfolio = msgspec.structs.replace(margin.portfolio, orders=(), isolated={})
    market = _market_of(margin, {p.instrument for p in portfolio.lines()})

    followers = {a for a in margin.table.assets if _follows(margin.parameters, a, underlying)}

    def excess(factor: float) -> float:
        moved = calculate(portfolio, with_prices_scaled(market, underlying, factor, followers), margin.parameters)
        return moved.equity - moved.maintenance_margin

    today = margin.equity - margin.maintenance_margin
    if today < 0.0:
        return LiquidationPrice(underlying, index, index, None)
    below, above = (_crossing(excess, direction) for direction in (-1.0, 1.0))
    return LiquidationPrice(
        underlying, index, None if below is None else index * below, None if above is None else index * above
    )


def _crossing(excess: Callable[[float], float], direction: float) -> float | None:
    """The first factor found, going away from 1, at which the excess turns negative; None within the search range."""
    safe, step = 0.0, FIRST_STEP
    while safe < SEARCH_RANGE:
        unsafe = safe + step
        if excess(float(exp(direction * unsafe))) < 0.0:
            while unsafe - safe > PRICE_PRECISION:
                middle = 0.5 * (safe + unsafe)
                if excess(float(exp(direction * middle))) < 0.0:
                    unsafe = middle
                else:
                    safe = middle
            return float(exp(direction * safe))
        safe, step = unsafe, step * STEP_GROWTH
    return None


def _market_of(margin: Margin, held: Set[Instrument]) -> Market:
    """The margin's market with quotes of the contracts held only, so that moving it costs what is held, not listed.

    Options keep the volatility they have today, whether it was quoted, on a smile or implied from a mark: a mark or a
    smile moved with the forward would mean another volatility at the same strike.
    """
    names = {i.name for i in held}
    volatilities = {
        i.name: option_volatility(margin.parameters, margin.market, i) for i in held if i.kind is Kind.OPTION
    }
    underlyings = {
        name: msgspec.structs.replace(
            underlying,
            marks={k: mark for k, mark in underlying.marks.items() if k in names - set(volatilities)},
            volatilities={
                i.name: volatilities[i.name] for i in held if i.underlying == name and i.name in volatilities
            },
            open_interest={k: interest for k, interest in underlying.open_interest.items() if k in names},
        )
        for name, underlying in margin.market.underlyings.items()
    }
    return msgspec.structs.replace(margin.market, underlyings=underlyings)


def _follows(parameters: AnyParameters, asset: str, underlying: str) -> bool:
    """Whether the model lets an asset move with an underlying."""
    rule = parameters.collateral_of(asset)
    return rule.scanned and rule.underlying == underlying


def with_prices_scaled(market: Market, name: str, factor: float, followers: Set[str] = frozenset()) -> Market:
    """The market with every price of one underlying times a factor: index, marks, forwards, its coin and followers.

    Marks of inverse options are in coin and stay; volatilities, rates and confidences stay.
    """
    underlying = market.underlying(name)
    marks = {
        instrument: mark
        if parse_instrument(instrument).kind is Kind.OPTION and parse_instrument(instrument).inverse
        else Price(mark.price * factor, mark.confidence)
        for instrument, mark in underlying.marks.items()
    }
    expiries = {
        time: msgspec.structs.replace(expiry, forward=expiry.forward * factor)
        for time, expiry in underlying.expiries.items()
    }
    index = Price(underlying.index.price * factor, underlying.index.confidence)
    moved: Underlying = msgspec.structs.replace(underlying, index=index, marks=marks, expiries=expiries)
    assets = {
        asset: Price(price.price * factor, price.confidence) if asset == name or asset in followers else price
        for asset, price in market.assets.items()
    }
    return msgspec.structs.replace(market, underlyings=market.underlyings | {name: moved}, assets=assets)


def tradable(margin: Margin) -> tuple[Instrument, ...]:
    """What a restoring trade may be in: the contracts held, and the perpetuals quoted of their underlyings."""
    held = {p.instrument for p in margin.portfolio.lines()}
    underlyings = {i.underlying for i in held}
    quoted = (parse_instrument(name) for u in underlyings for name in margin.market.underlying(u).marks)
    return tuple(sorted(held | {i for i in quoted if i.kind is Kind.PERPETUAL}))


def restoring_trade(margin: Margin, candidates: Iterable[Instrument] | None = None) -> RestoringTrade | None:
    """The single trade at mark of least notional after which available ≥ 0 (RES-6).

    Args:
        margin: The margin to restore. Open orders are counted as they are.
        candidates: What may be traded; by default what `tradable` says.

    Returns:
        The trade; None where nothing needs doing or no single trade does it.
    """
    if margin.available >= 0.0:
        return None
    chosen = tuple(candidates) if candidates is not None else tradable(margin)
    prepared = calculate(margin.portfolio, margin.market, margin.parameters, lines=chosen)
    largest = LARGEST_TRADE * max(
        (_notional(prepared, p.instrument, p.quantity) for p in margin.portfolio.lines()), default=0.0
    )
    found = [
        trade
        for instrument in chosen
        for sign in (1.0, -1.0)
        if (trade := _smallest_of(prepared, instrument, sign, largest)) is not None
    ]
    return min(found, key=lambda t: (t.notional, t.instrument.sort_key), default=None)


def _notional(margin: Margin, instrument: Instrument, quantity: float) -> float:
    """Dollars at the index."""
    index = margin.market.underlying(instrument.underlying).index.price
    return abs(quantity) * coins_per_unit(instrument, index) * index


def _smallest_of(margin: Margin, instrument: Instrument, sign: float, largest: float) -> RestoringTrade | None:
    """The smallest trade of one contract in one direction, by geometric search and bisection."""
    unit = _notional(margin, instrument, 1.0)
    if unit <= 0.0 or largest <= 0.0:
        return None
    most = largest / unit
    ratio = SMALLEST_TRADE ** (-1.0 / TRADE_STEPS)
    short, enough = 0.0, most * SMALLEST_TRADE
    while available_after(margin, instrument, sign * enough) < 0.0:
        short, enough = enough, enough * ratio
        if enough > most * (1.0 + PRICE_PRECISION):
            return None
    for _ in range(BISECTIONS):
        middle = 0.5 * (short + enough)
        if available_after(margin, instrument, sign * middle) < 0.0:
            short = middle
        else:
            enough = middle
    quantity = sign * enough
    line = margin.table.line_of_instrument[instrument]
    in_asset = float(margin.table.arrays.lines[line, LineField.IN_ASSET])
    price = margin.market.mark(instrument).price if instrument.kind is not Kind.OPTION else in_asset
    available = available_after(margin, instrument, quantity)
    return RestoringTrade(instrument, quantity, price, enough * unit, available)


def available_after(margin: Margin, instrument: Instrument, quantity: float) -> float:
    """What is available after a trade at mark, open orders unchanged; the margin's table must have the line.

    Raises:
        InputError: The table lacks the contract.
    """
    table = margin.table
    line = table.line_of_instrument.get(instrument)
    if line is None:
        raise InputError("unknown-instrument", "instrument", instrument.name, "put it in `lines` when calculating")
    asset_line = table.line_of_asset[table.assets[int(table.arrays.tags[line, LineTag.ASSET])]]
    paid = quantity * float(table.arrays.lines[line, LineField.IN_ASSET])
    after: Account = margin.account.with_change({line: quantity, asset_line: -paid})
    figures = figures_of(table, after)
    return figures.available - orders_requirement(table, after, margin.portfolio.orders, figures.initial_margin)
