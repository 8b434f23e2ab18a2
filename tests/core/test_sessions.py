"""Sessions: turns, gaps, repeats, eviction."""

import pytest
from fold_driver import ALICE, BOB, BTC, INDEX, START, USD, Driver, hot, venue
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core import sessions
from holdfast.core.state import Counter, Role, Session
from holdfast.domain import commands as c
from holdfast.domain.frames import RecordKind
from holdfast.domain.outcomes import command_id, place_of
from holdfast.domain.reasons import Reason

SEND = hot(c.transfer, ALICE, BOB, USD, 1)
COLD = c.OpenAccount(0)
LARGEST = 2**64 - 1


@pytest.mark.criterion("SES-1")
@pytest.mark.parametrize(
    ("position", "index", "command"), [(0, 0, 1), (0, 16_383, 16_384), (1, 0, 16_385), (5, 2, 81_923)]
)
def test_ids(position, index, command):
    assert command_id(position, index) == command
    assert place_of(command) == (position, index)


@pytest.mark.criterion("SES-1", "SES-2")
def test_session_has_the_id_of_its_opening(driver):
    driver.send()
    outcomes = driver.send((0, c.OpenSession("client")), (0, c.OpenSession("operator")))
    assert [(o.made, o.command, o.limit) for o in outcomes] == [(16_385, 16_385, 0), (16_386, 16_386, 0)]
    assert driver.session_row(16_386)[Session.ROLE] == Role.OPERATOR


@pytest.mark.criterion("SES-2", "STA-7")
@pytest.mark.parametrize(
    ("opening", "reason", "limit"),
    [
        (c.OpenSession("king"), Reason.VALUE_INVALID, 4_096),
        (c.OpenSession("client", kept=0), Reason.VALUE_INVALID, 4_096),
        (c.OpenSession("client", kept=4_097), Reason.VALUE_INVALID, 4_096),
        (c.OpenSession("client", 1), Reason.VALUE_INVALID, 0),
        (c.OpenSession("gateway", 2**63), Reason.VALUE_INVALID, 0),
        (c.OpenSession("source", 3), Reason.SOURCE_UNKNOWN, 3),
        (c.OpenSession("source", -1), Reason.SOURCE_UNKNOWN, 3),
        (c.OpenSession("replica", 3), Reason.REPLICA_UNKNOWN, 3),
        (c.OpenSession("king", 7, 0), Reason.VALUE_INVALID, 4_096),
        (c.OpenSession("source", 7, 0), Reason.VALUE_INVALID, 4_096),
    ],
)
def test_refused_openings(venue, opening, reason, limit):
    before = venue.canonical(with_sessions=True)
    outcome = venue.one(0, opening)
    assert (outcome.reason, outcome.limit, outcome.made) == (reason, limit, 0)
    after = venue.canonical(with_sessions=True)
    del before["sessions"], after["sessions"]  # the gateway's frame was counted
    assert after == before


@pytest.mark.criterion("SES-4", "SES-5", "STA-7")
@pytest.mark.parametrize("command", [SEND, COLD], ids=["hot", "cold"])
@pytest.mark.parametrize(
    ("session", "number", "reason", "limit"),
    [
        (77, 1, Reason.SESSION_UNKNOWN, 0),
        (77, 9, Reason.SESSION_UNKNOWN, 0),
        (LARGEST, 1, Reason.SESSION_UNKNOWN, 0),
        (2**63, LARGEST, Reason.SESSION_UNKNOWN, 0),
        ("client", 0, Reason.SESSION_GAP, 1),
        ("client", 2, Reason.SESSION_GAP, 1),
        ("client", 2**63, Reason.SESSION_GAP, 1),
        ("client", LARGEST, Reason.SESSION_GAP, 1),
        (0, 1, Reason.SESSION_ROLE, 0),
        (0, LARGEST, Reason.SESSION_ROLE, 0),
    ],
)
def test_turns_that_use_up_nothing(venue, command, session, number, reason, limit):
    session = venue.client if session == "client" else session
    before = venue.canonical()
    numbers = venue.state.sessions[1:, Session.NEXT].copy()
    outcome = venue.send_numbered((session, number, command))[0]
    assert (outcome.reason, outcome.limit, outcome.repeated) == (reason, limit, 0)
    assert venue.canonical() == before
    assert (venue.state.sessions[1:, Session.NEXT] == numbers).all()


