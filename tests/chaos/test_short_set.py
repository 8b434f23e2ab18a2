"""The short set of faults on a real cluster: nothing lost, twice, invented, out of order, stale or unequal."""

import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from holdfast.chaos.history import Fate
from holdfast.chaos.relays import Relays
from holdfast.chaos.run import run
from holdfast.chaos.sets import SHORT
from holdfast.chaos.wiring import Wiring
from holdfast.client.configuration import read_configuration
from holdfast.cluster.files import make_cluster
from holdfast.cluster.layout import Layout
from holdfast.cluster.plan import free_ports, read_plan
from holdfast.cluster.toml import toml_text
from holdfast.domain.errors import HoldfastError, InputError
from holdfast.log.jetstream.server import server_binary

MEMORY_MIB = 3_000
SEED = 20260901


def available_mib() -> int:
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) // 1024 for line in file if line.startswith("MemAvailable"))


@pytest.mark.criterion("CHA-1")
def test_everybody_connects_through_relays_of_their_own(tmp_path):
    with Relays() as relays:
        wiring = Wiring(tmp_path / "cluster", ("a", "b", "c"), relays)
        plan = read_plan(tmp_path / "cluster")
        assert plan == wiring.plan
        assert len(relays.links) == 3 * 2 + 3 * 3 + 3 * 3
        own = {site.client_port for site in plan.sites} | {site.route_port for site in plan.sites}
        ways = [way for origin in plan.ways.values() for way in origin.values()]
        assert len(set(ways)) == len(ways) == 15
        text = (Layout(tmp_path / "cluster").server(plan.sites[0]) / "server.conf").read_text()
        assert f'"routes": ["tls://{plan.ways["nats-a"]["nats-b"]}", "tls://{plan.ways["nats-a"]["nats-c"]}"]' in text
        assert '"advertise": "127.0.0.1:1"' in text
        folder = tmp_path / "cluster" / "chaos"
        folder.mkdir()
        near_b = read_configuration(wiring.client_file(folder, "b")).log.servers
        ports = [int(server.rpartition(":")[2]) for server in near_b]
        assert len(set(ports)) == 3
        assert not own & set(ports)
        assert f"127.0.0.1:{ports[0]}" not in ways
        leaving = dict(wiring.from_to(("a",), ("b", "c")))
        assert set(leaving) == set(wiring.between(("a",), ("b", "c")))
        assert leaving[("nats-a", "nats-b")] == 0
        assert leaving[("engine-b", "nats-a")] == 1
        assert leaving[("clients-a", "nats-c")] == 0
        assert ("engine-a", "nats-a") not in leaving
        assert ("nats-b", "nats-c") not in leaving


@pytest.mark.criterion("CHA-1", "CLU-3")
@pytest.mark.parametrize(
    ("ways", "field"),
    [
        ({"nobody": {"nats-a": "127.0.0.1:4222"}}, "ways"),
        ({"engine-a": {"nats-z": "127.0.0.1:4222"}}, "ways.engine-a"),
        ({"engine-a": {"nats-a": "127.0.0.1"}}, "ways.engine-a.nats-a"),
        ({"engine-a": {"nats-a": "127.0.0.1:0"}}, "ways.engine-a.nats-a"),
        ({"engine-a": {"nats-a": "a b:4222"}}, "ways.engine-a.nats-a"),
    ],
)
def test_ways_that_lead_nowhere_are_refused(tmp_path, ways, field):
    plan = msgspec.structs.replace(make_cluster(tmp_path / "cluster", ("a",), witness=False), ways=ways)
    Layout(tmp_path / "cluster").plan.write_text(toml_text(plan, "x"))
    with pytest.raises(InputError) as refused:
        read_plan(tmp_path / "cluster")
    assert refused.value.field.endswith(field)


@pytest.mark.criterion("CHA-1")
def test_ports_are_none_that_an_outgoing_connection_may_get():
    path = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not path.exists():
        pytest.skip("this system does not say which ports it gives to outgoing connections")
    low, high = map(int, path.read_text().split())
    if low < 20_480:
        pytest.skip(f"outgoing connections may get any port from {low} on")
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert not [port for port in ports if low <= port <= high]


@pytest.mark.criterion(
    "CHA-5", "CHA-8", "CHA-9", "CHA-10", "CHA-11", "CHA-12", "CHA-14", "CHA-16", "CHA-17", "CHA-19", "CHA-20"
)
def test_the_short_set_keeps_every_promise(tmp_path):
    try:
        server_binary(None)
    except HoldfastError as error:
        pytest.skip(f"no nats-server: {error}")
    if available_mib() < MEMORY_MIB:
        pytest.skip(f"{available_mib()} MiB of memory are free, and a cluster with its clients needs {MEMORY_MIB}")
    told: list[str] = []
    began = time.monotonic()
    result = run(tmp_path, SEED, iter(SHORT), tell=lambda line: told.append(f"{time.monotonic() - began:.1f} {line}"))
    log = "\n".join(told)
    assert result.problems == [], log
    assert [gap.window.fault for gap in result.gaps if not gap.window.proofs] == [], log
    assert len(result.gaps) == len(SHORT)
    assert result.skipped == {}
    acknowledged = [command for command in result.history.commands if command.fate is Fate.OK]
    assert len({command.client for command in acknowledged}) == 3
    assert len(acknowledged) > 300, log
    assert len(result.truth.roots) > 2
    left = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in left
