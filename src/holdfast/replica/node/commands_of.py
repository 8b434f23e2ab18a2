"""The cold commands in the bytes of a frame, found without folding it."""

import contextlib
from collections.abc import Iterator

import numpy as np

from holdfast.domain.errors import HoldfastError
from holdfast.domain.frames import RecordKind, decode_frame

VOTE_TAG, QUARANTINE_TAG = b"vote", b"quarantine"
"""What the bytes of every such command contain; frames without it need no closer look."""


def cold_commands(data: bytes, tag: bytes) -> Iterator[bytes]:
    """The bytes of the cold commands of a frame that contain a tag; none if the bytes are no frame."""
    if tag not in data:
        return
    with contextlib.suppress(HoldfastError):
        frame = decode_frame(data)
        for index in np.flatnonzero(frame.records["kind"] == RecordKind.COLD).tolist():
            content = frame.cold(index)
            if tag in content:
                yield content
