"""A batch: commands that were given to a client together, and what replies have said of them so far.

A reply may settle only a part: of a batch that was cut into two frames the first may have been ahead of its turn and
the second not. So each command is settled by itself. What may not live here: when and where a batch is sent
(`protocol`).
"""

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from holdfast.client.contents import Content
from holdfast.domain.errors import InputError
from holdfast.domain.messages import Refused, Told, Written, outcomes_of
from holdfast.domain.outcomes import OUTCOME, Outcomes
from holdfast.domain.reasons import Reason

_SESSION_UNKNOWN, _SESSION_GAP = int(Reason.SESSION_UNKNOWN), int(Reason.SESSION_GAP)
_ALREADY_APPLIED, _MALFORMED = int(Reason.ALREADY_APPLIED), int(Reason.MALFORMED)
UNHEARD_OF: Final = -1
"""Stands for a reason that a newer replica gives by a name unknown here; it used up its number like any other."""
_DECIMALS: Final = "0123456789"


class Group:
    """The batches of one submission: after one that failed, those behind it are not sent."""

    failed = False


class Said(NamedTuple):
    """What one reply says of the commands of a batch.

    Attributes:
        reasons: Of each.
        outcomes: Of each; zeros where only the reason is known.
        expected: The number that the log expects, where the first command was ahead of it; else 0.
    """

    reasons: npt.NDArray[np.int32]
    outcomes: Outcomes
    expected: int


@dataclass(eq=False)
class Batch:
    """Commands on their way.

    Attributes:
        content: The commands.
        token: Whatever the caller knows the batch by.
        deadline: When it fails if nothing is known of it.
        group: Of the submission that it is a part of.
        first: Number of its first command; 0 while it has none.
        payload: The request under these numbers.
        round: In which it was sent last.
        sent_at: When.
        open: Attempts whose fate nobody knows: awaited, or given up.
        plug: Why a replica refused it, if its numbers are being used up in its place.
        outcomes: Of its commands, where `done`.
        told: Outcomes in names, by index.
        details: By index.
        done: Which commands have their outcomes.
        fenced: Which commands certainly did not take effect and never will.
        lost: Which numbers were used, nobody knows any more by what.
        position: Highest of the replies.
        degraded: As the last reply said.
        over: Whether the caller has been told.
    """

    content: Content
    token: Any
    deadline: float
    group: Group | None = None
    first: int = 0
    payload: bytes = b""
    round: int = -1
    sent_at: float = 0.0
    open: set[int] = field(default_factory=set)
    plug: Refused | None = None
    told: dict[int, dict[str, Any]] = field(default_factory=dict)
    details: dict[int, bytes] = field(default_factory=dict)
    position: int = -1
    degraded: tuple[str, ...] = ()
    over: bool = False

    def __post_init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Be as if it had never been numbered."""
        count = self.content.count
        self.outcomes: Outcomes = np.zeros(count, OUTCOME)
        self.done, self.fenced, self.lost = np.zeros((3, count), np.bool_)
        self._settled = 0
        self.first, self.payload, self.round, self.plug = 0, b"", -1, None

    @property
    def count(self) -> int:
        """How many commands."""
        return self.content.count

    @property
    def untouched(self) -> bool:
        """Whether certainly none of its commands took effect, and none will under the numbers that it has."""
        return not (self.open or self.done.any() or self.fenced.any() or self.lost.any())

    @property
    def settled(self) -> bool:
        """Whether each of its commands is."""
        return self._settled == self.count

    def learn(self, reply: Written | Told, said: Said) -> bool:
        """Take in what a reply says; whether it settled a command."""
        self.position, self.degraded = max(self.position, reply.position), reply.degraded
        before = self._settled
        if not before and self.plug is None and not said.reasons.any():
            self._keep(reply, said, np.ones(self.count, np.bool_))
            self._settled = self.count
            return True
        # A command that was ahead of its turn, or of a session that is gone, used up no number.
        used = (said.reasons != _SESSION_UNKNOWN) & (said.reasons != _SESSION_GAP)
        gone = said.reasons == _ALREADY_APPLIED
        new = used & ~gone & ~self.done
        if self.plug is not None:
            # Whether the command itself or the plug was malformed: it did nothing, and its number is used.
            self.fenced |= new & (said.reasons == _MALFORMED)
            new &= ~self.fenced
            self.lost |= gone & ~self.done & ~self.fenced
        else:
            new |= gone & ~self.done
        self._keep(reply, said, new)
        self._settled = int(np.count_nonzero(self.done | self.fenced | self.lost))
        return self._settled > before

    def _keep(self, reply: Written | Told, said: Said, new: npt.NDArray[np.bool_]) -> None:
        self.outcomes[new] = said.outcomes[new]
        self.lost &= ~new
        self.done |= new
        if isinstance(reply, Told):
            self.told.update((index, reply.outcomes[index]) for index in np.flatnonzero(new).tolist())
        else:
            self.details.update((index, detail) for index, detail in reply.details.items() if new[index])

    def close(self, reason: Reason) -> None:
        """Give the commands that are not done an outcome of their own."""
        self.outcomes["reason"][~self.done] = reason


def said_of(reply: Written | Told, count: int) -> Said:
    """What a reply says of the commands of a batch.

    Raises:
        InputError: It contradicts itself, or is about something else.
    """
    said = _written(reply, count) if isinstance(reply, Written) else _told(reply, count)
    if len(said.reasons) != count or any(not 0 <= index < count for index in getattr(reply, "details", ())):
        raise InputError("malformed", "outcomes", len(said.reasons), "ask another replica", "do not fit the request")
    return said


def _written(reply: Written, count: int) -> Said:
    given, places = outcomes_of(reply)
    if reply.count != count:
        raise InputError("malformed", "count", reply.count, "ask another replica", "does not fit the request")
    outcomes: Outcomes = np.zeros(count, OUTCOME)
    outcomes[places] = given
    gap = int(outcomes["reason"][0]) == Reason.SESSION_GAP
    return Said(outcomes["reason"].astype(np.int32), outcomes, int(outcomes["limit"][0]) if gap else 0)


def _told(reply: Told, count: int) -> Said:
    outcomes: Outcomes = np.zeros(len(reply.outcomes), OUTCOME)
    try:
        for outcome, told in zip(outcomes, reply.outcomes, strict=True):
            outcome["reason"] = Reason.__members__.get(told["reason"], UNHEARD_OF)
            outcome["command"], outcome["made"] = int(told["command"]), int(told["made"])
            outcome["repeated"] = bool(told["repeated"])
            outcome["equity"], outcome["initial"] = float(told["equity"]), float(told["initial_margin"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        problem = f"cannot be read: {error!r}"
        raise InputError("malformed", "outcomes", None, "ask another replica", problem) from None
    expected = 0
    if count and len(outcomes) and int(outcomes["reason"][0]) == Reason.SESSION_GAP:
        limit = str(reply.outcomes[0].get("limit", ""))
        expected = int(limit) if limit and all(letter in _DECIMALS for letter in limit) else 0
    return Said(outcomes["reason"].astype(np.int32), outcomes, expected)
