"""Logs of random commands, as frames: what a venue would send in a bad week, refusals and repeats included."""

import random
from typing import NamedTuple
from unittest import mock

import fold_driver
import numpy as np
from fold_driver import (
    ALICE,
    BOB,
    BTC,
    CALL,
    CAROL,
    EXPIRY,
    FUTURE,
    INVERSE,
    KEYS,
    LINEAR,
    LINEAR_CALL,
    POOR,
    PUT,
    RICH,
    SECOND,
    USD,
    hot,
)

from holdfast.core.fold import Fold
from holdfast.core.state import Account, Status
from holdfast.domain import commands as c
from holdfast.domain import votes
from holdfast.margin.presets import preset

CLIENTS = (ALICE, BOB, CAROL, POOR)
CONTRACTS = (INVERSE, LINEAR, FUTURE, CALL, PUT, LINEAR_CALL)


class Step(NamedTuple):
    """A frame and the bytes of its outcomes."""

    frame: bytes
    outcomes: bytes


class RecordingFold(Fold):
    """A fold that remembers what it was given and answered."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def apply(self, data):
        applied = super().apply(data)
        self.steps.append(Step(data, applied.outcomes.tobytes()))
        return applied


class RandomVenue(fold_driver.Venue):
    """A venue to which random things happen; the same for the same seed."""

    def __init__(self, seed):
        with mock.patch.object(fold_driver, "Fold", RecordingFold):
            super().__init__()
        self.random = random.Random(seed)
        self.clock = self.fold.time
        self.price = 10_000.0
        self.operate(c.SetRules(checkpoint_frames=3, mark_interval=5 * SECOND))

    def happen(self, frames):
        """Let so many things happen, each at least a frame."""
        things = [
            (4, self.some_trades), (3, self.some_quotes), (3, self.some_ticks), (2, self.some_orders),
            (2, self.some_money), (1, self.some_roles), (1, self.some_definitions), (1, self.some_nonsense),
            (1, self.some_liquidations), (1, self.some_marks),
        ]  # fmt: skip
        weights, calls = zip(*things, strict=True)
        first = len(self.fold.steps)
        while len(self.fold.steps) < first + frames:
            self.random.choices(calls, weights)[0]()
        return self

    def some_trades(self):
        def one():
            buyer, seller = self.random.sample(CLIENTS, 2)
            item = self.random.choice(CONTRACTS)
            lots = (self.random.randint(-400, 400) or 1) * (100 if item in (INVERSE, LINEAR) else 1)
            return self.client, hot(c.trade, buyer, seller, item, lots, self._price_of(item))

        self.send(*(one() for _ in range(self.random.randint(1, 5))))

    def _price_of(self, item):
        price = self.price * self.random.uniform(0.97, 1.03)
        if item in (CALL, PUT):
            return round(0.05 * 10**4)
        return round(500 * 100 if item == LINEAR_CALL else price * 100)

    def some_orders(self):
        account, item = self.random.choice(CLIENTS), self.random.choice((INVERSE, LINEAR))
        lots = self.random.choice((-50, -20, 10, 40))
        price = round(self.price * (0.9 if lots > 0 else 1.1) * 100)
        sent = [(self.client, hot(c.order, account, item, lots, price)) for _ in range(self.random.randint(1, 3))]
        for (owner, number), (resting, remaining, limit) in list(self.orders().items())[:3]:
            if self.random.random() < 0.3:
                sent.append((self.client, hot(c.cancel, owner, number)))
            elif self.random.random() < 0.5:
                other = self.random.choice([a for a in CLIENTS if a != owner])
                sides = (owner, other, number, 0) if remaining > 0 else (other, owner, 0, number)
                named = {"buy_order": sides[2], "sell_order": sides[3]}
                lots = max(1, abs(remaining) // 2)
                sent.append((self.client, hot(c.fill, sides[0], sides[1], resting, lots, limit, **named)))
        self.send(*sent)

    def some_money(self):
        account, other = self.random.sample(CLIENTS, 2)
        item, amount = self.random.choice(((USD, 10**9), (BTC, 10**7)))
        choices = (
            hot(c.transfer, account, other, item, amount),
            c.RequestWithdrawal(account, item, amount, "somewhere"),
            c.CancelWithdrawal(self.random.randint(1, 4)),
            c.ChooseModel(account, self.random.randint(0, 1), self.random.random() < 0.3),
            c.OpenAccount(0),
        )
        chosen = self.random.choice(choices)
        self.send((self.client, chosen))
        if self.random.random() < 0.5:
            self.send((self.operator, c.Funding(INVERSE, self.random.randint(-1000, 1000))))
        if self.random.random() < 0.3:
            self.send((self.operator, c.Deposit(other, item, 3 * amount)))

    def some_quotes(self):
        self.price *= self.random.choice((0.85, 0.98, 0.999, 1.001, 1.01, 1.05))
        sent = []
        for source in self.random.sample(range(3), self.random.randint(1, 3)):
            for item in self.random.sample((BTC, BTC, INVERSE, LINEAR, CALL), 2):
                self.sequence += 1
                price = round(self.price * (10**8 if item == BTC else 100)) if item != CALL else 700_000
                time = self.fold.time - self.random.choice((0, 0, 10, 90)) * SECOND
                sent.append((self.sources[source], hot(c.quote, item, price, time, self.sequence)))
        self.send(*sent)

    def some_ticks(self):
        self.clock += self.random.choice((1, 3, 8)) * SECOND
        for replica in self.random.sample(range(3), self.random.randint(1, 3)):
            self.tick(self.clock + replica, replica)

    def crash(self):
        """One account takes all it may, the price falls below its maintenance margin, and it is liquidated."""
        self.send((self.operator, c.Deposit(POOR, USD, 5_000 * 10**6)))
        self._mark_at_price()
        most = self.trade(POOR, ALICE, LINEAR, 10**6, round(self.price * 100)).passes
        self.trade(POOR, ALICE, LINEAR, most, round(self.price * 100))
        self.order(BOB, LINEAR, most // 4 + 1, round(self.price * 85))
        for factor in (0.93, 0.95):
            self.price *= factor
            self._mark_at_price()
        for _ in range(3):
            self.some_liquidations()
        return self

    def _mark_at_price(self):
        """All sources say the price; two of them would not outvote a third that is far off."""
        for source in range(3):
            self.quote(LINEAR, round(self.price * 100), source=source)
            self.quote(BTC, round(self.price * 10**8), source=source)
        self.some_marks()

    def expire(self):
        """Go on beyond the expiry of the future and the options, which are settled while the clock runs."""
        self.operate(c.SetRules(checkpoint_frames=3, mark_interval=5 * SECOND, step_maximum=30 * 86_400 * SECOND))
        for clock in (EXPIRY - 600 * SECOND, EXPIRY - 300 * SECOND, EXPIRY + SECOND):
            self.clock = clock
            for replica in range(3):
                self.tick(clock + replica, replica)
            self.some_quotes()
            self.quote(BTC, round(self.price * 10**8))
        for item in (FUTURE, CALL, PUT, LINEAR_CALL):
            self.send((self.operator, c.Settle(item)))
            self.some_trades()
        return self

    def some_marks(self):
        self.send((self.operator, c.Mark(BTC)))

    def some_roles(self):
        replica = self.random.randrange(3)
        role = self.random.choice(("router", "feed", "auction"))
        self.send((self.replicas[replica], c.TakeLease(role, replica, self.random.randint(1, 100) * SECOND)))

    def some_definitions(self):
        number = self.random.randint(1, 9)
        choices = (
            c.DefineModel("standard", preset("standard"), effective=self.fold.time + 6 * SECOND),
            c.DefineModel("portfolio", preset("portfolio")),
            c.DefineInstrument(f"BTC-25SEP20-{number}500-C", "0.1", 4),
            c.DefineAsset(f"COIN{number}", 6),
            c.SetRules(checkpoint_frames=2, mark_interval=3 * SECOND, sources_minimum=self.random.randint(1, 2)),
        )
        self.send((self.operator, self.random.choice(choices)))
        if self.random.random() < 0.3:
            self.open(self.random.choice(("client", "gateway")), kept=self.random.randint(1, 8))

    def some_nonsense(self):
        last = self.fold.steps[-1].frame
        number = self.next_number(self.client)
        self.random.choice(
            (
                lambda: self.fold.apply(last),
                lambda: self.send_numbered((self.client, number + 5, hot(c.cancel, ALICE, 1))),
                lambda: self.send_numbered((self.client, max(1, number - 2), hot(c.cancel, ALICE, 1))),
                lambda: self.send((self.operator, b"\xc1")),
                lambda: self.send_numbered(frame_number=10**6),
            )
        )()

    def some_liquidations(self):
        """Replicas vote on accounts below maintenance; what is under liquidation gets a stage."""
        for account in CLIENTS:
            status, version = (int(self.state.accounts[account, k]) for k in (Account.STATUS, Account.VERSION))
            if status == Status.BREACH_PENDING:
                for replica in self.random.sample(range(3), 2):
                    self.send((self.replicas[replica], c.CastVote(self._vote(replica, account, version))))
            elif status == Status.LIQUIDATING:
                positions = [(item, -held) for item, (held, _) in self.rows(account).items() if item in CONTRACTS]
                self.send((self.replicas[0], c.Liquidate(account, version, tuple(positions[:1]))))
            elif status in (Status.FROZEN, Status.ASIDE):
                self.send((self.operator, c.ReleaseAccount(account)))
        self.send((self.operator, c.Deposit(fold_driver.INSURANCE, USD, RICH)))

    def _vote(self, replica, account, version):
        mark = self.fold.machine.registry.marks[-1]
        rows = np.zeros(1, votes.ROW)
        rows["account"], rows["account_version"] = account, version
        word = self.random.choice((1, 1, 1, 1, int(votes.Verdict.BAND)))
        rows["verdict"] = word
        # Numbers of both engines that give the verdict.
        rows["a_maintenance"] = rows["b_maintenance"] = 100.0 if word == votes.Verdict.BELOW else 0.0
        statement = votes.Vote(replica, 1, mark.position, mark.chain, bytes(32), mark.price_id, self.fold.time, rows)
        return votes.sign_vote(statement, KEYS[replica])
