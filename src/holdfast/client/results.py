"""What is asked of a client's write line, and what it answers. No behaviour lives here."""

from enum import Enum
from typing import Final, NamedTuple, TypeAlias

from holdfast.client.batches import Batch
from holdfast.client.rounds import Pace
from holdfast.domain.messages import Refused

QUEUE_LENGTH_MAXIMUM: Final = 64 << 20
"""Bytes that may wait; beyond it a batch is turned away before it queues."""


class Settings(NamedTuple):
    """How a line behaves.

    Attributes:
        timeout_s: After which a batch fails.
        window_count: Batches under way.
        window_length: Bytes under way; one batch may exceed it alone.
        moves: Whether commands that were certainly not done may be sent under other numbers when theirs are given back
            or their session is left. Where numbers are written down before they are sent, they may not.
        pace: How long a replica is waited for.
    """

    timeout_s: float = 30.0
    window_count: int = 64
    window_length: int = 1 << 20
    moves: bool = True
    pace: Pace = Pace()


class Session(NamedTuple):
    """A session and the number that its next command gets: what to save in order to go on with it later."""

    id: int
    next_number: int = 1


class Fate(Enum):
    """Why a batch failed."""

    UNKNOWN = "unknown"
    BUSY = "busy"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    DROPPED = "dropped"


class Done(NamedTuple):
    """The commands of a batch took effect or were refused by the state, each exactly once."""

    batch: Batch
    session: int


class Failed(NamedTuple):
    """What became of the commands of a batch is unknown, or that they were not done is certain.

    Attributes:
        batch: Which.
        fate: Which of them.
        session: Under which they were sent.
        problem: Why.
        refused: What the replica said, where it refused.
        retry_after_s: Where it was busy.
    """

    batch: Batch
    fate: Fate
    session: int
    problem: str
    refused: Refused | None = None
    retry_after_s: float = 1.0


class Send(NamedTuple):
    """A request to be sent; over the other connection if `path` is odd."""

    attempt: int
    replica: str
    path: int
    payload: bytes


class Probe(NamedTuple):
    """A replica to be asked whether it takes writes."""

    replica: str


Action: TypeAlias = Send | Probe
