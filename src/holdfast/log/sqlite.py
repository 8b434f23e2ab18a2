"""The embedded log: one SQLite file, each group one transaction, each commit forced to the storage.

Theory of operation. A row is (position, frame, H). SQLite runs with its write-ahead log and `synchronous=FULL`, both
set and read back, so that COMMIT returns after the fsync. One engine writes, which a lock beside the file sees to
(`side_file`); anybody may read beside it. Nothing read is believed: frames leave only when their positions follow one
another and their chain hash is the stored one, because SQLite itself has no checksums over its pages.

Conflicts that shaped it:

- SQLite takes a file of zero bytes for a new database, and drops the write-ahead file beside it. So a log is made under
  another name, complete, and then renamed: a file of zero bytes is always a log that was cut.
- A write-ahead file that is cut or deleted looks like an older log. The mark beside the log tells.
- After a failed fsync the system may have dropped what was written and say nothing the second time. So the log takes no
  more until it is opened again and has read what is really there. A full disk is different: SQLite fails before the
  frame that commits is complete.
- A process that opens and closes the database's file by itself loses all its locks on it (a rule of POSIX). So nothing
  here does.

What lives here: the adapter. What may not: the meaning of a frame.
"""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from holdfast.domain.frames import CHAIN_START, FRAME_LENGTH_MAXIMUM, HASH_LENGTH, chain_hash
from holdfast.log.errors import (
    ClosedError,
    CorruptLogError,
    ForeignFileError,
    MissingLogError,
    ReadOnlyError,
    StorageError,
)
from holdfast.log.protocol import check_group, check_position, check_start, stop_of_read
from holdfast.log.side_file import Mark, SideFile, error_of_system, read_mark
from holdfast.log.sqlite_errors import ADVICE_CORRUPT, WAL_SUFFIX, error_of_sqlite, primary_code

APPLICATION_ID: Final = 0x48464C47
"""\"HFLG\": tells a log from every other SQLite file."""
FILE_VERSION: Final = 1
PAGE_LENGTH: Final = 16_384
"""Bytes. A frame of 256 KiB costs 17 pages instead of 65, and a single command still one."""

TAIL_CHECKED: Final = 8
"""Frames at the end that opening verifies: where a crash or a cut shows first, at the cost of a few milliseconds."""
READ_ROWS_MAXIMUM: Final = 256
READ_LENGTH_MAXIMUM: Final = 4 * FRAME_LENGTH_MAXIMUM
"""Rows and bytes that one query fetches. No transaction stays open while a reader thinks: it would keep the write-ahead
file from being emptied."""
POLL_S: Final = 0.005
"""How often a log opened for reading looks for new frames of the engine beside it."""
BUSY_TIMEOUT_S: Final = 5.0
"""How long to wait for another program, such as a backup, that holds the file for a moment."""

_TABLE = (
    "CREATE TABLE frames (position INTEGER PRIMARY KEY, frame BLOB NOT NULL, hash BLOB NOT NULL "
    f"CHECK (length(hash) = {HASH_LENGTH}))"
)
_NEW_SUFFIX = ".new"
_POSITION_MAXIMUM = 1 << 62
"""More frames than any log has; a damaged row may say more than SQLite can be asked for."""
_VALUE_LENGTH_MAXIMUM = FRAME_LENGTH_MAXIMUM + 4_096
"""Bytes of a value that SQLite may return: a damaged length must not ask for gigabytes."""


