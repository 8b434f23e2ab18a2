"""What a client answers: outcomes in names, receipts of records, answers to questions. Plain frozen values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from holdfast.domain.outcomes import Outcomes as OutcomeRecords
from holdfast.domain.outcomes import place_of
from holdfast.domain.reasons import Reason


class Numbers(NamedTuple):
    """Numbers of a session, one after the other."""

    session: int
    first: int
    size: int


@dataclass(frozen=True, repr=False)
class Outcome:
    """What became of a command. It is true where the command took effect. The fields are those of `holdfast.Outcome`.

    Attributes:
        reason: ACCEPTED, or why not; ALREADY_APPLIED where it was sent before and its first outcome is no longer kept;
            a text where this version does not know the reason.
        text: One sentence.
        position: Of the frame in the log.
        command: The command's id.
        equity: Of the command's account after it, numeraire; of a refused trade, as it would have been. 0 where the
            command has no account.
        initial_margin: The same.
        limit: The limiting amount: what is missing, or the bound; in main units.
        passes: What would have passed, in main units; None where that is not known.
        made: Number of what was made: account, item, model, order, withdrawal, mark.
        repeated: Whether the session had sent the command before.
        degraded: What is not as it should be.
        detail: What does not fit in numbers.
        session: Under which it was sent.
        number: The session's number of it.
    """

    reason: Reason | str
    text: str
    position: int
    command: int
    equity: float
    initial_margin: float
    limit: int | str | None = None
    passes: int | str | None = None
    made: int = 0
    repeated: bool = False
    degraded: tuple[str, ...] = ()
    detail: object = None
    session: int = 0
    number: int = 0

    @property
    def accepted(self) -> bool:
        """Whether the command took effect."""
        return self.reason is Reason.ACCEPTED

    def __bool__(self) -> bool:
        return self.accepted

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Outcome {getattr(self.reason, 'name', self.reason)}: {self.text}>"


class Outcomes(tuple[Outcome, ...]):
    """Outcomes of several commands in their order. True where all of them took effect."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return all(self)

    def __str__(self) -> str:
        return "\n".join(str(outcome) for outcome in self)

    @property
    def refused(self) -> "Outcomes":
        """Those that did not take effect."""
        return Outcomes(outcome for outcome in self if not outcome)


@dataclass(frozen=True, repr=False)
class Receipt:
    """What became of records. It is true where all of them took effect.

    Attributes:
        outcomes: One row of type `domain.outcomes.OUTCOME` for each record; where not every outcome was wanted, those
            of accepted ones are zeros.
        numbers: Under which they were sent, in their order.
        position: Of the last frame that one of them is in.
        details: By index, what does not fit in an outcome.
        degraded: What is not as it should be.
    """

    outcomes: OutcomeRecords
    numbers: tuple[Numbers, ...]
    position: int
    details: Mapping[int, object] = field(default_factory=dict)
    degraded: tuple[str, ...] = ()

    @property
    def refused(self) -> "npt.NDArray[np.intp]":
        """Indices of the records that did not take effect, or may have long ago (ALREADY_APPLIED)."""
        return np.flatnonzero(self.outcomes["reason"] != Reason.ACCEPTED)

    def __len__(self) -> int:
        return len(self.outcomes)

    def __bool__(self) -> bool:
        return not len(self.refused)

    def __repr__(self) -> str:
        return f"<Receipt: {len(self)} commands, {len(self.refused)} not accepted, position {self.position}>"


@dataclass(frozen=True)
class Answer:
    """What a replica found. Its content is read by name: `answer["equity"]`.

    Attributes:
        content: By name.
        position: Of the last frame that it reflects, −1 for none.
        time: Logical time there, ns.
        replica: Who answered.
        degraded: What is not as it should be.
    """

    content: Mapping[str, Any]
    position: int
    time: int
    replica: str
    degraded: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.content[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)


@dataclass(frozen=True)
class Lookup:
    """What became of a number of a session.

    Attributes:
        state: "applied", "not-applied" (up to `position`; an attempt under way may still arrive), "session-unknown".
        outcome: Row of type `domain.outcomes.OUTCOME`; None where it is not kept, or there is none.
        next_number: What the session's next command is to have; 0 where nothing said so.
        position: Up to which the log was looked at.
    """

    state: str
    outcome: Any
    next_number: int
    position: int

    @property
    def applied(self) -> bool:
        """Whether the number was used up: by a command that took effect or was refused by the state."""
        return self.state == "applied"


def outcome_of(told: Mapping[str, Any], degraded: tuple[str, ...], session: int, number: int) -> Outcome:
    """The outcome that a reply tells in names."""
    known = {name: told.get(name) for name in ("limit", "passes", "detail")}
    return Outcome(
        reason=Reason.__members__.get(told["reason"], str(told["reason"])),
        text=str(told.get("text", told["reason"])),
        position=int(told.get("position", place_of(int(told["command"]))[0])),
        command=int(told["command"]),
        equity=float(told["equity"]),
        initial_margin=float(told["initial_margin"]),
        made=int(told["made"]),
        repeated=bool(told["repeated"]),
        degraded=degraded,
        session=session,
        number=number,
        **known,
    )


def outcome_without_words(record: Any, degraded: tuple[str, ...], session: int, number: int) -> Outcome:
    """The outcome of a command that only its record tells of."""
    reason = Reason(int(record["reason"]))
    text = {Reason.ACCEPTED: "it took effect", Reason.MALFORMED: "it was refused before it reached the log"}
    return Outcome(
        reason=reason,
        text=text.get(reason, reason.name.lower().replace("_", " ")),
        position=place_of(int(record["command"]))[0] if record["command"] else -1,
        command=int(record["command"]),
        equity=float(record["equity"]),
        initial_margin=float(record["initial"]),
        made=int(record["made"]),
        repeated=bool(record["repeated"]),
        degraded=degraded,
        session=session,
        number=number,
    )


def details_of(details: Mapping[int, bytes], offset: int) -> dict[int, object]:
    """Details of a batch whose first command has the index `offset`; what cannot be read is left as bytes."""
    return {offset + index: _decoded(detail) for index, detail in details.items()}


def _decoded(detail: bytes) -> object:
    try:
        return msgspec.msgpack.decode(detail)
    except msgspec.MsgspecError:
        return detail
