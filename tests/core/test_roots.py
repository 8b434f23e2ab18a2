"""State roots: against a second reading of the page, incremental against from scratch, and value by value."""

import dataclasses
import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from fold_driver import ALICE, BOB, BTC, INSURANCE, INVERSE, LINEAR, SECOND, USD, hot, venue
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_root import SECTIONS as NAIVE_SECTIONS
from naive_root import naive_root, pack
from random_log import RandomVenue

from holdfast.core import marks
from holdfast.core.canonical import canonical_bytes
from holdfast.core.fold import CHECKPOINTS_KEPT, Fold
from holdfast.core.leaves import account_leaves, session_leaves
from holdfast.core.registry import (
    Alarm,
    Ballot,
    CertifiedCheckpoint,
    CheckpointPlace,
    Discrepancy,
    Lease,
    MarkPlace,
    OpenQuarantine,
    Payment,
    Registry,
    Replica,
    Withdrawal,
)
from holdfast.core.roots import MODEL_FIELDS, TAGS, Checkpoint, Roots, full_root, role_leaf
from holdfast.core.snapshot import ACCOUNT_COLUMNS, fold_from, snapshot_of
from holdfast.core.state import Account, Counter, Open, Session, Status, empty_state
from holdfast.domain import commands as c
from holdfast.domain.frames import encode_frame
from holdfast.margin.presets import preset
from holdfast.margin.table import Arrays, LineTag, ModelField
from holdfast.proof.inclusion import leaf_hash, verify_inclusion
from holdfast.proof.merkle import MerkleTree
from holdfast.proof.state_root import SECTIONS

PAGE = (Path(__file__).parents[2] / "specs" / "state-root.md").read_text(encoding="utf-8")
BLOCKS = [bytes.fromhex("".join(block.split())) for block in re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)]
HASHES = re.findall(r"`([0-9a-f]{64})`", PAGE)


@functools.cache
def rich():
    """A venue with something of everything."""
    made = RandomVenue(11).happen(25).crash()
    made.operate(c.RequestWithdrawal(BOB, USD, 10**6, "home"))
    made.operate(c.DefineModel("standard", preset("standard"), effective=made.fold.time + 10**15))
    made.one(made.replicas[1], c.TakeLease("feed", 1, SECOND))
    made.order(ALICE, INVERSE, 20, 500_000)
    made.order(BOB, LINEAR, 20, 500_000)
    assert len(made.orders()) >= 2
    ballot = Ballot(1, 2, 3, 4, with_b=True)
    made.fold.machine.registry = msgspec.structs.replace(
        made.fold.machine.registry,
        quarantined=frozenset({70_001, 3}),
        alarms=(Alarm(5, "here", "what"),),
        ballots={BOB: {2: ballot, 0: ballot}, ALICE: {1: ballot}},
        releases={1: {0: ballot}},
    )
    made.fold.root()
    return made


def another():
    return rich().clone().fold.machine


@pytest.mark.criterion("STR-4", "STR-15")
def test_worked_account():
    state = empty_state()
    row = state.accounts[0]
    row[[Account.START, Account.COUNT, Account.CAPACITY, Account.ORDERS]] = 8, 2, 8, 3
    row[[Account.MODEL, Account.STATUS, Account.VERSION, Account.ORDER_LAST]] = 1, Status.RESTRICTED, 7, 3
    for order in ([5, 0], [0, 5]):
        state.row_item[8:10] = order
        state.ledger[8:10] = [{5: (-2, -1_500), 0: (250, 40)}[item] for item in order]
        data, offsets = account_leaves(state, np.array([0]))
        assert bytes(data) == BLOCKS[0]
        assert offsets.tolist() == [0, 88]
    assert leaf_hash(BLOCKS[0]).hex() == HASHES[0]


@pytest.mark.criterion("STR-9", "STR-15")
def test_worked_lease():
    assert role_leaf("leases", {"feed": Lease(2, 5, 16_385)}) == BLOCKS[1]
    assert leaf_hash(BLOCKS[1]).hex() == HASHES[1]
    assert role_leaf("leases", {}) == b""


@pytest.mark.criterion("STR-16")
def test_empty_log():
    assert Fold().root().hex() == HASHES[2] == naive_root(Fold().machine).hex()


