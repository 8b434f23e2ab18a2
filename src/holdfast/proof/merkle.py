"""A Merkle tree of RFC 6962 that stays in memory and rehashes only what changed.

Theory of operation. Each level is one contiguous array of 32-byte hashes, level 0 those of the leaves; node j of a
level has the nodes 2j and 2j + 1 below it, and the last node of an odd level goes up unchanged. That is the shape of
RFC 6962, which splits n leaves at the largest power of two below n: the left part is then a full tree, whose levels
pair up from 0, and the right part begins at an even place of every level up to the split.

A change of a leaf hashes that leaf and marks it, nothing more. `root` takes the marked leaves level by level to their
distinct parents and hashes each once, so a node above many changes costs one hash. What a hash costs is the call of
hashlib, so everything around the calls is done for many nodes at once: the pairs of a level are gathered behind their
prefix into one buffer, cut by one iterator, and the digests are written back in one assignment.

What lives here: the tree. What may not: what a leaf means. Normative: `specs/merkle.md`.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from holdfast.domain.errors import InputError, invariant
from holdfast.proof.inclusion import EMPTY_ROOT, HASH_LENGTH, LEAF_PREFIX, NODE_PREFIX

LEAVES_MAXIMUM = 1 << 32
"""Leaves of a tree. Whoever names a leaf has 32 bits for it; the memory, 64 bytes for each leaf, ends before."""

_PAIR_LENGTH = 2 * HASH_LENGTH
_CELL_LENGTH = len(NODE_PREFIX) + _PAIR_LENGTH
_CELL = struct.Struct(f"{_CELL_LENGTH}s")
_CHUNK_NODES = 8_192
"""Nodes that are gathered at once: their cells, half a mebibyte, stay in the processor's cache until their hashing."""
_CAPACITY_FIRST = 2

Buffer: TypeAlias = bytes | bytearray | memoryview
Indices: TypeAlias = Sequence[int] | npt.NDArray[np.integer]

_Hashes: TypeAlias = npt.NDArray[np.uint8]
_Places: TypeAlias = npt.NDArray[np.intp]


class MerkleTree:
    """Leaves 0, 1, 2, … under one root. Leaves can be added and replaced, not removed.

    A call that raises has changed nothing. Not safe to share between threads.
    """

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._count = 0
        self._levels: list[_Hashes] = []
        self._is_changed = np.zeros(0, np.bool_)
        self._root: bytes | None = EMPTY_ROOT
        self.extend(leaves)

    def __len__(self) -> int:
        return self._count

    def append(self, leaf: Buffer) -> int:
        """Add a leaf behind the last one and return its index; errors as `append_rows`."""
        self._append_hashes(hashlib.sha256(LEAF_PREFIX + leaf).digest())
        return self._count - 1

    def extend(self, leaves: Iterable[bytes]) -> range:
        """Add leaves behind the last one, in their order, and return their indices; errors as `append_rows`."""
        return self._append_hashes(_leaf_hashes(leaves))

    def append_rows(self, buffer: Buffer, offsets: Indices) -> range:
        """Add leaves behind the last one and return their indices.

        Args:
            buffer: The leaves' bytes.
            offsets: One more than leaves are added: leaf i is `buffer[offsets[i]:offsets[i + 1]]`.

        Raises:
            InputError: An offset is below the one before or outside the buffer, or the tree would have more than
                LEAVES_MAXIMUM leaves.
        """
        return self._append_hashes(_row_hashes(buffer, _checked_offsets(buffer, offsets)))

    def update(self, index: int, leaf: Buffer) -> None:
        """Replace a leaf; errors as `update_rows`."""
        if not 0 <= index < self._count:
            raise self._no_leaf(index)
        self._put(np.array([index], np.intp), hashlib.sha256(LEAF_PREFIX + leaf).digest())

    def update_many(self, indices: Indices, leaves: Sequence[bytes]) -> None:
        """Replace the leaves `indices[i]` by `leaves[i]`; errors as `update_rows`."""
        places = self._checked_places(indices, len(leaves))
        self._put(places, _leaf_hashes(leaves))

    def update_rows(self, indices: Indices, buffer: Buffer, offsets: Indices) -> None:
        """Replace leaves by rows of one buffer, which is the fastest way.

        Args:
            indices: Which leaves. Where one is named twice, the later row stays.
            buffer: The new leaves' bytes.
            offsets: One more than `indices`: leaf `indices[i]` becomes `buffer[offsets[i]:offsets[i + 1]]`.

        Raises:
            InputError: There is no leaf of an index, the lengths do not fit, or an offset is below the one before or
                outside the buffer.
        """
        bounds = _checked_offsets(buffer, offsets)
        places = self._checked_places(indices, len(bounds) - 1)
        self._put(places, _row_hashes(buffer, bounds))

    def root(self) -> bytes:
        """The root over all leaves, 32 bytes; hashes what changed since the last call."""
        if self._root is None:
            changed = np.flatnonzero(self._is_changed[: self._count])
            self._root = self._rehash(changed)
            self._is_changed[changed] = False
        return self._root

    def inclusion_proof(self, index: int) -> tuple[bytes, ...]:
        """The siblings from leaf `index` up to the root, 32 bytes each, as `inclusion.verify_inclusion` takes them.

        Raises:
            InputError: There is no leaf `index`.
        """
        if not 0 <= index < self._count:
            raise self._no_leaf(index)
        self.root()
        siblings, place, width = [], index, self._count
        for level in self._levels:
            if place ^ 1 < width:
                siblings.append(level[place ^ 1].tobytes())
            place, width = place >> 1, (width + 1) >> 1
        return tuple(siblings)

    def _rehash(self, changed: _Places) -> bytes:
        """Hash the ancestors of changed leaves, given in ascending order, and return the root."""
        level, width, nodes = 0, self._count, changed
        while width > 1:
            nodes = _distinct(nodes >> 1)
            self._rehash_level(level, width, nodes)
            level, width = level + 1, (width + 1) >> 1
        root: bytes = self._levels[level][0].tobytes()
        return root

    def _rehash_level(self, level: int, width: int, parents: _Places) -> None:
        """Hash nodes of the level above `level`, given in ascending order without repetition."""
        below, above = self._levels[level], self._levels[level + 1]
        if width % 2 and parents[-1] == width >> 1:
            above[width >> 1] = below[width - 1]
            parents = parents[:-1]
        pairs = below.reshape(-1, _PAIR_LENGTH)
        for start in range(0, len(parents), _CHUNK_NODES):
            chunk = parents[start : start + _CHUNK_NODES]
            above[chunk] = _as_hashes(_node_hashes(pairs, chunk))

    def _append_hashes(self, hashes: bytes) -> range:
        first, end = self._count, self._count + len(hashes) // HASH_LENGTH
        if end > LEAVES_MAXIMUM:
            raise InputError("out-of-range", "leaves", end, f"keep a tree to {LEAVES_MAXIMUM} leaves")
        self._reserve(end)
        if end > first:
            self._count = end
            self._put(np.arange(first, end), hashes)
        return range(first, end)

    def _put(self, places: _Places, hashes: bytes) -> None:
        invariant(len(hashes) == len(places) * HASH_LENGTH, f"{len(places)} leaves got {len(hashes)} bytes of hashes")
        if len(places):
            self._levels[0][places] = _as_hashes(hashes)
            self._is_changed[places] = True
            self._root = None

    def _reserve(self, count: int) -> None:
        """Make room for `count` leaves: twice what is there until it is enough, so that growth costs little on average.

        A capacity is a power of two, so a level of more than one node has an even number of places.
        """
        capacity = len(self._is_changed)
        if count <= capacity:
            return
        capacity = max(_CAPACITY_FIRST, 1 << (count - 1).bit_length())
        levels = [np.zeros((capacity >> k, HASH_LENGTH), np.uint8) for k in range(capacity.bit_length())]
        for old, new in zip(self._levels, levels, strict=False):
            new[: len(old)] = old
        is_changed = np.zeros(capacity, np.bool_)
        is_changed[: len(self._is_changed)] = self._is_changed
        self._levels, self._is_changed = levels, is_changed

    def _checked_places(self, indices: Indices, leaves: int) -> _Places:
        places = _whole_numbers("indices", indices)
        if len(places) != leaves:
            raise InputError("malformed", "indices", len(places), f"give as many indices as leaves, {leaves}")
        wrong = (places < 0) | (places >= self._count)
        if wrong.any():
            raise self._no_leaf(int(places[wrong.argmax()]))
        return places

    def _no_leaf(self, index: int) -> InputError:
        return InputError("out-of-range", "index", index, f"name one of the {self._count} leaves, from 0")


