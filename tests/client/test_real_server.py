"""Clients over a real server: replicas that die, hang, are busy or behind, and servers that die."""

import asyncio
import threading
import time

import numpy as np
import pytest
from fake_nodes import cluster, configuration, server
from small_world import commands

import holdfast
from holdfast.client.errors import (
    BusyError,
    ClosedError,
    RefusedError,
    UnknownError,
    UnreachableError,
)
from holdfast.client.outcome import Numbers, Outcomes
from holdfast.client.results import Session, Settings
from holdfast.client.rounds import Pace
from holdfast.domain.commands import Mark, SetRules
from holdfast.domain.errors import InputError
from holdfast.domain.frames import RecordKind
from holdfast.domain.messages import Read, Write, decode_request, encode_message
from holdfast.domain.reasons import Reason


@pytest.fixture(scope="module")
def port():
    with server() as port:
        yield port


def client_of(port, **more):
    return holdfast.AsyncClient(configuration(port), **more)


@pytest.mark.criterion("MSG-1", "MSG-4", "MSG-7", "CLI-1")
def test_commands_by_name_are_answered_with_outcomes(port):
    async def run():
        async with cluster(port) as (a, _, _), client_of(port) as client:
            outcome = await client.call("deposit", account="alice", asset="BTC", amount=3)
            assert outcome
            assert outcome.accepted
            assert (outcome.reason, outcome.made, outcome.equity) == (Reason.ACCEPTED, 3, 1.5)
            assert str(outcome) == outcome.text == "deposit done"
            assert repr(outcome) == "<Outcome ACCEPTED: deposit done>"
            assert outcome.degraded == ("model",)
            outcomes = await client.send([{"command": "mark", "amount": n} for n in (4, 5)])
            assert isinstance(outcomes, Outcomes)
            assert outcomes
            assert [(one.session, one.number, one.made) for one in outcomes] == [(1, 2, 4), (1, 3, 5)]
            assert a.log.applied == [3, 4, 5]
            # Names that the first defined are known where the next is answered.
            assert a.minimum_positions == [0, 1]
            assert client.position == 2
            assert client.session == Session(1, 4)
            assert repr(client) == "<AsyncClient: client, session 1, next number 4, position 2>"

    asyncio.run(run())


@pytest.mark.criterion("CLI-12", "MSG-3")
def test_records_are_cut_into_batches_and_put_together_again(port):
    async def run():
        async with cluster(port) as (a, _, _), client_of(port) as client:
            count = 4_095 * 2 + 10
            receipt = await client.submit(commands(np.arange(1, count + 1)))
            assert receipt
            assert len(receipt) == count
            assert receipt.outcomes["made"].tolist() == a.log.applied == list(range(1, count + 1))
            assert receipt.numbers == (Numbers(1, 1, 4_095), Numbers(1, 4_096, 4_095), Numbers(1, 8_191, 10))
            assert (receipt.position, receipt.degraded) == (3, ("model",))
            few = await client.submit(commands([7, 8]), every=False)
            assert few
            assert not few.outcomes["made"].any()
            cold = await client.submit_cold([SetRules(), Mark(1)])
            assert cold.refused.tolist() == [0, 1]
            assert (cold.outcomes["reason"] == Reason.MALFORMED).all()

    asyncio.run(run())


@pytest.mark.criterion("CLI-7")
def test_a_dead_replica_costs_a_retry_and_nothing_else(port):
    async def run():
        async with cluster(port) as (a, b, _), client_of(port) as client:
            await client.submit(commands([1]))
            await a.stop()
            began = time.monotonic()
            pendings = [client.post_records(commands([n])) for n in range(2, 30)]
            receipts = [await one for one in pendings]
            assert time.monotonic() - began < 5
            assert all(receipts)
            assert b.log.applied == list(range(1, 30))

    asyncio.run(run())


