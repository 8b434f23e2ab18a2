"""What follows from what servers say, without servers: the proof of a fault, two paths made one, fates of a frame."""

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("nats")


from holdfast.domain.errors import InputError
from holdfast.log import errors
from holdfast.log.jetstream import follower as follower_module
from holdfast.log.jetstream import tasks as tasks_module
from holdfast.log.jetstream.connection import Access
from holdfast.log.jetstream.follower import RECENT_FRAMES_MAXIMUM, Follower
from holdfast.log.jetstream.read_path import ReadPath
from holdfast.log.jetstream.stream import (
    StreamState,
    header_value,
)
from holdfast.log.jetstream.tasks import end_tasks
from holdfast.log.jetstream.watch import Saying, Watch

NOWHERE = Access(("nats://127.0.0.1:1", "nats://127.0.0.1:2"))
MADE, ANEW = "2026-01-01T00:00:00.1Z", "2026-01-02T00:00:00.2Z"


def state(end, created=MADE, first=0):
    return StreamState(
        created=created, first=first, end=end, leader="a", leader_since=created, lost=0, replicas=(("b", True),)
    )


def rounds_until(watch, position, *sayings, most=40, hole=False):
    """How many rounds of the same answers prove a fault, and which."""
    for count in range(1, most + 1):
        if fault := watch.judge(position, sayings, hole=hole):
            return count, type(fault)
    return most, None


@pytest.mark.criterion("LOG-25")
@pytest.mark.parametrize(
    ("position", "said", "fault"),
    [
        (100, state(99), errors.AmnesiaError),
        (100, state(0), errors.AmnesiaError),
        (100, state(200, created=ANEW), errors.RecreatedError),
        (100, state(50, created=ANEW), errors.RecreatedError),
        (100, state(200, first=101), errors.GapError),
        (100, None, errors.MissingLogError),
        (100, state(100), None),
        (100, state(200, first=100), None),
    ],
)
def test_what_is_proved_and_when(position, said, fault):
    """Three rounds where two servers agree, fifteen where one is heard, never without a reason or an answer."""
    both = Saying("a", said), Saying("b", said)
    assert rounds_until(Watch(MADE), position, *both) == ((3, fault) if fault else (40, None))
    assert rounds_until(Watch(MADE), position, Saying("a", said)) == ((15, fault) if fault else (40, None))
    # Two paths through one server are one witness.
    assert rounds_until(Watch(MADE), position, *(Saying("a", said),) * 2) == ((15, fault) if fault else (40, None))
    assert rounds_until(Watch(MADE), position) == (40, None)


@pytest.mark.criterion("LOG-25")
def test_a_leader_without_a_majority_proves_nothing():
    """Cut off, it says an old end for ten seconds; the other path's server knows better."""
    watch = Watch(MADE)
    assert rounds_until(watch, 100, Saying("a", state(60)), Saying("b", state(100))) == (40, None)
    # Heard alone for fourteen rounds, then found wrong: the count begins again.
    assert rounds_until(watch, 100, Saying("a", state(60)), most=14) == (14, None)
    assert watch.suspicious
    assert watch.judge(100, [Saying("b", state(100))]) is None
    assert not watch.suspicious
    assert rounds_until(watch, 100, Saying("a", state(60))) == (15, errors.AmnesiaError)


@pytest.mark.criterion("LOG-25")
def test_a_hole_needs_proof_too():
    both = Saying("a", state(200)), Saying("b", state(200))
    assert rounds_until(Watch(MADE), 7, *both, hole=True) == (3, errors.GapError)
    assert Watch(MADE).judge(7, both, hole=True) is None


@pytest.mark.criterion("LOG-25", "LOG-26")
def test_who_knows_nothing_waits():
    watch = Watch("")
    assert rounds_until(watch, 0, Saying("a", None), Saying("b", None)) == (40, None)
    assert watch.judge(0, [Saying("a", state(0))]) is None
    assert watch.created == MADE
    assert rounds_until(watch, 0, Saying("a", None), Saying("b", None)) == (3, errors.MissingLogError)


class Delivered:
    """A follower without servers, and what came out of it."""

    def __init__(self, start=0, known=None):
        self.frames, self.faults = [], []
        self.start = start
        self.follower = Follower(NOWHERE, start, known=known, deliver=self.deliver, fault=self.faults.append)

    def deliver(self, position, frame, message_id):
        assert position == self.start + len(self.frames)
        self.frames.append(frame)


def log_frame(position):
    return b"frame %d" % position


