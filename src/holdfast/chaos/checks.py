"""What clients were told and what engines said, held against the log.

Each check is a function that returns what it found wrong, a line for each; nothing wrong is an empty list. What lives
here: the promises. What may not: reading files.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from holdfast.chaos.history import NEVER, Command, Fate, History, Question
from holdfast.chaos.journal import Said
from holdfast.chaos.truth import Place, Truth
from holdfast.domain.reasons import Reason

STALENESS_SLACK_NS: Final = 10**9
"""Beside the bound that a question gives: the way of the question and of the frame that was heard last."""
BEFORE_ALL: Final = (-1, -1)


class Sight(NamedTuple):
    """What an engine said of itself.

    Attributes:
        at: When it was asked, ns.
        engine: Its name.
        position: Up to which it had folded.
        serving: Whether it took writes.
        halted: Whether it said that it does not acknowledge.
        checkpoint: Position of its latest checkpoint, −1 for none.
        root: The root there, hexadecimal.
        heard_at: When the answer came.
    """

    at: int
    engine: str
    position: int
    serving: bool
    halted: bool
    checkpoint: int
    root: str
    heard_at: int


class Evidence(NamedTuple):
    """All that is judged.

    Attributes:
        history: What clients were told.
        truth: What the log says.
        sights: What engines said of themselves, in the order of time.
        snapshots: Roots of the snapshots on engines' disks: engine, position, root in hexadecimal.
        copies: By engine, what is wrong with its copy of the log as against the longest one; empty where nothing is.
    """

    history: History
    truth: Truth
    sights: Sequence[Sight] = ()
    snapshots: Sequence[tuple[str, int, str]] = ()
    copies: Sequence[tuple[str, str]] = ()


def lost(evidence: Evidence) -> list[str]:
    """Commands that were acknowledged and are not in the log, or there with another outcome (CHA-5)."""
    out = []
    for command in _acknowledged(evidence.history):
        place = _place(evidence.truth, command.said)
        if place is None:
            out.append(f"{command} was acknowledged and is not in the log")
        elif command.reason != Reason.ALREADY_APPLIED:
            told, kept = (command.reason, command.command), (place.reason, place.command)
            if told != kept:
                out.append(f"{command} was told reason and id {told}, the log says {kept}")
    return out


def duplicated(evidence: Evidence) -> list[str]:
    """Commands that used up more than one number (CHA-6)."""
    return [
        f"{said} took effect at {', '.join(str(place[:2]) for place in places)}"
        for said, places in evidence.truth.places.items()
        if len(places) > 1
    ]


def phantom(evidence: Evidence) -> list[str]:
    """Commands in the log that nobody gave, or of which a client was told that they were not done (CHA-7)."""
    given = {command.said: command for command in evidence.history.commands}
    out = []
    for said, places in evidence.truth.places.items():
        command = given.get(said)
        if command is None:
            out.append(f"{said} at {places[0][:2]} was given by nobody")
        elif command.fate is Fate.FAIL:
            out.append(f"{command} was reported as not done and is in the log at {places[0][:2]}")
    return out


def reordered(evidence: Evidence) -> list[str]:
    """Acknowledged commands of one client that are not in the log in the order in which they were given (CHA-8)."""
    out = []
    last: dict[str, tuple[tuple[int, int], Command]] = {}
    for command in sorted(_acknowledged(evidence.history), key=lambda command: command.call):
        place = _place(evidence.truth, command.said)
        if place is None:
            continue
        before = last.get(command.client)
        if before is not None and place[:2] < before[0]:
            out.append(f"{command} at {place[:2]} was given after {before[1]} at {before[0]}")
        last[command.client] = place[:2], command
    return out


def against_time(evidence: Evidence) -> list[str]:
    """Commands that come in the log before one that was acknowledged before they were given, to anybody (CHA-9)."""
    floor = _Floor(evidence)
    out = []
    for command in sorted(evidence.history.commands, key=lambda command: command.invoked_at):
        place = _place(evidence.truth, command.said)
        if place is not None and place[:2] < floor.at(command.invoked_at):
            out.append(f"{command} at {place[:2]} was given after the one at {floor.place} was acknowledged")
    return out


def backwards(evidence: Evidence) -> list[str]:
    """Answers that reflect less than the client saw before it asked, or less than it asked for (CHA-10)."""
    by_client: dict[str, list[Question]] = defaultdict(list)
    for question in _answered(evidence.history):
        by_client[question.client].append(question)
    out = []
    for questions in by_client.values():
        seen, answers = -1, sorted(questions, key=lambda question: question.answered_at, reverse=True)
        for question in sorted(questions, key=lambda question: question.asked_at):
            while answers and answers[-1].answered_at < question.asked_at:
                seen = max(seen, answers.pop().position)
            least = max(seen, question.minimum)
            if question.position < least:
                out.append(f"{question} reflects position {question.position}, which is below {least}")
    return out


def stale(evidence: Evidence) -> list[str]:
    """Answers older than the question allowed (CHA-11)."""
    floor = _Floor(evidence)
    bounded = [question for question in _answered(evidence.history) if question.staleness_ms >= 0]
    out = []
    for question in sorted(bounded, key=_horizon):
        position, _ = floor.at(_horizon(question))
        if question.position < position:
            age_s = (question.asked_at - floor.acknowledged_at) / 1e9
            bound = f"{question.staleness_ms} ms"
            problem = f"what was acknowledged at {position} {age_s:.3f} s before it; {bound} were allowed"
            out.append(f"{question} reflects position {question.position} of {question.replica}, without {problem}")
    return out


def wrong(evidence: Evidence) -> list[str]:
    """Answers that are not what the state at their position says (CHA-12)."""
    return [
        f"{question} was answered at position {question.position} by {question.replica} "
        f"time {question.time}, {question.content.decode()} instead of {right}"
        for question, right in evidence.truth.wrong
    ]


def unconserved(evidence: Evidence) -> list[str]:
    """Positions after which something does not sum to zero (CHA-13)."""
    return [f"after position {position} something does not sum to zero" for position in evidence.truth.unconserved]


def unequal(evidence: Evidence) -> list[str]:
    """Roots of engines and snapshots that are not the log's, and copies of the log that differ (CHA-14)."""
    roots = evidence.truth.roots
    told = {(sight.engine, sight.checkpoint, sight.root) for sight in evidence.sights if sight.checkpoint >= 0}
    named = [*sorted(told), *evidence.snapshots]
    out = [
        f"{engine} has root {root} at position {position}, the log {roots.get(position, ('', 'none'))[1]}"
        for engine, position, root in named
        if roots.get(position, ("", ""))[1] != root
    ]
    return out + [f"the copy of {engine} {problem}" for engine, problem in evidence.copies if problem]


