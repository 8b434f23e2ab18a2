"""Errors of the engine itself: a command that raises is undone, an account that is no number is set aside."""

import msgspec
import numpy as np
import pytest
from fold_driver import ALICE, BOB, BTC, CAROL, INDEX, INVERSE, LINEAR, SECOND, USD, USDC, hot, venue

from holdfast.core import fold as core_fold
from holdfast.core import ledger, marks
from holdfast.core.cold.accounts import deposit
from holdfast.core.roots import full_root
from holdfast.core.snapshot import fold_from, snapshot_of
from holdfast.core.state import SYSTEM_ACCOUNTS, WORLD, Account, Counter, Status
from holdfast.core.verdict import refused
from holdfast.domain import commands as c
from holdfast.domain.errors import InputError
from holdfast.domain.outcomes import command_id
from holdfast.domain.reasons import Reason

AMOUNT = 7 * 10**6
ERRORS = [ZeroDivisionError("one"), KeyError("two"), TypeError("three"), ValueError("four"), IndexError("five")]


def frame_with(made, middle):
    """A frame of hot and cold commands with one in their midst."""
    return made.send(
        (made.client, hot(c.transfer, ALICE, BOB, USD, 5)),
        (made.operator, c.Deposit(CAROL, BTC, 11)),
        (made.operator, middle),
        (made.client, hot(c.trade, ALICE, BOB, LINEAR, 100, 10_000_00)),
        (made.operator, c.OpenAccount(1)),
        (made.client, hot(c.transfer, BOB, CAROL, USD, 13)),
    )


def half_done(error):
    """A handler that posts a deposit, changes the registry, and raises."""

    def handler(machine, command, sender):
        state = machine.state
        for account, amount in ((WORLD, -command.amount), (command.account, command.amount)):
            n = int(state.counters[Counter.JOURNAL])
            state.journal[n] = account, command.item, amount, 0
            state.counters[Counter.JOURNAL] = n + 1
        assert ledger.post(state) == 0
        machine.registry = msgspec.structs.replace(machine.registry, ticks=10**6)
        raise error

    return handler


def handled_by(handler):
    """Deposits of AMOUNT go to this handler, others where they always go."""
    return lambda machine, command, sender: (handler if command.amount == AMOUNT else deposit)(machine, command, sender)


def without_alarms(made):
    machine = made.fold.machine
    machine.registry = msgspec.structs.replace(machine.registry, alarms=())
    return machine


@pytest.mark.criterion("STA-7")
@pytest.mark.parametrize(
    "error", [*ERRORS, InputError("malformed", "field", 1, "advice")], ids=lambda e: type(e).__name__
)
def test_a_command_that_raises_is_undone_and_the_frame_goes_on(monkeypatch, error):
    one, twin = venue(), venue()
    bad = c.Deposit(ALICE, USD, AMOUNT)
    monkeypatch.setitem(core_fold.HANDLERS, c.Deposit, handled_by(half_done(error)))
    position = one.fold.position
    outcomes = frame_with(one, bad)
    assert [o.reason for o in outcomes] == [Reason.ACCEPTED] * 2 + [Reason.INTERNAL] + [Reason.ACCEPTED] * 3
    assert outcomes[2].detail == repr(error)
    (alarm,) = one.fold.machine.registry.alarms
    assert (alarm.command, alarm.site, alarm.text) == (command_id(position, 2), "Deposit", repr(error))
    one.check_conservation()
    # A twin to which the same command is simply refused ends in the same state but for the alarm.
    monkeypatch.setitem(core_fold.HANDLERS, c.Deposit, handled_by(lambda *_: refused(Reason.INTERNAL)))
    assert [o._replace(detail=None) for o in frame_with(twin, bad)] == [o._replace(detail=None) for o in outcomes]
    assert full_root(one.fold.machine) != full_root(twin.fold.machine)
    assert full_root(without_alarms(one)) == full_root(without_alarms(twin))
    assert one.canonical(with_sessions=True) == twin.canonical(with_sessions=True)


@pytest.mark.criterion("STA-7", "SES-4", "STR-13")
def test_a_command_that_raised_is_answered_the_same_when_it_is_sent_again(monkeypatch):
    made = venue()
    bad, number = c.Deposit(ALICE, USD, AMOUNT), made.next_number(made.operator)
    monkeypatch.setitem(core_fold.HANDLERS, c.Deposit, handled_by(half_done(ValueError())))
    (first,) = made.send_numbered((made.operator, number, bad))
    before = made.held(ALICE, USD)
    monkeypatch.undo()
    for one in (made.fold, fold_from(snapshot_of(made.fold))):
        made.fold = one
        (again,) = made.send_numbered((made.operator, number, bad))
        assert (first.reason, again.reason, again.repeated) == (Reason.INTERNAL, Reason.INTERNAL, 1)
        assert made.held(ALICE, USD) == before
    assert made.one(made.operator, bad).reason is Reason.ACCEPTED


