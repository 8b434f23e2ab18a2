"""Why a line differs, as far as figures can say it: the first of a list of explanations that fits (REC-10).

An explanation is a coincidence of numbers, and is worded as one. What may not live here: comparing.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from holdfast.domain.units import format_time
from holdfast.validate.reconcile.history import History, Moment, Point, until
from holdfast.validate.reconcile.lines import COST, POSITION
from holdfast.validate.reconcile.picture import ZERO, Item, Picture

SCALE_MAXIMUM: Final = 12
"""Decimal places by which two counts of one thing may be apart."""
FUNDING: Final = "funding"
_NAMED_MAXIMUM: Final = 4
"""Positions that an explanation lists."""


class Case(NamedTuple):
    """A line that differs.

    Attributes:
        account: Whose.
        what: BALANCE, NET_BALANCE, POSITION or COST.
        item: The asset or contract.
        ours: Our figure.
        theirs: Theirs.
        allowed: How far two figures may be apart and agree.
        moment: That the statement is of.
        time: Logical time of the source's end, ns.
        picture: What accounts hold at the end.
        history: And before.
    """

    account: str
    what: str
    item: Item
    ours: Decimal
    theirs: Decimal
    allowed: Decimal
    moment: Moment
    time: int
    picture: Picture
    history: History

    @property
    def difference(self) -> Decimal:
        """Ours − theirs."""
        return self.ours - self.theirs

    def agree(self, one: Decimal, other: Decimal) -> bool:
        """Whether two figures agree."""
        return abs(one - other) <= self.allowed

    @property
    def points(self) -> tuple[Point, ...]:
        """What is known of the line's past."""
        return self.history.points(self.account, self.item.name)


class Explanation(NamedTuple):
    """A code, empty where nothing explains the line, and a sentence."""

    code: str = ""
    text: str = ""


Figure = Callable[[Point], Decimal]


def explain(case: Case, figure: Figure) -> Explanation:
    """The first explanation that fits.

    Args:
        case: The line.
        figure: What is compared of a point of its past.
    """
    rules: Sequence[Callable[[], Explanation | None]] = (
        lambda: _settled(case),
        lambda: _sign(case),
        lambda: _lot(case),
        lambda: _scale(case),
        lambda: _withdrawal(case),
        lambda: _other_moment(case, figure),
        lambda: _booked(case, figure),
    )
    return next((found for rule in rules if (found := rule()) is not None), Explanation())


def _settled(case: Case) -> Explanation | None:
    item = case.item
    has_expired = 0 < item.expiry <= case.time
    if item.is_asset or (item.is_open and not has_expired) or (case.ours and case.theirs):
        return None
    when = f"it expired at {format_time(item.expiry)}" if has_expired else "it is closed here"
    who = (
        "the statement still has it" if case.theirs else "the statement has it settled, and it is not settled here yet"
    )
    return Explanation("settled", f"{when}; {who}")


def _sign(case: Case) -> Explanation | None:
    if case.ours and case.agree(case.ours, -case.theirs):
        return Explanation("sign-flipped", "the same size with the other sign")
    return None


def _lot(case: Case) -> Explanation | None:
    lot = case.item.step
    if case.what != POSITION or not case.ours or lot == 1:
        return None
    if case.theirs * lot == case.ours:
        return Explanation("lot-size", f"theirs counts lots of {lot:f}")
    if case.ours * lot == case.theirs:
        return Explanation("lot-size", f"theirs is {lot:f} times ours, the lot")
    return None


def _scale(case: Case) -> Explanation | None:
    for places in range(-SCALE_MAXIMUM, SCALE_MAXIMUM + 1):
        if places and case.ours and case.theirs.scaleb(places) == case.ours:
            return Explanation("scale", f"theirs × 10^{places} is ours: counted in another unit")
    return None


def _withdrawal(case: Case) -> Explanation | None:
    if case.what in (POSITION, COST):
        return None
    mine = [w for w in case.picture.withdrawals if (w.account, w.asset) == (case.account, case.item.name)]
    for some in [[one] for one in mine] + ([mine] if len(mine) > 1 else []):
        if case.agree(case.difference, -sum((one.amount for one in some), ZERO)):
            listed = ", ".join(f"{one.number} ({one.amount:f}, {one.state})" for one in some)
            return Explanation("withdrawal", f"withdrawal {listed} has left the balance here and not theirs")
    return None


def _other_moment(case: Case, figure: Figure) -> Explanation | None:
    """Theirs is what we had at another position."""
    points = case.points
    before = list(until(points, case.moment))
    after = points[len(before) :]
    for n, point in enumerate(before):
        if n and case.agree(figure(point), case.theirs):
            moves = before[n - 1 :: -1]
            return _moved("earlier", f"before position {moves[0].position}", moves, "not in the statement")
    for n, point in enumerate(after):
        if case.agree(figure(point), case.theirs):
            where = f"from position {point.position} on"
            return _moved("later", where, after[: n + 1], "in the statement already")
    return None


def _moved(code: str, where: str, moves: Sequence[Point], words: str) -> Explanation:
    kinds = Counter(kind for move in moves for kind in move.kinds)
    sort = f"-{next(iter(kinds))}" if len(kinds) == 1 else ""
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or f"{len(moves)} changes"
    at = f" ({_second(moves[-1].time)})" if moves[-1].time else ""
    return Explanation(code + sort, f"theirs is ours {where}; {words}: {listed} at {_places(moves)}{at}")


def _second(time: int) -> str:
    return format_time(time - time % 10**9)


def _places(moves: Sequence[Point]) -> str:
    shown = ", ".join(str(move.position) for move in moves[:_NAMED_MAXIMUM])
    more = len(moves) - _NAMED_MAXIMUM
    return f"{shown} and {more} more" if more > 0 else shown


def _booked(case: Case, figure: Figure) -> Explanation | None:
    """The difference is what the latest fees, fundings, or both moved here."""
    if case.what in (POSITION, COST):
        return None
    before = list(until(case.points, case.moment))
    fees = [(point, -point.fees) for point in before if point.fees]
    fundings = [
        (point, figure(point) - figure(earlier))
        for point, earlier in itertools.pairwise(before)
        if point.kinds == (FUNDING,)
    ]
    both = sorted(fees + fundings, key=lambda move: -move[0].position)
    tried = [("fees", fees), ("funding", fundings), ("fees-and-funding", both)]
    return next((found for code, moves in tried if (found := _sum_of(case, moves, code)) is not None), None)


def _sum_of(case: Case, moves: Sequence[tuple[Point, Decimal]], code: str) -> Explanation | None:
    """Whether the difference is the sum of the latest of some moves."""
    total = ZERO
    for count, (_, amount) in enumerate(moves, 1):
        total += amount
        if case.agree(case.difference, total):
            places = _places([point for point, _ in moves[:count]])
            words = f"{code.replace('-', ' ')} of {total:+f} {case.item.name} at {places}"
            return Explanation(code, f"{words} not in the statement")
    return None
