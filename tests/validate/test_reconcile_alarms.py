"""Three kinds of wrong, each provoked: a replica, a feed, a parameter; the ledger's own alarms; and ages."""

import itertools
import json
from collections.abc import Sequence
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.domain.errors import InputError
from holdfast.margin.presets import preset
from holdfast.validate.reconcile import approval, feeds, replicas
from holdfast.validate.reconcile.ages import Ages, ages_bytes, read_ages
from holdfast.validate.reconcile.approval import Approved, read_approved
from holdfast.validate.reconcile.findings import Alarm, Label
from holdfast.validate.reconcile.history import History
from holdfast.validate.reconcile.lines import BALANCE, Stated, Statement
from holdfast.validate.reconcile.picture import Answered, Heard, Seen
from holdfast.validate.reconcile.run import Asked, changes, decimal_text, reconcile

SECOND = 10**9
NAMES = ("one", "two", "three")
A, B, C = "aa" * 32, "bb" * 32, "cc" * 32
LEDGER = {
    "price_id": 3,
    "sums": {"BTC": "0E-8"},
    "accounts": 5,
    "holding": 1,
    "costs": [],
    "costs_wrong": 0,
    "open_orders": 0,
    "orders": [],
    "orders_wrong": 0,
}
RULES = {"age_maximum": 60 * SECOND, "outlier_ppm": 50_000, "sources_minimum": 1}


def answered(content: dict, position: int = 1_030, time: int = 100 * SECOND, replica: str = "one") -> Answered:
    return Answered(content, position, time, replica)


def root(checkpoints: Sequence = (), votes: Sequence = (), suspended: Sequence = (), **at: int) -> Answered:
    content = {"checkpoints": checkpoints, "votes": votes, "suspended": suspended, "replicas": NAMES, "certified": []}
    return answered(content, **at)


def heard(name: str, *roots: tuple[int, str] | tuple[int, str, str], position: int = 1_030) -> Heard:
    """A replica with roots at positions; the log's H is the position unless it is said."""
    taken = [[one[0], one[2] if len(one) > 2 else f"H{one[0]}", one[1]] for one in roots]
    return Heard(name, f"region {name}", root(taken, position=position))


def seen(
    *replicas_: Heard, at: Answered | None = None, quotes: Answered | None = None, folded: bool = False, **more: object
) -> Seen:
    fields = {
        "source": "source",
        "log": "L",
        "folded": folded,
        "ledger": answered(LEDGER),
        "holdings": (answered({"accounts": [], "items": {}, "withdrawals": []}),),
        "quotes": (quotes or answered({"rules": RULES, "sources": [], "items": []}),),
        "parameters": answered({"rules": {}, "models": []}),
        "root": at or root(),
        "replicas": replicas_,
        "sets": {},
        "history": History(),
    }
    return Seen(**(fields | more))  # type: ignore[arg-type]


def found(alarms: object) -> set[tuple[str, str]]:
    return {(one.subject, one.code) for one in alarms}  # type: ignore[attr-defined]


def silent(name: str) -> Heard:
    return Heard(name, "region", problem="no answer")


@pytest.mark.criterion("REC-11")
@pytest.mark.parametrize(
    ("heard_", "expected"),
    [
        ((heard("one", (1023, A)), heard("two", (1023, A)), heard("three", (1023, A))), set()),
        ((heard("one", (1023, A)), heard("two", (1023, A)), heard("three", (1023, B))), {("three", "wrong-state")}),
        ((heard("one", (1023, A)), heard("two", (1023, B)), silent("three")), {("one, two", "undecided")}),
        (
            (heard("one", (1023, A)), heard("two", (1023, B)), heard("three", (1023, C))),
            {("one, three, two", "undecided")},
        ),
        ((heard("one", (1023, A)), silent("two"), silent("three")), set()),
        ((heard("one", (1023, A)), heard("two", (1279, B)), silent("three")), set()),
        (
            (heard("one", (1023, A)), heard("two", (1023, A)), heard("three", (1023, B, "other"))),
            {("three", "wrong-log")},
        ),
        ((heard("one", (1023, A)), heard("two", (1023, A)), silent("three")), set()),
    ],
)
def test_a_replica_is_wrong_where_most_say_so(heard_: tuple[Heard, ...], expected: set) -> None:
    assert found(replicas.alarms(seen(*heard_))) == expected


