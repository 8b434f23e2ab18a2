"""A run: a cluster, its clients, one fault after another, and the verdict.

What lives here: the order of things, and that every process started here ends. What may not: what a fault is
(`faults`), and what is right (`checks`).
"""

import contextlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from holdfast.chaos.checks import Evidence, judge
from holdfast.chaos.client import Orders
from holdfast.chaos.disks import SmallDisks, clock_an_hour_off, disk_folders, engine_disk_full, full_engine
from holdfast.chaos.evidence import copies_of, crashes_of, longest_copy, snapshots_of
from holdfast.chaos.faults import Fault, Strike
from holdfast.chaos.gaps import Gap, Window, gaps
from holdfast.chaos.history import History, history_of
from holdfast.chaos.journal import Acknowledged, now, read_journal
from holdfast.chaos.observer import Observer
from holdfast.chaos.relays import Relays
from holdfast.chaos.stage import Skipped, Stage
from holdfast.chaos.truth import Truth, truth_of
from holdfast.domain.errors import HoldfastError

BACK_S: Final = 60.0
"""In which every client must have an acknowledgement after a fault was healed."""
SETTLE_S: Final = 2.0
WARM_S: Final = 3.0
PAUSE_S: Final = 0.05
TIMEOUTS_S: Final = (30.0, 30.0, 3.0)
"""Of the clients' commands. One is impatient, so that some of what it sends stays unknown, and its sessions change."""
CLOCK_OFF_NS: Final = 1_800 * 10**9
"""A tick further than this from logical time is of a clock that is an hour off."""
_CLIENT_END_S: Final = 45.0
_POLL_S = 0.1
_TAIL_BYTES = 1 << 16

Tell = Callable[[str], None]


class Result(NamedTuple):
    """What a run found.

    Attributes:
        seed: Of its choices.
        findings: What is wrong, by check; all lists are empty where nothing is.
        gaps: What each fault cost.
        skipped: Faults that could not be done here, and why.
        history: What clients were told.
        truth: What the log says.
    """

    seed: int
    findings: dict[str, list[str]]
    gaps: list[Gap]
    skipped: dict[str, str]
    history: History
    truth: Truth

    @property
    def problems(self) -> list[str]:
        """All that is wrong, a line for each."""
        return [f"{name}: {text}" for name, found in self.findings.items() for text in found]


def run(
    folder: Path,
    seed: int,
    faults: Iterator[Fault],
    *,
    tell: Tell,
    pause_s: float = PAUSE_S,
    small_disks: bool = False,
) -> Result:
    """Set a cluster up, let clients work, strike, and judge.

    Args:
        folder: New; everything is kept in it.
        seed: Of choices and workloads.
        faults: One after the other; the run ends with them.
        tell: Takes lines of progress.
        pause_s: Mean time between a client's submissions, and between its questions.
        small_disks: Whether some folders get a small file system of their own, where the machine allows it.
    """
    chance = random.Random(seed)  # noqa: S311 (a choice of faults)
    with contextlib.ExitStack() as undo:
        stage = Stage(folder / "cluster", undo.enter_context(Relays()), chance)
        if small_disks:
            disks = undo.enter_context(SmallDisks(disk_folders(stage)))
            stage.no_small_disks = disks.problem
        try:
            stage.up()
            tell("the cluster runs")
            with _Crew(stage, seed, pause_s) as crew, Observer(stage.folder, stage.plan) as observer:
                time.sleep(WARM_S)
                windows, skipped = _strike_all(stage, crew, faults, tell)
            _wait_until_equal(stage)
        finally:
            stage.down()
    tell("checks")
    return _judge(stage, seed, crew, observer, windows, skipped)


def _strike_all(
    stage: Stage, crew: "_Crew", faults: Iterator[Fault], tell: Tell
) -> tuple[list[Window], dict[str, str]]:
    windows: list[Window] = []
    skipped: dict[str, str] = {}
    for fault in faults:
        try:
            windows.append(_strike(stage, crew, fault))
        except Skipped as reason:
            skipped[name_of(fault)] = str(reason)
            continue
        window = windows[-1]
        took = (window.ended_at - window.began_at) / 1e9
        tell(f"{window.fault}: {took:.1f} s; {'; '.join(window.proofs) or 'NOT HIT'} {window.problem}")
    return windows, skipped


