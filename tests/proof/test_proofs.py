"""Proofs of a venue of three replicas: they hold, and nothing that was changed in them does."""

import base64
import copy
import json
import random

import pytest
import signed_venue
from fold_driver import ALICE, BOB, CAROL, KEYS, POOR
from voting import totals

from holdfast.domain import signatures
from holdfast.domain.errors import InputError
from holdfast.domain.signatures import public_key_of
from holdfast.proof import verifier
from holdfast.proof.checkpoint import Cosignature, checkpoint_note, cosigned_message, origin_of
from holdfast.proof.frame_tree import FrameHashes
from holdfast.proof.verifier import Refused, Trust
from holdfast.validate.proofs.evidence import NotProvableError, keys_text
from holdfast.validate.proofs.states import LeafPlace, ProvableState


@pytest.fixture(autouse=True)
def _fast_signatures(monkeypatch):
    """The library's signatures in place of the verifier's own, which accept the same (test_verifier_parts)."""
    monkeypatch.setattr(verifier, "is_signature", signatures.is_signature)


@pytest.fixture(scope="session")
def margin(prover):
    return prover.margin(ALICE)


@pytest.fixture(scope="session")
def liquidation(prover):
    return prover.liquidation(POOR)


@pytest.fixture(scope="session")
def consistency(prover):
    heads = list(signed_venue.heads_of(prover))
    return prover.consistency(heads[-1].size)


def edited(proof, change):
    """A proof with its content changed and written in its one form."""
    content = json.loads(proof)
    change(content)
    return verifier.canonical(content)


def refusal(proof, trust, **named):
    """What the verifier says against a proof."""
    with pytest.raises(Refused) as refused:
        verifier.verify(proof, trust, **named)
    return str(refused.value)


def unpacked(text):
    return base64.b64decode(text)


def packed(data):
    return base64.b64encode(data).decode()


@pytest.mark.criterion("PRF-7", "PRF-15")
@pytest.mark.parametrize("account", [ALICE, BOB, CAROL, POOR])
def test_a_margin_is_proved(venue_log, prover, account):
    proof = prover.margin(account)
    told = "\n".join(verifier.verify(proof, prover.trust))
    position = json.loads(proof)["state"]["position"]
    assert "cosigned by 2 of 3 replicas (0 x, 2 z)" in told
    assert f"state after frame {position}: its root has the votes of 2 of 3 replicas" in told
    assert "worked out again" in told
    equity, initial, maintenance = totals(venue_log, account)
    assert json.loads(proof)["claim"] == {
        "account": account,
        "equity": equity,
        "initial_margin": initial,
        "maintenance_margin": maintenance,
    }
    assert ("without open orders" in told) == (account == CAROL)


@pytest.mark.criterion("PRF-7")
def test_an_earlier_margin_is_proved(prover):
    newest = json.loads(prover.margin(POOR))["state"]["position"]
    earlier = json.loads(prover.margin(POOR, newest - 1))
    assert earlier["state"]["position"] < newest
    with pytest.raises(NotProvableError, match="no state root up to 3 has enough votes"):
        prover.margin(POOR, 3)
    with pytest.raises(InputError, match="name an account that was open"):
        prover.margin(99)


@pytest.mark.criterion("PRF-8", "STR-11")
def test_a_liquidation_is_proved_and_worked_out_again(prover, liquidation):
    told = "\n".join(verifier.verify(liquidation, prover.trust))
    content = json.loads(liquidation)
    mark = prover.history.episodes(POOR)[0].ballots[0].vote.position
    assert content["state"]["position"] == mark, "the state at the mark was certified"
    assert "said by 2 of 3 replicas (0 x, 2 z)" in told
    assert "both engines: equity" in told
    assert "both numbers were worked out again" in told
    assert "stage in frame" in told
    with pytest.raises(InputError, match="was never put under liquidation"):
        prover.liquidation(ALICE)


