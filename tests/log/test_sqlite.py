"""The embedded log: the suite of all logs, and what only a file can be: reopened, locked, shared, foreign or gone."""

import contextlib
import errno
import os
import sqlite3
import subprocess
import sys

import pytest
from conformance import GroupConformance, chain
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.log import errors, side_file
from holdfast.log.protocol import GroupLog
from holdfast.log.side_file import read_mark
from holdfast.log.sqlite import SqliteLog
from holdfast.log.sqlite_errors import error_of_sqlite


class TestSqliteLog(GroupConformance):
    @pytest.fixture
    def log(self, tmp_path):
        with SqliteLog(tmp_path / "log") as log:
            yield log


class TestSqliteLogReopened(GroupConformance):
    """The same promises by a log that was made before."""

    @pytest.fixture
    def log(self, tmp_path):
        SqliteLog(tmp_path / "log").close()
        with SqliteLog(tmp_path / "log", create=False) as log:
            yield log


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a log #1.holdfast"


def written(path, *frames):
    with SqliteLog(path) as log:
        for frame in frames:
            log.append(frame)
    return path


def sqlite(path, *statements):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return [connection.execute(statement).fetchall() for statement in statements]


@pytest.mark.criterion("LOG-1", "LOG-5", "LOG-9")
@given(st.lists(st.lists(st.binary(min_size=1, max_size=40_000), max_size=4), max_size=4))
@settings(max_examples=15)
def test_any_groups_and_reopening(tmp_path_factory, groups):
    path = tmp_path_factory.mktemp("groups") / "log"
    frames = []
    for group in groups:
        log: GroupLog = SqliteLog(path)
        with log:
            assert log.append_group(group) == range(len(frames), len(frames) + len(group))
        frames += group
    with SqliteLog(path) as log:
        assert list(log.read(0)) == list(enumerate(frames))
        assert [log.hash_at(position) for position in range(log.end)] == chain(frames)
        assert log.verify() == len(frames)


@pytest.mark.criterion("LOG-8")
def test_settings_that_durability_rests_on(path):
    with SqliteLog(path) as log:
        assert log._writer.execute("PRAGMA synchronous").fetchone() == (2,)
        assert log._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert path.with_name(path.name + "-wal").exists()
    # Closed in order, everything is in the one file.
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, path.name + ".lock"]
    assert sqlite(path, "PRAGMA journal_mode", "PRAGMA application_id", "PRAGMA user_version") == [
        [("wal",)],
        [(0x48464C47,)],
        [(1,)],
    ]


@pytest.mark.criterion("LOG-8")
def test_a_setting_that_does_not_hold_is_refused(path, monkeypatch):
    class Weaker(sqlite3.Connection):
        def execute(self, sql, *arguments):
            return super().execute(sql.replace("synchronous=FULL", "synchronous=NORMAL"), *arguments)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **k, factory=Weaker))
    with pytest.raises(errors.StorageError, match="synchronous=1"):
        SqliteLog(path)


@pytest.mark.criterion("LOG-29")
def test_a_copy_is_forced_when_asked_and_marked_only_then(tmp_path, monkeypatch):
    forced, path = [], tmp_path / "copy.db"
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (forced.append(os.fstat(file).st_size), real(file)))
    with SqliteLog(path, forced=False) as log:
        assert log._writer.execute("PRAGMA synchronous").fetchone() == (1,)
        log.append_group([b"a", b"bc"])
        assert (forced, read_mark(path)) == ([], None)
        log.force()
        assert forced[0] > 0
        assert read_mark(path)[1:] == (2, log.head_hash)
        log.append(b"def")
        assert read_mark(path).end == 2
    with SqliteLog(path, forced=False) as log:
        assert (log.end, read_mark(path).end) == (3, 2)
        log.force()
        assert read_mark(path).end == 3


@pytest.mark.criterion("LOG-29")
def test_a_copy_that_cannot_be_forced_takes_no_more(tmp_path, monkeypatch):
    def fail(_file):
        raise OSError(errno.EIO, "Input/output error")

    with SqliteLog(tmp_path / "copy.db", forced=False) as log:
        log.append(b"a")
        monkeypatch.setattr(os, "fdatasync", fail)
        with pytest.raises(errors.StorageError, match="Input/output error"):
            log.force()
        with pytest.raises(errors.StorageError, match="an append failed before"):
            log.append(b"b")


@pytest.mark.criterion("LOG-9")
def test_rows_are_what_the_page_says(path):
    written(path, b"a", b"bc")
    assert sqlite(path, "SELECT position, frame, hash FROM frames") == [
        [
            (position, frame, digest)
            for (position, frame), digest in zip(enumerate([b"a", b"bc"]), chain([b"a", b"bc"]), strict=True)
        ]
    ]


