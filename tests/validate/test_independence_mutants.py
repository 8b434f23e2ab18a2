"""Mutants of known class, planted in both engines over a small bank; and what the syntax of a mutant is."""

import ast
from random import Random

import numpy as np
import pytest

from holdfast.validate.independence import bank as banks
from holdfast.validate.independence import choice, coincidence, trial
from holdfast.validate.independence.bank import SCENES
from holdfast.validate.independence.engines import ENGINES, FIRST, SECOND, source_of
from holdfast.validate.independence.judge import Outcome
from holdfast.validate.independence.mutation import KINDS, mutated, places
from holdfast.validate.independence.plain import stand_ins
from holdfast.validate.independence.run import Bench

CHARGES = "holdfast.margin.charges"
KERNEL = "holdfast.margin.kernel"
SCAN = "holdfast.margin.scan"
TABLE = "holdfast.witness.table"
POPULATION = "holdfast.witness.population"
LINES = "holdfast.witness.lines"


@pytest.fixture(scope="module")
def bench():
    return Bench(1, SCENES[:2], 1, float("inf"))


def edited(module, before, after):
    """A module's tree with one text replaced."""
    source = source_of(module)
    assert source.count(before) == 1, before
    return module, ast.parse(source.replace(before, after))


def first_equity(change):
    """The first engine with something done to every equity."""
    before = "out[n, 0], out[n, 1], out[n, 2] = equity, initial"
    return edited("holdfast.core.margins", before, before.replace("equity", f"equity {change}"))


def second_equity(change):
    """The second engine with the same."""
    before = "return Figures(quantities @ table.today,"
    return edited(POPULATION, before, f"return Figures(quantities @ table.today {change},")


def judged(bench, engine, mutant):
    return bench.judged(engine, trial.attempt(engine, bench.bank, bench.codes, mutant))


def place_of(module, before, after):
    found = [place for place in places(module, source_of(module)) if (place.before, place.after) == (before, after)]
    assert found, (module, before)
    return found[0]


@pytest.mark.criterion("IND-4")
def test_source_read_as_plain_python_gives_the_bits_of_the_kernel(bench):
    compiled = np.concatenate([banks.figures(situation) for situation in bench.bank])
    assert np.array_equal(compiled, bench.truth.first)
    assert len(compiled) == 2 * 3 * 16


@pytest.mark.criterion("IND-8")
def test_memory_outside_of_an_array_is_an_error():
    memory, registers = (stand_ins()[name] for name in ("holdfast.margin.memory", "holdfast.pricing.vectors"))
    array = np.arange(6.0).reshape(2, 3)
    assert memory.element(array, 4) == memory.entry(array, 1, 1) == 4.0
    assert registers.load(array, 2, 3).tolist() == [2.0, 3.0, 4.0]
    memory.put(array, 5, 9.0)
    registers.store(array, 0, registers.splat(7.0, 2))
    assert array.tolist() == [[7.0, 7.0, 2.0], [3.0, 4.0, 9.0]]
    for index in (-1, 6):
        for call in (
            lambda at: memory.element(array, at),
            lambda at: memory.put(array, at, 0.0),
            lambda at: memory.entry(array, 0, at),
            lambda at: registers.load(array, at, 1),
            lambda at: registers.store(array, at, np.zeros(1)),
        ):
            with pytest.raises(IndexError):
                call(index)


@pytest.mark.criterion("IND-7", "IND-8")
@pytest.mark.parametrize(
    ("engine", "module", "before", "after"),
    [
        (FIRST, CHARGES, "rates.call_maintenance * index + mark", "rates.call_maintenance * index"),
        (FIRST, SCAN, "lowest(_block_narrow(arrays, stride, offset, held))", "0.0"),
        (FIRST, KERNEL, "owed = max(0.0, -value)", "owed = max(0.0, value)"),
        (FIRST, "holdfast.pricing.elementary", "_DENSITY_AT_0 = 0.3989422804014327", "_DENSITY_AT_0 = 0.4029"),
        (SECOND, POPULATION, "rates[:, None] * np.minimum(long, short)", "rates[:, None] * np.maximum(long, short)"),
        (SECOND, TABLE, "today = np.array([_today(line) for line in lines])", "today = np.ones(len(lines))"),
        (SECOND, "holdfast.witness.accounts", "amount - cost, amount", "amount + cost, amount"),
    ],
)
def test_wrong_formulas_are_detected(bench, engine, module, before, after):
    found = judged(bench, engine, edited(module, before, after))
    assert found.outcome is Outcome.DETECTED
    assert found.wrong_quorum == 0
    assert found.largest > 1.0
    assert found.differing <= found.changed


