"""What a conformance case is, how its file is read, and how two numbers are compared.

What lives here: the reading of case files, the recognition of a case's kind, and the comparisons that adapters build
their checks from. What may not: anything of a model or a venue (adapters), the running and counting (runner).
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import msgspec

from holdfast.domain.errors import InputError

RawCase: TypeAlias = Mapping[str, Any]
"""A case as its file gives it."""

UNRECOGNISED = "unrecognised"
"""Kind under which cases without a kind and of no known shape are counted."""
NUDGE = Fraction(1, 10**12)
"""Relative error by which a computed value may fall short of the boundary that the exact one reaches."""

_RELATIVE = re.compile(r"(?P<number>\d+(\.\d+)?(e[+-]?\d+)?)\s*(?P<percent>%)?\s*relative", re.IGNORECASE)
_TRUNCATED = "after truncation toward zero"


class Unsupported(Exception):  # noqa: N818 -- a verdict about a case, not an error
    """A case that no production function computes yet.

    Attributes:
        kind: What is not supported, as it is counted in the report.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(f"unsupported kind of case: {kind}")


class Case(msgspec.Struct, frozen=True):
    """One published case.

    Attributes:
        id: Name of the case, for the reader of a report only.
        kind: What chooses its adapter.
        file: Where it was read.
        raw: All its members.
    """

    id: str
    kind: str
    file: str
    raw: RawCase


class Check(msgspec.Struct, frozen=True):
    """One expected value beside the one computed.

    Attributes:
        quantity: What is compared ("initial margin").
        expected: The published value.
        actual: The computed value.
        passed: Whether they agree, by the comparison that made the check.
    """

    quantity: str
    expected: Any
    actual: Any
    passed: bool


class Evaluation(msgspec.Struct, frozen=True):
    """The result of a case.

    Attributes:
        path: Dotted path of the production function that computed it.
        checks: In the order in which a reader should hear of a failure.
    """

    path: str
    checks: tuple[Check, ...]


Adapter: TypeAlias = Callable[[RawCase], Evaluation]
"""Turns a raw case into calls of production functions. What it raises fails the case, but for `Unsupported`."""


def path_of(function: Callable[..., Any]) -> str:
    """The dotted path of a function as it is imported, asked of the function itself so that a report cannot err."""
    plain = getattr(function, "py_func", function)  # A compiled kernel knows the function it was compiled from.
    name = getattr(plain, "__qualname__", type(plain).__qualname__)
    return f"{plain.__module__}.{name}"


def _has_object(member: str) -> Callable[[RawCase], bool]:
    return lambda raw: isinstance(raw.get(member), Mapping)


SHAPES: tuple[tuple[str, Callable[[RawCase], bool]], ...] = (
    ("derive_srm", _has_object("markets")),
    ("derive_pmrm2", _has_object("scenario")),
)
"""Kinds of the cases that name none, each with what it is recognised by; the first that matches counts."""


def kind_of(raw: RawCase) -> str:
    """The kind of a case: the one it names, else the first shape that it has, else `UNRECOGNISED`."""
    if raw.get("kind") is not None:
        return str(raw["kind"])
    return next((kind for kind, has_shape in SHAPES if has_shape(raw)), UNRECOGNISED)


