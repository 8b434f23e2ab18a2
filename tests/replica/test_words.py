"""Every refusal has a sentence, and its numbers are in main units."""

import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from holdfast.domain.outcomes import OUTCOME
from holdfast.domain.reasons import Reason
from holdfast.replica.words import COUNTS, TEXTS, Count, Scene, quantities, sentence

SCENE = Scene(
    "alice buys 10 USD of BTC-PERPETUAL from bob at 7,895",
    account="alice",
    other="bob",
    item="BTC-PERPETUAL",
    unit="USD",
    step=Fraction(10),
    searched=True,
)


def told(reason, **fields):
    outcome = np.zeros((), OUTCOME)
    outcome["reason"] = reason
    for name, value in fields.items():
        outcome[name] = value
    return outcome


@pytest.mark.criterion("ENG-6")
def test_every_reason_has_a_sentence():
    assert set(TEXTS) == set(Reason)
    assert set(COUNTS) <= set(Reason)


@pytest.mark.criterion("ENG-6")
@pytest.mark.parametrize("reason", list(Reason))
def test_no_sentence_has_a_gap(reason):
    for fields in ({}, {"limit": 3, "passes": 4}, {"limit": 3, "passes": 4, "equity": 1.0, "initial": 2.0}):
        for scene in (SCENE, Scene("")):
            for detail in (None, "because", [(4, 1.0, 2.0)]):
                text = sentence(told(reason, **fields), scene, detail)
                assert text
                assert not re.search(r"[{}]|None|  |; $|^; |: $", text)
                assert text.startswith("refused: ") == (reason is not Reason.ACCEPTED)


@pytest.mark.criterion("ENG-6")
def test_a_refusal_for_margin():
    outcome = told(Reason.INITIAL_MARGIN, limit=1_500_001, passes=17_471, equity=79_000.0, initial=79_001.5)
    assert quantities(outcome, SCENE) == (Decimal("1.500001"), Decimal(174_710))
    assert sentence(outcome, SCENE) == (
        "refused: alice would have equity 79,000.00 against an initial margin of 79,001.50 USD; "
        "1.51 USD are missing; 174,710 USD would pass"
    )
    assert quantities(told(Reason.INITIAL_MARGIN, limit=1), SCENE)[1] == 0
    assert "no part of it would pass" in sentence(told(Reason.INITIAL_MARGIN, limit=1), SCENE)
    assert quantities(told(Reason.INITIAL_MARGIN, limit=1), SCENE._replace(searched=False))[1] is None


@pytest.mark.criterion("ENG-6")
@pytest.mark.parametrize(
    ("reason", "limit", "passes", "expected"),
    [
        (Reason.BALANCE, 5, 0, (Decimal(50), Decimal(0))),
        (Reason.CLOCK_BACKWARDS, 10**18, 10**18 + 1, ("2001-09-09T01:46:40Z", "2001-09-09T01:46:40.000000001Z")),
        (Reason.TOO_EARLY, 90 * 10**9, 0, ("90 s", None)),
        (Reason.PRICES_STALE, 0, 2, (0, 2)),
        (Reason.ACCOUNT_FROZEN, 2, 0, ("breach pending", None)),
        (Reason.ACCOUNT_FROZEN, 0, 0, (None, None)),
        (Reason.ALREADY_DEFINED, 0, 0, (0, None)),
        (Reason.QUANTITY_INVALID, 0, 0, (None, None)),
        (Reason.QUANTITY_INVALID, 3, 0, (Decimal(30), None)),
        (Reason.SESSION_UNKNOWN, 9, 9, (None, None)),
    ],
)
def test_what_the_numbers_count(reason, limit, passes, expected):
    assert quantities(told(reason, limit=limit, passes=passes), SCENE) == expected


@pytest.mark.criterion("ENG-6")
def test_an_accepted_command_and_a_repeat():
    outcome = told(Reason.ACCEPTED, equity=79_000.0, initial=33_547.6, repeated=1)
    assert sentence(outcome, SCENE) == (
        "alice buys 10 USD of BTC-PERPETUAL from bob at 7,895; equity 79,000.00, initial margin 33,547.60 USD "
        "(sent before: its first outcome)"
    )


def test_every_count_is_used():
    assert {count for pair in COUNTS.values() for count in pair} == set(Count)
