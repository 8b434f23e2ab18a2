"""What a reconciliation asks of a state: the ledger's sums, holdings, quotes by source, parameters, named roots.

Every answer is of one position and small enough for one message; what does not fit is asked for again from `end` on.
What may not live here: judging. What these numbers should be is for `validate.reconcile`, at the one who asks.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from holdfast.core.fold import Fold
from holdfast.core.registry import Payment, Withdrawal
from holdfast.core.state import NONE, SYSTEM_ACCOUNTS, Account, Counter, Counts, Form, Item, Open, Price, Quote
from holdfast.domain.errors import InputError
from holdfast.margin.table import LineField
from holdfast.replica import views
from holdfast.replica.amounts import amount_of
from holdfast.replica.directory import Directory

ROWS_MAXIMUM = 4_096
"""Rows of holdings, or quotes, that one answer gives; the account or item that reaches it is still given whole."""
NAMES_MAXIMUM = 1_000
"""Accounts that one answer gives."""
PROBLEMS_MAXIMUM = 100
"""Problems of one kind that one answer lists; how many there are is said besides."""


def ledger(fold: Fold, book: Directory) -> dict[str, Any]:
    """Sums by item; accounts in which an asset's cost is not that of its positions; open orders that cannot be."""
    costs = list(_wrong_costs(fold, book))
    orders = list(_wrong_orders(fold, book))
    return {
        "price_id": fold.price_id,
        "sums": {name: str(total) for name, total in views.sums(fold, book).items()},
        "accounts": book.accounts_count,
        "holding": int((fold.machine.state.accounts[SYSTEM_ACCOUNTS : book.accounts_count, Account.COUNT] > 0).sum()),
        "costs": costs[:PROBLEMS_MAXIMUM],
        "costs_wrong": len(costs),
        "open_orders": int(fold.machine.state.accounts[: book.accounts_count, Account.ORDER_COUNT].sum()),
        "orders": orders[:PROBLEMS_MAXIMUM],
        "orders_wrong": len(orders),
    }


def _rows_of_all(fold: Fold) -> tuple[Counts, Counts]:
    """Account and place in the pool of every row that there is."""
    state = fold.machine.state
    count = int(state.counters[Counter.ACCOUNTS])
    starts, counts = state.accounts[:count, Account.START], state.accounts[:count, Account.COUNT]
    before = np.cumsum(counts) - counts
    return np.repeat(np.arange(count), counts), np.repeat(starts - before, counts) + np.arange(int(counts.sum()))


def _wrong_costs(fold: Fold, book: Directory) -> Iterator[list[str]]:
    """[account, asset, cost of its row, costs of its positions] where the two differ (LED-4)."""
    state, items = fold.machine.state, int(fold.machine.state.counters[Counter.ITEMS])
    if not items:
        return
    accounts, rows = _rows_of_all(fold)
    of = state.row_item[rows].astype(np.int64)
    is_asset = state.items[of, Item.FORM] == Form.ASSET
    # One key per account and asset. An asset's row counts against its positions' costs, so every sum is to be 0; a sum
    # that leaves int64 comes back modulo 2**64, and is 0 only where the exact one is a multiple of it.
    keys, place = np.unique(accounts * items + state.items[of, Item.SETTLEMENT], return_inverse=True)
    sums = np.zeros(len(keys), np.int64)
    np.add.at(sums, place, np.where(is_asset, state.ledger[rows, 1], -state.ledger[rows, 1]))
    for key in keys[sums != 0].tolist():
        account, asset = divmod(key, items)
        mine = (accounts == account) & (state.items[of, Item.SETTLEMENT] == asset)
        stated = sum(state.ledger[rows[mine & is_asset], 1].tolist())
        summed = sum(state.ledger[rows[mine & ~is_asset], 1].tolist())
        amounts = [str(amount_of(units, book.step(asset))) for units in (stated, summed)]
        yield [book.account_name(account), book.items[asset].name, *amounts]


