"""The state of the engine as arrays: what they are, how they grow, and nothing else.

Theory of operation. Everything that hot commands touch lies in a few flat arrays, so that one compiled loop applies
thousands of commands without a Python object. An account is one row of `accounts` and a block of rows in a pool; the
block is sorted by the line that each item has in the risk table of the account's model, which is what the margin kernel
reads. Blocks have powers of two as sizes; a full one moves to a block of twice the size, and freed blocks are kept in a
list per size. An array that is full is replaced by one of twice its length.

What is derived (rows' lines and units, tables of hashes) is marked so; it is not part of the state root and is rebuilt
when a snapshot is read. What may not live here: rules.
"""

import enum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from holdfast.domain.outcomes import OUTCOME, Outcomes

Counts = npt.NDArray[np.int64]
Lines = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

WORLD, FEES, INSURANCE, WITHDRAWALS = 0, 1, 2, 3
"""Accounts of the system: the outside world, collected fees, the insurance fund, withdrawals in flight."""
SYSTEM_ACCOUNTS = 4

MODELS_MAXIMUM = 4
"""Margin models at one time. The compiled loop takes each one's table as an argument of its own."""
SOURCES_MAXIMUM = 16
ITEMS_MAXIMUM = 1 << 20
ROWS_PER_ACCOUNT_MAXIMUM = 4_096
ORDERS_PER_ACCOUNT_MAXIMUM = 1_024
ORDER_NUMBER_MAXIMUM = (1 << 31) - 1
"""Orders that one account may ever place: two of their numbers share a field of a FILL record."""
SESSIONS_MAXIMUM = 1 << 16
KEPT_MAXIMUM = 4_096
JOURNAL_MAXIMUM = 64
"""Entries that one hot command may post."""
BLOCK_SIZES = 24
BLOCK_LEAST = 8
NONE = -1


class Counter(enum.IntEnum):
    """Elements of `counters`."""

    TIME = 0  # logical time, ns
    ACCOUNTS = 1
    ITEMS = 2
    POOL_TOP = 3  # rows of the pool ever handed out
    ORDER_SLOTS = 4  # slots of `orders` ever handed out
    ORDER_FREE = 5  # first free slot, NONE for none
    SESSIONS = 6
    KEPT_TOP = 7
    PRICE_ID = 8  # marks so far
    BLOCK_LARGEST = 9
    MARK_DUE = 10  # item whose index moved past the threshold, NONE for none
    JOURNAL = 11  # entries of the command at hand
    POSTED = 12  # how many of them were added to their rows
    AGE_MAXIMUM = 13
    AHEAD_MAXIMUM = 14
    SOURCES_MINIMUM = 15
    OUTLIER_PPM = 16
    THRESHOLD_PPM = 17
    FIRST_FREE = 18  # from here on BLOCK_SIZES heads of lists of free blocks


class Item(enum.IntEnum):
    """Columns of `items`."""

    FORM = 0
    SETTLEMENT = 1  # item number of the settlement asset; its own for an asset
    UNDERLYING = 2  # item number of the underlying's asset; its own for an asset
    MULTIPLIER = 3  # units = amount × multiplier ÷ divisor
    DIVISOR = 4
    COST_NUMERATOR = 5
    COST_DENOMINATOR = 6
    FEE_PPM = 7
    LIQUIDATION_FEE_PPM = 8
    EXPIRY = 9  # ns, 0 for none
    OPEN = 10  # whether it may be traded
    MASK = 11  # one bit per price that its value hangs on
    IS_OPTION = 12


class Form(enum.IntEnum):
    """How an item's cost follows from a price."""

    ASSET = 0
    LINEAR = 1  # lots × price × numerator ÷ denominator
    INVERSE = 2  # −lots × numerator ÷ price


class Account(enum.IntEnum):
    """Columns of `accounts`."""

    START = 0  # first row in the pool
    COUNT = 1
    CAPACITY = 2
    MODEL = 3
    STATUS = 4
    VERSION = 5  # accepted changes of rows, orders, model or status
    EXPOSURE = 6  # derived: the masks of its rows' items together
    ORDERS = 7  # slot of its newest open order, NONE for none
    ORDER_COUNT = 8
    ORDER_LAST = 9  # number of the last order it placed
    DIRTY = 10  # derived: changed since the last checkpoint


class Status(enum.IntEnum):
    """Where an account stands; transitions in `core.liquidation.lifecycle`."""

    HEALTHY = 0
    RESTRICTED = 1
    BREACH_PENDING = 2
    LIQUIDATING = 3
    BANKRUPT = 4
    FROZEN = 5  # engines disagree: reduce-only until an operator looks
    ASIDE = 6  # the engine erred on it


class Open(enum.IntEnum):
    """Columns of `orders`."""

    ACCOUNT = 0
    ITEM = 1
    REMAINING = 2  # signed lots
    PRICE = 3
    NUMBER = 4
    COMMAND = 5  # id of the command that placed it: its place in time
    NEXT = 6  # slot of the account's next older order, or of the next free slot


