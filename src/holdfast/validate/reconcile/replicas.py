"""Replicas against each other: state roots at equal positions. A wrong replica is an alarm; a slow one is a fact.

Specification: specs/reconcile.md REC-11.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from holdfast.validate.reconcile.findings import Alarm, Label
from holdfast.validate.reconcile.picture import Heard, Seen

FOLD = "this program's fold"
"""Who speaks for a folder that was folded here."""
_SHOWN = 12
"""Digits of a root that a sentence shows."""


class ReplicaState(msgspec.Struct, frozen=True):
    """A replica as it was heard.

    Attributes:
        name: Of it.
        region: Where it is.
        answered: Whether it answered.
        position: Of its last frame; −1 where it did not answer.
        lag: Frames behind the furthest that answered.
        root_position: The latest position at which its root was compared with another's; −1 for none.
        verdict: "agrees", "differs", "alone" (nothing to compare with) or "silent".
        problem: Why it did not answer.
    """

    name: str
    region: str
    answered: bool
    position: int
    lag: int
    root_position: int
    verdict: str
    problem: str = ""


class Said(NamedTuple):
    """A root that somebody named for a position, with H there; a vote says no H beside it, the log had checked it."""

    chain: str
    root: str


Roots = dict[int, dict[str, Said]]
"""By position and speaker."""


def configured(seen: Seen) -> tuple[str, ...]:
    """The names of the replicas that a majority is counted of."""
    listed = tuple(one.name for one in seen.replicas)
    return listed or tuple(seen.root.content["replicas"])


def alarms(seen: Seen) -> Iterator[Alarm]:
    """What is wrong with replicas."""
    names = configured(seen)
    answers, votes = _answers(seen), _votes(seen)
    yield from _suspended(seen)
    yield from _two_roots(seen, answers, votes)
    wrong = dict[tuple[str, str], tuple[int, str]]()
    for position, said in sorted(_merged(answers, votes).items()):
        for subject, code, text in _judged(said, names):
            wrong.setdefault((subject, code), (position, text))
    for (subject, code), (position, text) in wrong.items():
        yield _alarm(seen, subject, code, f"{text} at position {position}", position)


def states(seen: Seen) -> tuple[ReplicaState, ...]:
    """How each replica was heard."""
    roots = _merged(_answers(seen), _votes(seen))
    furthest = max((one.root.position for one in seen.replicas if one.root is not None), default=-1)
    heard = seen.replicas or tuple(Heard(name, "") for name in seen.root.content["replicas"])
    return tuple(_state(one, roots, configured(seen), furthest, from_log=not seen.replicas) for one in heard)


def _state(one: Heard, roots: Roots, names: tuple[str, ...], furthest: int, *, from_log: bool) -> ReplicaState:
    compared = [position for position, said in roots.items() if one.name in said and len(said) > 1]
    differs = any(
        one.name in subject.split(", ") for position in compared for subject, _, _ in _judged(roots[position], names)
    )
    heard = one.root is not None or (from_log and any(one.name in said for said in roots.values()))
    verdict = "silent" if not heard else "differs" if differs else "agrees" if compared else "alone"
    position = one.root.position if one.root is not None else -1
    lag = max(0, furthest - position) if one.root is not None else 0
    return ReplicaState(
        one.name, one.region, heard, position, lag, max(compared, default=-1), verdict, one.problem if not heard else ""
    )


def _answers(seen: Seen) -> Roots:
    """The roots that replicas answered, and those of this program's own fold."""
    found: Roots = defaultdict(dict)
    speakers = [(one.name, one.root) for one in seen.replicas if one.root is not None]
    for name, answer in speakers + ([(FOLD, seen.root)] if seen.folded else []):
        for position, chain, root in answer.content["checkpoints"]:
            found[position][name] = Said(chain, root)
    return found


def _votes(seen: Seen) -> Roots:
    """The roots that replicas voted for, as the log of every answer has it."""
    found: Roots = defaultdict(dict)
    for answer in [seen.root, *(one.root for one in seen.replicas if one.root is not None)]:
        for position, name, root in answer.content["votes"]:
            found[position].setdefault(name, Said("", root))
    return found


def _merged(answers: Roots, votes: Roots) -> Roots:
    """What each replica says: its own answer, else its vote."""
    return {position: votes.get(position, {}) | answers.get(position, {}) for position in answers.keys() | votes.keys()}


def _judged(said: Mapping[str, Said], names: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """Subject, code and text of what is wrong at one position."""
    if all(_agree(one, other) for one in said.values() for other in said.values()):
        return
    right = _majority([one for name, one in said.items() if name in names], len(names))
    if right is None:
        roots = ", ".join(f"{name} {one.root[:_SHOWN]}…" for name, one in sorted(said.items()))
        text = f"state roots differ and none has a majority of {len(names)} ({roots})"
        yield ", ".join(sorted(said)), "undecided", text
        return
    for name, one in sorted(said.items()):
        if not _agree(one, right):
            yield name, *_wrong(name, one, right)


def _wrong(name: str, said: Said, right: Said) -> tuple[str, str]:
    """Code and text of what a speaker has wrong."""
    roots = f"{said.root[:_SHOWN]}… where most replicas have {right.root[:_SHOWN]}…"
    if said.chain and right.chain and said.chain != right.chain:
        return "wrong-log", f"{name} has another log than most replicas, and the state {roots}"
    if name == FOLD:
        return "refold", f"folding this folder gives the state {roots}"
    return "wrong-state", f"{name} has the state {roots}"


def _agree(one: Said, other: Said) -> bool:
    return one.root == other.root and (not one.chain or not other.chain or one.chain == other.chain)


def _majority(said: Sequence[Said], count: int) -> Said | None:
    """What more than half of all configured replicas say."""
    # Those with H come first: they tell two logs apart, which a vote alone cannot.
    candidates = sorted(set(said), key=lambda one: (not one.chain, one))
    return next((one for one in candidates if 2 * sum(_agree(one, other) for other in said) > count), None)


def _two_roots(seen: Seen, answers: Roots, votes: Roots) -> Iterator[Alarm]:
    told = set[str]()
    for position in sorted(answers.keys() & votes.keys()):
        for name, answered in answers[position].items():
            voted = votes[position].get(name)
            if voted is not None and voted.root != answered.root and name not in told:
                told.add(name)
                text = f"{name} answers another state root than it voted for at position {position}"
                yield _alarm(seen, name, "two-roots", text, position)


def _suspended(seen: Seen) -> Iterator[Alarm]:
    for name in seen.root.content["suspended"]:
        text = f"{name} is suspended: the others' votes say that its state is wrong"
        yield _alarm(seen, name, "suspended", text, seen.position)


def _alarm(seen: Seen, subject: str, code: str, text: str, position: int) -> Alarm:
    return Alarm(label=Label.REPLICA, subject=subject, code=code, text=text, position=position, time=seen.time)
