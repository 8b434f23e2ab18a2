"""What the second engine says and does not say: differences, margins left out, planted errors."""

import ast
from pathlib import Path

import msgspec
import numpy as np
import pytest
from witness_pair import Pair, hot
from witness_world import World

import holdfast
import holdfast.witness
from holdfast.core.snapshot import snapshot_of
from holdfast.domain import commands as c
from holdfast.domain.frames import decode_frame, encode_frame
from holdfast.domain.reasons import Reason
from holdfast.domain.snapshots import decode_snapshot
from holdfast.witness import Witness
from holdfast.witness.population import COMPONENTS

ROOM = Path(holdfast.witness.__file__).parent


@pytest.fixture(scope="module")
def world():
    return World([holdfast.preset("portfolio"), holdfast.preset("standard")], seed=4).life(40)


def replay(steps):
    witness = Witness.new()
    differences = [difference for frame, reasons in steps for difference in witness.apply(frame, reasons)]
    return witness, differences


@pytest.mark.criterion("WIT-3")
def test_nothing_of_the_package_is_imported_but_its_errors():
    for path in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            ours = [name for name in names if name.startswith("holdfast")]
            assert all(name.startswith(("holdfast.witness", "holdfast.domain.errors")) for name in ours), (path, ours)


@pytest.mark.criterion("WIT-2")
def test_a_repeat_of_what_was_accepted_does_nothing():
    pair = Pair()
    asset = pair.asset("USD", 6)
    account = pair.account(*pair.ok(c.DefineModel("m", holdfast.preset("standard"))), USD=10**9)
    other = pair.account()
    number = pair.numbers[pair.client] = 1
    record = hot(c.transfer, account, other, asset, 5)(pair.client, number)
    for _ in range(2):
        pair.frame_number += 1
        outcomes = pair.apply(encode_frame(0, pair.frame_number, np.concatenate([record, record])))
        assert not outcomes["reason"].any()
    assert pair.witness.rows(other) == {asset: (5, 0)}
    pair.check()


def forged(pair, *sent):
    """Say that refused commands were accepted; the differences that come of it."""
    frame_number = pair.frame_number
    state = pair.witness.position
    outcomes = pair.send(*sent)
    assert outcomes["reason"].all()
    frame = pair.steps[-1][0]
    witness, differences = replay(pair.steps[:-1])
    assert (differences, witness.position, frame_number) == ([], state, pair.frame_number - 1)
    return witness, witness.apply(frame, np.zeros(len(outcomes), np.int32))


@pytest.mark.criterion("WIT-5")
@pytest.mark.parametrize(
    ("command", "words"),
    [
        (hot(c.trade, 99, 5, 5, 1, 10**6), "impossible"),
        (hot(c.trade, 4, 5, 77, 1, 10**6), "impossible"),
        (hot(c.trade, 4, 5, 0, 1, 10**6), "impossible"),
        (hot(c.trade, 4, 5, 5, 7 * 10**16, 7 * 10**16), "impossible"),
        (hot(c.transfer, 4, 99, 0, 1), "impossible"),
        (hot(c.order, 99, 5, 1, 10**6), "does not exist"),
        (hot(c.order, 4, 2, 1, 10**6), "no contract"),
        (hot(c.cancel, 4, 77), "not open"),
        (hot(c.fill, 4, 5, 5, 1, 10**6, buy_order=77), "not open"),
        (c.CancelWithdrawal(77), "waits no more"),
        (c.Liquidate(4, 0), "never began"),
        (c.Deposit(99, 0, 1), "does not exist"),
    ],
)
def test_what_cannot_have_been_accepted_is_reported(command, words):
    pair = World([holdfast.preset("portfolio")], seed=2, accounts=2)
    witness, differences = forged(pair, (pair.client if callable(command) else pair.operator, command))
    assert len(differences) >= 1
    assert words in differences[0].what
    assert (differences[0].position, differences[0].index) == (witness.position - 1, 0)
    assert [witness.rows(account) for account in range(6)] == [pair.rows(account) for account in range(6)]
    assert len(witness.margins().accounts) == 2


