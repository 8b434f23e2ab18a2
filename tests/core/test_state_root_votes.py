"""Votes on state roots: certified checkpoints, suspension, what stands still while roots differ (specs/quorum.md)."""

import pytest
from fold_driver import ALICE, BOB, BTC, KEYS, LINEAR, POOR, SECOND, START, USD, Driver, Venue, venue
from voting import UNIT, below, cast, market, move_to, name_root, reach_checkpoint, status_of, vote_of

from holdfast.core.canonical import canonical_bytes
from holdfast.core.cold.checkpoints import is_held
from holdfast.core.registry import CHECKPOINTS_REMEMBERED, CertifiedCheckpoint, CheckpointPlace
from holdfast.core.roots import full_root
from holdfast.core.snapshot import fold_from, snapshot_of
from holdfast.core.state import Status
from holdfast.domain import commands as c
from holdfast.domain import votes as v
from holdfast.domain.quarantines import Quarantine, Subject, encode_quarantine, sign_quarantine
from holdfast.domain.reasons import Reason
from holdfast.domain.signatures import public_key_of

A, B, C, D = (bytes([n + 1]) * 32 for n in range(4))
"""State roots that replicas name."""


class Cluster(Driver):
    """Some replicas and a root after every frame; nothing else."""

    def __init__(self, count):
        super().__init__()
        self.operator = self.open("operator")
        keys = [public_key_of(bytes([n + 1]) * 32) for n in range(count)]
        self.all_accepted(*((self.operator, c.DefineReplica(f"r{n}", key)) for n, key in enumerate(keys)))
        self.all_accepted((self.operator, c.SetRules(checkpoint_frames=1)))
        self.replicas = [self.open("replica", n) for n in range(count)]

    @property
    def registry(self):
        return self.fold.machine.registry

    def say(self, replica, root, place):
        said = {"position": place.position, "chain_hash": place.chain, "price_id": 9, "time": -1}
        vote = v.Vote(replica=replica, logic_version=1, state_root=root, rows=v.np.empty(0, v.ROW), **said)
        return self.one(self.replicas[replica], c.CastVote(v.sign_vote(vote, bytes([replica + 1]) * 32)))


def rooted(made, frames=8):
    """The venue with a root due every so many frames, at a checkpoint."""
    made.operate(c.SetRules(checkpoint_frames=frames))
    reach_checkpoint(made)
    return made


def registry_of(made):
    return made.fold.machine.registry


def suspended(made):
    return [number for number, replica in enumerate(registry_of(made).replicas) if replica.suspended]


@pytest.mark.criterion("QRM-12", "STR-11")
def test_checkpoints_are_remembered_where_a_root_is_due():
    made = Cluster(1)
    while made.fold.position < CHECKPOINTS_REMEMBERED + 9:
        made.send()
    places = registry_of(made).checkpoints
    assert len(places) == CHECKPOINTS_REMEMBERED
    assert places == tuple(CheckpointPlace(one.position, one.chain) for one in made.fold.checkpoints)
    assert places[-1] == CheckpointPlace(made.fold.position - 1, made.fold.chain)
    assert made.fold.checkpoints[-1].root == full_root(made.fold.machine), "its own place is under the root"
    made.say(0, A, places[-1])
    made.all_accepted((made.operator, c.SetRules(checkpoint_frames=0)))
    made.send()
    assert registry_of(made).checkpoints[-1].position == made.fold.position - 3


