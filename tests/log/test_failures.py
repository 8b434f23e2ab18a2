"""The embedded log under real failures: killed processes, full and read-only disks, damaged and cut files."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from engine import KILL_POINTS, frame_of

from holdfast.log import errors
from holdfast.log.side_file import side_path
from holdfast.log.sqlite import SqliteLog

ENGINE = Path(__file__).with_name("engine.py")
KILLS = 100
PAGE = 16_384


def engine(*arguments):
    """Start the child process."""
    return subprocess.Popen(
        [sys.executable, str(ENGINE), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(*arguments):
    """Run the child process to its end: exit code, output, errors."""
    with engine(*arguments) as process:
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def expected(end):
    return [frame_of(position) for position in range(end)]


def frames_of(log, start=0):
    return [frame for _, frame in log.read(start)]


def wal_path(path):
    return path.with_name(path.name + "-wal")


def kill_engine(path, journal, seed, chance):
    """Run an engine and kill it: at a point inside append_group, or at a random moment."""
    kill_point = KILL_POINTS[seed % 10] if seed % 10 < len(KILL_POINTS) else "random"
    with engine("forever", path, journal, seed, kill_point) as process:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        if kill_point == "random":
            time.sleep(chance.uniform(0, 0.08))
            process.kill()
        assert process.wait(timeout=60) == -signal.SIGKILL, process.stderr.read()


@pytest.mark.criterion("LOG-15")
def test_killed_a_hundred_times(tmp_path):
    path, journal = tmp_path / "log", tmp_path / "journal"
    chance = random.Random(20_200_312)
    checked = 0
    for seed in range(KILLS):
        kill_engine(path, journal, seed, chance)
        # Every other time the next engine is the first to see what was left.
        if seed % 2:
            continue
        acknowledged = [int(line) for line in journal.read_text().split()] if journal.exists() else []
        with SqliteLog(path) as log:
            assert acknowledged == sorted(set(acknowledged)), "a position was acknowledged twice"
            assert log.end >= (acknowledged[-1] + 1 if acknowledged else 0)
            assert frames_of(log, checked) == [frame_of(position) for position in range(checked, log.end)]
            checked = log.end
    with SqliteLog(path) as log:
        assert log.verify() == log.end
        assert frames_of(log) == expected(log.end)
        assert {int(line) for line in journal.read_text().split()} <= set(range(log.end))
    assert checked > KILLS, "the engines hardly ran"


@pytest.fixture
def rolled_back(tmp_path):
    """A log whose engine died in an open transaction, and its files as they were at the last acknowledgement."""
    path, backup = tmp_path / "log", tmp_path / "backup"
    backup.mkdir()
    with engine("uncommitted", path) as process:
        end = int(process.stdout.readline())
        synced = [path, wal_path(path), side_path(path)]
        for file in synced:
            shutil.copy(file, backup)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "open\n"
        assert process.wait(timeout=60) == -signal.SIGKILL
    assert wal_path(path).stat().st_size > (backup / "log-wal").stat().st_size, "nothing was written after the sync"
    return path, backup, end


@pytest.mark.criterion("LOG-13")
def test_a_log_cut_to_nothing_keeps_its_write_ahead_file(rolled_back):
    path, _, _ = rolled_back
    before = wal_path(path).read_bytes()
    path.write_bytes(b"")
    side_path(path).unlink()
    with pytest.raises(errors.CorruptLogError, match="0 bytes"):
        SqliteLog(path)
    assert wal_path(path).read_bytes() == before


def put_back(backup, path):
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    for file in backup.iterdir():
        shutil.copy(file, path.with_name(file.name))


@pytest.mark.criterion("LOG-15")
def test_files_rolled_back_to_the_last_sync(rolled_back):
    path, backup, end = rolled_back
    put_back(backup, path)
    with SqliteLog(path) as log:
        assert frames_of(log) == expected(end)
        assert log.verify() == end
        assert log.append(frame_of(end)) == end


@pytest.mark.criterion("LOG-15")
def test_any_part_of_what_was_not_synced(rolled_back):
    path, backup, end = rolled_back
    written, synced = wal_path(path).read_bytes(), (backup / "log-wal").stat().st_size
    chance = random.Random(7)
    lengths = [synced, synced + 1, synced + 24, synced + 24 + PAGE, len(written)]
    for length in [*lengths, *(chance.randint(synced, len(written)) for _ in range(15))]:
        put_back(backup, path)
        # The storage may have kept blocks in any order: a hole where one was lost.
        hole = chance.randint(synced, length)
        kept = written[:hole] + bytes(min(512, length - hole)) + written[min(hole + 512, length) : length]
        wal_path(path).write_bytes(kept)
        with SqliteLog(path) as log:
            assert log.verify() == end
            assert frames_of(log) == expected(end)


@pytest.mark.criterion("LOG-13")
def test_a_cut_or_damaged_write_ahead_file(rolled_back):
    path, backup, end = rolled_back
    whole = (backup / "log-wal").read_bytes()
    chance = random.Random(8)
    noticed = 0
    for case in range(30):
        put_back(backup, path)
        if case % 2:
            wal_path(path).write_bytes(whole[: chance.randint(0, len(whole) - 1)])
        else:
            at = chance.randrange(len(whole))
            wal_path(path).write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(errors.CorruptLogError, match="frames were acknowledged"):
            SqliteLog(path)
        noticed += 1
        # Without the mark it is an older log, whole as far as it goes.
        side_path(path).unlink()
        with SqliteLog(path) as log:
            assert log.verify() < end
            assert frames_of(log) == expected(log.end)
    assert noticed == 30


@pytest.fixture
def closed_log(tmp_path):
    """A log of frames short and long, closed in order."""
    path = tmp_path / "log"
    with SqliteLog(path) as log:
        log.append_group(expected(60))
    return path


@pytest.mark.criterion("LOG-9", "LOG-13")
def test_flipped_bytes(closed_log):
    whole = closed_log.read_bytes()
    chance = random.Random(9)
    places = [*range(0, 130, 3), *(chance.randrange(len(whole)) for _ in range(150))]
    detected = 0
    for at in places:
        damaged = whole[:at] + bytes([whole[at] ^ (1 << chance.randrange(8))]) + whole[at + 1 :]
        closed_log.write_bytes(damaged)
        for options in ({"writable": True}, {"writable": False, "check_tail": False}):
            found = []
            try:
                with SqliteLog(closed_log, **options) as log:
                    for _, frame in log.read(0):
                        found.append(frame)
                    log.verify()
            except (errors.CorruptLogError, errors.ForeignFileError):
                detected += 1
                assert found == expected(len(found)), f"a wrong frame was read after byte {at} was flipped"
            else:
                assert found == expected(60), f"byte {at}"
            wal_path(closed_log).unlink(missing_ok=True)
            closed_log.with_name("log-shm").unlink(missing_ok=True)
            closed_log.write_bytes(damaged)
    assert detected > len(places), "hardly any damage was noticed"


@pytest.mark.criterion("LOG-13")
def test_moved_while_open(closed_log):
    with SqliteLog(closed_log) as log:
        log.append(frame_of(60))
        closed_log.rename(closed_log.with_name("moved"))
        with pytest.raises(errors.CorruptLogError, match="moved or deleted"):
            log.append(frame_of(61))
        closed_log.with_name("moved").rename(closed_log)
        with pytest.raises(errors.StorageError, match="failed before"):
            log.append(frame_of(61))
    with SqliteLog(closed_log) as log:
        assert log.append(frame_of(61)) == 61


@pytest.mark.criterion("LOG-9")
def test_every_byte_of_a_frame_counts(tmp_path):
    path = tmp_path / "log"
    frames = [b"first frame, " * 10, b"second frame, " * 5000, b"third frame, " * 10]
    with SqliteLog(path) as log:
        log.append_group(frames * 5)
    whole = path.read_bytes()
    for text, position in ((b"first", 0), (b"second", 1), (b"third", 2)):
        for number, at in enumerate(i for i in range(len(whole)) if whole.startswith(text, i)):
            if number % 700 == 0:
                path.write_bytes(whole[:at] + b"X" + whole[at + 1 :])
                with SqliteLog(path, writable=False, check_tail=False) as log:
                    with pytest.raises(errors.CorruptLogError, match="not the one that was written") as caught:
                        log.verify()
                    assert caught.value.position % 3 == position
                    assert len(list(log.read(0, caught.value.position))) == caught.value.position


def damage_found(path, **options):
    """The kind of error by which a log of 60 frames refuses to be opened or verified; None if it is whole."""
    try:
        with SqliteLog(path, **options) as log:
            log.verify()
            found = frames_of(log)
    except (errors.CorruptLogError, errors.ForeignFileError) as error:
        return type(error)
    assert found == expected(60)
    return None


@pytest.mark.criterion("LOG-13")
@pytest.mark.parametrize("marked", [True, False])
def test_cut_files(closed_log, marked):
    whole = closed_log.read_bytes()
    if not marked:
        side_path(closed_log).unlink()
    lengths = {0, 1, 15, 16, 50, 99, 100, 511, 512, 513, 4095, 4096, len(whole) - 1, len(whole) - PAGE, len(whole) // 2}
    lengths |= {PAGE * pages + extra for pages in (1, 2, 3) for extra in (-1, 0, 1)}
    for length in sorted(lengths):
        closed_log.write_bytes(whole[:length])
        for writable in (True, False):
            damage = damage_found(closed_log, writable=writable)
            # The end of the last page may be unused, and then nothing is missing.
            assert damage or length > len(whole) - PAGE
            assert damage in {None, errors.CorruptLogError} or (not marked and 0 < length < 512)
            assert closed_log.read_bytes() == whole[:length], "a damaged log was changed by opening it"
            if not marked:
                side_path(closed_log).unlink(missing_ok=True)
    closed_log.write_bytes(whole)
    with SqliteLog(closed_log) as log:
        assert log.verify() == 60


@pytest.mark.criterion("LOG-9")
@pytest.mark.parametrize(
    ("statement", "position"),
    [
        ("DELETE FROM frames WHERE position = 20", 20),
        ("DELETE FROM frames WHERE position < 3", 0),
        ("UPDATE frames SET frame = x'00' WHERE position = 7", 7),
        ("UPDATE frames SET frame = 'text' WHERE position = 7", 7),
        ("UPDATE frames SET frame = 12 WHERE position = 59", 59),
        ("UPDATE frames SET hash = zeroblob(32) WHERE position = 31", 31),
        ("UPDATE frames SET hash = 'text, 32 characters as a hash is' WHERE position = 59", None),
        ("UPDATE frames SET position = 4611686018427387904 WHERE position = 59", None),
        ("UPDATE frames SET position = -1 WHERE position = 0", 0),
        ("DROP TABLE frames", None),
    ],
)
def test_changed_rows(closed_log, statement, position):
    command = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit(); c.close()"
    subprocess.run([sys.executable, "-c", command, closed_log, statement], check=True)
    with pytest.raises(errors.CorruptLogError) as caught, SqliteLog(closed_log) as log:
        log.verify()
    assert caught.value.position == position
    assert "no frame at" in str(caught.value) or not statement.endswith("= 20")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting a small disk needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk: {mounted.stderr.decode()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.criterion("LOG-16")
def test_full_disk(small_disk):
    (small_disk / "ballast").write_bytes(bytes(1_500_000))
    code, out, err = finished("full", small_disk / "log", small_disk / "ballast")
    assert code == 0, err
    assert int(out) > 20


@pytest.mark.criterion("LOG-16")
def test_opening_on_a_full_disk(small_disk):
    ballast = small_disk / "ballast"

    def fill_up():
        with pytest.raises(OSError, match="No space"), ballast.open("ab", buffering=0) as file:  # noqa: PT012
            while True:
                file.write(bytes(1000 if small_disk.stat() else 0))

    fill_up()
    code, _, err = finished("open", small_disk / "log")
    assert (code, err.split(":")[0]) == (13, "FullError"), err
    ballast.unlink()
    assert finished("open", small_disk / "log")[0] == 0
    fill_up()
    code, _, err = finished("open", small_disk / "log")
    assert (code, err.split(":")[0]) == (13, "FullError"), err
    ballast.unlink()
    assert finished("open", small_disk / "log")[0] == 0
    with SqliteLog(small_disk / "log") as log:
        assert frames_of(log) == expected(2)


@pytest.mark.criterion("LOG-16")
def test_largest_file_a_process_may_write(tmp_path):
    code, out, err = finished("limited", tmp_path / "log")
    assert code == 0, err
    assert int(out) > 10


@pytest.fixture
def unprivileged():
    """A folder that everybody can reach, and the number of a user to whom permissions apply."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder, [65_534] if os.geteuid() == 0 else []
        folder.chmod(0o755)


