"""The distributed log as a `Log`, against the suite of all logs, and what only it does, on three real servers."""

import asyncio
import itertools
import threading

import pytest
from conformance import LogConformance, chain

pytest.importorskip("nats")

from servers import free_ports

from holdfast.log import errors
from holdfast.log.jetstream.api import Answer, ask
from holdfast.log.jetstream.connection import Access
from holdfast.log.jetstream.follower import Follower
from holdfast.log.jetstream.log import JetStreamLog
from holdfast.log.jetstream.publisher import Fate, Published, publish
from holdfast.log.jetstream.stream import STREAM, create_stream, message_at, stream_state
from holdfast.log.protocol import Log
from holdfast.log.sqlite import SqliteLog


class TestJetStreamLog(LogConformance):
    @pytest.fixture
    def log(self, servers):
        with JetStreamLog(servers.access) as log:
            yield log


def with_client(servers, work):
    async def run():
        client = await servers.connect()
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(run())


@pytest.mark.criterion("LOG-18")
def test_the_stream(servers):
    """Making it twice changes nothing; what the servers keep is what the page says; positions begin at 0."""

    async def work(client):
        before = await stream_state(client)
        await create_stream(client)
        assert await stream_state(client) == before
        assert (before.first, before.end, before.lost) == (0, 0, 0)
        assert sorted([before.leader, *(name for name, _ in before.replicas)]) == ["a", "b", "c"]
        for verb, body in (("PURGE", None), ("MSG.DELETE", {"seq": 1})):
            with pytest.raises(Exception, match=r"not permitted|not allowed|denied"):
                await ask(client, f"STREAM.{verb}.{STREAM}", body, Answer, 5)
        assert (await publish(client, b"frame", "x.0.0", 5)).position == 0
        assert (await stream_state(client)).end == 1
        assert await message_at(client, 0) == (b"frame", "x.0.0")
        assert await message_at(client, 1) is None

    with_client(servers, work)


@pytest.mark.criterion("LOG-19")
def test_one_id_is_one_frame(servers):
    """The same id again, even with other bytes, is the first frame again; the same bytes under another id are not."""

    async def work(client):
        assert await publish(client, b"a", "x.0.0", 5) == Published(Fate.STORED, 0)
        assert await publish(client, b"a", "x.0.0", 5) == Published(Fate.STORED, 0, repeated=True)
        assert await publish(client, b"other", "x.0.0", 5) == Published(Fate.STORED, 0, repeated=True)
        assert await publish(client, b"a", "x.1.0", 5) == Published(Fate.STORED, 1)
        repeats = await asyncio.gather(*(publish(client, b"b", "x.2.0", 5) for _ in range(20)))
        assert {each.position for each in repeats if each.fate is Fate.STORED} == {2}
        assert {each.fate for each in repeats} <= {Fate.STORED, Fate.UNKNOWN}
        assert (await stream_state(client)).end == 3
        assert (await message_at(client, 0))[0] == b"a"

    with_client(servers, work)


@pytest.mark.criterion("LOG-26")
def test_a_follower_that_starts_at_the_end(servers):
    async def work(client):
        delivered, faults = [], []
        await publish(client, b"a", "x.0.0", 5)
        follower = Follower(
            servers.access, 1, known=(0, b"a"), deliver=lambda *each: delivered.append(each), fault=faults.append
        )
        task = asyncio.create_task(follower.run())
        async with asyncio.timeout(20):
            while not follower.created:
                await asyncio.sleep(0.01)
            await publish(client, b"b", "x.1.0", 5)
            while not delivered:
                await asyncio.sleep(0.01)
        assert delivered == [(1, b"b", "x.1.0")]
        assert follower.next_position() == 2
        assert follower.created == (await stream_state(client)).created
        follower.stop()
        await task
        await publish(client, b"c", "x.2.0", 5)
        assert (len(delivered), faults) == (1, [])

    with_client(servers, work)


