"""A fold as the bytes of a snapshot, and a fold from them.

Theory of operation. A snapshot holds what the state root covers and nothing else, each array's used part in the order
of its leaves; the first word of a part's name is the layout. What is derived is made again on reading: blocks of the
pool, lines and units of rows, lists of orders, the table of sessions, and the risk tables, from the frozen prices at
the time at which they were made. Then the root is computed from all of it and must be the header's. So a snapshot that
was changed, or that this program reads otherwise than it was meant, is refused.

Bytes that are not what they should be must do no harm before that: whatever compiled code takes as an index is checked
first. What may not live here: the container (`domain.snapshots`), files, and which snapshot to trust.
Specification: specs/state-root.md.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from holdfast.core import marks, sessions
from holdfast.core.canonical import canonical_bytes
from holdfast.core.cold.definitions import copy_rules
from holdfast.core.fold import Fold
from holdfast.core.leaves import ORDER_COLUMNS, SESSION_COLUMNS, open_orders, outcome_words, rows_by_item
from holdfast.core.liquidation.lifecycle import MOVES
from holdfast.core.machine import Machine
from holdfast.core.margins import relabel_all, sweep
from holdfast.core.registry import LOGIC_VERSIONS, Registry
from holdfast.core.state import (
    BLOCK_LEAST,
    KEPT_MAXIMUM,
    MODELS_MAXIMUM,
    NONE,
    SESSIONS_MAXIMUM,
    SOURCES_MAXIMUM,
    SYSTEM_ACCOUNTS,
    Account,
    Counter,
    Counts,
    Item,
    Open,
    Price,
    Quote,
    Session,
    State,
    empty_state,
    grown,
    pool_reserve,
)
from holdfast.domain.errors import HoldfastError, InputError, invariant
from holdfast.domain.names import parse_instrument
from holdfast.domain.outcomes import OUTCOME
from holdfast.domain.snapshots import (
    BYTES,
    PartContent,
    SnapshotError,
    SnapshotHeader,
    decode_snapshot,
    encode_snapshot,
)

LAYOUT = "state-1"
"""Before the `/` of every part's name. Another layout gets another name, and its reader stays beside this one."""
ACCOUNT_COLUMNS = (Account.MODEL, Account.STATUS, Account.VERSION, Account.ORDER_LAST, Account.COUNT)
MOMENTS = 3
"""Logical time, price id, time of the risk tables."""
PARTS: dict[str, tuple[str, tuple[int, ...]]] = {
    "accounts": ("<i8", (-1, 5)),
    "items": ("<i8", (-1, 13)),
    "moments": ("<i8", (MOMENTS,)),
    "orders": ("<i8", (-1, 6)),
    "outcomes": ("<i8", (-1, 8)),
    "prices": ("<i8", (-1, 5)),
    "quotes": ("<i8", (-1, SOURCES_MAXIMUM, 3)),
    "registry": (BYTES, (-1,)),
    "rows/amounts": ("<i8", (-1,)),
    "rows/costs": ("<i8", (-1,)),
    "rows/items": ("<i4", (-1,)),
    "sessions": ("<i8", (-1, 6)),
}
"""Type and shape of each part of LAYOUT, −1 for any length."""
_REGISTRY = msgspec.msgpack.Decoder(Registry)

invariant(
    (len(Item), len(Price), len(Quote), OUTCOME.itemsize) == (13, 5, 3, 64),
    "a column more or less is another layout: give it a name and keep the reader of this one",
)


def snapshot_of(fold: Fold) -> bytes:
    """The bytes of a snapshot of a fold; errors as `content_of`."""
    return encode_snapshot(*content_of(fold))


