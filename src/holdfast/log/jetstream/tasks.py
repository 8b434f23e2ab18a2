"""Ending tasks that use the library. What may not live here: starting them."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

PATIENCE_S: Final = 1.0
"""How long a task that was told to end may take to close what it has open before it is told again."""


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> list[Exception]:
    """Cancel tasks until they have ended.

    Once is not enough: `asyncio.wait_for` of Python 3.11, which the library uses for requests, loses a cancellation
    that arrives together with the answer, and the task goes on as if nothing had been said.

    Returns:
        What they raised, other than their cancellation.
    """
    everything = set(tasks)
    pending = everything
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=PATIENCE_S)
    errors = [task.exception() for task in everything if not task.cancelled()]
    return [error for error in errors if isinstance(error, Exception)]
