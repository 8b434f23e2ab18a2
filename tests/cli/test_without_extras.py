"""The library installs without its command line; the program then says what is missing."""

import builtins
import sys

import pytest

from holdfast import cli


def test_a_library_without_the_extra_says_what_to_install(monkeypatch, capsys):
    real = builtins.__import__

    def bare(name, *args, **kwargs):
        if name == "typer":
            raise ModuleNotFoundError("No module named 'typer'", name="typer")
        return real(name, *args, **kwargs)

    for module in [m for m in sys.modules if m.startswith("holdfast.cli.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delattr(cli, "main", raising=False)
    monkeypatch.setattr(builtins, "__import__", bare)
    with pytest.raises(SystemExit) as stopped:
        cli.command()
    assert stopped.value.code == 2
    assert "pip install 'holdfast[cli]'" in capsys.readouterr().err
