"""Who trades in the demonstration: market makers with a lot of money, and users with too little of it.

Sizes and the sides of users are those of the replay's families; deposits are multiples of a rough initial margin, lower
than there, so that a few minutes have many liquidations. All is a function of the first prices and the seed.
What lives here: accounts, deposits, first positions. What may not: what they do later (`traffic`). specs/demo.md.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.chaos.demo.market import ASSETS, CONTRACTS, FIRST_CONTRACT, FIRST_ITEM, Step
from holdfast.core.state import INSURANCE, SYSTEM_ACCOUNTS
from holdfast.domain import commands as c
from holdfast.domain.errors import invariant
from holdfast.domain.frames import RECORD, RecordKind, Records
from holdfast.domain.instruments import lot
from holdfast.domain.names import parse_instrument
from holdfast.domain.units import asset
from holdfast.margin.presets import preset
from holdfast.stress.families import RETAIL, SIZE_MEDIAN, SIZE_MIN, SIZE_SPREAD, Multiples
from holdfast.stress.history import Floats
from holdfast.stress.sources import SOURCES

ACCOUNTS, MAKERS = 300, 6
MODELS: Final = ("standard", "portfolio")
STANDARD, PORTFOLIO = range(len(MODELS))
PORTFOLIO_SHARE, INVERSE_SHARE, ETHER_SHARE, LONG_SHARE = 0.2, 0.5, 0.4, 0.66
"""Of the users: who have the portfolio model (they trade contracts paid in USDC); of the others, who trade contracts
paid in coins; of all, who trade Ether, and who are long."""
LEVERAGED_SHARE: Final = 0.6
LEVERAGED, CAREFUL = Multiples(4.0, 0.6, 1.3), Multiples(16.0, 0.5, 4.0)
"""Deposits over the rough initial margin."""
SCANNED: Final = Multiples(1.9, 0.4, 1.3)
"""The same under the portfolio model, which asks for more."""
RATE: Final = (0.05, 0.27)
"""[models] rough initial margin, as a share of the notional."""
CREDIT: Final = 0.8
"""Share of a coin deposit that counts as collateral under the standard model."""
SIZE_MAX: Final = 100_000.0
"""Dollars of notional of one user."""
MAKER_DOLLARS: Final = 3_000_000.0
INSURANCE_SHARE: Final = 0.01
"""The insurance fund at the start, as a share of the notional of all users."""
FEE_PPM, LIQUIDATION_FEE_PPM = 500, 5_000
CHECKPOINT_FRAMES: Final = 128
RULES: Final = c.SetRules(
    ahead_maximum=30 * 10**9,
    sources_minimum=3,
    outlier_ppm=100_000,
    checkpoint_frames=CHECKPOINT_FRAMES,
)
"""Three of five sources make a price. A quote may be ahead of the log's time by as long as the log's elections take."""

Integers = NDArray[np.int64]


class Contract(NamedTuple):
    """A contract's terms: units of a lot, coins or dollars; whether it is paid in coins; its coin, in ASSETS."""

    lot: float
    inverse: bool
    coin: int


TERMS: Final = tuple(
    Contract(float(lot(terms)), terms.inverse, ASSETS.index(terms.underlying))
    for terms in (parse_instrument(name) for name in CONTRACTS)
)


@dataclass(frozen=True, eq=False)
class People:
    """Accounts; market makers are the first of them.

    Attributes:
        makers: How many market makers.
        model: [accounts] index into MODELS.
        deposits: [accounts, assets] ledger units.
        insurance: Of USDC, ledger units that the insurance fund begins with.
        contract: [accounts] what an account trades, index into CONTRACTS; makers quote more.
        lots: [accounts] its first position, signed; 0 for makers.
        maker: [accounts] its first counterparty.
    """

    makers: int
    model: Integers
    deposits: Integers
    insurance: int
    contract: Integers
    lots: Integers
    maker: Integers

    @property
    def accounts(self) -> int:
        """How many there are, market makers included."""
        return len(self.model)

    def name(self, place: int) -> str:
        """What an account is called."""
        return f"maker-{place + 1}" if place < self.makers else f"user-{place - self.makers + 1:03d}"

    @property
    def insurance_dollars(self) -> float:
        """What the insurance fund begins with, dollars, a USDC at one."""
        return float(self.insurance / 10 ** asset("USDC").decimals)

    def open_interest(self) -> Integers:
        """[contracts] lots of all users."""
        return np.asarray(np.bincount(self.contract, np.abs(self.lots), len(CONTRACTS)), np.int64)


