"""Second engines beside real engines: a liquidation and a withdrawal by both, planted errors, deaths."""

import asyncio
import functools
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from holdfast.cluster import operations
from holdfast.cluster.engines import engine_process
from holdfast.cluster.files import make_cluster
from holdfast.cluster.layout import Layout
from holdfast.cluster.plan import Programs
from holdfast.core.fold import Fold
from holdfast.domain import commands as c
from holdfast.domain.messages import Found
from holdfast.log.sqlite import SqliteLog
from holdfast.replica.folder import LOG_NAME

pytest.importorskip("nats")
from near import margin_near

from holdfast.client.asynchronous import AsyncClient
from holdfast.replica.witnessing.child import DEGRADED

READY_S = 240.0
WRONG = (sys.executable, str(Path(__file__).with_name("wrong_engine.py")))
PERPETUAL = "BTC_USD-PERPETUAL"


class Venue:
    """A running cluster with a weak account, long one coin on 3,000 dollars, and its market maker."""

    def __init__(self, folder):
        self.folder, self.place = folder, Layout(folder)

    async def __aenter__(self):
        self.operator = await AsyncClient(self.place.client("operator")).open()
        self.client = await AsyncClient(self.place.client("client")).open()
        await self.operator.send(
            [
                {"command": "define_asset", "name": "USD"},
                {"command": "define_asset", "name": "BTC"},
                {"command": "define_model", "name": "portfolio"},
            ]
        )
        await self.operator.call("define_instrument", name=PERPETUAL, lot="0.001")
        await self.operator.submit_cold([c.DefineSource("s")])
        for name, dollars in (("weak", 3_000), ("maker", 1_000_000)):
            await self.operator.call("open_account", name=name)
            await self.operator.call("deposit", account=name, asset="USD", amount=dollars)
        self.source = await AsyncClient(self.place.client("source")).open()
        self.sequence = 0
        return self

    async def __aexit__(self, *_):
        for client in (self.operator, self.client, self.source):
            await client.close()

    async def price(self, dollars):
        self.sequence += 1
        quote = c.quote(0, 0, 1, int(dollars * 10**8), time.time_ns() - 10**9, self.sequence)
        receipt = await self.source.submit(quote)
        assert receipt.outcomes["reason"].tolist() == [0]

    async def trade(self):
        await self.price(10_000)
        await self.until(lambda: self.margin("weak"), lambda found: found["price_id"] > 0)
        for command in (
            {"command": "trade", "account": "weak", "other": "maker", "quantity": 1, "price": 10_000},
            {"command": "order", "account": "maker", "quantity": 1, "price": 8_500},
        ):
            (outcome,) = await self.client.send([{**command, "instrument": PERPETUAL}])
            assert outcome.accepted, outcome

    async def margin(self, account):
        return (await self.client.margin(account)).content

    async def until(self, ask, enough, seconds=30.0):
        deadline = time.monotonic() + seconds
        while True:
            found = await ask()
            if enough(found) or time.monotonic() > deadline:
                assert enough(found), found
                return found
            await asyncio.sleep(0.2)

    async def witness(self, engine):
        """What an engine says of its second engine."""
        status = await self.operator.status(engine)
        return {} if status is None else status["witness"]

    def folded(self, site):
        """The state by the copy of the log at a site."""
        fold = Fold()
        with SqliteLog(self.place.engine(site) / LOG_NAME, writable=False) as copy:
            for _, frame in copy.read(0):
                fold.apply(frame)
        return fold


@pytest.fixture
def venue(tmp_path, request):
    """A cluster; the parameter names the regions whose engines have the planted error."""
    folder, wrong = tmp_path / "cluster", getattr(request, "param", "")
    programs = Programs(engine=WRONG) if wrong else Programs()
    plan = make_cluster(folder, ("a", "b", "c"), programs=programs)
    for site in plan.sites:
        if site.region in wrong:
            (Layout(folder).engine(site) / "wrong").touch()
    asyncio.run(operations.up(folder, ready_s=READY_S))
    yield Venue(folder), plan
    asyncio.run(operations.down(folder))


