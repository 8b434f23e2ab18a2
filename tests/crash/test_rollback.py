"""Power cuts and old copies: the log's files put back to what they were at an earlier sync."""

import random
import shutil
import subprocess
import sys

import numpy as np
import pytest
from life_process import LOG_NAME
from lives import SCRIPT, Market

from holdfast.domain import commands as c
from holdfast.domain.commands import decode_cold
from holdfast.domain.frames import RECORD
from holdfast.domain.outcomes import OUTCOME, command_id
from holdfast.log.errors import CorruptLogError
from holdfast.log.sqlite import SqliteLog
from holdfast.replica.embedded import EmbeddedEngine
from holdfast.replica.errors import ShortLogError
from holdfast.replica.folder import SNAPSHOTS_NAME
from holdfast.replica.gateway import FIRST_GATEWAY, Gateway

BATCHES = 12
WAL_NAME, LOCK_NAME = LOG_NAME + "-wal", LOG_NAME + ".lock"
FILES = (LOG_NAME, WAL_NAME, LOCK_NAME)


def copied(source, target):
    """Copy a log's files with a program of its own: a process that closes a database's file loses its locks on it."""
    target.mkdir(parents=True)
    there = [str(source / name) for name in FILES if (source / name).exists()]
    subprocess.run(["cp", *there, str(target)], check=True)


class CopyingLog(SqliteLog):
    """A log whose files are copied right after each commit, before anything is acknowledged or marked."""

    def __init__(self, path, copies):
        super().__init__(path)
        self._copies = copies

    def _mark(self):
        if hasattr(self, "_copies"):
            copied(self._path.parent, self._copies / f"{self._end:06}")
        super()._mark()


def submit(engine, parts):
    """Append a batch's parts as one group; the bytes of its outcomes."""
    gateway = Gateway(FIRST_GATEWAY, engine.next_frame)
    for part in parts:
        if isinstance(part, bytes):
            gateway.add(np.frombuffer(part, RECORD))
        else:
            gateway.add_cold(part[0], part[1], decode_cold(part[2]))
    return b"".join(one.outcomes.tobytes() for one in engine.submit(gateway.frames(), trusted=True))


def opening(engine, role, subject=0):
    submit(engine, [(0, 0, c.encode_cold(c.OpenSession(role, subject, 4_096)))])
    return command_id(engine.position - 1, 0)


