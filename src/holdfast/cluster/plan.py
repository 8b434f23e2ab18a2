"""What a cluster is: its sites, ports, users and programs, kept in `cluster.toml`, from which all other files follow.

    name = "holdfast"
    here = ["amsterdam"]                 # regions whose server and engine run from this folder

    [passwords]                          # by user
    client = "…"

    [[sites]]
    region = "amsterdam"
    server = "nats-amsterdam"
    engine = "engine-amsterdam"
    public_key = "…"                     # of the engine, 64 hexadecimal digits
    host = "127.0.0.1"                   # as others reach it
    listen = "127.0.0.1"
    client_port = 4222
    route_port = 6222
    monitor_port = 8222                  # on the loopback interface only

What lives here: the values, their checks, and the making of a new plan. What may not: the files that follow.
"""

import contextlib
import ipaddress
import secrets
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from holdfast.client.configuration import check_name, read_toml
from holdfast.domain.errors import InputError, invariant
from holdfast.domain.reading import located

PLAN_NAME = "cluster.toml"
LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 (for hosts given by name, whose addresses the machine itself may not know)
SITE_COUNTS = (1, 3, 5)
"""Sites a cluster may have: odd, so that a majority is clear. One is for trial only."""
CLIENT_PORT, ROUTE_PORT, MONITOR_PORT = 4222, 6222, 8222
"""Ports on machines of their own."""
ROLES = ("client", "operator", "source", "admin", "system")
"""Users beside the engines, which have one each."""
SERVER_PREFIX, ENGINE_PREFIX = "nats-", "engine-"
_PORTS_PER_SITE = 3
_OUTGOING_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST_PORT, _LAST_PORT = 10_240, 65_535
_PORT_ATTEMPTS_MAXIMUM = 10_000
_PASSWORD_BYTES = 32
_REGION_LENGTH_MAXIMUM = 40


