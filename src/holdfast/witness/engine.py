"""`Witness`: the second engine over one log, a frame at a time (specs/witness.md).

What lives here: which records of a frame take effect, in which order, and the questions that can be asked. What may
not: what a command does.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from holdfast.domain.errors import HoldfastError, InputError
from holdfast.witness import accounts, reading, snapshot
from holdfast.witness.accounts import Margins
from holdfast.witness.cold import Cold, ImpossibleError
from holdfast.witness.hot import Hot, command_id
from holdfast.witness.state import State
from holdfast.witness.whole import Integers

ACCEPTED = 0
_BREAKS = (HoldfastError, ArithmeticError, LookupError, TypeError, ValueError)
"""What a command that this engine cannot follow ends in."""


class Difference(NamedTuple):
    """Something that the first engine accepted and that is impossible by this one.

    Attributes:
        position: Of the frame.
        index: Of the record in it.
        account: Whose, −1 where it is about none.
        what: In words.
    """

    position: int
    index: int  # type: ignore[assignment]
    account: int
    what: str


class Witness:
    """The second engine over one log.

    Attributes:
        position: Of the next frame.
    """

    def __init__(self, state: State, position: int, mark_position: int) -> None:
        self._state = state
        self._hot = Hot(state)
        self._cold = Cold(state, self._hot)
        self._cold.mark_position = mark_position
        self._differences: list[Difference] = []
        self.position = position

    @classmethod
    def new(cls) -> "Witness":
        """Before position 0."""
        return cls(State(), 0, -1)

    @classmethod
    def from_snapshot(cls, header: Mapping[str, Any], parts: Mapping[str, npt.NDArray[Any] | bytes]) -> "Witness":
        """After the frame that a snapshot of layout `state-1` was taken at.

        Args:
            header: At least `position`, of the last frame that is in the snapshot.
            parts: By name, with or without the layout's name before it.

        Raises:
            InputError: a part is missing or cannot be read, or no table can be built.
        """
        state, mark_position = snapshot.read(parts)
        return cls(state, int(header["position"]) + 1, mark_position)

    @property
    def time(self) -> int:
        """Logical time, ns."""
        return self._state.clock.now

    @property
    def price_id(self) -> int:
        """Of the last mark, 0 before the first."""
        return self._state.market.price_id

    @property
    def mark_position(self) -> int:
        """Log position of the frame with the last mark, −1 if none."""
        return self._cold.mark_position

    def apply(self, frame: bytes, reasons: npt.NDArray[np.int32]) -> list[Difference]:
        """Follow one frame.

        Args:
            frame: Its bytes.
            reasons: [records], what the first engine answered; 0 is accepted.

        Returns:
            What was accepted and is impossible here; the frame is followed all the same.

        Raises:
            InputError: the bytes are no frame, or there are not as many reasons as records.
        """
        read = reading.read_frame(frame)
        reasons = np.asarray(reasons)
        if reasons.shape != (len(read.records),):
            raise InputError("malformed", "reasons", reasons.shape, f"give {len(read.records)} reasons")
        self._differences = []
        self._cold.position, self._cold.breached = self.position, False
        try:
            self._follow(read, reasons)
        except _BREAKS as error:
            self._give_up(-1, error)
        self._remember()
        self.position += 1
        return self._differences

    def _remember(self) -> None:
        """What votes about this frame can speak of: its mark (QRM-1) and its checkpoint (STR-11)."""
        state, rules = self._state, self._state.rules
        if self._cold.mark_position == self.position:
            state.quorum.remember_mark(self.position, state.market.price_id)
        due = rules.checkpoint_frames and (self.position + 1) % rules.checkpoint_frames == 0
        if due or (rules.breach_checkpoints and self._cold.breached):
            state.quorum.remember_checkpoint(self.position)

    def _report(self, index: int, account: int, what: str) -> None:
        self._differences.append(Difference(self.position, index, account, what))

    def _follow(self, frame: reading.Frame, reasons: npt.NDArray[np.int32]) -> None:
        records = frame.records
        kinds = records["kind"]
        fresh = self._fresh(frame, reasons)
        slow = np.flatnonzero(fresh & ((kinds == reading.COLD) | (kinds == reading.QUOTE)))
        quick = np.flatnonzero(fresh & (kinds != reading.COLD) & (kinds != reading.QUOTE))
        taken = 0
        for index in slow.tolist():
            if kinds[index] == reading.QUOTE and not self._quote(records[index], index):
                continue
            before = int(quick.searchsorted(index))
            self._hot.take(records, quick[taken:before], self.position, self._report)
            taken = before
            self._slow(frame, index)
        self._hot.take(records, quick[taken:], self.position, self._report)

    def _quote(self, record: np.void, index: int) -> bool:
        """Take a quote; whether a mark is due."""
        try:
            return self._cold.quote(
                int(record["session"]), int(record["item"]), int(record["price"]), int(record["time"]),
                int(record["quantity"]),
            )  # fmt: skip
        except ImpossibleError as error:
            self._report(index, error.account, str(error))
            return False

    def _slow(self, frame: reading.Frame, index: int) -> None:
        """A cold command, or the mark that a quote has made due."""
        record = frame.records[index]
        if record["kind"] == reading.QUOTE:
            self._cold.mark([int(record["item"])])
            return
        try:
            command = frame.cold(index)
            if command.get("type") == "open-session":
                self._cold.open_session(command, command_id(self.position, index))
            else:
                self._cold.apply(command)
        except ImpossibleError as error:
            self._report(index, error.account, str(error))
        except _BREAKS as error:
            self._give_up(index, error)

    def _give_up(self, index: int, error: Exception) -> None:
        """No margins from here on: what the command would have done is not known."""
        self._cold.unsupported = f"a command could not be followed: {type(error).__name__}: {error}"
        self._report(index, -1, self._cold.unsupported)

    def _fresh(self, frame: reading.Frame, reasons: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Which records take effect: accepted, and no repeats of what was accepted before (SES-7).

        Numbers of one session that were accepted for the first time ascend, and a repeat's is not above them.
        """
        fresh: npt.NDArray[np.bool_] = reasons == ACCEPTED
        places = np.flatnonzero(fresh)
        if not len(places):
            return fresh
        sessions, numbers = frame.records["session"][places], frame.records["number"][places].astype(np.int64)
        opening = self._openings(frame, places)
        for identity in np.unique(sessions[~opening]).tolist():
            own = np.flatnonzero((sessions == identity) & ~opening)
            session = self._state.sessions.get(identity)
            if session is None:
                self._report(int(places[own[0]]), -1, f"session {identity} is not open, and its command was accepted")
                fresh[places[own]] = False
                continue
            highest = np.maximum.accumulate(np.concatenate([[session.used], numbers[own]]))
            fresh[places[own[numbers[own] <= highest[:-1]]]] = False
            session.used = int(highest[-1])
        return fresh

    @staticmethod
    def _openings(frame: reading.Frame, places: Integers) -> npt.NDArray[np.bool_]:
        """Which of the records open a session; those have no number."""
        cold = frame.records["kind"][places] == reading.COLD
        found = np.zeros(len(places), bool)
        for at in np.flatnonzero(cold).tolist():
            found[at] = frame.kind_of(int(places[at])) == "open-session"
        return found

    def margins(self, chosen: Sequence[int] | None = None) -> Margins:
        """Margin of accounts at the prices and tables of the last mark, in ascending order of numbers.

        Accounts that no number can be given for are left out: all of them after a command that could not be followed.

        Args:
            chosen: Numbers of accounts; by default all clients' accounts.
        """
        self._hot.flush()
        state = self._state
        wanted = accounts.all_clients(state) if chosen is None else np.array(list(chosen), np.int64)
        wanted = wanted[(wanted >= 0) & (wanted < state.accounts)]
        if self._cold.unsupported:
            wanted = wanted[:0]
        return accounts.margins(state, wanted)

    def rows(self, account: int) -> dict[int, tuple[int, int]]:
        """Item → (amount, cost) of an account, ledger units and lots, in order of items."""
        self._hot.flush()
        return self._state.ledger.rows(account)

    def version(self, account: int) -> int:
        """Version of an account."""
        self._hot.flush()
        return self._state.version(account)

    def components(self, account: int) -> dict[str, tuple[float, float]]:
        """Components of TAB-9 of an account's requirement: (initial, maintenance), numeraire.

        Raises:
            InvariantError: the account's model has no table, or a row has no line.
        """
        self._hot.flush()
        return accounts.components(self._state, account)