class Told:
    """What a client was told: after each acknowledgement the position, the root, and the batch that led there.

    Attributes:
        folder: The engine's, closed, with snapshots after a third and two thirds of the batches.
        copies: Folders of copies by position.
        batches: (position, root, parts, outcomes) of each batch, in order.
    """

    def __init__(self, path):
        self.folder, self.copies = path / "venue", path / "copies"
        self.folder.mkdir()
        self.batches = []
        with EmbeddedEngine(CopyingLog(self.folder / LOG_NAME, self.copies), folder=self.folder) as engine:
            market = Market(7)
            operator = opening(engine, "operator")
            submit(engine, market.definitions(operator))
            clients = [opening(engine, "client"), opening(engine, "client")]
            market.open(operator, clients, opening(engine, "source"), opening(engine, "replica"))
            submit(engine, market.batch(trades=0, funds=10 * 10**8))
            self.first = engine.position
            for n in range(BATCHES):
                parts = market.batch(trades=300 if n % 3 else 3_000)
                outcomes = submit(engine, parts)
                self.batches.append((engine.position, engine.fold.root(), parts, outcomes))
                if n in (BATCHES // 3, 2 * BATCHES // 3):
                    engine.snapshot()
            copied(self.folder, path / "newest")
        self.newest = path / "newest"

    def copy_of(self, position):
        return self.copies / f"{position:06}"


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    return Told(tmp_path_factory.mktemp("told"))


def put_back(told, target, copy, *, mark, snapshots_up_to):
    """A folder as it is after the copy was put back: with or without the mark of then, and the snapshots of then."""
    shutil.copytree(copy, target)
    if not mark:
        (target / LOCK_NAME).unlink()
    (target / SNAPSHOTS_NAME).mkdir()
    for path in (told.folder / SNAPSHOTS_NAME).iterdir():
        if int(path.name.split(".")[0]) < snapshots_up_to:
            shutil.copy(path, target / SNAPSHOTS_NAME)
    return target


def check_goes_on(told, folder, done):
    """All that was acknowledged is there, nothing else, and what the client sends next leads where it led before."""
    with EmbeddedEngine(SqliteLog(folder / LOG_NAME), folder=folder) as engine:
        assert engine.start.passed_over == ()
        assert engine.position == (told.batches[done - 1][0] if done else told.first)
        if done:
            assert engine.fold.root() == told.batches[done - 1][1]
        for position, root, parts, outcomes in told.batches[done:]:
            assert submit(engine, parts) == outcomes
            assert (engine.position, engine.fold.root()) == (position, root)
        # Sent again: the last batch is answered as before; of earlier ones the session has forgotten what it answered.
        again = np.concatenate([np.frombuffer(submit(engine, parts), OUTCOME) for _, _, parts, _ in told.batches])
        assert again["repeated"].all()
        first = np.frombuffer(told.batches[-1][3], OUTCOME)
        for name in ("reason", "command", "made", "limit"):
            assert again[name][-len(first) :].tolist() == first[name].tolist()


@pytest.mark.criterion("LOG-15", "RPL-3", "RPL-7")
@pytest.mark.parametrize("done", range(0, BATCHES, 2))
def test_back_to_the_last_sync(told, tmp_path, done):
    """A power cut during the next batch: the files are what they were when the last one was forced to the storage."""
    position = told.batches[done - 1][0] if done else told.first
    folder = put_back(told, tmp_path / "venue", told.copy_of(position), mark=done % 4 == 0, snapshots_up_to=position)
    check_goes_on(told, folder, done)


@pytest.mark.criterion("LOG-15", "RPL-7")
@pytest.mark.parametrize("done", [2, 5, 10])
def test_back_to_the_last_sync_and_a_part_of_the_next_write(told, tmp_path, done):
    chance = random.Random(done)
    position, later = (told.batches[n][0] for n in (done - 1, done))
    synced, written = ((told.copy_of(p) / WAL_NAME).read_bytes() for p in (position, later))
    assert written.startswith(synced), "the write-ahead file was begun anew between the two"
    assert len(written) > len(synced)
    for n, length in enumerate(sorted(chance.sample(range(len(synced) + 1, len(written)), 4))):
        folder = tmp_path / str(n)
        put_back(told, folder, told.copy_of(position), mark=True, snapshots_up_to=position)
        (folder / WAL_NAME).write_bytes(written[:length])
        check_goes_on(told, folder, done)


def opened(folder):
    """Open a folder in a process of its own: exit code, output, errors."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "open", str(folder)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.criterion("RPL-9")
def test_an_older_log_than_the_newest_snapshot_is_refused(told, tmp_path):
    position, root, _, _ = told.batches[-1]
    old = told.batches[1][0]
    folder = put_back(told, tmp_path / "venue", told.copy_of(old), mark=False, snapshots_up_to=position)
    newest = max((folder / SNAPSHOTS_NAME).glob("*.hfsn"))
    code, out, err = opened(folder)
    assert (code, out) == (ShortLogError.exit_code, "")
    assert code == 21
    assert err.startswith(
        f"ShortLogError: {newest}: holds the frames 0 to {int(newest.stem)}, but the log ends at {old}"
    )
    assert err.endswith("; put the newest log back, or move the snapshot away to go on without it\n")
    assert err.count("\n") == 1
    # Either advice works: without the snapshots the old log is what there is; with the newest log all is there.
    (folder / SNAPSHOTS_NAME).rename(tmp_path / "away")
    check_goes_on(told, folder, 2)
    shutil.rmtree(folder)
    put_back(told, folder, told.newest, mark=True, snapshots_up_to=position)
    assert opened(folder) == (0, f"{position} {root.hex()}\n", "")


@pytest.mark.criterion("LOG-13", "LOG-14")
def test_an_older_log_than_its_mark_is_refused(told, tmp_path):
    old, position = told.batches[1][0], told.batches[-1][0]
    folder = put_back(told, tmp_path / "venue", told.copy_of(old), mark=False, snapshots_up_to=0)
    shutil.copy(told.newest / LOCK_NAME, folder / LOCK_NAME)
    with pytest.raises(CorruptLogError, match=f"ends at {old}, though {position} frames were acknowledged") as raised:
        SqliteLog(folder / LOG_NAME)
    assert raised.value.exit_code == 14
