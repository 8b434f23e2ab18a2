"""Worked numbers of classes, verdicts and coincidence; the bank; noise; the whole, its JSON, its report, bad input."""

import functools
import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from holdfast.cli.main import app
from holdfast.domain.commands import SetRules
from holdfast.domain.errors import InputError
from holdfast.margin.table import LineField, ModelField
from holdfast.validate import independence
from holdfast.validate.independence import bank as banks
from holdfast.validate.independence import coincidence, noise, report, run
from holdfast.validate.independence.accounts import KINDS
from holdfast.validate.independence.bank import SCENES
from holdfast.validate.independence.coincidence import Together
from holdfast.validate.independence.judge import Outcome, Truth, judged, would_liquidate
from holdfast.validate.independence.trial import Trial

SMALL = {"scenes": SCENES[:1], "draws": 1}


def figures(*rows):
    return np.array(rows, float)


def truth(*rows):
    return Truth(figures(*rows), figures(*rows), SetRules())


SAFE = (1_500.0, 1_200.0, 1_000.0)
EVEN = (1_000.0, 1_200.0, 1_000.0)


@pytest.mark.criterion("IND-8")
@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (SAFE, Outcome.MASKED),
        ((1_500.0105, 1_200.0, 1_000.0), Outcome.SILENT),
        ((1_500.0115, 1_200.0, 1_000.0), Outcome.DETECTED),
        ((1_500.0, 1_200.0115, 1_000.0), Outcome.DETECTED),
        ((1_501.0, 1_200.0, 1_000_000.0), Outcome.DETECTED),
        ((math.nan, 1_200.0, 1_000.0), Outcome.CRASHED),
    ],
)
def test_classes_of_the_page(said, outcome):
    problem = "" if all(map(math.isfinite, said)) else "no number for 1 accounts"
    assert judged(Trial(figures(EVEN, said), problem), "A", truth(EVEN, SAFE)).outcome is outcome


@pytest.mark.criterion("IND-8")
def test_tolerance_follows_from_the_first_engine():
    said = (1_500.0, 1_200.0, 1_000_000.0)
    assert judged(Trial(figures(said)), "A", truth(SAFE)).largest == pytest.approx(999_000.0 / 1.01)
    assert judged(Trial(figures(said)), "B", truth(SAFE)).largest == pytest.approx(999_000.0 / 0.011)
    assert judged(Trial(None, "took more than 20 s"), "B", truth(SAFE)).problem == "took more than 20 s"


@pytest.mark.criterion("IND-9")
def test_verdicts_of_the_page():
    wrong = judged(Trial(figures((900.0, 1_200.0, 1_000.0))), "A", truth(EVEN))
    assert (wrong.wrong_alone, wrong.wrong_quorum, wrong.held_back) == (1, 0, 0)
    below = (900.0, 1_200.0, 1_000.0)
    already = judged(Trial(figures(below, below)), "A", Truth(figures(below, EVEN), figures(below, below), SetRules()))
    assert (already.wrong_alone, already.wrong_quorum, already.held_back) == (1, 1, 0)
    late = judged(Trial(figures(EVEN)), "B", truth(below))
    assert (late.wrong_alone, late.wrong_quorum, late.held_back) == (0, 0, 1)
    assert would_liquidate(figures(below, EVEN), figures(below, below), SetRules()).tolist() == [True, False]


@pytest.mark.criterion("IND-10")
def test_coincidence_of_the_page():
    found = coincidence.summed([Together(1_000, 100, 50, 20, 5, 3, 1, False), Together(1_000, 0, 50, 0, 0, 0, 0, True)])
    assert (found.pairs, found.inputs, found.together, found.expected, found.alike) == (1, 1_000, 20, 5.0, 5)
    assert found.z == pytest.approx(6.725, abs=5e-4)
    assert (found.rate, found.share_alike, found.escaping, found.wrong_quorum, found.wrong_agreed) == (
        0.005,
        0.25,
        0,
        3,
        1,
    )
    nothing = coincidence.summed([])
    assert (nothing.pairs, nothing.z, nothing.rate) == (0, 0.0, 0.0)


