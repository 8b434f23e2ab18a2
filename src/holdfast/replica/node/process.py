"""The process of one node: a node (`node`) with a clock, files and connections.

Theory of operation. One event loop does everything that must be in order: it takes frames from the follower, writes
all that have come meanwhile to the node's own copy of the log in one commit, tells the node, and publishes and replies
what the node wants. Nothing is folded, and so nothing answered, that the copy does not hold. The commit is made in the
loop: a thread would cost more than the commit does. It outlives the process; a thread forces it to the storage every
second, as what a majority of the servers has forced already (ADR 17) is only doubled here.
A start is a catch-up: first the copy is brought to the log's end, then the state from the newest certified snapshot and
the copy, then the node takes part.

What may not live here: the protocol. Normative: specs/cluster-node.md.
"""

import asyncio
import contextlib
import functools
import gc
import json
import os
import secrets
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.client import Client as Connection
from nats.aio.msg import Msg

import holdfast
from holdfast.core.snapshot import content_of
from holdfast.core.state import NONE, Role
from holdfast.domain.commands import QuarantineCommand
from holdfast.domain.errors import HoldfastError, InputError
from holdfast.domain.messages import Busy, Read, Refused, Write, WriteNamed, decode_request, encode_message
from holdfast.domain.snapshots import encode_snapshot
from holdfast.log import loops
from holdfast.log.errors import LogError, MissingLogError
from holdfast.log.jetstream.api import SilenceError
from holdfast.log.jetstream.connection import connect
from holdfast.log.jetstream.follower import Follower
from holdfast.log.jetstream.publisher import Fate, publish
from holdfast.log.jetstream.stream import MESSAGE_ID, stream_state
from holdfast.log.jetstream.tasks import end_tasks
from holdfast.log.sqlite import SqliteLog
from holdfast.replica import folder as files
from holdfast.replica import supervision
from holdfast.replica.configuration import Configuration, encode_configuration
from holdfast.replica.errors import EngineError, SuspendedError
from holdfast.replica.frame_trees import tree_of
from holdfast.replica.gateway import FIRST_GATEWAY, Gateway
from holdfast.replica.node import joining
from holdfast.replica.node.comparison import Comparison
from holdfast.replica.node.examination import Examination
from holdfast.replica.node.joining import Candidate
from holdfast.replica.node.node import Identity, Node, Settings, SnapshotDue
from holdfast.replica.node.outbox import EvictedError, Message
from holdfast.replica.node.payments import Effect
from holdfast.replica.node.store import SnapshotStore
from holdfast.replica.warming import warm
from holdfast.replica.witnessing.link import EngineLink
from holdfast.replica.witnessing.messages import Begin, array_of, from_child, from_third

PUBLISH_S = 3.0
"""How long the broker's answer to a message is awaited before its fate counts as unknown."""
SLICE_S = 0.01
"""How long frames are folded before requests and pings have their turn."""
PAUSE_S = 0.1
"""Between attempts to publish what must be in the log before the node can go on."""
_NUMBER_OF_NO_FRAME = (1 << 64) - 1
FORCE_INTERVAL_S = 1.0
"""Between two moments at which the copy is forced to the storage."""
OTHER_PAUSE_S = 5.0
"""Before another second or exact engine begins in the place of one that ended."""
PROGRAMS = {
    "second": ("holdfast.replica.witnessing.child", from_child),
    "exact": ("holdfast.replica.witnessing.third", from_third),
}
"""By engine: the module of its process, and the decoder of what it says."""
DRAIN_S = 5.0
"""How long an orderly end waits for what is under way."""
COMMIT_FRAMES_MAXIMUM = 64
"""Frames of one commit of the copy: 64 MiB at most."""
BACKLOG_MAXIMUM = 256
"""Frames that wait to be folded while reads are still taken: writes go first."""
ADVICE = "see its permissions and the servers' limits; docs/how-to/run-a-cluster.md"
EXIT_INPUT = 2
"""What was given cannot be used; starting again would not help."""
ROLES = {"client": Role.CLIENT, "operator": Role.OPERATOR, "source": Role.SOURCE}

Delivered = tuple[int, bytes, str]
"""Position, frame, message id."""


def run(configuration: Configuration) -> int:
    """Run a node until it is told to end; the exit status of its command."""
    process = NodeProcess(configuration)
    try:
        return loops.run(process.run())
    except HoldfastError as error:
        say(configuration.name, str(error))
        return getattr(error, "exit_code", EXIT_INPUT)


