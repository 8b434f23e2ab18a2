"""Leaves of a state, with the way from each to the state root.

What may not live here: which state, and who voted for its root.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from holdfast.core.fold import Fold
from holdfast.core.leaves import account_leaves, market_leaves
from holdfast.core.registry import Registry
from holdfast.core.roots import OUTSIDE_ROLES, Roots, parameter_leaves, role_leaf, table_leaves
from holdfast.core.state import Account, Counter
from holdfast.domain.errors import InputError, invariant
from holdfast.proof.checkpoint import base64_of
from holdfast.proof.state_root import SECTIONS, state_bytes
from holdfast.proof.verifier import FIRST_ITEM, TABLE_ARRAYS


class LeafPlace(NamedTuple):
    """A leaf by its section and its place in it."""

    section: str
    number: int


class ProvableState:
    """A state, its trees, and its leaves."""

    def __init__(self, fold: Fold) -> None:
        self.fold, self._roots = fold, Roots()
        self.root = self._roots.root(fold.machine)
        trees = [(name, self._roots.section(name)) for name in SECTIONS]
        self.sections = state_bytes([(name, len(tree), tree.root()) for name, tree in trees])
        state, registry = fold.machine.state, fold.machine.registry
        items = state.items[: int(state.counters[Counter.ITEMS])]
        lines = state.lines[:, : len(items)]
        self._lists = {
            "market": market_leaves(state, registry.ticks),
            "parameters": parameter_leaves(registry, items),
            "roles": [leaf for name in role_names(registry) if (leaf := role_leaf(name, getattr(registry, name)))],
            "risk-table": table_leaves(fold.machine.marked, lines),
        }

    @property
    def position(self) -> int:
        """Of the frame after which the state is meant."""
        return self.fold.position - 1

    def leaf(self, place: LeafPlace) -> bytes:
        """The bytes of a leaf."""
        if place.section == "accounts":
            return bytes(account_leaves(self.fold.machine.state, np.array([place.number])).data)
        return self._lists[place.section][place.number]

    def proof(self, place: LeafPlace) -> dict[str, Any]:
        """A leaf with its way to the root of its section, as proofs hold it."""
        path = self._roots.section(place.section).inclusion_proof(place.number)
        return {
            "section": place.section,
            "index": place.number,
            "leaf": base64_of(self.leaf(place)),
            "path": [base64_of(one) for one in path],
        }

    def proofs(self, places: Iterable[LeafPlace]) -> list[dict[str, Any]]:
        """Several leaves, each once, in order of section and place."""
        return [self.proof(place) for place in sorted(set(places))]

    def margin_leaves(self, account: int) -> list[LeafPlace]:
        """What an account's margin follows from: it, the market's head, its items, and its model's risk table."""
        state = self.fold.machine.state
        if not 0 <= account < int(state.counters[Counter.ACCOUNTS]):
            raise InputError("out-of-range", "account", account, f"name an account that was open at {self.position}")
        row = state.accounts[account]
        rows = slice(int(row[Account.START]), int(row[Account.START]) + int(row[Account.COUNT]))
        first = 1 + int(row[Account.MODEL]) * len(TABLE_ARRAYS)
        invariant(first + len(TABLE_ARRAYS) <= len(self._lists["risk-table"]), "an account has a model with a table")
        return [
            LeafPlace("accounts", account),
            LeafPlace("market", 0),
            LeafPlace("risk-table", 0),
            *(LeafPlace("risk-table", first + n) for n in range(len(TABLE_ARRAYS))),
            *(LeafPlace("parameters", FIRST_ITEM + item) for item in state.row_item[rows].tolist()),
        ]

    def replicas_leaf(self) -> LeafPlace:
        """The leaf of the replicas."""
        registry = self.fold.machine.registry
        return LeafPlace("roles", self._lists["roles"].index(role_leaf("replicas", registry.replicas)))


def role_names(registry: Registry) -> list[str]:
    """Fields of the registry that may have a leaf of their own, in the order of these leaves."""
    return sorted(name for name in registry.__struct_fields__ if name not in OUTSIDE_ROLES)
