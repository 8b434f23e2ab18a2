"""A node: one engine of a cluster, without clock and I/O, so that one thread can simulate several.

Theory of operation. Whoever drives a node tells it what happened (a frame of the log in its order, what became of a
message, a request, the time) and then takes what is to be done about it (messages to publish, replies to send,
snapshots to write). The node keeps nothing that the log does not have, but batches that were not answered yet; those a
client sends again, under the same numbers, to any other node. So a node may die at any moment.

Its states, in the order in which a life has them:

    entering   it folds, and opens its gateway's session; writes are turned away for a moment
    serving    it takes writes and answers each when the fold has met it in the log
    halted     the broker's log contradicts what was folded: no write is taken or answered any more, reads go on
    suspended  the log says that its roots are wrong: it ends

What may not live here: connections, files, what the state means. Normative: specs/cluster-node.md.
"""

from collections import deque
from typing import Any, NamedTuple

from holdfast.core import sessions
from holdfast.core.cold.roles import PAYER
from holdfast.core.fold import Applied, Fold
from holdfast.core.snapshot import content_of
from holdfast.core.state import NONE, Role, Session
from holdfast.domain.errors import InputError, invariant
from holdfast.domain.messages import Batch, Busy, Found, Read, Refused, Reply, Write, WriteNamed, batch_of, written_of
from holdfast.domain.outcomes import place_of
from holdfast.domain.signatures import public_key_of
from holdfast.domain.snapshots import PartContent, SnapshotHeader
from holdfast.proof.frame_tree import FrameTree
from holdfast.replica.directory import Directory
from holdfast.replica.frame_trees import follow_frame
from holdfast.replica.gateway import FRAME_LENGTH_TARGET
from holdfast.replica.names import AccountNames
from holdfast.replica.node import payments, reads
from holdfast.replica.node.commands_of import VOTE_TAG
from holdfast.replica.node.comparison import Comparison
from holdfast.replica.node.entrance import Entrance
from holdfast.replica.node.examination import Examination
from holdfast.replica.node.histories import Histories
from holdfast.replica.node.named import NamedBatch, named_batch, openings, told_of
from holdfast.replica.node.outbox import Message, Outbox, Resolved
from holdfast.replica.node.payments import Effect
from holdfast.replica.node.speaker import PAYMENT, Own, Speaker

READS_MAXIMUM = 1_024
"""Reads that wait for a position; one more is turned away."""
SENT_MAXIMUM = 256
"""Messages whose times are remembered until they are folded; some never come."""
RETRY_S = 0.05
"""What a client is told to wait where nothing better is known."""
MAY_OPEN = {
    Role.CLIENT: ("client",),
    Role.SOURCE: ("source",),
    Role.OPERATOR: ("operator", "client", "source"),
}
"""Which sessions a client may open, by the role that its credentials have."""
_MAY_USE = {role: frozenset(int(Role[name.upper()]) for name in names) for role, names in MAY_OPEN.items()}
_OPENING_TAG = b"open-session"
_GATEWAY, _NUMBER = slice(8, 16), slice(16, 24)
"""Where a frame's header has its gateway and its number (FRM-1)."""


class Identity(NamedTuple):
    """Who a node is.

    Attributes:
        name: Of the replica.
        region: Where it is.
        key: Its Ed25519 seed.
        nonce: Of this process, among all that ever lived.
    """

    name: str
    region: str
    key: bytes
    nonce: str


class Settings(NamedTuple):
    """How a node behaves.

    Attributes:
        tick_interval_s: Between its clocks in the log.
        snapshot_interval_s: Between its snapshots; 0 for none.
        frame_length: Bytes at which a frame is cut.
    """

    tick_interval_s: float = 0.25
    snapshot_interval_s: float = 60.0
    frame_length: int = FRAME_LENGTH_TARGET


class SnapshotDue(NamedTuple):
    """A snapshot to be compressed and written; its content is a copy."""

    header: SnapshotHeader
    parts: dict[str, PartContent]
    names: bytes
    tree: bytes


class _WaitingRead(NamedTuple):
    token: Any
    read: Read
    until: float


class _Asked(NamedTuple):
    """The token of a client's batch: whom to answer, and how."""

    token: Any
    every: bool
    named: NamedBatch | None


