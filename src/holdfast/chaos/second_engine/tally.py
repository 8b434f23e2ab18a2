"""From findings of the judging pass to what each act led to. What may not live here: finding, and words for people."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from holdfast.chaos.second_engine.acts import Span
from holdfast.chaos.second_engine.judge import Begun, Judge, Marked, Named, Stopped
from holdfast.chaos.second_engine.result import Act
from holdfast.core.state import Status


class Word(NamedTuple):
    """Something that names an error: where, under which mark, whose word, and how many accounts it names."""

    position: int
    price_id: int
    text: str
    accounts: int


class Clock(NamedTuple):
    """When the log's servers stored frames: of the position `first` and those after it, seconds."""

    first: int
    times: Sequence[float]

    def between(self, start: int, end: int) -> float:
        """Seconds from one frame to another."""
        return self.times[end - self.first] - self.times[start - self.first]


def judged(
    spans: Sequence[Span], frames: Iterable[bytes], judge: Judge, clock: Clock, names: Sequence[str]
) -> list[Act]:
    """Take a log's frames act by act.

    Args:
        spans: The acts, in order.
        frames: From position 0 on, at least to the end of the last act.
        judge: At position 0.
        clock: Of the frames of the acts.
        names: Of the replicas, by number.
    """
    source, acts = iter(frames), []

    def take(end: int) -> None:
        judge.follow(next(source) for _ in range(end - judge.position))

    for span in spans:
        take(span.first)
        take(span.end)
        withheld = set(judge.below()) - set(judge.with_status(Status.LIQUIDATING))
        acts.append(act_of(span, judge, clock, names, len(withheld)))
    return acts


def act_of(span: Span, judge: Judge, clock: Clock, names: Sequence[str], withheld: int) -> Act:
    """What one act led to."""
    marks = [one for one in judge.marks if span.first <= one.position < span.end]
    begun = [one for one in judge.begun if span.first <= one.position < span.end]
    frozen = [one for one in judge.frozen if span.first <= one.position < span.end]
    suspended = [one for one in judge.suspended if span.first <= one.position < span.end]
    reports = [one for one in judge.reports if span.first <= one.position < span.end]
    words = words_of(reports, suspended, frozen, names)
    first = marks[0].position if marks else span.first
    return Act(
        name=span.name,
        marks=len(marks),
        below=len({account for mark in marks for account in mark.below}),
        by_error=len({account for mark in marks for account in mark.by_error}),
        begun=len(begun),
        wrong=sum(not one.is_right for one in begun),
        without_second=sum(one.without_second for one in begun),
        too_close=sum(one.without_second and not one.is_beyond for one in begun),
        withheld=withheld,
        frozen=len(frozen),
        named_by=[word.text for word in words],
        accounts_named=len(
            {account for report in reports for account in report.accounts} | {o.subject for o in frozen}
        ),
        marks_to_name=marks_to(words, marks),
        named_s=clock.between(first, words[0].position) if words else None,
        suspended=[names[one.subject] for one in suspended],
        begun_s=_seconds(begun, first, clock),
        degraded=list(span.degraded),
    )


def words_of(
    reports: Sequence[Named], suspended: Sequence[Stopped], frozen: Sequence[Stopped], names: Sequence[str]
) -> list[Word]:
    """The first word of each kind and replica that names an error, in order of the log."""
    found: dict[tuple[str, int], Word] = {}
    for one in reports:
        text = f"{names[one.replica]}: its {one.engine} engine differs on {one.total:,} accounts"
        word = Word(one.position, one.price_id, text, len(one.accounts))
        found.setdefault((one.engine, one.replica), word)
    for stop in suspended:
        text = f"{names[stop.subject]} suspended: its state root is not the majority's"
        found.setdefault(("root", stop.subject), Word(stop.position, stop.price_id, text, 0))
    if frozen:
        first = frozen[0]
        together = sum(one.position == first.position for one in frozen)
        text = f"{together:,} accounts frozen by one frame"
        found["frozen", 0] = Word(first.position, first.price_id, text, together)
    return sorted(found.values())


def marks_to(words: Sequence[Word], marks: Sequence[Marked]) -> int | None:
    """How many marks followed the first one of an act before the first word; None where there is none of either."""
    if not words or not marks:
        return None
    return sum(mark.position < words[0].position for mark in marks[1:])


def _seconds(begun: Sequence[Begun], first: int, clock: Clock) -> tuple[float, float] | None:
    if not begun:
        return None
    return clock.between(first, begun[0].position), clock.between(first, begun[-1].position)
