"""Statements as people have them: what is read from each form, and how a wrong one is refused."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.domain.errors import InputError
from holdfast.validate.reconcile.lines import BALANCE, NET_BALANCE, POSITION, Stated, Statement
from holdfast.validate.reconcile.statement import read_statements


def read(*sources: object, account: str | None = None) -> list[Statement]:
    """Statements from texts, or values that are written as JSON."""
    texts = [source if isinstance(source, str) else json.dumps(source) for source in sources]
    return read_statements([(f"file{n}", text.encode()) for n, text in enumerate(texts)], account)


def amounts(statement: Statement, account: str = "alice") -> dict[tuple[str, str], Decimal]:
    return {line: stated.amount for line, stated in statement.accounts[account].items()}


@pytest.mark.criterion("REC-4")
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_csv_in_any_spelling_of_its_columns(mark: str) -> None:
    rows = [
        ("Client", "Instrument Name", "Size", "Direction", "Cost", "Time", "Position", "Remark"),
        ("alice", "btc", "1.50", "", "", "2026-01-01T00:00:00Z", "7", "x"),
        ("alice", "BTC/USD:BTC", "1000", "sell", "0.02", "", "", ""),
        ("", "", "", "", "", "", "", ""),
        ("bob", "ETH-PERPETUAL", "-5", "", "", "", "", ""),
    ]
    (found,) = read("\n".join(mark.join(row) for row in rows))
    assert found.accounts == {
        "alice": {
            (BALANCE, "BTC"): Stated(Decimal("1.5")),
            (POSITION, "BTC-PERPETUAL"): Stated(Decimal(-1000), Decimal("0.02")),
        },
        "bob": {(POSITION, "ETH-PERPETUAL"): Stated(Decimal(-5))},
    }
    assert (found.position, found.time) == (7, 1767225600 * 10**9)
    assert found.covers == {BALANCE, POSITION}
    assert found.notes == ("columns that are not compared: remark",)


@pytest.mark.criterion("REC-4")
def test_a_side_gives_the_sign_where_the_size_has_none() -> None:
    rows = ["A-PERPETUAL,5,Sell", "B-PERPETUAL,-5,short", "C-PERPETUAL,5,buy", "D-PERPETUAL,-5,", "E-PERPETUAL,0,zero"]
    (found,) = read("\n".join(["account,instrument,size,direction", *(f"alice,{row}" for row in rows)]))
    assert list(amounts(found).values()) == [-5, -5, 5, -5, 0]


@pytest.mark.criterion("REC-4")
def test_names_that_are_nothing_here_are_kept_to_be_listed() -> None:
    (found,) = read("account,item,quantity\nalice,FOO-BAR,1\nalice,weETH,2\n")
    assert amounts(found) == {(POSITION, "FOO-BAR"): 1, (BALANCE, "weETH"): 2}


@pytest.mark.criterion("REC-4")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "header line"),
        ("account,item,quantity\n", "rows"),
        ("account,quantity\nalice,1\n", "item"),
        ("account,item\nalice,BTC\n", "quantity"),
        ("account,item,quantity,amount\nalice,BTC,1,1\n", "quantity, amount"),
        ("account,item,quantity,Item\nalice,BTC,1,1\n", "twice"),
        ("account,item,quantity\nalice,BTC\n", "rows[0]"),
        ("account,item,quantity\nalice,BTC,1\nalice,btc,2\n", "rows[1]"),
        ("account,item,quantity\nalice,BTC,1_000\n", "not a finite number"),
        ('account,item,quantity\nalice,BTC,"1,000"\n', "not a finite number"),
        ("account,item,quantity\nalice,BTC,\n", "missing"),
        ("account,item,quantity\nalice,,1\n", "item"),
        ("account,item,quantity,side\nalice,BTC-PERPETUAL,1,up\n", "up"),
        ("account,item,quantity,side\nalice,BTC-PERPETUAL,-1,buy\n", "contradicts"),
        ("account,item,quantity,time\nalice,BTC,1,2026-01-01\n", "zone"),
        ("account,item,quantity,position\nalice,BTC,1,-3\n", "position"),
        ("account,item,quantity,position\nalice,BTC,1,3\nbob,BTC,1,4\n", "one position"),
        ("item,quantity\nBTC,1\n", "--account"),
        ('account,item,quantity\nalice,"BTC,1\n', "quoting"),
    ],
)
def test_a_wrong_csv_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(InputError) as refused:
        read(text)
    assert str(refused.value).startswith("file0")
    assert words in str(refused.value)


@pytest.mark.criterion("REC-4")
def test_our_json_of_several_accounts() -> None:
    (found,) = read(
        {
            "position": 5,
            "complete": True,
            "accounts": {
                "alice": {"balances": {"BTC": "70000000.00000001", "ETH": 0.1}, "positions": []},
                "bob": {},
            },
        }
    )
    assert amounts(found) == {(BALANCE, "BTC"): Decimal("70000000.00000001"), (BALANCE, "ETH"): Decimal("0.1")}
    assert found.accounts["bob"] == {}
    assert (found.position, found.time, found.complete) == (5, None, True)
    assert found.covers == {BALANCE, POSITION}


@pytest.mark.criterion("REC-4")
def test_a_portfolio_is_a_statement() -> None:
    portfolio = {
        "name": "alice",
        "balances": {"BTC": 1},
        "positions": [{"instrument": "BTC-PERPETUAL", "quantity": 10, "entry_price": 5, "cost": None}],
        "orders": [{"instrument": "BTC-PERPETUAL", "quantity": 10, "limit_price": 5}],
        "isolated": {},
    }
    (found,) = read(portfolio)
    assert amounts(found) == {(BALANCE, "BTC"): 1, (POSITION, "BTC-PERPETUAL"): 10}
    assert found.notes == ("open orders are not compared",)


@pytest.mark.criterion("REC-4")
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"accounts": {"alice": {"balance": {}}}}, "accounts[alice].balance"),
        ({"account": "alice", "isolated": {"x": {}}, "balances": {}}, "isolated"),
        ({"account": "alice", "nonsense": 1}, "nonsense"),
        ({"account": "alice", "balances": {"BTC-PERPETUAL": 1}}, "positions"),
        ({"account": "alice", "positions": [{"instrument": "BTC", "quantity": 1}]}, "balances"),
        ({"account": "alice", "positions": [{"quantity": 1}]}, "positions[0].instrument"),
        ({"account": "alice", "balances": {"BTC": "x"}}, "BTC"),
        ({"account": "alice", "balances": {"BTC": True}}, "BTC"),
        ({"accounts": {}, "balances": {"BTC": 1}}, "beside accounts"),
        ({"account": "alice", "position": 1.5}, "position"),
        ({"account": "alice", "complete": "yes"}, "complete"),
        ({"balances": {"BTC": 1}}, "--account"),
        ([{"account": "alice"}], "something else"),
        ("{", "JSON"),
        ('{"account": "alice", "balances": {"BTC": NaN}}', "NaN"),
        ('{"account": "alice", "account": "bob"}', "twice"),
    ],
)
def test_a_wrong_json_is_refused(value: object, words: str) -> None:
    with pytest.raises(InputError) as refused:
        read(value)
    assert str(refused.value).startswith("file0")
    assert words in str(refused.value)


POSITIONS = [
    {
        "instrument_name": "BTC-PERPETUAL",
        "size": -2800.0,
        "direction": "sell",
        "average_price": 74847.72,
        "mark_price": 88783.05,
        "floating_profit_loss": -0.0029061908,
    },
    {"instrument_name": "BTC-27DEC26-100000-C", "size": 1.5, "direction": "buy", "mark_price": 0.05},
    {"instrument_name": "ETH-PERPETUAL", "size": 0, "direction": "zero"},
]
SUMMARIES = [{"currency": "BTC", "balance": 1.25, "equity": 1.2}, {"currency": "ETH", "balance": 3, "equity": 3}]


@pytest.mark.criterion("REC-7")
def test_deribits_balance_is_compared_net_of_the_costs_of_positions() -> None:
    (found,) = read({"positions": POSITIONS, "summaries": SUMMARIES}, account="alice")
    lines = found.accounts["alice"]
    assert lines[POSITION, "BTC-PERPETUAL"].amount == -2800
    assert lines[POSITION, "BTC-27DEC26-100000-C"].amount == Decimal("1.5")
    net = lines[NET_BALANCE, "BTC"]
    assert round(net.amount, 9) == Decimal("1.215556258")
    assert round(net.resolution, 16) == Decimal("0.0000000217761020")
    assert lines[NET_BALANCE, "ETH"] == Stated(Decimal(3), None, Decimal("1E-8"))
    assert found.covers == {NET_BALANCE, POSITION}
    assert len(lines) == 4


def response(result: object, microseconds: int | None = None) -> dict:
    return {"jsonrpc": "2.0", "result": result} | ({} if microseconds is None else {"usOut": microseconds})


@pytest.mark.criterion("REC-4")
@pytest.mark.parametrize(
    "sources",
    [
        [response(POSITIONS, 5), response({"id": 1, "summaries": SUMMARIES}, 7)],
        [[response(POSITIONS, 7), response({"summaries": SUMMARIES}, 5)]],
        [{"get_positions": response(POSITIONS, 7), "get_account_summaries": response({"summaries": SUMMARIES})}],
        [{"positions": response(POSITIONS, 7), "summaries": response({"summaries": SUMMARIES})}],
        [response(SUMMARIES[1]), response(SUMMARIES[0], 7), response(POSITIONS[:1]), response(POSITIONS[1:])],
    ],
)
def test_deribits_answers_in_one_file_or_several(sources: list) -> None:
    (found,) = read(*sources, account="alice")
    (expected,) = read({"positions": POSITIONS, "summaries": SUMMARIES}, account="alice")
    assert found.accounts == expected.accounts
    assert found.time == 7_000


@pytest.mark.criterion("REC-5")
def test_one_summary_does_not_speak_of_other_currencies() -> None:
    (found,) = read(response([]), response(SUMMARIES[0]), account="alice")
    assert found.covers == {POSITION}
    assert amounts(found) == {(NET_BALANCE, "BTC"): Decimal("1.25")}


@pytest.mark.criterion("REC-4")
@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ([response({"summaries": SUMMARIES})], "get_positions"),
        ([response(POSITIONS), response({"summaries": SUMMARIES * 2})], "currency"),
        ([response(POSITIONS * 2)], "twice"),
        ([response([{"instrument_name": "BTC-PERPETUAL", "size": "x", "direction": "buy"}])], "size"),
        ([response(5)], "get_positions"),
        ([response(POSITIONS), response({"summaries": [{"balance": 1}]})], "currency"),
        ([response(POSITIONS, -1)], "usOut"),
    ],
)
def test_wrong_answers_of_deribit_are_refused(sources: list, words: str) -> None:
    with pytest.raises(InputError) as refused:
        read(*sources, account="alice")
    assert words in str(refused.value)


@pytest.mark.criterion("REC-4")
def test_ccxts_positions() -> None:
    rows = [{"symbol": "BTC/USD:BTC", "contracts": 100, "contractSize": 10, "side": "short", "entryPrice": 7895}]
    (found,) = read(rows, account="alice")
    assert amounts(found) == {(POSITION, "BTC-PERPETUAL"): -1000}
    assert found.covers == {POSITION}


@pytest.mark.criterion("REC-4")
def test_one_account_of_several_is_picked() -> None:
    text = "account,item,quantity\nalice,BTC,1\nbob,BTC,2\n"
    (found,) = read(text, account="bob")
    assert list(found.accounts) == ["bob"]
    with pytest.raises(InputError, match="carol"):
        read(text, account="carol")


@pytest.mark.criterion("REC-4")
@given(st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**9), max_value=10**9))
def test_decimals_are_taken_exactly(amount: Decimal) -> None:
    (csv,) = read(f"account,item,quantity\nalice,BTC,{amount:f}\n")
    (text,) = read({"account": "alice", "balances": {"BTC": f"{amount:f}"}})
    assert amounts(csv) == amounts(text) == {(BALANCE, "BTC"): amount}
