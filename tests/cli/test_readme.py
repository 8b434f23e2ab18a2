"""Every command and the example in README.md run as written."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from holdfast.cli.main import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
EXAMPLES = [body for kind, body in BLOCKS if kind == "python"]
COMMANDS = [shlex.split(line, comments=True) for kind, body in BLOCKS if kind == "sh" for line in body.splitlines()]


def commands(program: str) -> list[list[str]]:
    found = [command for command in COMMANDS if command[:1] == [program]]
    assert found
    return found


def test_every_command_is_looked_at() -> None:
    assert {command[0] for command in COMMANDS if command} == {"make", "python", "holdfast"}


def is_of_cluster(command: list[str]) -> bool:
    return command[1] == "cluster"


def test_cluster_as_it_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The commands one after the other, in a folder of the test's, with the client's example in between."""
    pytest.importorskip("nats")
    folder = tmp_path / "cluster"
    wanted = [command for command in commands("holdfast") if is_of_cluster(command)]
    assert [command[2] for command in wanted] == ["up", "status", "kill", "restart", "down"]
    (example,) = (body for body in EXAMPLES if "holdfast.Client" in body)
    shown = "~/.holdfast/cluster"
    assert shown in example
    command = [sys.executable, "-m", "holdfast.cli.main"]
    try:
        for one in wanted:
            whole = [*command, *one[1:], "--folder", str(folder)]
            done = subprocess.run(whole, check=False, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stdout + done.stderr
            if one[2] == "status":
                exec(compile(example.replace(shown, str(folder)) + "client.close()", "README.md", "exec"), {})
                assert "USD is defined" in capsys.readouterr().out
            if one[2] == "kill":
                subprocess.run([*command, "cluster", "up", "--folder", str(folder)], check=True, timeout=300)
    finally:
        subprocess.run([*command, "cluster", "down", "--folder", str(folder)], check=False, timeout=120)


@pytest.mark.parametrize("command", [one for one in commands("holdfast") if not is_of_cluster(one)], ids=" ".join)
def test_holdfast_commands(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    if command[1] == "replay":
        command = [*command, "--report", str(tmp_path / "report.html")]
    result = CliRunner().invoke(app, command[1:])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", commands("python"), ids=" ".join)
def test_python_commands(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    done = subprocess.run([sys.executable, *command[1:]], capture_output=True, text=True, check=True)
    assert "initial margin" in done.stdout
    assert done.stderr == ""


def test_make_targets_exist() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert all(command[1] in targets for command in commands("make"))


@pytest.mark.parametrize("number", [0, 1])
def test_python_examples(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    body = [body for body in EXAMPLES if "holdfast.Client" not in body][number]
    exec(compile(body, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert [len(printed.splitlines()) > 20, len(printed.splitlines()) == 3][number]
    assert number or ("174,710 USD would pass" in printed and "healthy" in printed.lower())


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / link).exists(), link