def read_cases(path: Path) -> tuple[Case, ...]:
    """Read a case file.

    Args:
        path: A file of JSON: a list of objects with `id` and `expected`.

    Returns:
        Its cases, in its order, at least one.

    Raises:
        InputError: The file cannot be read, is not JSON, is not such a list, or is empty.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise _malformed(path, "", "cannot be read", str(error), "check the path and its permissions") from error
    except (ValueError, RecursionError) as error:
        raise _malformed(path, "", "is not JSON", str(error), "give a JSON list of cases") from error
    if not isinstance(content, list) or not content:
        problem = "holds no case" if content == [] else "is not a list"
        raise _malformed(path, "", problem, type(content).__name__, "give a JSON list of at least one case")
    return tuple(_case(path, index, raw) for index, raw in enumerate(content))


def _case(path: Path, index: int, raw: object) -> Case:
    if not isinstance(raw, dict):
        raise _malformed(path, f"[{index}]", "is not an object", raw, "give each case as a JSON object")
    identifier = raw.get("id")
    if not isinstance(identifier, str) or not identifier:
        raise _malformed(path, f"[{index}].id", "is not a text", identifier, "name every case")
    if "expected" not in raw:
        raise _malformed(path, f"[{index}].expected", "is missing", identifier, "state what the case expects")
    return Case(id=identifier, kind=kind_of(raw), file=str(path), raw=raw)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _malformed(path: Path, place: str, problem: str, value: object, advice: str) -> InputError:
    return InputError("malformed", f"{path}{place}", value, advice, problem)


def exact(quantity: str, expected: Any, actual: Any) -> Check:
    """A check that passes on equality; a truth value never equals a number, lists compare element by element."""
    return Check(quantity, expected, actual, _equal(expected, actual))


def near(quantity: str, expected: float, actual: float, *, relative: float = 0.0, absolute: float = 0.0) -> Check:
    """A check that passes if |actual − expected| ≤ max(relative · |expected|, absolute).

    Args:
        quantity: What is compared.
        expected: Published value.
        actual: Computed value, in the same unit.
        relative: Bound as a fraction of the expected value.
        absolute: Bound in the unit of the value; also the floor under the relative bound.

    Returns:
        The check; not passed if either value is not a finite number.
    """
    passed = _finite(expected) and _finite(actual) and abs(actual - expected) <= max(relative * abs(expected), absolute)
    return Check(quantity, expected, actual, passed)


def truncated(quantity: str, expected: float, actual: float, decimals: int = 0) -> Check:
    """A check that passes if `actual`, truncated towards zero at a decimal, is `expected`.

    The comparison is exact, and both numbers count as the decimals they print as. A value that falls short of a
    boundary by a rounding error, up to a relative 1e-12, is accepted. One that reaches the next boundary is not: it may
    be a unit wrong.

    Args:
        quantity: What is compared.
        expected: Published value, itself already truncated.
        actual: Computed value, in the same unit.
        decimals: Digits kept after the point; −3 keeps thousands.

    Returns:
        The check; not passed if either value is not a finite number.
    """
    if not (_finite(expected) and _finite(actual)):
        return Check(quantity, expected, actual, passed=False)
    scale = Fraction(10) ** decimals
    wanted = Fraction(str(expected)) * scale
    reached = (math.trunc(Fraction(str(actual)) * factor * scale) for factor in (1, 1 + NUDGE))
    return Check(quantity, expected, actual, any(value == wanted for value in reached))


class Tolerance(msgspec.Struct, frozen=True):
    """How close a computed number has to be; all zero asks for equality.

    Attributes:
        relative: Bound as a fraction of the expected value.
        absolute: Bound in the unit of the value; also the floor under the relative bound.
        decimals: Where set, digits after the point at which the expected value was truncated; the bounds do not count.
    """

    relative: float = 0.0
    absolute: float = 0.0
    decimals: int | None = None

    def check(self, quantity: str, expected: float, actual: float) -> Check:
        """The check of one number by this tolerance."""
        if self.decimals is not None:
            return truncated(quantity, expected, actual, self.decimals)
        return near(quantity, expected, actual, relative=self.relative, absolute=self.absolute)


def stated_tolerance(raw: RawCase, default: Tolerance) -> Tolerance:
    """The tolerance that a case states in `tolerance`, in the forms that case files use.

    Args:
        raw: The case.
        default: What applies where the case states none.

    Returns:
        The tolerance: a number is an absolute bound, "0.1% relative" a relative one, "exact after truncation toward
        zero" truncation to a whole number.

    Raises:
        InputError: The text is none of these, or the number is negative or not finite.
    """
    stated = raw.get("tolerance")
    if stated is None:
        return default
    if _finite(stated) and stated >= 0:
        return Tolerance(absolute=float(stated))
    text = stated if isinstance(stated, str) else ""
    if match := _RELATIVE.search(text):
        return Tolerance(relative=float(match["number"]) * (0.01 if match["percent"] else 1.0))
    if _TRUNCATED in text:
        return Tolerance(decimals=0)
    raise InputError(
        "malformed", "tolerance", stated, "give a number, '1e-8 relative' or 'exact after truncation toward zero'"
    )


def _equal(expected: Any, actual: Any) -> bool:
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        return expected.keys() == actual.keys() and all(_equal(expected[key], actual[key]) for key in expected)
    if _is_list(expected) and _is_list(actual):
        return len(expected) == len(actual) and all(map(_equal, expected, actual))
    return isinstance(expected, bool) is isinstance(actual, bool) and bool(expected == actual)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _finite(value: Any) -> bool:
    """Whether `value` is a number (not a truth value) other than NaN and the infinities."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int | Fraction) or (isinstance(value, float) and math.isfinite(value))