@pytest.mark.criterion("CLI-7", "CLI-2")
def test_a_replica_that_hangs_is_left_and_its_late_frames_are_harmless(port):
    async def run():
        async with cluster(port) as (a, b, c), client_of(port) as client:
            await client.submit(commands([1]))
            a.mode = "hung"
            pendings = [client.post_records(commands([n])) for n in range(2, 12)]
            for one in pendings:
                await one
            assert {type(one) for one in a.asked} == {Write}
            await a.thaw()
            await client.submit(commands([12]))
            assert b.log.applied == list(range(1, 13))
            assert not c.asked or not b.asked

    asyncio.run(run())


def test_a_late_reply_counts(port):
    async def run():
        settings = Settings(pace=Pace(attempt_s=0.05, patience_s=0.05))
        async with cluster(port) as nodes, client_of(port, settings=settings) as client:
            await client.open_session()
            for node in nodes:
                node.mode = "hung"
            pending = client.post("mark", amount=5)
            while not all(node.held for node in nodes):
                await asyncio.sleep(0.01)
            first, *_ = nodes
            held, first.held = first.held, []
            reply = first.done(decode_request(held[0].data))
            await held[0].respond(encode_message(reply))
            assert (await pending).made == 5

    asyncio.run(run())


@pytest.mark.criterion("CLI-8")
def test_busy_replicas_are_passed_over_and_all_busy_is_an_error(port):
    async def run():
        settings = Settings(timeout_s=0.5)
        async with cluster(port) as (a, b, c), client_of(port, settings=settings) as client:
            a.mode = "busy"
            assert await client.call("mark", amount=1)
            b.mode = c.mode = "busy"
            with pytest.raises(BusyError, match="were not done: model; send them again later") as caught:
                await client.call("mark", amount=2)
            assert caught.value.exit_code == 42
            assert caught.value.retry_after_s == 0.02
            a.mode = b.mode = c.mode = "halted"
            with pytest.raises(UnreachableError, match="halted"):
                await client.call("mark", amount=2)
            a.mode = b.mode = c.mode = "up"
            assert (await client.call("mark", amount=3)).number == 2
            assert a.log.applied == [1, 3]

    asyncio.run(run())


@pytest.mark.criterion("CLI-4")
def test_a_refused_request_uses_up_nothing(port):
    async def run():
        async with cluster(port) as (a, _, _), client_of(port) as client:
            assert await client.call("mark", amount=1)
            with pytest.raises(RefusedError, match=r"batch\[0\].account: is no account; open it first") as caught:
                await client.call("deposit", account="nobody", amount=2)
            assert caught.value.code == "unknown-account"
            assert (await client.call("mark", amount=3)).number == 2
            # With others behind it on the way its number is used up by something that does nothing.
            pendings = [
                client.post("mark", amount=4),
                client.post("mark", account="nobody"),
                client.post("mark", amount=6),
            ]
            assert (await pendings[0]).made == 4
            with pytest.raises(RefusedError):
                await pendings[1]
            assert (await pendings[2]).made == 6
            assert a.log.applied == [1, 3, 4, 6]

    asyncio.run(run())


@pytest.mark.criterion("CLI-3", "CLI-9")
def test_unknown_says_how_to_find_out_and_the_same_numbers_settle_it(port):
    async def run():
        async with cluster(port) as nodes:
            a = nodes[0]
            settings = Settings(timeout_s=0.4, pace=Pace(attempt_s=0.05, patience_s=0.05))
            async with client_of(port, settings=settings) as client:
                await client.call("mark", amount=1)
                for node in nodes:
                    node.mode = "hung"
                with pytest.raises(UnknownError) as caught:
                    await client.send([{"command": "mark", "amount": n} for n in (2, 3)])
            error = caught.value
            assert (error.session, error.number, error.count, error.exit_code) == (1, 2, 2, 41)
            assert str(error).startswith(
                "session 1, numbers 2 to 3: may have taken effect: no answer within 0.4 s; ask"
            )
            await a.thaw()
            for node in nodes:
                node.mode = "up"
            saved = Session(error.session, error.number)
            async with client_of(port, session=saved) as client:
                found = await client.lookup(*saved)
                assert found.applied
                outcomes = await client.send([{"command": "mark", "amount": n} for n in (2, 3)])
                assert [one.made for one in outcomes] == [2, 3]
                assert all(one.repeated for one in outcomes)
                assert (await client.lookup(1, 4)).state == "not-applied"
                assert (await client.call("mark", amount=4)).number == 4
            assert a.log.applied == [1, 2, 3, 4]

    asyncio.run(run())


