"""Refusals of every command, alone and in pairs: of two faults the one that stands first in its table is the reason."""

import itertools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec
import pytest
from fold_driver import (
    ALICE,
    BOB,
    BTC,
    CALL,
    CAROL,
    ETH,
    EXPIRY,
    FEES,
    FUTURE,
    INSURANCE,
    INVERSE,
    RICH,
    SECOND,
    START,
    USD,
    hot,
    venue,
)

from holdfast.core import marks
from holdfast.core.state import NONE, Account, Counter, Item, Price, Status
from holdfast.domain import commands as c
from holdfast.domain.reasons import Reason
from holdfast.domain.units import LEDGER_MAXIMUM
from holdfast.margin.presets import preset

UNKNOWN = 99
FROM_0 = ("ahead_maximum", "checkpoint_frames", "breach_checkpoints", "tolerance_micros", "tolerance_ppb")
"""Rules that may be 0."""
BEYOND = LEDGER_MAXIMUM + 1


class Fault(NamedTuple):
    """A fault, the reason it gives, and the fields or the state that make it."""

    reason: Reason
    fields: Mapping = MappingProxyType({})
    setup: Callable = lambda venue: None
    touches: str = ""


class Case(NamedTuple):
    """A command that is accepted as it stands, and its faults in order of precedence."""

    name: str
    sender: str
    make: Callable
    good: dict
    faults: tuple[Fault, ...]
    prepare: Callable = lambda venue: None


def status(account, value):
    return lambda venue: venue.set_status(account, value)


def in_status(reason, account, value):
    return Fault(reason, {}, status(account, value), f"status of {account}")


def closed(item):
    def setup(venue):
        venue.state.items[item, Item.OPEN] = 0

    return setup


def no_line(item):
    def setup(venue):
        venue.state.lines[:, item] = NONE

    return setup


def no_number(account):
    """Make the margin of an account a NaN, as no input can."""

    def setup(venue):
        start, count = (int(v) for v in venue.state.accounts[account, [Account.START, Account.COUNT]])
        venue.state.row_units[start : start + count] = float("nan")

    return setup


def poor(account):
    """Leave an account one unit of each asset it has."""

    def setup(venue):
        for item, (cash, _) in venue.rows(account).items():
            venue.all_accepted((venue.client, hot(c.transfer, account, CAROL, item, cash - 1)))

    return setup


def stale(venue):
    venue.state.prices[:, Price.FRESH] = 0


def without_room(account, item):
    """Fill a row up to the limit."""

    def setup(venue):
        held, _ = venue.held(account, item)
        venue.operate(c.Deposit(account, item, LEDGER_MAXIMUM - held))

    return setup


def full_of_orders(venue):
    venue.state.accounts[ALICE, Account.ORDER_LAST] = 2**31 - 1


def expired(venue):
    """Put logical time behind the expiry, with a settlement average."""
    venue.state.counters[Counter.TIME] = EXPIRY
    venue.state.prices[[FUTURE, CALL], Price.SETTLEMENT_SUM] = 10_000 * 10**8
    venue.state.prices[[FUTURE, CALL], Price.SETTLEMENT_COUNT] = 1


def suspended(replica):
    """Suspend a replica, as a vote on a state root would."""

    def setup(venue):
        registry = venue.fold.machine.registry
        replicas = list(registry.replicas)
        replicas[replica] = msgspec.structs.replace(replicas[replica], suspended=True)
        venue.fold.machine.registry = msgspec.structs.replace(registry, replicas=tuple(replicas))

    return setup


def resting_orders(venue):
    venue.order(ALICE, INVERSE, 10, 10_000_00)
    venue.order(BOB, INVERSE, -10, 10_000_00)


def of_hot(make):
    return lambda **fields: hot(make, **fields)


ACCOUNTS = (Fault(Reason.ACCOUNT_UNKNOWN, {"account": UNKNOWN}), Fault(Reason.ACCOUNT_SYSTEM, {"account": FEES}))
OTHERS = (Fault(Reason.ACCOUNT_UNKNOWN, {"other": UNKNOWN}), Fault(Reason.ACCOUNT_SYSTEM, {"other": INSURANCE}))
CONTRACT = (
    Fault(Reason.ITEM_UNKNOWN, {"item": UNKNOWN}),
    Fault(Reason.NOT_AN_INSTRUMENT, {"item": USD}),
    Fault(Reason.INSTRUMENT_CLOSED, setup=closed(INVERSE)),
)
ASSET = (Fault(Reason.ITEM_UNKNOWN, {"item": UNKNOWN}), Fault(Reason.NOT_AN_ASSET, {"item": INVERSE}))
BUYERS = tuple(Fault(f.reason, {"buyer": f.fields["account"]}) for f in ACCOUNTS)
SELLERS = tuple(Fault(f.reason, {"seller": f.fields["other"]}) for f in OTHERS)
AMOUNT = (Fault(Reason.QUANTITY_INVALID, {"amount": 0}), Fault(Reason.QUANTITY_INVALID, {"amount": BEYOND}))
PARAMETERS = preset("portfolio")

