"""Files of replicas and clients: read back as written, and refused with the field that is wrong."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.client import configuration as client
from holdfast.cluster.files import make_cluster
from holdfast.cluster.layout import Layout
from holdfast.cluster.plan import PLAN_NAME, Plan, Site, read_plan
from holdfast.cluster.toml import toml_text
from holdfast.domain.errors import InputError
from holdfast.domain.signatures import public_key_of
from holdfast.replica import configuration as replica

KEYS = [public_key_of(bytes([seed]) * 32).hex() for seed in (1, 2, 3)]
REPLICA = """cluster = "holdfast"
name = "engine-a"
region = "a"
folder = "."
tick_interval_ms = 100

[log]
servers = ["tls://127.0.0.1:4222", "tls://[::1]:4223", "tls://log.example.org:4224"]
user = "engine-a"
password = "hidden word"
certificate_authority = "../authority.pem"
inbox = "_INBOX.engine-a"
""" + "".join(
    f'\n[[replicas]]\nname = "engine-{region}"\nregion = "{region}"\npublic_key = "{key}"\n'
    for region, key in zip("abc", KEYS, strict=True)
)
CLIENT = """region = "a"

[log]
servers = ["nats://127.0.0.1:4222"]
user = "client"
password = "hidden word"
inbox = "_INBOX.client"