@pytest.mark.criterion("STR-1", "STR-4", "STR-5", "STR-6", "STR-7", "STR-8", "STR-9", "STR-10")
def test_second_reading_of_the_page():
    machine = another()
    roots = Roots()
    root = roots.root(machine)
    assert tuple(NAIVE_SECTIONS) == SECTIONS
    for name, leaves_of in NAIVE_SECTIONS.items():
        leaves = list(leaves_of(machine))
        tree = roots.section(name)
        assert (len(tree), tree.root()) == (len(leaves), MerkleTree(leaves).root()), name
        assert verify_inclusion(
            leaves[-1], len(leaves) - 1, len(tree), tree.inclusion_proof(len(leaves) - 1), tree.root()
        )
    assert root == naive_root(machine)


@pytest.mark.criterion("STR-1")
@settings(max_examples=12)
@given(seed=st.integers(0, 10**6), asked=st.sets(st.integers(0, 60)))
def test_incremental_is_from_scratch(seed, asked):
    """Whenever roots were taken before, and whatever checkpoints took."""
    steps = RandomVenue(seed).happen(12).crash().fold.steps
    fold = Fold()
    for position, step in enumerate(steps):
        fold.apply(step.frame)
        if position in asked or position == len(steps) - 1:
            assert fold.root() == full_root(fold.machine)
    assert full_root(fold.machine) == naive_root(fold.machine)


def test_only_what_changed_is_hashed(monkeypatch):
    made = venue()
    made.fold.root()
    hashed = []
    for name in ("update_rows", "append_rows", "update_many", "extend"):
        original = getattr(MerkleTree, name)

        def counted(tree, *arguments, original=original, name=name):
            rows = {"update_rows": 0, "update_many": 0, "append_rows": 1, "extend": 0}[name]
            count = len(arguments[rows]) - (name == "append_rows")
            hashed.extend([name] * count)
            return original(tree, *arguments)

        monkeypatch.setattr(MerkleTree, name, counted)
    made.fold.root()
    assert hashed == []
    made.trade(ALICE, BOB, LINEAR, 5, 1_000_000)
    changed = int(made.state.accounts[:, Account.DIRTY].sum())
    made.fold.root()
    # Both accounts and, where there is a fee, the fees; the gateway's session and the client's.
    assert 2 <= changed <= 3
    assert hashed == ["update_rows"] * (changed + 2)


@given(st.data())
def test_rows_in_any_order(data):
    """Few rows and many are sorted by different code."""
    count = data.draw(st.sampled_from((0, 1, 2, 20, 47, 48, 49, 130)))
    items = data.draw(st.permutations(range(count)))
    state = empty_state()
    state.accounts[0, [Account.START, Account.COUNT]] = 16, count
    state.row_item[16 : 16 + count] = items
    state.ledger[16 : 16 + count, 0] = [-item for item in items]
    state.ledger[16 : 16 + count, 1] = [item << 40 for item in items]
    found = np.frombuffer(account_leaves(state, np.array([0])).data, np.int64)
    assert found[4] == count
    assert found[5:].reshape(-1, 3).tolist() == [[item, -item, item << 40] for item in range(count)]


def put(array, *place):
    """Add 1 to an element of an array of the state."""

    def change(machine):
        getattr(machine.state, array)[place] += 1

    return change


def registry(**fields):
    """Put other values into fields of the registry; a function gets the old one."""

    def change(machine):
        made = {name: new(getattr(machine.registry, name)) if callable(new) else new for name, new in fields.items()}
        machine.registry = msgspec.structs.replace(machine.registry, **made)

    return change


def replaced(index, **fields):
    """A change of one record of a tuple."""
    return lambda old: (*old[:index], msgspec.structs.replace(old[index], **fields), *old[index + 1 :])


def order(column):
    def change(machine):
        slot = int(np.flatnonzero(machine.state.orders[:, Open.REMAINING])[0])
        machine.state.orders[slot, column] += 1

    return change


def kept(field):
    def change(machine):
        machine.state.kept[field][int(machine.state.sessions[2, Session.RING]) + 3] += 1

    return change


def row(array, *column):
    def change(machine):
        getattr(machine.state, array)[(int(machine.state.accounts[BOB, Account.START]), *column)] += 1

    return change


def element(name, place=0):
    """Change an element of an array of the first model's table."""

    def change(machine):
        tables = list(machine.marked.tables)
        arrays = tables[0].arrays
        array = getattr(arrays, name).copy()
        flat = array.reshape(-1)
        flat[place] = np.nextafter(flat[place], np.inf) if array.dtype == np.float64 else flat[place] + 1
        tables[0] = dataclasses.replace(tables[0], arrays=arrays._replace(**{name: array}))
        machine.marked = machine.marked._replace(tables=tuple(tables))

    return change


def table_time(machine):
    market = machine.marked.market
    machine.marked = machine.marked._replace(market=msgspec.structs.replace(market, time=market.time + 1))


