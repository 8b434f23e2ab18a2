"""What can go wrong with a cluster's processes, and the exit status of a command that it ends.

    ClusterError  30
    ├── StartError      31   a server or an engine ended while it started
    ├── NotReadyError   32   something did not become ready in time; it goes on trying
    ├── NotRunningError 33   what was to be signalled does not run
    ├── BusyError       34   another command is at work on the same cluster, or a supervisor on the same replica
    ├── UnhealthyError  35   it was not done, because the cluster would lose its quorum
    └── ForeignError    36   the running cluster is not the one that the folder describes

A wrong argument or file is an InputError, as everywhere; errors of the log are those of `holdfast.log.errors`.
"""

from typing import ClassVar

from holdfast.domain.errors import HoldfastError


class ClusterError(HoldfastError):
    """A cluster cannot do what was asked.

    Attributes:
        subject: What it is about: a server, an engine, a folder.
        problem: What is wrong.
        advice: What to do about it.
        exit_code: Exit status of a command that this ends; never changes.
    """

    exit_code: ClassVar[int] = 30

    def __init__(self, subject: str, problem: str, advice: str) -> None:
        self.subject = subject
        self.problem = problem
        self.advice = advice
        super().__init__(subject, problem, advice)

    def __str__(self) -> str:
        return " ".join(f"{self.subject}: {self.problem}; {self.advice}".split())


class StartError(ClusterError):
    """A program ended while it started. What ran before still runs."""

    exit_code = 31


class NotReadyError(ClusterError):
    """Something did not become ready in time. Nothing was ended: it may still become so."""

    exit_code = 32


class NotRunningError(ClusterError):
    """There is no such process to signal."""

    exit_code = 33


class BusyError(ClusterError):
    """Another command or supervisor is at work here. Nothing was done."""

    exit_code = 34


class UnhealthyError(ClusterError):
    """It was refused, or stopped half-way, because more would have cost the quorum."""

    exit_code = 35


class ForeignError(ClusterError):
    """What answers is of another cluster than the one that the folder describes."""

    exit_code = 36
