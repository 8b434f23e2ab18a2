"""What three real servers can do to the log: die, freeze, forget, be emptied. Nothing acknowledged is lost unseen."""

import asyncio
import contextlib
import json
import time

import pytest

pytest.importorskip("nats")

from servers import NAMES

from holdfast.log import errors
from holdfast.log.jetstream import follower as follower_module
from holdfast.log.jetstream import read_path
from holdfast.log.jetstream.api import Answer, RefusedError, ask
from holdfast.log.jetstream.connection import server_name
from holdfast.log.jetstream.follower import Follower
from holdfast.log.jetstream.log import JetStreamLog
from holdfast.log.jetstream.publisher import Fate, publish
from holdfast.log.jetstream.stream import STREAM, SUBJECT, create_stream, stream_state
from holdfast.log.memory import MemoryLog


@pytest.fixture
def brisk(monkeypatch):
    """Look at the stream more often than once a second."""
    monkeypatch.setattr(follower_module, "WATCH_INTERVAL_S", 0.2)


class Reading:
    """A follower at work, and what it delivered."""

    def __init__(self, access, start=0, known=None, created=""):
        self.frames, self.ids, self.faults, self.events = [], [], [], []
        self.start = start
        self.follower = Follower(
            access,
            start,
            known=known,
            created=created,
            deliver=self.deliver,
            fault=self.faults.append,
            on_event=self.events.append,
        )

    def deliver(self, position, frame, message_id):
        assert position == self.start + len(self.frames)
        self.frames.append(frame)
        self.ids.append(message_id)

    async def __aenter__(self):
        self.task = asyncio.create_task(self.follower.run())
        return self

    async def __aexit__(self, *_):
        self.follower.stop()
        await self.task

    async def has(self, count):
        async with asyncio.timeout(25):
            while len(self.frames) < count and not self.task.done():
                await asyncio.sleep(0.005)
        assert len(self.frames) >= count, self.faults

    async def reads(self):
        """Both paths have a consumer."""
        async with asyncio.timeout(25):
            while self.follower.paths < 2:
                await asyncio.sleep(0.01)

    def homes(self):
        """The servers that the paths are connected to."""
        clients = [path.client for path in self.follower._paths]
        return [server_name(client) if client else "" for client in clients]

    async def fault(self):
        async with asyncio.timeout(25):
            await asyncio.wait([self.task])
        assert len(self.faults) == 1
        return self.faults[0]


class Gateway:
    """Appends numbered frames, each under its own id until it is stored."""

    def __init__(self, client, name="g"):
        self.client = client
        self.name = name
        self.acknowledged = {}
        self.number = 0

    async def append(self, count=1, timeout_s=0.5, length=0):
        for _ in range(count):
            frame = b"%s %d" % (self.name.encode(), self.number) + bytes(length)
            async with asyncio.timeout(25):
                while True:
                    published = await publish(self.client, frame, f"{self.name}.{self.number}.0", timeout_s)
                    if published.fate is Fate.STORED:
                        break
                    await asyncio.sleep(0.02)
            self.acknowledged[published.position] = frame
            self.number += 1

    @contextlib.asynccontextmanager
    async def appending(self):
        """Append all the time."""
        going = True

        async def work():
            while going:
                await self.append()
                await asyncio.sleep(0.002)

        task = asyncio.create_task(work())
        yield
        going = False
        await task


async def started(servers, frames=0):
    """A gateway that appended some frames."""
    gateway = Gateway(await servers.connect())
    await gateway.append(frames)
    return gateway