@pytest.mark.criterion("REC-11")
def test_the_earliest_position_is_named_and_a_root_before_it_is_not_blamed() -> None:
    good = ((7, A), (15, A), (23, A))
    wrong = heard("three", (7, A), (15, B), (23, C))
    (alarm,) = replicas.alarms(seen(heard("one", *good), heard("two", *good), wrong))
    assert (alarm.position, alarm.label, alarm.subject) == (15, Label.REPLICA, "three")
    assert "position 15" in alarm.text


@pytest.mark.criterion("REC-11")
def test_votes_in_the_log_speak_for_replicas_that_are_silent() -> None:
    votes = [[1023, "two", A], [1023, "three", A]]
    look = seen(heard("one", (1023, B)), silent("two"), silent("three"), at=root(votes=votes))
    assert found(replicas.alarms(look)) == {("one", "wrong-state")}


@pytest.mark.criterion("REC-11")
def test_a_replica_that_answers_another_root_than_it_voted_for() -> None:
    votes = [[1023, name, A] for name in NAMES]
    look = seen(heard("one", (1023, B)), heard("two", (1023, A)), heard("three", (1023, A)), at=root(votes=votes))
    assert found(replicas.alarms(look)) == {("one", "two-roots"), ("one", "wrong-state")}


@pytest.mark.criterion("REC-11")
def test_suspension_is_an_alarm_and_lag_is_a_fact() -> None:
    look = seen(heard("one"), heard("two", position=20), silent("three"), at=root(suspended=["two"]))
    assert found(replicas.alarms(look)) == {("two", "suspended")}
    states = {one.name: (one.answered, one.lag, one.verdict) for one in replicas.states(look)}
    assert states == {"one": (True, 0, "alone"), "two": (True, 1_010, "alone"), "three": (False, 0, "silent")}


@pytest.mark.criterion("REC-11")
def test_a_folder_that_folds_to_another_root_than_the_votes() -> None:
    votes = [[1023, name, A] for name in NAMES]
    right = seen(at=root([[1023, "H", A]], votes), folded=True)
    assert found(replicas.alarms(right)) == set()
    assert {one.verdict for one in replicas.states(right)} == {"agrees"}
    wrong = seen(at=root([[1023, "H", B]], votes), folded=True)
    assert found(replicas.alarms(wrong)) == {(replicas.FOLD, "refold")}
    voter = seen(at=root([[1023, "H", A]], [*votes[:2], [1023, "three", B]]), folded=True)
    assert found(replicas.alarms(voter)) == {("three", "wrong-state")}
    alone = seen(at=root([[1023, "H", B]], votes[:1]), folded=True)
    assert {code for _, code in found(replicas.alarms(alone))} == {"undecided"}


@pytest.mark.criterion("REC-11")
@given(st.lists(st.sampled_from([A, B, None]), min_size=3, max_size=5), st.randoms())
def test_majorities_do_not_hang_on_the_order_of_replicas(roots: list, random: object) -> None:
    names = [f"r{n}" for n in range(len(roots))]
    heard_ = [silent(name) if one is None else heard(name, (7, one)) for name, one in zip(names, roots, strict=True)]
    mixed = list(heard_)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    alarms = found(replicas.alarms(seen(*heard_)))
    assert alarms == found(replicas.alarms(seen(*mixed)))
    said = [one for one in roots if one]
    right = next((one for one in (A, B) if 2 * said.count(one) > len(roots)), None)
    if right is None:
        assert {code for _, code in alarms} == ({"undecided"} if len(set(said)) > 1 else set())
    else:
        wrong = {name for name, one in zip(names, roots, strict=True) if one not in (None, right)}
        assert {subject for subject, _ in alarms} == wrong


