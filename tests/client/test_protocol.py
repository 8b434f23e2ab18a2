"""A client's line in a small world where everything goes wrong: nothing lost, nothing twice, nothing reordered."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_world import POISON, World, commands

from holdfast.client.batches import Group
from holdfast.client.contents import RecordsContent
from holdfast.client.protocol import WriteLine
from holdfast.client.results import Done, Fate, Settings
from holdfast.domain.commands import OpenSession
from holdfast.domain.errors import HoldfastError
from holdfast.domain.reasons import Reason

REPLICAS = ("a", "b", "c")
CERTAIN = (Fate.BUSY, Fate.REFUSED, Fate.UNREACHABLE, Fate.DROPPED)


class BrokenError(AssertionError):
    """A promise of the line does not hold."""


def life(seed, line_class=WriteLine):
    """A client's life in a world that is healed in the end; what became of everything."""
    chance = random.Random(seed)
    line = line_class(REPLICAS, OpenSession("client"), Settings(timeout_s=8.0, window_count=chance.choice((1, 3, 64))))
    world = World(line, chance, REPLICAS)
    identity = 1
    for _ in range(chance.randrange(5, 25)):
        count = chance.choice((1, 1, 2, 5))
        poison = POISON if chance.random() < 0.1 else 0
        identities = [poison + identity + n for n in range(count)]
        identity += count
        content = RecordsContent(commands(identities), every=chance.random() < 0.5)
        world.offered.append(identities)
        line.offer(content, identities, world.now, chance.choice((None, None, Group())))
        if chance.random() < 0.4:
            world.at(chance.choice((0.0, 0.0005, 0.01, 0.3)), world.disturb)
        if chance.random() < 0.7:
            world.run(chance.choice((0.001, 0.05, 0.5, 3.0)))
    world.heal()
    world.run(10.0)
    healed = len(world.offered)
    for n in range(3):
        identities = [identity + 10 * n, identity + 10 * n + 1]
        world.offered.append(identities)
        line.offer(RecordsContent(commands(identities)), identities, world.now)
    world.run(20.0)
    return world, healed


def check(world, healed):
    """What CLI-1 to CLI-5 promise."""
    log = world.log.applied
    results = {id(result.batch.token): result for result in world.results}
    if len(log) != len(set(log)):
        raise BrokenError("a command was applied twice")
    acknowledged = []
    for place, identities in enumerate(world.offered):
        result = results.get(id(identities))
        if result is None:
            raise BrokenError("a batch is never answered")
        if isinstance(result, Done):
            acknowledged += told(result.batch, identities, log)
            continue
        if place >= healed:
            raise BrokenError(f"after healing a batch failed: {result.fate} {result.problem}")
        if result.fate in CERTAIN and set(identities) & set(log):
            raise BrokenError(f"certainly not done was done: {result.fate} {result.problem}")
    places = {one: place for place, one in enumerate(log)}
    in_log = [places[one] for one in acknowledged]
    if in_log != sorted(in_log):
        raise BrokenError("acknowledged commands are out of order")
    if len(results) != len(world.results):
        raise BrokenError("a batch is answered twice")


def told(batch, identities, log):
    """The identities of a batch that it says were applied; each outcome is to be its command's own."""
    out = []
    for identity, outcome in zip(identities, batch.outcomes, strict=True):
        if outcome["reason"] == Reason.ACCEPTED and outcome["made"] not in (0, identity):
            raise BrokenError("an outcome of another command was given")
        if outcome["reason"] in (Reason.ACCEPTED, Reason.ALREADY_APPLIED):
            if identity not in log:
                raise BrokenError("a command was acknowledged that the log has not")
            out.append(identity)
        elif identity in log:
            raise BrokenError("a command that the log has was said to be refused")
    return out


@pytest.mark.criterion("CLI-1", "CLI-2", "CLI-3", "CLI-4", "CLI-5", "CLI-6")
@settings(max_examples=150)
@given(st.integers(0, 2**32))
def test_whatever_happens_acknowledged_is_applied_once_and_in_order(seed):
    check(*life(seed))


class NewNumbers(WriteLine):
    """Sends again what is open under new numbers."""

    def _sends(self, now):
        for batch in self._window:
            if batch.open and batch is not self._opening and batch.round != self._rounds.number:
                batch.first, self._next = self._next, self._next + batch.count
                batch.payload = batch.content.payload(self._session, batch.first, -1)
        yield from super()._sends(now)


class SilenceIsFailure(WriteLine):
    """Counts what was not answered as not done."""

    def _leave(self, why, **more):
        for batch in self._window:
            self._forget(batch)
        super()._leave(why, **more)


class GapIsFinal(WriteLine):
    """Takes a command that was ahead of its turn for refused."""

    def _answered(self, attempt, reply, said, now):
        if attempt.batch is not self._opening and (said.reasons == Reason.SESSION_GAP).any():
            attempt.batch.learn(reply, said)
            attempt.batch.close(Reason.SESSION_GAP)
            self._window.remove(attempt.batch)
            self._resolve(attempt.batch, Done(attempt.batch, self._session))
        else:
            super()._answered(attempt, reply, said, now)


class HeadLast(WriteLine):
    """Gives up the order when it fails over."""

    def _sends(self, now):
        if (
            self._rounds.begun(now)
            and self._rounds.number % 2
            and all(b.round < self._rounds.number for b in self._window)
        ):
            self._window.sort(key=lambda batch: -batch.first)
            for batch in self._window:
                if batch is not self._opening:
                    batch.first, self._next = self._next, self._next + batch.count
                    batch.payload = batch.content.payload(self._session, batch.first, -1)
        yield from super()._sends(now)


class NumbersGivenBackTooSoon(WriteLine):
    """Gives numbers back although a later batch may still arrive under them."""

    def _is_untouched_from(self, batch):
        return batch.untouched

    def _requeue(self, batches):
        for batch in batches:
            self._forget(batch)
        super()._requeue(batches)


class PlugIsRefusal(WriteLine):
    """Says that a refused batch was not done, although an earlier attempt is open."""

    def _refused(self, attempt, reply, now):
        if attempt.batch is not self._opening:
            self._forget(attempt.batch)
        super()._refused(attempt, reply, now)


class WaitsForEver(WriteLine):
    """Stays for ever at the replica that it began with."""

    def turn(self, now):
        self._rounds._next = lambda now, instant: self._rounds.again(now + 0.1)
        return super().turn(now)


BUGS = (NewNumbers, SilenceIsFailure, GapIsFinal, HeadLast, NumbersGivenBackTooSoon, PlugIsRefusal, WaitsForEver)


BEGIN = {NumbersGivenBackTooSoon: 600}
"""Where to begin to look for a bug that shows in one life of some hundred."""


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_planted_bugs_are_found(bug):
    for seed in range(BEGIN.get(bug, 0), 3_000):
        try:
            check(*life(seed, bug))
        except (BrokenError, HoldfastError, ValueError):
            return
    raise AssertionError("3,000 lives did not show the bug")
