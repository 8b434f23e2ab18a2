"""What a venue owes: sums that nobody can make smaller, and an account's part of them."""

import json
from fractions import Fraction

import pytest
import signed_venue
from fold_driver import ALICE, BOB, POOR, USD, hot
from hypothesis import given
from hypothesis import strategies as st
from signed_venue import prover_of
from test_proofs import edited, refusal

from holdfast.core.margins import margins_of_all
from holdfast.domain import commands as c
from holdfast.domain import signatures
from holdfast.domain.errors import InputError
from holdfast.domain.reasons import Reason
from holdfast.proof import verifier
from holdfast.proof.liabilities import SumTree, amounts_of, leaf_of, node_of, nonce_of
from holdfast.validate.proofs.evidence import NotProvableError
from holdfast.validate.proofs.history import Place, fold_to
from holdfast.validate.proofs.liabilities import liabilities_of, prove_liabilities, statement
from proof_vectors import EQUITIES, SECRETS, liabilities, sum_root

SECRET = bytes(range(32))


@pytest.fixture(autouse=True)
def _fast_signatures(monkeypatch):
    monkeypatch.setattr(verifier, "is_signature", signatures.is_signature)


@pytest.fixture(scope="module")
def published():
    """A venue with withdrawals in flight and an account in debt, whose sums are published; and its prover."""
    made = signed_venue.signed_venue()
    assert made.one(made.client, c.RequestWithdrawal(ALICE, USD, 7)).reason is Reason.ACCEPTED
    assert made.one(made.client, hot(c.transfer, BOB, POOR, USD, 5_000_000)).reason is Reason.ACCEPTED
    made.reach_checkpoint()
    history = prover_of(made).history
    said = statement(made.log, history, SECRET)
    assert made.one(made.operator, said).made == said.count
    made.reach_checkpoint()
    made.reach_checkpoint()
    return made, prover_of(made)


@pytest.mark.criterion("PRF-9", "PRF-10", "PRF-22")
def test_the_worked_tree():
    leaves = [
        leaf_of(account, secret, equity)
        for account, (secret, equity) in enumerate(zip(SECRETS, EQUITIES, strict=True), 3)
    ]
    tree = SumTree(leaves)
    expected = [
        (0, 3_500_000, "29dc2a0142307ddbf889b6e7b5f4f11861033b8b9772aac31006a7f53cfb1f2c"),
        (0, 0, "7785891b39abe33cf5fff7718df2629490b7f0cb96adefda96bd9a39c86a445c"),
        (1_000_250_000, 0, "c13a503e7dd666b410ea337600a0163a86b62801064ee3b500b4c7ad98e35837"),
        (100_001, 0, "d5818b2143414952a49f5a3d298c790f4be8cb2c6c4b5a0677de96a159c3031c"),
    ]
    assert [(one[0], one[1], one[2].hex()) for one in sorted(leaves, key=lambda one: one.hash)] == expected
    assert tree.root[:2] == (1_000_350_001, 3_500_000)
    assert tree.root.hash.hex() == "4ff5857422fdb772e93cec3344a9c18009b83fa89ed1cc544f4cf10d8bfe4e95"
    assert tuple(tree.root) == sum_root(liabilities())


