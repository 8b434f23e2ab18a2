"""The supervisor of one replica: starts its engine, and starts it again after a crash.

Theory of operation. The engine is the supervisor's child. An end with status 0 was meant, and so the supervisor ends
too; after one that another start cannot mend (a wrong configuration, a replica suspended by the others' votes) it ends
with the engine's status. After any other end it starts the engine again, at once at first, then after pauses that
double; an engine that ran for a while begins with the shortest pause again. What an engine does about a frame that
kills it is its own affair: it finds the traces of its deaths in its folder (`replica.supervision`).

A signal to end is passed on, and the supervisor waits until the engine has ended in order. If the supervisor itself is
killed, the engine goes on; the next supervisor ends it before it starts one. What may not live here: what an engine is.
"""

import contextlib
import datetime
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import msgspec

from holdfast.cluster import layout
from holdfast.cluster.processes import find, process_of, sole, this_process
from holdfast.domain.errors import HoldfastError, invariant
from holdfast.replica.errors import KeyFileError, SuspendedError

PAUSE_MINIMUM_S, PAUSE_MAXIMUM_S = 0.05, 5.0
SETTLED_S = 10.0
"""An engine that ran this long was well: the next pause is the shortest again."""
GRACE_S = 20.0
"""How long an engine may take to end in order, before it is killed."""
LASTING_STATUSES = (2, KeyFileError.exit_code, SuspendedError.exit_code)
"""Statuses that another start cannot mend: a wrong configuration, an unusable key, a suspended replica."""
DEATHS_NAME = "deaths.jsonl"
_DEATHS_BYTES_MAXIMUM = 1_000_000
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Death(msgspec.Struct, frozen=True):
    """One unexpected end of an engine.

    Attributes:
        time: Of the end, ISO 8601.
        pid: Number of the process.
        status: Its exit status; −n where signal n ended it.
        ran_s: How long it ran, seconds.
        pause_s: After how long it was started again, seconds; −1 where it was not.
    """

    time: str
    pid: int
    status: int
    ran_s: float
    pause_s: float


def next_pause(pause_s: float, ran_s: float) -> float:
    """The pause after a death.

    Args:
        pause_s: The pause before the life that ended; 0 for the first.
        ran_s: How long that life was.

    Returns:
        Seconds, from PAUSE_MINIMUM_S to PAUSE_MAXIMUM_S.
    """
    if ran_s >= SETTLED_S:
        return PAUSE_MINIMUM_S
    return min(PAUSE_MAXIMUM_S, max(PAUSE_MINIMUM_S, 2 * pause_s))


def supervise(
    name: str,
    folder: Path,
    command: Sequence[str],
    *,
    grace_s: float = GRACE_S,
    tell: Callable[[str], None] | None = None,
) -> int:
    """Run an engine until it ends in order, cannot be mended, or this process is told to end.

    Args:
        name: Of the replica, for messages.
        folder: Of the engine: process files, the lock and the list of deaths lie there.
        command: Starts the engine.
        grace_s: How long it may take to end in order, seconds.
        tell: Takes messages; standard error by default.

    Returns:
        The exit status: 0 after an orderly end, otherwise the engine's.

    Raises:
        BusyError: Another supervisor is at work in the folder.
    """
    with sole(folder / layout.SUPERVISOR_LOCK, "another supervisor"):
        this_process().write(folder / layout.SUPERVISOR_PROCESS)
        return _Supervisor(name, folder, command, grace_s, tell or _say).run()


def deaths(folder: Path) -> list[Death]:
    """The deaths that are written down in an engine's folder, the oldest first; unreadable lines are left out."""
    found = []
    for path in _death_files(folder):
        if path.exists():
            for line in path.read_bytes().splitlines():
                try:
                    found.append(msgspec.json.decode(line, type=Death))
                except msgspec.MsgspecError:
                    continue
    return found


