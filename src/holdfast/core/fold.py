"""The fold: frames in, outcomes out, state changed. The only door through which the state changes.

Theory of operation. `Fold.apply` takes the frame at the next position. A frame of a gateway out of its order is refused
whole. Hot commands go through the compiled loop (`hot`), which comes back for cold commands, for room, and for marks.
A cold command that raises is undone, answered INTERNAL and recorded as an alarm: as that follows from the log alone,
every replica does the same. What may not live here: clocks, I/O, what any one command means.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from holdfast.core import quorum, sessions
from holdfast.core.cold import accounts, checkpoints, cosigning, definitions, discrepancies, roles, settlement, time
from holdfast.core.cold.accounts import new_account
from holdfast.core.hot import AT_COLD, MUST_GROW, MUST_MARK, apply_hot
from holdfast.core.ledger import undo
from holdfast.core.liquidation import stages
from holdfast.core.machine import Machine, MarkEvent
from holdfast.core.registry import MARKS_REMEMBERED, Alarm, CheckpointPlace, MarkPlace, with_alarm
from holdfast.core.roots import Checkpoint, Roots
from holdfast.core.state import KEPT_MAXIMUM, NONE, SYSTEM_ACCOUNTS, Counter, Price, Role, Session
from holdfast.core.verdict import Sender, Verdict, refused
from holdfast.domain.commands import ColdCommand, OpenSession, decode_cold
from holdfast.domain.errors import InputError, invariant
from holdfast.domain.frames import CHAIN_START, Frame, RecordKind, chain_hash, decode_frame
from holdfast.domain.outcomes import OUTCOME, Outcomes, command_id, place_of
from holdfast.domain.quarantines import Quarantine, Subject, decode_quarantine, quarantine_statement
from holdfast.domain.reasons import Reason
from holdfast.domain.signatures import is_signature
from holdfast.domain.units import INT64_MAXIMUM, INT64_MINIMUM

_FAMILIES = (definitions, accounts, settlement, time, roles, checkpoints, discrepancies, cosigning, stages)
HANDLERS: dict[type, Callable[..., Verdict]] = {t: h for f in _FAMILIES for t, h in f.HANDLERS.items()}
ALLOWED: dict[type, tuple[Role, ...]] = {t: r for f in _FAMILIES for t, r in f.ROLES.items()}
invariant(HANDLERS.keys() == ALLOWED.keys(), "a cold command lacks its roles or its handler")
_COLD = int(RecordKind.COLD)
_ROLE, _NEXT, _USED = int(Session.ROLE), int(Session.NEXT), int(Session.USED)
_GATEWAY, _MARK_DUE = int(Role.GATEWAY), int(Counter.MARK_DUE)
"""As plain integers: compiled code takes tens of microseconds to see what an enumeration's member is, arrays some."""
ROLE_NAMES = {role.name.lower(): role for role in Role}
CHECKPOINTS_KEPT = 64


class Applied(NamedTuple):
    """What a frame did.

    Attributes:
        position: Of the frame.
        outcomes: One per record.
        details: By index of the record, what does not fit in an outcome.
        marks: The marks it caused, in order.
    """

    position: int
    outcomes: Outcomes
    details: dict[int, object]
    marks: tuple[MarkEvent, ...]