@pytest.mark.criterion("QRM-13", "QRM-15")
@pytest.mark.parametrize(
    ("replicas", "said", "certified", "out", "frozen"),
    [
        (1, A, True, [], False),
        (2, A + A, True, [], False),
        (2, A, False, [], False),
        (2, A + B, False, [], True),
        (3, A + A, True, [], False),
        (3, A + A + B, True, [2], False),
        (3, A + B, False, [], False),
        (3, A + B + A, True, [1], False),
        (3, A + B + C, False, [], True),
        (4, A + A + B, False, [], False),
        (4, A + A + B + B, False, [], True),
        (4, A + A + B + A, True, [2], False),
        (5, A + B + A + A, True, [1], False),
        (5, A + B + A + A + C, True, [1, 4], False),
    ],
)
def test_majorities_ties_and_strangers(replicas, said, certified, out, frozen):
    made = Cluster(replicas)
    place = registry_of(made).checkpoints[-1]
    roots = [said[at : at + 32] for at in range(0, len(said), 32)]
    outcomes = [made.say(replica, root, place) for replica, root in enumerate(roots)]
    assert {one.reason for one in outcomes} == {Reason.ACCEPTED}
    registry = registry_of(made)
    assert registry.certified == ((CertifiedCheckpoint(*_parts(place), A),) if certified else ())
    assert (suspended(made), registry.frozen) == (out, frozen)
    assert [one.made for one in outcomes].count(1) == int(certified)
    assert sum(one.limit for one in outcomes) == len(out)
    sites = [alarm.site for alarm in registry.alarms]
    assert sites.count("suspension") == len(out)
    assert any("frozen" in alarm.text for alarm in registry.alarms) is frozen


def _parts(place):
    return place.position, place.chain


@pytest.mark.criterion("QRM-1", "QRM-12")
def test_words_on_roots_that_are_refused():
    made = rooted(venue())
    place = registry_of(made).checkpoints[-1]
    assert name_root(made, 0, A, place, logic_version=2).reason is Reason.VERSION_UNKNOWN
    assert name_root(made, 0, A, place, chain_hash=bytes(32)).reason is Reason.VOTE_MISMATCH
    assert name_root(made, 0, A, place, position=place.position + 1).reason is Reason.VOTE_MISMATCH
    assert name_root(made, 0, A, place, key=KEYS[1]).reason is Reason.VOTE_INVALID
    of_another_format = bytearray(vote_of(made, 0))
    of_another_format[4] = 2
    assert made.one(made.replicas[0], c.CastVote(bytes(of_another_format))).reason is Reason.VOTE_INVALID
    assert registry_of(made).roots == {}
    assert name_root(made, 0, A, place).reason is Reason.ACCEPTED
    again = name_root(made, 0, A, place)
    assert (again.reason, again.made, again.limit) == (Reason.ACCEPTED, 0, 0)
    other = name_root(made, 0, B, place)
    assert (other.reason, other.limit) == (Reason.VOTE_MISMATCH, place.position)
    assert registry_of(made).roots == {place.position: {0: A}}


@pytest.mark.criterion("QRM-12")
def test_a_vote_without_rows_about_a_mark_is_without_effect():
    made = venue()
    before = canonical_bytes(registry_of(made))
    assert cast(made, 0).reason is Reason.ACCEPTED
    assert canonical_bytes(registry_of(made)) == before


@pytest.mark.criterion("QRM-12", "QRM-13")
def test_a_word_comes_too_late_when_its_checkpoint_is_forgotten():
    made = Cluster(2)
    place = registry_of(made).checkpoints[-1]
    made.say(0, A, place)
    for _ in range(CHECKPOINTS_REMEMBERED - 1):
        made.send()
    assert made.say(1, A, place).reason is Reason.VOTE_MISMATCH
    assert registry_of(made).roots == {}


@pytest.mark.criterion("QRM-13")
def test_a_stranger_that_comes_late_is_suspended_too():
    made = Cluster(3)
    place = registry_of(made).checkpoints[-1]
    made.say(0, A, place)
    made.say(2, A, place)
    for _ in range(CHECKPOINTS_REMEMBERED - 5):
        made.send()
    late = made.say(1, B, place)
    assert (late.reason, late.made, late.limit) == (Reason.ACCEPTED, 0, 1)
    assert suspended(made) == [1]