@pytest.mark.criterion("NOD-19", "NOD-21", "NOD-22", "QRM-4")
def test_both_engines_liquidate_and_release_and_one_outlives_the_other(venue):
    venue, plan = venue
    first = plan.sites[0]

    async def live():
        async with venue:
            await venue.trade()
            asked = await venue.client.call("withdraw", account="maker", asset="USD", amount=5, destination="bank")
            assert asked.accepted
            await venue.price(8_600)  # Below maintenance margin by a twentieth: not enough without second engines.
            await venue.until(
                lambda: venue.margin("weak"), lambda found: found["status"] == "healthy" and found["equity"] < 1_700
            )
            await venue.until(
                lambda: venue.client.account("withdrawals"), lambda found: not found.content["balances"].get("USD")
            )
            for site in plan.sites:
                found = await venue.until(functools.partial(venue.witness, site.engine), lambda seen: seen["compared"])
                assert (found["absent"], found["differing"], found["contradicted"]) == ("", 0, [])
            # A second engine dies: another takes its place.
            before = await venue.witness(first.engine)
            os.kill(before["pid"], signal.SIGKILL)
            await venue.until(lambda: venue.witness(first.engine), lambda found: found["absent"])
            after = await venue.until(
                lambda: venue.witness(first.engine), lambda found: found["compared"] > before["compared"]
            )
            assert after["pid"] not in (None, before["pid"])
            # The engine dies, and nobody starts it again: its second engine answers margins.
            expected = await venue.margin("weak")
            supervised = engine_process(venue.place, first)
            operations.kill(venue.folder, first.engine, signal.SIGKILL, with_supervisor=True)
            assert supervised.wait(10.0)
            found = await venue.until(
                lambda: margin_near(venue.place, first.region, "weak"), lambda reply: isinstance(reply, Found)
            )
            assert found.degraded == (DEGRADED,)
            for name in ("equity", "initial_margin", "maintenance_margin"):
                assert found.content[name] == pytest.approx(expected[name], rel=1e-9)

    asyncio.run(live())
    registry = venue.folded(plan.sites[1]).machine.registry
    assert (registry.withdrawals, registry.payments, registry.discrepancies) == ({}, {}, {})


@pytest.mark.criterion("NOD-20", "QRM-19", "QRM-22")
@pytest.mark.parametrize("venue", ["abc"], indirect=True)
def test_an_error_in_every_first_engine_liquidates_nobody_and_is_named(venue):
    venue, plan = venue

    async def live():
        async with venue:
            await venue.trade()
            before = (await venue.margin("weak"))["price_id"]
            await venue.price(8_700)  # Above maintenance margin; by the wrong engines below it.
            found = await venue.until(lambda: venue.margin("weak"), lambda found: found["price_id"] > before)
            assert found["equity"] < found["maintenance_margin"]
            answer = await venue.until(
                lambda: venue.client.margin("weak"), lambda answer: answer.content["status"] == "frozen"
            )
            assert any("engines differ on" in text for text in answer.degraded)

    asyncio.run(live())
    fold = venue.folded(plan.sites[0])
    registry = fold.machine.registry
    (found, *_) = registry.discrepancies[4].values()
    assert found.second[0] == pytest.approx(1_700.0)
    assert found.first[0] == pytest.approx(1_613.0)


@pytest.mark.criterion("QRM-13", "QRM-22")
@pytest.mark.parametrize("venue", ["c"], indirect=True)
def test_an_error_in_one_first_engine_suspends_its_replica_and_liquidates_nobody_wrongly(venue):
    venue, plan = venue

    async def live():
        async with venue:
            await venue.trade()
            await venue.price(8_700)
            await venue.until(
                lambda: venue.operator.status("engine-a"),
                lambda status: any("2 of 3 replicas are live" in text for text in status["degraded"]),
                60.0,
            )
            assert (await venue.margin("weak"))["status"] in ("healthy", "restricted")
            await venue.price(8_600)
            await venue.until(lambda: venue.margin("weak"), lambda found: found["equity"] < 1_650)
            await venue.until(lambda: venue.margin("weak"), lambda found: found["status"] == "healthy")

    asyncio.run(live())
    registry = venue.folded(plan.sites[0]).machine.registry
    assert [replica.suspended for replica in registry.replicas] == [False, False, True]