[[replicas]]
name = "engine-a"
region = "a"
"""

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def written(folder: Path, text: str) -> Path:
    path = folder / "file.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.criterion("CLU-3")
def test_a_replicas_file_is_read(tmp_path):
    found = replica.read_configuration(written(tmp_path, REPLICA))
    assert (found.cluster, found.name, found.region, found.number) == ("holdfast", "engine-a", "a", 0)
    assert (found.tick_interval_ms, found.snapshot_interval_s, found.clock_offset_s) == (100, 60.0, 0.0)
    assert found.folder == tmp_path
    assert found.log.certificate_authority == tmp_path / "../authority.pem"
    assert [one.key.hex() for one in found.replicas] == KEYS
    access = found.log.access()
    assert (access.user, access.password, access.inbox) == ("engine-a", "hidden word", "_INBOX.engine-a")
    assert access.servers[2] == "tls://log.example.org:4224"


@pytest.mark.criterion("CLU-3")
def test_a_clients_file_is_read(tmp_path):
    found = client.read_configuration(written(tmp_path, CLIENT))
    assert found.log.certificate_authority is None
    assert found.replicas == (client.ReplicaPlace("engine-a", "a"),)
    assert found.region == "a"


@pytest.mark.criterion("CLU-3", "CLU-1")
@pytest.mark.parametrize(
    ("old", "new", "field", "code"),
    [
        ("user = ", "usr = ", "log.usr", "malformed"),
        ('password = "hidden word"\n', "", "log.password", "missing-field"),
        ('password = "hidden word"', 'password = ""', "log.password", "missing-field"),
        ('inbox = "_INBOX.engine-a"', 'inbox = "_INBOX.>"', "log.inbox", "malformed"),
        ('["tls://127.0.0.1:4222"', "[3", "log.servers[0]", "malformed"),
        ("tls://127.0.0.1:4222", "127.0.0.1:4222", "log.servers[0]", "malformed"),
        ("tls://127.0.0.1:4222", "tls://127.0.0.1", "log.servers[0]", "malformed"),
        ("tls://127.0.0.1:4222", "tls://127.0.0.1:65536", "log.servers[0]", "malformed"),
        ("tls://127.0.0.1:4222", "nats://127.0.0.1:4222", "log.servers[0]", "malformed"),
        ('certificate_authority = "../authority.pem"\n', "", "log.servers[0]", "malformed"),
        ('folder = "."', 'folder = ""', "folder", "malformed"),
        ('folder = "."', 'folder = "."\nlogs = 1', "logs", "malformed"),
        ('name = "engine-a"', 'name = "engine.a"', "name", "malformed"),
        ('name = "engine-a"', f'name = "{"a" * 49}"', "name", "malformed"),
        ('name = "engine-a"', 'name = "engine-d"', "name", "malformed"),
        ('name = "engine-b"', 'name = "engine-a"', "replicas[1].name", "duplicate-line"),
        ('name = "engine-b"', 'name = "-b"', "replicas[1].name", "malformed"),
        ('region = "a"', 'region = "b"', "region", "malformed"),
        (KEYS[0], KEYS[0][:-2], "replicas[0].public_key", "malformed"),
        (KEYS[0], "00" * 32, "replicas[0].public_key", "malformed"),
        (KEYS[0], KEYS[0][:-1] + "g", "replicas[0].public_key", "malformed"),
        (KEYS[1], KEYS[0], "replicas[1].public_key", "duplicate-line"),
        ("= 100", "= 0", "tick_interval_ms", "out-of-range"),
        ("= 100", "= 60001", "tick_interval_ms", "out-of-range"),
        ("= 100", '= "100"', "tick_interval_ms", "malformed"),
        ("tick_interval_ms = 100", "snapshot_interval_s = 0", "snapshot_interval_s", "out-of-range"),
        ("tick_interval_ms = 100", "snapshot_interval_s = nan", "snapshot_interval_s", "not-a-number"),
        ("tick_interval_ms = 100", "clock_offset_s = inf", "clock_offset_s", "not-a-number"),
        ('cluster = "holdfast"', "cluster = = 1", "", "malformed"),
    ],
)
def test_a_replicas_file_is_refused_by_field(tmp_path, old, new, field, code):
    assert REPLICA.count(old) >= 1
    with pytest.raises(InputError) as caught:
        replica.read_configuration(written(tmp_path, REPLICA.replace(old, new, 1)))
    assert (caught.value.field.removeprefix("file.toml").lstrip("."), caught.value.code) == (field, code)
    assert "hidden word" not in str(caught.value)


@pytest.mark.criterion("CLU-3")
@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("region", "place", "place"),
        ('region = "a"', 'region = "A"', "region"),
        ("nats://", "tls://", "log.servers[0]"),
        ('name = "engine-a"\n', "", "replicas[0].name"),
        ("[[replicas]]", "[[others]]", "others"),
    ],
)
def test_a_clients_file_is_refused_by_field(tmp_path, old, new, field):
    with pytest.raises(InputError) as caught:
        client.read_configuration(written(tmp_path, CLIENT.replace(old, new, 1)))
    assert caught.value.field == f"file.toml.{field}"


def test_a_file_that_is_not_there_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        client.read_configuration(tmp_path / "none.toml")


class Part(msgspec.Struct, frozen=True):
    text: str
    numbers: tuple[int, ...] = ()


class Whole(msgspec.Struct, frozen=True):
    name: str
    part: Part
    parts: tuple[Part, ...]
    share: float
    words: tuple[str, ...]
    maybe: str | None = None


parts = st.builds(Part, texts, st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3).map(tuple))
wholes = st.builds(
    Whole,
    texts,
    parts,
    st.lists(parts, min_size=1, max_size=3).map(tuple),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(texts, max_size=3).map(tuple),
    st.none() | texts,
)


@given(wholes)
def test_what_is_written_is_read_back(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("toml") / "value.toml"
    path.write_text(toml_text(value, "a heading"), encoding="utf-8")
    assert client.read_toml(path, Whole) == value


@pytest.mark.criterion("CLU-1", "CLU-3")
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "Holdfast"}, "name"),
        ({"here": ("paris",)}, "here"),
        ({"passwords": {}}, "passwords.client"),
        ({"sites": ()}, "sites"),
    ],
)
def test_a_plan_is_refused_by_field(tmp_path, change, field):
    plan = make_cluster(tmp_path / "c", ("a",))
    path = Layout(tmp_path / "c").plan
    path.write_text(toml_text(msgspec.structs.replace(plan, **change), "x"))
    with pytest.raises(InputError) as caught:
        read_plan(tmp_path / "c")
    assert caught.value.field == f"{PLAN_NAME}.{field}"


@pytest.mark.criterion("CLU-1", "CLU-3")
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"host": "a_b"}, "host"),
        ({"host": "10.0.0.300"}, "host"),
        ({"listen": "example.org"}, "listen"),
        ({"client_port": 0}, "client_port"),
        ({"engine": "admin"}, "engine"),
        ({"server": "engine-a"}, "engine"),
    ],
)
def test_a_site_is_refused_by_field(tmp_path, change, field):
    plan = make_cluster(tmp_path / "c", ("a",))
    site: Site = msgspec.structs.replace(plan.sites[0], **change)
    changed: Plan = msgspec.structs.replace(plan, sites=(site,))
    Layout(tmp_path / "c").plan.write_text(toml_text(changed, "x"))
    with pytest.raises(InputError) as caught:
        read_plan(tmp_path / "c")
    assert caught.value.field == f"{PLAN_NAME}.sites[0].{field}"


@pytest.mark.criterion("CLU-1")
@pytest.mark.parametrize(
    "regions", [(), ("a", "b"), ("a", "b", "c", "d"), ("a", "a", "b"), ("a", "b", "C"), ("x" * 41,)]
)
def test_regions_that_make_no_cluster_are_refused(tmp_path, regions):
    with pytest.raises(InputError, match="--regions"):
        make_cluster(tmp_path / "c", regions)
    assert not (tmp_path / "c").exists()


def test_a_folder_without_a_plan_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="holdfast cluster up"):
        read_plan(tmp_path)