@pytest.mark.criterion("LOG-22")
@given(
    st.integers(0, 30),
    st.lists(st.tuples(st.integers(0, 1), st.integers(1, 6), st.sampled_from(["next", "again", "jump"])), max_size=60),
)
def test_two_paths_make_one_sequence(start, steps):
    """Whatever each path repeats or skips: what comes out has no gap, no repeat and the order of the log."""
    known = (start - 1, log_frame(start - 1)) if start else None
    delivered = Delivered(start, known)
    places = [max(0, start - 1)] * 2
    end = start
    for path, count, kind in steps:
        if kind == "again":
            places[path] = max(0, places[path] - count)
        if kind == "jump":
            places[path] += count
        for _ in range(count):
            end += places[path] == end
            if not delivered.follower.receive(places[path], log_frame(places[path]), ""):
                assert places[path] > delivered.follower.next_position()
                places[path] = max(0, delivered.follower.next_position() - 1)
                break
            places[path] += 1
    assert delivered.frames == [log_frame(position) for position in range(start, end)]
    assert not delivered.follower._ended.is_set()


@pytest.mark.criterion("LOG-22")
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=60))
def test_what_is_acknowledged_needs_no_path(steps):
    """Acknowledged in any order, brought by a path in its order, again or not: one sequence, as far as it is known."""
    delivered, place, known = Delivered(), 0, set()
    for is_acknowledged, position in steps:
        if is_acknowledged:
            delivered.follower.stored(position, log_frame(position), "")
            known.add(position)
        else:
            assert delivered.follower.receive(place, log_frame(place), "")
            known.add(place)
            place += 1
        end = next(number for number in range(100) if number not in known)
        assert delivered.frames == [log_frame(number) for number in range(end)]
    assert all(position >= len(delivered.frames) for position in delivered.follower._stored)


@pytest.mark.criterion("LOG-24")
def test_a_path_that_brings_another_frame_than_was_acknowledged():
    delivered = Delivered()
    delivered.follower.stored(0, log_frame(0), "")
    assert delivered.follower.receive(0, b"another", "")
    asyncio.run(ended(delivered.follower))
    assert [type(fault) for fault in delivered.faults] == [errors.ForkedError]


@pytest.mark.criterion("LOG-22")
def test_nothing_acknowledged_is_delivered_before_the_log_showed_what_was_known():
    delivered = Delivered(5, (4, log_frame(4)))
    delivered.follower.stored(5, log_frame(5), "")
    assert delivered.frames == []
    for position in (4, 5):
        assert delivered.follower.receive(position, log_frame(position), "")
    assert delivered.frames == [log_frame(5)]
    delivered.follower.stored(6, log_frame(6), "")
    assert delivered.frames == [log_frame(5), log_frame(6)]


@pytest.mark.criterion("LOG-24")
@given(st.integers(1, 20), st.integers(0, 19), st.booleans())
def test_another_frame_at_a_position_that_was_read(count, position, known):
    position = min(position, count - 1)
    delivered = Delivered(*(position + 1, (position, log_frame(position))) if known else ())
    for other in range(delivered.start, count):
        delivered.follower.receive(other, log_frame(other), "")
    assert delivered.follower.receive(position, b"another", "")
    before = list(delivered.frames)
    assert delivered.follower.receive(delivered.follower.next_position(), b"later", "")
    assert delivered.frames == before
    asyncio.run(ended(delivered.follower))
    assert [type(fault) for fault in delivered.faults] == [errors.ForkedError]
    assert delivered.follower.verified is (not known)
    assert delivered.faults[0].position == position


async def ended(follower):
    """What `run` does at its end."""
    follower._report([])


def asking(follower, answers):
    """Let the follower's leader answer what a test says, and note what it was asked for."""
    asked = []

    async def ask_for(position):
        asked.append(position)
        return answers.pop(0)

    follower._ask_for = ask_for
    return asked


@pytest.mark.criterion("LOG-24")
def test_a_new_leader_shows_the_last_frame():
    """Asked once for each leader, again while it has nothing there, about the frame read last when it came."""
    delivered = Delivered()
    follower = delivered.follower
    for position in range(3):
        follower.receive(position, log_frame(position), "")
    asked = asking(follower, [(True, (log_frame(2), "")), (True, None), (False, None), (True, (b"another", ""))])
    second = StreamState(MADE, 0, 9, "b", ANEW, 0, ())
    for said in ([state(3)], [state(3)], [], [state(9), second]):
        asyncio.run(follower._check_leader(said))
    assert asked == [2, 2]
    follower.receive(3, log_frame(3), "")
    asyncio.run(follower._check_leader([second]))
    assert not follower._ended.is_set()
    third = StreamState(MADE, 0, 9, "c", ANEW, 0, ())
    asyncio.run(follower._check_leader([third]))
    assert asked == [2, 2, 2, 2]
    asyncio.run(ended(follower))
    assert [(type(fault), fault.position) for fault in delivered.faults] == [(errors.ForkedError, 2)]


