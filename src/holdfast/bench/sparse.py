"""SciPy's sparse product as a peer of the re-margin kernel, in the chunking that suits it best."""

import time
from collections.abc import Callable
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

    One row per account and underlying, the worst of each row, summed per account: what the kernel computes. The chunks
    of the matrix are views made beforehand, so that only products and minima are timed.

    Attributes:
        out: [accounts] what `sweep` fills.
        chunk: Accounts per product, the best of `CHUNKS`.
    """

    def __init__(self, arrays: Arrays, accounts: Population) -> None:
        self.out: Floats = np.zeros(accounts.accounts)
        self._changes = arrays.values - arrays.today[:, None]
        rows = _rows_by_underlying(arrays, accounts)
        trials = {chunk: _chunks(accounts, rows, UNDERLYINGS, chunk, TRIAL_ACCOUNTS) for chunk in CHUNKS}
        self.chunk = min(CHUNKS, key=lambda chunk: _best_of(lambda: self._sweep(trials[chunk], chunk)))
        self._matrices = _chunks(accounts, rows, UNDERLYINGS, self.chunk, accounts.accounts)
        self._whole = _chunks(accounts, accounts.pointer, 1, self.chunk, accounts.accounts)

    def sweep(self) -> None:
        """The kernel's results."""
        self._sweep(self._matrices, self.chunk)

    def product_alone(self) -> None:
        """Only the product of accounts with scenarios: no minimum, and underlyings added up, so another question."""
        for matrix in self._whole:
            matrix @ self._changes

    def _sweep(self, matrices: list[Matrix], chunk: int) -> None:
        for n, matrix in enumerate(matrices):
            worst = np.minimum((matrix @ self._changes).min(axis=1), 0.0)
            part = self.out[n * chunk : n * chunk + len(worst) // UNDERLYINGS]
            np.negative(worst.reshape(-1, UNDERLYINGS).sum(axis=1), out=part)


def _rows_by_underlying(arrays: Arrays, accounts: Population) -> NDArray[np.int64]:
    """[accounts × underlyings + 1] first position of each account in each underlying."""
    held = arrays.tags[accounts.line, LineTag.UNDERLYING]
    first = np.empty((accounts.accounts, UNDERLYINGS), np.int64)
    first[:, 0] = accounts.pointer[:-1]
    for underlying in range(UNDERLYINGS - 1):
        inside = np.concatenate([[0], np.cumsum(held == underlying)])
        first[:, underlying + 1] = first[:, underlying] + np.diff(inside[accounts.pointer])
    return np.append(first.reshape(-1), accounts.pointer[-1])


def _chunks(
    accounts: Population, rows: NDArray[np.int64], rows_per_account: int, chunk: int, most: int
) -> list[Matrix]:
    matrix_of = extra("scipy.sparse", "scipy").csr_matrix
    matrices = []
    for a in range(0, min(most, accounts.accounts), chunk):
        pointer = rows[a * rows_per_account : (a + chunk) * rows_per_account + 1]
        part = slice(int(pointer[0]), int(pointer[-1]))
        triple = (accounts.quantity[part], accounts.line[part], (pointer - pointer[0]).astype(np.int32))
        matrices.append(matrix_of(triple, shape=(len(pointer) - 1, INSTRUMENTS), copy=False))
    return matrices


def _best_of(call: Callable[[], None], times: int = 3) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
