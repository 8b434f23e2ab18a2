"""A whole cluster with stand-ins for engines: up, status, kill, restart, down."""

import asyncio
import json
import signal
import socket
import time

import msgspec
import pytest

from holdfast.cluster import operations
from holdfast.cluster.connections import decode_status
from holdfast.cluster.engines import engine_process, supervisor_process
from holdfast.cluster.errors import BusyError, ForeignError, NotRunningError, StartError, UnhealthyError
from holdfast.cluster.files import make_cluster, make_machines
from holdfast.cluster.genesis import commands, genesis, is_due
from holdfast.cluster.layout import Layout
from holdfast.cluster.plan import read_plan
from holdfast.cluster.processes import Process, find, sole, start
from holdfast.cluster.servers import monitored, server_process, start_server
from holdfast.cluster.status import ClusterStatus, status
from holdfast.cluster.toml import toml_text
from holdfast.domain.commands import DefineReplica, SetRules
from holdfast.domain.errors import InputError

ALL = ("nats-amsterdam", "nats-frankfurt", "nats-london", "engine-amsterdam", "engine-frankfurt", "engine-london")


def until(condition, what: str, timeout_s: float = 15) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def state_of(three) -> ClusterStatus:
    return asyncio.run(status(three.place, three.plan))


def pids(three) -> dict[str, int]:
    found = {site.server: server_process(three.place, site) for site in three.plan.sites}
    found |= {site.engine: engine_process(three.place, site) for site in three.plan.sites}
    found |= {f"supervisor of {site.engine}": supervisor_process(three.place, site) for site in three.plan.sites}
    return {name: process.pid if process else 0 for name, process in found.items()}


@pytest.mark.criterion("CLU-20", "CLU-24")
def test_up_starts_everything_and_again_nothing(three):
    assert three.first.started == ALL
    before = pids(three)
    assert all(before.values())
    assert three.up() == operations.Done((), (), ())
    assert pids(three) == before
    state = state_of(three)
    assert state.healthy
    assert state.problem == ""
    assert sorted(what for row in state.servers for what in row.leads) == ["log", "meta"]
    assert {row.version for row in state.servers} == {"2.15.1"} or all(row.version for row in state.servers)
    assert [(row.name, row.pid) for row in state.engines] == [(name, before[name]) for name in ALL[3:]]
    assert [(row.position, row.lag, row.logic, row.alive) for row in state.engines] == [(6, 0, 1, True)] * 3


@pytest.mark.criterion("CLU-20")
def test_the_logs_first_commands_are_sent_once(three):
    assert three.place.genesis.exists()
    [(user, sent)] = three.sent
    assert user == "operator"
    assert sent == commands(three.plan)
    assert isinstance(sent[0], SetRules)
    for site, command in zip(three.plan.sites, sent[1:], strict=True):
        assert command == DefineReplica(site.engine, bytes.fromhex(site.public_key), site.region)


@pytest.mark.criterion("CLU-20")
def test_who_sends_the_first_commands(tmp_path):
    plan = make_machines(tmp_path / "all", {"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"})
    place = Layout(tmp_path / "all")
    machines = [place.machine(site) for site in plan.sites]
    due = [is_due(one, read_plan(one.folder)) for one in (place, *machines)]
    assert due == [True, True, False, False]

    async def fail(_configuration, _commands):
        raise InputError("malformed", "x", None, "y")

    with pytest.raises(InputError):
        asyncio.run(genesis(place, plan, fail))
    assert is_due(place, plan)


@pytest.mark.criterion("CLU-15", "CLU-22", "CLU-18")
def test_a_killed_engine_comes_back_by_itself(three):
    before = pids(three)
    name = "engine-frankfurt"
    assert operations.kill(three.folder, name, signal.SIGKILL) == before[name]
    until(lambda: pids(three)[name] not in (0, before[name]), "a new engine")
    until(lambda: state_of(three).engines[1].alive, "its answer")
    after = pids(three)
    assert {key for key in before if before[key] != after[key]} == {name}
    assert state_of(three).engines[1].deaths >= 1


