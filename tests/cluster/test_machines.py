"""Three machines, stood for by three folders on addresses of the loopback interface, directed from a fourth."""

import asyncio

import msgspec
import pytest

from holdfast.cluster import operations
from holdfast.cluster.files import make_machines, write_cluster
from holdfast.cluster.layout import Layout
from holdfast.cluster.plan import loopback_ports
from holdfast.cluster.status import status


@pytest.mark.criterion("CLU-6", "CLU-20", "CLU-24")
def test_three_machines_and_the_folder_that_directs_them(tmp_path, stand_in):
    hosts = {"amsterdam": "127.0.0.1", "frankfurt": "127.0.0.2", "london": "127.0.0.3"}
    made, place = make_machines(tmp_path / "all", hosts), Layout(tmp_path / "all")
    # All machines of this test are one, whose ports others use too.
    ports = loopback_ports(3)
    sites = tuple(
        msgspec.structs.replace(site, client_port=client, route_port=route, monitor_port=monitor)
        for site, (client, route, monitor) in zip(made.sites, ports, strict=True)
    )
    plan = msgspec.structs.replace(made, sites=sites, programs=stand_in)
    write_cluster(place, plan)
    machines = [place.machine(site).folder for site in plan.sites]
    sent = []

    async def send(configuration, commands) -> None:
        sent.append((configuration.log.servers[0], len(commands)))

    async def all_up() -> list[operations.Done]:
        folders = [*machines, place.folder]
        return await asyncio.gather(*(operations.up(folder, send=send) for folder in folders))

    try:
        done = asyncio.run(all_up())
        assert [one.started for one in done] == [
            ("nats-amsterdam", "engine-amsterdam"),
            ("nats-frankfurt", "engine-frankfurt"),
            ("nats-london", "engine-london"),
            (),
        ]
        # The folder that directs, and that of the first region, whichever comes first; the log takes it twice.
        assert sent == [(plan.sites[0].client_address, 4)] * 2
        for folder, here in ((machines[1], "frankfurt"), (place.folder, "")):
            state = asyncio.run(status(Layout(folder), msgspec.structs.replace(plan, here=(here,) if here else ())))
            assert state.healthy
            assert [row.here for row in state.engines] == [row.region == here for row in state.engines]
            assert all(row.version and row.alive for row in state.servers)
    finally:
        for folder in machines:
            asyncio.run(operations.down(folder))