@pytest.mark.criterion("LOG-22", "LOG-23")
@pytest.mark.parametrize("role", ["leader", "path"])
def test_a_server_dies(servers, role, monkeypatch):
    """The stream's leader, or one of a read path alone: reading goes on and is whole, what is acknowledged stays."""

    monkeypatch.setattr(read_path, "HOME_S", 0.5)

    async def run():
        async with Reading(servers.access) as reading:
            await reading.reads()
            gateway = await started(servers, 20)
            leader = (await stream_state(gateway.client)).leader
            of_paths = {name for path in reading.follower._paths for name in path.servers()}
            victim = leader if role == "leader" else sorted(of_paths - {leader})[0]
            async with gateway.appending():
                await asyncio.sleep(0.1)
                servers.kill(victim)
                before = gateway.number
                while gateway.number < before + 100:
                    await asyncio.sleep(0.01)
            await reading.has(max(gateway.acknowledged) + 1)
            assert {position: reading.frames[position] for position in gateway.acknowledged} == gateway.acknowledged
            # One id is one frame, however often it was sent.
            assert len(set(reading.ids)) == len(reading.ids) == len(gateway.acknowledged)
            assert not reading.faults
            # When it is back, each path goes back to the server that it prefers.
            servers.start(victim)
            async with asyncio.timeout(25):
                while reading.homes() != ["a", "b"]:
                    await asyncio.sleep(0.01)
            await gateway.client.close()

    asyncio.run(run())


@pytest.mark.criterion("LOG-21")
def test_a_frozen_server_holds_nobody(servers):
    """A gateway whose server stands still, with more to send than fits the socket, goes on through another."""

    async def run():
        leader = (await servers.wait_until_ready()).leader
        victim = next(name for name in NAMES if name != leader)
        client = await servers.connect(NAMES.index(victim))
        assert servers.name_at(client) == victim
        gateways = [Gateway(client, f"g{number}") for number in range(8)]
        servers.freeze(victim)
        try:
            await asyncio.gather(*(gateway.append(3, length=900_000) for gateway in gateways))
            assert servers.name_at(client) != victim
        finally:
            servers.thaw(victim)
        end = (await stream_state(client)).end
        assert end == sum(len(gateway.acknowledged) for gateway in gateways) == 24
        await client.close()

    asyncio.run(run())


@pytest.mark.criterion("LOG-24")
def test_servers_that_forgot(servers, brisk):
    """All folders go back to an earlier copy, as after a loss of power without a forced write."""

    async def run():
        gateway = await started(servers, 10)
        created = (await stream_state(gateway.client)).created
        copy = MemoryLog()
        async with Reading(servers.access) as reading:
            for name in NAMES:
                servers.freeze(name)
            servers.save()
            for name in NAMES:
                servers.thaw(name)
            await gateway.append(20)
            await reading.has(30)
            copy.append_group(reading.frames)
            servers.kill()
            servers.put_back()
            servers.start(*NAMES)
            fault = await reading.fault()
            assert isinstance(fault, errors.AmnesiaError)
            assert fault.position == 10
            assert "ends at 10, though 30 frames" in str(fault)
            assert reading.follower.created == created
        async with Reading(servers.access, 30) as later:
            assert isinstance(await later.fault(), errors.AmnesiaError)
        # Others append over what was forgotten: the end says nothing any more, the last frame does.
        await Gateway(gateway.client, "others").append(25)
        async with Reading(servers.access, 30, known=(29, copy._frames[29])) as later:
            fault = await later.fault()
            assert isinstance(fault, errors.ForkedError)
            assert fault.position == 29
            assert later.frames == []
        await gateway.client.close()
        return copy

    copy = asyncio.run(run())
    with JetStreamLog(servers.access, copy) as log:
        with pytest.raises(errors.ForkedError):
            list(log.follow(30))
        with pytest.raises(errors.ForkedError):
            log.append(b"after")
        assert log.end == 30
        assert [frame for _, frame in log.read(28)] == [b"g 28", b"g 29"]


