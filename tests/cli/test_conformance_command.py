"""`holdfast conformance`: exit status, table and JSON."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from holdfast.cli.main import app

EQUAL = {"id": "equal", "kind": "is_liquidatable", "inputs": {"nc": 5, "mmr": 5}, "expected": False}
WRONG = EQUAL | {"id": "wrong", "expected": True}
UNKNOWN = {"id": "unknown", "kind": "bankruptcy_of_venus", "inputs": {}, "expected": 1}


def run(folder: Path, *cases: dict, options: tuple[str, ...] = ()) -> Result:
    path = folder / "cases.json"
    path.write_text(json.dumps(cases))
    return CliRunner().invoke(app, ["conformance", str(path), *options], env={"COLUMNS": "80"})


@pytest.mark.criterion("CONF-13")
@pytest.mark.parametrize(("cases", "status"), [([EQUAL], 0), ([EQUAL, WRONG], 1), ([EQUAL, UNKNOWN], 1)])
def test_exit_status(tmp_path: Path, cases: list[dict], status: int) -> None:
    assert run(tmp_path, *cases).exit_code == status
    assert run(tmp_path, *cases, options=("--json",)).exit_code == status


@pytest.mark.criterion("CONF-12")
def test_json(tmp_path: Path) -> None:
    report = json.loads(run(tmp_path, EQUAL, WRONG, UNKNOWN, options=("--json",)).stdout)
    assert {key: report[key] for key in ("passed", "failed", "unsupported")} == {
        "passed": 1,
        "failed": 1,
        "unsupported": 1,
    }
    (file,) = report["files"]
    (failure,) = file["failures"]
    assert Path(file["file"]).name == "cases.json"
    assert {key: failure[key] for key in ("id", "quantity", "expected", "actual")} == {
        "id": "wrong",
        "quantity": "liquidatable",
        "expected": True,
        "actual": False,
    }


def test_table_names_failures_and_unsupported_kinds(tmp_path: Path) -> None:
    shown = run(tmp_path, EQUAL, WRONG, UNKNOWN).stdout
    for words in ("wrong", "liquidatable", "True", "False", "bankruptcy_of_venus"):
        assert words in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_nothing_to_run_is_an_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["conformance", str(tmp_path / "absent.json")])
    assert result.exit_code == 2
    assert "does not exist" in result.stderr
