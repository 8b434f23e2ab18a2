"""Kinds of accounts that are worth trying: random ones, and those that sit where a page could be read in two ways.

A kind is a function that fills an account of a venue, from a seeded generator. What may not live here: markets, and
what an account's margin is.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import NamedTuple

from holdfast.validate.independence.models import TIER_STARTS
from holdfast.validate.independence.venue import CONTRACTS, DECIMALS, Venue, is_inverse, is_option

_SIZES = {"10": 300, "5": 60, "0.001": 3_000, "0.002": 1_500, "0.1": 30, "0.25": 12, "1": 60, "0.01": 4_000}
"""About how many lots of each size of lot make a position of some thousand dollars."""
SPOT = {"BTC": 10_000.0, "ETH": 400.0}
"""Dollars: what positions were entered near. Situations move away from it."""


class Filling(NamedTuple):
    """What a kind works with.

    Attributes:
        venue: Where the account is.
        random: Draws.
        account: Its number.
        prices: The frozen prices by name, in the units of quotes; absent where nobody quotes.
    """

    venue: Venue
    random: Random
    account: int
    prices: Mapping[str, int]

    def lots(self, name: str, share: float = 1.0) -> int:
        """A random number of lots of either sign."""
        most = max(1, round(_SIZES[CONTRACTS[name].lot] * share))
        return self.random.randint(1, most) * self.random.choice((-1, 1))

    def mark(self, name: str) -> int:
        """The mark of a perpetual or future in price steps; about the value of an option."""
        coin, steps = name[:3], CONTRACTS[name].steps
        if not is_option(name):
            index = self.prices[coin] * steps // 10**8
            return max(1, self.prices.get(name, index))
        worth = 0.08 * SPOT[coin]
        return max(1, round((worth / SPOT[coin] if is_inverse(name) else worth) * steps))

    def hold(self, name: str, lots: int) -> None:
        """A position entered within a tenth of the old price."""
        old = self.mark(name) if is_option(name) else round(SPOT[name[:3]] * CONTRACTS[name].steps)
        self.venue.hold(self.account, name, lots, max(1, round(old * self.random.uniform(0.9, 1.1))))

    def give(self, asset: str, amount: float) -> None:
        """An amount of an asset, in the asset."""
        self.venue.give(self.account, asset, round(amount * 10 ** DECIMALS[asset]))

    def order(self, name: str, lots: int, price: int) -> None:
        """An open order."""
        self.venue.order(self.account, name, lots, max(1, price))

    def some(self, names: list[str], most: int) -> list[str]:
        """A few of some names."""
        return self.random.sample(names, self.random.randint(1, min(most, len(names))))


def _names(*, option: bool | None = None, inverse: bool | None = None) -> list[str]:
    return [name for name in CONTRACTS if option in (None, is_option(name)) and inverse in (None, is_inverse(name))]


def _cash(at: Filling, size: float = 1.0) -> None:
    at.give("USD", at.random.choice((0, 8_000)) * size)
    at.give("USDC", at.random.choice((0, 20_000, 160_000)) * size * at.random.uniform(0.5, 1.5))
    at.give("BTC", at.random.choice((0, 1, 20)) * size * at.random.uniform(0.5, 1.5))
    at.give("ETH", at.random.choice((0, 30)) * size)


def _mixed(at: Filling) -> None:
    _cash(at)
    for name in at.some(list(CONTRACTS), 6):
        at.hold(name, at.lots(name))


def _inverse(at: Filling) -> None:
    at.give("BTC", at.random.uniform(0.1, 2.0))
    at.give("ETH", at.random.uniform(0.0, 30.0))
    for name in at.some(_names(inverse=True), 4):
        at.hold(name, at.lots(name))


def _options(at: Filling) -> None:
    _cash(at)
    for name in at.some(_names(option=True), 5):
        at.hold(name, at.lots(name))


def _spread(at: Filling) -> None:
    """Options of one expiry that pay for each other, at strikes that prices may equal."""
    at.give("BTC", 1.0)
    lots = abs(at.lots("BTC-25SEP20-10000-P"))
    at.hold("BTC-25SEP20-10000-P", lots)
    at.hold("BTC-25SEP20-9000-P", -lots)
    at.hold("BTC-25SEP20-10000-C", at.random.choice((-lots, lots, 2 * lots)))


def _short_calls(at: Filling) -> None:
    at.give("USDC", 5_000.0)
    for name in ("BTC-25SEP20-10000-C", "BTC_USDC-25SEP20-10000-C", "ETH-25SEP20-400-C", "ETH-25SEP20-420-C"):
        at.hold(name, -abs(at.lots(name)) if at.random.random() < 0.7 else abs(at.lots(name)))


def _offset(at: Filling) -> None:
    """A perpetual against a future, of other size."""
    _cash(at, 0.5)
    lots = at.lots("BTC_USDC-PERPETUAL")
    at.hold("BTC_USDC-PERPETUAL", lots)
    at.hold("BTC_USDC-30OCT20", -lots // 2)
    at.hold("BTC-25SEP20", at.lots("BTC-25SEP20"))


def _exact_offset(at: Filling) -> None:
    """A perpetual against a future, both of the same notional."""
    at.give("USDC", 2_000.0)
    lots = at.lots("ETH_USDC-PERPETUAL")
    at.hold("ETH_USDC-PERPETUAL", lots)
    at.hold("ETH_USDC-30OCT20", -lots)


def _dust(at: Filling) -> None:
    """One unit of everything, and positions of one lot."""
    for asset in DECIMALS:
        at.venue.give(at.account, asset, at.random.choice((-1, 1)))
    for name in at.some(list(CONTRACTS), 4):
        at.hold(name, at.random.choice((-1, 1)))


def _owing(at: Filling) -> None:
    at.give("USDC", -at.random.uniform(100.0, 5_000.0))
    at.give("BTC", -at.random.choice((0.0, 0.3)))
    at.give("USD", 10_000.0)
    for name in at.some(_names(option=False), 2):
        at.hold(name, at.lots(name))


def _tier_edge(at: Filling) -> None:
    """Coins worth exactly where the second tier of a haircut begins, or one unit beside it."""
    start, beside = at.random.choice(TIER_STARTS), at.random.choice((-1, 0, 1))
    asset = at.random.choice(("BTC", "ETH", "USDC"))
    units = round(start * 10 ** DECIMALS[asset] * 10**8 / at.prices[asset])
    at.venue.give(at.account, asset, units + beside)


def _orders_at_mark(at: Filling) -> None:
    """Orders at the mark, on both sides, of contracts held and not held."""
    _cash(at)
    for name in at.some(_names(option=False), 3):
        at.order(name, at.lots(name), at.mark(name))
        at.order(name, at.lots(name), at.mark(name))


def _orders_through_zero(at: Filling) -> None:
    """A position, and an order that would turn it around."""
    _cash(at)
    for name in at.some(list(CONTRACTS), 2):
        lots = at.lots(name)
        at.hold(name, lots)
        at.order(name, -2 * lots, round(at.mark(name) * at.random.uniform(0.9, 1.1)))


def _orders_many(at: Filling) -> None:
    _cash(at)
    for name in at.some(list(CONTRACTS), 5):
        if at.random.random() < 0.5:
            at.hold(name, at.lots(name))
        for _ in range(at.random.randint(1, 2)):
            at.order(name, at.lots(name), round(at.mark(name) * at.random.uniform(0.8, 1.2)))


def _orders_on_options(at: Filling) -> None:
    """Orders on options of one expiry, of which some are held: fills can pair them, or leave them naked."""
    at.give("USDC", 20_000.0)
    at.give("BTC", 1.0)
    for name in at.some([one for one in _names(option=True) if "25SEP20" in one], 5):
        if at.random.random() < 0.6:
            at.hold(name, at.lots(name))
        at.order(name, at.lots(name), round(at.mark(name) * at.random.uniform(0.7, 1.3)))


def _large(at: Filling) -> None:
    """Positions a hundred times as large, where charges that grow with size count."""
    _cash(at, 30.0)
    for name in at.some(list(CONTRACTS), 4):
        at.hold(name, at.lots(name, 100.0))


def _empty(_at: Filling) -> None:
    """Nothing at all."""


KINDS: dict[str, Callable[[Filling], None]] = {
    "mixed": _mixed,
    "inverse": _inverse,
    "options": _options,
    "spread": _spread,
    "short calls": _short_calls,
    "offset": _offset,
    "exact offset": _exact_offset,
    "dust": _dust,
    "owing": _owing,
    "tier edge": _tier_edge,
    "orders at mark": _orders_at_mark,
    "orders through zero": _orders_through_zero,
    "many orders": _orders_many,
    "orders on options": _orders_on_options,
    "large": _large,
    "empty": _empty,
}
