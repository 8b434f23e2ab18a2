"""A node's process as a model: the real `Node`, joining and snapshots, driven as `replica.node.process` drives them.

Theory of operation. A process starts by bringing its copy to the end of the log, takes its state from the best
certified snapshot and the copy, and then takes part: what was delivered goes into the copy and then into the node, and
what the node wants said is said. A process may die at any moment; all that it leaves is its disk, and messages on their
way. A paused process does late what it would have done, in the same order.

What may not live here: the protocol of a node, and when things go wrong.
"""

from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, Final, NamedTuple

from holdfast.core.state import NONE, Role
from holdfast.domain.errors import InputError
from holdfast.domain.messages import Read, Refused, Reply, decode_request, encode_message
from holdfast.domain.snapshots import encode_snapshot
from holdfast.replica.gateway import FRAME_LENGTH_TARGET
from holdfast.replica.node import joining
from holdfast.replica.node.joining import Candidate
from holdfast.replica.node.node import Identity, Node, Settings, SnapshotDue
from holdfast.replica.node.outbox import EvictedError, Message
from holdfast.simulation.broker import Broker
from holdfast.simulation.disk import Disk, Store
from holdfast.simulation.following import Following
from holdfast.simulation.genesis import KEYS, PUBLIC_KEYS, START
from holdfast.simulation.scheduler import Event, Scheduler, Violation
from holdfast.simulation.weather import BROKER, Weather

SETTINGS: Final = Settings(tick_interval_s=1.2, snapshot_interval_s=4.0)
FRAME_LENGTHS: Final = (160, 512, FRAME_LENGTH_TARGET)
"""Short ones, so that several are under way at once."""
RESTART_S: Final = (0.1, 0.6)
"""After which a supervisor starts a process again that ended by itself."""
PAUSE_S: Final = 0.1
"""Between attempts to hear where the log ends."""
STEP_S: Final = 0.001
"""The shortest wait for a node's next turn."""


class Stage(Enum):
    """Where the life of a process is."""

    DOWN = "down"
    JOINING = "joining"
    SERVING = "serving"
    SUSPENDED = "suspended"


class Surroundings(NamedTuple):
    """What a process meets."""

    scheduler: Scheduler
    weather: Weather
    broker: Broker
    store: Store
    observer: "Observer"


class Observer:
    """Who looks on; the oracle in place of this one."""

    def joined(self, engine: "Engine", source: str) -> None:
        """A node has its state."""

    def folded(self, engine: "Engine") -> None:
        """A node has folded a frame."""

    def answering(self, engine: "Engine", reply: Reply) -> None:
        """A node is about to reply."""

    def publishing(self, engine: "Engine", message: Message) -> None:
        """A node is about to publish."""

    def told(self, engine: "Engine", message: Message, position: int) -> None:
        """A node heard what became of a message; NONE for nothing."""