def quoted(*quotes: tuple[int, int] | tuple[int, int, int], open_: bool = True, time: int = 100 * SECOND) -> Answered:
    """Quotes (source, price, time in seconds) of BTC in steps of a cent at logical time 100 s."""
    rows = [[one[0], one[1], (one[2] if len(one) > 2 else 99) * SECOND, 1] for one in quotes]
    item = {"name": "BTC", "open": open_, "step": "0.01", "price": 1, "marked": 1, "quotes": rows}
    return answered({"rules": RULES, "sources": list("xyz"), "items": [item]}, time=time)


@pytest.mark.criterion("REC-12")
@pytest.mark.parametrize(
    ("quotes", "expected"),
    [
        (((0, 9_990), (1, 10_000), (2, 10_700)), {("z BTC", "outlier")}),
        (((0, 9_990), (1, 10_000), (2, 10_500)), set()),
        (((0, 9_990), (1, 10_000), (2, 10_501)), {("z BTC", "outlier")}),
        (((0, 9_000), (1, 10_000), (2, 10_900)), {("x BTC", "outlier"), ("z BTC", "outlier")}),
        (((0, 10_000), (1, 10_500)), set()),
        (((0, 10_000), (1, 10_501)), {("x, y BTC", "disagree")}),
        (((0, 10_000),), set()),
        (((0, 10_000, 40), (1, 10_000, 39), (2, 20_000, 39)), {("y", "stale"), ("z", "stale")}),
        (((0, 10_000, 39),), {("x", "stale")}),
    ],
)
def test_a_feed_is_wrong_where_the_rules_leave_it_out(quotes: tuple, expected: set) -> None:
    alarms = list(feeds.alarms(seen(quotes=quoted(*quotes))))
    assert found(alarms) == expected
    assert {one.label for one in alarms} <= {Label.FEED}


@pytest.mark.criterion("REC-12")
def test_words_and_edges_of_feeds() -> None:
    (alarm,) = feeds.alarms(seen(quotes=quoted((0, 9_990), (1, 10_000), (2, 10_700))))
    assert alarm.text == ("z says 107 of BTC, +70,000 ppm from the median 100 of 3 sources (allowed 50,000)")
    assert not list(feeds.alarms(seen(quotes=quoted((0, 1), (1, 100), open_=False))))
    # 60 s before logical time is fresh, a nanosecond more is stale.
    assert not list(feeds.alarms(seen(quotes=quoted((0, 1, 40)))))
    late = quoted((0, 1, 40), time=100 * SECOND + 1)
    assert found(feeds.alarms(seen(quotes=late))) == {("x", "stale")}


@pytest.mark.criterion("REC-12")
def test_all_stale_items_of_a_source_are_one_alarm() -> None:
    rows = [[0, 100, 10 * SECOND, 1]]
    items = [{"name": f"I{n}", "open": True, "step": "1", "price": 1, "marked": 1, "quotes": rows} for n in range(7)]
    pages = tuple(answered({"rules": RULES, "sources": ["x"], "items": part}) for part in (items[:4], items[4:]))
    (alarm,) = feeds.alarms(seen()._replace(quotes=pages))
    assert "I0, I1, I2, I3 and 3 more for 90.0 s" in alarm.text


