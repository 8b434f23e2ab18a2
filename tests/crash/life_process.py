"""Engines that are killed: a server that forks one for each life, so that a life costs milliseconds.

    python life_process.py serve FD FOLDER   fork an engine on FOLDER for each pair of pipes that comes over socket FD
    python life_process.py open FOLDER       open the folder, print position and state root

The server compiles once and holds neither log nor engine. For every pair of pipes it answers two lines: the process
number of the life, and the status with which it ended. A life answers one question after the other until it is killed.
What it is doing, it says in one byte of shared memory, which outlives it.
"""

import contextlib
import enum
import mmap
import os
import signal
import socket
import sys
from pathlib import Path

import msgspec
import numpy as np

from holdfast.domain.commands import decode_cold
from holdfast.domain.errors import HoldfastError
from holdfast.domain.frames import RECORD
from holdfast.log.errors import LogError
from holdfast.log.sqlite import SqliteLog
from holdfast.replica.embedded import EmbeddedEngine
from holdfast.replica.errors import EngineError
from holdfast.replica.folder import LOG_NAME
from holdfast.replica.gateway import FIRST_GATEWAY, Gateway
from holdfast.replica.warming import warm
from holdfast.stress.replay.protocol import Done, GoneError, Ready, read, write

PHASE_NAME = "phase"


class Phase(enum.IntEnum):
    """What a life is doing."""

    OPENING = 0
    IDLE = 1  # nothing was asked of it
    ASKED = 2  # a batch came
    FRAMED = 3  # right before the log's append
    APPENDING = 4  # inside it
    APPENDED = 5  # durable, nothing of it folded
    FOLDING = 6
    FOLDED = 7  # all of it folded, not answered, or not wholly
    SNAPSHOT = 8


class Batch(msgspec.Struct, frozen=True):
    """What to append in one group.

    Attributes:
        parts: Hot records as bytes, or (session, number, bytes) of a cold command.
        die: The phase in which it is to kill itself, at its very beginning; None for none.
        snapshot: Whether to write a snapshot after it.
        root: Whether to say the state root.
    """

    parts: list[bytes | tuple[int, int, bytes]]
    die: Phase | None = None
    snapshot: bool = False
    root: bool = False


class Place:
    """The shared byte."""

    def __init__(self, folder):
        with (folder / PHASE_NAME).open("a+b") as file:
            file.truncate(1)
            self._bytes = mmap.mmap(file.fileno(), 1)
        self.die = None

    @property
    def phase(self):
        return Phase(self._bytes[0])

    def enter(self, phase):
        """Note a phase, and end in it if that was asked for."""
        self._bytes[0] = phase
        if phase is self.die:
            os.kill(os.getpid(), signal.SIGKILL)


class ObservedLog(SqliteLog):
    """A log that says when it appends."""

    place = None

    def append_group(self, frames):
        self.place.enter(Phase.FRAMED)
        self.place.enter(Phase.APPENDING)
        positions = super().append_group(frames)
        self.place.enter(Phase.APPENDED)
        return positions


def live(folder, questions, answers):
    """One life."""
    place = Place(folder)
    place.enter(Phase.OPENING)
    log = ObservedLog(folder / LOG_NAME)
    log.place = place
    engine = EmbeddedEngine(log, folder=folder)
    apply = engine._apply

    def observed_apply(frame):
        place.enter(Phase.FOLDING)
        return apply(frame)

    engine._apply = observed_apply
    place.enter(Phase.IDLE)
    write(answers, Ready(engine.position, engine.start.replayed))
    while True:
        batch = read(questions, Batch)
        place.die = batch.die
        place.enter(Phase.ASKED)
        done = answered(engine, batch)
        place.enter(Phase.FOLDED)
        write(answers, done)
        if batch.snapshot:
            place.enter(Phase.SNAPSHOT)
            engine.snapshot()
        place.enter(Phase.IDLE)


def answered(engine, batch):
    gateway = Gateway(FIRST_GATEWAY, engine.next_frame)
    for part in batch.parts:
        if isinstance(part, bytes):
            gateway.add(np.frombuffer(part, RECORD))
        else:
            session, number, content = part
            gateway.add_cold(session, number, decode_cold(content))
    applied = engine.submit(gateway.frames(), trusted=True)
    outcomes = np.concatenate([one.outcomes for one in applied])
    return Done(outcomes.tobytes(), [], engine.position, root=engine.fold.root().hex() if batch.root else "")


def serve(descriptor, folder):
    warm()
    control = socket.socket(fileno=int(descriptor))
    control.sendall(b"0\n")
    while True:
        word, pipes, *_ = socket.recv_fds(control, 1, 2)
        if not word:
            return
        process = os.fork()
        if process == 0:
            control.close()
            # It does not end by itself but when nobody asks any more.
            with contextlib.suppress(GoneError):
                live(Path(folder), os.fdopen(pipes[0], "rb"), os.fdopen(pipes[1], "wb"))
            os._exit(0)
        for pipe in pipes:
            os.close(pipe)
        control.sendall(b"%d\n" % process)
        control.sendall(b"%d\n" % os.waitpid(process, 0)[1])


def open_folder(folder):
    with SqliteLog(Path(folder) / LOG_NAME) as log:
        engine = EmbeddedEngine(log, folder=Path(folder))
        sys.stdout.write(f"{engine.position} {engine.fold.root().hex()}\n")


if __name__ == "__main__":
    try:
        {"serve": serve, "open": open_folder}[sys.argv[1]](*sys.argv[2:])
    except HoldfastError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(error.exit_code if isinstance(error, LogError | EngineError) else 1)
