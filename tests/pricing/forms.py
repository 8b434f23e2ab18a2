"""Runs one function over `Real` in its compiled forms: float64 by float64, and 8 or 32 lanes at a time."""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from holdfast.pricing.vectors import LANES_NARROW, LANES_WIDE, load, store

Floats = npt.NDArray[np.float64]
Form = Callable[..., Floats]


def scalar_form(function: Callable[..., Any]) -> Form:
    """`function` compiled for float64, called once per element."""

    @numba.njit(error_model="numpy")
    def one(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    @numba.njit(error_model="numpy")
    def two(x, y, out):
        for i in range(x.size):
            out[i] = function(x[i], y[i])

    return _run({1: one, 2: two})


def vector_form(function: Callable[..., Any], lanes: int) -> Form:
    """`function` compiled for vectors; arrays must be a multiple of `lanes` long."""
    narrow = lanes == LANES_NARROW
    assert narrow or lanes == LANES_WIDE

    @numba.njit(error_model="numpy")
    def one_narrow(x, out):
        for i in range(0, x.size, LANES_NARROW):
            store(out, i, function(load(x, i, LANES_NARROW)))

    @numba.njit(error_model="numpy")
    def one_wide(x, out):
        for i in range(0, x.size, LANES_WIDE):
            store(out, i, function(load(x, i, LANES_WIDE)))

    @numba.njit(error_model="numpy")
    def two_narrow(x, y, out):
        for i in range(0, x.size, LANES_NARROW):
            store(out, i, function(load(x, i, LANES_NARROW), load(y, i, LANES_NARROW)))

    @numba.njit(error_model="numpy")
    def two_wide(x, y, out):
        for i in range(0, x.size, LANES_WIDE):
            store(out, i, function(load(x, i, LANES_WIDE), load(y, i, LANES_WIDE)))

    return _run({1: one_narrow, 2: two_narrow} if narrow else {1: one_wide, 2: two_wide})


def _run(kernels: dict[int, Callable[..., None]]) -> Form:
    def run(*columns: Floats) -> Floats:
        out = np.empty(columns[0].size)
        kernels[len(columns)](*columns, out)
        return out

    return run