@pytest.mark.criterion("PRF-6")
def test_growth_is_proved(prover, consistency):
    told = "\n".join(verifier.verify(consistency, prover.trust))
    assert "the log only grew" in told
    old = json.loads(consistency)["old"]
    told = verifier.verify(consistency, prover.trust, old.encode())
    assert "is the one that was kept" in told[1]
    other = old.replace("\n3", "\n4", 1).encode()
    assert "the one that was kept is another one" in refusal(consistency, prover.trust, against=other)
    lines = old.split("\n")
    lines[2] = packed(bytes(32))
    assert "forked or rewritten" in refusal(consistency, prover.trust, against="\n".join(lines).encode())
    with pytest.raises(NotProvableError, match="none of 7 frames is cosigned"):
        prover.consistency(7)


@pytest.mark.criterion("PRF-5")
def test_a_frame_is_proved(venue_log, prover):
    proof = prover.frame(3)
    ((_, data),) = venue_log.log.read(3, 1)
    told = verifier.verify(proof, prover.trust)
    assert f"frame 3 is in it: {len(data)} bytes" in told[1]
    lines = proof.decode().split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert unpacked(lines[1].removeprefix("extra ")) == data
    assert proof.decode().endswith("\n\n" + prover.checkpoint().decode())
    for wrong in (
        proof.replace(b"index 3", b"index 4"),
        proof.replace(b"extra ", b"extra AAAA"),
        proof[:-1],
        proof + b"x",
    ):
        refusal(wrong, prover.trust)
    with pytest.raises(InputError, match="is not in the newest checkpoint"):
        prover.frame(10**6)


@pytest.mark.criterion("PRF-20", "PRF-14")
def test_no_bit_of_a_small_proof_can_be_changed(prover, consistency):
    for at in range(len(consistency)):
        for bit in range(8):
            wrong = bytearray(consistency)
            wrong[at] ^= 1 << bit
            refusal(bytes(wrong), prover.trust)


