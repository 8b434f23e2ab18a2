"""Double entry: worked numbers, conservation, and taking back."""

import numpy as np
import pytest
from fold_driver import (
    ALICE,
    BOB,
    BTC,
    CALL,
    CAROL,
    EXPIRY,
    FEES,
    FUTURE,
    INSURANCE,
    INVERSE,
    LINEAR,
    LINEAR_CALL,
    POOR,
    PUT,
    RICH,
    SECOND,
    START,
    USD,
    WITHDRAWALS,
    hot,
    venue,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core import ledger
from holdfast.core.cold import accounts, settlement
from holdfast.core.registry import Payment
from holdfast.core.state import (
    BLOCK_LEAST,
    NONE,
    ROWS_PER_ACCOUNT_MAXIMUM,
    Account,
    Counter,
    Form,
    Item,
    Open,
    Price,
    Status,
    empty_state,
)
from holdfast.domain import commands as c
from holdfast.domain.reasons import Reason
from holdfast.domain.units import LEDGER_MAXIMUM

WORLD = 0
TEN_COINS = 10 * 10**8


def accepted(outcome):
    assert outcome.reason is Reason.ACCEPTED, outcome
    return outcome


@pytest.mark.criterion("LED-1", "LED-7", "CMD-9")
def test_worked_trade(venue):
    outcome = accepted(venue.trade(ALICE, BOB, INVERSE, 1_000, 10_000_00))
    assert venue.rows(ALICE) == {
        USD: (RICH, 0),
        BTC: (TEN_COINS - 50_000, -100_000_000),
        INVERSE: (1_000, -100_000_000),
    }
    assert venue.rows(BOB) == {
        USD: (RICH, 0),
        BTC: (TEN_COINS - 50_000, 100_000_000),
        INVERSE: (-1_000, 100_000_000),
    }
    assert venue.rows(FEES) == {BTC: (100_000, 0)}
    assert outcome.equity == pytest.approx(299_995, abs=1e-6)


@pytest.mark.criterion("LED-7", "LED-8", "LED-6")
def test_worked_realisation_when_flat(venue):
    accepted(venue.trade(ALICE, BOB, INVERSE, 1_000, 10_000_00))
    accepted(venue.trade(ALICE, BOB, INVERSE, -400, 12_500_00))
    assert venue.held(ALICE, INVERSE) == (600, -68_000_000)
    assert venue.held(ALICE, BTC) == (TEN_COINS - 66_000, -68_000_000)
    accepted(venue.trade(BOB, ALICE, INVERSE, 600, 8_000_00))
    assert venue.rows(ALICE) == {USD: (RICH, 0), BTC: (992_896_500, 0)}
    assert venue.rows(BOB) == {USD: (RICH, 0), BTC: (1_006_896_500, 0)}
    assert venue.rows(FEES) == {BTC: (207_000, 0)}


@pytest.mark.criterion("LED-8")
def test_worked_change_of_sign_realises_nothing(venue):
    seen = []
    for lots, price in ((10, 10_000_00), (-15, 11_000_00), (5, 10_500_00)):
        accepted(venue.trade(ALICE, BOB, LINEAR, lots, price))
        seen.append((venue.held(ALICE, LINEAR), venue.held(ALICE, USD)[0] - RICH))
    assert seen == [((10, 100_000_000), 0), ((-5, -65_000_000), 0), ((0, 0), 12_500_000)]
    assert venue.held(BOB, USD) == (RICH - 12_500_000, 0)


@pytest.mark.criterion("LED-1")
def test_position_without_cost_has_no_asset_row(venue):
    accepted(venue.trade(CAROL, BOB, CALL, 1, 0))
    assert venue.rows(CAROL) == {USD: (RICH, 0), CALL: (1, 0)}


@pytest.mark.criterion("LED-2")
def test_kernel_reads_amount_less_cost(venue):
    accepted(venue.trade(ALICE, BOB, INVERSE, 1_000, 9_000_00))
    start, count = (int(v) for v in venue.state.accounts[ALICE, [Account.START, Account.COUNT]])
    units = dict(zip(venue.state.row_item[start : start + count].tolist(), venue.state.row_units[start:], strict=False))
    assert units == {USD: 200_000.0, BTC: (TEN_COINS - 55_556 + 111_111_111) / 10**8, INVERSE: 10_000.0}


@pytest.mark.criterion("LED-10", "CMD-12", "CMD-15", "CMD-16", "STA-3")
def test_deposits_and_transfers(venue):
    assert venue.held(WORLD, USD) == (-3 * RICH, 0)
    outcome = accepted(venue.one(venue.operator, c.Deposit(INSURANCE, USD, 5)))
    assert (outcome.equity, outcome.initial) == (5e-6, 0)
    refused = venue.one(venue.client, hot(c.transfer, ALICE, BOB, USD, RICH + 1))
    assert (refused.limit, refused.passes) == (1, RICH)
    accepted(venue.one(venue.client, hot(c.transfer, ALICE, POOR, USD, RICH)))
    assert (USD in venue.rows(ALICE), venue.held(POOR, USD)) == (False, (RICH, 0))
    refused = venue.one(venue.client, hot(c.transfer, ALICE, BOB, USD, 1))
    assert (refused.reason, refused.limit, refused.passes) == (Reason.BALANCE, 1, 0)
    venue.check_conservation()


@pytest.mark.criterion("CMD-2", "CMD-12", "CMD-15", "CMD-3")
@pytest.mark.parametrize("way", ["transfer", "withdraw"])
def test_what_margin_needs_stays(venue, way):
    accepted(venue.trade(CAROL, BOB, LINEAR, 10_000, 10_000_00))
    before = venue.canonical()
    if way == "transfer":
        refused = venue.one(venue.client, hot(c.transfer, CAROL, BOB, USD, RICH))
    else:
        refused = venue.one(venue.client, c.RequestWithdrawal(CAROL, USD, RICH))
    assert refused.reason is Reason.INITIAL_MARGIN
    assert refused.equity == pytest.approx(0, abs=1e-6)
    assert refused.initial > 0
    assert refused.limit == int(np.ceil((refused.initial - refused.equity) * 1e6))
    assert venue.canonical() == before
    passing = RICH - refused.limit
    if way == "transfer":
        accepted(venue.one(venue.client, hot(c.transfer, CAROL, BOB, USD, passing)))
    else:
        accepted(venue.one(venue.client, c.RequestWithdrawal(CAROL, USD, passing)))


@pytest.mark.criterion("LED-11", "CMD-15", "CMD-16", "STA-3")
def test_withdrawals_in_two_phases(venue):
    first, second = (accepted(venue.one(venue.client, c.RequestWithdrawal(ALICE, USD, a))).made for a in (30, 50))
    assert (first, second) == (1, 2)
    assert venue.held(WITHDRAWALS, USD) == (80, 0)
    accepted(venue.one(venue.client, c.CancelWithdrawal(1)))
    assert (venue.held(WITHDRAWALS, USD), venue.held(ALICE, USD)) == ((50, 0), (RICH - 50, 0))
    assert venue.one(venue.client, c.CancelWithdrawal(1)).reason is Reason.WITHDRAWAL_UNKNOWN
    world = venue.held(WORLD, USD)[0]
    assert accounts.release_withdrawal(venue.fold.machine, 2, 77) is Reason.ACCEPTED
    assert accounts.release_withdrawal(venue.fold.machine, 2, 78) is Reason.WITHDRAWAL_UNKNOWN
    (payment,) = venue.fold.machine.registry.payments.items()
    assert payment == (2, Payment(ALICE, USD, 50, "", 77))
    assert venue.held(WITHDRAWALS, USD) == (0, 0)
    assert venue.held(WORLD, USD)[0] == world + 50
    assert accepted(venue.one(venue.client, c.RequestWithdrawal(ALICE, USD, 1))).made == 3
    venue.check_conservation()


@pytest.mark.criterion("LED-12", "MKS-8")
@pytest.mark.parametrize(("rate", "alice", "bob"), [(12_345, -10, 9), (-12_345, 9, -10), (0, 0, 0)])
def test_worked_funding(venue, rate, alice, bob):
    accepted(venue.trade(ALICE, BOB, INVERSE, 7, 9_123_45))
    venue.quote(BTC, 9_123_45 * 10**6)
    venue.operate(c.Mark(BTC))
    before = {account: venue.held(account, BTC) for account in (ALICE, BOB, FEES)}
    accepted(venue.one(venue.operator, c.Funding(INVERSE, rate)))
    paid = {account: venue.held(account, BTC)[0] - cash for account, (cash, _) in before.items()}
    assert paid == {ALICE: alice, BOB: bob, FEES: -alice - bob}
    assert venue.held(ALICE, INVERSE) == (7, -767_254)


@pytest.mark.criterion("LED-3", "LED-12")
def test_funding_makes_room_for_every_holder(venue):
    """Every holder's block is full and lacks the row that funding needs."""
    for number in range(7):
        venue.operate(c.DefineInstrument(f"BTC-25SEP20-{number + 1}-P", "0.1", 4))
    items = range(len(venue.fold.machine.registry.items) - 7, len(venue.fold.machine.registry.items))
    for item in items:
        venue.quote(item, 800_000)
    venue.operate(c.Mark(BTC))
    holders = [o.made for o in venue.operate(*(c.OpenAccount(0) for _ in range(40)))]
    venue.operate(c.Deposit(ALICE, BTC, 10**12))
    for holder in holders:
        accepted(venue.trade(holder, ALICE, LINEAR, 1, 0))
        for item in items:
            accepted(venue.trade(holder, ALICE, item, 1, 0))
    assert {int(v) for v in venue.state.accounts[holders, Account.COUNT]} == {BLOCK_LEAST}
    # As little room as one command may have.
    least = int(venue.state.counters[Counter.POOL_TOP]) + ledger_reserve(venue.state)
    names = ("ledger", "row_item", "row_line", "row_units")
    short = {name: getattr(venue.state, name)[:least].copy() for name in names}
    venue.fold.machine.state = venue.state._replace(**short)
    accepted(venue.one(venue.operator, c.Funding(LINEAR, 1_000)))
    assert int(venue.state.counters[Counter.POOL_TOP]) <= len(venue.state.row_item)
    assert {venue.held(holder, USD) for holder in holders} == {(-10, 0)}
    venue.check_conservation()


def ledger_reserve(state):
    return 8 * int(state.counters[Counter.BLOCK_LARGEST]) + 8 * BLOCK_LEAST


def settled(venue, item, index):
    """Settle an item at an index, 1e-8 dollars."""
    venue.state.counters[Counter.TIME] = EXPIRY
    venue.state.prices[item, [Price.SETTLEMENT_SUM, Price.SETTLEMENT_COUNT]] = index, 1
    return accepted(venue.one(venue.replicas[0], c.Settle(item)))


@pytest.mark.criterion("LED-13", "LED-14", "CMD-16", "TIM-7")
@pytest.mark.parametrize(
    ("item", "asset", "index", "lots", "long", "short"),
    [
        (FUTURE, BTC, 9_123_45678900, 7, -767_253, 767_252),
        (LINEAR_CALL, USD, 10_123_45678900, 3, 37_037_036, -37_037_037),
        (CALL, BTC, 10_123_45678900, 3, 365_853, -365_854),
        (PUT, BTC, 10_123_45678900, 3, 0, 0),
    ],
)
def test_worked_settlement(venue, item, asset, index, lots, long, short):
    price = 10_000_00 if item == FUTURE else 500
    accepted(venue.trade(ALICE, BOB, item, lots, price))
    cost = venue.held(ALICE, item)[1]
    before = {account: venue.held(account, asset)[0] for account in (ALICE, BOB, FEES)}
    assert settled(venue, item, index).made == index
    after = {account: venue.held(account, asset) for account in (ALICE, BOB, FEES)}
    assert after[ALICE] == (before[ALICE] + long - cost, 0)
    assert after[BOB] == (before[BOB] + short + cost, 0)
    assert after[FEES] == (before[FEES] - long - short, 0)
    assert long + short <= 0
    assert item not in venue.rows(ALICE) | venue.rows(BOB)
    venue.check_conservation()


@pytest.mark.criterion("LED-13", "CMD-11", "MKS-10")
def test_settled_contract_is_closed_and_its_orders_are_gone(venue):
    made = accepted(venue.order(ALICE, FUTURE, 1, 9_000_00)).made
    kept = accepted(venue.order(ALICE, INVERSE, 1, 9_000_00)).made
    settled(venue, FUTURE, 10_000 * 10**8)
    assert list(venue.orders()) == [(ALICE, kept)]
    assert venue.one(venue.client, hot(c.cancel, ALICE, made)).reason is Reason.ORDER_UNKNOWN
    assert venue.trade(ALICE, BOB, FUTURE, 1, 9_000_00).reason is Reason.INSTRUMENT_CLOSED
    assert venue.one(venue.operator, c.Settle(FUTURE)).reason is Reason.INSTRUMENT_CLOSED
    assert set(venue.state.lines[:, FUTURE].tolist()) == {NONE}
    assert (venue.state.lines[:2, INVERSE] >= 0).all()


@pytest.mark.criterion("CMD-3", "LED-13", "LED-3", "STA-7")
def test_settlement_beyond_the_limit_is_refused_whole(venue):
    accepted(venue.trade(ALICE, BOB, LINEAR_CALL, 10, 1))
    accepted(venue.order(CAROL, LINEAR_CALL, 1, 1))
    venue.state.counters[Counter.TIME] = EXPIRY
    columns = [Price.SETTLEMENT_SUM, Price.SETTLEMENT_COUNT]
    venue.state.prices[LINEAR_CALL, columns] = LEDGER_MAXIMUM, 1
    venue.state.items[LINEAR_CALL, Item.MULTIPLIER] = 1_000
    before = venue.canonical()
    assert venue.one(venue.operator, c.Settle(LINEAR_CALL)).reason is Reason.LEDGER_LIMIT
    assert venue.canonical() == before
    venue.state.items[LINEAR_CALL, Item.MULTIPLIER] = 10**15
    before = venue.canonical()
    assert venue.one(venue.operator, c.Settle(LINEAR_CALL)).reason is Reason.LEDGER_LIMIT, "beyond 64 bits"
    assert venue.canonical() == before
    venue.check_conservation()


@pytest.mark.criterion("STA-7")
def test_engine_error_takes_back_only_what_was_posted(venue, monkeypatch):
    accepted(venue.trade(ALICE, BOB, INVERSE, 100, 10_000_00))
    before = venue.canonical()
    calls = []

    def fails(machine, item, lots, price, rounding=None):
        calls.append(lots)
        if len(calls) == 2:
            raise ZeroDivisionError
        return lots

    monkeypatch.setattr(settlement, "cost_in_units", fails)
    assert venue.one(venue.operator, c.Funding(INVERSE, 10**8)).reason is Reason.INTERNAL
    assert len(calls) == 2
    after = venue.canonical()
    assert [alarm.site for alarm in after["registry"].alarms] == ["Funding"]
    del before["registry"], after["registry"]
    assert after == before
    venue.check_conservation()


TRADES = st.tuples(
    st.sampled_from((ALICE, BOB, CAROL)),
    st.sampled_from((ALICE, BOB, CAROL)),
    st.sampled_from((INVERSE, LINEAR, FUTURE, CALL, PUT, LINEAR_CALL)),
    st.integers(-60, 60),
    st.integers(1, 20_000_00),
)
MOVES = st.one_of(
    TRADES.map(lambda t: ("client", hot(c.trade, *t))),
    st.tuples(st.sampled_from((ALICE, BOB)), st.just(CAROL), st.sampled_from((USD, BTC)), st.integers(0, 10**12)).map(
        lambda t: ("client", hot(c.transfer, *t))
    ),
    st.builds(c.Deposit, st.sampled_from((ALICE, INSURANCE)), st.sampled_from((USD, BTC)), st.integers(0, 10**12)).map(
        lambda command: ("operator", command)
    ),
    st.builds(c.RequestWithdrawal, st.just(BOB), st.sampled_from((USD, BTC)), st.integers(0, 10**12)).map(
        lambda command: ("client", command)
    ),
    st.builds(c.CancelWithdrawal, st.integers(1, 3)).map(lambda command: ("client", command)),
    st.builds(c.Funding, st.sampled_from((INVERSE, LINEAR)), st.integers(-(10**8), 10**8)).map(
        lambda command: ("operator", command)
    ),
    st.builds(c.ChooseModel, st.sampled_from((ALICE, BOB)), st.integers(0, 1), st.booleans()).map(
        lambda command: ("client", command)
    ),
)


@pytest.mark.criterion("LED-1", "LED-4", "LED-13")
@settings(max_examples=60)
@given(st.lists(MOVES, max_size=25), st.integers(1, 40_000))
def test_conservation_through_everything(moves, index):
    new = venue()
    ids = {"client": new.client, "operator": new.operator}
    for sender, command in moves:
        new.one(ids[sender], command)
        new.check_conservation()
    fees = new.held(FEES, BTC)[0], new.held(FEES, USD)[0]
    for item in (FUTURE, CALL, PUT, LINEAR_CALL):
        settled(new, item, index * 10**8 + 12_345_679)
        new.check_conservation()
    assert new.held(FEES, BTC)[0] >= fees[0]
    assert new.held(FEES, USD)[0] >= fees[1]


def bare_state(items=12, multiplier=1):
    """Accounts 0 to 7 without rows, and assets whose line is their number."""
    state = empty_state(accounts=8, rows=4_096, items=items)
    state.counters[[Counter.ACCOUNTS, Counter.ITEMS]] = 8, items
    state.items[:, Item.MULTIPLIER], state.items[:, Item.DIVISOR] = multiplier, 1
    state.items[:, Item.FORM] = Form.LINEAR if multiplier > 1 else Form.ASSET
    state.items[:, Item.MASK] = 1 << np.arange(items) % 62
    state.lines[0] = np.arange(items)
    state.accounts[:, Account.ORDERS] = NONE
    return state


def post(state, entries):
    state.journal[: len(entries)] = entries
    state.counters[Counter.JOURNAL] = len(entries)
    return ledger.post(state)


def blocks(state):
    """What every account's block holds, derived columns included, and what it is exposed to."""
    found = []
    for row in state.accounts[: int(state.counters[Counter.ACCOUNTS])]:
        part = slice(int(row[Account.START]), int(row[Account.START] + row[Account.COUNT]))
        columns = (state.row_item, state.row_line, state.row_units, state.ledger)
        found.append((*(column[part].tobytes() for column in columns), int(row[Account.EXPOSURE])))
    return found


ENTRIES = st.lists(
    st.tuples(st.integers(4, 7), st.integers(0, 11), st.integers(-3, 3), st.integers(-2, 2)), min_size=1, max_size=40
)


@pytest.mark.criterion("LED-9", "LED-3", "STA-4")
@given(ENTRIES, ENTRIES)
def test_posting_and_taking_back_restores_every_bit(standing, tried):
    state = bare_state()
    assert post(state, standing) == 0
    ledger.commit_entries(state)
    before, accounts_before = blocks(state), state.accounts[:, [Account.COUNT, Account.VERSION]].tolist()
    assert post(state, tried) == 0
    ledger.undo(state)
    assert blocks(state) == before
    assert state.accounts[:, [Account.COUNT, Account.VERSION]].tolist() == accounts_before
    assert state.counters[[Counter.JOURNAL, Counter.POSTED]].tolist() == [0, 0]


@pytest.mark.criterion("LED-9")
@given(ENTRIES, st.randoms(use_true_random=False))
def test_rows_do_not_depend_on_the_way(entries, random):
    shuffled = list(entries)
    random.shuffle(shuffled)
    states = bare_state(), bare_state()
    for state, order in zip(states, (entries, shuffled), strict=True):
        for entry in order:
            assert post(state, [entry]) == 0
            ledger.commit_entries(state)
    assert blocks(states[0]) == blocks(states[1])


@pytest.mark.criterion("LED-3", "LED-9")
@given(ENTRIES, ENTRIES)
def test_entry_that_fails_takes_all_back(standing, tried):
    state = bare_state()
    assert post(state, standing) == 0
    ledger.commit_entries(state)
    before = blocks(state)
    assert post(state, [*tried, (4, 0, 2 * LEDGER_MAXIMUM, 0)]) == Reason.LEDGER_LIMIT
    assert blocks(state) == before
    state.lines[0, 11] = NONE
    tried = [entry for entry in tried if entry[1] != 11]
    standing_rows = [entry for entry in standing if entry[1] == 11]
    if not standing_rows:
        assert post(state, [*tried, (5, 11, 1, 0)]) == Reason.NO_PRICE
        assert blocks(state) == before


@pytest.mark.criterion("STA-7", "LED-3")
def test_entries_that_were_not_posted_are_not_taken_back():
    state = bare_state()
    state.journal[0] = 4, 0, 7, 0
    state.counters[Counter.JOURNAL] = 1
    before = blocks(state)
    ledger.undo(state)
    assert blocks(state) == before
    assert state.counters[Counter.JOURNAL] == 0


@pytest.mark.criterion("LED-3")
@pytest.mark.parametrize("column", [2, 3], ids=["amount", "cost"])
@pytest.mark.parametrize("sign", [1, -1])
def test_limit_of_a_row(column, sign):
    state = bare_state()
    entry, one = [4, 0, 0, 0], [4, 0, 0, 0]
    entry[column], one[column] = sign * LEDGER_MAXIMUM, sign
    assert post(state, [entry]) == 0
    ledger.commit_entries(state)
    assert post(state, [one]) == Reason.LEDGER_LIMIT
    assert ledger.amounts_of(state, 4, 0) == tuple(entry[2:])


@pytest.mark.criterion("LED-3")
def test_limits_of_the_outside_world_and_of_lots():
    state = bare_state()
    assert post(state, [(WORLD, 0, 2**61, 0)]) == 0
    ledger.commit_entries(state)
    assert post(state, [(WORLD, 0, 1, 0)]) == Reason.LEDGER_LIMIT
    state = bare_state(multiplier=10**8)
    assert post(state, [(4, 0, -7 * 10**8, 0)]) == 0
    ledger.commit_entries(state)
    assert post(state, [(4, 0, -1, 0)]) == Reason.LEDGER_LIMIT
    assert post(state, [(4, 0, 1, 0)]) == 0


@pytest.mark.criterion("LED-3")
def test_limit_of_rows():
    count = ROWS_PER_ACCOUNT_MAXIMUM + 2
    state = bare_state(items=count)
    state = state._replace(
        ledger=np.zeros((99_999, 2), np.int64), row_item=np.zeros(99_999, np.int32), row_line=np.zeros(99_999, np.int32)
    )._replace(row_units=np.zeros(99_999))
    for item in range(count):
        expected = 0 if item < ROWS_PER_ACCOUNT_MAXIMUM else Reason.ROWS_LIMIT
        assert post(state, [(4, item, 1, 0)]) == expected
        ledger.commit_entries(state)
        assert post(state, [(INSURANCE, item, 1, 0)]) == 0, "the fund takes over whatever there is"
        ledger.commit_entries(state)
    assert state.accounts[4, Account.COUNT] == ROWS_PER_ACCOUNT_MAXIMUM
    assert post(state, [(4, 0, -1, 0)]) == 0
    ledger.commit_entries(state)
    assert post(state, [(4, count - 1, 1, 0)]) == 0


@pytest.mark.criterion("STA-4", "CMD-3")
def test_versions_grow_with_accepted_changes(venue):
    def versions():
        return venue.state.accounts[[ALICE, BOB, FEES], Account.VERSION].tolist()

    steps, before = [], versions()

    def step(outcome):
        nonlocal before
        accepted(outcome)
        now = versions()
        steps.append([a - b for a, b in zip(now, before, strict=True)])
        before = now

    step(venue.trade(ALICE, BOB, INVERSE, 10, 10_000_00))
    step(venue.order(ALICE, INVERSE, 1, 9_000_00))
    step(venue.one(venue.client, hot(c.cancel, ALICE, 1)))
    step(venue.one(venue.client, hot(c.transfer, ALICE, BOB, USD, 1)))
    step(venue.one(venue.client, c.ChooseModel(ALICE, 1, dry_run=True)))
    step(venue.one(venue.client, c.ChooseModel(ALICE, 1)))
    step(venue.tick(START + SECOND))
    assert steps == [[2, 2, 1], [1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]]
    venue.set_status(ALICE, Status.FROZEN)
    step(venue.one(venue.operator, c.ReleaseAccount(ALICE)))
    assert steps[-1] == [1, 0, 0]
    assert venue.state.accounts[ALICE, Account.STATUS] == Status.RESTRICTED


@pytest.mark.criterion("STA-8", "STA-1")
def test_slots_of_orders_have_no_influence(venue):
    other = venue.clone()
    for lots in (1, 2, 3):
        accepted(venue.order(CAROL, INVERSE, lots, 9_000_00))
    venue.send(*((venue.client, hot(c.cancel, CAROL, number)) for number in (2, 1, 3)))
    for new in (venue, other):
        for account, lots in ((ALICE, 5), (BOB, 6), (ALICE, 7)):
            accepted(new.order(account, INVERSE, lots, 9_000_00))
    assert venue.orders() == other.orders()
    slots = venue.state.orders[:3, Open.NUMBER], other.state.orders[:3, Open.NUMBER]
    assert slots[0].tolist() != slots[1].tolist()
