"""`holdfast drill`: how a result is shown, written down and judged, without a cluster; and the evidence elsewhere."""

import json

import msgspec
import pytest
from typer.testing import CliRunner

import holdfast
from holdfast.cli.main import app

pytest.importorskip("nats")
pytest.importorskip("scipy")

from holdfast.chaos.second_engine import evidence, run
from holdfast.chaos.second_engine.result import IN_ALL, NO_ERROR, Act, Result

FINE = evidence.Evidence(
    7, 30_000, "env -i python …", is_alone=True, holds=True, refuses_altered=True, checks=["a line"]
)


def act(name, **changes):
    fields = {
        "name": name,
        "marks": 1,
        "below": 1_234,
        "by_error": 5,
        "begun": 1_234,
        "wrong": 0,
        "without_second": 0,
        "too_close": 0,
        "withheld": 0,
        "frozen": 0,
        "named_by": [],
        "accounts_named": 0,
        "marks_to_name": None,
        "named_s": None,
        "suspended": [],
        "begun_s": (0.25, 0.5),
        "degraded": [],
    }
    return Act(**{**fields, **changes})


NAMED = act(
    IN_ALL, begun=3, frozen=8, named_by=["engine-a: its witness engine differs on 9 accounts"], accounts_named=9,
    marks_to_name=0, named_s=0.21, degraded=["engines differ on 9 accounts"],
)  # fmt: skip
RESULT = Result(
    accounts=20_000,
    seed=3,
    acts=[act(NO_ERROR), NAMED],
    evidence=FINE,
    frames=900,
    killed=6,
    roots_certified=20,
    roots_strange=0,
    contradicted=[],
    took_s=120.0,
    machine={"cores": "2", "processor": "one", "system": "Linux"},
    versions={"python": "3.11", "holdfast": "0.1.0"},
)


@pytest.fixture
def drilled(monkeypatch, tmp_path):
    """Run the command with a result in the place of a cluster's."""

    def command(result, *arguments):
        monkeypatch.setattr(run, "run", lambda *_: result)
        return CliRunner().invoke(app, ["drill", "second-engine", *arguments], env={"COLUMNS": "200"})

    return command


@pytest.mark.criterion("DRL-10")
def test_json_says_everything_and_whether_it_passed(drilled):
    shown = drilled(RESULT, "--seed", "3", "--json")
    assert shown.exit_code == 0, shown.output
    said = json.loads(shown.stdout)
    assert said["passed"] is True
    assert said["problems"] == []
    assert said["acts"][1]["named_s"] == 0.21
    assert said["evidence"]["holds"] is True


@pytest.mark.criterion("DRL-10")
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"acts": [act(NO_ERROR, wrong=2)]}, "2 wrong liquidations"),
        ({"roots_strange": 1}, "and 1 not"),
        ({"roots_certified": 0}, "has 0 of the roots"),
        ({"contradicted": ["position 7"]}, "position 7"),
        ({"evidence": msgspec.structs.replace(FINE, holds=False)}, "evidence was refused"),
        ({"evidence": msgspec.structs.replace(FINE, is_alone=False)}, "could be imported"),
        ({"evidence": msgspec.structs.replace(FINE, refuses_altered=False)}, "altered evidence"),
    ],
)
def test_what_went_wrong_is_said_and_is_the_exit_status(drilled, changes, problem):
    shown = drilled(msgspec.structs.replace(RESULT, **changes), "--seed", "3")
    assert shown.exit_code == 1
    assert problem in shown.stdout


def test_the_table_and_the_report_have_a_row_for_each_act(drilled, tmp_path):
    path = tmp_path / "reports" / "drill.md"
    shown = drilled(RESULT, "--seed", "3", "--report", str(path))
    assert shown.exit_code == 0
    assert "1,234" in shown.stdout
    assert "its witness engine differs on 9 accounts" in shown.stdout
    text = path.read_text()
    assert "holdfast drill second-engine --accounts 20000 --seed 3 --report" in text
    assert "| error in all | 1 | 1,234 | 5 | 3 | 0 | 0 | 8 | 0 marks, 0.21 s | 0.50 s |" in text
    assert "| no error | 1 | 1,234 | – | 1,234 | 0 | 0 | 0 | – | 0.50 s |" in text
    assert "engines differ on 9 accounts" in text


@pytest.mark.criterion("DRL-1")
@pytest.mark.parametrize("wrong", [("--accounts", "199"), ("--accounts", "200001"), ("--seed", "-2")])
def test_numbers_out_of_range_are_one_line(drilled, wrong):
    shown = drilled(RESULT, *wrong)
    assert shown.exit_code == 2
    assert wrong[0] in shown.stderr


@pytest.mark.criterion("DRL-9")
def test_evidence_is_made_by_the_command_and_holds_where_holdfast_is_not(tmp_path):
    with holdfast.Engine(tmp_path / "venue") as engine:
        engine.set_rules(checkpoint_frames=16, breach_checkpoints=1)
        engine.define_asset("USD")
        engine.define_asset("BTC")
        engine.define_instrument("BTC-PERPETUAL")
        engine.define_model("portfolio")
        for name in ("alice", "bob", "carol"):
            engine.open_account(name)
        engine.tick("2020-03-12T10:00Z")
        engine.post_prices({"BTC": 7900, "BTC-PERPETUAL": 7895})
        for name in ("alice", "bob", "carol"):
            engine.deposit(name, "BTC", 10)
        assert engine.trade("alice", "bob", "BTC-PERPETUAL", 160_000, 7895)
        assert engine.order("carol", "BTC-PERPETUAL", 50_000, 6400)
        engine.checkpoint()
        engine.tick("2020-03-12T10:01Z")
        engine.post_prices({"BTC": 6500, "BTC-PERPETUAL": 6490})
        engine.checkpoint()
    evidence.prove(tmp_path / "venue", 4, tmp_path)
    found = evidence.check_alone(tmp_path, 4)
    assert (found.is_alone, found.holds, found.refuses_altered) == (True, True, True)
    assert any("BELOW" in line for line in found.checks)
    # What is altered is refused as it is, not only in the copy.
    (tmp_path / evidence.FILE).write_bytes(evidence.about_another((tmp_path / evidence.FILE).read_bytes()))
    assert not evidence.check_alone(tmp_path, 5).holds
