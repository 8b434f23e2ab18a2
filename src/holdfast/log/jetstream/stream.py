"""The stream behind the log: its settings, making it, and what it says about itself.

A position of the log is the stream's sequence less 1: the stream counts from 1. Nothing but the highest sequence moves:
nothing is deleted, purged, aged out or replaced, and a full stream refuses what is new.

What lives here: questions about the stream. What may not: appending and reading.
"""

import asyncio
import time
from typing import Any, Final

import msgspec
from nats.aio.client import Client

from holdfast.domain.errors import InputError
from holdfast.domain.frames import FRAME_LENGTH_MAXIMUM
from holdfast.log.errors import ForeignStreamError, MissingLogError, UnavailableError
from holdfast.log.jetstream.api import NO_MESSAGE, STREAM_NOT_FOUND, Answer, RefusedError, SilenceError, ask

STREAM: Final = "HOLDFAST"
SUBJECT: Final = "holdfast.log"
MESSAGE_ID: Final = "Nats-Msg-Id"
"""The header by which JetStream knows a repeat."""

HEADER_LENGTH_MAXIMUM: Final = 4_096
"""Bytes of a message's header; ours has under 200."""
MESSAGE_LENGTH_MAXIMUM: Final = FRAME_LENGTH_MAXIMUM + HEADER_LENGTH_MAXIMUM
"""Bytes of a message with its header: the servers' `max_payload` must be no less, and is 1 MiB unless configured."""
DUPLICATE_WINDOW_S: Final = 120
"""How long JetStream remembers message ids."""
CREATE_TIMEOUT_S: Final = 30.0
"""How long the servers may take to find each other and choose leaders."""
ANSWER_TIMEOUT_S: Final = 1.0
_RETRY_WAIT_S: Final = 0.1

_ADVICE_SETTINGS = "use servers that are not shared with something else, or mend the stream by hand"


class StreamState(msgspec.Struct, frozen=True):
    """What the leader of the stream says about it.

    Attributes:
        created: When it was made, as the servers write it, to the nanosecond: tells it from another of its name.
        first: Position of the first frame that it can give; 0 unless frames were lost.
        end: Position that the next frame will get.
        leader: Name of the server that leads it.
        leader_since: When that server became its leader, as the servers write it.
        lost: Frames between `first` and `end` that it cannot give.
        replicas: Each other server that keeps it: name, and whether it has everything.
    """

    created: str
    first: int
    end: int
    leader: str
    leader_since: str
    lost: int
    replicas: tuple[tuple[str, bool], ...]


class _State(msgspec.Struct, frozen=True):
    first_seq: int
    last_seq: int
    num_deleted: int = 0


class _Replica(msgspec.Struct, frozen=True):
    name: str
    current: bool = False


class _Cluster(msgspec.Struct, frozen=True):
    leader: str = ""
    leader_since: str = ""
    replicas: tuple[_Replica, ...] = ()


class _Information(Answer, frozen=True, kw_only=True):
    config: dict[str, Any] = msgspec.field(default_factory=dict)
    created: str = ""
    state: _State | None = None
    cluster: _Cluster = _Cluster()


class _Message(msgspec.Struct, frozen=True):
    seq: int
    data: bytes = b""
    hdrs: bytes = b""


class _Found(Answer, frozen=True, kw_only=True):
    message: _Message | None = None


