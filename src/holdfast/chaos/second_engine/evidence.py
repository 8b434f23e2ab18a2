"""The evidence of one liquidation, made by the command and checked with one file where there is no Holdfast.

What may not live here: how proofs are made and checked.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec

from holdfast.cluster.errors import ClusterError
from holdfast.proof import verifier

TRIES, PAUSE_S = 6, 5.0
"""A proof needs checkpoints behind the votes that it shows; those come by themselves."""
TIMEOUT_S: Final = 240.0
ALONE: Final = ("-I", "-S")
"""Options of Python: no environment, no user's or site's packages, no current folder on the path."""
FILE, KEYS, VERIFIER = "liquidation.proof", "keys.json", "verifier.py"


class Evidence(msgspec.Struct, frozen=True):
    """One bundle, and what became of it elsewhere.

    Attributes:
        account: Whose liquidation.
        bytes: Of the bundle.
        command: That checked it.
        is_alone: Whether Holdfast cannot be imported there.
        holds: Whether the verifier says that the proof holds.
        refuses_altered: Whether it refuses the same bundle about another account.
        checks: What it says that it checked.
    """

    account: int
    bytes: int
    command: str
    is_alone: bool
    holds: bool
    refuses_altered: bool
    checks: list[str]


def prove(engine: Path, account: int, folder: Path) -> None:
    """Write the bundle of an account's last liquidation, and the log's keys, into a folder.

    Args:
        engine: Folder of an engine, which may run.
        account: Whose.
        folder: Where to.

    Raises:
        ClusterError: The command does not make one; its own words say why.
    """
    said = ""
    for _ in range(TRIES):
        done = _holdfast("prove", "liquidation", str(engine), "--account", str(account), "-o", str(folder / FILE))
        if done.returncode == 0:
            break
        said = done.stderr.strip()
        time.sleep(PAUSE_S)
    else:
        raise ClusterError("holdfast prove liquidation", said, "see docs/how-to/prove-and-verify.md")
    keys = _holdfast("prove", "keys", str(engine), "-o", str(folder / KEYS))
    if keys.returncode:
        raise ClusterError("holdfast prove keys", keys.stderr.strip(), "see docs/how-to/prove-and-verify.md")


def check_alone(folder: Path, account: int) -> Evidence:
    """Check a bundle in an empty folder with nothing but a copy of the verifier, and no environment.

    Args:
        folder: With the bundle and the keys.
        account: Whose it is.
    """
    with tempfile.TemporaryDirectory(prefix="elsewhere-") as name:
        elsewhere = Path(name)
        shutil.copy(verifier.__file__, elsewhere / VERIFIER)
        for file in (FILE, KEYS):
            shutil.copy(folder / file, elsewhere / file)
        imported = _alone(elsewhere, "-c", "import holdfast")
        checked = _alone(elsewhere, VERIFIER, FILE, "--trust", KEYS)
        content = (elsewhere / FILE).read_bytes()
        (elsewhere / FILE).write_bytes(about_another(content))
        refused = _alone(elsewhere, VERIFIER, FILE, "--trust", KEYS)
    return Evidence(
        account=account,
        bytes=len(content),
        command=f"env -i python {' '.join(ALONE)} {VERIFIER} {FILE} --trust {KEYS}",
        is_alone=imported.returncode != 0 and "No module named 'holdfast'" in imported.stderr,
        holds=checked.returncode == 0,
        refuses_altered=refused.returncode == 1,
        checks=[line.removeprefix("ok").strip() for line in checked.stdout.splitlines() if line.startswith("ok")],
    )


def about_another(proof: bytes) -> bytes:
    """The same proof with the next account in its claim, otherwise as a right one is written."""
    content = json.loads(proof)
    content["claim"]["account"] += 1
    return verifier.canonical(content)


def _holdfast(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "holdfast.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)  # noqa: S603


def _alone(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, *ALONE, *arguments]
    return subprocess.run(  # noqa: S603
        command, cwd=folder, env={}, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
