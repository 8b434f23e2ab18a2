"""What the tests of deaths share: the logs and venues of the core's tests, and the mark of what takes a minute."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "core"))


pytest.register_assert_rewrite("lives")


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "slow: compiles the whole fold for another processor; deselect with -m 'not slow'"
    )
