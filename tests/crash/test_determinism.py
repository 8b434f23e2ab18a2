"""One log, one sequence of state roots: on every processor target, under every hash seed, from a snapshot or not."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from random_log import RandomVenue

import targets
from holdfast.domain import commands as c
from holdfast.domain.commands import decode_cold
from holdfast.domain.errors import InputError
from holdfast.domain.frames import RecordKind, decode_frame
from holdfast.domain.outcomes import OUTCOME
from holdfast.log.sqlite import SqliteLog

SCRIPT = Path(__file__).with_name("fold_log.py")
SECONDS_MAXIMUM = 600
NEEDED = (
    *(RecordKind.TRADE, RecordKind.FILL, RecordKind.ORDER, RecordKind.CANCEL, RecordKind.QUOTE),
    *(c.Mark, c.Tick, c.CastVote, c.Liquidate, c.Settle, c.Deposit, c.Funding),
)


def accepted(steps):
    """How many commands of each kind took effect."""
    counted = Counter()
    for step in steps:
        frame = decode_frame(step.frame)
        for index in np.flatnonzero(np.frombuffer(step.outcomes, OUTCOME)["reason"] == 0).tolist():
            kind = RecordKind(int(frame.records[index]["kind"]))
            try:
                counted[type(decode_cold(frame.cold(index))) if kind is RecordKind.COLD else kind] += 1
            except InputError:
                counted["unreadable"] += 1
    return counted


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A log with something of everything: path of the log, and the position in its midst."""
    steps = RandomVenue(3).happen(60).crash().happen(40).expire().fold.steps
    counted = accepted(steps)
    assert all(counted[kind] for kind in NEEDED), [kind for kind in NEEDED if not counted[kind]]
    path = tmp_path_factory.mktemp("determinism") / "log.sqlite"
    with SqliteLog(path) as made:
        for step in steps:
            made.append(step.frame)
    return path, len(steps) // 2


def folded(log, hash_seed, position=-1):
    """What a process of its own makes of the log; with a position it writes the snapshot, else it reads it too."""
    command = [sys.executable, SCRIPT, *arguments(log, position)]
    environment = targets.environment_of(targets.HOST) | {"PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS_MAXIMUM
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def arguments(log, position):
    """Of the script: the log, the snapshot, the position."""
    path, _ = log
    return str(path), str(path.with_name("half.hfsn")), str(position)


@pytest.fixture(scope="module")
def first(log):
    """What this processor makes of the log; a snapshot of its midst is written."""
    found = folded(log, 0, position=log[1])
    assert len(found["whole"]["roots"]) // 2 == log[1]
    assert len(found["whole"]["checkpoints"]) > 20
    return found


def check_same(found, first, log):
    """The same roots, outcomes and checkpoints from the beginning, and from the snapshot on."""
    first = first["whole"]
    assert found["whole"] == first
    later = {str(position) for position in range(log[1] + 1, len(first["roots"]))}
    for name in ("roots", "outcomes", "checkpoints"):
        expected = {position: value for position, value in first[name].items() if position in later}
        assert expected
        assert found["resumed"][name] == expected
    assert found["resumed"]["chain"] == first["chain"]


@pytest.mark.criterion("STR-1", "STR-13", "RPL-8")
@pytest.mark.parametrize("hash_seed", [1, 4_242])
def test_other_hash_seeds(log, first, hash_seed):
    check_same(folded(log, hash_seed), first, log)


@pytest.mark.slow
@pytest.mark.skipif(targets.SSE2 not in targets.runnable_targets(), reason="only x86-64 has this target")
@pytest.mark.criterion("CON-5", "STR-1", "STR-13")
def test_the_least_processor(log, first, least):
    written, error = least.communicate("\n".join([*arguments(log, -1), ""]), timeout=SECONDS_MAXIMUM)
    assert least.returncode == 0, error
    found = json.loads(written)
    targets.check_assembly(targets.SSE2, found["facts"])
    if targets.AVX2 in targets.runnable_targets():
        assert found["target"] != first["target"], "both were compiled for the same processor"
    check_same(found, first, log)
