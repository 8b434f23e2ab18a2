"""Names and numbers of a margin, as text, JSON values and markup."""

import json
import math
from dataclasses import replace

import pytest

import holdfast
from holdfast.domain.portfolio import Portfolio
from holdfast.margin import report

FIELDS = (
    "model",
    "parameters_digest",
    "version",
    "time",
    "numeraire",
    "equity",
    "initial_margin",
    "maintenance_margin",
    "available",
    "liquidatable",
    "option_value",
    "components",
    "binding_scenarios",
    "ledger",
    "isolated",
)


@pytest.fixture(scope="module")
def margin() -> holdfast.Margin:
    return holdfast.example()


@pytest.mark.criterion("RES-1", "RES-7")
def test_dictionary_has_the_names_of_the_specification(margin: holdfast.Margin) -> None:
    found = holdfast.as_dict(margin)
    assert tuple(found) == FIELDS
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["binding_scenarios"] == {
        "BTC": {"scenario": margin.binding_scenarios["BTC"].label, "result": margin.binding_scenarios["BTC"].result}
    }
    total = 0.0
    for component in found["components"].values():
        total += component["initial"]
    assert total == found["initial_margin"]
    assert found["ledger"]["initial_margin"] == str(math.ceil(margin.initial_margin * 1e6) / 1e6)


def test_every_number_is_a_plain_float(margin: holdfast.Margin) -> None:
    explanation = holdfast.explain(margin)

    def check(value: object) -> None:
        if isinstance(value, dict):
            for member in value.values():
                check(member)
        elif isinstance(value, list):
            for member in value:
                check(member)
        else:
            assert type(value) in (float, int, str, bool, type(None))

    check(holdfast.as_dict(margin, explanation=explanation, what_if=margin))


@pytest.mark.criterion("RES-5")
def test_what_if_says_the_difference_of_every_figure(margin: holdfast.Margin) -> None:
    option = holdfast.parse_instrument("BTC-26NOV21-70000-C")
    after = margin.what_if([holdfast.Trade(option, 10.0, report.mark_price(margin, option))])
    found = holdfast.as_dict(margin, what_if=after)["what_if"]
    assert found["margin"] == holdfast.as_dict(after)
    for name in report.FIGURES:
        assert found["difference"][name] == getattr(after, name) - getattr(margin, name)
    assert (
        found["difference"]["components"]["scan"]["initial"]
        == after.figures.initial["scan"] - (margin.figures.initial["scan"])
    )
    assert abs(found["difference"]["equity"]) < 1e-6


def test_mark_price_refuses_what_has_no_price(margin: holdfast.Margin) -> None:
    for name, code in (("BTC-1OCT21-60000-C", "expired-option"), ("BTC-26NOV21-60500-C", "missing-volatility")):
        with pytest.raises(holdfast.InputError) as caught:
            report.mark_price(margin, holdfast.parse_instrument(name))
        assert (caught.value.code, caught.value.field) == (code, "")


def test_text_is_narrow_and_says_where_the_account_stands(margin: holdfast.Margin) -> None:
    table = str(margin).splitlines()[1:]
    assert max(map(len, table)) <= 80
    assert "  margin is met" in table
    assert "below initial margin" in str(holdfast.example("standard"))
    assert len(repr(margin)) < 100
    owing = holdfast.calculate(Portfolio({"USDC": -1.0}), margin.market, margin.parameters)
    assert "liquidatable" in str(owing)


def test_markup_escapes_names(margin: holdfast.Margin) -> None:
    named = Portfolio({"BTC": 1.0}, name="<script>", isolated={"<b>": Portfolio({"BTC": 1.0})})
    markup = holdfast.calculate(named, margin.market, margin.parameters)._repr_html_()
    assert "<script>" not in markup
    assert "<b>" not in markup
    assert "&lt;script&gt;" in markup


def test_what_is_not_finite_is_null(margin: holdfast.Margin) -> None:
    broken = replace(margin, figures=replace(margin.figures, equity=math.inf))
    assert report.components(broken) == report.components(margin)
    assert report._number(math.nan) is None
    assert report._number(-0.0) == 0.0
    assert math.copysign(1.0, report._number(-0.0)) == 1.0
