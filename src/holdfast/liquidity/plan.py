"""The liquidation plan: the cheapest set of reductions after which an account's equity covers its target.

What lives here: `cheapest_plan`, and the rounds between the programme and the kernel. What may not: who is liquidated
and when, sending orders, a state. Normative: specs/liquidation-plan.md; derived in
docs/explanation/liquidation-plan.md.

Theory of operation. Two searches give candidates in whole lots. The *proportional* one takes the same part of every
line, the least that restores. The *programme* finds the cheapest reductions against planes that bound the requirement,
asks the kernel, and gets the planes that it missed, for a bounded number of rounds; its points are rounded up to lots,
mended, and trimmed. The kernel judges all candidates; the lightest that restores is the plan, so it is never heavier
than the proportional one. Where none restores, the plan is the one that leaves the least missing.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from holdfast.domain.errors import InputError, invariant
from holdfast.liquidity import trials
from holdfast.liquidity.books import Counts, Depth, Fees, Lots, Sheet, sheet_of
from holdfast.liquidity.cuts import cuts_at, owners_of
from holdfast.liquidity.programme import Programme
from holdfast.liquidity.trials import Trial
from holdfast.margin.account import Account
from holdfast.margin.table import Arrays, Floats, LineField, RiskTable

TARGET_RATIO = 1.05
"""Default target: equity of 1.05 times initial margin (LQP-2)."""
ROUNDS = 8
"""Most times that the programme is asked."""
TOLERANCE = 1e-5
"""Part of an account's scale within which programme and kernel agree."""


class Reduction(NamedTuple):
    """One line's part of a plan.

    Attributes:
        line: The line of the risk table.
        quantity: Change of the position, in the line's unit; of the opposite sign.
    """

    line: int
    quantity: float


class Plan(NamedTuple):
    """What to reduce, and what the kernel says of it.

    Attributes:
        reductions: Ascending by line; none where nothing is to be done or can be.
        cost: Slippage and fees against today's value, numeraire; below 0 where books are better than today's value.
        restores: Whether equity afterwards is at least target ratio × initial margin.
        surplus: Equity afterwards less target ratio × initial margin, numeraire.
        rounds: How often the programme was asked; 0 where the proportional search was enough.
    """

    reductions: tuple[Reduction, ...]
    cost: float
    restores: bool
    surplus: float
    rounds: int


class _Candidate(NamedTuple):
    """Lots [m] to take and what the kernel says of them."""

    lots: Counts
    trial: Trial


def _order(candidate: _Candidate) -> tuple[bool, float, float]:
    """Least first: what restores, by burden; then what does not, by what is missing."""
    surplus = candidate.trial.surplus
    return surplus < 0.0, max(0.0, -surplus), candidate.trial.burden


def cheapest_plan(
    table: RiskTable,
    account: Account,
    books: Mapping[int, Depth],
    *,
    fee_rate: Fees,
    target_ratio: float = TARGET_RATIO,
    lots: Lots | None = None,
) -> Plan:
    """The cheapest reductions that bring equity to `target_ratio` times initial margin (LQP-1 to LQP-13).

    Args:
        table: The risk table; initial margin is the margin kernel's on it.
        account: Positions ascending by line; cash − cost on asset lines. Open orders are taken to be cancelled.
        books: By line, the side that reduces the position: bids for a long one, asks for a short one. Lines without a
            book are not reduced, nor are assets.
        fee_rate: Fee per numeraire unit of value traded, 0 ≤ rate < 1, paid in the settlement asset: one, or one for
            each line with a book.
        target_ratio: ≥ 0.
        lots: Lots that differ from `instruments.lot`, by line.

    Returns:
        The plan. Its quantities are whole lots, or the whole position.

    Raises:
        InputError: The ratio, the fee rate, a book or a lot cannot be used, or the account has no finite margin.
    """
    if not 0.0 <= target_ratio < math.inf:
        raise InputError("out-of-range", "target_ratio", target_ratio, "give a finite ratio of at least 0")
    sheet = sheet_of(table, account, books, fee_rate, lots or {})
    nothing = _candidate(table.arrays, sheet, target_ratio, np.zeros(len(sheet.size), np.int64))
    if not math.isfinite(nothing.trial.surplus):
        advice = "look for quantities, prices or factors out of all proportion"
        raise InputError("out-of-range", "account", nothing.trial.surplus, advice, "has no finite margin")
    if nothing.trial.surplus >= 0.0 or not len(sheet.size):
        return _plan_of(sheet, nothing, 0)
    return _search(table.arrays, sheet, target_ratio, nothing)


