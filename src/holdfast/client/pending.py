"""What is on its way, and what becomes of it when the line has told all its parts. No I/O but the loop's futures."""

import asyncio
from collections.abc import Callable, Generator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from holdfast.client.errors import BusyError, ClientError, RefusedError, UnknownError, UnreachableError
from holdfast.client.outcome import (
    Numbers,
    Outcome,
    Outcomes,
    Receipt,
    details_of,
    outcome_of,
    outcome_without_words,
)
from holdfast.client.results import Done, Failed, Fate

T = TypeVar("T")


class Pending(Generic[T]):
    """Commands on their way. `await` it for what became of them, now or later."""

    def __init__(self, parts: int, combine: Callable[[Sequence[Done]], T]) -> None:
        self._results: list[Done | Failed | None] = [None] * parts
        self._left = parts
        self._combine = combine
        self._future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def __await__(self) -> Generator[Any, None, T]:
        return asyncio.shield(self._future).__await__()

    def done(self) -> bool:
        """Whether it is known what became of them."""
        return self._future.done()

    def add_done_callback(self, callback: Callable[[object], object]) -> None:
        """Call `callback` with the future once it is known what became of them."""
        self._future.add_done_callback(callback)

    def take(self, part: int, result: Done | Failed) -> None:
        """What became of a part."""
        self._results[part] = result
        self._left -= 1
        if self._left:
            return
        done = [one for one in self._results if isinstance(one, Done)]
        failed = next((one for one in self._results if isinstance(one, Failed)), None)
        if failed is None:
            self._future.set_result(self._combine(done))
            return
        error = error_of(failed)
        error.receipts = [receipt_of([one]) for one in done]
        self._future.set_exception(error)


def error_of(failed: Failed) -> ClientError:
    """The error that says what became of a batch."""
    batch, count = failed.batch, failed.batch.count
    subject = f"{count} commands"
    if failed.fate is Fate.UNKNOWN:
        return UnknownError(failed.session, batch.first, count, failed.problem)
    if failed.refused is not None:
        refused = failed.refused
        return RefusedError(refused.code, refused.field, refused.problem, refused.advice)
    if failed.fate is Fate.BUSY:
        problem = f"were not done: {failed.problem or 'the replicas are busy'}"
        return BusyError(subject, problem, "send them again later", failed.retry_after_s)
    advice = "see that the cluster runs (`holdfast cluster status`), then send them again"
    return UnreachableError(subject, f"were not done: {failed.problem}", advice)


def receipt_of(parts: Sequence[Done]) -> Receipt:
    """The receipt of the batches of a submission."""
    details: dict[int, object] = {}
    offset = 0
    for part in parts:
        details |= details_of(part.batch.details, offset)
        offset += part.batch.count
    return Receipt(
        outcomes=np.concatenate([part.batch.outcomes for part in parts]) if len(parts) > 1 else parts[0].batch.outcomes,
        numbers=tuple(Numbers(part.session, part.batch.first, part.batch.count) for part in parts),
        position=max(part.batch.position for part in parts),
        details=details,
        degraded=parts[-1].batch.degraded,
    )


def outcomes_of(parts: Sequence[Done]) -> Outcomes:
    """The outcomes of commands in names."""
    return Outcomes(_outcome(part, index) for part in parts for index in range(part.batch.count))


def outcome_of_one(parts: Sequence[Done]) -> Outcome:
    """The outcome of one command in names."""
    return _outcome(parts[0], 0)


def _outcome(part: Done, index: int) -> Outcome:
    batch, number = part.batch, part.batch.first + index
    told = batch.told.get(index)
    if told is None:
        return outcome_without_words(batch.outcomes[index], batch.degraded, part.session, number)
    return outcome_of(told, batch.degraded, part.session, number)
