"""What a batch carries, as bytes to be sent under a session's numbers; and how much fits in one.

What may not live here: numbers (`protocol` gives them), connections.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
import numpy as np

from holdfast.domain.commands import ColdCommand, OpenSession, cold_record, cold_records
from holdfast.domain.errors import InputError, invariant
from holdfast.domain.frames import HEADER_LENGTH, RECORD, RECORD_LENGTH, RecordKind, Records, cuts
from holdfast.domain.messages import NAMED_MAXIMUM, WRITE_LENGTH_MAXIMUM, WriteNamed, batch_of, encode_message, write_of

BATCH_LENGTH: Final = (256 << 10) - HEADER_LENGTH
"""Bytes beyond which commands go into another batch: a replica makes one frame of it."""
_PLUG: Final = b"\xc1"
"""A byte that no MessagePack begins with: a cold command of it uses up its number and does nothing (SES-5)."""

invariant(
    BATCH_LENGTH // RECORD_LENGTH * (RECORD_LENGTH + 1) <= WRITE_LENGTH_MAXIMUM, "a batch's plugs fit in one message"
)


class Content(Protocol):
    """The commands of a batch."""

    @property
    def count(self) -> int:
        """How many commands."""

    @property
    def length(self) -> int:
        """Bytes, about."""

    def payload(self, session: int, number: int, position: int) -> bytes:
        """The request under a session's numbers from `number` on; the replica has folded `position` first."""


class RecordsContent:
    """Commands as records."""

    def __init__(self, records: Records, blob: bytes = b"", *, every: bool = True) -> None:
        self._records, self._blob, self._every = records, blob, every
        self.count = len(records)
        self.length = records.nbytes + len(blob)

    def payload(self, session: int, number: int, position: int) -> bytes:  # noqa: ARG002
        """The request; records need no names, and so no position."""
        stamped = self._records.copy()
        stamped["session"] = session
        stamped["number"] = np.arange(number, number + self.count, dtype=np.uint64)
        return encode_message(write_of(stamped, self._blob, every=self._every))


class NamedContent:
    """Commands in names and main units; each is JSON of an object."""

    def __init__(self, commands: Sequence[bytes]) -> None:
        self._commands = b"[" + b",".join(commands) + b"]"
        self.count = len(commands)
        self.length = len(self._commands)

    def payload(self, session: int, number: int, position: int) -> bytes:
        """The request."""
        return encode_message(WriteNamed(session, number, self._commands, position))


class OpeningContent:
    """The opening of a session."""

    count = 1
    length = RECORD_LENGTH

    def __init__(self, opening: OpenSession) -> None:
        self.opening = opening

    def payload(self, session: int, number: int, position: int) -> bytes:  # noqa: ARG002
        """The request; an opening has neither session nor number."""
        return encode_message(write_of(*cold_records([self.opening])))


def plugs(session: int, number: int, count: int) -> bytes:
    """A request that uses up numbers, if nothing has, and does nothing else."""
    records = np.concatenate([cold_record(session, number + n, n, 1) for n in range(count)])
    return encode_message(write_of(records, _PLUG * count))


def contents_of(records: Records, blob: bytes, *, every: bool) -> list[RecordsContent]:
    """Records cut into batches, in their order.

    Args:
        records: Flat array of type RECORD; session and number are filled in later.
        blob: What its cold records tile.
        every: Whether every outcome is wanted.

    Raises:
        InputError: They are none, or no frame could carry one of them.
    """
    if not isinstance(records, np.ndarray) or records.dtype != RECORD or records.ndim != 1 or not len(records):
        raise InputError("malformed", "records", None, "give a flat array of type RECORD with one element or more")
    named = int(records["blob_length"].sum(dtype=np.int64))
    if named != len(blob):
        raise InputError("malformed", "blob", f"{len(blob)} bytes", f"give the {named} bytes that the records name")
    if records.nbytes + len(blob) <= BATCH_LENGTH:
        return [RecordsContent(*_checked(records.copy(), blob), every=every)]
    starts = np.concatenate(([0], np.cumsum(records["blob_length"], dtype=np.int64)))
    return [RecordsContent(*_part(records, blob, starts, a, b), every=every) for a, b in cuts(starts, BATCH_LENGTH)]


def _part(
    records: Records, blob: bytes, starts: "np.ndarray[Any, np.dtype[np.int64]]", begin: int, end: int
) -> tuple[Records, bytes]:
    part = records[begin:end].copy()
    cold = part["kind"] == RecordKind.COLD
    part["blob_offset"] = np.where(cold, part["blob_offset"] - np.uint32(starts[begin]), part["blob_offset"])
    return _checked(part, blob[int(starts[begin]) : int(starts[end])])


def _checked(records: Records, blob: bytes) -> tuple[Records, bytes]:
    """What a replica would refuse is refused here, before it has a number."""
    batch_of(write_of(records, blob))
    return records, blob


def cold_content(commands: Sequence[ColdCommand]) -> tuple[Records, bytes]:
    """Cold commands as records and the blob that they tile."""
    if not commands:
        raise InputError("malformed", "commands", None, "give one command or more")
    return cold_records(commands)


def named_content(commands: Sequence[Mapping[str, Any]]) -> NamedContent:
    """Mappings as one batch, so that none is sent if one of them cannot be a command.

    Raises:
        InputError: They are none or too many, or one cannot be written as JSON.
    """
    if not 1 <= len(commands) <= NAMED_MAXIMUM:
        raise InputError("out-of-range", "commands", len(commands), f"give 1 to {NAMED_MAXIMUM} commands at once")
    content = NamedContent([_json(command, place) for place, command in enumerate(commands)])
    if content.length > BATCH_LENGTH:
        raise InputError("out-of-range", "commands", f"{content.length} bytes", f"keep them within {BATCH_LENGTH}")
    return content


def _json(command: Mapping[str, Any], place: int) -> bytes:
    field = f"commands[{place}]"
    try:
        return msgspec.json.encode(command)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        advice = "give texts, numbers, decimals, datetimes and structs of holdfast.domain"
        raise InputError("malformed", field, None, advice, f"cannot be written as JSON ({error})") from None
