"""A made-up population: who is at the venue, with what deposit, in which contracts, against which market maker.

Every trade is between an account and a market maker, so that the positions in each contract sum to zero by
construction. Deposits are multiples of a rough initial margin (`requirements`), so that at an ordinary time nearly
everybody is far from liquidation and a crash reaches the share that was leveraged. All is arrays, and a function of the
first market and the seed.

What may not live here: orders during the window (`flow`), and how each family trades (`families`). The rules, with
their shares: specs/replay-population.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.domain.errors import InputError
from holdfast.domain.units import asset
from holdfast.stress.families import FAMILIES, HEDGER, MAKER, MODELS, PORTFOLIO, STANDARD, Wishes, wishes_of
from holdfast.stress.history import Floats
from holdfast.stress.market import MarketPath, Step
from holdfast.stress.requirements import Legs, notional, scan_requirement, standard_requirement
from holdfast.stress.venue import ASSETS, BTC, USDC, Venue

ACCOUNTS, MAKERS = 20_000, 8
ACCOUNTS_MIN = 100
CREDIT = ((0.80, 0.98), (0.98, 0.98))
"""[models][assets] share of a deposit that counts as collateral."""
COIN_MULTIPLE_MIN = 2.0
"""A scanned coin deposit raises the requirement itself; a smaller multiple would not cover it."""
MAKER_MULTIPLE = 4.0
"""Deposits of market makers, as a multiple of the requirement of all their longs or all their shorts, the larger."""
MAKER_COIN_SHARE = 0.25
INSURANCE_SHARE = 0.004
"""Insurance fund at the start, as a share of the notional of all trades in perpetuals and futures, in USDC."""


class Trades(NamedTuple):
    """Trades in the order in which they are made, each at the mark.

    Attributes:
        account: [trades] who asks, an index of `Population` as is `maker`.
        maker: [trades] the counterparty, which gets the opposite.
        instrument: [trades] number in `Venue.instruments`.
        lots: [trades] signed, of `account`; never 0.
    """

    account: NDArray[np.int64]
    maker: NDArray[np.int64]
    instrument: NDArray[np.int64]
    lots: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Population:
    """Accounts and what they begin with. Market makers are the first `makers` accounts.

    Attributes:
        venue: The contracts.
        seed: What it was drawn with.
        makers: How many market makers.
        family: [accounts] index into `FAMILIES`.
        model: [accounts] index into `MODELS`.
        deposits: [accounts, assets] ledger units of each of `ASSETS`.
        insurance: [assets] ledger units that the insurance fund begins with.
        requirement: [accounts] rough initial margin, US dollars: the most that building the book asks for.
        trades: What is traded before the window.
    """

    venue: Venue
    seed: int
    makers: int
    family: NDArray[np.int64]
    model: NDArray[np.int64]
    deposits: NDArray[np.int64]
    insurance: NDArray[np.int64]
    requirement: Floats
    trades: Trades

    @property
    def accounts(self) -> int:
        """How many there are, market makers included."""
        return len(self.family)

    def positions(self) -> NDArray[np.int64]:
        """[accounts, instruments] lots after all trades, of both sides."""
        lots = np.zeros((self.accounts, len(self.venue.instruments)), np.int64)
        np.add.at(lots, (self.trades.account, self.trades.instrument), self.trades.lots)
        np.add.at(lots, (self.trades.maker, self.trades.instrument), -self.trades.lots)
        return lots

    def open_interest(self) -> Floats:
        """[instruments] units held long: coins, or dollars for inverse perpetuals and futures."""
        return np.asarray(np.maximum(self.positions(), 0).sum(axis=0) * self.venue.lot, np.float64)

    def rows(self) -> Iterator[tuple[str, str, dict[str, int]]]:
        """Per account its family, its model and its deposits in ledger units, for people and small populations."""
        for family, model, units in zip(self.family.tolist(), self.model.tolist(), self.deposits.tolist(), strict=True):
            yield FAMILIES[family], MODELS[model], {name: n for name, n in zip(ASSETS, units, strict=True) if n}


def population(path: MarketPath, *, accounts: int = ACCOUNTS, seed: int = 1, makers: int = MAKERS) -> Population:
    """The population of a venue at the first step of a market.

    Args:
        path: The market; only its first step counts.
        accounts: How many, market makers included.
        seed: What everything is drawn with.
        makers: How many market makers.

    Returns:
        Deposits, and trades that leave every contract's positions summing to zero.

    Raises:
        InputError: Fewer than a hundred accounts, or no market maker, or more than a tenth ("out-of-range").
    """
    if accounts < ACCOUNTS_MIN:
        raise InputError("out-of-range", "accounts", accounts, f"give at least {ACCOUNTS_MIN}")
    if not 1 <= makers <= accounts // 10:
        raise InputError("out-of-range", "makers", makers, f"give 1 to {accounts // 10} for {accounts} accounts")
    step = path.at(0)
    wishes = wishes_of(path.venue, step, accounts, makers, seed)
    trades = _trades(path.venue, wishes, makers, seed)
    legs = Legs(trades.account, trades.instrument, trades.lots * path.venue.lot[trades.instrument])
    requirement = _requirements(path, step, legs, wishes.model)
    dollars = _deposits(wishes, requirement)
    _fund_makers(path, step, trades, dollars, requirement, makers)
    insurance = np.array([0.0, INSURANCE_SHARE * _futures_notional(path.venue, step, legs)])
    return Population(
        venue=path.venue,
        seed=seed,
        makers=makers,
        family=wishes.family,
        model=wishes.model,
        deposits=_units(dollars, step.index_price),
        insurance=_units(insurance[None], step.index_price)[0],
        requirement=requirement,
        trades=trades,
    )


def _trades(venue: Venue, wishes: Wishes, makers: int, seed: int) -> Trades:
    """Wishes in whole lots, at least one each; first legs of all accounts in random order, then the second ones."""
    random = np.random.default_rng([seed, 2])
    legs = wishes.legs
    size = np.maximum(np.rint(np.abs(legs.units) / venue.lot[legs.instrument]), 1.0)
    lots = (np.sign(legs.units) * size).astype(np.int64)
    order = np.lexsort((random.random(lots.size), wishes.turn))
    maker = random.integers(0, makers, lots.size)
    return Trades(legs.account[order], maker, legs.instrument[order], lots[order])


def _requirements(path: MarketPath, step: Step, legs: Legs, model: NDArray[np.int64]) -> Floats:
    """[accounts] US dollars, by each account's model; of its whole book or its first leg alone, whichever asks more.

    A hedged book is built leg by leg, and the engine margins each of them.
    """
    by_leg = np.bincount(legs.account, standard_requirement(path.venue, step, legs), model.size)
    _, first = np.unique(legs.account, return_index=True)
    alone = Legs(legs.account[first], legs.instrument[first], legs.units[first])
    scans = [scan_requirement(path, step, part, model.size) for part in (legs, alone)]
    return np.where(model == STANDARD, by_leg, np.maximum(*scans))


def _deposits(wishes: Wishes, requirement: Floats) -> Floats:
    """[accounts, assets] US dollars: multiple × requirement ÷ credit, in the account's asset; hedgers bring coins."""
    credit = np.array(CREDIT)[wishes.model, wishes.asset]
    is_scanned = (wishes.model == PORTFOLIO) & (wishes.asset == BTC)
    multiple = np.where(is_scanned, np.maximum(wishes.multiple, COIN_MULTIPLE_MIN), wishes.multiple)
    value = multiple * requirement / credit
    value = np.where(wishes.family == HEDGER, np.maximum(wishes.coins_value, value), value)
    dollars = np.zeros((value.size, len(ASSETS)))
    dollars[np.arange(value.size), wishes.asset] = np.where(wishes.family == MAKER, 0.0, value)
    return dollars