@pytest.mark.criterion("IND-10")
def test_failures_together_and_alike():
    known = truth(SAFE, SAFE, EVEN)
    one = coincidence.failing(figures((1_400.0, 1_200.0, 1_000.0), SAFE, (900.0, 1_200.0, 1_000.0)), known.first, known)
    same = coincidence.failing(
        figures((1_400.01, 1_200.0, 1_000.0), SAFE, (800.0, 1_200.0, 1_000.0)), known.second, known
    )
    found = coincidence.together(one, same, known)
    assert found == Together(3, 2, 2, 2, 1, 1, 0, False)
    assert found.expected == pytest.approx(4 / 3)
    assert coincidence.together(one, one, known).escapes


@pytest.mark.criterion("IND-1", "IND-14")
def test_the_same_seed_makes_the_same_bank():
    one, again, other = (banks.make(seed, SCENES[2:3], 1)[0] for seed in (4, 4, 5))
    assert one.kinds == again.kinds == tuple(KINDS) * 3
    assert len(KINDS) == 16
    for name, part in one.parts.items():
        assert np.array_equal(part, again.parts[name]) if isinstance(part, np.ndarray) else part == again.parts[name]
    assert not np.array_equal(banks.figures(one), banks.figures(other))


@pytest.mark.criterion("IND-1", "IND-2")
def test_scenes_sit_at_the_edges():
    assert len(SCENES) == 13
    by_name = {scene.name: scene for scene in SCENES}
    expiry = by_name["at expiry"].time
    assert by_name["last nanosecond"].time == expiry - 1
    assert by_name["thirty days"].time == expiry - 30 * banks.DAY
    (situation,) = banks.make(0, [by_name["expired, not settled"]], 1)
    assert situation.fold.time > expiry == situation.fold.machine.marked.market.time
    (situation,) = banks.make(0, [by_name["peg at its threshold"]], 1)
    assert situation.fold.machine.marked.market.asset_price("USDC").price == 0.99


@pytest.mark.criterion("IND-3")
def test_accounts_stand_at_their_maintenance_margin():
    found = np.concatenate([banks.figures(one) for one in banks.make(0, SCENES[:6], 1)])
    away = (found[:, 0] - found[:, 2])[found[:, 2] > 0]
    for distance in (0.0, 1e-6, -1e-6, 0.005, -0.005, 0.02, -0.02):
        assert (np.abs(away - distance) < 6e-7).any(), distance
    assert (found[:, 0] < 0).any()


@pytest.mark.criterion("IND-12")
@pytest.mark.parametrize("size", noise.SIZES)
def test_noise_is_detected_beyond_the_tolerance_and_liquidates_nothing(small_bench, size):
    found = noise.measure(small_bench.bank, small_bench.truth, size, 1)
    assert found.inputs == noise.DRAWS * len(small_bench.truth.first)
    assert (found.missed, found.wrong_quorum) == (0, 0)
    assert (found.moved == 0) is (found.largest <= 1.0)
    assert found == noise.measure(small_bench.bank, small_bench.truth, size, 1)
    if size == noise.SIZES[-1]:
        assert found.share_detected > 0.5
        assert found.wrong_alone > 0


@pytest.mark.criterion("IND-12")
def test_noise_moves_every_value_of_a_table_by_no_more_than_its_size(small_bench):
    for table in small_bench.bank[0].fold.machine.marked.tables:
        plain, noisy = table.arrays, noise.with_noise(table.arrays, 1e-3, np.random.default_rng(1))
        scenarios = int(plain.model[ModelField.SCENARIOS])
        columns = [LineField.TODAY, LineField.IN_ASSET]
        pairs = [
            (plain.values, noisy.values),
            (plain.basis, noisy.basis),
            (plain.lines[:, columns], noisy.lines[:, columns]),
        ]
        for before, after in pairs:
            moved = np.abs(after - before)[before != 0] / np.abs(before[before != 0])
            assert (moved > 0).all()
            assert (moved <= 1e-3 * (1 + 1e-9)).all()
        assert np.array_equal(noisy.today, noisy.lines[:, LineField.TODAY])
        assert (noisy.values[:, scenarios:] == noisy.values[:, scenarios - 1 : scenarios]).all()
        others = [n for n in range(plain.lines.shape[1]) if n not in columns]
        assert np.array_equal(plain.lines[:, others], noisy.lines[:, others])


