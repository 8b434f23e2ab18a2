"""A whole log checked: an honest one holds; a rewritten, truncated or forked one does not."""

import pytest
import signed_venue
from fold_driver import ALICE, KEYS, Driver
from voting import name_root

from holdfast.domain import commands as c
from holdfast.domain.frames import decode_frame, encode_frame
from holdfast.domain.reasons import Reason
from holdfast.domain.signatures import sign
from holdfast.log.memory import MemoryLog
from holdfast.proof.checkpoint import base64_of, cosigned_message, origin_of
from holdfast.validate.proofs.audit import ContradictionError, Kept, audit_log
from holdfast.validate.proofs.evidence import trust_of


def log_of(frames):
    log = MemoryLog()
    for one in frames:
        log.append(one)
    return log


def frames_of(made):
    return [data for _, data in made.log.read(0)]


def contradiction(log, **named):
    with pytest.raises(ContradictionError) as found:
        audit_log(log, **named)
    return str(found.value)


@pytest.mark.criterion("PRF-19")
def test_an_honest_log_holds(venue_log):
    audit = audit_log(venue_log.log)
    said = venue_log.fold.machine.registry
    assert (audit.frames, audit.chain) == (venue_log.fold.position, venue_log.fold.chain)
    assert audit.state_root == venue_log.fold.root()
    assert audit.tree == venue_log.fold.tree.root()
    assert audit.roots == 3 * audit.checkpoints == 3 * len(said.certified)
    assert (audit.cosignatures, audit.newest, audit.strangers) == (9, 96, 0)


@pytest.mark.criterion("PRF-19")
def test_with_what_somebody_kept(venue_log, prover):
    origin, size, root = prover.checkpoint().decode().split("\n")[:3]
    head = next(iter(signed_venue.heads_of(prover)))
    kept = Kept(origin, int(size), head.root)
    assert audit_log(venue_log.log, trust=prover.trust, kept=kept).frames > head.size
    frames = frames_of(venue_log)
    assert "the log ends at 90 frames, before the 96 of the checkpoint: it was truncated" in contradiction(
        log_of(frames[:90]), kept=kept
    )
    assert "forked or rewritten" in contradiction(venue_log.log, kept=kept._replace(root=bytes(32)))
    assert "the checkpoint is of holdfast/other" in contradiction(
        venue_log.log, kept=kept._replace(origin="holdfast/other")
    )
    strange = {n: one._replace(key=bytes(32)) for n, one in prover.trust.replicas.items()}
    other = type(prover.trust)(prover.trust.log, 2, strange)
    assert "never had the trusted keys" in contradiction(venue_log.log, trust=other)
    assert root


@pytest.mark.criterion("PRF-19", "PRF-20")
@pytest.mark.parametrize("kind", ["amount", "left out", "put in"])
def test_a_rewritten_log(venue_log, kind):
    """The chain of hashes is made anew by whoever rewrites; the replicas' signatures are not."""
    frames = frames_of(venue_log)
    at = next(n for n, data in enumerate(frames) if b"deposit" in data)
    if kind == "amount":
        frame = decode_frame(frames[at])
        number = bytearray(frame.blob)
        number[number.index(b"\xa6amount") + 7 + 4] ^= 1
        frames[at] = encode_frame(frame.gateway, frame.frame_number, frame.records, bytes(number))
    elif kind == "left out":
        del frames[at]
    else:
        frames.insert(at, frames[at])
    found = contradiction(log_of(frames))
    assert "signed H" in found
    assert "forked or rewritten" in found


@pytest.mark.criterion("PRF-19")
def test_damaged_frames(venue_log):
    frames = frames_of(venue_log)
    frames[7] = frames[7][:-1] + bytes([frames[7][-1] ^ 1])
    assert contradiction(log_of(frames)).startswith("frame 7: cannot be folded (frame: checksum is")


@pytest.mark.criterion("PRF-19", "PRF-20")
def test_a_majority_on_a_wrong_state_root():
    made = signed_venue.signed_venue()
    made.send()
    while made.fold.position % 32:
        made.send()
    place = made.fold.machine.registry.checkpoints[-1]
    at = made.fold.position
    for n in (0, 1):
        assert name_root(made, n, bytes(32), place).reason is Reason.ACCEPTED
    found = contradiction(made.log)
    assert found.startswith(f"frame {at}: replica 0 voted for the state root {'00' * 32} at position {place.position}")


@pytest.mark.criterion("PRF-19")
def test_a_stranger_is_told_of_and_no_contradiction():
    made = signed_venue.signed_venue()
    made.send()
    while made.fold.position % 32:
        made.send()
    place = made.fold.machine.registry.checkpoints[-1]
    assert name_root(made, 1, bytes(32), place).reason is Reason.ACCEPTED
    made.say_roots((0, 2))
    audit = audit_log(made.log)
    assert (audit.strangers, audit.roots) == (1, 2)
    assert sum(one.suspended for one in audit.replicas) == 1


@pytest.mark.criterion("PRF-19", "PRF-20")
@pytest.mark.parametrize("what", ["root", "log"])
def test_a_cosignature_of_another_tree(what):
    made = signed_venue.signed_venue()
    made.reach_checkpoint(())
    tree = made.fold.tree
    size = made.fold.position
    wrong = {"root": (tree.log, bytes(32)), "log": (bytes(32), tree.root())}[what]
    message = cosigned_message(origin_of(wrong[0]), size, wrong[1], 5)
    said = c.Cosign(0, wrong[0], size, wrong[1], 5, sign(KEYS[0], message))
    assert made.one(made.replicas[0], said).reason is Reason.ACCEPTED, "the fold has no tree to hold it against"
    assert f"replica 0 cosigned {base64_of(wrong[1])} for {size} frames" in contradiction(made.log)


@pytest.mark.criterion("PRF-19")
def test_a_log_without_replicas():
    made = Driver()
    made.fold = signed_venue.Recorded(made.fold)
    made.open("operator")
    audit = audit_log(made.fold.log)
    assert (audit.frames, audit.roots, audit.cosignatures) == (1, 0, 0)
    assert trust_of(b"", audit.replicas).needed == 1
    assert ALICE == 4