def _fund_makers(
    path: MarketPath, step: Step, trades: Trades, dollars: Floats, requirement: Floats, makers: int
) -> None:
    """Give makers what covers all their longs, or all their shorts, many times over, in whatever order they come."""
    units = -trades.lots * path.venue.lot[trades.instrument]
    sides = []
    for chosen in (units > 0.0, units < 0.0):
        legs = Legs(trades.maker[chosen], trades.instrument[chosen], units[chosen])
        sides.append(scan_requirement(path, step, legs, makers))
    requirement[:makers] = scan_requirement(path, step, Legs(trades.maker, trades.instrument, units), makers)
    value = MAKER_MULTIPLE * np.maximum(*sides)
    dollars[:makers, BTC], dollars[:makers, USDC] = MAKER_COIN_SHARE * value, (1.0 - MAKER_COIN_SHARE) * value


def _futures_notional(venue: Venue, step: Step, legs: Legs) -> float:
    is_future = ~venue.is_option[legs.instrument]
    return float((np.abs(legs.units) * notional(venue, step)[legs.instrument])[is_future].sum())


def _units(dollars: Floats, index: float) -> NDArray[np.int64]:
    """[…, assets] US dollars as whole ledger units of each asset, rounded to the nearest."""
    per_dollar = np.array([10 ** asset("BTC").decimals / index, 10 ** asset("USDC").decimals])
    return np.asarray(np.rint(dollars * per_dollar), np.int64)
