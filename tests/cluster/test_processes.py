"""Processes: started detached, known by more than their number, signalled and waited for."""

import os
import signal
import subprocess
import sys
import time

import msgspec
import pytest

from holdfast.cluster import processes
from holdfast.cluster.errors import BusyError, StartError
from holdfast.cluster.processes import Process, find, sole, start, this_process


@pytest.fixture
def sleeper(tmp_path):
    process = start(["sleep", "60"], tmp_path, tmp_path / "output")
    yield process
    process.signal(signal.SIGKILL)


def parent_and_terminal(pid: int) -> tuple[int, int]:
    fields = processes._fields(pid)
    assert fields is not None
    return int(fields[1]), int(fields[4])


@pytest.mark.criterion("CLU-13")
def test_what_is_started_is_nobodys_child_and_private(tmp_path):
    process = start(["sh", "-c", "echo $HOME_OF >out; exec sleep 60"], tmp_path, tmp_path / "log", {"HOME_OF": "a b"})
    try:
        parent, terminal = parent_and_terminal(process.pid)
        assert parent != os.getpid()
        assert terminal == 0
        assert process.is_alive
        deadline = time.monotonic() + 5
        while not (tmp_path / "out").exists() or not (tmp_path / "out").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert (tmp_path / "out").read_text() == "a b\n"
        assert (tmp_path / "out").stat().st_mode & 0o077 == 0
    finally:
        assert process.end(5)
    assert not process.is_alive


@pytest.mark.criterion("CLU-13")
def test_what_ends_at_once_is_said_with_its_last_line(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_observed", lambda _pid: None)
    (tmp_path / "log").write_text("first\nthe reason\n\n")
    with pytest.raises(StartError, match=r"true: ended at once \(the reason\); read .*log"):
        start(["true"], tmp_path, tmp_path / "log")
    assert processes.said(tmp_path / "none") == ""


@pytest.mark.criterion("CLU-12")
@pytest.mark.parametrize("change", [{"started": 1}, {"boot": "another"}])
def test_a_process_that_has_the_number_of_another_is_left_alone(sleeper, tmp_path, change):
    """The number was given to the sleeper after the process of the file had ended."""
    ended = msgspec.structs.replace(sleeper, **change)
    ended.write(tmp_path / "pid")
    assert find(tmp_path / "pid") is None
    assert not ended.is_alive
    assert not ended.is_stopped
    assert not ended.signal(signal.SIGKILL)
    assert ended.wait(0)
    assert ended.end(5)
    assert sleeper.is_alive
    assert not sleeper.is_stopped
    sleeper.write(tmp_path / "pid")
    assert find(tmp_path / "pid") == sleeper


@pytest.mark.criterion("CLU-12")
def test_a_number_that_is_really_given_again_is_not_signalled():
    """The system is made to give the number again, where it lets us say which it gives next."""
    last = processes._PROC / "sys" / "kernel" / "ns_last_pid"
    if not os.access(last, os.W_OK):
        pytest.skip("the system does not let us choose the next number")
    child = subprocess.Popen(["sleep", "60"])
    first = processes.process_of(child.pid)
    assert first is not None
    child.kill()
    child.wait()
    time.sleep(0.03)  # Starts are told apart by hundredths of a second; no system gives all numbers away in one.
    for _ in range(100):
        last.write_text(str(first.pid - 1))
        child = subprocess.Popen(["sleep", "60"])
        try:
            if child.pid == first.pid:
                assert not first.is_alive
                assert not first.signal(signal.SIGKILL)
                assert first.end(0)
                assert child.poll() is None
                return
        finally:
            child.kill()
            child.wait()
    pytest.skip("others took the number")


@pytest.mark.criterion("CLU-12")
def test_a_zombie_has_ended():
    child = subprocess.Popen(["sleep", "60"])
    process = processes.process_of(child.pid)
    assert process is not None
    child.kill()
    assert process.wait(5)
    assert not process.is_alive
    assert child.wait() == -signal.SIGKILL


def test_stopping_and_going_on(sleeper):
    assert sleeper.signal(signal.SIGSTOP)
    deadline = time.monotonic() + 5
    while not sleeper.is_stopped:
        assert time.monotonic() < deadline
    assert not sleeper.wait(0.05)
    assert sleeper.end(5)
    assert not sleeper.signal(signal.SIGCONT)


def test_what_does_not_end_is_killed(tmp_path):
    deaf = start(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"], tmp_path, tmp_path / "log")
    deadline = time.monotonic() + 5
    while "ready" not in (tmp_path / "log").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not deaf.end(0.2)
    assert not deaf.is_alive


@pytest.mark.parametrize("content", [b"", b"12", b'{"pid": 1}', b'{"pid": "1", "started": 1, "boot": ""}'])
def test_a_file_that_cannot_be_read_is_no_process(tmp_path, content):
    (tmp_path / "pid").write_bytes(content)
    assert find(tmp_path / "pid") is None


def test_a_name_with_blanks_and_brackets_is_no_trouble(tmp_path):
    program = tmp_path / "a) R 1 (b"
    program.symlink_to(sys.executable)
    process = start([str(program), "-S", "-c", "import time; time.sleep(60)"], tmp_path, tmp_path / "log")
    try:
        assert process.is_alive
        assert process == Process(process.pid, process.started, this_process().boot)
    finally:
        process.signal(signal.SIGKILL)


@pytest.mark.criterion("CLU-14")
def test_a_lock_is_held_by_one(tmp_path):
    lock = tmp_path / "lock"
    assert not processes.is_held(lock)
    with sole(lock, "a test"):
        assert processes.is_held(lock)
        with pytest.raises(BusyError, match="a test is at work here"), sole(lock, "a test"):
            pass
    assert not processes.is_held(lock)
    with sole(lock, "a test"):
        pass
