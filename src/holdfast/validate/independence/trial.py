"""One engine over the bank in a process of its own: what a mutant says, or how it ends.

A trial is a fork of this process. It puts the engine's modules fresh in place, one of them changed, works out every
account's figures, sends them through a pipe and ends. It has a time limit, as mutants of loops may not end, and a limit
of memory. What may not live here: judging.
"""

import ast
import contextlib
import os
import resource
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from holdfast.domain.errors import invariant
from holdfast.validate.independence.bank import Figures, Situation
from holdfast.validate.independence.engines import Codes, Engine, install, path_of

SECONDS_MAXIMUM = 20.0
"""How long one trial may take; an unchanged engine takes about one second."""
MEMORY_BYTES = 3 << 30
"""What a trial may take besides what this process has."""
_CHUNK = 1 << 16


class Trial(NamedTuple):
    """What came of it.

    Attributes:
        figures: [accounts, 3] over all situations; None where it broke.
        problem: Why there are no figures, or which are no numbers; empty where all is well.
    """

    figures: Figures | None
    problem: str = ""


def attempt(
    engine: Engine, bank: Sequence[Situation], codes: Codes, mutant: tuple[str, ast.Module] | None = None
) -> Trial:
    """The figures of an engine, one module of which may be changed.

    Args:
        engine: Which one.
        bank: The inputs.
        codes: Of unchanged modules.
        mutant: Name and syntax tree of the module that is changed.
    """
    codes.of((*engine.modules, *engine.around))

    def work() -> Any:
        install(engine, codes, mutant)
        return np.concatenate([engine.figures(situation) for situation in bank]).tobytes()

    found, problem = _apart(work, SECONDS_MAXIMUM)
    if problem:
        return Trial(None, problem)
    figures = np.frombuffer(found, np.float64).reshape(-1, 3)
    odd = int((~np.isfinite(figures)).any(axis=1).sum())
    return Trial(figures, f"no number for {odd} accounts" if odd else "")


def reached(engine: Engine, bank: Sequence[Situation], codes: Codes) -> dict[str, frozenset[int]]:
    """The lines of an engine's modules that the bank reaches, by module."""
    files = {str(path_of(module)): module for module in engine.modules}

    def work() -> Any:
        lines: dict[str, set[int]] = {module: set() for module in engine.modules}

        def within(frame: Any, event: str, _argument: Any) -> Any:
            if event == "line":
                lines[files[frame.f_code.co_filename]].add(frame.f_lineno)
            return within

        sys.settrace(lambda frame, _event, _argument: within if frame.f_code.co_filename in files else None)
        install(engine, codes)
        for situation in bank:
            engine.figures(situation)
        sys.settrace(None)
        return {module: sorted(found) for module, found in lines.items()}

    found, problem = _apart(work, 10 * SECONDS_MAXIMUM)
    invariant(not problem, f"engine {engine.letter} does not run over the bank: {problem}")
    return {module: frozenset(lines) for module, lines in found.items()}


def _apart(work: Callable[[], Any], seconds: float) -> tuple[Any, str]:
    """Do something in a fork: its result, and what went wrong, which is empty where nothing did."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Numerical libraries have threads that wait for work; they take care of forks themselves.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _child(work, reading, writing)
    os.close(writing)
    try:
        data, in_time = _read_all(reading, time.monotonic() + seconds)
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if not in_time:
        return None, f"took more than {seconds:g} s"
    if not data:
        return None, "the process ended"
    return tuple(msgspec.msgpack.decode(data))


def _child(work: Callable[[], Any], reading: int, writing: int) -> None:
    """The forked process: never returns."""
    try:
        os.close(reading)
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        _limit_memory()
        warnings.simplefilter("ignore")
        np.seterr(all="ignore")
        answer = (work(), "")
    except BaseException as error:  # A mutant may raise anything.
        answer = (None, f"{type(error).__name__}: {error}"[:200])
    with contextlib.suppress(BaseException), os.fdopen(writing, "wb") as pipe:
        pipe.write(msgspec.msgpack.encode(answer))
    os._exit(0)


def _limit_memory() -> None:
    with open("/proc/self/statm", encoding="ascii") as pages:
        used = int(pages.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, used + MEMORY_BYTES))


def _read_all(pipe: int, until: float) -> tuple[bytes, bool]:
    """Everything that comes through a pipe, and whether it ended in time."""
    chunks: list[bytes] = []
    while True:
        ready, _, _ = select.select([pipe], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            return b"", False
        chunk = os.read(pipe, _CHUNK)
        if not chunk:
            return b"".join(chunks), True
        chunks.append(chunk)
