"""Our prices against an exchange's marks and greeks, within what its rounding allows."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="pyarrow (the data extra) is not installed")
import chain_residuals as tool

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_chain = pytest.mark.skipif(not (DATA / tool.CHAIN_FILE).exists(), reason=f"{tool.CHAIN_FILE} is absent")
needs_tickers = pytest.mark.skipif(not (DATA / tool.TICKER_FILE).exists(), reason=f"{tool.TICKER_FILE} is absent")


@needs_chain
@pytest.mark.criterion("PRC-15")
def test_marks_of_a_chain():
    marks, volatilities = tool.chain_residuals(DATA)
    assert marks.difference.size == 676
    assert not marks.unexplained().any(), marks.name[marks.unexplained()]
    assert np.abs(marks.difference).max() < 0.25 * tool.TICK
    assert marks.beyond_rounding().sum() <= 110

    assert not volatilities.unexplained().any()
    assert np.median(np.abs(volatilities.difference)) < tool.VOLATILITY_UNIT


@needs_tickers
@pytest.mark.criterion("PRC-15")
def test_marks_and_greeks_of_tickers():
    residuals = {r.quantity.split(",")[0]: r for r in tool.ticker_residuals(DATA)}
    for quantity, r in residuals.items():
        assert not r.unexplained().any(), (quantity, r.name[r.unexplained()])
    assert not residuals["delta"].beyond_rounding().any()
    assert not residuals["gamma"].beyond_rounding().any()
    assert sum(int(r.beyond_rounding().sum()) for r in residuals.values()) <= 45
