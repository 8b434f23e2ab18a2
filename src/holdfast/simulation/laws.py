"""What must hold of every log, worked out a second time from the specifications, without the code of the core.

Each law reads the frames of the log in their order with the outcomes that the truth's fold gave them, keeps a small
model of its own, and raises a `Violation` where the two differ: turns of gateways and sessions (SES-4 … SES-9), logical
time (TIM-1 … TIM-3), certified roots (QRM-13), suspension (QRM-14), leases (QRM-8) and liquidations (QRM-4).

What may not live here: nodes, clients, and what they were told.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from holdfast.core.state import Status
from holdfast.domain.commands import (
    CastVote,
    Liquidate,
    OpenSession,
    RestoreReplica,
    Settle,
    TakeLease,
    Tick,
    decode_cold,
)
from holdfast.domain.errors import HoldfastError, InputError
from holdfast.domain.outcomes import command_id
from holdfast.domain.reasons import Reason
from holdfast.domain.votes import FLAG_WITHDRAWAL, Verdict, Vote, verify_vote
from holdfast.replica.node.speaker import DECIDER
from holdfast.simulation.genesis import PUBLIC_KEYS, REGIONS
from holdfast.simulation.scheduler import Violation
from holdfast.simulation.truth import Place, Step, Truth, contents, plain_outcomes

BALLOT_LIFE_NS = 60 * 10**9
MAJORITY = len(PUBLIC_KEYS) // 2 + 1
BEYOND = 0.9
"""Without a second engine an account must be this far below its maintenance margin (QRM-10)."""
_UNUSED = (Reason.SESSION_UNKNOWN, Reason.SESSION_GAP, Reason.SESSION_ROLE)


class Command(NamedTuple):
    """A command that used up its number in the frame at hand.

    Attributes:
        role: Of its session.
        subject: Of its session.
        session: Whose.
        number: Of the command.
        reason: What became of it.
        made: Of its outcome.
        limit: Of its outcome.
        content: Decoded where it is cold and can be read.
    """

    role: str
    subject: int
    session: int
    number: int
    reason: int
    made: int
    limit: int
    content: Any


@dataclass
class _Session:
    role: str
    subject: int
    kept: int
    next: int = 1
    outcomes: dict[int, bytes] = field(default_factory=dict)


class Turns:
    """Who may send what next: gateways' frames and sessions' commands.

    Attributes:
        refused: Frames out of their turn, by reason.
        repeats: Commands that came again.
    """

    def __init__(self) -> None:
        self._sessions = {0: _Session("gateway", 0, 1)}
        self.refused: dict[str, int] = {}
        self.repeats = 0

    def role(self, session: int) -> str:
        """Of a session; empty for none."""
        known = self._sessions.get(session)
        return known.role if known else ""

    def check(self, truth: Truth, step: Step) -> list[Command]:
        """The commands of the frame that used up a number."""
        frame, position, outcomes = step.frame, step.applied.position, step.applied.outcomes
        expected = self._of_frame(frame.gateway, frame.frame_number)
        reasons = outcomes["reason"].tolist()
        if expected is not Reason.ACCEPTED:
            if any(reason != expected for reason in reasons):
                raise Violation("frames", f"frame {position} is to be {expected.name} and is {reasons}")
            self.refused[expected.name] = self.refused.get(expected.name, 0) + 1
            return []
        plain, said = plain_outcomes(outcomes), contents(frame)
        used = []
        for index, record in enumerate(frame.records):
            place = Place(position, index, plain[index], said[index])
            command = self._of_record(truth, frame, record, place, outcomes[index])
            if command is not None:
                used.append(command)
        return used

    def _of_frame(self, gateway: int, number: int) -> Reason:
        known = self._sessions.get(gateway)
        if known is None or known.role != "gateway":
            return Reason.GATEWAY_UNKNOWN
        if number != known.next:
            return Reason.FRAME_REPEATED if number < known.next else Reason.FRAME_GAP
        known.next += 1
        return Reason.ACCEPTED

    def _of_record(self, truth: Truth, frame: Any, record: Any, place: Place, outcome: Any) -> Command | None:
        reason, made = int(outcome["reason"]), int(outcome["made"])
        content = _read(frame.cold(place.record)) if not record["kind"] else None
        if isinstance(content, OpenSession):
            self._open(content, reason, made, command_id(place.position, place.record))
            return None
        session, number = int(record["session"]), int(record["number"])
        known = self._sessions.get(session)
        where = f"command {number} of session {session} in frame {place.position}"
        if known is None:
            _expect(reason == Reason.SESSION_UNKNOWN, where, "names no session", reason)
            return None
        if number > known.next or number < 1:
            _expect(reason == Reason.SESSION_GAP, where, f"is ahead of {known.next}", reason)
            return None
        if number < known.next:
            self.repeats += 1
            self._repeat(known, number, place, outcome, where)
            return None
        _expect(not outcome["repeated"] and reason not in _UNUSED, where, "is the next", reason)
        known.outcomes[number] = place.outcome
        known.next += 1
        truth.used(session, number, place)
        return Command(known.role, known.subject, session, number, reason, made, int(outcome["limit"]), content)

    def _open(self, content: OpenSession, reason: int, made: int, command: int) -> None:
        if reason == Reason.ACCEPTED:
            _expect(made == command, f"the opening at {command}", "is to make its own id", reason)
            self._sessions[made] = _Session(content.role, content.subject, content.kept)

    @staticmethod
    def _repeat(known: _Session, number: int, place: Place, outcome: Any, where: str) -> None:
        _expect(bool(outcome["repeated"]), where, "is a repeat", int(outcome["reason"]))
        if known.next - number <= known.kept:
            same = place.outcome == known.outcomes[number]
            _expect(same, where, "is to have its first outcome", int(outcome["reason"]))


def _expect(holds: bool, where: str, what: str, reason: int) -> None:  # noqa: FBT001 (the condition itself)
    if not holds:
        raise Violation("turns", f"{where} {what}, and is {Reason(reason).name}")


def _read(data: bytes) -> Any:
    try:
        return decode_cold(data)
    except InputError:
        return None


class Suspended:
    """Who is suspended at which command.

    Attributes:
        within: At each of the commands of the last frame that used up a number.
    """

    def __init__(self) -> None:
        self._now: frozenset[int] = frozenset()
        self.within: list[frozenset[int]] = []

    def check(self, step: Step, used: list[Command], registry: Any) -> None:
        """No command of a suspended replica is accepted."""
        after = frozenset(number for number, replica in enumerate(registry.replicas) if replica.suspended)
        self.within = []
        for command in used:
            self.within.append(self._now)
            if command.role == "replica" and command.subject in self._now and command.reason == Reason.ACCEPTED:
                problem = f"a command of replica {command.subject} is accepted in frame {step.applied.position}"
                raise Violation("suspension", problem)
            changes = (isinstance(command.content, CastVote) and command.limit) or isinstance(
                command.content, RestoreReplica
            )
            if changes and command.reason == Reason.ACCEPTED:
                self._now = after
        self._now = after


class Time:
    """Logical time from the ticks that were accepted."""

    def __init__(self) -> None:
        self._ticks = 0
        self._clocks: dict[int, tuple[int, int]] = {}
        self.now = 0

    def check(self, step: Step, used: list[Command], fold_time: int, suspended: "Suspended", rules: Any) -> None:
        """The time after the frame is that of the live clocks."""
        before = self.now
        for command, out in zip(used, suspended.within, strict=True):
            if isinstance(command.content, Tick) and command.reason == Reason.ACCEPTED:
                self._tick(command.subject, command.content.clock, out, rules)
                if command.made != self.now:
                    raise Violation("time", f"frame {step.applied.position} makes it {command.made}, not {self.now}")
        if fold_time != self.now or fold_time < before:
            raise Violation("time", f"after frame {step.applied.position} it is {fold_time}, not {self.now}")

    def _tick(self, replica: int, clock: int, suspended: frozenset[int], rules: Any) -> None:
        self._ticks += 1
        self._clocks[replica] = clock, self._ticks
        live = sorted(
            shown
            for number, (shown, ticked) in self._clocks.items()
            if ticked > self._ticks - rules.live_ticks and number not in suspended
        )
        target = live[(len(live) + 1) // 2 - 1]
        self.now = target if self.now == 0 else max(self.now, min(target, self.now + rules.step_maximum))


class Votes:
    """Who voted for what: roots, and accounts below maintenance margin."""

    def __init__(self) -> None:
        self._roots: dict[tuple[int, bytes, bytes], set[int]] = {}
        self._below: dict[tuple[int, int, int, int], dict[int, int]] = {}
        self._certified: set[int] = set()
        self.liquidations = 0

    def check(self, step: Step, before: Step | None, used: list[Command], truth: Truth) -> None:
        """Nothing was certified or liquidated without a majority of votes in the log."""
        for command in used:
            if isinstance(command.content, CastVote) and command.reason == Reason.ACCEPTED:
                self._count(_verified(command), truth.fold.time)
        for one in truth.fold.machine.registry.certified:
            voters = self._roots.get((one.position, one.chain, one.root), set())
            if one.position not in self._certified and len(voters) < MAJORITY:
                raise Violation("certificates", f"the root at {one.position} has votes of {sorted(voters)} only")
            self._certified.add(one.position)
        if before is not None:
            self._check_liquidations(step, before, truth.fold.time)

    def _count(self, vote: Vote, now: int) -> None:
        if not len(vote.rows):
            self._roots.setdefault((vote.position, vote.chain_hash, vote.state_root), set()).add(vote.replica)
        for row in vote.rows:
            beyond = float(row["a_equity"]) < BEYOND * float(row["a_maintenance"])
            if not int(row["flags"]) & FLAG_WITHDRAWAL and int(row["verdict"]) == Verdict.BELOW and beyond:
                subject = (int(row["account"]), int(row["account_version"]), vote.position, vote.price_id)
                self._below.setdefault(subject, {})[vote.replica] = now

    def _check_liquidations(self, step: Step, before: Step, now: int) -> None:
        old, new = before.accounts[:, 0], step.accounts[: len(before.accounts), 0]
        for account in np.flatnonzero((old != Status.LIQUIDATING) & (new == Status.LIQUIDATING)).tolist():
            self.liquidations += 1
            if not any(subject[0] == account and _is_quorum(voters, now) for subject, voters in self._below.items()):
                raise Violation("quorum", f"account {account} is liquidated in frame {step.applied.position}")


def _is_quorum(voters: dict[int, int], now: int) -> bool:
    valid = [replica for replica, said in voters.items() if now - said <= BALLOT_LIFE_NS]
    return len(valid) >= MAJORITY and len({REGIONS[replica] for replica in valid}) >= 2


def _verified(command: Command) -> Vote:
    try:
        return verify_vote(command.content.vote, PUBLIC_KEYS[command.subject])
    except HoldfastError as error:
        raise Violation("votes", f"one of replica {command.subject} was accepted: {error}") from error


class Leases:
    """Who holds the role of the decider, and that only holders of it decide."""

    def __init__(self) -> None:
        self._holder, self._until = -1, 0
        self._holders: set[int] = set()

    def check(self, step: Step, used: list[Command], suspended: Suspended, times: tuple[int, int]) -> None:
        """A role has one holder at a time; `times` are before and after the frame."""
        before, now = times
        for command, out in zip(used, suspended.within, strict=True):
            content = command.content
            if self._holder in out:
                self._holder, self._until = -1, 0
            if isinstance(content, TakeLease) and content.role == DECIDER and command.reason == Reason.ACCEPTED:
                if self._until > now and self._holder != content.replica:
                    raise Violation("leases", f"frame {step.applied.position} gives a role that {self._holder} holds")
                self._holder, self._until = content.replica, before + content.duration
                self._holders.add(content.replica)
            decides = isinstance(content, Liquidate | Settle) and command.role == "replica"
            if decides and command.subject not in self._holders:
                raise Violation("leases", f"replica {command.subject} decides and never held the role")


class Laws:
    """All of them.

    Attributes:
        turns: Of gateways and sessions.
        votes: In the log.
        used: The commands that used up a number in the last frame.
    """

    def __init__(self) -> None:
        self.turns, self.votes, self._time, self._leases = Turns(), Votes(), Time(), Leases()
        self._suspended = Suspended()
        self.used: list[Command] = []

    def check(self, truth: Truth, step: Step) -> None:
        """Check the frame that the truth folded just now."""
        registry, before = truth.fold.machine.registry, self._time.now
        self.used = self.turns.check(truth, step)
        self._suspended.check(step, self.used, registry)
        self._time.check(step, self.used, truth.fold.time, self._suspended, registry.rules)
        self.votes.check(step, truth.steps[-2] if len(truth.steps) > 1 else None, self.used, truth)
        self._leases.check(step, self.used, self._suspended, (before, truth.fold.time))
        if (step.applied.outcomes["reason"] == Reason.INTERNAL).any():
            raise Violation("the fold errs", f"in frame {step.applied.position}: {registry.alarms[-1:]}")


def stages(used: list[Command]) -> Iterator[Command]:
    """The commands among some that carried out a stage of a liquidation."""
    return (one for one in used if isinstance(one.content, Liquidate) and one.reason == Reason.ACCEPTED)
