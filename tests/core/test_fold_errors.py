"""Errors inside cold commands that must leave nothing half done, and those that must not be survived."""

import pytest
from fold_driver import ALICE, BOB, BTC, CALL, EXPIRY, FUTURE, LINEAR, USD, hot
from voting import UNIT, below, cast, market, move_to

from holdfast.core import fold as core_fold
from holdfast.core import marks
from holdfast.core.canonical import canonical_bytes
from holdfast.core.cold import roles
from holdfast.core.roots import full_root
from holdfast.core.snapshot import fold_from, snapshot_of
from holdfast.core.state import Item
from holdfast.domain import commands as c
from holdfast.domain.errors import InputError
from holdfast.domain.reasons import Reason


def expired(venue):
    """Positions and an order on a future that has expired and has an average."""
    venue.operate(c.SetRules(step_maximum=10**16, age_maximum=7 * 10**16, ahead_maximum=7 * 10**16))
    venue.tick(EXPIRY - 2)
    assert venue.trade(ALICE, BOB, FUTURE, 50, 10_000_00).reason is Reason.ACCEPTED
    assert venue.order(ALICE, FUTURE, 1, 9_000_00).reason is Reason.ACCEPTED
    for clock in (EXPIRY - 1, EXPIRY):
        venue.quote(BTC, 10_100 * 10**8)
        venue.tick(clock)


@pytest.mark.criterion("STA-7", "LED-13")
@pytest.mark.parametrize("error", [ZeroDivisionError(), InputError("missing-field", "futures[BTC]", None, "add it")])
def test_a_settlement_whose_tables_cannot_be_built_is_undone(venue, monkeypatch, error):
    expired(venue)
    before = venue.canonical()

    def raises(*_, **__):
        raise error

    monkeypatch.setattr(marks, "build", raises)
    assert venue.one(venue.operator, c.Settle(FUTURE)).reason is Reason.INTERNAL
    monkeypatch.undo()
    after = venue.canonical()
    del before["registry"], after["registry"]
    assert after == before
    assert venue.held(ALICE, FUTURE)[0] == 50
    venue.check_conservation()
    assert full_root(fold_from(snapshot_of(venue.fold)).machine) == full_root(venue.fold.machine)
    assert venue.one(venue.operator, c.Settle(FUTURE)).reason is Reason.ACCEPTED
    assert venue.orders() == {}
    assert venue.state.items[[FUTURE, CALL], Item.OPEN].tolist() == [0, 1]
    venue.check_conservation()


@pytest.mark.criterion("STA-7")
def test_want_of_memory_stops_the_process(venue, monkeypatch):
    def handler(*_):
        raise MemoryError

    monkeypatch.setitem(core_fold.HANDLERS, c.Deposit, handler)
    with pytest.raises(MemoryError):
        venue.one(venue.operator, c.Deposit(ALICE, USD, 1))
    assert venue.fold.machine.registry.alarms == ()
    assert venue.one(venue.client, hot(c.transfer, ALICE, BOB, USD, 1)).reason is Reason.ACCEPTED


@pytest.mark.criterion("STA-7", "QRM-3")
def test_a_vote_that_raises_at_its_second_row_leaves_no_ballot(monkeypatch):
    made = market()
    made.operate(c.OpenAccount(0), c.Deposit(8, USD, 3_000 * UNIT))
    assert made.trade(8, BOB, LINEAR, 1_000, 1_000_000).reason is Reason.ACCEPTED
    move_to(made, 8_600)
    cast(made, 0, below(made))
    before = canonical_bytes(made.fold.machine.registry.ballots)

    def raises(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(roles.quorum, "needs_wider", raises)
    assert cast(made, 1, below(made), below(made, 8)).reason is Reason.INTERNAL
    assert canonical_bytes(made.fold.machine.registry.ballots) == before
    monkeypatch.undo()
    assert cast(made, 1, below(made), below(made, 8)).made == 1
    assert set(made.fold.machine.registry.ballots) == {8}