@pytest.mark.criterion("SES-4", "SES-5", "SES-9")
def test_nothing_sent_as_the_gateway_disturbs_its_frames(venue):
    frame = venue.next_frame()
    for number in (frame, frame + 1, frame + 2, frame + 3):
        assert venue.send_numbered((0, number, COLD))[0].reason is Reason.SESSION_ROLE
    assert venue.next_frame() == frame + 4
    assert venue.one(venue.client, SEND).reason is Reason.ACCEPTED


@pytest.mark.criterion("SES-4")
@pytest.mark.parametrize("kind", [kind for kind in RecordKind if kind is not RecordKind.COLD])
@pytest.mark.parametrize("role", list(Role))
def test_who_may_send_what(kind, role):
    quotes = kind is RecordKind.QUOTE
    expected = role is Role.SOURCE if quotes else role in (Role.CLIENT, Role.OPERATOR)
    assert bool(sessions.MAY[kind, role]) == expected


@pytest.mark.criterion("SES-4")
def test_role_comes_before_gap(venue):
    source = venue.sources[0]
    number = venue.next_number(source)
    outcomes = venue.send_numbered((source, number, SEND), (source, number + 5, SEND), (source, number - 1, SEND))
    assert [o.reason for o in outcomes] == [Reason.SESSION_ROLE] * 3
    assert venue.next_number(source) == number


@pytest.mark.criterion("SES-5", "SES-6")
def test_what_cold_commands_use_up(venue):
    source, number = venue.sources[0], venue.next_number(venue.sources[0])
    outcomes = venue.send_numbered(
        (source, number + 1, b"\x00"), (source, number, b"\x00"), (source, number, b"\x00"), (source, number + 1, COLD)
    )
    reasons = [Reason.SESSION_GAP, Reason.MALFORMED, Reason.MALFORMED, Reason.SESSION_ROLE]
    assert [o.reason for o in outcomes] == reasons
    assert [o.repeated for o in outcomes] == [0, 0, 1, 0]
    assert outcomes[3].limit == Role.SOURCE
    assert venue.next_number(source) == number + 2


@pytest.mark.criterion("SES-6", "SES-7")
def test_repeats_while_kept(venue):
    session = venue.open("client", kept=2)
    first = venue.send(*((session, SEND) for _ in range(3)))
    other = hot(c.transfer, BOB, ALICE, USD, 10**15)
    before = venue.canonical()
    again = venue.send_numbered(*((session, number, other) for number in (3, 2, 1, 5)))
    assert again[0] == first[2]._replace(repeated=1)
    assert again[1] == first[1]._replace(repeated=1)
    assert (again[2].reason, again[2].repeated) == (Reason.ALREADY_APPLIED, 1)
    assert again[2].command == command_id(venue.fold.position - 1, 2)
    assert (again[3].reason, again[3].limit) == (Reason.SESSION_GAP, 4)
    assert venue.canonical() == before


@pytest.mark.criterion("SES-6", "SES-7")
def test_refusals_are_kept_too(venue):
    session = venue.open("client", kept=1)
    poor = hot(c.transfer, ALICE, BOB, USD, 10**15)
    first = venue.one(session, poor)
    assert first.reason is Reason.BALANCE
    venue.operate(c.Deposit(ALICE, USD, 10**15))
    again = venue.send_numbered((session, 1, poor))[0]
    assert again == first._replace(repeated=1)
    assert venue.one(session, poor).reason is Reason.ACCEPTED


