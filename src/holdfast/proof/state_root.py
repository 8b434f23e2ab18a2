"""The state root: one hash that fixes the whole state, layout version 1.

Theory of operation. The state has seven sections, each a Merkle tree. Their names, numbers of leaves and roots stand in
fixed order in rows of one length behind a tag and a version, and the hash of that is the state root. A count is in it
because a root alone does not say how many leaves it is over, which the check of an inclusion must know.

What lives here: the layout. What may not: the leaves of a section. Normative: `specs/merkle.md`.
"""

import hashlib
import struct
from collections.abc import Sequence

from holdfast.domain.errors import InputError, invariant
from holdfast.proof.inclusion import EMPTY_ROOT, HASH_LENGTH

TAG = b"HFSR"
FORMAT = 1
SECTIONS = ("accounts", "orders", "sessions", "market", "parameters", "roles", "risk-table")
"""The sections of a state in their order."""
STATE_LENGTH = 400
"""Bytes that are hashed."""

_HEAD = struct.Struct("<4sHH")
_SECTION = struct.Struct(f"<16sQ{HASH_LENGTH}s")
_NAME_LENGTH = 16
_UNSIGNED_64_MAXIMUM = (1 << 64) - 1

invariant(_HEAD.size + len(SECTIONS) * _SECTION.size == STATE_LENGTH, "the layout has the length that the page states")
invariant(all(len(name) < _NAME_LENGTH for name in SECTIONS), "a name ends in a zero byte")


def state_bytes(sections: Sequence[tuple[str, int, bytes]]) -> bytes:
    """The STATE_LENGTH bytes whose SHA-256 is the state root; arguments and errors as `state_root`."""
    names = tuple(name for name, _, _ in sections)
    if names != SECTIONS:
        raise InputError("malformed", "sections", names, f"give the sections {', '.join(SECTIONS)} in this order")
    rows = [_section(name, count, root) for name, count, root in sections]
    return _HEAD.pack(TAG, FORMAT, len(SECTIONS)) + b"".join(rows)


def state_root(sections: Sequence[tuple[str, int, bytes]]) -> bytes:
    """The root over all sections of a state, 32 bytes.

    Args:
        sections: Name, number of leaves and root of each section, in the order of SECTIONS.

    Raises:
        InputError: A section is missing, unknown or out of its order, a count is no u64, a root is not 32 bytes, or
            a section without leaves has another root than EMPTY_ROOT.
    """
    return hashlib.sha256(state_bytes(sections)).digest()


def _section(name: str, count: int, root: bytes) -> bytes:
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= _UNSIGNED_64_MAXIMUM:
        raise InputError("out-of-range", f"{name}.count", count, "give a whole number from 0 to 2**64 − 1")
    if not isinstance(root, bytes) or len(root) != HASH_LENGTH:
        raise InputError("malformed", f"{name}.root", root, f"give a hash of {HASH_LENGTH} bytes")
    if count == 0 and root != EMPTY_ROOT:
        raise InputError(
            "malformed", f"{name}.root", root.hex(), "give the root of the empty tree, as there is no leaf"
        )
    return _SECTION.pack(name.encode("ascii"), count, root)
