"""What accounts do during the window: market makers move their quotes, others trade a little.

Makers cancel and re-place their orders around the price, futures at every step and options at the start of every bar.
Their depth shrinks and their spread widens as volatility rises, so that a crash meets thin books. Other accounts trade
now and then: half of them with a maker at the price, half by an order that crosses the makers' quotes and is cancelled
a step later. Commands are tuples; what an engine refuses of them is its business.

What may not live here: initial trades (`population`) and liquidations. Rules and counts: specs/replay-population.md.
"""

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import msgspec
import numpy as np

from holdfast.stress.families import DIRECTIONAL, RETAIL, SIZE_MEDIAN, SIZE_SPREAD
from holdfast.stress.market import MarketPath, Step
from holdfast.stress.population import Population
from holdfast.stress.requirements import notional
from holdfast.stress.venue import BTC
from holdfast.stress.walk import STEPS


class FlowRule(msgspec.Struct, frozen=True):
    """The numbers of the flow.

    Attributes:
        reference_volatility: Annual volatility at which spread and depth are as stated; spread is proportional to
            volatility and depth to its inverse.
        distances: Distance of each level from the price of a future, as a fraction of it.
        depths: Depth of each level of a future, all makers together, as a fraction of its open interest at the start.
        depth_growth_max: Most that calm makes depth grow, and least that it lets spread shrink, as its inverse.
        option_distance: Distance of the one level of an option, as a fraction of its price.
        option_distance_min: Its least, in coins per coin.
        option_depth: Depth of that level, as `depths`.
        makers_per_future: Makers that quote a future.
        makers_per_option: Makers that quote an option.
        orders_per_account: New trades and orders of others per account and step, on average.
        crossing: How far an order of others crosses the price, as a fraction.
        size_share: Their size, as a share of the median size of leveraged retail.
    """

    reference_volatility: float = 0.75
    distances: tuple[float, ...] = (0.0005, 0.003, 0.01)
    depths: tuple[float, ...] = (0.02, 0.03, 0.045)
    depth_growth_max: float = 1.5
    option_distance: float = 0.05
    option_distance_min: float = 0.0005
    option_depth: float = 0.02
    makers_per_future: int = 4
    makers_per_option: int = 2
    orders_per_account: float = 0.0004
    crossing: float = 0.01
    size_share: float = 0.3

    def stress(self, volatility: float) -> float:
        """By how much spread is wider and depth thinner than at the reference."""
        return max(volatility / self.reference_volatility, 1.0 / self.depth_growth_max)


class PlaceOrder(NamedTuple):
    """A limit order. `lots` are signed, a purchase above 0; `price` as `Step.price`; no two have one `reference`."""

    reference: int
    account: int
    instrument: int
    lots: int
    price: float


class CancelOrder(NamedTuple):
    """Cancels what is left of an order, which may be nothing."""

    reference: int


class MakeTrade(NamedTuple):
    """A trade with a maker; `lots` are signed, of `account`; `price` as `Step.price`."""

    account: int
    maker: int
    instrument: int
    lots: int
    price: float


Command: TypeAlias = PlaceOrder | CancelOrder | MakeTrade


def flow(
    path: MarketPath, population: Population, rule: FlowRule | None = None, *, seed: int = 1
) -> Iterator[list[Command]]:
    """Commands of each step of the market, in order.

    Args:
        path: The market.
        population: Who acts; only its makers, its families and its open interest count.
        rule: The numbers.
        seed: What chance is drawn with.

    Yields:
        One list per step, for contracts that have not expired. Every order is cancelled by a later list, unless it
        expires first or the window ends.
    """
    desk = _Desk(path, population, rule or FlowRule(), seed)
    for number in range(path.steps):
        yield desk.commands(path.at(number))


