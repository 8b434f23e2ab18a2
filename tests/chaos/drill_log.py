"""Logs of a small venue with three replicas whose keys are known, so that their words can be forged."""

import contextlib

import numpy as np

from holdfast.chaos.second_engine.error import planted
from holdfast.chaos.second_engine.judge import Judge
from holdfast.chaos.second_engine.venue import BITCOIN, FIRST_CLIENT, PRICE_UNIT, make_venue
from holdfast.core.fold import Fold
from holdfast.core.margins import figures_of
from holdfast.core.state import Account
from holdfast.domain import commands as c
from holdfast.domain.frames import encode_frame
from holdfast.domain.signatures import public_key_of
from holdfast.replica.decisions import Finding, root_votes, votes_for

KEYS = [bytes([number]) * 32 for number in range(3)]
REPLICAS = [c.DefineReplica(name, public_key_of(key), name) for name, key in zip("abc", KEYS, strict=True)]
NOW = 1_790_000_000 * 10**9


class Parrot:
    """A second engine that says what the first one says."""

    def finding(self, fold, account):
        row = fold.machine.state.accounts[account]
        figures = figures_of(fold.machine.state, fold.machine.marked.arrays, np.array([account], np.int64))[0]
        numbers = tuple(figures.tolist())
        return Finding(int(row[Account.VERSION]), fold.price_id, numbers, numbers)

    def is_awaited(self, now):
        return False


class ForgedLog:
    """A log that grows by what a test says; `fold` is what its replicas have."""

    def __init__(self, accounts=200, seed=1, spare=0.1):
        self.venue = make_venue(accounts, seed, REPLICAS, NOW, spare=spare)
        self.frames, self.fold = [], Fold()
        for frame in self.venue.frames:
            self._append(frame)
        self.begin = len(self.frames)
        self.is_wrong, self._sequence, self._numbers = False, self.venue.sequence, {}
        self.price = self.venue.price
        self.source = self.open("source", 0)
        self.voters = [self.open("replica", number) for number in range(3)]

    @property
    def position(self):
        return len(self.frames)

    def judged(self, *windows):
        judge = Judge(windows)
        judge.follow(self.frames)
        return judge

    def open(self, role, subject):
        return int(self.send(0, c.OpenSession(role, subject)).outcomes[0]["made"])

    def fall(self, share):
        self.price *= 1.0 - share
        self._sequence += 1
        quote = c.quote(
            self.source, self._number(self.source), BITCOIN, round(self.price * PRICE_UNIT), NOW, self._sequence
        )
        applied = self._framed(quote, b"")
        assert applied.marks
        return applied

    def vote(self, number, second=None):
        votes = votes_for(self.fold, number, KEYS[number], second)
        return [self.send(self.voters[number], vote) for vote in votes]

    def vote_on_roots(self):
        for number in range(3):
            for vote in root_votes(self.fold, number, KEYS[number]):
                self.send(self.voters[number], vote)

    def send(self, session, command):
        applied = self._framed(*c.cold_records([command], session, self._number(session)))
        assert applied.outcomes[0]["reason"] == 0, applied
        return applied

    def figures(self, count):
        """Equity, initial and maintenance margin of the first clients by the fold as it is."""
        accounts = np.arange(FIRST_CLIENT, FIRST_CLIENT + count, dtype=np.int64)
        return figures_of(self.fold.machine.state, self.fold.machine.marked.arrays, accounts)

    def _number(self, session):
        self._numbers[session] = self._numbers.get(session, 0) + 1
        return self._numbers[session] if session else 0

    def _framed(self, records, blob):
        return self._append(encode_frame(0, self.position + 1, records, blob))

    def _append(self, frame):
        self.frames.append(frame)
        with planted(lambda: True) if getattr(self, "is_wrong", False) else contextlib.nullcontext():
            return self.fold.apply(frame)
