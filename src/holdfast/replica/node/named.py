"""Commands in names and main units, made into records on the node's side. What may not live here: the builders."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np

from holdfast.core.state import Role
from holdfast.domain.commands import OpenSession, cold_record, decode_cold, encode_cold
from holdfast.domain.errors import InputError
from holdfast.domain.frames import RecordKind
from holdfast.domain.messages import NAMED_MAXIMUM, Batch, Told, WriteNamed
from holdfast.domain.reading import located
from holdfast.replica.directory import Directory
from holdfast.replica.node.outbox import Resolved
from holdfast.replica.outcome import outcome_of
from holdfast.replica.requests import Command, from_fields
from holdfast.replica.words import Scene


class NamedBatch(NamedTuple):
    """Commands in names as a batch, and what to call them."""

    batch: Batch
    scenes: tuple[Scene, ...]


def named_batch(book: Directory, role: Role, request: WriteNamed) -> NamedBatch:
    """The records of commands in names.

    Raises:
        InputError: One of them cannot be a command, or is not for a sender of this role. Nothing is sent.
    """
    built = []
    for place, fields in enumerate(_mappings(request.commands)):
        with located(f"batch[{place}]"):
            command = from_fields(book, fields)
            if command.request.role is Role.OPERATOR and role is not Role.OPERATOR:
                advice = "send it with an operator's credentials"
                raise InputError("not-allowed", "command", str(fields["command"]), advice, "is an operator's")
            built.append(command)
    records, blobs = [], []
    for offset, command in enumerate(built):
        record, blob = _record(command, request.session, request.number + offset)
        records.append(record)
        blobs.append(blob)
    return NamedBatch(_tiled(records, blobs), tuple(command.scene for command in built))


def told_of(named: NamedBatch, resolved: Resolved, degraded: tuple[str, ...]) -> Told:
    """The reply to commands in names."""
    told = []
    for index, scene in enumerate(named.scenes):
        detail = resolved.details.get(index)
        outcome = outcome_of(resolved.outcomes[index], scene, detail)
        told.append(
            {
                "reason": outcome.reason.name,
                "code": int(outcome.reason),
                "text": outcome.text,
                "position": outcome.position,
                "command": outcome.command,
                "equity": outcome.equity,
                "initial_margin": outcome.initial_margin,
                "limit": _plain(outcome.limit),
                "passes": _plain(outcome.passes),
                "made": outcome.made,
                "repeated": outcome.repeated,
                "detail": None if detail is None else repr(detail),
            }
        )
    return Told(resolved.position, tuple(told), degraded)


def openings(batch: Batch) -> Iterator[str]:
    """The roles of the sessions that a batch opens."""
    starts = np.cumsum(batch.records["blob_length"], dtype=np.int64) - batch.records["blob_length"]
    for index in np.flatnonzero(batch.records["kind"] == RecordKind.COLD).tolist():
        start, length = int(starts[index]), int(batch.records["blob_length"][index])
        try:
            command = decode_cold(batch.blob[start : start + length])
        except InputError:
            continue  # The fold answers what cannot be read.
        if isinstance(command, OpenSession):
            yield command.role


def _mappings(data: bytes) -> list[dict[str, Any]]:
    try:
        mappings = msgspec.json.decode(data, type=list[dict[str, Any]])
    except msgspec.MsgspecError as error:
        raise InputError("malformed", "commands", str(error), "give a JSON list of objects") from None
    if not 1 <= len(mappings) <= NAMED_MAXIMUM:
        raise InputError("out-of-range", "commands", len(mappings), f"give 1 to {NAMED_MAXIMUM} commands")
    return mappings


def _record(command: Command, session: int, number: int) -> tuple[Any, bytes]:
    content = command.request.content
    if isinstance(content, np.ndarray):
        record = content.copy()
        record["session"], record["number"] = session, number
        return record, b""
    blob = encode_cold(content)
    return cold_record(session, number, 0, len(blob)), blob


def _tiled(records: list[Any], blobs: list[bytes]) -> Batch:
    joined = np.concatenate(records)
    starts = np.cumsum(joined["blob_length"], dtype=np.int64) - joined["blob_length"]
    joined["blob_offset"] = np.where(joined["kind"] == RecordKind.COLD, starts, 0)
    return Batch(joined, b"".join(blobs))


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, int) else str(value)