TRADE = Case(
    "trade",
    "client",
    of_hot(c.trade),
    {"account": ALICE, "other": BOB, "item": INVERSE, "quantity": 100, "price": 10_000_00},
    (
        *ACCOUNTS,
        *OTHERS,
        Fault(Reason.ACCOUNT_SAME, {"account": BOB}),
        *CONTRACT,
        Fault(Reason.QUANTITY_INVALID, {"quantity": 0}),
        Fault(Reason.QUANTITY_INVALID, {"quantity": -BEYOND}),
        in_status(Reason.ACCOUNT_FROZEN, ALICE, Status.LIQUIDATING),
        in_status(Reason.ACCOUNT_FROZEN_OTHER, BOB, Status.ASIDE),
        Fault(Reason.PRICE_INVALID, {"price": 0}),
        Fault(Reason.LEDGER_LIMIT, {"quantity": LEDGER_MAXIMUM}),
        Fault(Reason.NO_PRICE, setup=no_line(INVERSE)),
        Fault(Reason.INTERNAL, setup=no_number(ALICE)),
        in_status(Reason.ACCOUNT_FROZEN, ALICE, Status.BREACH_PENDING),
        Fault(Reason.INITIAL_MARGIN, setup=poor(ALICE)),
        Fault(Reason.INTERNAL, setup=no_number(BOB)),
        in_status(Reason.ACCOUNT_FROZEN_OTHER, BOB, Status.FROZEN),
        Fault(Reason.INITIAL_MARGIN_OTHER, setup=poor(BOB)),
    ),
)
FILL = Case(
    "fill",
    "client",
    of_hot(c.fill),
    {"buyer": ALICE, "seller": BOB, "item": INVERSE, "quantity": 10, "price": 10_000_00, "buy_order": 1}
    | {"sell_order": 1},
    (
        *BUYERS,
        *SELLERS,
        Fault(Reason.ACCOUNT_SAME, {"buyer": BOB}),
        *CONTRACT,
        Fault(Reason.QUANTITY_INVALID, {"quantity": -10}),
        Fault(Reason.ORDER_UNKNOWN, {"buy_order": 2}),
        Fault(Reason.FILL_BEYOND_ORDER, {"quantity": 11}),
        Fault(Reason.FILL_BEYOND_LIMIT, {"price": 10_000_01}),
        Fault(Reason.ORDER_UNKNOWN, {"sell_order": 2}),
        Fault(Reason.FILL_BEYOND_LIMIT, {"price": 9_999_99}),
        in_status(Reason.ACCOUNT_FROZEN, ALICE, Status.BANKRUPT),
        in_status(Reason.ACCOUNT_FROZEN_OTHER, BOB, Status.LIQUIDATING),
        Fault(Reason.NO_PRICE, setup=no_line(INVERSE)),
    ),
    resting_orders,
)
ORDER = Case(
    "order",
    "client",
    of_hot(c.order),
    {"account": ALICE, "item": INVERSE, "quantity": 10, "price": 10_000_00},
    (
        *ACCOUNTS,
        *CONTRACT,
        Fault(Reason.QUANTITY_INVALID, {"quantity": 0}),
        Fault(Reason.QUANTITY_INVALID, {"quantity": BEYOND}),
        Fault(Reason.PRICE_INVALID, {"price": -1}),
        Fault(Reason.LEDGER_LIMIT, {"quantity": LEDGER_MAXIMUM}),
        in_status(Reason.ACCOUNT_FROZEN, ALICE, Status.FROZEN),
        Fault(Reason.NO_PRICE, setup=no_line(INVERSE)),
        Fault(Reason.ORDERS_LIMIT, setup=full_of_orders),
        Fault(Reason.INTERNAL, setup=no_number(ALICE)),
    ),
)
CANCEL = Case(
    "cancel",
    "client",
    of_hot(c.cancel),
    {"account": ALICE, "order_number": 1},
    (*ACCOUNTS, Fault(Reason.ORDER_UNKNOWN, {"order_number": 2})),
    resting_orders,
)
TRANSFER = Case(
    "transfer",
    "client",
    of_hot(c.transfer),
    {"account": ALICE, "other": BOB, "item": USD, "amount": 100},
    (
        *ACCOUNTS,
        *OTHERS,
        Fault(Reason.ACCOUNT_SAME, {"account": BOB}),
        *ASSET,
        *AMOUNT,
        in_status(Reason.ACCOUNT_FROZEN, ALICE, Status.FROZEN),
        in_status(Reason.ACCOUNT_FROZEN_OTHER, BOB, Status.ASIDE),
        Fault(Reason.BALANCE, {"amount": RICH + 1}),
        Fault(Reason.LEDGER_LIMIT, setup=without_room(BOB, USD)),
        Fault(Reason.INTERNAL, setup=no_number(ALICE)),
    ),
)
QUOTE = Case(
    "quote",
    "source",
    of_hot(c.quote),
    {"item": BTC, "price": 10**12, "time": START + 1, "sequence": 10**6},
    (
        Fault(Reason.ITEM_UNKNOWN, {"item": UNKNOWN}),
        Fault(Reason.PRICE_INVALID, {"price": 0}),
        Fault(Reason.PRICE_INVALID, {"price": BEYOND}),
        Fault(Reason.QUOTE_FUTURE, {"time": START + 5 * SECOND + 1}),
        Fault(Reason.QUOTE_OLD, {"time": START - 1}),
        Fault(Reason.QUOTE_OLD, {"sequence": 1}),
    ),
)
HOT = (TRADE, FILL, ORDER, CANCEL, TRANSFER, QUOTE)


