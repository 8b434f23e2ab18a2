"""What the servers say about the log, judged against what was read from it.

Theory of operation. One answer proves nothing. A leader that was cut off from the others goes on answering for about
ten seconds, with an old end; a new one may answer before it has applied all that it inherited; a server that starts may
not know the stream yet. So a fault must be in every answer of a round, in round after round: three rounds where
two servers passed answers on, as a leader without a majority cannot be what two servers agree on, and fifteen, longer
than such a leader lasts, where only one did. No answer at all proves nothing and changes nothing.

What lives here: the judgement, without clock or network. What may not: asking.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from holdfast.log.errors import AmnesiaError, GapError, LogError, MissingLogError, RecreatedError
from holdfast.log.jetstream.stream import STREAM, StreamState

PROOF: Final = 15
"""What a suspicion must weigh to be a fault: one for each round, five where two servers say the same."""
WEIGHT_AGREED: Final = 5

ADVICE: Final = "stop appending and follow 'Repair a log' in the documentation; the replicas' own copies are intact"


class Saying(NamedTuple):
    """What one server passed on.

    Attributes:
        server: Its name.
        state: What the leader said; None if there is no such stream.
    """

    server: str
    state: StreamState | None


class Watch:
    """Suspicions and what they weigh."""

    def __init__(self, created: str) -> None:
        """Begin without a suspicion.

        Args:
            created: When the stream was made, as it said earlier; empty if it never said.
        """
        self.created = created
        self._weights: dict[str, int] = {}

    def judge(self, position: int, sayings: Sequence[Saying], *, hole: bool = False) -> LogError | None:
        """Judge one round of answers.

        Args:
            position: The position wanted next; everything before it was read.
            sayings: The answers of this round, none or more.
            hole: The log said that it cannot give the frame at `position`, though it counts it.

        Returns:
            The fault, if one is proved.
        """
        if not sayings:
            return None
        states = [saying.state for saying in sayings if saying.state]
        if not self.created and states:
            self.created = states[0].created
        weight = WEIGHT_AGREED if len({saying.server for saying in sayings}) > 1 else 1
        for kind, suspected in self._suspected(position, states, hole=hole).items():
            self._weights[kind] = self._weights.get(kind, 0) + weight if suspected else 0
        proved = [kind for kind, total in self._weights.items() if total >= PROOF]
        return self._fault(proved[0], position, states) if proved else None

    def _suspected(self, position: int, states: Sequence[StreamState], *, hole: bool) -> dict[str, bool]:
        """Which faults all answers of a round agree on, in order of what explains the most."""
        if not states:
            return {"missing": bool(position or self.created)}
        return {
            "missing": False,
            "recreated": all(state.created != self.created for state in states),
            "short": all(state.end < position for state in states),
            "gap": hole or all(state.first > position for state in states),
        }

    @property
    def suspicious(self) -> bool:
        """Whether there is a suspicion."""
        return any(self._weights.values())

    def _fault(self, kind: str, position: int, states: Sequence[StreamState]) -> LogError:
        end = max((state.end for state in states), default=0)
        if kind == "missing":
            return MissingLogError(STREAM, f"is gone, though {position} frames were read from it", ADVICE)
        if kind == "recreated":
            problem = f"was made at {states[0].created}, and what was read before at {self.created}"
            return RecreatedError(STREAM, problem, ADVICE)
        if kind == "short":
            return AmnesiaError(STREAM, f"ends at {end}, though {position} frames were read from it", ADVICE, end)
        return GapError(STREAM, f"cannot give the frame at position {position}, before its end {end}", ADVICE, position)