def halted(evidence: Evidence) -> list[str]:
    """Acknowledgements by an engine that said it gives none (CHA-15)."""
    commands = _acknowledged(evidence.history)
    out = [f"{command} was acknowledged by a halted engine" for command in commands if command.halted]
    for begin, end in _all_halted(evidence.sights).items():
        out += [
            f"{command} was acknowledged while every engine was halted"
            for command in commands
            if begin < command.invoked_at and command.ended_at < end
        ]
    return out


CHECKS: Final[dict[str, Callable[[Evidence], list[str]]]] = {
    "lost": lost,
    "duplicated": duplicated,
    "phantom": phantom,
    "reordered": reordered,
    "against time": against_time,
    "reads backwards": backwards,
    "stale": stale,
    "wrong answers": wrong,
    "conservation": unconserved,
    "roots": unequal,
    "halted": halted,
}
"""By name."""


def judge(evidence: Evidence) -> dict[str, list[str]]:
    """What every check found, by its name."""
    return {name: check(evidence) for name, check in CHECKS.items()}


class _Floor:
    """The latest place that was acknowledged before a time; times are asked for in ascending order.

    Attributes:
        place: Position and index.
        acknowledged_at: When, ns.
    """

    def __init__(self, evidence: Evidence) -> None:
        ended = [
            (command.ended_at, place[:2])
            for command in _acknowledged(evidence.history)
            if (place := _place(evidence.truth, command.said)) is not None
        ]
        self._ended = sorted(ended, reverse=True)
        self.place, self.acknowledged_at = BEFORE_ALL, NEVER

    def at(self, time: int) -> tuple[int, int]:
        """The latest place before a time."""
        while self._ended and self._ended[-1][0] < time:
            ended_at, place = self._ended.pop()
            if place > self.place:
                self.place, self.acknowledged_at = place, ended_at
        return self.place


def _all_halted(sights: Sequence[Sight]) -> dict[int, int]:
    """Spans, end by begin, at both ends of which every engine was seen halted, and never otherwise between."""
    spans: dict[int, int] = {}
    engines = {sight.engine for sight in sights}
    since: dict[str, int] = {}
    last: dict[str, int] = {}
    for sight in sights:
        if not sight.halted:
            since.pop(sight.engine, None)
            continue
        since.setdefault(sight.engine, sight.heard_at)
        last[sight.engine] = sight.at
        if len(since) == len(engines):
            begin, end = max(since.values()), min(last.values())
            if begin < end:
                spans[begin] = end
    return spans


def _acknowledged(history: History) -> list[Command]:
    return [command for command in history.commands if command.fate is Fate.OK]


def _answered(history: History) -> list[Question]:
    return [question for question in history.questions if question.answered_at != NEVER]


def _place(truth: Truth, said: Said) -> Place | None:
    places = truth.places.get(said)
    return places[0] if places else None


def _horizon(question: Question) -> int:
    """Until when an answer must know everything that was acknowledged."""
    return question.asked_at - question.staleness_ms * 10**6 - STALENESS_SLACK_NS
