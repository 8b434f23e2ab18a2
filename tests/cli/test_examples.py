"""The shipped data and the face of the library."""

import importlib.util
import itertools
from pathlib import Path

import pytest

import holdfast
from holdfast import examples
from holdfast.domain.units import NANOSECONDS_PER_DAY, format_time

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"


def test_chain_market() -> None:
    market = examples.chain_market()
    bitcoin = market.underlying("BTC")
    assert len(bitcoin.volatilities) == 49
    assert len(bitcoin.expiries) == 4
    assert bitcoin.index.price == pytest.approx(67106.444)
    assert {name: mark.price for name, mark in bitcoin.marks.items()} == {
        "BTC-PERPETUAL": bitcoin.index.price,
        "BTC_USDC-PERPETUAL": bitcoin.index.price,
    }
    assert {name: market.asset_price(name).price for name in ("USD", "USDC", "USDT")} == dict.fromkeys(
        ("USD", "USDC", "USDT"), 1.0
    )


def test_assumptions_replace_nothing_that_is_quoted() -> None:
    market = examples.chain_market()
    perpetual = holdfast.parse_instrument("BTC-PERPETUAL")
    linear = holdfast.parse_instrument("BTC_USDT-PERPETUAL")
    completed, assumed = examples.with_assumed_prices(market, [perpetual, linear, perpetual])
    assert assumed == ("BTC_USDT-PERPETUAL",)
    assert completed.mark(linear) == market.underlying("BTC").index


def test_daily_closes_leave_gaps() -> None:
    times, closes = examples.btc_daily_closes()
    assert len(times) == len(closes) == 2326
    assert all(time % NANOSECONDS_PER_DAY == 0 for time in times)
    gaps = [(a, b) for a, b in itertools.pairwise(times) if b - a != NANOSECONDS_PER_DAY]
    assert [(format_time(a)[:10], format_time(b)[:10]) for a, b in gaps] == [("2018-02-08", "2018-02-12")]
    assert min(closes) > 3000.0


def test_portfolio_is_margined_by_every_model_that_has_rules_for_options() -> None:
    for name in holdfast.presets():
        if name == "dydx":
            continue
        margin = holdfast.example(name)
        assert 0.0 < margin.maintenance_margin < margin.initial_margin
        assert margin.figures.initial["orders"] > 0.0


def test_every_name_of_the_library_is_there() -> None:
    for name in holdfast.__all__:
        assert getattr(holdfast, name) is not None
    assert set(holdfast.__all__) <= set(dir(holdfast))
    with pytest.raises(AttributeError, match="no attribute 'margins'"):
        holdfast.margins  # noqa: B018


def test_attribution_stands_beside_the_data_and_in_the_notice() -> None:
    for path in (examples.path("ATTRIBUTION.txt"), ROOT / "NOTICE"):
        text = path.read_text(encoding="utf-8")
        for words in ("Copyright (c) 2024 Artur Sepp", "Copyright (c) 2025 Eon Labs", "Permission is hereby granted"):
            assert words in text


@pytest.mark.skipif(not SHARED.exists(), reason="the folder of shared data is absent")
def test_shipped_files_are_what_the_tool_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    spec = importlib.util.spec_from_file_location("make_examples", ROOT / "tools" / "make_examples.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setattr(tool, "TARGET", tmp_path)
    tool.main(SHARED)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(made) == 3
    assert all(examples.path(name).read_bytes() == content for name, content in made.items())
