"""Connections to the log's servers: what is sent, to whom, and what happens when a connection breaks."""

import asyncio
import contextlib
import datetime
import signal
import ssl
import subprocess
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

pytest.importorskip("nats")

import nats.errors
from servers import free_ports

from holdfast.domain.errors import InputError, MissingLibraryError
from holdfast.log.errors import AccessError
from holdfast.log.jetstream import server as server_module
from holdfast.log.jetstream.api import Answer, SilenceError, ask
from holdfast.log.jetstream.connection import Access, connect, server_name
from holdfast.log.jetstream.publisher import Fate, publish
from holdfast.log.jetstream.server import server_binary
from holdfast.log.jetstream.stream import SUBJECT

USERS = """
authorization {
  users: [
    {user: engine, password: "%s", permissions: {publish: {allow: ["holdfast.log", "other"]}, subscribe: "mine.>"}}
    {user: sink, password: "right"}
    {user: reader, password: "right", permissions: {publish: {deny: "holdfast.log"}, subscribe: "mine.>"}}
  ]
}
"""


class OneServer:
    """A server without JetStream."""

    def __init__(self, folder, settings="", port=None):
        self.file = folder / "server.conf"
        self.port = port or free_ports(1)[0]
        self.configure(settings)
        self.process = None

    def configure(self, settings):
        self.file.write_text(f"server_name: one\nlisten: 127.0.0.1:{self.port}\n{settings}\n")

    def __enter__(self):
        self.process = subprocess.Popen([server_binary(), "-c", self.file, "-l", self.file.with_suffix(".log")])
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def reload(self, settings):
        self.configure(settings)
        self.process.send_signal(signal.SIGHUP)

    def access(self, user="engine", password="right", scheme="nats", **more):
        return Access((f"{scheme}://127.0.0.1:{self.port}",), user, password, inbox="mine", **more)


def run(work):
    asyncio.run(asyncio.wait_for(work, 20))


async def until(condition):
    while not condition():
        await asyncio.sleep(0.01)


@pytest.mark.criterion("LOG-21")
def test_a_wrong_password_is_said(tmp_path):
    with OneServer(tmp_path, USERS % "right") as server:
        with pytest.raises(AccessError, match="Authorization Violation") as caught:
            run(connect(server.access(password="wrong"), name="test"))
        assert caught.value.exit_code == 55
        assert "wrong" not in repr(server.access(password="wrong"))


@pytest.mark.criterion("LOG-19", "LOG-21")
def test_what_a_user_may_not_do_is_refused(tmp_path):
    """Not permitted and nobody there are told apart, and neither leaves the fate open."""

    async def work(server):
        reader, engine = [await connect(server.access(user), name=user) for user in ("reader", "engine")]
        published = await publish(reader, b"frame", "x.0.0", 1.0)
        assert (published.fate, published.position, published.again) == (Fate.REFUSED, -1, False)
        assert "may not append" in published.problem
        published = await publish(engine, b"frame", "x.0.0", 1.0)
        assert (published.fate, published.again) == (Fate.REFUSED, True)
        assert "nobody takes frames" in published.problem
        with pytest.raises(SilenceError):
            await ask(engine, "STREAM.INFO.HOLDFAST", None, Answer, 0.2)
        await reader.close()
        await engine.close()

    with OneServer(tmp_path, USERS % "right") as server:
        run(work(server))


@pytest.mark.criterion("LOG-21")
def test_a_user_who_is_shut_out_for_a_while_comes_back(tmp_path):
    async def work(server):
        events = []
        client = await connect(server.access(), name="test", on_event=events.append)
        assert server_name(client) == "one"
        server.reload(USERS % "other")
        await until(lambda: not client.is_connected)
        assert server_name(client) == ""
        server.reload(USERS % "right")
        await until(lambda: events[-1] == f"connected to 127.0.0.1:{server.port}")
        assert "disconnected" in events
        await client.flush()
        await client.close()

    with OneServer(tmp_path, USERS % "right") as server:
        run(work(server))


@pytest.mark.criterion("LOG-21")
def test_a_flush_goes_behind_what_waits_to_be_sent(tmp_path, monkeypatch):
    """Else a subscription may be unknown to the server when `flush` ends."""

    async def work(server):
        sent = []
        client = await connect(server.access(), name="test")
        monkeypatch.setattr(client._transport, "write", sent.append)
        monkeypatch.setattr(client._transport, "writelines", sent.extend)
        await client.subscribe(SUBJECT)
        with pytest.raises(nats.errors.FlushTimeoutError):
            await client.flush(0.2)
        assert [line.split()[0] for line in sent[:2]] == [b"SUB", b"PING"]
        await client.close()

    with OneServer(tmp_path, USERS % "right") as server:
        run(work(server))


