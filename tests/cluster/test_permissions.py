"""What the servers really enforce: encryption, users, subjects."""

import asyncio
import contextlib
import json
import secrets
import socket
import ssl
import time

import msgspec
import nats.errors
import pytest
from nats.js.errors import NotFoundError

from holdfast.cluster.connections import configuration_of
from holdfast.cluster.permissions import SNAPSHOT_BUCKET
from holdfast.cluster.provision import SNAPSHOTS_KEPT
from holdfast.log.errors import AccessError
from holdfast.log.jetstream.connection import connect
from holdfast.log.jetstream.publisher import Fate, publish
from holdfast.log.jetstream.stream import STREAM, create_stream, stream_state
from holdfast.replica.configuration import read_configuration
from holdfast.replica.node.store import BUCKET, LIFE_S

pytestmark = pytest.mark.criterion("CLU-9")
ENGINE = "engine-amsterdam"


class Link:
    """A connection as a user, which remembers what it was refused."""

    def __init__(self, cluster, user: str) -> None:
        place, plan = cluster
        file = place.engine(plan.sites[0]) / "engine.toml"
        self.access = (read_configuration(file) if user == ENGINE else configuration_of(place, user)).log.access()
        self.events: list[str] = []
        self.marks = 0

    async def __aenter__(self):
        self.client = await asyncio.wait_for(connect(self.access, name="test", on_event=self.events.append), 10)
        return self

    async def __aexit__(self, *_):
        await self.client.close()

    async def refused(self) -> list[str]:
        """What was refused until now: until the server refuses a mark that nobody may publish."""
        self.marks += 1
        mark = f"mark.{self.marks}"
        await self.client.publish(mark, b"")
        deadline = time.monotonic() + 10
        while not any(f'publish to "{mark}"' in event.lower() for event in self.events):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.001)
        found = [event.lower() for event in self.events if "permissions violation" in event.lower()]
        self.events.clear()
        return found[:-1]


async def may_publish(link: Link, subject: str) -> bool:
    await link.client.publish(subject, b"x")
    found = await link.refused()
    assert not found or f'publish to "{subject.lower()}"' in found[0]
    return not found


async def may_hear(link: Link, subject: str, queue: str = "") -> bool:
    subscription = await link.client.subscribe(subject, queue=queue)
    found = await link.refused()
    with contextlib.suppress(nats.errors.Error):
        await subscription.unsubscribe()
    return not found


def table(cluster, user: str, publish_: dict[str, bool], hear: dict[str, bool]) -> None:
    async def check() -> None:
        async with Link(cluster, user) as link:
            for subject, expected in publish_.items():
                assert await may_publish(link, subject) is expected, (user, "publishes", subject)
            for subject, expected in hear.items():
                subject_, _, queue = subject.partition(" ")
                assert await may_hear(link, subject_, queue) is expected, (user, "hears", subject)

    asyncio.run(check())


NOT_FOR_ROLES = {
    "holdfast.log": False,
    "holdfast.effects.x": False,
    "$O.SNAPSHOTS.C.x": False,
    f"$JS.API.STREAM.INFO.{STREAM}": False,
    f"$JS.API.STREAM.DELETE.{STREAM}": False,
    "$JS.API.INFO": False,
    "$SYS.REQ.SERVER.PING": False,
    "_INBOX.client.x": False,
}
NOT_HEARD = dict.fromkeys([">", "holdfast.>", "holdfast.log", "_INBOX.>", "$JS.>", "$SYS.>"], False)


@pytest.mark.parametrize("role", ["client", "operator", "source"])
def test_a_role_writes_as_itself_and_hears_its_own_inbox(one, role):
    others = [other for other in ("client", "operator", "source") if other != role]
    publishes = NOT_FOR_ROLES | {
        f"holdfast.write.{role}.{ENGINE}": True,
        "holdfast.read.amsterdam": True,
        f"holdfast.status.{ENGINE}": True,
        f"holdfast.control.{ENGINE}": role == "operator",
        **{f"holdfast.write.{other}.{ENGINE}": False for other in others},
    }
    hears = NOT_HEARD | {f"_INBOX.{role}.x.>": True, f"holdfast.write.{role}.{ENGINE}": False}
    hears |= {f"_INBOX.{other}.x": False for other in (*others, ENGINE, "admin")}
    table(one, role, publishes, hears)


@pytest.mark.criterion("CLU-10")
def test_an_engine_appends_and_hears_what_is_for_it(one):
    publishes = {
        "holdfast.effects.x": True,
        "$O.SNAPSHOTS.M.x": True,
        f"$JS.API.STREAM.INFO.{STREAM}": True,
        f"$JS.API.CONSUMER.CREATE.{STREAM}.x.holdfast.log": True,
        "_INBOX.client.x": True,
        "_INBOX.admin.x": False,
        "_INBOX.engine-other.x": False,
        f"holdfast.write.client.{ENGINE}": False,
        "holdfast.logs": False,
        f"$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.x": False,
        "$JS.API.STREAM.CREATE.OTHER": False,
        f"$JS.API.STREAM.UPDATE.{STREAM}": False,
        f"$JS.API.STREAM.PURGE.{STREAM}": False,
        f"$JS.API.STREAM.DELETE.{STREAM}": False,
        f"$JS.API.STREAM.MSG.DELETE.{STREAM}": False,
        "$JS.API.STREAM.PURGE.EFFECTS": False,
        "$JS.API.STREAM.DELETE.OBJ_SNAPSHOTS": False,
        f"$JS.API.STREAM.LEADER.STEPDOWN.{STREAM}": False,
        "$SYS.REQ.SERVER.PING": False,
    }
    hears = NOT_HEARD | {
        f"holdfast.write.client.{ENGINE}": True,
        f"holdfast.write.operator.{ENGINE}": True,
        "holdfast.write.client.engine-other": False,
        "holdfast.read.amsterdam readers": True,
        "holdfast.read.amsterdam": False,
        "holdfast.read.london readers": False,
        f"holdfast.status.{ENGINE}": True,
        f"holdfast.control.{ENGINE}": True,
        "holdfast.control.engine-other": False,
        f"_INBOX.{ENGINE}.x": True,
        "_INBOX.client.x": False,
    }
    table(one, ENGINE, publishes, hears)