def account_after(
    table: RiskTable,
    account: Account,
    books: Mapping[int, Depth],
    plan: Plan,
    *,
    fee_rate: Fees,
    lots: Lots | None = None,
) -> Account:
    """The account once a plan has been filled from the books it was made for.

    Args:
        table: The risk table.
        account: Before the plan.
        books: As given to `cheapest_plan`, as are `fee_rate` and `lots`.
        plan: The plan.
        fee_rate: Fee per numeraire unit of value traded.
        lots: Lots that differ from `instruments.lot`.

    Returns:
        Positions with a place for every asset that a reduction could be paid in.

    Raises:
        InputError: As for `cheapest_plan`.
    """
    sheet = sheet_of(table, account, books, fee_rate, lots or {})
    by_line = {reduction.line: abs(reduction.quantity) for reduction in plan.reductions}
    taken = np.array([by_line.get(line, 0.0) for line in sheet.line[sheet.position].tolist()], np.float64)
    quantity = np.empty(len(sheet.quantity))
    trials.reduced(sheet, taken, quantity)
    return Account(sheet.line, quantity)


def _search(arrays: Arrays, sheet: Sheet, ratio: float, nothing: _Candidate) -> Plan:
    """The best candidate of both searches."""
    proportional = _candidate(arrays, sheet, ratio, trials.towards_everything(arrays, sheet, ratio, nothing.lots))
    if len(sheet.size) == 1 and proportional.trial.surplus >= 0.0:
        return _plan_of(sheet, _trimmed(arrays, sheet, ratio, proportional), 0)
    points, converged = _points(arrays, sheet, ratio, nothing.trial.surplus)
    found = [_in_lots(arrays, sheet, ratio, taken) for taken in (points[-1:] if converged else points)]
    best = min([nothing, proportional, *found], key=_order)
    return _plan_of(sheet, _trimmed(arrays, sheet, ratio, best), len(points))


def _points(arrays: Arrays, sheet: Sheet, ratio: float, surplus: float) -> tuple[list[Floats], bool]:
    """The programme's reductions [m] of each round, and whether the kernel agrees with the last one.

    Args:
        arrays: The table.
        sheet: Lines and levels.
        ratio: Of equity to initial margin.
        surplus: Without reductions, numeraire.
    """
    equity = float((sheet.quantity * arrays.lines[sheet.line, LineField.TODAY]).sum())
    scale = max(abs(equity), abs(surplus))
    programme = Programme(sheet, owners_of(arrays, sheet), equity, ratio, scale)
    points: list[Floats] = []
    taken, quantity = np.zeros(len(sheet.size)), sheet.quantity.copy()
    for _ in range(ROUNDS):
        cuts = cuts_at(arrays, sheet, quantity, scale)
        programme.drop_what_is_wrong(taken, cuts.other)
        programme.add(cuts, taken)
        solved = programme.solve()
        if solved is None:
            break
        taken, missing = solved
        points.append(taken)
        if abs(trials.trial(arrays, sheet, ratio, taken)[0] + missing) <= TOLERANCE * scale:
            return points, True
        trials.reduced(sheet, taken, quantity)
    return points, False


def _in_lots(arrays: Arrays, sheet: Sheet, ratio: float, taken: Floats) -> _Candidate:
    """Reductions [m] rounded up to lots, mended if that broke them, else extended towards everything."""
    lots = trials.whole_lots(sheet, taken)
    near = _candidate(arrays, sheet, ratio, trials.repaired(arrays, sheet, ratio, lots))
    if near.trial.surplus >= 0.0:
        return near
    further = _candidate(arrays, sheet, ratio, trials.towards_everything(arrays, sheet, ratio, lots))
    return min(near, further, key=_order)


def _trimmed(arrays: Arrays, sheet: Sheet, ratio: float, found: _Candidate) -> _Candidate:
    return _candidate(arrays, sheet, ratio, trials.trimmed(arrays, sheet, ratio, found.lots))


def _candidate(arrays: Arrays, sheet: Sheet, ratio: float, lots: Counts) -> _Candidate:
    return _Candidate(lots, Trial(*trials.trial_of_lots(arrays, sheet, ratio, lots)))


def _plan_of(sheet: Sheet, chosen: _Candidate, rounds: int) -> Plan:
    """The plan of a candidate, its promises checked."""
    taken = trials.quantities(sheet, chosen.lots)
    reductions = []
    for i in np.flatnonzero(taken > 0.0).tolist():
        invariant(
            taken[i] <= sheet.size[i], f"a reduction of {taken[i]} is larger than the position of {sheet.size[i]}"
        )
        reductions.append(Reduction(int(sheet.line[sheet.position[i]]), float(-sheet.sign[i] * taken[i])))
    surplus, _burden, cost = chosen.trial
    return Plan(tuple(reductions), cost, surplus >= 0.0, surplus, rounds)