@pytest.mark.criterion("LOG-10")
def test_second_engine_is_kept_out_and_told_who(path):
    with SqliteLog(path) as log:
        log.append(b"a")
        with pytest.raises(errors.LockedError, match=f"process {os.getpid()} writes"):
            SqliteLog(path)
        code = "import sys; from holdfast.log.sqlite import SqliteLog; SqliteLog(sys.argv[1])"
        other = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
        assert "LockedError" in other.stderr
        assert f"process {os.getpid()} writes" in other.stderr
        assert log.append(b"b") == 1
    assert written(path, b"c")


@pytest.mark.criterion("LOG-10")
def test_another_program_in_a_transaction(path, monkeypatch):
    monkeypatch.setattr("holdfast.log.sqlite.BUSY_TIMEOUT_S", 0.05)
    with SqliteLog(path) as log, contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(errors.LockedError, match="another program"):
            log.append(b"a")
        other.execute("ROLLBACK")
        assert log.append(b"a") == 0


@pytest.mark.criterion("LOG-10")
def test_something_that_appends_without_the_lock_stops_the_log(path):
    with SqliteLog(path) as log:
        log.append(b"a")
        digest = chain([b"a", b"x"])[1].hex()
        sqlite(path, f"INSERT INTO frames VALUES (1, x'78', x'{digest}')")
        with pytest.raises(errors.CorruptLogError, match="without its lock") as caught:
            log.append(b"b")
        assert caught.value.position == 1
        with pytest.raises(errors.StorageError, match="failed before"):
            log.append(b"b")
        assert list(log.read(0, 1)) == [(0, b"a")]
    with SqliteLog(path) as log:
        assert log.append(b"b") == 2


@pytest.mark.criterion("LOG-11")
def test_readers_beside_an_engine(path):
    with SqliteLog(path) as log:
        log.append(b"a")
        with SqliteLog(path, writable=False) as reader:
            log.append(b"b")
            assert reader.end == 2
            assert reader.head_hash == log.head_hash
            following = reader.follow(0, timeout_s=10)
            assert [next(following), next(following)] == [(0, b"a"), (1, b"b")]
            log.append(b"c")
            assert next(following) == (2, b"c")
            with pytest.raises(errors.ReadOnlyError, match="opened for reading"):
                reader.append(b"d")
        assert log.append(b"d") == 3


@pytest.mark.criterion("LOG-11")
def test_reader_without_an_engine(path):
    written(path, b"a")
    with SqliteLog(path, writable=False) as reader:
        assert list(reader.read(0)) == [(0, b"a")]
        assert reader.verify() == 1
        with SqliteLog(path) as log:
            log.append(b"b")
            assert reader.end == 2


@pytest.mark.criterion("LOG-12")
def test_no_log_where_none_is_to_be_made(path):
    for options in ({"create": False}, {"writable": False}):
        with pytest.raises(errors.MissingLogError, match="no log"):
            SqliteLog(path, **options)
    with pytest.raises(errors.MissingLogError, match="folder"):
        SqliteLog(path / "log")
    assert not path.exists()


@pytest.mark.criterion("LOG-12")
@pytest.mark.parametrize(
    "content", [b"a text of somebody", b"\x00" * 100_000, b"SQLite format 3\x00", bytes(range(256)) * 20]
)
def test_a_file_of_something_else(path, content):
    path.write_bytes(content)
    with pytest.raises(errors.ForeignFileError):
        SqliteLog(path)
    assert path.read_bytes() == content


@pytest.mark.criterion("LOG-12")
def test_other_databases_and_versions(path):
    sqlite(path, "CREATE TABLE frames (position INTEGER PRIMARY KEY)")
    before = path.read_bytes()
    with pytest.raises(errors.ForeignFileError, match="something else"):
        SqliteLog(path)
    assert path.read_bytes() == before
    sqlite(path, f"PRAGMA application_id={0x48464C47}", "PRAGMA user_version=2")
    with pytest.raises(errors.ForeignFileError, match="version 2"):
        SqliteLog(path)
    with pytest.raises(errors.ForeignFileError, match="folder"):
        SqliteLog(path.parent)


@pytest.mark.criterion("LOG-13")
@pytest.mark.parametrize("what", ["cut to nothing", "deleted", "deleted beside its write-ahead file", "older copy"])
def test_a_log_that_lost_what_it_acknowledged(path, what):
    written(path, b"a")
    old = path.read_bytes()
    written(path, b"b")
    if what == "cut to nothing":
        path.write_bytes(b"")
    elif what == "older copy":
        path.write_bytes(old)
    else:
        path.unlink()
    if what == "deleted beside its write-ahead file":
        side_file.side_path(path).unlink()
        path.with_name(path.name + "-wal").write_bytes(b"something")
    before = {file.name for file in path.parent.iterdir()}
    for _ in range(2):
        with pytest.raises(errors.CorruptLogError) as caught:
            SqliteLog(path)
        assert caught.value.position == (1 if what == "older copy" else 0)
    assert {file.name for file in path.parent.iterdir()} == before | {path.name + ".lock"}


