"""Checkpoints of the tree of frames as C2SP writes them, and the messages that replicas cosign.

Theory of operation. A checkpoint is three lines: which log, how many frames, their root. A cosignature is a replica's
signature under these lines and a time; it stands in a line of its own behind them. Names, key ids and messages are
those of C2SP (signed-note, tlog-checkpoint, tlog-cosignature v1 with Ed25519, tlog-proof v1), so that others' tools
read them.

What lives here: the texts. What may not: keys, signing, trees. Normative: specs/proofs.md.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

ORIGIN_PREFIX = "holdfast/"
COSIGNATURE_TYPE = b"\x04"
"""Of a timestamped Ed25519 cosignature, in a key id."""
KEY_ID_LENGTH = 4
TLOG_PROOF = "c2sp.org/tlog-proof@v1"
TIME_MAXIMUM = (1 << 63) - 1
"""Seconds."""


class Cosignature(NamedTuple):
    """What one line of a cosigned checkpoint says.

    Attributes:
        replica: Number of the replica.
        public_key: Its key, 32 bytes.
        time: Logical time that it signed with, seconds.
        signature: 64 bytes.
    """

    replica: int
    public_key: bytes
    time: int
    signature: bytes


def base64_of(data: bytes) -> str:
    """Standard base64 with padding (RFC 4648, 4)."""
    return base64.b64encode(data).decode("ascii")


def origin_of(log: bytes) -> str:
    """The name of a log by H at the frame that defined its first replica, 32 bytes."""
    return ORIGIN_PREFIX + log.hex()


def key_name(origin: str, replica: int) -> str:
    """The name under which a replica cosigns a log."""
    return f"{origin}/{replica}"


def checkpoint_body(origin: str, size: int, root: bytes) -> str:
    """The three lines of a checkpoint, each with its end."""
    return f"{origin}\n{size}\n{base64_of(root)}\n"


def cosigned_message(origin: str, size: int, root: bytes, time: int) -> bytes:
    """The bytes that a cosignature signs.

    Args:
        origin: Name of the log.
        size: Frames in the tree.
        root: Of the tree, 32 bytes.
        time: Seconds since 1970.
    """
    return f"cosignature/v1\ntime {time}\n{checkpoint_body(origin, size, root)}".encode()


def key_id(name: str, public_key: bytes) -> bytes:
    """The four bytes that tell a line's key from others of the same name."""
    return hashlib.sha256(name.encode() + b"\n" + COSIGNATURE_TYPE + public_key).digest()[:KEY_ID_LENGTH]


def signature_line(origin: str, cosignature: Cosignature) -> str:
    """A cosignature as the line of a note, with its end."""
    name = key_name(origin, cosignature.replica)
    timestamped = cosignature.time.to_bytes(8, "big") + cosignature.signature
    return f"— {name} {base64_of(key_id(name, cosignature.public_key) + timestamped)}\n"


def checkpoint_note(origin: str, size: int, root: bytes, cosignatures: Iterable[Cosignature]) -> str:
    """A checkpoint with its cosignatures, those of lower replicas first."""
    lines = [signature_line(origin, one) for one in sorted(cosignatures)]
    return "\n".join((checkpoint_body(origin, size, root), "".join(lines)))


def tlog_proof(index: int, path: Sequence[bytes], note: str, extra: bytes = b"") -> str:
    """A proof that a frame stands at an index of a cosigned tree, as one text.

    Args:
        index: Position of the frame.
        path: Its siblings, as `FrameHashes.inclusion` gives them.
        note: What `checkpoint_note` made, of that tree.
        extra: What to carry beside it, here the frame itself; left out where it is nothing.
    """
    lines = [TLOG_PROOF, *([f"extra {base64_of(extra)}"] if extra else []), f"index {index}"]
    return "\n".join([*lines, *map(base64_of, path), "", note])