def _leaf_hashes(leaves: Iterable[bytes]) -> bytes:
    sha256, prefix = hashlib.sha256, LEAF_PREFIX
    return b"".join([sha256(prefix + leaf).digest() for leaf in leaves])


def _row_hashes(buffer: Buffer, bounds: _Places) -> bytes:
    # Bytes are cut faster than a view of them; anything else must not be copied whole.
    rows = buffer if isinstance(buffer, bytes) else memoryview(buffer).cast("B")
    sha256, prefix = hashlib.sha256, LEAF_PREFIX
    return b"".join([sha256(prefix + rows[start:end]).digest() for start, end in pairwise(bounds.tolist())])


def _node_hashes(pairs: _Hashes, nodes: _Places) -> bytes:
    cells = np.empty((len(nodes), _CELL_LENGTH), np.uint8)
    cells[:, 0] = NODE_PREFIX[0]
    cells[:, 1:] = pairs[nodes]
    sha256 = hashlib.sha256
    return b"".join([sha256(cell).digest() for (cell,) in _CELL.iter_unpack(cells.data)])


def _as_hashes(hashes: bytes) -> _Hashes:
    return np.frombuffer(hashes, np.uint8).reshape(-1, HASH_LENGTH)


def _distinct(places: _Places) -> _Places:
    """Ascending places without their repetitions."""
    is_first = np.ones(len(places), np.bool_)
    np.not_equal(places[1:], places[:-1], out=is_first[1:])
    return places[is_first]


def _checked_offsets(buffer: Buffer, offsets: Indices) -> _Places:
    bounds = _whole_numbers("offsets", offsets)
    length = memoryview(buffer).nbytes
    if not len(bounds):
        raise InputError("malformed", "offsets", 0, "give one offset more than leaves")
    if (bounds[1:] < bounds[:-1]).any():
        at = int((bounds[1:] < bounds[:-1]).argmax()) + 1
        raise InputError("malformed", f"offsets[{at}]", int(bounds[at]), "give offsets that never go back")
    if bounds[0] < 0 or bounds[-1] > length:
        wrong = int(bounds[0] if bounds[0] < 0 else bounds[-1])
        raise InputError("out-of-range", "offsets", wrong, f"stay within the buffer's {length} bytes")
    return bounds


def _whole_numbers(field: str, numbers: Indices) -> _Places:
    array = np.asarray(numbers)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InputError("malformed", field, array.dtype.name, "give a flat list or array of whole numbers")
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.intp).max:
        raise InputError("out-of-range", field, int(array.max()), "give numbers below 2**63")
    return array.astype(np.intp, copy=False)