@pytest.mark.criterion("CLU-22", "CLU-20", "CLU-24")
def test_an_engine_killed_with_its_supervisor_stays_dead_until_up(three):
    name = "engine-london"
    operations.kill(three.folder, name, signal.SIGKILL, with_supervisor=True)
    until(lambda: pids(three)[name] == 0, "its end")
    state = state_of(three)
    assert not state.healthy
    assert [(row.alive, row.running) for row in state.engines] == [(True, True), (True, True), (False, False)]
    with pytest.raises(NotRunningError):
        operations.kill(three.folder, name, signal.SIGKILL)
    with pytest.raises(UnhealthyError, match="engine-london is not well"):
        asyncio.run(operations.restart(three.folder, "engine-frankfurt"))
    assert three.up().started == (name,)
    assert state_of(three).healthy


@pytest.mark.criterion("CLU-22", "CLU-24", "CLU-21")
def test_a_stopped_server_is_seen_and_goes_on(three):
    site = three.plan.sites[2]
    operations.kill(three.folder, site.server, signal.SIGSTOP)
    try:
        until(lambda: server_process(three.place, site).is_stopped, "its stop")
        state = state_of(three)
        assert not state.healthy
        assert [row.stopped for row in state.servers] == [False, False, True]
        assert [row.healthy for row in state.servers][2] is False
        with pytest.raises(UnhealthyError, match="nats-amsterdam: was not restarted"):
            asyncio.run(operations.restart(three.folder, "nats-amsterdam"))
    finally:
        operations.kill(three.folder, site.server, signal.SIGCONT)
    until(lambda: state_of(three).healthy, "its return", 30)


@pytest.mark.criterion("CLU-21")
def test_one_engine_is_restarted_in_order(three):
    before = pids(three)
    name = "engine-amsterdam"
    assert asyncio.run(operations.restart(three.folder, name)) == [name]
    after = pids(three)
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {name, f"supervisor of {name}"}
    assert (three.place.folder / "engines" / name / "ended").exists()
    until(lambda: state_of(three).healthy, "that all is well", 30)


@pytest.mark.criterion("CLU-21", "CLU-11")
def test_the_leader_of_the_log_hands_over(three):
    state = state_of(three)
    leader = next(row.name for row in state.servers if "log" in row.leads)
    before = pids(three)
    assert asyncio.run(operations.restart(three.folder, leader)) == [leader]
    after = pids(three)
    assert {key for key in before if before[key] != after[key]} == {leader}
    state = state_of(three)
    assert state.healthy
    log = (three.folder / "servers" / leader / "server.log").read_text()
    assert "Entering lame duck mode" in log


@pytest.mark.criterion("CLU-20")
def test_a_running_server_reads_its_changed_file(three):
    site = three.plan.sites[0]
    conf = three.place.server(site) / "server.conf"
    before = pids(three)
    conf.write_bytes(conf.read_bytes().replace(b"2097152", b"1097152"))
    assert three.up() == operations.Done((), (site.server,), ())
    until(lambda: b"Reloaded server configuration" in (conf.parent / "server.log").read_bytes(), "its word")
    path = three.place.engine(site) / "engine.toml"
    path.write_text(path.read_text().replace("engine-london", "engine-paris"))
    assert three.up() == operations.Done((), (), (site.engine,))
    assert pids(three) == before


@pytest.mark.criterion("CLU-14")
def test_one_command_at_a_time(three):
    with sole(three.place.lock, "a test"):
        for command in (three.up, three.down, lambda: asyncio.run(operations.restart(three.folder))):
            with pytest.raises(BusyError):
                command()
        assert state_of(three).healthy


