"""What every log must do, whatever keeps its frames, and what a log with one writer must do.

A test file of an adapter derives a class from `LogConformance`, or from `GroupConformance` if it can append groups, and
gives it a fixture `log`: an empty log, open for writing. What only one adapter promises is tested in that adapter's own
file.
"""

import hashlib
import itertools
import threading
import time

import pytest

from holdfast.domain.errors import InputError
from holdfast.domain.frames import FRAME_LENGTH_MAXIMUM
from holdfast.log import protocol
from holdfast.log.errors import ClosedError

BAD_FRAMES = {
    "empty": (b"", "out-of-range"),
    "too long": (bytes(FRAME_LENGTH_MAXIMUM + 1), "out-of-range"),
    "bytearray": (bytearray(b"x"), "malformed"),
    "text": ("x", "malformed"),
    "none": (None, "malformed"),
}


def chain(frames):
    """H after each frame, from the definition."""
    return list(itertools.accumulate(frames, lambda h, f: hashlib.sha256(h + f).digest(), initial=bytes(32)))[1:]


def fill(log, *frames):
    """Append frames one by one."""
    return [log.append(frame) for frame in frames]


class LogConformance:
    """What every log must do; the fixture `log` is the adapter's."""

    @pytest.mark.criterion("LOG-1")
    def test_empty(self, log):
        assert log.end == 0
        assert log.head_hash == bytes(32)
        assert list(log.read(0)) == []

    @pytest.mark.criterion("LOG-1", "LOG-2")
    def test_positions_follow_one_another(self, log):
        assert fill(log, b"a", b"b", b"c") == [0, 1, 2]
        assert log.end == 3
        assert list(log.read(0)) == list(enumerate([b"a", b"b", b"c"]))

    @pytest.mark.criterion("LOG-1")
    def test_equal_frames_are_two_frames(self, log):
        assert fill(log, b"a", b"a") == [0, 1]
        assert list(log.read(0)) == [(0, b"a"), (1, b"a")]

    @pytest.mark.criterion("LOG-4")
    def test_read_from_and_limit(self, log):
        fill(log, b"a", b"b", b"c", b"d")
        assert list(log.read(2)) == [(2, b"c"), (3, b"d")]
        assert list(log.read(1, 2)) == [(1, b"b"), (2, b"c")]
        assert list(log.read(3, 100)) == [(3, b"d")]
        assert list(log.read(1, 0)) == []
        assert list(log.read(4)) == []

    @pytest.mark.criterion("LOG-4")
    def test_read_stops_where_the_log_ended(self, log):
        fill(log, b"a", b"b")
        reading = log.read(0)
        assert next(reading) == (0, b"a")
        log.append(b"c")
        assert list(reading) == [(1, b"b")]

    @pytest.mark.criterion("LOG-4")
    def test_read_refuses_at_the_call(self, log):
        fill(log, b"a", b"b")
        for start, limit, field in ((-1, None, "start"), (3, None, "start"), (0, -1, "limit")):
            with pytest.raises(InputError, match=field):
                log.read(start, limit)
        for start in (-1, 3):
            with pytest.raises(InputError, match="start"):
                log.follow(start)

    @pytest.mark.criterion("LOG-1")
    def test_frames_of_every_length(self, log):
        frames = [bytes([length % 251]) * length for length in (1, 2, 31, 4096, 16_384, 70_000, FRAME_LENGTH_MAXIMUM)]
        fill(log, *frames, bytes(range(256)))
        assert [frame for _, frame in log.read(0)] == [*frames, bytes(range(256))]

    @pytest.mark.criterion("LOG-3")
    def test_a_bad_frame_is_refused(self, log):
        log.append(b"before")
        for bad, code in BAD_FRAMES.values():
            with pytest.raises(InputError) as caught:
                log.append(bad)
            assert caught.value.code == code
        assert log.append(b"after") == 1

    @pytest.mark.criterion("LOG-5")
    def test_chain_hashes(self, log):
        frames = [b"a", b"bb", b"ccc", bytes(5000)]
        fill(log, *frames)
        assert [log.hash_at(position) for position in range(4)] == chain(frames)
        assert log.head_hash == chain(frames)[-1]
        for position in (-1, 4):
            with pytest.raises(InputError, match="position"):
                log.hash_at(position)

    @pytest.mark.criterion("LOG-6")
    def test_follow_gives_what_is_there_and_then_ends(self, log):
        fill(log, b"a", b"b", b"c")
        assert list(log.follow(1, timeout_s=0.02)) == [(1, b"b"), (2, b"c")]
        assert list(log.follow(3, timeout_s=0)) == []

    @pytest.mark.criterion("LOG-6")
    def test_follow_waits_for_frames_still_to_come(self, log):
        def produce():
            for frame in (b"a", b"b", b"c"):
                time.sleep(0.02)
                log.append(frame)

        producer = threading.Thread(target=produce)
        started = time.monotonic()
        producer.start()
        found = list(itertools.islice(log.follow(0, timeout_s=10), 3))
        producer.join()
        assert time.monotonic() - started < 8, "the follower slept through the frames"
        assert found == list(enumerate([b"a", b"b", b"c"]))

    @pytest.mark.criterion("LOG-6")
    def test_closing_ends_a_follow(self, log):
        log.append(b"a")
        following = log.follow(0)
        assert next(following) == (0, b"a")
        closer = threading.Timer(0.05, log.close)
        closer.start()
        assert list(following) == []
        closer.join()

    @pytest.mark.criterion("LOG-2")
    def test_threads_share_a_log(self, log):
        positions = [{}, {}, {}]

        def produce(name):
            for number in range(20):
                frame = b"%d %d" % (name, number)
                positions[name][log.append(frame)] = frame

        threads = [threading.Thread(target=produce, args=(name,)) for name in range(3)]
        for thread in threads:
            thread.start()
        found = dict(itertools.islice(log.follow(0, timeout_s=30), 60))
        for thread in threads:
            thread.join()
        assert found == positions[0] | positions[1] | positions[2]
        assert sorted(found) == list(range(60))
        for own in positions:
            assert list(own) == sorted(own)

    @pytest.mark.criterion("LOG-7")
    def test_closed(self, log):
        fill(log, b"a", b"b")
        reading, following = log.read(0), log.follow(0)
        next(reading)
        next(following)
        with log as same:
            assert same is log
        log.close()
        for call in (
            lambda: log.append(b"c"),
            lambda: log.read(0),
            lambda: log.follow(0),
            lambda: log.end,
            lambda: log.hash_at(0),
            lambda: log.head_hash,
        ):
            with pytest.raises(ClosedError, match="closed"):
                call()
        assert list(following) == []


