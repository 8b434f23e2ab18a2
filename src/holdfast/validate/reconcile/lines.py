"""Lines of statements: what an account holds, as it was stated. Values only."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

from holdfast.validate.reconcile.history import Moment

BALANCE: Final = "balance"
"""Cash of an asset."""
NET_BALANCE: Final = "net balance"
"""Cash of an asset less the costs of the positions that are settled in it."""
POSITION: Final = "position"
COST: Final = "cost"


class Stated(NamedTuple):
    """A line.

    Attributes:
        amount: Of an asset, or the signed quantity of a contract, main units.
        cost: Of a contract, in its settlement asset; None where it is not stated.
        resolution: How far the printed figures leave the amount open.
    """

    amount: Decimal
    cost: Decimal | None = None
    resolution: Decimal = Decimal(0)


class Statement(NamedTuple):
    """What one statement says.

    Attributes:
        label: What to call it.
        accounts: By name, lines by (BALANCE, NET_BALANCE or POSITION, item).
        covers: Of those three, what it speaks of: an item that it does not list is then stated as 0.
        position: Of the log that it is of; None where it does not say.
        time: Logical time that it is of, ns; None where it does not say.
        complete: Whether accounts that it does not list are stated to hold nothing.
        notes: What of it is not compared.
    """

    label: str
    accounts: Mapping[str, Mapping[tuple[str, str], Stated]]
    covers: frozenset[str]
    position: int | None = None
    time: int | None = None
    complete: bool = False
    notes: tuple[str, ...] = ()

    @property
    def moment(self) -> Moment:
        """The moment that it is of; where it states none, every moment is not later."""
        return Moment(self.position, self.time)
