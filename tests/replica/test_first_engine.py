"""The program of the tutorial runs as it is printed, and its numbers are those that were worked out by hand."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from venues import venue

PAGE = (Path(__file__).parents[2] / "docs" / "tutorials" / "first-engine.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
PRINTED = re.findall(r"^(?:alice buys|refused:) .*$", PAGE, re.MULTILINE)


@pytest.fixture
def printed(tmp_path, monkeypatch, capsys):
    """What the page's programs print, each run as it is, one after the other in one folder."""
    monkeypatch.chdir(tmp_path)
    outputs = []
    for program in PROGRAMS:
        exec(compile(program, "first-engine.md", "exec"), {})
        outputs.append(capsys.readouterr().out)
    return outputs


@pytest.mark.criterion("ENG-13", "ENG-11")
def test_the_page_runs_as_printed(printed):
    first, second = printed
    assert len(PROGRAMS[0].splitlines()) == 11
    assert len(PRINTED) == 2
    assert set(PRINTED) <= set(first.splitlines())
    assert "33,547.60" in first
    assert "'-20 % vol up'" in first
    assert first.endswith("  10 BTC\n  50,000 USD of BTC-PERPETUAL\n")
    assert second.startswith("restricted ")
    assert "Decimal('0')" in second


@pytest.mark.criterion("ENG-12")
def test_worked_numbers():
    engine = venue()
    outcome = engine.trade("alice", "bob", "BTC-PERPETUAL", 50_000, 7895)
    assert outcome
    assert outcome.equity == pytest.approx(79_000, abs=0.01)
    at_risk = 10 + 50_000 / 7_895
    assert outcome.initial_margin == pytest.approx(1.2 * at_risk * 1_580 + 1_000 + 1_580, abs=0.01)
    assert outcome.initial_margin == pytest.approx(33_547.60, abs=0.005)
    refused = engine.trade("alice", "bob", "BTC-PERPETUAL", 5_000_000, 7895)
    assert not refused
    assert refused.initial_margin == pytest.approx(1_334_307.57, abs=0.01)
    assert float(refused.limit) == pytest.approx(1_255_307.57, abs=0.01)
    assert refused.passes == Decimal(174_710)
    assert not engine.trade("alice", "bob", "BTC-PERPETUAL", 174_720, 7895)
    assert engine.trade("alice", "bob", "BTC-PERPETUAL", 174_710, 7895)
