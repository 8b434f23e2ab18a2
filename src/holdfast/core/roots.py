"""The state root of a machine: one hash of the whole state, at the cost of what changed since the last one.

Theory of operation. Each section of `proof.state_root` is a Merkle tree that stays in memory. Accounts say themselves
that they changed (the column DIRTY); a session that changed has another number or another id; the leaves of the other
sections are made again, where something they are made of is another object or array, and compared with those before.
The root is a function of the state alone: an incremental one and one from scratch are equal, whatever the way there.

What may not live here: the layout of arrays' leaves (`leaves`), and anything that decides. Specification:
specs/state-root.md.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from holdfast.core.canonical import canonical_bytes, plain
from holdfast.core.leaves import account_leaves, market_leaves, open_orders, rows_of, session_leaves
from holdfast.core.machine import Machine
from holdfast.core.marks import Marked
from holdfast.core.registry import Definition, Registry
from holdfast.core.state import MODELS_MAXIMUM, Account, Counter, Counts, State
from holdfast.domain.errors import invariant
from holdfast.margin.table import LineTag, ModelField, RiskTable
from holdfast.proof.merkle import MerkleTree
from holdfast.proof.state_root import SECTIONS, state_root

CHUNK_ACCOUNTS = 4_096
"""Accounts whose leaves are made at once: few enough to stay in the processor's cache until they are hashed."""
OUTSIDE_ROLES = frozenset({"items", "numbers", "models", "sources", "rules", "ticks"})
"""Fields of the registry that are derived or belong to another section; every other one is a leaf of `roles`."""

TAGS = (LineTag.GROUP, LineTag.UNDERLYING, LineTag.ASSET)
MODEL_FIELDS = (
    ModelField.INITIAL_FACTOR,
    ModelField.MAINTENANCE_FACTOR,
    ModelField.TAIL_MASS,
    ModelField.OFFSET_CAP,
    ModelField.SCENARIOS,
)
"""The tags and fields of a table that are more than shortcuts for the kernel, so that a faster kernel moves no root."""


class Checkpoint(NamedTuple):
    """The root after the frame at `position`, and H there."""

    position: int
    chain: bytes
    root: bytes


class Roots:
    """The trees of the machine whose root was asked for last.

    Another machine's root begins new trees. What it does not see is a change that neither a frame nor a command made:
    the account, number or object that says of a change is then the one it was.
    """

    def __init__(self) -> None:
        self._machine: Machine | None = None
        self._trees = _Trees()

    def root(self, machine: Machine) -> bytes:
        """The state root, 32 bytes; the accounts' marks of change are cleared."""
        if machine is not self._machine:
            self._machine, self._trees = machine, _Trees()
        self._trees.follow(machine)
        marks = machine.state.accounts[: int(machine.state.counters[Counter.ACCOUNTS]), Account.DIRTY]
        marks[np.flatnonzero(marks)] = 0
        return self._trees.root()

    def section(self, name: str) -> MerkleTree:
        """The tree of a section as of the last root, for proofs of inclusion."""
        return self._trees.by_section()[name]


def full_root(machine: Machine) -> bytes:
    """The state root from scratch; nothing is marked or unmarked."""
    trees = _Trees()
    trees.follow(machine)
    return trees.root()


class _Trees:
    """One tree per section."""

    def __init__(self) -> None:
        self._accounts = MerkleTree()
        self._sessions, self._orders, self._market = _Sessions(), _Leaves(), _Leaves()
        self._parameters, self._roles, self._tables = _Parameters(), _Roles(), _Tables()

    def follow(self, machine: Machine) -> None:
        """Take in what changed."""
        state, registry = machine.state, machine.registry
        self._put_accounts(state)
        self._orders.put(rows_of(open_orders(state)))
        self._sessions.put(state)
        self._market.put(market_leaves(state, registry.ticks))
        self._parameters.look(state, registry)
        self._roles.look(registry)
        self._tables.look(state, machine.marked)

    def by_section(self) -> dict[str, MerkleTree]:
        """The trees by name, in the order of SECTIONS."""
        others = (self._orders, self._sessions, self._market, self._parameters, self._roles, self._tables)
        return dict(zip(SECTIONS, (self._accounts, *(one.tree for one in others)), strict=True))

    def root(self) -> bytes:
        """The state root of what was taken in."""
        return state_root([(name, len(tree), tree.root()) for name, tree in self.by_section().items()])

    def _put_accounts(self, state: State) -> None:
        known, count = len(self._accounts), int(state.counters[Counter.ACCOUNTS])
        changed = np.flatnonzero(state.accounts[:known, Account.DIRTY])
        for at in range(0, len(changed), CHUNK_ACCOUNTS):
            chunk = changed[at : at + CHUNK_ACCOUNTS]
            self._accounts.update_rows(chunk, *account_leaves(state, chunk))
        for at in range(known, count, CHUNK_ACCOUNTS):
            self._accounts.append_rows(*account_leaves(state, np.arange(at, min(at + CHUNK_ACCOUNTS, count))))


class _Leaves:
    """A tree over a list of leaves that is given whole each time; only what differs is hashed."""

    def __init__(self) -> None:
        self.tree = MerkleTree()
        self._leaves: list[bytes] = []

    def put(self, leaves: list[bytes]) -> None:
        """Make the tree that of these leaves. As a tree cannot shrink, fewer leaves than before begin a new one."""
        if len(leaves) < len(self._leaves):
            self.tree, self._leaves = MerkleTree(), []
        changed = [n for n, (old, new) in enumerate(zip(self._leaves, leaves, strict=False)) if old != new]
        self.tree.update_many(changed, [leaves[n] for n in changed])
        self.tree.extend(leaves[len(self._leaves) :])
        self._leaves = leaves


