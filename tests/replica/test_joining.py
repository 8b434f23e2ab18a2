"""How a node comes to its state: the newest snapshot that the log certifies, and the frames after it."""

import pytest
from nodes import KEYS, Nodes, batch

from holdfast.core.snapshot import fold_from
from holdfast.domain import commands
from holdfast.domain.frames import CHAIN_START
from holdfast.domain.signatures import public_key_of
from holdfast.domain.snapshots import encode_snapshot
from holdfast.log.memory import MemoryLog
from holdfast.replica.gateway import FIRST_GATEWAY, Gateway
from holdfast.replica.node import joining
from holdfast.replica.node.joining import Candidate, begin, problem_of, quarantines
from holdfast.replica.supervision import quarantine_of

PUBLIC = [public_key_of(key) for key in KEYS]


@pytest.fixture(scope="module")
def lived():
    """A cluster that lived for a while: its nodes, its log, its snapshots by position."""
    nodes = Nodes(snapshot_interval_s=0.4)
    nodes.step(20)
    session = nodes.defined()
    nodes.step(300)
    nodes.write(1, batch([commands.DefineAsset("BTC", 8)], session, 6))
    nodes.step(200)
    log = MemoryLog()
    for frame, _ in nodes.log:
        log.append(frame)
    found = {
        due.header.position: Candidate(f"of {due.header.position}", encode_snapshot(due.header, due.parts), due.names)
        for _, due in nodes.snapshots
        if due.header.position > 30
    }
    assert len(found) > 3
    return nodes, log, found


def best_first(found):
    return [found[position] for position in sorted(found, reverse=True)]


@pytest.mark.criterion("NOD-11")
def test_the_newest_certified_snapshot_is_taken_and_the_rest_folded(lived):
    nodes, log, found = lived
    begun = begin(log, iter(best_first(found)), PUBLIC)
    assert begun.source
    for _, frame in log.read(begun.fold.position):
        begun.fold.apply(frame)
    assert begun.fold.root() == nodes.nodes[0].fold.root()
    assert begun.fold.chain == log.head_hash


@pytest.mark.criterion("NOD-11")
def test_a_snapshot_that_nobody_voted_for_yet_is_passed_over(lived):
    _, log, found = lived
    first, second = sorted(found)[-2:]
    short = MemoryLog()
    for _, frame in log.read(0, second + 1):
        short.append(frame)
    begun = begin(short, iter(best_first(found)), PUBLIC)
    assert begun.source == f"of {first}"
    assert any(f"of {second}" in line and "replicas voted" in line for line in begun.passed_over)


@pytest.mark.criterion("NOD-11")
@pytest.mark.parametrize("keys", [[bytes(32)] * 3, [PUBLIC[0], PUBLIC[0], PUBLIC[0]], PUBLIC * 2])
def test_votes_of_other_keys_certify_nothing(lived, keys):
    _, log, found = lived
    begun = begin(log, iter(best_first(found)), keys)
    assert begun.source == ""
    assert begun.fold.position == 0
    assert len(begun.passed_over) == len(found)


@pytest.mark.criterion("NOD-11")
def test_a_snapshot_of_another_log_or_another_state_is_passed_over(lived):
    _, log, found = lived
    position = sorted(found)[1]
    fold = fold_from(found[position].snapshot)
    assert problem_of(log, position, fold.chain, fold.root(), PUBLIC) == ""
    assert "another log" in problem_of(log, position, bytes(32), fold.root(), PUBLIC)
    assert "voted" in problem_of(log, position, fold.chain, bytes(32), PUBLIC)
    assert "does not reach" in problem_of(log, log.end, fold.chain, fold.root(), PUBLIC)


@pytest.mark.criterion("NOD-11")
def test_damaged_bytes_are_passed_over(lived):
    _, log, found = lived
    good = best_first(found)[-1]
    flipped = bytearray(good.snapshot)
    flipped[len(flipped) // 2] ^= 1
    names = bytearray(good.names)
    names[-1] ^= 1
    bad = [Candidate("flipped", bytes(flipped), good.names), Candidate("names", good.snapshot, bytes(names))]
    begun = begin(log, iter([*bad, Candidate("empty", b"", b""), good]), PUBLIC)
    assert begun.source == good.source
    assert [line.split(":")[0] for line in begun.passed_over] == ["flipped", "names", "empty"]


@pytest.mark.criterion("NOD-11")
def test_without_a_snapshot_the_log_is_folded_from_its_beginning(lived):
    nodes, log, _ = lived
    begun = begin(log, iter(()), PUBLIC)
    for _, frame in log.read(0):
        begun.fold.apply(frame)
    assert begun.fold.root() == nodes.nodes[2].fold.root()


@pytest.mark.criterion("NOD-13")
def test_quarantines_are_found_in_frames_that_the_fold_would_not_take():
    data = quarantine_of(7, CHAIN_START, 1, KEYS[1])
    gateway = Gateway(FIRST_GATEWAY, (1 << 64) - 1)
    gateway.add_cold(0, 0, commands.QuarantineCommand(data))
    gateway.add_cold(0, 0, commands.DefineAsset("quarantine", 6))
    (frame,) = gateway.frames()
    assert list(quarantines(frame)) == [data]
    assert list(quarantines(b"quarantine, but no frame")) == []
    assert joining.CERTIFYING_FRAMES > 0
