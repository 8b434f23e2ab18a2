"""Trying reductions on the margin kernel: what is left after them, and the search in whole lots around a good guess.

Theory of operation. A trial takes quantities out of lines through the levels of their books, pays the proceeds into the
settlement assets, and asks the kernel for equity and initial margin. `surplus` is equity less target ratio × initial
margin; a plan restores where it is not below 0. All searches judge by trials, never by a formula of the requirement. A
trial costs about a microsecond, so a plan may use hundreds.

`reduced` says what taking means; everything else in this room goes through it.
"""

from typing import NamedTuple

import numpy as np

from holdfast.compilation import compiled
from holdfast.liquidity.books import Counts, Sheet
from holdfast.margin import kernel
from holdfast.margin.columns import INITIAL
from holdfast.margin.table import COMPONENTS, MARGIN_FIELDS, Arrays, Floats

EIGHTHS = 8
"""Parts of the way at which a search looks before it bisects, for surpluses that do not only grow along the way."""
BISECTIONS = 40


class Trial(NamedTuple):
    """What a trial says, in the numeraire.

    Attributes:
        surplus: Equity less target ratio × initial margin.
        burden: What the plan minimises.
        cost: Slippage and fees against today's value.
    """

    surplus: float
    burden: float
    cost: float


@compiled
def reduced(sheet: Sheet, taken: Floats, quantity: Floats) -> tuple[float, float]:
    """Write the quantities after reductions of `taken` [m] to `quantity` [n]; returns (burden, cost)."""
    burden, cost = 0.0, 0.0
    quantity[:] = sheet.quantity
    for i in range(len(taken)):
        left, received = taken[i], 0.0
        if left <= 0.0:
            continue
        value = sheet.sign[i] * sheet.today[i]
        last = sheet.first[i + 1] - 1
        for k in range(sheet.first[i], last + 1):
            part = left if k == last else min(left, sheet.depth[k])
            received += part * (value - sheet.loss[k])
            cost += part * sheet.loss[k]
            burden += part * sheet.burden[k]
            left -= part
            if left <= 0.0:
                break
        quantity[sheet.position[i]] -= sheet.sign[i] * taken[i]
        quantity[sheet.cash[i]] += received / sheet.coin[i]
    return burden, cost


@compiled
def trial(arrays: Arrays, sheet: Sheet, ratio: float, taken: Floats) -> tuple[float, float, float]:
    """Surplus, burden and cost of reductions of `taken` [m], numeraire."""
    quantity, out = np.empty(len(sheet.quantity)), np.empty(MARGIN_FIELDS)
    burden, cost = reduced(sheet, taken, quantity)
    kernel.account(arrays, sheet.line, quantity, 0, len(quantity), out)
    initial = 0.0
    for component in range(COMPONENTS):
        initial += out[INITIAL + component]
    return out[0] - ratio * initial, burden, cost


@compiled
def quantities(sheet: Sheet, lots: Counts) -> Floats:
    """[m] what whole lots are in the lines' units, never more than the position."""
    taken = np.empty(len(lots))
    for i in range(len(lots)):
        taken[i] = min(lots[i] * sheet.lot[i, 0] / sheet.lot[i, 1], sheet.size[i])
    return taken


@compiled
def trial_of_lots(arrays: Arrays, sheet: Sheet, ratio: float, lots: Counts) -> tuple[float, float, float]:
    """`trial` of whole lots [m]."""
    return trial(arrays, sheet, ratio, quantities(sheet, lots))


@compiled
def whole_lots(sheet: Sheet, taken: Floats) -> Counts:
    """[m] reductions rounded up to whole lots, within what may be taken."""
    lots = np.empty(len(taken), np.int64)
    for i in range(len(taken)):
        count = int(np.ceil(taken[i] * sheet.lot[i, 1] / sheet.lot[i, 0] - 1e-6))
        lots[i] = min(max(count, 0), sheet.lots[i])
    return lots


@compiled
def _between(sheet: Sheet, lots: Counts, part: float) -> Counts:
    """Whole lots a part of the way from `lots` to everything that may be taken."""
    further = lots.copy()
    for i in range(len(lots)):
        further[i] = min(sheet.lots[i], lots[i] + int(np.ceil(part * (sheet.lots[i] - lots[i]))))
    return further


