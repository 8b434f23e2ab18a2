"""A hundred deaths by kill -9, at random moments and at the two edges of an append: nothing lost, nothing twice."""

import random
import time

import numpy as np
import pytest
from life_process import LOG_NAME, Phase
from lives import START, Client, Market, Server

from holdfast.core.fold import Fold
from holdfast.log.sqlite import SqliteLog
from holdfast.stress.replay.audit import audit
from holdfast.stress.replay.journal import compare, read_journal

DEATHS = 100
PLANTED = 18
"""Deaths planted at each edge of an append; the others come when they come."""
OPENINGS = 10
DELAY_S_MAXIMUM = 0.020
LIVES_MAXIMUM = 3 * DEATHS
SEED = 20_200_312


@pytest.fixture
def client(tmp_path):
    server = Server(tmp_path)
    made = Client(tmp_path, server)
    yield made
    made.close()
    server.close()


def market_on(client):
    """A venue with money in it."""
    market = Market(SEED)
    operator = client.open("operator")
    assert not client.send(market.definitions(operator))["reason"].any()
    clients = [client.open("client"), client.open("client")]
    market.open(operator, clients, client.open("source"), client.open("replica"))
    assert not client.send(market.batch(trades=0, funds=50 * 10**8))["reason"].any()
    return market


def after(delay_s, phase=Phase.ASKED):
    """Wait until a life has come to a phase, and then a while; not once it has answered."""

    def wait(life, place):
        while not phase <= place.phase <= Phase.FOLDED and not life.answers_within(0):
            pass
        time.sleep(delay_s)

    return wait


def ways_to_die(chance):
    """Without end: at the edges of an append as often as planned, else at a random moment."""
    planted = [Phase.FRAMED, Phase.APPENDED] * PLANTED
    chance.shuffle(planted)
    while True:
        if planted and chance.random() < 0.5:
            yield planted.pop()
        else:
            delay_s = chance.uniform(0, DELAY_S_MAXIMUM)
            yield chance.choice((after(delay_s), after(delay_s / 10), after(delay_s / 10, Phase.FOLDING)))


@pytest.mark.criterion("RPL-3", "RPL-7", "RPL-8")
def test_a_hundred_deaths(client, tmp_path):
    market, chance = market_on(client), random.Random(SEED)
    ways = ways_to_die(chance)
    while sum(client.deaths.values()) < DEATHS:
        assert client.lives < LIVES_MAXIMUM, f"most engines were idle when they were killed: {client.deaths}"
        client.send_and_kill(market.batch(), next(ways))
        if client.lives % 4 == 0:
            outcomes = client.send(market.batch(trades=10), snapshot=True)
            assert (outcomes["repeated"] == 0).all()
        if client.lives % (DEATHS // OPENINGS) == 0:
            client.kill_while_opening(chance.uniform(0, DELAY_S_MAXIMUM / 4))
    client.send(market.batch(), root=True)
    last_root = client.root
    check_deaths(client)
    check_nothing_lost(client, tmp_path, last_root)


def check_deaths(client):
    deaths = client.deaths
    print({phase.name: count for phase, count in deaths.items()}, "idle", client.idle, "lives", client.lives)  # noqa: T201
    before_append = deaths[Phase.ASKED] + deaths[Phase.FRAMED]
    unanswered = deaths[Phase.APPENDED] + deaths[Phase.FOLDING] + deaths[Phase.FOLDED]
    assert before_append + deaths[Phase.APPENDING] + unanswered + deaths[Phase.OPENING] >= DEATHS
    assert deaths[Phase.IDLE] == deaths[Phase.SNAPSHOT] == 0
    assert deaths[Phase.FRAMED] >= PLANTED
    assert deaths[Phase.APPENDED] >= PLANTED
    assert deaths[Phase.FOLDING] >= DEATHS // 10
    assert deaths[Phase.OPENING] <= DEATHS // 2


def check_nothing_lost(client, folder, last_root):
    """The journal against a fold of the whole log from position 0, without snapshots."""
    client.stop()
    found = audit(folder, START, 1, set())
    executed = np.load(folder / "executed.npy")
    findings = compare(read_journal(folder / "journal.bin"), executed)
    assert findings.acknowledged > DEATHS * 1_000
    assert (findings.lost, findings.twice, findings.unknown) == (0, 0, 0)
    assert found.root == last_root
    assert found.conserved
    assert (executed["reason"] == 0).mean() > 0.5
    assert found.refused > DEATHS
    with SqliteLog(folder / LOG_NAME) as log:
        assert log.verify() == client.position
        fold = Fold()
        for _, frame in log.read(0):
            fold.apply(frame)
    assert fold.root().hex() == last_root
