"""The folder of a cluster: which files, which modes, what is kept and what is written again."""

import ipaddress
import json
import shutil
import ssl
import subprocess

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from holdfast.client.configuration import read_configuration as read_client
from holdfast.cluster import certificates
from holdfast.cluster.files import make_cluster, make_machines, write_cluster
from holdfast.cluster.layout import Layout
from holdfast.cluster.plan import ROLES, read_plan
from holdfast.domain.errors import InputError
from holdfast.domain.signatures import public_key_of
from holdfast.log.jetstream.server import server_binary
from holdfast.replica.configuration import read_configuration as read_replica

REGIONS = ("amsterdam", "frankfurt", "london")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "cluster"
    return Layout(folder), make_cluster(folder, REGIONS)


@pytest.fixture
def copied(made, tmp_path):
    """The same cluster, to be changed."""
    shutil.copytree(made[0].folder, tmp_path / "cluster")
    return Layout(tmp_path / "cluster"), made[1]


def modes(folder):
    return {path: path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")]}


@pytest.mark.criterion("CLU-2")
def test_every_file_is_private_and_where_it_should_be(made):
    place, plan = made
    for path, mode in modes(place.folder).items():
        assert mode == (0o700 if path.is_dir() else 0o600), path
    names = {str(path.relative_to(place.folder)) for path in place.folder.rglob("*") if path.is_file()}
    expected = {"cluster.toml", "authority/authority.pem", "authority/authority.key", "clients/authority.pem"}
    expected |= {f"clients/{role}.toml" for role in ROLES}
    for region in REGIONS:
        server = ("server.conf", "server.pem", "server.key", "authority.pem")
        expected |= {f"servers/nats-{region}/{name}" for name in server}
        expected |= {f"engines/engine-{region}/{name}" for name in ("engine.toml", "authority.pem", "replica.key")}
    assert names == expected
    assert read_plan(place.folder) == plan


@pytest.mark.criterion("CLU-2")
def test_writing_again_writes_what_differs_and_nothing_else(copied):
    place, plan = copied
    assert write_cluster(place, plan) == []
    conf = place.server(plan.sites[1]) / "server.conf"
    before = conf.read_bytes()
    conf.write_bytes(b"other")
    place.client("client").chmod(0o644)
    assert write_cluster(place, plan) == [place.client("client"), conf]
    assert conf.read_bytes() == before
    assert place.client("client").stat().st_mode & 0o777 == 0o600


@pytest.mark.criterion("CLU-4")
def test_intervals_of_a_replica_stay(copied):
    place, plan = copied
    path = place.engine(plan.sites[0]) / "engine.toml"
    text = path.read_text().replace("tick_interval_ms = 250", "tick_interval_ms = 77").replace("engine-london", "other")
    path.write_text(text)
    assert write_cluster(place, plan) == [path]
    found = read_replica(path)
    assert found.tick_interval_ms == 77
    assert [one.name for one in found.replicas] == [site.engine for site in plan.sites]


@pytest.mark.criterion("CLU-5")
def test_a_key_is_never_replaced(copied):
    place, plan = copied
    key = place.engine(plan.sites[0]) / "replica.key"
    key.write_bytes(bytes(31) + b"\1")
    with pytest.raises(InputError, match=r"is not the key of cluster\.toml"):
        write_cluster(place, plan)
    key.unlink()
    with pytest.raises(InputError, match=r"replica\.key: is missing"):
        write_cluster(place, plan)
    assert not key.exists()


@pytest.mark.criterion("CLU-9")
def test_every_user_has_a_password_of_its_own(made):
    _, plan = made
    assert set(plan.passwords) == {*ROLES, *(f"engine-{region}" for region in REGIONS)}
    assert len(set(plan.passwords.values())) == len(plan.passwords)
    assert all(len(password) >= 43 for password in plan.passwords.values())


@pytest.mark.criterion("CLU-3", "CLU-9")
def test_replicas_and_clients_can_read_their_files(made):
    place, plan = made
    for number, site in enumerate(plan.sites):
        found = read_replica(place.engine(site) / "engine.toml")
        assert (found.name, found.region, found.number) == (site.engine, site.region, number)
        assert found.folder.resolve() == place.engine(site).resolve()
        assert found.log.servers[0] == site.client_address
        assert set(found.log.servers) == {one.client_address for one in plan.sites}
        assert found.log.inbox == f"_INBOX.{site.engine}"
        assert public_key_of((place.engine(site) / "replica.key").read_bytes()) == found.replicas[number].key
    for role in ROLES:
        found = read_client(place.client(role))
        assert (found.log.user, found.log.inbox, found.region) == (role, f"_INBOX.{role}", "amsterdam")


def leaf_and_store(place, site):
    leaf = x509.load_pem_x509_certificate((place.server(site) / "server.pem").read_bytes())
    authority = x509.load_pem_x509_certificate(place.authority.read_bytes())
    return leaf, Store([authority])


@pytest.mark.criterion("CLU-7")
def test_certificates_verify_for_their_hosts_and_no_others(made):
    place, plan = made
    for site in plan.sites:
        leaf, store = leaf_and_store(place, site)
        for name in (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))):
            chain = PolicyBuilder().store(store).build_server_verifier(name).verify(leaf, [])
            assert len(chain) == 2
        with pytest.raises(VerificationError):
            PolicyBuilder().store(store).build_server_verifier(x509.DNSName("example.org")).verify(leaf, [])
        PolicyBuilder().store(store).build_client_verifier().verify(leaf, [])
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
        assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        key = load_pem_private_key((place.server(site) / "server.key").read_bytes(), None)
        assert key.public_key() == leaf.public_key()
    keys = {(place.server(site) / "server.key").read_bytes() for site in plan.sites}
    assert len(keys) == len(plan.sites)


