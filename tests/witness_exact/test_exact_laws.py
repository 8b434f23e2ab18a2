"""Laws hold on random accounts, and each is seen broken where an error is planted."""

import sys
from fractions import Fraction

import pytest
from exact_worlds import random_models, random_world, tail
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.witness.exact import margin as figures
from holdfast.witness.exact import table
from holdfast.witness.exact.intervals import Interval
from holdfast.witness.exact.laws import halves, laws, rewards_of_splitting, singles

laws_module = sys.modules[laws.__module__]
margin_module = sys.modules[figures.__module__]
seeds = st.integers(0, 10**9)


def fair_models(seed: int) -> dict[str, dict]:
    """Random sets without what rewards splitting."""
    models = random_models(seed)
    for model in models.values():
        model["charges"] = [
            {**each, "initial_slope": 0, "maintenance_slope": 0}
            for each in model["charges"]
            if each["measure"] != "offset"
        ]
        model["collateral"] = {name: {**each, "tiers": each["tiers"][:1]} for name, each in model["collateral"].items()}
    models["portfolio"]["discounts"] = None
    models["standard"]["futures"]["*"] |= {"initial_slope": 0, "maintenance_slope": 0, "open_interest": None}
    models["standard"]["options"]["*"]["maximum_loss"] = False
    return models


@pytest.mark.criterion("EXA-10", "TAB-12", "TAB-13", "TAB-14", "TAB-15", "TAB-16")
@settings(max_examples=6)
@given(seeds)
@pytest.mark.parametrize("model", ["standard", "portfolio", "tail"])
def test_fair_models_keep_every_law(model, seed):
    world = random_world(seed, fair_models(seed), rates=True)
    found = table(world.inputs, model)
    assert rewards_of_splitting(found) == []
    assert laws(found, world.holdings) == []


@pytest.mark.criterion("EXA-10")
@settings(max_examples=4)
@given(seeds)
@pytest.mark.parametrize("model", ["standard", "portfolio", "tail"])
def test_any_model_keeps_what_it_promises(model, seed):
    world = random_world(seed, random_models(seed), rates=True, doubts=True)
    assert laws(table(world.inputs, model), world.holdings) == []


@pytest.mark.criterion("EXA-10")
def test_parts_add_up_to_the_account():
    world = random_world(3, fair_models(3))
    found = table(world.inputs, "portfolio")
    for parts in (halves(world.holdings), singles(found, world.holdings)):
        for name in world.holdings:
            sums = [sum(each.get(name, (0, 0))[side] for each in parts) for side in (0, 1)]
            assert tuple(sums) == world.holdings[name]


def grown(table, book, stage) -> Fraction:
    """A charge that grows with the square of size."""
    return sum((size.low**2 for size in book.range.values()), Fraction(0)) * 10**6


def fallen(table, book, stage) -> Fraction:
    return Fraction(-1)


def half_scan(original):
    return lambda table, account: original(table, account).times(Fraction(1, 2))


def average_scan(original):
    def average(table, account):
        found = [each for name in table.underlyings for each in laws_module.results(table, account, name)]
        return Interval.point(sum((max(Fraction(0), -each.low) for each in found), Fraction(0)) / max(1, len(found)))

    return average


def first_counts_double(original):
    def planted(table, holdings, orders=()):
        first = next(iter(holdings))
        amount, cost = holdings[first]
        return original(table, {**holdings, first: (2 * amount, 2 * cost)}, orders)

    return planted


@pytest.mark.criterion("EXA-10")
@pytest.mark.parametrize(
    ("place", "name", "planted", "words"),
    [
        ("charging", "netted", lambda original: grown, "single lines need"),
        ("charging", "netted", lambda original: grown, "halves need"),
        ("charging", "netted", lambda original: grown, "twice the account needs"),
        ("charging", "netted", lambda original: fallen, "netted (initial) is -1.0, below 0"),
        ("laws", "scan", half_scan, "loses"),
        ("laws", "scan", average_scan, "without scenario"),
        ("laws", "margin", first_counts_double, "the order of positions"),
    ],
)
def test_planted_errors_break_their_law(monkeypatch, place, name, planted, words):
    world = random_world(3, fair_models(3))
    found = table(world.inputs, "portfolio")
    assert laws(found, world.holdings) == []
    where = margin_module.charging if place == "charging" else laws_module
    monkeypatch.setattr(where, name, planted(getattr(where, name)))
    assert any(words in each for each in laws(found, world.holdings))


@pytest.mark.criterion("EXA-10")
def test_a_tail_above_every_loss_is_found(monkeypatch):
    world = random_world(3, {"tail": tail(3)})
    found = table(world.inputs, "tail")
    assert laws(found, world.holdings) == []
    original = laws_module.scan
    monkeypatch.setattr(laws_module, "scan", lambda table, account: original(table, account).times(Fraction(50)))
    assert any("worst losses" in each for each in laws(found, world.holdings))


@pytest.mark.criterion("EXA-10", "TAB-13")
def test_what_rewards_splitting_is_named():
    found = {name: set() for name in ("standard", "portfolio")}
    for seed in range(8):
        world = random_world(seed, random_models(seed), rates=True, doubts=True)
        for name, named in found.items():
            named.update(rewards_of_splitting(table(world.inputs, name)))
    assert found["standard"] == {
        "size slopes",
        "haircut tiers",
        "offset charges",
        "maximum loss",
        "confidence of perpetuals",
    }
    assert "multipliers that favour losses" not in found["portfolio"]
