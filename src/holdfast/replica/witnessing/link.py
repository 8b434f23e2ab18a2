"""The node's end of the pipe to the process of another engine: starting, feeding and ending it.

An engine that falls too far behind, breaks or dies is ended, and another begins in its place. What may not live here:
what its answers mean (`node.comparison`, `node.examination`).
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from holdfast.replica.witnessing.messages import LENGTH_SIZE, Broken, Message, encoded

BACKLOG_MAXIMUM: Final = 128 << 20
"""Bytes that may wait for the other engine."""
END_S: Final = 3.0
ONE_THREAD: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Of linear algebra, unless the environment says otherwise: more would take the processors from the node."""


class EngineLink:
    """One process of another engine, from its start to its end."""

    def __init__(
        self,
        program: str,
        decoder: msgspec.msgpack.Decoder[Any],
        *,
        answered: Callable[[Any], None],
        ended: Callable[[str], None],
    ) -> None:
        """Prepare.

        Args:
            program: Name of the module to run.
            decoder: Of what it says.
            answered: Told each answer, in the loop.
            ended: Told once why it ended, unless `close` ended it.
        """
        self._program, self._decoder = program, decoder
        self._answered, self._ended = answered, ended
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: list[bytes] = []
        self._problem = ""

    async def start(self, *first: Message) -> None:
        """Start the process; what is sent meanwhile waits behind its first messages."""
        self._waiting[:0] = [encoded(message) for message in first]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self._program,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=ONE_THREAD | os.environ,
            limit=1 << 20,
        )
        waiting, self._waiting = self._waiting, []
        self._write(waiting)
        self._reading = asyncio.create_task(self._read(self._process))

    @property
    def pid(self) -> int | None:
        """Of the process; None before it started."""
        return None if self._process is None else self._process.pid

    def send(self, messages: Iterable[Message]) -> None:
        """Send messages, in order."""
        data = [encoded(message) for message in messages]
        if self._process is None:
            self._waiting += data
        else:
            self._write(data)

    async def close(self) -> None:
        """End the process in order."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        process = self._process
        if process is None or process.returncode is not None or process.stdin is None:
            return
        with contextlib.suppress(OSError, RuntimeError):
            process.stdin.write(bytes(LENGTH_SIZE))
            process.stdin.close()
        try:
            async with asyncio.timeout(END_S):
                await process.wait()
        except TimeoutError:
            self._kill("")
            await process.wait()

    def _write(self, data: Iterable[bytes]) -> None:
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing():
            return
        process.stdin.writelines(data)
        if process.stdin.transport.get_write_buffer_size() > BACKLOG_MAXIMUM:
            self._kill("was too far behind")

    def _kill(self, why: str) -> None:
        self._problem = self._problem or why
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        stream = process.stdout
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while stream is not None:
                length = int.from_bytes(await stream.readexactly(LENGTH_SIZE), "little")
                message = self._decoder.decode(await stream.readexactly(length))
                if isinstance(message, Broken):
                    self._problem = message.problem
                    break
                self._answered(message)
        self._kill("")
        status = await process.wait()
        self._ended(self._problem or f"its process ended with status {status}")
