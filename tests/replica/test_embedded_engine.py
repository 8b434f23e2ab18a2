"""One engine over one log: order of work, opening, snapshots, sessions, what stops it."""

import json
import shutil
import stat

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from venues import HOUR, START, balance, fingerprint, frames_of, venue

from holdfast.core.fold import Fold
from holdfast.core.state import Role, Session
from holdfast.domain import commands
from holdfast.domain.errors import InputError, InvariantError
from holdfast.domain.frames import RECORD, encode_frame
from holdfast.domain.outcomes import command_id, place_of
from holdfast.domain.reasons import Reason
from holdfast.domain.signatures import public_key_of
from holdfast.domain.units import parse_time
from holdfast.log.errors import FullError, LockedError, LogError, ReadOnlyError, StorageError
from holdfast.log.memory import MemoryLog
from holdfast.log.sqlite import SqliteLog
from holdfast.replica import embedded as room
from holdfast.replica import folder as files
from holdfast.replica.embedded import EmbeddedEngine
from holdfast.replica.engine import Engine
from holdfast.replica.errors import EngineError, KeyFileError, ReplayError, ShortLogError, StoppedError
from holdfast.replica.gateway import ClientSession, Gateway, Request

EMPTY = np.empty(0, RECORD)


def transfer(amount=1):
    return Request(Role.CLIENT, 0, commands.transfer(0, 0, 4, 5, 2, amount))


def opened(folder):
    return EmbeddedEngine(SqliteLog(folder / files.LOG_NAME), folder=folder)


@pytest.fixture
def folder(tmp_path):
    """The folder of a closed engine."""
    path = tmp_path / "venue"
    with venue(path) as engine:
        assert engine.trade("alice", "bob", "BTC-PERPETUAL", 50_000, 7895)
    return path


class Recording(MemoryLog):
    """Says what was appended, and fails on request."""

    def __init__(self, error=None):
        super().__init__()
        self.error, self.appended = error, []

    def append_group(self, frames):
        if self.error:
            raise self.error
        self.appended.append(len(frames))
        return super().append_group(frames)


@pytest.mark.criterion("RPL-4")
def test_frames_are_appended_before_they_are_folded():
    log = Recording()
    engine = EmbeddedEngine(log)
    seen = []
    apply = engine._fold.apply
    engine._fold.apply = lambda frame: (seen.append(log.end), apply(frame))[1]
    gateway = Gateway(0, 1)
    for name in ("operator", "client", "client"):
        gateway.add_cold(0, 0, commands.OpenSession(name))
        frames = gateway.frames()
        (applied,) = engine.submit(frames)
        assert applied.outcomes["made"][0] == command_id(applied.position, 0)
    assert seen == [1, 2, 3]
    assert engine.submit([]) == []


@pytest.mark.criterion("RPL-4")
@pytest.mark.parametrize("bad", [b"", b"x" * 200, None, encode_frame(0, 2, EMPTY)[:-1] + b"\0" * 2])
def test_what_is_no_frame_keeps_its_whole_group_out_of_the_log(bad):
    log = Recording()
    engine = EmbeddedEngine(log)
    with pytest.raises(InputError, match=r"^frames\[1\]: "):
        engine.submit([encode_frame(0, 1, EMPTY), bad])
    assert log.end == engine.position == 0
    engine.submit([encode_frame(0, 1, EMPTY)])


@pytest.mark.criterion("RPL-4", "RPL-14")
def test_missing_sessions_are_opened_in_the_group_that_needs_them():
    log = Recording()
    engine = EmbeddedEngine(log)
    engine.send(
        [Request(Role.OPERATOR, 0, commands.DefineAsset("BTC", 8)), Request(Role.CLIENT, 0, commands.OpenAccount(0))]
    )
    assert log.appended == [2]
    answers = engine.send([Request(Role.OPERATOR, 0, commands.DefineAsset(name, 8)) for name in ("ETH", "BTC")])
    assert log.appended == [2, 1]
    assert [int(answer.outcome["reason"]) for answer in answers] == [Reason.ACCEPTED, Reason.ALREADY_DEFINED]