def without_money(account):
    """Owe more than the collateral, so that nothing can be taken out."""

    def setup(venue):
        venue.state.row_units[int(venue.state.accounts[account, Account.START])] = -1e9

    return setup


def too_many(what, count):
    def setup(venue):
        registry = venue.fold.machine.registry
        many = tuple(getattr(registry, what)[0] for _ in range(count))
        venue.fold.machine.registry = msgspec.structs.replace(registry, **{what: many})

    return setup


COLD = (
    Case(
        "define-asset",
        "operator",
        c.DefineAsset,
        {"name": "SOL", "decimals": 9},
        (
            Fault(Reason.ALREADY_DEFINED, {"name": "BTC"}),
            Fault(Reason.DEFINITION_INVALID, {"name": "S-L"}),
            Fault(Reason.DEFINITION_INVALID, {"decimals": 19}),
            Fault(Reason.DEFINITION_INVALID, {"decimals": -1}),
        ),
    ),
    Case(
        "define-instrument",
        "operator",
        c.DefineInstrument,
        {"name": "BTC_USDC-PERPETUAL", "lot": "0.001", "price_decimals": 2},
        (
            Fault(Reason.DEFINITION_INVALID, {"name": "BTC_USDC-SOON"}),
            Fault(Reason.ITEM_UNKNOWN, {"name": "DOGE_USD-PERPETUAL"}),
            Fault(Reason.DEFINITION_INVALID, {"lot": "ten"}),
            Fault(Reason.DEFINITION_INVALID, {"price_decimals": 19}),
            Fault(Reason.DEFINITION_INVALID, {"fee_ppm": 1_000_001}),
            Fault(Reason.DEFINITION_INVALID, {"liquidation_fee_ppm": -1}),
            Fault(Reason.ALREADY_DEFINED, {"name": "BTC/USD:BTC"}),
            Fault(Reason.INSTRUMENT_CLOSED, {"name": "BTC-11SEP20"}),
        ),
    ),
    Case(
        "define-model",
        "operator",
        c.DefineModel,
        {"name": "third", "parameters": PARAMETERS},
        (Fault(Reason.DEFINITION_INVALID, setup=too_many("models", 4)),),
    ),
    Case(
        "define-source",
        "operator",
        c.DefineSource,
        {"name": "d"},
        (
            Fault(Reason.ALREADY_DEFINED, {"name": "a"}),
            Fault(Reason.DEFINITION_INVALID, setup=too_many("sources", 16)),
        ),
    ),
    Case(
        "define-replica",
        "operator",
        c.DefineReplica,
        {"name": "w", "public_key": bytes(range(32))},
        tuple(
            Fault(Reason.DEFINITION_INVALID, {"public_key": key})
            # Too short; of small order; y not below the prime of the field.
            for key in (bytes(31), bytes(32), b"\x01" + bytes(31), b"\xff" * 31 + b"\x7f")
        ),
    ),
    Case(
        "restore-replica",
        "operator",
        c.RestoreReplica,
        {"replica": 1},
        (Fault(Reason.REPLICA_UNKNOWN, {"replica": 3}), Fault(Reason.VALUE_INVALID, {"replica": 0})),
        suspended(1),
    ),
    Case(
        "set-rules",
        "operator",
        c.SetRules,
        {},
        (
            *(
                Fault(Reason.DEFINITION_INVALID, {field: 0})
                for field in c.SetRules.__struct_fields__
                if field not in FROM_0
            ),
            *(Fault(Reason.DEFINITION_INVALID, {field: -1}) for field in FROM_0),
            *(Fault(Reason.DEFINITION_INVALID, {field: BEYOND}) for field in c.SetRules.__struct_fields__),
            Fault(Reason.DEFINITION_INVALID, {"ahead_maximum": 2**63}),
            Fault(Reason.DEFINITION_INVALID, {"sources_minimum": 17}),
            Fault(Reason.DEFINITION_INVALID, {"witness_shortfall_ppm": 1_000_001}),
        ),
    ),
    Case(
        "activate-version",
        "operator",
        c.ActivateVersion,
        {"logic": 1},
        (Fault(Reason.VERSION_UNKNOWN, {"logic": 2}), Fault(Reason.VERSION_UNKNOWN, {"logic": 0})),
    ),
    Case(
        "tick",
        "replica",
        c.Tick,
        {"replica": 0, "clock": START + 1},
        (
            Fault(Reason.REPLICA_SUSPENDED, setup=suspended(0)),
            Fault(Reason.REPLICA_UNKNOWN, {"replica": 3}),
            Fault(Reason.REPLICA_UNKNOWN, {"replica": -1}),
            Fault(Reason.SESSION_ROLE, {"replica": 1}),
            Fault(Reason.VALUE_INVALID, {"clock": 2**62 + 1}),
            Fault(Reason.VALUE_INVALID, {"clock": 2**64 - 1}),
            Fault(Reason.CLOCK_BACKWARDS, {"clock": START}),
        ),
    ),
    Case(
        "mark",
        "operator",
        c.Mark,
        {"item": BTC},
        (
            Fault(Reason.ITEM_UNKNOWN, {"item": UNKNOWN}),
            Fault(Reason.ITEM_UNKNOWN, {"item": -1}),
            Fault(Reason.NOT_AN_ASSET, {"item": INVERSE}),
            Fault(Reason.NO_PRICE, {"item": ETH}),
            Fault(Reason.PRICES_STALE, setup=stale),
        ),
    ),
    Case(
        "open-account",
        "client",
        c.OpenAccount,
        {"model": 1},
        (Fault(Reason.MODEL_UNKNOWN, {"model": 2}), Fault(Reason.MODEL_UNKNOWN, {"model": -1})),
    ),
    Case(
        "choose-model",
        "client",
        c.ChooseModel,
        {"account": ALICE, "model": 1},
        (
            *ACCOUNTS,
            Fault(Reason.MODEL_UNKNOWN, {"model": 2}),
            in_status(Reason.ACCOUNT_FROZEN, ALICE, Status.BREACH_PENDING),
        ),
    ),
    Case(
        "deposit",
        "operator",
        c.Deposit,
        {"account": ALICE, "item": USD, "amount": 1},
        (
            *ACCOUNTS,
            Fault(Reason.ACCOUNT_UNKNOWN, {"account": 2**63}),
            *ASSET,
            *AMOUNT,
            Fault(Reason.NO_PRICE, {"item": ETH}),
            Fault(Reason.LEDGER_LIMIT, {"amount": LEDGER_MAXIMUM}),
        ),
    ),
    Case(
        "request-withdrawal",
        "client",
        c.RequestWithdrawal,
        {"account": ALICE, "item": USD, "amount": 1},
        (
            *ACCOUNTS,
            *ASSET,
            *AMOUNT,
            in_status(Reason.ACCOUNT_FROZEN, ALICE, Status.FROZEN),
            Fault(Reason.BALANCE, {"amount": RICH + 1}),
        ),
    ),
    Case(
        "cancel-withdrawal",
        "client",
        c.CancelWithdrawal,
        {"withdrawal": 1},
        (Fault(Reason.WITHDRAWAL_UNKNOWN, {"withdrawal": 2}),),
        lambda venue: venue.operate(c.RequestWithdrawal(ALICE, USD, 1)),
    ),
    Case(
        "funding",
        "operator",
        c.Funding,
        {"item": INVERSE, "rate_ppb": 100},
        (
            Fault(Reason.ITEM_UNKNOWN, {"item": UNKNOWN}),
            Fault(Reason.NOT_AN_INSTRUMENT, {"item": BTC}),
            Fault(Reason.NOT_AN_INSTRUMENT, {"item": FUTURE}),
            Fault(Reason.VALUE_INVALID, {"rate_ppb": 10**8 + 1}),
            Fault(Reason.VALUE_INVALID, {"rate_ppb": -(10**8) - 1}),
        ),
    ),
    Case(
        "settle",
        "replica",
        c.Settle,
        {"item": FUTURE},
        (
            Fault(Reason.ITEM_UNKNOWN, {"item": UNKNOWN}),
            Fault(Reason.NOT_AN_INSTRUMENT, {"item": INVERSE}),
            Fault(Reason.INSTRUMENT_CLOSED, setup=closed(FUTURE)),
            Fault(Reason.TOO_EARLY, setup=lambda venue: venue.state.counters.__setitem__(Counter.TIME, EXPIRY - 1)),
            Fault(Reason.PRICES_STALE, setup=stale),
        ),
        expired,
    ),
    Case(
        "release-account",
        "operator",
        c.ReleaseAccount,
        {"account": ALICE},
        (*ACCOUNTS, in_status(Reason.VALUE_INVALID, ALICE, Status.BREACH_PENDING)),
        status(ALICE, Status.FROZEN),
    ),
)
CASES = (*HOT, *COLD)


