"""The process of a node's second engine, which the node starts: `python -m holdfast.replica.witnessing.child`.

Theory of operation. It reads frames and questions from its standard input and answers on its standard output, one after
the other, with no clock of its own. When the input ends without a word the node has died: then it stays with what it
has, connects, and answers questions for margins in the node's place, saying so, until a node of that name serves again.
So a command that breaks the first engine in all replicas leaves margins answered.

It asks for less processor time than the node: a comparison that is late delays a vote, and never a command.

What may not live here: what its numbers mean.
"""

import asyncio
import contextlib
import os
import sys
import time
from typing import Any, BinaryIO, Final

import nats.errors
import numpy as np
from nats.aio.msg import Msg

from holdfast.domain.errors import HoldfastError, InputError
from holdfast.domain.messages import Busy, Found, Read, Refused, Reply, decode_request, encode_message
from holdfast.log.jetstream.connection import LogClient, connect
from holdfast.replica.configuration import Configuration, decode_configuration
from holdfast.replica.witnessing.messages import (
    LENGTH_SIZE,
    Answer,
    Array,
    Ask,
    Begin,
    Broken,
    Follow,
    encoded,
    to_child,
    values_of,
)
from holdfast.witness import Witness

NICE: Final = 5
ALONE_S: Final = 3_600.0
"""How long it answers alone at most."""
LOOK_S: Final = 1.0
"""Between looks whether a node serves again."""
UNREACHED_S: Final = 10.0
"""Without servers for so long it ends: then nobody can ask it."""
DEGRADED: Final = "the first engine is away: margins are the second engine's, of the position named"


class SecondEngine:
    """The second engine, fed and asked by messages.

    Attributes:
        witness: The engine.
        names: Of accounts, by number.
        configuration: Of the replica; None before it begins.
    """

    def __init__(self) -> None:
        self.witness = Witness.new()
        self.names: dict[int, str] = {}
        self.configuration: Configuration | None = None
        self._differences: list[str] = []

    def begin(self, message: Begin) -> None:
        """Start from a snapshot, or from the beginning."""
        self.configuration = decode_configuration(message.configuration)
        self.names = dict(message.names)
        if message.parts:
            parts = {name: values_of(part) if isinstance(part, Array) else part for name, part in message.parts.items()}
            self.witness = Witness.from_snapshot({"position": message.position}, parts)

    def follow(self, message: Follow) -> None:
        """Follow a frame."""
        if message.position != self.witness.position:
            problem = f"is the frame of {message.position}, after {self.witness.position - 1}"
            raise InputError("malformed", "position", message.position, "start the second engine again", problem)
        found = self.witness.apply(message.frame, np.frombuffer(message.reasons, "<i4"))
        self.names.update(message.names)
        self._differences += [f"position {one.position}, record {one.index}: {one.what}" for one in found]

    def answer(self, message: Ask) -> Answer:
        """Answer a question at the position reached."""
        chosen = None if message.accounts is None else np.frombuffer(message.accounts, np.int64).tolist()
        margins = self.witness.margins(chosen)
        differences, self._differences = self._differences, []
        return Answer(
            ticket=message.ticket,
            position=self.witness.position - 1,
            price_id=self.witness.price_id,
            accounts=np.asarray(margins.accounts, np.int64).tobytes(),
            versions=np.asarray(margins.versions, np.int64).tobytes(),
            equity=np.asarray(margins.equity, np.float64).tobytes(),
            initial=np.asarray(margins.initial, np.float64).tobytes(),
            maintenance=np.asarray(margins.maintenance, np.float64).tobytes(),
            parts={account: self.witness.components(account) for account in message.parts},
            differences=tuple(differences[-8:]),
        )

    def margin(self, account: str | int) -> dict[str, Any]:
        """The content of the answer to a question for a margin, as the first engine gives it."""
        number = self._number(account)
        margins = self.witness.margins([number])
        if not len(margins.accounts):
            raise InputError("elsewhere", "account", account, "ask again later", "has no margin by the second engine")
        return {
            "account": self.names.get(number, f"#{number}"),
            "status": "UNKNOWN",
            "version": int(margins.versions[0]),
            "equity": float(margins.equity[0]),
            "initial_margin": float(margins.initial[0]),
            "maintenance_margin": float(margins.maintenance[0]),
            "price_id": self.witness.price_id,
        }

    def _number(self, account: str | int) -> int:
        if isinstance(account, int):
            return account
        named = next((number for number, name in self.names.items() if name == account), None)
        if named is not None:
            return named
        if account.startswith("#") and account[1:].isdecimal():
            return int(account[1:])
        raise InputError("unknown-account", "account", account, "see the accounts' names", "is no account's name")