def _wrong_orders(fold: Fold, book: Directory) -> Iterator[list[Any]]:
    """[account, number of the order, what is wrong with it]."""
    state = fold.machine.state
    columns = state.accounts[: book.accounts_count]
    for account in np.flatnonzero(columns[:, Account.ORDER_COUNT]).tolist():
        name, row, seen = book.account_name(account), columns[account], set[int]()
        slot, listed, counted = int(row[Account.ORDERS]), 0, int(row[Account.ORDER_COUNT])
        while slot != NONE and listed <= counted:
            order = state.orders[slot]
            number = int(order[Open.NUMBER])
            yield from ([name, number, problem] for problem in _problems(fold, account, order, seen))
            seen.add(number)
            slot, listed = int(order[Open.NEXT]), listed + 1
        if listed != counted:
            more = " or more" if listed > counted else ""
            yield [name, 0, f"{counted} orders are counted and {listed}{more} are listed"]


def _problems(fold: Fold, account: int, order: Counts, seen: set[int]) -> Iterator[str]:
    state, item, number = fold.machine.state, int(order[Open.ITEM]), int(order[Open.NUMBER])
    if int(order[Open.ACCOUNT]) != account:
        yield f"says that it is of account #{int(order[Open.ACCOUNT])}"
    if not 0 <= item < int(state.counters[Counter.ITEMS]) or state.items[item, Item.FORM] == Form.ASSET:
        yield f"is on item {item}, which is no contract"
    elif not state.items[item, Item.OPEN]:
        yield "is on a contract that is closed"
    if not int(order[Open.REMAINING]):
        yield "has nothing left to fill"
    if number in seen or not 0 < number <= int(state.accounts[account, Account.ORDER_LAST]):
        yield "has a number that was never given, or given twice"


def holdings(
    fold: Fold,
    book: Directory,
    accounts: Sequence[str | int] | None = None,
    first: int = SYSTEM_ACCOUNTS,
    items: Sequence[str] = (),
) -> dict[str, Any]:
    """Amount and cost of every row of some accounts, in main units.

    Args:
        fold: The state.
        book: Its names.
        accounts: By name or number, as many as fit; without it all accounts, from number `first` on.
        first: See `accounts`.
        items: Names of further items to describe.
    """
    end = book.accounts_count if accounts is None else len(accounts)
    begin = _place(first) if accounts is None else 0
    found, unknown, used, size = [], [], set[int](), 0
    at = begin
    while at < end and size < ROWS_MAXIMUM and at - begin < NAMES_MAXIMUM:
        number = at if accounts is None else _number(book, accounts[at])
        at += 1
        if number is None:
            unknown.append((accounts or ())[at - 1])
            continue
        rows = list(views.rows_of(fold, number))
        size += len(rows)
        used.update(item for item, _, _ in rows)
        found.append(_holding(fold, book, number, rows))
    used |= {number for name in items if (number := fold.machine.registry.numbers.get(name)) is not None}
    return {
        "price_id": fold.price_id,
        "accounts": found,
        "unknown": unknown,
        "items": {
            book.items[item].name: _described(fold, book, item) for item in sorted(used | _settlements(fold, used))
        },
        "withdrawals": list(_withdrawals(fold, book, {one["number"] for one in found})),
        "end": at,
        "count": end,
    }


def _place(first: int) -> int:
    if not isinstance(first, int) or first < 0:
        raise InputError("out-of-range", "first", first, "give a whole number from 0 on")
    return first


def _number(book: Directory, account: str | int) -> int | None:
    try:
        return book.account(account)
    except InputError:
        return None


def _holding(fold: Fold, book: Directory, number: int, rows: Sequence[tuple[int, int, int]]) -> dict[str, Any]:
    """An account with its rows: [item, amount, cost], both texts; the cost in the settlement asset."""
    listed = []
    for item, amount, cost in rows:
        texts = amount_of(amount, book.step(item)), amount_of(cost, book.step(book.settlement(item)))
        listed.append([book.items[item].name, *map(str, texts)])
    version = int(fold.machine.state.accounts[number, Account.VERSION])
    return {"name": book.account_name(number), "number": number, "version": version, "rows": listed}


def _settlements(fold: Fold, items: set[int]) -> set[int]:
    return {int(fold.machine.state.items[item, Item.SETTLEMENT]) for item in items}


