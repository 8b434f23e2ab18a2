"""Vectors of float64 lanes for Numba kernels, and the few operations on them that IEEE 754 fixes exactly.

Theory of operation. The auto-vectoriser of LLVM leaves the loops of this engine scalar, or vectorises them differently
on different processors. `Vector(n)` is a Numba type that *is* an LLVM vector of n doubles: LLVM splits it into whatever
registers the target has (four AVX-512 registers, eight AVX, sixteen SSE for 32 lanes) and every lane is computed by the
same IEEE operation in the same order. So the bits do not depend on the processor, which is law 2 of the design.

What lives here: loads and stores, + − × ÷, square root, minimum, maximum, comparison, selection, and the two
manipulations of the exponent that `exp` and `log` need. Nothing that contracts (no fused multiply-add: its twin in
NumPy would differ), nothing approximate, no reassociation. `minimum` and `maximum` are a comparison and a selection, so
a NaN never meets an instruction whose answer differs between targets; callers keep NaN out.

Every function also has a scalar form under Numba and a plain NumPy form outside it: one source, decorated
`real_function`, serves a vector, a float and, called plainly, an array that a reader can check.
"""

import operator
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir
from numba.core import cgutils, extending, types
from numba.core.extending import models, overload, register_jitable, register_model

LANES_WIDE = 32
"""Lanes that one pass of the margin kernel keeps in registers: four vectors of the widest hardware."""
LANES_NARROW = 8
"""Lanes of one register of the widest hardware; scenario counts are padded to a multiple of it."""

Real: TypeAlias = Any
"""A float, an array of floats, or inside a kernel a Vector."""

_DOUBLE, _INT32, _INT64 = ir.DoubleType(), ir.IntType(32), ir.IntType(64)
_SIGNIFICAND_BITS = 52
_EXPONENT_BIAS = 1023
_ROUND_TO_INTEGER = 1.5 * 2.0**52
"""Adding this to |x| < 2**51 leaves round-half-even(x) in the low bits of the sum."""
_ONE_EXPONENT = 0x3FF0000000000000
_SIGNIFICAND_MASK = 0x000FFFFFFFFFFFFF
_TWO_TO_52_EXPONENT = 0x4330000000000000


class Vector(types.Type):
    """The Numba type of `lanes` doubles held in registers."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"Vector({lanes})")


class Mask(types.Type):
    """The Numba type of `lanes` truth values, the result of comparing vectors."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"Mask({lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, frontend: Vector) -> None:
        super().__init__(manager, frontend, _vector_type(frontend.lanes))


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, frontend: Mask) -> None:
        super().__init__(manager, frontend, ir.VectorType(ir.IntType(1), frontend.lanes))


def _vector_type(lanes: int) -> ir.VectorType:
    return ir.VectorType(_DOUBLE, lanes)


def _integers_type(lanes: int) -> ir.VectorType:
    return ir.VectorType(_INT64, lanes)


def _constant(lanes: int, value: float) -> ir.Constant:
    return ir.Constant(_vector_type(lanes), [value] * lanes)


def _integer_constant(lanes: int, value: int) -> ir.Constant:
    return ir.Constant(_integers_type(lanes), [value] * lanes)


def _broadcast(builder: ir.IRBuilder, scalar: ir.Value, lanes: int) -> ir.Value:
    undefined = ir.Constant(_vector_type(lanes), ir.Undefined)
    first = builder.insert_element(undefined, scalar, _INT32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_INT32, lanes), [0] * lanes))


def _is_scalar(t: types.Type) -> bool:
    return isinstance(t, types.Float | types.Integer)


intrinsic: Callable[..., Callable[..., Any]] = extending.intrinsic
"""Numba's decorator; its own annotation describes the definition of an intrinsic, not the call that kernels write."""
real_function = register_jitable(error_model="numpy")
"""The decorator of a function over `Real`.

What it decorates stays a plain Python function, so that calling it with floats or arrays runs NumPy: the twin that a
reader can check, through all the functions it calls. Inside a Numba kernel the same source is compiled for the float64
and Vector arguments it meets there. (`numba.njit` would not do: the plain form of one function would call the compiled
form of the next.)
"""


