"""The market of the demonstration: Bitcoin through March 2020, step by step, and Ether by a rule.

The package has Bitcoin's bars only. Ether begins at a stated share of Bitcoin's price and moves by a stated multiple of
its logarithmic moves, which is about what it did then. A perpetual follows its index by the rule of the replay.
What lives here: prices. What may not: who quotes and trades them. Rules and worked numbers: specs/demo.md.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from holdfast.domain.errors import invariant
from holdfast.domain.frames import RECORD, RecordKind, Records
from holdfast.stress.history import Floats, Instants, PriceHistory, load_window
from holdfast.stress.sources import LIAR, SOURCES
from holdfast.stress.volatility import BasisRule, recent_returns
from holdfast.stress.walk import walk

WINDOW: Final = "2020-03"
STEPS_PER_SECOND, QUOTES_PER_STEP = 2, 2
"""Steps of the walk, a quarter of an hour each, in a second of the demonstration; and quotes on the straight line from
one to the next."""
LOW_AT: Final = 0.45
"""Where in the demonstration the lowest price comes, as a share of it."""
ETHER_SHARE, ETHER_RESPONSE = 0.0245, 1.1
"""Ether's first price as a share of Bitcoin's, and its logarithmic move for each of Bitcoin's."""
STRESS: Final = 8.0
"""By how much more makers' quotes are wider and thinner for a day's logarithmic return of one."""
ASSETS: Final = ("BTC", "ETH", "USDC")
CONTRACTS: Final = ("BTC-PERPETUAL", "BTC_USDC-PERPETUAL", "ETH-PERPETUAL", "ETH_USDC-PERPETUAL")
"""Contracts without expiry: two paid in coins, two in USDC."""
FIRST_ITEM: Final = 1
"""Item 0 is the dollar, which nobody quotes."""
FIRST_CONTRACT: Final = FIRST_ITEM + len(ASSETS)
INDEX_SCALE, PRICE_DECIMALS = 10**8, 2
NOISE: Final = 0.0002
"""Standard deviation of what a source says, as a fraction of the price; at most three of them."""
LIE, LIE_PERIOD, LIE_QUOTES = 0.7, 80, 16
"""The liar's factor; in each period of so many quotes it lies in the first ones."""


@dataclass(frozen=True, eq=False)
class Step:
    """The market at a quote.

    Attributes:
        number: Of the quote, from 0.
        time_ns: When it was, nanoseconds UTC.
        index: [assets] US dollars of each of ASSETS.
        price: [contracts] US dollars of each of CONTRACTS.
        stress: By how much makers quote wider and thinner than in calm, at least 1.
    """

    number: int
    time_ns: int
    index: Floats
    price: Floats
    stress: float

    def in_steps(self, contract: int, offset: float = 0.0) -> int:
        """A contract's price, a fraction away from it, in whole price steps."""
        steps: float = float(self.price[contract]) * (1.0 + offset) * 10.0**PRICE_DECIMALS
        return max(1, round(steps))


@dataclass(frozen=True, eq=False)
class Market:
    """The walk through a part of the crash.

    Attributes:
        time_ns: [steps].
        bitcoin: [steps] US dollars.
        recent: [steps] logarithmic return of a day.
    """

    time_ns: Instants
    bitcoin: Floats
    recent: Floats

    @property
    def quotes(self) -> int:
        """How many quotes there are, from the first step to the last."""
        return (self.bitcoin.size - 1) * QUOTES_PER_STEP + 1

    def at(self, number: int) -> Step:
        """The market at a quote, on the straight line between steps; after the last one it stands still."""
        invariant(number >= 0, f"quote {number} is before the first")
        place = min(number, self.quotes - 1)
        bitcoin, recent = (self._between(values, place) for values in (self.bitcoin, self.recent))
        first, part = divmod(place, QUOTES_PER_STEP)
        span = int(self.time_ns[min(first + 1, self.time_ns.size - 1)] - self.time_ns[first])
        index = np.array([bitcoin, ether(bitcoin, float(self.bitcoin[0])), 1.0])
        premium = BasisRule().perpetual(1.0, recent)
        return Step(
            number=number,
            time_ns=int(self.time_ns[first]) + span * part // QUOTES_PER_STEP,
            index=index,
            price=np.repeat(index[:2] * premium, 2),
            stress=1.0 + STRESS * abs(recent),
        )

    def _between(self, values: Floats, place: int) -> float:
        return float(np.interp(place / QUOTES_PER_STEP, np.arange(values.size), values))


def ether(bitcoin: float, first: float) -> float:
    """Ether's price, US dollars: share × first × (bitcoin ÷ first)^response."""
    return float(ETHER_SHARE * first * (bitcoin / first) ** ETHER_RESPONSE)


def market(steps: int, history: PriceHistory | None = None) -> Market:
    """Steps of the crash, its lowest price at LOW_AT of them.

    Args:
        steps: How many are wanted; fewer where the history is shorter.
        history: By default the whole month of the crash.
    """
    invariant(steps > 0, "a market has steps")
    found = history or load_window(WINDOW, whole_month=True)
    path = walk(found)
    first, count = window(path.price, steps)
    recent = recent_returns(found, path, BasisRule().lookback_hours)
    chosen = slice(first, first + count)
    return Market(path.time_ns[chosen], path.price[chosen], recent[chosen])


def window(price: Floats, steps: int) -> tuple[int, int]:
    """First step and number of steps, so that the lowest price stands at LOW_AT of them as nearly as they allow."""
    count = min(steps, price.size)
    first = int(np.argmin(price)) - int(LOW_AT * count)
    return min(max(first, 0), price.size - count), count


def said(step: Step, source: int, seed: int) -> NDArray[np.int64]:
    """[assets + contracts] what a source says of every item, in the units of quotes."""
    random = np.random.default_rng([seed, source, step.number])
    noise = NOISE * np.clip(random.standard_normal(len(ASSETS) + len(CONTRACTS)), -3.0, 3.0)
    noise[len(ASSETS) - 1] *= 0.5
    factor = LIE if source == LIAR and step.number % LIE_PERIOD < LIE_QUOTES else 1.0
    dollars = np.concatenate([step.index, step.price]) * (1.0 + noise) * factor
    scale = np.repeat([INDEX_SCALE, 10**PRICE_DECIMALS], [len(ASSETS), len(CONTRACTS)])
    return np.asarray(np.maximum(1, np.round(dollars * scale)), np.int64)


def quotes(step: Step, source: int, seed: int, now_ns: int, sequence: int) -> Records:
    """A source's quotes of a step; session and number are not filled in.

    Args:
        step: Of the market.
        source: Number in SOURCES.
        seed: Of the noise.
        now_ns: The time that they are stamped with.
        sequence: The source's own, from 1.
    """
    invariant(0 <= source < len(SOURCES), f"source {source} of {len(SOURCES)}")
    prices = said(step, source, seed)
    records = np.zeros(len(prices), RECORD)
    records["kind"], records["instrument"] = RecordKind.QUOTE, FIRST_ITEM + np.arange(len(prices))
    records["price"], records["time"], records["quantity"] = prices, now_ns, sequence
    return records
