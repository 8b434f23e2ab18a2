"""A client in a process of its own: sends and asks until it is told to end, and writes everything down.

    python -m holdfast.chaos.client FILE

FILE is JSON of `Orders`. It ends in order after SIGTERM. What lives here: calls and their entries in the journal. What
may not: what is sent (`workload`), and any judgement of the answers (`checks`).
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from holdfast.chaos.journal import (
    Acknowledged,
    Answered,
    Asked,
    Entry,
    Failed,
    Invoked,
    Journal,
    Said,
    Unanswered,
    Unknown,
    now,
)
from holdfast.chaos.workload import Workload, World, said_of
from holdfast.client.asynchronous import AsyncClient
from holdfast.client.errors import BusyError, ClientError, UnknownError
from holdfast.client.outcome import Outcome, Receipt
from holdfast.client.results import Settings
from holdfast.domain.errors import InputError
from holdfast.domain.reasons import Reason
from holdfast.log import loops

UNDER_WAY = 6
"""Submissions whose fate is not known yet."""
_PAUSE_S = 0.05
_HALTED = "does not acknowledge"
"""Words by which a node says that it is halted (NOD-10)."""


class Orders(msgspec.Struct, frozen=True):
    """What a client is told.

    Attributes:
        configuration: Path of its client.toml.
        journal: Path of its journal.
        client: Its number, from 0.
        seed: Of its choices.
        world: What there is.
        pause_s: Mean time between submissions, and between questions.
        timeout_s: After which a command that was not answered is unknown, or certainly not done.
    """

    configuration: str
    journal: str
    client: int
    seed: int
    world: World
    pause_s: float
    timeout_s: float


class Caller:
    """One client at work."""

    def __init__(self, orders: Orders, client: AsyncClient, journal: Journal) -> None:
        self._client, self._journal = client, journal
        self._workload = Workload(orders.world, orders.client, orders.seed)
        self._pause_s = orders.pause_s
        self._places = asyncio.Semaphore(UNDER_WAY)
        self._open: set[asyncio.Task[None]] = set()
        self._calls = 0
        self.ending = asyncio.Event()

    async def send(self) -> None:
        """Send until told to end, then wait for what is under way."""
        while not self.ending.is_set():
            await self._places.acquire()
            if self._workload.is_named():
                fields, record = self._workload.named()
                records = [record]
            else:
                fields, records = {}, self._workload.burst()
            calls = [(self._next(), said_of(record[0])) for record in records]
            for call, said in calls:
                self._journal.put(Invoked(now(), call, said))
            await self._journal.force()
            self._spawn(self._settle(calls, self._post(fields, records)))
            await self._wait(self._workload.pause_s(self._pause_s))
        await asyncio.gather(*self._open)

    def _post(self, fields: dict[str, Any], records: Sequence[Any]) -> Awaitable[Any] | Exception:
        """Send; in the order of the calls, as nothing is awaited since they were written down."""
        try:
            if fields:
                return self._client.post("transfer", **fields)
            return self._client.post_records(np.concatenate(records))
        except (ClientError, InputError) as error:
            return error

    async def _settle(self, calls: list[tuple[int, Said]], sent: Awaitable[Any] | Exception) -> None:
        """Write down what became of a submission, then use it."""
        try:
            if isinstance(sent, Exception):
                raise sent
            result = await sent
        except (ClientError, InputError) as error:
            self._write([_failure(error, call, place) for place, (call, _) in enumerate(calls)])
            await self._journal.force()
            await asyncio.sleep(getattr(error, "retry_after_s", _PAUSE_S))
        else:
            entries = _of_outcome(calls[0][0], result) if isinstance(result, Outcome) else _of_receipt(calls, result)
            self._write(entries)
            await self._journal.force()
            self._learn(calls, result)
        finally:
            self._places.release()

    def _learn(self, calls: list[tuple[int, Said]], result: Outcome | Receipt) -> None:
        if isinstance(result, Receipt):
            for (_, said), outcome in zip(calls, result.outcomes, strict=True):
                if outcome["reason"] == Reason.ACCEPTED:
                    self._workload.ordered(said, int(outcome["made"]))

    async def ask(self, *, is_bounded: bool) -> None:
        """Ask until told to end, one question after the other."""
        while not self.ending.is_set():
            question, call = self._workload.question(is_bounded=is_bounded), self._next()
            minimum = self._client.position if question.own else -1
            staleness_ms = -1 if question.staleness_s is None else round(question.staleness_s * 1_000)
            self._journal.put(Asked(now(), call, question.what, question.arguments, minimum, staleness_ms))
            await self._journal.force()
            try:
                found = await self._client.ask(
                    question.what, at_least=minimum, staleness_s=question.staleness_s, **question.arguments
                )
            except ClientError as error:
                self._write([Unanswered(now(), call, str(error))])
                await asyncio.sleep(_PAUSE_S)
            else:
                self._write([Answered(now(), call, found.position, found.time, found.replica, dict(found.content))])
            await self._journal.force()
            await self._wait(self._workload.pause_s(self._pause_s))

    def _write(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._journal.put(entry)

    def _next(self) -> int:
        self._calls += 1
        return self._calls

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ending.wait(), seconds)


def _failure(error: Exception, call: int, place: int) -> Entry:
    """The entry of a call that brought no outcome; `place` is the command's among those sent together."""
    if isinstance(error, UnknownError):
        return Unknown(now(), call, error.session, error.number + place, str(error))
    kind = "busy: " if isinstance(error, BusyError) else ""
    return Failed(now(), call, f"{kind}{error}")


def _of_outcome(call: int, outcome: Outcome) -> list[Entry]:
    reason = int(outcome.reason) if isinstance(outcome.reason, Reason) else -1
    halted = _is_halted(outcome.degraded)
    return [Acknowledged(now(), call, outcome.session, outcome.number, reason, outcome.command, halted)]


def _of_receipt(calls: list[tuple[int, Said]], receipt: Receipt) -> list[Entry]:
    numbers = [(part.session, part.first + place) for part in receipt.numbers for place in range(part.size)]
    halted, at = _is_halted(receipt.degraded), now()
    return [
        Acknowledged(at, call, session, number, int(outcome["reason"]), int(outcome["command"]), halted)
        for (call, _), (session, number), outcome in zip(calls, numbers, receipt.outcomes, strict=True)
    ]


def _is_halted(degraded: Sequence[str]) -> bool:
    return any(_HALTED in word for word in degraded)


async def run(orders: Orders) -> None:
    """Connect, and work until SIGTERM."""
    journal = Journal(Path(orders.journal))
    writing = asyncio.create_task(journal.run())
    try:
        settings = Settings(timeout_s=orders.timeout_s)
        async with AsyncClient(orders.configuration, name=f"chaos {orders.client}", settings=settings) as client:
            caller = Caller(orders, client, journal)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, caller.ending.set)
            await asyncio.gather(caller.send(), caller.ask(is_bounded=False), caller.ask(is_bounded=True))
    finally:
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing
        journal.close()


if __name__ == "__main__":
    loops.run(run(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Orders)))
