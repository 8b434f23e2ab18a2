"""What a reconciliation asks of a state: figures of a small venue, and states that were damaged on purpose."""

import numpy as np
import pytest

from holdfast.core.state import Account, Item, Open
from holdfast.domain.errors import InputError
from holdfast.domain.messages import Found, Read, decode_reply, encode_message
from holdfast.replica.directory import Directory
from holdfast.replica.node import audit, reads
from replica.venues import venue


class Asked:
    """A venue with a trade, an order and a withdrawal, and its answers as they arrive."""

    def __init__(self) -> None:
        self.engine = venue()
        assert self.engine.trade("alice", "bob", "BTC-PERPETUAL", 1000, 7895)
        assert self.engine.order("alice", "BTC-PERPETUAL", 100, 7000)
        assert self.engine.withdraw("bob", "BTC", "0.5")
        self.fold = self.engine.embedded.fold
        self.book = Directory(self.fold, self.engine.embedded.names)

    def __call__(self, what: str, **arguments: object) -> dict:
        content = reads.answer(self.fold, self.book, Read(what, arguments))
        found = decode_reply(encode_message(Found(content, self.fold.position - 1, self.fold.time, "r", ())))
        assert isinstance(found, Found)
        return dict(found.content)


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.mark.criterion("REC-3")
def test_a_sound_ledger_has_nothing_to_tell(asked: Asked) -> None:
    found = asked("ledger")
    assert found["costs"] == found["orders"] == []
    assert (found["costs_wrong"], found["orders_wrong"], found["open_orders"]) == (0, 0, 1)
    assert (found["accounts"], found["holding"]) == (6, 2)
    assert {float(total) for total in found["sums"].values()} == {0.0}


@pytest.mark.criterion("REC-3")
def test_a_cost_that_is_not_its_positions_is_named(asked: Asked) -> None:
    state, alice = asked.fold.machine.state, asked.book.account("alice")
    row = int(state.accounts[alice, Account.START]) + int(
        np.flatnonzero(state.row_item[int(state.accounts[alice, Account.START]) :][:8] == asked.book.item("BTC", ""))[0]
    )
    state.ledger[row, 1] -= 1
    found = asked("ledger")
    assert found["costs"] == [["alice", "BTC", "-0.12666245", "-0.12666244"]]
    assert {name for name, total in found["sums"].items() if float(total)} == {"BTC"}
    state.ledger[row, 1] += 1
    state.ledger[row, 0] += 7
    found = asked("ledger")
    assert found["costs"] == []
    assert found["sums"]["BTC"] == "7E-8"


@pytest.mark.criterion("REC-3")
@pytest.mark.parametrize(
    ("column", "value", "word"),
    [
        (Open.ACCOUNT, 5, "account #5"),
        (Open.ITEM, 0, "no contract"),
        (Open.ITEM, 10**6, "no contract"),
        (Open.REMAINING, 0, "nothing left"),
        (Open.NUMBER, 9, "never given"),
    ],
)
def test_an_order_that_cannot_be_is_named(asked: Asked, column: Open, value: int, word: str) -> None:
    state, alice = asked.fold.machine.state, asked.book.account("alice")
    slot = int(state.accounts[alice, Account.ORDERS])
    state.orders[slot, column] = value
    found = asked("ledger")
    assert found["orders_wrong"] == 1
    account, _, problem = found["orders"][0]
    assert account == "alice"
    assert word in problem


@pytest.mark.criterion("REC-3")
def test_orders_that_are_counted_wrong_or_on_a_closed_contract(asked: Asked) -> None:
    state, alice = asked.fold.machine.state, asked.book.account("alice")
    state.accounts[alice, Account.ORDER_COUNT] = 2
    assert "2 orders are counted and 1 are listed" in asked("ledger")["orders"][0][2]
    state.accounts[alice, Account.ORDER_COUNT] = 1
    state.orders[int(state.accounts[alice, Account.ORDERS]), Open.NEXT] = int(state.accounts[alice, Account.ORDERS])
    assert asked("ledger")["orders_wrong"]  # A list that runs in a circle ends.
    state.orders[int(state.accounts[alice, Account.ORDERS]), Open.NEXT] = -1
    state.items[asked.book.item("BTC-PERPETUAL", ""), Item.OPEN] = 0
    assert "closed" in asked("ledger")["orders"][0][2]


