"""What the second engine keeps between two frames.

What lives here: definitions, accounts, and the parts that the other modules own. What may not: what commands do.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from holdfast.domain.errors import invariant
from holdfast.witness.book import Book
from holdfast.witness.clock import Clock
from holdfast.witness.contracts import FUTURE, OPTION, PERPETUAL, Item
from holdfast.witness.ledger import Columns, Ledger
from holdfast.witness.lines import FrozenMarket, ImpossibleTableError
from holdfast.witness.market import Market
from holdfast.witness.quorum import Quorum
from holdfast.witness.rules import Parameters, Rules
from holdfast.witness.table import Table, build

SYSTEM_ACCOUNTS = 4
HEALTHY, RESTRICTED, BREACH_PENDING, LIQUIDATING, BANKRUPT, FROZEN, ASIDE = range(7)
"""STA-5. HEALTHY stands for RESTRICTED too: nothing that the second engine does depends on which of the two it is."""


class Withdrawal(NamedTuple):
    """An amount that waits in WITHDRAWALS; `position` is the log position of its request."""

    account: int
    item: int
    amount: int
    position: int


@dataclass
class Session:
    """A session: what it speaks for, and the highest number of it that was seen to be used."""

    role: str
    subject: int = 0
    used: int = 0


@dataclass
class Model:
    """A margin model, its parameters, the version that waits, and its table at the frozen prices."""

    name: str
    parameters: Parameters
    pending: tuple[int, Parameters] | None = None
    table: Table | None = None


class State:
    """Everything that follows from the log."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.assets: dict[str, Item] = {}
        self.columns = Columns([])
        self.models: list[Model] = []
        self.sources: list[str] = []
        self.rules = Rules()
        self.market = Market()
        self.clock = Clock()
        self.quorum = Quorum(self.clock)
        self.ledger = Ledger()
        self.book = Book()
        self.sessions: dict[int, Session] = {0: Session("gateway")}
        self.withdrawals: dict[int, Withdrawal] = {}
        self.withdrawals_made = 0
        self.account_models: npt.NDArray[np.int64] = np.zeros(64, np.int64)
        self.statuses: npt.NDArray[np.int8] = np.zeros(64, np.int8)
        self.accounts = SYSTEM_ACCOUNTS

    def open_account(self, model: int) -> int:
        """A new account under a model."""
        number = self.accounts
        self.accounts += 1
        self.reserve(self.accounts)
        self.account_models[number] = model
        return number

    def reserve(self, accounts: int) -> None:
        """Make room for so many accounts."""
        if accounts > len(self.account_models):
            self.account_models = np.concatenate([self.account_models, np.zeros(accounts, np.int64)])
            self.statuses = np.concatenate([self.statuses, np.zeros(accounts, np.int8)])
        self.ledger.reserve(accounts)

    def add_item(self, item: Item) -> None:
        """A definition."""
        invariant(item.number == len(self.items), f"item {item.number} comes after {len(self.items)}")
        self.items.append(item)
        self.market.add_item()
        if item.is_asset:
            self.assets[item.name] = item
        self.columns = Columns(self.items)

    def close_item(self, item: Item) -> None:
        """A contract was settled."""
        item.is_open = False
        self.columns = Columns(self.items)

    def version(self, account: int) -> int:
        """STA-4."""
        return int(self.ledger.versions[account])

    def status(self, account: int) -> int:
        """STA-5, RESTRICTED as HEALTHY."""
        return int(self.statuses[account])

    def dated(self) -> list[Item]:
        """Contracts that expire."""
        return [item for item in self.items if item.kind in (FUTURE, OPTION)]

    def perpetuals(self) -> list[Item]:
        """Contracts that do not."""
        return [item for item in self.items if item.kind == PERPETUAL]

    def frozen_market(self) -> FrozenMarket:
        """The market of the tables, at logical time or the earliest expiry that is not settled (MKS-9)."""
        expiries = [item.expiry for item in self.items if item.expiry and item.is_open]
        return FrozenMarket(self.items, self.market.marked, min([self.clock.now, *expiries]))

    def build_tables(self) -> str:
        """Build all tables anew (MKS-11); where one cannot be, leave all as they were and say why."""
        market = self.frozen_market()
        try:
            tables = [build(model.parameters, market) for model in self.models]
        except ImpossibleTableError as error:
            return str(error)
        for model, table in zip(self.models, tables, strict=True):
            model.table = table
        return ""
