"""Frames of gateways: their order, and that cutting commands into frames otherwise changes nothing."""

import pytest
from fold_driver import ALICE, BOB, BTC, CALL, CAROL, INVERSE, LINEAR, SECOND, START, USD, hot, venue
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.state import Session
from holdfast.domain import commands as c
from holdfast.domain.frames import CHAIN_START, chain_hash, encode_frame
from holdfast.domain.reasons import Reason

SEND = hot(c.transfer, ALICE, BOB, USD, 1)


@pytest.mark.criterion("SES-9", "STA-7", "FRM-7")
@pytest.mark.parametrize(
    ("gateway", "ahead", "reason"),
    [
        (0, -1, Reason.FRAME_REPEATED),
        (0, 1, Reason.FRAME_GAP),
        (0, 2**40, Reason.FRAME_GAP),
        (5, 0, Reason.GATEWAY_UNKNOWN),
        (2**63, 0, Reason.GATEWAY_UNKNOWN),
        (2**64 - 1, 1, Reason.GATEWAY_UNKNOWN),
        ("client", 0, Reason.GATEWAY_UNKNOWN),
    ],
)
def test_frame_out_of_order_is_refused_whole(venue, gateway, ahead, reason):
    gateway = venue.client if gateway == "client" else gateway
    number = venue.next_frame() + ahead
    before, position, chain = venue.canonical(with_sessions=True), venue.fold.position, venue.fold.chain
    sent = (venue.client, 1, SEND), (0, 0, c.OpenSession("client")), (venue.operator, 99, c.Mark(BTC))
    outcomes = venue.send_numbered(*sent, gateway=gateway, frame_number=number)
    assert [(o.reason, o.command, o.limit) for o in outcomes] == [(reason, 0, 0)] * 3
    assert venue.canonical(with_sessions=True) == before
    assert venue.fold.position == position + 1
    assert venue.fold.chain != chain
    assert venue.one(venue.client, SEND).reason is Reason.ACCEPTED


@pytest.mark.criterion("SES-9")
def test_each_gateway_has_its_own_order(venue):
    second = venue.open("gateway")
    first_number = venue.next_frame()
    for number in (1, 2, 3):
        outcome = venue.send_numbered((venue.client, number, SEND), gateway=second, frame_number=number)[0]
        assert outcome.reason is Reason.ACCEPTED
    assert venue.next_frame() == first_number
    assert venue.next_frame(second) == 4


@pytest.mark.criterion("SES-9")
def test_frame_without_records_uses_up_its_number(driver):
    for number in (1, 2, 3):
        assert driver.next_frame() == number
        assert driver.send() == []
    assert driver.fold.position == 3


@pytest.mark.criterion("FRM-7", "SES-9")
def test_chain_is_over_all_frames_in_order(driver):
    chain = CHAIN_START
    for number in (1, 1, 2):
        data = encode_frame(0, number, c.order(1, 1, 4, 0, 1, 1))
        driver.fold.apply(data)
        chain = chain_hash(chain, data)
    assert driver.fold.chain == chain


LOTS = st.integers(-50, 50)
COMMANDS = st.one_of(
    st.builds(
        lambda buyer, seller, item, lots, price: ("client", hot(c.trade, buyer, seller, item, lots, price)),
        st.sampled_from((ALICE, BOB, CAROL)),
        st.sampled_from((ALICE, BOB, CAROL)),
        st.sampled_from((INVERSE, LINEAR, CALL)),
        LOTS,
        st.integers(9_000_00, 11_000_00),
    ),
    st.builds(
        lambda account, lots: ("client", hot(c.order, account, INVERSE, lots, 10_000_00)),
        st.sampled_from((ALICE, BOB)),
        LOTS,
    ),
    st.builds(lambda number: ("client", hot(c.cancel, ALICE, number)), st.integers(1, 4)),
    st.builds(lambda amount: ("client", hot(c.transfer, BOB, CAROL, USD, amount)), st.integers(-1, 10**11)),
    st.builds(
        lambda price, step: ("source", hot(c.quote, BTC, price * 10**8, START + step * SECOND, step + 100)),
        st.integers(9_800, 10_200),
        st.integers(0, 9),
    ),
    st.builds(lambda clock: ("replica", c.Tick(0, START + clock * SECOND)), st.integers(1, 20)),
    st.builds(lambda amount: ("operator", c.Deposit(CAROL, BTC, amount)), st.integers(0, 10**9)),
    st.just(("operator", c.Funding(INVERSE, 12_345))),
    st.just(("operator", c.Mark(BTC))),
)


def play(commands, cuts):
    """Send commands in frames that end where `cuts` says; the venue and the outcomes without their ids."""
    new, outcomes, frame = venue(), [], []
    ids = {"client": new.client, "operator": new.operator, "source": new.sources[0], "replica": new.replicas[0]}
    for number, (sender, command) in enumerate(commands):
        frame.append((ids[sender], command))
        if number in cuts:
            outcomes += new.send(*frame)
            frame = []
    outcomes += new.send(*frame)
    return new, [o._replace(command=0) for o in outcomes]


@pytest.mark.criterion("SES-10", "LED-4", "STA-1", "STA-2")
@settings(max_examples=40)
@given(st.lists(COMMANDS, max_size=30), st.sets(st.integers(0, 29)))
def test_frames_cut_otherwise_give_the_same_state(commands, cuts):
    whole, first = play(commands, ())
    cut, second = play(commands, cuts)
    assert repr(first) == repr(second)
    assert whole.canonical(with_ids=False) == cut.canonical(with_ids=False)
    numbers = [new.state.sessions[1:, Session.NEXT].tolist() for new in (whole, cut)]
    assert numbers[0] == numbers[1]
    whole.check_conservation()
    assert whole.state.counters[[10, 11, 12]].tolist() == [-1, 0, 0]