@pytest.mark.criterion("LOG-21")
def test_a_broken_connection_keeps_nothing_and_holds_nobody(tmp_path):
    """What waits for an answer ends at once, and what was to be sent is not sent later."""

    async def work(server):
        heard = []

        async def hear(message):
            heard.append(message.data[:1])

        client = await connect(server.access(), name="test")
        sink = await connect(server.access("sink"), name="sink")
        await sink.subscribe(SUBJECT, cb=hear)
        await sink.flush()
        waiting = [asyncio.create_task(publish(client, b"1", "x.1.0", 15.0))]
        await until(lambda: heard)
        server.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(0.1)
        for part in range(2):  # What the socket takes, and what waits for it to take more.
            frames = [(b"2" * 900_000, f"x.{part}.{number}") for number in range(8)]
            waiting += [asyncio.create_task(publish(client, *frame, 15.0)) for frame in frames]
            await asyncio.sleep(0.1)
        server.process.kill()
        server.process.wait()
        for published in await asyncio.wait_for(asyncio.gather(*waiting), 5):
            assert published.fate is Fate.UNKNOWN
            assert "connection broke" in published.problem
        published = await publish(client, b"3", "x.3.0", 1.0)
        assert (published.fate, published.again) == (Fate.REFUSED, True)
        with pytest.raises(nats.errors.OutboundBufferLimitError):
            await client.publish(SUBJECT, b"3")
        with pytest.raises(SilenceError, match="no connection"):
            await ask(client, "INFO", None, Answer, 1.0)
        with server:
            await until(lambda: client.is_connected and sink.is_connected)
            await sink.flush()
            published = await publish(client, b"4", "x.4.0", 0.1)
            assert heard == [b"1", b"4"]
            await client.close()
            await sink.close()

    with OneServer(tmp_path, USERS % "right") as server:
        run(work(server))


@pytest.mark.criterion("LOG-21")
def test_closed_while_connecting_again_stays_closed(tmp_path):
    """The library's attempt may lose its cancellation, as if it had just succeeded."""

    async def work(server):
        client = await connect(server.access(), name="test")

        async def deaf():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            await client.force_reconnect()
            await asyncio.sleep(60)

        client._reconnection_task = again = asyncio.create_task(deaf())
        await asyncio.sleep(0)
        await client.close()
        assert again.done()
        await asyncio.sleep(0.2)
        assert client.is_closed

    with OneServer(tmp_path, USERS % "right") as server:
        run(work(server))


@pytest.mark.criterion("LOG-21")
def test_there_must_be_a_server():
    with pytest.raises(InputError, match="servers"):
        run(connect(Access(()), name="test"))
    with pytest.raises(InputError, match="certificate_authority"):
        run(connect(Access(("tls://127.0.0.1:1",), certificate_authority="/nowhere"), name="test"))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, and a server's certificate from it for 127.0.0.1."""
    import ipaddress  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("certificates")
    now = datetime.datetime.now(datetime.UTC)

    def certificate(name, issuer, issuer_key, key, extension):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(extension, critical=True)
            .sign(issuer_key, hashes.SHA256())
        )

    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    authority = certificate("authority", None, authority_key, authority_key, constraints)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    server = certificate("server", authority.subject, authority_key, server_key, address)
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(authority.public_bytes(pem))
    (folder / "server.pem").write_bytes(server.public_bytes(pem))
    (folder / "server.key").write_bytes(
        server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder


@pytest.mark.criterion("LOG-21")
def test_encryption(tmp_path, certificates):
    """With the right authority it works; a server that its authority does not vouch for is refused."""
    tls = f'tls {{ cert_file: "{certificates / "server.pem"}", key_file: "{certificates / "server.key"}" }}\n'

    async def work(server):
        trusting = server.access(scheme="tls", certificate_authority=certificates / "authority.pem")
        client = await connect(trusting, name="test")
        assert isinstance(client._transport._io_writer.get_extra_info("ssl_object"), ssl.SSLObject)
        await client.flush()
        await client.close()
        with pytest.raises(AccessError, match="certificate"):
            await connect(server.access(scheme="tls"), name="test")

    with OneServer(tmp_path, tls + USERS % "right") as server:
        run(work(server))


@pytest.mark.criterion("LOG-21")
def test_without_encryption_no_password_is_sent(certificates):
    """A server that says it needs no encryption hears nothing, though the address was right."""
    heard = []

    async def serve(reader, writer):
        writer.write(b'INFO {"server_id":"x","version":"2.15.0","headers":true,"max_payload":2000000}\r\n')
        with contextlib.suppress(OSError):
            heard.append(await reader.read(1000))
        writer.close()

    async def work():
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            access = Access((f"nats://127.0.0.1:{port}",), "engine", "secret", certificates / "authority.pem")
            with pytest.raises(AccessError, match="does not encrypt"):
                await connect(access, name="test")

    run(work())
    assert b"".join(heard) == b""


@pytest.mark.criterion("LOG-27")
def test_the_server_program(tmp_path, monkeypatch):
    assert server_binary().name == "nats-server"
    assert server_binary(server_binary()) == server_binary()

    def program(answer):
        path = tmp_path / "program"
        path.write_text(f"#!/bin/sh\necho '{answer}'\n")
        path.chmod(0o755)
        return path

    assert server_binary(program("nats-server: v2.15.0")) == tmp_path / "program"
    assert server_binary(program("nats-server: v3.0.0-RC.1")) == tmp_path / "program"
    with pytest.raises(InputError, match=r"version 2\.14\.12.*use nats-server 2\.15 or later"):
        server_binary(program("nats-server: v2.14.12"))
    with pytest.raises(InputError, match="is not nats-server"):
        server_binary(program("hello"))
    with pytest.raises(InputError, match="does not run"):
        server_binary(tmp_path / "absent")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(server_module.shutil, "which", lambda _: None)
    with pytest.raises(MissingLibraryError, match="pip install"):
        server_binary()


@pytest.mark.criterion("LOG-27")
def test_other_logs_do_not_need_the_library():
    code = "import sys; sys.modules['nats'] = None; import holdfast.log.sqlite, holdfast.log.memory"
    subprocess.run([sys.executable, "-c", code], check=True)