@pytest.mark.criterion("REC-12")
@given(
    st.lists(st.integers(1, 10**9), min_size=1, max_size=16),
    st.integers(1, 1_000_000),
)
def test_outliers_are_those_that_the_price_is_made_without(prices: list[int], outlier_ppm: int) -> None:
    """Against exact fractions, where the engine's doubles leave no doubt."""
    rows = [[n, price, 99 * SECOND, 1] for n, price in enumerate(prices)]
    item = {"name": "BTC", "open": True, "step": "1", "price": 1, "marked": 1, "quotes": rows}
    content = {"rules": RULES | {"outlier_ppm": outlier_ppm}, "sources": [f"s{n}" for n in range(16)], "items": [item]}
    alarms = list(feeds.alarms(seen(quotes=answered(content))))
    middle = sorted(prices)[(len(prices) - 1) // 2]
    far = {f"s{n} BTC" for n, price in enumerate(prices) if abs(price - middle) * 10**6 > middle * outlier_ppm}
    if len(prices) == 2:
        assert {one.code for one in alarms} == ({"disagree"} if far else set())
    else:
        assert {one.subject for one in alarms} == far


PORTFOLIO = preset("portfolio")
OTHER = msgspec.structs.replace(PORTFOLIO, initial_factor=1.3)
SETS = {one.digest: msgspec.to_builtins(one) for one in (PORTFOLIO, OTHER)}


def models(digest: str, version: int = 1, position: int = 1_030, pending: object = None, **rules: int) -> Answered:
    model = {"name": "main", "set": "portfolio", "version": version, "digest": digest, "pending": pending}
    return answered({"rules": {"outlier_ppm": 50_000} | rules, "models": [model]}, position=position)


def with_models(*answers: Answered | None) -> Seen:
    listed = [Heard(name, "", root(), answer) for name, answer in zip(NAMES, answers, strict=False)]
    return seen(*listed, parameters=answers[0], sets=SETS)


@pytest.mark.criterion("REC-13")
@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((models("p"), models("p"), models("p")), set()),
        ((models("p"), models("p"), models("q")), {("three main", "differs")}),
        ((models("p"), models("q")), {("one main", "differs"), ("two main", "differs")}),
        ((models("p", 2), models("q", 1, 1_029)), set()),
        ((models("p", 2), models("q", 1, 1_030)), {("two main", "older")}),
        ((models("p"), models("p", outlier_ppm=1), models("p")), {("two rules", "rules")}),
        ((models("p"), models("p", outlier_ppm=1, position=1_000), models("p")), set()),
        ((models("p"),), set()),
    ],
)
def test_parameters_of_replicas(answers: tuple, expected: set) -> None:
    alarms = list(approval.alarms(with_models(*answers), None))
    assert found(alarms) == expected
    assert {one.label for one in alarms} <= {Label.PARAMETER}


@pytest.mark.criterion("REC-13")
def test_the_field_that_differs_is_named() -> None:
    look = with_models(models(PORTFOLIO.digest), models(PORTFOLIO.digest), models(OTHER.digest))
    (alarm,) = approval.alarms(look, None)
    assert [(one.field, one.found, one.expected) for one in alarm.fields] == [("initial_factor", 1.3, 1.2)]
    assert alarm.text.endswith("initial_factor is 1.3 instead of 1.2")


@pytest.mark.criterion("REC-13")
def test_parameters_against_what_was_approved() -> None:
    look = with_models(models(PORTFOLIO.digest, pending=[5 * SECOND, OTHER.digest]))
    for name in ("main", "portfolio"):
        assert not list(approval.alarms(look, Approved({name: PORTFOLIO}, {"outlier_ppm": 50_000})))
    (alarm,) = approval.alarms(look, Approved({"main": OTHER}, {}))
    assert (alarm.subject, alarm.code) == ("main", "not-approved")
    assert "initial_factor is 1.2 instead of 1.3" in alarm.text
    assert "to hold from 1970-01-01T00:00:05Z" in alarm.text
    (alarm,) = approval.alarms(look, Approved({"other": OTHER}, {}))
    assert (alarm.subject, alarm.code) == ("other", "missing")
    (alarm,) = approval.alarms(look, Approved({}, {"outlier_ppm": 10_000}))
    assert (alarm.subject, alarm.fields[0].field) == ("rules", "outlier_ppm")


