"""`holdfast sim`."""

import json

import pytest
from typer.testing import CliRunner

from holdfast.cli.main import app

run = CliRunner()


@pytest.mark.criterion("SIM-15")
def test_seeds_that_hold_are_counted():
    result = run.invoke(app, ["sim", "--seeds", "2", "--from", "3"])
    assert result.exit_code == 0
    assert "2 of 2 seeds hold" in result.output
    assert "acknowledgements" in result.output


@pytest.mark.criterion("SIM-15")
def test_a_seed_that_breaks_a_law_prints_how_to_see_it_again():
    result = run.invoke(app, ["sim", "--seeds", "1", "--from", "3", "--bug", "answer-before-copy"])
    assert result.exit_code == 1
    assert "durability: engine-" in result.output
    assert "again: holdfast sim --seeds 1 --from 3 --bug answer-before-copy --trace trace-3.txt" in result.output


@pytest.mark.criterion("SIM-15")
def test_the_result_as_json():
    result = run.invoke(app, ["sim", "--seeds", "1", "--bug", "no-frame-order", "--json"])
    told = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (told["first"], told["seeds"], told["bug"]) == (0, 1, "no-frame-order")
    assert told["failed"][0]["law"] == "frames"
    assert len(told["trace"]) == 64


@pytest.mark.criterion("SIM-15")
def test_the_trace_of_a_seed_is_written(tmp_path):
    path = tmp_path / "trace.txt"
    result = run.invoke(app, ["sim", "--seeds", "1", "--from", "5", "--trace", str(path)])
    assert result.exit_code == 0
    lines = path.read_text().splitlines()
    assert lines[0].endswith("starts with 18 frames")
    assert " end well " in lines[-1]


@pytest.mark.criterion("SIM-15")
@pytest.mark.parametrize(("seeds", "status"), [("1", 0), ("0", 2)])
def test_planted_bugs_are_listed(seeds, status):
    result = run.invoke(app, ["sim", "--seeds", seeds, "--planted", "--bug", "answer-before-copy"])
    assert result.exit_code == status
    if not status:
        assert "1 of 1" in result.output


@pytest.mark.criterion("SIM-15")
def test_a_bug_that_no_seed_finds_is_a_failure():
    result = run.invoke(app, ["sim", "--seeds", "1", "--planted", "--bug", "amnesia-ignored", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)[0]["found"] == 0


@pytest.mark.criterion("SIM-15")
def test_an_unknown_bug_is_a_wrong_input():
    result = run.invoke(app, ["sim", "--bug", "gremlin"])
    assert result.exit_code == 2
    assert "answer-on-store" in result.output
