"""Journals of several clients as one history: each call with what became of it. What may not live here: judgement."""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, NamedTuple

from holdfast.chaos.journal import (
    Acknowledged,
    Answered,
    Asked,
    Entry,
    Failed,
    Invoked,
    Said,
    Unanswered,
    Unknown,
    encode,
)

NEVER = -1
"""In place of a time: it did not happen."""


class Fate(Enum):
    """What a client was told of a command; unknown also where it was told nothing."""

    OK = "ok"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Command(NamedTuple):
    """A command that a client gave.

    Attributes:
        client: Which.
        call: Number among the client's calls.
        said: What it says.
        invoked_at: Before it was sent, ns.
        fate: What the client was told.
        ended_at: When it was told, ns; NEVER where it was not.
        session: Where it is known, else 0.
        number: Of the session, where it is known, else 0.
        reason: Of the outcome that was told; −1 where none was.
        command: The id that was told, 0 where none was.
        halted: Whether the answer said that a replica does not acknowledge.
    """

    client: str
    call: int
    said: Said
    invoked_at: int
    fate: Fate = Fate.UNKNOWN
    ended_at: int = NEVER
    session: int = 0
    number: int = 0
    reason: int = -1
    command: int = 0
    halted: bool = False

    def __str__(self) -> str:
        return f"call {self.call} of client {self.client} (session {self.session}, number {self.number})"


class Question(NamedTuple):
    """A question that a client put.

    Attributes:
        client: Which.
        call: Number among the client's calls.
        asked_at: Before it was sent, ns.
        what: Was asked.
        arguments: Of the question.
        minimum: Position that the answer had to reflect.
        staleness_ms: How old the answer might be, −1 for any.
        answered_at: NEVER where it was not.
        position: Of the answer.
        time: Logical time of the answer.
        replica: Who answered.
        content: As sorted JSON.
    """

    client: str
    call: int
    asked_at: int
    what: str
    arguments: dict[str, Any]
    minimum: int
    staleness_ms: int
    answered_at: int = NEVER
    position: int = -1
    time: int = 0
    replica: str = ""
    content: bytes = b""

    def __str__(self) -> str:
        return f"question {self.call} of client {self.client} ({self.what})"


class History(NamedTuple):
    """All calls of all clients, each client's in its order."""

    commands: tuple[Command, ...]
    questions: tuple[Question, ...]


def history_of(journals: Mapping[str, Iterable[Entry]]) -> History:
    """The history of several clients.

    Args:
        journals: Entries by client.
    """
    commands: dict[tuple[str, int], Command] = {}
    questions: dict[tuple[str, int], Question] = {}
    for client, entries in journals.items():
        for entry in entries:
            key = client, entry.id
            if isinstance(entry, Invoked):
                commands[key] = Command(client, entry.id, entry.said, entry.at)
            elif isinstance(entry, Asked):
                asked = entry.at, entry.what, entry.arguments, entry.minimum, entry.staleness_ms
                questions[key] = Question(client, entry.id, *asked)
            elif isinstance(entry, Answered | Unanswered):
                questions[key] = _answered(questions[key], entry)
            else:
                commands[key] = _ended(commands[key], entry)
    return History(tuple(commands.values()), tuple(questions.values()))


def _ended(command: Command, entry: Acknowledged | Failed | Unknown) -> Command:
    if isinstance(entry, Failed):
        return command._replace(fate=Fate.FAIL, ended_at=entry.at)
    told = command._replace(session=entry.session, number=entry.number)
    if isinstance(entry, Unknown):
        return told
    return told._replace(
        fate=Fate.OK, ended_at=entry.at, reason=entry.reason, command=entry.command, halted=entry.halted
    )


def _answered(question: Question, entry: Answered | Unanswered) -> Question:
    if isinstance(entry, Unanswered):
        return question
    return question._replace(
        answered_at=entry.at,
        position=entry.position,
        time=entry.time,
        replica=entry.replica,
        content=encode(entry.content),
    )