@pytest.mark.criterion("PRF-20", "PRF-14")
@pytest.mark.parametrize("kind", ["margin", "liquidation"])
def test_changed_bits_of_large_proofs(request, prover, kind):
    proof, chosen = request.getfixturevalue(kind), random.Random(5)
    for _ in range(400):
        wrong, bit = bytearray(proof), chosen.randrange(8 * len(proof))
        wrong[bit // 8] ^= 1 << bit % 8
        refusal(bytes(wrong), prover.trust)


@pytest.mark.criterion("PRF-20")
@pytest.mark.parametrize("kind", ["margin", "liquidation", "consistency"])
def test_cut_and_lengthened_proofs(request, prover, kind):
    proof = request.getfixturevalue(kind)
    for wrong in (b"", proof[:-1], proof[: len(proof) // 2], proof + b"\n", proof + proof, b"\xef\xbb\xbf" + proof):
        refusal(wrong, prover.trust)


@pytest.mark.criterion("PRF-20")
def test_no_field_of_a_leaf_can_be_changed(prover, margin):
    leaves = json.loads(margin)["state"]["leaves"]
    for n, one in enumerate(leaves):
        leaf = unpacked(one["leaf"])
        for at in range(0, len(leaf), 8 if one["section"] == "accounts" else max(8, len(leaf) // 6)):
            spoilt = bytearray(leaf)
            spoilt[at] ^= 1
            wrong = edited(
                margin, lambda content, n=n, spoilt=spoilt: content["state"]["leaves"][n].update(leaf=packed(spoilt))
            )
            assert f"state.leaves[{n}], {one['section']} {one['index']}: is not under this root" in refusal(
                wrong, prover.trust
            )


def _swap(content):
    leaves = content["state"]["leaves"]
    leaves[0]["leaf"], leaves[1]["leaf"] = leaves[1]["leaf"], leaves[0]["leaf"]


CHANGES = {
    "another account's number": (lambda c: c["claim"].update(account=BOB), "is not in the proof"),
    "a number that nobody has": (lambda c: c["claim"].update(account=10**6), "claim.account: is 1000000"),
    "a truth value for a number": (lambda c: c["claim"].update(account=True), "claim.account: is True"),
    "another equity": (lambda c: c["claim"].update(equity=1.0), "claim.equity: is stated as 1.0, but"),
    "another maintenance margin": (
        lambda c: c["claim"].update(maintenance_margin=0.0),
        "claim.maintenance: is stated as 0.0",
    ),
    "an unknown field": (lambda c: c.update(more=1), "proof: has claim, frames, more, state instead of"),
    "a missing field": (lambda c: c.pop("state"), "proof: has claim, frames instead of"),
    "another format": (lambda c: c.update(format="holdfast-proof/2"), "format: is 'holdfast-proof/2'"),
    "another kind": (lambda c: c.update(kind="solvency"), "kind: is 'solvency'"),
    "kind as a list": (lambda c: c.update(kind=[]), "kind: is '[]'"),
    "leaves swapped": (_swap, "is not under this root"),
    "a leaf twice": (
        lambda c: c["state"]["leaves"].append(c["state"]["leaves"][-1]),
        "leaves stand in ascending order",
    ),
    "leaves in another order": (lambda c: c["state"]["leaves"].reverse(), "in ascending order, each once"),
    "votes in another order": (lambda c: c["state"]["votes"].reverse(), "places stand in ascending order"),
    "a leaf too few": (lambda c: c["state"]["leaves"].pop(), "is not in the proof"),
    "an unknown section": (lambda c: c["state"]["leaves"][0].update(section="cash"), "is no section of a state"),
    "a frame too many": (lambda c: c["frames"].insert(0, c["frames"][0] | {"position": 0}), "frame 0: the proof has"),
    "frames out of order": (lambda c: c["frames"].reverse(), "frames stand in ascending order"),
    "a frame too few": (lambda c: c["frames"].pop(), "is not in the proof"),
    "a vote too few": (lambda c: c["state"]["votes"].pop(), "1 of 3 replicas instead of 2 or more"),
    "a vote twice": (
        lambda c: c["state"]["votes"].__setitem__(1, c["state"]["votes"][0]),
        "in ascending order, each once",
    ),
    "another position": (lambda c: c["state"].update(position=1), "for this root at position 1"),
    "a record that is no vote": (lambda c: c["state"]["votes"][0].update(record=5), "has no record 5"),
    "another frame for a vote": (
        lambda c: c["state"]["votes"][0].update(position=10**9),
        "the frame 1000000000 is not in",
    ),
    "frames that are no list": (lambda c: c.update(frames={}), "frames: is no list"),
    "a position that is a text": (lambda c: c["frames"][0].update(position="1"), "frames[0].position: is 1"),
    "a path too short": (lambda c: c["frames"][0]["path"].pop(), "hashes instead of"),
    "a path too long": (lambda c: c["frames"][0]["path"].append(packed(bytes(32))), "hashes instead of"),
    "a hash too short": (
        lambda c: c["frames"][0]["path"].__setitem__(0, packed(bytes(31))),
        "has 31 bytes instead of 32",
    ),
    "sections cut": (lambda c: c["state"].update(sections=packed(bytes(399))), "has 399 bytes instead of 400"),
    "other sections": (lambda c: c["state"].update(sections=packed(bytes(400))), "is no vote of replica"),
    "a checkpoint cut": (lambda c: c.update(checkpoint=c["checkpoint"][:-1]), "is no checkpoint"),
    "a checkpoint that is no text": (lambda c: c.update(checkpoint=7), "checkpoint: is no text"),
    "another size": (lambda c: c.update(checkpoint=c["checkpoint"].replace("\n", "\n1", 1)), "the signature is wrong"),
}


@pytest.mark.criterion("PRF-20", "PRF-14", "PRF-15")
@pytest.mark.parametrize("what", CHANGES)
def test_changes_of_a_margin_proof(prover, margin, what):
    change, expected = CHANGES[what]
    assert expected in refusal(edited(margin, change), prover.trust)


@pytest.mark.criterion("PRF-14")
def test_a_proof_has_one_form(prover, margin):
    content = json.loads(margin)
    for wrong in (
        json.dumps(content).encode(),
        json.dumps(content, indent=1).encode() + b"\n",
        margin.replace(b"\n", b"\r\n"),
    ):
        if wrong != margin:
            assert "is not written in its one form" in refusal(wrong, prover.trust)
    assert "is no JSON object" in refusal(b"[]\n", prover.trust)


def _without_lines(content, keep):
    head, lines = content["checkpoint"].rsplit("\n\n", 1)
    content["checkpoint"] = head + "\n\n" + keep(lines.splitlines(keepends=True))


@pytest.mark.criterion("PRF-20", "PRF-3", "PRF-12")
def test_cosignatures_that_are_not_enough(prover, margin):
    def change(keep):
        return edited(margin, lambda content: _without_lines(content, keep))

    assert "1 of 3 replicas instead of 2 or more" in refusal(change(lambda lines: lines[0]), prover.trust)
    assert "a replica counts once" in refusal(change(lambda lines: lines[0] * 2), prover.trust)
    assert "not in order of replicas" in refusal(change(lambda lines: lines[1] + lines[0]), prover.trust)
    assert "is no checkpoint" in refusal(change(lambda lines: ""), prover.trust)
    stranger = "— example.com/witness " + packed(bytes(76)) + "\n"
    assert "is no cosignature" in refusal(change(lambda lines: stranger + "".join(lines)), prover.trust)
    assert "is not among the trusted ones" in refusal(
        change(lambda lines: lines[0] + lines[1].replace("/2 ", "/7 ")), prover.trust
    )
    assert "by another key" in refusal(change(lambda lines: lines[0] + lines[0].replace("/0 ", "/1 ")), prover.trust)


def signed_note(trust, size, root, keys, time=5):
    """A checkpoint that these keys, by number, sign."""
    origin = origin_of(trust.log)
    message = cosigned_message(origin, size, root, time)
    lines = [Cosignature(n, public_key_of(key), time, signatures.sign(key, message)) for n, key in keys.items()]
    return checkpoint_note(origin, size, root, lines)


@pytest.mark.criterion("PRF-20", "PRF-12")
def test_cosigners_of_one_region(prover, margin):
    head = next(iter(signed_venue.heads_of(prover)))
    note = signed_note(prover.trust, head.size, head.root, {0: KEYS[0], 1: KEYS[1]})
    assert "2 of 3 replicas, all of one region" in refusal(
        edited(margin, lambda c: c.update(checkpoint=note)), prover.trust
    )
    whole = signed_note(prover.trust, head.size, head.root, dict(enumerate(KEYS)))
    verifier.verify(edited(margin, lambda c: c.update(checkpoint=whole)), prover.trust)


@pytest.mark.criterion("PRF-20")
def test_a_replaced_key(prover, margin, liquidation):
    stolen = bytes([9]) * 32
    replicas = dict(prover.trust.replicas)
    replicas[0] = replicas[0]._replace(key=public_key_of(stolen))
    other = Trust(prover.trust.log, 2, replicas)
    for proof in (margin, liquidation):
        assert "is by another key than the trusted one" in refusal(proof, other)
    head = next(iter(signed_venue.heads_of(prover)))
    note = signed_note(prover.trust, head.size, head.root, {0: stolen, 2: KEYS[2]})
    forged = edited(margin, lambda c: c.update(checkpoint=note))
    assert "the signature of replica 0 is wrong" in refusal(forged, other), "the votes are still of the old key"
    assert "is by another key" in refusal(forged, prover.trust)


@pytest.mark.criterion("PRF-20", "PRF-2")
def test_another_log(prover, margin):
    other = Trust(bytes(32), 2, prover.trust.replicas)
    assert "checkpoint: is of the log holdfast/" in refusal(margin, other)


@pytest.mark.criterion("PRF-20", "PRF-6")
def test_a_forked_log(prover, consistency):
    """More than half of the replicas sign another tree of the same size, or one that does not begin as the old."""
    content = json.loads(consistency)
    size = int(content["old"].split("\n")[1])
    fork = FrameHashes()
    for n in range(size + 9):
        fork.append(b"%d" % n)
    keys = {0: KEYS[0], 2: KEYS[2]}
    other = signed_note(prover.trust, size + 9, fork.root(), keys)
    path = [packed(one) for one in fork.consistency(size, size + 9)]
    forged = edited(consistency, lambda c: c.update(checkpoint=other, path=path))
    assert "does not begin with the earlier tree: the log was rewritten" in refusal(forged, prover.trust)
    same = signed_note(prover.trust, size, fork.root(size), keys)
    assert "two roots for one size" in refusal(
        edited(consistency, lambda c: c.update(checkpoint=same, path=[])), prover.trust
    )
    shorter = signed_note(prover.trust, size - 1, fork.root(size - 1), keys)
    assert "are not an earlier part" in refusal(
        edited(consistency, lambda c: c.update(checkpoint=shorter)), prover.trust
    )


@pytest.mark.criterion("PRF-20", "PRF-13")
def test_a_suspended_replicas_signature(prover, margin):
    replicas = dict(prover.trust.replicas)
    replicas[0] = replicas[0]._replace(suspended=True)
    assert "replica 0 is suspended" in refusal(margin, Trust(prover.trust.log, 2, replicas))


@pytest.mark.criterion("PRF-15")
def test_a_leaf_that_is_not_needed(prover, monkeypatch):
    needed = ProvableState.margin_leaves
    monkeypatch.setattr(ProvableState, "margin_leaves", lambda *of: [*needed(*of), LeafPlace("market", 1)])
    with pytest.raises(Refused, match=r"state: the leaves \[\('market', 1\)\] are not needed"):
        prover.margin(ALICE)


@pytest.mark.criterion("PRF-5")
def test_a_proof_of_a_frame_says_nothing_of_a_kept_checkpoint(prover):
    assert "shows nothing about another" in refusal(prover.frame(3), prover.trust, against=prover.checkpoint())


@pytest.mark.criterion("PRF-12")
def test_keys_are_read_back(prover):
    text = keys_text(prover.trust).encode()
    again = verifier.read_trust(text)
    assert (again.log, again.needed, again.replicas) == (prover.trust.log, 2, prover.trust.replicas)


KEY_CHANGES = {
    "too few needed": (lambda c: c.update(needed=1), "keys.needed: is 1"),
    "more needed than there are": (lambda c: c.update(needed=4), "keys.needed: is 4"),
    "another format": (lambda c: c.update(format="x"), "keys.format"),
    "a short key": (lambda c: c["replicas"][0].update(key="00"), "is not 32 bytes in hexadecimal"),
    "a key of small order": (lambda c: c["replicas"][0].update(key="01" + "00" * 31), "is no key that signatures"),
    "a key in capitals": (lambda c: c["replicas"][0].update(key=c["replicas"][0]["key"].upper()), "in hexadecimal"),
    "a key twice": (lambda c: c["replicas"][0].update(key=c["replicas"][1]["key"]), "two have one key"),
    "a number twice": (lambda c: c["replicas"][0].update(number=1), "replica 1 stands twice"),
    "nobody": (lambda c: c.update(replicas=[]), "names nobody"),
    "a field more": (lambda c: c.update(more=1), "keys: has format, log, more"),
}


@pytest.mark.criterion("PRF-12")
@pytest.mark.parametrize("what", KEY_CHANGES)
def test_keys_that_cannot_be_trusted(prover, what):
    change, expected = KEY_CHANGES[what]
    content = json.loads(keys_text(prover.trust))
    change(content)
    with pytest.raises(Refused) as refused:
        verifier.read_trust(json.dumps(content).encode())
    assert expected in str(refused.value)


def test_the_provers_keys_must_be_of_the_log(prover):
    with pytest.raises(InputError, match="are of another log"):
        type(prover)(prover.log, prover.history, Trust(bytes(32), 2, prover.trust.replicas))
    assert copy.copy(prover).trust is prover.trust