@pytest.mark.criterion("CLU-7")
def test_another_clusters_authority_does_not_do(made, tmp_path):
    place, plan = made
    leaf, _ = leaf_and_store(place, plan.sites[0])
    other = certificates.make_authority(plan.name)
    store = Store([x509.load_pem_x509_certificate(other.certificate)])
    with pytest.raises(VerificationError):
        PolicyBuilder().store(store).build_server_verifier(x509.DNSName("localhost")).verify(leaf, [])
    pem = (place.server(plan.sites[0]) / "server.pem").read_bytes()
    assert certificates.is_signed_by(pem, place.authority.read_bytes())
    assert not certificates.is_signed_by(pem, other.certificate)
    assert not certificates.is_signed_by(b"nothing", other.certificate)
    mixed = certificates.Certified(place.authority.read_bytes(), other.key)
    with pytest.raises(InputError, match="belongs to its certificate"):
        certificates.certify_server(mixed, "x", ["localhost"])


@pytest.mark.criterion("CLU-7")
def test_a_certificate_is_made_again_for_another_host_only(copied):
    place, plan = copied
    old = (place.server(plan.sites[0]) / "server.pem").read_bytes()
    moved = msgspec.structs.replace(plan.sites[0], host="log.example.org", listen="0.0.0.0")
    changed = msgspec.structs.replace(plan, sites=(moved, *plan.sites[1:]))
    write_cluster(place, changed)
    new = (place.server(moved) / "server.pem").read_bytes()
    assert new != old
    assert certificates.hosts_of(new) == {"log.example.org", "localhost", "127.0.0.1"}
    write_cluster(place, changed)
    assert (place.server(moved) / "server.pem").read_bytes() == new
    place.authority_key.unlink()
    write_cluster(place, changed)
    again = msgspec.structs.replace(moved, host="other.example.org")
    with pytest.raises(InputError, match=r"server\.pem: is missing, or is not for other\.example\.org"):
        write_cluster(place, msgspec.structs.replace(plan, sites=(again, *plan.sites[1:])))