class GroupConformance(LogConformance):
    """What a log with one writer must do besides."""

    @pytest.mark.criterion("LOG-1", "LOG-2")
    def test_groups_have_positions_in_a_row(self, log):
        assert log.append(b"a") == 0
        assert log.append_group([b"b", b"c", b"d"]) == range(1, 4)
        assert log.append_group([]) == range(4, 4)
        assert log.append(b"e") == 4
        assert list(log.read(0)) == list(enumerate([b"a", b"b", b"c", b"d", b"e"]))
        assert [log.hash_at(position) for position in range(5)] == chain([b"a", b"b", b"c", b"d", b"e"])

    @pytest.mark.criterion("LOG-3")
    @pytest.mark.parametrize(("bad", "code"), BAD_FRAMES.values(), ids=BAD_FRAMES.keys())
    def test_a_bad_frame_refuses_its_group(self, log, bad, code):
        log.append(b"before")
        with pytest.raises(InputError, match=r"frames\[1\]") as caught:
            log.append_group([b"a", bad, b"c"])
        assert caught.value.code == code
        assert list(log.read(0)) == [(0, b"before")]
        assert log.append(b"after") == 1

    @pytest.mark.criterion("LOG-3")
    def test_a_group_beyond_its_limits(self, log, monkeypatch):
        log.append_group([b"x"] * protocol.GROUP_FRAMES_MAXIMUM)
        with pytest.raises(InputError, match="at most 4096"):
            log.append_group([b"x"] * (protocol.GROUP_FRAMES_MAXIMUM + 1))
        monkeypatch.setattr(protocol, "GROUP_LENGTH_MAXIMUM", 10)
        assert log.append_group([b"12345", b"67890"]) == range(4096, 4098)
        with pytest.raises(InputError, match="11 bytes"):
            log.append_group([b"12345", b"678901"])
        assert log.end == 4098

    @pytest.mark.criterion("LOG-6")
    def test_follow_gives_groups_still_to_come(self, log):
        producer = threading.Timer(0.02, lambda: (log.append_group([b"a", b"b"]), log.append_group([b"c"])))
        producer.start()
        found = list(itertools.islice(log.follow(0, timeout_s=10), 3))
        producer.join()
        assert found == list(enumerate([b"a", b"b", b"c"]))

    @pytest.mark.criterion("LOG-2")
    def test_threads_do_not_mix_their_groups(self, log):
        positions = [[], [], []]

        def produce(name):
            for number in range(20):
                frames = [b"%d %d %d" % (name, number, part) for part in range(2)]
                positions[name].append((log.append_group(frames), frames))

        threads = [threading.Thread(target=produce, args=(name,)) for name in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = dict(log.read(0))
        assert sorted(found) == list(range(120))
        for group, frames in itertools.chain(*positions):
            assert [found[position] for position in group] == frames
        for own in positions:
            assert [group.start for group, _ in own] == sorted(group.start for group, _ in own)

    @pytest.mark.criterion("LOG-7")
    def test_closed_to_groups(self, log):
        log.close()
        with pytest.raises(ClosedError, match="closed"):
            log.append_group([b"c"])
