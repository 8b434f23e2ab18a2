"""The supervisor: starts again after deaths with growing pauses, ends in order, never has two engines."""

import signal
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cluster import supervisor
from holdfast.cluster.errors import BusyError
from holdfast.cluster.processes import Process, find, sole, start
from holdfast.cluster.supervisor import deaths, next_pause, supervise

SUPERVISE = """
import sys
from pathlib import Path
from holdfast.cluster.supervisor import supervise
sys.exit(supervise("e", Path("."), sys.argv[2:], grace_s=float(sys.argv[1])))
"""
ORDERLY = "trap 'echo ended >>trace; exit 0' TERM; echo started >>trace; while :; do sleep 0.02; done"
DEAF = "trap '' TERM; echo started >>trace; while :; do sleep 0.02; done"


def until(condition, what: str) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def traces(folder: Path) -> list[str]:
    path = folder / "trace"
    return path.read_text().split() if path.exists() else []


def engine_of(folder: Path) -> Process:
    until((folder / "engine.pid").exists, "the engine's process is not written down")
    found = find(folder / "engine.pid")
    assert found is not None
    return found


@pytest.fixture
def begun(tmp_path):
    """Starts supervisors of shell scripts in a folder; ends what is left."""
    found = []

    def begin(script: str, grace_s: float = 10.0):
        command = [sys.executable, "-c", SUPERVISE, str(grace_s), "sh", "-c", script]
        before = len(traces(tmp_path))
        found.append(start(command, tmp_path, tmp_path / "log"))
        until(lambda: len(traces(tmp_path)) > before, "the engine did not start")
        return found[-1]

    yield begin
    for process in (*found, find(tmp_path / "engine.pid")):
        if process is not None:
            process.signal(signal.SIGKILL)


@pytest.mark.criterion("CLU-15")
def test_pauses_double_up_to_five_seconds_and_begin_anew():
    pauses, pause = [], 0.0
    for ran_s in [1.0] * 9 + [9.9, 10.0, 1.0]:
        pause = next_pause(pause, ran_s)
        pauses.append(pause)
    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5, 0.05, 0.1])


@pytest.mark.criterion("CLU-15")
@given(st.floats(0, 5), st.floats(0, 1e6))
def test_a_pause_is_within_its_bounds(pause_s, ran_s):
    assert 0.05 <= next_pause(pause_s, ran_s) <= 5
    if ran_s < 10:
        assert next_pause(pause_s, ran_s) >= pause_s


@pytest.mark.criterion("CLU-15", "CLU-16", "CLU-18")
def test_an_engine_that_dies_is_started_again(tmp_path):
    """Three deaths: by a status, by a signal, by a status; the fourth life ends in order."""
    script = """
        echo . >>trace
        case $(wc -l <trace) in 1) exit 3;; 2) kill -9 $$;; 3) exit 24;; *) exit 0;; esac
    """
    told: list[str] = []
    began = time.monotonic()
    assert supervise("engine-a", tmp_path, ["sh", "-c", script], tell=told.append) == 0
    assert time.monotonic() - began >= 0.05 + 0.1 + 0.2
    assert traces(tmp_path) == ["."] * 4
    found = deaths(tmp_path)
    assert [(death.status, death.pause_s) for death in found] == [(3, 0.05), (-9, 0.1), (24, 0.2)]
    assert len({death.pid for death in found}) == 3
    assert "was ended by SIGKILL" in told[1]
    assert told[-1] == "engine-a ended in order"


@pytest.mark.criterion("CLU-16", "CLU-18")
@pytest.mark.parametrize("status", [2, 23, 25])
def test_what_another_start_cannot_mend_ends_the_supervisor(tmp_path, status):
    told: list[str] = []
    assert supervise("engine-a", tmp_path, ["sh", "-c", f"echo . >>trace; exit {status}"], tell=told.append) == status
    assert traces(tmp_path) == ["."]
    assert [(death.status, death.pause_s) for death in deaths(tmp_path)] == [(status, -1)]
    assert f"status {status}" in told[0]


@pytest.mark.criterion("CLU-17")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_told_to_end_it_ends_the_engine_in_order(begun, tmp_path, number):
    process = begun(ORDERLY)
    assert process.signal(number)
    assert process.wait(10)
    assert traces(tmp_path) == ["started", "ended"]
    assert deaths(tmp_path) == []
    assert "e ended in order" in (tmp_path / "log").read_text()


@pytest.mark.criterion("CLU-17")
def test_a_stopped_engine_is_let_go_on_to_end(begun, tmp_path):
    process = begun(ORDERLY)
    engine = engine_of(tmp_path)
    engine.signal(signal.SIGSTOP)
    assert process.signal(signal.SIGTERM)
    assert process.wait(10)
    assert not engine.is_alive
    assert traces(tmp_path) == ["started", "ended"]


@pytest.mark.criterion("CLU-17")
def test_an_engine_that_does_not_end_is_killed(begun, tmp_path):
    process = begun(DEAF, 0.2)
    engine = engine_of(tmp_path)
    assert process.signal(signal.SIGTERM)
    assert process.wait(10)
    assert not engine.is_alive
    assert "did not end within 0.2 s" in (tmp_path / "log").read_text()


@pytest.mark.criterion("CLU-17")
def test_told_to_end_during_a_pause_it_starts_no_more(begun, tmp_path):
    """The pauses have grown to 0.4 s when the signal comes."""
    process = begun("echo . >>trace; exit 1")
    until(lambda: len(traces(tmp_path)) == 4, "four lives")
    assert process.signal(signal.SIGTERM)
    assert process.wait(0.3)
    assert len(traces(tmp_path)) == 4


@pytest.mark.criterion("CLU-19", "CLU-14")
def test_an_engine_outlives_its_supervisor_and_the_next_one_ends_it_first(begun, tmp_path):
    first = begun(ORDERLY)
    orphan = engine_of(tmp_path)
    with pytest.raises(BusyError):
        supervise("e", tmp_path, ["true"])
    first.signal(signal.SIGKILL)
    assert first.wait(5)
    assert orphan.is_alive
    second = begun(ORDERLY)
    until(lambda: traces(tmp_path) == ["started", "ended", "started"], "one after the other")
    assert not orphan.is_alive
    assert find(tmp_path / "supervisor.pid") == second
    second.signal(signal.SIGTERM)
    assert second.wait(5)


@pytest.mark.criterion("CLU-18")
def test_the_list_of_deaths_does_not_grow_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "_DEATHS_BYTES_MAXIMUM", 300)
    script = "echo . >>trace; test $(wc -l <trace) -lt 7; exit $((1 - $?))"
    monkeypatch.setattr(supervisor, "PAUSE_MINIMUM_S", 0.0)
    monkeypatch.setattr(supervisor, "PAUSE_MAXIMUM_S", 0.0)
    assert supervise("e", tmp_path, ["sh", "-c", script], tell=lambda _line: None) == 0
    assert (tmp_path / "deaths.jsonl.1").stat().st_size < 500
    assert len(deaths(tmp_path)) == 6
    (tmp_path / "deaths.jsonl").write_bytes(b"torn")
    assert 0 < len(deaths(tmp_path)) < 6


@pytest.mark.criterion("CLU-14")
def test_a_held_lock_keeps_a_second_supervisor_away(tmp_path):
    with sole(tmp_path / "supervisor.lock", "another supervisor"), pytest.raises(BusyError, match="another supervisor"):
        supervise("e", tmp_path, ["sh", "-c", "echo . >>trace"])
    assert traces(tmp_path) == []
