"""Connections of the commands to a cluster, and what servers and engines say about themselves.

What lives here: one connection as a role, one question to one engine, one question to all servers. What may not: what
follows from the answers.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from holdfast.client.configuration import Configuration, read_configuration
from holdfast.cluster.errors import NotReadyError
from holdfast.cluster.layout import Layout
from holdfast.domain.errors import invariant
from holdfast.domain.reading import located
from holdfast.log.jetstream.connection import connect

CONNECT_S, ANSWER_S = 10.0, 1.0
_NAME = "holdfast cluster"


class EngineStatus(msgspec.Struct, frozen=True):
    """What an engine answers when it is asked how it is. Fields that a version does not have keep their defaults.

    Attributes:
        name: Of the replica.
        region: Where it runs.
        position: Of the last frame that it folded, −1 for none.
        end: Position after the last frame that it knows of.
        time: Logical time, ns; 0 before the first tick.
        serving: Whether it takes writes.
        degraded: What is not as it should be, in words.
        suspended: Whether the votes of the others say that its state is wrong.
        roots: What it knows of state roots.
        logic: Version of the logic that folds.
        version: Of the program.
        pid: Number of its process.
        uptime_s: How long it runs, seconds.
    """

    name: str = ""
    region: str = ""
    position: int = -1
    end: int = 0
    time: int = 0
    serving: bool = True
    degraded: tuple[str, ...] = ()
    suspended: bool = False
    roots: Any = None
    logic: Any = None
    version: str = ""
    pid: int = 0
    uptime_s: float = 0.0

    @property
    def lag(self) -> int:
        """Frames that it knows of and has not folded."""
        return max(0, self.end - 1 - self.position)


class Raft(msgspec.Struct, frozen=True):
    """Who leads a group of servers."""

    leader: str = ""


class _Stream(msgspec.Struct, frozen=True):
    name: str = ""
    cluster: Raft = Raft()


class _Account(msgspec.Struct, frozen=True):
    stream_detail: tuple[_Stream, ...] = ()


class _Server(msgspec.Struct, frozen=True):
    name: str = ""
    ver: str = ""


class ServerData(msgspec.Struct, frozen=True):
    """What a server says about its part in the log."""

    meta_cluster: Raft | None = None
    account_details: tuple[_Account, ...] = ()
    status: str = ""

    def has_stream(self, stream: str) -> bool:
        """Whether this server keeps a stream."""
        return any(one.name == stream for account in self.account_details for one in account.stream_detail)

    def stream_leader(self, stream: str) -> str:
        """The server that leads a stream, as this server knows it; empty where it knows of none."""
        streams = (one for account in self.account_details for one in account.stream_detail)
        return next((one.cluster.leader for one in streams if one.name == stream), "")


class ServerAnswer(msgspec.Struct, frozen=True):
    """One server's answer."""

    server: _Server = _Server()
    data: ServerData = ServerData()


def configuration_of(place: Layout, role: str) -> Configuration:
    """The file of a role in a cluster's folder."""
    with located("clients"):
        return read_configuration(place.client(role))


@contextlib.asynccontextmanager
async def connected(place: Layout, role: str, timeout_s: float = CONNECT_S) -> AsyncIterator[Client]:
    """A connection as a role, for as long as the block runs.

    Raises:
        NotReadyError: No server takes the connection in time.
        LogError: The servers refuse the user.
    """
    connection = await joined(configuration_of(place, role), timeout_s)
    try:
        yield connection
    finally:
        await connection.close()


async def joined(configuration: Configuration, timeout_s: float) -> Client:
    """A connection to the first server that takes it; errors as `connected`."""
    try:
        return await asyncio.wait_for(connect(configuration.log.access(), name=_NAME), timeout_s)
    except TimeoutError:
        servers = ", ".join(configuration.log.servers)
        problem = f"no server takes a connection within {timeout_s:g} s"
        raise NotReadyError(servers, problem, "see `holdfast cluster status`, and the servers' logs") from None


async def engine_status(client: Client, engine: str, timeout_s: float = ANSWER_S) -> EngineStatus | None:
    """How an engine is; None where it does not answer in time, or not in words that can be read."""
    try:
        message = await client.request(f"holdfast.status.{engine}", b"", timeout=timeout_s)
    except (nats.errors.Error, TimeoutError):
        return None
    return decode_status(message.data)


def decode_status(answer: bytes) -> EngineStatus | None:
    """An engine's answer. What it has more than is known is left out; None where it cannot be read."""
    try:
        return msgspec.json.decode(answer, type=EngineStatus, strict=False)
    except msgspec.MsgspecError:
        return None


async def ask_servers(
    client: Client, question: str, expected: int, timeout_s: float = ANSWER_S
) -> dict[str, ServerAnswer]:
    """Ask all servers at once.

    Args:
        client: Of the system's user.
        question: JSZ (the log's leaders) or HEALTHZ.
        expected: How many answers are waited for at most.
        timeout_s: How long they are waited for.

    Returns:
        By name of the server, those that answered.
    """
    invariant(expected > 0, "somebody is expected to answer")
    answers: dict[str, ServerAnswer] = {}
    complete = asyncio.Event()

    async def take(message: Msg) -> None:
        with contextlib.suppress(msgspec.MsgspecError):
            answer = msgspec.json.decode(message.data, type=ServerAnswer)
            answers[answer.server.name] = answer
        if len(answers) >= expected:
            complete.set()

    inbox = client.new_inbox()
    try:
        subscription = await client.subscribe(inbox, cb=take)
        body = msgspec.json.encode({"accounts": True, "streams": True} if question == "JSZ" else {})
        await client.publish(f"$SYS.REQ.SERVER.PING.{question}", body, reply=inbox)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(complete.wait(), timeout_s)
        await subscription.unsubscribe()
    except nats.errors.Error:
        return answers  # The connection broke meanwhile: who answered has answered.
    return answers
