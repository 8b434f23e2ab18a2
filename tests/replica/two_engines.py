"""Nodes with a real second engine each, in one thread; what it answers can be changed, held back or left out."""

import numpy as np
from nodes import KEYS, STEP_S, Nodes, batch

from holdfast.core.fold import Fold
from holdfast.core.state import Account, Role, Status
from holdfast.domain import commands as c
from holdfast.domain.messages import outcomes_of, write_of
from holdfast.domain.outcomes import OUTCOME
from holdfast.domain.signatures import public_key_of
from holdfast.margin.presets import preset
from holdfast.replica.names import AccountNames
from holdfast.replica.node.comparison import Comparison
from holdfast.replica.node.node import Identity, Node, Settings
from holdfast.replica.witnessing.child import SecondEngine
from holdfast.replica.witnessing.messages import Ask, Follow

USD, BTC, PERPETUAL = 0, 1, 2
WEAK, MAKER = 4, 5
CLOCK = 10**18


class TwoEngines(Nodes):
    """Nodes, each with a second engine that follows what the node folds."""

    def __init__(self, count=3, **settings):
        super().__init__(count, **settings)
        self.seconds = [SecondEngine() for _ in range(count)]
        self.nodes = [
            Node(
                Identity(f"r{n}", f"region{n}", KEYS[n], f"boot{n}"),
                Settings(0.25, 0.0),
                Fold(),
                AccountNames(),
                Comparison(),
            )
            for n in range(count)
        ]
        for node in self.nodes:
            node.comparison.started()
        self.changes = {}
        self.silent, self.held = set(), []
        self.answers = []

    def deliver(self):
        super().deliver()
        for number, node in enumerate(self.nodes):
            self.second(number, node)

    def second(self, number, node):
        for message in node.comparison.messages():
            if isinstance(message, Follow):
                self.seconds[number].follow(message)
            elif isinstance(message, Ask):
                answer = self.seconds[number].answer(message)
                self.answers.append((number, answer))
                if number in self.silent:
                    self.held.append((node, answer))
                else:
                    node.comparison.answered(self.changes.get(number, lambda one: one)(answer))

    def release(self):
        """Give the answers that were held back."""
        self.silent.clear()
        for node, answer in self.held:
            node.comparison.answered(answer)

    # A venue.

    def venue(self):
        """Weak is long one coin on 3,000 dollars; maker has the other side and an order to buy one at 8,500."""
        self.step(20)
        self.operator = self.open_session()
        self.number = 1
        replicas = [c.DefineReplica(f"r{n}", public_key_of(KEYS[n]), f"region{n}") for n in range(len(self.nodes))]
        rules = c.SetRules(age_maximum=3_600 * 10**9, ahead_maximum=3_600 * 10**9, checkpoint_frames=64)
        self.operate(rules, *replicas, c.DefineSource("s"), c.DefineAsset("USD", 6), c.DefineAsset("BTC", 8))
        self.operate(
            c.DefineInstrument("BTC_USD-PERPETUAL", "0.001", 2),
            c.DefineModel("portfolio", preset("portfolio")),
            c.OpenAccount(0, "weak"),
            c.OpenAccount(0, "maker"),
        )
        self.operate(c.Deposit(WEAK, USD, 3_000 * 10**6), c.Deposit(MAKER, USD, 10**12))
        self.step(60)
        self.source = self.open_session(role="source", as_role=Role.SOURCE)
        self.sequence = 0
        self.client = self.open_session(role="client", as_role=Role.CLIENT)
        self.price(10_000)
        self.trade(c.trade(self.client, 1, WEAK, MAKER, PERPETUAL, 1_000, 1_000_000))
        self.trade(c.order(self.client, 2, MAKER, PERPETUAL, 1_000, 850_000))
        self.step(30)
        return self

    def operate(self, *wanted):
        reply = self.write(0, batch(list(wanted), self.operator, self.number))
        self.number += len(wanted)
        given = outcomes_of(reply)[0]
        assert not given["reason"].any(), given
        return given

    def trade(self, records):
        reply = self.write(0, write_of(records), role=Role.CLIENT)
        assert not outcomes_of(reply)[0]["reason"].any()

    def price(self, dollars):
        """A new price, and its mark."""
        self.sequence += 1
        quote = c.quote(self.source, self.sequence, BTC, dollars * 10**8, self.nodes[0].fold.time, self.sequence)
        reply = self.write(0, write_of(quote), role=Role.SOURCE)
        assert np.asarray(outcomes_of(reply)[0], OUTCOME)["reason"].tolist() == [0]
        self.operate(c.Mark(BTC))

    def status(self, account=WEAK, node=0):
        return Status(int(self.nodes[node].fold.machine.state.accounts[account, Account.STATUS]))

    def wait(self, seconds):
        self.step(int(seconds / STEP_S))
