"""How this package compiles its kernels: one decorator, and a cache that cannot serve yesterday's code.

Numba's on-disk cache looks only at the file of the function it compiles. A kernel that inlines a function of another
file would be served stale after that file changed, which a margin engine cannot afford. So each source file's compiled
code has a folder whose name is a digest of every source file that it can reach through imports, and of the compilers'
versions. Files of compiled code import at their top only, so that reading the imports finds all of them.

This is the lowest room: it reads the package's own files and nothing else, so that the rooms above need no I/O.
"""

import functools
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import llvmlite
import numba
import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])

_PACKAGE = Path(__file__).parent
_IMPORT = re.compile(rb"^\s*from holdfast\.?([\w.]*) import (\([^)]*\)|.*)", re.MULTILINE)


@functools.cache
def _imported(file: Path) -> frozenset[Path]:
    """The package's source files that a source file names in its imports, itself included."""
    found = {file}
    for room, names in _IMPORT.findall(file.read_bytes()):
        home = _PACKAGE.joinpath(*room.decode().split("."))
        within = [home / f"{name}.py" for name in re.findall(r"\w+", names.decode())]
        found.update(f for f in (home.with_suffix(".py"), home / "__init__.py", *within) if f.is_file())
    return frozenset(found)


def sources_of(file: Path) -> list[Path]:
    """Every source file of the package that the code in `file` can reach through imports, in order of their paths."""
    reached: set[Path] = set()
    ahead = [file]
    while ahead:
        one = ahead.pop()
        if one not in reached:
            reached.add(one)
            ahead.extend(_imported(one))
    return sorted(reached)


@functools.cache
def source_digest(file: Path) -> str:
    """SHA-256 over the sources that `file` reaches and the versions of NumPy, Numba and llvmlite, in hexadecimal."""
    digest = hashlib.sha256(f"{np.__version__} {numba.__version__} {llvmlite.__version__}".encode())
    for source in (Path(__file__), *sources_of(file)):
        # Tools outside the package compile too; they are known by their names.
        name = source.relative_to(_PACKAGE) if source.is_relative_to(_PACKAGE) else source.name
        digest.update(str(name).encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def _cache_base() -> Path | None:
    """The folder for compiled kernels of all versions, made if need be; None where no folder can be written."""
    base = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "holdfast"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


CACHE_BASE = _cache_base()


def cache_folder(file: Path) -> str | None:
    """The folder for the compiled code of one source file; None where no folder can be written."""
    return None if CACHE_BASE is None else str(CACHE_BASE / source_digest(file)[:16])


def compiled(function: Function) -> Function:
    """Compile a kernel: no Python objects, no reassociation, IEEE division, cached on disk where possible.

    The plain Python function stays reachable as `.py_func`.
    """
    return _compiled(function)


def inlined(function: Function) -> Function:
    """Compile a part of a kernel into every kernel that calls it; else as `compiled`.

    A call between compiled functions hands over each array as five to nine machine words and counts its references. For
    parts that run for nanoseconds that costs more than they do.
    """
    return _compiled(function, forceinline=True)


def inlined_only(function: Function) -> Function:
    """As `inlined`, without a door for Python, which for functions of many arrays is half of what there is to compile.

    Python must not call it: there is nothing to call. Tests wrap it in a `compiled` function.
    """
    return _compiled(function, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def _compiled(function: Function, **options: bool) -> Function:
    folder = cache_folder(Path(function.__code__.co_filename))
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = folder or before
    try:
        compile_ = numba.njit(cache=folder is not None, nogil=True, error_model="numpy", fastmath=False, **options)
        result: Function = compile_(function)
    finally:
        numba.config.CACHE_DIR = before
    return result