@pytest.mark.criterion("LOG-24", "LOG-25")
def test_the_watch_asks_and_ends_the_follower(monkeypatch):
    """One round with each question: about the stream, about a hole, about the leader's last frame."""
    monkeypatch.setattr(follower_module, "FIRST_LOOK_S", 0)
    monkeypatch.setattr(follower_module, "WATCH_INTERVAL_S", 0)

    async def watched(said, *answers):
        delivered = Delivered()
        follower = delivered.follower
        follower.receive(0, b"a", "")
        follower.receive(2, b"c", "")

        async def sayings():
            return [Saying("a", said), Saying("b", said)]

        follower._sayings = sayings
        asking(follower, list(answers))
        await asyncio.wait_for(follower._watch_over(), 5)
        follower._report([])
        return [type(fault) for fault in delivered.faults]

    a, b, other, nothing = (True, (b"a", "")), (True, (b"b", "")), (True, (b"other", "")), (True, None)
    assert asyncio.run(watched(state(0), b, b)) == [errors.AmnesiaError]
    assert asyncio.run(watched(state(9), b, other)) == [errors.ForkedError]
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(watched(state(9), nothing, a), 0.2))


@pytest.mark.criterion("LOG-24")
def test_a_frame_that_only_the_leader_has():
    """Both paths jump over it: it is taken from the leader, and is a hole only if the leader has none either."""
    delivered = Delivered()
    follower = delivered.follower
    follower.receive(0, b"a", "")
    asked = asking(follower, [(False, None), (True, None), (True, (b"b", "x"))])
    assert not asyncio.run(follower._find_hole(1))
    for hole in (False, True, False):
        assert not follower.receive(2, b"c", "")
        assert asyncio.run(follower._find_hole(1)) is hole
    assert asked == [1, 1, 1]
    assert delivered.frames == [b"a", b"b"]
    assert not follower.receive(3, b"d", "")
    assert not asyncio.run(follower._find_hole(1))


@pytest.mark.criterion("LOG-22")
@pytest.mark.parametrize(
    ("consumer", "other", "suits"),
    [("a", {"b", "c"}, True), ("c", {"b"}, True), ("b", {"b"}, False), ("c", {"b", "c"}, False), ("a", {"a"}, True)],
)
def test_where_a_consumer_may_live(consumer, other, suits):
    """On the server of its own connection, or on one that the other path does not need."""
    path, second = (ReadPath(NOWHERE, number, Taker(0), name="test", on_event=None) for number in (0, 1))
    path.other = second
    second.servers = lambda: other
    path._consumer_server = consumer
    assert path._suits(SimpleNamespace(is_connected=True, _server_info={"server_name": "a"})) is suits


@pytest.mark.criterion("LOG-26")
def test_the_known_frame_is_shown_before_anything_is_believed():
    follower = Delivered(5, (4, b"known")).follower
    assert not follower.verified
    follower.receive(4, b"known", "")
    assert follower.verified
    assert Delivered(5).follower.verified


@pytest.mark.criterion("LOG-22")
def test_only_the_latest_frames_are_kept():
    delivered = Delivered()
    for position in range(RECENT_FRAMES_MAXIMUM + 10):
        delivered.follower.receive(position, b"x", "")
    assert len(delivered.follower._recent) == RECENT_FRAMES_MAXIMUM
    assert min(delivered.follower._recent) == 10
    for position in range(RECENT_FRAMES_MAXIMUM + 10, RECENT_FRAMES_MAXIMUM + 60):
        delivered.follower.receive(position, bytes(1 << 20), "")
    assert sum(map(len, delivered.follower._recent.values())) == delivered.follower._recent_length <= 16 << 20
    assert delivered.follower.receive(0, b"cannot be compared any more", "")
    assert not delivered.follower._ended.is_set()


@pytest.mark.criterion("LOG-26")
@pytest.mark.parametrize(
    ("start", "known", "field"), [(-1, None, "start"), (0, (0, b"x"), "known"), (5, (3, b"x"), "known")]
)
def test_a_start_that_makes_no_sense(start, known, field):
    with pytest.raises(InputError, match=field):
        Delivered(start, known)


