"""How commands end."""

import typer
from typer.testing import CliRunner, Result

from holdfast.cli.terminal import reported
from holdfast.domain.errors import InputError, InvariantError, MissingLibraryError


def run(error: BaseException) -> Result:
    app = typer.Typer()

    @app.command()
    @reported
    def fail() -> None:
        raise error

    return CliRunner().invoke(app, [])


def test_foreseeable_failures_are_one_line() -> None:
    for error in (
        InputError("malformed", "field", "two\nlines", "mend it"),
        MissingLibraryError("install\nit"),
        FileNotFoundError(2, "No such file or directory", "a\nb.json"),
    ):
        result = run(error)
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
        assert result.stderr.startswith("error: ")


def test_interruption_is_quiet() -> None:
    result = run(KeyboardInterrupt())
    assert (result.exit_code, result.output) == (130, "")


def test_a_bug_keeps_its_traceback() -> None:
    assert isinstance(run(InvariantError("broken")).exception, InvariantError)
