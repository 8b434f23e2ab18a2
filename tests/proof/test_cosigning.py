"""Cosignatures in the log: what the fold takes, what a replica says, and what an engine keeps to go on."""

import pytest
import signed_venue
from fold_driver import BTC, KEYS, SECOND, START
from voting import name_root

import holdfast
from golden_votes import PRIVATE_KEYS
from holdfast.domain import commands as c
from holdfast.domain.reasons import Reason
from holdfast.domain.signatures import public_key_of, sign
from holdfast.log.sqlite import SqliteLog
from holdfast.proof import verifier
from holdfast.proof.checkpoint import Cosignature, checkpoint_note, cosigned_message, origin_of
from holdfast.proof.frame_tree import FrameTree
from holdfast.replica.decisions import cosignatures, root_votes
from holdfast.replica.folder import LOG_NAME
from holdfast.validate.proofs.audit import audit_log
from holdfast.validate.proofs.bundles import Prover
from holdfast.validate.proofs.history import read_history
from proof_vectors import FRAMES, LOG, TIME, root
from proof_vectors import checkpoint as worked_checkpoint


def cosigned(replica, size, *, key=None, log=LOG, root=bytes(32), time=5, **changed):
    message = cosigned_message(origin_of(log), size, root, time)
    fields = {"log": log, "size": size, "root": root, "time": time} | changed
    return c.Cosign(replica=replica, signature=sign(KEYS[replica] if key is None else key, message), **fields)


@pytest.mark.criterion("PRF-2", "PRF-3", "PRF-21")
def test_the_worked_checkpoint():
    key, log_root = PRIVATE_KEYS[1], root(FRAMES)
    message = cosigned_message(origin_of(LOG), 5, log_root, TIME)
    note = checkpoint_note(origin_of(LOG), 5, log_root, [Cosignature(1, public_key_of(key), TIME, sign(key, message))])
    assert note == worked_checkpoint()
    assert note.split("\n")[4].endswith(
        "/1 x2owdQAAAABeaiRAAc3D7G3h91iRoRe8oGwGgrirZOxetnv2lgXXo7kA21AM7fcB+gxg+pw/JDQ4xAijZnHqGLPtS3hsnZReMHU/Cw=="
    )
    trust = verifier.Trust(LOG, 1, {1: verifier.Replica("w", "", public_key_of(key))})
    assert verifier.read_checkpoint(note, trust, "note") == (5, log_root, (1,))


@pytest.mark.criterion("CMD-17", "PRF-4")
def test_what_the_fold_takes():
    made = signed_venue.signed_venue()
    position = made.fold.position
    before = made.fold.machine.registry
    said = made.one(made.replicas[1], cosigned(1, position))
    assert (said.reason, said.made) == (Reason.ACCEPTED, position)
    assert made.fold.machine.registry == before, "it changes nothing"


@pytest.mark.criterion("CMD-17")
def test_what_the_fold_refuses_in_order():
    made = signed_venue.signed_venue()

    def said(command, session=1):
        outcome = made.one(made.replicas[session], command)
        return outcome.reason, outcome.limit

    size = made.fold.position
    assert said(cosigned(0, size, key=KEYS[1])) == (Reason.SESSION_ROLE, 1)
    unknown = c.Cosign(7, b"", 0, b"", -1, b"")
    assert said(unknown) == (Reason.REPLICA_UNKNOWN, 2)
    assert said(c.Cosign(2**64 - 1, LOG, size, bytes(32), 5, bytes(64))) == (Reason.REPLICA_UNKNOWN, 2)
    for wrong in (0, -1, 10**6, 2**64 - 1):
        assert said(cosigned(1, wrong)) == (Reason.VALUE_INVALID, made.fold.position - 1)
    for wrong in (
        cosigned(1, size, key=KEYS[0]),
        cosigned(1, size, log=bytes(31)),
        cosigned(1, size, root=bytes(33)),
        cosigned(1, size, time=-1),
        c.Cosign(1, LOG, size, bytes(32), 2**63, bytes(64)),
        c.Cosign(1, LOG, size, bytes(32), 5, b"short"),
        c.Cosign(1, LOG, size, bytes(32), 6, cosigned(1, size).signature),
        c.Cosign(1, LOG, size - 1, bytes(32), 5, cosigned(1, size).signature),
        c.Cosign(1, bytes(32), size, bytes(32), 5, cosigned(1, size).signature),
    ):
        assert said(wrong) == (Reason.VOTE_INVALID, 0)
    assert made.one(made.client, cosigned(1, size)).reason is Reason.SESSION_ROLE