@pytest.mark.criterion("RPL-5")
@pytest.mark.parametrize("error", [LockedError, ReadOnlyError, FullError])
def test_after_an_append_that_left_nothing_no_number_is_missing(error):
    log = Recording()
    engine = venue(log).embedded
    position = engine.position
    log.error = error("log", "failed", "repeat")
    for _ in range(3):
        with pytest.raises(error):
            engine.send(
                [transfer(), Request(Role.SOURCE, engine.source("prices"), commands.quote(0, 0, 2, 10**12, 0, 9))]
            )
    with pytest.raises(error):
        engine.source("another")
    assert engine.position == position
    log.error = None
    assert engine.send([transfer()])[0].accepted
    assert engine.source("another") == 1
    assert engine.send([Request(Role.SOURCE, 1, commands.quote(0, 0, 2, 10**12, engine.fold.time, 9))])[0].accepted


@pytest.mark.criterion("RPL-5")
def test_a_group_beyond_the_logs_limits_is_refused_and_the_engine_goes_on():
    engine = venue().embedded
    frame = encode_frame(0, engine._expected(0), EMPTY)
    with pytest.raises(InputError, match="at most 4096"):
        engine.submit([frame] * 5_000)
    assert engine.send([transfer()])[0].accepted


@pytest.mark.criterion("RPL-6")
@pytest.mark.parametrize("error", [StorageError("log", "failed", "open it again"), KeyboardInterrupt(), MemoryError()])
def test_after_an_append_of_unknown_fate_the_engine_stops(error):
    log = Recording()
    face = venue(log)
    log.error = error
    with pytest.raises(type(error)):
        face.embedded.send([transfer()])
    log.error = None
    for call in (lambda: face.mark("BTC"), lambda: face.account("alice"), lambda: face.position, face.conservation):
        with pytest.raises(StoppedError, match="open it again"):
            call()
    assert Engine(log).account("alice").balances["BTC"] == 10


@pytest.mark.criterion("RPL-6", "RPL-7")
@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), InvariantError("broken")])
def test_an_interrupted_fold_stops_the_engine_and_opening_again_has_the_command(error):
    log = MemoryLog()
    face = venue(log)

    def interrupted(_frame):
        raise error

    face.embedded._fold.apply = interrupted
    with pytest.raises(type(error)):
        face.transfer("alice", "bob", "BTC", 1)
    with pytest.raises(StoppedError, match="interrupted at position"):
        face.transfer("alice", "bob", "BTC", 1)
    again = Engine(log)
    assert balance(again, "bob") == 11
    assert again.transfer("alice", "bob", "BTC", 1)


@pytest.mark.criterion("RPL-8", "RPL-10", "RPL-11")
def test_opening_from_any_snapshot_gives_the_same_state(folder):
    with Engine(folder) as engine:
        for _ in range(5):
            assert engine.transfer("alice", "bob", "BTC", "0.1")
            path = engine.snapshot()
            assert path.name == f"{engine.position - 1:020}.hfsn"
        expected = fingerprint(engine.embedded.fold)
        expected_view = engine.account("alice")
        assert engine.open_account("carol")
        expected = fingerprint(engine.embedded.fold)
    kept = sorted(path.name for path in (folder / "snapshots").iterdir())
    assert len(kept) == 9
    assert {name.split(".")[1] for name in kept} == {"hfsn", "names", "tree"}
    for started in range(3, -1, -1):
        with opened(folder) as engine:
            assert fingerprint(engine.fold) == expected
            assert list(engine.names)[-3:] == ["alice", "bob", "carol"]
            assert engine.start.passed_over == ()
            assert (engine.start.snapshot is not None) == (started > 0)
            assert engine.start.replayed == engine.position - (engine.start.snapshot or -1) - 1
            assert engine.log.end == expected[1]
        with Engine(folder) as face:
            assert face.account("alice") == expected_view
        newest = files.SnapshotFiles(folder).newest_first()
        if newest:
            newest[0].unlink()


