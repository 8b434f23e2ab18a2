"""Whom to ask, when to ask somebody else, and what may not be used; and what errors say."""

import builtins
import sys

import pytest

import holdfast
from holdfast.client import errors
from holdfast.client.asynchronous import preferred
from holdfast.client.configuration import Configuration, LogAccess, ReplicaPlace
from holdfast.client.errors import BusyError, ClientError, ClosedError, RefusedError, UnknownError, UnreachableError
from holdfast.client.outcome import Outcome, Outcomes, details_of, outcome_of
from holdfast.client.questions import Floor, Hedge, Regions
from holdfast.domain.errors import HoldfastError, MissingLibraryError
from holdfast.domain.messages import Found
from holdfast.domain.reasons import Reason


@pytest.mark.criterion("CLI-10")
def test_the_delay_is_the_95th_percentile_of_the_latest_times():
    hedge = Hedge()
    for _ in range(15):
        hedge.note(0.001)
    assert hedge.delay_s == 0.05
    hedge.note(0.001)
    assert hedge.delay_s == 0.005
    for _ in range(10):
        hedge.note(0.1)
    assert hedge.delay_s == 0.1
    for _ in range(128):
        hedge.note(3.0)
    assert hedge.delay_s == 0.2
    # Of 101 to 228 ms the 95th percentile of 128 is the 121st, 221 ms: more than is waited.
    for n in range(128):
        hedge.note(0.05 + n / 1_000)
    assert hedge.delay_s == pytest.approx(0.17)


@pytest.mark.criterion("CLI-10")
def test_the_own_region_comes_first_and_then_the_nearest():
    regions = Regions(["c", "b", "a", "b"], "a")
    assert regions.order(0.0)[0] == "a"
    regions.note("b", 0.080)
    regions.note("c", 0.015)
    regions.note("a", 0.500)
    assert regions.order(0.0) == ["a", "c", "b"]
    regions.note("c", 0.600)
    assert regions.order(0.0) == ["a", "b", "c"]
    assert Regions(["b", "c"], "elsewhere").order(0.0) == ["b", "c"]


@pytest.mark.criterion("CLI-10")
def test_a_region_that_does_not_answer_is_asked_last_for_a_second():
    regions = Regions(["a", "b"], "a")
    regions.avoid("a", 10.0)
    assert regions.order(10.9) == ["b", "a"]
    assert regions.order(11.0) == ["a", "b"]
    regions.missed("a", 20.0)
    regions.missed("a", 20.0)
    assert regions.order(20.0) == ["a", "b"]
    regions.note("a", 0.1)
    regions.missed("a", 20.0)
    assert regions.order(20.0) == ["a", "b"]
    regions.missed("a", 20.0)
    regions.missed("a", 20.0)
    assert regions.order(20.5) == ["b", "a"]


@pytest.mark.criterion("CLI-11")
def test_an_answer_behind_what_was_seen_is_not_used():
    floor = Floor()
    assert floor.minimum(-1) == -1
    assert floor.use(Found({}, 10, 0), -1)
    assert floor.minimum(3) == 10
    assert floor.minimum(12) == 12
    assert not floor.use(Found({}, 9, 0), 10)
    assert floor.seen == 10
    # A question that began before may be answered from where it began.
    assert floor.use(Found({}, 9, 0), 8)
    assert floor.seen == 10


@pytest.mark.criterion("CLI-7")
def test_writes_go_to_the_own_region_first_and_spread_over_the_others():
    places = tuple(ReplicaPlace(name, name[0]) for name in ("a1", "a2", "b1", "b2"))
    configuration = Configuration(LogAccess(("nats://h:1",), "client", "p", "_INBOX.client"), places, "b")
    orders = {tuple(preferred(configuration)) for _ in range(200)}
    assert {order[:2] for order in orders} == {("b1", "b2"), ("b2", "b1")}
    assert {order[2:] for order in orders} == {("a1", "a2"), ("a2", "a1")}


@pytest.mark.criterion("CLI-13")
def test_errors_have_their_own_statuses_and_say_what_to_do():
    made = [
        UnknownError(81_923, 5, 3, "no answer within 30 s"),
        BusyError("3 commands", "were not done: full", "send them again later", 0.5),
        RefusedError("malformed", "batch[0].account", "is no account", "open it first"),
        UnreachableError("3 commands", "were not done: nobody listens", "see that the cluster runs"),
        ClosedError("client", "was closed", "make another one"),
    ]
    assert [error.exit_code for error in made] == [41, 42, 43, 44, 45]
    assert all(isinstance(error, ClientError) and isinstance(error, HoldfastError) for error in made)
    assert ClientError.exit_code == 40
    assert str(made[0]) == (
        "session 81923, numbers 5 to 7: may have taken effect: no answer within 30 s; "
        "ask lookup(81923, 5), or send the same again with session=Session(81923, 5)"
    )
    assert str(made[2]) == "batch[0].account: is no account; open it first"
    assert (made[1].retry_after_s, made[2].code, made[0].receipts) == (0.5, "malformed", ())
    for error in made:
        assert f"{type(error).__name__} " in errors.__doc__
        assert f"  {error.exit_code}  " in errors.__doc__


def test_outcomes_in_words():
    told = {
        "reason": "BALANCE",
        "text": "too little",
        "position": 4,
        "command": 65_537,
        "equity": 1.0,
        "initial_margin": 2.0,
        "limit": "5",
        "passes": None,
        "made": 0,
        "repeated": True,
        "detail": "x",
    }
    refused = outcome_of(told, ("d",), 9, 3)
    assert refused == Outcome(Reason.BALANCE, "too little", 4, 65_537, 1.0, 2.0, "5", None, 0, True, ("d",), "x", 9, 3)
    later = outcome_of(told | {"reason": "OF_A_LATER_VERSION"}, (), 9, 3)
    assert not later
    assert repr(later) == "<Outcome OF_A_LATER_VERSION: too little>"
    both = Outcomes([refused, later])
    assert not both
    assert both.refused == both
    assert str(both) == "too little\ntoo little"
    assert set(vars(refused)) >= {
        "reason", "position", "command", "equity", "initial_margin", "limit", "passes", "made", "repeated", "degraded",
        "detail",
    }  # fmt: skip
    assert details_of({0: b"\xa1x", 2: b"\xc1"}, 10) == {10: "x", 12: b"\xc1"}


def test_without_nats_the_class_is_there_and_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def bare(name, *args, **kwargs):
        if name.split(".")[0] == "nats":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    for module in [m for m in sys.modules if m.startswith(("holdfast.client.links", "holdfast.log.jetstream.conn"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", bare)
    access = LogAccess(("nats://127.0.0.1:1",), "client", "p", "_INBOX.client")
    configuration = Configuration(access, (ReplicaPlace("a", "a"),))
    with pytest.raises(MissingLibraryError, match=r"pip install 'holdfast\[cluster\]'"):
        holdfast.Client(configuration)
