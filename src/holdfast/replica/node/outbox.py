"""What a node sends to the log: batches become frames, and each frame is sent until the log shows that it counted.

Theory of operation. Batches wait in one line. A frame is cut from the whole line when nothing is under way; while
something is, when the line fills a frame or the last cut is a while ago. So a lone command goes at once, the busier the
log the more commands share a frame, and where the log is far away a command waits for its own journey only, not for
that of the frame before, too. A frame is sent as one message under an id of three parts: this process's nonce, the
frame's number, the attempt. What the broker answers decides only whether to send again; that a frame counted is known
from the log alone, when the fold met it there and took it.

    waiting ──cut──▶ sent ──stored──▶ stored ──the log shows it, taken──▶ gone: its batches are answered
                      │ ▲                │
           unknown or │ │ same id        │ the log shows it, refused as ahead of its turn (an earlier frame
           not stored ▼ │                ▼ was lost on the way): a new attempt, under a new id
                      lost ◀─────────── lost

Only the earliest frame that is not gone is sent again, so that the order is kept. A message stored twice is harmless:
the fold refuses the second as a repeat. What may not live here: clocks, the broker, what a command means.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from holdfast.domain.errors import invariant
from holdfast.domain.frames import HEADER_LENGTH
from holdfast.domain.messages import Batch
from holdfast.domain.outcomes import OUTCOME, Outcomes
from holdfast.domain.reasons import Reason
from holdfast.replica.gateway import FRAME_LENGTH_TARGET, Gateway

FLIGHTS_MAXIMUM = 16
"""Frames under way, as long as they are short."""
FULL_FLIGHTS_MAXIMUM = 4
"""Full frames under way. More would not be faster, as the log's leader takes one after the other."""
PACE_S = 0.02
"""After a cut, until the next one of a line that does not fill a frame while something is under way. A log nearby
answers sooner; one far away would else make every command wait for two journeys."""
BYTES_MAXIMUM = 8 << 20
"""Bytes that may wait and be under way; beyond it a batch is turned away before it queues."""
PAUSE_S, PAUSE_MAXIMUM_S = 0.02, 0.25
"""Before a lost frame is sent again; doubled with every loss."""
_NUMBER, _COUNT = slice(16, 24), slice(24, 28)
"""Where a frame's header has its number and its count of records (FRM-1)."""
_TURNED_AWAY = (Reason.FRAME_GAP, Reason.FRAME_REPEATED, Reason.GATEWAY_UNKNOWN)


class State(Enum):
    """Where a frame is."""

    READY = "ready"
    SENT = "sent"
    STORED = "stored"
    LOST = "lost"


class Message(NamedTuple):
    """A frame to be published under an id."""

    id: str
    frame: bytes


class Resolved(NamedTuple):
    """A batch whose every command is in the log.

    Attributes:
        token: As it was offered.
        position: Of the frame that its last command is in.
        outcomes: Of its commands.
        details: By index, what does not fit in an outcome.
    """

    token: Any
    position: int
    outcomes: Outcomes
    details: dict[int, object]


@dataclass(eq=False)
class _Waiting:
    """A batch that was offered."""

    token: Any
    length: int
    left: int
    outcomes: Outcomes
    details: dict[int, object] = field(default_factory=dict)


class _Part(NamedTuple):
    """Commands of a batch in a frame: where they begin in the batch, and how many."""

    waiting: _Waiting
    first: int
    size: int


@dataclass(eq=False)
class _Flight:
    """A frame under way."""

    number: int
    frame: bytes
    parts: list[_Part]
    state: State = State.READY
    attempt: int = 0
    pause_s: float = PAUSE_S
    again_at: float = 0.0


class EvictedError(Exception):
    """The log no longer knows the gateway's session; the node has to start again with another one."""


