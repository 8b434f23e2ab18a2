"""What a cold command's handler answers, and what it is given. What may not live here: handlers."""

from typing import NamedTuple

from holdfast.core.state import Role
from holdfast.domain.reasons import Reason


class Verdict(NamedTuple):
    """The outcome of a cold command; fields as in `domain.outcomes.OUTCOME`.

    Attributes:
        detail: What does not fit in numbers: accounts that a change would put under margin, a margin's components.
    """

    reason: Reason = Reason.ACCEPTED
    made: int = 0
    limit: int = 0
    passes: int = 0
    equity: float = 0.0
    initial: float = 0.0
    detail: object = None


class Sender(NamedTuple):
    """Who sent a cold command.

    Attributes:
        command: The command's id.
        role: Of the session.
        subject: The source or replica that the session speaks for.
    """

    command: int
    role: Role
    subject: int


ACCEPTED = Verdict()


def refused(reason: Reason, limit: int = 0, passes: int = 0, detail: object = None) -> Verdict:
    """A refusal with its limiting amount and what would pass."""
    return Verdict(reason, limit=limit, passes=passes, detail=detail)
