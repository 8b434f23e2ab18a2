"""Statements against holdings: which lines break, in which order, at which moment, and what explains them."""

from collections.abc import Mapping
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.validate.reconcile.breaks import Compared, compare, in_order
from holdfast.validate.reconcile.history import History, Moment
from holdfast.validate.reconcile.lines import BALANCE, COST, NET_BALANCE, POSITION, Stated, Statement
from holdfast.validate.reconcile.picture import Account, Item, Picture, Row, Withdrawal

SECOND = 10**9
ITEMS = {
    "BTC": Item("BTC", True, "BTC", Decimal("1E-8"), "BTC", True, 0, 7900.0),
    "ETH": Item("ETH", True, "ETH", Decimal("1E-9"), "ETH", True, 0, None),
    "BTC-PERPETUAL": Item("BTC-PERPETUAL", False, "USD", Decimal(10), "BTC", True, 0, -7900 / 7895),
    "BTC-27MAR20": Item("BTC-27MAR20", False, "USD", Decimal(10), "BTC", False, 5 * SECOND, None),
}
End = tuple[int, int]
END: End = (100, 100 * SECOND)


def d(value: object) -> Decimal:
    return Decimal(str(value))


class World:
    """Accounts whose past is told step by step; position p has the logical time p seconds."""

    def __init__(self) -> None:
        self.history = History()
        self.withdrawals: list[Withdrawal] = []
        self.rows: dict[str, dict[str, tuple[Decimal, Decimal]]] = {}

    def at(
        self, position: int, account: str, kinds: tuple[str, ...] = (), fee: object = 0, **amounts: object
    ) -> "World":
        """From a position on an account has these amounts, with (amount, cost) where a cost is meant."""
        rows = self.rows.setdefault(account, {})
        for name, given_ in amounts.items():
            item = name.replace("_", "-").replace("BTC-PERP", "BTC-PERPETUAL")
            amount, cost = given_ if isinstance(given_, tuple) else (given_, 0)
            rows[item] = d(amount), d(cost)
        held = {item: pair for item, pair in rows.items() if any(pair)}
        if account in self.history.begun:
            self.history.note(account, position, position * SECOND, held, kinds, {"BTC": d(fee)})
        else:
            self.history.begin(account, position, position * SECOND, held)
        return self

    def picture(self) -> Picture:
        accounts = {
            name: Account(name, 4 + n, {item: Row(*pair) for item, pair in rows.items()}, *END)
            for n, (name, rows) in enumerate(self.rows.items())
        }
        return Picture(accounts, ITEMS, tuple(self.withdrawals))

    def compare(self, statement: Statement, **tolerances: object) -> Compared:
        allowed = {name.replace("_", "-"): d(amount) for name, amount in tolerances.items()}
        return compare(statement, self.picture(), self.history, allowed, position=END[0], time=END[1])


def stated(
    lines: Mapping[tuple[str, str], object], *, account: str = "alice", covers: tuple[str, ...] = (), **more: object
) -> Statement:
    given_ = {line: one if isinstance(one, Stated) else Stated(d(one)) for line, one in lines.items()}
    return Statement("s", {account: given_}, frozenset(covers), **more)  # type: ignore[arg-type]


def codes(compared: Compared) -> list[str]:
    return [one.code for one in in_order(compared.breaks)]


@pytest.mark.criterion("REC-8")
def test_a_break_has_its_difference_and_dollars_and_respects_its_tolerance() -> None:
    world = World().at(1, "alice", BTC="9.99993666")
    statement = stated({(BALANCE, "BTC"): 10})
    (one,) = world.compare(statement).breaks
    assert (one.ours, one.theirs, one.difference) == (d("9.99993666"), 10, d("-0.00006334"))
    assert one.dollars == pytest.approx(0.500386, rel=1e-9)
    assert (one.position, one.time, one.unit) == (100, 100 * SECOND, "BTC")
    assert world.compare(statement, BTC="0.00006334").breaks == ()
    assert len(world.compare(statement, BTC="0.00006333").breaks) == 1
    assert len(world.compare(statement, ETH=1).breaks) == 1


