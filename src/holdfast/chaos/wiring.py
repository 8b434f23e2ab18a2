"""Which connections of a cluster pass through relays: all of servers, engines and clients, and none of the commands.

A region is a place: its server, its engine and its clients. What lives here: whom a link joins, and which links lie
between regions. What may not: what is done to links (`relays`, `faults`).
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from holdfast.chaos.relays import Direction, Link, Relays
from holdfast.client.configuration import Configuration, LogAccess, ReplicaPlace
from holdfast.cluster import layout
from holdfast.cluster.files import make_cluster, write_cluster
from holdfast.cluster.layout import Layout
from holdfast.cluster.permissions import inbox_of
from holdfast.cluster.plan import LOOPBACK, Plan, Site
from holdfast.cluster.toml import toml_text
from holdfast.replica.folder import replace_file

_SECRET = 0o600


class Wiring:
    """A cluster's plan and its relays.

    Attributes:
        plan: In which everybody connects through a relay.
        relays: Theirs.
    """

    def __init__(self, folder: Path, regions: Sequence[str], relays: Relays) -> None:
        """A new cluster, written to a folder and not started."""
        self.relays = relays
        self._regions: dict[str, str] = {}
        plan = make_cluster(folder, regions, witness=False)
        ways: dict[str, dict[str, str]] = {}
        for site in plan.sites:
            self._regions |= {site.server: site.region, site.engine: site.region, _clients(site): site.region}
        for origin, target in _links(plan):
            port = target.route_port if origin in _servers(plan) else target.client_port
            listening = relays.add((origin, target.server), port)
            ways.setdefault(origin, {})[target.server] = f"{LOOPBACK}:{listening}"
        self._client_ways = {site.region: ways.pop(_clients(site)) for site in plan.sites}
        self.plan = msgspec.structs.replace(plan, ways=ways)
        write_cluster(Layout(folder), self.plan)

    @property
    def regions(self) -> tuple[str, ...]:
        """All regions."""
        return tuple(site.region for site in self.plan.sites)

    def region_of(self, name: str) -> str:
        """Where a server, an engine or the clients of a link are."""
        return self._regions[name]

    def replace(self, site: Site) -> None:
        """Put another engine into a site's place."""
        sites = tuple(site if one.region == site.region else one for one in self.plan.sites)
        self.plan = msgspec.structs.replace(self.plan, sites=sites)

    def client_file(self, folder: Path, region: str) -> Path:
        """Write the file of a client in a region, who connects through the region's relays; its path."""
        near_first = sorted(self.plan.sites, key=lambda site: site.region != region)
        servers = tuple(f"tls://{self._client_ways[region][site.server]}" for site in near_first)
        authority = Path(layout.AUTHORITY_NAME)
        access = LogAccess(servers, "client", self.plan.passwords["client"], inbox_of("client"), authority)
        places = tuple(ReplicaPlace(site.engine, site.region) for site in self.plan.sites)
        path = folder / f"client-{region}.toml"
        replace_file(folder / layout.AUTHORITY_NAME, Layout(folder.parent).authority.read_bytes())
        text = toml_text(Configuration(access, places, region), f"A client in {region}.")
        replace_file(path, text.encode(), mode=_SECRET)
        return path

    def from_to(self, origins: Iterable[str], targets: Iterable[str]) -> Iterator[tuple[Link, Direction]]:
        """Links, and their directions, in which bytes go from some regions to others."""
        sources, goals = set(origins), set(targets)
        for link in self.relays.links:
            here, there = self.region_of(link[0]), self.region_of(link[1])
            if here in sources and there in goals:
                yield link, Direction.THERE
            if there in sources and here in goals:
                yield link, Direction.BACK

    def between(self, regions: Iterable[str], others: Iterable[str]) -> list[Link]:
        """Links with one end in some regions and one in others."""
        return [link for link, _ in self.from_to(regions, others)]

    def others(self, region: str) -> tuple[str, ...]:
        """All regions but one."""
        return tuple(one for one in self.regions if one != region)


def _links(plan: Plan) -> Iterator[tuple[str, Site]]:
    for site in plan.sites:
        for target in plan.sites:
            if target is not site:
                yield site.server, target
            yield site.engine, target
            yield _clients(site), target


def _servers(plan: Plan) -> set[str]:
    return {site.server for site in plan.sites}


def _clients(site: Site) -> str:
    """What the clients of a region are called as the end of a link."""
    return f"clients-{site.region}"