def people(step: Step, *, accounts: int = ACCOUNTS, makers: int = MAKERS, seed: int = 1) -> People:
    """The accounts at the first step."""
    invariant(0 < makers < accounts, f"{makers} makers among {accounts} accounts")
    random = np.random.default_rng([seed, 1])
    is_user = np.arange(accounts) >= makers
    model = np.where(is_user & (random.random(accounts) >= PORTFOLIO_SHARE), STANDARD, PORTFOLIO)
    is_inverse = (model == STANDARD) & (random.random(accounts) < INVERSE_SHARE) & is_user
    coin = (random.random(accounts) < ETHER_SHARE).astype(np.int64)
    contract = 2 * coin + np.where(is_inverse, 0, 1)
    size = SIZE_MEDIAN[RETAIL] * np.exp(SIZE_SPREAD * random.standard_normal(accounts))
    size = np.where(is_user, np.clip(size, SIZE_MIN, SIZE_MAX), 0.0)
    side = np.where(random.random(accounts) < LONG_SHARE, 1, -1)
    lots = np.where(is_user, side * np.maximum(1, np.round(size / _lot_dollars(step)[contract])), 0).astype(np.int64)
    return People(
        makers=makers,
        model=model,
        deposits=_deposits(step, random, model, contract, size, is_user),
        insurance=round(INSURANCE_SHARE * float(size.sum()) * 10 ** asset("USDC").decimals),
        contract=contract,
        lots=lots,
        maker=random.integers(0, makers, accounts),
    )


def _lot_dollars(step: Step) -> Floats:
    """[contracts] notional of a lot, dollars."""
    return np.array([one.lot * (1.0 if one.inverse else float(step.index[one.coin])) for one in TERMS])


def _deposits(
    step: Step,
    random: np.random.Generator,
    model: Integers,
    contract: Integers,
    size: Floats,
    is_user: NDArray[np.bool_],
) -> Integers:
    """[accounts, assets] ledger units: coins behind what is paid in coins, else USDC; makers have both."""
    count = len(model)
    is_leveraged = random.random(count) < LEVERAGED_SHARE
    drawn = [_multiples(random, rule, count) for rule in (LEVERAGED, CAREFUL, SCANNED)]
    multiple = np.where(model == PORTFOLIO, drawn[2], np.where(is_leveraged, drawn[0], drawn[1]))
    needed = multiple * np.array(RATE)[model] * size
    is_inverse = np.array([one.inverse for one in TERMS])[contract]
    dollars = np.zeros((count, len(ASSETS)))
    coin = np.array([one.coin for one in TERMS])[contract]
    place = np.where(is_inverse, coin, len(ASSETS) - 1)
    dollars[np.arange(count), place] = np.where(is_inverse, needed / CREDIT, needed)
    dollars[~is_user] = np.array([0.2, 0.1, 0.7]) * MAKER_DOLLARS
    units = np.array([10 ** asset(name).decimals for name in ASSETS])
    return np.asarray(np.rint(dollars / step.index * units), np.int64)


def _multiples(random: np.random.Generator, rule: Multiples, count: int) -> Floats:
    return np.maximum(rule.median * np.exp(rule.spread * random.standard_normal(count)), rule.least)


def definitions() -> list[c.ColdCommand]:
    """Everything to define before there is a price, after the cluster's own first commands."""
    found: list[c.ColdCommand] = [RULES]
    found += [c.DefineAsset(name, asset(name).decimals) for name in ("USD", *ASSETS)]
    for name in CONTRACTS:
        size = format(Decimal(str(lot(parse_instrument(name)))), "f")
        found.append(c.DefineInstrument(name, size, 2, FEE_PPM, LIQUIDATION_FEE_PPM))
    found += [c.DefineSource(name) for name in SOURCES]
    return [*found, *(c.DefineModel(name, preset(name)) for name in MODELS)]


def openings(crowd: People) -> list[c.ColdCommand]:
    """The accounts; their numbers follow each other from SYSTEM_ACCOUNTS on."""
    return [c.OpenAccount(int(model), crowd.name(place)) for place, model in enumerate(crowd.model)]


def deposits(crowd: People) -> list[c.ColdCommand]:
    """Everybody's money, the insurance fund's first."""
    found: list[c.ColdCommand] = [c.Deposit(INSURANCE, FIRST_ITEM + len(ASSETS) - 1, crowd.insurance)]
    for account, row in enumerate(crowd.deposits.tolist(), SYSTEM_ACCOUNTS):
        found += [c.Deposit(account, FIRST_ITEM + n, units) for n, units in enumerate(row) if units]
    return found


def first_trades(crowd: People, step: Step) -> Records:
    """The users' first positions, each from a maker at the market's price; session and number are not filled in."""
    users = np.arange(crowd.makers, crowd.accounts)
    records = np.zeros(len(users), RECORD)
    prices = np.array([step.in_steps(contract) for contract in range(len(CONTRACTS))])
    records["kind"] = RecordKind.TRADE
    records["account"], records["other"] = users + SYSTEM_ACCOUNTS, crowd.maker[users] + SYSTEM_ACCOUNTS
    records["instrument"] = crowd.contract[users] + FIRST_CONTRACT
    records["quantity"], records["price"] = crowd.lots[users], prices[crowd.contract[users]]
    return records