class Site(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One region's server of the log and its engine.

    Attributes:
        region: Name of the region.
        server: Name of the server there.
        engine: Name of the replica there.
        public_key: Of the replica, 64 hexadecimal digits.
        host: Name or address under which the other machines and clients reach the server.
        listen: Address that the server binds.
        client_port: For clients and engines.
        route_port: For the other servers.
        monitor_port: For measurements, on the loopback interface.
    """

    region: str
    server: str
    engine: str
    public_key: str
    host: str
    listen: str
    client_port: int
    route_port: int
    monitor_port: int

    @property
    def client_address(self) -> str:
        """Where clients connect."""
        return f"tls://{address_of(self.host, self.client_port)}"

    @property
    def route_address(self) -> str:
        """Where other servers connect."""
        return f"tls://{address_of(self.host, self.route_port)}"


class Programs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Programs to run in place of the usual ones.

    Attributes:
        server: Path of a nats-server; empty for the one of the installed wheel.
        engine: Command that runs one replica, its file's path appended; empty for `holdfast replica run`.
    """

    server: str = ""
    engine: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A cluster, as far as its files depend on it.

    Attributes:
        name: Of the cluster.
        here: Regions whose processes run from this folder.
        sites: All sites, in the order of the replicas' numbers.
        passwords: By user: those of ROLES and the engines.
        programs: Programs in place of the usual ones.
        ways: By user or server that connects, by server: host and port to connect to in place of that server's own,
            where something stands between them, such as a relay.
        witness: Whether a second engine runs beside each engine, in a process of its own.
    """

    name: str
    here: tuple[str, ...]
    sites: tuple[Site, ...]
    passwords: dict[str, str]
    programs: Programs = Programs()
    ways: dict[str, dict[str, str]] = {}
    witness: bool = True

    @property
    def local(self) -> tuple[Site, ...]:
        """The sites that run from this folder."""
        return tuple(site for site in self.sites if site.region in self.here)

    @property
    def copies(self) -> int:
        """How many servers keep each message."""
        return min(3, len(self.sites))

    @property
    def users(self) -> tuple[str, ...]:
        """All users: the roles and the engines."""
        return (*ROLES, *(site.engine for site in self.sites))

    def client_address(self, user: str, site: Site) -> str:
        """Where a user connects to the server of a site."""
        way = self.ways.get(user, {}).get(site.server)
        return f"tls://{way}" if way else site.client_address

    def route_address(self, server: str, site: Site) -> str:
        """Where another server connects to the server of a site."""
        way = self.ways.get(server, {}).get(site.server)
        return f"tls://{way}" if way else site.route_address


def site_of(region: str, host: str, ports: Sequence[int], public_key: str) -> Site:
    """A site with the usual names.

    Args:
        region: Name of the region.
        host: Name or address under which others reach it.
        ports: For clients, routes and measurements.
        public_key: Of its replica, hexadecimal.
    """
    client, route, monitor = ports
    return Site(
        region=region,
        server=SERVER_PREFIX + region,
        engine=ENGINE_PREFIX + region,
        public_key=public_key,
        host=host,
        listen=host if _is_address(host) else EVERYWHERE,
        client_port=client,
        route_port=route,
        monitor_port=monitor,
    )


def new_passwords(users: Sequence[str]) -> dict[str, str]:
    """A random password of 256 bits for each user."""
    return {user: secrets.token_urlsafe(_PASSWORD_BYTES) for user in users}


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nothing uses now. They are not held: another program may take one.

    They lie below those that the system gives to outgoing connections. Of those one could be taken while its server is
    down, even by a connection that tries to reach the server, and the server could not start again.
    """
    sockets: list[socket.socket] = []
    end = _first_outgoing_port()
    try:
        for _ in range(_PORT_ATTEMPTS_MAXIMUM):
            if len(sockets) == count:
                break
            with contextlib.suppress(OSError):
                port = _FIRST_PORT + secrets.randbelow(end - _FIRST_PORT)
                sockets.append(socket.create_server((LOOPBACK, port)))
        invariant(len(sockets) == count, f"{count} ports from {_FIRST_PORT} to {end} are free")
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _first_outgoing_port() -> int:
    """The lowest port that the system gives to outgoing connections; the last port if there are few below that."""
    try:
        low = int(_OUTGOING_PORTS.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        low = 0
    return low if low >= 2 * _FIRST_PORT else _LAST_PORT


def loopback_ports(sites: int) -> list[tuple[int, int, int]]:
    """Free ports for as many sites on this machine."""
    ports = iter(free_ports(sites * _PORTS_PER_SITE))
    return [(next(ports), next(ports), next(ports)) for _ in range(sites)]


def check_regions(regions: Sequence[str], field: str) -> None:
    """Refuse regions that cannot make a cluster."""
    if len(regions) not in SITE_COUNTS:
        advice = "give 3, or 5; 1 is for trial only"
        raise InputError("out-of-range", field, len(regions), advice, "has a wrong number of regions")
    for region in regions:
        check_name(region, field)
        if len(region) > _REGION_LENGTH_MAXIMUM:
            raise InputError("malformed", field, region, f"use at most {_REGION_LENGTH_MAXIMUM} characters")
        if regions.count(region) > 1:
            raise InputError("duplicate-line", field, region, "give each region once")


def read_plan(folder: Path) -> Plan:
    """The plan of a cluster's folder.

    Raises:
        InputError: There is none, or it cannot be used; the field is named.
    """
    path = folder / PLAN_NAME
    with located(PLAN_NAME):
        try:
            plan = read_toml(path, Plan)
        except FileNotFoundError:
            advice = "name the folder of a cluster with --folder, or make one with `holdfast cluster up`"
            raise InputError("missing-field", "", str(folder), advice, "is not in the folder") from None
        _check(plan)
    return plan


def _check(plan: Plan) -> None:
    check_name(plan.name, "name")
    check_regions([site.region for site in plan.sites], "sites")
    names: set[str] = set(ROLES)
    for place, site in enumerate(plan.sites):
        with located(f"sites[{place}]"):
            for field in ("server", "engine"):
                name = getattr(site, field)
                check_name(name, field)
                if name in names:
                    raise InputError("duplicate-line", field, name, "give each server and engine a name of its own")
                names.add(name)
            _check_place(site)
    known = [site.region for site in plan.sites]
    for region in plan.here:
        if region not in known:
            raise InputError("malformed", "here", region, f"name some of {', '.join(known)}", "is no region of a site")
    for user in plan.users:
        if not plan.passwords.get(user):
            raise InputError("missing-field", f"passwords.{user}", None, "give the user a password")
    _check_ways(plan)


def _check_ways(plan: Plan) -> None:
    servers = [site.server for site in plan.sites]
    for origin, ways in plan.ways.items():
        if origin not in (*plan.users, *servers):
            raise InputError("malformed", "ways", origin, "name a user or a server", "connects to nothing")
        for server, way in ways.items():
            host, _, port = way.rpartition(":")
            if server not in servers:
                raise InputError("malformed", f"ways.{origin}", server, f"name some of {', '.join(servers)}")
            if not port.isdecimal() or not 0 < int(port) <= 65_535:
                raise InputError("malformed", f"ways.{origin}.{server}", way, "write it like 127.0.0.1:4222")
            check_host(host.removeprefix("[").removesuffix("]"), f"ways.{origin}.{server}")


def _check_place(site: Site) -> None:
    for field in ("client_port", "route_port", "monitor_port"):
        port = getattr(site, field)
        if not 0 < port <= 65_535:
            raise InputError("out-of-range", field, port, "give a port from 1 to 65535")
    check_host(site.host, "host")
    if not _is_address(site.listen):
        raise InputError("malformed", "listen", site.listen, "give an address of the machine, or 0.0.0.0 for all")


def check_host(host: str, field: str) -> None:
    """Refuse what is neither an address nor a name in the domain name system."""
    labels = host.split(".")
    fits = all(label and label.replace("-", "").isalnum() and label.isascii() for label in labels)
    if not _is_address(host) and (not fits or labels[-1].isdigit()):
        raise InputError("malformed", field, host, "give an address or a host name, such as 10.0.0.1")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def address_of(host: str, port: int) -> str:
    """Host and port as addresses are written, with brackets where the host has colons itself."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def engine_command(plan: Plan) -> list[str]:
    """The command that supervises a replica, without its file; with the plan's own engine where it names one."""
    command = [sys.executable, "-P", "-m", "holdfast.cli.main", "replica", "supervise"]
    return command + [part for word in plan.programs.engine for part in ("--run", word)]
