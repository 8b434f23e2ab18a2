"""SVI: worked numbers with and without clamping, its forms, and a venue's published volatilities."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from forms import scalar_form, vector_form

from holdfast.pricing.surfaces import surface_volatility, svi_volatility
from holdfast.pricing.vectors import real_function

SMILE = (0.05, 0.2, -0.3, -0.1, 0.4, 0.25)
CASES = Path(__file__).parents[3] / "shared" / "conformance" / "derive_pmrm2.json"
OTHER_RULE = {"pmrm2_test_44_skews_abs_as_worst_case_complex", "pmrm2_test_66_misc_post_expiry"}
"""Cases with a placeholder smile of total variance 33.4, for which the source states volatilities of variance 20."""


@pytest.mark.criterion("PRC-12")
@pytest.mark.parametrize(
    ("strike", "volatility"),
    [
        (60_000.0, 0.711230237018514873),
        (65_000.0, 0.712538537420545866),
        (1_000.0, 1.28163074890250799),
        (1.0, 1.28163074890250799),
        (2_000_000.0, 1.05093611170842651),
        (1e7, 1.05093611170842651),
    ],
)
def test_worked_numbers_on_both_sides_of_the_clamp(strike, volatility):
    assert float(svi_volatility(strike, 60_000.0, *SMILE)) == pytest.approx(volatility, rel=5e-15)


@pytest.mark.criterion("PRC-12")
def test_total_variance_is_capped():
    assert float(svi_volatility(65_000.0, 60_000.0, 200.0, *SMILE[1:])) == 24.0
    assert float(svi_volatility(65_000.0, 60_000.0, -9.0, *SMILE[1:])) == 0.0


def test_parameters_may_come_as_one_object():
    surface = SimpleNamespace(a=0.05, b=0.2, rho=-0.3, m=-0.1, sigma=0.4, tau=0.25)
    strikes = np.array([60_000.0, 1.0])
    together = surface_volatility(surface, strikes, 60_000.0)
    assert together.tobytes() == svi_volatility(strikes, 60_000.0, *SMILE).tobytes()


@pytest.mark.criterion("PRC-3")
@pytest.mark.parametrize("lanes", [8, 32])
def test_all_forms_give_the_same_bits(lanes):
    @real_function
    def smile(strike, forward):
        return svi_volatility(strike, forward, 0.05, 0.2, -0.3, -0.1, 0.4, 0.25)

    generator = np.random.default_rng(5)
    strike, forward = np.exp(generator.uniform(0, 15, 640)), np.exp(generator.uniform(9, 12, 640))
    plain = smile(strike, forward)
    assert scalar_form(smile)(strike, forward).tobytes() == plain.tobytes()
    assert vector_form(smile, lanes)(strike, forward).tobytes() == plain.tobytes()


@pytest.mark.criterion("PRC-12")
@pytest.mark.skipif(not CASES.exists(), reason="the published conformance cases are not beside the checkout")
def test_a_venues_published_volatilities():
    checked, missed = 0, set()
    for case in json.loads(CASES.read_text()):
        feeds = {feed["FeedExpiry"]: feed for feed in case["scenario"]["OptionFeeds"] or ()}
        for option in case["scenario"]["Options"] or ():
            a, b, rho, m, sigma, forward, tau = map(float, feeds[option["Expiry"]]["SVIparam"])
            result = float(svi_volatility(option["Strike"], forward, a, b, rho, m, sigma, tau))
            checked += 1
            if abs(result - option["MarkVol"]) > 1e-9:
                missed.add(case["id"])
                assert option["MarkVol"] ** 2 * tau == pytest.approx(20.0, rel=1e-9)
    assert checked > 1_000
    assert missed <= OTHER_RULE
