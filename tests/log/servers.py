"""Three real servers on this machine, for tests: started, killed, frozen, put back to an earlier copy."""

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
import time

from holdfast.log.jetstream.api import STREAM_NOT_FOUND, Answer, RefusedError, SilenceError, ask
from holdfast.log.jetstream.connection import Access, connect
from holdfast.log.jetstream.server import server_binary
from holdfast.log.jetstream.stream import MESSAGE_LENGTH_MAXIMUM, STREAM, create_stream, stream_state

NAMES = ("a", "b", "c")


def free_ports(count):
    """Ports that nobody listens on at the moment, all different."""
    with contextlib.ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Servers:
    """Three servers that are one cluster; their names are a, b and c."""

    def __init__(self, folder):
        self.folder = folder
        self.store = folder / "store"
        ports = free_ports(6)
        self.client_ports = dict(zip(NAMES, ports[:3], strict=True))
        self.route_ports = dict(zip(NAMES, ports[3:], strict=True))
        self.processes = {}
        self.program = server_binary()
        self.access = Access(tuple(f"nats://127.0.0.1:{self.client_ports[name]}" for name in NAMES))

    def start(self, *names):
        """Start some servers."""
        routes = ", ".join(f"nats://127.0.0.1:{port}" for port in self.route_ports.values())
        for name in names:
            file = self.folder / f"{name}.conf"
            file.write_text(
                f"server_name: {name}\n"
                f"listen: 127.0.0.1:{self.client_ports[name]}\n"
                f"max_payload: {MESSAGE_LENGTH_MAXIMUM}\n"
                f'jetstream {{ store_dir: "{self.store / name}", sync_interval: always }}\n'
                f"cluster {{ name: tests, listen: 127.0.0.1:{self.route_ports[name]}, routes: [{routes}] }}\n"
            )
            self.processes[name] = subprocess.Popen([self.program, "-c", file, "-l", self.folder / f"{name}.log"])
        return self

    def kill(self, *names):
        for name in names or list(self.processes):
            process = self.processes.pop(name)
            process.kill()
            process.wait()

    def freeze(self, name):
        self.processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name):
        self.processes[name].send_signal(signal.SIGCONT)

    def save(self):
        """Copy what all servers have on their storage; they are stopped."""
        shutil.rmtree(self.folder / "saved", ignore_errors=True)
        shutil.copytree(self.store, self.folder / "saved")

    def put_back(self):
        """Give all servers what they had at `save`."""
        shutil.rmtree(self.store)
        shutil.copytree(self.folder / "saved", self.store)

    def name_at(self, client):
        """The server that a client is connected to."""
        ports = {port: name for name, port in self.client_ports.items()}
        return ports[client.connected_url.port]

    async def renew(self):
        """Start what does not run, and make an empty stream in place of the one that is there."""
        self.start(*(name for name in NAMES if name not in self.processes))
        client = await self.connect()
        try:
            await self.delete_stream(client)
        finally:
            await client.close()
        await self.wait_until_ready()

    async def delete_stream(self, client):
        """Delete the stream, if there is one, once there is a leader who can."""
        for _ in range(300):
            try:
                await ask(client, f"STREAM.DELETE.{STREAM}", None, Answer, 1.0)
            except RefusedError as error:
                if error.code == STREAM_NOT_FOUND:
                    return
            except SilenceError:
                pass
            await asyncio.sleep(0.05)
        raise TimeoutError("the stream could not be deleted")

    async def connect(self, first=0):
        return await connect(self.access, name="test", first=first)

    async def wait_until_ready(self, end=None):
        """Wait for a leader of the stream, and for its end if one is given; make the stream if there is none."""
        client = await self.connect()
        try:
            if end is None:
                await create_stream(client)
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                with contextlib.suppress(Exception):
                    state = await stream_state(client)
                    if state.leader and all(current for _, current in state.replicas) and end in (None, state.end):
                        return state
                await asyncio.sleep(0.05)
            raise TimeoutError("the servers have no leader")
        finally:
            await client.close()
