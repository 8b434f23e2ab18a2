"""The log itself: an engine's copy, folded from its beginning by a fold of this checker's own.

What lives here: where each command took effect, the roots at the checkpoints, and what an answer at a position should
have been. What may not: what clients were told (`history`), and the comparison (`checks`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from holdfast.chaos.history import Question
from holdfast.chaos.journal import Said, encode
from holdfast.chaos.workload import said_of
from holdfast.core.fold import Applied, Fold
from holdfast.domain.commands import Tick, decode_cold
from holdfast.domain.errors import InputError
from holdfast.domain.frames import Frame, RecordKind, decode_frame
from holdfast.domain.messages import Read
from holdfast.domain.reasons import Reason
from holdfast.replica.directory import Directory
from holdfast.replica.names import AccountNames
from holdfast.replica.node import reads
from holdfast.replica.views import sums

UNUSED: Final = frozenset(
    {
        Reason.SESSION_UNKNOWN,
        Reason.SESSION_GAP,
        Reason.SESSION_ROLE,
        Reason.FRAME_REPEATED,
        Reason.FRAME_GAP,
        Reason.GATEWAY_UNKNOWN,
        Reason.ALREADY_APPLIED,
    }
)
"""Outcomes of records that used up no number."""
OF_CLIENTS: Final = frozenset(RecordKind) - {RecordKind.COLD, RecordKind.QUOTE}
SUMS_EVERY: Final = 256
"""Frames between looks at the sums."""


class Place(NamedTuple):
    """Where a command used up its number, and with which outcome."""

    position: int
    record: int
    reason: int
    command: int
    session: int
    number: int


class Clock(NamedTuple):
    """A replica's clock in the log: at which position, whose, and how far from logical time, ns."""

    position: int
    replica: int
    ahead: int


class Truth(NamedTuple):
    """What the log says.

    Attributes:
        end: Position after its last frame.
        places: Of hot commands of clients, by what they say; more than one where one took effect more than once.
        roots: By position of a checkpoint, H and root, hexadecimal.
        wrong: Answers that are not what the state at their position says: the question, and what it should be.
        unconserved: Positions after which something did not sum to zero.
        clocks: Of the ticks that were accepted, or refused as behind the replica's one before.
        repeats: Records that came again under their numbers.
        refused_frames: Frames that were refused whole.
        root: At the end, hexadecimal.
    """

    end: int
    places: dict[Said, list[Place]]
    roots: dict[int, tuple[str, str]]
    wrong: list[tuple[Question, str]]
    unconserved: list[int]
    clocks: list[Clock]
    repeats: int
    refused_frames: int
    root: str


class _Reader:
    """A fold at work."""

    def __init__(self, questions: Mapping[int, Sequence[Question]]) -> None:
        self.fold, self.names = Fold(), AccountNames()
        self.book = Directory(self.fold, self.names)
        self.places: dict[Said, list[Place]] = defaultdict(list)
        self.roots: dict[int, tuple[str, str]] = {}
        self.wrong: list[tuple[Question, str]] = []
        self.unconserved: list[int] = []
        self.clocks: list[Clock] = []
        self.repeats = self.refused_frames = 0
        self._questions = questions

    def take(self, data: bytes) -> None:
        """Fold the next frame."""
        applied = self.fold.apply(data)
        self.names.learn(data, applied)
        self._note(decode_frame(data), applied)
        position = applied.position
        taken = self.fold.checkpoints[-1] if self.fold.checkpoints else None
        if taken is not None and taken.position == position:
            self.roots[position] = taken.chain.hex(), taken.root.hex()
        if position % SUMS_EVERY == 0:
            self.sum_up()
        for question in self._questions.get(position, ()):
            self._compare(question)

    def sum_up(self) -> None:
        """See that everything sums to zero."""
        if any(sums(self.fold, self.book).values()):
            self.unconserved.append(self.fold.position - 1)

    def _note(self, frame: Frame, applied: Applied) -> None:
        outcomes = applied.outcomes
        if len(outcomes) and int(outcomes["reason"][0]) in (
            Reason.FRAME_GAP,
            Reason.FRAME_REPEATED,
            Reason.GATEWAY_UNKNOWN,
        ):
            self.refused_frames += 1
            return
        for index, (record, outcome) in enumerate(zip(frame.records, outcomes, strict=True)):
            reason = int(outcome["reason"])
            self.repeats += int(outcome["repeated"])
            if outcome["repeated"] or reason in UNUSED:
                continue
            if int(record["kind"]) in OF_CLIENTS:
                session, number = int(record["session"]), int(record["number"])
                place = Place(applied.position, index, reason, int(outcome["command"]), session, number)
                self.places[said_of(record)].append(place)
            elif record["kind"] == RecordKind.COLD and reason in (Reason.ACCEPTED, Reason.CLOCK_BACKWARDS):
                self._note_clock(frame, index, applied.position)

    def _note_clock(self, frame: Frame, index: int, position: int) -> None:
        command = decode_cold(frame.cold(index))
        if isinstance(command, Tick):
            self.clocks.append(Clock(position, command.replica, command.clock - self.fold.time))

    def _compare(self, question: Question) -> None:
        """Hold an answer against the state at its position."""
        try:
            content = reads.answer(self.fold, self.book, Read(question.what, question.arguments))
        except InputError as error:
            self.wrong.append((question, str(error)))
            return
        if question.what == "root":
            content["checkpoints"] = self._known(question)
        right = encode(content)
        if right != question.content or question.time != self.fold.time:
            self.wrong.append((question, f"time {self.fold.time}, {right.decode()}"))

    def _known(self, question: Question) -> Any:
        """The checkpoints that an answer names, as they are: which of them a replica still knows is its own affair."""
        named = _checkpoints(question.content)
        return [[position, *self.roots.get(position, ("", ""))] for position, _, _ in named]


class _Roots(msgspec.Struct):
    """What an answer about roots names."""

    checkpoints: list[tuple[int, str, str]]


def _checkpoints(content: bytes) -> list[tuple[int, str, str]]:
    return msgspec.json.decode(content, type=_Roots).checkpoints


def truth_of(frames: Iterable[bytes], questions: Iterable[Question] = ()) -> Truth:
    """Fold a log from its beginning.

    Args:
        frames: All of them, in their order.
        questions: With their answers, to be compared with the state at their positions.
    """
    by_position: dict[int, list[Question]] = defaultdict(list)
    for question in questions:
        if question.position >= 0:
            by_position[question.position].append(question)
    reader = _Reader(by_position)
    for data in frames:
        reader.take(data)
    reader.sum_up()
    for position, unmet in by_position.items():
        if position >= reader.fold.position:
            reader.wrong += [(question, "the log does not reach that position") for question in unmet]
    return Truth(
        end=reader.fold.position,
        places=dict(reader.places),
        roots=reader.roots,
        wrong=reader.wrong,
        unconserved=reader.unconserved,
        clocks=reader.clocks,
        repeats=reader.repeats,
        refused_frames=reader.refused_frames,
        root=reader.fold.root().hex(),
    )
