"""The client of a replay: sessions, the journal, and an engine process that may be killed under it.

Every batch is journalled before it is sent and after it is acknowledged. After the engine's death the batch in flight
is sent again under the same numbers, as any client would. What may not live here: what is sent (`market_commands`).
"""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

import numpy as np

from holdfast.domain.commands import ColdCommand, OpenSession, encode_cold
from holdfast.domain.errors import invariant
from holdfast.domain.frames import Records
from holdfast.domain.outcomes import OUTCOME, Outcomes
from holdfast.stress.replay.journal import Entries, Journal, cold_entries, hot_entries
from holdfast.stress.replay.protocol import Advance, Done, GoneError, Ready, Stop, Submit, read, write

STOP_TIMEOUT_S = 30.0


class EngineProcess:
    """The engine in a process of its own.

    Attributes:
        ready: What it said when it was open.
        start_s: Seconds from its start to that.
    """

    def __init__(self, folder: Path, root_at: int | None = None) -> None:
        command = [sys.executable, "-m", "holdfast.stress.replay.engine_process", str(folder)]
        command += [] if root_at is None else [str(root_at)]
        began = time.monotonic()
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
        stdin, stdout = self._process.stdin, self._process.stdout
        invariant(stdin is not None and stdout is not None, "the process was started with pipes")
        self._questions, self._answers = cast(IO[bytes], stdin), cast(IO[bytes], stdout)
        self.ready: Ready = read(self._answers, Ready)
        self.start_s = time.monotonic() - began

    def ask(self, question: Submit | Advance) -> Done:
        """Send a question and wait for its answer.

        Raises:
            GoneError: The process died; what became of the question is unknown.
        """
        write(self._questions, question)
        done: Done = read(self._answers, Done)
        return done

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.send_signal(signal.SIGKILL)
        self.bury()

    def bury(self) -> None:
        """Wait for the end of a process that was killed or told to stop, and let go of its pipes."""
        self._process.wait()
        for pipe in (self._questions, self._answers):
            with contextlib.suppress(OSError):
                pipe.close()

    def kill_soon(self, delay_s: float) -> threading.Timer:
        """SIGKILL after a while, in the midst of what it will be doing then."""
        timer = threading.Timer(delay_s, self._process.send_signal, (signal.SIGKILL,))
        timer.start()
        return timer

    def stop(self) -> None:
        """Let it end by itself; kill it if it does not."""
        with contextlib.suppress(GoneError):
            write(self._questions, Stop())
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
        self.bury()


class Client:
    """Sends numbered commands, journals them, and survives the engine.

    Attributes:
        engine: The process that it talks to now.
        sweeps_ms: Durations of all sweeps so far.
        position: Next position of the log, as last acknowledged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._journal = Journal(folder / "journal.bin")
        self._numbers: dict[int, int] = {}
        self.engine = EngineProcess(folder)
        self.sweeps_ms: list[float] = []
        self.position = 0

    def open_session(self, role: str, subject: int = 0, kept: int = 4_096) -> int:
        """Open a session and return its id."""
        done = self._ask(Submit([(0, 0, encode_cold(OpenSession(role, subject, kept)))]))
        return int(np.frombuffer(done.outcomes, OUTCOME)[0]["made"])

    def cold(self, session: int, commands: Sequence[ColdCommand]) -> Outcomes:
        """Send cold commands."""
        parts = [(session, self._take(session, 1), encode_cold(command)) for command in commands]
        return self._submit(cold_entries(parts), Submit([*parts]))

    def hot(self, records: Records) -> Outcomes:
        """Send hot commands whose sessions are filled in; their numbers are filled in here."""
        for session in np.unique(records["session"]).tolist():
            of_session = np.flatnonzero(records["session"] == session)
            first = self._take(session, len(of_session))
            records["number"][of_session] = np.arange(first, first + len(of_session))
        return self._submit(hot_entries(records), Submit([records.tobytes()]))

    def advance(self, clock: int, **wanted: bool) -> Done:
        """Let the engine tick, and decide or look as wanted; after its death, ask again."""
        try:
            return self._ask(Advance(clock, **wanted))
        except GoneError:
            self.restart()
            return self._ask(Advance(clock, **wanted))

    def restart(self, root_at: int | None = None) -> None:
        """Start the engine again on its folder, after the process before has died."""
        self.engine.bury()
        self.engine = EngineProcess(self._folder, root_at)

    def close(self) -> None:
        """Stop the engine and close the journal."""
        self.engine.stop()
        self._journal.__exit__()

    def _take(self, session: int, count: int) -> int:
        first = self._numbers.get(session, 0) + 1
        self._numbers[session] = first + count - 1
        return first

    def _submit(self, entries: Entries, question: Submit) -> Outcomes:
        if not len(entries):
            return np.empty(0, OUTCOME)
        self._journal.sent(entries)
        try:
            done = self._ask(question)
        except GoneError:
            # Unknown is not failed: the same commands under the same numbers, whatever became of the first attempt.
            self.restart(self.position - 1)
            done = self._ask(question)
        outcomes: Outcomes = np.frombuffer(done.outcomes, OUTCOME)
        self._journal.acknowledged(entries, outcomes)
        return outcomes

    def _ask(self, question: Submit | Advance) -> Done:
        done = self.engine.ask(question)
        self.sweeps_ms += done.sweeps_ms
        self.position = done.position
        return done