@pytest.mark.criterion("RPL-8")
def test_the_state_goes_on_the_same_from_a_snapshot(folder):
    with Engine(folder) as engine:
        engine.snapshot()
    twin = folder.with_name("twin")
    shutil.copytree(folder, twin)
    shutil.rmtree(twin / "snapshots")
    with Engine(folder) as one, Engine(twin) as other:
        assert (one.embedded.start.replayed, other.embedded.start.snapshot) == (0, None)
        for engine in (one, other):
            assert engine.order("bob", "BTC-PERPETUAL", -500, 8_000)
            assert engine.tick("2020-03-12T11:00Z")
            assert engine.post_prices({"BTC": 4000, "BTC-PERPETUAL": 3992})
            assert engine.trade("alice", "bob", "BTC-PERPETUAL", -1_000, 4000)
        assert fingerprint(one.embedded.fold) == fingerprint(other.embedded.fold)


@pytest.fixture
def snapshots(folder):
    """A folder with two snapshots, the newest at the log's end."""
    with Engine(folder) as engine:
        engine.snapshot()
        assert engine.transfer("alice", "bob", "BTC", 1)
        engine.snapshot()
        expected = fingerprint(engine.embedded.fold)
    newest, older = files.SnapshotFiles(folder).newest_first()
    return folder, newest, older, expected


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 1
    path.write_bytes(data)


@pytest.mark.criterion("RPL-8")
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_snapshot_is_passed_over(snapshots, data):
    folder, newest, older, expected = snapshots
    damaged = data.draw(st.sampled_from([newest, newest.with_suffix(".names")]))
    sound = damaged.read_bytes()
    if data.draw(st.booleans()):
        flip(damaged, data.draw(st.integers(0, len(sound) - 1)))
    else:
        damaged.write_bytes(sound[: data.draw(st.integers(0, len(sound) - 1))])
    with opened(folder) as engine:
        assert len(engine.start.passed_over) == 1
        assert str(newest) in engine.start.passed_over[0]
        assert engine.start.snapshot == int(older.stem)
        assert fingerprint(engine.fold) == expected
        assert "alice" in engine.names
    damaged.write_bytes(sound)


@pytest.mark.criterion("RPL-8")
def test_without_any_sound_snapshot_all_is_replayed(snapshots):
    folder, newest, older, expected = snapshots
    flip(newest, 50)
    older.with_suffix(".names").unlink()
    with opened(folder) as engine:
        assert engine.start.snapshot is None
        assert len(engine.start.passed_over) == 2
        assert fingerprint(engine.fold) == expected


@pytest.mark.criterion("RPL-8")
def test_a_snapshot_of_another_log_is_passed_over(snapshots, tmp_path):
    folder, newest, _, expected = snapshots
    with venue(tmp_path / "other") as other:
        while other.position <= int(newest.stem):
            assert other.transfer("bob", "alice", "BTC", 1)
        foreign = other.snapshot()
    for suffix in (".hfsn", ".names"):
        shutil.copy(foreign.with_suffix(suffix), newest.with_suffix(suffix))
    with opened(folder) as engine:
        assert len(engine.start.passed_over) == 1
        assert fingerprint(engine.fold) == expected


@pytest.mark.criterion("RPL-9")
def test_a_log_that_ends_before_a_snapshot_is_refused(folder, tmp_path):
    old = tmp_path / "old.sqlite"
    shutil.copy(folder / files.LOG_NAME, old)
    with Engine(folder) as engine:
        end = engine.position
        assert engine.transfer("alice", "bob", "BTC", 1)
        path = engine.snapshot()
    (folder / (files.LOG_NAME + ".lock")).unlink()
    shutil.copy(old, folder / files.LOG_NAME)
    with pytest.raises(ShortLogError, match=f"the log ends at {end}") as raised:
        Engine(folder)
    assert raised.value.exit_code == 21
    path.rename(path.with_suffix(".away"))
    with Engine(folder) as engine:
        assert balance(engine, "bob") == 10