@pytest.mark.criterion("QRM-13")
def test_certified_checkpoints_are_kept_by_position():
    made = Cluster(1)
    for _ in range(CHECKPOINTS_REMEMBERED + 4):
        place = registry_of(made).checkpoints[-1]
        assert made.say(0, A, place).made == 1
    kept = registry_of(made).certified
    assert len(kept) == CHECKPOINTS_REMEMBERED
    assert [one.position for one in kept] == sorted(one.position for one in kept)
    assert kept[-1] == CertifiedCheckpoint(place.position, place.chain, A)
    other = Cluster(1)
    first = registry_of(other).checkpoints[-1]
    other.send()
    assert other.say(0, A, registry_of(other).checkpoints[-1]).made == 1
    assert other.say(0, B, first).made == 1, "an older one may be certified later"
    assert [one.root for one in registry_of(other).certified] == [B, A]


@pytest.mark.criterion("QRM-13")
def test_what_is_certified_stays_so_when_replicas_are_added():
    made = Cluster(1)
    place = registry_of(made).checkpoints[-1]
    made.say(0, A, place)
    made.all_accepted((made.operator, c.DefineReplica("r1", public_key_of(bytes([2]) * 32))))
    made.replicas.append(made.open("replica", 1))
    assert made.say(1, B, place).limit == 1
    assert suspended(made) == [1]
    assert not registry_of(made).frozen


@pytest.mark.criterion("QRM-15")
def test_a_freeze_outlasts_the_checkpoint_that_caused_it():
    made = Cluster(2)
    place = registry_of(made).checkpoints[-1]
    made.say(0, A, place)
    made.say(1, B, place)
    for _ in range(CHECKPOINTS_REMEMBERED):
        made.send()
    assert registry_of(made).roots == {}
    assert is_held(registry_of(made))
    assert made.one(made.operator, c.ReleaseFreeze()).reason is Reason.ACCEPTED
    assert not is_held(registry_of(made))


def suspend(made, replica):
    """Let a replica lose the majority at the last checkpoint."""
    place = registry_of(made).checkpoints[-1]
    for other in range(3):
        name_root(made, other, B if other == replica else A, place)
    assert suspended(made) == [replica]


@pytest.mark.criterion("QRM-14", "SES-5", "TIM-2")
def test_a_suspended_replica_takes_no_part():
    made = rooted(market())
    made.tick(START + SECOND, 1)
    made.one(made.replicas[1], c.TakeLease("router", 1, 60 * SECOND))
    made.one(made.replicas[0], c.TakeLease("feed", 0, 60 * SECOND))
    number = made.one(made.client, c.RequestWithdrawal(ALICE, USD, UNIT)).made
    move_to(made, 8_600)
    cast(made, 1, below(made))
    cast(made, 1, (number, 0, v.Verdict.ABOVE), withdrawal=True)
    suspend(made, 1)
    registry = registry_of(made)
    assert (registry.ballots, registry.releases, set(registry.leases)) == ({}, {}, {"feed"})
    assert registry.alarms[-1].site == "suspension"
    tries = c.Tick(1, START + 99 * SECOND), c.TakeLease("router", 1, SECOND), c.Mark(BTC), c.Liquidate(POOR, 1)
    for command in (*tries, c.CastVote(vote_of(made, 1, below(made)))):
        refused = made.one(made.replicas[1], command)
        assert (refused.reason, refused.limit) == (Reason.REPLICA_SUSPENDED, 1)
    assert name_root(made, 1, A).reason is Reason.REPLICA_SUSPENDED
    assert cast(made, 0, below(made)).made == 0
    assert status_of(made, POOR) is Status.BREACH_PENDING, "one of three is not enough, whoever is suspended"
    assert cast(made, 2, below(made)).made == 1