class Session(enum.IntEnum):
    """Columns of `sessions`."""

    ID = 0
    ROLE = 1
    SUBJECT = 2
    NEXT = 3  # number expected next; of a gateway, of its frames
    RING = 4  # first element of its outcomes in `kept`
    KEPT = 5
    USED = 6  # command id of its last command, for eviction


class Role(enum.IntEnum):
    """What a session may send."""

    CLIENT = 1
    OPERATOR = 2
    SOURCE = 3
    REPLICA = 4
    GATEWAY = 5


class Quote(enum.IntEnum):
    """Last axis of `quotes`."""

    PRICE = 0
    TIME = 1
    SEQUENCE = 2


class Price(enum.IntEnum):
    """Columns of `prices`."""

    CURRENT = 0  # median of the fresh quotes; 0 before there are enough
    MARKED = 1  # frozen at the last mark; 0 before the first
    FRESH = 2  # sources in CURRENT
    SETTLEMENT_SUM = 3  # of the index over the settlement window
    SETTLEMENT_COUNT = 4


class State(NamedTuple):
    """The arrays. Lengths grow; `counters` says how much is used.

    Attributes:
        counters: [Counter].
        items: [items, Item].
        lines: [models, items] line of each item in each model's risk table, NONE where it has none; derived.
        accounts: [accounts, Account].
        ledger: [rows, 2] amount and cost: lots and settlement units of a contract; cash and Σ costs of an asset.
        row_item: [rows] item number.
        row_line: [rows] line in the table of the account's model; derived.
        row_units: [rows] what the margin kernel reads as quantity; derived.
        orders: [slots, Open].
        sessions: [sessions, Session].
        session_table: [power of two] slot in `sessions` by hash of the id, NONE where empty; derived.
        kept: outcomes of sessions, a ring for each.
        quotes: [items, sources, Quote].
        prices: [items, Price].
        journal: [JOURNAL_MAXIMUM, 4] account, item, amount and cost posted by the command at hand; derived.
        figures: [accounts, 3] equity, initial and maintenance margin at the last look; derived, for reading only.
    """

    counters: Counts
    items: Counts
    lines: Lines
    accounts: Counts
    ledger: Counts
    row_item: Lines
    row_line: Lines
    row_units: Floats
    orders: Counts
    sessions: Counts
    session_table: Lines
    kept: Outcomes
    quotes: Counts
    prices: Counts
    journal: Counts
    figures: Floats


def empty_state(accounts: int = 1_024, rows: int = 16_384, items: int = 256) -> State:
    """A state without accounts, items or sessions, with room for so many."""
    counters = np.zeros(Counter.FIRST_FREE + BLOCK_SIZES, np.int64)
    counters[[Counter.ORDER_FREE, Counter.MARK_DUE]] = NONE
    counters[Counter.FIRST_FREE :] = NONE
    counters[Counter.BLOCK_LARGEST] = BLOCK_LEAST
    return State(
        counters=counters,
        items=np.zeros((items, len(Item)), np.int64),
        lines=np.full((MODELS_MAXIMUM, items), NONE, np.int32),
        accounts=np.zeros((accounts, len(Account)), np.int64),
        ledger=np.zeros((rows, 2), np.int64),
        row_item=np.zeros(rows, np.int32),
        row_line=np.zeros(rows, np.int32),
        row_units=np.zeros(rows),
        orders=np.zeros((1_024, len(Open)), np.int64),
        sessions=np.zeros((64, len(Session)), np.int64),
        session_table=np.full(256, NONE, np.int32),
        kept=np.zeros(4_096, OUTCOME),
        quotes=np.zeros((items, SOURCES_MAXIMUM, len(Quote)), np.int64),
        prices=np.zeros((items, len(Price)), np.int64),
        journal=np.zeros((JOURNAL_MAXIMUM, 4), np.int64),
        figures=np.zeros((accounts, 3)),
    )


_GROWS_WITH = {
    "accounts": ("accounts", "figures"),
    "rows": ("ledger", "row_item", "row_line", "row_units"),
    "items": ("items", "quotes", "prices", "lines"),
    "orders": ("orders",),
    "sessions": ("sessions",),
    "kept": ("kept",),
}


def grown(state: State, what: str, least: int) -> State:
    """The state with the arrays of `what` at least `least` long, and at least twice as long as now."""
    longer = {}
    for name in _GROWS_WITH[what]:
        array = getattr(state, name)
        axis = 1 if name == "lines" else 0
        length = max(least, 2 * array.shape[axis])
        shape = tuple(length if n == axis else size for n, size in enumerate(array.shape))
        room = np.full(shape, NONE, array.dtype) if name == "lines" else np.zeros(shape, array.dtype)
        room[tuple(slice(0, size) for size in array.shape)] = array
        longer[name] = room
    return state._replace(**longer)


def pool_reserve(state: State) -> int:
    """Rows that must be free at the end of the pool before a command: what one command may need at most."""
    return 8 * int(state.counters[Counter.BLOCK_LARGEST]) + 8 * BLOCK_LEAST