@pytest.mark.criterion("LOG-28")
def test_a_copy_is_continued(servers, tmp_path):
    """What a copy has is compared with the log and not read again; the copy is then a log of its own."""
    frames = [b"a", b"b", b"c"]
    with JetStreamLog(servers.access, SqliteLog(tmp_path / "copy")) as log:
        assert [log.append(frame) for frame in frames[:2]] == [0, 1]
        assert log.end == 2
        created = log.created
    with JetStreamLog(servers.access) as other:
        assert other.append(frames[2]) == 2
    log: Log = JetStreamLog(servers.access, SqliteLog(tmp_path / "copy"), created=created)
    with log:
        assert list(log.read(0)) == list(enumerate(frames))
        assert log.head_hash == chain(frames)[-1]
    with SqliteLog(tmp_path / "copy") as copy:
        assert list(copy.read(0)) == list(enumerate(frames))
        copy.append(b"not in the log")
    with JetStreamLog(servers.access, SqliteLog(tmp_path / "copy")) as log:
        with pytest.raises(errors.AmnesiaError):
            log.append(b"not where the copy ends")
        assert log.end == 4
        assert list(log.read(3)) == [(3, b"not in the log")]
        with pytest.raises(errors.AmnesiaError):
            next(log.follow(4))
    with JetStreamLog(servers.access) as log:
        assert log.end == 3


@pytest.mark.criterion("LOG-28")
def test_a_stream_is_filled_from_a_copy(servers, tmp_path):
    """The last step of the repair that the documentation describes."""
    with SqliteLog(tmp_path / "copy") as copy:
        copy.append_group([b"a", b"b", b"c"])
    with SqliteLog(tmp_path / "copy", writable=False) as copy, JetStreamLog(servers.access) as log:
        for position, frame in copy.read(log.end):
            assert log.append(frame) == position
        assert log.head_hash == copy.head_hash


@pytest.mark.criterion("LOG-28")
def test_each_sees_what_the_others_appended(servers):
    with JetStreamLog(servers.access, name="one") as one, JetStreamLog(servers.access, name="two") as two:
        for number, log in zip(range(12), itertools.cycle([one, two]), strict=False):
            assert log.append(b"%d" % number) == number
            assert one.end == two.end == number + 1
            assert one.head_hash == two.head_hash
        assert list(one.read(0)) == list(two.read(0))


@pytest.mark.criterion("LOG-20")
def test_no_servers():
    """Nobody is there: the frame is certainly not in the log, and it is said after the wait that was asked for."""
    port = free_ports(1)[0]
    with JetStreamLog(Access((f"nats://127.0.0.1:{port}",)), patience_s=0.3) as log:
        with pytest.raises(errors.UnavailableError, match="nothing was appended") as caught:
            log.append(b"a")
        assert caught.value.exit_code == 54
        with pytest.raises(errors.UnavailableError, match="cannot be read"):
            list(log.read(0))


@pytest.mark.criterion("LOG-20")
def test_most_servers_are_dead(servers):
    """An append then ends unacknowledged; when they are back it, or its repeat, is there once, and appends go on."""
    with JetStreamLog(servers.access, patience_s=1.5) as log:
        assert log.append(b"a") == 0
        servers.kill("a", "b")
        with pytest.raises(errors.UnavailableError):
            log.append(b"b")
    servers.start("a", "b")
    with JetStreamLog(servers.access) as log:
        position = log.append(b"c")
        frames = [frame for _, frame in log.read(0)]
        assert frames in ([b"a", b"c"], [b"a", b"b", b"c"])
        assert frames[position] == b"c"


@pytest.mark.criterion("LOG-7")
def test_closing_ends_what_waits():
    """An append that waits for servers ends when the log is closed by another thread."""
    log = JetStreamLog(Access((f"nats://127.0.0.1:{free_ports(1)[0]}",)))
    closer = threading.Timer(0.1, log.close)
    closer.start()
    with pytest.raises(errors.ClosedError):
        log.append(b"a")
    closer.join()
