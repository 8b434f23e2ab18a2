"""`AsyncClient`: a cluster for programs with an event loop. `holdfast.Client` is the same for programs without one.

    async with holdfast.AsyncClient("client.toml") as client:
        outcome = await client.call("deposit", account="alice", asset="BTC", amount=10)

What lives here: the line of writes and the asking of questions, joined to connections and the clock. What may not:
their rules (`protocol`, `asking`).
"""

import asyncio
import functools
import json
import os
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from holdfast.client.asking import Asker
from holdfast.client.batches import Group
from holdfast.client.configuration import Configuration, read_configuration
from holdfast.client.contents import Content, NamedContent, cold_content, contents_of, named_content
from holdfast.client.errors import BusyError, ClosedError, UnreachableError
from holdfast.client.hearing import Heard, Way
from holdfast.client.outcome import Answer, Lookup, Outcome, Outcomes, Receipt
from holdfast.client.pending import Pending, outcome_of_one, outcomes_of, receipt_of
from holdfast.client.protocol import WriteLine
from holdfast.client.questions import Regions
from holdfast.client.results import Action, Send, Session, Settings
from holdfast.domain.commands import ColdCommand, OpenSession
from holdfast.domain.errors import InputError, MissingLibraryError
from holdfast.domain.frames import RecordKind, Records
from holdfast.domain.messages import Read, decode_reply
from holdfast.domain.outcomes import OUTCOME

if TYPE_CHECKING:
    from holdfast.client.links import Links

ROLES: Final = {
    "client": frozenset(RecordKind) - {RecordKind.QUOTE},
    "operator": frozenset(RecordKind) - {RecordKind.QUOTE},
    "source": frozenset({RecordKind.QUOTE}),
}
"""What a session of each role may send (specs/sessions.md)."""
KEPT: Final = 256
"""Outcomes that the log keeps for a session, so that what is sent again gets its first outcome."""
MEASURE_S: Final = 10.0
"""Between looks at how far away the replicas are."""
CONNECT_S: Final = 10.0
CLOSE_S: Final = 5.0


