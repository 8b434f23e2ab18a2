"""How the margin kernel reads its arrays: as plain memory.

Numba's arrays can be indexed from the end, and their references are counted. In loops of a few nanoseconds both cost
more than the arithmetic. What lives here takes them away, for compiled code whose indices were validated before.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from holdfast.pricing.vectors import intrinsic


def _without_owner(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.Array):
        view = context.make_array(kind)(context, builder, value)
        view.meminfo, view.parent = ir.Constant(view.meminfo.type, None), ir.Constant(view.parent.type, None)
        return view._getvalue()
    for n, part in enumerate(kind):
        stripped = _without_owner(context, builder, part, builder.extract_value(value, n))
        value = builder.insert_value(value, stripped, n)
    return value


@intrinsic
def borrowed(_typing: Any, arrays: Any) -> Any:
    """An array, or a tuple of arrays, whose references are not counted.

    The owner must outlive every use. A caller's argument does; for what a function made itself, see `keep_alive`.
    """

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return _without_owner(context, builder, arrays, args[0])

    return arrays(arrays), generate


@intrinsic
def keep_alive(_typing: Any, array: Any) -> Any:
    """Hold an array that this function made until here: Numba lets go of it after the last mention of its name."""

    def generate(context: Any, _builder: Any, _signature: Any, _args: Any) -> Any:
        return context.get_dummy_value()

    return types.void(array), generate


@intrinsic
def element(_typing: Any, array: Any, _index: Any) -> Any:
    """Element `index` ≥ 0 of a contiguous array of any rank, counted flat. Not bounds-checked."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.load(builder.gep(data, [args[1]]))

    return array.dtype(array, types.int64), generate


@intrinsic
def entry(_typing: Any, array: Any, _row: Any, _column: Any) -> Any:
    """An element of a two-dimensional array, in whichever order it lies, at indices ≥ 0. Not bounds-checked."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.args[0]
        table = context.make_array(kind)(context, builder, args[0])
        return builder.load(cgutils.get_item_pointer(context, builder, kind, table, args[1:], wraparound=False))

    return array.dtype(array, types.int64, types.int64), generate


@intrinsic
def put(_typing: Any, array: Any, _index: Any, _value: Any) -> Any:
    """Write element `index` ≥ 0 of a contiguous array of any rank, counted flat. Not bounds-checked."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        builder.store(args[2], builder.gep(data, [args[1]]))
        return context.get_dummy_value()

    return types.void(array, types.int64, array.dtype), generate


@intrinsic
def keep_rolled(_typing: Any) -> Any:
    """Forbid the compiler to unroll the loop around this call; emits no instruction. For loops that run a few times."""

    def generate(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
        nothing = ir.InlineAsm(ir.FunctionType(ir.VoidType(), []), "", "", side_effect=True)
        builder.call(nothing, [], attrs=("convergent",))
        return context.get_dummy_value()

    return types.void(), generate