def test_the_admin_and_the_system_do_not_write(one):
    writes = dict.fromkeys(["holdfast.log", f"holdfast.write.operator.{ENGINE}", f"holdfast.control.{ENGINE}"], False)
    table(one, "admin", writes | {"$SYS.REQ.SERVER.PING": False}, NOT_HEARD | {"_INBOX.admin.x": True})
    heard = {
        ">": False,
        "holdfast.log": False,
        "$SYS.SERVER.>": True,
        "_INBOX.system.x": True,
        "_INBOX.client.x": False,
    }
    table(one, "system", writes, heard)


@pytest.mark.criterion("CLU-10")
def test_a_stream_outlives_a_replica_that_would_delete_it(one):
    async def check() -> None:
        async with Link(one, ENGINE) as link, Link(one, "client") as client, Link(one, "admin") as admin:
            before = await stream_state(admin.client)
            stored = await publish(link.client, b"frame", f"{secrets.token_hex(4)}.1.1", 5)
            assert (stored.fate, stored.position) == (Fate.STORED, before.end)
            for verb in ("DELETE", "PURGE", "UPDATE"):
                with pytest.raises((nats.errors.TimeoutError, nats.errors.NoRespondersError)):
                    await link.client.request(f"$JS.API.STREAM.{verb}.{STREAM}", b"{}", timeout=0.1)
                assert await link.refused()
            refused = await publish(client.client, b"frame", "client.1.1", 0.3)
            assert refused.fate is not Fate.STORED
            after = await stream_state(link.client)
            assert (after.created, after.end) == (before.created, before.end + 1)
            # The settings forbid it to the admin too.
            answer = await admin.client.request(f"$JS.API.STREAM.PURGE.{STREAM}", b"", timeout=5)
            assert json.loads(answer.data)["error"]["err_code"] == 10110
            await create_stream(admin.client, replicas=1)

    asyncio.run(check())


@pytest.mark.criterion("CLU-20")
def test_an_engine_keeps_objects_in_the_bucket(one):
    assert SNAPSHOT_BUCKET == BUCKET
    assert SNAPSHOTS_KEPT.total_seconds() == LIFE_S

    async def check() -> None:
        async with Link(one, ENGINE) as link:
            bucket = await link.client.jetstream(timeout=5).object_store(BUCKET)
            for content in (b"first" * 100_000, b"second"):
                await bucket.put("object", content)
                assert (await bucket.get("object")).data == content
            await bucket.delete("object")
            with pytest.raises(NotFoundError):
                await bucket.get("object")
            acknowledged = await link.client.jetstream(timeout=5).publish("holdfast.effects.x", b"1")
            assert acknowledged.stream == "EFFECTS"
            assert await link.refused() == []

    asyncio.run(check())


def test_a_wrong_password_and_another_clusters_user_are_refused(one):
    async def check() -> None:
        link = Link(one, "client")
        for access in (
            msgspec.structs.replace(configuration_of(one[0], "client").log, password="guessed").access(),
            msgspec.structs.replace(configuration_of(one[0], "client").log, user="root").access(),
        ):
            link.access = access
            with pytest.raises(AccessError):
                await link.__aenter__()

    asyncio.run(check())


@pytest.mark.criterion("CLU-8")
def test_plain_connections_are_refused(one):
    _, plan = one
    user, password = "client", plan.passwords["client"]
    with socket.create_connection(("127.0.0.1", plan.sites[0].client_port), timeout=5) as plain:
        assert b'"tls_required":true' in plain.recv(65_536)
        login = json.dumps({"user": user, "pass": password, "verbose": True, "tls_required": False})
        plain.sendall(f"CONNECT {login}\r\nPING\r\n".encode())
        answer = b""
        with contextlib.suppress(OSError):
            while part := plain.recv(65_536):
                answer += part
        assert b"+OK" not in answer
        assert b"PONG" not in answer


@pytest.mark.criterion("CLU-8")
def test_old_versions_of_tls_and_strangers_certificates_are_refused(one):
    place, plan = one

    def handshake(context: ssl.SSLContext) -> str:
        with socket.create_connection(("127.0.0.1", plan.sites[0].client_port), timeout=5) as plain:
            plain.recv(65_536)
            with context.wrap_socket(plain, server_hostname="localhost") as secured:
                return str(secured.version())

    trusting = ssl.create_default_context(cafile=place.authority)
    assert handshake(trusting) == "TLSv1.3"
    trusting.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        handshake(trusting)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(ssl.create_default_context())


@pytest.mark.criterion("CLU-8")
def test_a_route_without_a_certificate_is_refused(three):
    site = three.plan.sites[0]

    def first_word(with_certificate: bool) -> bytes:
        context = ssl.create_default_context(cafile=three.place.authority)
        if with_certificate:
            folder = three.place.server(three.plan.sites[1])
            context.load_cert_chain(folder / "server.pem", folder / "server.key")
        plain = socket.create_connection(("127.0.0.1", site.route_port), timeout=5)
        with plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
            return secured.recv(4)

    assert first_word(True) == b"INFO"
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"):
        first_word(False)