@pytest.fixture(scope="module")
def small_bench():
    return run.Bench(0, SCENES[:2], 1, float("inf"))


@pytest.fixture(scope="module")
def found():
    return run.measure(0, 5, 5.0, **SMALL)


@pytest.mark.criterion("IND-8", "IND-10", "IND-11")
def test_the_whole_on_a_small_bank(found):
    assert [one.engine for one in found.mutants] == ["A", "B"] * 5
    rows = [report.row(engine, found.mutants) for engine in "AB"]
    for one in rows:
        assert one.mutants == one.masked + one.silently_agreed + one.detected + one.crashed == 5
    assert found.is_complete
    assert found.wrong_quorum == 0
    assert len(found.pairs) == 2
    assert [one.size for one in found.noise] == list(noise.SIZES)
    assert found.inputs.accounts == 48


@pytest.mark.criterion("IND-13", "IND-14")
def test_json_has_the_fields_and_is_the_same_again(found):
    text = json.dumps(report.plain(found), allow_nan=False)
    data = json.loads(text)
    for name in ("seed", "complete", "inputs", "engines", "mutants", "coincidence", "pairs", "noise", "wrong_quorum"):
        assert name in data
    assert data["command"] == "holdfast independence --seed 0 --mutants 5 --minutes 5"
    assert set(data["mutants"][0]) >= {"engine", "module", "function", "line", "kind", "before", "after", "outcome"}
    assert data["engines"][0]["reached"] > 1_000
    again = report.plain(run.measure(0, 5, 5.0, **SMALL))
    assert {**json.loads(json.dumps(again)), "seconds": 0} == {**data, "seconds": 0}


@pytest.mark.criterion("IND-13")
def test_report_names_its_command(found):
    text = report.markdown(found)
    assert "holdfast independence --seed 0 --mutants 5" in text
    for heading in ("One engine is wrong", "Both engines are wrong", "Noise on A's table", "What was not found"):
        assert f"## {heading}" in text
    for table in (block.splitlines() for block in text.split("\n\n") if block.startswith("|")):
        assert len({line.replace("\\|", "").count("|") for line in table}) == 1, table


def command(*arguments):
    return CliRunner().invoke(app, ["independence", *arguments], env={"COLUMNS": "80"})


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(independence, "measure", functools.partial(run.measure, **SMALL))


@pytest.mark.criterion("IND-13")
def test_command_prints_tables_and_writes_the_report(small, tmp_path):
    result = command("--seed", "2", "--mutants", "1", "--report", str(tmp_path / "new" / "report.md"))
    assert result.exit_code == 0, result.output
    assert "coincident failures" in result.stdout
    assert "again: holdfast independence --seed 2 --mutants 1 --minutes 9" in result.stderr
    assert (tmp_path / "new" / "report.md").read_text().startswith("# Independence")


@pytest.mark.criterion("IND-13")
def test_time_that_runs_out_is_said(small):
    result = command("--mutants", "50", "--minutes", "0.0001", "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert (data["complete"], data["mutants"], data["pairs"]) == (False, [], [])
    assert "time ran out" in result.stderr


@pytest.mark.criterion("IND-13")
def test_a_wrong_liquidation_by_the_quorum_ends_with_status_1(small, monkeypatch, found):
    broken = found._replace(noise=tuple(one._replace(wrong_quorum=1) for one in found.noise))
    monkeypatch.setattr(independence, "measure", lambda *_ignored, **_named: broken)
    result = command("--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["wrong_quorum"] == len(noise.SIZES)


@pytest.mark.criterion("IND-13")
@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--seed", "-1"), "seed"),
        (("--mutants", "0"), "mutants"),
        (("--mutants", "2001"), "mutants"),
        (("--minutes", "0"), "minutes"),
        (("--minutes", "nan"), "minutes"),
    ],
)
def test_bad_input_is_refused(arguments, word):
    result = command(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "error: " in result.stderr
    assert word in result.stderr
    with pytest.raises(InputError):
        run.measure(-1)