def content_of(fold: Fold) -> tuple[SnapshotHeader, dict[str, PartContent]]:
    """Header and parts of a snapshot, copied: they can be compressed elsewhere while the fold goes on.

    Raises:
        InputError: No frame was folded yet; the empty state needs no snapshot.
    """
    if fold.position == 0:
        raise InputError("out-of-range", "position", 0, "fold a frame first")
    state, registry = fold.machine.state, fold.machine.registry
    header = SnapshotHeader(registry.logic, fold.position - 1, fold.chain, fold.root())
    counters, rows = state.counters, rows_by_item(state)
    moments = [counters[Counter.TIME], counters[Counter.PRICE_ID], fold.machine.marked.market.time]
    items = int(counters[Counter.ITEMS])
    parts: dict[str, PartContent] = {
        "accounts": state.accounts[: int(counters[Counter.ACCOUNTS]), ACCOUNT_COLUMNS],
        "items": state.items[:items].copy(),
        "moments": np.array(moments, np.int64),
        "orders": open_orders(state),
        "outcomes": _outcomes_by_session(state),
        "prices": state.prices[:items].copy(),
        "quotes": state.quotes[:items].copy(),
        "registry": _registry_bytes(registry),
        "rows/amounts": state.ledger[rows, 0],
        "rows/costs": state.ledger[rows, 1],
        "rows/items": state.row_item[rows],
        "sessions": state.sessions[: int(counters[Counter.SESSIONS]), SESSION_COLUMNS],
    }
    return header, {f"{LAYOUT}/{name}": content for name, content in parts.items()}


def fold_from(data: bytes, watch: Callable[[str], None] | None = None) -> Fold:
    """The fold that a snapshot was taken of; it goes on with the frame after the header's position.

    Its figures are those at the snapshot's tables, and it has no checkpoints: it took none by itself.

    Args:
        data: The snapshot.
        watch: As in `Fold`.

    Raises:
        SnapshotError: The bytes are no snapshot, are of a layout or logic that this program does not know, or make
            another state than that of the header's root.
    """
    snapshot = decode_snapshot(data)
    header = snapshot.header
    if header.logic_version not in LOGIC_VERSIONS:
        known = ", ".join(map(str, LOGIC_VERSIONS))
        raise SnapshotError("logic_version", header.logic_version, f"one that this program replays: {known}")
    parts = _checked_parts(snapshot.parts)
    fold = Fold(watch)
    fold.position, fold.chain = header.position + 1, header.chain_hash
    try:
        _restore(fold.machine, parts)
    except (HoldfastError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, SnapshotError):
            raise
        raise SnapshotError("content", f"no state ({error})", "what a fold can hold; take another snapshot") from None
    root = fold.root()
    if root != header.state_root:
        raise SnapshotError("state_root", root.hex(), f"{header.state_root.hex()}; take another snapshot")
    if fold.machine.registry.logic != header.logic_version:
        raise SnapshotError("logic_version", header.logic_version, f"{fold.machine.registry.logic}, as in the state")
    _look(fold.machine)
    return fold


def _registry_bytes(registry: Registry) -> bytes:
    """The registry without what its names say: numbers, and instruments of definitions."""
    items = tuple(msgspec.structs.replace(definition, instrument=None) for definition in registry.items)
    return canonical_bytes(msgspec.structs.replace(registry, items=items, numbers={}))


def _registry_from(data: bytes) -> Registry:
    try:
        bare = _REGISTRY.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise SnapshotError("registry", f"not readable ({error})", "a registry of this layout") from None
    items = tuple(
        msgspec.structs.replace(one, instrument=parse_instrument(one.name)) if one.lot else one for one in bare.items
    )
    registry = msgspec.structs.replace(bare, items=items, numbers={one.name: n for n, one in enumerate(items)})
    if _registry_bytes(registry) != data:
        raise SnapshotError("registry", "written in another way", "the one encoding of its content, without more")
    return registry


def _outcomes_by_session(state: State) -> Counts:
    """[kept, words] the rings of all sessions in order of slots."""
    rings = state.sessions[: int(state.counters[Counter.SESSIONS]), (Session.RING, Session.KEPT)]
    return outcome_words(state)[_spans(rings[:, 0], rings[:, 1])]