@pytest.mark.criterion("QRM-23", "PRF-4", "QRM-14")
def test_what_a_replica_says():
    made = signed_venue.signed_venue()
    made.send()
    while made.fold.position % 32:
        made.send()
    bare, tree = made.fold._fold, made.fold.tree
    assert cosignatures(bare, 0, KEYS[0], tree) == [], "its word on the state root is not in the log yet"
    for vote in root_votes(bare, 0, KEYS[0]):
        made.one(made.replicas[0], vote)
    (said,) = cosignatures(bare, 0, KEYS[0], tree)
    assert (said.size, said.time, said.log) == (32, START // SECOND, tree.log)
    grown = FrameTree()
    for _, data in made.log.read(0, 32):
        grown.append(data)
    assert said.root == grown.root()
    assert cosignatures(bare, 1, KEYS[1], tree) == []
    tree.forget(said.size)
    assert cosignatures(bare, 0, KEYS[0], tree) == []
    made.reach_checkpoint((0, 2))
    assert name_root(made, 1, bytes(32)).limit == 1
    assert made.one(made.replicas[1], cosigned(1, 3)).reason is Reason.REPLICA_SUSPENDED
    assert cosignatures(bare, 1, KEYS[1], tree) == []


def embedded(folder):
    """An engine with a few commands and a root due every 16 frames."""
    engine = holdfast.Engine(folder)
    if engine.position < 3:
        engine.set_rules(checkpoint_frames=16)
        engine.define_asset("USD")
        engine.tick("2020-03-12T10:00Z")
    return engine


@pytest.mark.criterion("PRF-4")
def test_an_embedded_engine_cosigns_and_goes_on(tmp_path):
    with embedded(tmp_path) as engine:
        assert engine.checkpoint() % 16 == 0
        engine.snapshot()
        first = engine.position
    (tree,) = (tmp_path / "snapshots").glob("*.tree")
    for spoil in (None, lambda: tree.write_bytes(b"damaged"), tree.unlink):
        if spoil:
            spoil()
        with embedded(tmp_path) as engine:
            before = engine.position
            assert engine.checkpoint() > before
    with SqliteLog(tmp_path / LOG_NAME, writable=False) as log:
        audit = audit_log(log)
        assert audit.cosignatures >= 8
        assert audit.newest > first
        history = read_history(log)
        assert len({one.size for one in history.cosignatures}) == len(history.cosignatures), "none is said twice"
        Prover(log, history).consistency(history.cosignatures[0].size)


@pytest.mark.criterion("PRF-4")
def test_a_root_after_every_frame_does_not_go_on_for_ever():
    with embedded(None) as engine:
        engine.set_rules(checkpoint_frames=1)
        before = engine.position
        engine.define_asset("BTC")
        assert engine.position == before + 3, "the command, a word on its root, a cosignature"


def test_a_checkpoint_needs_a_rule():
    with embedded(None) as engine:
        engine.set_rules(checkpoint_frames=0)
        with pytest.raises(holdfast.InputError, match="checkpoint_frames"):
            engine.checkpoint()


@pytest.mark.criterion("DEF-11", "STR-11")
def test_roots_are_due_after_breaches():
    made = signed_venue.breached(signed_venue.signed_venue(checkpoint_frames=0))
    mark = made.fold.machine.registry.marks[-1].position
    assert [one.position for one in made.fold.checkpoints] == [mark], "marks before had no account below"
    assert made.fold.machine.registry.checkpoints[-1].position == mark
    made.send()
    assert len(made.fold.checkpoints) == 1, "a frame without a mark"
    made.operate(c.Mark(BTC), c.Mark(BTC))
    assert [one.position for one in made.fold.checkpoints] == [mark, made.fold.position - 1], "once per frame"
    made.operate(c.SetRules(checkpoint_frames=0, breach_checkpoints=0))
    made.operate(c.Mark(BTC))
    assert len(made.fold.checkpoints) == 2
    for wrong in (-1, 2):
        rules = c.SetRules(breach_checkpoints=wrong)
        assert made.one(made.operator, rules).reason is Reason.DEFINITION_INVALID
