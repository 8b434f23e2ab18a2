"""Hashes of RFC 6962, and the check that a leaf is in a tree.

Theory of operation. A leaf and an interior node are hashed behind different first bytes, so that nobody can pass off
one as the other. A proof is the sibling at each level on the way from a leaf to the root, where there is one: the last
node of an odd level has none and goes up unchanged. The index and the number of leaves say on which side each sibling
stands and how many there are, so a proof has one form and nothing in it can be chosen.

What lives here: what a person needs who trusts a root and nothing else. What may not: an import outside the standard
library, so that the file can be copied out and read by itself. Normative: `specs/merkle.md`.
"""

import hashlib
from collections.abc import Sequence

HASH_LENGTH = 32
"""Bytes of a SHA-256."""
LEAF_PREFIX = b"\x00"
NODE_PREFIX = b"\x01"
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of the tree without leaves."""


def leaf_hash(leaf: bytes | bytearray | memoryview) -> bytes:
    """SHA-256(0x00 ‖ leaf), 32 bytes (RFC 6962, 2.1)."""
    return hashlib.sha256(LEAF_PREFIX + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right), 32 bytes (RFC 6962, 2.1)."""
    return hashlib.sha256(NODE_PREFIX + left + right).digest()


def verify_inclusion(leaf: bytes, index: int, count: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether a leaf is number `index` of the `count` leaves under `root`.

    Takes the leaf itself and not its hash, so that an interior node cannot stand in for one. The steps are those of
    RFC 9162, 2.1.3.2. Nothing that is given raises an error: what is no proof proves nothing.

    Args:
        leaf: The bytes of the leaf.
        index: Its place, from 0.
        count: Leaves of the tree.
        proof: Siblings from the leaf upwards, 32 bytes each, as `MerkleTree.inclusion_proof` gives them.
        root: The root that is trusted, 32 bytes.
    """
    if not (_is_whole(index) and _is_whole(count) and 0 <= index < count):
        return False
    if not (_is_bytes(leaf) and _is_hash(root) and isinstance(proof, list | tuple) and all(map(_is_hash, proof))):
        return False
    node, place, last = leaf_hash(leaf), index, count - 1
    for sibling in proof:
        if last == 0:
            return False
        if place % 2 or place == last:
            node = node_hash(sibling, node)
            while place % 2 == 0 and place:
                place, last = place >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and node == bytes(root)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_bytes(value: object) -> bool:
    return isinstance(value, bytes | bytearray | memoryview)


def _is_hash(value: object) -> bool:
    return isinstance(value, bytes | bytearray) and len(value) == HASH_LENGTH