def _spans(starts: Counts, lengths: Counts) -> Counts:
    """The whole numbers from each start on, as many as its length, one span behind the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(total)


def _checked_parts(parts: Mapping[str, PartContent]) -> dict[str, Any]:
    """The parts by name without the layout; refuses another layout, another set of parts, type or shape."""
    layouts = sorted({name.partition("/")[0] for name in parts})
    if layouts != [LAYOUT]:
        raise SnapshotError("layout", ", ".join(layouts) or "none", f"{LAYOUT}, which this program reads")
    found = {name.partition("/")[2]: content for name, content in parts.items()}
    if found.keys() != PARTS.keys():
        odd = sorted(found.keys() ^ PARTS.keys())
        raise SnapshotError("parts", f"missing or unknown: {', '.join(odd)}", f"{', '.join(PARTS)}")
    for name, (kind, shape) in PARTS.items():
        _check_shape(name, found[name], kind, shape)
    _check_indices(found)
    return found


def _check_shape(name: str, content: PartContent, kind: str, shape: tuple[int, ...]) -> None:
    if isinstance(content, bytes):
        given, sizes = BYTES, (len(content),)
    else:
        given, sizes = content.dtype.str, content.shape
    fits = len(sizes) == len(shape) and all(want in (-1, size) for size, want in zip(sizes, shape, strict=True))
    if given != kind or not fits:
        raise SnapshotError(name, f"{given} of shape {sizes}", f"{kind} of shape {shape}, −1 being any length")


def _check_indices(parts: Mapping[str, Any]) -> None:
    """Refuse what compiled code would take as an index and read beyond an array."""
    accounts, rows, orders, opened = parts["accounts"], parts["rows/items"], parts["orders"], parts["sessions"]
    items = len(parts["items"])
    _check_range("accounts", np.array([len(accounts)]), SYSTEM_ACCOUNTS, 1 << 32)
    _check_range("accounts.model", accounts[:, 0], 0, MODELS_MAXIMUM)
    _check_range("accounts.rows", accounts[:, 4], 0, len(rows) + 1)
    _check_range("rows/items", rows, 0, items)
    _check_range("orders.account", orders[:, ORDER_COLUMNS.index(Open.ACCOUNT)], 0, len(accounts))
    _check_range("orders.item", orders[:, ORDER_COLUMNS.index(Open.ITEM)], 0, items)
    _check_range("sessions", np.array([len(opened)]), 1, SESSIONS_MAXIMUM + 1)
    kept = opened[:, SESSION_COLUMNS.index(Session.KEPT)]
    _check_range("sessions.kept", kept, 1, KEPT_MAXIMUM + 1)
    lengths = (
        ("prices", len(parts["prices"]), items),
        ("quotes", len(parts["quotes"]), items),
        ("rows/items", len(rows), int(accounts[:, 4].sum())),
        ("rows/amounts", len(parts["rows/amounts"]), len(rows)),
        ("rows/costs", len(parts["rows/costs"]), len(rows)),
        ("outcomes", len(parts["outcomes"]), int(kept.sum())),
    )
    for name, length, expected in lengths:
        if length != expected:
            raise SnapshotError(name, f"{length} rows", f"{expected}, as the other parts say")


def _check_range(field: str, values: npt.NDArray[Any], least: int, end: int) -> None:
    wrong = (values < least) | (values >= end)
    if wrong.any():
        raise SnapshotError(field, int(values[wrong.argmax()]), f"a whole number from {least} to {end - 1}")


def _restore(machine: Machine, parts: Mapping[str, Any]) -> None:
    """Put the state of checked parts into a machine, with everything that is derived but the figures."""
    machine.registry = _registry_from(parts["registry"])
    accounts = len(parts["accounts"])
    starts, capacities = _blocks(parts["accounts"][:, 4])
    top = int(capacities.sum())
    state = empty_state(max(accounts, 1_024), max(top, 16_384), max(len(parts["items"]), 256))
    _restore_accounts(state, parts, starts, capacities)
    _restore_market(state, parts)
    if top + pool_reserve(state) > len(state.row_item):
        state = grown(state, "rows", top + pool_reserve(state))
    state = _with_orders(state, parts["orders"])
    machine.state = _with_sessions(state, parts["sessions"], parts["outcomes"])
    copy_rules(machine)
    machine.marked = marks.build(machine.state, machine.registry, time=int(parts["moments"][2]))
    marks.set_lines(machine.state, machine.registry, machine.marked.tables)
    relabel_all(machine.state)


def _blocks(counts: Counts) -> tuple[Counts, Counts]:
    """First row and capacity of each account's block, the blocks one behind the other."""
    capacities = np.where(counts > 0, BLOCK_LEAST, 0)
    while (capacities < counts).any():
        capacities = np.where(capacities < counts, 2 * capacities, capacities)
    starts = np.cumsum(capacities) - capacities
    return np.where(counts > 0, starts, 0), capacities


