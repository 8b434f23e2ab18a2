"""The client of engines that are killed: a small venue's commands, its journal, and one life after the other.

A batch that was not answered is sent again under the same numbers to the next life.
"""

import contextlib
import os
import random
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
from life_process import Batch, Phase, Place

from holdfast.core.state import KEPT_MAXIMUM, SYSTEM_ACCOUNTS
from holdfast.domain import commands as c
from holdfast.domain.frames import RECORD
from holdfast.domain.outcomes import OUTCOME
from holdfast.domain.reasons import Reason
from holdfast.domain.signatures import public_key_of
from holdfast.margin.presets import preset
from holdfast.stress.replay.journal import Journal, cold_entries, hot_entries
from holdfast.stress.replay.protocol import Done, GoneError, Ready, read, write

SCRIPT = Path(__file__).with_name("life_process.py")
START = 1_583_971_200 * 10**9
SECOND = 10**9
USD, BTC, PERPETUAL = range(3)
ACCOUNTS = 8
TRADES = 3_000
"""Of each of two sessions in a batch, so that a batch has several frames and takes longer to fold than to append."""


class Server:
    """The process that forks lives."""

    def __init__(self, folder):
        self.control, theirs = socket.socketpair()
        command = [sys.executable, str(SCRIPT), "serve", str(theirs.fileno()), str(folder)]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        self._lines = self.control.makefile("rb")
        assert self.number() == 0, "the server did not start"

    def number(self):
        return int(self._lines.readline() or -1)

    def close(self):
        self._lines.close()
        self.control.close()
        assert self._process.wait(60) == 0


class Life:
    """One engine, from its opening to its death."""

    def __init__(self, server):
        questions, self._questions = os.pipe()
        self.answers, answers = os.pipe()
        socket.send_fds(server.control, [b"x"], [questions, answers])
        os.close(questions)
        os.close(answers)
        self._server = server
        self.questions, self.answers = os.fdopen(self._questions, "wb"), os.fdopen(self.answers, "rb")
        self.process = server.number()

    def ready(self):
        return read(self.answers, Ready)

    def ask(self, batch):
        write(self.questions, batch)

    def answer(self):
        return read(self.answers, Done)

    def answers_within(self, seconds):
        return bool(select.select([self.answers], [], [], seconds)[0])

    def kill(self):
        os.kill(self.process, signal.SIGKILL)
        self.bury()

    def bury(self):
        """Wait until it is gone, locks and all; it must have been killed."""
        status = self._server.number()
        for pipe in (self.questions, self.answers):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        assert os.WIFSIGNALED(status), f"the engine ended by itself: status {status}"
        assert os.WTERMSIG(status) == signal.SIGKILL


class Market:
    """Batches of a small venue: trades of two sessions, transfers, deposits, quotes, ticks and the marks they cause."""

    def __init__(self, seed):
        self._chance = random.Random(seed)
        self._next = {}
        self._time = START
        self._quoted = 0
        self._price = 8_000

    def number(self, session, count=1):
        first = self._next.get(session, 1)
        self._next[session] = first + count
        return first

    def cold(self, session, command):
        return session, self.number(session) if session else 0, c.encode_cold(command)

    def definitions(self, operator):
        sent = (
            c.DefineReplica("only", public_key_of(bytes(32))),
            c.DefineSource("prices"),
            c.DefineAsset("USD", 6),
            c.DefineAsset("BTC", 8),
            c.DefineInstrument("BTC-PERPETUAL", "10", 2, fee_ppm=100),
            c.DefineModel("portfolio", preset("portfolio")),
            c.SetRules(checkpoint_frames=5, mark_interval=2 * SECOND, sources_minimum=1),
            *(c.OpenAccount(0) for _ in range(ACCOUNTS)),
        )
        return [self.cold(operator, command) for command in sent]

    def open(self, operator, clients, source, replica):
        self._operator, self._clients, self._source, self._replica = operator, clients, source, replica

    def batch(self, *, trades=TRADES, funds=0):
        """Parts of a batch; `funds`: cents of bitcoin to deposit to each account."""
        self._time += SECOND
        parts = [self.cold(self._replica, c.Tick(0, self._time)), self._quotes()]
        everybody = range(SYSTEM_ACCOUNTS, SYSTEM_ACCOUNTS + ACCOUNTS)
        if funds:
            parts.append(self.cold(self._operator, c.Mark(BTC)))
            parts += [self.cold(self._operator, c.Deposit(account, BTC, funds)) for account in everybody]
        lucky = self._chance.choice(everybody)
        for client in self._clients:
            if trades:
                parts.append(self._trades(client, trades))
            parts.append(self.cold(self._operator, c.Deposit(lucky, BTC, self._chance.randint(1, 10**6))))
        return parts

    def _quotes(self):
        self._price = min(max(self._price + self._chance.randint(-40, 40), 6_000), 10_000)
        records = []
        for item, scale in ((BTC, 10**8), (PERPETUAL, 100)):
            self._quoted += 1
            number = self.number(self._source)
            records.append(c.quote(self._source, number, item, self._price * scale, self._time, self._quoted))
        return np.concatenate(records).tobytes()

    def _trades(self, client, count):
        chance = np.random.default_rng(self._chance.getrandbits(64))
        one = c.trade(client, 1, SYSTEM_ACCOUNTS, SYSTEM_ACCOUNTS + 1, PERPETUAL, 1, 1)
        records = np.repeat(one, count)
        first = self.number(client, count)
        records["number"] = np.arange(first, first + count, dtype=np.uint64)
        records["account"] = chance.integers(0, ACCOUNTS, count) + SYSTEM_ACCOUNTS
        other = records["account"].astype(np.int64) - SYSTEM_ACCOUNTS + chance.integers(1, ACCOUNTS, count)
        records["other"] = other % ACCOUNTS + SYSTEM_ACCOUNTS
        # Some are too large for anybody's margin, so that refusals are among the answers.
        records["quantity"] = np.where(chance.random(count) < 0.02, 10**8, chance.integers(1, 40, count))
        records["price"] = self._price * 100 + chance.integers(-500, 500, count)
        return records.tobytes()


