"""Snapshots of a state: going on from one is the same as replaying, and nothing else than the state is taken."""

import functools
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from fold_driver import ALICE, BOB, BTC, EXPIRY, INVERSE, LINEAR, SECOND, venue
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_root import naive_root
from random_log import RandomVenue

from holdfast.core import registry as registries
from holdfast.core import snapshot
from holdfast.core.fold import Fold
from holdfast.core.margins import margin_of
from holdfast.core.registry import LOGIC_VERSIONS
from holdfast.core.roots import full_root
from holdfast.core.snapshot import PARTS, content_of, fold_from, snapshot_of
from holdfast.core.state import NONE, Account, Counter, Open, Price
from holdfast.domain import commands as c
from holdfast.domain.errors import InputError
from holdfast.domain.frames import encode_frame
from holdfast.domain.snapshots import SnapshotError, SnapshotHeader, decode_snapshot, encode_snapshot

HERE = Path(__file__).parent
GOLDEN_FOLDER = HERE.parent / "golden"
GOLDEN = (GOLDEN_FOLDER / "state-1.bin").read_bytes()
LATER = ("discrepancies", "certified", "checkpoints", "frozen", "quarantines", "roots", "payments")
"""Fields of the registry that `state-1.bin` is older than."""
PAGE = (HERE.parents[1] / "specs" / "state-root.md").read_text(encoding="utf-8")


def replayed(steps):
    """The fold of a log, with the root after every frame and a snapshot there."""
    fold, roots, taken = Fold(), [], []
    for step in steps:
        assert fold.apply(step.frame).outcomes.tobytes() == step.outcomes
        roots.append(full_root(fold.machine))
        taken.append(snapshot_of(fold))
    return roots, taken


def check_going_on(data, position, steps, roots):
    """A snapshot gives the same outcomes and roots at every further frame."""
    fold = fold_from(data)
    assert (fold.position, fold.root()) == (position + 1, roots[position])
    for later in range(position + 1, len(steps)):
        assert fold.apply(steps[later].frame).outcomes.tobytes() == steps[later].outcomes, (position, later)
        assert fold.root() == roots[later], (position, later)
    return fold


@pytest.mark.criterion("STR-1", "STR-13")
def test_going_on_from_every_position_is_replaying():
    steps = RandomVenue(3).happen(20).crash().happen(5).expire().fold.steps
    roots, taken = replayed(steps)
    for position, data in enumerate(taken):
        check_going_on(data, position, steps, roots)


@pytest.mark.criterion("STR-1", "STR-13")
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), places=st.lists(st.integers(0, 59), min_size=3, max_size=3))
def test_snapshots_of_snapshots(seed, places):
    """Random logs, each gone through in parts with a snapshot between them."""
    steps = RandomVenue(seed).happen(15).crash().happen(10).fold.steps
    whole = Fold()
    ends = sorted({len(steps) - 1, *(place % len(steps) for place in places)})
    fold = Fold()
    for step in steps:
        whole.apply(step.frame)
        assert fold.apply(step.frame).outcomes.tobytes() == step.outcomes
        if fold.position - 1 in ends:
            assert fold.root() == full_root(whole.machine)
            fold = fold_from(snapshot_of(fold))
            assert fold.chain == whole.chain


def same_tables(one, other):
    return all(
        a.tobytes() == b.tobytes()
        for mine, others in zip(one.marked.tables, other.marked.tables, strict=True)
        for a, b in zip(mine.arrays, others.arrays, strict=True)
    )


@pytest.mark.criterion("STR-13")
def test_tables_are_older_than_the_state():
    """Between a quote and a mark: time has gone on and a price has come, and the tables know of neither."""
    made = venue()
    made.operate(c.SetRules(mark_interval=3_600 * SECOND, mark_threshold_ppm=10**6))
    made.one(made.client, c.OpenAccount(1))
    for seconds in (2, 7):
        for replica in range(3):
            made.tick(made.fold.time + seconds * SECOND + replica, replica)
    made.quote(BTC, 10_040 * 10**8)
    state, marked = made.state, made.fold.machine.marked
    assert marked.market.time < made.fold.time
    assert state.prices[BTC, Price.MARKED] != state.prices[BTC, Price.CURRENT]
    fold = fold_from(snapshot_of(made.fold))
    assert fold.machine.marked.market == marked.market
    assert same_tables(fold.machine, made.fold.machine)
    made.fold.machine.refresh()
    assert not same_tables(fold.machine, made.fold.machine)


