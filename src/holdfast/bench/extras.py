"""Peers that may not be installed."""

import importlib
from typing import Any

from holdfast.domain.errors import MissingLibraryError


def extra(module: str, package: str) -> Any:
    """Import a module of the extra `bench`.

    Raises:
        MissingLibraryError: It is not installed; the text says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as missing:
        text = f"{package} is needed for this benchmark; install the extra: pip install 'holdfast[bench]'"
        raise MissingLibraryError(text) from missing
