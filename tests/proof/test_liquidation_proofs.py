"""Proofs of liquidations: what makes their ballots, stages, numbers and states belong together."""

import json

import pytest
import signed_venue
from fold_driver import ALICE, BTC, POOR, SECOND, USD
from signed_venue import ballot, breached, prover_of
from test_proofs import edited, refusal
from voting import totals

from holdfast.domain import commands as c
from holdfast.domain import signatures
from holdfast.domain.reasons import Reason
from holdfast.proof import verifier
from holdfast.proof.verifier import Refused, Trust
from holdfast.validate.proofs.history import Place


@pytest.fixture(autouse=True)
def _fast_signatures(monkeypatch):
    monkeypatch.setattr(verifier, "is_signature", signatures.is_signature)


@pytest.fixture(scope="module")
def liquidation(prover):
    return prover.liquidation(POOR)


LIQUIDATION_CHANGES = {
    "a ballot too few": (lambda c: c["ballots"].pop(), "ballots: 1 of 3 replicas instead of 2 or more"),
    "a ballot twice": (lambda c: c["ballots"].__setitem__(1, c["ballots"][0]), "in ascending order, each once"),
    "no ballots": (lambda c: c.update(ballots=[]), "ballots: there are none"),
    "a word on a root as a ballot": (
        lambda c: c["ballots"].__setitem__(0, c["state"]["votes"][0]),
        "says nothing of account",
    ),
    "another account": (lambda c: c["claim"].update(account=ALICE), "says nothing of account 4"),
    "a ballot as a stage": (lambda c: c["stages"].append(c["ballots"][0]), "is no liquidate"),
    "a stage left out": (lambda c: c["stages"].pop(), "are not needed"),
    "a stage twice": (lambda c: c["stages"].append(c["stages"][0]), "in ascending order, each once"),
    "a stage that is none": (lambda c: c["stages"].append(7), "stages[1]: has int instead of"),
}


@pytest.mark.criterion("PRF-20", "PRF-8")
@pytest.mark.parametrize("what", LIQUIDATION_CHANGES)
def test_changes_of_a_liquidation(prover, liquidation, what):
    change, expected = LIQUIDATION_CHANGES[what]
    assert expected in refusal(edited(liquidation, change), prover.trust)


def with_ballots(*votes, **rules):
    """A prover of a log in which these ballots were cast; each a replica and what is other in it."""
    made = breached(signed_venue.signed_venue(**rules))
    made.say_roots()
    for replica, named in votes:
        ballot(made, replica, POOR, **named)
    made.reach_checkpoint()
    made.reach_checkpoint()
    return made, prover_of(made)


@pytest.mark.criterion("PRF-8")
def test_without_a_second_engine_a_wider_shortfall_is_needed():
    made, prover = with_ballots((0, {"with_b": False}), (2, {"with_b": False}), witness_shortfall_ppm=40_000)
    equity, _, maintenance = totals(made, POOR)
    assert equity < 0.96 * maintenance
    told = "\n".join(verifier.verify(prover.liquidation(POOR), prover.trust))
    assert "one engine: equity" in told
    row = verifier.Row(POOR, 1, 1, 1, 95.0, 100.0, 0.0, 0.0)
    with pytest.raises(Refused, match="without a second engine it needs less than"):
        verifier._check_below(row, prover.trust, verifier.Rules(), "ballot")


@pytest.mark.criterion("PRF-20", "PRF-8")
@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ((POOR, 1, 0, 1, 100.0, 100.0, 99.0, 100.0), "BELOW does not follow: A's equity 100.00"),
        ((POOR, 1, 0, 1, 99.0, 100.0, 101.0, 100.0), "BELOW does not follow: B's equity 101.00"),
        ((POOR, 1, 0, 1, 99.995, 100.0, 99.0, 100.0), "BELOW does not follow: A's"),  # within the tolerance
        ((POOR, 1, 0, 1, 99.0, 100.0, 99.995, 100.0), "BELOW does not follow: B's"),
        ((POOR, 2, 0, 1, 99.0, 100.0, 99.0, 100.0), "is no verdict BELOW"),
        ((POOR, 1, 0, 1, float("nan"), 100.0, 99.0, 100.0), "BELOW does not follow"),
    ],
)
def test_a_verdict_follows_from_its_numbers(prover, row, expected):
    with pytest.raises(Refused, match=expected):
        verifier._check_below(verifier.Row(*row), prover.trust, verifier.Rules(), "ballot")


