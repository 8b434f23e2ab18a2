"""Event loops for processes that send and receive all the time. What may not live here: what they send.

uvloop does the work of asyncio's own loop for two thirds of the processor time of an encrypted message. It is no part
of what anything needs: where it cannot be installed, asyncio's own loop serves.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

new_loop: Callable[[], asyncio.AbstractEventLoop]
"""A new event loop of the quickest kind that is installed."""

try:
    from uvloop import new_event_loop as new_loop
except ModuleNotFoundError:
    from asyncio import new_event_loop as new_loop


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a loop of its own, as `asyncio.run` does."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(work)