@pytest.mark.criterion("REC-13")
def test_differences_go_into_lists_and_absent_fields() -> None:
    one = {"a": [1, {"b": 2}], "c": 3, "same": [1, 2]}
    other = {"a": [1, {"b": 5}], "d": 4, "same": (1, 2)}
    assert {(d.field, d.found, d.expected) for d in approval.differences(one, other)} == {
        ("a[1].b", 2, 5),
        ("c", 3, approval.ABSENT),
        ("d", approval.ABSENT, 4),
    }
    assert [d.field for d in approval.differences({"a": [1]}, {"a": [1, 2]})] == ["a"]


@pytest.mark.criterion("REC-13")
def test_an_approved_file_is_a_set_or_models_and_rules() -> None:
    bare = msgspec.json.encode(PORTFOLIO)
    assert read_approved(bare) == Approved({"portfolio": PORTFOLIO}, {})
    whole = json.dumps({"models": {"main": json.loads(bare)}, "rules": {"outlier_ppm": 1}}).encode()
    assert read_approved(whole) == Approved({"main": PORTFOLIO}, {"outlier_ppm": 1})


@pytest.mark.criterion("REC-13")
@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "{",
        '{"rules": {"nonsense": 1}}',
        '{"rules": {"outlier_ppm": 1.5}}',
        '{"rules": {"outlier_ppm": true}}',
        '{"models": {"x": {"type": "portfolio"}}}',
        '{"more": 1}',
        '{"type": "nonsense"}',
    ],
)
def test_a_wrong_approved_file_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_approved(text.encode())


@pytest.mark.criterion("REC-3")
def test_the_ledgers_own_alarms() -> None:
    content = LEDGER | {
        "sums": {"BTC": "-1E-8", "ETH": "0E-9"},
        "costs": [["alice", "BTC", "-0.12666244", "-0.12666243"]],
        "costs_wrong": 7,
        "orders": [["bob", 3, "has nothing left to fill"]],
        "orders_wrong": 1,
    }
    report, _ = reconcile(seen(ledger=answered(content)), Asked(), Ages())
    assert [(one.label, one.subject, one.code) for one in report.alarms] == [
        (Label.LEDGER, "BTC", "sum"),
        (Label.LEDGER, "alice BTC", "cost"),
        (Label.LEDGER, "bob order 3", "order"),
    ]
    assert "-0.00000001 of BTC" in report.alarms[0].text
    assert "-0.12666244" in report.alarms[1].text
    assert "-0.12666243" in report.alarms[1].text
    assert "of 7 wrong costs the first 1 are listed" in report.notes
    assert report.status == 1
    assert reconcile(seen(), Asked(), Ages())[0].status == 0


@pytest.mark.criterion("REC-14")
def test_three_kinds_of_wrong_are_three_kinds_of_alarm() -> None:
    heard_ = [heard("one", (7, A)), heard("two", (7, A)), heard("three", (7, B))]
    listed = [one._replace(parameters=models(PORTFOLIO.digest)) for one in heard_]
    look = seen(
        *listed,
        quotes=quoted((0, 9_990), (1, 10_000), (2, 10_700)),
        parameters=models(PORTFOLIO.digest),
        sets=SETS,
    )
    report, _ = reconcile(look, Asked(approved=Approved({"main": OTHER}, {})), Ages())
    assert [(one.label, one.subject) for one in report.alarms] == [
        (Label.REPLICA, "three"),
        (Label.FEED, "z BTC"),
        (Label.PARAMETER, "main"),
    ]
    assert {check.name: check.findings for check in report.checks} == {
        Label.LEDGER: 0,
        Label.REPLICA: 1,
        Label.FEED: 1,
        Label.PARAMETER: 1,
    }
    plain = json.loads(json.dumps(report.as_dict()))
    assert plain["status"] == 1
    assert [one["label"] for one in plain["alarms"]] == ["replica", "feed", "parameter"]