def say(name: str, text: str) -> None:
    """A line in the process's log."""
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())}Z {name} {text}", file=sys.stderr, flush=True)  # noqa: T201


class NodeProcess:
    """One node with everything around it."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._name = configuration.name
        self._inbox: deque[Delivered] = deque()
        self._came = asyncio.Event()
        self._ending = asyncio.Event()
        self._fault: LogError | None = None
        self._failure: EngineError | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._began = time.monotonic()
        self._node: Node
        self._copy: SqliteLog
        self._link: Connection
        self._store: SnapshotStore
        self._opening: supervision.Opening
        self._follower: Follower
        self._others: dict[str, tuple[EngineLink, Comparison | Examination]] = {}

    async def run(self) -> int:
        """From the start to the orderly end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_end)
        folder = files.make_folder(self._configuration.folder)
        key = files.key_of(folder)
        say(self._name, "starts; where its code was never compiled before, that takes a minute or two first")
        await loop.run_in_executor(None, warm)
        access = self._configuration.log.access()
        async with contextlib.AsyncExitStack() as undo:
            self._copy = undo.enter_context(SqliteLog(folder / files.LOG_NAME, forced=False))
            self._link = await connect(access, name=self._name)
            undo.push_async_callback(self._link.close)
            self._store = SnapshotStore(self._link)
            follower = Follower(
                access,
                self._copy.end,
                known=self._known(),
                deliver=self._delivered,
                fault=self._faulted,
            )
            self._follower = follower
            following = asyncio.create_task(follower.run())
            following.add_done_callback(self._finished)
            forcing = asyncio.create_task(self._force())
            forcing.add_done_callback(self._finished)
            undo.push_async_callback(end_tasks, (following, forcing))
            await self._join(folder, key)
            if not self._ending.is_set():
                await self._serve()
        return 0

    async def _force(self) -> None:
        """Force the copy to the storage, again and again."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(FORCE_INTERVAL_S)
            await loop.run_in_executor(None, self._copy.force)

    def _told_to_end(self) -> None:
        self._ending.set()
        self._came.set()

    def _known(self) -> tuple[int, bytes] | None:
        """The last frame of the copy, by which the follower knows that the broker's log is the same."""
        end = self._copy.end
        return next(iter(self._copy.read(end - 1)), None) if end else None

    def _delivered(self, position: int, frame: bytes, message_id: str) -> None:
        self._inbox.append((position, frame, message_id))
        self._came.set()

    def _faulted(self, fault: LogError) -> None:
        self._fault = fault
        say(self._name, f"the log cannot be trusted, nothing is acknowledged any more: {fault}")
        self._came.set()

    async def _join(self, folder: Path, key: bytes) -> None:
        """Bring the copy to the log's end, then the state."""
        await self._catch_up()
        loop = asyncio.get_running_loop()
        keys = [replica.key for replica in self._configuration.replicas]
        candidates = self._snapshots(folder, loop)
        begun = await loop.run_in_executor(None, joining.begin, self._copy, candidates, keys)
        for line in begun.passed_over:
            say(self._name, f"snapshot passed over: {line}")
        settings = Settings(self._configuration.tick_interval_ms / 1_000, self._configuration.snapshot_interval_s)
        identity = Identity(self._name, self._configuration.region, key, secrets.token_hex(8))
        others = (Comparison(), Examination()) if self._configuration.witness else (None, None)
        at = begun.fold.position, begun.fold.chain
        tree = await loop.run_in_executor(None, tree_of, self._copy, folder, *at)
        self._node = Node(identity, settings, begun.fold, begun.names, others[0], tree, others[1])
        first = begun.fold.position
        for data in await loop.run_in_executor(None, self._read_quarantines, first):
            begun.fold.learn_quarantine(data)
        self._opening = supervision.Opening(folder)
        while (self._node.fold.position < self._copy.end or self._inbox) and not self._ending.is_set():
            if await loop.run_in_executor(None, self._replay):
                await self._set_aside(key)
            self._copied()
        replayed = self._node.fold.position - first
        source = begun.source or "the beginning"
        took = time.monotonic() - self._began
        say(
            self._name, f"joined at position {self._node.fold.position}: {source}, then {replayed} frames, {took:.1f} s"
        )

    def _snapshots(self, folder: Path, loop: asyncio.AbstractEventLoop) -> Iterator[Candidate]:
        """This disk's snapshots, then the store's newest, fetched if asked for; not to be run in the loop's thread."""
        yield from joining.local_snapshots(folder)
        remote = asyncio.run_coroutine_threadsafe(self._store.newest(), loop).result()
        if remote is not None:
            yield remote

    async def _catch_up(self) -> None:
        """Bring the copy to the end that the log has now."""
        end = await self._known_end()
        while self._copy.end < end or not self._follower.verified:
            if self._fault is not None or self._ending.is_set():
                return  # What the copy has can still be read.
            if not self._inbox:
                await self._wait(PAUSE_S)
            self._copied()
            await asyncio.sleep(0)

    async def _known_end(self) -> int:
        """The end that the log has now; while it elects a leader nobody says it."""
        while self._fault is None and not self._ending.is_set():
            try:
                return (await stream_state(self._link)).end
            except (SilenceError, MissingLogError):
                await asyncio.sleep(PAUSE_S)  # That it is gone is the follower's to judge.
        return 0

    def _copied(self) -> list[Delivered]:
        """What came, as far as one commit takes it, once the copy holds it durably."""
        self._came.clear()
        came = [self._inbox.popleft() for _ in range(min(len(self._inbox), COMMIT_FRAMES_MAXIMUM))]
        if came:
            self._copy.append_group([frame for _, frame, _ in came])
        return came

    def _read_quarantines(self, start: int) -> list[bytes]:
        return [data for _, frame in self._copy.read(start) for data in joining.quarantines(frame)]

    def _replay(self) -> bool:
        """Fold what the copy has and the state has not; True before a frame that has killed this process too often."""
        for position, frame in self._copy.read(self._node.fold.position):
            known = bool(self._node.fold.standing())
            if not known and self._opening.is_careful and self._opening.at(position):
                return True
            self._node.deliver(position, frame, "", time.monotonic())
        return False

    async def _set_aside(self, key: bytes) -> None:
        """Sign a quarantine of the next frame, and wait until a majority has.

        What counts is the signature, wherever in the log it stands: so the frame that carries it need not be one that
        the fold takes, and its number is one that no gateway reaches.
        """
        fold = self._node.fold
        say(self._name, f"position {fold.position} killed this process again and again; it signs a quarantine")
        data = supervision.quarantine_of(fold.position, fold.chain, self._configuration.number, key)
        gateway = Gateway(FIRST_GATEWAY, _NUMBER_OF_NO_FRAME)
        gateway.add_cold(0, 0, QuarantineCommand(data))
        (frame,) = gateway.frames()
        name = f"{self._node.identity.nonce}.quarantine.{fold.position}"
        while not self._ending.is_set():
            if (await publish(self._link, frame, name, PUBLISH_S)).fate is Fate.STORED:
                break
            await asyncio.sleep(PAUSE_S)
        while not fold.standing() and not self._ending.is_set():
            if not self._inbox:
                await self._wait(PAUSE_S)
            for _, came, _ in self._copied():
                for signed in joining.quarantines(came):
                    fold.learn_quarantine(signed)
        if fold.standing():
            say(self._name, f"position {fold.position} is set aside by a majority")

    async def _serve(self) -> None:
        """Take part until told to end."""
        gc.freeze()  # What is there now stays: looking through it again and again would only hold up answers.
        subscriptions = await self._subscribe()
        for name, view in (("second", self._node.comparison), ("exact", self._node.examination)):
            if view is not None:
                await self._start_other(name, view)
        say(self._name, "serves")
        await self._run_turns(self._ending.is_set)
        say(self._name, "ends: takes no more requests")
        self._node.retire()
        for subscription in subscriptions:
            await subscription.drain()
        deadline = time.monotonic() + DRAIN_S
        await self._run_turns(lambda: self._node.is_idle or time.monotonic() > deadline)
        with contextlib.suppress(nats.errors.Error, OSError):
            await self._link.flush()
        for link, _ in list(self._others.values()):
            await link.close()
        self._opening.done()

    async def _start_other(self, name: str, view: Comparison | Examination) -> None:
        """Start another engine from the state as it is now; what is folded meanwhile waits in its pipe."""
        first = (_beginning(self._configuration, self._node),) if isinstance(view, Comparison) else ()
        view.started()

        def ended(why: str) -> None:
            view.ended(why)
            self._others.pop(name, None)
            say(self._name, f"the {name} engine ended: {why}; another begins in {OTHER_PAUSE_S:g} s")
            asyncio.get_running_loop().call_later(OTHER_PAUSE_S, again)

        def again() -> None:
            if not self._ending.is_set() and self._failure is None:
                self._spawn(self._start_other(name, view))

        def answered(answer: Any) -> None:
            view.answered(answer)
            self._came.set()

        link = EngineLink(*PROGRAMS[name], answered=answered, ended=ended)
        self._others[name] = link, view
        await link.start(*first)

    async def _run_turns(self, over: Callable[[], bool]) -> None:
        while not over():
            began = time.monotonic()
            for delivered in self._copied():
                await self._fold(delivered)
                if time.monotonic() - began > SLICE_S:
                    await asyncio.sleep(0)
                    began = time.monotonic()
            if self._fault is not None:
                self._node.halt(str(self._fault))
            if self._node.suspended:
                raise SuspendedError(self._name, "lost the vote on a state root", "see docs/how-to/repair-a-cluster.md")
            now = time.monotonic()
            self._node.turn(now, self._clock())
            await self._flush(now)
            await self._wait(0.0 if self._inbox else self._node.next_at(now) - now)

    async def _fold(self, delivered: Delivered) -> None:
        began = time.monotonic()
        try:
            self._node.deliver(*delivered, began)
        except EvictedError:
            raise EngineError(self._name, "its gateway's session was evicted", "start it again") from None
        await self._flush(time.monotonic())

    async def _wait(self, seconds: float) -> None:
        """Until something came, or so long; EngineError where a task of this process failed."""
        timer = asyncio.get_running_loop().call_later(max(0.0, seconds), self._came.set)
        await self._came.wait()
        timer.cancel()
        if self._failure is not None:
            raise self._failure

    def _clock(self) -> int:
        return time.time_ns() + int(self._configuration.clock_offset_s * 1e9)

    async def _flush(self, now: float) -> None:
        """Do what the node wants done."""
        for message in self._node.messages(now):
            self._spawn(self._publish(message))
        for token, reply in self._node.replies():
            await _respond(self._link, token, reply)
        for effect in self._node.effects():
            self._spawn(self._effect(effect))
        for due in self._node.snapshots():
            self._spawn(self._keep(due))
        for link, view in self._others.values():
            link.send(view.messages())

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Future[Any]) -> None:
        """A task is over; one that failed ends the process, as nobody else would hear of it."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = EngineError(self._name, f"failed: {error!r}", "start it again, and report this")
            self._failure.__cause__ = error
            self._came.set()

    async def _publish(self, message: Message) -> None:
        published = await publish(self._link, message.frame, message.id, PUBLISH_S)
        position = published.position if published.fate is Fate.STORED else NONE
        now = time.monotonic()
        if position != NONE:
            self._follower.stored(position, message.frame, message.id)
        self._node.published(message.id, now, position=position)
        if not published.again:
            self._failure = EngineError(self._name, f"the log takes none of its frames: {published.problem}", ADVICE)
        if position == NONE:
            say(self._name, f"message {message.id}: {published.fate.value} ({published.problem})")
            self._came.set()

    async def _effect(self, effect: Effect) -> None:
        """Publish an effect; the broker drops a repeat of its id, and so does whoever carries it out."""
        done = False
        try:
            await self._link.jetstream().publish(
                effect.subject, effect.content, timeout=PUBLISH_S, headers={MESSAGE_ID: effect.id}
            )
            done = True
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
            say(self._name, f"{effect.id} was not published: {error!r}")
            await asyncio.sleep(PAUSE_S)
        self._node.effected(effect, done=done)
        self._came.set()

    async def _keep(self, due: SnapshotDue) -> None:
        """Write a snapshot to disk and to the store; what fails costs a later start time and nothing else."""
        loop = asyncio.get_running_loop()
        try:
            data = await loop.run_in_executor(None, encode_snapshot, due.header, due.parts)
            write = functools.partial(
                files.SnapshotFiles(self._configuration.folder).write, due.header.position, data, due.names, due.tree
            )
            await loop.run_in_executor(None, write)
            await self._store.put(due.header.position, data, due.names)
        except (HoldfastError, OSError) as error:
            say(self._name, f"snapshot of position {due.header.position} was not kept: {error}")

    async def _subscribe(self) -> list[Any]:
        name, region = self._name, self._configuration.region
        subscribe = self._link.subscribe
        out = [
            await subscribe(f"holdfast.write.{word}.{name}", cb=functools.partial(self._asked_to_write, role))
            for word, role in ROLES.items()
        ]
        out.append(await subscribe(f"holdfast.read.{region}", queue="readers", cb=self._asked_to_read))
        out.append(await subscribe(f"holdfast.status.{name}", cb=self._asked_for_status))
        return out

    async def _asked_to_write(self, role: Role, message: Msg) -> None:
        now = time.monotonic()
        try:
            request = decode_request(message.data)
            if isinstance(request, Read):
                raise InputError("malformed", "request", "read", "send it to holdfast.read.<region>")
            self._node.write(message, role, request)
        except InputError as error:
            await _respond(self._link, message, Refused(error.code, error.field, error.problem, error.advice))
        await self._flush(now)

    async def _asked_to_read(self, message: Msg) -> None:
        now = time.monotonic()
        try:
            request = decode_request(message.data)
            if isinstance(request, Write | WriteNamed):
                raise InputError("malformed", "request", "write", "send it to holdfast.write.<role>.<replica>")
            if len(self._inbox) > BACKLOG_MAXIMUM:
                await _respond(self._link, message, Busy(20, "frames are waiting to be folded"))
                return
            self._node.read(message, request, now)
        except InputError as error:
            await _respond(self._link, message, Refused(error.code, error.field, error.problem, error.advice))
        await self._flush(now)

    async def _asked_for_status(self, message: Msg) -> None:
        await _answer(self._link, message, json.dumps(self.status()).encode())

    def status(self) -> dict[str, Any]:
        """What `holdfast cluster status` shows of it."""
        fold = self._node.fold
        checkpoint = fold.checkpoints[-1] if fold.checkpoints else None
        return {
            "name": self._name,
            "region": self._configuration.region,
            "position": fold.position - 1,
            "end": fold.position + len(self._inbox),
            "time": fold.time,
            "serving": self._node.serving,
            "suspended": self._node.suspended,
            "degraded": list(self._node.degraded()),
            "witness": self._witness_status(),
            "exact": self._exact_status(),
            "checkpoint": None if checkpoint is None else checkpoint.position,
            "root": None if checkpoint is None else checkpoint.root.hex(),
            "logic": fold.machine.registry.logic,
            "version": holdfast.__version__,
            "pid": os.getpid(),
            "uptime_s": time.monotonic() - self._began,
        }

    def _witness_status(self) -> dict[str, Any] | None:
        """Of the second engine; None where none is configured."""
        seen = self._node.comparison
        if seen is None:
            return None
        found = {"compared": seen.compared, "differing": seen.differing, "contradicted": list(seen.contradicted)}
        return {"absent": seen.absent, "pid": self._pid_of("second"), **found}

    def _exact_status(self) -> dict[str, Any] | None:
        """Of the exact engine; None where none is configured."""
        seen = self._node.examination
        if seen is None:
            return None
        found = {"accounts": seen.accounts, "values": seen.values, "ulps": seen.ulps, "seconds": seen.seconds}
        return {"absent": seen.absent, "pid": self._pid_of("exact"), **found, "problems": list(seen.problems)}

    def _pid_of(self, name: str) -> int | None:
        found = self._others.get(name)
        return None if found is None else found[0].pid


def _beginning(configuration: Configuration, node: Node) -> Begin:
    """The state as a second engine begins from it; nothing before the first frame."""
    known = encode_configuration(configuration)
    if not node.fold.position:
        return Begin(known, -1, {}, node.names.by_number())
    header, content = content_of(node.fold)
    parts = {name: part if isinstance(part, bytes) else array_of(part) for name, part in content.items()}
    return Begin(known, header.position, parts, node.names.by_number())


async def _respond(link: Connection, message: Msg, reply: Any) -> None:
    await _answer(link, message, encode_message(reply))


async def _answer(link: Connection, message: Msg, reply: bytes) -> None:
    """Send a reply. Without a connection it is lost, as any may be on its way: who asked asks again."""
    if message.reply:
        with contextlib.suppress(nats.errors.Error, OSError):
            await link.publish(message.reply, reply)
