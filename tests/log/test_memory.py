"""The log in memory against the suite of all logs."""

import pytest
from conformance import GroupConformance, chain
from hypothesis import given
from hypothesis import strategies as st

from holdfast.log.memory import MemoryLog
from holdfast.log.protocol import GroupLog


class TestMemoryLog(GroupConformance):
    @pytest.fixture
    def log(self):
        with MemoryLog() as log:
            yield log


@pytest.mark.criterion("LOG-1", "LOG-5")
@given(st.lists(st.lists(st.binary(min_size=1, max_size=50), max_size=4), max_size=6))
def test_any_groups(groups):
    log: GroupLog = MemoryLog()
    frames = []
    for group in groups:
        assert log.append_group(group) == range(len(frames), len(frames) + len(group))
        frames += group
    assert list(log.read(0)) == list(enumerate(frames))
    assert [log.hash_at(position) for position in range(log.end)] == chain(frames)
