"""Leaves of the state's arrays, as the state root hashes them: whole numbers of eight bytes, little-endian.

Everything that only says where something lies (blocks of the pool, slots of orders, places of rings) and everything
derived stays out, so that two states that answer alike have the same leaves. Rows of an account are in order of their
items, because the pool's order follows the risk table and changes with it. What may not live here: trees, and the
registry's leaves (`roots`). Specification: specs/state-root.md.
"""

import sys
from typing import NamedTuple

import numpy as np

from holdfast.compilation import compiled, inlined_only
from holdfast.core.state import Account, Counter, Counts, Lines, Open, Session, State
from holdfast.domain.errors import invariant

START, COUNT, MODEL, STATUS = int(Account.START), int(Account.COUNT), int(Account.MODEL), int(Account.STATUS)
VERSION, ORDER_LAST = int(Account.VERSION), int(Account.ORDER_LAST)
RING, KEPT = int(Session.RING), int(Session.KEPT)
WORD_BYTES = 8
ACCOUNT_WORDS, ROW_WORDS = 5, 3
SESSION_COLUMNS = (Session.ID, Session.ROLE, Session.SUBJECT, Session.NEXT, Session.KEPT, Session.USED)
SESSION_WORDS, OUTCOME_WORDS = len(SESSION_COLUMNS), 8
FLOAT_WORDS_BEGIN, FLOAT_WORDS_END = 4, 6
"""Words of an outcome that are floats: equity and initial margin."""
ORDER_COLUMNS = (Open.COMMAND, Open.ACCOUNT, Open.NUMBER, Open.ITEM, Open.REMAINING, Open.PRICE)
SIGN_OFF = (1 << 63) - 1
INFINITE = 0x7FF0000000000000
NOT_A_NUMBER = 0x7FF8000000000000
"""Bits of the one NaN that leaves know: which one a processor makes is not fixed by IEEE 754."""
_INSERTION_MAXIMUM = 48
"""Rows up to which sorting by insertion is the fastest."""

invariant(sys.byteorder == "little", "leaves are words as they lie in memory: a little-endian processor is needed")


class Encoded(NamedTuple):
    """Leaves one behind the other: their bytes, and where each begins and the last ends."""

    data: memoryview
    offsets: Counts


@inlined_only
def _sort_rows(row_item: Lines, start: int, count: int, keys: Counts) -> None:
    """Write an account's rows in ascending order of item to `keys`, each as item × 2**32 + place in its block."""
    if count > _INSERTION_MAXIMUM:
        for k in range(count):
            keys[k] = (np.int64(row_item[start + k]) << 32) | k
        keys[:count].sort()
        return
    for k in range(count):
        key = (np.int64(row_item[start + k]) << 32) | k
        at = k
        while at > 0 and keys[at - 1] > key:
            keys[at] = keys[at - 1]
            at -= 1
        keys[at] = key


@compiled
def write_accounts(
    accounts: Counts, row_item: Lines, ledger: Counts, which: Counts, begins: Counts, keys: Counts, out: Counts
) -> None:
    """Write the leaves of some accounts.

    Args:
        accounts: As in `State`; so `row_item` and `ledger`.
        row_item: Items of the rows.
        ledger: Amounts and costs of the rows.
        which: Numbers of the accounts.
        begins: [accounts] word at which each one's leaf begins.
        keys: Room for as many words as an account has rows.
        out: Room for the leaves, words.
    """
    for i in range(len(which)):
        account, at = which[i], begins[i]
        start, count = accounts[account, START], accounts[account, COUNT]
        out[at], out[at + 1], out[at + 2] = (
            accounts[account, MODEL],
            accounts[account, STATUS],
            accounts[account, VERSION],
        )
        out[at + 3], out[at + 4] = accounts[account, ORDER_LAST], count
        at += ACCOUNT_WORDS
        _sort_rows(row_item, start, count, keys)
        for k in range(count):
            row = start + (keys[k] & 0xFFFFFFFF)
            out[at], out[at + 1], out[at + 2] = keys[k] >> 32, ledger[row, 0], ledger[row, 1]
            at += ROW_WORDS