@pytest.mark.criterion("CLI-9")
def test_resume_wants_an_idle_client(port):
    async def run():
        async with cluster(port) as (a, _, _), client_of(port) as client:
            session = await client.open_session()
            pending = client.post("mark", amount=1)
            with pytest.raises(InputError, match="wait until everything is answered"):
                client.resume(session)
            await pending
            client.resume(session)
            assert (await client.call("mark", amount=1)).repeated
            assert a.log.applied == [1]

    asyncio.run(run())


def test_nobody_there_is_unreachable(port):
    async def run():
        async with client_of(port, settings=Settings(timeout_s=0.3), read_timeout_s=0.3) as client:
            with pytest.raises(UnreachableError, match="nobody listens") as caught:
                await client.call("mark", amount=1)
            assert caught.value.exit_code == 44
            with pytest.raises(UnreachableError):
                await client.margin("alice")
            assert await client.status("engine-a") is None

    asyncio.run(run())


@pytest.mark.criterion("CLI-10")
def test_reads_go_to_the_own_region_and_hedge_when_it_is_slow(port):
    async def run():
        async with cluster(port) as (a, b, c), client_of(port) as client:
            answer = await client.margin("alice")
            assert (answer.replica, answer["account"], answer.time) == ("engine-a", "alice", 7)
            assert "account" in list(answer)
            a.mode = "hung"
            began = time.monotonic()
            assert (await client.margin("alice")).replica in ("engine-b", "engine-c")
            assert time.monotonic() - began < 2
            a.mode, b.mode, c.mode = "busy", "busy", "up"
            assert (await client.margin("alice")).replica == "engine-c"
            with pytest.raises(RefusedError, match="is no account"):
                await client.margin("nobody")
            c.mode = "busy"
            client._read_timeout_s = 0.3
            with pytest.raises(BusyError):
                await client.accounts()

    asyncio.run(run())


@pytest.mark.criterion("CLI-11")
def test_reads_never_go_back_and_show_own_writes(port):
    async def run():
        async with cluster(port) as (a, b, c), client_of(port) as client:
            a.position, b.position, c.position = 10, 20, 5
            assert (await client.definitions(at_least=15)).position == 20
            assert (await client.definitions()).replica == "engine-b"
            # A replica that answers behind what was asked for is not believed.
            a.mode = "liar"
            assert (await client.conservation()).position == 20
            a.mode, a.position, b.position, c.position = "up", 30, None, None
            outcome = await client.call("mark", amount=1)
            assert outcome.position == 1
            assert (await client.roots()).position == 30
            question = next(one for one in reversed(a.asked) if isinstance(one, Read))
            assert (question.minimum_position, question.staleness_ms) == (20, -1)
            await client.account("alice", staleness_s=0.25, at_least=25)
            question = next(one for one in reversed(a.asked) if isinstance(one, Read))
            assert (question.minimum_position, question.staleness_ms) == (30, 250)

    asyncio.run(run())


@pytest.mark.criterion("CLI-7")
def test_a_server_that_dies_is_left_for_another_one(port):
    async def run(other):
        async with cluster(port) as (a, _, _):
            with server() as dying:
                client = holdfast.AsyncClient(configuration(dying, port))
                await client.open()
                second = client._links._links[1]
                while not second.is_connected:
                    await asyncio.sleep(0.01)
                # Nobody listens at the first server: the other connection is taken.
                assert await client.call("mark", amount=1)
            assert await client.call("mark", amount=2)
            assert (await client.margin("alice")).replica == "engine-a"
            await client.close()
            assert a.log.applied == [1, 2]

    asyncio.run(run(None))


