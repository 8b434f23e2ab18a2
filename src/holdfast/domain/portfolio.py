"""What an account holds: balances of assets, positions, open orders, and isolated portfolios apart from them.

A portfolio is a value; trades make a new one. A position is (quantity, cost in the settlement asset): its unrealised
profit is quantity × unit value − cost, so nothing depends on how it was built up. What may not live here: prices and
margin, and reading (`portfolio_formats`).
"""

import contextlib
import math
from collections.abc import Iterable, Iterator

import msgspec

from holdfast.domain.errors import InputError, invariant
from holdfast.domain.instruments import Instrument, Kind, check_price, check_quantity, entry_cost
from holdfast.domain.market import Market
from holdfast.domain.names import is_asset_name
from holdfast.domain.reading import check_finite, located
from holdfast.domain.units import Rounding, asset, format_time, to_units

RESIDUE_MAXIMUM = 1e-12
"""A netted quantity smaller than this part of what was netted is the rounding of floats, and counts as closed."""


class Position(msgspec.Struct, frozen=True):
    """A line of an account.

    Attributes:
        instrument: The contract.
        quantity: Signed, long above 0; in coins of the underlying, or in units of the quote currency for inverse
            perpetuals and futures.
        cost: Signed, in the settlement asset: what quantity × unit value is measured against. 0 for an option whose
            premium has already left the balance.
    """

    instrument: Instrument
    quantity: float
    cost: float

    def __post_init__(self) -> None:
        check_finite(self.quantity, "quantity")
        check_quantity(self.instrument, self.quantity, "quantity")
        _check_amount("cost", self.cost, self.instrument.settlement)

    @property
    def is_empty(self) -> bool:
        """Whether the line holds nothing: no quantity, and no cost left of one."""
        return self.quantity == 0.0 and self.cost == 0.0


class Order(msgspec.Struct, frozen=True):
    """An open limit order.

    Attributes:
        instrument: The contract.
        quantity: Signed, a purchase above 0; in the instrument's unit of quantity.
        limit_price: In the quote currency for perpetuals and futures (above 0), in the settlement asset for options.
    """

    instrument: Instrument
    quantity: float
    limit_price: float

    def __post_init__(self) -> None:
        check_finite(self.quantity, "quantity")
        check_finite(self.limit_price, "limit_price")
        check_quantity(self.instrument, self.quantity, "quantity")
        check_price(self.instrument, self.limit_price, "limit_price")


class Trade(msgspec.Struct, frozen=True):
    """A trade to apply to a portfolio.

    Attributes:
        instrument: The contract.
        quantity: Signed, a purchase above 0; in the instrument's unit of quantity.
        price: In the quote currency for perpetuals and futures, in the settlement asset for options.
    """

    instrument: Instrument
    quantity: float
    price: float

    def __post_init__(self) -> None:
        check_finite(self.quantity, "quantity")
        check_finite(self.price, "price")
        check_quantity(self.instrument, self.quantity, "quantity")
        check_price(self.instrument, self.price, "price")


