"""Keys that change: followed by what the earlier keys certified, and not otherwise."""

import json

import pytest
import signed_venue
from fold_driver import ALICE, KEYS
from signed_venue import prover_of
from test_proofs import edited, packed, refusal
from voting import name_root

from holdfast.domain import commands as c
from holdfast.domain import signatures
from holdfast.domain.signatures import public_key_of
from holdfast.proof import verifier
from holdfast.validate.proofs import evidence
from holdfast.validate.proofs.evidence import NotProvableError, trust_of
from holdfast.validate.proofs.history import Place


@pytest.fixture(autouse=True)
def _fast_signatures(monkeypatch):
    monkeypatch.setattr(verifier, "is_signature", signatures.is_signature)


def trust_now(made):
    return trust_of(made.fold.tree.log, made.fold.machine.registry.replicas)


@pytest.fixture(scope="module")
def rotated():
    """Two of three replicas got another key, one after the other; the keys before, and the venue."""
    made = signed_venue.signed_venue()
    before = trust_now(made)
    for replica, seed in ((0, 21), (1, 22)):
        made.rotate(replica, seed)
        made.reach_checkpoint()
        made.reach_checkpoint()
    return before, made


@pytest.mark.criterion("PRF-13")
def test_keys_of_an_earlier_time_lead_to_those_of_now(rotated):
    before, made = rotated
    proof = prover_of(made, before).margin(ALICE)
    told = "\n".join(verifier.verify(proof, before))
    steps = json.loads(proof)["rotations"]
    assert len(steps) == 2
    assert [len(one["definitions"]) for one in steps] == [1, 1]
    for replica in (0, 1):
        assert f"key of replica {replica} {'xyz'[replica]} from the state" in told
        assert public_key_of(made.keys[replica]).hex() in told
    assert json.loads(prover_of(made).margin(ALICE))["rotations"] == []
    assert "is by another key" in refusal(edited(proof, lambda one: one.update(rotations=[])), before)
    assert "is by another key" in refusal(edited(proof, lambda one: one["rotations"].pop(0)), before)


@pytest.mark.criterion("PRF-13")
def test_two_of_three_keys_at_once_cannot_be_followed():
    made = signed_venue.signed_venue()
    before = trust_now(made)
    made.rotate(0, 21)
    made.rotate(1, 22)
    made.reach_checkpoint()
    made.reach_checkpoint()
    with pytest.raises(NotProvableError, match="is cosigned by enough of the trusted replicas"):
        prover_of(made, before).margin(ALICE)


@pytest.mark.criterion("PRF-13")
def test_a_fourth_replica_needs_a_larger_majority():
    made = signed_venue.signed_venue()
    before = trust_now(made)
    made.operate(c.DefineReplica("w", public_key_of(bytes([31]) * 32), "us"))
    made.keys.append(bytes([31]) * 32)
    made.replicas.append(made.open("replica", 3))
    made.reach_checkpoint(range(4))
    made.reach_checkpoint(range(4))
    proof = prover_of(made, before).margin(ALICE)
    assert "cosigned by 3 of 4 replicas" in "\n".join(verifier.verify(proof, before))
    for replica, seed in ((0, 21), (2, 22)):
        made.rotate(replica, seed)
        made.reach_checkpoint(range(4))
        made.reach_checkpoint(range(4))
    told = "\n".join(verifier.verify(prover_of(made, before).margin(ALICE), before))
    assert "key of replica 3 w from the state" in told
    assert "cosigned by 3 of 4 replicas" in told


@pytest.mark.criterion("PRF-13", "QRM-14")
def test_a_suspended_replica_signs_nothing():
    made = signed_venue.signed_venue()
    before = trust_now(made)
    made.reach_checkpoint((0, 2))
    assert name_root(made, 1, bytes(32)).limit == 1, "it named another root than the majority"
    made.reach_checkpoint((0, 2))
    made.reach_checkpoint((0, 2))
    proof = prover_of(made, before).margin(ALICE)
    told = "\n".join(verifier.verify(proof, before))
    assert "replica 1 is suspended in the state after frame" in told
    assert json.loads(proof)["rotations"][0]["definitions"] == []
    made.operate(c.RestoreReplica(1))
    made.reach_checkpoint()
    made.reach_checkpoint()
    assert "suspended" not in "\n".join(verifier.verify(prover_of(made, before).margin(ALICE), before))


@pytest.mark.criterion("PRF-13", "PRF-20")
def test_changes_of_a_rotation(rotated):
    before, made = rotated
    proof = prover_of(made, before).margin(ALICE)

    def change(edit):
        return refusal(edited(proof, lambda content: edit(content["rotations"][0])), before)

    assert "are not those of the changed keys" in change(lambda step: step.update(definitions=[]))
    assert "is no define-replica" in change(lambda step: step["definitions"].__setitem__(0, step["state"]["votes"][0]))
    assert "has checkpoint, definitions, frames instead of" in change(lambda step: step.pop("state"))
    assert "is not under this root" in change(lambda step: step["state"]["leaves"][0].update(leaf=packed(b"x")))
    assert "has not exactly one leaf" in change(lambda step: step["state"].update(leaves=[]))
    assert "1 of 3 replicas" in change(lambda step: step["state"]["votes"].pop())


@pytest.mark.criterion("PRF-13")
def test_a_definition_that_was_refused_changes_no_key():
    """A client sends the definition of another key: it is in the log, but not in the state."""
    made = signed_venue.signed_venue()
    before = trust_now(made)
    stolen = public_key_of(bytes([66]) * 32)
    assert made.one(made.client, c.DefineReplica("x", stolen, "eu")).reason.name == "SESSION_ROLE"
    made.reach_checkpoint()
    made.reach_checkpoint()
    proof = prover_of(made, before).margin(ALICE)
    assert json.loads(proof)["rotations"] == []
    assert trust_now(made).replicas == before.replicas
    assert before.replicas[0].key == public_key_of(KEYS[0])


@pytest.mark.criterion("PRF-13", "PRF-20")
def test_a_definition_behind_the_state(monkeypatch):
    made = signed_venue.signed_venue()
    before = trust_now(made)
    made.rotate(0, 21)
    made.reach_checkpoint((1, 2))
    state = made.fold.machine.registry.certified[-1].position
    made.rotate(0, 21)
    later = Place(made.fold.position - 1, 0)
    made.reach_checkpoint((1, 2))
    made.reach_checkpoint((1, 2))
    assert later.position > state
    monkeypatch.setattr("holdfast.validate.proofs.rotations._definitions", lambda *_: iter([later]))
    honest = evidence.certified
    monkeypatch.setattr(evidence, "certified", lambda *of: (one for one in honest(*of) if one.position <= state))
    with pytest.raises(verifier.Refused, match="comes after that state"):
        prover_of(made, before).margin(ALICE)
