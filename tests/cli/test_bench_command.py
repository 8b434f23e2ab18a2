"""`holdfast bench` on a size that takes no time: the figures themselves are not judged here."""

import json

import pytest
from typer.testing import CliRunner

from holdfast import bench
from holdfast.cli.main import app

KEYS = {"seconds", "per_item_ns", "yardstick_seconds", "ratio_to_yardstick", "peers"}


@pytest.fixture
def quick(monkeypatch):
    run = bench.run
    monkeypatch.setattr(bench, "run", lambda name: run(name, size=40, repeat=1))


@pytest.mark.usefixtures("quick")
def test_json_has_the_figure_its_peers_and_the_yardstick():
    result = CliRunner().invoke(app, ["bench", "risk-table", "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer.keys() >= KEYS
    assert answer["ratio_to_yardstick"] > 0.0


@pytest.mark.usefixtures("quick")
def test_the_table_names_the_targets():
    result = CliRunner().invoke(app, ["bench", "risk-table"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "at most 1.5 times NumPy" in result.stdout


def test_an_unknown_benchmark_is_one_line():
    result = CliRunner().invoke(app, ["bench", "nothing"])
    assert result.exit_code == 2
    assert "use one of" in result.stderr
