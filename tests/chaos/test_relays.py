"""Relays over plain sockets: what passes, what comes late, what is lost, and who is told."""

import contextlib
import socket
import threading
import time

import pytest

from holdfast.chaos.relays import Direction, Relays
from holdfast.cluster.plan import free_ports

LINK = ("one", "other")


class Echo:
    """A server that sends back what it gets; `seen` is all of it."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.seen = bytearray()
        self.ends = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(1 << 16):
                self.seen += data
                connection.sendall(data)
        self.ends += 1


@pytest.fixture
def echo():
    server = Echo()
    yield server
    server.socket.close()


@pytest.fixture
def relays():
    with Relays() as made:
        yield made


@pytest.fixture
def port(relays, echo):
    return relays.add(LINK, echo.port)


def connected(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=5)
    made.settimeout(5)
    return made


def answer(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    return received(connection, len(data))


def received(connection: socket.socket, length: int) -> bytes:
    got = b""
    while len(got) < length:
        piece = connection.recv(length - len(got))
        if not piece:
            break
        got += piece
    return got


def is_silent(connection: socket.socket, seconds: float = 0.2) -> bool:
    connection.settimeout(seconds)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    else:
        return False
    finally:
        connection.settimeout(5)


def is_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def until(condition) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.criterion("CHA-2")
def test_bytes_pass_both_ways_and_are_counted(relays, port):
    with connected(port) as connection:
        large = bytes(range(256)) * 20_000
        sender = threading.Thread(target=connection.sendall, args=(large,))
        sender.start()
        assert received(connection, len(large)) == large
        sender.join()
    counts = relays.counts([LINK])
    assert counts.connections == 1
    assert counts.passed == 2 * len(large)
    assert (counts.delayed, counts.held, counts.dropped, counts.cut) == (0, 0, 0, 0)
    assert relays.links == (LINK,)


@pytest.mark.criterion("CHA-2")
def test_an_end_is_passed_on(relays, port, echo):
    with connected(port) as connection:
        assert answer(connection, b"x") == b"x"
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    until(lambda: echo.ends == 1)


@pytest.mark.criterion("CHA-2")
def test_delayed_bytes_come_later_in_their_order(relays, port):
    with connected(port) as connection:
        assert answer(connection, b"x") == b"x"
        relays.delay([LINK], 0.1, 0.05)
        began = time.monotonic()
        for number in range(50):
            connection.sendall(bytes([number]))
        assert received(connection, 50) == bytes(range(50))
        assert (
            time.monotonic() - began >= 0.1
        )  # There and back, each at least 50 ms: a bound that waiting cannot break.
    assert relays.counts().delayed == 100


@pytest.mark.criterion("CHA-2")
def test_frozen_bytes_arrive_when_healed(relays, port, echo):
    with connected(port) as connection:
        assert answer(connection, b"a") == b"a"
        relays.freeze([LINK])
        connection.sendall(b"bc")
        assert is_silent(connection)
        assert echo.seen == b"a"
        with connected(port) as another:
            another.sendall(b"z")
            assert is_silent(another)
            relays.heal()
            assert received(connection, 2) == b"bc"
            assert received(another, 1) == b"z"
    assert relays.counts().held >= 3
    assert relays.counts().cut == 0


@pytest.mark.criterion("CHA-2")
@pytest.mark.parametrize("direction", list(Direction))
def test_dropped_bytes_never_come_and_the_connection_is_cut_when_healed(relays, port, echo, direction):
    with connected(port) as connection, connected(port) as idle:
        assert answer(connection, b"a") == b"a"
        assert answer(idle, b"i") == b"i"
        relays.drop([LINK], direction)
        connection.sendall(b"bc")
        assert is_silent(connection)
        until(lambda: relays.counts().dropped == 2)
        assert bytes(echo.seen) == (b"ai" if direction is Direction.THERE else b"aibc")
        relays.heal([LINK])
        assert is_ended(connection)
        assert answer(idle, b"j") == b"j"  # It lost nothing, and so goes on.
    assert relays.counts().cut == 1


@pytest.mark.criterion("CHA-2")
def test_an_end_in_a_dropped_direction_is_not_told(relays, port, echo):
    with connected(port) as connection:
        assert answer(connection, b"a") == b"a"
        relays.drop([LINK], Direction.THERE)
    time.sleep(0.2)
    assert echo.ends == 0
    relays.heal()
    until(lambda: echo.ends == 1)


@pytest.mark.criterion("CHA-2")
def test_a_cut_closes_and_refuses(relays, port):
    with connected(port) as connection:
        assert answer(connection, b"a") == b"a"
        relays.cut([LINK])
        assert is_ended(connection)
    with connected(port) as refused:
        assert is_ended(refused)
    relays.heal()
    with connected(port) as connection:
        assert answer(connection, b"b") == b"b"
    assert relays.counts().cut == 2


@pytest.mark.criterion("CHA-2")
def test_nobody_behind_a_relay_ends_the_connection(relays):
    port = relays.add(("one", "gone"), free_ports(1)[0])
    with connected(port) as connection:
        assert is_ended(connection)


def test_conditions_are_of_their_links_only(relays, port, echo):
    other = relays.add(("two", "other"), echo.port)
    relays.freeze([LINK])
    with connected(other) as connection:
        assert answer(connection, b"a") == b"a"
