"""A small world around a client's line: a log with sessions, replicas that die and hang, and a network that loses.

It knows nothing of `holdfast.client` but the line that it drives. A command carries an identity in its record's
`quantity`, which the log gives back in the outcome's `made`; so it is seen whether an outcome belongs to its command.
"""

import heapq
import itertools
from collections import deque

import numpy as np

from holdfast.domain.frames import RECORD, RecordKind
from holdfast.domain.messages import Busy, Refused, Write, batch_of, decode_request, encode_message, written_of
from holdfast.domain.outcomes import OUTCOME, command_id
from holdfast.domain.reasons import Reason

KEPT = 6
POISON = 1 << 40
"""Identities from here on are of commands that one replica may refuse and another take, as with names."""


def commands(identities):
    records = np.zeros(len(identities), RECORD)
    records["kind"] = RecordKind.TRADE
    records["quantity"] = identities
    return records


class ModelLog:
    """Sessions as specs/sessions.md has them, in the plainest way."""

    def __init__(self):
        self.position = 0
        self.next_numbers = {}
        self.kept = {}
        self.applied = []

    def append(self, records, blob):
        outcomes = np.zeros(len(records), OUTCOME)
        for index, record in enumerate(records):
            self._apply(record, blob, command_id(self.position, index), outcomes[index])
        self.position += 1
        return outcomes

    def _apply(self, record, blob, command, outcome):
        outcome["command"] = command
        offset, length = int(record["blob_offset"]), int(record["blob_length"])
        if record["kind"] == RecordKind.COLD and b"open-session" in blob[offset : offset + length]:
            self.next_numbers[command], self.kept[command] = 1, {}
            outcome["made"] = command
            return
        session, number = int(record["session"]), int(record["number"])
        expected = self.next_numbers.get(session)
        if expected is None:
            outcome["reason"] = Reason.SESSION_UNKNOWN
        elif number > expected:
            outcome["reason"], outcome["limit"] = Reason.SESSION_GAP, expected
        elif number < expected:
            first = self.kept[session].get(number)
            outcome["repeated"] = 1
            if first is None:
                outcome["reason"] = Reason.ALREADY_APPLIED
            else:
                outcome["reason"], outcome["made"], outcome["command"] = first
        else:
            reason, made = Reason.MALFORMED, 0
            if record["kind"] != RecordKind.COLD:
                reason, made = Reason.ACCEPTED, int(record["quantity"])
                self.applied.append(made)
            outcome["reason"], outcome["made"] = reason, made
            self.next_numbers[session] = number + 1
            self.kept[session][number] = (int(reason), made, command)
            self.kept[session].pop(number - KEPT, None)

    def evict(self, session):
        self.next_numbers.pop(session, None)