def attempt(case, *faults):
    """A venue with the faults, the session that sends, and the command with them."""
    new = venue()
    case.prepare(new)
    fields = dict(case.good)
    for fault in reversed(faults):
        fault.setup(new)
        fields |= fault.fields
    session = {"source": new.sources[0], "replica": new.replicas[0]}.get(case.sender) or getattr(new, case.sender)
    return new, session, case.make(**fields)


SINGLES = [
    pytest.param(case, fault, id=f"{case.name}-{number}-{fault.reason.name}")
    for case in CASES
    for number, fault in enumerate(case.faults)
]
PAIRS = [
    pytest.param(case, first, second, id=f"{case.name}-{i}-{first.reason.name}-{j}-{second.reason.name}")
    for case in CASES
    for (i, first), (j, second) in itertools.combinations(enumerate(case.faults), 2)
    if not first.fields.keys() & second.fields.keys() and (not first.touches or first.touches != second.touches)
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_command_is_accepted_as_it_stands(case):
    new, session, command = attempt(case)
    assert new.one(session, command).reason is Reason.ACCEPTED
    new.check_conservation()


@pytest.mark.criterion("CMD-3", "CMD-5", "CMD-6", "CMD-10", "CMD-11", "CMD-12", "CMD-13", "CMD-14", "CMD-15", "STA-7")
@pytest.mark.criterion("SES-6", "SES-7", "DEF-1", "DEF-10", "DEF-11", "DEF-12")
@pytest.mark.parametrize(("case", "fault"), SINGLES)
def test_each_fault_has_its_reason_and_changes_nothing(case, fault):
    new, session, command = attempt(case, fault)
    before = new.canonical()
    number = new.next_number(session)
    outcome = new.one(session, command)
    assert outcome.reason is fault.reason
    assert new.canonical() == before
    again = new.send_numbered((session, number, command))[0]
    assert repr(again) == repr(outcome._replace(repeated=1, detail=None)), "a NaN is not equal to itself"
    assert new.next_number(session) == number + 1


@pytest.mark.criterion("CMD-6", "CMD-10", "CMD-11", "CMD-12", "CMD-13", "CMD-14", "CMD-15", "MKS-1")
@pytest.mark.parametrize(("case", "first", "second"), PAIRS)
def test_earlier_fault_wins(case, first, second):
    new, session, command = attempt(case, first, second)
    assert new.one(session, command).reason is first.reason


def test_line_is_never_lost_by_the_setups():
    """The venue that the faults are planted in is left as it was for the next one."""
    assert marks.NONE not in venue().state.lines[0, :ETH]