class SqliteLog:
    """A `GroupLog` in an SQLite file.

    Opening checks whose file it is, the settings, the first position, the last frames with their hashes, and that the
    log reaches its mark. `verify` checks everything.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        writable: bool = True,
        create: bool = True,
        check_tail: bool = True,
        forced: bool = True,
    ) -> None:
        """Open a log, or make one.

        Args:
            path: The file. Beside it lie `-wal` and `-shm` while it is open, and `.lock`. Not on a network file system.
            writable: Whether to append; then no other engine may. False reads only, beside an engine or without one.
            create: Whether to make the log if there is none. A log opened for reading is never made.
            check_tail: False leaves out the check of the last frames and of the mark, to rescue what a damaged log
                still has; only for reading.
            forced: Whether every append is forced to the storage. False is for a copy of a log that others keep too:
                what was appended outlives this process, and the machine only as far as `force` was called since.

        Raises:
            LogError: See the tree in `holdfast.log.errors`.
        """
        self._path = Path(path).absolute()
        self._name = str(self._path)
        self._writable, self._forced = writable, forced
        self._closed = False
        self._failure: StorageError | CorruptLogError | None = None
        self._tail_known = False
        self._end, self._head = 0, CHAIN_START
        self._appending, self._reading = threading.RLock(), threading.RLock()
        self._changed = threading.Condition()
        with contextlib.ExitStack() as undo:
            self._side = SideFile(self._path) if writable else None
            if self._side:
                undo.callback(self._side.close)
            # The mark is read before the log: a commit between the two makes the log longer than its mark, not shorter.
            mark = read_mark(self._path)
            self._find_file(mark, create=create and writable)
            with self._translated():
                self._reader = self._connect("ro")
                undo.callback(self._reader.close)
                self._check_identity(mark)
                self._inode = self._inode_at_path()
                self._writer = self._connect("rw") if writable else None
                if self._writer:
                    undo.callback(self._writer.close)
                    # Closed before the writer, which as the last one empties the write-ahead file.
                    undo.callback(self._reader.close)
                    self._check_settings(self._writer)
                if check_tail or writable:
                    self._check_tail(mark)
            if forced:
                self._mark()
            self._resources = undo.pop_all()

    def append(self, frame: bytes) -> int:
        """See `Log`."""
        return self.append_group((frame,))[0]

    def append_group(self, frames: Sequence[bytes]) -> range:
        """See `GroupLog`."""
        check_group(frames)
        with self._appending:
            writer = self._writer_or_error()
            if not self._tail_known:
                self._load_tail()
            start, head = self._end, self._head
            rows = [(position, frame, head := chain_hash(head, frame)) for position, frame in enumerate(frames, start)]
            if rows:
                self._commit(writer, rows)
                self._end, self._head = start + len(rows), head
                self._tail_known = True
                if self._forced:
                    self._mark()
        with self._changed:
            self._changed.notify_all()
        return range(start, start + len(rows))

    def read(self, start: int, limit: int | None = None) -> Iterator[tuple[int, bytes]]:
        """See `Log`."""
        end = self.end
        check_start(start, end)
        return self._verified(start, stop_of_read(start, limit, end))

    def follow(self, start: int, timeout_s: float | None = None) -> Iterator[tuple[int, bytes]]:
        """See `Log`."""
        check_start(start, self.end)
        return self._follow(start, timeout_s)

    @property
    def end(self) -> int:
        """See `Log`."""
        if self._tail_known and self._writable and not self._closed:
            return self._end
        return self._stored_tail()[0]

    def hash_at(self, position: int) -> bytes:
        """See `Log`."""
        check_position(position, self.end)
        return self._hash_before(position + 1)

    @property
    def head_hash(self) -> bytes:
        """See `Log`."""
        with self._appending:
            if self._tail_known and self._writable and not self._closed:
                return self._head
        return self._stored_tail()[1]

    def force(self) -> None:
        """Force everything appended so far to the storage, beside appends of another thread.

        Raises:
            LogError: The system failed; the log takes no more.
        """
        with self._appending:
            self._writer_or_error()
            end, head = self._end, self._head
        try:
            # The write-ahead file alone: SQLite's locks are on the others. Without one SQLite has forced all of it.
            with contextlib.suppress(FileNotFoundError), self._beside(WAL_SUFFIX).open("rb") as written:
                os.fdatasync(written.fileno())
        except OSError as error:
            failure = error_of_system(error, self._path)
            self._failure = StorageError(self._name, failure.problem, failure.advice)
            raise failure from error
        if self._side:
            self._side.write_mark(end, head)

    def close(self) -> None:
        """See `Log`. The last to close empties the write-ahead file into the log."""
        with self._appending, self._reading:
            if not self._closed:
                self._closed = True
                self._resources.close()
        with self._changed:
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def verify(self) -> int:
        """Check every frame against the chain, then every page with SQLite's own check, and return the end.

        Takes the time to read and hash the whole log. An engine may append meanwhile.

        Raises:
            CorruptLogError: Something is damaged; `position` is the first that cannot be trusted, where it is a frame.
        """
        end = self.end
        for _ in self._verified(0, end):
            pass
        with self._translated(), contextlib.closing(self._connect("ro")) as own:
            findings = [str(row[0]) for row in own.execute("PRAGMA integrity_check(5)")]
        if findings != ["ok"]:
            raise self._corrupt(f"SQLite finds: {'; '.join(findings)}")
        return end

    def _find_file(self, mark: Mark | None, *, create: bool) -> None:
        """Make sure that there is a file which SQLite will not take for a new one."""
        try:
            length = self._path.stat().st_size
        except FileNotFoundError:
            self._make_if_new(mark, create=create)
        except OSError as error:
            raise error_of_system(error, self._path) from error
        else:
            if self._path.is_dir():
                raise ForeignFileError(self._name, "is a folder", "give the path of a file")
            if length == 0:
                raise self._corrupt("has 0 bytes, which no log has", 0)

    def _make_if_new(self, mark: Mark | None, *, create: bool) -> None:
        if mark and mark.end:
            raise self._corrupt(f"is gone, though {mark.end} frames were acknowledged", 0)
        if self._beside(WAL_SUFFIX).exists():
            raise self._corrupt("is gone, but its write-ahead file is there", 0)
        if not create:
            raise MissingLogError(self._name, "there is no log", "mend the path, or open it for writing to make one")
        try:
            self._make()
        except OSError as error:
            raise error_of_system(error, self._path) from error

    def _make(self) -> None:
        """Write a complete empty log under another name, force it to the storage, then give it its name."""
        new = self._beside(_NEW_SUFFIX)
        for leftover in (new, *(new.with_name(new.name + suffix) for suffix in ("-journal", "-wal", "-shm"))):
            leftover.unlink(missing_ok=True)
        with self._translated(), contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA page_size={PAGE_LENGTH}")
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={FILE_VERSION}")
            connection.execute(_TABLE)
            connection.execute("PRAGMA journal_mode=WAL")
        for opened, rename in ((new, True), (new.parent, False)):
            descriptor = os.open(opened, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if rename:
                new.rename(self._path)

    def _connect(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_TIMEOUT_S,
        )
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _VALUE_LENGTH_MAXIMUM)
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        return connection

    def _check_identity(self, mark: Mark | None) -> None:
        """Refuse a file that is not a log of ours, before anything could change it."""
        try:
            application = self._reader.execute("PRAGMA application_id").fetchone()[0]
            version = self._reader.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.DatabaseError as error:
            if mark and mark.end and primary_code(error) == sqlite3.SQLITE_NOTADB:
                raise self._corrupt(f"has a damaged first page ({error})", 0) from error
            raise
        if application != APPLICATION_ID and mark and mark.end:
            raise self._corrupt("has a damaged first page, or was replaced by something else", 0)
        if application != APPLICATION_ID:
            advice = "choose another file; this one was not changed"
            raise ForeignFileError(self._name, f"is an SQLite file of something else (id {application})", advice)
        if version != FILE_VERSION:
            advice = "use the version of Holdfast that wrote it, or a newer one"
            raise ForeignFileError(self._name, f"has version {version}; this program reads {FILE_VERSION}", advice)

    def _check_settings(self, writer: sqlite3.Connection) -> None:
        """Set what durability rests on, and refuse to work unless it is so; then see whether writing is allowed."""
        # A file without write permission is opened for reading by SQLite without a word.
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("ROLLBACK")
        journal = writer.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        setting, wanted = ("FULL", 2) if self._forced else ("NORMAL", 1)
        writer.execute(f"PRAGMA synchronous={setting}")
        synchronous = writer.execute("PRAGMA synchronous").fetchone()[0]
        if (journal, synchronous) != ("wal", wanted):
            problem = f"SQLite runs with journal_mode={journal}, synchronous={synchronous}, instead of wal, {wanted}"
            raise StorageError(self._name, problem, "put the log on a local disk")

    def _check_tail(self, mark: Mark | None) -> None:
        self._load_tail()
        end = self._end
        if mark and mark.end > end:
            problem = (
                f"ends at {end}, though {mark.end} frames were acknowledged: it was cut, or put back from an old copy"
            )
            raise self._corrupt(problem, end)
        if mark and mark.end and self._hash_before(mark.end) != mark.head_hash:
            raise self._corrupt(f"is not the log whose first {mark.end} frames were acknowledged here")
        if end and self._rows("SELECT min(position) FROM frames")[0][0] != 0:
            raise self._corrupt("does not begin at position 0", 0)
        for _ in self._verified(max(0, end - TAIL_CHECKED), end):
            pass

    def _writer_or_error(self) -> sqlite3.Connection:
        self._check_open()
        if self._writer is None:
            raise ReadOnlyError(self._name, "was opened for reading", "open it for writing")
        if self._failure:
            raise StorageError(self._name, f"an append failed before ({self._failure.problem})", self._failure.advice)
        return self._writer

    def _commit(self, writer: sqlite3.Connection, rows: Sequence[tuple[int, bytes, bytes]]) -> None:
        """Write rows in one transaction; after an error none is there and the transaction is over."""
        # From here until the caller has noted the new tail, an interruption leaves it unknown.
        self._tail_known = False
        try:
            with self._translated(sum(len(row[1]) for row in rows), rows[0][0]):
                self._check_in_place()
                writer.execute("BEGIN IMMEDIATE")
                writer.executemany("INSERT INTO frames VALUES (?, ?, ?)", rows)
                writer.execute("COMMIT")
        except (StorageError, CorruptLogError) as error:
            self._failure = error
            raise
        finally:
            if writer.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    writer.execute("ROLLBACK")

    def _check_in_place(self) -> None:
        """Refuse to append to a file that is no longer at its path: SQLite would go on, and nobody would find it."""
        if self._inode_at_path() != self._inode:
            raise self._corrupt("was moved or deleted while it was open")

    def _inode_at_path(self) -> tuple[int, int] | None:
        try:
            there = self._path.stat()
        except OSError:
            return None
        return there.st_dev, there.st_ino

    def _mark(self) -> None:
        """Note beside the log how far it was committed. After COMMIT, before the acknowledgement."""
        if self._side:
            self._side.write_mark(self._end, self._head)

    def _verified(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """The frames of positions start ≤ p < stop, each checked against its position and the chain."""
        position, head = start, self._hash_before(start)
        while position < stop:
            fetched = self._fetch(position, stop)
            if not fetched:
                raise self._corrupt(f"has no frame at position {position}, before its end {stop}", position)
            for stored_position, frame, stored_hash in fetched:
                if stored_position != position:
                    raise self._corrupt(f"has no frame at position {position}", position)
                if not isinstance(frame, bytes) or stored_hash != (head := chain_hash(head, frame)):
                    raise self._corrupt(f"the frame at position {position} is not the one that was written", position)
                yield position, frame
                position += 1

    def _fetch(self, start: int, stop: int) -> list[tuple[object, object, object]]:
        """The next rows, as many as one query may fetch; at least one if there is one."""
        rows: list[tuple[object, object, object]] = []
        length = 0
        query = (
            "SELECT position, frame, hash FROM frames WHERE position >= ? AND position < ? ORDER BY position LIMIT ?"
        )
        with self._reading, self._translated(position=start):
            self._check_open()
            with contextlib.closing(self._reader.execute(query, (start, stop, READ_ROWS_MAXIMUM))) as cursor:
                for row in cursor:
                    rows.append(row)
                    length += len(row[1]) if isinstance(row[1], bytes) else 0
                    if length >= READ_LENGTH_MAXIMUM:
                        break
        return rows

    def _follow(self, position: int, timeout_s: float | None) -> Iterator[tuple[int, bytes]]:
        while True:
            stop = self._wait_beyond(position, timeout_s)
            if stop is None:
                return
            for found, frame in self._verified(position, stop):
                yield found, frame
                position = found + 1
                if self._closed:
                    return

    def _wait_beyond(self, position: int, timeout_s: float | None) -> int | None:
        """The end once it is beyond `position`; None after the timeout or the closing."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._closed:
            with self._changed:
                try:
                    end = self.end
                except ClosedError:
                    return None
                if end > position:
                    return end
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._changed.wait(_shorter(left, None if self._writable else POLL_S))
        return None

    def _load_tail(self) -> None:
        self._end, self._head = self._stored_tail()
        self._tail_known = True

    def _stored_tail(self) -> tuple[int, bytes]:
        """The end and the chain hash there, as the file has them."""
        rows = self._rows("SELECT position, hash FROM frames ORDER BY position DESC LIMIT 1")
        if not rows:
            return 0, CHAIN_START
        position, head = rows[0]
        if not isinstance(position, int) or not 0 <= position < _POSITION_MAXIMUM or not isinstance(head, bytes):
            raise self._corrupt(f"its last row has position {position!r} and hash {head!r}")
        return position + 1, head

    def _hash_before(self, position: int) -> bytes:
        """The stored H of the frames before `position`."""
        if position == 0:
            return CHAIN_START
        rows = self._rows("SELECT hash FROM frames WHERE position = ?", position - 1)
        head = rows[0][0] if rows else None
        if not isinstance(head, bytes) or len(head) != HASH_LENGTH:
            raise self._corrupt(f"has no frame with a hash at position {position - 1}", position - 1)
        return head

    def _rows(self, query: str, *arguments: int) -> list[tuple[object, ...]]:
        with self._reading, self._translated():
            self._check_open()
            return self._reader.execute(query, arguments).fetchall()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(self._name, "was closed", "open it again")

    def _beside(self, suffix: str) -> Path:
        return self._path.with_name(self._path.name + suffix)

    def _corrupt(self, problem: str, position: int | None = None) -> CorruptLogError:
        return CorruptLogError(self._name, problem, ADVICE_CORRUPT, position)

    @contextlib.contextmanager
    def _translated(self, length: int = 0, position: int | None = None) -> Iterator[None]:
        """Turn SQLite's errors into those of a log.

        Args:
            length: Bytes that were to be written, to tell a full disk from a broken one.
            position: What was read or written, if it was a frame.
        """
        try:
            yield
        except sqlite3.Error as error:
            raise error_of_sqlite(error, self._path, length, position) from error


def _shorter(first: float | None, second: float | None) -> float | None:
    return min((value for value in (first, second) if value is not None), default=None)
