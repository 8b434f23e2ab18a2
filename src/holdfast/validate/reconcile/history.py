"""What accounts had at earlier positions, as far as it was seen, and what moved it.

Of each account and item the latest points are kept; before the oldest one nothing is known. What may not live here: how
a point was seen (a fold of the log, or an earlier look), comparing.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

POINTS_MAXIMUM = 256
"""Of one account and item."""
ZERO = Decimal(0)


class Point(NamedTuple):
    """What an account had of an item from a position on.

    Attributes:
        position: Of the frame after which it had it; where the seeing began, that position.
        time: Logical time there, ns.
        amount: In main units.
        cost: In the settlement asset.
        kinds: What moved it there, in words ("trade", "funding"); empty where that is not known.
        fees: That the account paid there in this item, in main units.
    """

    position: int
    time: int
    amount: Decimal
    cost: Decimal
    kinds: tuple[str, ...] = ()
    fees: Decimal = ZERO


class Moment(NamedTuple):
    """When something is asked about: a position, else the last frame whose logical time is at most `time`, ns."""

    position: int | None = None
    time: int | None = None

    def reaches(self, position: int, time: int) -> bool:
        """Whether a state of a position and logical time is at or before this moment."""
        if self.position is not None:
            return position <= self.position
        return self.time is None or time <= self.time


class History:
    """The past of accounts.

    Attributes:
        begun: By account, the position and logical time at which its seeing began; before that nothing is known.
    """

    def __init__(self) -> None:
        self.begun: dict[str, tuple[int, int]] = {}
        self._points: dict[str, dict[str, deque[Point]]] = {}

    def begin(self, account: str, position: int, time: int, rows: Mapping[str, tuple[Decimal, Decimal]]) -> None:
        """Say what an account has where its seeing begins; an account that was begun stays as it is."""
        if account not in self.begun:
            self.begun[account] = position, time
            self._points[account] = {}
            self.note(account, position, time, rows)

    def note(
        self,
        account: str,
        position: int,
        time: int,
        rows: Mapping[str, tuple[Decimal, Decimal]],
        kinds: Sequence[str] = (),
        fees: Mapping[str, Decimal] | None = None,
    ) -> None:
        """Say what an account has after a position; items that did not change get no point."""
        known = self._points[account]
        for item in rows.keys() | known.keys():
            amount, cost = rows.get(item, (ZERO, ZERO))
            points = known.get(item)
            before = (points[-1].amount, points[-1].cost) if points else (ZERO, ZERO)
            if points is None and (amount, cost) != before and (position, time) != self.begun[account]:
                points = known[item] = deque([Point(*self.begun[account], ZERO, ZERO)], POINTS_MAXIMUM)
            if (amount, cost) != before:
                fee = (fees or {}).get(item, ZERO)
                known.setdefault(item, deque(maxlen=POINTS_MAXIMUM))
                known[item].append(Point(position, time, amount, cost, tuple(kinds), fee))

    def points(self, account: str, item: str) -> tuple[Point, ...]:
        """What is known of an account and item, the oldest first."""
        if account not in self.begun:
            return ()
        found = self._points[account].get(item)
        return tuple(found) if found else (Point(*self.begun[account], ZERO, ZERO),)

    def items(self, account: str) -> Iterable[str]:
        """The items that an account had at any time that is known."""
        return self._points.get(account, {}).keys()

    def at(self, account: str, item: str, moment: Moment) -> Point | None:
        """What an account had at a moment; None before what is known."""
        return next(
            (one for one in reversed(self.points(account, item)) if moment.reaches(one.position, one.time)), None
        )

    def first(self, account: str, item: str) -> Point | None:
        """The oldest that is known."""
        return next(iter(self.points(account, item)), None)


def until(points: Sequence[Point], moment: Moment) -> Iterator[Point]:
    """Those at or before a moment, the latest first."""
    return (one for one in reversed(points) if moment.reaches(one.position, one.time))