@pytest.mark.criterion("CLU-7")
def test_an_authority_that_is_gone_is_not_replaced(copied):
    place, plan = copied
    place.authority.unlink()
    with pytest.raises(InputError, match=r"authority\.pem: is missing"):
        write_cluster(place, plan)


@pytest.mark.criterion("CLU-8", "CLU-11")
def test_the_server_takes_its_file(made):
    place, plan = made
    for site in plan.sites:
        folder = place.server(site)
        done = subprocess.run(
            [server_binary(), "-t", "-c", "server.conf"], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        lines = (folder / "server.conf").read_text().splitlines()[1:]
        settings = {name: json.loads(value) for name, _, value in (line.partition(": ") for line in lines)}
        assert settings["server_name"] == site.server
        assert settings["server_tags"] == [f"region:{site.region}"]
        assert settings["http"] == f"127.0.0.1:{site.monitor_port}"
        assert settings["max_payload"] == 2_097_152
        assert (settings["ping_interval"], settings["ping_max"], settings["lame_duck_duration"]) == ("2s", 2, "30s")
        assert settings["jetstream"]["sync_interval"] == "always"
        assert settings["jetstream"]["unique_tag"] == "region:"
        cluster = settings["cluster"]
        assert (cluster["no_advertise"], cluster["ping_interval"], cluster["ping_max"]) == (True, "1s", 2)
        assert cluster["tls"]["verify"] is True
        assert cluster["routes"] == [one.route_address for one in plan.sites if one is not site]
        assert settings["tls"]["min_version"] == cluster["tls"]["min_version"] == "1.3"


@pytest.mark.criterion("CLU-6")
def test_machines_get_what_they_need_and_not_the_authoritys_key(tmp_path):
    hosts = {"amsterdam": "10.0.0.1", "frankfurt": "f.example.org", "london": "fd00::3"}
    plan = make_machines(tmp_path / "all", hosts)
    place = Layout(tmp_path / "all")
    assert plan.here == ()
    assert place.authority_key.exists()
    for site in plan.sites:
        machine = place.machine(site)
        assert not machine.authority_key.exists()
        own = read_plan(machine.folder)
        assert own.here == (site.region,)
        assert msgspec.structs.replace(own, here=()) == plan
        assert (site.client_port, site.route_port, site.monitor_port) == (4222, 6222, 8222)
        assert {path.name for path in machine.clients.iterdir()} == {"authority.pem", *(f"{r}.toml" for r in ROLES)}
        assert write_cluster(machine, own) == []
        assert read_replica(machine.engine(site) / "engine.toml").log.servers[0] == site.client_address
        assert read_client(machine.client("client")).region == site.region
        leaf = (machine.server(site) / "server.pem").read_bytes()
        assert certificates.hosts_of(leaf) == {site.host, "localhost", "127.0.0.1"}
        assert all(not mode & 0o077 for mode in modes(machine.folder).values())
    assert [site.listen for site in plan.sites] == ["10.0.0.1", "0.0.0.0", "fd00::3"]
    assert plan.sites[2].client_address == "tls://[fd00::3]:4222"
    assert write_cluster(place, plan) == []


@pytest.mark.criterion("CLU-6")
def test_a_moved_machine_is_written_again(tmp_path):
    hosts = {"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"}
    plan, place = make_machines(tmp_path / "all", hosts), Layout(tmp_path / "all")
    moved = msgspec.structs.replace(plan.sites[2], host="10.0.0.4", listen="10.0.0.4")
    changed = msgspec.structs.replace(plan, sites=(*plan.sites[:2], moved))
    written = {str(path.relative_to(place.folder)) for path in write_cluster(place, changed)}
    assert {"machines/a/servers/nats-a/server.conf", "machines/c/servers/nats-c/server.pem"} <= written
    assert "machines/a/servers/nats-a/server.pem" not in written
    context = ssl.create_default_context(cafile=place.authority)
    assert context.get_ca_certs()
