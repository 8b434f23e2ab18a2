"""One real engine over one real server: how it ends, what its copy has, what it does with a frame that kills it."""

import asyncio
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
from holdfast.cluster.supervisor import deaths
from holdfast.domain.commands import DefineAsset
from holdfast.log.sqlite import SqliteLog
from holdfast.replica.folder import LOG_NAME

pytest.importorskip("nats")
from near import margin_near

from holdfast.client.asynchronous import AsyncClient
from holdfast.client.contents import cold_content
from holdfast.client.errors import ClientError
from holdfast.domain.messages import Found
from holdfast.replica.witnessing.child import DEGRADED

READY_S = 240.0


@pytest.fixture
def cluster(tmp_path, request):
    folder = tmp_path / "cluster"
    plan = make_cluster(folder, ("solo",), programs=getattr(request, "param", Programs()))
    asyncio.run(operations.up(folder, ready_s=READY_S))
    yield folder, plan
    asyncio.run(operations.down(folder))


def operator(folder):
    return AsyncClient(Layout(folder).client("operator"))


@pytest.mark.criterion("NOD-16", "NOD-9")
def test_an_engine_told_to_end_answers_what_it_took_and_its_copy_has_it(cluster):
    folder, plan = cluster
    place, (site,) = Layout(folder), plan.sites

    async def live():
        async with operator(folder) as client:
            assert (await client.call("define_asset", name="USD")).accepted
            waiting = [client.post_records(*_asset(f"A{n}")) for n in range(50)]
            await asyncio.sleep(0.05)
            answering = engine_process(place, site)
            answering.signal(signal.SIGTERM)
            receipts = await asyncio.gather(*waiting)
            return answering, max(receipt.position for receipt in receipts), client.position

    process, position, _ = asyncio.run(live())
    assert process.wait(10.0)
    asyncio.run(operations.down(folder, site.engine))
    with SqliteLog(place.engine(site) / LOG_NAME, writable=False) as copy:
        assert copy.end > position
    assert not deaths(place.engine(site))


def _asset(name):
    return cold_content([DefineAsset(name, 6)])


POISONED = Programs(engine=(sys.executable, str(Path(__file__).with_name("poisoned_engine.py"))))


@pytest.mark.criterion("NOD-13", "NOD-22")
@pytest.mark.parametrize("cluster", [POISONED], indirect=True)
def test_a_frame_that_kills_the_engine_is_set_aside_and_margins_are_answered_meanwhile(cluster):
    folder, plan = cluster
    (site,) = plan.sites
    answers = []

    async def ask():
        while True:
            reply = await margin_near(Layout(folder), site.region, "alice")
            if isinstance(reply, Found):
                answers.append((reply.degraded, reply.content["equity"]))
            await asyncio.sleep(0.1)

    async def live():
        async with operator(folder) as client:
            assert (await client.call("define_asset", name="USD")).accepted
            await client.call("define_model", name="portfolio")
            await client.call("open_account", name="alice")
            await client.call("deposit", account="alice", asset="USD", amount=7)
            while not (await client.status(site.engine))["witness"]["pid"]:
                await asyncio.sleep(0.1)
            asking = asyncio.create_task(ask())
            try:
                told = await client.call("define_asset", name="POISON")
            except ClientError as error:
                told = error
            deadline = time.monotonic() + READY_S
            while time.monotonic() < deadline:
                try:
                    after = await client.call("define_asset", name="BTC")
                except ClientError:
                    await asyncio.sleep(0.5)
                else:
                    asking.cancel()
                    return told, after, (await client.definitions())["items"]
            return told, None, []

    told, after, items = asyncio.run(live())
    assert after is not None
    assert after.accepted
    assert [item["name"] for item in items] == ["USD", "BTC"]
    assert getattr(told, "reason", None) is None or told.reason.name == "QUARANTINED"
    assert len(deaths(Layout(folder).engine(site))) >= 3
    assert {equity for _, equity in answers} == {7.0}
    assert (DEGRADED,) in [degraded for degraded, _ in answers]
