"""Adapter for the cases of Derive's liquidation auction: their field names on one side, its rules on the other.

What lives here: the translation of a case into calls and of their results into checks. What may not: a formula. The
numbers of a case count as the decimals they print as, because the rules take exact numbers.
"""

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, TypeAlias

from holdfast.core.liquidation.dutch_auction import (
    Auctioned,
    AuctionParameters,
    discount,
    insolvent_bid_price,
    maximum_proportion,
    sell_insolvent,
    sell_solvent,
    solvent_bid_price,
)
from holdfast.validate.conformance.cases import Adapter, Check, Evaluation, RawCase, exact, near, path_of

PRECISION = 1e-12
"""Relative and absolute: a case's decimals are doubles that print what the contract's 18 digits were."""
SIMULATION_PRECISION = 1e-9
"""The simulated cases were computed in doubles by their authors."""

_TRUNCATED = re.compile(r"(?P<name>.+)_trunc(?:_1e(?P<digits>\d+))?")

Computed: TypeAlias = Mapping[str, Callable[[], Fraction]]
"""What can be computed for a case, by the name that cases give it."""


def _discount(raw: RawCase) -> Evaluation:
    return _evaluation(raw, discount, {"discount": lambda: discount(_parameters(raw), _number(raw, "t"))})


def _solvent(raw: RawCase) -> Evaluation:
    state = (_portfolio(raw), _parameters(raw), _number(raw, "t"))
    return _evaluation(
        raw,
        sell_solvent if "bid_pct" in raw["inputs"] else solvent_bid_price,
        {
            "bid_price": lambda: solvent_bid_price(*state),
            "discount": lambda: discount(*state[1:]),
            "max_proportion": lambda: maximum_proportion(*state),
            "cash_from_bidder": lambda: sell_solvent(*state, _number(raw, "bid_pct")).cash_from_bidder,
        },
    )


def _insolvent(raw: RawCase) -> Evaluation:
    state = (_portfolio(raw), _parameters(raw), _number(raw, "t"))
    return _evaluation(
        raw,
        sell_insolvent if "bid_pct" in raw["inputs"] else insolvent_bid_price,
        {
            "bid_price": lambda: insolvent_bid_price(*state),
            # Who pays does not matter to the bidder, so a module without cash will do.
            "cash_to_bidder": lambda: sell_insolvent(*state, _number(raw, "bid_pct"), 0).cash_to_bidder,
        },
    )


def _simulated(raw: RawCase) -> Evaluation:
    """A sale with the figures before and after it.

    `fLiquidatedOfOriginal` is, in spite of its name, the part of the portfolio as the bidder found it.
    `FinalPercentageReceived` is the same on a first bid. Later its authors sometimes count it of the portfolio before
    all bids, of which the case does not say what was left, so it is compared on first bids only.
    """
    before, parameters, elapsed = _portfolio(raw), _parameters(raw), _number(raw, "t")
    sale = sell_solvent(before, parameters, elapsed, _number(raw, "bid_pct"))
    after = sale.portfolio
    end = parameters.fast_length_seconds + parameters.slow_length_seconds
    computed: dict[str, Fraction] = {
        "PreMtM": before.mark_to_market,
        "PreMM": before.maintenance_surplus,
        "PreBM": before.buffer_surplus(parameters),
        "PreFMax": maximum_proportion(before, parameters, elapsed),
        "ExpectedBidPrice": sale.cash_from_bidder,
        "fLiquidatedOfOriginal": sale.proportion,
        "PostMtM": after.mark_to_market,
        "PostMM": after.maintenance_surplus,
        "PostBM": after.buffer_surplus(parameters),
        "PostFMax": maximum_proportion(after, parameters, elapsed),
        "Lowerbound": solvent_bid_price(before, parameters, end),
        "SMPayout": Fraction(0),  # A solvent sale has nobody to pay but the account.
        "FinalPercentageReceived": sale.proportion,
    }
    left_out = {"FinalPercentageReceived"} if before.reserved_cash else set()
    return Evaluation(
        path_of(sell_solvent),
        tuple(
            _close(name, expected, computed.get(name), SIMULATION_PRECISION)
            for name, expected in raw["expected"].items()
            if name not in left_out
        ),
    )


def _evaluation(raw: RawCase, function: Callable[..., Any], computed: Computed) -> Evaluation:
    checks = (_check(name, expected, computed) for name, expected in raw["expected"].items())
    return Evaluation(path_of(function), tuple(checks))


def _check(name: str, expected: Any, computed: Computed) -> Check:
    """A plain value is near; `<name>_trunc_1e<n>` is that many digits behind the point, as a whole number, exactly."""
    if match := _TRUNCATED.fullmatch(name):
        compute = computed.get(match["name"])
        actual = None if compute is None else math.trunc(compute() * 10 ** int(match["digits"] or 0))
        return exact(name, expected, actual)
    compute = computed.get(name)
    return _close(name, expected, None if compute is None else compute(), PRECISION)


def _close(name: str, expected: Any, actual: Fraction | None, precision: float) -> Check:
    """A value that is expected and not computed fails."""
    plain = math.nan if actual is None else float(actual)
    return near(name, expected, plain, relative=precision, absolute=precision)


def _parameters(raw: RawCase) -> AuctionParameters:
    given = {name: Fraction(str(value)) for name, value in raw["params"].items()}
    return AuctionParameters(
        starting_fraction=given["startingMtMPercentage"],
        cutoff_fraction=given["fastAuctionCutoffPercentage"],
        fast_length_seconds=given["fastAuctionLength"],
        slow_length_seconds=given["slowAuctionLength"],
        insolvent_length_seconds=given["insolventAuctionLength"],
        buffer_fraction=given["bufferMarginPercentage"],
    )


def _portfolio(raw: RawCase) -> Auctioned:
    return Auctioned(_number(raw, "mtm"), _number(raw, "mm"), _number(raw, "reserved", "0"))


def _number(raw: RawCase, name: str, default: str | None = None) -> Fraction:
    given = raw["inputs"]
    return Fraction(str(given[name] if default is None else given.get(name, default)))


ADAPTERS: dict[str, Adapter] = {
    "discount": _discount,
    "insolvent": _insolvent,
    "sim_solvent": _simulated,
    "solvent": _solvent,
}