@pytest.mark.criterion("CLI-13")
def test_what_cannot_be_sent_is_refused_before(port):
    async def run():
        with pytest.raises(InputError, match="give one of client, operator, source"):
            holdfast.AsyncClient(configuration(port, user="admin"))
        source = holdfast.AsyncClient(configuration(port, user="source"), source=2)
        with pytest.raises(InputError, match="is not for this role: 'TRADE'"):
            source.post_records(commands([1]))
        with pytest.raises(InputError, match="send quotes with submit"):
            source.post("mark", amount=1)
        client = holdfast.AsyncClient(configuration(port))
        quotes = commands([1])
        quotes["kind"] = RecordKind.QUOTE
        with pytest.raises(InputError, match="QUOTE"):
            client.post_records(quotes)
        for wrong in (commands([]), np.zeros(3), commands([1]).reshape(1, 1)):
            with pytest.raises(InputError, match="flat array"):
                client.post_records(wrong)
        with pytest.raises(InputError, match="give the 0 bytes"):
            client.post_records(commands([1]), b"x")
        with pytest.raises(InputError, match="1 to 1024"):
            client.post_all([])
        with pytest.raises(InputError, match="cannot be written as JSON"):
            client.post("mark", amount=object())
        with pytest.raises(InputError, match="keep them within"):
            client.post("mark", amount="x" * 300_000)
        with pytest.raises(ClosedError, match="open it first"):
            await client.margin("alice")
        await client.close()
        with pytest.raises(ClosedError):
            client.post("mark", amount=1)

    asyncio.run(run())


def test_closing_fails_what_was_not_answered(port):
    async def run():
        async with cluster(port) as nodes:
            client = client_of(port)
            await client.open()
            await client.open_session()
            for node in nodes:
                node.mode = "hung"
            pending = client.post("mark", amount=1)
            while not any(node.held for node in nodes):
                await asyncio.sleep(0.01)
            client._line.give_up()
            client._deliver()
            with pytest.raises(UnknownError, match="closed"):
                await pending
            await client.close()
            await client.close()

    asyncio.run(run())


def test_no_server_is_unreachable(monkeypatch):
    monkeypatch.setattr("holdfast.client.asynchronous.CONNECT_S", 0.2)
    with pytest.raises(UnreachableError, match="could not be reached"):
        holdfast.Client(configuration(1))


def test_the_synchronous_client_serves_several_threads(port):
    running, stopping = threading.Event(), threading.Event()
    nodes = []

    async def serve():
        async with cluster(port) as made:
            nodes.extend(made)
            running.set()
            while not stopping.is_set():
                await asyncio.sleep(0.01)

    server_thread = threading.Thread(target=asyncio.run, args=(serve(),))
    server_thread.start()
    running.wait()
    try:
        with holdfast.Client(configuration(port)) as client:
            assert client.session is None
            session = client.open_session()
            outcomes = []

            def work(base):
                outcomes.extend(client.call("mark", amount=base + n) for n in range(20))

            threads = [threading.Thread(target=work, args=(base,)) for base in (100, 200, 300)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(one.made for one in outcomes) == sorted(nodes[0].log.applied)
            assert len(set(nodes[0].log.applied)) == 60
            posted = [client.post("mark", amount=1), client.post_all([{"command": "mark", "amount": 2}])]
            posted.append(client.post_records(commands([3])))
            assert [bool(one.result(10)) for one in posted] == [True] * 3
            assert posted[0].done()
            assert client.submit(commands([4]))
            assert not client.submit_cold([SetRules()])
            assert client.send([{"command": "mark", "amount": 5}])
            assert client.lookup(session.id, 1).applied
            for answer in (
                client.ask("margin", account="x"),
                client.margin("x"),
                client.explain("x"),
                client.account("x"),
                client.accounts(4),
                client.definitions(),
                client.conservation(),
                client.roots(),
                client.session_state(1),
            ):
                assert answer.replica == "engine-a"
            assert client.status("engine-a") == {"serving": True}
            assert client.position == nodes[0].log.position - 1
            client.resume(client.session)
            assert repr(client).startswith("<Client: client, session ")
        client.close()
        with pytest.raises(ClosedError):
            client.margin("x")
    finally:
        stopping.set()
        server_thread.join()