BALLOT = Ballot(9, 9, 9, 9, with_b=False)
STATE = {
    **{f"account.{k.name}": put("accounts", BOB, k) for k in ACCOUNT_COLUMNS if k is not Account.COUNT},
    "row.amount": row("ledger", 0),
    "row.cost": row("ledger", 1),
    "row.item": row("row_item"),
    "accounts": put("counters", Counter.ACCOUNTS),
    **{f"order.{k.name}": order(k) for k in Open if k is not Open.NEXT},
    **{f"session.{k.name}": put("sessions", 2, k) for k in Session if k not in (Session.RING, Session.KEPT)},
    **{f"kept.{field}": kept(field) for field in ("reason", "limit", "passes", "made", "equity", "initial", "command")},
    "time": put("counters", Counter.TIME),
    "price_id": put("counters", Counter.PRICE_ID),
    "ticks": registry(ticks=lambda old: old + 1),
    **{f"quote.{k}": put("quotes", BTC, 2, k) for k in range(3)},
    **{f"price.{k}": put("prices", BTC, k) for k in range(5)},
    **{f"item.{k}": put("items", INVERSE, k) for k in range(13)},
    "definition.name": registry(items=replaced(1, name="BTX")),
    "definition.decimals": registry(items=replaced(1, decimals=7)),
    "definition.lot": registry(items=replaced(INVERSE, lot="20")),
    "rules": registry(rules=lambda old: msgspec.structs.replace(old, live_ticks=9)),
    "sources": registry(sources=("a", "b", "d")),
    "model.name": registry(models=replaced(0, name="other")),
    "model.version": registry(models=replaced(0, version=9)),
    "model.parameters": registry(models=replaced(0, parameters=preset("standard"))),
    "model.pending": registry(models=replaced(1, pending=None)),
    "replica.name": registry(replicas=replaced(0, name="q")),
    "replica.key": registry(replicas=replaced(0, public_key=bytes(32))),
    "replica.region": registry(replicas=replaced(0, region="north")),
    "replica.clock": registry(replicas=replaced(0, clock=1)),
    "replica.ticked": registry(replicas=replaced(0, ticked=1)),
    "replica.suspended": registry(replicas=replaced(0, suspended=True)),
    "replicas": registry(replicas=lambda old: (*old, Replica("new", bytes(32)))),
    "logic": registry(logic=2),
    "withdrawals": registry(withdrawals=lambda old: old | {99: Withdrawal(4, 0, 1, "", 7)}),
    "withdrawals_made": registry(withdrawals_made=lambda old: old + 1),
    "leases": registry(leases=lambda old: old | {"feed": Lease(0, 0, 0)}),
    "quarantined": registry(quarantined=lambda old: old | {4}),
    "alarms": registry(alarms=lambda old: (*old, Alarm(1, "", ""))),
    "marks": registry(marks=lambda old: (*old, MarkPlace(1, 2, bytes(32)))),
    "ballots": registry(ballots=lambda old: old | {4: {0: BALLOT}}),
    "releases": registry(releases=lambda old: old | {4: {0: BALLOT}}),
    "quarantines": registry(quarantines=(OpenQuarantine(bytes(32), (1,)),)),
    "checkpoints": registry(checkpoints=lambda old: (*old, CheckpointPlace(1, bytes(32)))),
    "roots": registry(roots={1: {0: bytes(32)}}),
    "certified": registry(certified=(CertifiedCheckpoint(1, bytes(32), bytes(32)),)),
    "frozen": registry(frozen=True),
    "discrepancies": registry(
        discrepancies={4: {0: Discrepancy(1, 2, 3, "witness", (1.0, 2.0, 3.0), (1.5, 2.0, 3.0))}}
    ),
    "payments": registry(payments={1: Payment(4, 0, 5, "bank", 77)}),
    "table.time": table_time,
    **{f"table.{name}": element(name) for name in Arrays._fields if name != "today"},
    "line_of_item": put("lines", 1, INVERSE),
}  # fmt: skip
"""One change of each value that is state."""


@functools.cache
def changed_root(name):
    machine = another()
    STATE[name](machine)
    return full_root(machine)


@pytest.mark.criterion("STR-2", "STR-4", "STR-5", "STR-6", "STR-7", "STR-8", "STR-9", "STR-10")
@pytest.mark.parametrize("name", STATE)
def test_every_value_of_the_state_counts(name):
    assert changed_root(name) != full_root(another())


@pytest.mark.criterion("STR-2")
def test_no_two_of_these_states_have_one_root():
    assert len({changed_root(name) for name in STATE}) == len(STATE)