@pytest.mark.criterion("CLU-12", "CLU-22", "CLU-23")
def test_a_process_with_the_number_of_an_ended_server_is_left_alone(tmp_path):
    plan = make_cluster(tmp_path / "c", ("a",))
    place, site = Layout(tmp_path / "c"), plan.sites[0]
    stranger = start(["sleep", "60"], tmp_path, tmp_path / "log")
    try:
        for file in (
            place.server(site) / "server.pid",
            *map((place.engine(site)).joinpath, ("engine.pid", "supervisor.pid")),
        ):
            Process(stranger.pid, stranger.started - 1, stranger.boot).write(file)
        for name in (site.server, site.engine):
            for with_supervisor in (False, True):
                with pytest.raises(NotRunningError):
                    operations.kill(place.folder, name, signal.SIGKILL, with_supervisor=with_supervisor)
        assert asyncio.run(operations.down(place.folder)) == []
        assert stranger.is_alive
    finally:
        stranger.signal(signal.SIGKILL)


@pytest.mark.criterion("CLU-25")
def test_something_else_in_a_servers_place_is_not_taken_for_it(one, tmp_path):
    _, plan = one
    other = make_cluster(tmp_path / "c", ("paris",))
    site = msgspec.structs.replace(other.sites[0], monitor_port=plan.sites[0].monitor_port)
    with pytest.raises(ForeignError, match="something else answers"):
        monitored(site)
    Layout(tmp_path / "c").plan.write_text(toml_text(msgspec.structs.replace(other, sites=(site,)), "x"))
    with pytest.raises(ForeignError):
        asyncio.run(operations.up(tmp_path / "c"))


@pytest.mark.criterion("CLU-13", "CLU-25")
def test_a_server_that_cannot_start_says_why(tmp_path):
    plan = make_cluster(tmp_path / "c", ("a",))
    place, site = Layout(tmp_path / "c"), plan.sites[0]
    with socket.create_server(("127.0.0.1", site.client_port)), pytest.raises(StartError, match="in use"):
        start_server(plan, place, site)
    assert find(place.server(site) / "server.pid") is None


@pytest.mark.criterion("CLU-20")
def test_most_servers_without_data_are_not_started(tmp_path):
    make_cluster(tmp_path / "c", ("a", "b", "c"))
    place = Layout(tmp_path / "c")
    place.genesis.write_text("{}")
    (place.folder / "servers" / "nats-a" / "data").mkdir()
    try:
        with pytest.raises(UnhealthyError, match="nats-b, nats-c: have no data"):
            asyncio.run(operations.up(place.folder))
    finally:
        asyncio.run(operations.down(place.folder))
    assert find(place.folder / "servers" / "nats-a" / "server.pid") is None


@pytest.mark.criterion("CLU-24")
def test_an_answer_of_another_version_is_understood():
    full = {"name": "e", "region": "a", "position": 4, "end": 9, "time": 7, "degraded": ["x"], "suspended": True}
    found = decode_status(json.dumps(full | {"roots": {"at": 3}, "logic": 2, "new": [1]}).encode())
    assert (found.name, found.position, found.end, found.degraded, found.suspended) == ("e", 4, 9, ("x",), True)
    assert (found.lag, found.serving, found.logic) == (4, True, 2)
    empty = decode_status(b"{}")
    assert (empty.position, empty.end, empty.lag, empty.degraded) == (-1, 0, 0, ())
    assert decode_status(b"nothing") is None
    assert decode_status(b'{"position": "far"}') is None


@pytest.mark.criterion("CLU-23", "CLU-20")
def test_down_ends_all_in_order_and_up_brings_all_back(alone):
    site = alone.plan.sites[0]
    assert alone.down() == []
    assert not any(pids(alone).values())
    ended = float((alone.place.engine(site) / "ended").read_text())
    # A server's log is written to until its end.
    assert (alone.place.server(site) / "server.log").stat().st_mtime >= ended - 0.01
    state = state_of(alone)
    assert not state.healthy
    assert state.problem == "no server runs"
    assert not any(row.alive for row in (*state.servers, *state.engines))
    assert alone.down() == []
    assert alone.up("nats-amsterdam").started == ("nats-amsterdam",)
    assert alone.up().started == ("engine-amsterdam",)
    assert alone.down("engine-amsterdam") == []
    assert alone.up("engine-amsterdam").started == ("engine-amsterdam",)
    assert state_of(alone).healthy
    assert len(alone.sent) == 1
