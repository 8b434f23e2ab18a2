"""Bugs planted on purpose, to see that the simulation finds them: each replaces a piece of real code at run time.

A bug that no seed finds says that the simulation or its laws are too weak. What may not live here: anything that runs
unless a bug is planted by its name.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from holdfast.client import batches, protocol
from holdfast.core import fold as core_fold
from holdfast.core import quorum, sessions
from holdfast.core.cold import roles, time
from holdfast.core.state import NONE, Counter, Role, Session
from holdfast.core.verdict import Sender
from holdfast.domain.commands import TakeLease
from holdfast.domain.frames import decode_frame, encode_frame
from holdfast.domain.outcomes import OUTCOME
from holdfast.domain.reasons import Reason
from holdfast.replica import decisions
from holdfast.replica.node import entrance, joining, node, outbox, speaker
from holdfast.simulation import engine, following
from holdfast.simulation.genesis import genesis


class Patch:
    """Attributes that were replaced, and how to put them back."""

    def __init__(self) -> None:
        self._before: list[tuple[Any, str, Any]] = []

    def set(self, owner: Any, name: str, value: Any) -> Any:
        """Replace an attribute; what it was."""
        before = owner.__dict__[name]
        self._before.append((owner, name, before))
        setattr(owner, name, value)
        return before

    def restore(self) -> None:
        """Put everything back."""
        while self._before:
            owner, name, before = self._before.pop()
            setattr(owner, name, before)


class Bug(NamedTuple):
    """A planted bug.

    Attributes:
        what: In words, what the code does wrongly.
        plant: Puts it in place.
    """

    what: str
    plant: Callable[[Patch], None]


BUGS: Final[dict[str, Bug]] = {}


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    """Have a bug in the code for a while; none where the name is empty."""
    genesis()  # It is kept, and must be made by the right code.
    patch = Patch()
    try:
        if name:
            BUGS[name].plant(patch)
        yield
    finally:
        patch.restore()


def _bug(name: str, what: str) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    def enter(plant: Callable[[Patch], None]) -> Callable[[Patch], None]:
        BUGS[name] = Bug(what, plant)
        return plant

    return enter


@_bug("answer-on-store", "a batch is answered when the broker has its frame, before the log shows it")
def _answer_on_store(patch: Patch) -> None:
    before = node.Node.published

    def published(self: Any, message_id: str, now: float, *, position: int = NONE) -> None:
        before(self, message_id, now, position=position)
        box = self._outbox
        flight = None if box is None or position == NONE else box._flight_of(message_id)
        if flight is not None:
            count = sum(part.size for part in flight.parts)
            box._resolve(flight, position, np.zeros(count, OUTCOME), {})
            for resolved in box.resolved():
                self._answer(resolved)

    patch.set(node.Node, "published", published)


@_bug("answer-refused-frame", "a frame that was refused as ahead of its turn counts as done")
def _answer_refused(patch: Patch) -> None:
    patch.set(outbox, "_TURNED_AWAY", (Reason.GATEWAY_UNKNOWN,))


@_bug("answer-before-copy", "frames are folded and answered before the node's own copy holds them")
def _answer_before_copy(patch: Patch) -> None:
    def written(self: Any) -> None:
        self._is_writing = False
        came = list(self._inbox)
        self._inbox.clear()
        if self.stage is engine.Stage.SERVING:
            for frame in came:
                self._fold(*frame)
                self._flush()
        if came:
            self.disk.copy.append_group([frame for _, frame, _ in came])
        self._turn()

    patch.set(engine.Engine, "_written", written)


@_bug("retry-new-number", "a client sends commands again under new numbers")
def _retry_new_number(patch: Patch) -> None:
    before = protocol.WriteLine._sends

    def sends(self: Any, now: float) -> Any:
        for batch in self._window if self._rounds.begun(now) else ():
            if batch is not self._opening and 0 <= batch.round != self._rounds.number:
                batch.first, self._next = self._next, self._next + batch.count
                batch.payload = batch.content.payload(self._session, batch.first, self.position)
        return before(self, now)

    patch.set(protocol.WriteLine, "_sends", sends)


@_bug("timeout-is-failure", "a client takes an attempt without an answer for one that did nothing")
def _timeout_is_failure(patch: Patch) -> None:
    def untouched(self: Any) -> bool:
        return not (self.done.any() or self.fenced.any() or self.lost.any())

    patch.set(batches.Batch, "untouched", property(untouched))


@_bug("client-forgets-order", "a client takes whatever answer comes for the outcome, one ahead of its turn too")
def _gap_is_outcome(patch: Patch) -> None:
    patch.set(batches, "_SESSION_GAP", NONE)


@_bug("renumbered-frame", "a frame without an answer is sent again as a new frame behind the others")
def _renumbered_frame(patch: Patch) -> None:
    before = outbox.Outbox.published

    def published(self: Any, message_id: str, now: float, *, stored: bool) -> None:
        flight = self._flight_of(message_id)
        before(self, message_id, now, stored=stored)
        if flight is not None and not stored:
            del self._flights[flight.number]
            frame = decode_frame(flight.frame)
            flight.number, self._gateway._next_frame = self._gateway._next_frame, self._gateway._next_frame + 1
            flight.frame = encode_frame(self.session, flight.number, frame.records, bytes(frame.blob))
            self._flights[flight.number] = flight

    patch.set(outbox.Outbox, "published", published)


@_bug("overtaking", "lost frames and those behind them are sent again together")
def _overtaking(patch: Patch) -> None:
    def to_send(self: Any, now: float) -> list[Any]:
        due = (outbox.State.READY, outbox.State.LOST)
        flights = [flight for flight in self._flights.values() if flight.state in due and now >= flight.again_at]
        return flights[::-1]

    patch.set(outbox.Outbox, "_to_send", to_send)


@_bug("same-id-after-refusal", "a frame that the fold refused is sent again under the id that the broker knows")
def _same_id(patch: Patch) -> None:
    for name in ("published", "seen"):
        patch.set(outbox.Outbox, name, _without_attempts(getattr(outbox.Outbox, name)))


def _without_attempts(before: Any) -> Any:
    def method(self: Any, *arguments: Any, **named: Any) -> None:
        before(self, *arguments, **named)
        for flight in self._flights.values():
            flight.attempt = 0

    return method


@_bug("opening-of-another", "a node takes the first gateway session that is opened for its own")
def _opening_of_another(patch: Patch) -> None:
    before = entrance.Entrance.seen

    def seen(self: Any, message_id: str, outcomes: Any, now: float) -> int | None:
        mine = self._id if message_id.split(".")[1:2] == [str(entrance.NUMBER)] else message_id
        return before(self, mine, outcomes, now)

    patch.set(entrance.Entrance, "seen", seen)


@_bug("no-frame-order", "the fold takes frames of a gateway in any order")
def _no_frame_order(patch: Patch) -> None:
    before = core_fold.Fold._turn_of

    def turn_of(self: Any, frame: Any) -> Reason:
        reason = before(self, frame)
        return Reason.ACCEPTED if reason in (Reason.FRAME_GAP, Reason.FRAME_REPEATED) else reason

    patch.set(core_fold.Fold, "_turn_of", turn_of)


@_bug("first-outcome-forgotten", "a repeat of a cold command is not given the outcome that is kept")
def _outcome_forgotten(patch: Patch) -> None:
    def repeat_into(_state: Any, _slot: int, _number: int, outcome: Any) -> None:
        outcome["reason"], outcome["repeated"] = Reason.ALREADY_APPLIED, 1

    patch.set(sessions, "repeat_into", repeat_into)


@_bug("snapshot-without-sessions", "a node that starts from a snapshot forgets what clients' sessions have used")
def _snapshot_without_sessions(patch: Patch) -> None:
    before = joining.begin

    def begin(*arguments: Any) -> Any:
        begun = before(*arguments)
        table = begun.fold.machine.state.sessions
        if begun.source:
            table[np.isin(table[:, Session.ROLE], (Role.CLIENT, Role.SOURCE)), Session.NEXT] = 1
        return begun

    patch.set(joining, "begin", begin)


@_bug("uncertified-snapshot", "a node starts from any snapshot, whoever voted for it")
def _uncertified_snapshot(patch: Patch) -> None:
    patch.set(joining, "problem_of", lambda copy, position, *_: "" if position < copy.end else "is ahead of the copy")


@_bug("one-certifies", "one replica's word on a state root is counted twice")
def _one_certifies(patch: Patch) -> None:
    patch.set(quorum, "majority", lambda count, replicas: 2 * (count + 1) > len(replicas))


@_bug("roots-of-other-positions", "a replica votes with the root that it has when it votes, not the checkpoint's")
def _other_positions(patch: Patch) -> None:
    before = decisions.root_vote

    def root_vote(fold: Any, replica: int, key: bytes, checkpoint: Any) -> Any:
        return before(fold, replica, key, checkpoint._replace(root=fold.root()))

    patch.set(decisions, "root_vote", root_vote)


@_bug("suspended-votes-count", "a suspended replica goes on, and what it says is taken")
def _suspended_votes(patch: Patch) -> None:
    def handle(self: Any, content: Any, slot: int, command: int) -> Any:
        row = self.machine.state.sessions[slot]
        sender = Sender(command, Role(int(row[Session.ROLE])), int(row[Session.SUBJECT]))
        return core_fold.HANDLERS[type(content)](self.machine, content, sender)

    patch.set(core_fold.Fold, "_handle", handle)
    patch.set(node.Node, "suspended", property(lambda _self: False))
    patch.set(decisions, "is_suspended", lambda *_: False)


@_bug("one-vote-liquidates", "one replica's vote is enough for a liquidation")
def _one_vote(patch: Patch) -> None:
    patch.set(quorum, "_enough", lambda voters, _replicas: bool(voters))


@_bug("lease-not-fenced", "a role is asked for at every tick, and given though another holds it")
def _lease_not_fenced(patch: Patch) -> None:
    before: Any = roles.take_lease

    def take_lease(machine: Any, command: Any, sender: Any) -> Any:
        leases = {role: held for role, held in machine.registry.leases.items() if role != command.role}
        machine.registry = msgspec.structs.replace(machine.registry, leases=leases)
        return before(machine, command, sender)

    handlers = core_fold.HANDLERS | {TakeLease: take_lease}
    patch.set(core_fold, "HANDLERS", handlers)
    patch.set(speaker.Speaker, "_wants", lambda *_: True)


@_bug("decides-without-lease", "every node sends the stages of liquidations")
def _decides_without_lease(patch: Patch) -> None:
    patch.set(speaker.Speaker, "holds", lambda *_: True)


@_bug("local-clock", "the fold takes the clock of the machine that it runs on for logical time")
def _local_clock(patch: Patch) -> None:
    clocks: list[engine.Clock] = []
    do, advance = engine.Engine._do, time.advance

    def within(self: Any, action: Any, *arguments: Any) -> None:
        clocks.append(self.clock)
        try:
            do(self, action, *arguments)
        finally:
            clocks.pop()

    def local(machine: Any) -> None:
        advance(machine)
        if clocks:
            counters = machine.state.counters
            counters[Counter.TIME] = max(int(counters[Counter.TIME]), clocks[-1].now())

    patch.set(engine.Engine, "_do", within)
    patch.set(time, "advance", local)


@_bug("dead-clocks-count", "the clocks of replicas that say nothing any more count for logical time")
def _dead_clocks(patch: Patch) -> None:
    patch.set(time, "is_live", lambda _registry, replica: bool(replica.ticked))


@_bug("amnesia-ignored", "a node goes on although the broker's log contradicts its own")
def _amnesia_ignored(patch: Patch) -> None:
    patch.set(following.Following, "_end", lambda *_: None)


@_bug("halt-ignored", "a halted node answers what was under way")
def _halt_ignored(patch: Patch) -> None:
    patch.set(node.Node, "halt", lambda *_: None)


@_bug("early-reads", "a question is answered before the position that it asks for is folded")
def _early_reads(patch: Patch) -> None:
    patch.set(node.Node, "_can_answer", lambda *_: True)


class _Anything(int):
    """A number that equals every other."""

    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


@_bug("frame-of-another", "a node takes another gateway's frame with the same number for its own")
def _frame_of_another(patch: Patch) -> None:
    before = outbox.Outbox.__init__

    def begin(self: Any, *arguments: Any, **named: Any) -> None:
        before(self, *arguments, **named)
        self.session = _Anything(self.session)

    patch.set(outbox.Outbox, "__init__", begin)


@_bug("outcomes-mixed-up", "the outcomes of a frame are given to its batches in the wrong order")
def _outcomes_mixed_up(patch: Patch) -> None:
    before = outbox.Outbox._resolve

    def resolve(self: Any, flight: Any, position: int, outcomes: Any, details: Any) -> None:
        before(self, flight, position, outcomes[::-1], details)

    patch.set(outbox.Outbox, "_resolve", resolve)
