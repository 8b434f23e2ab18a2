"""Commands from names and main units: one builder for each, the same for Python, JSON and notebooks.

A builder checks what it is given, before anything is sent, and answers what to send and what to call it. Whether the
command is allowed is the fold's to say. What may not live here: sending, and what a command does.
"""

import datetime
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from holdfast.core.state import ORDER_NUMBER_MAXIMUM, Role
from holdfast.domain import commands
from holdfast.domain.commands import ColdCommand
from holdfast.domain.errors import InputError
from holdfast.domain.frames import Records
from holdfast.domain.instruments import lot as lot_of
from holdfast.domain.names import parse_instrument
from holdfast.domain.parameters import AnyParameters
from holdfast.domain.units import INT64_MAXIMUM, check_time, parse_time
from holdfast.domain.units import asset as asset_of
from holdfast.margin.presets import preset
from holdfast.replica.amounts import Amount, amount_of, count_of, exact, plain
from holdfast.replica.directory import Directory
from holdfast.replica.gateway import Request
from holdfast.replica.names import NAME_LENGTH_MAXIMUM, NUMBER_SIGN
from holdfast.replica.words import Scene

PRICE_DECIMALS_OF_DOLLARS, PRICE_DECIMALS_OF_COINS = 2, 4
"""Decimals of a contract's prices where none are given: dollars and cents, or premiums in coins."""
MILLION, BILLION = 10**6, 10**9
Instant = str | int | datetime.datetime
"""ISO text with a zone, nanoseconds since 1970, or a datetime with a zone."""


class Command(NamedTuple):
    """What to send, and what to call it.

    Attributes:
        request: For the log.
        scene: For words.
    """

    request: Request
    scene: Scene


def _by_operator(content: ColdCommand, scene: Scene) -> Command:
    return Command(Request(Role.OPERATOR, 0, content), scene)


def _by_client(content: ColdCommand | Records, scene: Scene) -> Command:
    return Command(Request(Role.CLIENT, 0, content), scene)


def instant(given: Instant, field: str = "time") -> int:
    """Nanoseconds since 1970 of an instant; InputError if it is none or has no zone."""
    if isinstance(given, str):
        return parse_time(given, field)
    if isinstance(given, datetime.datetime):
        if given.tzinfo is None:
            raise InputError("malformed", field, str(given), "give it a zone: datetime.UTC", "has no zone")
        since = given - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
        return check_time((since.days * 86_400 + since.seconds) * BILLION + since.microseconds * 1_000, field)
    return check_time(given, field)


def define_asset(_book: Directory, name: str, decimals: int | None = None) -> Command:
    """Define an asset whose ledger unit is 10**−decimals, by default that of `domain.units`."""
    _check_text("name", name)
    chosen = asset_of(name).decimals if decimals is None else _whole("decimals", decimals, 18)
    return _by_operator(commands.DefineAsset(name, chosen), Scene(f"asset {name} is defined", item=name, unit=name))


def define_instrument(
    _book: Directory,
    name: str,
    lot: Amount | None = None,
    price_decimals: int | None = None,
    fee: Amount = 0,
    liquidation_fee: Amount = 0,
) -> Command:
    """Define a contract; fees are fractions of the notional."""
    instrument = parse_instrument(name)
    quantum = lot_of(instrument) if lot is None else lot
    is_coin = instrument.strike is not None and instrument.inverse
    decimals = PRICE_DECIMALS_OF_COINS if is_coin else PRICE_DECIMALS_OF_DOLLARS
    if price_decimals is not None:
        decimals = _whole("price_decimals", price_decimals, 18)
    rates = [
        count_of(rate, Fraction(1, MILLION), field, "a millionth")
        for rate, field in ((fee, "fee"), (liquidation_fee, "liquidation_fee"))
    ]
    text = f"{exact(quantum, 'lot'):f}"
    content = commands.DefineInstrument(instrument.name, text, decimals, rates[0], rates[1])
    return _by_operator(content, Scene(f"contract {instrument.name} is defined, lot {text}", item=instrument.name))


def define_model(
    _book: Directory,
    name: str,
    parameters: AnyParameters | None = None,
    effective: Instant | None = None,
    force: bool = False,  # noqa: FBT001, FBT002 (a field of JSON too)
) -> Command:
    """Define a margin model, by default the shipped set of that name."""
    _check_text("name", name)
    chosen = preset(name) if parameters is None else parameters
    since = 0 if effective is None else instant(effective, "effective")
    return _by_operator(commands.DefineModel(name, chosen, since, force), Scene(f"margin model {name} is defined"))


def set_rules(_book: Directory, **changes: int) -> Command:
    """Change rules of prices and time; the fields of `domain.commands.SetRules`, the others by their defaults."""
    known = commands.SetRules.__struct_fields__
    for field, value in changes.items():
        if field not in known:
            raise InputError("unknown-field", field, None, f"use some of {', '.join(known)}", "is no rule")
        _whole(field, value, INT64_MAXIMUM)
    return _by_operator(commands.SetRules(**changes), Scene("rules are set"))