@compiled
def find_rows(accounts: Counts, row_item: Lines, count_accounts: int, keys: Counts, rows: Counts) -> None:
    """Write where the rows of all accounts lie in the pool to `rows`, by account and, within one, by item."""
    at = 0
    for account in range(count_accounts):
        start, count = accounts[account, START], accounts[account, COUNT]
        _sort_rows(row_item, start, count, keys)
        for k in range(count):
            rows[at] = start + (keys[k] & 0xFFFFFFFF)
            at += 1


@compiled
def write_sessions(sessions: Counts, outcomes: Counts, which: Counts, begins: Counts, out: Counts) -> None:
    """Write the leaves of some sessions; arguments as `write_accounts`, `outcomes` being [kept, OUTCOME_WORDS]."""
    for i in range(len(which)):
        slot, at = which[i], begins[i]
        for k in range(SESSION_WORDS):
            out[at + k] = sessions[slot, SESSION_COLUMNS[k]]
        at += SESSION_WORDS
        for k in range(sessions[slot, RING], sessions[slot, RING] + sessions[slot, KEPT]):
            for word in range(OUTCOME_WORDS):
                value = outcomes[k, word]
                if FLOAT_WORDS_BEGIN <= word < FLOAT_WORDS_END and (value & SIGN_OFF) > INFINITE:
                    value = NOT_A_NUMBER
                out[at + word] = value
            at += OUTCOME_WORDS


def rows_by_item(state: State) -> Counts:
    """[rows] where every row lies in the pool, in order of accounts and, within an account, of items."""
    count = int(state.counters[Counter.ACCOUNTS])
    counts = state.accounts[:count, COUNT]
    rows = np.empty(int(counts.sum()), np.int64)
    find_rows(state.accounts, state.row_item, count, np.empty(int(counts.max(initial=0)), np.int64), rows)
    return rows


def account_leaves(state: State, which: Counts) -> Encoded:
    """The leaves of accounts, given by their numbers."""
    counts = state.accounts[which, COUNT]
    begins = _begins(ACCOUNT_WORDS + ROW_WORDS * counts)
    out = np.empty(int(begins[-1]), np.int64)
    keys = np.empty(int(counts.max(initial=0)), np.int64)
    write_accounts(state.accounts, state.row_item, state.ledger, which, begins, keys, out)
    return Encoded(out.data.cast("B"), begins * WORD_BYTES)


def session_leaves(state: State, which: Counts) -> Encoded:
    """The leaves of sessions, given by their slots."""
    begins = _begins(SESSION_WORDS + OUTCOME_WORDS * state.sessions[which, KEPT])
    out = np.empty(int(begins[-1]), np.int64)
    write_sessions(state.sessions, outcome_words(state), which, begins, out)
    return Encoded(out.data.cast("B"), begins * WORD_BYTES)


def outcome_words(state: State) -> Counts:
    """[kept, OUTCOME_WORDS] the outcomes that sessions keep, as words; a view."""
    return state.kept.view(np.int64).reshape(-1, OUTCOME_WORDS)


def open_orders(state: State) -> Counts:
    """[orders, ORDER_COLUMNS] the open orders in order of the commands that placed them."""
    orders = state.orders[: int(state.counters[Counter.ORDER_SLOTS])]
    orders = orders[orders[:, Open.REMAINING] != 0]
    order = np.lexsort((orders[:, Open.NUMBER], orders[:, Open.ACCOUNT], orders[:, Open.COMMAND]))
    return np.ascontiguousarray(orders[order][:, ORDER_COLUMNS])


def rows_of(array: Counts) -> list[bytes]:
    """The bytes of each row of an array."""
    data, width = array.tobytes(), array[:1].nbytes
    return [data[at : at + width] for at in range(0, len(data), width or 1)]


def market_leaves(state: State, ticks: int) -> list[bytes]:
    """Time, price id and ticks; then for every item its prices and its quotes."""
    count = int(state.counters[Counter.ITEMS])
    head = np.array([state.counters[Counter.TIME], state.counters[Counter.PRICE_ID], ticks], np.int64)
    quotes = state.quotes[:count].reshape(count, state.quotes.shape[1] * state.quotes.shape[2])
    return [head.tobytes(), *rows_of(np.hstack([state.prices[:count], quotes]))]


def _begins(words: Counts) -> Counts:
    begins = np.zeros(len(words) + 1, np.int64)
    np.cumsum(words, out=begins[1:])
    return begins