@pytest.fixture
def crowd():
    """Everybody but CAROL trades; she has a position too, and alone a coin that nobody else has."""
    made = venue()
    made.operate(c.Deposit(CAROL, USDC, 5 * 10**6))
    for buyer, seller, lots in ((ALICE, BOB, 100), (CAROL, BOB, 300), (ALICE, CAROL, 40)):
        assert made.trade(buyer, seller, INVERSE, lots, 10_000_00).reason is Reason.ACCEPTED
    return made


def build_without_number(item):
    """Tables in which the row of one item is no number."""
    build = marks.build

    def broken(state, registry, *rest, **named):
        made = build(state, registry, *rest, **named)
        models = []
        for model, arrays in enumerate(made.arrays.models):
            line = made.tables[min(model, len(made.tables) - 1)].line_of_asset[registry.items[item].name]
            copies = arrays._replace(**{name: getattr(arrays, name).copy() for name in ("values", "lines", "today")})
            for array in (copies.values, copies.lines, copies.today):
                array[line] = np.nan
            models.append(copies)
        return made._replace(arrays=made.arrays._replace(models=tuple(models)))

    return broken


def standing(made):
    """Status and figures of every account of a user."""
    count = int(made.state.counters[Counter.ACCOUNTS])
    users = slice(SYSTEM_ACCOUNTS, count)
    return made.state.accounts[users, Account.STATUS].tolist(), made.state.figures[users].tolist()


@pytest.mark.criterion("LIQ-1", "MKS-7")
@pytest.mark.parametrize("factor", [1.0, 0.96])
def test_an_account_that_is_no_number_is_set_aside_and_everybody_else_is_swept(monkeypatch, crowd, factor):
    sound = crowd.clone()
    monkeypatch.setattr(marks, "build", build_without_number(USDC))
    for made in (crowd, sound):
        made.quote(BTC, round(INDEX * factor))
        assert made.one(made.operator, c.Mark(BTC)).reason is Reason.ACCEPTED
        monkeypatch.undo()
    assert crowd.state.accounts[CAROL, Account.STATUS] == Status.ASIDE
    assert crowd.rows(CAROL) == sound.rows(CAROL)
    (statuses, figures), (expected_statuses, expected) = standing(crowd), standing(sound)
    assert not np.isfinite(figures[CAROL - SYSTEM_ACCOUNTS]).all()
    for account in (ALICE, BOB):
        place = account - SYSTEM_ACCOUNTS
        assert (statuses[place], figures[place]) == (expected_statuses[place], expected[place])
        assert np.isfinite(figures[place]).all()
    assert expected_statuses[CAROL - SYSTEM_ACCOUNTS] == Status.HEALTHY


@pytest.mark.criterion("LIQ-1", "LIQ-2", "CMD-16")
def test_what_is_aside_waits_for_an_operator(monkeypatch, crowd):
    monkeypatch.setattr(marks, "build", build_without_number(USDC))
    assert crowd.one(crowd.operator, c.Mark(BTC)).reason is Reason.ACCEPTED
    monkeypatch.undo()
    held = crowd.rows(CAROL)
    assert crowd.trade(CAROL, ALICE, INVERSE, -10, 10_000_00).reason is Reason.ACCOUNT_FROZEN
    assert crowd.trade(ALICE, CAROL, INVERSE, 10, 10_000_00).reason is Reason.ACCOUNT_FROZEN_OTHER
    assert crowd.trade(ALICE, BOB, INVERSE, 10, 10_000_00).reason is Reason.ACCEPTED
    assert crowd.rows(CAROL) == held
    crowd.operate(c.Mark(BTC))
    assert crowd.state.accounts[CAROL, Account.STATUS] == Status.ASIDE
    assert np.isfinite(crowd.state.figures[CAROL]).all()
    crowd.operate(c.ReleaseAccount(CAROL))
    assert crowd.state.accounts[CAROL, Account.STATUS] == Status.RESTRICTED
    crowd.operate(c.Mark(BTC))
    assert crowd.state.accounts[CAROL, Account.STATUS] == Status.HEALTHY
    crowd.check_conservation()


@pytest.mark.criterion("STA-7", "STR-13")
def test_a_tick_that_raises_while_tables_are_built(monkeypatch):
    """The mark is undone with the tick: what goes on from a snapshot has the same prices and tables."""
    made = venue()
    made.trade(ALICE, BOB, INVERSE, 100, 10_000_00)
    made.operate(c.SetRules(mark_interval=SECOND, mark_threshold_ppm=10**6))
    made.quote(BTC, INDEX + 40 * 10**8)
    before = made.canonical()

    def raises(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(marks, "build", raises)
    assert made.tick(made.fold.time + 2 * SECOND).reason is Reason.INTERNAL
    monkeypatch.undo()
    after = made.canonical()
    del before["registry"], after["registry"]
    assert after == before
    other = fold_from(snapshot_of(made.fold))
    for mine, theirs in zip(made.fold.machine.marked.tables, other.machine.marked.tables, strict=True):
        assert all(a.tobytes() == b.tobytes() for a, b in zip(mine.arrays, theirs.arrays, strict=True))
