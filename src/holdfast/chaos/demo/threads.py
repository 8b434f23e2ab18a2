"""Work in a thread that is waited for even where the task that began it is cancelled.

Whatever a thread starts or opens is then known before the folder is cleared. What may not live here: the work.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """Do it in a thread; a cancellation takes effect when it is done."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