@pytest.mark.criterion("RPL-9")
def test_a_frame_that_cannot_be_folded_is_refused_with_its_position():
    log = MemoryLog()
    venue(log)
    log.append(b"no frame")
    with pytest.raises(ReplayError, match=f"position {log.end - 1} of the log: cannot be folded") as raised:
        Engine(log)
    assert "\n" not in str(raised.value)
    assert issubclass(ReplayError, EngineError)


@pytest.mark.criterion("RPL-10")
def test_opening_and_reading_append_nothing(folder):
    with SqliteLog(folder / files.LOG_NAME, writable=False) as log:
        before = frames_of(log)
    with Engine(folder) as engine:
        engine.account("alice"), engine.margin("bob"), engine.conservation(), engine.root()
        assert frames_of(engine.embedded.log) == before


@pytest.mark.criterion("RPL-11")
def test_what_an_interrupted_writing_left_is_removed(folder):
    with Engine(folder) as engine:
        path = engine.snapshot()
        for name in (f"{1:020}.names", f"{2:020}.hfsn.new", f"{10**12:020}.names.new"):
            path.with_name(name).write_bytes(b"left")
        other = path.with_name("notes.txt")
        other.write_text("an operator's")
        assert engine.transfer("alice", "bob", "BTC", 1)
        engine.snapshot()
    assert sorted(p.suffix for p in path.parent.iterdir()) == [*[".hfsn"] * 2, *[".names"] * 2, *[".tree"] * 2, ".txt"]


@pytest.mark.criterion("RPL-11")
def test_a_snapshot_that_cannot_be_written_leaves_the_others(folder, monkeypatch):
    with Engine(folder) as engine:
        first = engine.snapshot()
        assert engine.transfer("alice", "bob", "BTC", 1)

        def full(_descriptor):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(files.os, "fsync", full)
            with pytest.raises(FullError):
                engine.snapshot()
        assert files.SnapshotFiles(folder).newest_first() == [first]
        assert not list(folder.rglob("*.new"))
        assert engine.transfer("alice", "bob", "BTC", 1)
        assert engine.snapshot().exists()


@pytest.mark.criterion("RPL-11")
def test_snapshots_need_a_folder_and_a_frame(tmp_path):
    with pytest.raises(InputError, match="open the engine with a folder"):
        venue().snapshot()
    with opened(files.make_folder(tmp_path / "new")) as engine, pytest.raises(InputError, match="apply a frame first"):
        engine.snapshot()


@pytest.mark.criterion("RPL-12")
def test_the_key_is_made_once_and_for_its_owner_only(folder):
    path = folder / files.KEY_NAME
    key = path.read_bytes()
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with opened(folder) as engine:
        assert engine.private_key == key
        assert engine.fold.machine.registry.replicas[0].public_key == public_key_of(key)
        assert engine.replica() == 0
        assert len(engine.fold.machine.registry.replicas) == 1


@pytest.mark.criterion("RPL-12")
@pytest.mark.parametrize("damage", ["short", "long", "readable", "writable"])
def test_a_key_that_cannot_be_used_is_refused_unchanged(folder, damage):
    path = folder / files.KEY_NAME
    if damage in ("short", "long"):
        path.write_bytes(b"k" * (31 if damage == "short" else 33))
    else:
        path.chmod(0o644 if damage == "readable" else 0o620)
    before = path.read_bytes(), path.stat().st_mode
    with pytest.raises(KeyFileError) as raised:
        Engine(folder)
    assert raised.value.exit_code == 23
    assert (path.read_bytes(), path.stat().st_mode) == before
    assert before[0].hex() not in str(raised.value)


@pytest.mark.criterion("RPL-12")
def test_a_new_key_is_told_to_the_log_when_the_replica_speaks(folder):
    (folder / files.KEY_NAME).unlink()
    with Engine(folder) as engine:
        position = engine.position
        assert engine.tick("2020-03-12T11:00Z")
        assert engine.position == position + 2
        (replica,) = engine.embedded.fold.machine.registry.replicas
        assert replica.public_key == public_key_of(engine.embedded.private_key)


