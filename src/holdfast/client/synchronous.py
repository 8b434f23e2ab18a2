"""`Client`: a cluster for programs without an event loop, usable from several threads.

    with holdfast.Client("client.toml") as client:
        outcome = client.call("deposit", account="alice", asset="BTC", amount=10)

What lives here: an `AsyncClient` in a thread of its own, and the same methods, which wait. What may not: anything else.
"""

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from holdfast.client.asynchronous import KEPT, AsyncClient
from holdfast.client.configuration import Configuration
from holdfast.client.errors import ClosedError
from holdfast.client.outcome import Answer, Lookup, Outcome, Outcomes, Receipt
from holdfast.client.pending import Pending
from holdfast.client.results import Session, Settings
from holdfast.domain.commands import ColdCommand
from holdfast.domain.frames import Records
from holdfast.log import loops

T = TypeVar("T")


class PendingResult(Generic[T]):
    """Commands on their way."""

    def __init__(self, future: "concurrent.futures.Future[T]") -> None:
        self._future = future

    def done(self) -> bool:
        """Whether it is known what became of them."""
        return self._future.done()

    def result(self, timeout_s: float | None = None) -> T:
        """What became of them.

        Args:
            timeout_s: How long to wait; None for as long as it takes. They stay on their way after it.

        Raises:
            ClientError: They were not done, or that is unknown.
            TimeoutError: It is not known yet.
        """
        return self._future.result(timeout_s)


