"""A real cluster in a temporary folder, whose log begins with a made-up venue."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple

from holdfast.bench.venue import Venue
from holdfast.client.configuration import Configuration
from holdfast.cluster import operations
from holdfast.cluster.connections import configuration_of
from holdfast.cluster.engines import start_engine
from holdfast.cluster.files import make_cluster
from holdfast.cluster.layout import Layout
from holdfast.cluster.plan import Plan, Site
from holdfast.cluster.provision import meta_leader, provide
from holdfast.domain.commands import ColdCommand, DefineReplica
from holdfast.domain.errors import invariant
from holdfast.log.jetstream.connection import connect
from holdfast.log.jetstream.publisher import Fate, publish
from holdfast.replica.configuration import read_configuration

REGIONS = ("amsterdam", "frankfurt", "london")
READY_S = 300.0
"""A first start compiles."""
CHECKPOINT_FRAMES = 256


class Stage(NamedTuple):
    """A running cluster.

    Attributes:
        folder: Of the cluster.
        plan: Its plan.
        venue: What its log began with.
    """

    folder: Path
    plan: Plan
    venue: Venue

    @property
    def place(self) -> Layout:
        """Where the cluster's files are."""
        return Layout(self.folder)

    def configuration(self, role: str, region: str) -> Configuration:
        """A client's configuration as one of a region has it: servers and replicas of the region first."""
        whole = configuration_of(self.place, role)
        near = next(site for site in self.plan.sites if site.region == region)
        servers = sorted(whole.log.servers, key=lambda server: server != near.client_address)
        log = type(whole.log)(
            tuple(servers), whole.log.user, whole.log.password, whole.log.inbox, whole.log.certificate_authority
        )
        return Configuration(log, whole.replicas, region)

    def site(self, name: str) -> Site:
        """The site of a server or an engine."""
        return next(site for site in self.plan.sites if name in (site.server, site.engine))


@contextlib.asynccontextmanager
async def staged(accounts: int) -> AsyncIterator[Stage]:
    """A cluster with a venue of so many accounts, all its engines serving; ended and removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as name:
        folder = Path(name) / "cluster"
        plan = make_cluster(folder, REGIONS, witness=False)
        replicas = [DefineReplica(one.engine, bytes.fromhex(one.public_key), one.region) for one in plan.sites]
        venue = await asyncio.to_thread(Venue, accounts, checkpoint_frames=CHECKPOINT_FRAMES, replicas=replicas)
        stage = Stage(folder, plan, venue)
        try:
            await _begin(stage)
            yield stage
        finally:
            await operations.down(folder)


async def _begin(stage: Stage) -> None:
    """Servers, then the venue's frames, then the engines, which fold them as they start."""
    for site in stage.plan.sites:
        await operations.up(stage.folder, site.server)
    await meta_leader(stage.place, stage.plan, READY_S, operations.silent)
    await provide(stage.place, stage.plan)
    await _fill(stage)
    for site in stage.plan.sites:
        start_engine(stage.plan, stage.place, site)
    await operations.up(stage.folder, ready_s=READY_S, send=_nothing)


async def _nothing(_configuration: Configuration, _commands: Sequence[ColdCommand]) -> None:
    """The venue's frames define the replicas already."""


async def _fill(stage: Stage) -> None:
    site = stage.plan.sites[0]
    access = read_configuration(stage.place.engine(site) / "engine.toml").log.access()
    link = await connect(access, name="bench")
    try:
        for number, frame in enumerate(stage.venue.desk.frames):
            published = await publish(link, frame, f"venue.{number}", 10.0)
            stored = published.fate is Fate.STORED and published.position == number
            invariant(stored, f"the venue's frame {number} was not stored: {published}")
    finally:
        await link.close()