class Clock:
    """The wall clock of a machine: right, ahead or behind, or stopped."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._offset_s = 0.0
        self._stopped_at: float | None = None

    def now(self) -> int:
        """What it shows, ns."""
        shown = self._scheduler.now if self._stopped_at is None else self._stopped_at
        return START + int((shown + self._offset_s) * 1e6) * 1_000

    def step(self, seconds: float) -> None:
        """Set it forward or back."""
        self._offset_s += seconds

    def stop(self) -> None:
        """Let it stand still."""
        self._stopped_at = self._scheduler.now

    def mend(self) -> None:
        """Set it right."""
        self._offset_s, self._stopped_at = 0.0, None


class Engine:
    """One replica of the cluster and its machine.

    Attributes:
        number: Of the replica.
        name: Of the replica; its region has the same.
        node: The node of the present process; None while there is none.
        stage: Of the present process.
        disk: What survives it.
        clock: Of the machine.
        is_corrupt: Whether the memory of the present process was changed behind its back.
    """

    def __init__(self, number: int, surroundings: Surroundings, frames: list[bytes]) -> None:
        self.number, self.name = number, f"engine-{'abc'[number]}"
        self.node: Node | None = None
        self.stage = Stage.DOWN
        self.disk = Disk(frames)
        self.clock = Clock(surroundings.scheduler)
        self.is_corrupt = False
        self._scheduler, self._weather, self._broker, self._store, self._observer = surroundings
        self._settings = SETTINGS._replace(frame_length=self._scheduler.random.choice(FRAME_LENGTHS))
        self._life = 0
        self._inbox: deque[tuple[int, bytes, str]] = deque()
        self._following: Following | None = None
        self._paused_until = 0.0
        self._backlog: deque[tuple[int, Callable[..., None], tuple[Any, ...]]] = deque()
        self._timer: Event | None = None
        self._is_writing = False

    # What the machine does.

    def start(self) -> None:
        """Start a process, unless one runs."""
        if self.stage is not Stage.DOWN:
            return
        self._life += 1
        self.stage = Stage.JOINING
        end = self.disk.copy.end
        known = next(iter(self.disk.copy.read(end - 1)), (0, b""))[1] if end else None
        life = self._life
        self._following = Following(
            self._scheduler,
            self._weather,
            self._broker,
            self.name,
            start=end,
            known=known,
            deliver=lambda *frame: self._in_turn(life, self._came, *frame),
            fault=lambda problem: self._in_turn(life, self._faulted, problem),
        )
        self._scheduler.note(self.name, f"starts with {end} frames")
        self._in_turn(life, self._catch_up)

    def crash(self) -> None:
        """Kill the process; what was not on disk is gone."""
        if self.stage in (Stage.DOWN, Stage.SUSPENDED):
            return
        self._scheduler.note(self.name, "dies")
        self._scheduler.count("nodes killed")
        self._leave(Stage.DOWN)

    def pause(self, seconds: float) -> None:
        """Let the process do nothing for a while."""
        self._paused_until = max(self._paused_until, self._scheduler.now + seconds)

    def repair(self) -> None:
        """Give a node that ended for good an empty disk and start it, as the runbook says."""
        self.disk.wipe()
        if self.stage is Stage.SUSPENDED:
            self.stage = Stage.DOWN
        self.start()

    @property
    def heard(self) -> int:
        """The end of what the broker has delivered to the present process."""
        return 0 if self._following is None else self._following.next

    # What its clients see.

    def is_there(self) -> bool:
        """Whether a process has subscribed."""
        return self.stage is Stage.SERVING

    def is_serving(self) -> bool:
        """What it answers to a question for its status."""
        return self.stage is Stage.SERVING and self.node is not None and self.node.serving

    def hear(self, role: Role, data: bytes, reply: Callable[[bytes], None]) -> None:
        """Take a request."""
        self._in_turn(self._life, self._asked, role, data, reply)

    # What the process does.

    def _leave(self, stage: Stage) -> None:
        self._life += 1
        self.stage, self.node, self.is_corrupt, self._is_writing = stage, None, False, False
        self._inbox.clear()
        if self._following is not None:
            self._following.close()

    def _in_turn(self, life: int, action: Callable[..., None], *arguments: Any) -> None:
        """Do something if the process still lives, later if it is paused."""
        if life != self._life:
            return
        if self._backlog or self._paused_until > self._scheduler.now:
            if not self._backlog:
                self._scheduler.after(self._paused_until - self._scheduler.now, self._resume)
            self._backlog.append((life, action, arguments))
        else:
            self._do(action, *arguments)

    def _resume(self) -> None:
        """Do what had to wait, in its order."""
        wait = self._paused_until - self._scheduler.now
        if wait > 0.0:
            self._scheduler.after(wait, self._resume)
            return
        backlog = list(self._backlog)
        self._backlog.clear()
        for life, action, arguments in backlog:
            if life == self._life:
                self._do(action, *arguments)

    def _do(self, action: Callable[..., None], *arguments: Any) -> None:
        try:
            action(*arguments)
        except EvictedError:
            self._end_itself("its session was evicted")
        except Violation:
            raise
        except Exception as error:
            raise Violation("a node fails", f"{self.name}: {error!r}") from error

    def _end_itself(self, why: str) -> None:
        self._scheduler.note(self.name, f"ends: {why}")
        self._leave(Stage.DOWN)
        self._scheduler.after(self._scheduler.between(*RESTART_S), self.start)

    def _came(self, position: int, frame: bytes, message_id: str) -> None:
        self._inbox.append((position, frame, message_id))
        if not self._is_writing:
            self._is_writing = True
            slow = self._scheduler.chance(self._weather.slow_disk)
            delay = self._scheduler.between(0.05, 0.5) if slow else self._scheduler.between(0.0002, 0.002)
            self._scheduler.after(delay, self._in_turn, self._life, self._written)

    def _written(self) -> None:
        """The copy holds what came; now it may be folded."""
        self._is_writing = False
        came = list(self._inbox)
        self._inbox.clear()
        if came:
            self.disk.copy.append_group([frame for _, frame, _ in came])
        if self.stage is Stage.SERVING:
            for position, frame, message_id in came:
                self._fold(position, frame, message_id)
                self._flush()
            self._turn()

    def _faulted(self, problem: str) -> None:
        self._scheduler.note(self.name, f"fault: {problem}")
        if self.node is not None:
            self._scheduler.count("nodes halted")
            self.node.halt(problem)
        else:
            self._end_itself(problem)

    def _catch_up(self) -> None:
        """Wait until the copy holds what the log has; then take part."""
        if self.stage is not Stage.JOINING:
            return
        reached = self._weather.reaches(self.name, BROKER)
        if reached and self.disk.copy.end >= self._broker.end and not self._inbox:
            self._join()
        else:
            self._scheduler.after(PAUSE_S, self._in_turn, self._life, self._catch_up)

    def _join(self) -> None:
        begun = joining.begin(self.disk.copy, self._candidates(), PUBLIC_KEYS)
        identity = Identity(self.name, self.name, KEYS[self.number], f"{self.name}-{self._life}")
        self.node = Node(identity, self._settings, begun.fold, begun.names)
        self._scheduler.note(self.name, f"joins at {begun.fold.position} from {begun.source or 'the beginning'}")
        self._observer.joined(self, begun.source)
        for position, frame in self.disk.copy.read(begun.fold.position):
            self._fold(position, frame, "")
        self.stage = Stage.SERVING
        self._turn()

    def _candidates(self) -> Iterator[Candidate]:
        yield from self.disk.newest_first()
        if self._weather.reaches(self.name, BROKER):
            yield from self._store.newest()

    def _fold(self, position: int, frame: bytes, message_id: str) -> None:
        if self.node is not None:
            self.node.deliver(position, frame, message_id, self._scheduler.now)
            self._observer.folded(self)

    def _turn(self) -> None:
        node = self.node
        if node is None or self.stage is not Stage.SERVING:
            return
        if node.suspended:
            self._scheduler.note(self.name, "is suspended")
            self._scheduler.count("nodes suspended")
            self._leave(Stage.SUSPENDED)
            return
        node.turn(self._scheduler.now, self.clock.now())
        self._flush()
        if self._timer is not None:
            self._timer.cancel()
        wait = max(STEP_S, node.next_at(self._scheduler.now) - self._scheduler.now)
        self._timer = self._scheduler.after(wait, self._in_turn, self._life, self._turn)

    def _flush(self) -> None:
        """Do what the node wants done."""
        node = self.node
        if node is None:
            return
        for message in node.messages(self._scheduler.now):
            self._observer.publishing(self, message)
            self._broker.publish(self.name, message, self._told(message))
        for token, reply in node.replies():
            self._observer.answering(self, reply)
            token(encode_message(reply))
        for due in node.snapshots():
            self._scheduler.after(
                self._scheduler.between(0.01, 0.3), self._in_turn, self._life, self._keep, due, self.disk
            )

    def _told(self, message: Message) -> Callable[[int, bool], None]:
        life = self._life

        def told(position: int, repeated: bool) -> None:  # noqa: FBT001 (what the broker calls)
            self._in_turn(life, self._published, message, position, repeated)

        return told

    def _published(self, message: Message, position: int, repeated: bool) -> None:  # noqa: FBT001
        if self.node is not None:
            self._observer.told(self, message, position)
            if position != NONE and self._following is not None:
                self._following.stored(position, message.frame, message.id)
            self.node.published(message.id, self._scheduler.now, position=position)
            if position == NONE or repeated:
                self._turn()

    def _asked(self, role: Role, data: bytes, reply: Callable[[bytes], None]) -> None:
        node = self.node
        if node is None or self.stage is not Stage.SERVING:
            return
        try:
            request = decode_request(data)
        except InputError as error:
            reply(encode_message(Refused(error.code, error.field, error.problem, error.advice)))
            return
        if isinstance(request, Read):
            node.read(reply, request, self._scheduler.now)
        else:
            node.write(reply, role, request)
        self._turn()

    def _keep(self, due: SnapshotDue, disk: Disk) -> None:
        """Write a snapshot to disk and to the store; either may fail."""
        position = due.header.position
        kept = Candidate(f"position {position}", encode_snapshot(due.header, due.parts), due.names)
        if not self._scheduler.chance(self._weather.failing_write):
            disk.keep(kept)
        reached = self._weather.reaches(self.name, BROKER)
        if reached and not self._scheduler.chance(self._weather.failing_write):
            self._store.put(position, kept)