def _described(fold: Fold, book: Directory, item: int) -> dict[str, Any]:
    """An item: whether an asset, unit, step, settlement asset, whether open, expiry, and a unit's value at the mark."""
    instrument = book.items[item].instrument
    return {
        "asset": instrument is None,
        "unit": book.unit(item),
        "step": str(amount_of(1, book.step(item))),
        "settlement": book.items[book.settlement(item)].name,
        "open": bool(fold.machine.state.items[item, Item.OPEN]),
        "expiry": 0 if instrument is None else instrument.expiry or 0,
        "value": _value(fold, item),
    }


def _value(fold: Fold, item: int) -> float | None:
    """What one unit of an item is worth at the last mark, numeraire; None for what has no line."""
    for model, table in enumerate(fold.machine.marked.tables):
        line = int(fold.machine.state.lines[model, item])
        if line != NONE:
            return float(table.arrays.lines[line, LineField.TODAY])
    return None


def _withdrawals(fold: Fold, book: Directory, accounts: set[int]) -> Iterator[list[Any]]:
    """[number, account, asset, amount, state] of what some accounts have reserved, or released and not yet paid."""
    registry = fold.machine.registry
    listed: list[tuple[str, Mapping[int, Withdrawal | Payment]]]
    listed = [("reserved", registry.withdrawals), ("released", registry.payments)]
    for state, by_number in listed:
        for number, one in sorted(by_number.items()):
            if one.account in accounts:
                amount = str(amount_of(one.amount, book.step(one.item)))
                yield [number, book.account_name(one.account), book.items[one.item].name, amount, state]


def quotes(fold: Fold, book: Directory, first: int = 0) -> dict[str, Any]:
    """The last quote of each source of each item that has any, from item number `first` on."""
    state, registry = fold.machine.state, fold.machine.registry
    listed: list[dict[str, Any]] = []
    item, size, count = _place(first), 0, len(book.items)
    while item < count and size < ROWS_MAXIMUM:
        found = state.quotes[item, : len(registry.sources)]
        quoted = np.flatnonzero(found[:, Quote.PRICE]).tolist()
        if quoted:
            rows = [[n, *(int(found[n, column]) for column in Quote)] for n in quoted]
            listed.append(_quoted(fold, book, item, rows))
            size += len(rows)
        item += 1
    return {
        "price_id": fold.price_id,
        "rules": {name: getattr(registry.rules, name) for name in ("age_maximum", "outlier_ppm", "sources_minimum")},
        "sources": list(registry.sources),
        "items": listed,
        "end": item,
        "count": count,
    }


def _quoted(fold: Fold, book: Directory, item: int, rows: list[list[int]]) -> dict[str, Any]:
    """An item's quotes [source, price, time, sequence], and its prices; all prices in steps."""
    state = fold.machine.state
    return {
        "name": book.items[item].name,
        "open": bool(state.items[item, Item.OPEN]),
        "step": str(amount_of(1, book.quote_step(item))),
        "price": int(state.prices[item, Price.CURRENT]),
        "marked": int(state.prices[item, Price.MARKED]),
        "quotes": rows,
    }


def parameters(fold: Fold, _book: Directory, model: str | None = None) -> dict[str, Any]:
    """The rules, and of every model version and digest; of one that is named the whole set too."""
    registry = fold.machine.registry
    models = []
    for one in registry.models:
        pending = None if one.pending is None else [one.pending[0], one.pending[1].digest]
        described: dict[str, Any] = {
            "name": one.name,
            "set": one.parameters.name,
            "version": one.version,
            "digest": one.parameters.digest,
            "pending": pending,
        }
        models.append(described | ({"parameters": msgspec.to_builtins(one.parameters)} if one.name == model else {}))
    if model is not None and all(one["name"] != model for one in models):
        raise InputError("unknown-model", "model", model, "ask without one for the names", "is no model of this log")
    return {"rules": msgspec.structs.asdict(registry.rules), "models": models}


def named_roots(fold: Fold) -> dict[str, Any]:
    """What the replicas said in the log that the roots were, and who is suspended for it."""
    registry = fold.machine.registry
    names = [replica.name for replica in registry.replicas]
    return {
        "votes": [
            [position, names[replica], root.hex()]
            for position, named in sorted(registry.roots.items())
            for replica, root in sorted(named.items())
        ],
        "certified": [[one.position, one.root.hex()] for one in registry.certified],
        "suspended": [replica.name for replica in registry.replicas if replica.suspended],
        "replicas": names,
    }
