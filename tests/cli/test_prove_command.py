"""`holdfast prove` and `holdfast verify` on an engine's folder, and the verifier as a program of its own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import holdfast
from holdfast.cli.main import app
from holdfast.proof import verifier


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine that liquidated an account, closed."""
    path = tmp_path_factory.mktemp("proofs") / "venue"
    with holdfast.Engine(path) as engine:
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
        assert engine.account("alice").status != "healthy"
        engine.checkpoint()
    return path


@pytest.fixture(scope="module")
def keys(folder: Path) -> Path:
    path = folder.parent / "keys.json"
    assert run("prove", "keys", folder, "--output", path).exit_code == 0
    return path


def run(*arguments: object) -> object:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def proved(folder: Path, keys: Path, *arguments: object) -> str:
    """Make a proof, check it with the command, and again with the verifier alone; what it says."""
    path = folder.parent / f"{arguments[0]}.proof"
    made = run("prove", arguments[0], folder, *arguments[1:], "--output", path)
    assert made.exit_code == 0, made.output
    checked = run("verify", path, "--trust", keys)
    assert checked.exit_code == 0, checked.output
    alone = [sys.executable, "-I", "-S", verifier.__file__, str(path), "--trust", str(keys)]
    done = subprocess.run(alone, check=True, capture_output=True, text=True)
    assert done.stdout == checked.stdout
    assert done.stdout.endswith("the proof holds\n")
    return done.stdout


@pytest.mark.criterion("PRF-7", "PRF-18")
def test_margin(folder: Path, keys: Path) -> None:
    told = proved(folder, keys, "margin", "--account", "bob")
    assert "account 5: HEALTHY" in told
    assert "a quorum of one" in told
    assert told == proved(folder, keys, "margin", "--account", "#5")
    earlier = proved(folder, keys, "margin", "--account", "5", "--position", "40")
    assert "state after frame 31" in earlier


@pytest.mark.criterion("PRF-8", "PRF-18")
def test_liquidation(folder: Path, keys: Path) -> None:
    told = proved(folder, keys, "liquidation", "--account", "alice")
    assert "both numbers were worked out again here" in told
    assert "stage in frame" in told


@pytest.mark.criterion("PRF-5", "PRF-6", "PRF-18")
def test_consistency_and_frames(folder: Path, keys: Path) -> None:
    assert "the log only grew" in proved(folder, keys, "consistency", "--from", "32")
    assert "frame 3 is in it" in proved(folder, keys, "frame", "--position", "3")
    kept = folder.parent / "checkpoint"
    assert run("prove", "checkpoint", folder, "--output", kept).exit_code == 0
    against = run("verify", folder.parent / "consistency.proof", "--trust", keys, "--against", kept)
    assert against.exit_code == 1
    assert "REFUSED checkpoint: the one that was kept is another one" in against.output


@pytest.mark.criterion("PRF-11", "PRF-18")
def test_liabilities(folder: Path, keys: Path, tmp_path: Path) -> None:
    copy, secret = tmp_path / "venue", tmp_path / "secret"
    shutil.copytree(folder, copy)
    shown = run("prove", "liabilities", copy, "--secret", secret)
    assert json.loads(shown.stdout)["published"] is False
    assert secret.stat().st_mode & 0o777 == 0o600
    published = run("prove", "liabilities", copy, "--secret", secret, "--publish")
    assert json.loads(published.stdout) | {"published": False} == json.loads(shown.stdout)
    told = proved(copy, keys, "liabilities", "--secret", secret, "--account", "bob")
    assert "it is one of 4 in the total published in frame" in told
    secret.write_text("no secret")
    assert run("prove", "liabilities", copy, "--secret", secret, "--account", "bob").exit_code == 2


@pytest.mark.criterion("PRF-19")
def test_a_whole_log(folder: Path, keys: Path, tmp_path: Path) -> None:
    kept = tmp_path / "checkpoint"
    run("prove", "checkpoint", folder, "--output", kept)
    held = run("verify", "--log", folder, "--trust", keys, "--against", kept)
    assert held.exit_code == 0, held.output
    assert held.stdout.endswith("the log holds\n")
    copy = tmp_path / "venue"
    shutil.copytree(folder, copy)
    with holdfast.Engine(copy) as engine:
        engine.checkpoint()
    run("prove", "checkpoint", copy, "--output", kept)
    shorter = run("verify", "--log", folder, "--against", kept)
    assert shorter.exit_code == 1
    assert "it was truncated" in shorter.stdout
    other = json.loads(keys.read_text())
    other["replicas"][0]["key"] = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    (tmp_path / "keys").write_text(json.dumps(other))
    replaced = run("verify", "--log", folder, "--trust", tmp_path / "keys")
    assert replaced.exit_code == 1
    assert "never had the trusted keys" in replaced.stdout


@pytest.mark.criterion("PRF-18")
@pytest.mark.parametrize(
    "arguments",
    [
        ("verify",),
        ("verify", "{folder}", "--log", "{folder}"),
        ("verify", "{keys}"),
        ("verify", "{gone}", "--trust", "{keys}"),
        ("verify", "{keys}", "--trust", "{log}"),
        ("verify", "--log", "{gone}"),
        ("verify", "--log", "{folder}", "--trust", "{log}"),
        ("verify", "--log", "{folder}", "--against", "{keys}"),
        ("prove", "margin", "{gone}", "--account", "4"),
        ("prove", "margin", "{folder}", "--account", "nobody"),
        ("prove", "margin", "{folder}", "--account", "4", "--trust", "{log}"),
        ("prove", "liquidation", "{folder}", "--account", "bob"),
        ("prove", "consistency", "{folder}", "--from", "7"),
        ("prove", "frame", "{folder}", "--position", "1000000"),
    ],
)
def test_wrong_input_is_one_line(folder: Path, keys: Path, arguments: tuple[str, ...]) -> None:
    names = {"folder": folder, "keys": keys, "gone": folder / "gone", "log": folder / "log.sqlite"}
    done = run(*(one.format(**names) for one in arguments))
    assert done.exit_code == 2, done.output
    assert "error:" in done.output or "error:" in done.stderr


@pytest.mark.criterion("PRF-18")
def test_a_proof_that_does_not_hold(folder: Path, keys: Path) -> None:
    proved(folder, keys, "margin", "--account", "bob")
    path = folder.parent / "margin.proof"
    path.write_bytes(path.read_bytes().replace(b'"account": 5', b'"account": 4'))
    done = run("verify", path, "--trust", keys)
    assert done.exit_code == 1
    assert done.stdout == "REFUSED state: the leaf 4 of accounts is not in the proof\n"
