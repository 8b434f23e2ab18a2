"""What moved accounts in a frame: which sorts of commands touched each, and the fees of its trades.

Read from the frame and its outcomes, to explain a break. What may not live here: figures of the ledger, which the fold
has; what cannot be told from the commands is called `other`.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from holdfast.core.cold.settlement import cost_in_units
from holdfast.core.fold import Applied
from holdfast.core.machine import Machine
from holdfast.core.state import FEES, Item
from holdfast.domain.commands import (
    CancelWithdrawal,
    CastVote,
    ColdCommand,
    Deposit,
    Funding,
    Liquidate,
    RequestWithdrawal,
    Settle,
    decode_cold,
)
from holdfast.domain.errors import InputError
from holdfast.domain.frames import Frame, FrameError, RecordKind, decode_frame
from holdfast.domain.units import Rounding, divide

OTHER: Final = "other"
_MILLION: Final = 1_000_000
_HOT: Final = {RecordKind.TRADE: "trade", RecordKind.FILL: "trade", RecordKind.TRANSFER: "transfer"}
_OF_ACCOUNT: Final = {Deposit: "deposit", RequestWithdrawal: "withdrawal"}
_OF_ITEM: Final = {Funding: "funding", Settle: "settlement"}
_OF_ANYBODY: Final = {CancelWithdrawal: "withdrawal-cancelled", Liquidate: "liquidation", CastVote: "liquidation"}
"""Commands that do not say by themselves whose rows they move."""


class Moves(NamedTuple):
    """What a frame did to accounts.

    Attributes:
        kinds: By account, the sorts of its own commands.
        of_items: By item, the sorts of commands that move everybody who holds it.
        of_anybody: The sorts of commands that move whom they do not name.
        fees: By account and item of the asset, fees of trades in its units.
    """

    kinds: defaultdict[int, set[str]]
    of_items: defaultdict[int, set[str]]
    of_anybody: set[str]
    fees: defaultdict[tuple[int, int], int]

    def kinds_of(self, account: int, items: set[int]) -> tuple[str, ...]:
        """What moved an account that held some items before or after the frame.

        Args:
            account: Its number.
            items: Numbers of the items that changed or were held.
        """
        found = set(self.kinds.get(account, ()))
        found |= {kind for item in items for kind in self.of_items.get(item, ())}
        return tuple(sorted(found or self.of_anybody or {OTHER}))


def moves_of(data: bytes, applied: Applied, machine: Machine) -> Moves:
    """What a frame did.

    Args:
        data: Its bytes.
        applied: What became of it.
        machine: After it; items do not change their numbers.
    """
    moves = Moves(defaultdict(set), defaultdict(set), set(), defaultdict(int))
    try:
        frame = decode_frame(data)
    except FrameError:
        return moves
    for index, record in _accepted(frame, applied):
        if record["kind"] == RecordKind.COLD:
            _enter_cold(moves, frame.cold(index))
        elif (kind := _HOT.get(RecordKind(int(record["kind"])))) is not None:
            for account in (int(record["account"]), int(record["other"])):
                moves.kinds[account].add(kind)
                if kind == "trade":
                    _enter_fee(moves, machine, account, record)
    return moves


def _accepted(frame: Frame, applied: Applied) -> Iterator[tuple[int, Any]]:
    for index, record in enumerate(frame.records):
        outcome = applied.outcomes[index]
        if not outcome["reason"] and not outcome["repeated"]:
            yield index, record


def _enter_cold(moves: Moves, content: bytes) -> None:
    try:
        command: ColdCommand = decode_cold(content)
    except InputError:
        return
    if isinstance(command, Deposit | RequestWithdrawal):
        moves.kinds[command.account].add(_OF_ACCOUNT[type(command)])
    elif isinstance(command, Funding | Settle):
        moves.of_items[command.item].add(_OF_ITEM[type(command)])
    elif type(command) in _OF_ANYBODY:
        moves.of_anybody.add(_OF_ANYBODY[type(command)])


def _enter_fee(moves: Moves, machine: Machine, account: int, record: Any) -> None:
    """The fee of one side of a trade (LED-6), which the account of fees gets."""
    item = int(record["instrument"])
    row = machine.state.items[item]
    cost = cost_in_units(machine, item, int(record["quantity"]), int(record["price"]))
    fee = divide(abs(cost) * int(row[Item.FEE_PPM]), _MILLION, Rounding.CEILING)
    moves.fees[account, int(row[Item.SETTLEMENT])] += fee
    if fee:
        moves.kinds[FEES].add("fee")
