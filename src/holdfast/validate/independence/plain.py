"""The first engine's compiled source read as plain Python, so that a mutant of it runs without a compiler.

Theory of operation. Compiled code is Python that is decorated, calls intrinsics for plain memory and for registers, and
is otherwise ordinary. Here the decorators do nothing, a register is a NumPy array of its lanes, and plain memory is an
array's own elements. Every operation stays one IEEE operation in the same order, so the unmutated source gives the same
bits as the kernel; `engines` checks that before anything is planted. What compiled code would do at an index outside of
an array nobody knows; here it is an error.

What lives here: stand-ins for `holdfast.compilation`, `holdfast.margin.memory` and `holdfast.pricing.vectors`. What may
not: mutants.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast.pricing import vectors


def _same(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def _element(array: npt.NDArray[Any], index: int) -> Any:
    """Element `index` of a contiguous array, counted flat; whole numbers as Python's own, which do not overflow."""
    if index < 0:
        raise IndexError(f"element {index}")
    found = (array if array.ndim == 1 else array.reshape(-1))[index]
    return found if found.dtype.kind == "f" else int(found)


def _entry(array: npt.NDArray[Any], row: int, column: int) -> Any:
    if row < 0 or column < 0:
        raise IndexError(f"entry {row}, {column}")
    found = array[row, column]
    return found if found.dtype.kind == "f" else int(found)


def _put(array: npt.NDArray[Any], index: int, value: Any) -> None:
    if index < 0:
        raise IndexError(f"element {index}")
    (array if array.ndim == 1 else array.reshape(-1))[index] = value


def _load(array: npt.NDArray[Any], index: int, lanes: int) -> Any:
    flat = array if array.ndim == 1 else array.reshape(-1)
    if index < 0 or index + lanes > len(flat):
        raise IndexError(f"lanes {index} to {index + lanes} of {len(flat)}")
    return flat[index : index + lanes].copy()


def _store(array: npt.NDArray[Any], index: int, value: Any) -> None:
    flat = array if array.ndim == 1 else array.reshape(-1)
    if index < 0 or index + len(value) > len(flat):
        raise IndexError(f"lanes {index} to {index + len(value)} of {len(flat)}")
    flat[index : index + len(value)] = value


def _splat(value: float, lanes: int) -> Any:
    return np.full(lanes, value, np.float64)


def _lowest(value: Any) -> Any:
    return value.min()


def _nothing(*_ignored: Any) -> None:
    """What only a compiler hears."""


def stand_ins() -> dict[str, ModuleType]:
    """By name, the modules that take the place of what only a compiler understands."""
    compilation, memory = ModuleType("holdfast.compilation"), ModuleType("holdfast.margin.memory")
    registers = ModuleType("holdfast.pricing.vectors")
    vars(compilation).update(compiled=_same, inlined=_same, inlined_only=_same)
    vars(memory).update(
        borrowed=_same, keep_alive=_nothing, keep_rolled=_nothing, element=_element, entry=_entry, put=_put
    )
    vars(registers).update({name: value for name, value in vars(vectors).items() if not name.startswith("__")})
    vars(registers).update(load=_load, store=_store, splat=_splat, lowest=_lowest, real_function=_same)
    return {one.__name__: one for one in (compilation, memory, registers)}
