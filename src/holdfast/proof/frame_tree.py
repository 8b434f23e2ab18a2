"""The Merkle tree of a log's frames (RFC 6962): one that grows in a few hashes, and one that can prove.

Theory of operation. The nodes over whole powers of two never change once their leaves are there. What is needed to
grow is only the last of them on each level, the peaks: one for each 1 in the binary form of the size. So a replica
keeps `FrameTree`, which for a billion frames is thirty hashes. Whoever proves keeps every such node, `FrameHashes`:
a proof for any earlier size is then made of nodes that are there, and of at most one new hash per level.

What lives here: both trees. What may not: files, frames' meaning, signatures (`checkpoint`). Normative:
specs/proofs.md.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from typing import Self

from holdfast.domain.errors import InputError
from holdfast.proof.inclusion import EMPTY_ROOT, HASH_LENGTH, leaf_hash, node_hash

HEADS_KEPT = 64
"""Sizes whose roots a tree remembers."""
MAGIC, FORMAT = b"HFFT", 1
_HEAD = struct.Struct("<4sHHQ32s32s")
_NO_LOG = bytes(HASH_LENGTH)


class FrameTree:
    """A tree that only grows, and the roots it had at sizes that were to be remembered.

    Attributes:
        log: What names the log, 32 bytes: H at the frame that defined its first replica; empty before there is one.
        heads: Root and a time, seconds, by size; the HEADS_KEPT newest that `keep` was called at, ascending.
    """

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = (), log: bytes = b"") -> None:
        """The empty tree, or one to go on with.

        Args:
            size: Frames so far.
            peaks: Root of each whole part, the largest part first: one for each 1 of the size in binary.
            log: What names the log, as far as it is known.
        """
        self._size, self._peaks, self.log = size, list(peaks), log
        self.heads: dict[int, tuple[bytes, int]] = {}
        if size < 0 or len(self._peaks) != size.bit_count() or any(len(one) != HASH_LENGTH for one in self._peaks):
            advice = f"give {max(size, 0).bit_count()} hashes of {HASH_LENGTH} bytes"
            raise InputError("malformed", "peaks", len(self._peaks), advice)

    @property
    def size(self) -> int:
        """Frames in the tree."""
        return self._size

    def append(self, frame: bytes) -> None:
        """Add a frame behind the last one."""
        node, rest = leaf_hash(frame), self._size
        while rest & 1:
            node, rest = node_hash(self._peaks.pop(), node), rest >> 1
        self._peaks.append(node)
        self._size += 1

    def root(self) -> bytes:
        """The root over all frames, 32 bytes."""
        if not self._peaks:
            return EMPTY_ROOT
        *others, node = self._peaks
        for peak in reversed(others):
            node = node_hash(peak, node)
        return node

    def keep(self, time: int) -> None:
        """Remember the root at this size, with a time in seconds."""
        self.heads[self._size] = (self.root(), time)
        if len(self.heads) > HEADS_KEPT:
            del self.heads[min(self.heads)]

    def forget(self, size: int) -> None:
        """Forget the heads up to a size, it included: what was to be said of them is said."""
        self.heads = {at: head for at, head in self.heads.items() if at > size}

    def encode(self, chain: bytes) -> bytes:
        """The tree as bytes, without heads, to go on later with the log that has this H at its last frame."""
        data = _HEAD.pack(MAGIC, FORMAT, 0, self._size, chain, self.log or _NO_LOG) + b"".join(self._peaks)
        return data + hashlib.sha256(data).digest()

    @classmethod
    def decode(cls, data: bytes, size: int, chain: bytes) -> Self:
        """Read what `encode` wrote.

        Args:
            data: The bytes.
            size: Frames that the tree must have.
            chain: H of the log at the last of them.

        Raises:
            InputError: The bytes are damaged, or of another size or log.
        """
        body, seal = data[:-HASH_LENGTH], data[-HASH_LENGTH:]
        log = body[_HEAD.size - HASH_LENGTH : _HEAD.size]
        expected = _HEAD.pack(MAGIC, FORMAT, 0, size, chain, log)
        if hashlib.sha256(body).digest() != seal or body[: _HEAD.size] != expected:
            advice = f"give a whole tree of {size} frames of this log"
            raise InputError("malformed", "tree", f"{len(data)} bytes", advice)
        peaks = [body[at : at + HASH_LENGTH] for at in range(_HEAD.size, len(body), HASH_LENGTH)]
        return cls(size, peaks, b"" if log == _NO_LOG else log)


class FrameHashes:
    """Every node over a whole power of two of leaves: 64 bytes per frame, for proofs at any size."""

    def __init__(self, hashes: Iterable[bytes] = ()) -> None:
        """The tree of leaves given by their hashes."""
        self._levels: list[list[bytes]] = [[]]
        for one in hashes:
            self.append_hash(one)

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, frame: bytes) -> None:
        """Add a frame behind the last one."""
        self.append_hash(leaf_hash(frame))

    def append_hash(self, node: bytes) -> None:
        """Add a frame by the hash of its leaf."""
        level, levels = 0, self._levels
        levels[0].append(node)
        while len(levels[level]) % 2 == 0:
            node = node_hash(levels[level][-2], node)
            level += 1
            if level == len(levels):
                levels.append([])
            levels[level].append(node)

    def root(self, size: int | None = None) -> bytes:
        """The root over the first `size` frames, over all of them by default."""
        size = len(self) if size is None else size
        self._check("size", size, 0, len(self))
        return self._root(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """The siblings from frame `index` up to the root over the first `size` frames (RFC 6962, 2.1.1)."""
        self._check("size", size, 1, len(self))
        self._check("index", index, 0, size - 1)
        return tuple(self._path(index, 0, size))

    def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        """What shows that the first `first` frames of `second` are the earlier tree (RFC 6962, 2.1.2)."""
        self._check("second", second, 1, len(self))
        self._check("first", first, 1, second)
        return tuple(self._subproof(first, 0, second, whole=True))

    @staticmethod
    def _check(field: str, value: int, least: int, most: int) -> None:
        if not least <= value <= most:
            raise InputError("out-of-range", field, value, f"give a whole number from {least} to {most}")

    def _root(self, begin: int, end: int) -> bytes:
        count = end - begin
        half = _half(count)
        if half * 2 == count or count == 1:
            return self._levels[count.bit_length() - 1][begin // count]
        return node_hash(self._root(begin, begin + half), self._root(begin + half, end))

    def _path(self, index: int, begin: int, end: int) -> Iterator[bytes]:
        if end - begin == 1:
            return
        split = begin + _half(end - begin)
        if index < split:
            yield from self._path(index, begin, split)
            yield self._root(split, end)
        else:
            yield from self._path(index, split, end)
            yield self._root(begin, split)

    def _subproof(self, first: int, begin: int, end: int, *, whole: bool) -> Iterator[bytes]:
        if first == end:
            if not whole:
                yield self._root(begin, end)
            return
        split = begin + _half(end - begin)
        if first <= split:
            yield from self._subproof(first, begin, split, whole=whole)
            yield self._root(split, end)
        else:
            yield from self._subproof(first, split, end, whole=False)
            yield self._root(begin, split)


def _half(count: int) -> int:
    """The largest power of two below a count of at least 2; 0 below that."""
    return 1 << (count - 1).bit_length() - 1 if count > 1 else 0
