"""A node of a cluster: what it takes, what it says, when it answers, when it stops."""

import json

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from nodes import Nodes, batch

from holdfast.core.fold import HANDLERS
from holdfast.core.registry import Lease, Payment
from holdfast.core.state import Counter, Role
from holdfast.core.verdict import Sender
from holdfast.domain import commands
from holdfast.domain.frames import RECORD, encode_frame
from holdfast.domain.messages import Busy, Found, Read, Refused, Told, Write, WriteNamed, Written, outcomes_of, write_of
from holdfast.domain.outcomes import place_of
from holdfast.domain.reasons import Reason
from holdfast.margin.presets import preset
from holdfast.replica.node import node as module
from holdfast.replica.node import outbox
from holdfast.replica.node.speaker import DECIDER, LEASE_S


@pytest.mark.criterion("NOD-1")
def test_nodes_that_start_together_get_a_gateway_each():
    nodes = Nodes()
    nodes.step(100)
    assert all(node.serving for node in nodes.nodes)
    sessions = {node._outbox.session for node in nodes.nodes}
    assert len(sessions) == 3


@pytest.mark.criterion("NOD-5")
def test_before_it_has_a_gateway_a_node_is_busy():
    nodes = Nodes(1)
    nodes.nodes[0].write("early", Role.OPERATOR, batch([commands.OpenSession("operator")]))
    nodes.deliver()
    assert isinstance(nodes.replies["early"], Busy)


@pytest.mark.criterion("NOD-4")
def test_an_answer_has_the_outcome_of_its_place_in_the_log():
    nodes = Nodes()
    nodes.step(20)
    session = nodes.defined()
    reply = nodes.write(2, batch([commands.DefineAsset("BTC", 8), commands.DefineAsset("BTC", 7)], session, 6))
    outcomes, places = outcomes_of(reply)
    assert outcomes["reason"].tolist() == [Reason.ACCEPTED, Reason.ALREADY_DEFINED]
    assert (outcomes["command"][0] - 1) // 16_384 == reply.position
    assert np.arange(9)[places].tolist() == [0, 1]


@pytest.mark.criterion("NOD-4")
def test_the_same_batch_at_another_node_is_a_repeat():
    nodes = Nodes()
    nodes.step(20)
    session = nodes.defined()
    first = nodes.write(0, batch([commands.DefineAsset("BTC", 8)], session, 6))
    again = nodes.write(1, batch([commands.DefineAsset("BTC", 8)], session, 6))
    assert outcomes_of(again)[0]["repeated"].tolist() == [1]
    assert outcomes_of(again)[0]["made"].tolist() == outcomes_of(first)[0]["made"].tolist()


@pytest.mark.criterion("NOD-4")
def test_only_what_was_refused_or_repeated_is_told_where_that_is_asked():
    nodes = Nodes()
    nodes.step(20)
    session = nodes.defined()
    asked = batch([commands.DefineAsset("BTC", 8), commands.DefineAsset("BTC", 7)], session, 6)
    reply = nodes.write(0, Write(asked.records, asked.blob, every=False))
    outcomes, places = outcomes_of(reply)
    assert (reply.count, places.tolist()) == (2, [1])
    assert outcomes["reason"].tolist() == [Reason.ALREADY_DEFINED]


@pytest.mark.criterion("NOD-5")
def test_a_full_line_turns_a_batch_away(monkeypatch):
    monkeypatch.setattr(outbox, "BYTES_MAXIMUM", 100)
    nodes = Nodes()
    nodes.step(20)
    session = nodes.open_session()
    nodes.nodes[0].write("first", Role.OPERATOR, batch([commands.DefineAsset("BTC", 8)], session, 1))
    nodes.nodes[0].write("second", Role.OPERATOR, batch([commands.DefineAsset("ETH", 8)], session, 2))
    nodes.step(3)
    assert isinstance(nodes.replies["first"], Written)
    assert isinstance(nodes.replies["second"], Busy)
    assert nodes.replies["second"].retry_after_ms > 0


@pytest.mark.criterion("NOD-6")
@pytest.mark.parametrize(
    ("role", "opened", "allowed"),
    [
        (Role.CLIENT, "client", True),
        (Role.CLIENT, "operator", False),
        (Role.CLIENT, "gateway", False),
        (Role.SOURCE, "client", False),
        (Role.OPERATOR, "client", True),
        (Role.OPERATOR, "replica", False),
    ],
)
def test_credentials_limit_the_sessions_that_are_opened(role, opened, allowed):
    nodes = Nodes(1)
    nodes.step(20)
    reply = nodes.write(0, batch([commands.OpenSession(opened)]), role=role)
    assert isinstance(reply, Written if allowed else Refused)
    if not allowed:
        assert reply.code == "not-allowed"


