"""Definitions: numbers of contracts, versions of models, rules."""

import msgspec
import numpy as np
import pytest
from fold_driver import (
    ALICE,
    BOB,
    BTC,
    ETH,
    INSURANCE,
    INVERSE,
    LINEAR,
    SECOND,
    START,
    USD,
    USDC,
    hot,
    venue,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core import state as arrays
from holdfast.core.cold import definitions
from holdfast.core.state import Account, Counter, Form, Item, Role, Status
from holdfast.domain import commands as c
from holdfast.domain.errors import InputError
from holdfast.domain.outcomes import OUTCOME
from holdfast.domain.reasons import Reason
from holdfast.margin.presets import preset

PORTFOLIO = preset("portfolio")
COLUMNS = [Item.MULTIPLIER, Item.DIVISOR, Item.COST_NUMERATOR, Item.COST_DENOMINATOR]


def dearer(factor):
    """The portfolio model with a higher initial margin."""
    return msgspec.structs.replace(PORTFOLIO, initial_factor=PORTFOLIO.initial_factor * factor)


@pytest.mark.criterion("DEF-1", "CMD-13")
def test_items_are_numbered_without_gaps(venue):
    assert venue.one(venue.operator, c.DefineAsset("BTC", 8)).limit == BTC
    number = len(venue.fold.machine.registry.items)
    assert venue.one(venue.operator, c.DefineAsset("SOL", 9)).made == number
    assert venue.one(venue.operator, c.DefineInstrument("SOL_USD-PERPETUAL", "1", 2)).made == number + 1
    assert venue.state.items[number, [Item.SETTLEMENT, Item.UNDERLYING, Item.DIVISOR]].tolist() == [number] * 2 + [
        10**9
    ]
    assert venue.state.counters[Counter.ITEMS] == number + 2


@pytest.mark.criterion("DEF-2", "DEF-4", "DEF-5")
@pytest.mark.parametrize(
    ("name", "lot", "decimals", "numbers", "form"),
    [
        ("BTC-25DEC20", "10", 2, [10, 1, 10**11, 1], Form.INVERSE),
        ("BTC_USD-25DEC20", "0.001", 2, [1, 1_000, 10, 1], Form.LINEAR),
        ("ETH_USD-PERPETUAL", "0.0001", 4, [1, 10_000, 1, 100], Form.LINEAR),
        ("BTC-25DEC20-10000-C", "0.10", 4, [1, 10, 1_000, 1], Form.LINEAR),
        ("ETH_USDC-PERPETUAL", "25", 0, [25, 1, 25_000_000, 1], Form.LINEAR),
        ("BTC_USD-25DEC20-9000-P", "0.1", 2, [1, 10, 1_000, 1], Form.LINEAR),
    ],
)
def test_numbers_of_contracts(venue, name, lot, decimals, numbers, form):
    made = venue.operate(c.DefineInstrument(name, lot, decimals))[0].made
    row = venue.state.items[made]
    assert row[COLUMNS].tolist() == numbers
    assert row[Item.FORM] == form
    assert row[Item.OPEN] == 1


@pytest.mark.criterion("DEF-3", "DEF-5")
@pytest.mark.parametrize(
    ("lot", "decimals", "expected"),
    [
        ("10", 2, True),
        ("100000000", 1, True),
        ("110000000", 1, False),
        ("1000000000", 0, False),
        ("99", 2, True),
        ("1.01", 2, False),
        ("0.12345", 2, False),
        ("0", 2, False),
        ("-1", 2, False),
        ("ten", 2, False),
        ("NaN", 2, False),
        ("Infinity", 2, False),
        ("1e-15", 7, True),
        ("1e-15", 6, False),
        ("1e-16", 10, False),
        ("1e6", 3, True),
        ("1e6", 4, False),
        ("1", 18, False),
    ],
)
def test_lots(venue, lot, decimals, expected):
    outcome = venue.one(venue.operator, c.DefineInstrument("BTC-25DEC20", lot, decimals))
    assert outcome.reason is (Reason.ACCEPTED if expected else Reason.DEFINITION_INVALID), outcome.detail
    assert expected or outcome.detail


@pytest.mark.criterion("DEF-2")
def test_every_spelling_is_one_contract(venue):
    for spelling in ("BTC-PERPETUAL", "btc-perpetual", "BTC/USD:BTC"):
        outcome = venue.one(venue.operator, c.DefineInstrument(spelling, "10", 2))
        assert (outcome.reason, outcome.limit) == (Reason.ALREADY_DEFINED, INVERSE)


@pytest.mark.criterion("DEF-6", "DEF-1")
def test_definition_that_no_model_can_margin(venue, monkeypatch):
    venue.quote(ETH, 400 * 10**8)
    venue.operate(c.Mark(ETH))
    build = definitions.marks.build

    def fails(state, registry, *others):
        if len(registry.items) > ETH + 1:
            raise InputError("missing-field", "futures[ETH]", None, "add it")
        return build(state, registry, *others)

    monkeypatch.setattr(definitions.marks, "build", fails)
    before = venue.canonical()
    for command in (c.DefineInstrument("ETH-PERPETUAL", "1", 2), c.DefineAsset("SOL", 9)):
        outcome = venue.one(venue.operator, command)
        assert outcome.reason is Reason.DEFINITION_INVALID
        assert "futures[ETH]" in outcome.detail
        assert venue.canonical() == before
    monkeypatch.undo()
    assert venue.one(venue.operator, c.DefineInstrument("ETH-PERPETUAL", "1", 2)).made == len(before["items"])


@pytest.mark.criterion("DEF-7")
def test_versions_of_a_model(venue):
    def model():
        found = venue.fold.machine.registry.models[0]
        return found.version, found.parameters.initial_factor / PORTFOLIO.initial_factor, found.pending is not None

    assert model() == (1, 1.0, False)
    venue.operate(c.DefineModel("portfolio", dearer(2.0), START))
    assert model() == (2, 2.0, False)
    venue.operate(c.DefineModel("portfolio", dearer(3.0), START + 2 * SECOND))
    assert model() == (2, 2.0, True)
    venue.operate(c.DefineModel("portfolio", dearer(4.0), START + 3 * SECOND))
    venue.tick(START + 3 * SECOND - 1)
    assert model() == (2, 2.0, True)
    venue.tick(START + 3 * SECOND)
    assert model() == (3, 4.0, False)
    venue.operate(c.DefineModel("portfolio", dearer(5.0), START + 9 * SECOND))
    venue.operate(c.DefineModel("portfolio", dearer(6.0)))
    venue.tick(START + 9 * SECOND)
    assert model() == (4, 6.0, False)
    new = venue.operate(c.DefineModel("later", dearer(2.0), START + 99 * SECOND))[0].made
    assert (new, venue.fold.machine.registry.models[new].pending) == (2, None)
    venue.operate(c.DefineModel("last", dearer(2.0)))
    refused = venue.one(venue.operator, c.DefineModel("fifth", dearer(2.0)))
    assert (refused.reason, refused.limit) == (Reason.DEFINITION_INVALID, 4)


@pytest.mark.criterion("DEF-8", "CMD-3")
def test_version_that_would_breach(venue):
    assert venue.trade(ALICE, BOB, LINEAR, 10_000, 10_000_00).reason is Reason.ACCEPTED
    outcome = venue.one(venue.client, c.ChooseModel(ALICE, 0, dry_run=True))
    factor = 1.5 * outcome.equity / outcome.initial
    before = venue.canonical()
    command = c.DefineModel("portfolio", dearer(factor))
    refused = venue.one(venue.operator, command)
    assert (refused.reason, refused.limit) == (Reason.WOULD_BREACH, len(refused.detail))
    listed = {account: (equity, initial) for account, equity, initial in refused.detail}
    assert ALICE in listed
    assert list(listed) == sorted(listed)
    assert listed[ALICE][0] == pytest.approx(outcome.equity)
    assert listed[ALICE][1] > outcome.equity
    assert venue.canonical() == before
    taken = venue.one(venue.operator, msgspec.structs.replace(command, force=True))
    assert (taken.reason, taken.limit, taken.detail) == (Reason.ACCEPTED, refused.limit, refused.detail)
    further = venue.one(venue.operator, c.DefineModel("portfolio", dearer(2 * factor)))
    assert ALICE not in [account for account, _, _ in further.detail or ()], "it is below already"


@pytest.mark.criterion("DEF-8")
def test_system_accounts_do_not_count(venue, monkeypatch):
    count = int(venue.state.counters[Counter.ACCOUNTS])
    figures = iter((np.tile([1.0, 0.0], (count, 1)), np.tile([0.0, 1.0], (count, 1))))
    monkeypatch.setattr(definitions, "margins_of_all", lambda *_: next(figures))
    refused = venue.one(venue.operator, c.DefineModel("portfolio", dearer(2.0)))
    assert [account for account, _, _ in refused.detail] == list(range(INSURANCE + 2, count))


@pytest.mark.criterion("DEF-8")
def test_margin_that_is_no_number_would_breach(venue, monkeypatch):
    count = int(venue.state.counters[Counter.ACCOUNTS])
    figures = iter((np.tile([1.0, 0.0], (count, 1)), np.full((count, 2), np.nan)))
    monkeypatch.setattr(definitions, "margins_of_all", lambda *_: next(figures))
    assert venue.one(venue.operator, c.DefineModel("portfolio", dearer(2.0))).limit == count - 4


@pytest.mark.criterion("DEF-9", "TIM-4")
def test_version_that_cannot_be_built(venue, monkeypatch):
    venue.operate(c.DefineModel("portfolio", dearer(2.0), START + SECOND))
    build = definitions.marks.build

    def fails(state, registry, tried=None):
        sets = [*(m.parameters for m in registry.models), *(tried or {}).values()]
        if any(one.initial_factor == dearer(2.0).initial_factor for one in sets if hasattr(one, "initial_factor")):
            raise InputError("missing-field", "futures[BTC]", None, "add it")
        return build(state, registry, tried)

    monkeypatch.setattr(definitions.marks, "build", fails)
    refused = venue.one(venue.operator, c.DefineModel("portfolio", dearer(2.0)))
    assert (refused.reason, "futures[BTC]" in refused.detail) == (Reason.DEFINITION_INVALID, True)
    assert venue.fold.machine.registry.models[0].pending is not None
    assert venue.one(venue.operator, c.DefineModel("fresh", dearer(2.0))).reason is Reason.DEFINITION_INVALID
    outcome = venue.tick(START + 2 * SECOND)
    assert (outcome.reason, venue.fold.time) == (Reason.ACCEPTED, START + 2 * SECOND)
    model = venue.fold.machine.registry.models[0]
    assert (model.version, model.parameters, model.pending) == (1, PORTFOLIO, None)
    assert venue.fold.machine.registry.alarms[-1].site == "version 2 of model portfolio"
    assert venue.tick(START + 3 * SECOND).reason is Reason.ACCEPTED


@pytest.mark.criterion("DEF-10", "STA-6")
def test_sources_and_replicas(venue):
    assert venue.one(venue.operator, c.DefineSource("b")).limit == 1
    assert venue.one(venue.operator, c.DefineReplica("y", bytes(range(32)), "east")).made == 1
    changed = venue.fold.machine.registry.replicas
    assert (changed[1].public_key, changed[1].region, changed[0].clock) == (bytes(range(32)), "east", START)
    venue.operate(c.DefineReplica("x", bytes(range(32))))
    assert venue.fold.machine.registry.replicas[0].clock == START


@pytest.mark.criterion("DEF-11", "MKS-3", "STA-1")
def test_rules_are_replaced_as_a_whole(venue):
    venue.operate(c.SetRules(age_maximum=1, outlier_ppm=2))
    venue.operate(c.SetRules(mark_threshold_ppm=3, ahead_maximum=0))
    names = Counter.AGE_MAXIMUM, Counter.AHEAD_MAXIMUM, Counter.SOURCES_MINIMUM, Counter.OUTLIER_PPM
    values = [int(venue.state.counters[name]) for name in (*names, Counter.THRESHOLD_PPM)]
    assert values == [60 * SECOND, 0, 1, 50_000, 3]
    default = c.SetRules()
    assert [getattr(default, field) for field in default.__struct_fields__] == [
        *(60 * SECOND, 5 * SECOND, 1, 50_000, SECOND, 5_000, 10 * SECOND, 8, 256, 100_000, 0, 10_000, 1_000)
    ]


@pytest.mark.criterion("CMD-15", "CMD-16", "STA-5")
def test_choice_of_a_model(venue):
    assert venue.trade(ALICE, BOB, LINEAR, 1_000, 10_000_00).reason is Reason.ACCEPTED
    venue.set_status(ALICE, Status.BREACH_PENDING)
    before = venue.canonical()
    tried = venue.one(venue.client, c.ChooseModel(ALICE, 1, dry_run=True))
    assert tried.reason is Reason.ACCEPTED
    assert venue.canonical() == before
    venue.set_status(ALICE, Status.RESTRICTED)
    chosen = venue.one(venue.client, c.ChooseModel(ALICE, 1))
    assert (chosen.equity, chosen.initial) == (tried.equity, tried.initial)
    assert venue.state.accounts[ALICE, [Account.MODEL, Account.STATUS]].tolist() == [1, Status.HEALTHY]
    assert venue.rows(ALICE) == {item: tuple(row) for item, row in dict(before["rows"][ALICE]).items()}
    venue.check_conservation()


@pytest.mark.criterion("CMD-2", "CMD-3", "CMD-15")
@pytest.mark.parametrize("dry_run", [False, True])
def test_choice_that_margin_forbids(venue, dry_run):
    assert venue.trade(ALICE, BOB, LINEAR, 1_000, 10_000_00).reason is Reason.ACCEPTED
    tried = venue.one(venue.client, c.ChooseModel(ALICE, 0, dry_run=True))
    dear = venue.operate(c.DefineModel("dear", dearer(1.5 * tried.equity / tried.initial)))[0].made
    before = venue.canonical()
    refused = venue.one(venue.client, c.ChooseModel(ALICE, dear, dry_run=dry_run))
    assert refused.reason is Reason.INITIAL_MARGIN
    assert refused.limit == int(np.ceil((refused.initial - refused.equity) * 1e6)) > 0
    assert venue.canonical() == before


@pytest.mark.criterion("CMD-6", "CMD-7", "CMD-8", "CMD-2")
@settings(max_examples=20)
@given(st.integers(20_000, 10**6), st.booleans())
def test_what_would_pass_passes(lots, sells):
    new = venue()
    lots = -lots if sells else lots
    before = new.canonical()
    outcome = new.trade(ALICE, BOB, LINEAR, lots, 10_000_00)
    if outcome.reason is Reason.ACCEPTED:
        return
    assert outcome.reason in (Reason.INITIAL_MARGIN, Reason.INITIAL_MARGIN_OTHER)
    assert new.canonical() == before
    assert 0 < abs(outcome.passes) < abs(lots)
    assert (outcome.passes < 0) == sells
    assert outcome.limit > 0
    more = outcome.passes - 1 if sells else outcome.passes + 1
    assert new.clone().trade(ALICE, BOB, LINEAR, more, 10_000_00).reason is not Reason.ACCEPTED
    assert new.trade(ALICE, BOB, LINEAR, outcome.passes, 10_000_00).reason is Reason.ACCEPTED


def short_of_margin(status=None):
    """Bob is long and below initial margin."""
    new = venue()
    assert new.trade(BOB, ALICE, LINEAR, 80_000, 10_000_00).reason is Reason.ACCEPTED
    new.quote(BTC, 8_500 * 10**8)
    new.operate(c.Mark(BTC))
    equity, initial, _ = new.state.figures[BOB]
    assert equity < initial
    if status is not None:
        new.set_status(BOB, status)
    return new


@pytest.mark.criterion("CMD-4", "CMD-6", "CMD-7")
@pytest.mark.parametrize("status", [Status.RESTRICTED, Status.BREACH_PENDING, Status.FROZEN])
def test_below_margin_positions_only_become_smaller(status):
    cases = [
        (-100, 8_500_00, Reason.ACCEPTED),
        (-80_000, 8_500_00, Reason.ACCEPTED),
        (-80_001, 8_500_00, Reason.ACCEPTED if status is Status.RESTRICTED else None),
        (-170_000, 8_500_00, None),
        (1, 8_500_00, None),
        (-100, 1_000_00, Reason.INITIAL_MARGIN),
    ]
    wider = Reason.INITIAL_MARGIN if status is Status.RESTRICTED else Reason.ACCOUNT_FROZEN
    for lots, price, expected in cases:
        new = short_of_margin(status)
        before = new.canonical()
        outcome = new.trade(BOB, ALICE, LINEAR, lots, price)
        assert outcome.reason is (wider if expected is None else expected), (lots, price)
        assert expected is Reason.ACCEPTED or new.canonical() == before


@pytest.mark.criterion("CMD-4", "CMD-6", "CMD-10", "CMD-12", "CMD-15")
@pytest.mark.parametrize("status", list(Status))
def test_what_each_status_allows(status):
    free = status in (Status.HEALTHY, Status.RESTRICTED)
    held = status in (Status.LIQUIDATING, Status.BANKRUPT, Status.ASIDE)
    allowed = {
        "trade": (free, hot(c.trade, ALICE, BOB, LINEAR, 1, 10_000_00)),
        "smaller": (not held, hot(c.trade, ALICE, BOB, INVERSE, -1, 10_000_00)),
        "fill": (not held, hot(c.fill, ALICE, BOB, LINEAR, 1, 10_000_00, buy_order=1)),
        "order": (free, hot(c.order, ALICE, LINEAR, 1, 10_000_00)),
        "cancel": (True, hot(c.cancel, ALICE, 1)),
        "gives": (free, hot(c.transfer, ALICE, BOB, USD, 1)),
        "gets": (not held, hot(c.transfer, BOB, ALICE, USD, 1)),
        "withdraws": (free, c.RequestWithdrawal(ALICE, USD, 1)),
        "changes": (free, c.ChooseModel(ALICE, 1)),
        "deposit": (True, c.Deposit(ALICE, USD, 1)),
    }
    for name, (expected, command) in allowed.items():
        new = venue()
        assert new.trade(ALICE, BOB, INVERSE, 10, 10_000_00).reason is Reason.ACCEPTED
        assert new.order(ALICE, LINEAR, 1, 10_000_00).reason is Reason.ACCEPTED
        new.set_status(ALICE, status)
        outcome = new.one(new.operator, command)
        refusals = (Reason.ACCOUNT_FROZEN, Reason.ACCOUNT_FROZEN_OTHER)
        assert (outcome.reason is Reason.ACCEPTED) == expected, (name, outcome)
        assert expected or outcome.reason in refusals


@pytest.mark.criterion("CMD-6", "CMD-7")
def test_fill_of_an_accepted_order_is_never_refused_on_margin():
    new = venue()
    assert new.order(BOB, LINEAR, 100, 10_000_00).reason is Reason.ACCEPTED
    assert new.trade(BOB, ALICE, LINEAR, 80_000, 10_000_00).reason is Reason.ACCEPTED
    new.quote(BTC, 8_000 * 10**8)
    new.operate(c.Mark(BTC))
    assert new.one(new.client, hot(c.fill, BOB, ALICE, LINEAR, 1, 10_000_00)).reason is not Reason.ACCEPTED
    for lots, left in ((60, {(BOB, 1): (LINEAR, 40, 10_000_00)}), (40, {})):
        fill = hot(c.fill, BOB, ALICE, LINEAR, lots, 10_000_00, buy_order=1)
        assert new.one(new.client, fill).reason is Reason.ACCEPTED
        assert new.orders() == left
    again = hot(c.fill, BOB, ALICE, LINEAR, 1, 10_000_00, buy_order=1)
    assert new.one(new.client, again).reason is Reason.ORDER_UNKNOWN


@pytest.mark.criterion("CMD-10", "CMD-11", "STA-3")
def test_orders_are_numbered_and_cancelled(venue):
    made = [venue.order(ALICE, INVERSE, lots, 9_000_00).made for lots in (5, -6, 7)]
    assert made == [1, 2, 3]
    assert venue.one(venue.client, hot(c.cancel, ALICE, 2)).passes == -6
    assert venue.one(venue.client, hot(c.cancel, ALICE, 2)).reason is Reason.ORDER_UNKNOWN
    assert venue.one(venue.client, hot(c.cancel, BOB, 1)).reason is Reason.ORDER_UNKNOWN
    assert venue.order(ALICE, INVERSE, 1, 9_000_00).made == 4
    assert venue.orders() == {
        (ALICE, 1): (INVERSE, 5, 9_000_00),
        (ALICE, 3): (INVERSE, 7, 9_000_00),
        (ALICE, 4): (INVERSE, 1, 9_000_00),
    }


@pytest.mark.criterion("CMD-10")
def test_limit_of_open_orders(venue):
    place = hot(c.order, ALICE, INVERSE, 1, 1_000_00)
    outcomes = venue.send(*((venue.client, place) for _ in range(1_025)))
    assert {o.reason for o in outcomes[:-1]} == {Reason.ACCEPTED}
    assert outcomes[-1].reason is Reason.ORDERS_LIMIT
    venue.one(venue.client, hot(c.cancel, ALICE, 1_000))
    assert venue.one(venue.client, place).made == 1_025


@pytest.mark.criterion("CMD-13", "CMD-14", "CMD-15", "SES-5")
def test_who_may_send_cold_commands():
    """Roles per command, written out once more."""
    operator, clients, replica = {Role.OPERATOR}, {Role.CLIENT, Role.OPERATOR}, {Role.REPLICA}
    expected = {
        **dict.fromkeys((c.DefineAsset, c.DefineInstrument, c.DefineModel, c.DefineSource, c.DefineReplica), operator),
        **dict.fromkeys((c.SetRules, c.ActivateVersion, c.Deposit, c.Funding, c.ReleaseAccount), operator),
        **dict.fromkeys((c.RestoreReplica, c.ReleaseFreeze), operator),
        **dict.fromkeys((c.OpenAccount, c.ChooseModel, c.RequestWithdrawal, c.CancelWithdrawal), clients),
        c.Tick: replica,
        c.Mark: operator | replica,
        c.Settle: operator | replica,
    }
    from holdfast.core.fold import ALLOWED  # noqa: PLC0415

    assert {kind: set(ALLOWED[kind]) for kind in expected} == expected


@pytest.mark.criterion("CMD-1")
def test_fields_of_an_outcome():
    names = ["reason", "repeated", "limit", "passes", "made", "equity", "initial", "command", "reserved"]
    assert list(OUTCOME.names) == names
    assert OUTCOME.itemsize == 64


@pytest.mark.criterion("STA-3")
def test_system_accounts_exist_from_the_start(driver):
    assert driver.state.counters[Counter.ACCOUNTS] == 4
    assert (arrays.WORLD, arrays.FEES, arrays.INSURANCE, arrays.WITHDRAWALS) == (0, 1, 2, 3)
    assert driver.one(driver.open("client"), c.OpenAccount(0)).reason is Reason.MODEL_UNKNOWN
    assert venue().state.accounts[:4, Account.MODEL].tolist() == [0] * 4


@pytest.mark.criterion("STA-5")
def test_statuses():
    names = ["HEALTHY", "RESTRICTED", "BREACH_PENDING", "LIQUIDATING", "BANKRUPT", "FROZEN", "ASIDE"]
    assert [status.name for status in Status] == names
    new = short_of_margin(Status.HEALTHY)
    assert new.trade(BOB, ALICE, LINEAR, -1, 8_500_00).reason is Reason.ACCEPTED
    assert new.state.accounts[BOB, Account.STATUS] == Status.RESTRICTED
    new.operate(c.Deposit(BOB, USD, 10**12))
    assert new.state.accounts[BOB, Account.STATUS] == Status.HEALTHY
    new = short_of_margin(Status.RESTRICTED)
    new.one(new.client, hot(c.transfer, ALICE, BOB, USD, 150_000 * 10**6))
    assert new.state.accounts[BOB, Account.STATUS] == Status.RESTRICTED
    new.operate(c.Mark(BTC))
    assert new.state.accounts[BOB, Account.STATUS] == Status.HEALTHY


@pytest.mark.criterion("STA-2")
def test_nothing_is_left_over_between_commands(venue):
    venue.quote(BTC, 10_100 * 10**8)
    venue.trade(ALICE, BOB, INVERSE, 1, 1)
    venue.operate(c.Funding(INVERSE, 1))
    names = [Counter.MARK_DUE, Counter.JOURNAL, Counter.POSTED]
    assert venue.state.counters[names].tolist() == [-1, 0, 0]
    assert USDC in venue.fold.machine.underlyings()