@pytest.mark.criterion("RPL-13")
def test_of_two_accounts_with_one_name_the_first_has_it(tmp_path):
    with venue(tmp_path) as engine:
        stranger = [Request(Role.CLIENT, 0, commands.OpenAccount(0, name)) for name in ("alice", "", "world", "zoë")]
        stranger += [Request(Role.CLIENT, 0, commands.OpenAccount(9, "refused"))]
        engine.embedded.send(stranger)
        names = ("alice", "bob", "#6", "#7", "#8", "zoë")
        assert engine.accounts() == names
        assert engine.account("alice").number == 4
        assert engine.account("world").number == 0
        engine.snapshot()
    for _ in range(2):
        with Engine(tmp_path) as again:
            assert again.accounts() == names
            assert again.account("zoë").number == 9
            with pytest.raises(InputError):
                again.account("refused")
        shutil.rmtree(tmp_path / "snapshots", ignore_errors=True)


@pytest.mark.criterion("RPL-13")
def test_a_repeat_gives_no_second_name():
    engine = venue()
    fold = engine.embedded.fold
    (opening,) = engine.embedded.submit(_cold(engine, 0, 0, commands.OpenSession("client")))
    session = int(opening.outcomes["made"][0])
    for name, made in (("carol", 6), ("dave", 6)):
        (applied,) = engine.embedded.submit(_cold(engine, session, 1, commands.OpenAccount(0, name)))
        assert int(applied.outcomes["made"][0]) == made
    assert engine.accounts() == ("alice", "bob", "carol")
    assert fold.position == engine.position


def _cold(engine, session, number, command):
    gateway = Gateway(0, engine.embedded._expected(0))
    gateway.add_cold(session, number, command)
    return gateway.frames()


@pytest.mark.criterion("RPL-3")
def test_a_repeated_command_is_answered_with_its_first_outcome():
    engine = venue()
    (opening,) = engine.embedded.submit(_cold(engine, 0, 0, commands.OpenSession("client")))
    session = ClientSession(int(opening.outcomes["made"][0]))
    number = session.next()
    told = []
    for _ in range(3):
        gateway = Gateway(0, engine.embedded._expected(0))
        gateway.add(commands.transfer(session.id, number, 4, 5, 2, 10**8))
        (applied,) = engine.embedded.submit(gateway.frames())
        told.append(applied.outcomes[0])
    assert balance(engine, "bob") == 11
    assert [int(one["repeated"]) for one in told] == [0, 1, 1]
    assert len({int(one["command"]) for one in told}) == 1


@pytest.mark.criterion("RPL-14")
def test_own_sessions_are_found_again_and_those_of_others_never_used(folder):
    with opened(folder) as engine:
        own = dict(engine._own)
        assert set(own) == {(Role.OPERATOR, 0), (Role.CLIENT, 0), (Role.REPLICA, 0), (Role.SOURCE, 0)}
        gateway = Gateway(0, engine._expected(0))
        for role in ("client", "operator"):
            gateway.add_cold(0, 0, commands.OpenSession(role))
        engine.submit(gateway.frames())
    with opened(folder) as engine:
        assert engine._own == own
        count = int(engine.fold.machine.state.counters[6])
        assert engine.send([transfer()])[0].accepted
        assert int(engine.fold.machine.state.counters[6]) == count
    kept = json.loads((folder / files.SESSIONS_NAME).read_text())
    of_another_log = [[*entry[:3], "0" * 64] for entry in kept]
    for content in ("", "[]", "[[2, 0]]", json.dumps(of_another_log), '[[1,0,99999999,""]]', '[[1,0,-5,""]]'):
        (folder / files.SESSIONS_NAME).write_text(content)
        with opened(folder) as engine:
            assert engine._own == {}
            assert engine.send([transfer()])[0].accepted
            assert engine._own[Role.CLIENT, 0] not in own.values()
            own |= engine._own


