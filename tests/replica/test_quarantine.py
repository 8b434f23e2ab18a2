"""A frame that kills the process is set aside after two deaths, and the rest of the log goes on."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

PROGRAM = textwrap.dedent("""
    import os, signal, sys
    from pathlib import Path
    from holdfast.core import fold
    from holdfast.domain.commands import DefineSource
    from holdfast.replica.engine import Engine

    def deadly(machine, command, sender):
        if command.name == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        return kept(machine, command, sender)

    kept = fold.HANDLERS[DefineSource]
    fold.HANDLERS[DefineSource] = deadly
    with Engine(sys.argv[1]) as engine:
        engine.embedded.replica()
        for name in sys.argv[2:]:
            engine.embedded.source(name)
        registry = engine.embedded.fold.machine.registry
        print(sorted(registry.sources), len(registry.quarantined), engine.position, engine.root())
""")


def run(folder, *names):
    command = [sys.executable, "-c", PROGRAM, str(folder), *names]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=dict(os.environ), check=False)


@pytest.mark.criterion("QRM-9")
def test_a_frame_that_kills_is_set_aside_after_two_deaths(tmp_path):
    folder = tmp_path / "engine"
    first = run(folder, "good")
    assert first.returncode == 0, first.stderr
    assert run(folder, "poison").returncode == -signal.SIGKILL  # It is in the log from now on.
    deaths = 0
    while (again := run(folder)).returncode == -signal.SIGKILL:
        deaths += 1
        assert deaths <= 4
    assert again.returncode == 0, again.stderr
    assert deaths == 3  # One that left only a note, and two that said where.
    assert "['good'] 1 " in again.stdout
    last = run(folder, "better")
    assert last.returncode == 0, last.stderr
    assert "['better', 'good'] 1 " in last.stdout
