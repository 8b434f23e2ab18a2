"""How a node gets a gateway's session in the log: it opens one through session 0, which every log has.

Several nodes may try at once; the fold takes one frame of session 0 for each number and refuses the others, which try
again with the number that the log then expects. A node knows its own opening by the message's id. What may not live
here: clocks, the broker.
"""

import hashlib

import numpy as np

from holdfast.core import sessions
from holdfast.core.fold import Fold
from holdfast.core.state import Session
from holdfast.domain.commands import OpenSession
from holdfast.domain.outcomes import Outcomes
from holdfast.domain.reasons import Reason
from holdfast.replica.gateway import FIRST_GATEWAY, Gateway
from holdfast.replica.node.outbox import PAUSE_MAXIMUM_S, PAUSE_S, Message

NUMBER = 0
"""Of the opening's frame in the ids of messages; a gateway's own frames begin at 1."""


class Entrance:
    """The opening of one gateway session, tried until the log has taken it."""

    def __init__(self, nonce: str) -> None:
        self._nonce = nonce
        self._attempt = 0
        self._frame: bytes | None = None
        self._again_at = 0.0
        self._waits = False
        self._pause_s = PAUSE_S

    def sends(self, fold: Fold, now: float) -> list[Message]:
        """The opening, if it is to be published now."""
        if self._waits or now < self._again_at:
            return []
        if self._frame is None:
            self._frame = opening_frame(fold, self._id)
        self._waits = True
        return [Message(self._id, self._frame)]

    def next_at(self) -> float | None:
        """When `sends` has something to do next, None while an answer is awaited."""
        return None if self._waits else self._again_at

    def published(self, message_id: str, now: float, *, stored: bool) -> None:
        """What became of the message, as for an outbox."""
        if self.awaits(message_id) and not stored:
            self._later(now)

    def awaits(self, message_id: str) -> bool:
        """Whether the log, as folded so far, has not shown a message that was sent."""
        return message_id == self._id and self._waits

    def seen(self, message_id: str, outcomes: Outcomes, now: float) -> int | None:
        """The session's id, if this message of the log is the opening and was taken."""
        if message_id != self._id:
            return None
        if len(outcomes) == 1 and int(outcomes["reason"][0]) == Reason.ACCEPTED:
            return int(outcomes["made"][0])
        self._renew(now)
        return None

    @property
    def _id(self) -> str:
        return f"{self._nonce}.{NUMBER}.{self._attempt}"

    def _renew(self, now: float) -> None:
        """Another number of session 0 is needed: another frame, under another id."""
        self._attempt += 1
        self._frame = None
        self._later(now)

    def _later(self, now: float) -> None:
        self._waits, self._again_at = False, now + self._pause_s
        self._pause_s = min(2 * self._pause_s, PAUSE_MAXIMUM_S)


def opening_frame(fold: Fold, message_id: str) -> bytes:
    """A frame of session 0 that opens a gateway's session, with the number that the log expects next.

    The record of an opening needs no number (SES-2). It is given one made of the message's id, so that no two openings
    are the same bytes: by the last frame of a copy its node knows whether the broker's log is the same.
    """
    state = fold.machine.state
    expected = int(np.int64(state.sessions[sessions.find_session(state, FIRST_GATEWAY), Session.NEXT]))
    gateway = Gateway(FIRST_GATEWAY, expected)
    number = int.from_bytes(hashlib.sha256(message_id.encode()).digest()[:7], "little")
    gateway.add_cold(0, number, OpenSession("gateway", 0, 1))
    (frame,) = gateway.frames()
    return frame