@pytest.mark.criterion("LOG-16")
@pytest.mark.parametrize("exists", [False, True])
def test_read_only_folder(unprivileged, exists):
    folder, user = unprivileged
    if exists:
        with SqliteLog(folder / "log") as log:
            log.append(frame_of(0))
    folder.chmod(0o555)
    for file in folder.iterdir():
        file.chmod(0o444)
    code, _, err = finished("open", folder / "log", *user)
    assert (code, err.split(":")[0]) == (12, "ReadOnlyError"), err
    assert "write access" in err


@pytest.mark.criterion("LOG-16")
def test_read_only_file(unprivileged):
    folder, user = unprivileged
    folder.chmod(0o777)
    with SqliteLog(folder / "log") as log:
        log.append(frame_of(0))
    (folder / "log").chmod(0o444)
    side_path(folder / "log").chmod(0o666)
    code, _, err = finished("open", folder / "log", *user)
    assert (code, err.split(":")[0]) == (12, "ReadOnlyError"), err
    with SqliteLog(folder / "log", writable=False) as log:
        assert frames_of(log) == expected(1)


@pytest.mark.criterion("LOG-16")
def test_a_failed_sync_stops_the_log_until_it_is_opened_again(tmp_path, monkeypatch):
    path = tmp_path / "log"
    with SqliteLog(path) as log:
        log.append(frame_of(0))

        def failed(*_):
            raise errors.StorageError(str(path), "reading or writing failed (disk I/O error)", "check the disk")

        class FailingWriter:
            in_transaction = False
            execute = executemany = failed

        with monkeypatch.context() as patch:
            patch.setattr(log, "_writer", FailingWriter())
            with pytest.raises(errors.StorageError, match="disk I/O error"):
                log.append(frame_of(1))
        with pytest.raises(errors.StorageError, match="an append failed before"):
            log.append(frame_of(1))
        assert frames_of(log) == expected(1)
    with SqliteLog(path) as log:
        assert log.append(frame_of(1)) == 1
