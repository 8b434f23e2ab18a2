"""How this package compiles its kernels: one decorator, and a cache that cannot serve yesterday's code.

Numba's on-disk cache looks only at the file of the function it compiles. A kernel that inlines a function of another
file would be served stale after that file changed, which a margin engine cannot afford. So the cache folder's name
carries a digest of every source file of the rooms that hold compiled code, and of the compilers' versions.

This is the lowest room: it reads the package's own files and nothing else, so that the rooms above need no I/O.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import llvmlite
import numba
import numpy as np

COMPILED_ROOMS = ("pricing", "margin")

Function = TypeVar("Function", bound=Callable[..., Any])


def source_digest() -> str:
    """SHA-256 over the compiled rooms' sources and the versions of NumPy, Numba and llvmlite, in hexadecimal."""
    package = Path(__file__).parent
    digest = hashlib.sha256(f"{np.__version__} {numba.__version__} {llvmlite.__version__}".encode())
    for file in sorted(f for room in (".", *COMPILED_ROOMS) for f in (package / room).glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _cache_folder() -> str | None:
    """The folder for compiled kernels, made if need be; None where no folder can be written."""
    base = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "holdfast" / source_digest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return str(folder) if os.access(folder, os.W_OK) else None


CACHE_FOLDER = _cache_folder()


def compiled(function: Function) -> Function:
    """Compile a kernel: no Python objects, no reassociation, IEEE division, cached on disk where possible.

    The plain Python function stays reachable as `.py_func`.
    """
    return _compiled(function, forceinline=False)


def inlined(function: Function) -> Function:
    """Compile a part of a kernel into every kernel that calls it; else as `compiled`.

    A call between compiled functions hands over each array as five to nine machine words and counts its references. For
    parts that run for nanoseconds that costs more than they do.
    """
    return _compiled(function, forceinline=True)


def _compiled(function: Function, *, forceinline: bool) -> Function:
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = CACHE_FOLDER or before
    try:
        compile_ = numba.njit(
            cache=CACHE_FOLDER is not None,
            nogil=True,
            error_model="numpy",
            fastmath=False,
            forceinline=forceinline,
        )
        result: Function = compile_(function)
    finally:
        numba.config.CACHE_DIR = before
    return result