@pytest.mark.criterion("SES-7")
def test_repeat_of_a_cold_command_loses_only_its_detail(venue):
    session = venue.open("client")
    first = venue.one(session, b"\xff")
    assert first.reason is Reason.MALFORMED
    assert first.detail
    assert venue.send_numbered((session, 1, COLD))[0] == first._replace(repeated=1, detail=None)


@pytest.mark.criterion("SES-8")
@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6)), max_size=20))
def test_any_order_executes_each_number_once(attempts):
    """A twin of the turns in a dozen lines, for three sessions at once in one frame."""
    new = venue()
    ids = [new.open("client") for _ in range(3)]
    next_number, moved = [1, 1, 1], 0
    outcomes = new.send_numbered(*((ids[s], number, SEND) for s, number in attempts))
    for (s, number), outcome in zip(attempts, outcomes, strict=True):
        if number == next_number[s]:
            next_number[s] += 1
            moved += 1
            assert (outcome.reason, outcome.repeated) == (Reason.ACCEPTED, 0)
        elif 1 <= number < next_number[s]:
            assert (outcome.reason, outcome.repeated) == (Reason.ACCEPTED, 1)
        else:
            assert (outcome.reason, outcome.limit) == (Reason.SESSION_GAP, next_number[s])
    before = venue().held(BOB, USD)[0]
    assert new.held(BOB, USD)[0] == before + moved


@pytest.fixture
def few(monkeypatch):
    """At most five sessions, the gateway's included."""
    monkeypatch.setattr(sessions, "SESSIONS_MAXIMUM", 5)
    return Driver()


@pytest.mark.criterion("SES-3", "STA-3")
def test_eviction_takes_the_one_unused_for_longest(few):
    ids = [few.open("client") for _ in range(4)]
    few.one(ids[0], COLD)
    opened = few.one(0, c.OpenSession("client"))
    assert opened.limit == ids[1]
    assert few.one(ids[1], COLD).reason is Reason.SESSION_UNKNOWN
    assert few.one(ids[0], COLD).reason is Reason.MODEL_UNKNOWN
    assert few.one(0, c.OpenSession("client")).limit == ids[2]
    assert few.one(0, c.OpenSession("client")).limit == ids[3]
    assert few.one(0, c.OpenSession("client")).limit == opened.made, "the first one was used later"
    assert few.next_frame() > 1, "the first gateway stays"
    assert int(few.state.counters[Counter.SESSIONS]) == 5


@pytest.mark.criterion("SES-3", "SES-4")
def test_evicted_numbers_and_outcomes_are_gone(few):
    ids = [few.open("client", kept=3) for _ in range(4)]
    few.send(*((ids[0], COLD) for _ in range(3)))
    for other in ids[1:]:
        few.one(other, COLD)
    new = few.one(0, c.OpenSession("client", kept=3))
    assert new.limit == ids[0]
    assert few.send_numbered((new.made, 2, COLD))[0].limit == 1
    assert few.one(new.made, COLD).reason is Reason.MODEL_UNKNOWN
    assert [few.one(other, COLD).reason for other in ids[1:]] == [Reason.MODEL_UNKNOWN] * 3


@pytest.mark.criterion("SES-1", "SES-4")
def test_many_sessions_are_all_found(driver):
    ids = []
    for _ in range(3):
        ids += [o.made for o in driver.send(*((0, c.OpenSession("client", kept=1)) for _ in range(150)))]
    outcomes = driver.send(*((session, COLD) for session in ids))
    assert {o.reason for o in outcomes} == {Reason.MODEL_UNKNOWN}
    assert {o.reason for o in driver.send(*((session + 16_384, COLD) for session in ids[-150:]))} == {
        Reason.SESSION_UNKNOWN
    }


@pytest.mark.criterion("SES-4", "MKS-1")
def test_source_quotes_as_itself(venue):
    venue.quote(BTC, INDEX, source=2, time=START)
    assert venue.state.quotes[BTC, 1, 0] == 0
    assert venue.state.quotes[BTC, 2, 0] == INDEX
