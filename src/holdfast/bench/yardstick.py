"""The yardstick of `remargin`: a C program, compiled when a compiler is there."""

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.bench.population import Population
from holdfast.domain.errors import invariant
from holdfast.margin.table import Arrays, Floats, LineTag, cache_aligned

COMPILERS = ("gcc", "clang", "cc")
OPTIONS = ("-O3", "-march=native", "-std=c11", "-shared", "-fPIC")
SOURCE = Path(__file__).with_name("remargin.c")
_SECONDS_MAX = 120


class Yardstick:
    """The compiled program.

    Attributes:
        vectors: The widest vectors it was compiled for: "AVX-512", "AVX2" or "none by hand".
        compiler: The compiler's first line about itself.
    """

    def __init__(self, library: Path, compiler: str) -> None:
        self.compiler = compiler
        self._library = ctypes.CDLL(str(library))
        self._library.vectors.restype = ctypes.c_char_p
        self.vectors: str = self._library.vectors().decode()

    def sweep_groups(self, arrays: Arrays, accounts: Population) -> "Sweep":
        """A sweep with both pairs of multipliers."""
        group, underlying = (arrays.tags[:, tag].copy() for tag in (LineTag.GROUP, LineTag.UNDERLYING))
        table = (arrays.values, arrays.today, group, underlying, arrays.multipliers)
        return Sweep(self._library.sweep_groups, accounts, table)

    def sweep_underlyings(self, arrays: Arrays, accounts: Population) -> "Sweep":
        """A sweep of a table whose multipliers are all 1."""
        changes = cache_aligned(arrays.values - arrays.today[:, None])
        return Sweep(self._library.sweep_underlyings, accounts, (changes, arrays.tags[:, LineTag.UNDERLYING].copy()))


class Sweep:
    """One function of the program with its arrays: a call fills `out`, [accounts]."""

    def __init__(self, function: Any, accounts: Population, table: tuple[NDArray[Any], ...]) -> None:
        self.out: Floats = np.zeros(accounts.accounts)
        self._function = function
        self._count = ctypes.c_int64(accounts.accounts)
        self._arrays: tuple[NDArray[Any], ...] = (*accounts, *table, self.out)

    def __call__(self) -> None:
        """Sweep all accounts."""
        status = self._function(self._count, *(ctypes.c_void_p(array.ctypes.data) for array in self._arrays))
        invariant(status == 0, "an account of the benchmark has more positions than the yardstick has room for")


@contextmanager
def compiled_yardstick() -> Iterator[Yardstick | None]:
    """The program, compiled in a temporary folder; None where there is no compiler or it fails."""
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "remargin.so"
        yield Yardstick(library, _version(compiler)) if compiler and _compile(compiler, library) else None


def _compile(compiler: str, library: Path) -> bool:
    done = subprocess.run(  # noqa: S603 (the compiler that the user's path names)
        [compiler, *OPTIONS, "-o", str(library), str(SOURCE)], capture_output=True, timeout=_SECONDS_MAX, check=False
    )
    return done.returncode == 0


def _version(compiler: str) -> str:
    done = subprocess.run(  # noqa: S603
        [compiler, "--version"], capture_output=True, text=True, timeout=_SECONDS_MAX, check=False
    )
    return done.stdout.partition("\n")[0]
