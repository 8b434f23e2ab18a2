"""What can go wrong with a log, and the exit status of a command that it ends.

    LogError  10
    ├── LockedError       11   another engine writes to this log
    ├── ReadOnlyError     12   the folder or the file may not be written
    ├── FullError         13   no room; nothing was appended, and appends go on once there is room
    ├── CorruptLogError   14   what was written is not what is there
    ├── ForeignFileError  15   the file is something else, or a newer version
    ├── MissingLogError   16   there is no log and none was to be made
    ├── StorageError      17   the system failed to read or write; whether the last append lives is unknown
    ├── ClosedError       18   the log was closed; a mistake of the program
    ├── AmnesiaError      50   the log ends before frames that were read from it
    ├── RecreatedError    51   the log was deleted, or made anew
    ├── ForkedError       52   two histories: another frame stands where one was read
    ├── GapError          53   a frame that the log counts is not there
    ├── UnavailableError  54   the log did not answer in time; whether the last append lives may be unknown
    ├── AccessError       55   the servers refuse this user or this connection
    └── ForeignStreamError 56  the stream has settings under which it could lose or change frames

50 to 56 are those of the distributed log. After 50 to 53 nothing that comes from it may be believed.
An operator's remedies: `docs/how-to/repair-a-log.md`. An argument that is wrong (a frame too long, a negative position)
is an InputError, as everywhere.
"""

from typing import ClassVar

from holdfast.domain.errors import HoldfastError


class LogError(HoldfastError):
    """A log cannot do what was asked.

    Attributes:
        log: Which log: the path of its file.
        problem: What is wrong.
        advice: What to do about it.
        exit_code: Exit status of a command that this ends; never changes.
    """

    exit_code: ClassVar[int] = 10

    def __init__(self, log: str, problem: str, advice: str) -> None:
        self.log = log
        self.problem = problem
        self.advice = advice
        super().__init__(log, problem, advice)

    def __str__(self) -> str:
        return " ".join(f"{self.log}: {self.problem}; {self.advice}".split())


class LockedError(LogError):
    """Another engine, or another program, writes to this log. Nothing was appended."""

    exit_code = 11


class ReadOnlyError(LogError):
    """The folder or the file may not be written, or the log was opened for reading. Nothing was appended."""

    exit_code = 12


class FullError(LogError):
    """There is no room. Nothing was appended, the position is unused, and appends go on once there is room."""

    exit_code = 13


class CorruptLogError(LogError):
    """The log is damaged or was cut: what was written is not what is there.

    Attributes:
        position: Where the damage was found; None where it is not at one frame. Found by reading from 0 or by
            verifying, all frames before it are sound.
    """

    exit_code = 14

    def __init__(self, log: str, problem: str, advice: str, position: int | None = None) -> None:
        super().__init__(log, problem, advice)
        self.position = position


class ForeignFileError(LogError):
    """The file is not a log of ours, or of a version that this program does not know. It was not changed."""

    exit_code = 15


class MissingLogError(LogError):
    """There is no log at this place, and none was to be made."""

    exit_code = 16


class StorageError(LogError):
    """The system failed to read or write. If that was in an append, the log takes no more until it is opened again."""

    exit_code = 17


class ClosedError(LogError):
    """The log was closed before this call."""

    exit_code = 18


class AmnesiaError(LogError):
    """The distributed log ends before frames that were read from it: the servers forgot acknowledged frames.

    Attributes:
        position: The end that the log says it has.
    """

    exit_code = 50

    def __init__(self, log: str, problem: str, advice: str, position: int) -> None:
        super().__init__(log, problem, advice)
        self.position = position


class RecreatedError(LogError):
    """The distributed log is not the one that was read before: it was deleted, or made anew under the same name."""

    exit_code = 51


class ForkedError(LogError):
    """Two histories: at a position that was read stands another frame.

    Attributes:
        position: Where.
    """

    exit_code = 52

    def __init__(self, log: str, problem: str, advice: str, position: int) -> None:
        super().__init__(log, problem, advice)
        self.position = position


class GapError(LogError):
    """The distributed log counts a frame that it cannot give.

    Attributes:
        position: Where.
    """

    exit_code = 53

    def __init__(self, log: str, problem: str, advice: str, position: int) -> None:
        super().__init__(log, problem, advice)
        self.position = position


class UnavailableError(LogError):
    """The log did not answer in time. If that was an append, the frame is in the log or will be, or is not.

    An append of the same frame under the same message id tells, within the time that the servers remember ids.
    """

    exit_code = 54


class AccessError(LogError):
    """The servers refuse this user, or they are not who they should be. Nothing was appended."""

    exit_code = 55


class ForeignStreamError(LogError):
    """There is a stream of the log's name, with settings under which it could lose or change frames. Left unchanged."""

    exit_code = 56