@intrinsic(prefer_literal=True)
def splat(context: Any, value: Any, lanes: Any) -> Any:
    """`value` in every lane."""
    count = lanes.literal_value

    def generate(cx: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _broadcast(builder, args[0], count)

    return Vector(count)(types.float64, lanes), generate


@intrinsic(prefer_literal=True)
def load(context: Any, array: Any, index: Any, lanes: Any) -> Any:
    """The `lanes` consecutive doubles of a flat contiguous array from element `index` on. Not bounds-checked."""
    count = lanes.literal_value

    def generate(cx: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = cx.make_array(signature.args[0])(cx, builder, args[0]).data
        pointer = builder.bitcast(builder.gep(data, [args[1]]), _vector_type(count).as_pointer())
        return builder.load(pointer, align=8)

    return Vector(count)(array, types.int64, lanes), generate


@intrinsic(prefer_literal=True)
def store(context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write the lanes of `value` to a flat contiguous array from element `index` on. Not bounds-checked."""

    def generate(cx: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = cx.make_array(signature.args[0])(cx, builder, args[0]).data
        pointer = builder.bitcast(builder.gep(data, [args[1]]), _vector_type(value.lanes).as_pointer())
        builder.store(args[2], pointer, align=8)
        return cx.get_dummy_value()

    return types.void(array, types.int64, value), generate


def _lift(builder: Any, value: Any, kind: Any, lanes: int) -> Any:
    """A vector operand as it is, a scalar operand in every lane."""
    return value if isinstance(kind, Vector) else _broadcast(builder, value, lanes)


def _operation(emit: Callable[[Any, Any, Any], Any], result: Callable[[int], types.Type]) -> Any:
    """An intrinsic of two operands, at least one of them a Vector, that emits one LLVM instruction."""

    @intrinsic
    def operation(context: Any, left: Any, right: Any) -> Any:
        lanes = left.lanes if isinstance(left, Vector) else right.lanes
        operand = [t if isinstance(t, Vector) else types.float64 for t in (left, right)]

        def generate(cx: Any, builder: Any, signature: Any, args: Any) -> Any:
            lifted = (_lift(builder, a, t, lanes) for a, t in zip(args, operand, strict=True))
            return emit(builder, *lifted)

        return result(lanes)(*operand), generate

    return operation


def _overload_operator(function: Any, operation: Any) -> None:
    @overload(function, strict=False)
    def overloaded(left: Any, right: Any) -> Any:
        vectors = isinstance(left, Vector) or isinstance(right, Vector)
        if vectors and all(isinstance(t, Vector) or _is_scalar(t) for t in (left, right)):
            return lambda left, right: operation(left, right)
        return None


for _function, _emit in (
    (operator.add, lambda b, x, y: b.fadd(x, y)),
    (operator.sub, lambda b, x, y: b.fsub(x, y)),
    (operator.mul, lambda b, x, y: b.fmul(x, y)),
    (operator.truediv, lambda b, x, y: b.fdiv(x, y)),
):
    _overload_operator(_function, _operation(_emit, Vector))


def _comparison(symbol: str) -> Callable[[Any, Any, Any], Any]:
    return lambda b, x, y: b.fcmp_ordered(symbol, x, y)


for _function, _symbol in ((operator.gt, ">"), (operator.lt, "<"), (operator.ge, ">="), (operator.le, "<=")):
    _overload_operator(_function, _operation(_comparison(_symbol), Mask))


@intrinsic
def _select_lanes(context: Any, condition: Any, chosen: Any, otherwise: Any) -> Any:
    lanes = condition.lanes
    operand = [t if isinstance(t, Vector) else types.float64 for t in (chosen, otherwise)]

    def generate(cx: Any, builder: Any, signature: Any, args: Any) -> Any:
        lifted = [_lift(builder, a, t, lanes) for a, t in zip(args[1:], operand, strict=True)]
        return builder.select(args[0], *lifted)

    return Vector(lanes)(condition, *operand), generate


@intrinsic
def _sqrt_lanes(context: Any, value: Any) -> Any:
    def generate(cx: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = _vector_type(value.lanes)
        root = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [kind]), f"llvm.sqrt.v{value.lanes}f64"
        )
        return builder.call(root, args)

    return value(value), generate


@intrinsic
def lowest(context: Any, value: Any) -> Any:
    """The smallest lane of a Vector without NaN. The order of comparison cannot change a minimum (−0 was made 0)."""

    def generate(cx: Any, builder: Any, signature: Any, args: Any) -> Any:
        current, lanes = args[0], value.lanes
        while lanes > 1:
            lanes //= 2
            halves = [
                builder.shuffle_vector(
                    current,
                    ir.Constant(_vector_type(lanes * 2), ir.Undefined),
                    ir.Constant(ir.VectorType(_INT32, lanes), list(range(start, start + lanes))),
                )
                for start in (0, lanes)
            ]
            current = builder.select(builder.fcmp_ordered("<", halves[1], halves[0]), halves[1], halves[0])
        return builder.extract_element(current, _INT32(0))

    return types.float64(value), generate


def select(condition: Real, chosen: Real, otherwise: Real) -> Real:
    """`chosen` where `condition` holds, else `otherwise`; both are evaluated."""
    return np.where(condition, chosen, otherwise)


@overload(select, strict=False)
def _select(condition: Any, chosen: Any, otherwise: Any) -> Any:
    if isinstance(condition, Mask):
        return lambda condition, chosen, otherwise: _select_lanes(condition, chosen, otherwise)
    return lambda condition, chosen, otherwise: chosen if condition else otherwise


def square_root(value: Real) -> Real:
    """The correctly rounded square root of a value ≥ 0."""
    return np.sqrt(value)


@overload(square_root, strict=False)
def _square_root(value: Any) -> Any:
    if isinstance(value, Vector):
        return lambda value: _sqrt_lanes(value)
    return lambda value: np.sqrt(value)


def minimum(left: Real, right: Real) -> Real:
    """The smaller of two values; `left` when they are equal."""
    return np.where(np.less(right, left), right, left)


@overload(minimum, strict=False)
def _minimum(left: Any, right: Any) -> Any:
    return lambda left, right: select(right < left, right, left)


def maximum(left: Real, right: Real) -> Real:
    """The larger of two values; `left` when they are equal."""
    return np.where(np.greater(right, left), right, left)


@overload(maximum, strict=False)
def _maximum(left: Any, right: Any) -> Any:
    return lambda left, right: select(right > left, right, left)


def nearest_integer(value: Real) -> Real:
    """round-half-even(value) as a float, for |value| < 2**51."""
    return (value + _ROUND_TO_INTEGER) - _ROUND_TO_INTEGER


@overload(nearest_integer, strict=False)
def _nearest_integer(value: Any) -> Any:
    return lambda value: (value + _ROUND_TO_INTEGER) - _ROUND_TO_INTEGER


def two_to_the(power: Real) -> Real:
    """2**power exactly, for an integral float −1022 ≤ power ≤ 1023."""
    bits = (np.asarray(power, np.float64) + _ROUND_TO_INTEGER).view(np.int64)
    return ((bits + _EXPONENT_BIAS) << _SIGNIFICAND_BITS).view(np.float64)


@intrinsic
def _two_to_the_lanes(context: Any, power: Any) -> Any:
    lanes = power.lanes if isinstance(power, Vector) else 0
    result = power if lanes else types.float64

    def generate(cx: Any, builder: Any, signature: Any, args: Any) -> Any:
        if lanes:
            shifted = builder.bitcast(builder.fadd(args[0], _constant(lanes, _ROUND_TO_INTEGER)), _integers_type(lanes))
            biased = builder.add(shifted, _integer_constant(lanes, _EXPONENT_BIAS))
            return builder.bitcast(
                builder.shl(biased, _integer_constant(lanes, _SIGNIFICAND_BITS)), _vector_type(lanes)
            )
        shifted = builder.bitcast(builder.fadd(args[0], _DOUBLE(_ROUND_TO_INTEGER)), _INT64)
        biased = builder.add(shifted, _INT64(_EXPONENT_BIAS))
        return builder.bitcast(builder.shl(biased, _INT64(_SIGNIFICAND_BITS)), _DOUBLE)

    return result(result), generate


@overload(two_to_the, strict=False)
def _two_to_the(power: Any) -> Any:
    return lambda power: _two_to_the_lanes(power)


def exponent(value: Real) -> Real:
    """floor(log2(value)) as a float, for a positive normal value."""
    bits = np.asarray(value, np.float64).view(np.int64) >> _SIGNIFICAND_BITS
    return (bits | _TWO_TO_52_EXPONENT).view(np.float64) - (2.0**52 + _EXPONENT_BIAS)


def significand(value: Real) -> Real:
    """Value / 2**exponent(value), in [1, 2), for a positive normal value."""
    bits = np.asarray(value, np.float64).view(np.int64)
    return ((bits & _SIGNIFICAND_MASK) | _ONE_EXPONENT).view(np.float64)


@intrinsic
def _exponent_lanes(context: Any, value: Any) -> Any:
    lanes = value.lanes if isinstance(value, Vector) else 0
    result = value if lanes else types.float64

    def generate(cx: Any, builder: Any, signature: Any, args: Any) -> Any:
        if lanes:
            bits = builder.lshr(
                builder.bitcast(args[0], _integers_type(lanes)), _integer_constant(lanes, _SIGNIFICAND_BITS)
            )
            number = builder.bitcast(
                builder.or_(bits, _integer_constant(lanes, _TWO_TO_52_EXPONENT)), _vector_type(lanes)
            )
            return builder.fsub(number, _constant(lanes, 2.0**52 + _EXPONENT_BIAS))
        bits = builder.lshr(builder.bitcast(args[0], _INT64), _INT64(_SIGNIFICAND_BITS))
        number = builder.bitcast(builder.or_(bits, _INT64(_TWO_TO_52_EXPONENT)), _DOUBLE)
        return builder.fsub(number, _DOUBLE(2.0**52 + _EXPONENT_BIAS))

    return result(result), generate


@intrinsic
def _significand_lanes(context: Any, value: Any) -> Any:
    lanes = value.lanes if isinstance(value, Vector) else 0
    result = value if lanes else types.float64

    def generate(cx: Any, builder: Any, signature: Any, args: Any) -> Any:
        if lanes:
            bits = builder.bitcast(args[0], _integers_type(lanes))
            bits = builder.and_(bits, _integer_constant(lanes, _SIGNIFICAND_MASK))
            return builder.bitcast(builder.or_(bits, _integer_constant(lanes, _ONE_EXPONENT)), _vector_type(lanes))
        bits = builder.and_(builder.bitcast(args[0], _INT64), _INT64(_SIGNIFICAND_MASK))
        return builder.bitcast(builder.or_(bits, _INT64(_ONE_EXPONENT)), _DOUBLE)

    return result(result), generate


@overload(exponent, strict=False)
def _exponent(value: Any) -> Any:
    return lambda value: _exponent_lanes(value)


@overload(significand, strict=False)
def _significand(value: Any) -> Any:
    return lambda value: _significand_lanes(value)
