"""The broker's log folded apart from every node, and what it says by position. What may not live here: laws."""

from bisect import bisect_right
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from holdfast.core.fold import Applied, Fold
from holdfast.core.state import Account, Counter, Form, Item, State
from holdfast.domain.frames import Frame, decode_frame


class Place(NamedTuple):
    """Where a command used up its number, and what became of it.

    Attributes:
        position: Of the frame.
        record: In it.
        outcome: Its bytes, `repeated` being 0.
        content: What it said, whatever its session and number.
    """

    position: int
    record: int
    outcome: bytes
    content: bytes


class Step(NamedTuple):
    """A frame of the log as the truth folded it.

    Attributes:
        frame: Decoded.
        applied: What it did.
        chain: H after it.
        root: The state root, where one was due; else empty.
        accounts: [accounts, 2] status and version after it.
    """

    frame: Frame
    applied: Applied
    chain: bytes
    root: bytes
    accounts: Any


class Truth:
    """A fold of the log as the broker has it.

    Attributes:
        fold: The state now.
        steps: By position.
        places: Of commands that used up their numbers, by session and number.
    """

    def __init__(self, check: Callable[["Truth", Step], None]) -> None:
        """An empty log's truth; `check` is called after every frame."""
        self._check = check
        self.begin()

    def begin(self) -> None:
        """Forget everything."""
        self.fold = Fold()
        self.steps: list[Step] = []
        self.places: dict[tuple[int, int], Place] = {}
        self._positions: dict[int, list[int]] = {}

    def take(self, data: bytes) -> None:
        """Fold the log's next frame."""
        applied = self.fold.apply(data)
        taken = self.fold.checkpoints[-1] if self.fold.checkpoints else None
        root = taken.root if taken is not None and taken.position == applied.position else b""
        state = self.fold.machine.state
        accounts = state.accounts[: int(state.counters[Counter.ACCOUNTS]), (Account.STATUS, Account.VERSION)]
        self.steps.append(Step(decode_frame(data), applied, self.fold.chain, root, accounts.copy()))
        self._check(self, self.steps[-1])

    def used(self, session: int, number: int, place: Place) -> None:
        """A command used up its number."""
        self.places[session, number] = place
        self._positions.setdefault(session, []).append(place.position)

    def next_number(self, session: int, position: int) -> int:
        """The number that the log up to a position expects of a session next."""
        return 1 + bisect_right(self._positions.get(session, []), position)


def sums(state: State) -> list[int]:
    """By item, Σ amount of a contract and Σ (cash − cost) of an asset over all accounts; exact."""
    totals = [0] * int(state.counters[Counter.ITEMS])
    for row in state.accounts[: int(state.counters[Counter.ACCOUNTS])].tolist():
        start, end = row[Account.START], row[Account.START] + row[Account.COUNT]
        items, amounts = state.row_item[start:end].tolist(), state.ledger[start:end].tolist()
        for item, (amount, cost) in zip(items, amounts, strict=True):
            totals[item] += amount - cost if state.items[item, Item.FORM] == Form.ASSET else amount
    return totals


def plain_outcomes(outcomes: Any) -> list[bytes]:
    """The bytes of outcomes, `repeated` being 0."""
    plain = np.array(outcomes)
    plain["repeated"] = 0
    return [one.tobytes() for one in plain]


def contents(frame: Frame) -> list[bytes]:
    """What each record of a frame says, whatever its session and number."""
    plain = frame.records.copy()
    plain["session"] = plain["number"] = plain["blob_offset"] = 0
    return [record.tobytes() + (frame.cold(index) if not record["kind"] else b"") for index, record in enumerate(plain)]
