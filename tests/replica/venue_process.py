"""Engines that die: the child process of the failure tests.

    python venue_process.py kills FOLDER SEED KILLS   start engines on a folder, kill -9 each, check what is left
    python venue_process.py open FOLDER USER          become that user, open the folder
    python venue_process.py read FOLDER               open the folder, print position and root, end without closing

`kills` forks an engine each time, so that compiled code is loaded once. Before each submission an engine notes how many
commands it holds, after its acknowledgement how many were acknowledged in all; both notes are forced to the disk. An
error of the log or the engine ends the process with its exit code.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from holdfast.log.errors import LogError
from holdfast.log.sqlite import SqliteLog
from holdfast.replica import folder as files
from holdfast.replica.directory import Directory
from holdfast.replica.embedded import EmbeddedEngine
from holdfast.replica.engine import Engine
from holdfast.replica.errors import EngineError
from holdfast.replica.requests import transfer
from holdfast.replica.views import account_view

POINTS = ("before append", "after append", "inside fold", "before answer", "inside snapshot", "random", "random")
UNIT = "0.00000001"


class Journal:
    """Two numbers per line, forced to the disk."""

    def __init__(self, path):
        self._file = path.open("ab")

    def note(self, word, count):
        self._file.write(b"%s %d\n" % (word, count))
        self._file.flush()
        os.fsync(self._file.fileno())


def last_notes(path):
    """How many commands were acknowledged, and how many the last submission held that was not."""
    acknowledged, intended = 0, 0
    for line in path.read_bytes().splitlines() if path.exists() else []:
        word, count = line.split()
        acknowledged, intended = (int(count), 0) if word == b"done" else (acknowledged, int(count))
    return acknowledged, intended


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


class Countdown:
    """Kills the process at the n-th passing."""

    def __init__(self, left):
        self.left = left

    def __call__(self, *_, **__):
        self.left -= 1
        if self.left == 0:
            die()


class DyingLog(SqliteLog):
    """A log that dies around its appends."""

    before = after = staticmethod(lambda: None)

    def append_group(self, frames):
        self.before()
        positions = super().append_group(frames)
        self.after()
        return positions


def plant(engine, log, point, countdown):
    if point == "before append":
        log.before = countdown
    elif point == "after append":
        log.after = countdown
    elif point == "inside fold":
        # The hot loop returns to Python for room; dying there leaves a command half done in memory.
        engine.fold.machine.make_room = countdown
    elif point == "before answer":
        apply = engine._apply
        engine._apply = lambda frame: (apply(frame), countdown())[0]
    elif point == "inside snapshot":
        rename, countdown.left = Path.rename, 1 + countdown.left % 4
        Path.rename = lambda *a: (countdown(), rename(*a), countdown())[1]


def work(folder, seed):
    """Submit transfers of one unit until killed."""
    chance = random.Random(seed)
    log = DyingLog(folder / files.LOG_NAME)
    engine = EmbeddedEngine(log, folder=folder)
    journal = Journal(folder / "journal")
    request = transfer(book_of(engine), "alice", "bob", "BTC", UNIT).request
    acknowledged = compare(folder, engine)
    plant(engine, log, POINTS[seed % len(POINTS)], Countdown(chance.randint(1, 12)))
    while True:
        count = chance.choice((1, 2, 5, 300, 6_000))
        journal.note(b"will", count)
        answers = engine.send([request] * count)
        assert all(answer.accepted for answer in answers), "a command of an own session was refused"
        acknowledged += count
        journal.note(b"done", acknowledged)
        if chance.random() < 0.3:
            engine.snapshot()


def book_of(engine):
    return Directory(engine.fold, engine.names)


def acknowledged_in(engine):
    """Transfers of one unit that the state holds."""
    got = account_view(engine.fold, book_of(engine), 5).balances["BTC"] - 10
    return int(got.scaleb(8))


def killed(folder, seed, chance):
    """Fork an engine, and wait for its death."""
    process = os.fork()
    if process == 0:
        try:
            work(folder, seed)
        finally:
            os._exit(1)
    if POINTS[seed % len(POINTS)] == "random":
        time.sleep(chance.uniform(0, 0.15))
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status), f"seed {seed}: the engine ended by itself"
    assert os.WTERMSIG(status) == signal.SIGKILL


def compare(folder, engine):
    """How many transfers the state holds: those acknowledged, and those of the last submission wholly or not at all."""
    found = acknowledged_in(engine)
    acknowledged, intended = last_notes(folder / "journal")
    assert found in (acknowledged, acknowledged + intended), (found, acknowledged, intended)
    Journal(folder / "journal").note(b"done", found)
    return found


def check(folder, before):
    """Open what is left, and compare."""
    with Engine(folder) as engine:
        found = compare(folder, engine.embedded)
        assert found >= before
        assert set(engine.conservation().values()) == {0}
        assert engine.account("alice").balances["BTC"] + engine.account("bob").balances["BTC"] == 20
        return found


def kills(folder, first, count):
    folder, first = Path(folder), int(first)
    chance = random.Random(first)
    with Engine(folder) as engine:
        found = acknowledged_in(engine.embedded)
    starts = set()
    for seed in range(first, first + int(count)):
        killed(folder, seed, chance)
        if seed % 3:
            found = check(folder, found)
            continue
        # Now and then the next engine is the first to see what was left.
        killed(folder, seed + 1, chance)
        found = check(folder, found)
    with Engine(folder) as engine:
        root, start = engine.root(), engine.embedded.start
        starts.add(start.snapshot)
        assert not start.passed_over, start.passed_over
    with SqliteLog(folder / files.LOG_NAME) as log:
        whole = EmbeddedEngine(log)
        assert whole.start.snapshot is None
        assert whole.fold.root() == root
        assert log.verify() == whole.position
    sys.stdout.write(f"{found} {starts.pop()}\n")


def open_as(folder, user):
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))
    Engine(folder)


def read(folder):
    engine = Engine(folder)
    sys.stdout.write(f"{engine.position} {engine.root().hex()}\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    actions = {"kills": kills, "open": open_as, "read": read}
    try:
        actions[sys.argv[1]](*sys.argv[2:])
    except (LogError, EngineError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(error.exit_code)
