"""Writing a cluster's folder from its plan.

Every file follows from `cluster.toml`, except keys and certificates, which are made once and then kept. Writing again
changes only what differs. Files with passwords or keys are readable by their owner only. What lives here: which file
has which content. What may not: starting anything.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from holdfast.client.configuration import Configuration as ClientConfiguration
from holdfast.client.configuration import LogAccess, ReplicaPlace, read_toml
from holdfast.cluster import layout
from holdfast.cluster.certificates import Certified, certify_server, hosts_of, is_signed_by, make_authority
from holdfast.cluster.layout import Layout
from holdfast.cluster.permissions import inbox_of
from holdfast.cluster.plan import (
    CLIENT_PORT,
    EVERYWHERE,
    LOOPBACK,
    MONITOR_PORT,
    PLAN_NAME,
    ROLES,
    ROUTE_PORT,
    Plan,
    Programs,
    Site,
    check_host,
    check_regions,
    loopback_ports,
    new_passwords,
    site_of,
)
from holdfast.cluster.server_file import server_text
from holdfast.cluster.toml import toml_text
from holdfast.domain.errors import InputError
from holdfast.domain.signatures import public_key_of
from holdfast.replica.configuration import Configuration as ReplicaConfiguration
from holdfast.replica.configuration import ReplicaKey
from holdfast.replica.folder import KEY_NAME, key_of, make_folder, replace_file

CLUSTER_NAME = "holdfast"
_SECRET, _FOLDER_MODE = 0o600, 0o700
_LOOPBACK_NAMES = ("localhost", LOOPBACK)


def make_cluster(
    folder: Path,
    regions: Sequence[str],
    *,
    programs: Programs = Programs(),  # noqa: B008 (frozen)
    witness: bool = True,
) -> Plan:
    """A new cluster on this machine: one server and one engine per region, on free ports of the loopback interface.

    Args:
        folder: New, or empty but for a lock.
        regions: One, three or five names.
        programs: Programs in place of the usual ones.
        witness: Whether a second engine runs beside each.

    Raises:
        InputError: The regions cannot make a cluster.
    """
    check_regions(regions, "--regions")
    place = Layout(folder)
    ports = loopback_ports(len(regions))
    sites = []
    for region, own in zip(regions, ports, strict=True):
        sites.append(_with_key(place, site_of(region, LOOPBACK, own, "")))
    plan = _plan(sites, tuple(regions), programs)
    return _begun(place, msgspec.structs.replace(plan, witness=witness))


def make_machines(folder: Path, hosts: Mapping[str, str]) -> Plan:
    """A new cluster of one machine per region: below `folder` a folder to copy to each.

    Args:
        folder: New or empty. It keeps the authority's key and can direct the cluster, but runs nothing.
        hosts: Address or host name by region.

    Raises:
        InputError: Regions or hosts cannot make a cluster.
    """
    regions = list(hosts)
    check_regions(regions, "--hosts")
    place, ports = Layout(folder), (CLIENT_PORT, ROUTE_PORT, MONITOR_PORT)
    sites = []
    for region, host in hosts.items():
        check_host(host, "--hosts")
        site = site_of(region, host, ports, "")
        sites.append(_with_key(place.machine(site), site))
    return _begun(place, _plan(sites, (), Programs()))


def write_cluster(place: Layout, plan: Plan) -> list[Path]:
    """Write what differs from the plan: the folder itself, and the folders of machines where it runs nothing itself.

    Returns:
        The files that were written.

    Raises:
        InputError: A key or certificate is missing or does not fit the plan, and cannot be made here.
    """
    authority = _authority(place)
    written = _write_folder(place, plan, authority)
    if not plan.here:
        for site in plan.sites:
            written += _write_folder(place.machine(site), msgspec.structs.replace(plan, here=(site.region,)), authority)
    return written


def _begun(place: Layout, plan: Plan) -> Plan:
    authority = make_authority(plan.name)
    _write(place.authority_key, authority.key)
    _write(place.authority, authority.certificate)
    write_cluster(place, plan)
    return plan


def _plan(sites: Sequence[Site], here: tuple[str, ...], programs: Programs) -> Plan:
    passwords = new_passwords([*ROLES, *(site.engine for site in sites)])
    return Plan(CLUSTER_NAME, here, tuple(sites), passwords, programs)


def _with_key(place: Layout, site: Site) -> Site:
    folder = place.engine(site)
    _make_private(folder)
    return msgspec.structs.replace(site, public_key=public_key_of(key_of(folder)).hex())


def _write_folder(place: Layout, plan: Plan, authority: Certified) -> list[Path]:
    _make_private(place.folder)
    texts = {place.plan: toml_text(plan, "A cluster of Holdfast. All other files follow from this one.")}
    certificates = dict.fromkeys((place.authority, place.clients / layout.AUTHORITY_NAME), authority.certificate)
    for role in ROLES:
        texts[place.client(role)] = toml_text(_client(plan, role), f"How to reach the cluster as {role}.")
    for site in plan.local:
        server, engine = place.server(site), place.engine(site)
        texts[server / layout.SERVER_FILE] = server_text(plan, site)
        texts[engine / layout.ENGINE_FILE] = toml_text(_engine(plan, site, engine), f"The replica {site.engine}.")
        certificates[server / layout.AUTHORITY_NAME] = authority.certificate
        certificates[engine / layout.AUTHORITY_NAME] = authority.certificate
        certificates |= _server_certificate(server, site, authority)
        _check_key(engine, site)
    files = certificates | {path: text.encode() for path, text in texts.items()}
    return [path for path, content in files.items() if _write(path, content)]


def _authority(place: Layout) -> Certified:
    """The authority of a folder; without its key where that is kept elsewhere."""
    certificate, key = place.authority, place.authority_key
    if not certificate.exists():
        raise InputError("missing-field", str(certificate), None, "put it back: the servers' certificates rest on it")
    return Certified(certificate.read_bytes(), key.read_bytes() if key.exists() else b"")


def _server_certificate(folder: Path, site: Site, authority: Certified) -> dict[Path, bytes]:
    certificate, key = folder / layout.SERVER_CERTIFICATE, folder / layout.SERVER_KEY
    hosts = {site.host, site.listen, *_LOOPBACK_NAMES} - {EVERYWHERE}
    if certificate.exists() and key.exists():
        kept = certificate.read_bytes()
        if hosts_of(kept) >= hosts and is_signed_by(kept, authority.certificate):
            return {}
    if not authority.key:
        advice = "write it with `holdfast cluster files` in the folder that has authority/authority.key, and copy it"
        problem = f"is missing, or is not for {site.host}"
        raise InputError("missing-field", str(certificate), None, advice, problem)
    made = certify_server(authority, site.server, sorted(hosts))
    return {key: made.key, certificate: made.certificate}


def _check_key(folder: Path, site: Site) -> None:
    if not (folder / KEY_NAME).exists():
        advice = "put the key back, or make another with `holdfast replica key` and name it in cluster.toml"
        raise InputError("missing-field", str(folder / KEY_NAME), None, advice)
    found = public_key_of(key_of(folder)).hex()
    if found != site.public_key:
        advice = f"name it in {PLAN_NAME} as public_key, or put the right key back"
        raise InputError("malformed", str(folder / KEY_NAME), found, advice, "is not the key of cluster.toml")


def _log(plan: Plan, user: str, near: str) -> LogAccess:
    """The way to the log for a user, the server of the near region first."""
    places = sorted(range(len(plan.sites)), key=lambda place: plan.sites[place].region != near)
    return LogAccess(
        servers=tuple(plan.client_address(user, plan.sites[place]) for place in places),
        user=user,
        password=plan.passwords[user],
        inbox=inbox_of(user),
        certificate_authority=Path(layout.AUTHORITY_NAME),
    )


def _engine(plan: Plan, site: Site, folder: Path) -> ReplicaConfiguration:
    """A replica's file. What the plan does not say (intervals) is the operator's own, and stays as it is found."""
    made = ReplicaConfiguration(
        cluster=plan.name,
        name=site.engine,
        region=site.region,
        folder=Path(),
        log=_log(plan, site.engine, site.region),
        replicas=tuple(ReplicaKey(one.engine, one.region, one.public_key) for one in plan.sites),
        witness=plan.witness,
    )
    path = folder / layout.ENGINE_FILE
    if not path.exists():
        return made
    planned = {
        name: getattr(made, name) for name in ("cluster", "name", "region", "folder", "log", "replicas", "witness")
    }
    return msgspec.structs.replace(read_toml(path, ReplicaConfiguration), **planned)


def _client(plan: Plan, role: str) -> ClientConfiguration:
    near = plan.here[0] if plan.here else ""
    replicas = tuple(ReplicaPlace(site.engine, site.region) for site in plan.sites)
    return ClientConfiguration(log=_log(plan, role, near), replicas=replicas, region=near)


def _make_private(folder: Path) -> None:
    """A folder, and those above it that are missing, for their owner only."""
    missing = [above for above in (folder, *folder.parents) if not above.exists()]
    make_folder(folder)
    for made in missing:
        made.chmod(_FOLDER_MODE)


def _write(path: Path, content: bytes) -> bool:
    """Write a file that only its owner may read, unless it has this content; whether it was written."""
    if path.exists() and path.read_bytes() == content and not path.stat().st_mode & 0o077:
        return False
    _make_private(path.parent)
    replace_file(path, content, mode=_SECRET)
    return True
