"""The line in which a client's commands wait until what became of them is known. No clock, no I/O.

Theory of operation. Batches wait in a queue. The first ones are in the window: they have numbers of the session, one
after the other, and are sent to one replica in their order. All that is sent to one replica over one connection is a
round. When the replica does not answer, or turns something away, the next round begins at another one, with everything
in the window again, in order, under the same numbers. Replies of earlier rounds count like those of the latest.

    queue ──numbered──▶ window ──each command settled──▶ done
      ▲                   │ │
      │ certainly not     │ └─ refused: its numbers are given back, or used up by a plug in its place
      └─ done, and the ◀──┘    too late: unknown if an attempt is open, else certainly not done
         session is left

What a client promises follows from three rules. A number is given to other commands only if every attempt of all that
had it, or a later one, was answered as without effect. A batch is said to be certainly not done only if every attempt
of it was. A session whose numbers cannot be told is left for good, and the next commands get another one.

What lives here: numbers, order, rounds. What may not: waiting, connections, names of subjects. Normative:
specs/client.md.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from holdfast.client.batches import Batch, Group, Said, said_of
from holdfast.client.contents import Content, OpeningContent, plugs
from holdfast.client.results import (
    QUEUE_LENGTH_MAXIMUM,
    Action,
    Done,
    Failed,
    Fate,
    Probe,
    Send,
    Session,
    Settings,
)
from holdfast.client.rounds import Head, Rounds
from holdfast.domain.commands import OpenSession
from holdfast.domain.errors import InputError, invariant
from holdfast.domain.messages import Busy, Found, Refused, Reply, Told, Written
from holdfast.domain.reasons import Reason

__all__ = ["Action", "Done", "Failed", "Fate", "Probe", "Send", "Session", "Settings", "WriteLine"]


class _Attempt(NamedTuple):
    """One sending of a batch; `headed` where nothing before it was open any more."""

    batch: Batch
    round: int
    headed: bool
    plug: bool


class WriteLine:
    """The write line of one client.

    Attributes:
        position: The highest position that an answer named; −1 before the first.
    """

    def __init__(
        self,
        replicas: Sequence[str],
        opening: OpenSession,
        settings: Settings | None = None,
        *,
        session: Session | None = None,
        now: float = 0.0,
    ) -> None:
        """An empty line.

        Args:
            replicas: Whom to send to, in order of preference.
            opening: What opens a session.
            settings: How to behave.
            session: One to go on with.
            now: The time, s.
        """
        if not replicas:
            raise InputError("missing-field", "replicas", None, "give at least one")
        self.settings = settings or Settings()
        self.position = -1
        self._opening = Batch(OpeningContent(opening), None, float("inf"))
        self._session = 0 if session is None else session.id
        self._next = 1 if session is None else session.next_number
        self._queue: deque[Batch] = deque()
        self._queued_length = 0
        self._window: list[Batch] = []
        self._deadlines: list[tuple[float, int, Batch]] = []
        self._counter = itertools.count(1)
        self._attempts: dict[int, _Attempt] = {}
        self._rounds = Rounds(replicas, self.settings.pace, now)
        self._trouble = Failed(self._opening, Fate.UNREACHABLE, 0, "no replica was asked yet")
        self._results: list[Done | Failed] = []
        self._is_gone = False  # the log has evicted the session

    # What the caller does.

    def offer(self, content: Content, token: Any, now: float, group: Group | None = None) -> Batch:
        """Put commands into the line; the token comes back with what became of them."""
        batch = Batch(content, token, now + self.settings.timeout_s, group)
        heapq.heappush(self._deadlines, (batch.deadline, next(self._counter), batch))
        self._queue.append(batch)
        self._queued_length += content.length
        return batch

    def has_room(self, length: int) -> bool:
        """Whether so many bytes may be offered."""
        return not self._queue or self._queued_length + length <= QUEUE_LENGTH_MAXIMUM

    @property
    def session(self) -> Session | None:
        """The session and its next number; None while there is none."""
        return Session(self._session, self._next) if self._session else None

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not self._queue and not self._window

    def resume(self, session: Session) -> None:
        """Go on with another session; nothing may wait.

        Raises:
            InputError: Something does.
        """
        if not self.is_idle:
            raise InputError("malformed", "session", session.id, "wait until everything is answered", "comes too early")
        self._session, self._next = session.id, session.next_number

    def open(self, now: float) -> None:
        """Have a session opened although nothing is to be sent yet."""
        if not self._session and not self._window:
            self._begin_opening(now + self.settings.timeout_s)

    # What happens.

    def replied(self, attempt_id: int, reply: Reply, now: float) -> None:
        """A reply came."""
        attempt = self._attempts.get(attempt_id)
        if attempt is None:
            return
        if isinstance(reply, Busy | Refused):
            self._close(attempt_id, attempt)
            self._turned_away(attempt, reply, now)
            return
        try:
            if isinstance(reply, Found):
                raise InputError("malformed", "reply", "found", "ask another replica")
            said = said_of(reply, attempt.batch.count)
        except InputError as error:
            self.misunderstood(attempt_id, now, str(error))
        else:
            self._close(attempt_id, attempt)
            self._answered(attempt, reply, said, now)

    def _turned_away(self, attempt: _Attempt, reply: Busy | Refused, now: float) -> None:
        """A replica did nothing, and will do nothing, about an attempt."""
        is_current = attempt.round == self._rounds.number
        if isinstance(reply, Busy):
            after_s = reply.retry_after_ms / 1_000
            self._trouble = Failed(attempt.batch, Fate.BUSY, 0, reply.problem, retry_after_s=after_s)
            if is_current:
                self._rounds.busy(now, after_s)
        elif reply.code == "elsewhere":
            self._trouble = Failed(attempt.batch, Fate.UNREACHABLE, 0, f"{reply.field} {reply.problem}")
            if is_current:
                self._rounds.away(now)
        else:
            self._refused(attempt, reply, now)

    def unsent(self, attempt_id: int, now: float, problem: str = "no replica of this name hears") -> None:
        """A request certainly reached no replica."""
        attempt = self._attempts.get(attempt_id)
        if attempt is not None:
            self._close(attempt_id, attempt)
            self._trouble = Failed(attempt.batch, Fate.UNREACHABLE, 0, problem)
            if attempt.round == self._rounds.number:
                self._rounds.away(now)

    def lost(self, attempt_id: int, now: float, problem: str = "the connection broke") -> None:
        """The way on which a reply would come is gone; the request may have arrived."""
        attempt = self._attempts.get(attempt_id)
        if attempt is not None and attempt.round == self._rounds.number:
            self._trouble = Failed(attempt.batch, Fate.UNREACHABLE, 0, problem)
            self._rounds.again(now)

    def misunderstood(self, attempt_id: int, now: float, problem: str) -> None:
        """A reply came that cannot be used."""
        attempt = self._attempts.get(attempt_id)
        if attempt is not None and attempt.round == self._rounds.number:
            self._trouble = Failed(attempt.batch, Fate.UNREACHABLE, 0, problem)
            self._rounds.away(now)

    def probed(self, replica: str, now: float, *, serving: bool) -> None:
        """A replica said whether it takes writes, or was not there."""
        self._rounds.probed(replica, now, serving=serving)

    def connected(self, now: float) -> None:
        """There is a connection again: nothing is gained by waiting."""
        self._rounds.hurry(now)

    # What is to be done.

    def turn(self, now: float) -> list[Action]:
        """What is to be sent now."""
        self._expire(now)
        if self._is_gone and not self._awaits():
            self._leave(f"the log no longer knows session {self._session}")
        asked, number = self._rounds.replica, self._rounds.number
        probes = self._rounds.turn(now, self._head(), idle=self.is_idle)
        if number != self._rounds.number:
            self._trouble = Failed(self._opening, Fate.UNREACHABLE, 0, f"replica {asked} does not answer")
        self._fill()
        return [*map(Probe, probes), *self._sends(now)]

    def next_at(self, now: float) -> float:
        """When `turn` has something to do although nothing happened until then."""
        times = [self._rounds.next_at(self._head()), now + 1.0]
        while self._deadlines and self._deadlines[0][2].over:
            heapq.heappop(self._deadlines)
        if self._deadlines:
            times.append(self._deadlines[0][0])
        return max(now, min(times))

    def results(self) -> list[Done | Failed]:
        """What became of batches since the last call."""
        out, self._results = self._results, []
        return out

    def give_up(self) -> None:
        """Fail everything that waits: the client ends."""
        self._leave("the client was closed", requeue=False)
        while self._queue:
            self._fail(self._taken(), Failed(self._opening, Fate.UNREACHABLE, 0, "the client was closed"))

    def _head(self) -> Head:
        return (self._window[0].round, self._window[0].sent_at) if self._window else None

    def _awaits(self) -> bool:
        """Whether a reply of this round is awaited."""
        attempts = (self._attempts[number] for batch in self._window for number in batch.open)
        return any(attempt.round == self._rounds.number for attempt in attempts)

    # Numbers and order.

    def _taken(self) -> Batch:
        batch = self._queue.popleft()
        self._queued_length -= batch.content.length
        return batch

    def _begin_opening(self, wanted_until: float) -> None:
        """Open a session, as long as something waits for it."""
        self._opening.deadline = wanted_until
        self._window.append(self._opening)

    def _fill(self) -> None:
        """Bring batches from the queue into the window."""
        if self._is_gone:
            return
        if not self._session:
            if self._queue and not self._window:
                self._begin_opening(float("-inf"))
            return
        length = sum(batch.content.length for batch in self._window)
        while self._queue and self._rounds.takes_more and len(self._window) < self.settings.window_count:
            if self._window and length + self._queue[0].content.length > self.settings.window_length:
                return
            batch = self._taken()
            if batch.group is not None and batch.group.failed:
                self._fail(batch, Failed(batch, Fate.DROPPED, 0, "an earlier part of the same submission failed"))
                continue
            batch.first = self._next
            self._next += batch.count
            batch.payload = batch.content.payload(self._session, batch.first, self.position)
            length += batch.content.length
            self._window.append(batch)

    def _sends(self, now: float) -> Iterable[Send]:
        """Everything of the window that was not sent in this round, in order."""
        if self._is_gone or not self._rounds.begun(now):
            return
        for place, batch in enumerate(self._window):
            if batch.round == self._rounds.number:
                continue
            if batch is self._opening:
                batch.payload = batch.content.payload(0, 0, self.position)
            attempt = next(self._counter)
            self._attempts[attempt] = _Attempt(batch, self._rounds.number, place == 0, batch.plug is not None)
            batch.open.add(attempt)
            batch.round, batch.sent_at = self._rounds.number, now
            yield Send(attempt, self._rounds.replica, self._rounds.path, batch.payload)

    def _close(self, attempt_id: int, attempt: _Attempt) -> None:
        """The fate of an attempt is known."""
        del self._attempts[attempt_id]
        attempt.batch.open.discard(attempt_id)

    def _answered(self, attempt: _Attempt, reply: Written | Told, said: Said, now: float) -> None:
        batch = attempt.batch
        self.position = max(self.position, reply.position)
        if batch is self._opening:
            return self._opened(said, now)
        if batch.learn(reply, said):
            self._rounds.progress(now)
        if batch.settled:
            self._finish(batch)
        elif (said.reasons == Reason.SESSION_UNKNOWN).any():
            self._is_gone = True
        elif attempt.headed and 0 < said.expected < batch.first:
            problem = f"the log expects number {said.expected} of session {self._session}, not {batch.first}"
            advice = "see whether the session was resumed with its next number; else acknowledged commands are missing"
            self._abandon(Refused("session-gap", "session", problem, advice))
        elif attempt.round == self._rounds.number:
            self._rounds.stumble(now)
        return None

    def _opened(self, said: Said, now: float) -> None:
        """The log took the opening of a session, or refused it."""
        self._forget(self._opening)
        self._window = [batch for batch in self._window if batch is not self._opening]
        reason = Reason(int(said.reasons[0]))
        if reason is Reason.ACCEPTED:
            self._session, self._next = int(said.outcomes["made"][0]), 1
            self._rounds.progress(now)
        else:
            problem = f"cannot be opened: {reason.name}"
            self._refuse_queue(Refused("not-allowed", "session", problem, "see the role and source of this client"))

    def _finish(self, batch: Batch) -> None:
        """Every command of a batch is settled."""
        self._window.remove(batch)
        if batch.lost.any():
            problem = "it was refused, but its numbers are used and their outcomes no longer kept"
            self._fail(batch, Failed(batch, Fate.UNKNOWN, self._session, problem))
        elif batch.fenced.all():
            self._fail(batch, Failed(batch, Fate.REFUSED, self._session, "", refused=batch.plug))
        else:
            batch.close(Reason.MALFORMED)
            self._resolve(batch, Done(batch, self._session))

    def _refused(self, attempt: _Attempt, reply: Refused, now: float) -> None:
        """A replica refused a batch: its numbers must not stay unused before later ones."""
        batch = attempt.batch
        if batch is self._opening:
            self._forget(self._opening)
            self._window = [other for other in self._window if other is not self._opening]
            self._refuse_queue(reply)
        elif attempt.plug:
            self._leave("a replica refused to use up the numbers of commands that it had refused")
        elif batch.plug is None:
            if self._is_untouched_from(batch):
                self._give_back(batch, Failed(batch, Fate.REFUSED, self._session, "", refused=reply))
            else:
                batch.plug, batch.payload = reply, plugs(self._session, batch.first, batch.count)
                self._rounds.again(now)

    def _refuse_queue(self, reply: Refused) -> None:
        while self._queue:
            batch = self._taken()
            self._fail(batch, Failed(batch, Fate.REFUSED, 0, "", refused=reply))

    def _is_untouched_from(self, batch: Batch) -> bool:
        """Whether its numbers and all later ones are certainly unused, and stay so."""
        return all(later.untouched for later in self._window[self._window.index(batch) :])

    def _give_back(self, batch: Batch, failed: Failed) -> None:
        """Fail a batch whose numbers nobody used; those behind it get them."""
        place = self._window.index(batch)
        behind = self._window[place + 1 :]
        del self._window[place:]
        self._next = batch.first
        self._fail(batch, failed)
        self._requeue(behind)

    def _requeue(self, batches: Sequence[Batch]) -> None:
        """Put batches that were certainly not done back to the front of the queue."""
        for batch in reversed(batches):
            invariant(batch.untouched, "a batch that may be done gets no other numbers")
            if batch.group is not None and batch.group.failed:
                self._fail(batch, Failed(batch, Fate.DROPPED, 0, "an earlier part of the same submission failed"))
            elif not self.settings.moves:
                self._fail(batch, Failed(batch, Fate.BUSY, self._session, "its numbers were given back"))
            else:
                batch.forget()
                self._queue.appendleft(batch)
                self._queued_length += batch.content.length

    def _expire(self, now: float) -> None:
        """Fail the batches whose time is over."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, batch = heapq.heappop(self._deadlines)
            if batch.over:
                continue
            if batch not in self._window:
                self._queue.remove(batch)
                self._queued_length -= batch.content.length
                self._fail(batch, self._trouble._replace(batch=batch))
            elif self._is_untouched_from(batch):
                self._give_back(batch, self._trouble._replace(batch=batch, session=self._session))
            else:
                self._leave(f"no answer within {self.settings.timeout_s:g} s", now=now)
        if not self._queue and self._window and self._window[0] is self._opening and self._opening.deadline <= now:
            self._forget(self._opening)
            self._window.clear()

    def _leave(self, why: str, *, now: float = float("-inf"), requeue: bool = True) -> None:
        """Leave the session: what may be done fails as unknown, what is certainly not done gets another session."""
        session, batches, is_gone = self._session, self._window, self._is_gone
        self._window, self._session, self._next, self._is_gone = [], 0, 1, False
        kept = []
        for batch in batches:
            if batch is self._opening:
                self._forget(batch)
            elif is_gone and not batch.open and batch.done.any():
                batch.close(Reason.SESSION_UNKNOWN)
                self._resolve(batch, Done(batch, session))
            elif not batch.untouched:
                self._fail(batch, Failed(batch, Fate.UNKNOWN, session, why))
            elif batch.plug is not None:
                self._fail(batch, Failed(batch, Fate.REFUSED, session, "", refused=batch.plug))
            elif batch.deadline <= now or not requeue:
                self._fail(batch, self._trouble._replace(batch=batch, session=session))
            else:
                kept.append(batch)
        self._requeue(kept)

    def _abandon(self, refused: Refused) -> None:
        """Leave a session that the log has otherwise than this client: nothing is sent again by itself."""
        session, batches = self._session, self._window
        self._window, self._session, self._next, self._is_gone = [], 0, 1, False
        for batch in batches:
            unknown = Failed(batch, Fate.UNKNOWN, session, refused.problem)
            self._fail(batch, Failed(batch, Fate.REFUSED, session, "", refused) if batch.untouched else unknown)

    def _fail(self, batch: Batch, failed: Failed) -> None:
        if batch.group is not None:
            batch.group.failed = True
        self._resolve(batch, failed._replace(batch=batch))

    def _resolve(self, batch: Batch, result: Done | Failed) -> None:
        self._forget(batch)
        batch.over = True
        self._results.append(result)

    def _forget(self, batch: Batch) -> None:
        """Await no reply to a batch any more."""
        for attempt in batch.open:
            del self._attempts[attempt]
        batch.open.clear()
        batch.round = -1