class World:
    """A line, replicas and a network under one clock and one source of chance."""

    def __init__(self, line, chance, replicas):
        self.line, self.chance, self.names = line, chance, replicas
        self.now = 0.0
        self.log = ModelLog()
        self.state = dict.fromkeys(replicas, "up")
        self.outboxes = {name: deque() for name in replicas}
        self.is_healed = False
        self.loss = 0.15
        self.events = []
        self.counter = itertools.count()
        self.arrivals = {}
        self.results = []
        self.offered = []

    def at(self, delay, action):
        heapq.heappush(self.events, (self.now + delay, next(self.counter), action))

    def step(self):
        """Let the line do what is due, then the next thing happen."""
        for action in self.line.turn(self.now):
            self.send(action)
        self.results += self.line.results()
        until = self.line.next_at(self.now)
        if self.events and self.events[0][0] <= until:
            self.now, _, action = heapq.heappop(self.events)
            action()
        else:
            self.now = max(until, self.now + 1e-6)

    def run(self, seconds):
        until = self.now + seconds
        self.at(seconds, lambda: None)
        while self.now < until:
            self.step()

    def send(self, action):
        replica = action.replica
        if not hasattr(action, "payload"):
            self.at(self.delay(), lambda: self.answer_probe(replica))
            return
        if self.state[replica] == "dead":
            self.at(0.001, lambda: self.line.unsent(action.attempt, self.now))
            return
        if self.chance.random() < self.loss and not self.is_healed:
            if self.chance.random() < 0.3:
                self.at(self.delay(), lambda: self.line.lost(action.attempt, self.now))
            return
        # One connection keeps its order.
        key = (replica, action.path)
        when = max(self.now + self.delay(), self.arrivals.get(key, 0.0) + 1e-6)
        self.arrivals[key] = when
        self.at(when - self.now, lambda: self.arrive(replica, action))

    def delay(self):
        return self.chance.choice((0.001, 0.002, 0.01)) if self.is_healed else self.chance.choice((0.001, 0.02, 0.7))

    def answer_probe(self, replica):
        if self.state[replica] == "dead":
            self.line.probed(replica, self.now, serving=False)
        elif self.state[replica] != "hung":
            self.line.probed(replica, self.now, serving=self.state[replica] == "up")

    def reply(self, action, message):
        if self.is_healed or self.chance.random() >= self.loss:
            self.at(self.delay(), lambda: self.line.replied(action.attempt, message, self.now))

    def arrive(self, replica, action):
        if self.state[replica] == "dead":
            return
        if self.state[replica] == "hung":
            self.at(0.5, lambda: self.arrive(replica, action))
            return
        request = decode_request(action.payload)
        assert isinstance(request, Write)
        assert encode_message(request) == action.payload
        batch = batch_of(request)
        if self.state[replica] == "busy":
            self.reply(action, Busy(20, "model"))
        elif self.state[replica] == "elsewhere":
            self.reply(action, Refused("elsewhere", "replica", "model", "ask another"))
        elif (batch.records["quantity"] >= POISON).any() and self.chance.random() < 0.7:
            self.reply(action, Refused("malformed", "records", "poison", "send something else"))
        else:
            self.outboxes[replica].append((action, batch, request.every))
            self.at(self.delay(), lambda: self.publish(replica))

    def publish(self, replica):
        """The next batch of a replica's line reaches the log, at times in two frames."""
        if self.state[replica] == "hung":
            self.at(0.5, lambda: self.publish(replica))
            return
        if not self.outboxes[replica]:
            return
        action, batch, every = self.outboxes[replica].popleft()
        cut = len(batch.records) // 2 if self.chance.random() < 0.3 else 0
        first = self.log.append(batch.records[:cut], batch.blob) if cut else None
        if cut and not self.is_healed and self.chance.random() < 0.5:
            self.work()  # Another replica's frames come between.
        second = self.log.append(batch.records[cut:], batch.blob)
        outcomes = second if first is None else np.concatenate([first, second])
        if self.state[replica] != "dead":
            self.reply(action, written_of(self.log.position - 1, outcomes, {}, (), every=every))

    def work(self):
        other = self.chance.choice(self.names)
        if self.outboxes[other] and self.state[other] == "up":
            action, batch, every = self.outboxes[other].popleft()
            outcomes = self.log.append(batch.records, batch.blob)
            self.reply(action, written_of(self.log.position - 1, outcomes, {}, (), every=every))

    def disturb(self):
        """Something happens to a replica. The dead leave what they had not published undone."""
        if self.is_healed:
            return
        name = self.chance.choice(self.names)
        state = self.chance.choice(("up", "up", "up", "hung", "dead", "busy", "elsewhere"))
        if state == "dead":
            self.outboxes[name].clear()
        self.state[name] = state
        if self.chance.random() < 0.03 and self.log.next_numbers:
            self.log.evict(max(self.log.next_numbers))

    def heal(self):
        """From here on nothing is lost, and a majority is there."""
        self.is_healed = True
        for name in self.names:
            self.state[name] = "up"
        self.state[self.chance.choice(self.names)] = self.chance.choice(("up", "up", "hung", "dead", "elsewhere"))