def entries_of(parts):
    """Journal entries of a batch, in its order."""
    made = []
    for part in parts:
        made.append(hot_entries(np.frombuffer(part, RECORD)) if isinstance(part, bytes) else cold_entries([part]))
    return np.concatenate(made)


class Client:
    """Sends batches to one life after the other.

    Attributes:
        deaths: How many lives ended in which phase with a batch in flight.
        idle: Lives that were killed after they had answered.
        position: Of the log, as last acknowledged.
    """

    def __init__(self, folder, server):
        self._server, self._place = server, Place(folder)
        self._journal = Journal(folder / "journal.bin")
        self.deaths = dict.fromkeys(Phase, 0)
        self.idle = 0
        self.position, self.lives = 0, 0
        self.life = None
        self.root = ""
        self.born()

    def born(self):
        """Start an engine; what it says when it is open."""
        self.life = Life(self._server)
        self.lives += 1
        return self.life.ready()

    def open(self, role, subject=0):
        """A session's id; it keeps as many outcomes as a batch has commands of it. Openings cannot be sent again."""
        self.life.ask(Batch([(0, 0, c.encode_cold(c.OpenSession(role, subject, KEPT_MAXIMUM)))]))
        done = self.life.answer()
        self.position = done.position
        (outcome,) = np.frombuffer(done.outcomes, OUTCOME)
        assert outcome["reason"] == Reason.ACCEPTED
        return int(outcome["made"])

    def send(self, parts, **how):
        """Send a batch and journal what became of it; the outcomes."""
        entries = entries_of(parts)
        self._journal.sent(entries)
        self.life.ask(Batch(parts, **how))
        return self._acknowledged(entries)

    def _acknowledged(self, entries):
        done = self.life.answer()
        outcomes = np.frombuffer(done.outcomes, OUTCOME)
        self._journal.acknowledged(entries, outcomes)
        self.position = done.position
        self.root = done.root
        return outcomes

    def send_and_kill(self, parts, how):
        """Send a batch, let the engine die, and send the batch to the next one.

        Args:
            parts: Of the batch.
            how: The phase in which it is to kill itself, or what waits, given life and place, until it is killed.
        """
        entries = entries_of(parts)
        self._journal.sent(entries)
        die = how if isinstance(how, Phase) else None
        self.life.ask(Batch(parts, die))
        if die is None:
            how(self.life, self._place)
            os.kill(self.life.process, signal.SIGKILL)
        answered = self._last_answer(entries)
        self.life.bury()
        phase = self._place.phase
        assert die in (None, phase), "it did not die where it was told to"
        before = self.position
        ready = self.born()
        if answered:
            self.idle += 1
            assert ready.position == before
            return
        self.deaths[phase] += 1
        self._check_position(phase, before, ready.position)
        self.life.ask(Batch(parts))
        self._acknowledged(entries)

    def _last_answer(self, entries):
        """Whether the dying engine's answer came out whole; then it counts, as it does for any client."""
        try:
            self._acknowledged(entries)
        except GoneError:
            return False
        return True

    @staticmethod
    def _check_position(phase, before, now):
        """What the next life finds agrees with where the last one ended."""
        if phase < Phase.APPENDING:
            assert now == before, f"{phase.name}: the log grew from {before} to {now}"
        elif phase > Phase.APPENDING:
            assert now > before, f"{phase.name}: a durable group is gone"

    def kill_while_opening(self, delay_s):
        """Kill a life that has not said that it is ready, and start another."""
        self.life.kill()
        self.life = Life(self._server)
        self.lives += 1
        self.life.answers_within(delay_s)
        self.life.kill()
        self.deaths[Phase.OPENING] += self._place.phase is Phase.OPENING
        assert self.born().position == self.position

    def stop(self):
        """Let nothing live any more."""
        if self.life is not None:
            self.life.kill()
            self.life = None

    def close(self):
        self.stop()
        self._journal.__exit__()