@pytest.mark.criterion("QRM-14", "TIM-2", "TIM-3")
def test_the_clock_of_a_suspended_replica_does_not_count():
    made = rooted(venue())
    made.tick(START + 9 * SECOND, 1)
    made.tick(START + 3 * SECOND, 2)
    assert made.fold.time == START + 3 * SECOND, "the lower median of 0, 3 and 9"
    suspend(made, 1)
    assert made.tick(START + 5 * SECOND, 0).made == START + 3 * SECOND, "of 3 and 5, not of 3, 5 and 9"
    made.operate(c.RestoreReplica(1))
    assert made.tick(START + 6 * SECOND, 0).made == START + 6 * SECOND, "of 3, 6 and 9"


@pytest.mark.criterion("QRM-14", "QRM-9")
def test_the_signature_of_a_suspended_replica_does_not_count():
    made = rooted(venue())
    suspend(made, 0)
    statement = Quarantine(Subject.FRAME, made.fold.position, made.fold.chain, "dies")
    for replica in (0, 1):
        made.fold.learn_quarantine(encode_quarantine(sign_quarantine(statement, replica, KEYS[replica])))
    assert made.fold.standing() == []
    made.fold.learn_quarantine(encode_quarantine(sign_quarantine(statement, 2, KEYS[2])))
    assert made.fold.standing() == [statement]


@pytest.mark.criterion("QRM-14", "QRM-17")
def test_a_signature_given_before_the_suspension_does_not_count_in_the_record():
    made = rooted(venue())
    statement = Quarantine(Subject.FRAME, 10**6, made.fold.chain, "dies")
    sent = [c.QuarantineCommand(encode_quarantine(sign_quarantine(statement, n, KEYS[n]))) for n in range(3)]
    assert made.one(made.operator, sent[0]).limit == 1
    suspend(made, 0)
    assert made.one(made.operator, sent[0]).reason is Reason.VOTE_INVALID
    assert (made.one(made.operator, sent[1]).made, made.one(made.operator, sent[2]).made) == (0, 1)


@pytest.mark.criterion("QRM-14", "CMD-13")
def test_an_operator_restores_a_replica():
    made = rooted(venue())
    suspend(made, 2)
    made.operate(c.DefineReplica("z", public_key_of(KEYS[2])))
    assert suspended(made) == [2], "a definition that is sent again restores nobody"
    assert made.one(made.operator, c.RestoreReplica(3)).limit == 2
    assert made.one(made.operator, c.RestoreReplica(1)).reason is Reason.VALUE_INVALID
    assert made.one(made.operator, c.RestoreReplica(2)).made == 2
    assert suspended(made) == []
    assert made.tick(START + SECOND, 2).reason is Reason.ACCEPTED
    place = registry_of(made).certified[-1]
    assert name_root(made, 2, A, place).limit == 0, "it may say it anew"
    reach_checkpoint(made)
    suspend(made, 2)
    made.operate(c.RestoreReplica(2))
    place = registry_of(made).certified[-1]
    assert name_root(made, 2, B, place).limit == 1, "and is suspended anew"


def breached_and_asked():
    """The market with an account below maintenance margin, and a withdrawal, both one vote short; at a checkpoint."""
    made = rooted(market())
    number = made.one(made.client, c.RequestWithdrawal(ALICE, USD, UNIT)).made
    move_to(made, 8_600)
    cast(made, 0, below(made))
    cast(made, 0, (number, 0, v.Verdict.ABOVE), withdrawal=True)
    return made, (number, 0, v.Verdict.ABOVE)


def is_waiting(made, row):
    """Whether further votes begin nothing; they are counted all the same."""
    begun = cast(made, 1, below(made)).made + cast(made, 1, row, withdrawal=True).made
    registry = registry_of(made)
    return begun == 0 and len(registry.ballots[POOR]) == 2 and len(registry.releases[row[0]]) == 2