@pytest.mark.criterion("REC-8")
def test_breaks_are_sorted_by_dollars_and_the_unknown_come_first() -> None:
    world = World().at(1, "alice", BTC=1, ETH=5, BTC_PERP=(1000, "-0.1")).at(1, "bob", BTC=2)
    statement = Statement(
        "s",
        {
            "alice": {
                (BALANCE, "BTC"): Stated(d("0.9")),
                (BALANCE, "ETH"): Stated(d(4)),
                (POSITION, "BTC-PERPETUAL"): Stated(d(1000), d("-0.11")),
            },
            "bob": {(BALANCE, "BTC"): Stated(d("0.9"))},
        },
        frozenset(),
    )
    found = in_order(world.compare(statement).breaks)
    assert [(one.account, one.item, one.what) for one in found] == [
        ("alice", "ETH", BALANCE),
        ("bob", "BTC", BALANCE),
        ("alice", "BTC", BALANCE),
        ("alice", "BTC-PERPETUAL", COST),
    ]
    assert found[0].dollars is None
    assert found[3].dollars == pytest.approx(79.0)
    assert found[3].unit == "BTC"
    # A cost is in its settlement asset, and so is its tolerance.
    assert COST in {one.what for one in world.compare(statement, BTC_PERPETUAL=1).breaks}
    assert COST not in {one.what for one in world.compare(statement, BTC="0.01").breaks}


@pytest.mark.criterion("REC-5")
def test_what_a_statement_covers_and_does_not_list_is_stated_as_0() -> None:
    world = World().at(1, "alice", BTC=1, ETH=2, BTC_PERP=(1000, 0))
    compared = world.compare(stated({(BALANCE, "BTC"): 1}, covers=(BALANCE,)))
    assert [(one.item, one.theirs) for one in compared.breaks] == [("ETH", 0)]
    assert compared.lines == 2
    assert compared.notes == ("it states no positions: none were compared",)
    compared = world.compare(stated({(POSITION, "BTC-PERPETUAL"): 1000}, covers=(POSITION,)))
    assert compared.breaks == ()
    assert compared.notes == ("it states no balances: none were compared",)


@pytest.mark.criterion("REC-5")
def test_a_complete_statement_speaks_of_accounts_that_it_does_not_list() -> None:
    world = World().at(1, "alice", BTC=1).at(1, "bob", BTC=2)
    statement = stated({(BALANCE, "BTC"): 1}, covers=(BALANCE,))
    assert world.compare(statement).breaks == ()
    (one,) = world.compare(statement._replace(complete=True)).breaks
    assert (one.account, one.ours, one.theirs) == ("bob", 2, 0)


