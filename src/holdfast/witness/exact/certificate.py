"""Whether a table of floats is the exact one, as far as floats can be.

What lives here: the comparison of claimed values with the table's. What may not: how the values come about.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite, ulp

from holdfast.witness.exact.intervals import ZERO, Number
from holdfast.witness.exact.table import Line, Table

Claim = tuple[float, Sequence[float]]
"""V0 and V[s] in the order of scenarios, then, or not, the two values of the basis contingency."""
TODAY = -1


@dataclass(frozen=True)
class Certificate:
    """How far claimed values are from the exact ones, beyond the bound on the exact ones themselves.

    Attributes:
        lines: How many lines were compared.
        values: How many values.
        ulps: The largest distance in spacings of doubles at the exact value; infinite for what is not finite.
        ulps_at: Its line and scenario, counted from 0; -1 is today, the basis values follow the scenarios.
        absolute: The largest distance in the numeraire.
        absolute_at: Its line and scenario.
        within: Whether every value is within the tolerance and no line is missing or beyond the table.
        problems: What is not, in words; at most 20.
    """

    lines: int
    values: int
    ulps: float
    ulps_at: tuple[str, int]
    absolute: float
    absolute_at: tuple[str, int]
    within: bool
    problems: tuple[str, ...]


_PROBLEMS_MAX = 20


def certify(table: Table, values: Mapping[str, Claim], *, tolerance: float = 1e-12, floor: float = 1e-6) -> Certificate:
    """Compare claimed values with the table.

    A relative error means nothing where a value is next to nothing, so it is taken of the exact value or of `floor`
    times the largest value of the line's underlying unit, whichever is larger (PRC-5 promises as much of an option).

    Args:
        table: The exact table.
        values: By line, V0 and V[s] as doubles.
        tolerance: Relative error that is allowed.
        floor: Part of the unit's scale below which errors are taken of that.
    """
    problems = [f"{each} is missing" for each in table.lines if each not in values]
    problems += [f"{each} has no line" for each in values if each not in table.lines]
    ulps = absolute = (-1.0, ("", TODAY))
    count = 0
    for name, claim in values.items():
        if name not in table.lines:
            continue
        allowed = Fraction(tolerance)
        least = allowed * Fraction(floor) * _scale(table, name)
        for scenario, claimed, number in _pairs(table.lines[name], claim, problems):
            count += 1
            distance = _distance(claimed, number)
            absolute = max(absolute, (float(distance), (name, scenario)), key=_first)
            ulps = max(ulps, (_in_ulps(distance, number), (name, scenario)), key=_first)
            if distance > least and distance > allowed * abs(number.value):
                problems.append(f"{name}, {_title(scenario)}: {claimed!r} is not {float(number.value)!r}")
    return Certificate(len(values), count, *ulps, *absolute, not problems, tuple(problems[:_PROBLEMS_MAX]))


def _first(found: tuple[float, tuple[str, int]]) -> float:
    return found[0]


def _title(scenario: int) -> str:
    return "today" if scenario == TODAY else f"scenario {scenario}"


def _pairs(line: Line, claim: Claim, problems: list[str]) -> Iterator[tuple[int, float, Number]]:
    """Scenario, claimed and exact value; a number of values that cannot be is a problem."""
    today, scenarios = claim
    yield TODAY, today, line.v0
    exact = line.v if len(scenarios) == len(line.v) else line.v + line.basis
    if len(scenarios) != len(exact):
        problems.append(f"{line.name}: {len(scenarios)} values, where the table has {len(line.v)} scenarios")
    yield from zip(range(len(exact)), scenarios, exact, strict=False)


def _scale(table: Table, name: str) -> Fraction:
    """Value of one unit's forward: of an option its coin's, of anything else its own."""
    contract = table.market.contracts.get(name)
    if contract is None or not contract.is_option:
        return abs(table.lines[name].v0.value)
    unit = table.market.value(contract.settlement)
    return unit if contract.is_inverse else unit * table.market.forward(contract)


def _distance(claimed: float, number: Number) -> Fraction | float:
    """What the claimed value is off by for certain; infinite for what is not finite."""
    if not isfinite(claimed):
        return float("inf")
    beyond = abs(Fraction(claimed) - number.value) - number.error
    return beyond if beyond > 0 else ZERO


def _in_ulps(distance: Fraction | float, number: Number) -> float:
    return float(distance) / ulp(float(number.value))
