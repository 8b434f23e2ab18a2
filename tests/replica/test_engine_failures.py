"""Real deaths: engines killed with kill -9, folders that may not be written or that another process holds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from venues import venue

from holdfast.replica.engine import Engine

PROCESS = Path(__file__).with_name("venue_process.py")
KILLS = 42
NOBODY = 65_534


def finished(*arguments, timeout_s=600):
    """Run the child process to its end: exit code, output, errors."""
    done = subprocess.run(
        [sys.executable, str(PROCESS), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "venue"
    venue(path).close()
    return path


@pytest.mark.criterion("RPL-7", "RPL-8", "RPL-14")
def test_killed_again_and_again(folder):
    code, out, err = finished("kills", folder, 20_200_312, KILLS)
    assert code == 0, err
    transfers, snapshot = out.split()
    assert int(transfers) > 1_000, "the engines hardly ran"
    assert snapshot != "None", "no snapshot was used"
    with Engine(folder) as engine:
        assert engine.transfer("alice", "bob", "BTC", "0.00000001")


@pytest.mark.criterion("RPL-7", "ENG-11")
def test_an_engine_that_was_never_closed_has_the_same_root(folder):
    with Engine(folder) as engine:
        assert engine.transfer("alice", "bob", "BTC", 1)
        expected = f"{engine.position} {engine.root().hex()}\n"
    for _ in range(2):
        assert finished("read", folder) == (0, expected, "")


def test_a_locked_folder(folder):
    with Engine(folder):
        code, out, err = finished("read", folder)
    assert (code, out) == (11, "")
    assert err.startswith("LockedError: ")
    assert f"process {os.getpid()} " in err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("mode", [0o555, 0o755])
def test_a_folder_that_may_not_be_written(folder, mode):
    for above in (folder, *folder.parents):
        if above != Path("/tmp") and str(above).startswith("/tmp"):
            above.chmod(above.stat().st_mode | 0o055)
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    folder.chmod(mode)
    code, _, err = finished("open", folder, NOBODY)
    assert code == 12, err
    assert err.startswith("ReadOnlyError: ")
    assert err.count("\n") == 1
    folder.chmod(0o755)
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_folder_that_may_not_be_made(tmp_path):
    for above in (tmp_path, *tmp_path.parents):
        if above != Path("/tmp") and str(above).startswith("/tmp"):
            above.chmod(above.stat().st_mode | 0o055)
    code, _, err = finished("open", tmp_path / "new", NOBODY)
    assert code == 12, err
    assert err.startswith("ReadOnlyError: ")


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("something else")
    code, _, err = finished("read", tmp_path / "file")
    assert code in range(10, 19), err
    assert err.count("\n") == 1