def test_every_field_of_the_registry_is_changed_above():
    """A new field fails here until somebody says whether it is state."""
    tested = {name.partition(".")[0] for name in STATE}
    spelled = {"items": "definition", "models": "model", "replicas": "replica"}
    assert {spelled.get(name, name) for name in Registry.__struct_fields__} - tested == {"numbers"}


def test_every_column_of_a_table_is_state_or_known_as_a_shortcut():
    """A new column fails here until somebody says which it is."""
    shortcuts = {k.name for k in ModelField if k not in MODEL_FIELDS}
    assert {name for name in shortcuts if not name.startswith("HAS_")} <= {"VALUES_ALIKE"}
    assert {k.name for k in LineTag if k not in TAGS} <= {"RUN", "STRIKE"}


def turned(machine):
    """An account's rows the other way round, as another risk table might have them."""
    start, count = (int(v) for v in machine.state.accounts[BOB, [Account.START, Account.COUNT]])
    assert count > 1
    for array in (machine.state.ledger, machine.state.row_item, machine.state.row_line, machine.state.row_units):
        array[start : start + count] = array[start : start + count][::-1].copy()


def moved(machine):
    """An account's block at the end of the pool."""
    state = machine.state
    start, count = (int(v) for v in state.accounts[BOB, [Account.START, Account.COUNT]])
    for array in (state.ledger, state.row_item, state.row_line, state.row_units):
        array[-count:] = array[start : start + count]
        array[start : start + count] = -9
    state.accounts[BOB, Account.START] = len(state.row_item) - count


def shuffled(machine):
    """The open orders in other slots."""
    used = machine.state.orders[: int(machine.state.counters[Counter.ORDER_SLOTS])]
    used[:] = used[::-1].copy()


DERIVED = {
    **{k.name: put("accounts", BOB, k) for k in Account if k not in (*ACCOUNT_COLUMNS, Account.START)},
    "row_units": row("row_units"),
    "row_line": row("row_line"),
    "figures": put("figures", BOB, 0),
    "session_table": put("session_table", 0),
    "journal": put("journal", 0, 0),
    **{k.name: put("counters", k) for k in (Counter.POOL_TOP, Counter.KEPT_TOP, Counter.FIRST_FREE)},
    "table.today": element("today"),
    "table.RUN": element("tags", LineTag.RUN),
    "table's padding": element("basis", -1),
    "order.NEXT": order(Open.NEXT),
    "rows turned": turned,
    "block moved": moved,
    "orders shuffled": shuffled,
    "numbers": registry(numbers={}),
    "order of a map": registry(ballots=lambda old: dict(reversed(old.items()))),
    "room beyond": put("accounts", -1, Account.VERSION),
}  # fmt: skip


@pytest.mark.criterion("STR-2")
@pytest.mark.parametrize("name", DERIVED)
def test_what_is_derived_or_only_a_place_does_not_count(name):
    machine = another()
    DERIVED[name](machine)
    assert full_root(machine) == full_root(another())


@pytest.mark.criterion("STR-6")
def test_one_nan():
    machine = another()
    place = int(machine.state.sessions[2, Session.RING]) + 1
    roots = set()
    for bits in (0x7FF8000000000000, -0x8000000000000, 0x7FF0000000000001):
        machine.state.kept.view(np.int64).reshape(-1, 8)[place, 4] = bits
        assert np.isnan(machine.state.kept["equity"][place])
        roots.add(full_root(machine))
        assert bytes(session_leaves(machine.state, np.array([2])).data)[48 + 64 + 32 :][:8].hex() == "000000000000f87f"
    assert roots == {naive_root(machine)}
    machine.state.kept["equity"][place] = np.inf
    assert full_root(machine) not in roots


@pytest.mark.criterion("STR-11")
def test_checkpoints():
    fold, roots = Fold(), {}

    def frame(*cold):
        blob, records = b"", [np.empty(0, c.cold_record(0, 0, 0, 0).dtype)]
        for session, number, command in cold:
            data = c.encode_cold(command)
            records.append(c.cold_record(session, number, len(blob), len(data)))
            blob += data
        fold.apply(encode_frame(0, fold.position + 1, np.concatenate(records), blob))
        roots[fold.position - 1] = (fold.chain, full_root(fold.machine))

    frame((0, 0, c.OpenSession("operator")))
    frame((1, 1, c.SetRules(checkpoint_frames=2)))
    while fold.position < 8:
        frame()
    assert [taken.position for taken in fold.checkpoints] == [1, 3, 5, 7]
    assert all(taken == Checkpoint(taken.position, *roots[taken.position]) for taken in fold.checkpoints)
    frame((1, 2, c.SetRules(checkpoint_frames=0)))
    for _ in range(4):
        frame()
    assert len(fold.checkpoints) == 4
    frame((1, 3, c.SetRules(checkpoint_frames=1)))
    for _ in range(CHECKPOINTS_KEPT + 5):
        frame()
    assert len(fold.checkpoints) == CHECKPOINTS_KEPT
    assert fold.checkpoints[-1] == Checkpoint(fold.position - 1, *roots[fold.position - 1])