@pytest.mark.criterion("QRM-15")
def test_a_tie_freezes_until_an_operator_releases_it():
    made, row = breached_and_asked()
    place = registry_of(made).checkpoints[-1]
    for replica, root in enumerate((A, B, C)):
        name_root(made, replica, root, place)
    assert registry_of(made).frozen
    assert registry_of(made).alarms[-1].site == "roots"
    assert is_waiting(made, row)
    later = reach_checkpoint(made)
    name_root(made, 0, A, later)
    name_root(made, 1, A, later)
    assert registry_of(made).certified, "a later majority does not release it"
    assert registry_of(made).frozen
    assert made.one(made.client, c.ReleaseFreeze()).reason is Reason.SESSION_ROLE
    made.operate(c.ReleaseFreeze())
    registry = registry_of(made)
    assert not registry.frozen
    assert place not in registry.checkpoints
    assert set(registry.roots) == {registry.certified[-1].position}
    assert name_root(made, 0, A, place).reason is Reason.VOTE_MISMATCH
    assert cast(made, 2, below(made)).made == 1
    assert cast(made, 2, row, withdrawal=True).made == 1
    assert made.one(made.operator, c.ReleaseFreeze()).reason is Reason.VALUE_INVALID


@pytest.mark.criterion("QRM-15")
def test_roots_that_differ_hold_decisions_until_a_majority():
    made, row = breached_and_asked()
    place = registry_of(made).checkpoints[-1]
    name_root(made, 0, A, place)
    name_root(made, 1, B, place)
    assert not registry_of(made).frozen
    assert registry_of(made).alarms[-1].site == "roots"
    assert is_waiting(made, row)
    assert name_root(made, 2, A, place).limit == 1
    assert suspended(made) == [1]
    assert cast(made, 2, below(made)).made == 1
    assert cast(made, 2, row, withdrawal=True).made == 1


@pytest.mark.criterion("QRM-15", "LIQ-4")
def test_stages_wait_too():
    made = market()
    move_to(made, 8_600)
    cast(made, 0, below(made))
    cast(made, 1, below(made))
    rooted(made)
    place = registry_of(made).checkpoints[-1]
    name_root(made, 0, A, place)
    name_root(made, 1, B, place)
    version = below(made)[1]
    stage = c.Liquidate(POOR, version, ((LINEAR, -10),))
    assert made.one(made.replicas[2], c.Liquidate(POOR, version - 1, ((LINEAR, -10),))).reason is Reason.PLAN_OUTDATED
    assert made.one(made.replicas[2], stage).reason is Reason.DECISIONS_FROZEN
    made.operate(c.ReleaseFreeze())
    made.order(BOB, LINEAR, 10, 860_000)
    assert made.one(made.replicas[2], stage).reason is Reason.ACCEPTED


@pytest.mark.criterion("QRM-15")
def test_a_suspension_can_leave_a_tie():
    """Two roots at a later checkpoint, while the third replica's word is awaited that is then suspended."""
    made = Cluster(3)
    first = registry_of(made).checkpoints[-1]
    made.send()
    second = registry_of(made).checkpoints[-1]
    made.say(0, A, second)
    made.say(1, B, second)
    assert not registry_of(made).frozen
    made.say(0, A, first)
    made.say(1, A, first)
    assert not registry_of(made).frozen
    made.say(2, B, first)
    assert suspended(made) == [2]
    assert registry_of(made).frozen


@pytest.mark.criterion("STR-1", "STR-13", "QRM-13")
def test_words_on_roots_survive_a_snapshot():
    made = rooted(Venue(), 2)
    suspend(made, 1)
    reach_checkpoint(made)
    name_root(made, 0, A)
    statement = sign_quarantine(Quarantine(Subject.FRAME, 10**6, bytes(32), "dies"), 0, KEYS[0])
    made.one(made.replicas[0], c.QuarantineCommand(encode_quarantine(statement)))
    other = fold_from(snapshot_of(made.fold))
    assert other.machine.registry == registry_of(made)
    assert all(getattr(registry_of(made), name) for name in ("checkpoints", "roots", "certified", "quarantines"))
