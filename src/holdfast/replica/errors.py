"""What can go wrong with a running engine, and the exit status of a command that it ends.

    EngineError  20
    ├── ShortLogError  21   a snapshot holds more than its log: the log was cut or put back from an old copy
    ├── ReplayError    22   a frame of the log cannot be folded
    ├── KeyFileError   23   the replica's key cannot be used
    ├── StoppedError   24   an append or the fold was interrupted; the engine must be opened again
    └── SuspendedError 25   the replicas' votes say that this one's state is wrong

Errors of the log are those of `holdfast.log.errors`; an argument that is wrong is an InputError, as everywhere. What
may not live here: refusals of commands, which are outcomes.
"""

from typing import ClassVar

from holdfast.domain.errors import HoldfastError


class EngineError(HoldfastError):
    """An engine cannot run.

    Attributes:
        subject: What it is about: a file, a folder or a position.
        problem: What is wrong.
        advice: What to do about it.
        exit_code: Exit status of a command that this ends; never changes.
    """

    exit_code: ClassVar[int] = 20

    def __init__(self, subject: str, problem: str, advice: str) -> None:
        self.subject = subject
        self.problem = problem
        self.advice = advice
        super().__init__(subject, problem, advice)

    def __str__(self) -> str:
        return " ".join(f"{self.subject}: {self.problem}; {self.advice}".split())


class ShortLogError(EngineError):
    """A snapshot holds frames that its log does not have. Nothing was changed."""

    exit_code = 21


class ReplayError(EngineError):
    """A frame of the log cannot be folded. Nothing was changed."""

    exit_code = 22


class KeyFileError(EngineError):
    """The replica's key file cannot be used. It was not changed."""

    exit_code = 23


class StoppedError(EngineError):
    """What was submitted last may be in the log or not; the state in memory is not to be trusted any more."""

    exit_code = 24


class SuspendedError(EngineError):
    """The replicas' votes on a root say that this one's state is wrong; it takes no part until an operator acts."""

    exit_code = 25
