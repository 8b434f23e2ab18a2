"""The planted error: table values of one underlying are a factor off, in this process only.

What may not live here: when it is planted.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from holdfast.core import marks
from holdfast.margin.build import build_table
from holdfast.margin.table import LineField, RiskTable

FACTOR: Final = 0.99
UNDERLYING: Final = "BTC"

Builder = Callable[..., RiskTable]


def lines_on(table: RiskTable, underlying: str) -> npt.NDArray[np.int64]:
    """The lines of the contracts on an underlying, ascending."""
    found = [
        line for line, instrument in enumerate(table.instruments) if instrument and instrument.underlying == underlying
    ]
    return np.array(found, np.int64)


def spoiled(table: RiskTable) -> RiskTable:
    """The table with the values of the underlying's contracts, today and in every scenario, times `FACTOR`."""
    lines = lines_on(table, UNDERLYING)
    table.arrays.values[lines] *= FACTOR
    table.arrays.today[lines] *= FACTOR
    table.arrays.lines[lines, LineField.TODAY] *= FACTOR
    return table


def plant(is_on: Callable[[], bool]) -> None:
    """From now on tables are spoiled whenever they are built while `is_on` says so."""

    def build(*arguments: Any) -> RiskTable:
        table = build_table(*arguments)
        return spoiled(table) if is_on() else table

    _set_builder(build)


def _set_builder(builder: Builder) -> None:
    vars(marks)["build_table"] = builder


@contextlib.contextmanager
def planted(is_on: Callable[[], bool]) -> Iterator[None]:
    """`plant` for as long as the block runs."""
    plant(is_on)
    try:
        yield
    finally:
        _set_builder(build_table)