def test_a_copy_of_a_fold_has_roots_of_its_own():
    one = venue()
    before = one.fold.root()
    other = one.clone()
    other.trade(ALICE, BOB, LINEAR, 5, 1_000_000)
    assert other.fold.root() == full_root(other.fold.machine) != before
    assert one.fold.root() == before
    one.operate(c.Deposit(INSURANCE, USD, 5))
    assert one.fold.root() == full_root(one.fold.machine)
    assert other.fold.root() == full_root(other.fold.machine)


def test_taking_orders_away_and_new_tables():
    """Sections that shrink, and a cold command that brings other tables and lines."""
    made = venue()
    for _ in range(5):
        made.order(ALICE, LINEAR, 1, 900_000)
        assert made.fold.root() == full_root(made.fold.machine)
    for number in (2, 5, 1):
        made.one(made.client, hot(c.cancel, ALICE, number))
        assert made.fold.root() == full_root(made.fold.machine)
    made.operate(c.DefineInstrument("BTC-25SEP20-9500-P", "0.1", 4), c.DefineModel("standard", preset("standard")))
    assert made.fold.root() == full_root(made.fold.machine) == naive_root(made.fold.machine)
    assert made.fold.machine.marked != marks.NO_TABLES


class Record(msgspec.Struct):
    """Every kind of field."""

    whole: int = 60 * 10**9
    real: float = 0.5
    some: dict[int, frozenset[str]] = {}
    texts: tuple[str, ...] = ()
    raw: bytes = b""
    nothing: None = None
    truth: bool = False
    required: int = msgspec.field(default_factory=int)


@pytest.mark.criterion("STR-3")
@given(
    st.builds(
        Record,
        whole=st.integers(-(2**63), 2**64 - 1) | st.just(60 * 10**9),
        real=st.floats(allow_nan=False),
        some=st.dictionaries(st.integers(-300, 300), st.frozensets(st.text(max_size=5))),
        texts=st.lists(st.text(max_size=70)).map(tuple),
        raw=st.binary(max_size=300),
        truth=st.booleans(),
        required=st.integers(-40_000, 70_000),
    )
)
def test_packing(record):
    data = canonical_bytes(record)
    assert data == pack(record)
    read = msgspec.msgpack.decode(data, type=Record)
    assert read == record
    # Whether two equal numbers are one object must not matter, nor the order in which a map was filled.
    again = msgspec.structs.replace(read, some=dict(reversed(read.some.items())), whole=int(str(read.whole)))
    assert canonical_bytes(again) == data


@pytest.mark.criterion("STR-3")
def test_packing_leaves_defaults_out_and_keeps_zeros_apart():
    assert canonical_bytes(Record()) == b"\x80"
    assert canonical_bytes(c.SetRules(age_maximum=int("60000000000"))) == b"\x81\xa4type\xa9set-rules"
    assert canonical_bytes(Replica("x", b"", clock=0)) == pack({"name": "x", "public_key": b""})
    assert canonical_bytes(-0.0) != canonical_bytes(0.0)
    assert canonical_bytes({"b": 1, "a": {10: 1, 9: 2}}) == pack({"a": {9: 2, 10: 1}, "b": 1})


_SCRIPT = """
import hashlib, sys
from random_log import RandomVenue
from holdfast.core.roots import full_root
from holdfast.core.snapshot import content_of
made = RandomVenue(5).happen(15).crash()
header, parts = content_of(made.fold)
digest = hashlib.sha256(b"".join(bytes(parts[name]) for name in sorted(parts)))
print(hash("seed") , full_root(made.fold.machine).hex(), header.state_root.hex(), digest.hexdigest())
"""


@pytest.mark.criterion("STR-1")
def test_the_order_of_hashes_has_no_influence():
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
    printed = []
    for seed in ("1", "2"):
        environment = dict(os.environ, PYTHONHASHSEED=seed, PYTHONPATH=path)
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout.split())
    assert printed[0][0] != printed[1][0]
    assert printed[0][1:] == printed[1][1:]
    assert printed[0][1] == printed[0][2]


def test_reading_a_snapshot_changes_no_root():
    made = rich()
    assert fold_from(snapshot_of(made.fold)).root() == made.fold.root()