@pytest.mark.criterion("LOG-24", "LOG-25")
def test_a_stream_that_was_deleted_or_made_anew(servers, brisk):
    async def run():
        gateway = await started(servers, 5)
        created = (await stream_state(gateway.client)).created
        async with Reading(servers.access) as reading:
            await reading.has(5)
            await servers.delete_stream(gateway.client)
            fault = await reading.fault()
            assert isinstance(fault, errors.MissingLogError)
        await create_stream(gateway.client)
        await gateway.append(5)
        async with (
            Reading(servers.access, 5, known=(4, b"g 9"), created=created) as remembering,
            Reading(servers.access, 5, known=(4, b"g 9")) as forgetting,
        ):
            assert isinstance(await remembering.fault(), errors.RecreatedError)
            await gateway.append()
            await forgetting.has(1)
            assert forgetting.faults == []
        async with Reading(servers.access, 4, known=(3, b"g 8")) as reading:
            await reading.has(2)
            while not reading.follower.created:
                await asyncio.sleep(0.01)
            await servers.delete_stream(gateway.client)
            await create_stream(gateway.client)
            await gateway.append()
            assert isinstance(await reading.fault(), errors.RecreatedError)
        await gateway.client.close()

    asyncio.run(run())


@pytest.mark.criterion("LOG-24")
def test_a_frame_that_is_gone(servers, brisk):
    """The log counts a frame that it cannot give: a stream that was made by hand, and a frame deleted from it."""

    async def run():
        client = await servers.connect()
        await servers.delete_stream(client)
        loose = {"name": STREAM, "subjects": [SUBJECT], "num_replicas": 3, "storage": "file", "allow_direct": True}
        await ask(client, f"STREAM.CREATE.{STREAM}", loose, Answer, 5)
        gateway = Gateway(client)
        await gateway.append(5)
        await ask(client, f"STREAM.MSG.DELETE.{STREAM}", {"seq": 3}, Answer, 5)
        async with Reading(servers.access) as reading:
            fault = await reading.fault()
            assert isinstance(fault, errors.GapError)
            assert fault.position == 2
            assert reading.frames == [b"g 0", b"g 1"]
        with pytest.raises(errors.ForeignStreamError, match="discard"):
            await create_stream(client)
        await client.close()

    asyncio.run(run())


@pytest.mark.criterion("LOG-22")
def test_a_consumer_that_is_gone(servers):
    """An administrator deletes the consumers: their silence is heard, and reading goes on."""

    async def run():
        gateway = await started(servers, 3)
        async with Reading(servers.access) as reading:
            await reading.has(3)
            await reading.reads()
            for name in await consumers(gateway.client):
                with contextlib.suppress(RefusedError):
                    await ask(gateway.client, f"CONSUMER.DELETE.{STREAM}.{name}", None, Answer, 5)
            await gateway.append(3)
            await reading.has(6)
            for said in ("path 0: the consumer is silent", "path 1: the consumer is gone"):
                async with asyncio.timeout(10):
                    while not any(said in event for event in reading.events):
                        await asyncio.sleep(0.05)
            await reading.reads()
        await gateway.client.close()

    asyncio.run(run())


async def consumers(client):
    answer = await client.request(f"$JS.API.CONSUMER.NAMES.{STREAM}", timeout=5)
    return json.loads(answer.data)["consumers"]


@pytest.mark.criterion("LOG-22")
def test_whoever_takes_the_frames_may_be_slow(servers):
    """Neither a pause nor a long way to catch up loses a frame or a consumer."""

    async def run():
        gateway = await started(servers)
        # More than a server keeps for a connection that does not read, 64 MiB, and what sockets hold.
        frames = [number.to_bytes(2) * 125_000 for number in range(300)]
        await asyncio.gather(*(publish(gateway.client, frame, f"f.{frame[:2].hex()}", 20) for frame in frames))
        async with Reading(servers.access) as reading:
            await reading.has(1)
            blocking_pause()
            await reading.has(300)
            assert sorted(reading.frames) == frames
            assert not [event for event in reading.events if "silent" in event or "disconnected" in event]
        await gateway.client.close()

    asyncio.run(run())


def blocking_pause():
    """Keep the loop from listening for longer than a consumer may be silent."""
    time.sleep(1.6)