def open_account(book: Directory, name: str, model: str | int | None = None) -> Command:
    """Open an account under a model, by default the first."""
    _check_text("name", name)
    if name.startswith(NUMBER_SIGN):
        raise InputError("malformed", "name", name, f"begin it with something else than {NUMBER_SIGN}")
    if book.is_named(name):
        raise InputError("duplicate-name", "name", name, "choose another name", "is an account of this log already")
    number = book.model(model)
    done = f"account {name} is open under {book.model_name(number)}"
    return _by_client(commands.OpenAccount(number, name), Scene(done, account=name))


def choose_model(
    book: Directory,
    account: str | int,
    model: str | int,
    dry_run: bool = False,  # noqa: FBT001, FBT002
) -> Command:
    """Put an account under another model, or with `dry_run` only see what its margin would be."""
    number, chosen = book.account(account), book.model(model)
    name = book.account_name(number)
    done = f"{name} {'could be' if dry_run else 'is'} under {book.model_name(chosen)}"
    return _by_client(commands.ChooseModel(number, chosen, dry_run), Scene(done, account=name))


def deposit(book: Directory, account: str | int, asset: str | int, amount: Amount) -> Command:
    """Credit an account from the outside world."""
    number, item = book.account(account), book.asset(asset)
    units, scene = _money(book, number, item, amount, "{account} deposits {amount}")
    return _by_operator(commands.Deposit(number, item, units), scene)


def withdraw(book: Directory, account: str | int, asset: str | int, amount: Amount, destination: str = "") -> Command:
    """Ask for a withdrawal; the amount is reserved until it is released or cancelled."""
    number, item = book.account(account), book.asset(asset)
    units, scene = _money(book, number, item, amount, "{account} reserves {amount} for withdrawal")
    return _by_client(commands.RequestWithdrawal(number, item, units, destination), scene)


def cancel_withdrawal(_book: Directory, withdrawal: int) -> Command:
    """Give a reserved withdrawal back to its account."""
    number = _whole("withdrawal", withdrawal, INT64_MAXIMUM)
    return _by_client(commands.CancelWithdrawal(number), Scene(f"withdrawal {number} is given back"))


def release_account(book: Directory, account: str | int) -> Command:
    """Let an account that was frozen or set aside take part again."""
    number = book.account(account)
    name = book.account_name(number)
    return _by_operator(commands.ReleaseAccount(number), Scene(f"{name} takes part again", account=name))


def transfer(book: Directory, account: str | int, other: str | int, asset: str | int, amount: Amount) -> Command:
    """Move an asset from one account to another."""
    giver, taker, item = book.account(account), book.account(other, "other"), book.asset(asset)
    units, scene = _money(book, giver, item, amount, f"{{account}} gives {{amount}} to {book.account_name(taker)}")
    scene = scene._replace(other=book.account_name(taker))
    return _by_client(commands.transfer(0, 0, giver, taker, item, units), scene)


def trade(
    book: Directory, account: str | int, other: str | int, instrument: str | int, quantity: Amount, price: Amount
) -> Command:
    """`account` buys a quantity from `other` at a price, or sells where it is negative; both sides are checked."""
    first, second, item = book.account(account), book.account(other, "other"), book.contract(instrument)
    lots, steps = _lots(book, item, quantity), _price(book, item, price)
    scene = _dealt(book, first, item, (lots, steps), " {side} " + book.account_name(second))
    scene = scene._replace(other=book.account_name(second), searched=True)
    return _by_client(commands.trade(0, 0, first, second, item, lots, steps), scene)


def order(book: Directory, account: str | int, instrument: str | int, quantity: Amount, price: Amount) -> Command:
    """Place a limit order to buy, or to sell where the quantity is negative; `made` is its number."""
    number, item = book.account(account), book.contract(instrument)
    lots, steps = _lots(book, item, quantity), _price(book, item, price)
    scene = _dealt(book, number, item, (lots, steps), "")
    scene = scene._replace(done=f"order: {scene.done}")
    return _by_client(commands.order(0, 0, number, item, lots, steps), scene)


def cancel(book: Directory, account: str | int, order: int) -> Command:
    """Cancel an open order by its number."""
    number = book.account(account)
    name = book.account_name(number)
    chosen = _whole("order", order, INT64_MAXIMUM)
    scene = Scene(f"{name} cancels order {chosen}", account=name, item="any contract")
    return _by_client(commands.cancel(0, 0, number, chosen), scene)


