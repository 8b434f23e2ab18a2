"""Small disks that are filled: what was on them stays, and a supervisor lives through it."""

import shutil
import signal
import sys
import time

import pytest

from holdfast.chaos.disks import SmallDisks, fill_up
from holdfast.cluster.processes import find, start
from holdfast.cluster.supervisor import deaths

SUPERVISE = """
import sys
from pathlib import Path
from holdfast.cluster.supervisor import supervise
sys.exit(supervise("e", Path("."), sys.argv[1:]))
"""
ENGINE = "echo started >>trace || exit 13; while :; do sleep 0.02; done"
SIZE = 1 << 20


@pytest.fixture
def small(tmp_path):
    folder = tmp_path / "engine"
    folder.mkdir()
    (folder / "before").write_text("kept")
    with SmallDisks((folder,), SIZE) as disks:
        if disks.problem:
            pytest.skip(disks.problem)
        yield folder
    assert (folder / "before").read_text() == "kept"
    assert shutil.disk_usage(folder).total > SIZE


def until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.criterion("CHA-16")
def test_a_small_disk_is_full_to_its_last_byte_and_then_is_not(small):
    assert (small / "before").read_text() == "kept"
    assert shutil.disk_usage(small).total == SIZE
    fill_up(small / "ballast")
    assert shutil.disk_usage(small).free == 0
    with pytest.raises(OSError, match="No space"):
        (small / "more").write_bytes(bytes(1 << 16))
    (small / "ballast").unlink()
    (small / "more").write_text("fits")


@pytest.mark.criterion("CLU-15", "CLU-18")
def test_a_supervisor_lives_through_a_full_disk(small):
    supervisor = start([sys.executable, "-c", SUPERVISE, "sh", "-c", ENGINE], small, small / "log")
    try:
        until(lambda: (small / "trace").exists() and find(small / "engine.pid"))
        first = find(small / "engine.pid")
        fill_up(small / "ballast")
        first.signal(signal.SIGKILL)
        assert first.wait(5)
        time.sleep(1.0)
        assert supervisor.is_alive
        (small / "ballast").unlink()
        until(lambda: (small / "trace").read_text().count("started") > 1)
        until(lambda: find(small / "engine.pid") not in (None, first))
        supervisor.signal(signal.SIGTERM)
        assert supervisor.wait(10)
        assert all(death.status in (-signal.SIGKILL, 13) for death in deaths(small))
    finally:
        for process in (supervisor, find(small / "engine.pid")):
            if process is not None:
                process.signal(signal.SIGKILL)
                process.wait(5)