@pytest.mark.criterion("NOD-6")
def test_credentials_limit_the_sessions_that_are_used():
    nodes = Nodes()
    nodes.step(20)
    session = nodes.open_session()
    reply = nodes.write(0, batch([commands.DefineAsset("BTC", 8)], session, 1), role=Role.CLIENT)
    assert isinstance(reply, Refused)
    assert reply.code == "not-allowed"
    later = (len(nodes.log) + 100) * 16_384
    assert isinstance(nodes.write(0, batch([commands.DefineAsset("BTC", 8)], later, 1)), Busy)


@pytest.mark.criterion("NOD-5")
def test_what_is_no_batch_is_refused():
    nodes = Nodes(1)
    nodes.step(20)
    assert isinstance(nodes.write(0, Write(b"x" * 64)), Refused)
    assert isinstance(nodes.write(0, Write(b"")), Refused)


@pytest.mark.criterion("NOD-7")
def test_nodes_tick_vote_on_roots_and_one_of_them_decides():
    nodes = Nodes()
    nodes.step(20)
    nodes.defined()
    nodes.step(300)
    registry = nodes.nodes[0].fold.machine.registry
    assert len({node.fold.root() for node in nodes.nodes}) == 1
    assert all(replica.ticked for replica in registry.replicas)
    assert registry.certified
    assert registry.certified[-1].position > len(nodes.log) - 3 * 8
    holders = [node for node in nodes.nodes if node._speaker.holds(node.fold, DECIDER)]
    assert len(holders) == 1
    assert registry.leases[DECIDER].until - nodes.nodes[0].fold.time > LEASE_S * 10**9 // 2 - 10**9
    assert not registry.alarms


@pytest.mark.criterion("NOD-7")
def test_another_takes_the_role_of_a_node_that_is_gone():
    nodes = Nodes()
    nodes.step(20)
    nodes.defined()
    nodes.step(100)
    holder = next(node for node in nodes.nodes if node._speaker.holds(node.fold, DECIDER))
    nodes.nodes.remove(holder)
    nodes.step(1_200)
    assert sum(node._speaker.holds(node.fold, DECIDER) for node in nodes.nodes) == 1


@pytest.mark.criterion("NOD-8")
def test_a_node_with_another_state_is_suspended():
    nodes = Nodes()
    nodes.step(20)
    nodes.defined()
    nodes.step(50)
    wrong = nodes.nodes[1]
    wrong.fold.machine.state.ledger[0, 0] += 1
    wrong.fold.machine.state.accounts[:, 4] += 1
    wrong.fold._roots.__init__()
    nodes.step(300)
    assert [node.suspended for node in nodes.nodes if node is not wrong] == [False, False]
    assert nodes.nodes[0].fold.machine.registry.replicas[1].suspended
    assert any("suspended" in alarm.text for alarm in nodes.nodes[0].fold.machine.registry.alarms)


@pytest.mark.criterion("NOD-10")
def test_a_halted_node_acknowledges_nothing_and_goes_on_reading():
    nodes = Nodes()
    nodes.step(20)
    session = nodes.defined()
    nodes.nodes[0].write("under way", Role.OPERATOR, batch([commands.DefineAsset("BTC", 8)], session, 6))
    nodes.publish(nodes.nodes[0])
    nodes.nodes[0].halt("the log ends before what was folded")
    nodes.step(3)
    assert "under way" not in nodes.replies
    reply = nodes.write(0, batch([commands.DefineAsset("ETH", 8)], session, 7))
    assert isinstance(reply, Refused)
    assert reply.code == "elsewhere"
    nodes.nodes[0].read("read", Read("definitions"), nodes.now)
    nodes.deliver()
    found = nodes.replies["read"]
    assert [item["name"] for item in found.content["items"]] == ["USD", "BTC"]
    assert any("does not acknowledge" in text for text in found.degraded)


@pytest.mark.criterion("NOD-10")
def test_a_node_with_another_history_than_most_halts():
    """One node folds another frame where the others have the one that the log kept."""
    nodes = Nodes()
    nodes.step(20)
    nodes.defined()
    nodes.step(30)
    forked = nodes.nodes[2]
    while len(nodes.log) % 8 == 0:
        nodes.step()
    forked.deliver(len(nodes.log), encode_frame(0, 1 << 40, np.zeros(0, RECORD)), "x", 0)
    nodes.log.append((encode_frame(0, 1 << 41, np.zeros(0, RECORD)), "y"))
    nodes.step(200)
    assert "two histories" in forked.halted
    assert not any(node.halted for node in nodes.nodes if node is not forked)