@pytest.mark.criterion("LOG-13")
def test_the_first_frames_of_another_log(path, tmp_path):
    written(path, b"a", b"b")
    path.write_bytes(written(tmp_path / "other", b"a", b"c").read_bytes())
    with pytest.raises(errors.CorruptLogError, match="not the log"):
        SqliteLog(path)


@pytest.mark.criterion("LOG-13")
@pytest.mark.parametrize("line", [b"", b"holdfast-log 1 pid", b"\xff" * 125, b"holdfast-log 2" + b" " * 111])
def test_an_unreadable_mark_says_nothing(path, line):
    written(path, b"a")
    side_file.side_path(path).write_bytes(line)
    with SqliteLog(path) as log:
        assert log.append(b"b") == 1
    assert side_file.read_mark(path).end == 2


@pytest.mark.criterion("LOG-12")
def test_remains_of_an_interrupted_making(path):
    for suffix in (".new", ".new-journal", ".new-wal"):
        path.with_name(path.name + suffix).write_bytes(b"half")
    written(path, b"a")
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, path.name + ".lock"]


@pytest.mark.criterion("LOG-2")
def test_interruption_after_the_commit(path, monkeypatch):
    with SqliteLog(path) as log:
        log.append(b"a")

        def interrupted(self, writer, rows, commit=SqliteLog._commit):
            commit(self, writer, rows)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(SqliteLog, "_commit", interrupted)
            with pytest.raises(KeyboardInterrupt):
                log.append(b"b")
        assert log.end == 2
        assert log.head_hash == chain([b"a", b"b"])[-1]
        assert log.append(b"c") == 2
        assert log.verify() == 3


@pytest.mark.criterion("LOG-14", "LOG-16")
@pytest.mark.parametrize(
    ("code", "length", "kind"),
    [
        (sqlite3.SQLITE_FULL, 10, errors.FullError),
        (sqlite3.SQLITE_IOERR_FSYNC, 10, errors.StorageError),
        (sqlite3.SQLITE_IOERR_WRITE, 1 << 60, errors.FullError),
        (sqlite3.SQLITE_IOERR_WRITE, 10, errors.StorageError),
        (sqlite3.SQLITE_IOERR_SHMSIZE, 1 << 60, errors.StorageError),
        (sqlite3.SQLITE_IOERR_SHORT_READ, 0, errors.CorruptLogError),
        (sqlite3.SQLITE_IOERR_READ, 0, errors.StorageError),
        (sqlite3.SQLITE_BUSY, 0, errors.LockedError),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, 0, errors.LockedError),
        (sqlite3.SQLITE_PERM, 0, errors.ReadOnlyError),
        (sqlite3.SQLITE_CANTOPEN, 0, errors.StorageError),
        (sqlite3.SQLITE_CORRUPT, 0, errors.CorruptLogError),
        (sqlite3.SQLITE_TOOBIG, 0, errors.CorruptLogError),
        (sqlite3.SQLITE_NOTADB, 0, errors.ForeignFileError),
        (None, 0, errors.CorruptLogError),
    ],
)
def test_meaning_of_errors_of_sqlite(path, code, length, kind):
    path.touch()
    error = sqlite3.OperationalError("what SQLite says")
    if code is not None:
        error.sqlite_errorcode = code
    meant = error_of_sqlite(error, path, length)
    assert type(meant) is kind
    assert "what SQLite says" in str(meant)


@pytest.mark.criterion("LOG-14")
def test_exit_codes():
    codes = {
        errors.LogError: 10,
        errors.LockedError: 11,
        errors.ReadOnlyError: 12,
        errors.FullError: 13,
        errors.CorruptLogError: 14,
        errors.ForeignFileError: 15,
        errors.MissingLogError: 16,
        errors.StorageError: 17,
        errors.ClosedError: 18,
        errors.AmnesiaError: 50,
        errors.RecreatedError: 51,
        errors.ForkedError: 52,
        errors.GapError: 53,
        errors.UnavailableError: 54,
        errors.AccessError: 55,
        errors.ForeignStreamError: 56,
    }
    assert {kind: kind.exit_code for kind in codes} == codes
    assert set(errors.LogError.__subclasses__()) == set(codes) - {errors.LogError}
    assert str(errors.FullError("/data/log", "no room", "free some")) == "/data/log: no room; free some"