class Fold:
    """The state after the frames 0 … `position` − 1.

    Attributes:
        machine: State, registry and tables.
        position: The next frame's.
        chain: H of the frames so far.
        checkpoints: The latest roots that this fold took by itself, the newest last; at most CHECKPOINTS_KEPT. They are
            for votes and proofs, not part of the state: no outcome may depend on them.
    """

    def __init__(self, watch: Callable[[str], None] | None = None) -> None:
        """An empty log's state: the system accounts, and session 0, the first gateway.

        Args:
            watch: Called with "mark", "sweep" and "swept" at these moments of every mark.
        """
        self.machine = Machine(watch)
        self.position = 0
        self.chain = CHAIN_START
        self._quarantines: dict[int, dict[Quarantine, set[tuple[int, bytes]]]] = {}
        self.checkpoints: list[Checkpoint] = []
        self._roots = Roots()
        self.machine.state, _ = sessions.opened(self.machine.state, 0, Role.GATEWAY, 0, 1)
        definitions.copy_rules(self.machine)
        for _ in range(SYSTEM_ACCOUNTS):
            new_account(self.machine, 0)

    def apply(self, data: bytes) -> Applied:
        """Apply the frame at `position`.

        Args:
            data: Its bytes, as `domain.frames.encode_frame` makes them.

        Raises:
            FrameError: The bytes are no frame. Nothing was changed; a log never holds such bytes.
        """
        frame = decode_frame(data)
        outcomes = np.zeros(len(frame.records), OUTCOME)
        details: dict[int, object] = {}
        self.machine.events.clear()
        reason = self._turn_of(frame)
        if reason is Reason.ACCEPTED:
            self._apply_records(frame, outcomes, details, self._skipped(frame))
        else:
            outcomes["reason"] = reason
        self.chain = chain_hash(self.chain, data)
        self._remember_marks()
        self.position += 1
        self._take_checkpoint()
        return Applied(self.position - 1, outcomes, details, tuple(self.machine.events))

    def root(self) -> bytes:
        """The state root after the frames so far, 32 bytes; it costs what changed since the last one."""
        return self._roots.root(self.machine)

    def _take_checkpoint(self) -> None:
        if self._is_checkpoint_due():
            place = CheckpointPlace(self.position - 1, self.chain)
            self.machine.registry = checkpoints.with_checkpoint(self.machine.registry, place)
            taken = Checkpoint(place.position, place.chain, self.root())
            self.checkpoints = [*self.checkpoints, taken][-CHECKPOINTS_KEPT:]

    def _is_checkpoint_due(self) -> bool:
        """Whether a root is due after the frame before `position` (STR-11)."""
        rules = self.machine.registry.rules
        if rules.checkpoint_frames > 0 and self.position % rules.checkpoint_frames == 0:
            return True
        return bool(rules.breach_checkpoints and self.machine.events and self.machine.pending())

    def _remember_marks(self) -> None:
        """Keep where the frame's last mark happened, so that votes about it can be told from votes of another log."""
        if self.machine.events:
            place = MarkPlace(self.position, self.price_id, self.chain)
            marks = (*self.machine.registry.marks, place)[-MARKS_REMEMBERED:]
            self.machine.registry = replace(self.machine.registry, marks=marks)

    def _turn_of(self, frame: Frame) -> Reason:
        """Whether a frame is its gateway's next; if so the gateway's next number is used up."""
        state = self.machine.state
        slot = int(sessions.find_session(state, _as_signed(frame.gateway)))
        if slot == NONE or state.sessions[slot, _ROLE] != _GATEWAY:
            return Reason.GATEWAY_UNKNOWN
        expected = int(state.sessions[slot, _NEXT])
        if frame.frame_number != expected:
            return Reason.FRAME_REPEATED if frame.frame_number < expected else Reason.FRAME_GAP
        state.sessions[slot, _NEXT] = expected + 1
        state.sessions[slot, _USED] = command_id(self.position, 0)
        return Reason.ACCEPTED

    def learn_quarantine(self, data: bytes) -> None:
        """Know a quarantine before its subject is folded. Whether it stands is judged when the subject is met.

        Signatures under equal statements are collected, wherever they come from: each replica may send its own.

        Args:
            data: As `domain.quarantines.encode_quarantine` makes it; from anywhere, as its signatures speak for it.

        Raises:
            QuarantineError: The bytes are no quarantine.
        """
        statement = decode_quarantine(data)
        at = statement.position if statement.subject is Subject.FRAME else place_of(statement.position)[0]
        bare = dataclasses.replace(statement, signatures=())
        self._quarantines.setdefault(at, {}).setdefault(bare, set()).update(statement.signatures)

    def standing(self) -> list[Quarantine]:
        """The quarantines known here that set aside the next frame or commands of it, without their signatures."""
        known = self._quarantines.get(self.position, {})
        return [one for one, signatures in known.items() if self._stands(one, signatures)]

    def _stands(self, statement: Quarantine, signatures: set[tuple[int, bytes]]) -> bool:
        """Whether a majority of the replicas as they are now signed a statement about this very log."""
        replicas = self.machine.registry.replicas
        keys, said = quorum.keys_of(replicas), quarantine_statement(statement)
        signed = {n for n, signature in signatures if n in keys and is_signature(keys[n], said, signature)}
        return statement.chain_hash == self.chain and quorum.majority(len(signed), replicas)

    def _skipped(self, frame: Frame) -> list[int]:
        """Indices of the records that quarantines set aside, ascending."""
        found: set[int] = set()
        for statement in self.standing():
            whole = statement.subject is Subject.FRAME
            found.update(range(len(frame.records)) if whole else (place_of(statement.position)[1],))
        return sorted(index for index in found if index < len(frame.records))

    def _skip(self, frame: Frame, index: int, outcome: Any) -> None:
        """Use up a command's number without looking at what it says."""
        record, command = frame.records[index], command_id(self.position, index)
        outcome["command"], outcome["reason"] = command, Reason.QUARANTINED
        state, number = self.machine.state, _as_signed(int(record["number"]))
        slot = int(sessions.find_session(state, _as_signed(int(record["session"]))))
        if not sessions.turn(state, slot, int(record["kind"]), number):
            sessions.consume_into(state, slot, number, command, outcome)

    def _apply_records(
        self, frame: Frame, outcomes: Outcomes, details: dict[int, object], skipped: Sequence[int]
    ) -> None:
        at, records, first = 0, frame.records, command_id(self.position, 0)
        while True:
            self.machine.make_room()
            end = next((index for index in skipped if index >= at), len(records))
            stop, at = apply_hot(
                self.machine.state, self.machine.marked.arrays, sessions.MAY, records[:end], at, first, outcomes
            )
            if stop == MUST_MARK:
                item = int(self.machine.state.counters[_MARK_DUE])
                self.machine.state.counters[_MARK_DUE] = NONE
                time.mark_fresh(self.machine, (item,))
            elif stop == AT_COLD:
                detail = self._apply_cold(frame, at, outcomes[at])
                if detail is not None:
                    details[at] = detail
                at += 1
            elif stop != MUST_GROW:
                if at == len(records):
                    return
                self._skip(frame, at, outcomes[at])
                at += 1

    def _apply_cold(self, frame: Frame, index: int, outcome: Any) -> object:
        record, command = frame.records[index], command_id(self.position, index)
        outcome["command"] = command
        content, problem = _read(frame, index)
        if isinstance(content, OpenSession):
            return self._write(outcome, self._open_session(content, command))
        slot = int(sessions.find_session(self.machine.state, _as_signed(int(record["session"]))))
        number = _as_signed(int(record["number"]))
        reason = sessions.turn(self.machine.state, slot, _COLD, number)
        if reason == Reason.ALREADY_APPLIED:
            sessions.repeat_into(self.machine.state, slot, number, outcome)
            return None
        if reason:
            outcome["reason"] = reason
            outcome["limit"] = self.machine.state.sessions[slot, Session.NEXT] if reason == Reason.SESSION_GAP else 0
            return None
        malformed = refused(Reason.MALFORMED, detail=problem)
        verdict = malformed if content is None else self._handle(content, slot, command)
        detail = self._write(outcome, verdict)
        sessions.consume_into(self.machine.state, slot, number, command, outcome)
        return detail

    @staticmethod
    def _write(outcome: Any, verdict: Verdict) -> object:
        for field in ("reason", "made", "limit", "passes"):
            # What a command says may be larger than an outcome holds: nothing may fail here.
            outcome[field] = min(max(getattr(verdict, field), INT64_MINIMUM), INT64_MAXIMUM)
        outcome["equity"], outcome["initial"] = verdict.equity, verdict.initial
        return verdict.detail

    def _handle(self, content: ColdCommand, slot: int, command: int) -> Verdict:
        """Check the role, then run the handler; what it raises undoes the command."""
        row = self.machine.state.sessions[slot]
        sender = Sender(command, Role(int(row[Session.ROLE])), int(row[Session.SUBJECT]))
        if sender.role not in ALLOWED[type(content)]:
            return refused(Reason.SESSION_ROLE, int(sender.role))
        if sender.role is Role.REPLICA and self.machine.registry.replicas[sender.subject].suspended:
            return refused(Reason.REPLICA_SUSPENDED, sender.subject)
        before = self.machine.kept()
        try:
            return HANDLERS[type(content)](self.machine, content, sender)
        except MemoryError:
            raise  # It follows from this process, not from the log; so it stops this process only.
        except Exception as error:
            # Whatever it is, it follows from the log alone: every replica undoes it and goes on.
            undo(self.machine.state)
            self.machine.go_back(before)
            alarm = Alarm(command, type(content).__name__, repr(error))
            self.machine.registry = with_alarm(self.machine.registry, alarm)
            return refused(Reason.INTERNAL, detail=repr(error))

    def _open_session(self, content: OpenSession, command: int) -> Verdict:
        role = ROLE_NAMES.get(content.role)
        if role is None or not 1 <= content.kept <= KEPT_MAXIMUM:
            return refused(Reason.VALUE_INVALID, KEPT_MAXIMUM)
        known = {Role.SOURCE: len(self.machine.registry.sources), Role.REPLICA: len(self.machine.registry.replicas)}
        if role in known and not 0 <= content.subject < known[role]:
            return refused(Reason.SOURCE_UNKNOWN if role is Role.SOURCE else Reason.REPLICA_UNKNOWN, known[role])
        if role not in known and content.subject != 0:
            return refused(Reason.VALUE_INVALID)
        self.machine.state, evicted = sessions.opened(self.machine.state, command, role, content.subject, content.kept)
        return Verdict(made=command, limit=max(evicted, 0))

    @property
    def time(self) -> int:
        """Logical time, ns; 0 before the first tick."""
        return int(self.machine.state.counters[Counter.TIME])

    @property
    def price_id(self) -> int:
        """Number of the last mark, 0 before the first."""
        return int(self.machine.state.counters[Counter.PRICE_ID])

    def index(self, item: int) -> int:
        """The current price of an item in its quotes' unit, 0 before there is one."""
        return int(self.machine.state.prices[item, Price.CURRENT])


def _as_signed(value: int) -> int:
    """A u64 of a frame as the int64 that the arrays hold: what is above its range becomes negative and fits nothing."""
    return value - (1 << 64) if value >> 63 else value


def _read(frame: Frame, index: int) -> tuple[ColdCommand | None, str]:
    """The cold command of a record, or None and why it cannot be read."""
    try:
        return decode_cold(frame.cold(index)), ""
    except InputError as error:
        return None, str(error)