@pytest.mark.criterion("LOG-22")
def test_what_deliver_raises_ends_the_follower():
    async def work():
        def deliver(position, frame, message_id):
            raise errors.FullError("copy", "there is no room", "free some")

        faults = []
        follower = Follower(NOWHERE, 0, known=None, deliver=deliver, fault=faults.append)
        running = asyncio.create_task(follower.run())
        await asyncio.sleep(0.01)
        follower.receive(0, b"x", "")
        with pytest.raises(errors.FullError):
            await asyncio.wait_for(running, 5)
        assert faults == []

    asyncio.run(work())


class Taker:
    """Who a read path delivers to."""

    def __init__(self, position):
        self.position = position
        self.taken = []

    def next_position(self):
        return self.position

    def receive(self, position, frame, message_id):
        if position > self.position:
            return False
        self.taken.append((position, frame, message_id))
        self.position = max(self.position, position + 1)
        return True


def header(*lines):
    return "\r\n".join(["NATS/1.0", *lines, "", ""]).encode()


def reply(sequence, count=1):
    return b"$JS.ACK.HOLDFAST.name.1.%d.%d.1795392276192572899.0" % (sequence, count)


@pytest.mark.criterion("LOG-22")
def test_messages_of_a_consumer():
    taker = Taker(5)
    path = ReadPath(NOWHERE, 0, taker, name="test", on_event=None)
    path._sequence = 4
    assert path._received(reply(5), b"known", header("Nats-Msg-Id: g.4.0")) == b""
    assert (
        path._received(b"$JS.ACK._.hash.HOLDFAST.name.1.6.2.17953922.0.x", b"new", header("A: b", "Nats-Msg-Id:g.5.0"))
        == b""
    )
    assert taker.taken == [(4, b"known", "g.4.0"), (5, b"new", "g.5.0")]
    # A heartbeat, a question whether more may come, and a heartbeat that says a question was not answered.
    beat = "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 2\r\nNats-Last-Stream: 6\r\n"
    assert path._received(b"", b"", f"{beat}\r\n".encode()) == b""
    assert (
        path._received(b"$JS.FC.HOLDFAST.name.x", b"", b"NATS/1.0 100 FlowControl Request\r\n\r\n")
        == b"$JS.FC.HOLDFAST.name.x"
    )
    assert path._received(b"", b"", f"{beat}Nats-Consumer-Stalled: $JS.FC.y\r\n\r\n".encode()) == b"$JS.FC.y"
    assert not path._lost.is_set()


@pytest.mark.criterion("LOG-22")
def test_messages_that_did_not_arrive():
    """A frame that jumps, or a heartbeat after frames that never came, the first ones included."""
    taker = Taker(5)
    path = ReadPath(NOWHERE, 0, taker, name="test", on_event=None)
    path._sequence = 5
    path._received(reply(7), b"late", header())
    assert path._lost.is_set()
    assert taker.taken == []
    path._lost.clear()
    path._sequence = 4
    path._received(b"", b"", b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1\r\nNats-Last-Stream: 5\r\n\r\n")
    assert path._lost.is_set()
    # What a lost consumer still sends is not taken.
    path._received(reply(6), b"next", header())
    assert taker.taken == []


@pytest.mark.criterion("LOG-19")
def test_values_of_a_header():
    assert header_value(header("A: 1", "Nats-Msg-Id: x.1.2", "B: 3"), "Nats-Msg-Id") == "x.1.2"
    assert header_value(header("Not-Nats-Msg-Id: x"), "Nats-Msg-Id") == ""
    assert header_value(b"", "Nats-Msg-Id") == ""
    assert header_value(b"NATS/1.0\r\nNats-Msg-Id: \xff\r\n\r\n", "Nats-Msg-Id") == "\ufffd"


@pytest.mark.criterion("LOG-22")
def test_tasks_that_do_not_hear_the_first_time(monkeypatch):
    monkeypatch.setattr(tasks_module, "PATIENCE_S", 0.05)

    async def work():
        heard = []

        async def deaf():
            for _ in range(2):
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    heard.append("once")
            await asyncio.sleep(60)

        async def failing():
            raise ValueError("why")

        tasks = [asyncio.create_task(deaf()), asyncio.create_task(failing())]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        raised = await end_tasks(tasks)
        assert [str(error) for error in raised] == ["why"]
        assert heard == ["once", "once"]
        assert all(task.done() for task in tasks)
        assert await end_tasks([]) == []

    asyncio.run(work())
