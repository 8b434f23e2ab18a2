"""What an error of SQLite means for a log."""

import contextlib
import os
import resource
import sqlite3
from pathlib import Path
from typing import Final

from holdfast.log.errors import (
    CorruptLogError,
    ForeignFileError,
    FullError,
    LockedError,
    LogError,
    ReadOnlyError,
    StorageError,
)

ADVICE_CORRUPT: Final = "keep the file, and follow 'Repair a log' in the documentation"
WAL_SUFFIX: Final = "-wal"
_SLACK = 32_768
"""Bytes that a write needs beyond its content: pages of the tree and of the index of the write-ahead file."""
_ADVICE_ACCESS = "give this user write access to the folder and the files"

_BY_CODE: dict[int, tuple[type[LogError], str, str]] = {
    sqlite3.SQLITE_FULL: (FullError, "there is no room", "free some space; appends then go on"),
    sqlite3.SQLITE_READONLY: (ReadOnlyError, "cannot be written", _ADVICE_ACCESS),
    sqlite3.SQLITE_PERM: (ReadOnlyError, "cannot be written", _ADVICE_ACCESS),
    sqlite3.SQLITE_BUSY: (LockedError, "another program holds the file", "end that program and try again"),
    sqlite3.SQLITE_LOCKED: (LockedError, "another program holds the file", "end that program and try again"),
    sqlite3.SQLITE_NOTADB: (ForeignFileError, "is not a log, or its first page is damaged", "choose another file"),
    sqlite3.SQLITE_IOERR: (StorageError, "reading or writing failed", "check the disk, then open the log again"),
    sqlite3.SQLITE_CANTOPEN: (StorageError, "cannot be opened", "check the disk, then open the log again"),
    sqlite3.SQLITE_NOMEM: (StorageError, "memory ran out", "give the machine more, then open the log again"),
}


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's result code without the details; 0 where it is unknown."""
    return _extended_code(error) & 0xFF


def error_of_sqlite(error: sqlite3.Error, log: Path, length: int = 0, position: int | None = None) -> LogError:
    """The error of a log that an error of SQLite means.

    Args:
        error: What SQLite raised.
        log: The log's file.
        length: Bytes that were to be written, to tell a full disk from a broken one.
        position: What was read or written, if it was a frame.
    """
    code = primary_code(error)
    if _failed_before_commit(_extended_code(error), length) and _is_full(log, length):
        code = sqlite3.SQLITE_FULL
    elif code == sqlite3.SQLITE_CANTOPEN and not _is_accessible(log):
        code = sqlite3.SQLITE_PERM
    elif code == sqlite3.SQLITE_READONLY and _is_accessible(log) and os.access(log, os.W_OK):
        # The system allows it and SQLite does not: the file's header says a version that it may not write.
        code = sqlite3.SQLITE_CORRUPT
    if code == sqlite3.SQLITE_CONSTRAINT:
        problem = "something else appends to it without its lock"
        return CorruptLogError(str(log), problem, "end that program, then open the log again", position)
    if code in _BY_CODE and _extended_code(error) != sqlite3.SQLITE_IOERR_SHORT_READ:
        kind, problem, advice = _BY_CODE[code]
        return kind(str(log), f"{problem} ({error})", advice)
    # What is left (a malformed page, a missing table, a text that is no text) happens to damaged files only.
    return CorruptLogError(str(log), f"is damaged ({error})", ADVICE_CORRUPT, position)


def _extended_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) or 0


def _failed_before_commit(extended: int, length: int) -> bool:
    """Whether an I/O error came before a commit could be complete.

    The write-ahead file is written first, then forced, then indexed in shared memory. A failure in forcing or indexing
    may leave a commit that a later opening finds; only without an append is there nothing to find.
    """
    return extended == sqlite3.SQLITE_IOERR_WRITE or (extended == sqlite3.SQLITE_IOERR_SHMSIZE and length == 0)


def _is_full(log: Path, length: int) -> bool:
    """Whether the disk, or the largest file that this process may write, leaves no room for `length` bytes."""
    needed = length + _SLACK
    with contextlib.suppress(OSError):
        disk = os.statvfs(log.parent)
        if disk.f_bavail * disk.f_frsize < needed:
            return True
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    files = (log, log.with_name(log.name + WAL_SUFFIX))
    lengths = [file.stat().st_size for file in files if file.exists()]
    return largest != resource.RLIM_INFINITY and max(lengths, default=0) + needed > largest


def _is_accessible(log: Path) -> bool:
    return os.access(log, os.R_OK) and os.access(log.parent, os.W_OK | os.X_OK)
