"""Both engines over random logs: rows, versions, statuses, times equal exactly, margins to 1e-9 of gross."""

import random

import numpy as np
import pytest
import witness_parameters
from random_log import RandomVenue
from witness_pair import BREACH_PENDING, Pair
from witness_world import World

import holdfast
from holdfast.core.snapshot import snapshot_of
from holdfast.domain import commands as c
from holdfast.domain.outcomes import OUTCOME
from holdfast.domain.snapshots import decode_snapshot
from holdfast.witness import Witness

FROZEN = 5


def presets(*names):
    return [holdfast.preset(name) for name in names]


def follow(world, steps, often=10):
    """Let a world live, and compare every so often."""
    for _ in range(steps // often):
        world.life(often)
        world.check()
    return world


@pytest.mark.criterion("WIT-1", "WIT-4")
@pytest.mark.parametrize("models", [("portfolio", "standard"), ("derive-portfolio", "derive-standard")])
def test_life_of_a_venue_is_followed_to_the_unit(models):
    world = follow(World(presets(*models), seed=4), 60)
    world.expire().check()


@pytest.mark.criterion("WIT-4")
@pytest.mark.parametrize("seed", [1, 2, 7])
def test_three_models_with_random_parameters_agree(seed):
    chance = random.Random(seed)
    models = [
        make(chance) for make in (witness_parameters.standard, witness_parameters.portfolio, witness_parameters.tail)
    ]
    world = follow(World(models, seed=seed, accounts=9), 50)
    world.expire().check()


@pytest.mark.criterion("WIT-1", "WIT-10")
@pytest.mark.parametrize(
    ("seed", "models"), [(1, ("deribit-portfolio", "deribit-standard")), (10, ("portfolio", "standard"))]
)
def test_takeover_deleveraging_and_sharing_are_followed(seed, models):
    world = follow(World(presets(*models), seed=seed, scale=10, fund=1), 80)
    stages = [reasons for frame, reasons in world.steps if b"liquidate" in frame]
    assert any(not reasons.any() for reasons in stages)


@pytest.mark.criterion("WIT-1", "WIT-10")
def test_quorum_of_three_replicas_in_regions_is_followed():
    world = follow(World(presets("portfolio", "standard"), seed=6, replicas=3, sources=2), 80)
    assert any(b"liquidate" in frame for frame, _ in world.steps)


@pytest.mark.criterion("WIT-2", "WIT-4")
@pytest.mark.parametrize("seed", [1, 5])
def test_bad_week_with_repeats_refusals_and_a_crash(seed):
    venue = RandomVenue(seed).happen(120)
    venue.crash()
    venue.expire()
    pair = Pair.__new__(Pair)
    pair.fold, pair.witness, pair.differences = venue.fold, Witness.new(), []
    for step in venue.fold.steps:
        reasons = np.frombuffer(step.outcomes, OUTCOME)["reason"]
        pair.differences += pair.witness.apply(step.frame, reasons)
    pair.check()


@pytest.mark.criterion("WIT-9")
@pytest.mark.parametrize("seed", [1, 3])
def test_snapshot_goes_on_as_the_whole_log(seed):
    chance = random.Random(seed)
    models = [
        make(chance) for make in (witness_parameters.standard, witness_parameters.portfolio, witness_parameters.tail)
    ]
    world = World(models, seed=seed, accounts=9, scale=8, fund=1).life(30)
    snapshot = decode_snapshot(snapshot_of(world.fold))
    later = Witness.from_snapshot({"position": snapshot.header.position}, snapshot.parts)
    assert (later.position, later.mark_position) == (world.witness.position, world.witness.mark_position)
    assert world.problems(later) == []
    first = len(world.steps)
    world.life(30).expire()
    for frame, reasons in world.steps[first:]:
        assert later.apply(frame, reasons) == []
    assert world.problems(later) == []
    assert list(later.margins()[2]) == list(world.witness.margins()[2])


def differing(world, account, *, above):
    """What a replica says of an account that its engines differ on."""
    margins = world.witness.margins([account])
    first = (float(margins.equity[0]), float(margins.initial[0]), float(margins.maintenance[0]))
    second = (first[2] + 1_000.0 if above else first[0] + 1.0, first[1], first[2])
    return c.AccountDifference(account, world.version(account), first, second)


@pytest.mark.criterion("WIT-1")
def test_discrepancies_freeze_the_same_accounts():
    world = World(presets("portfolio"), seed=3, replicas=3)
    account = world.clients[0]

    def report(replica, above=False):
        position, price_id = world.witness.mark_position, world.witness.price_id
        command = c.ReportDiscrepancy(
            replica, position, price_id, "witness", 1, (differing(world, account, above=above),)
        )
        return world.send((world.replicas[replica], command))[0]

    assert not report(0)["reason"]
    assert world.status(account) < FROZEN
    world.check()
    assert report(1)["made"] == 1
    assert world.status(account) == FROZEN
    world.check()
    world.send((world.operator, c.ReleaseAccount(account)))
    world.check()
    world.trade(account, world.clients[1], "BTC_USDC-PERPETUAL", 1, world.price_of("BTC_USDC-PERPETUAL"))
    most = world.trade(account, world.clients[1], "BTC_USDC-PERPETUAL", 10**7, world.price_of("BTC_USDC-PERPETUAL"))
    world.trade(
        account, world.clients[1], "BTC_USDC-PERPETUAL", int(most["passes"]), world.price_of("BTC_USDC-PERPETUAL")
    )
    world.spot["BTC"] *= 0.8
    world.prices()
    assert world.status(account) == BREACH_PENDING
    assert report(2, above=True)["made"] == 1
    assert world.status(account) == FROZEN
    world.check()
