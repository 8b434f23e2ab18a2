"""A client's process as a model: the real write line, its own journal or none, and reads beside it.

Theory of operation. A trader offers commands to its line, a few at a time, and tells the oracle what it was told. With
a journal it writes down what it is about to send under which numbers, and after a crash goes on with the same numbers;
without one it takes another session, and what was under way stays unknown. The line knows nothing of what was sent
before the crash. So where it says of that that it was not done, a trader takes it for unknown, and another session.

What may not live here: what is traded (`workload`).
"""

from typing import Any, Final, NamedTuple, Protocol

from holdfast.client.batches import Batch
from holdfast.client.contents import Content
from holdfast.client.protocol import Done, Failed, Fate, Probe, Send, Session, Settings, WriteLine
from holdfast.client.rounds import Pace
from holdfast.core.state import Role
from holdfast.domain.commands import OpenSession
from holdfast.domain.messages import Found, Read, Write, WriteNamed, decode_reply, decode_request, encode_message
from holdfast.domain.messages import batch_of as records_of
from holdfast.simulation.network import Network
from holdfast.simulation.scheduler import Event, Scheduler, Violation

OPEN_MAXIMUM: Final = 3
"""Offers under way; another one waits for their fate."""
STEP_S: Final = 0.001
READ_WAIT_MS: Final = 300


class Offer(NamedTuple):
    """Commands that belong together.

    Attributes:
        serials: The oracle's numbers of the commands, ascending.
        content: The commands.
        about: Of the workload, to learn from the outcomes.
    """

    serials: tuple[int, ...]
    content: Content
    about: tuple[Any, ...]


class Work(Protocol):
    """What a trader has to send."""

    def next_offer(self) -> Offer | None:
        """The next commands, None for nothing now."""

    def done(self, offer: Offer, batch: Batch) -> None:
        """They have outcomes."""

    def failed(self, offer: Offer) -> None:
        """They were not done, or nobody knows."""

    def question(self) -> Read | None:
        """A question to ask, None for none."""


class Ear(Protocol):
    """Who checks what traders are told."""

    def done(self, trader: str, offer: Offer, batch: Batch, session: int) -> None:
        """Commands have outcomes."""

    def failed(self, trader: str, offer: Offer, failed: Failed) -> None:
        """Commands failed."""

    def found(self, trader: str, question: Read, found: Found) -> None:
        """A question was answered."""


