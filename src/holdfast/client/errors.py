"""What can go wrong between a client and the replicas, and the exit status of a command that it ends.

    ClientError  40
    ├── UnknownError      41   what was sent may have taken effect, or may yet
    ├── BusyError         42   certainly not done: the replicas have as much to do as they take
    ├── RefusedError      43   certainly not done: the request cannot be used
    ├── UnreachableError  44   certainly not done: no replica could be reached
    └── ClosedError       45   the client was closed; a mistake of the program

The classes say what a caller may do next: after 42 and 44 the same again later; after 41 the same again only under the
same numbers. A refusal of a command by the state is an outcome and not an error; an argument that cannot be used is an
InputError, as everywhere. What may not live here: how it is found out which of them it was (`protocol`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from holdfast.domain.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.client.outcome import Receipt


class ClientError(HoldfastError):
    """A client did not get what was asked for.

    Attributes:
        subject: What it is about: a session's numbers, a question, the replicas.
        problem: What is wrong.
        advice: What to do about it.
        receipts: Of a submission in several parts, those that are done, in their order.
        exit_code: Exit status of a command that this ends; never changes.
    """

    exit_code: ClassVar[int] = 40

    def __init__(self, subject: str, problem: str, advice: str) -> None:
        self.subject = subject
        self.problem = problem
        self.advice = advice
        self.receipts: Sequence[Receipt] = ()
        super().__init__(subject, problem, advice)

    def __str__(self) -> str:
        return " ".join(f"{self.subject}: {self.problem}; {self.advice}".split())


class UnknownError(ClientError):
    """Commands were sent and no answer came: they may have taken effect, or may yet.

    Sending the same commands again under the same numbers is harmless, and its answer says what became of them.

    Attributes:
        session: Whose numbers.
        number: Of the first command.
        count: How many commands.
    """

    exit_code = 41

    def __init__(self, session: int, number: int, count: int, problem: str) -> None:
        self.session, self.number, self.count = session, number, count
        advice = f"ask lookup({session}, {number}), or send the same again with session=Session({session}, {number})"
        super().__init__(
            f"session {session}, numbers {number} to {number + count - 1}", f"may have taken effect: {problem}", advice
        )


class BusyError(ClientError):
    """Nothing was done and nothing will be; the same may be sent again later.

    Attributes:
        retry_after_s: How long to wait at least.
    """

    exit_code = 42

    def __init__(self, subject: str, problem: str, advice: str, retry_after_s: float = 1.0) -> None:
        super().__init__(subject, problem, advice)
        self.retry_after_s = retry_after_s


class RefusedError(ClientError):
    """Nothing was done and nothing will be: the replicas cannot use the request.

    Attributes:
        code: What is wrong, as the code of an InputError.
        field: What of the request.
    """

    exit_code = 43

    def __init__(self, code: str, field: str, problem: str, advice: str) -> None:
        super().__init__(field or "request", problem, advice)
        self.code = code
        self.field = field


class UnreachableError(ClientError):
    """No replica could be asked, or none answered a question; nothing was done."""

    exit_code = 44


class ClosedError(ClientError):
    """The client was closed before this call."""

    exit_code = 45