def _restore_accounts(state: State, parts: Mapping[str, Any], starts: Counts, capacities: Counts) -> None:
    count = len(starts)
    rows = state.accounts[:count]
    rows[:, ACCOUNT_COLUMNS] = parts["accounts"]
    rows[:, Account.START], rows[:, Account.CAPACITY] = starts, capacities
    rows[:, Account.ORDERS], rows[:, Account.DIRTY] = NONE, 1
    places = _spans(starts, parts["accounts"][:, 4])
    state.row_item[places] = parts["rows/items"]
    state.ledger[places, 0], state.ledger[places, 1] = parts["rows/amounts"], parts["rows/costs"]
    state.counters[Counter.ACCOUNTS] = count
    state.counters[Counter.POOL_TOP] = int(capacities.sum())
    state.counters[Counter.BLOCK_LARGEST] = max(BLOCK_LEAST, int(capacities.max()))


def _restore_market(state: State, parts: Mapping[str, Any]) -> None:
    count = len(parts["items"])
    state.items[:count], state.quotes[:count] = parts["items"], parts["quotes"]
    state.prices[:count] = parts["prices"]
    state.counters[Counter.ITEMS] = count
    state.counters[[Counter.TIME, Counter.PRICE_ID]] = parts["moments"][:2]


def _with_orders(state: State, orders: Counts) -> State:
    """The state with these open orders, each account's newest at the head of its list."""
    count = len(orders)
    if count > len(state.orders):
        state = grown(state, "orders", count)
    state.orders[:count, ORDER_COLUMNS] = orders
    state.counters[Counter.ORDER_SLOTS] = count
    oldest_first = np.argsort(state.orders[:count, Open.NUMBER], kind="stable")
    for slot in oldest_first.tolist():
        account = state.accounts[state.orders[slot, Open.ACCOUNT]]
        state.orders[slot, Open.NEXT] = account[Account.ORDERS]
        account[Account.ORDERS] = slot
        account[Account.ORDER_COUNT] += 1
    return state


def _with_sessions(state: State, opened: Counts, outcomes: Counts) -> State:
    """The state with these sessions, their outcomes in rings one behind the other, and their table."""
    for what, length in (("sessions", len(opened)), ("kept", len(outcomes))):
        if length > len(getattr(state, what)):
            state = grown(state, what, length)
    rows = state.sessions[: len(opened)]
    rows[:, SESSION_COLUMNS] = opened
    rows[:, Session.RING] = np.cumsum(rows[:, Session.KEPT]) - rows[:, Session.KEPT]
    outcome_words(state)[: len(outcomes)] = outcomes
    state.counters[[Counter.SESSIONS, Counter.KEPT_TOP]] = len(opened), len(outcomes)
    length = len(state.session_table)
    while 2 * len(opened) > length:
        length *= 4
    return sessions.with_table(state, length)


def _look(machine: Machine) -> None:
    """Work out every account's figures; nobody's status moves."""
    state = machine.state
    zones = np.empty(len(state.accounts), np.int64)
    sweep(state, machine.marked.arrays, -1, int(state.counters[Counter.ACCOUNTS]), MOVES, zones)