@pytest.mark.criterion("REC-14")
def test_figures_of_a_replica_under_alarm_are_said_to_be() -> None:
    look = seen(heard("one", (7, B)), heard("two", (7, A)), heard("three", (7, A)))
    report, _ = reconcile(look, Asked(), Ages())
    assert "one, whose figures these are, is itself under alarm" in report.notes


def look_at(position: int, *, wrong: bool, theirs: object = 5) -> tuple[Seen, Asked]:
    """A look at a position, at which alice is or is not in a statement of 1 BTC that is wrong."""
    history = History()
    history.begin("alice", 0, 0, {"BTC": (Decimal(1), Decimal(0))})
    item = {"asset": True, "unit": "BTC", "step": "1E-8", "settlement": "BTC", "open": True, "expiry": 0, "value": 9.0}
    content = {
        "accounts": [{"name": "alice", "number": 4, "rows": [["BTC", "1", "0"]]}],
        "items": {"BTC": item},
        "withdrawals": [],
    }
    statement = Statement(
        "s", {"alice": {(BALANCE, "BTC"): Stated(Decimal(str(theirs)) if wrong else Decimal(1))}}, frozenset()
    )
    at = {"position": position, "time": position * SECOND}
    look = seen(ledger=answered(LEDGER, **at), holdings=(answered(content, **at),), history=history)
    return look, Asked((statement,))


@pytest.mark.criterion("REC-9")
def test_ages_last_as_long_as_every_look_finds_the_same() -> None:
    ages, first = Ages(), []
    for position, wrong in ((100, True), (120, True), (130, False), (140, True)):
        report, ages = reconcile(*look_at(position, wrong=wrong, theirs=position), ages)
        ages = read_ages(ages_bytes(ages))
        first.append([(one.first_position, one.first_time) for one in report.breaks])
    assert first == [[(100, 100 * SECOND)], [(100, 100 * SECOND)], [], [(140, 140 * SECOND)]]


@pytest.mark.criterion("REC-9")
def test_ages_of_another_log_or_ahead_are_refused() -> None:
    _, ages = reconcile(*look_at(100, wrong=True), Ages())
    with pytest.raises(InputError, match="ahead"):
        reconcile(*look_at(99, wrong=True), ages)
    with pytest.raises(InputError, match="another log"):
        reconcile(*look_at(101, wrong=True), msgspec.structs.replace(ages, log="M"))
    for text in (b"", b"{", b'{"format": 2}', b'{"nonsense": 1}', b"\xff"):
        with pytest.raises(InputError):
            read_ages(text)


@pytest.mark.criterion("REC-14")
def test_changes_between_looks() -> None:
    first, ages = reconcile(*look_at(100, wrong=True, theirs=5), Ages())
    same, ages = reconcile(*look_at(110, wrong=True, theirs=5), ages)
    other, ages = reconcile(*look_at(120, wrong=True, theirs=6), ages)
    gone, _ = reconcile(*look_at(130, wrong=False), ages)
    assert not changes(first, same)
    assert [one.theirs for one in changes(same, other).changed] == [6]  # type: ignore[union-attr]
    assert len(changes(other, gone).gone) == 1
    assert len(changes(gone, other).new) == 1
    assert changes(other, gone).status == 0


@pytest.mark.criterion("REC-14")
@pytest.mark.parametrize(
    ("value", "text"),
    [("0E-8", "0"), ("-0", "0"), ("1E+3", "1000"), ("-0.10", "-0.1"), ("100", "100"), ("1E-8", "0.00000001")],
)
def test_decimals_are_written_without_exponents(value: str, text: str) -> None:
    assert decimal_text(Decimal(value)) == text


def test_keys_of_findings_differ() -> None:
    alarms = [
        Alarm(label=label, subject=subject, code=code, text="", position=0, time=0)
        for label, subject, code in itertools.product((Label.FEED, Label.REPLICA), ("a", "b"), ("x", "y"))
    ]
    assert len({one.key for one in alarms}) == len(alarms)