class _Sessions:
    """The tree of the sessions, by slot."""

    def __init__(self) -> None:
        self.tree = MerkleTree()
        self._before = np.zeros((0, 0), np.int64)

    def put(self, state: State) -> None:
        """Hash the sessions that changed: whatever changes a session's outcomes takes a number of it."""
        known, count = len(self.tree), int(state.counters[Counter.SESSIONS])
        invariant(count >= known, f"{count} sessions are fewer than the {known} there were")
        now = state.sessions[:count].copy()
        changed = np.flatnonzero((now[:known] != self._before).any(axis=1)) if known else np.zeros(0, np.int64)
        self.tree.update_rows(changed, *session_leaves(state, changed))
        self.tree.append_rows(*session_leaves(state, np.arange(known, count)))
        self._before = now


class _Parameters(_Leaves):
    """Rules, sources, models, items."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: tuple[object, ...] = ()
        self._rows = np.zeros((0, 0), np.int64)

    def look(self, state: State, registry: Registry) -> None:
        """Make the leaves again if anything they are made of changed."""
        rows = state.items[: int(state.counters[Counter.ITEMS])]
        seen = (registry.rules, registry.sources, registry.models, registry.items)
        if not _are_same(seen, self._seen) or not np.array_equal(rows, self._rows):
            self.put(parameter_leaves(registry, rows))
            self._seen, self._rows = seen, rows.copy()


class _Roles(_Leaves):
    """The rest of the registry, a leaf per field that is not at its default."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[str, tuple[object, bytes]] = {}

    def look(self, registry: Registry) -> None:
        """Make the leaves of fields again that hold another object."""
        for name in _ROLE_FIELDS:
            value = getattr(registry, name)
            if name not in self._made or self._made[name][0] is not value:
                self._made[name] = (value, role_leaf(name, value))
        self.put([leaf for _, leaf in self._made.values() if leaf])


class _Tables(_Leaves):
    """The risk tables of the last mark."""

    def __init__(self) -> None:
        super().__init__()
        self._marked: Marked | None = None
        self._lines = np.zeros((0, 0), np.int32)

    def look(self, state: State, marked: Marked) -> None:
        """Make the leaves again if there are other tables or lines."""
        lines = state.lines[:, : int(state.counters[Counter.ITEMS])]
        if marked is not self._marked or not np.array_equal(lines, self._lines):
            self.put(table_leaves(marked, lines))
            self._marked, self._lines = marked, lines.copy()


def parameter_leaves(registry: Registry, rows: Counts) -> list[bytes]:
    """The leaves of the section `parameters`: rules, sources, every place of a model, every item.

    Args:
        registry: Whose.
        rows: [items, Item] their numbers.
    """
    models = [canonical_bytes(model) for model in registry.models]
    models += [b""] * (MODELS_MAXIMUM - len(models))
    definitions = [definition_bytes(one) for one in registry.items]
    definitions += [b""] * (len(rows) - len(definitions))
    items = [row + definition for row, definition in zip(rows_of(rows), definitions, strict=True)]
    return [canonical_bytes(registry.rules), canonical_bytes(registry.sources), *models, *items]


def definition_bytes(definition: Definition) -> bytes:
    """A definition without its instrument, which its name says."""
    return canonical_bytes(msgspec.structs.replace(definition, instrument=None))


def role_leaf(name: str, value: object) -> bytes:
    """The leaf of a field of the registry; nothing where it is at its default."""
    content = canonical_bytes(value)
    return b"" if content == _ROLE_FIELDS[name] else canonical_bytes([name, plain(value)])


def table_leaves(marked: Marked, lines: np.ndarray) -> list[bytes]:
    """The leaves of the section `risk-table`: the tables' time, then of each model its arrays and its lines.

    Args:
        marked: The tables.
        lines: [models, items] line of each item, as in `State`.
    """
    found = [canonical_bytes([marked.market.time, len(marked.tables)])]
    for model, table in enumerate(marked.tables):
        arrays = table_arrays(table) | {"line_of_item": lines[model]}
        found += [array_leaf(model, name, array) for name, array in arrays.items()]
    return found


def table_arrays(table: RiskTable) -> dict[str, np.ndarray]:
    """What a table says, without what only makes reading it fast: padding, copies, and marks of shortcuts."""
    arrays, scenarios = table.arrays, len(table.scenarios)
    return {
        "values": arrays.values[:, :scenarios],
        "basis": arrays.basis[:, : len(table.basis_scenarios)],
        "multipliers": arrays.multipliers[:, :, :scenarios],
        "lines": arrays.lines,
        "tags": arrays.tags[:, TAGS],
        "group_ends": arrays.group_ends,
        "underlying_ends": arrays.underlying_ends,
        "groups": arrays.groups,
        "underlyings": arrays.underlyings,
        "assets": arrays.assets,
        "model": arrays.model[list(MODEL_FIELDS)],
    }


def array_leaf(model: int, name: str, array: np.ndarray) -> bytes:
    """An array bit by bit: model, name, type, shape, and its bytes in row-major order."""
    return canonical_bytes([model, name, array.dtype.str, array.shape, array.tobytes()])


def _are_same(these: Sequence[object], those: Sequence[object]) -> bool:
    """Whether two lists hold the very same objects; the registry's values never change, they are replaced."""
    return len(these) == len(those) and all(a is b for a, b in zip(these, those, strict=True))


_ROLE_FIELDS = {
    field: canonical_bytes(getattr(Registry(), field))
    for field in sorted(Registry.__struct_fields__)
    if field not in OUTSIDE_ROLES
}
"""By name in ascending order, the bytes of each field's default."""
invariant(OUTSIDE_ROLES.issubset(Registry.__struct_fields__), "a field that is no role is none of the registry either")