@pytest.mark.criterion("IND-8")
@pytest.mark.parametrize(
    ("engine", "module", "before", "after"),
    [
        (
            FIRST,
            SCAN,
            "select(value > 0.0, positive, negative) * value",
            "select(value >= 0.0, positive, negative) * value",
        ),
        (FIRST, KERNEL, "total = 0.0 + parts.scan", "total = parts.scan + 0.0"),
        (SECOND, POPULATION, "np.where(value > 0,", "np.where(value >= 0,"),
    ],
)
def test_equivalent_mutants_are_masked(bench, engine, module, before, after):
    found = judged(bench, engine, edited(module, before, after))
    assert (found.outcome, found.changed, found.differing) == (Outcome.MASKED, 0, 0)


@pytest.mark.criterion("IND-8")
@pytest.mark.parametrize(
    ("engine", "mutant"), [(FIRST, first_equity("* (1.0 + 1e-12)")), (SECOND, second_equity("* (1.0 - 1e-12)"))]
)
def test_what_moves_figures_within_the_tolerance_is_silent(bench, engine, mutant):
    found = judged(bench, engine, mutant)
    assert found.outcome is Outcome.SILENT
    assert found.changed > 0
    assert found.largest < 1.0


@pytest.mark.criterion("IND-7", "IND-8")
@pytest.mark.parametrize(
    ("engine", "mutant", "problem"),
    [
        (FIRST, edited(KERNEL, "tier += TIER_FIELDS", "tier -= TIER_FIELDS"), "IndexError"),
        (FIRST, edited(KERNEL, "tier += TIER_FIELDS", "tier += 0"), "took more than 3 s"),
        (FIRST, (KERNEL, ast.parse("raise SystemExit")), "SystemExit"),
        (FIRST, (SCAN, ast.parse("import os; os._exit(0)")), "the process ended"),
        (FIRST, first_equity("+ np.nan"), "no number for 96 accounts"),
        (SECOND, edited(LINES, "return max(0, expiry - self.time) / YEAR", "return [0] * 10**12"), "MemoryError"),
    ],
)
def test_what_raises_or_does_not_end_has_crashed(bench, engine, mutant, problem, monkeypatch):
    monkeypatch.setattr(trial, "SECONDS_MAXIMUM", 3.0)
    found = judged(bench, engine, mutant)
    assert found.outcome is Outcome.CRASHED
    assert problem in found.problem


@pytest.mark.criterion("IND-9")
def test_one_engine_alone_would_liquidate_wrongly_and_both_do_not(bench):
    found = judged(bench, FIRST, first_equity("- 1e6"))
    assert found.wrong_alone > 0
    assert found.wrong_quorum == 0
    found = judged(bench, SECOND, second_equity("+ 1e9"))
    assert (found.wrong_alone, found.wrong_quorum) == (0, 0)
    assert found.held_back > 0


@pytest.mark.criterion("IND-10")
def test_an_error_that_both_share_escapes_and_liquidates(bench):
    sides = [
        bench.failing(engine, trial.attempt(engine, bench.bank, bench.codes, mutant))
        for engine, mutant in zip(ENGINES, (first_equity("- 1e6"), second_equity("- 1e6")), strict=True)
    ]
    found = coincidence.together(*sides, bench.truth)
    assert found.escapes
    assert (found.together, found.alike) == (found.inputs, found.inputs)
    distance = bench.truth.first[:, 0] - bench.truth.first[:, 2]
    assert found.wrong_quorum == ((distance >= 0) & (distance < 1e6 - 100)).sum()
    unchanged = coincidence.failing(bench.truth.second, bench.truth.second, bench.truth)
    assert not coincidence.together(sides[0], unchanged, bench.truth).escapes


