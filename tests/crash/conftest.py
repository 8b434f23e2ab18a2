"""What the tests of deaths share: the logs and venues of the core's tests, and the mark of what takes minutes."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import targets

sys.path.append(str(Path(__file__).parents[1] / "core"))

LEAST = pytest.StashKey[subprocess.Popen]()
_CACHE = pytest.StashKey[tempfile.TemporaryDirectory]()


pytest.register_assert_rewrite("lives")


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "slow: compiles the whole fold for another processor; deselect with -m 'not slow'"
    )


def pytest_collection_finish(session):
    """Begin to compile for the least processor, beside the tests that come before: that takes minutes of one core."""
    config = session.config
    wanted = any(item.get_closest_marker("slow") for item in session.items) and not config.option.collectonly
    if wanted and targets.SSE2 in targets.runnable_targets():
        cache = config.stash.setdefault(_CACHE, tempfile.TemporaryDirectory())
        config.stash[LEAST] = subprocess.Popen(
            ["nice", sys.executable, Path(__file__).with_name("fold_log.py")],
            env=targets.environment_of(targets.SSE2, cache.name) | {"PYTHONHASHSEED": "2"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def pytest_unconfigure(config):
    """Leave nothing behind, of a run that ended early too."""
    least = config.stash.get(LEAST, None)
    if least is not None:
        with least:
            least.kill()
        config.stash[_CACHE].cleanup()


@pytest.fixture(scope="session")
def least(request):
    """The process that compiles the fold for the least processor, and then waits for a log."""
    return request.config.stash[LEAST]
