"""Clusters for these tests: one server alone, and three with stand-ins for engines."""

import asyncio
import sys
from pathlib import Path

import pytest

from holdfast.cluster import operations
from holdfast.cluster.files import make_cluster
from holdfast.cluster.layout import Layout
from holdfast.cluster.plan import Programs
from holdfast.cluster.provision import meta_leader, provide
from holdfast.cluster.servers import start_server

STAND_IN = Programs(engine=(sys.executable, str(Path(__file__).with_name("stand_in.py"))))


class Cluster:
    """A cluster with stand-ins, and what was sent as the first commands of its log."""

    def __init__(self, folder: Path, *regions: str) -> None:
        self.folder, self.place = folder, Layout(folder)
        self.plan = make_cluster(folder, regions, programs=STAND_IN)
        self.sent: list = []
        self.told: list[str] = []

    async def _send(self, configuration, commands) -> None:
        self.sent.append((configuration.log.user, tuple(commands)))

    def up(self, name: str = "") -> operations.Done:
        return asyncio.run(operations.up(self.folder, name, send=self._send, tell=self.told.append))

    def down(self, name: str = "") -> list[str]:
        return asyncio.run(operations.down(self.folder, name))


@pytest.fixture
def stand_in():
    """What runs in place of engines."""
    return STAND_IN


@pytest.fixture(scope="session")
def three(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("three") / "cluster", "amsterdam", "frankfurt", "london")
    try:
        cluster.first = cluster.up()
        yield cluster
    finally:
        assert cluster.down() == []


@pytest.fixture
def alone(tmp_path):
    """A cluster of one, which starts again without an election."""
    cluster = Cluster(tmp_path / "cluster", "amsterdam")
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()


@pytest.fixture(scope="session")
def one(tmp_path_factory):
    """A folder whose one server runs, with its streams."""
    place = Layout(tmp_path_factory.mktemp("one") / "cluster")
    plan = make_cluster(place.folder, ("amsterdam",))
    process = start_server(plan, place, plan.sites[0])
    try:
        asyncio.run(meta_leader(place, plan, 20, lambda _line: None))
        asyncio.run(provide(place, plan))
        yield place, plan
    finally:
        process.end(10)
