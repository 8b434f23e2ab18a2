"""What can go wrong, and how it is said.

    HoldfastError
    ├── InputError            what was given cannot be used; also a ValueError
    ├── MissingLibraryError   an optional library is needed and absent; also an ImportError
    └── InvariantError        the engine broke a promise to itself: a bug, never the caller's fault

What lives here: the exception tree and the two assertions that stay on in production. What may not: refusals that are
part of normal work. Those are values, not exceptions.
"""

from typing import Any

_PROBLEMS = {
    "duplicate-line": "was given twice",
    "expired-future": "has expired",
    "expired-option": "has expired",
    "ledger-overflow": "does not fit in the ledger",
    "malformed": "cannot be read",
    "missing-field": "is missing",
    "missing-price": "has no price",
    "missing-volatility": "has no volatility",
    "negative-price": "must not be negative",
    "not-a-number": "is not a finite number",
    "off-lot-grid": "is not a whole number of lots",
    "out-of-range": "is outside what is allowed",
    "unknown-instrument": "is not an instrument this can name",
    "unknown-underlying": "is not an underlying of the market",
}
_VALUE_LENGTH_MAX = 80


class HoldfastError(Exception):
    """The root: catch it to catch everything that Holdfast raises on purpose."""


class InputError(HoldfastError, ValueError):
    """Something given from outside cannot be used.

    `str()` is one line: field, problem, value, what to do.

    Attributes:
        code: What is wrong, in kebab-case, stable between versions ("missing-price", "not-a-number").
        field: Where, as a path from what was given: `positions[3].quantity`.
        value: The offending value, None where something is absent.
        advice: What to do about it, as an imperative.
        problem: What is wrong, in words; by default the sentence that belongs to the code.
    """

    def __init__(self, code: str, field: str, value: object, advice: str, problem: str = "") -> None:
        self.code = code
        self.field = field
        self.value = value
        self.advice = advice
        self.problem = problem or _PROBLEMS.get(code, code.replace("-", " "))
        super().__init__(code, field, value, advice, self.problem)

    def __str__(self) -> str:
        given = "" if self.value is None else f": {_shortened(self.value)}"
        return " ".join(f"{self.field or 'input'}: {self.problem}{given}; {self.advice}".split())

    def within(self, path: str) -> "InputError":
        """The same error seen from further out: `path` is put before the field."""
        joint = "" if not path or not self.field or self.field.startswith("[") else "."
        return InputError(self.code, f"{path}{joint}{self.field}", self.value, self.advice, self.problem)


class MissingLibraryError(HoldfastError, ImportError):
    """A feature needs an optional library that is not installed; the text says how to install it."""


class InvariantError(HoldfastError):
    """A promise the engine makes to itself does not hold. Report it: no input may cause it."""


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _VALUE_LENGTH_MAX else f"{text[:_VALUE_LENGTH_MAX]}…"


def invariant(condition: bool, message: str) -> None:  # noqa: FBT001
    """Assert what must hold whatever the input, in production too.

    Args:
        condition: What must hold.
        message: What it means that it does not, with the values.

    Raises:
        InvariantError: `condition` is false.
    """
    if not condition:
        raise InvariantError(message)


def maybe(condition: Any) -> None:
    """Say that `condition` may hold or not, both being legal, so that a reader knows it was thought of."""
    invariant(condition in (True, False), f"maybe() takes a truth value, not {condition!r}")