@pytest.mark.criterion("STR-13")
def test_tables_held_back_at_an_expiry():
    made = venue()
    made.operate(c.SetRules(step_maximum=100 * 86_400 * SECOND))
    for replica in range(3):
        made.tick(EXPIRY + 5 * SECOND, replica)
    made.operate(c.DefineAsset("COIN", 6))
    assert made.fold.time > EXPIRY == made.fold.machine.marked.market.time
    assert same_tables(fold_from(snapshot_of(made.fold)).machine, made.fold.machine)


@functools.cache
def rich():
    made = RandomVenue(11).happen(20).crash()
    made.order(ALICE, LINEAR, 20, 500_000)
    made.order(BOB, INVERSE, 30, 500_000)
    made.order(ALICE, INVERSE, 10, 400_000)
    return made


@pytest.mark.criterion("STR-13")
def test_what_is_derived_is_made_again():
    one = rich().fold
    other = fold_from(snapshot_of(one))
    assert other.machine.registry == one.machine.registry
    assert other.checkpoints == []
    state, back = one.machine.state, other.machine.state
    accounts, items = (int(state.counters[k]) for k in (Counter.ACCOUNTS, Counter.ITEMS))
    columns = [k for k in Account if k not in (Account.START, Account.CAPACITY, Account.ORDERS)]
    assert back.accounts[:accounts, columns].tolist() == state.accounts[:accounts, columns].tolist()
    assert back.lines[:, :items].tolist() == state.lines[:, :items].tolist()
    for account in range(accounts):
        mine, theirs = (slice(a[0], a[0] + a[1]) for a in (state.accounts[account], back.accounts[account]))
        for array in ("row_item", "row_line", "row_units", "ledger"):
            assert getattr(back, array)[theirs].tolist() == getattr(state, array)[mine].tolist(), (account, array)
        assert orders_of(back, account) == orders_of(state, account)
    rules = slice(Counter.AGE_MAXIMUM, Counter.THRESHOLD_PPM + 1)
    assert back.counters[rules].tolist() == state.counters[rules].tolist()
    assert back.counters[[Counter.MARK_DUE, Counter.JOURNAL]].tolist() == [NONE, 0]


def orders_of(state, account):
    """An account's list of orders as the engine walks it."""
    found, slot = [], int(state.accounts[account, Account.ORDERS])
    for _ in range(int(state.accounts[account, Account.ORDER_COUNT])):
        found.append(state.orders[slot, [k for k in Open if k is not Open.NEXT]].tolist())
        slot = int(state.orders[slot, Open.NEXT])
    return found


@pytest.mark.criterion("STR-13")
def test_figures_are_those_at_the_tables():
    fold = fold_from(snapshot_of(rich().fold))
    state = fold.machine.state
    for account in (ALICE, BOB):
        assert state.figures[account, :2].tolist() == list(margin_of(state, fold.machine.marked.arrays, account))
        assert 0.0 < state.figures[account, 2] < state.figures[account, 1]
    assert not state.figures[int(state.counters[Counter.ACCOUNTS]) :].any()


@pytest.mark.criterion("STR-12")
def test_parts_are_the_same_whatever_the_way():
    """Places (blocks, slots, rings) leave no trace, though the engine that replayed has others."""
    one = rich().fold
    other = fold_from(snapshot_of(one))
    assert other.machine.state.accounts[ALICE, Account.START] != one.machine.state.accounts[ALICE, Account.START]
    (header, parts), (again, others) = content_of(one), content_of(other)
    assert header == again
    assert parts.keys() == others.keys() == {f"state-1/{name}" for name in PARTS}
    for name, content in parts.items():
        assert raw(content) == raw(others[name]), name


def raw(content):
    return content if isinstance(content, bytes) else content.tobytes()


def test_content_is_a_copy():
    made = venue()
    header, parts = content_of(made.fold)
    before = encode_snapshot(header, parts)
    made.trade(ALICE, BOB, LINEAR, 100, 1_000_000)
    made.order(ALICE, LINEAR, 1, 900_000)
    made.quote(BTC, 10_001 * 10**8)
    assert encode_snapshot(header, parts) == before


