"""Nodes over a broker that does what it should: for tests of what a node does, not of what a broker may do to it."""

from holdfast.core.fold import Fold
from holdfast.core.state import Role
from holdfast.domain import commands
from holdfast.domain.messages import outcomes_of, write_of
from holdfast.domain.signatures import public_key_of
from holdfast.replica.names import AccountNames
from holdfast.replica.node.node import Identity, Node, Settings

KEYS = [bytes([number + 1]) * 32 for number in range(3)]
STEP_S = 0.01


class Nodes:
    """Nodes, the log that they share, and the replies that they gave, by token."""

    def __init__(self, count=3, *, tick_interval_s=0.25, snapshot_interval_s=0.0):
        settings = Settings(tick_interval_s, snapshot_interval_s)
        self.nodes = [
            Node(Identity(f"r{n}", f"region{n}", KEYS[n], f"boot{n}"), settings, Fold(), AccountNames())
            for n in range(count)
        ]
        self.log, self.places, self.replies, self.snapshots = [], {}, {}, []
        self.now, self.clock = 0.0, 10**18
        self._number = 1

    def step(self, times=1):
        for _ in range(times):
            self.now += STEP_S
            self.clock += int(STEP_S * 10**9)
            for node in self.nodes:
                node.turn(self.now, self.clock)
                self.publish(node)
            self.deliver()

    def publish(self, node):
        for message in node.messages(self.now):
            if message.id not in self.places:
                self.places[message.id] = len(self.log)
                self.log.append((message.frame, message.id))
            node.published(message.id, self.now, position=self.places[message.id])

    def deliver(self):
        for node in self.nodes:
            while node.fold.position < len(self.log):
                frame, message_id = self.log[node.fold.position]
                node.deliver(node.fold.position, frame, message_id, self.now)
            self.replies |= dict(node.replies())
            self.snapshots += [(node.identity.name, due) for due in node.snapshots()]

    def write(self, node, request, *, role=Role.OPERATOR, token="asked"):
        """The reply to a write, once it is there; None if it does not come."""
        self.replies.pop(token, None)
        self.nodes[node].write(token, role, request)
        self.step(3)
        return self.replies.get(token)

    def open_session(self, node=0, role="operator", *, as_role=Role.OPERATOR):
        reply = self.write(node, batch([commands.OpenSession(role)]), role=as_role)
        return int(outcomes_of(reply)[0]["made"][0])

    def defined(self, count=None):
        """An operator's session, after which the replicas and dollars are defined; its next number is 3 + count."""
        session = self.open_session()
        keys = KEYS[: len(self.nodes) if count is None else count]
        wanted = [commands.DefineReplica(f"r{n}", public_key_of(key), f"region{n}") for n, key in enumerate(keys)]
        reply = self.write(
            0, batch([commands.SetRules(checkpoint_frames=8), *wanted, commands.DefineAsset("USD", 6)], session)
        )
        assert not outcomes_of(reply)[0]["reason"].any()
        return session


def batch(wanted, session=0, number=1):
    """A Write of cold commands under a session's numbers."""
    return write_of(*commands.cold_records(wanted, session, number))