def _strike(stage: Stage, crew: "_Crew", fault: Fault) -> Window:
    """One fault from its beginning until all is well again."""
    began_at, problem = now(), ""
    strikes = fault(stage)
    strike = Strike(())
    try:
        strike = next(strikes)
        time.sleep(strike.hold_s)
        for _ in strikes:
            pass
        stage.wait_until_well()
        problem = crew.wait_until_back()
    except HoldfastError as error:
        problem = str(error)
    finally:
        strikes.close()  # type: ignore[attr-defined]
    ended_at = now()
    time.sleep(SETTLE_S)
    return Window(name_of(fault), strike.regions, began_at, ended_at, strike.proofs, problem)


def name_of(fault: Fault) -> str:
    """A fault in words."""
    return fault.__name__.replace("_", " ")


class _Crew:
    """The client processes of a run, one in each region."""

    def __init__(self, stage: Stage, seed: int, pause_s: float) -> None:
        self.regions = {f"client-{region}": region for region in stage.wiring.regions}
        self._folder = stage.folder / "chaos"
        self._folder.mkdir()
        self._stage, self._seed, self._pause_s = stage, seed, pause_s
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "_Crew":
        world = self._stage.fill()
        with contextlib.ExitStack() as undo:
            undo.callback(self._end)
            for number, (name, region) in enumerate(self.regions.items()):
                configuration = self._stage.wiring.client_file(self._folder, region)
                orders = Orders(
                    configuration=str(configuration),
                    journal=str(self.journal(name)),
                    client=number,
                    seed=self._seed,
                    world=world,
                    pause_s=self._pause_s,
                    timeout_s=TIMEOUTS_S[number % len(TIMEOUTS_S)],
                )
                path = self._folder / f"{name}.json"
                path.write_bytes(msgspec.json.encode(orders))
                command = [sys.executable, "-P", "-m", "holdfast.chaos.client", str(path)]
                with (self._folder / f"{name}.log").open("wb") as output:
                    self._processes[name] = subprocess.Popen(  # noqa: S603 (this package's own module)
                        command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
                    )
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def journal(self, name: str) -> Path:
        """The journal of a client."""
        return self._folder / f"{name}.journal"

    def problems(self) -> list[str]:
        """Clients that ended by themselves."""
        return [f"{name} ended with status {one.returncode}" for name, one in self._processes.items() if one.returncode]

    def wait_until_back(self) -> str:
        """Wait until every client has an acknowledgement from now on; who has none in time."""
        since, deadline = now(), time.monotonic() + BACK_S
        waiting = set(self.regions)
        while waiting and time.monotonic() < deadline:
            waiting -= {name for name in waiting if self._acknowledged_at(name) > since}
            time.sleep(_POLL_S)
        return f"{', '.join(sorted(waiting))} got no acknowledgement within {BACK_S:g} s" if waiting else ""

    def _acknowledged_at(self, name: str) -> int:
        """When a client's latest acknowledgement came, as far as the end of its journal says."""
        path = self.journal(name)
        if not path.exists():
            return 0
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = file.read().split(b"\n")[1:-1]
        decoder = msgspec.json.Decoder(Acknowledged)
        found = (decoder.decode(line).at for line in reversed(lines) if line.startswith(b'["ok"'))
        return next(found, 0)

    def _end(self) -> None:
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _CLIENT_END_S
        for process in self._processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_equal(stage: Stage) -> None:
    with contextlib.suppress(HoldfastError):
        stage.wait_until_well()
    time.sleep(1.0)


def _judge(
    stage: Stage,
    seed: int,
    crew: _Crew,
    observer: Observer,
    windows: Sequence[Window],
    skipped: dict[str, str],
) -> Result:
    history = history_of({name: read_journal(crew.journal(name)) for name in crew.regions})
    best, frames = longest_copy(stage)
    answered = [question for question in history.questions if question.answered_at >= 0]
    truth = truth_of(frames, answered)
    off = sum(abs(clock.ahead) > CLOCK_OFF_NS for clock in truth.clocks)
    windows = [_with_ticks(window, off) if window.fault == name_of(clock_an_hour_off) else window for window in windows]
    evidence = Evidence(history, truth, observer.sights, snapshots_of(stage), copies_of(stage, best))
    findings = judge(evidence)
    findings["recovery"] = [f"{window.fault}: {window.problem}" for window in windows if window.problem]
    full = any(window.fault == name_of(engine_disk_full) for window in windows)
    findings["crashes"] = crashes_of(stage, excused=(full_engine(stage).engine,) if full else ())
    findings["clients"] = crew.problems()
    return Result(seed, findings, gaps(history, crew.regions, windows), skipped, history, truth)


def _with_ticks(window: Window, off: int) -> Window:
    """The proof that a clock was an hour off is in the log."""
    proofs = (*window.proofs, f"{off} ticks of the log are an hour off") if off else ()
    return window._replace(proofs=proofs)
