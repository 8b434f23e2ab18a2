"""`holdfast inspect`: what a log holds, beside a running engine, and what cannot be shown."""

import pytest
from typer.testing import CliRunner

import holdfast
from holdfast.cli.main import app


@pytest.fixture
def venue(tmp_path):
    """A running engine, which holds the log's lock, and its folder."""
    folder = tmp_path / "venue"
    with holdfast.Engine(folder) as engine:
        engine.define_asset("USD")
        engine.define_model("portfolio")
        engine.open_account("alice")
        engine.deposit("alice", "USD", 10)
        yield folder, engine


def run(*arguments):
    return CliRunner().invoke(app, ["inspect", *map(str, arguments)])


def test_frames_are_shown_beside_the_running_engine(venue):
    folder, engine = venue
    shown = run(folder, "--frames", f"0:{engine.position}")
    assert shown.exit_code == 0, shown.output
    assert "DefineAsset(name='USD'" in shown.output
    assert shown.output.count("Deposit(") == 1
    assert engine.deposit("alice", "USD", 1)
    assert run(folder, "--frames", f"0:{engine.position}").output.count("Deposit(") == 2


def test_the_history_of_an_account(venue):
    folder, _ = venue
    shown = run(folder, "--account", "4")
    assert shown.exit_code == 0, shown.output
    assert "Deposit(account=4" in shown.output


@pytest.mark.parametrize("wrong", [("--frames", "x"), ("--frames", "9:3"), ("--account", "-1"), ("--snapshot", "none")])
def test_what_cannot_be_shown_is_said_in_a_line(venue, wrong):
    folder, _ = venue
    shown = run(folder, *wrong)
    assert shown.exit_code == 2
    assert "Traceback" not in shown.output


def test_a_folder_without_a_log(tmp_path):
    assert "has no log" in run(tmp_path).output