@pytest.mark.criterion("PRF-10")
@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20), st.data())
def test_sums_and_ways_to_them(equities, data):
    leaves = [leaf_of(n, nonce_of(SECRET, b"log", 7, n), equity) for n, equity in enumerate(equities)]
    tree = SumTree(leaves)
    assert tree.root.owed == sum(max(0, -(-Fraction(one) * 10**6 // 1)) for one in equities)
    assert tree.root.missing == sum(max(0, -Fraction(one) * 10**6 // 1) for one in equities)
    leaf = data.draw(st.sampled_from(leaves))
    node, index = leaf, tree.index(leaf)
    for is_left, sibling in zip(verifier.sides(index, len(tree)), tree.path(index), strict=True):
        node = node_of(sibling, node) if is_left else node_of(node, sibling)
    assert node == tree.root


@pytest.mark.criterion("PRF-9")
@pytest.mark.parametrize(
    ("equity", "expected"), [(0.1, (100_001, 0)), (-0.1, (0, 100_000)), (0.0, (0, 0)), (1.0, (10**6, 0))]
)
def test_amounts_are_never_stated_too_low(equity, expected):
    assert amounts_of(equity) == expected
    with pytest.raises(InputError):
        amounts_of(float("nan"))


@pytest.mark.criterion("PRF-11", "CMD-18")
@pytest.mark.parametrize("account", [ALICE, BOB, POOR])
def test_an_account_is_in_the_published_sums(published, account):
    made, prover = published
    proof = prove_liabilities(prover, account, SECRET)
    told = "\n".join(verifier.verify(proof, prover.trust))
    said = prover.history.publications[0][1]
    fold = fold_to(made.log, said.position)
    equities = margins_of_all(fold.machine.state, fold.machine.marked.arrays)[3:, 0]
    owed = sum(-(-Fraction(one) * 10**6 // 1) for one in equities.tolist() if one > 0)
    assert (said.owed, said.missing, said.count) == (owed, 0, 5)
    assert f": {owed / 10**6:,.6f} owed, 0.000000 missing" in told
    assert liabilities_of(fold, prover.history.log, SECRET).tree.root.hash == said.root


@pytest.mark.criterion("PRF-11", "PRF-20")
def test_changes_of_a_share(published):
    _, prover = published
    proof = prove_liabilities(prover, BOB, SECRET)

    def change(edit):
        return refusal(edited(proof, edit), prover.trust)

    assert "is not in the proof" in change(lambda one: one["claim"].update(account=ALICE))
    assert "claim.account: is 3" in change(lambda one: one["claim"].update(account=3))
    assert "does not lead to the published" in change(
        lambda one: one["path"][0].update(owed=one["path"][0]["owed"] + 1)
    )
    assert "does not lead to the published" in change(lambda one: one["path"][0].update(missing=1))
    assert "path[0].owed: is -1" in change(lambda one: one["path"][0].update(owed=-1))
    assert "nodes instead of" in change(lambda one: one["path"].pop())
    assert "does not lead to the published" in change(lambda one: one["leaf"].update(nonce="A" * 43 + "="))
    assert "is no publish-liabilities" in change(lambda one: one.update(publication=one["state"]["votes"][0]))
    most = {"owed": 2**128 - 1, "missing": 0, "hash": json.loads(proof)["path"][0]["hash"]}
    assert "beyond 128 bits" in change(lambda one: one["path"].__setitem__(0, most))


@pytest.mark.criterion("PRF-11")
def test_what_cannot_be_proved(published, venue_log):
    _, prover = published
    with pytest.raises(InputError, match="is another one"):
        prove_liabilities(prover, BOB, bytes(32))
    with pytest.raises(InputError, match="name a client's account"):
        prove_liabilities(prover, 3, SECRET)
    with pytest.raises(NotProvableError, match="no sum of liabilities is published"):
        prove_liabilities(prover_of(venue_log), BOB, SECRET)


@pytest.mark.criterion("CMD-18")
def test_sums_that_cannot_be_published(published):
    made, _ = published
    certified = made.fold.machine.registry.certified[-1].position
    before = made.fold.machine.registry
    for wrong in (
        (certified + 1, 5, 1, 0, bytes(32)),
        (certified, 5, -1, 0, bytes(32)),
        (certified, 5, 1, 0, bytes(31)),
    ):
        assert made.one(made.operator, c.PublishLiabilities(*wrong)).reason is Reason.VALUE_INVALID
    too_large = made.one(made.operator, c.PublishLiabilities(certified, 5, 2**63, 0, bytes(32)))
    assert (too_large.reason, too_large.limit) == (Reason.VALUE_INVALID, 2**63 - 1)
    right = c.PublishLiabilities(certified, 5, 1, 0, bytes(32))
    assert made.one(made.client, right).reason is Reason.SESSION_ROLE
    assert made.fold.machine.registry == before


@pytest.mark.criterion("PRF-11", "PRF-20")
def test_sums_published_for_another_state():
    made = signed_venue.signed_venue()
    made.reach_checkpoint()
    made.reach_checkpoint()
    first, second = made.fold.machine.registry.certified[-2:]
    right = statement(made.log, prover_of(made).history, SECRET)
    assert right.position == second.position
    wrong = c.PublishLiabilities(first.position, right.count, right.owed, right.missing, right.root)
    at = made.fold.position
    assert made.one(made.operator, wrong).reason is Reason.ACCEPTED
    made.reach_checkpoint()
    made.reach_checkpoint()
    prover = prover_of(made)
    prover.history.publications.append((Place(at, 0), right))
    with pytest.raises(verifier.Refused, match="publication: is about another state"):
        prove_liabilities(prover, BOB, SECRET)
