"""The tree of liabilities: what a venue owes its clients at one stated price, with sums in every node.

Theory of operation. A leaf binds an account's number, a secret of its own, and two amounts: what the venue owes the
account, and what the account is missing, of which one is 0. A node binds the sums and hashes of both its children, so
that the sums at the root are those of all leaves and no part can be hidden or counted against another. Amounts are
never below 0: an account in debt cannot make the total smaller. Leaves stand in order of their hashes, so that nobody
learns from a neighbour's sums whose they are. The shape is that of RFC 6962.

What lives here: the tree. What may not: equity, accounts, secrets. Normative: specs/proofs.md.
"""

import hashlib
import hmac
from collections.abc import Iterable
from fractions import Fraction
from math import ceil, isfinite
from typing import NamedTuple

from holdfast.domain.errors import InputError
from holdfast.proof.inclusion import LEAF_PREFIX, NODE_PREFIX

AMOUNT_LENGTH = 16
UNITS = 1_000_000
"""Amounts are millionths of the numeraire."""
NONCE_TAG = b"holdfast liabilities/1"


class SumNode(NamedTuple):
    """A node: what is owed and what is missing below it, and its hash."""

    owed: int
    missing: int
    hash: bytes

    def encode(self) -> bytes:
        """Its bytes in the node above."""
        return _amounts(self.owed, self.missing) + self.hash


def _amounts(owed: int, missing: int) -> bytes:
    return owed.to_bytes(AMOUNT_LENGTH, "little") + missing.to_bytes(AMOUNT_LENGTH, "little")


def amounts_of(equity: float) -> tuple[int, int]:
    """What is owed to an account and what it is missing, millionths of the numeraire, by its equity.

    Rounded up: what is owed is never stated too low.
    """
    if not isfinite(equity):
        raise InputError("not-a-number", "equity", equity, "release or settle the account first")
    units = ceil(Fraction(equity) * UNITS)
    return max(0, units), max(0, -units)


def nonce_of(secret: bytes, log: bytes, position: int, account: int) -> bytes:
    """The secret of one leaf, 32 bytes, from the venue's.

    Args:
        secret: The venue's, 32 bytes.
        log: What names the log, 32 bytes.
        position: Of the checkpoint.
        account: Number of the account.
    """
    message = NONCE_TAG + log + position.to_bytes(8, "little") + account.to_bytes(8, "little")
    return hmac.new(secret, message, hashlib.sha256).digest()


def leaf_of(account: int, nonce: bytes, equity: float) -> SumNode:
    """The leaf of an account."""
    owed, missing = amounts_of(equity)
    content = account.to_bytes(8, "little") + nonce + _amounts(owed, missing)
    return SumNode(owed, missing, hashlib.sha256(LEAF_PREFIX + content).digest())


def node_of(left: SumNode, right: SumNode) -> SumNode:
    """The node above two."""
    digest = hashlib.sha256(NODE_PREFIX + left.encode() + right.encode()).digest()
    return SumNode(left.owed + right.owed, left.missing + right.missing, digest)


class SumTree:
    """A tree over leaves in ascending order of their hashes."""

    def __init__(self, leaves: Iterable[SumNode]) -> None:
        self._levels = [sorted(leaves, key=lambda one: one.hash)]
        if not self._levels[0]:
            raise InputError("missing-field", "accounts", 0, "open an account first")
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            pairs = [node_of(below[n], below[n + 1]) for n in range(0, len(below) - 1, 2)]
            self._levels.append(pairs + below[len(pairs) * 2 :])

    def __len__(self) -> int:
        return len(self._levels[0])

    @property
    def root(self) -> SumNode:
        """The sums over all leaves, and their hash."""
        return self._levels[-1][0]

    def index(self, leaf: SumNode) -> int:
        """The place of a leaf; InputError if there is none such."""
        if leaf not in self._levels[0]:
            raise InputError("malformed", "leaf", leaf.hash.hex(), "use the secret that the sums were published with")
        return self._levels[0].index(leaf)

    def path(self, index: int) -> list[SumNode]:
        """The siblings from a leaf upwards."""
        found = []
        for level in self._levels[:-1]:
            if index ^ 1 < len(level):
                found.append(level[index ^ 1])
            index >>= 1
        return found
