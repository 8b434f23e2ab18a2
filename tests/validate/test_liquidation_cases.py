"""The adapters of liquidation: cases with the specifications' worked numbers pass, and fail when one is changed."""

import copy
import json

import pytest

from holdfast.validate.conformance.runner import run

COMMON = {
    "perpetuals": {
        "0": {
            "atomic_resolution": -10,
            "price": 6_100_512_345,
            "exponent": -5,
            "im_ppm": 20_000,
            "mm_frac_ppm": 600_000,
        },
        "1": {
            "atomic_resolution": -9,
            "price": 3_012_345_678,
            "exponent": -6,
            "im_ppm": 50_000,
            "mm_frac_ppm": 500_000,
        },
    }
}
HALF = {"quote_balance": -1_386_293, "positions": [[0, 1_234_567], [1, -2_000_003]]}
PARAMS = {
    "startingMtMPercentage": 0.95,
    "fastAuctionCutoffPercentage": 0.75,
    "fastAuctionLength": 900,
    "slowAuctionLength": 43_200,
    "insolventAuctionLength": 3_600,
    "liquidatorFeeRate": 0.0,
    "bufferMarginPercentage": 0.15,
}
DYDX = "holdfast.core.liquidation.dydx"
AUCTION = "holdfast.core.liquidation.dutch_auction"


def dydx_case(kind, inputs, expected, common=COMMON):
    return {"id": kind, "kind": kind, "common": common, "inputs": inputs, "expected": expected}


def auction_case(kind, expected, **inputs):
    return {"id": kind, "kind": kind, "params": PARAMS, "inputs": inputs, "expected": expected}


FILL = {"fill_quantums": 1_234_567, "fill_quote_quantums": 7_600_199, "is_buy": False, "max_liquidation_fee_ppm": 5_000}
SPREAD = {"bankruptcy_adjustment_ppm": 10**6, "spread_to_mmr_ppm": 100_000}
CASES = [
    (
        dydx_case("bankruptcy_price", HALF | {"perpetual_id": 1, "delta_quantums": 2_000_003}, -6_100_009),
        f"{DYDX}.bankruptcy_quote",
    ),
    (
        dydx_case("fillable_price", HALF | {"perpetual_id": 0} | SPREAD, "75269721/12345670"),
        f"{DYDX}.fillable_price",
    ),
    (dydx_case("insurance_fund_delta", HALF | {"perpetual_id": 0} | FILL, 38_000), f"{DYDX}.insurance_fund_delta"),
    (auction_case("discount", {"discount": 0.375}, t=22_500), f"{AUCTION}.discount"),
    (
        auction_case(
            "solvent",
            {"bid_price": 8_500.0, "max_proportion_trunc_1e4": 4_970, "cash_from_bidder_trunc": 4_224},
            mm=-6_000.0,
            mtm=10_000.0,
            t=450,
            bid_pct=1.0,
        ),
        f"{AUCTION}.sell_solvent",
    ),
    (auction_case("insolvent", {"bid_price": -2_950.0}, mm=-1e4, mtm=-600.0, t=900), f"{AUCTION}.insolvent_bid_price"),
    (
        auction_case("insolvent", {"cash_to_bidder": 1_475.0}, mm=-1e4, mtm=-600.0, t=900, bid_pct=0.5),
        f"{AUCTION}.sell_insolvent",
    ),
    (
        auction_case(
            "sim_solvent",
            {
                "PreBM": -8_400.0,
                "PreFMax": 0.4970414201183432,
                "ExpectedBidPrice": 2_125.0,
                "fLiquidatedOfOriginal": 0.25,
                "FinalPercentageReceived": 0.25,
                "PostMtM": 9_625.0,
                "PostMM": -2_375.0,
                "PostBM": -4_175.0,
                "PostFMax": 0.3293885601577909,
            },
            mm=-6_000.0,
            mtm=10_000.0,
            t=450,
            bid_pct=0.25,
            reserved=0.0,
        ),
        f"{AUCTION}.sell_solvent",
    ),
]


@pytest.fixture
def outcome(tmp_path):
    def evaluate(case):
        path = tmp_path / "cases.json"
        path.write_text(json.dumps([case]), encoding="utf-8")
        return run([path])

    return evaluate


@pytest.mark.criterion("CONF-5", "CONF-15", "CONF-16")
@pytest.mark.parametrize(("case", "path"), CASES)
def test_worked_cases_pass_through_the_production_functions(outcome, case, path):
    report = outcome(case)
    assert report.files[0].failures == ()
    assert (report.passed, report.files[0].paths) == (1, (path,))


def _changed(case):
    """The case once for each of its expected numbers, with that number changed by a little."""
    if not isinstance(case["expected"], dict):
        value = case["expected"]
        yield case | {"expected": value + "1" if isinstance(value, str) else value + 1}
        return
    for name, value in case["expected"].items():
        nudged = value + 1 if isinstance(value, int) else value + 1e-6 * max(1.0, abs(value))
        yield case | {"expected": case["expected"] | {name: nudged}}


@pytest.mark.criterion("CONF-7", "CONF-15", "CONF-16")
@pytest.mark.parametrize("case", [changed for case, _ in CASES for changed in _changed(case)])
def test_a_changed_number_fails(outcome, case):
    assert outcome(case).failed == 1


@pytest.mark.criterion("CONF-15")
def test_deleveraging_is_compared_account_by_account(outcome):
    coin = 10**8
    inputs = {
        "liquidated": {"quote": 49_000_000_000, "base": -coin},
        "offsetting": [[-49_000_000_001, coin], [0, -coin], [-30_000_000_000, coin]],
        "price_usd": 50_000,
    }
    expected = {
        "liquidated": [0, 0],
        "offsetting": [[-49_000_000_001, coin], [0, -coin], [19_000_000_000, 0]],
        "remaining": 0,
    }
    case = dydx_case("deleveraging", inputs, expected, common=None)
    report = outcome(case)
    assert report.files[0].failures == ()
    assert report.files[0].paths == (f"{DYDX}.deleverage",)
    for name, wrong in (("liquidated", [1, 0]), ("offsetting", expected["offsetting"][:2]), ("remaining", 1)):
        changed = copy.deepcopy(case)
        changed["expected"][name] = wrong
        assert outcome(changed).failed == 1


@pytest.mark.criterion("CONF-16")
def test_what_is_expected_and_not_computed_fails(outcome):
    assert outcome(auction_case("discount", {"tea_leaves": 0.375}, t=22_500)).failed == 1
    assert outcome(auction_case("discount", {"tea_leaves_trunc": 0}, t=22_500)).failed == 1