@pytest.mark.criterion("NOD-12")
def test_snapshots_are_taken_in_turns():
    nodes = Nodes(snapshot_interval_s=0.5)
    nodes.step(20)
    nodes.defined()
    nodes.step(400)
    names = [name for name, _ in nodes.snapshots]
    assert set(names) == {"r0", "r1", "r2"}
    defined = [(int(name[1:]), due.header.position) for name, due in nodes.snapshots[2:]]
    assert all(((position + 1) // 8) % 3 == number for number, position in defined)


@pytest.mark.criterion("NOD-14")
def test_a_read_waits_for_the_position_it_asks_for():
    nodes = Nodes()
    nodes.step(20)
    nodes.defined()
    ahead = len(nodes.log)
    nodes.nodes[0].read("soon", Read("definitions", minimum_position=ahead), nodes.now)
    nodes.nodes[0].read("never", Read("definitions", minimum_position=ahead + 10**6, wait_ms=100), nodes.now)
    nodes.nodes[0].read("at once", Read("definitions", minimum_position=ahead + 10**6, wait_ms=0), nodes.now)
    nodes.deliver()
    assert nodes.replies["at once"].code == "elsewhere"
    assert "soon" not in nodes.replies
    nodes.step(60)
    assert isinstance(nodes.replies["soon"], Found)
    assert nodes.replies["soon"].position >= ahead
    assert nodes.replies["never"].code == "elsewhere"


@pytest.mark.criterion("NOD-14")
def test_a_read_with_a_bound_is_refused_by_a_node_that_hears_nothing():
    nodes = Nodes(1)
    nodes.step(20)
    node = nodes.nodes[0]
    node.read("fresh", Read("root", staleness_ms=500), nodes.now)
    node.read("stale", Read("root", staleness_ms=500, wait_ms=0), nodes.now + 10)
    replies = dict(node.replies())
    assert isinstance(replies["fresh"], Found)
    assert replies["stale"].code == "elsewhere"


@pytest.mark.criterion("NOD-14")
def test_a_node_that_folds_old_frames_late_has_not_heard_of_the_log():
    nodes = Nodes(2)
    nodes.step(20)
    nodes.defined()
    nodes.step(60)
    behind = nodes.nodes.pop()
    nodes.step(100)
    bounded = Read("root", staleness_ms=500, wait_ms=0)
    behind.read("before", bounded, nodes.now)
    nodes.nodes.append(behind)
    while behind.fold.position < len(nodes.log) - 1:
        frame, message_id = nodes.log[behind.fold.position]
        behind.deliver(behind.fold.position, frame, message_id, nodes.now)
        behind.read("between", bounded, nodes.now)
    replies = dict(behind.replies())
    assert (replies["before"].code, replies["between"].code) == ("elsewhere", "elsewhere")
    nodes.step(5)
    behind.read("after", bounded, nodes.now)
    assert isinstance(dict(behind.replies())["after"], Found)


@pytest.mark.criterion("NOD-14")
@pytest.mark.parametrize(
    ("what", "arguments"),
    [("nonsense", {}), ("account", {"account": "nobody"}), ("account", {"wrong": 1}), ("lookup", {"session": "x"})],
)
def test_a_question_without_an_answer_is_refused(what, arguments):
    nodes = Nodes(1)
    nodes.step(20)
    nodes.nodes[0].read("asked", Read(what, arguments), nodes.now)
    (reply,) = [reply for _, reply in nodes.nodes[0].replies()]
    assert isinstance(reply, Refused)


@pytest.mark.criterion("NOD-14")
def test_lookup_tells_what_became_of_a_number():
    nodes = Nodes()
    nodes.step(20)
    session = nodes.defined()
    found = {}
    for number, key in ((5, "kept"), (6, "not yet"), (0, "none")):
        nodes.nodes[1].read(key, Read("lookup", {"session": session, "number": number}), nodes.now)
    nodes.nodes[1].read("stranger", Read("lookup", {"session": 99, "number": 1}), nodes.now)
    for key, reply in nodes.nodes[1].replies():
        found[key] = reply.content["state"]
    assert found == {"kept": "applied", "not yet": "not-applied", "none": "not-applied", "stranger": "session-unknown"}


@pytest.mark.criterion("NOD-15")
def test_more_waiting_reads_than_the_limit_are_turned_away(monkeypatch):
    monkeypatch.setattr(module, "READS_MAXIMUM", 2)
    nodes = Nodes(1)
    nodes.step(20)
    for number in range(3):
        nodes.nodes[0].read(number, Read("root", minimum_position=10**6), nodes.now)
    assert [token for token, _ in nodes.nodes[0].replies()] == [2]


@pytest.mark.criterion("NOD-4")
def test_commands_in_names_are_answered_in_words():
    nodes = Nodes()
    nodes.step(20)
    session = nodes.defined()
    wanted = [{"command": "define_asset", "name": "BTC"}, {"command": "define_model", "name": "portfolio"}]
    reply = nodes.write(1, WriteNamed(session, 6, msgspec.json.encode(wanted)))
    assert isinstance(reply, Told)
    assert [told["reason"] for told in reply.outcomes] == ["ACCEPTED", "ACCEPTED"]
    assert "BTC is defined" in reply.outcomes[0]["text"]
    later = [{"command": "open_account", "name": "alice"}]
    ahead = nodes.write(1, WriteNamed(session, 8, msgspec.json.encode(later), minimum_position=10**6))
    assert ahead.code == "elsewhere"
    refused = nodes.write(1, WriteNamed(session, 8, msgspec.json.encode([{"command": "nonsense"}])))
    assert isinstance(refused, Refused)
    client = nodes.write(1, WriteNamed(session, 8, msgspec.json.encode(wanted[:1])), role=Role.CLIENT)
    assert client.code == "not-allowed"
    assert nodes.write(1, WriteNamed(session, 8, msgspec.json.encode(later))).outcomes[0]["reason"] == "ACCEPTED"


def _reserve(nodes):
    """A withdrawal that waits for a mark."""
    session = nodes.defined()
    wanted = [
        commands.DefineModel("portfolio", preset("portfolio")),
        commands.OpenAccount(0, "alice"),
        commands.Deposit(4, 0, 1_000_000),
        commands.RequestWithdrawal(4, 0, 400_000, "bank"),
        commands.DefineAsset("BTC", 8),
        commands.DefineSource("one"),
    ]
    outcomes, _ = outcomes_of(nodes.write(0, batch(wanted, session, 4)))
    assert not outcomes["reason"].any()


def _mark(nodes):
    """A price, and so a mark at the next tick."""
    source = nodes.open_session(role="source", as_role=Role.SOURCE)
    quote = commands.quote(source, 1, 1, 50_000 * 10**8, nodes.nodes[0].fold.time, 1)
    assert not outcomes_of(nodes.write(0, write_of(quote), role=Role.SOURCE))[0]["reason"].any()
    nodes.step(150)


@pytest.mark.criterion("NOD-17", "QRM-18")
def test_a_released_withdrawal_is_published_under_its_id_and_then_confirmed():
    nodes = Nodes(1)
    nodes.step(20)
    _reserve(nodes)
    node = nodes.nodes[0]
    assert not node.fold.machine.registry.payments
    _mark(nodes)
    registry = node.fold.machine.registry
    assert list(registry.payments) == [1]
    (effect,) = node.effects()
    assert node.effects() == []
    content = json.loads(effect.content)
    assert (content["account"], content["amount"], content["destination"]) == ("alice", "0.4", "bank")
    position, index = place_of(registry.payments[1].released)
    assert effect.id == content["id"] == f"payment-{position}-{index}-1"
    node.effected(effect, done=False)
    assert node.effects() == [effect]
    node.effected(effect, done=True)
    nodes.step(5)
    assert not node.fold.machine.registry.payments
    assert node.effects() == []


@pytest.mark.criterion("QRM-18")
def test_only_the_holder_of_the_role_confirms_a_payment():
    nodes = Nodes(2)
    nodes.step(20)
    nodes.defined()
    nodes.step(60)
    fold = nodes.nodes[0].fold
    payment = Payment(4, 0, 5, "", 99)
    for node in nodes.nodes:
        registry = node.fold.machine.registry
        lease = Lease(1, node.fold.time + 10**9, 7)
        node.fold.machine.registry = replace(registry, payments={3: payment}, leases=registry.leases | {"payer": lease})
    handle = HANDLERS[commands.ConfirmPayment]
    verdict = handle(fold.machine, commands.ConfirmPayment(3), Sender(1, Role.REPLICA, 0))
    assert (verdict.reason, verdict.limit) == (Reason.LEASE_HELD, 1)
    unknown = handle(fold.machine, commands.ConfirmPayment(4), Sender(1, Role.REPLICA, 1))
    assert unknown.reason is Reason.WITHDRAWAL_UNKNOWN
    fold.machine.state.counters[Counter.TIME] += 2 * 10**9
    late = handle(fold.machine, commands.ConfirmPayment(3), Sender(1, Role.REPLICA, 1))
    assert late.reason is Reason.LEASE_HELD
    fold.machine.state.counters[Counter.TIME] -= 2 * 10**9
    assert handle(fold.machine, commands.ConfirmPayment(3), Sender(1, Role.REPLICA, 1)).reason is Reason.ACCEPTED
    assert not fold.machine.registry.payments