class _Desk:
    """The open orders by what will cancel them, and the number of the next."""

    def __init__(self, path: MarketPath, population: Population, rule: FlowRule, seed: int) -> None:
        self.venue, self.makers, self.rule = path.venue, population.makers, rule
        self.random = np.random.default_rng([seed, 3])
        self.others = np.flatnonzero(np.isin(population.family, (RETAIL, DIRECTIONAL)))
        self.rate = rule.orders_per_account * population.accounts
        self.interest = population.open_interest()
        self.futures = np.flatnonzero(~path.venue.is_option).tolist()
        self.options = np.flatnonzero(path.venue.is_option).tolist()
        self.resting: dict[str, list[PlaceOrder]] = {"futures": [], "options": [], "others": []}
        self.reference = 0

    def commands(self, step: Step) -> list[Command]:
        stress = self.rule.stress(step.volatility)
        alive = self.venue.is_alive(step.time_ns)
        commands: list[Command] = list(self._cancelled("others", step))
        if step.number % STEPS == 0:
            commands += self._cancelled("options", step)
            quoted = [i for i in self.options if alive[i]]
            commands += self._placed("options", [o for i in quoted for o in self._option_quotes(step, i, stress)])
        commands += self._cancelled("futures", step)
        quoted = [i for i in self.futures if alive[i]]
        commands += self._placed("futures", [o for i in quoted for o in self._future_quotes(step, i, stress)])
        return commands + self._others(step, quoted)

    def _cancelled(self, group: str, step: Step) -> list[CancelOrder]:
        """Cancellations of a group's orders; expired contracts have none left."""
        alive = self.venue.is_alive(step.time_ns)
        kept, self.resting[group] = self.resting[group], []
        return [CancelOrder(order.reference) for order in kept if alive[order.instrument]]

    def _placed(self, group: str, orders: list[PlaceOrder]) -> list[PlaceOrder]:
        self.resting[group] += orders
        return orders

    def _order(self, account: int, instrument: int, lots: int, price: float) -> PlaceOrder:
        self.reference += 1
        return PlaceOrder(self.reference, account, instrument, lots, price)

    def _future_quotes(self, step: Step, instrument: int, stress: float) -> Iterator[PlaceOrder]:
        price, count = float(step.price[instrument]), min(self.rule.makers_per_future, self.makers)
        for level, depth in zip(self.rule.distances, self.rule.depths, strict=True):
            lots = self._lots(depth / stress / count, instrument)
            for maker in self._quoting(instrument, count):
                for side in (1, -1):
                    yield self._order(maker, instrument, side * lots, price * (1.0 - side * level * stress))

    def _option_quotes(self, step: Step, instrument: int, stress: float) -> Iterator[PlaceOrder]:
        """Bid and offer; no bid where it would not be above nothing."""
        price, count = float(step.price[instrument]), min(self.rule.makers_per_option, self.makers)
        least = self.rule.option_distance_min
        least *= 1.0 if self.venue.settlement[instrument] == BTC else step.index_price
        distance = max(self.rule.option_distance * price, least) * stress
        lots = self._lots(self.rule.option_depth / stress / count, instrument)
        for maker in self._quoting(instrument, count):
            if price > distance:
                yield self._order(maker, instrument, lots, price - distance)
            yield self._order(maker, instrument, -lots, price + distance)

    def _quoting(self, instrument: int, count: int) -> list[int]:
        return [(instrument + k) % self.makers for k in range(count)]

    def _lots(self, share: float, instrument: int) -> int:
        """A share of open interest in lots, at least one."""
        return max(1, int(share * self.interest[instrument] / self.venue.lot[instrument]))

    def _others(self, step: Step, futures: list[int]) -> list[Command]:
        """New trades and orders of accounts that are no makers, in perpetuals and futures."""
        count = int(self.random.poisson(self.rate))
        accounts = self.random.choice(self.others, count).tolist()
        instruments = self.random.choice(futures, count).tolist()
        sides = np.where(self.random.random(count) < 0.5, 1, -1).tolist()
        dollars = self.rule.size_share * SIZE_MEDIAN[RETAIL] * np.exp(SIZE_SPREAD * self.random.standard_normal(count))
        lots = (
            np.maximum(dollars / (notional(self.venue, step) * self.venue.lot)[instruments], 1.0).astype(int).tolist()
        )
        commands: list[Command] = []
        for place, account in enumerate(accounts):
            instrument, amount = instruments[place], sides[place] * lots[place]
            price = float(step.price[instrument])
            if place % 2:
                limit = price * (1.0 + sides[place] * self.rule.crossing * self.rule.stress(step.volatility))
                commands += self._placed("others", [self._order(account, instrument, amount, limit)])
            else:
                maker = int(self.random.integers(0, self.makers))
                commands.append(MakeTrade(account, maker, instrument, amount, price))
        return commands
