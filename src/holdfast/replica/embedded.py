"""One engine over one log: append, fold, answer.

Theory of operation. One process holds the log's lock, so it alone decides what the next frame is. A submission is one
group: it is appended (from then on it is durable), then folded, then answered. Because nothing is in flight between two
submissions, the numbers that sessions and the gateway use next are those that the fold expects; they are read from it
each time and kept nowhere else. A submission that did not reach the log leaves them as they were.

What cannot be known stops the engine: after an append whose fate is unknown, or a fold that was interrupted, memory may
not be what the log says. Everything is then refused until the engine is opened again, which reads what is really there.

What may not live here: rules of the state, files (`folder`), words (`words`). Normative: specs/replica.md.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from holdfast.core import sessions
from holdfast.core.fold import Applied, Fold
from holdfast.core.snapshot import fold_from, snapshot_of
from holdfast.core.state import NONE, Role, Session
from holdfast.domain.commands import DefineReplica, DefineSource, OpenSession, QuarantineCommand, Tick
from holdfast.domain.errors import HoldfastError, InputError, invariant
from holdfast.domain.frames import RECORD, FrameError, decode_frame, encode_frame
from holdfast.domain.outcomes import command_id, place_of
from holdfast.domain.reasons import Reason
from holdfast.domain.signatures import public_key_of
from holdfast.log.errors import FullError, LockedError, LogError, ReadOnlyError
from holdfast.log.protocol import GROUP_FRAMES_MAXIMUM, GroupLog
from holdfast.replica import folder as files
from holdfast.replica import supervision
from holdfast.replica.decisions import cosignatures, decisions, is_suspended, root_votes
from holdfast.replica.errors import ReplayError, ShortLogError, StoppedError
from holdfast.replica.frame_trees import follow_frame, tree_of
from holdfast.replica.gateway import FIRST_GATEWAY, ClientSession, Gateway, Request
from holdfast.replica.names import AccountNames
from holdfast.replica.warming import warm

REPLICA_NAME = "embedded"
DECISION_ROUNDS_MAXIMUM = 64
"""Rounds of own decisions after one submission: a bound on what one command can set off."""
_NOTHING_HAPPENED = (LockedError, ReadOnlyError, FullError, InputError)
"""What an append raises when the frames are certainly not in the log."""


class Answer(NamedTuple):
    """What became of one command.

    Attributes:
        outcome: Of type `domain.outcomes.OUTCOME`.
        detail: What does not fit in it, None for nothing.
    """

    outcome: Any
    detail: object = None

    @property
    def accepted(self) -> bool:
        """Whether it took effect."""
        return int(self.outcome["reason"]) == Reason.ACCEPTED


class Start(NamedTuple):
    """How an engine came to its state.

    Attributes:
        snapshot: Position of the snapshot that it began with, None for none.
        replayed: Frames that were folded after it.
        passed_over: Snapshots that could not be used, a line for each.
        duration_s: Time that it took.
    """

    snapshot: int | None
    replayed: int
    passed_over: tuple[str, ...]
    duration_s: float


class EmbeddedEngine:
    """One engine over one log. Threads may share it: submissions go one after the other.

    Attributes:
        log: The log.
        names: Of accounts.
        start: How it came to its state.
    """

    def __init__(
        self,
        log: GroupLog,
        *,
        folder: Path | None = None,
        clock: Callable[[], int] = time.time_ns,
        watch: Callable[[str], None] | None = None,
    ) -> None:
        """Read the newest usable snapshot and replay the rest of the log. Only a quarantine is ever appended.

        Args:
            log: Opened for writing, or in memory. Closed with the engine; not by an opening that fails.
            folder: Where key, sessions and snapshots are kept; None keeps none of them.
            clock: Nanoseconds since 1970, for ticks that state no time.
            watch: As for `Fold`.

        Raises:
            ShortLogError: A snapshot holds more than the log.
            ReplayError: A frame of the log cannot be folded.
            KeyFileError: The replica's key cannot be used.
            LogError: The log or a file cannot be read or written.
        """
        began = time.monotonic()
        self.log = log
        self._folder, self._clock = folder, clock
        self._lock = threading.RLock()
        self._failure = ""
        self._key = files.key_of(folder)
        self._public_key = public_key_of(self._key)
        self._fold, self.names, snapshot, passed_over = self._loaded(watch)
        self._tree = tree_of(self.log, self._folder, self._fold.position, self._fold.chain)
        first = self._fold.position
        self._replay()
        self._tree.forget(self._tree.size)  # Those of an earlier process are said, or the next one covers them.
        self._own = self._found_sessions()
        self.start = Start(snapshot, self._fold.position - first, tuple(passed_over), time.monotonic() - began)

    @property
    def fold(self) -> Fold:
        """The state; to be read only.

        Raises:
            StoppedError: It is not to be trusted any more.
        """
        self._check()
        return self._fold

    @property
    def position(self) -> int:
        """The position that the next frame will get."""
        return self.fold.position

    @property
    def private_key(self) -> bytes:
        """The replica's Ed25519 key, for signing votes."""
        return self._key

    @property
    def next_frame(self) -> int:
        """The number that the next frame of the log's first gateway will get."""
        return self._expected(FIRST_GATEWAY)

    def submit(self, frames: Sequence[bytes], *, trusted: bool = False) -> list[Applied]:
        """Append frames as one group, durably, then fold them. Returning acknowledges them.

        Args:
            frames: At most one group of a log (`log.protocol`).
            trusted: Whether they come from `Gateway` in this process, so that they need no check.

        Returns:
            What each did.

        Raises:
            InputError: One is no frame, or they are more than a group holds. Nothing was appended.
            LogError: Nothing was acknowledged. After LockedError, ReadOnlyError and FullError the engine goes on.
            StoppedError: The engine stopped before.
        """
        if not trusted:
            _check_frames(frames)
        with self._lock:
            self._check()
            self._append(frames)
            return [self._apply(frame) for frame in frames]

    def send(self, requests: Sequence[Request]) -> list[Answer]:
        """Send commands of the engine's own sessions, opening those that are missing, all in one group.

        Returns:
            One answer for each command, in their order.

        Raises:
            As `submit`.
        """
        with self._lock:
            self._check()
            gateway = Gateway(FIRST_GATEWAY, self._expected(FIRST_GATEWAY))
            speakers = self._speakers(requests, gateway)
            opening = gateway.frames()
            for request in requests:
                gateway.add_request(speakers[request.role, request.subject], request)
            applied = self.submit([*opening, *gateway.frames()], trusted=True)
            if opening:
                self._remember(speakers, applied[0])
            return [answer for one in applied[len(opening) :] for answer in answers_of(one)]

    def replica(self) -> int:
        """The number of this engine's replica, which is defined if the log does not know its key."""
        with self._lock:
            number, replicas = self._number(), self.fold.machine.registry.replicas
            if number < len(replicas) and replicas[number].public_key == self._public_key:
                return number
            return self._defined(DefineReplica(REPLICA_NAME, self._public_key))

    def _number(self) -> int:
        """The number of this engine's replica: under its key, else the one that defining it will give."""
        replicas = self.fold.machine.registry.replicas
        keys, names = [known.public_key for known in replicas], [known.name for known in replicas]
        if self._public_key in keys:
            return keys.index(self._public_key)
        return names.index(REPLICA_NAME) if REPLICA_NAME in names else len(replicas)

    def source(self, name: str) -> int:
        """The number of a price source, which is defined if the log does not know it."""
        with self._lock:
            known = self.fold.machine.registry.sources
            return known.index(name) if name in known else self._defined(DefineSource(name))

    def tick(self, clock: int | None = None) -> Answer:
        """Send the replica's clock, ns since 1970; by default that of this machine."""
        with self._lock:
            number = self.replica()
            (answer,) = self.send(
                [Request(Role.REPLICA, number, Tick(number, self._clock() if clock is None else clock))]
            )
            return answer

    def decide(self) -> list[Answer]:
        """Send what the engine decides by itself, until nothing is left to decide or nothing of it is accepted."""
        done: list[Answer] = []
        with self._lock:
            for _ in range(DECISION_ROUNDS_MAXIMUM):
                commands = decisions(self.fold, self._number(), self._key)
                if not commands:
                    break
                number = self.replica()
                answers = self.send([Request(Role.REPLICA, number, command) for command in commands])
                done += answers
                if not any(answer.accepted for answer in answers):
                    break
            done += self._say_roots()
        return done

    def _say_roots(self) -> list[Answer]:
        """Send the word on the newest state root and the cosignature of the frames up to it, where it was not sent.

        Once and no more: at a root after every frame, what is said here makes another one due.
        """
        fold, number, done = self.fold, self._number(), list[Answer]()
        replicas = fold.machine.registry.replicas
        if number >= len(replicas) or replicas[number].public_key != self._public_key or is_suspended(fold, number):
            return done
        newest = fold.checkpoints[-1:]
        if newest and number not in fold.machine.registry.roots.get(newest[0].position, {}):
            votes = root_votes(fold, number, self._key)[-1:]
            done += self.send([Request(Role.REPLICA, number, vote) for vote in votes])
        for said in cosignatures(fold, number, self._key, self._tree):
            self._tree.forget(said.size)
            done += self.send([Request(Role.REPLICA, number, said)])
        return done

    def checkpoint(self) -> int:
        """Bring a checkpoint about now, with the replica's word on it, and another one that proves this word.

        Where a root is due every so many frames, empty frames fill up what is missing.

        Returns:
            Frames in the tree that was cosigned last.

        Raises:
            InputError: No root is ever due (the rule `checkpoint_frames` is 0), or only after too many frames.
        """
        with self._lock:
            self.replica()
            size = 0
            for _ in range(2):
                self._fill_up()
                size = self.position
                self._say_roots()
            return size

    def _fill_up(self) -> None:
        frames = self.fold.machine.registry.rules.checkpoint_frames
        if not 0 < frames <= GROUP_FRAMES_MAXIMUM:
            advice = f"set it to a number from 1 to {GROUP_FRAMES_MAXIMUM} (set_rules)"
            raise InputError("out-of-range", "checkpoint_frames", frames, advice)
        first, empty = self._expected(FIRST_GATEWAY), np.empty(0, RECORD)
        missing = range(-self.position % frames or frames)
        self.submit([encode_frame(FIRST_GATEWAY, first + n, empty) for n in missing], trusted=True)

    def snapshot(self) -> Path:
        """Write the state after the last frame to the folder, and remove all but the newest snapshots.

        Raises:
            InputError: There is no folder, or no frame yet.
            LogError: It could not be written. The engine goes on.
        """
        with self._lock:
            fold = self.fold
            if self._folder is None:
                raise InputError("missing-field", "folder", None, "open the engine with a folder to keep snapshots in")
            if fold.position == 0:
                raise InputError("out-of-range", "position", 0, "apply a frame first")
            last = fold.position - 1
            names, tree = self.names.encode(last, fold.chain), self._tree.encode(fold.chain)
            return files.SnapshotFiles(self._folder).write(last, snapshot_of(fold), names, tree)

    @staticmethod
    def warm() -> None:
        """Compile everything that folding uses, or load it where it was compiled before."""
        warm()

    def close(self) -> None:
        """Close the log; more than once is allowed."""
        with self._lock:
            self.log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _check(self) -> None:
        if self._failure:
            raise StoppedError("engine", self._failure, "open it again; it then has what the log really holds")

    def _append(self, frames: Sequence[bytes]) -> None:
        try:
            positions = self.log.append_group(frames)
        except _NOTHING_HAPPENED:
            raise
        except BaseException as error:
            self._failure = f"an append failed before ({error or type(error).__name__})"
            raise
        invariant(positions.start == self._fold.position or not frames, "another writer appended to the log")

    def _apply(self, frame: bytes) -> Applied:
        try:
            applied = self._fold.apply(frame)
            self.names.learn(frame, applied)
            follow_frame(self._tree, self._fold, frame)
        except BaseException as error:
            self._failure = (
                f"the fold was interrupted at position {self._fold.position} ({error or type(error).__name__})"
            )
            raise
        return applied

    def _expected(self, session: int) -> int:
        """The number that a session of the log expects next."""
        slot = int(sessions.find_session(self._fold.machine.state, session))
        invariant(slot != NONE, f"session {session} is not open")
        return int(self._fold.machine.state.sessions[slot, Session.NEXT])

    def _speakers(self, requests: Sequence[Request], gateway: Gateway) -> dict[tuple[Role, int], ClientSession]:
        """A session for each (role, subject) that sends; the openings of missing ones are added to the gateway."""
        speakers: dict[tuple[Role, int], ClientSession] = {}
        position = self._fold.position
        for role, subject in dict.fromkeys((request.role, request.subject) for request in requests):
            own = self._own.get((role, subject))
            if own is not None and int(sessions.find_session(self._fold.machine.state, own)) != NONE:
                speakers[role, subject] = ClientSession(own, self._expected(own))
            else:
                # The lock is ours, so the opening will be at this position, and what follows it may use its id.
                speakers[role, subject] = ClientSession(command_id(position, gateway.pending))
                gateway.add_cold(0, 0, OpenSession(role.name.lower(), subject))
        return speakers

    def _remember(self, speakers: dict[tuple[Role, int], ClientSession], opened: Applied) -> None:
        """Note which sessions are ours; a folder that takes no note costs the next process new sessions only."""
        invariant(all(opened.outcomes["reason"] == Reason.ACCEPTED), "a session of the engine's own was refused")
        self._own |= {speaker: session.id for speaker, session in speakers.items()}
        kept = [
            files.OwnSession(int(role), subject, id_, self.log.hash_at(place_of(id_)[0]).hex())
            for (role, subject), id_ in self._own.items()
        ]
        with contextlib.suppress(LogError):
            files.keep_sessions(self._folder, kept)

    def _found_sessions(self) -> dict[tuple[Role, int], int]:
        """The own sessions of earlier processes, by (role, subject), as far as they are of this log and still open."""
        found = {}
        state = self._fold.machine.state
        for own in files.own_sessions(self._folder):
            position = place_of(own.id)[0]
            if not 0 <= position < self._fold.position or self.log.hash_at(position).hex() != own.chain:
                continue
            slot = int(sessions.find_session(state, own.id))
            if slot != NONE and tuple(state.sessions[slot, [Session.ROLE, Session.SUBJECT]]) == (own.role, own.subject):
                found[Role(own.role), own.subject] = own.id
        return found

    def _defined(self, command: DefineReplica | DefineSource) -> int:
        (answer,) = self.send([Request(Role.OPERATOR, 0, command)])
        if not answer.accepted:
            advice = "look at the log's definitions"
            problem = f"was refused: {Reason(int(answer.outcome['reason'])).name}"
            raise InputError("malformed", type(command).__name__, command.name, advice, problem)
        return int(answer.outcome["made"])

    def _loaded(self, watch: Callable[[str], None] | None) -> tuple[Fold, AccountNames, int | None, list[str]]:
        """The state of the newest snapshot that is sound and of this log, or that of an empty log."""
        passed_over: list[str] = []
        for path in files.SnapshotFiles(self._folder).newest_first() if self._folder else []:
            try:
                fold = fold_from(path.read_bytes(), watch)
                last = fold.position - 1
                self._check_length(path, last)
                if self.log.hash_at(last) != fold.chain:
                    raise InputError("malformed", "H", last, "delete it", "is not that of this log")
                names = AccountNames.decode(path.with_suffix(files.NAMES_SUFFIX).read_bytes(), last, fold.chain)
            except (HoldfastError, OSError, LookupError, ValueError) as error:
                if isinstance(error, ShortLogError | LogError):
                    raise
                passed_over.append(f"{path}: {error}")
                continue
            return fold, names, last, passed_over
        return Fold(watch), AccountNames(), None, passed_over

    def _check_length(self, path: Path, last: int) -> None:
        end = self.log.end
        if last >= end:
            problem = (
                f"holds the frames 0 to {last}, but the log ends at {end}: it was cut, or put back from an old copy"
            )
            raise ShortLogError(
                str(path), problem, "put the newest log back, or move the snapshot away to go on without it"
            )

    def _replay(self) -> None:
        """Fold the rest of the log, skipping what quarantines set aside; sign one for what kills this process."""
        for data in supervision.quarantines(self.log, self._fold.position):
            self._fold.learn_quarantine(data)
        opening, signed = supervision.Opening(self._folder), []
        for position, frame in self.log.read(self._fold.position):
            if opening.is_careful and opening.at(position):
                signed.append(self._set_aside(position))
            try:
                applied = self._fold.apply(frame)
            except HoldfastError as error:
                advice = "open the log with the version of Holdfast that wrote it; see docs/how-to/repair-a-log.md"
                raise ReplayError(f"position {position} of the log", f"cannot be folded ({error})", advice) from error
            self.names.learn(frame, applied)
            follow_frame(self._tree, self._fold, frame)
        invariant(self._fold.chain == self.log.head_hash, "the state is not that of the log's frames")
        opening.done()
        self._own = self._found_sessions()
        for data in signed:
            self.send([Request(Role.REPLICA, self.replica(), QuarantineCommand(data))])

    def _set_aside(self, position: int) -> bytes:
        """Sign a quarantine of the frame that is next, as the replica that the log knows by this engine's key."""
        replicas = self._fold.machine.registry.replicas
        numbers = [n for n, known in enumerate(replicas) if known.public_key == self._public_key]
        if not numbers:
            advice = "no replica is defined there that could sign a quarantine of it; see docs/how-to/repair-a-log.md"
            raise ReplayError(f"position {position} of the log", "kills the process again and again", advice)
        data = supervision.quarantine_of(position, self._fold.chain, numbers[0], self._key)
        self._fold.learn_quarantine(data)
        return data


def answers_of(applied: Applied) -> Iterator[Answer]:
    """One answer for each command of a frame."""
    for index, outcome in enumerate(applied.outcomes):
        yield Answer(outcome, applied.details.get(index))


def _check_frames(frames: Sequence[bytes]) -> None:
    """Refuse what a replay could not read: it would be in the log for ever."""
    for index, frame in enumerate(frames):
        if not isinstance(frame, bytes):
            raise InputError("malformed", f"frames[{index}]", type(frame).__name__, "give the bytes of a frame")
        try:
            decode_frame(frame)
        except FrameError as error:
            advice = "encode it with domain.frames.encode_frame"
            raise InputError("malformed", f"frames[{index}]", None, advice, f"is no frame ({error})") from None
