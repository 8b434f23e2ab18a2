"""The program `nats-server`: where it is, and whether it is new enough. What may not live here: running it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from holdfast.domain.errors import InputError, MissingLibraryError

PROGRAM: Final = "nats-server"
VERSION_MINIMUM: Final = (2, 15)
"""The first version that forces a replicated stream to the storage once per message and not twice."""
_ANSWER_TIMEOUT_S = 20.0


def server_binary(path: Path | None = None) -> Path:
    """The program `nats-server`, after a look at its version.

    Args:
        path: Which one; by default the one that was installed beside this Python, else the one that the shell finds.

    Raises:
        MissingLibraryError: There is none, and none was named.
        InputError: What was named is not the program, or the program is too old.
    """
    program = path or _installed()
    version = _version(program)
    if version < VERSION_MINIMUM:
        needed = ".".join(map(str, VERSION_MINIMUM))
        found = ".".join(map(str, version))
        raise InputError("out-of-range", str(program), f"version {found}", f"use {PROGRAM} {needed} or later")
    return program


def _installed() -> Path:
    beside = Path(sys.executable).with_name(PROGRAM)
    if os.access(beside, os.X_OK):
        return beside
    found = shutil.which(PROGRAM)
    if found is None:
        raise MissingLibraryError(f"{PROGRAM} is not installed; run `pip install 'holdfast[cluster]'`")
    return Path(found)


def _version(program: Path) -> tuple[int, ...]:
    """The version that the program says it has."""
    advice = f"give the path of {PROGRAM}"
    try:
        answer = subprocess.run(  # noqa: S603
            [program, "--version"], capture_output=True, text=True, check=False, timeout=_ANSWER_TIMEOUT_S
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError("malformed", str(program), str(error), advice, "does not run") from error
    match = re.match(rf"{PROGRAM}: v(\d+)\.(\d+)\.(\d+)", answer)
    if match is None:
        raise InputError("malformed", str(program), answer.strip(), advice, f"is not {PROGRAM}")
    return tuple(map(int, match.groups()))