def serve(source: BinaryIO, target: BinaryIO, engine: SecondEngine) -> bool:
    """Do what the pipe says until it ends; whether it ended without a word."""
    while len(head := source.read(LENGTH_SIZE)) == LENGTH_SIZE:
        length = int.from_bytes(head, "little")
        if not length:
            return False
        content = source.read(length)
        if len(content) < length:
            break
        match to_child.decode(content):
            case Begin() as begin:
                engine.begin(begin)
            case Follow() as frame:
                engine.follow(frame)
            case Ask() as question:
                target.write(encoded(engine.answer(question)))
                target.flush()
    return True


async def answer_alone(configuration: Configuration, engine: SecondEngine) -> None:
    """Answer questions for margins until a node of this name serves again."""
    link = await asyncio.wait_for(connect(configuration.log.access(), name=f"{configuration.name}-second"), UNREACHED_S)
    try:
        asked = _Alone(configuration, engine, link)
        await link.subscribe(f"holdfast.read.{configuration.region}", queue="readers", cb=asked.answer)
        until, reached_at = time.monotonic() + ALONE_S, time.monotonic()
        while time.monotonic() < until and time.monotonic() - reached_at < UNREACHED_S:
            await asyncio.sleep(LOOK_S)
            reached_at = time.monotonic() if link.is_connected else reached_at
            if link.is_connected and await asked.is_replaced():
                return
    finally:
        await link.close()


class _Alone:
    """The second engine in the node's place."""

    def __init__(self, configuration: Configuration, engine: SecondEngine, link: LogClient) -> None:
        self._configuration, self._engine, self._link = configuration, engine, link

    async def answer(self, message: Msg) -> None:
        """Answer one question."""
        if message.reply:
            with contextlib.suppress(nats.errors.Error, OSError):
                await self._link.publish(message.reply, encode_message(self._reply(message.data)))

    def _reply(self, data: bytes) -> Reply:
        try:
            request = decode_request(data)
            if not isinstance(request, Read) or request.what != "margin":
                return Busy(200, "the first engine is away; only margins are answered")
            witness = self._engine.witness
            if request.minimum_position >= witness.position or request.staleness_ms >= 0:
                return Refused("elsewhere", "replica", f"is at position {witness.position - 1}", "ask another replica")
            content = self._engine.margin(**request.arguments)
        except InputError as error:
            return Refused(error.code, error.field, error.problem, error.advice)
        except TypeError as error:
            return Refused("malformed", "margin", f"has other arguments than it takes ({error})", "name an account")
        return Found(content, witness.position - 1, witness.time, self._configuration.name, (DEGRADED,))

    async def is_replaced(self) -> bool:
        """Whether a node of this name serves."""
        with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
            await self._link.request(f"holdfast.status.{self._configuration.name}", b"", timeout=LOOK_S)
            return True
        return False


def main() -> int:
    """Run until the node ends, or comes back."""
    os.nice(NICE)
    engine = SecondEngine()
    try:
        died = serve(sys.stdin.buffer, sys.stdout.buffer, engine)
    except (HoldfastError, ValueError, LookupError, ArithmeticError) as error:
        with contextlib.suppress(OSError):
            sys.stdout.buffer.write(encoded(Broken(f"{type(error).__name__}: {error}")))
            sys.stdout.buffer.flush()
        return 1
    except BrokenPipeError:
        died = True
    if died and engine.witness.position and engine.configuration is not None:
        with contextlib.suppress(TimeoutError):
            asyncio.run(answer_alone(engine.configuration, engine))
    return 0


if __name__ == "__main__":
    sys.exit(main())