class Outbox:
    """The line of batches and the frames under way of one gateway session."""

    def __init__(self, nonce: str, session: int, *, length_target: int = FRAME_LENGTH_TARGET) -> None:
        """A line for a gateway session that was opened just now.

        Args:
            nonce: Which process of all that ever lived this is.
            session: Command id of the session's opening.
            length_target: As for `Gateway`.
        """
        self.session = session
        self._nonce = nonce
        self._gateway = Gateway(session, 1, length_target=length_target)
        self._target = length_target
        self._line: deque[_Waiting] = deque()
        self._offset = 0  # commands of the line's first batch that are in frames already
        self._line_bytes = 0
        self._flights: dict[int, _Flight] = {}
        self._flights_bytes = 0
        self._cut_at = float("-inf")
        self._bytes = 0
        self._done: list[Resolved] = []

    @property
    def bytes(self) -> int:
        """Bytes that wait or are under way."""
        return self._bytes

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not self._line and not self._flights

    def has_room(self, length: int) -> bool:
        """Whether a batch of so many bytes may be offered."""
        return self._bytes == 0 or self._bytes + length <= BYTES_MAXIMUM

    def offer(self, token: Any, batch: Batch) -> None:
        """Put a batch into the line; the token comes back with what became of it."""
        count = len(batch.records)
        invariant(count > 0, "a batch has a command")
        length = batch.records.nbytes + len(batch.blob)
        self._gateway.add_batch(batch.records, batch.blob)
        self._line.append(_Waiting(token, length, count, np.zeros(count, OUTCOME)))
        self._line_bytes += length
        self._bytes += length

    def sends(self, now: float) -> list[Message]:
        """What is to be published now."""
        if self._line and now >= self._due_at():
            self._cut()
            self._cut_at = now
        out = []
        for flight in self._to_send(now):
            flight.state = State.SENT
            out.append(Message(f"{self._nonce}.{flight.number}.{flight.attempt}", flight.frame))
        return out

    def next_at(self, now: float) -> float | None:
        """When `sends` may have something to do although nothing happened until then; None for never."""
        first = next(iter(self._flights.values()), None)
        if first is not None and first.state is State.LOST:
            return max(now, first.again_at)
        due_at = self._due_at() if self._line else float("inf")
        return max(now, due_at) if due_at < float("inf") else None

    def published(self, message_id: str, now: float, *, stored: bool) -> None:
        """What became of a message.

        Args:
            message_id: Which.
            now: When.
            stored: Whether the broker says that it has it; False where that is unknown, or it has it not.
        """
        flight = self._flight_of(message_id)
        if flight is None or flight.state is not State.SENT:
            return
        if stored:
            flight.state = State.STORED
        else:
            self._lose(flight, now)

    def awaits(self, message_id: str) -> bool:
        """Whether the log, as folded so far, has not shown a message that was sent: neither taken nor refused."""
        flight = self._flight_of(message_id)
        return flight is not None and flight.state is State.SENT

    def seen(self, number: int, position: int, outcomes: Outcomes, details: dict[int, object], now: float) -> None:
        """The fold has met a frame of this gateway's session.

        Raises:
            EvictedError: The session is unknown to the log.
        """
        flight = self._flights.get(number)
        reason = int(outcomes["reason"][0]) if len(outcomes) else int(Reason.ACCEPTED)
        if flight is None:
            return
        if reason == Reason.GATEWAY_UNKNOWN:
            raise EvictedError
        if reason in _TURNED_AWAY:
            if reason == Reason.FRAME_GAP:
                flight.attempt += 1
                self._lose(flight, now)
            return
        self._resolve(flight, position, outcomes, details)

    def resolved(self) -> list[Resolved]:
        """The batches that have been answered since the last call, in their order."""
        out, self._done = self._done, []
        return out

    def _due_at(self) -> float:
        """When the line is to be cut if nothing happens until then."""
        if not self._flights:
            return float("-inf")
        if len(self._flights) >= FLIGHTS_MAXIMUM or self._flights_bytes + self._target > self._length_maximum:
            return float("inf")
        is_full = self._line_bytes >= self._target - HEADER_LENGTH
        return float("-inf") if is_full else self._cut_at + PACE_S

    @property
    def _length_maximum(self) -> int:
        """Bytes of frames under way."""
        return FULL_FLIGHTS_MAXIMUM * self._target

    def _cut(self) -> None:
        """Turn the whole line into frames; those beyond the limit of flights stay ready."""
        for frame in self._gateway.frames():
            count = int.from_bytes(frame[_COUNT], "little")
            number = int.from_bytes(frame[_NUMBER], "little")
            self._flights[number] = _Flight(number, frame, list(self._take(count)))
            self._flights_bytes += len(frame)
        self._line_bytes = 0
        invariant(not self._line, "every waiting command went into a frame")

    def _take(self, count: int) -> Iterator[_Part]:
        """The next commands of the line, batch by batch."""
        while count:
            waiting = self._line[0]
            taken = min(count, len(waiting.outcomes) - self._offset)
            yield _Part(waiting, self._offset, taken)
            count -= taken
            self._offset += taken
            if self._offset == len(waiting.outcomes):
                self._line.popleft()
                self._offset = 0

    def _to_send(self, now: float) -> list[_Flight]:
        """The earliest frame if it was lost and its pause is over; and new ones as long as no earlier one is lost."""
        out: list[_Flight] = []
        length = 0
        for place, flight in enumerate(self._flights.values()):
            length += len(flight.frame)
            if place >= FLIGHTS_MAXIMUM or (place and length > self._length_maximum):
                break
            if flight.state is State.LOST:
                if place == 0 and now >= flight.again_at:
                    out.append(flight)
                break
            if flight.state is State.READY:
                out.append(flight)
        return out

    def _flight_of(self, message_id: str) -> _Flight | None:
        """The frame of a message's latest attempt; None for an older attempt and for what is gone."""
        nonce, number, attempt = message_id.rsplit(".", 2)
        flight = self._flights.get(int(number)) if nonce == self._nonce else None
        return flight if flight is not None and flight.attempt == int(attempt) else None

    @staticmethod
    def _lose(flight: _Flight, now: float) -> None:
        flight.state, flight.again_at = State.LOST, now + flight.pause_s
        flight.pause_s = min(2 * flight.pause_s, PAUSE_MAXIMUM_S)

    def _resolve(self, flight: _Flight, position: int, outcomes: Outcomes, details: dict[int, object]) -> None:
        del self._flights[flight.number]
        self._flights_bytes -= len(flight.frame)
        at = 0
        for waiting, first, size in flight.parts:
            waiting.outcomes[first : first + size] = outcomes[at : at + size]
            for index in [index for index in details if at <= index < at + size]:
                waiting.details[first + index - at] = details[index]
            at += size
            waiting.left -= size
            if not waiting.left:
                self._bytes -= waiting.length
                self._done.append(Resolved(waiting.token, position, waiting.outcomes, waiting.details))