class AsyncClient:
    """A client of a cluster, for one event loop. A context manager that connects and closes.

    What was acknowledged took effect exactly once. What fails says whether it certainly was not done, or is unknown
    (`holdfast.client.errors`). Everything that is sent keeps its order.
    """

    def __init__(
        self,
        configuration: str | os.PathLike[str] | Configuration,
        *,
        role: str = "",
        source: int = 0,
        session: Session | None = None,
        kept: int = KEPT,
        name: str = "client",
        settings: Settings | None = None,
        read_timeout_s: float = 5.0,
    ) -> None:
        """A client that is not connected yet.

        Args:
            configuration: Path of a client.toml, or what it holds.
            role: "client", "operator" or "source"; by default the name of the configuration's user.
            source: Number of the price source that a source speaks for.
            session: One to go on with; by default one is opened when it is first needed.
            kept: Outcomes that the log is to keep for a new session, 1 to 4,096.
            name: What the servers call this client in their reports.
            settings: How writes behave.
            read_timeout_s: After which a question fails.

        Raises:
            InputError: The configuration or the role cannot be used.
        """
        if not isinstance(configuration, Configuration):
            configuration = read_configuration(Path(configuration).expanduser())
        self._configuration = configuration
        self.role = role or configuration.log.user
        if self.role not in ROLES:
            raise InputError("malformed", "role", self.role, f"give one of {', '.join(ROLES)}")
        self._name = name
        self._read_timeout_s = read_timeout_s
        opening = OpenSession(self.role, source if self.role == "source" else 0, kept)
        replicas = preferred(configuration)
        self._line = WriteLine(replicas, opening, settings, session=session, now=time.monotonic())
        self._regions = Regions([place.region for place in configuration.replicas], configuration.region)
        self._came = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._links: Links | None = None
        self._asker: Asker | None = None
        self._is_closed = False
        self._failure = ""

    async def open(self) -> Self:
        """Connect. Writes that are given before are not lost: they wait.

        Raises:
            UnreachableError: No server could be reached in time.
            AccessError: The servers refuse this user.
            MissingLibraryError: nats-py is not installed.
        """
        if self._links is not None:
            return self
        links = _links(self._configuration, self._name, self._connected)
        try:
            if not await links.open(CONNECT_S):
                problem = f"could not be reached within {CONNECT_S:g} s"
                advice = "see that the servers run and that their addresses are right"
                raise UnreachableError(", ".join(self._configuration.log.servers), problem, advice)
        except BaseException:
            await links.close()
            raise
        self._links, self._asker = links, Asker(links, self._regions)
        for work in (self._run_line(), self._measure()):
            self._spawn(work)
        return self

    async def close(self) -> None:
        """Wait a few seconds for what is on its way, fail the rest, and disconnect; more than once is allowed."""
        if self._is_closed:
            return
        self._is_closed = True
        deadline = time.monotonic() + CLOSE_S
        while self._links is not None and not self._line.is_idle and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        self._line.give_up()
        self._deliver()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._links is not None:
            await self._links.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        session = self._line.session
        place = f"session {session.id}, next number {session.next_number}" if session else "no session yet"
        return f"<AsyncClient: {self.role}, {place}, position {self.position}>"

    # Writing.

    async def submit(self, records: Records, blob: bytes = b"", *, every: bool = True) -> Receipt:
        """Send records and wait for what became of them; see `post_records`."""
        return await self.post_records(records, blob, every=every)

    async def submit_cold(self, commands: Sequence[ColdCommand]) -> Receipt:
        """Send cold commands (`domain.commands`) and wait for what became of them."""
        return await self.post_records(*cold_content(commands))

    async def send(self, commands: Sequence[Mapping[str, Any]]) -> Outcomes:
        """Send commands in names and main units and wait for their outcomes; see `post_all`."""
        return await self.post_all(commands)

    async def call(self, command: str, **fields: Any) -> Outcome:
        """Send one command by name and wait for its outcome: `await client.call("open_account", name="alice")`."""
        return await self.post(command, **fields)

    def post_records(self, records: Records, blob: bytes = b"", *, every: bool = True) -> Pending[Receipt]:
        """Send records without waiting.

        Args:
            records: Flat array of type RECORD; session and number are filled in.
            blob: What its cold records tile.
            every: Whether every outcome is wanted, or only those of commands that were refused or repeated.

        Raises:
            InputError: They cannot be sent, or not under this role. Nothing was sent.
            BusyError: Too much waits already. Nothing was sent.
            ClosedError: The client was closed.
        """
        contents = contents_of(records, blob, every=every)
        for kind in set(records["kind"].tolist()):
            if RecordKind(kind) not in ROLES[self.role]:
                advice = f"send it as another role than {self.role}"
                raise InputError("not-allowed", "records", RecordKind(kind).name, advice, "is not for this role")
        return self._post(contents, Pending(len(contents), receipt_of))

    def post_all(self, commands: Sequence[Mapping[str, Any]]) -> Pending[Outcomes]:
        """Send commands in names and main units without waiting.

        Args:
            commands: 1 to 1,024 mappings of the arguments of `holdfast.Engine`'s methods, with the method's name in
                "command". Names must be known to the cluster before: await what defines them.

        Raises:
            InputError: They cannot be written as JSON, or this client is a source. Nothing was sent.
            BusyError: Too much waits already. Nothing was sent.
            ClosedError: The client was closed.
        """
        return self._post([self._named(commands)], Pending(1, outcomes_of))

    def post(self, command: str, **fields: Any) -> Pending[Outcome]:
        """Send one command by name without waiting; see `post_all`."""
        return self._post([self._named([{"command": command, **fields}])], Pending(1, outcome_of_one))

    def _named(self, commands: Sequence[Mapping[str, Any]]) -> NamedContent:
        if self.role == "source":
            raise InputError("not-allowed", "commands", None, "send quotes with submit", "are not for a source")
        return named_content(commands)

    def _post(self, contents: Sequence[Content], pending: Pending[Any]) -> Pending[Any]:
        self._check_open()
        if not self._line.has_room(sum(content.length for content in contents)):
            raise BusyError("the client", "has too much to send already", "wait for answers before sending more", 0.1)
        group = Group() if len(contents) > 1 else None
        now = time.monotonic()
        for part, content in enumerate(contents):
            self._line.offer(content, functools.partial(pending.take, part), now, group)
        self._came.set()
        return pending

    # Sessions.

    @property
    def session(self) -> Session | None:
        """The session and its next number: save it to go on after this program's death; None before the first write."""
        return self._line.session

    @property
    def position(self) -> int:
        """The highest position that an answer to a write named, −1 before the first: reads are at least of it."""
        return self._line.position

    async def open_session(self) -> Session:
        """The session; it is opened if there is none.

        Raises:
            UnreachableError: It could not be opened in time.
        """
        self._check_open()
        deadline = time.monotonic() + self._line.settings.timeout_s
        while (session := self._line.session) is None:
            if time.monotonic() >= deadline:
                raise UnreachableError("session", "could not be opened", "see that the cluster runs, and try again")
            self._line.open(time.monotonic())
            self._came.set()
            await asyncio.sleep(0.005)
        return session

    def resume(self, session: Session) -> None:
        """Go on with a saved session: what is sent next gets its next number.

        To learn what became of commands that were on their way, resume with the number of the first of them and send
        the same again, in the same order. Only one client at a time may use a session.

        Raises:
            InputError: Something is on its way under the present session.
        """
        self._line.resume(session)

    # Reading.

    async def ask(
        self, what: str, *, at_least: int | None = None, staleness_s: float | None = None, **arguments: Any
    ) -> Answer:
        """Put a question to the nearest replica, and to another one if it is slow.

        Args:
            what: See `domain.messages.Read`.
            at_least: Position that the answer reflects; by default that of the last own write.
            staleness_s: How long ago the replica may have heard of the log at most.
            arguments: Of the question.

        Raises:
            RefusedError: The question cannot be answered: there is no such account.
            BusyError: All replicas were busy all the time.
            UnreachableError: No replica answered in time, or none was as far as the answer must be.
            ClosedError: The client was closed, or not opened.
        """
        self._check_open()
        if self._asker is None:
            raise ClosedError("client", "is not connected", "open it first: `async with AsyncClient(…) as client`")
        minimum = self.position if at_least is None else at_least
        staleness_ms = -1 if staleness_s is None else max(0, round(staleness_s * 1_000))
        found = await self._asker.ask(Read(what, arguments, minimum, staleness_ms), self._read_timeout_s)
        return Answer(found.content, found.position, found.time, found.replica, found.degraded)

    async def margin(self, account: str | int, **bounds: Any) -> Answer:
        """Equity, initial and maintenance margin of an account as the fold decides by them."""
        return await self.ask("margin", account=account, **bounds)

    async def explain(self, account: str | int, **bounds: Any) -> Answer:
        """Why an account's margin is what it is: parts, binding scenario."""
        return await self.ask("explain", account=account, **bounds)

    async def account(self, account: str | int, **bounds: Any) -> Answer:
        """Balances, positions, open orders, status and margin of an account."""
        return await self.ask("account", account=account, **bounds)

    async def accounts(self, first: int | None = None, **bounds: Any) -> Answer:
        """Names of the accounts, from a number on; `end` is where the next answer would begin."""
        return await self.ask("accounts", **({} if first is None else {"first": first}), **bounds)

    async def definitions(self, **bounds: Any) -> Answer:
        """Assets, contracts, models, sources and replicas, in the order of their numbers."""
        return await self.ask("definitions", **bounds)

    async def conservation(self, **bounds: Any) -> Answer:
        """By asset and contract, what all accounts have of it together: always 0."""
        return await self.ask("conservation", **bounds)

    async def roots(self, **bounds: Any) -> Answer:
        """The state root, and those of the replica's latest checkpoints."""
        return await self.ask("root", **bounds)

    async def ledger(self, **bounds: Any) -> Answer:
        """What must hold of the ledger: sums by item, accounts with a wrong cost, open orders that cannot be."""
        return await self.ask("ledger", **bounds)

    async def holdings(self, accounts: Sequence[str | int], **bounds: Any) -> Answer:
        """Amount and cost of every row of some accounts; `end` says how many of them fitted."""
        return await self.ask("holdings", accounts=list(accounts), **bounds)

    async def quotes(self, first: int = 0, **bounds: Any) -> Answer:
        """The last quote of each source of each item, from an item's number on; `end` is where the next begins."""
        return await self.ask("quotes", first=first, **bounds)

    async def parameters(self, model: str | None = None, **bounds: Any) -> Answer:
        """The rules, and version and digest of every model; of one that is named the whole set too."""
        return await self.ask("parameters", model=model, **bounds)

    async def together(self, questions: Sequence[tuple[str, Mapping[str, Any]]], **bounds: Any) -> Answer:
        """Several questions (what, arguments) answered at one position: their contents are under `answers`."""
        return await self.ask("together", questions=[[what, dict(given)] for what, given in questions], **bounds)

    async def session_state(self, session: int, **bounds: Any) -> Answer:
        """Whether a session is open, and the number that the log expects next."""
        return await self.ask("session", session=session, **bounds)

    async def lookup(self, session: int, number: int, **bounds: Any) -> Lookup:
        """What became of a number of a session, up to the position that the answer reflects."""
        answer = await self.ask("lookup", session=session, number=number, **bounds)
        data = answer.content.get("outcome")
        outcome = None if data is None else np.frombuffer(data, OUTCOME)[0]
        return Lookup(str(answer["state"]), outcome, int(answer.content.get("next", 0)), answer.position)

    async def status(self, replica: str, timeout_s: float = 1.0) -> dict[str, Any] | None:
        """What a replica says of itself; None where it does not answer."""
        if self._links is None:
            return None
        came: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()
        await self._links.request(0, f"holdfast.status.{replica}", b"", lambda heard: _set(came, heard))
        try:
            async with asyncio.timeout(timeout_s):
                return _status((await came).data)
        except TimeoutError:
            return None

    # The work behind.

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("client", "was closed", "make another one")
        if self._failure:
            raise ClosedError("client", f"broke: {self._failure}", "report it, and make another one")

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _connected(self) -> None:
        self._line.connected(time.monotonic())
        self._came.set()

    async def _run_line(self) -> None:
        """Do what the line wants; whatever ends that, nobody is left waiting."""
        try:
            await self._follow_line()
        except Exception as error:
            self._failure = repr(error)
            raise
        finally:
            self._line.give_up()
            self._deliver()

    async def _follow_line(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._came.clear()
            for action in self._line.turn(time.monotonic()):
                await self._do(action)
            self._deliver()
            now = time.monotonic()
            timer = loop.call_later(max(0.0, self._line.next_at(now) - now), self._came.set)
            await self._came.wait()
            timer.cancel()

    async def _do(self, action: Action) -> None:
        if self._links is None:
            return
        if isinstance(action, Send):
            subject = f"holdfast.write.{self.role}.{action.replica}"
            heard = functools.partial(self._heard, action.attempt)
            await self._links.request(action.path, subject, action.payload, heard)
        else:
            probed = functools.partial(self._probed, action.replica)
            await self._links.request(0, f"holdfast.status.{action.replica}", b"", probed)

    def _heard(self, attempt: int, heard: Heard) -> None:
        """What became of a request to write."""
        now = time.monotonic()
        match heard.way:
            case Way.ANSWERED:
                try:
                    self._line.replied(attempt, decode_reply(heard.data), now)
                except InputError as error:
                    self._line.misunderstood(attempt, now, str(error))
            case Way.LOST:
                self._line.lost(attempt, now)
            case _:
                self._line.unsent(attempt, now, heard.way.value)
        self._deliver()
        self._came.set()

    def _probed(self, replica: str, heard: Heard) -> None:
        status = _status(heard.data)
        if status is not None or heard.way is Way.ABSENT:
            self._line.probed(replica, time.monotonic(), serving=bool(status and status.get("serving")))
            self._came.set()

    def _deliver(self) -> None:
        for result in self._line.results():
            result.batch.token(result)

    async def _measure(self) -> None:
        """Find out how far away the regions are."""
        while self._links is not None and not self._is_closed:
            for place in self._configuration.replicas:
                began = time.monotonic()
                if await self.status(place.name) is not None:
                    self._regions.note(place.region, time.monotonic() - began)
            self._links.sweep()
            await asyncio.sleep(MEASURE_S)


def preferred(configuration: Configuration) -> list[str]:
    """Names of the replicas to write to: those of the own region first, otherwise by chance, which spreads clients."""
    places = list(configuration.replicas)
    random.shuffle(places)
    return [place.name for place in sorted(places, key=lambda place: place.region != configuration.region)]


def _links(configuration: Configuration, name: str, changed: Any) -> "Links":
    try:
        from holdfast.client.links import Links  # noqa: PLC0415 (so that the class can be named without nats-py)
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("nats"):
            raise
        raise MissingLibraryError("a client needs nats-py: pip install 'holdfast[cluster]'") from None
    return Links(configuration.log.access(), name, changed)


def _status(data: bytes) -> dict[str, Any] | None:
    try:
        status = json.loads(data) if data else None
    except ValueError:
        return None
    return status if isinstance(status, dict) else None


def _set(future: asyncio.Future[Heard], heard: Heard) -> None:
    if not future.done():
        future.set_result(heard)