@pytest.mark.criterion("REC-1")
def test_holdings_say_rows_items_and_withdrawals(asked: Asked) -> None:
    found = asked("holdings", accounts=["alice", "nobody", "bob"], items=["ETH", "NONE"])
    assert found["unknown"] == ["nobody"]
    assert (found["end"], found["count"]) == (3, 3)
    alice, bob = found["accounts"]
    assert alice["rows"] == [["BTC", "10.00000000", "-0.12666244"], ["BTC-PERPETUAL", "1000", "-0.12666244"]]
    assert bob["rows"] == [["BTC", "9.50000000", "0.12666244"], ["BTC-PERPETUAL", "-1000", "0.12666244"]]
    assert found["items"].keys() == {"BTC", "BTC-PERPETUAL", "ETH"}
    perpetual = found["items"]["BTC-PERPETUAL"]
    assert (perpetual["asset"], perpetual["unit"], perpetual["step"], perpetual["settlement"]) == (
        False,
        "USD",
        "10",
        "BTC",
    )
    # One dollar of an inverse contract is −1 / 7,895 BTC of 7,900 dollars.
    assert perpetual["value"] == pytest.approx(-7900 / 7895, rel=1e-12)
    assert found["items"]["BTC"]["value"] == 7900.0
    assert found["items"]["ETH"]["value"] is None
    assert found["withdrawals"] == [[1, "bob", "BTC", "0.50000000", "reserved"]]
    assert asked("holdings", accounts=["alice"])["withdrawals"] == []


@pytest.mark.criterion("REC-1")
def test_long_answers_are_given_in_pages(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "ROWS_MAXIMUM", 1)
    whole = asked("holdings", accounts=["alice", "bob"])
    assert ([one["name"] for one in whole["accounts"]], whole["end"], whole["count"]) == (["alice"], 1, 2)
    assert asked("holdings")["end"] == 5
    assert [one["name"] for one in asked("holdings", first=5)["accounts"]] == ["bob"]
    names, at = [], 0
    while at < asked("quotes")["count"]:
        page = asked("quotes", first=at)
        names += [one["name"] for one in page["items"]]
        at = page["end"]
    assert names == ["USDC", "BTC", "BTC-PERPETUAL"]


@pytest.mark.criterion("REC-13")
def test_parameters_are_said_by_digest_and_whole_where_named(asked: Asked) -> None:
    found = asked("parameters")
    assert [(one["name"], one["version"], one["pending"]) for one in found["models"]] == [("portfolio", 1, None)]
    assert "parameters" not in found["models"][0]
    assert found["rules"]["outlier_ppm"] == 50_000
    whole = asked("parameters", model="portfolio")["models"][0]
    assert whole["parameters"]["initial_factor"] == 1.2
    with pytest.raises(InputError):
        asked("parameters", model="nonsense")


@pytest.mark.criterion("REC-1")
def test_questions_together_are_answered_at_one_position(asked: Asked) -> None:
    answers = asked("together", questions=[["ledger", {}], ["holdings", {"accounts": ["alice"]}]])["answers"]
    assert answers == [asked("ledger"), asked("holdings", accounts=["alice"])]


@pytest.mark.criterion("NOD-14")
@pytest.mark.parametrize(
    ("what", "arguments"),
    [
        ("together", {"questions": []}),
        ("together", {"questions": [["ledger", {}]] * 9}),
        ("together", {"questions": [["together", {"questions": [["root", {}]]}]]}),
        ("together", {"questions": ["ledger"]}),
        ("together", {"questions": [["ledger"]]}),
        ("together", {"questions": [["ledger", 5]]}),
        ("together", {"questions": [[["x"], {}]]}),
        ("together", {"questions": 7}),
        ("holdings", {"first": -1}),
        ("holdings", {"first": 0.5}),
        ("holdings", {"first": "x"}),
        ("holdings", {"accounts": 5}),
        ("holdings", {"items": [["x"]]}),
        ("quotes", {"first": -3}),
        ("quotes", {"first": None}),
        ("ledger", {"more": 1}),
    ],
)
def test_questions_that_cannot_be_answered_are_refused_and_harmless(
    asked: Asked, what: str, arguments: dict[str, object]
) -> None:
    with pytest.raises(InputError):
        asked(what, **arguments)


@pytest.mark.criterion("REC-1")
def test_accounts_that_are_no_names_are_unknown(asked: Asked) -> None:
    found = asked("holdings", accounts=[True, 2**62, -1, ["x"], None, 1.5, "#5", 4])
    assert [one["name"] for one in found["accounts"]] == ["bob", "alice"]
    assert len(found["unknown"]) == 6
