"""The file beside a log: the lock that keeps other engines out, and a mark of how far the log was acknowledged.

The lock is the operating system's (`flock`), held for the life of the log and released by the system however the
process ends, so there is never a stale one; the file itself stays. The mark is a line in that file: process, end of the
log and chain hash at that end, rewritten after every commit and not forced to the storage. The commit came first, so
whatever mark is found, the log must reach it: one that ends earlier was cut, lost its write-ahead file or was put back
from an old copy. A mark that cannot be read says nothing; it is a second witness, not a condition.

Linux and other POSIX systems only.
"""

import contextlib
import errno
import fcntl
import os
import re
from pathlib import Path
from typing import NamedTuple

from holdfast.log.errors import FullError, LockedError, LogError, MissingLogError, ReadOnlyError, StorageError

_LINE = re.compile(rb"holdfast-log 1 pid (\d{10}) end (\d{20}) hash ([0-9a-f]{64})\n")
_LINE_LENGTH = 125
_NOT_PERMITTED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Mark(NamedTuple):
    """How far a log was acknowledged at least.

    Attributes:
        process: Number of the process that wrote the mark.
        end: Position after the last acknowledged frame.
        head_hash: Chain hash of the frames before `end`, 32 bytes.
    """

    process: int
    end: int
    head_hash: bytes


def side_path(log: Path) -> Path:
    """Where the file beside `log` is."""
    return log.with_name(log.name + ".lock")


def read_mark(log: Path) -> Mark | None:
    """The mark beside a log; None where there is none that can be read."""
    try:
        with side_path(log).open("rb") as file:
            return _parsed(file.read(_LINE_LENGTH))
    except OSError:
        return None


class SideFile:
    """The held lock of a log, and its mark."""

    def __init__(self, log: Path) -> None:
        """Take the lock.

        Raises:
            LockedError: Another engine has it.
            ReadOnlyError: The folder or the file may not be written.
            LogError: As `error_of_system`.
        """
        path = side_path(log)
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise error_of_system(error, log) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = self.mark()
            os.close(self._file)
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                raise error_of_system(error, log) from error
            process = f", process {holder.process}" if holder else ""
            advice = "stop it, or open the log for reading only, or choose another file"
            raise LockedError(str(log), f"another engine{process} writes to this log", advice) from error

    def mark(self) -> Mark | None:
        """The mark; None where there is none that can be read."""
        return _parsed(os.pread(self._file, _LINE_LENGTH, 0))

    def write_mark(self, end: int, head_hash: bytes) -> None:
        """Replace the mark. A failure is ignored: the frames that it tells of are safe."""
        line = f"holdfast-log 1 pid {os.getpid():010} end {end:020} hash {head_hash.hex()}\n".encode()
        with contextlib.suppress(OSError):
            os.pwrite(self._file, line, 0)

    def close(self) -> None:
        """Release the lock; the file and its mark stay."""
        os.close(self._file)


def error_of_system(error: OSError, log: Path) -> LogError:
    """What an error of the operating system means for a log."""
    reason = error.strerror or str(error)
    if error.errno in _NOT_PERMITTED:
        return ReadOnlyError(
            str(log), f"cannot be written ({reason})", "give this user write access to folder and file"
        )
    if error.errno in _NO_ROOM:
        return FullError(str(log), f"no room ({reason})", "free some space; appends then go on")
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return MissingLogError(str(log), "its folder does not exist", "make the folder or mend the path")
    return StorageError(str(log), f"the system failed ({reason})", "check the disk, then open the log again")


def _parsed(line: bytes) -> Mark | None:
    found = _LINE.fullmatch(line)
    return Mark(int(found[1]), int(found[2]), bytes.fromhex(found[3].decode())) if found else None