@compiled
def towards_everything(arrays: Arrays, sheet: Sheet, ratio: float, lots: Counts) -> Counts:
    """The first lots that restore on the way from `lots` to everything that may be taken.

    Where none on the way restores, the ones of the largest surplus among those looked at.
    """
    best, best_surplus, low, high = lots, -np.inf, 0.0, -1.0
    for step in range(EIGHTHS + 1):
        there = _between(sheet, lots, step / EIGHTHS)
        surplus = trial_of_lots(arrays, sheet, ratio, there)[0]
        if surplus > best_surplus:
            best, best_surplus = there, surplus
        if surplus >= 0.0:
            high = step / EIGHTHS
            break
        low = step / EIGHTHS
    if high <= 0.0:
        return best
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        there = _between(sheet, lots, middle)
        if trial_of_lots(arrays, sheet, ratio, there)[0] >= 0.0:
            best, high = there, middle
        else:
            low = middle
        if (_between(sheet, lots, low) == _between(sheet, lots, high)).all():
            break
    return best


@compiled
def repaired(arrays: Arrays, sheet: Sheet, ratio: float, start: Counts) -> Counts:
    """Lots that restore, near `start`: what rounding to lots broke is mended line by line.

    Each step changes one line: by the single lot that restores at the least burden, else by the lots whose return or
    taking buys the most surplus for its burden, as many as that surplus seems to need. Bounded; where it fails, the
    lots with the largest surplus reached.
    """
    lots = start.copy()
    for _ in range(len(lots) + 4):
        surplus = trial_of_lots(arrays, sheet, ratio, lots)[0]
        if surplus >= 0.0:
            break
        chosen, move = _best_move(arrays, sheet, ratio, lots)
        if move == 0:
            break
        lots[chosen] += move
        if abs(move) > 1 and trial_of_lots(arrays, sheet, ratio, lots)[0] <= surplus:
            lots[chosen] += (1 if move > 0 else -1) - move  # The gain does not last that far.
    return lots


@compiled
def _best_move(arrays: Arrays, sheet: Sheet, ratio: float, lots: Counts) -> tuple[int, int]:
    """The line to change and by how many lots, for `repaired`; 0 lots where no lot raises the surplus."""
    surplus, burden, _cost = trial_of_lots(arrays, sheet, ratio, lots)
    chosen, move, best, lightest = 0, 0, 0.0, np.inf
    for i in range(len(lots)):
        for direction in (-1, 1):
            if not 0 <= lots[i] + direction <= sheet.lots[i]:
                continue
            lots[i] += direction
            then, heavier, _cost = trial_of_lots(arrays, sheet, ratio, lots)
            lots[i] -= direction
            gain, price = then - surplus, heavier - burden
            worth = np.inf if price <= 0.0 else gain / price
            if then >= 0.0 and heavier < lightest:
                chosen, move, lightest = i, direction, heavier
            elif gain > 0.0 and worth > best and lightest == np.inf:
                room = sheet.lots[i] - lots[i] if direction > 0 else lots[i]
                chosen, best = i, worth
                move = direction * int(max(1.0, min(float(room), np.ceil(-surplus / gain))))
    return chosen, move


@compiled
def trimmed(arrays: Arrays, sheet: Sheet, ratio: float, start: Counts) -> Counts:
    """Lots that restore, none of which can be given back: lines are tried in falling order of burden per lot."""
    lots = start.copy()
    surplus, burden, _cost = trial_of_lots(arrays, sheet, ratio, lots)
    if surplus < 0.0:
        return lots
    savings = np.zeros(len(lots))
    for i in range(len(lots)):
        if lots[i] > 0:
            lots[i] -= 1
            then, lighter, _cost = trial_of_lots(arrays, sheet, ratio, lots)
            savings[i] = burden - lighter if then >= 0.0 else 0.0
            lots[i] += 1
    while savings.max() > 0.0:
        i = int(np.argmax(savings))
        savings[i] = 0.0
        lots[i] -= _returnable(arrays, sheet, ratio, lots, i)
    if (lots == start).all():
        return lots
    return trimmed(arrays, sheet, ratio, lots)  # What is given back of one line may allow more of another.


@compiled
def _returnable(arrays: Arrays, sheet: Sheet, ratio: float, lots: Counts, i: int) -> int:
    """A number of lots of one line, the largest by doubling and bisection, whose return leaves the plan restoring."""
    held, good, bad = lots[i], 0, 1
    while bad <= held:
        lots[i] = held - bad
        if trial_of_lots(arrays, sheet, ratio, lots)[0] < 0.0:
            break
        good, bad = bad, 2 * bad
    bad = min(bad, held + 1)
    while bad - good > 1:
        middle = (good + bad) // 2
        lots[i] = held - middle
        if trial_of_lots(arrays, sheet, ratio, lots)[0] >= 0.0:
            good = middle
        else:
            bad = middle
    lots[i] = held
    return good
