"""What a command of the library's face comes to: plain values, and the sentence that says it."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from holdfast.domain.outcomes import place_of
from holdfast.domain.reasons import Reason
from holdfast.replica.words import DEGRADED_EMBEDDED, Quantity, Scene, quantities, sentence


@dataclass(frozen=True, repr=False)
class Outcome:
    """What became of a command. It is true where the command took effect.

    Attributes:
        reason: ACCEPTED, or why not.
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
        detail: What does not fit in numbers: the accounts that a change would put under margin.
    """

    reason: Reason
    position: int
    command: int
    equity: float
    initial_margin: float
    limit: Quantity = None
    passes: Quantity = None
    made: int = 0
    repeated: bool = False
    degraded: tuple[str, ...] = DEGRADED_EMBEDDED
    detail: object = None
    _told: Any = field(default=None, repr=False, compare=False)
    _scene: Scene = field(default=Scene("done"), repr=False, compare=False)

    @cached_property
    def text(self) -> str:
        """One sentence. It is made when it is asked for: many commands are never looked at one by one."""
        return sentence(self._told, self._scene, self.detail)

    @property
    def accepted(self) -> bool:
        """Whether the command took effect."""
        return self.reason is Reason.ACCEPTED

    def __bool__(self) -> bool:
        return self.accepted

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Outcome {self.reason.name}: {self.text}>"


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


def outcome_of(told: Any, scene: Scene, detail: object = None) -> Outcome:
    """The outcome of a record of type `domain.outcomes.OUTCOME`."""
    limit, passes = quantities(told, scene)
    position, _ = place_of(int(told["command"]))
    return Outcome(
        reason=Reason(int(told["reason"])),
        position=position,
        command=int(told["command"]),
        equity=float(told["equity"]),
        initial_margin=float(told["initial"]),
        limit=limit,
        passes=passes,
        made=int(told["made"]),
        repeated=bool(told["repeated"]),
        detail=detail,
        _told=told,
        _scene=scene,
    )