SAMPLE = '''
LIMIT = 2.5
NAME = "text 7"

def f(a: int, b=1):
    """Text 5."""
    if a < b and b != 3:
        raise ValueError(a + b)
    invariant(a > 4, "never")
    for i in range(a, b):
        a += b * c[i]
    x = abs(-x)
    return max(a / b, np.sum(x, axis=1)[1:])
'''


def changes_of(source, kind):
    return [(one.before, one.after) for one in places("sample", source) if one.kind == kind]


@pytest.mark.criterion("IND-5")
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("operator", [("a += b * c[i]", "a -= b * c[i]"), ("b * c[i]", "b / c[i]"), ("a / b", "a * b")]),
        ("comparison", [("a < b", "a <= b"), ("b != 3", "b == 3")]),
        ("constant", [("2.5", "2.525"), ("3", "4"), ("3", "2"), ("1", "2"), ("1", "0"), ("1", "2"), ("1", "0")]),
        ("min/max", [("max(a / b, np.sum(x, axis=1)[1:])", "min(a / b, np.sum(x, axis=1)[1:])")]),
        (
            "dropped",
            [("a += b * c[i]", "pass"), ("b * c[i]", "b"), ("b * c[i]", "c[i]"), ("abs(-x)", "-x"), ("a / b", "a")],
        ),
        ("sign", [("b * c[i]", "-b * c[i]"), ("-x", "x"), ("a / b", "-a / b")]),
        (
            "index",
            [
                ("range(a, b)", "range(a + 1, b)"), ("range(a, b)", "range(a, b + 1)"), ("c[i]", "c[i + 1]"),
                ("np.sum(x, axis=1)[1:]", "np.sum(x, axis=1)[1 + 1:]"),
            ],
        ),
        ("axis", [("np.sum(x, axis=1)", "np.sum(x, axis=0)")]),
        ("logic", [("a < b and b != 3", "a < b or b != 3")]),
    ],
)  # fmt: skip
def test_changes_of_every_kind(kind, expected):
    assert changes_of(SAMPLE, kind) == expected


@pytest.mark.criterion("IND-5", "IND-6")
def test_a_mutant_is_its_source_with_one_change():
    for place in places("sample", SAMPLE):
        tree = mutated(SAMPLE, place)
        assert ast.unparse(tree) != ast.unparse(ast.parse(SAMPLE))
        compile(tree, "sample", "exec")
        assert " ".join(place.after.split()) in " ".join(ast.unparse(tree).split())
        assert place.kind in KINDS
    assert not any("7" in one.before or "4" in one.before for one in places("sample", SAMPLE))


@pytest.mark.criterion("IND-6", "IND-14")
def test_mutants_are_drawn_in_turn_and_by_their_seed(bench):
    reach = bench.reach(SECOND)
    assert len(reach.places) < reach.all
    first, again, other = (choice.drawn(reach.places, 60, Random(seed)) for seed in (5, 5, 6))
    assert first == again != other
    assert len({(place.module, place.function) for place in first}) == 60
    assert len({place.kind for place in first}) >= 6
    assert len(choice.drawn(reach.places, 10**6, Random(1))) == len(reach.places)


@pytest.mark.criterion("IND-11")
def test_pairs_are_alike():
    first, second = ([p for m in e.modules for p in places(m, source_of(m))] for e in ENGINES)
    found = choice.pairs(first, second, 80, Random(2))
    assert len(found) == 80
    assert len({pair.first for pair in found}) == len({pair.second for pair in found}) == 80
    for pair in found:
        assert pair.rules
        assert pair.first.kind == pair.second.kind
        assert pair.likeness >= choice.LIKENESS_LEAST
        assert set(pair.rules) == choice.rules_of(pair.first) & choice.rules_of(pair.second)
    isolated = place_of(CHARGES, "rates.call_maintenance * index + mark", "rates.call_maintenance * index - mark")
    assert choice.rules_of(isolated) == {"STD-4", "STD-5", "STD-6"}