class _Supervisor:
    """One supervisor at work."""

    def __init__(
        self, name: str, folder: Path, command: Sequence[str], grace_s: float, tell: Callable[[str], None]
    ) -> None:
        invariant(grace_s > 0, "an engine needs time to end in order")
        self._name, self._folder, self._command = name, folder, command
        self._grace_s, self._tell = grace_s, tell
        self._ending = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Start, watch, start again."""
        before = {number: signal.signal(number, self._told_to_end) for number in _ENDING_SIGNALS}
        before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._too_late)
        try:
            self._end_orphan()
            return self._lives()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _lives(self) -> int:
        pause_s = 0.0
        while not self._ending.is_set():
            began = time.monotonic()
            status = self._live()
            ran_s = time.monotonic() - began
            if self._ending.is_set() or status == 0:
                self._tell(f"{self._name} ended in order")
                return 0
            if status in LASTING_STATUSES:
                self._note(status, ran_s, -1)
                self._tell(f"{self._name} ended with status {status}, which another start cannot mend")
                return status
            pause_s = next_pause(pause_s, ran_s)
            self._note(status, ran_s, pause_s)
            self._tell(f"{self._name} {_ended(status)} after {ran_s:.1f} s; starts again in {pause_s:g} s")
            self._ending.wait(pause_s)
        return 0

    def _live(self) -> int:
        """One life of the engine, from its start to its end; its status."""
        child = self._child = subprocess.Popen(self._command, cwd=self._folder)  # noqa: S603 (the caller's command)
        process = process_of(child.pid)
        try:
            if process is not None:
                process.write(self._folder / layout.ENGINE_PROCESS)
        except (HoldfastError, OSError) as error:
            # Nobody could find it to end it, and on a full disk it would not live long.
            self._tell(f"{self._name} cannot be written down and is killed: {error}")
            child.kill()
        if self._ending.is_set():
            self._end_child()  # The signal came before there was a child.
        return child.wait()

    def _told_to_end(self, _number: int, _frame: FrameType | None) -> None:
        self._ending.set()
        self._end_child()

    def _end_child(self) -> None:
        """Ask the engine to end, and have the alarm kill it if it does not; the main program waits for it meanwhile."""
        if self._child is not None and self._child.returncode is None:
            self._child.send_signal(signal.SIGTERM)
            self._child.send_signal(signal.SIGCONT)
            signal.setitimer(signal.ITIMER_REAL, self._grace_s)

    def _too_late(self, _number: int, _frame: FrameType | None) -> None:
        if self._child is not None and self._child.returncode is None:
            self._tell(f"{self._name} did not end within {self._grace_s:g} s and is killed")
            self._child.kill()

    def _end_orphan(self) -> None:
        orphan = find(self._folder / layout.ENGINE_PROCESS)
        if orphan is not None:
            self._tell(f"{self._name} still runs as process {orphan.pid}, its supervisor died; it is ended first")
            orphan.end(self._grace_s)

    def _note(self, status: int, ran_s: float, pause_s: float) -> None:
        path, older = _death_files(self._folder)[::-1]
        pid = 0 if self._child is None else self._child.pid
        death = Death(_now(), pid, status, round(ran_s, 3), pause_s)
        try:
            if path.exists() and path.stat().st_size > _DEATHS_BYTES_MAXIMUM:
                path.replace(older)
            with path.open("ab") as file:
                file.write(msgspec.json.encode(death) + b"\n")
        except OSError as error:
            self._tell(f"a death of {self._name} is not written down: {error}")  # The disk may be full: that passes.


def _death_files(folder: Path) -> tuple[Path, Path]:
    """The older list and the one being written."""
    return folder / f"{DEATHS_NAME}.1", folder / DEATHS_NAME


def _ended(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    return f"was ended by {signal.Signals(-status).name}"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _say(message: str) -> None:
    # Nobody hears it where the disk is full; the supervisor lives on.
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{_now()} supervisor: {message}\n")
        sys.stderr.flush()
