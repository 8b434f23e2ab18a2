"""A real server, and nodes that answer over its subjects out of one model of the log."""

import asyncio
import contextlib
import json
import socket
import subprocess
import time

import msgspec
import nats
from small_world import ModelLog, commands

from holdfast.client.configuration import Configuration, LogAccess, ReplicaPlace
from holdfast.domain.messages import (
    Busy,
    Found,
    Read,
    Refused,
    Told,
    WriteNamed,
    batch_of,
    decode_request,
    encode_message,
    written_of,
)
from holdfast.domain.reasons import Reason
from holdfast.log.jetstream.server import server_binary

NAMES = ("a", "b", "c")


@contextlib.contextmanager
def server(port=0):
    """A server without encryption and users; its port."""
    if not port:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    process = subprocess.Popen(
        [server_binary(), "-a", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()


def configuration(*ports, user="client", region="a"):
    servers = tuple(f"nats://127.0.0.1:{port}" for port in ports)
    places = tuple(ReplicaPlace(f"engine-{name}", name) for name in NAMES)
    return Configuration(LogAccess(servers, user, "secret", f"_INBOX.{user}"), places, region)


class FakeNode:
    """A node that does what it is told: answers, is busy, hangs, or is gone."""

    def __init__(self, name, log):
        self.name, self.log = name, log
        self.mode = "up"
        self.delay_s = 0.0
        self.position = None
        self.asked = []
        self.held = []
        self.minimum_positions = []

    async def start(self, port):
        self.link = await nats.connect(f"nats://127.0.0.1:{port}")
        for role in ("client", "operator", "source"):
            await self.link.subscribe(f"holdfast.write.{role}.engine-{self.name}", cb=self.write)
        await self.link.subscribe(f"holdfast.read.{self.name}", queue="readers", cb=self.read)
        await self.link.subscribe(f"holdfast.status.engine-{self.name}", cb=self.status)
        await self.link.flush()
        return self

    async def stop(self):
        """End like a killed process: the server notices at once."""
        await self.link.close()

    async def write(self, message):
        request = decode_request(message.data)
        self.asked.append(request)
        if self.mode == "hung":
            self.held.append(message)
        elif self.mode == "busy":
            await message.respond(encode_message(Busy(20, "model")))
        elif self.mode == "halted":
            await message.respond(encode_message(Refused("elsewhere", "replica", "halted", "ask another")))
        else:
            await message.respond(encode_message(self.done(request)))

    async def thaw(self):
        """Do now what was held."""
        self.mode = "up"
        held, self.held = self.held, []
        for message in held:
            await message.respond(encode_message(self.done(decode_request(message.data))))

    def done(self, request):
        if isinstance(request, WriteNamed):
            return self.told(request)
        batch = batch_of(request)
        outcomes = self.log.append(batch.records, batch.blob)
        return written_of(self.log.position - 1, outcomes, {}, ("model",), every=request.every)

    def told(self, request):
        fields = msgspec.json.decode(request.commands)
        self.minimum_positions.append(request.minimum_position)
        if any(one.get("account") == "nobody" for one in fields):
            return Refused("unknown-account", "batch[0].account", "is no account", "open it first")
        records = commands([one.get("amount", 1) for one in fields])
        records["session"], records["number"] = request.session, range(request.number, request.number + len(fields))
        outcomes = self.log.append(records, b"")
        told = [
            {
                "reason": reason_name(outcome),
                "text": f"{one['command']} done",
                "position": self.log.position - 1,
                "command": int(outcome["command"]),
                "equity": 1.5,
                "initial_margin": 0.5,
                "limit": None,
                "passes": None,
                "made": int(outcome["made"]),
                "repeated": bool(outcome["repeated"]),
                "detail": None,
            }
            for one, outcome in zip(fields, outcomes, strict=True)
        ]
        return Told(self.log.position - 1, tuple(told), ("model",))

    async def read(self, message):
        request = decode_request(message.data)
        self.asked.append(request)
        if self.mode == "hung":
            return
        await asyncio.sleep(self.delay_s)
        assert isinstance(request, Read)
        if self.mode == "busy":
            reply = Busy(20, "model")
        elif request.what == "margin" and request.arguments["account"] == "nobody":
            reply = Refused("unknown-account", "account", "is no account", "open it first")
        else:
            reply = self.found(request)
        await message.respond(encode_message(reply))

    def found(self, request):
        position = self.log.position - 1 if self.position is None else self.position
        if request.minimum_position > position and self.mode != "liar":
            return Refused("elsewhere", "replica", f"is at position {position}", "ask another")
        content = {"what": request.what, **request.arguments}
        if request.what == "lookup":
            expected = self.log.next_numbers.get(request.arguments["session"])
            is_used = expected is not None and request.arguments["number"] < expected
            content = {"state": "applied"} if is_used else {"state": "not-applied", "next": expected}
        return Found(content, position, 7, f"engine-{self.name}", ("model",))

    async def status(self, message):
        if self.mode != "hung":
            await message.respond(json.dumps({"serving": self.mode == "up"}).encode())


def reason_name(outcome):
    return Reason(int(outcome["reason"])).name


@contextlib.asynccontextmanager
async def cluster(port):
    log = ModelLog()
    nodes = [await FakeNode(name, log).start(port) for name in NAMES]
    try:
        yield nodes
    finally:
        for node in nodes:
            await node.stop()
