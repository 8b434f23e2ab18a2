"""Programs that outlive the command that started them.

A process is known by its number, the instant at which it was started and the boot of the machine, kept in a file. The
system gives numbers of ended processes to new ones; the instant tells them apart, so nothing is ever signalled that was
not started here. A signal goes through a handle that the system ties to the one process, after that comparison. What
lives here: starting, finding, signalling, waiting, for any program. What may not: which programs. Linux only.
"""

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from holdfast.cluster.errors import BusyError, StartError
from holdfast.domain.errors import invariant
from holdfast.replica.folder import replace_file

_PROC = Path("/proc")
_BOOT = _PROC / "sys" / "kernel" / "random" / "boot_id"
_STATE_FIELD, _START_FIELD = 0, 19
"""Places in the line of a process behind its name: state, and start in ticks since the boot (fields 3 and 22)."""
_ENDED_STATES = ("Z", "X")
_DETACH = '"$@" </dev/null >>"$HOLDFAST_OUTPUT" 2>&1 & echo $!'
"""A shell starts the program and ends, so that the program belongs to nobody who would have to wait for it."""
_TAIL_BYTES = 4096
_ENDING_WAIT_S = 0.01
_SECRET = 0o600


class Process(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One process, now or in the past.

    Attributes:
        pid: Its number.
        started: Its start in ticks since the boot.
        boot: Of the machine.
    """

    pid: int
    started: int
    boot: str

    def write(self, path: Path) -> None:
        """Keep it in a file."""
        replace_file(path, msgspec.json.encode(self) + b"\n", mode=_SECRET)

    @property
    def is_alive(self) -> bool:
        """Whether it still runs (or is stopped by a signal)."""
        return _observed(self.pid) == self

    @property
    def is_stopped(self) -> bool:
        """Whether a signal halts it until another lets it go on."""
        fields = _fields(self.pid)
        return self.is_alive and fields is not None and fields[_STATE_FIELD] in ("T", "t")

    def signal(self, number: int) -> bool:
        """Send a signal; False where the process has ended."""
        try:
            handle = os.pidfd_open(self.pid)
        except OSError:
            return False
        try:
            # The comparison comes after the handle: from here on the number cannot pass to another process.
            if not self.is_alive:
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True

    def wait(self, timeout_s: float) -> bool:
        """Wait until it has ended; False where it has not in time."""
        deadline = time.monotonic() + timeout_s
        try:
            handle = os.pidfd_open(self.pid)
        except OSError:
            return True
        try:
            while self.is_alive:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                select.select([handle], [], [], left)
                if self.is_alive:
                    time.sleep(_ENDING_WAIT_S)
        finally:
            os.close(handle)
        return True

    def end(self, timeout_s: float) -> bool:
        """Ask it to end, and kill it where it does not in time; False where it had to be killed."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        if self.wait(timeout_s):
            return True
        self.signal(signal.SIGKILL)
        self.wait(timeout_s)
        return False


def this_process() -> Process:
    """The process that asks."""
    process = _observed(os.getpid())
    if process is None:
        raise StartError("process", "the system does not tell about processes in /proc", "mount /proc")
    return process


def process_of(pid: int) -> Process | None:
    """The process that has a number now; None where there is none."""
    return _observed(pid)


def find(path: Path) -> Process | None:
    """The process of a file, if it still runs; None also where there is no file or it cannot be read."""
    try:
        process = msgspec.json.decode(path.read_bytes(), type=Process)
    except (OSError, msgspec.MsgspecError):
        return None
    return process if process.is_alive else None


def start(command: Sequence[str], folder: Path, output: Path, environment: Mapping[str, str] | None = None) -> Process:
    """Start a program that goes on when this one ends.

    Args:
        command: The program and its arguments.
        folder: Where it is started.
        output: File to which it writes what it would print.
        environment: Variables beside those of this process.

    Raises:
        StartError: It ended at once.
    """
    invariant(bool(command), "a command has a program")
    variables = {**os.environ, **(environment or {}), "HOLDFAST_OUTPUT": str(output.absolute())}
    shell = ["/bin/sh", "-c", _DETACH, "sh", *command]
    done = subprocess.run(  # noqa: S603 (the command is the caller's, and no shell reads its words)
        shell, cwd=folder, env=variables, stdin=subprocess.DEVNULL, capture_output=True, start_new_session=True,
        check=False, umask=0o077,
    )  # fmt: skip
    pid = done.stdout.strip()
    process = _observed(int(pid)) if pid.isdigit() else None
    if process is None:
        raise StartError(command[0], f"ended at once{said(output)}", f"read {output}")
    return process


def said(output: Path) -> str:
    """The last line of a program's output, as a clause of an error."""
    try:
        with output.open("rb") as file:
            file.seek(max(0, output.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f" ({last})" if last else ""


@contextlib.contextmanager
def sole(path: Path, what: str) -> Iterator[None]:
    """Hold a lock while something is done; the system frees it however this process ends.

    Raises:
        BusyError: Another process holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _SECRET)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BusyError(str(path.parent), f"{what} is at work here", "wait for it to end, or end it") from None
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether a process holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _observed(pid: int) -> Process | None:
    fields = _fields(pid)
    if fields is None or fields[_STATE_FIELD] in _ENDED_STATES:
        return None
    return Process(pid, int(fields[_START_FIELD]), _BOOT.read_text().strip())


def _fields(pid: int) -> list[str] | None:
    """What the system says about a process, behind its name, which may hold any character."""
    try:
        line = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    return line.rpartition(")")[2].split()