@pytest.mark.criterion("STR-13")
def test_more_than_the_first_room():
    """Accounts, items, sessions, outcomes, orders and rows beyond the lengths that arrays begin with."""
    made = venue()
    opened = [(0, c.OpenSession("client", kept=20)) for _ in range(300)]
    assets = [(made.operator, c.DefineAsset(f"COIN{n}", 6)) for n in range(260)]
    accounts = [(made.operator, c.OpenAccount(0)) for _ in range(2_100)]
    made.all_accepted(*opened, *assets, *accounts)
    made.all_accepted(*((made.client, c_order(account)) for account in (ALICE, BOB) for _ in range(520)))
    fold = fold_from(snapshot_of(made.fold))
    assert fold.root() == made.fold.root()
    number = int(made.session_row(made.client)[3])
    records = np.concatenate([c_order(ALICE)(made.client, number), c.cancel(made.client, number + 1, BOB, 3)])
    frame_number = int(made.session_row(0)[3])
    data = encode_frame(0, frame_number, records, b"")
    assert fold.apply(data).outcomes.tobytes() == made.fold.apply(data).outcomes.tobytes()
    assert fold.root() == made.fold.root() == full_root(fold.machine)


def c_order(account):
    return lambda session, number: c.order(session, number, account, LINEAR, 1, 500_000)


@pytest.mark.criterion("STR-12")
def test_the_empty_state_has_no_snapshot():
    with pytest.raises(InputError) as caught:
        snapshot_of(Fold())
    assert caught.value.field == "position"


@pytest.mark.criterion("STR-17")
@pytest.mark.parametrize(
    ("name", "later"), [("state-1.bin", LATER), ("state-1-roots.bin", ("discrepancies", "payments"))]
)
def test_golden_snapshot(name, later):
    pattern = rf"^\| `{re.escape(name)}` \| (\d+) \| `([0-9a-f]{{64}})` \|$"
    position, root = re.findall(pattern, PAGE, re.MULTILINE)[0]
    fold = fold_from((GOLDEN_FOLDER / name).read_bytes())
    assert (fold.position - 1, fold.root().hex()) == (int(position), root)
    assert naive_root(fold.machine).hex() == root
    registry = fold.machine.registry
    empty = [name for name in registry.__struct_fields__ if not getattr(registry, name)]
    assert sorted(empty) == sorted(later), "the file should have every kind of cold value that there was"
    assert registry.models[1].pending is not None
    assert [one.instrument is not None for one in registry.items] == [False, False, True, True, True, True]
    state = fold.machine.state
    assert state.counters[Counter.ORDER_SLOTS] == 3
    assert all(state.accounts[ALICE : BOB + 1, Account.COUNT] > 4)
    assert fold.machine.marked.market.time < fold.time


def resealed(change, header=None):
    """The rich state's snapshot with parts or header changed, its checksum right."""
    was = decode_snapshot(snapshot_of(rich().fold))
    parts = {name.partition("/")[2]: content for name, content in was.parts.items()}
    parts = {name: content if isinstance(content, bytes) else content.copy() for name, content in parts.items()}
    layout = change(parts) or "state-1"
    fields = {name: getattr(was.header, name) for name in SnapshotHeader.__slots__} | (header or {})
    return encode_snapshot(SnapshotHeader(**fields), {f"{layout}/{name}": part for name, part in parts.items()})


def put(name, place, value):
    def change(parts):
        parts[name][place] = value

    return change


def other(name, make):
    def change(parts):
        parts[name] = make(parts[name])

    return change


def repacked(**fields):
    """Another registry."""

    def make(data):
        return msgspec.msgpack.encode(msgspec.msgpack.decode(data) | fields)

    return other("registry", make)


def reordered(data):
    """The same registry, its fields the other way round."""
    return msgspec.msgpack.encode(dict(reversed(msgspec.msgpack.decode(data).items())))


