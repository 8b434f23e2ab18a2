"""How commands speak: results on standard output, everything else on standard error, one line for a wrong input."""

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from holdfast.client.errors import ClientError
from holdfast.cluster.errors import ClusterError
from holdfast.domain.errors import InputError, MissingLibraryError
from holdfast.log.errors import LogError
from holdfast.replica.errors import EngineError

WRONG_INPUT, INTERRUPTED = 2, 130
"""Exit statuses."""

P = ParamSpec("P")
R = TypeVar("R")


def output() -> Console:
    """Standard output for tables. Texts are shown as they are: names from files cannot be mistaken for styles."""
    return Console(markup=False, highlight=False, emoji=False)


def messages() -> Console:
    """Standard error, for everything that is not the result."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)


def note(message: str) -> None:
    """Say what was assumed, on standard error."""
    messages().print(Text(f"note: {message}", style="dim"))


def reported(command: Callable[P, R]) -> Callable[P, R]:
    """A command whose foreseeable failures are one red line on standard error and an exit status, without traceback.

    A bug is not foreseeable: it keeps its traceback.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except BrokenPipeError:
            # The reader of a pipe has seen enough; nothing more may be written, not even on closing.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except (InputError, MissingLibraryError) as error:
            _fail(str(error))
        except (LogError, EngineError, ClusterError, ClientError) as error:
            _fail(str(error), error.exit_code)
        except OSError as error:
            _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None

    return run


def _fail(message: str, status: int = WRONG_INPUT) -> NoReturn:
    messages().print(Text(f"error: {' '.join(message.split())}", style="red"))
    raise typer.Exit(status)


@contextmanager
def while_compiling() -> Iterator[None]:
    """Show a status line where kernels have to be compiled first and somebody is watching."""
    console = messages()
    if not console.is_terminal or is_compiled():
        yield
        return
    with console.status("compiling kernels, once for this version on this machine (under a minute)"):
        yield


def is_compiled() -> bool:
    """Whether the cache holds compiled kernels of this version."""
    import holdfast
    from holdfast.compilation import cache_folder

    folder = cache_folder(Path(holdfast.__file__).parent / "margin" / "kernel.py")
    return folder is not None and any(Path(folder).rglob("*.nbi"))
