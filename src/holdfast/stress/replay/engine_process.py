"""The engine process of a replay: an embedded engine on a SQLite log, spoken to over its standard input and output.

    python -m holdfast.stress.replay.engine_process FOLDER [POSITION]

With POSITION it says the state root after the frame there, so that it can be compared with what it was before a death.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from holdfast.core.fold import Fold
from holdfast.core.snapshot import fold_from
from holdfast.core.state import INSURANCE, SYSTEM_ACCOUNTS, Account, Counter
from holdfast.domain.commands import decode_cold
from holdfast.domain.frames import RECORD, decode_frame
from holdfast.domain.outcomes import OUTCOME
from holdfast.log.protocol import Log
from holdfast.log.sqlite import SqliteLog
from holdfast.replica.embedded import EmbeddedEngine
from holdfast.replica.folder import SnapshotFiles
from holdfast.replica.gateway import Gateway
from holdfast.stress.replay.protocol import Advance, Done, Question, Ready, Stop, Submit, read, write

LOG_NAME = "log.sqlite"
QUANTILES = (5, 25, 50, 75, 95)


class Watch:
    """Durations of sweeps, by the moments that the fold names.

    Attributes:
        sweeps_ms: Since they were last taken.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.sweeps_ms: list[float] = []
        self._clock, self._since = clock, 0.0

    def __call__(self, moment: str) -> None:
        """Note a moment."""
        if moment == "sweep":
            self._since = self._clock()
        elif moment == "swept":
            self.sweeps_ms.append((self._clock() - self._since) * 1e3)

    def taken(self) -> list[float]:
        """The durations so far, forgotten after."""
        taken, self.sweeps_ms = self.sweeps_ms, []
        return taken


def serve(folder: Path, root_at: int | None) -> None:
    """Answer questions until told to stop or the other end is gone."""
    watch = Watch()
    log = SqliteLog(folder / LOG_NAME)
    root = "" if root_at is None else _root_at(log, folder, root_at)
    with EmbeddedEngine(log, folder=folder, watch=watch) as engine:
        engine.warm()
        watch.taken()
        write(sys.stdout.buffer, Ready(engine.position, _commands(log, engine), root))
        while True:
            question = read(sys.stdin.buffer, Question)
            if isinstance(question, Stop):
                return
            if isinstance(question, Submit):
                write(sys.stdout.buffer, _submitted(engine, watch, question))
            else:
                write(sys.stdout.buffer, _advanced(engine, watch, question, folder))


def _commands(log: Log, engine: EmbeddedEngine) -> int:
    """Commands in the frames that were replayed at opening."""
    first = engine.position - engine.start.replayed
    return sum(len(decode_frame(frame).records) for _, frame in log.read(first))


def _root_at(log: Log, folder: Path, position: int) -> str:
    """The state root after the frame at a position, from the newest snapshot before it and the frames after that."""
    fold = Fold()
    for path in SnapshotFiles(folder).newest_first():
        found = fold_from(path.read_bytes())
        if found.position <= position + 1:
            fold = found
            break
    for _, frame in log.read(fold.position, position + 1 - fold.position):
        fold.apply(frame)
    return fold.root().hex()


def _submitted(engine: EmbeddedEngine, watch: Watch, question: Submit) -> Done:
    gateway = Gateway(0, engine.next_frame)
    for part in question.parts:
        if isinstance(part, bytes):
            gateway.add(np.frombuffer(part, RECORD))
        else:
            session, number, content = part
            gateway.add_cold(session, number, decode_cold(content))
    applied = engine.submit(gateway.frames(), trusted=True)
    outcomes = np.concatenate([one.outcomes for one in applied]) if applied else np.empty(0, OUTCOME)
    return Done(outcomes.tobytes(), watch.taken(), engine.position)


def _advanced(engine: EmbeddedEngine, watch: Watch, question: Advance, folder: Path) -> Done:
    engine.tick(question.clock)
    if question.decide:
        engine.decide()
    if question.snapshot:
        engine.snapshot()
    ratios: tuple[float, ...] = ()
    fund, size = 0.0, 0
    if question.look:
        ratios, fund = _look(engine.fold)
        size = sum(path.stat().st_size for path in folder.glob(f"{LOG_NAME}*"))
    root = engine.fold.root().hex() if question.root else ""
    return Done(b"", watch.taken(), engine.position, ratios, fund, size, root)


def _look(fold: Fold) -> tuple[tuple[float, ...], float]:
    """Quantiles of equity over maintenance margin of clients with positions, and the fund's equity."""
    state = fold.machine.state
    count = int(state.counters[Counter.ACCOUNTS])
    figures = state.figures[:count]
    held = (state.accounts[:count, Account.COUNT] > 0) & (figures[:, 2] > 0.0)
    held[:SYSTEM_ACCOUNTS] = False
    ratios = figures[held, 0] / figures[held, 2]
    quantiles = np.percentile(ratios, QUANTILES).tolist() if len(ratios) else [0.0] * len(QUANTILES)
    return tuple(quantiles), float(figures[INSURANCE, 0])


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
