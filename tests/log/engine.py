"""An engine that does nothing but append: the child process of the failure tests.

    python engine.py forever LOG JOURNAL SEED KILL_POINT   append until killed; journal every acknowledgement, fsynced
    python engine.py uncommitted LOG                       acknowledge, wait for a line, then leave a transaction open
    python engine.py full LOG BALLAST                      append until the disk is full, remove BALLAST, go on
    python engine.py limited LOG                           the same against the largest file a process may write
    python engine.py open LOG [USER]                       become USER if given, open, append one frame

An error of the log ends it with that error's exit code.
"""

import hashlib
import os
import random
import resource
import signal
import sys
from pathlib import Path

from holdfast.log.errors import FullError, LogError
from holdfast.log.sqlite import SqliteLog

FRAME_LENGTH_MAXIMUM = 40_000
KILL_POINTS = ("before commit", "after commit", "before return")


def frame_of(position):
    """What every engine of these tests appends at a position."""
    digest = hashlib.sha256(b"%d" % position).digest()
    length = 1 + int.from_bytes(digest[:4], "little") % (FRAME_LENGTH_MAXIMUM if digest[4] % 4 == 0 else 300)
    return (digest * (length // 32 + 1))[:length]


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def kill_self(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def plant(log, kill_point, countdown):
    """Kill this process at the `countdown`-th passing of a point inside append_group."""

    def passed():
        nonlocal countdown
        countdown -= 1
        if countdown == 0:
            kill_self()

    if kill_point == "before commit":
        log._writer.set_trace_callback(lambda statement: passed() if statement == "COMMIT" else None)
    elif kill_point in KILL_POINTS:
        mark = log._mark

        def marked():
            if kill_point == "before return":
                mark()
            passed()
            if kill_point == "after commit":
                mark()

        log._mark = marked


def forever(path, journal, seed, kill_point):
    chance = random.Random(int(seed))
    acknowledged = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with SqliteLog(path) as log:
        plant(log, kill_point, chance.randint(1, 30))
        say("ready")
        while True:
            start = log.end
            positions = log.append_group([frame_of(start + i) for i in range(chance.randint(1, 4))])
            os.write(acknowledged, b"".join(b"%d\n" % position for position in positions))
            os.fsync(acknowledged)


def uncommitted(path):
    log = SqliteLog(path)
    for _ in range(20):
        log.append_group([frame_of(log.end), frame_of(log.end + 1)])
    say(log.end)
    sys.stdin.readline()
    # A small cache makes SQLite write the pages of the open transaction to the write-ahead file.
    log._writer.execute("PRAGMA cache_size=2")
    log._writer.execute("BEGIN IMMEDIATE")
    for position in range(log.end, log.end + 20):
        log._writer.execute("INSERT INTO frames VALUES (?, ?, ?)", (position, bytes(100_000), bytes(32)))
    say("open")
    kill_self()


def fill(log):
    """Append until there is no room, twice."""
    for _ in range(2):
        try:
            while True:
                position = log.append(frame_of(log.end))
                assert position == log.end - 1
        except FullError:
            end = log.end
        assert [frame for _, frame in log.read(0)] == [frame_of(position) for position in range(end)]
    try:
        log.append_group([bytes(FRAME_LENGTH_MAXIMUM)] * 40)
    except FullError:
        assert log.end == end
    else:
        raise AssertionError("there was room")
    return end


def go_on(path, log, end):
    for position in range(end, end + 10):
        assert log.append(frame_of(position)) == position
    log.close()
    with SqliteLog(path) as again:
        assert again.verify() == end + 10
        assert [frame for _, frame in again.read(0)] == [frame_of(position) for position in range(end + 10)]
    say(end)


def full(path, ballast):
    log = SqliteLog(path)
    end = fill(log)
    Path(ballast).unlink()
    go_on(path, log, end)


def limited(path):
    log = SqliteLog(path)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    end = fill(log)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    go_on(path, log, end)


def open_log(path, user=None):
    if user:
        os.setgroups([])
        os.setgid(int(user))
        os.setuid(int(user))
    with SqliteLog(path) as log:
        log.append(frame_of(log.end))


if __name__ == "__main__":
    actions = {"forever": forever, "uncommitted": uncommitted, "full": full, "limited": limited, "open": open_log}
    try:
        actions[sys.argv[1]](*sys.argv[2:])
    except LogError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(error.exit_code)