REFUSED = {
    "layout": (lambda parts: "state-2", "layout"),
    "missing": (lambda parts: "" if parts.pop("quotes") is None else None, "parts"),
    "further": (lambda parts: parts.update(more=b""), "parts"),
    "type": (other("rows/items", lambda part: part.astype("<i8")), "rows/items"),
    "bytes": (other("moments", lambda part: part.tobytes()), "moments"),
    "shape": (other("orders", lambda part: part[:, :5].copy()), "orders"),
    "dimensions": (other("quotes", lambda part: part.reshape(len(part), -1)), "quotes"),
    "model": (put("accounts", (4, 0), 4), "accounts.model"),
    "model below": (put("accounts", (4, 0), -1), "accounts.model"),
    "count": (put("accounts", (4, 4), -1), "accounts.rows"),
    "count beyond": (put("accounts", (4, 4), 2**62), "accounts.rows"),
    "accounts": (other("accounts", lambda part: part[:3].copy()), "accounts"),
    "row beyond": (put("rows/items", 0, 2**31 - 1), "rows/items"),
    "row below": (put("rows/items", 0, -1), "rows/items"),
    "order's account": (put("orders", (0, 1), 2**40), "orders.account"),
    "order's item": (put("orders", (0, 3), -2), "orders.item"),
    "no session": (other("sessions", lambda part: part[:0].copy()), "sessions"),
    "kept": (put("sessions", (1, 4), 0), "sessions.kept"),
    "kept beyond": (put("sessions", (1, 4), 4_097), "sessions.kept"),
    "outcomes": (other("outcomes", lambda part: part[:-1].copy()), "outcomes"),
    "rows": (other("rows/items", lambda part: part[:-1].copy()), "rows/items"),
    "amounts": (other("rows/amounts", lambda part: part[:-1].copy()), "rows/amounts"),
    "costs": (other("rows/costs", lambda part: part[:-1].copy()), "rows/costs"),
    "prices": (other("prices", lambda part: part[:-1].copy()), "prices"),
    "items": (other("items", lambda part: part[:-1].copy()), "prices"),
    "registry": (other("registry", lambda part: part[:-1]), "registry"),
    "registry's type": (repacked(ticks="many"), "registry"),
    "registry's field": (repacked(further=1), "registry"),
    "registry's order": (other("registry", reordered), "registry"),
    "no table": (put("prices", (BTC, Price.MARKED), -(10**8)), "content"),
    "name": (repacked(items=[{"name": "BTC-31FEB20", "decimals": 2, "lot": "1"}]), "content"),
}


@pytest.mark.criterion("STR-14")
@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_any_root(name, monkeypatch):
    change, field = REFUSED[name]
    data = resealed(change)
    monkeypatch.setattr(Fold, "root", lambda self: pytest.fail("a root was taken"))
    with pytest.raises(SnapshotError) as caught:
        fold_from(data)
    assert caught.value.field == field


@pytest.mark.criterion("STR-14")
def test_refused_logic():
    with pytest.raises(SnapshotError, match=r"logic_version is 7, expected one that this program replays: 1$"):
        fold_from(resealed(lambda parts: None, {"logic_version": 7}))


@pytest.mark.criterion("STR-14")
def test_logic_of_the_header_is_the_state_s(monkeypatch):
    monkeypatch.setattr(snapshot, "LOGIC_VERSIONS", (*LOGIC_VERSIONS, 2))
    with pytest.raises(SnapshotError, match="logic_version is 2, expected 1, as in the state"):
        fold_from(resealed(lambda parts: None, {"logic_version": 2}))


@pytest.mark.criterion("STR-14")
def test_another_root_is_refused_with_both():
    root = rich().fold.root()
    with pytest.raises(SnapshotError) as caught:
        fold_from(resealed(lambda parts: None, {"state_root": bytes(range(32))}))
    assert caught.value.field == "state_root"
    assert root.hex() in str(caught.value)
    assert bytes(range(32)).hex() in str(caught.value)
    assert fold_from(resealed(lambda parts: None)).root() == root


@pytest.mark.criterion("STR-2", "STR-14")
@given(st.data())
def test_any_other_content_is_refused(data):
    """Every bit of every part is under the root."""
    name = data.draw(st.sampled_from(sorted(PARTS)))

    def change(parts):
        octets = bytearray(raw(parts[name]))
        octets[data.draw(st.integers(0, len(octets) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        made = bytes(octets)
        if isinstance(parts[name], np.ndarray):
            made = np.frombuffer(made, parts[name].dtype).reshape(parts[name].shape)
        parts[name] = made

    with pytest.raises(SnapshotError):
        fold_from(resealed(change))


@pytest.mark.criterion("STR-18")
def test_the_records_of_the_registry_have_the_fields_of_the_page():
    text = re.findall(r"\*\*STR-18\*\* (.*)", PAGE)[0]
    records = {
        "a replica": registries.Replica,
        "a ballot": registries.Ballot,
        "a mark": registries.MarkPlace,
        "a withdrawal": registries.Withdrawal,
        "a lease": registries.Lease,
        "a discrepancy": registries.Discrepancy,
        "an alarm": registries.Alarm,
        "an open quarantine": registries.OpenQuarantine,
        "an item": registries.Definition,
        "a model": registries.Model,
    }
    for name, kind in records.items():
        part = next(part for part in text.split(";") if name in part)
        found = [field for field in re.findall(r"`(\w+)`", part) if field != "registry"]
        assert tuple(found) == kind.__struct_fields__, name
