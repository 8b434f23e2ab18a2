"""What people type: arguments, files, tables in the terminal, exit statuses.

What lives here: reading what a command names and showing what the rooms below answer. What may not: a formula. Exit
statuses: 0 done, 1 a check failed (conformance), 2 the input cannot be used, 130 interrupted.
"""

import sys

EXTRA = ("typer", "rich", "click")
"""What the command line needs beyond the library."""
WRONG_SETUP = 2


def command() -> None:
    """The program `holdfast`; says what to install where the library came without its command line."""
    try:
        from holdfast.cli.main import main
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        sys.stderr.write(f"error: the command line needs {error.name}: pip install 'holdfast[cli]'\n")
        raise SystemExit(WRONG_SETUP) from None
    main()