class Client:
    """A client of a cluster. A context manager that connects and closes; the methods are those of `AsyncClient`."""

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
        """Connect; the arguments and errors are those of `AsyncClient` and its `open`."""
        client = AsyncClient(
            configuration,
            role=role,
            source=source,
            session=session,
            kept=kept,
            name=name,
            settings=settings,
            read_timeout_s=read_timeout_s,
        )
        self._client = client
        self._loop = loops.new_loop()
        self._is_closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._loop.run_forever, name="holdfast-client", daemon=True)
        self._thread.start()
        try:
            self._wait(client.open())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Wait a few seconds for what is on its way, fail the rest, and disconnect; more than once is allowed."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._client).replace("AsyncClient", "Client", 1)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Have the loop do something, and wait for it."""
        if self._is_closed:
            work.close()
            raise ClosedError("client", "was closed", "make another one")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Interrupted while waiting: the work must not outlive the loop.
            raise

    def _start(self, post: Callable[[], Pending[T]]) -> PendingResult[T]:
        """Have the loop post something; what cannot be posted is raised here."""

        async def posted() -> Pending[T]:
            return post()

        async def awaited(pending: Pending[T]) -> T:
            return await pending

        pending = self._wait(posted())
        return PendingResult(asyncio.run_coroutine_threadsafe(awaited(pending), self._loop))

    def submit(self, records: Records, blob: bytes = b"", *, every: bool = True) -> Receipt:
        """Send records and wait for what became of them."""
        return self._wait(self._client.submit(records, blob, every=every))

    def submit_cold(self, commands: Sequence[ColdCommand]) -> Receipt:
        """Send cold commands (`domain.commands`) and wait for what became of them."""
        return self._wait(self._client.submit_cold(commands))

    def send(self, commands: Sequence[Mapping[str, Any]]) -> Outcomes:
        """Send commands in names and main units and wait for their outcomes."""
        return self._wait(self._client.send(commands))

    def call(self, command: str, **fields: Any) -> Outcome:
        """Send one command by name and wait for its outcome: `client.call("open_account", name="alice")`."""
        return self._wait(self._client.call(command, **fields))

    def post_records(self, records: Records, blob: bytes = b"", *, every: bool = True) -> PendingResult[Receipt]:
        """Send records without waiting."""
        return self._start(lambda: self._client.post_records(records, blob, every=every))

    def post_all(self, commands: Sequence[Mapping[str, Any]]) -> PendingResult[Outcomes]:
        """Send commands in names and main units without waiting."""
        return self._start(lambda: self._client.post_all(commands))

    def post(self, command: str, **fields: Any) -> PendingResult[Outcome]:
        """Send one command by name without waiting."""
        return self._start(lambda: self._client.post(command, **fields))

    @property
    def session(self) -> Session | None:
        """The session and its next number: save it to go on after this program's death; None before the first write."""
        return self._client.session

    @property
    def position(self) -> int:
        """The highest position that an answer to a write named, −1 before the first: reads are at least of it."""
        return self._client.position

    def open_session(self) -> Session:
        """The session; it is opened if there is none."""
        return self._wait(self._client.open_session())

    def resume(self, session: Session) -> None:
        """Go on with a saved session: what is sent next gets its next number."""

        async def resumed() -> None:
            self._client.resume(session)

        self._wait(resumed())

    def ask(
        self, what: str, *, at_least: int | None = None, staleness_s: float | None = None, **arguments: Any
    ) -> Answer:
        """Put a question to the nearest replica, and to another one if it is slow."""
        return self._wait(self._client.ask(what, at_least=at_least, staleness_s=staleness_s, **arguments))

    def margin(self, account: str | int, **bounds: Any) -> Answer:
        """Equity, initial and maintenance margin of an account as the fold decides by them."""
        return self._wait(self._client.margin(account, **bounds))

    def explain(self, account: str | int, **bounds: Any) -> Answer:
        """Why an account's margin is what it is: parts, binding scenario."""
        return self._wait(self._client.explain(account, **bounds))

    def account(self, account: str | int, **bounds: Any) -> Answer:
        """Balances, positions, open orders, status and margin of an account."""
        return self._wait(self._client.account(account, **bounds))

    def accounts(self, first: int | None = None, **bounds: Any) -> Answer:
        """Names of the accounts, from a number on; `end` is where the next answer would begin."""
        return self._wait(self._client.accounts(first, **bounds))

    def definitions(self, **bounds: Any) -> Answer:
        """Assets, contracts, models, sources and replicas, in the order of their numbers."""
        return self._wait(self._client.definitions(**bounds))

    def conservation(self, **bounds: Any) -> Answer:
        """By asset and contract, what all accounts have of it together: always 0."""
        return self._wait(self._client.conservation(**bounds))

    def roots(self, **bounds: Any) -> Answer:
        """The state root, and those of the replica's latest checkpoints."""
        return self._wait(self._client.roots(**bounds))

    def ledger(self, **bounds: Any) -> Answer:
        """What must hold of the ledger: sums by item, accounts with a wrong cost, open orders that cannot be."""
        return self._wait(self._client.ledger(**bounds))

    def holdings(self, accounts: Sequence[str | int], **bounds: Any) -> Answer:
        """Amount and cost of every row of some accounts; `end` says how many of them fitted."""
        return self._wait(self._client.holdings(accounts, **bounds))

    def quotes(self, first: int = 0, **bounds: Any) -> Answer:
        """The last quote of each source of each item, from an item's number on; `end` is where the next begins."""
        return self._wait(self._client.quotes(first, **bounds))

    def parameters(self, model: str | None = None, **bounds: Any) -> Answer:
        """The rules, and version and digest of every model; of one that is named the whole set too."""
        return self._wait(self._client.parameters(model, **bounds))

    def together(self, questions: Sequence[tuple[str, Mapping[str, Any]]], **bounds: Any) -> Answer:
        """Several questions (what, arguments) answered at one position: their contents are under `answers`."""
        return self._wait(self._client.together(questions, **bounds))

    def session_state(self, session: int, **bounds: Any) -> Answer:
        """Whether a session is open, and the number that the log expects next."""
        return self._wait(self._client.session_state(session, **bounds))

    def lookup(self, session: int, number: int, **bounds: Any) -> Lookup:
        """What became of a number of a session, up to the position that the answer reflects."""
        return self._wait(self._client.lookup(session, number, **bounds))

    def status(self, replica: str, timeout_s: float = 1.0) -> dict[str, Any] | None:
        """What a replica says of itself; None where it does not answer."""
        return self._wait(self._client.status(replica, timeout_s))
