"""The linear programme of a plan, solved by HiGHS (specs/liquidation-plan.md, LQP-6).

What lives here: rows and columns, and nothing of margin. Columns are one per level of depth (as a part of what may be
taken of its line), one per scan requirement, the rest of the requirement, and what is missing to the target. Rows come
in rounds: the target once, cuts for good, the rest of the requirement until the next round replaces it. Amounts are
divided by the account's scale, so that the solver's tolerances mean the same for every account.

HiGHS runs on one thread with every option that could change a path fixed, in an object of its own per plan, so that a
plan depends on its inputs alone. It is still a library of floats: a plan is made once and then read from the log.
"""

from typing import NamedTuple

import highspy
import numpy as np

from holdfast.domain.errors import invariant
from holdfast.liquidity.books import Sheet
from holdfast.liquidity.cuts import Cuts
from holdfast.margin.table import Floats

OPTIONS: dict[str, bool | int | str] = {
    "output_flag": False,
    "threads": 1,
    "parallel": "off",
    "presolve": "off",
    "solver": "simplex",
    "simplex_strategy": 1,
    "random_seed": 0,
}
MISSING_BURDEN = 1e4
"""Burden of missing a unit of the target: above any price, so that a plan misses it only where it must."""
WRONG = 1e-6
"""Part of the scale by which a row may ask for more than the requirement is."""
INFINITY = highspy.kHighsInf


class _Other(NamedTuple):
    """A row of the requirement beside the scan: at_nothing + by_level · parts."""

    row: int
    by_level: Floats
    at_nothing: float


class Programme:
    """The programme of one account."""

    def __init__(self, sheet: Sheet, factors: Floats, equity: float, ratio: float, scale: float) -> None:
        """A programme without cuts.

        Args:
            sheet: Lines and levels.
            factors: Factor of each scan requirement.
            equity: Today, numeraire.
            ratio: Of equity to initial margin to be reached.
            scale: Size of the account's figures, numeraire.
        """
        self._sheet, self._scale = sheet, scale
        self._line_of_level = np.repeat(np.arange(len(sheet.size)), np.diff(sheet.first))
        self._whole = np.add.reduceat(sheet.depth, sheet.first[:-1])[self._line_of_level]
        self._levels, self._scans = len(sheet.depth), len(factors)
        self._columns = self._levels + self._scans + 2
        self._others: list[_Other] = []
        self._rows = 1
        self._solver = highspy.Highs()  # type: ignore[no-untyped-call]
        for name, value in OPTIONS.items():
            invariant(self._solver.setOptionValue(name, value) == highspy.HighsStatus.kOk, f"HiGHS refuses {name}")
        self._start(factors, equity, ratio)

    def _start(self, factors: Floats, equity: float, ratio: float) -> None:
        """Columns and the row of the target: equity − losses − ratio · requirement + missing ≥ 0."""
        per_level, sheet = self._whole / self._scale, self._sheet
        burden = np.concatenate((sheet.burden * per_level, np.zeros(self._scans + 1), [MISSING_BURDEN]))
        lower = np.zeros(self._columns)
        lower[-2] = -INFINITY
        upper = np.full(self._columns, INFINITY)
        upper[: self._levels] = sheet.depth / self._whole
        target = np.concatenate((-sheet.loss * per_level, -ratio * factors, [-ratio, 1.0]))
        every = np.arange(self._columns, dtype=np.int32)
        status = self._solver.passModel(
            self._columns, 1, self._columns, int(highspy.MatrixFormat.kRowwise), int(highspy.ObjSense.kMinimize), 0.0,
            burden, lower, upper, np.array([-equity / self._scale]), np.array([INFINITY]),
            np.array([0, self._columns], np.int32), every, target, np.zeros(self._columns, np.int32),
        )  # fmt: skip
        invariant(status != highspy.HighsStatus.kError, f"HiGHS took the programme as {status}")

    def add(self, cuts: Cuts, taken: Floats) -> None:
        """Add cuts made at what reductions of `taken` [m] leave."""
        sheet, of = self._sheet, self._line_of_level
        rows = np.zeros((len(cuts.owner) + 1, self._columns))
        lower = np.empty(len(rows))
        received = ((sheet.sign * sheet.today)[of] - sheet.loss) / sheet.coin[of]
        by_line = cuts.slopes[:, sheet.position] * -sheet.sign
        by_level = by_line[:, of] + cuts.slopes[:, sheet.cash][:, of] * received
        rows[:-1, : self._levels] = by_level * (self._whole / self._scale)
        rows[np.arange(len(cuts.owner)), self._levels + cuts.owner] = 1.0
        lower[:-1] = -(cuts.slopes * sheet.quantity).sum(axis=1) / self._scale
        other = (cuts.by_line[of] + sheet.loss * (cuts.by_cash / sheet.coin)[of]) * (self._whole / self._scale)
        rows[-1, : self._levels] = -other
        rows[-1, -2] = 1.0
        lower[-1] = cuts.plane / self._scale - float((other * self.parts(taken)).sum())
        self._append(rows, lower)
        self._others.append(_Other(self._rows - 1, other, lower[-1]))

    def _append(self, rows: Floats, lower: Floats) -> None:
        count = len(rows)
        starts = np.arange(0, count * self._columns, self._columns, dtype=np.int32)
        index = np.tile(np.arange(self._columns, dtype=np.int32), count)
        status = self._solver.addRows(
            count, lower, np.full(count, INFINITY), count * self._columns, starts, index, rows.ravel()
        )
        invariant(status != highspy.HighsStatus.kError, f"HiGHS took {count} rows as {status}")
        self._rows += count

    def drop_what_is_wrong(self, taken: Floats, actual: float) -> None:
        """Free the rows that ask for more beside the scan than it is, `actual`, after reductions of `taken` [m]."""
        parts = self.parts(taken)
        for other in self._others.copy():
            if other.at_nothing + float((other.by_level * parts).sum()) > actual / self._scale + WRONG:
                self._solver.changeRowBounds(other.row, -INFINITY, INFINITY)
                self._others.remove(other)

    def parts(self, taken: Floats) -> Floats:
        """[K] the part of its line that each level gives to reductions of `taken` [m], best levels first."""
        sheet, of = self._sheet, self._line_of_level
        before = np.cumsum(sheet.depth) - sheet.depth
        before = before - before[sheet.first[:-1]][of]
        given: Floats = np.clip(taken[of] - before, 0.0, sheet.depth) / self._whole
        return given

    def solve(self) -> tuple[Floats, float] | None:
        """Reductions [m] in lines' units and what is missing to the target, numeraire; None where HiGHS gives up."""
        self._solver.run()
        if self._solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        values = np.array(self._solver.getSolution().col_value)
        levels = np.clip(values[: self._levels], 0.0, None) * self._whole
        taken: Floats = np.add.reduceat(levels, self._sheet.first[:-1])
        return np.minimum(taken, self._sheet.size), float(values[-1]) * self._scale