class Node:
    """One engine of a cluster.

    Attributes:
        fold: The state; to be read only.
        names: Of accounts.
        halted: Why it takes no writes any more; empty while it does.
        heard_at: Everything that was acknowledged before is folded here.
    """

    def __init__(
        self,
        identity: Identity,
        settings: Settings,
        fold: Fold,
        names: AccountNames,
        comparison: Comparison | None = None,
        tree: FrameTree | None = None,
        examination: Examination | None = None,
    ) -> None:
        """A node whose fold has a part of the log; it takes part in the cluster from the first `turn` on.

        Args:
            identity: Who it is.
            settings: How it behaves.
            fold: The state.
            names: Of accounts.
            comparison: With its second engine; None where it has none.
            tree: Of the frames folded so far, where it is to cosign it.
            examination: By its exact engine; None where it has none.
        """
        self.comparison, self.examination, self._tree = comparison, examination, tree
        self.identity, self._settings = identity, settings
        self.fold, self.names = fold, names
        self.book = Directory(fold, names)
        self.halted = ""
        self._public_key = public_key_of(identity.key)
        self._entrance = Entrance(identity.nonce)
        self._outbox: Outbox | None = None
        self._speaker: Speaker | None = None
        self._histories = Histories()
        self._published: set[str] = set()
        self._replies: list[tuple[Any, Reply]] = []
        self._snapshots: list[SnapshotDue] = []
        self._snapshot_at = float("-inf")
        self._waiting: deque[_WaitingRead] = deque()
        self._retired = False
        self._sent: dict[str, float] = {}
        self._degraded: tuple[tuple[int, str, str | None], tuple[str, ...]] | None = None
        self.heard_at = float("-inf")

    # What happens to a node.

    def deliver(self, position: int, frame: bytes, message_id: str, now: float) -> Applied:
        """Fold the frame at the next position of the log, and answer what it resolves."""
        invariant(position == self.fold.position, f"position {position} came after {self.fold.position - 1}")
        applied = self.fold.apply(frame)
        if self._tree is not None:
            follow_frame(self._tree, self.fold, frame)
        named = self.names.learn(frame, applied)
        if self.comparison is not None:
            self.comparison.folded(self.fold, frame, applied, named, now)
        if self.examination is not None:
            self.examination.folded(self.fold, applied)
        # What was in the log when this node sent a frame stands before that frame. Frames of others say nothing about
        # when they were written: after a stop or a frozen link a node folds old ones as fast as it can.
        self.heard_at = max(self.heard_at, self._sent.pop(message_id, self.heard_at))
        if self._outbox is None:
            session = self._entrance.seen(message_id, applied.outcomes, now)
            if session is not None:
                self._outbox = Outbox(self.identity.nonce, session, length_target=self._settings.frame_length)
        elif int.from_bytes(frame[_GATEWAY], "little") == self._outbox.session:
            number = int.from_bytes(frame[_NUMBER], "little")
            self._outbox.seen(number, position, applied.outcomes, applied.details, now)
            for resolved in self._outbox.resolved():
                self._answer(resolved)
        if VOTE_TAG in frame:
            self.halt(self._histories.problem(frame, self.fold))
        self._take_snapshot(position, now)
        return applied

    def published(self, message_id: str, now: float, *, position: int = NONE) -> None:
        """What became of a message: its position, or NONE where the broker has it not, or nobody knows."""
        stored = position != NONE
        sender = self._entrance if self._outbox is None else self._outbox
        if stored and position < self.fold.position and sender.awaits(message_id):
            self.halt(f"the broker has message {message_id} at position {position}, where another frame was folded")
        sender.published(message_id, now, stored=stored)

    def write(self, token: Any, role: Role, request: Write | WriteNamed) -> None:
        """Take a client's commands into the line, or turn them away at once."""
        try:
            batch, asked = self._read_write(token, role, request)
            turned_away = self._turned_away(role, batch)
        except InputError as error:
            turned_away = Refused(error.code, error.field, error.problem, error.advice)
        if turned_away is not None:
            self._replies.append((token, turned_away))
            return
        invariant(self._outbox is not None, "a node that does not serve turns writes away")
        if self._outbox is not None:
            self._outbox.offer(asked, batch)

    def read(self, token: Any, request: Read, now: float) -> None:
        """Answer a question, now or as soon as the position that it asks for is folded."""
        if self._can_answer(request, now):
            self._replies.append((token, self.found(request)))
        elif len(self._waiting) >= READS_MAXIMUM or request.wait_ms <= 0:
            self._replies.append((token, self._behind(now)))
        else:
            self._waiting.append(_WaitingRead(token, request, now + request.wait_ms / 1_000))

    def halt(self, why: str) -> None:
        """Take no more writes and answer none: the broker's log contradicts what was folded."""
        self.halted = self.halted or why

    def retire(self) -> None:
        """Say nothing more by itself: the node is about to end."""
        self._retired = True

    def turn(self, now: float, clock: int) -> None:
        """Say what is due, and answer reads that waited; to be called after frames, and when `next_at` has come."""
        if not self.halted and not self._retired and self._outbox is not None:
            if self._speaker is None:
                self._speaker = self._found_speaker()
            if self._speaker is not None:
                self._speaker.speak(self.fold, self._outbox, now, clock)
                self._report()
        if self.comparison is not None:
            self.comparison.look(self.fold, now)
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            if self._can_answer(one.read, now):
                self._replies.append((one.token, self.found(one.read)))
            elif now >= one.until:
                self._replies.append((one.token, self._behind(now)))
            else:
                self._waiting.append(one)

    # What a node wants done.

    def messages(self, now: float) -> list[Message]:
        """What is to be published now."""
        if self.halted:
            return []
        found = self._entrance.sends(self.fold, now) if self._outbox is None else self._outbox.sends(now)
        for message in found:
            self._sent.setdefault(message.id, now)
        while len(self._sent) > SENT_MAXIMUM:
            del self._sent[next(iter(self._sent))]
        return found

    def replies(self) -> list[tuple[Any, Reply]]:
        """Replies since the last call, with the tokens of their requests."""
        out, self._replies = self._replies, []
        return out

    def snapshots(self) -> list[SnapshotDue]:
        """Snapshots since the last call."""
        out, self._snapshots = self._snapshots, []
        return out

    def effects(self) -> list[Effect]:
        """What is to be published outside the log, if this node is the one to do it; each once in its life."""
        if self.halted or self._speaker is None or not self.fold.machine.registry.payments:
            return []
        if not self._speaker.holds(self.fold, PAYER):
            self._published.clear()
            return []
        due = payments.due(self.fold, self.book)
        self._published &= {one.id for one in due}
        out = [one for one in due if one.id not in self._published]
        self._published.update(one.id for one in out)
        return out

    def effected(self, effect: Effect, *, done: bool) -> None:
        """What became of an effect: confirmed in the log if it was published, else tried again."""
        if not done:
            self._published.discard(effect.id)
        elif self._speaker is not None and self._outbox is not None and not self.halted:
            self._speaker.confirm(self._outbox, effect.withdrawal)

    def next_at(self, now: float) -> float:
        """When `turn` and `messages` have something to do although nothing happened until then."""
        times = [now + 1.0]
        if self.halted:
            return times[0]
        first = self._entrance.next_at() if self._outbox is None else self._outbox.next_at(now)
        times += [] if first is None else [first]
        times += [] if self._speaker is None else [self._speaker.next_at(self.fold)]
        times += [one.until for one in self._waiting]
        return max(now, min(times))

    # What it says of itself.

    @property
    def number(self) -> int:
        """Of its replica, NONE while the log does not know its key."""
        replicas = self.fold.machine.registry.replicas
        return next((n for n, known in enumerate(replicas) if known.public_key == self._public_key), NONE)

    @property
    def suspended(self) -> bool:
        """Whether the log says that its roots are wrong."""
        number = self.number
        return number != NONE and self.fold.machine.registry.replicas[number].suspended

    @property
    def serving(self) -> bool:
        """Whether it takes writes."""
        return self._outbox is not None and not self.halted

    @property
    def is_idle(self) -> bool:
        """Whether nothing that was taken waits for its answer."""
        return self._outbox is None or self._outbox.is_idle or bool(self.halted)

    def degraded(self) -> tuple[str, ...]:
        """What is not as it should be, in words."""
        at = self.fold.position, self.halted, self._without_second()
        if self._degraded is None or self._degraded[0] != at:
            self._degraded = at, self._find_degraded()
        return self._degraded[1]

    def _find_degraded(self) -> tuple[str, ...]:
        out = list(reads.degraded(self.fold, self._without_second()))
        if self.halted:
            out.append(f"replica {self.identity.name} does not acknowledge: {self.halted}")
        if self.examination is not None and self.examination.problems:
            out.append(f"the exact engine of {self.identity.name} objects: {self.examination.problems[-1]}")
        if self.suspended:
            out.append(f"replica {self.identity.name} is suspended: its state roots are wrong")
        return tuple(out)

    def _without_second(self) -> str | None:
        """Why there is no second engine here, empty where none is configured; None while there is one."""
        return "" if self.comparison is None else self.comparison.absent or None

    def _report(self) -> None:
        """Say which accounts' engines differ."""
        if self._speaker is None or self._outbox is None or not self._speaker.may_report:
            return
        report = None
        if self.comparison is not None:
            report = self.comparison.report(self.fold, self._speaker.number, self._parts)
        if report is None and self.examination is not None:
            report = self.examination.report(self.fold, self._speaker.number)
        if report is not None:
            self._speaker.report(self._outbox, report)

    def _parts(self, account: int) -> dict[str, tuple[float, float]]:
        return reads.components(self.fold, self.book, account)

    def found(self, request: Read) -> Reply:
        """The answer to a question at the present position."""
        try:
            content = reads.answer(self.fold, self.book, request)
        except InputError as error:
            return Refused(error.code, error.field, error.problem, error.advice)
        return Found(content, self.fold.position - 1, self.fold.time, self.identity.name, self.degraded())

    def _answer(self, resolved: Resolved) -> None:
        """A batch is in the log: tell whoever sent it, unless that is no longer to be trusted."""
        if isinstance(resolved.token, Own):
            if self._speaker is not None:
                self._speaker.answered(resolved)
            if resolved.token.kind.startswith(PAYMENT) and resolved.outcomes["reason"].any():
                self._published.clear()  # What was not confirmed is published again; its id makes that harmless.
            return
        if self.halted:
            return
        asked: _Asked = resolved.token
        if asked.named is not None:
            reply: Reply = told_of(asked.named, resolved, self.degraded())
        else:
            reply = written_of(
                resolved.position, resolved.outcomes, resolved.details, self.degraded(), every=asked.every
            )
        self._replies.append((asked.token, reply))

    def _read_write(self, token: Any, role: Role, request: Write | WriteNamed) -> tuple[Batch, _Asked]:
        if isinstance(request, Write):
            return batch_of(request), _Asked(token, request.every, None)
        if request.minimum_position >= self.fold.position:
            advice = "ask again later, or another replica"
            raise InputError("elsewhere", "minimum_position", request.minimum_position, advice, "is not folded yet")
        named = named_batch(self.book, role, request)
        return named.batch, _Asked(token, every=True, named=named)

    def _turned_away(self, role: Role, batch: Batch) -> Reply | None:
        """Why a batch is not taken; None if it is."""
        if self.halted:
            return Refused("elsewhere", "replica", f"does not acknowledge: {self.halted}", "ask another replica")
        if self._outbox is None:
            return Busy(int(RETRY_S * 1_000), "the replica is starting")
        if not self._outbox.has_room(batch.records.nbytes + len(batch.blob)):
            return Busy(int(RETRY_S * 1_000), f"{self._outbox.bytes} bytes are waiting")
        return self._not_allowed(role, batch)

    def _not_allowed(self, role: Role, batch: Batch) -> Reply | None:
        """Whether these credentials may open the sessions that a batch opens, and use those that it uses."""
        if _OPENING_TAG in batch.blob:
            _check_openings(batch, MAY_OPEN[role])
        state = self.fold.machine.state
        column = batch.records["session"]
        for session in {int(column[0])} if (column == column[0]).all() else set(column.tolist()):
            slot = int(sessions.find_session(state, session)) if session < 1 << 63 else NONE
            if slot == NONE:
                if session and place_of(session)[0] >= self.fold.position:
                    return Busy(int(RETRY_S * 1_000 / 5), "the session's opening is not folded here yet")
                continue
            if session and int(state.sessions[slot, Session.ROLE]) not in _MAY_USE[role]:
                raise InputError("not-allowed", "session", session, "use a session of your own role", "is another's")
        return None

    def _found_speaker(self) -> Speaker | None:
        number = self.number
        if number == NONE or self.suspended:
            return None
        interval_s = self._settings.tick_interval_s
        return Speaker(number, self.identity.key, tick_interval_s=interval_s, second=self.comparison, tree=self._tree)

    def _can_answer(self, request: Read, now: float) -> bool:
        if request.minimum_position >= self.fold.position:
            return False
        return request.staleness_ms < 0 or (now - self.heard_at) * 1_000 <= request.staleness_ms

    def _behind(self, now: float) -> Reply:
        age = f"{now - self.heard_at:.1f} s ago" if self.heard_at > float("-inf") else "never"
        problem = f"is at position {self.fold.position - 1} and heard of the log {age}"
        return Refused("elsewhere", "replica", problem, "ask another replica")

    def _take_snapshot(self, position: int, now: float) -> None:
        """Copy the state at a checkpoint, one node after the other, so that the others answer meanwhile."""
        checkpoints, interval = self.fold.checkpoints, self._settings.snapshot_interval_s
        if not interval or not checkpoints or checkpoints[-1].position != position:
            return
        replicas = max(1, len(self.fold.machine.registry.replicas))
        frames = max(1, self.fold.machine.registry.rules.checkpoint_frames)
        if now - self._snapshot_at < interval or ((position + 1) // frames) % replicas != max(0, self.number):
            return
        self._snapshot_at = now
        header, parts = content_of(self.fold)
        tree = b"" if self._tree is None else self._tree.encode(self.fold.chain)
        self._snapshots.append(SnapshotDue(header, parts, self.names.encode(position, self.fold.chain), tree))


def _check_openings(batch: Batch, allowed: tuple[str, ...]) -> None:
    """Refuse a batch that opens a session of a role that its sender may not have."""
    for role in openings(batch):
        if role not in allowed:
            advice = f"open one of {', '.join(allowed)}"
            raise InputError("not-allowed", "role", role, advice, "is not for these credentials")
