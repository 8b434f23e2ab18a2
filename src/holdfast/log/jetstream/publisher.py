"""One attempt to append one frame. What may not live here: repeating, which belongs to whoever owns the message id.

The answer of JetStream means that a majority of the servers has the frame on its storage. No answer means nothing: the
frame is there, or will be, or not. Whoever repeats it under the same message id is told, while JetStream remembers the
id (`stream.DUPLICATE_WINDOW_S`); the sessions in the frame make a later repeat harmless.
"""

import enum
from typing import NamedTuple

import nats.errors
from nats.aio.client import Client

from holdfast.domain.frames import FRAME_LENGTH_MAXIMUM
from holdfast.log.jetstream.api import (
    INSUFFICIENT_RESOURCES,
    MESSAGE_TOO_LONG,
    STORE_FAILED,
    TOO_MANY_REQUESTS,
    Answer,
    RefusedError,
    SilenceError,
    read,
)
from holdfast.log.jetstream.stream import HEADER_LENGTH_MAXIMUM, MESSAGE_ID, SUBJECT

_FORBIDDEN = f'permissions violation for publish to "{SUBJECT}"'


class Fate(enum.Enum):
    """What became of a frame in one attempt."""

    STORED = "stored"
    UNKNOWN = "unknown"
    REFUSED = "refused"


class Published(NamedTuple):
    """The end of one attempt.

    Attributes:
        fate: STORED: at `position` for ever. REFUSED: this attempt stored nothing; an earlier one may have.
        position: The frame's position; −1 unless it is stored.
        repeated: An earlier attempt under this id had stored it.
        problem: What went wrong, in words; empty if nothing did.
        again: Whether another attempt may go better. False only for what no repeat can mend.
    """

    fate: Fate
    position: int = -1
    repeated: bool = False
    problem: str = ""
    again: bool = True


class _Acknowledgement(Answer, frozen=True, kw_only=True):
    seq: int = 0
    duplicate: bool = False


async def publish(client: Client, frame: bytes, message_id: str, timeout_s: float) -> Published:
    """Try once to append a frame; never raises for what servers and networks do.

    Args:
        client: From `connection.connect`.
        frame: 1 to FRAME_LENGTH_MAXIMUM bytes.
        message_id: The frame's own; the same in every attempt. No line breaks.
        timeout_s: How long to wait for the answer. When the connection breaks, the attempt ends at once.
    """
    problem = _unfit(client, frame)
    if problem:
        return Published(Fate.REFUSED, problem=problem, again=False)
    if not client.is_connected:
        return Published(Fate.REFUSED, problem="there is no connection")
    error_before = client.last_error
    try:
        message = await client.request(SUBJECT, frame, timeout=timeout_s, headers={MESSAGE_ID: message_id})
        acknowledgement = read(message.data, _Acknowledgement)
    except (nats.errors.Error, RefusedError, SilenceError) as error:
        return _failed(client, error, error_before)
    if acknowledgement.seq < 1:
        return Published(Fate.UNKNOWN, problem="the frame is on its way under this id")
    return Published(Fate.STORED, acknowledgement.seq - 1, acknowledgement.duplicate)


def _unfit(client: Client, frame: bytes) -> str:
    if not 1 <= len(frame) <= FRAME_LENGTH_MAXIMUM:
        return f"a frame has 1 to {FRAME_LENGTH_MAXIMUM} bytes, not {len(frame)}"
    if len(frame) + HEADER_LENGTH_MAXIMUM > client.max_payload and client.is_connected:
        return f"the servers take messages of at most {client.max_payload} bytes"
    return ""


def _failed(client: Client, error: Exception, error_before: Exception | None) -> Published:
    """What an attempt that raised means for the frame."""
    if isinstance(error, nats.errors.NoRespondersError):
        return Published(Fate.REFUSED, problem="nobody takes frames: the log has no leader, or does not exist")
    if isinstance(error, nats.errors.OutboundBufferLimitError | nats.errors.ConnectionClosedError):
        return Published(Fate.REFUSED, problem="there is no connection")
    if isinstance(error, RefusedError):
        return _refusal(error)
    # The servers say apart from the answer, which then never comes, that a user may not append.
    if client.last_error is not error_before and _FORBIDDEN in str(client.last_error).lower():
        return Published(Fate.REFUSED, problem="this user may not append", again=False)
    return Published(Fate.UNKNOWN, problem=str(error))


def _refusal(error: RefusedError) -> Published:
    """What JetStream's refusal means. Unless it is known to come before anything is stored, nothing is known."""
    text = str(error)
    if error.code == MESSAGE_TOO_LONG:
        return Published(Fate.REFUSED, problem=text, again=False)
    full = error.code == STORE_FAILED and "maximum" in text
    if full or error.code in (INSUFFICIENT_RESOURCES, TOO_MANY_REQUESTS):
        return Published(Fate.REFUSED, problem=text)
    return Published(Fate.UNKNOWN, problem=text)
