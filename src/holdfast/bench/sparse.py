"""SciPy's sparse product as a peer of the re-margin kernel, in the chunking that suits it best."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.bench.extras import extra
from holdfast.bench.population import INSTRUMENTS, UNDERLYINGS, Population
from holdfast.margin.table import Arrays, Floats, LineTag

CHUNKS = (1_000, 5_000, 20_000, 100_000)
"""Accounts per product: larger results leave the caches, smaller ones pay for more calls."""
TRIAL_ACCOUNTS = 200_000
Matrix = Any


class SparseSweep:
    """The scan requirement of all accounts with multipliers off, as sparse products.

    One row per account and underlying, the worst of each row, summed per account: what the kernel computes.

    Attributes:
        out: [accounts] what the sweeps fill.
        chunk: Accounts per product, the best of `CHUNKS`.
    """

    def __init__(self, arrays: Arrays, accounts: Population) -> None:
        self.out: Floats = np.zeros(accounts.accounts)
        self._changes = arrays.values - arrays.today[:, None]
        rows = _rows_by_underlying(arrays, accounts)
        self._matrix = _matrix(accounts, rows)
        self._trial = self._matrix[: UNDERLYINGS * TRIAL_ACCOUNTS]
        self.chunk = min(CHUNKS, key=lambda chunk: _best_of(lambda: self._sweep(_sliced(self._trial, chunk), chunk)))
        del self._trial
        self._chunks = [
            _matrix(accounts, rows[a * UNDERLYINGS : (a + self.chunk) * UNDERLYINGS + 1])
            for a in range(0, accounts.accounts, self.chunk)
        ]
        self._whole = [
            _matrix(accounts, accounts.pointer[a : a + self.chunk + 1]) for a in range(0, accounts.accounts, self.chunk)
        ]

    def sweep(self) -> None:
        """The kernel's results, from one matrix worked through in slices."""
        self._sweep(_sliced(self._matrix, self.chunk), self.chunk)

    def sweep_of_chunks(self) -> None:
        """The kernel's results, from matrices of the right size that somebody made beforehand."""
        self._sweep(self._chunks, self.chunk)

    def product_alone(self) -> None:
        """Only the product of accounts with scenarios: no minimum, and underlyings added up, so another question."""
        for matrix in self._whole:
            matrix @ self._changes

    def _sweep(self, matrices: Iterable[Matrix], chunk: int) -> None:
        for n, matrix in enumerate(matrices):
            worst = np.minimum((matrix @ self._changes).min(axis=1), 0.0)
            part = self.out[n * chunk : n * chunk + len(worst) // UNDERLYINGS]
            np.negative(worst.reshape(-1, UNDERLYINGS).sum(axis=1), out=part)


def _sliced(matrix: Matrix, chunk: int) -> Iterator[Matrix]:
    rows = chunk * UNDERLYINGS
    for first in range(0, matrix.shape[0], rows):
        yield matrix[first : first + rows]


def _rows_by_underlying(arrays: Arrays, accounts: Population) -> NDArray[np.int64]:
    """[accounts × underlyings + 1] first position of each account in each underlying."""
    held = arrays.tags[accounts.line, LineTag.UNDERLYING]
    first = np.empty((accounts.accounts, UNDERLYINGS), np.int64)
    first[:, 0] = accounts.pointer[:-1]
    for underlying in range(UNDERLYINGS - 1):
        inside = np.concatenate([[0], np.cumsum(held == underlying)])
        first[:, underlying + 1] = first[:, underlying] + np.diff(inside[accounts.pointer])
    return np.append(first.reshape(-1), accounts.pointer[-1])


def _matrix(accounts: Population, rows: NDArray[np.int64]) -> Matrix:
    """The matrix of quantities whose rows start where `rows` says; quantities and lines are shared, not copied."""
    part = slice(int(rows[0]), int(rows[-1]))
    triple = (accounts.quantity[part], accounts.line[part], (rows - rows[0]).astype(np.int32))
    sparse = extra("scipy.sparse", "scipy")
    return sparse.csr_matrix(triple, shape=(len(rows) - 1, INSTRUMENTS), copy=False)


def _best_of(call: Callable[[], None], times: int = 3) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