def fill(
    book: Directory,
    account: str | int,
    other: str | int,
    instrument: str | int,
    quantity: Amount,
    price: Amount,
    order: int = 0,
    other_order: int = 0,
) -> Command:
    """`account` buys from `other` by the open orders named; a side without one is checked as in a trade."""
    buyer, seller, item = book.account(account), book.account(other, "other"), book.contract(instrument)
    lots, steps = _lots(book, item, quantity), _price(book, item, price)
    bids, asks = _whole("order", order, ORDER_NUMBER_MAXIMUM), _whole("other_order", other_order, ORDER_NUMBER_MAXIMUM)
    scene = _dealt(book, buyer, item, (lots, steps), " {side} " + book.account_name(seller))
    scene = scene._replace(other=book.account_name(seller))
    content = commands.fill(0, 0, buyer, seller, item, lots, steps, buy_order=bids, sell_order=asks)
    return _by_client(content, scene)


def funding(book: Directory, instrument: str | int, rate: Amount) -> Command:
    """Longs of a perpetual pay shorts a fraction of the notional at its mark; below 0 the other way round."""
    item = book.contract(instrument)
    billionths = count_of(rate, Fraction(1, BILLION), "rate", "a billionth")
    name = book.items[item].name
    return _by_operator(commands.Funding(item, billionths), Scene(f"funding of {rate} on {name} is paid", item=name))


def mark(book: Directory, asset: str | int) -> Command:
    """Freeze the prices of an asset and of everything on it, and look at every account exposed to it."""
    item = book.asset(asset)
    name = book.items[item].name
    return _by_operator(commands.Mark(item), Scene(f"{name} is marked", item=name))


def settle(book: Directory, instrument: str | int) -> Command:
    """Cash-settle an expired contract at its settlement average."""
    item = book.contract(instrument)
    name = book.items[item].name
    return _by_operator(commands.Settle(item), Scene(f"{name} is settled", item=name))


BUILDERS: Mapping[str, Callable[..., Command]] = {
    builder.__name__: builder
    for builder in (
        define_asset,
        define_instrument,
        define_model,
        set_rules,
        open_account,
        choose_model,
        deposit,
        withdraw,
        cancel_withdrawal,
        release_account,
        transfer,
        trade,
        order,
        cancel,
        fill,
        funding,
        mark,
        settle,
    )
}
"""By the name that a request has in `command`."""


def from_fields(book: Directory, fields: Mapping[str, Any]) -> Command:
    """The command that a mapping states: its name in `command`, and the arguments of its builder.

    Raises:
        InputError: There is no such command, an argument is missing or unknown, or the builder refuses one.
    """
    given = dict(fields)
    name = given.pop("command", None)
    builder = BUILDERS.get(name) if isinstance(name, str) else None
    if builder is None:
        raise InputError("malformed", "command", name, f"use one of {', '.join(BUILDERS)}", "is no command")
    try:
        return builder(book, **given)
    except TypeError as error:
        problem = f"has other fields than it takes ({error})"
        raise InputError("malformed", str(name), sorted(given), "see docs/reference/engine.md", problem) from None


def _money(book: Directory, account: int, item: int, amount: Amount, done: str) -> tuple[int, Scene]:
    asset, step, who = book.items[item].name, book.step(item), book.account_name(account)
    units = count_of(amount, step, "amount", f"the ledger unit of {asset}")
    text = done.format(account=who, amount=f"{plain(amount_of(units, step))} {asset}")
    return units, Scene(text, account=who, item=asset, unit=asset, step=step)


def _lots(book: Directory, item: int, quantity: Amount) -> int:
    name = book.items[item].name
    return count_of(quantity, book.step(item), "quantity", f"the lot of {name}", code="off-lot-grid")


def _price(book: Directory, item: int, price: Amount) -> int:
    return count_of(price, book.price_step(item), "price", f"the price step of {book.items[item].name}")


def _dealt(book: Directory, account: int, item: int, dealt: tuple[int, int], rest: str) -> Scene:
    """The scene of lots dealt at a price in steps; `rest` may say "{side}" for from or to."""
    lots, steps = dealt
    name, who, unit = book.items[item].name, book.account_name(account), book.unit(item)
    verb, side = ("buys", "from") if lots >= 0 else ("sells", "to")
    quantity = plain(abs(amount_of(lots, book.step(item))))
    price = plain(amount_of(steps, book.price_step(item)))
    text = f"{who} {verb} {quantity} {unit} of {name}{rest.format(side=side)} at {price}"
    return Scene(text, account=who, item=name, unit=unit, step=book.step(item))


def _whole(field: str, value: object, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise InputError("out-of-range", field, value, f"give a whole number from 0 to {most}")
    return value


def _check_text(field: str, text: object) -> None:
    if not isinstance(text, str) or not text.strip() or len(text) > NAME_LENGTH_MAXIMUM or not text.isprintable():
        advice = f"give 1 to {NAME_LENGTH_MAXIMUM} printable characters"
        raise InputError("malformed", field, text, advice, "is no name")
