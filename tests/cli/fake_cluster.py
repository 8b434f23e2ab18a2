"""A cluster for the command: nodes in one thread, asked without a network, some of which lie or are silent."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from holdfast.client.configuration import Configuration
from holdfast.client.errors import RefusedError, UnreachableError
from holdfast.client.outcome import Answer
from holdfast.domain import commands
from holdfast.domain.messages import Found, Read, WriteNamed, decode_reply, encode_message, outcomes_of, write_of
from replica.nodes import Nodes, batch

NAMES = ("r0", "r1", "r2")
Forge = Callable[[str, str, dict[str, Any]], None]
"""Changes the content of an answer: name of the replica, what was asked, content."""


class Cluster:
    """Three nodes with a market, alice and bob, and a trade between them; `forge` and `dead` change what is heard."""

    def __init__(self) -> None:
        self.nodes = Nodes()
        self.nodes.step(20)
        session = self.nodes.defined()
        self.number = 6
        self.session = session
        self.forge: Forge = lambda _name, _what, _content: None
        self.dead: set[str] = set()
        self.cold(*(commands.DefineSource(name) for name in ("s0", "s1", "s2")))
        self.named({"command": "define_asset", "name": "BTC"})
        self.named({"command": "define_instrument", "name": "BTC-PERPETUAL", "fee": "0.0005"})
        self.named({"command": "define_model", "name": "portfolio"})
        self.sources = [self._source(n) for n in range(3)]
        self.sequence = 0
        self.quote(7900, 7900, 7900)
        self.named({"command": "mark", "asset": "BTC"})
        self.named(*({"command": "open_account", "name": name} for name in ("alice", "bob")))
        self.named(
            *({"command": "deposit", "account": name, "asset": "BTC", "amount": 10} for name in ("alice", "bob"))
        )
        self.trade(1000)
        self.nodes.step(60)

    def _write(self, request: Any, count: int) -> None:
        reply = self.nodes.write(0, request)
        assert reply is not None
        self.number += count

    def cold(self, *wanted: Any) -> None:
        """Cold commands of the operator."""
        self._write(batch(list(wanted), self.session, self.number), len(wanted))

    def named(self, *wanted: dict[str, Any]) -> None:
        """Commands in names."""
        request = WriteNamed(self.session, self.number, msgspec.json.encode(list(wanted)))
        reply = self.nodes.write(0, request)
        assert [one["reason"] for one in reply.outcomes] == ["ACCEPTED"] * len(wanted), reply
        self.number += len(wanted)

    def trade(self, quantity: int) -> None:
        """Alice buys from bob."""
        self.named(
            {
                "command": "trade",
                "account": "alice",
                "other": "bob",
                "instrument": "BTC-PERPETUAL",
                "quantity": quantity,
                "price": 7895,
            }
        )

    def _source(self, number: int) -> int:
        reply = self.nodes.write(0, batch([commands.OpenSession("source", number)]))
        return int(outcomes_of_written(reply)["made"][0])

    def quote(self, *prices: float) -> None:
        """What each source says of BTC and the perpetual, at logical time."""
        self.sequence += 1
        time = self.nodes.nodes[0].fold.time
        for session, price in zip(self.sources, prices, strict=True):
            cents, steps = int(price * 100), int(price * 10**8)
            fields = (time, self.sequence)
            records = [
                commands.quote(session, 2 * self.sequence - 1, 2, cents, *fields),
                commands.quote(session, 2 * self.sequence, 1, steps, *fields),
            ]
            reply = self.nodes.write(0, write_of(np.concatenate(records), b""))
            assert not outcomes_of_written(reply)["reason"].any()

    def connect(self, configuration: Configuration, _timeout_s: float) -> "FakeClient":
        """In place of a client's connection."""
        return FakeClient(self, [place.name for place in configuration.replicas])


def outcomes_of_written(reply: Any) -> Any:
    """The outcomes of a Written."""
    return outcomes_of(reply)[0]


class FakeClient:
    """A client that asks the first of some nodes that lives."""

    def __init__(self, cluster: Cluster, names: Sequence[str]) -> None:
        self._cluster, self._names = cluster, names
        self.closed = False

    def together(self, questions: Sequence[tuple[str, dict[str, Any]]]) -> Answer:
        """As `holdfast.Client.together`, over the bytes of the messages."""
        live = [name for name in self._names if name not in self._cluster.dead]
        if not live:
            raise UnreachableError("together", "no replica answered in time", "see that the cluster runs")
        node = next(one for one in self._cluster.nodes.nodes if one.identity.name == live[0])
        request = Read("together", {"questions": [[what, given] for what, given in questions]})
        found = decode_reply(encode_message(node.found(request)))
        if not isinstance(found, Found):
            raise RefusedError(found.code, found.field, found.problem, found.advice)  # type: ignore[union-attr]
        for (what, _), content in zip(questions, found.content["answers"], strict=True):
            self._cluster.forge(live[0], what, content)
        return Answer(found.content, found.position, found.time, found.replica, found.degraded)

    def close(self) -> None:
        """As `holdfast.Client.close`."""
        self.closed = True


def client_file(folder: Path) -> Path:
    """A client.toml that names the three replicas."""
    path = folder / "client.toml"
    places = "".join(f'[[replicas]]\nname = "{name}"\nregion = "region{n}"\n' for n, name in enumerate(NAMES))
    log = '[log]\nservers = ["nats://127.0.0.1:4222"]\nuser = "client"\npassword = "x"\ninbox = "_INBOX.client"\n'
    path.write_text(log + places)
    return path