@pytest.mark.criterion("PRF-20", "PRF-8")
def test_a_majority_that_lies_about_the_numbers_is_found_out(venue_log, monkeypatch):
    """The state at the mark is certified, so numbers that do not follow from it are refused."""
    made = breached(signed_venue.signed_venue())
    made.say_roots()
    honest = signed_venue.totals_on
    monkeypatch.setattr(signed_venue, "totals_on", lambda *of: tuple(one - 1.0 for one in honest(*of)))
    assert [ballot(made, n, POOR).made for n in (0, 2)] == [0, 1]
    made.reach_checkpoint()
    made.reach_checkpoint()
    prover = prover_of(made)
    proof = prover.liquidation(POOR)
    assert "not worked out again: the tables were built again" in "\n".join(verifier.verify(proof, prover.trust))
    honest_leaves = json.loads(prover_of(venue_log).liquidation(POOR))["state"]["leaves"]
    monkeypatch.setattr("holdfast.validate.proofs.bundles._is_state_of", lambda *_: True)
    assert len(honest_leaves) > 3
    with pytest.raises(Refused, match="ballots: equity"):
        prover.liquidation(POOR)


@pytest.mark.criterion("PRF-8")
def test_without_the_state_at_the_mark_it_says_so():
    _, prover = with_ballots((0, {}), (2, {}), breach_checkpoints=0)
    told = "\n".join(verifier.verify(prover.liquidation(POOR), prover.trust))
    assert "not worked out again: that state has version" in told


def chosen_ballots(monkeypatch, chosen):
    """Let the prover take other ballots than it would."""
    monkeypatch.setattr("holdfast.validate.proofs.bundles._ballots", lambda _episode, _trust: chosen)


@pytest.mark.criterion("PRF-20", "PRF-8")
@pytest.mark.parametrize("what", ["marks", "versions", "times"])
def test_ballots_that_do_not_belong_together(monkeypatch, what):
    made = breached(signed_venue.signed_venue())
    made.say_roots()
    early = {"time": made.fold.time - 61 * SECOND} if what == "times" else {}
    assert ballot(made, 0, POOR, **early).made == 0
    if what == "marks":
        made.operate(c.Mark(BTC))
    if what == "versions":
        made.operate(c.Deposit(POOR, USD, 1))
    if what != "times":
        assert ballot(made, 0, POOR).made == 0
    assert ballot(made, 2, POOR).made == 1
    made.reach_checkpoint()
    made.reach_checkpoint()
    prover = prover_of(made)
    cast = prover.history._ballots
    chosen_ballots(monkeypatch, [cast[0], cast[-1]])
    expected = {"marks": "different marks", "versions": "different versions", "times": "more than 60 s"}[what]
    with pytest.raises(Refused, match=expected):
        prover.liquidation(POOR)


@pytest.mark.criterion("PRF-20", "PRF-8")
@pytest.mark.parametrize(("place", "expected"), [(0, "comes before the quorum"), (1, "is of another account")])
def test_stages_that_do_not_belong_to_it(monkeypatch, place, expected):
    made = breached(signed_venue.signed_venue())
    made.say_roots()
    before = Place(made.fold.position, 0)
    assert made.one(made.replicas[0], c.Liquidate(POOR, 1)).reason is Reason.NOT_LIQUIDATING
    assert [ballot(made, n, POOR).made for n in (0, 2)] == [0, 1]
    other = Place(made.fold.position, 0)
    assert made.one(made.replicas[0], c.Liquidate(ALICE, 1)).reason is Reason.NOT_LIQUIDATING
    made.reach_checkpoint()
    made.reach_checkpoint()
    prover = prover_of(made)
    (episode,) = prover.history.episodes(POOR)
    wrong = [episode._replace(stages=((before, other)[place],))]
    monkeypatch.setattr(type(prover.history), "episodes", lambda _self, _account: wrong)
    with pytest.raises(Refused, match=expected):
        prover.liquidation(POOR)


@pytest.mark.criterion("PRF-20", "PRF-8")
def test_a_state_that_is_not_that_of_the_votes(monkeypatch):
    _, prover = with_ballots((0, {}), (2, {}), breach_checkpoints=0)
    monkeypatch.setattr("holdfast.validate.proofs.bundles._is_state_of", lambda *_: True)
    with pytest.raises(Refused, match="state: has version"):
        prover.liquidation(POOR)


@pytest.mark.criterion("PRF-20", "PRF-8")
def test_another_maintenance_margin_than_follows(monkeypatch):
    honest = signed_venue.totals_on
    monkeypatch.setattr(signed_venue, "totals_on", lambda *of: (*honest(*of)[:2], honest(*of)[2] + 1.0))
    _, prover = with_ballots((0, {}), (2, {}))
    monkeypatch.setattr("holdfast.validate.proofs.bundles._is_state_of", lambda *_: True)
    with pytest.raises(Refused, match="ballots: maintenance margin"):
        prover.liquidation(POOR)


@pytest.mark.criterion("PRF-8")
def test_one_engine_alone_must_be_below_too(prover):
    alone = Trust(prover.trust.log, 1, {0: prover.trust.replicas[0]})
    verifier._check_below(verifier.Row(POOR, 1, 1, 1, 99.0, 100.0, 0.0, 0.0), alone, verifier.Rules(), "ballot")
    with pytest.raises(Refused, match="BELOW does not follow"):
        verifier._check_below(verifier.Row(POOR, 1, 1, 1, 100.0, 100.0, 0.0, 0.0), alone, verifier.Rules(), "ballot")