@pytest.mark.criterion("RPL-14")
def test_a_session_of_another_role_is_not_taken_for_the_engines_own(folder):
    with opened(folder) as engine:
        source = engine._own[Role.SOURCE, 0]
        chain = engine.log.hash_at(place_of(source)[0]).hex()
    files.keep_sessions(folder, [files.OwnSession(int(Role.CLIENT), 0, source, chain)])
    with opened(folder) as engine:
        assert engine._own == {}


@pytest.mark.criterion("RPL-14")
def test_an_evicted_session_is_opened_again(folder):
    with opened(folder) as engine:
        # As if the log had opened so many others that this one had to go.
        engine._own[Role.CLIENT, 0] = 5
        assert engine.send([transfer()])[0].accepted
        assert engine._own[Role.CLIENT, 0] > 5


@pytest.mark.criterion("RPL-14")
def test_numbers_go_on_after_opening_again(folder):
    for _ in range(3):
        with opened(folder) as engine:
            before = engine._expected(engine._own[Role.CLIENT, 0])
            assert all(answer.accepted for answer in engine.send([transfer()] * 5))
            assert engine._expected(engine._own[Role.CLIENT, 0]) == before + 5


@pytest.mark.criterion("RPL-15")
def test_rounds_of_decisions_are_bounded(monkeypatch):
    engine = venue().embedded
    number = engine.replica()
    monkeypatch.setattr(room, "decisions", lambda *_: [commands.Mark(2)])
    assert len(engine.decide()) == room.DECISION_ROUNDS_MAXIMUM
    monkeypatch.setattr(room, "decisions", lambda *_: [commands.Mark(99), commands.Settle(99)])
    refused = engine.decide()
    assert [int(answer.outcome["reason"]) for answer in refused] == [Reason.ITEM_UNKNOWN] * 2
    assert number == 0


def test_ticks_take_the_clock_of_the_machine_unless_told():
    engine = EmbeddedEngine(MemoryLog(), clock=lambda: parse_time(START) + HOUR)
    assert engine.tick(parse_time(START)).accepted
    assert engine.tick().accepted
    assert engine.fold.machine.registry.replicas[0].clock == parse_time(START) + HOUR


def test_a_watch_sees_marks():
    moments = []
    log = MemoryLog()
    venue(log)
    engine = EmbeddedEngine(log, watch=moments.append)
    assert moments[:3] == ["mark", "sweep", "swept"]
    engine.close()
    with pytest.raises(LogError):
        engine.submit([encode_frame(0, engine._expected(0), EMPTY)])


def test_a_second_engine_is_told_who_has_the_folder(folder):
    with Engine(folder), pytest.raises(LockedError, match="another engine, process"):
        Engine(folder)
    Engine(folder).close()


def test_an_opening_that_fails_leaves_the_log_free(folder):
    (folder / files.KEY_NAME).write_bytes(b"short")
    with pytest.raises(KeyFileError):
        Engine(folder)
    (folder / files.KEY_NAME).unlink()
    Engine(folder).close()


def test_warming_touches_nothing_and_covers_what_is_hot():
    engine = venue()
    before = fingerprint(engine.embedded.fold)
    engine.embedded.warm()
    assert fingerprint(engine.embedded.fold) == before


def test_a_log_that_others_wrote_can_be_driven():
    log = MemoryLog()
    gateway = Gateway(0, 1)
    gateway.add_cold(0, 0, commands.OpenSession("operator"))
    gateway.add_cold(1, 1, commands.DefineAsset("BTC", 8))
    for frame in gateway.frames():
        log.append(frame)
    fold = Fold()
    for _, frame in log.read(0):
        fold.apply(frame)
    engine = EmbeddedEngine(log)
    assert fingerprint(engine.fold) == fingerprint(fold)
    assert int(engine.fold.machine.state.sessions[1, Session.NEXT]) == 2
    assert engine.send([Request(Role.OPERATOR, 0, commands.DefineAsset("ETH", 9))])[0].accepted
    assert int(engine.fold.machine.state.sessions[1, Session.NEXT]) == 2
