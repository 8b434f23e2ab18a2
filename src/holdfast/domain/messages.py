"""What clients and the replicas of a cluster say to each other: requests and replies, MessagePack, strictly read.

A reply is one of two kinds, and a client must tell them from a third: it was done (`Written`, `Told`, `Found`), it was
certainly not done (`Busy`, `Refused`), or nothing came, which is *unknown*: the same commands under the same numbers
may then be sent again, to any replica. What may not live here: subjects, connections, and what a command means.
Normative: specs/messages.md.
"""

from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np

from holdfast.domain.errors import InputError
from holdfast.domain.frames import FRAME_LENGTH_MAXIMUM, HEADER_LENGTH, RECORD, FrameError, Records, check_content
from holdfast.domain.outcomes import OUTCOME, Outcomes

WRITE_LENGTH_MAXIMUM = FRAME_LENGTH_MAXIMUM - HEADER_LENGTH
"""Bytes of the records and the blob of one Write together: what fits in a frame."""
NAMED_MAXIMUM = 1_024
"""Commands of one WriteNamed."""


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What every request and reply is."""


class Write(Message, frozen=True, tag="write"):
    """Commands as records, in their order.

    Attributes:
        records: n × 64 bytes of type RECORD, session and number filled in.
        blob: The cold commands, whose slices the cold records tile in their order.
        every: Whether every outcome is wanted, or only those of commands that were refused or repeated.
    """

    records: bytes
    blob: bytes = b""
    every: bool = True


class WriteNamed(Message, frozen=True, tag="write-named"):
    """Commands in names and main units, as the fields of `holdfast.Engine.submit`.

    Attributes:
        session: Whose.
        number: Of the first; the others follow.
        commands: JSON of a list of mappings.
        minimum_position: The replica is to have folded so far first, so that names defined there are known; −1 for any.
    """

    session: int
    number: int
    commands: bytes
    minimum_position: int = -1


class Read(Message, frozen=True, tag="read"):
    """A question to the state.

    Attributes:
        what: "margin", "explain", "account", "accounts", "session", "lookup", "definitions", "conservation", "root".
        arguments: By name.
        minimum_position: The answer is to reflect at least this position; −1 for any.
        staleness_ms: The answer is refused if the replica is further behind what it knows of the log; −1 for any.
        wait_ms: How long the replica may wait for either before it refuses.
    """

    what: str
    arguments: dict[str, Any] = {}
    minimum_position: int = -1
    staleness_ms: int = -1
    wait_ms: int = 500


class Written(Message, frozen=True, tag="written"):
    """What became of a Write.

    Attributes:
        position: Of the frame that its last command is in.
        count: How many commands it had.
        outcomes: n × 64 bytes of type OUTCOME.
        places: Index in the Write of each, u32, where not every outcome is given.
        details: By index in the Write, MessagePack of what does not fit in an outcome.
        degraded: What is not as it should be.
    """

    position: int
    count: int
    outcomes: bytes
    places: bytes = b""
    details: dict[int, bytes] = {}
    degraded: tuple[str, ...] = ()


class Told(Message, frozen=True, tag="told"):
    """What became of a WriteNamed.

    Attributes:
        position: Of the frame that its last command is in.
        outcomes: One mapping for each command, with the fields of `holdfast.Engine`'s outcomes.
        degraded: What is not as it should be.
    """

    position: int
    outcomes: tuple[dict[str, Any], ...]
    degraded: tuple[str, ...] = ()


class Found(Message, frozen=True, tag="found"):
    """The answer to a Read.

    Attributes:
        content: What was found, by name.
        position: Of the last frame that it reflects, −1 for none.
        time: Logical time there, ns.
        replica: Name of the one that answers.
        degraded: What is not as it should be.
    """

    content: dict[str, Any]
    position: int
    time: int
    replica: str = ""
    degraded: tuple[str, ...] = ()


class Busy(Message, frozen=True, tag="busy"):
    """Nothing was done and nothing will be: the replica has as much to do as it takes.

    Attributes:
        retry_after_ms: When to ask again; another replica may be asked at once.
        problem: Why.
    """

    retry_after_ms: int
    problem: str = ""


class Refused(Message, frozen=True, tag="refused"):
    """Nothing was done and nothing will be: the request cannot be used, here or anywhere.

    Attributes:
        code: As that of an InputError, or "elsewhere" where another replica may be able to.
        field: What of the request.
        problem: What is wrong.
        advice: What to do.
    """

    code: str
    field: str
    problem: str
    advice: str


Request: TypeAlias = Write | WriteNamed | Read
Reply: TypeAlias = Written | Told | Found | Busy | Refused

_ENCODER = msgspec.msgpack.Encoder(decimal_format="string")
_REQUESTS = msgspec.msgpack.Decoder(Request)
_REPLIES = msgspec.msgpack.Decoder(Reply)


def encode_message(message: Request | Reply) -> bytes:
    """The bytes of a request or a reply."""
    return _ENCODER.encode(message)


def decode_request(data: bytes) -> Request:
    """Read a request; InputError "malformed" for anything else."""
    request: Request = _decoded(_REQUESTS, data, "request")
    return request


def decode_reply(data: bytes) -> Reply:
    """Read a reply; InputError "malformed" for anything else."""
    reply: Reply = _decoded(_REPLIES, data, "reply")
    return reply


def _decoded(decoder: Any, data: bytes, field: str) -> Any:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        problem = f"cannot be read: {error}"
        raise InputError("malformed", field, None, "write it as specs/messages.md says", problem) from None


class Batch(NamedTuple):
    """The content of a Write: records, and the blob that its cold ones tile."""

    records: Records
    blob: bytes


def write_of(records: Records, blob: bytes = b"", *, every: bool = True) -> Write:
    """A Write of records."""
    return Write(records.tobytes(), blob, every)


def batch_of(write: Write) -> Batch:
    """The records of a Write, checked as those of a frame are.

    Raises:
        InputError: They are none, too many, or not as a frame could carry them.
    """
    length = len(write.records)
    if length == 0 or length % RECORD.itemsize:
        advice = f"give one or more records of {RECORD.itemsize} bytes"
        raise InputError("malformed", "records", f"{length} bytes", advice)
    if length + len(write.blob) > WRITE_LENGTH_MAXIMUM:
        advice = f"send at most {WRITE_LENGTH_MAXIMUM} bytes at once"
        raise InputError("out-of-range", "records", f"{length + len(write.blob)} bytes", advice)
    records: Records = np.frombuffer(write.records, RECORD)
    try:
        check_content(records, len(write.blob))
    except FrameError as error:
        advice = "write them as those of a frame"
        raise InputError("malformed", error.field, error.value, advice, f"is not {error.expected}") from None
    return Batch(records, write.blob)


def written_of(
    position: int,
    outcomes: Outcomes,
    details: dict[int, object],
    degraded: tuple[str, ...],
    *,
    every: bool,
) -> Written:
    """The reply to a Write from the outcomes of its commands."""
    packed = {index: msgspec.msgpack.encode(detail, enc_hook=repr) for index, detail in details.items()}
    if every:
        return Written(position, len(outcomes), outcomes.tobytes(), b"", packed, degraded)
    places = np.flatnonzero((outcomes["reason"] != 0) | (outcomes["repeated"] != 0)).astype("<u4")
    return Written(position, len(outcomes), outcomes[places].tobytes(), places.tobytes(), packed, degraded)


def outcomes_of(written: Written) -> tuple[Outcomes, Any]:
    """The outcomes that a reply gives, and the index of each in its Write, as an array or a slice.

    Raises:
        InputError: The reply contradicts itself.
    """
    try:
        outcomes: Outcomes = np.frombuffer(written.outcomes, OUTCOME)
        places = np.frombuffer(written.places, "<u4")
    except ValueError:
        raise InputError("malformed", "outcomes", None, "ask another replica") from None
    if not len(places) and len(outcomes) in (0, written.count):
        return outcomes, slice(len(outcomes))
    if len(outcomes) != len(places) or int(places.max()) >= written.count:
        raise InputError("malformed", "outcomes", len(outcomes), "ask another replica", "do not fit the request")
    return outcomes, places