class Trader:
    """A client of the cluster.

    Attributes:
        name: Of the client.
        is_alive: Whether its process runs.
        settled: Offers whose fate it was told.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        network: Network,
        ear: Ear,
        work: Work,
        *,
        name: str,
        role: Role,
        replicas: tuple[str, ...],
        has_journal: bool,
        pause_s: float,
        timeout_s: float,
    ) -> None:
        self.name, self._role, self._replicas = name, role, replicas
        self.settled = 0
        self.is_alive = False
        self._scheduler, self._network, self._ear, self._work = scheduler, network, ear, work
        self._pause_s, self._has_journal = pause_s, has_journal
        self._settings = Settings(timeout_s=timeout_s, window_count=OPEN_MAXIMUM, moves=not has_journal, pace=Pace())
        self._opening = OpenSession(role.name.lower(), 0, 16)
        self._line: WriteLine
        self._life = 0
        self._timer: Event | None = None
        self._open: dict[tuple[int, ...], Offer] = {}
        self._journal: dict[int, Offer] = {}
        self._told: set[tuple[int, ...]] = set()
        self._known: set[tuple[int, ...]] = set()
        self._again: set[tuple[int, ...]] = set()
        self._session: Session | None = None
        self.position = -1

    def start(self) -> None:
        """Start a process."""
        self._life += 1
        self.is_alive = True
        self._open = {}
        session = None
        again: list[Offer] = []
        if self._has_journal and self._session is not None:
            numbers = sorted(self._journal)
            again = [self._journal[number] for number in numbers]
            session = Session(self._session.id, numbers[0] if numbers else self._session.next_number)
        self._line = WriteLine(self._replicas, self._opening, self._settings, session=session, now=self._scheduler.now)
        self._again = {offer.serials for offer in again}
        for offer in again:
            self._offer(offer)
        self._scheduler.note(self.name, f"starts, resumes {session}")
        self._turn()
        self._scheduler.after(self._scheduler.between(0.0, self._pause_s), self._work_on, self._life)

    def crash(self) -> None:
        """Kill the process."""
        self._scheduler.note(self.name, "dies")
        self._life += 1
        self.is_alive = False

    @property
    def is_idle(self) -> bool:
        """Whether everything that it offered has its fate."""
        return not self._open

    def _work_on(self, life: int) -> None:
        """Offer more, ask something, and come back."""
        if life != self._life:
            return
        self._scheduler.after(self._scheduler.between(0.3, 1.7) * self._pause_s, self._work_on, life)
        offer = self._work.next_offer() if len(self._open) < OPEN_MAXIMUM else None
        if offer is not None:
            self._offer(offer)
            self._turn()
        question = self._work.question()
        if question is not None:
            self._ask(question)

    def _offer(self, offer: Offer) -> None:
        self._open[offer.serials] = offer
        self._line.offer(offer.content, offer, self._scheduler.now)

    # The line.

    def _turn(self) -> None:
        now, line = self._scheduler.now, self._line
        actions = line.turn(now)
        for result in line.results():
            if (
                isinstance(result, Failed)
                and result.fate is not Fate.UNKNOWN
                and result.batch.token.serials in self._again
            ):
                self._start_over()
                return
            self._settle(result)
        self._follow_session()
        for action in actions:
            if isinstance(action, Probe):
                self._probe(action.replica)
            else:
                self._send(action)
        if self._timer is not None:
            self._timer.cancel()
        wait = max(STEP_S, line.next_at(now) - now)
        self._timer = self._scheduler.after(wait, self._if_alive, self._life, self._turn)

    def _start_over(self) -> None:
        """Leave a session whose numbers may still be used by what was sent before a crash."""
        self._scheduler.note(self.name, "leaves its session")
        self._scheduler.count("sessions left after a crash")
        self._session, self._journal = None, {}
        self.start()

    def _follow_session(self) -> None:
        """Numbers that were written down are those of one session."""
        old, self._session = self._session, self._line.session
        if old is None or self._session is None or old.id != self._session.id:
            self._journal, self._told = {}, set()

    def _if_alive(self, life: int, action: Any, *arguments: Any) -> None:
        if life != self._life:
            return
        try:
            action(*arguments)
        except Violation:
            raise
        except Exception as error:
            raise Violation("a client fails", f"{self.name}: {error!r}") from error

    def _send(self, action: Send) -> None:
        life = self._life
        self._write_down(action)
        self._network.request(
            self.name,
            self._role,
            action.replica,
            action.payload,
            lambda data: self._if_alive(life, self._replied, action.attempt, data),
            lambda: self._if_alive(life, self._unsent, action.attempt),
        )

    def _probe(self, replica: str) -> None:
        life = self._life
        self._network.probe(self.name, replica, lambda serving: self._if_alive(life, self._probed, replica, serving))

    def _write_down(self, action: Send) -> None:
        """Journal the numbers of what is about to be sent."""
        request = decode_request(action.payload)
        number = request.number if isinstance(request, WriteNamed) else 0
        if isinstance(request, Write):
            number = int(records_of(request).records["number"][0])
        if not self._has_journal or not number:
            return
        offer = next((one for one in self._open.values() if number not in self._journal and self._is_new(one)), None)
        if offer is not None:
            self._journal[number] = offer

    def _is_new(self, offer: Offer) -> bool:
        return all(known is not offer for known in self._journal.values())

    def _replied(self, attempt: int, data: bytes) -> None:
        self._line.replied(attempt, decode_reply(data), self._scheduler.now)
        self._turn()

    def _unsent(self, attempt: int) -> None:
        self._line.unsent(attempt, self._scheduler.now)
        self._turn()

    def _probed(self, replica: str, serving: bool) -> None:  # noqa: FBT001 (what a network says)
        self._line.probed(replica, self._scheduler.now, serving=serving)
        self._turn()

    def _settle(self, result: Done | Failed) -> None:
        offer: Offer = result.batch.token
        self._open.pop(offer.serials, None)
        self.settled += 1
        if isinstance(result, Failed):
            self._journal = {number: one for number, one in self._journal.items() if one is not offer}
        elif self._has_journal:
            self._told.add(offer.serials)
            while self._journal and self._journal[min(self._journal)].serials in self._told:
                del self._journal[min(self._journal)]
        if isinstance(result, Done):
            self._scheduler.note(self.name, f"done {offer.serials} {result.batch.outcomes['reason'].tolist()}")
            self.position = max(self.position, result.batch.position)
            self._ear.done(self.name, offer, result.batch, result.session)
            if offer.serials not in self._known:
                self._known.add(offer.serials)
                self._work.done(offer, result.batch)
        else:
            self._scheduler.note(self.name, f"failed {offer.serials} {result.fate.value}: {result.problem}")
            self._ear.failed(self.name, offer, result)
            self._work.failed(offer)

    # Reads.

    def _ask(self, question: Read) -> None:
        asked = Read(question.what, question.arguments, self.position, -1, READ_WAIT_MS)
        life = self._life
        node = self._replicas[self._scheduler.random.randrange(len(self._replicas))]

        def came(data: bytes) -> None:
            self._if_alive(life, self._answered, asked, data)

        self._network.request(self.name, self._role, node, encode_message(asked), came, lambda: None)

    def _answered(self, asked: Read, data: bytes) -> None:
        reply = decode_reply(data)
        if isinstance(reply, Found):
            self._ear.found(self.name, asked, reply)
            self.position = max(self.position, reply.position)