@pytest.mark.criterion("REC-6")
def test_a_statement_is_compared_at_its_own_moment() -> None:
    world = World().at(5, "alice", BTC=1).at(6, "alice", BTC=2).at(7, "alice", BTC=3)

    def ours(**moment: object) -> object:
        (one,) = world.compare(stated({(BALANCE, "BTC"): "0.123"}, **moment)).breaks
        return one.ours

    assert ours(position=6) == 2
    assert ours(time=6 * SECOND + SECOND // 2) == 2
    assert ours(time=7 * SECOND) == 3
    assert ours(time=7 * SECOND, position=5) == 1
    assert ours() == 3


@pytest.mark.criterion("REC-6")
def test_equal_logical_times_count_up_to_the_last_frame() -> None:
    history = History()
    history.begin("alice", 5, 0, {"BTC": (d(1), d(0))})
    history.note("alice", 6, SECOND, {"BTC": (d(2), d(0))})
    history.note("alice", 7, SECOND, {"BTC": (d(3), d(0))})
    at = [history.at("alice", "BTC", Moment(time=time)) for time in (SECOND // 2, SECOND)]
    assert [point.amount for point in at if point] == [1, 3]
    assert history.at("alice", "BTC", Moment(position=4)) is None


@pytest.mark.criterion("REC-6")
def test_a_past_that_is_not_known_is_said_and_so_is_a_future() -> None:
    world = World().at(50, "alice", BTC=1)
    (one,) = world.compare(stated({(BALANCE, "BTC"): 2}, position=40)).breaks
    assert (one.position, one.note) == (50, "what was there before position 50 is not known")
    compared = world.compare(stated({(BALANCE, "BTC"): 1}, position=200))
    assert "of position 200" in " ".join(compared.notes)
    compared = world.compare(stated({(BALANCE, "BTC"): 1}, time=101 * SECOND))
    assert "1.000 s after" in " ".join(compared.notes)


@pytest.mark.criterion("REC-7")
def test_a_net_balance_does_not_hang_on_when_profit_is_moved() -> None:
    world = World().at(1, "alice", BTC=("1.25", "0.034443742"), BTC_PERP=(-2800, "0.034443742"))
    line = Stated(d("1.215556257831"), None, d("2.17761E-8"))
    assert world.compare(stated({(NET_BALANCE, "BTC"): line}, covers=(NET_BALANCE,))).breaks == ()
    wrong = line._replace(amount=line.amount + d("3E-8"))
    (one,) = world.compare(stated({(NET_BALANCE, "BTC"): wrong}, covers=(NET_BALANCE,))).breaks
    assert (one.what, one.ours) == (NET_BALANCE, d("1.215556258"))


@pytest.mark.criterion("REC-10")
def test_what_is_not_known_here() -> None:
    world = World().at(1, "alice", BTC=1)
    assert codes(world.compare(stated({(BALANCE, "DOGE"): 1}))) == ["unknown-item"]
    (one,) = world.compare(stated({(BALANCE, "BTC"): 1}, account="zoe")).breaks
    assert (one.code, one.ours, one.difference, one.dollars) == ("unknown-account", None, -1, 7900.0)
    assert world.compare(stated({(BALANCE, "DOGE"): 0})).breaks == ()
    assert world.compare(stated({(BALANCE, "BTC"): 0}, account="zoe")).breaks == ()


@pytest.mark.criterion("REC-10")
@pytest.mark.parametrize(
    ("line", "theirs", "code"),
    [
        ((POSITION, "BTC-27MAR20"), 100, "settled"),
        ((POSITION, "BTC-PERPETUAL"), -1000, "sign-flipped"),
        ((BALANCE, "BTC"), -3, "sign-flipped"),
        ((POSITION, "BTC-PERPETUAL"), 100, "lot-size"),
        ((POSITION, "BTC-PERPETUAL"), 10000, "lot-size"),
        ((POSITION, "BTC-PERPETUAL"), 10, "scale"),
        ((BALANCE, "BTC"), 300000000, "scale"),
        ((BALANCE, "BTC"), "0.3", "scale"),
        ((BALANCE, "BTC"), "3.1", ""),
        ((POSITION, "BTC-PERPETUAL"), 990, ""),
    ],
)
def test_explanations_by_figures_alone(line: tuple[str, str], theirs: object, code: str) -> None:
    world = World().at(1, "alice", BTC=3, BTC_PERP=(1000, 0))
    assert codes(world.compare(stated({line: theirs}))) == [code]


@pytest.mark.criterion("REC-10")
def test_withdrawals_under_way() -> None:
    world = World().at(1, "alice", BTC=3)
    world.withdrawals = [
        Withdrawal(1, "alice", "BTC", d(2), "reserved"),
        Withdrawal(2, "alice", "BTC", d("0.5"), "released"),
        Withdrawal(3, "bob", "BTC", d(7), "reserved"),
    ]
    for theirs, code in ((5, "withdrawal"), ("3.5", "withdrawal"), ("5.5", "withdrawal"), (10, ""), ("2.5", "")):
        assert codes(world.compare(stated({(BALANCE, "BTC"): theirs}))) == [code]


@pytest.mark.criterion("REC-10")
def test_theirs_is_ours_of_another_position() -> None:
    world = World().at(1, "alice", BTC=3)
    world.at(10, "alice", ("deposit",), BTC=4).at(20, "alice", ("funding",), BTC="4.1")
    world.at(30, "alice", ("trade",), BTC="4.2", BTC_PERP=(1000, 0))

    def found(theirs: object, item: str = "BTC", what: str = BALANCE, position: int = 25) -> tuple[str, str]:
        (one,) = world.compare(stated({(what, item): theirs}, position=position)).breaks
        return one.code, one.explanation

    assert found(4) == (
        "earlier-funding",
        "theirs is ours before position 20; not in the statement: 1 funding at 20 (1970-01-01T00:00:20Z)",
    )
    assert found(3)[0] == "earlier"
    assert found("4.2")[0] == "later-trade"
    assert found(1000, "BTC-PERPETUAL", POSITION)[0] == "later-trade"
    assert found(0, "BTC-PERPETUAL", POSITION, 99)[0] == "earlier-trade"
    assert found("3.5")[0] == ""


@pytest.mark.criterion("REC-10")
def test_fees_and_funding_that_are_not_booked() -> None:
    world = World().at(1, "alice", BTC=10)
    world.at(2, "alice", ("trade",), "0.00006334", BTC="9.99993666", BTC_PERP=(1000, 0))
    world.at(3, "alice", ("funding",), BTC="9.99992399").at(4, "alice", ("deposit",), BTC="10.99992399")
    for theirs, code in (
        ("10.99998733", "fees"),
        ("10.99993666", "funding"),
        (11, "fees-and-funding"),
        ("9.99992399", "earlier-deposit"),
        ("10.5", ""),
    ):
        assert codes(world.compare(stated({(BALANCE, "BTC"): theirs}))) == [code]


@pytest.mark.criterion("REC-10")
def test_explanations_hold_within_the_tolerance_but_scales_exactly() -> None:
    world = World().at(1, "alice", BTC=3).at(2, "alice", ("deposit",), BTC=4)
    assert codes(world.compare(stated({(BALANCE, "BTC"): "3.01"}))) == [""]
    assert codes(world.compare(stated({(BALANCE, "BTC"): "3.01"}), BTC="0.02")) == ["earlier-deposit"]
    assert codes(world.compare(stated({(BALANCE, "BTC"): "41"}), BTC="2")) == [""]


@pytest.mark.criterion("REC-2")
def test_only_the_latest_points_are_kept_and_the_rest_is_not_known() -> None:
    history = History()
    history.begin("alice", 0, 0, {})
    for position in range(1, 400):
        history.note("alice", position, position, {"BTC": (d(position), d(0))})
    assert history.at("alice", "BTC", Moment(position=399)).amount == 399  # type: ignore[union-attr]
    assert history.at("alice", "BTC", Moment(position=144)).amount == 144  # type: ignore[union-attr]
    assert history.at("alice", "BTC", Moment(position=143)) is None


@pytest.mark.criterion("REC-6", "REC-8")
@given(
    changes=st.lists(st.tuples(st.sampled_from(["BTC", "ETH"]), st.integers(-5, 5)), max_size=30),
    position=st.integers(0, 40),
    theirs=st.integers(-6, 6),
    tolerance=st.integers(0, 4),
)
def test_the_past_and_the_tolerance_against_the_plainest_way(
    changes: list[tuple[str, int]], position: int, theirs: int, tolerance: int
) -> None:
    world, naive = World().at(0, "alice"), {0: 0}
    for at, (item, amount) in enumerate(changes, 1):
        world.at(at, "alice", **{item: amount})
        naive[at] = amount if item == "BTC" else naive[at - 1]
    expected = naive[min(position, max(naive))]
    found = world.compare(stated({(BALANCE, "BTC"): theirs}, position=position), BTC=tolerance).breaks
    assert len(found) == (abs(expected - theirs) > tolerance)
    assert all(one.difference == expected - theirs for one in found)