@pytest.mark.criterion("WIT-5")
def test_a_fill_of_more_than_an_order_has_is_reported():
    pair = World([holdfast.preset("portfolio")], seed=2, accounts=2)
    item = pair.items["BTC_USDC-PERPETUAL"]
    assert not pair.order(4, item, 10, 990_000)["reason"]
    _, differences = forged(pair, (pair.client, hot(c.fill, 4, 5, item, 11, 990_000, buy_order=1)))
    assert "which has 10 left" in differences[0].what


@pytest.mark.criterion("WIT-6")
@pytest.mark.parametrize("data", [msgspec.msgpack.encode({"type": "of-tomorrow"}), b"\x01", b"\x81\xa4type\xa4tick"])
def test_what_it_cannot_follow_takes_the_margins_away(data):
    pair = World([holdfast.preset("portfolio")], seed=2, accounts=2)
    witness, differences = forged(pair, (pair.operator, data))
    assert len(differences) == 1
    assert len(witness.margins().accounts) == 0
    assert witness.rows(4) == pair.rows(4)


@pytest.mark.criterion("WIT-6")
def test_a_row_without_a_line_takes_one_account_away():
    pair = World([holdfast.preset("portfolio")], seed=2, accounts=3)
    dead = pair.asset("DEAD", 6)
    witness, _ = forged(pair, (pair.operator, c.Deposit(5, dead, 10)))
    assert witness.margins().accounts.tolist() == [4, 6]


@pytest.mark.criterion("WIT-7")
def test_margins_of_some_accounts(world):
    every = world.witness.margins()
    some = world.witness.margins([9, 5, 5, 10**6, -1])
    assert some.accounts.tolist() == [5, 9]
    for whole, part in zip(every, some, strict=True):
        assert part.tolist() == pytest.approx([whole[1], whole[5]], rel=1e-12)


@pytest.mark.criterion("WIT-8")
def test_components_sum_to_the_requirement(world):
    margins = world.witness.margins()
    for place, account in enumerate(margins.accounts.tolist()):
        parts = world.witness.components(account)
        assert tuple(parts) == COMPONENTS
        assert sum(initial for initial, _ in parts.values()) == pytest.approx(margins.initial[place], rel=1e-12)
        assert sum(least for _, least in parts.values()) == pytest.approx(margins.maintenance[place], rel=1e-12)


def test_a_frame_that_is_none_and_reasons_that_do_not_fit_are_refused(world):
    frame, reasons = world.steps[-1]
    with pytest.raises(holdfast.InputError, match="reasons"):
        world.witness.apply(frame, np.append(reasons, 0))
    for wrong in (b"", frame[:-1], frame[:-1] + bytes([frame[-1] ^ 1])):
        with pytest.raises(holdfast.InputError, match="frame"):
            world.witness.apply(wrong, reasons)


def planted(world, change):
    """The first engine's snapshot after a change, read by the second: what is found."""
    snapshot = decode_snapshot(snapshot_of(world.fold))
    parts = {name: part.copy() if isinstance(part, np.ndarray) else part for name, part in snapshot.parts.items()}
    change(parts)
    return world.problems(Witness.from_snapshot({"position": snapshot.header.position}, parts))


def raised(name, place, by=1):
    def change(parts):
        parts[f"state-1/{name}"][place] += by

    return change


def more_factor(parts):
    registry = msgspec.msgpack.decode(parts["state-1/registry"], strict=False)
    registry["models"][0]["parameters"]["initial_factor"] += 1e-6
    parts["state-1/registry"] = msgspec.msgpack.encode(registry)


@pytest.mark.criterion("WIT-4")
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda parts: None, False),
        (raised("rows/amounts", -1), True),
        (raised("rows/costs", -1), True),
        (raised("prices", (2, 1), 20_000), True),
        (raised("accounts", (5, 2)), True),
        (raised("accounts", (4, 0)), True),
        (raised("moments", 1), True),
        (more_factor, True),
    ],
)
def test_planted_errors_are_found(world, change, found):
    assert bool(planted(world, change)) is found


def test_reasons_have_the_number_that_is_taken_for_accepted():
    assert Reason.ACCEPTED == holdfast.witness.engine.ACCEPTED
    assert decode_frame(encode_frame(0, 1, np.concatenate([hot(c.cancel, 4, 1)(1, 1)]))).records["number"] == 1