async def create_stream(client: Client, *, replicas: int = 3, timeout_s: float = CREATE_TIMEOUT_S) -> None:
    """Make the stream, unless it is there with the same settings.

    Args:
        client: Of a user who may make streams.
        replicas: How many servers keep it.
        timeout_s: How long to wait for servers that are still finding each other.

    Raises:
        ForeignStreamError: It is there with other settings. It was not changed.
        InputError: The servers take no message as long as a frame may be.
        UnavailableError: It could not be made in time.
    """
    if client.max_payload < MESSAGE_LENGTH_MAXIMUM:
        advice = f"set it to {MESSAGE_LENGTH_MAXIMUM} or more in the configuration of the servers"
        raise InputError("out-of-range", "max_payload", f"{client.max_payload} bytes", advice)
    wanted = _settings(replicas)
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            found = await _information(client, ANSWER_TIMEOUT_S)
            if found is None:
                found = await ask(client, f"STREAM.CREATE.{STREAM}", wanted, _Information, 5.0)
            _check_settings(found.config, wanted)
        except (RefusedError, SilenceError) as error:
            if time.monotonic() > deadline:
                problem = f"could not be made within {timeout_s} s ({error})"
                raise UnavailableError(STREAM, problem, "see that all servers run and reach each other") from error
            await asyncio.sleep(_RETRY_WAIT_S)
        else:
            return


async def stream_state(client: Client, *, timeout_s: float = ANSWER_TIMEOUT_S) -> StreamState:
    """What the leader of the stream says about it.

    Raises:
        SilenceError: Nobody answered in time; while a leader is being elected nobody does. No fault.
        MissingLogError: There is no such stream.
    """
    try:
        found = await _information(client, timeout_s)
    except RefusedError as error:
        raise SilenceError(str(error)) from error
    if found is None:
        raise MissingLogError(STREAM, "does not exist", "make the stream, or connect to the servers that have it")
    if found.state is None:
        raise SilenceError("an answer without a state")
    cluster = found.cluster
    return StreamState(
        created=found.created,
        first=max(0, found.state.first_seq - 1),
        end=found.state.last_seq,
        leader=cluster.leader,
        leader_since=cluster.leader_since,
        lost=found.state.num_deleted,
        replicas=tuple((replica.name, replica.current) for replica in cluster.replicas),
    )


async def message_at(client: Client, position: int, *, timeout_s: float = ANSWER_TIMEOUT_S) -> tuple[bytes, str] | None:
    """Frame and message id that the leader of the stream has at a position; None where it has nothing.

    Raises:
        SilenceError: Nobody answered in time.
    """
    try:
        found = await ask(client, f"STREAM.MSG.GET.{STREAM}", {"seq": position + 1}, _Found, timeout_s)
    except RefusedError as error:
        if error.code == NO_MESSAGE:
            return None
        raise SilenceError(str(error)) from error
    if found.message is None:
        raise SilenceError("an answer without a message")
    return found.message.data, header_value(found.message.hdrs, MESSAGE_ID)


def header_value(header: bytes, name: str) -> str:
    """A value of a message's header as it came; empty if it has none of that name."""
    return header.partition(b"\r\n%b:" % name.encode())[2].partition(b"\r\n")[0].strip().decode(errors="replace")


async def _information(client: Client, timeout_s: float) -> _Information | None:
    """What JetStream says about the stream; None if there is none."""
    try:
        return await ask(client, f"STREAM.INFO.{STREAM}", None, _Information, timeout_s)
    except RefusedError as error:
        if error.code == STREAM_NOT_FOUND:
            return None
        raise


def _settings(replicas: int) -> dict[str, Any]:
    """The stream's settings, as JetStream writes them."""
    return {
        "name": STREAM,
        "subjects": [SUBJECT],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "num_replicas": replicas,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msgs_per_subject": -1,
        "max_msg_size": MESSAGE_LENGTH_MAXIMUM,
        "max_consumers": -1,
        "duplicate_window": DUPLICATE_WINDOW_S * 1_000_000_000,
        "deny_delete": True,
        "deny_purge": True,
        "allow_direct": True,
        "allow_rollup_hdrs": False,
        "sealed": False,
    }


def _check_settings(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if found.get(name, type(value)()) != value:
            problem = f"exists with {name} = {found.get(name)!r} instead of {value!r}"
            raise ForeignStreamError(STREAM, problem, _ADVICE_SETTINGS)
    for name in ("mirror", "sources", "subject_transform", "republish", "allow_msg_ttl", "no_ack"):
        if found.get(name):
            raise ForeignStreamError(STREAM, f"exists with {name}", _ADVICE_SETTINGS)