class Portfolio(msgspec.Struct, frozen=True):
    """The holdings of one account.

    Attributes:
        balances: Cash by asset, signed, in the asset.
        positions: At most one line per instrument; a quantity of 0 is allowed.
        orders: Open orders; several on one instrument are allowed.
        isolated: Portfolios margined apart from this one, by name; none of them has any of its own.
        name: For reports.
    """

    balances: dict[str, float]
    positions: tuple[Position, ...] = ()
    orders: tuple[Order, ...] = ()
    isolated: dict[str, "Portfolio"] = {}
    name: str = ""

    def __post_init__(self) -> None:
        for held, amount in self.balances.items():
            if not is_asset_name(held):
                raise InputError("malformed", f"balances[{held}]", held, 'use the name of an asset, as in "BTC"')
            _check_amount(f"balances[{held}]", amount, held)
        seen: dict[Instrument, int] = {}
        for place, position in enumerate(self.positions):
            first = seen.setdefault(position.instrument, place)
            if first != place:
                field, name = f"positions[{place}].instrument", position.instrument.name
                raise InputError(
                    "duplicate-line", field, name, f"add it to positions[{first}], which is the same contract"
                )
        for name, portfolio in self.isolated.items():
            if portfolio.isolated:
                advice = "put every isolated portfolio beside the others, not inside one"
                raise InputError("out-of-range", f"isolated[{name}].isolated", sorted(portfolio.isolated), advice)

    def lines(self) -> tuple[Position, ...]:
        """The positions in the order of their instruments, without those that hold nothing.

        A line of quantity 0 is kept only while a cost is left in it, which is a profit or loss not yet in the balance.
        """
        kept = (p for p in self.positions if not p.is_empty)
        return tuple(sorted(kept, key=lambda p: p.instrument.sort_key))

    def with_trades(self, trades: Iterable[Trade]) -> "Portfolio":
        """The portfolio after trades: quantities are netted, costs added.

        A line that closes leaves the portfolio and what it made goes to the balance: −cost of the settlement asset.
        Balances change in no other way, so equity at the traded prices does not change. Orders stay as they are.

        Args:
            trades: In the order they happened.

        Returns:
            A new portfolio.
        """
        lines = {p.instrument: p for p in self.positions}
        balances = dict(self.balances)
        for place, trade in enumerate(trades):
            with located(f"trades[{place}]"):
                cost = entry_cost(trade.instrument, trade.quantity, trade.price)
                _add_line(lines, balances, Position(trade.instrument, trade.quantity, cost))
        return msgspec.structs.replace(self, balances=balances, positions=tuple(lines.values()))

    def merge(self, other: "Portfolio") -> "Portfolio":
        """The two portfolios as one: balances added, positions netted, orders one after the other.

        Isolated portfolios of one name are merged too. The name is this portfolio's, or the other's where it has none.
        """
        lines = {p.instrument: p for p in self.positions}
        balances = dict(self.balances)
        for held, amount in other.balances.items():
            balances[held] = balances.get(held, 0.0) + amount
        for position in other.positions:
            _add_line(lines, balances, position)
        isolated = dict(self.isolated)
        for name, portfolio in other.isolated.items():
            isolated[name] = isolated[name].merge(portfolio) if name in isolated else portfolio
        return Portfolio(balances, tuple(lines.values()), self.orders + other.orders, isolated, self.name or other.name)

    def validate_against(self, market: Market) -> None:
        """Check that the market says everything that valuing this portfolio takes.

        Balances, positions, orders and isolated portfolios are looked at in the order given; lines that hold nothing
        are not. An option needs a volatility, a smile for its expiry, or a mark to imply one from; one that expires at
        the very instant of the market is valued at intrinsic value and needs none; an expired one is refused.

        Args:
            market: The market.

        Raises:
            InputError: the first problem: "unknown-underlying", "expired-option", "missing-price" or
                "missing-volatility".
        """
        for held, amount in self.balances.items():
            if amount != 0.0:
                with _as_problem_of(f"balances[{held}]"):
                    market.asset_price(held)
        for place, position in enumerate(self.positions):
            if not position.is_empty:
                with _as_problem_of(f"positions[{place}].instrument"):
                    _check_priced(position.instrument, market)
        for place, order in enumerate(self.orders):
            if order.quantity != 0.0:
                with _as_problem_of(f"orders[{place}].instrument"):
                    _check_priced(order.instrument, market)
        for name, portfolio in self.isolated.items():
            with located(f"isolated[{name}]"):
                portfolio.validate_against(market)


def _add_line(lines: dict[Instrument, Position], balances: dict[str, float], added: Position) -> None:
    """Net a position into `lines`; when it closes, move what it made to `balances`."""
    held = lines.get(added.instrument)
    if held is None:
        if not added.is_empty:
            lines[added.instrument] = added
        return
    cost = held.cost + added.cost
    quantity = held.quantity + added.quantity
    if abs(quantity) > RESIDUE_MAXIMUM * max(abs(held.quantity), abs(added.quantity)):
        lines[added.instrument] = Position(added.instrument, quantity, cost)
        return
    del lines[added.instrument]
    settlement = added.instrument.settlement
    before = balances.get(settlement, 0.0)
    balances[settlement] = before - cost
    invariant(math.isfinite(balances[settlement]), f"closing {added.instrument.name} left no finite balance")


def _check_priced(instrument: Instrument, market: Market) -> None:
    underlying = market.underlying(instrument.underlying)
    market.asset_price(instrument.settlement)
    if instrument.expiry is not None and instrument.expiry < market.time:
        advice = f"remove it: the market is of {format_time(market.time)}"
        raise InputError(f"expired-{instrument.kind}", "", instrument.name, advice)
    if instrument.kind is not Kind.OPTION:
        market.mark(instrument)
        return
    expiry = market.expiry_of(instrument)
    quoted = instrument.name in underlying.volatilities or instrument.name in underlying.marks
    if not quoted and expiry.svi is None and instrument.expiry != market.time:
        advice = f"add it to the volatilities or marks of {instrument.underlying}, or a smile to its expiry"
        raise InputError("missing-volatility", "", instrument.name, advice)


@contextlib.contextmanager
def _as_problem_of(path: str) -> Iterator[None]:
    """Report what the market lacks at the line that needs it."""
    try:
        yield
    except InputError as error:
        raise InputError(error.code, path, error.value, error.advice, error.problem) from None


def _check_amount(field: str, value: float, of: str) -> None:
    check_finite(value, field)
    to_units(float(value), asset(of), Rounding.AWAY_FROM_ZERO, field)
