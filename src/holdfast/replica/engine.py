"""The library's engine: a market, accounts and margin in names and main units, for notebooks, back-tests and venues.

    engine = holdfast.Engine("venue")      # a folder; Engine() keeps everything in memory

Every command is a method that returns an `Outcome`: true where the command took effect, with its reason in words where
it did not. What cannot be a command at all (an unknown name, an amount between two ledger units) raises InputError and
nothing is sent. After each call the engine does by itself what is due: liquidations, releases, settlements.

What may not live here: rules, formulas, framing. Normative: specs/engine.md.
"""

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from holdfast.core.state import SYSTEM_ACCOUNTS, Account, Quote, Role
from holdfast.domain import commands
from holdfast.domain.commands import SetRules
from holdfast.domain.errors import InputError, invariant
from holdfast.domain.parameters import AnyParameters
from holdfast.domain.reading import located
from holdfast.domain.units import NANOSECONDS_PER_DAY, format_time
from holdfast.log.memory import MemoryLog
from holdfast.log.protocol import GroupLog
from holdfast.log.sqlite import SqliteLog
from holdfast.margin.calculation import Margin, calculate
from holdfast.replica import requests, views
from holdfast.replica.amounts import Amount, nearest_count
from holdfast.replica.decisions import expired
from holdfast.replica.directory import Directory
from holdfast.replica.embedded import EmbeddedEngine
from holdfast.replica.folder import LOG_NAME, make_folder
from holdfast.replica.gateway import Request
from holdfast.replica.names import SYSTEM_NAMES
from holdfast.replica.outcome import Outcome, Outcomes, outcome_of
from holdfast.replica.requests import Command, Instant
from holdfast.replica.words import Scene

SOURCE = "prices"
"""The price source that `post_prices` speaks for unless told otherwise."""
TIME_STEP = 366 * NANOSECONDS_PER_DAY
"""How far one tick may take logical time in a new log: a back-test takes the steps of its data. A venue that runs on
real clocks sets less (`set_rules`)."""


class Engine:
    """One engine over one log, in names and main units. A context manager that closes itself.

    Amounts are int, float, str or Decimal in main units, taken exactly: a float counts as the shortest decimal that
    reads back as it, and what is no whole number of ledger units, lots or price steps is refused. Accounts, assets,
    contracts and models are named, or given by number.
    """

    def __init__(self, log: str | os.PathLike[str] | GroupLog | None = None) -> None:
        """Open an engine.

        Args:
            log: A folder, made if need be; or a log; or None for a log in memory.

        Raises:
            LogError: The folder or its log cannot be used: locked by another engine, read-only, damaged.
            EngineError: The log cannot be replayed, or ends before a snapshot of it.
        """
        with contextlib.ExitStack() as undo:
            folder, opened = None, MemoryLog() if log is None else log
            if isinstance(opened, str | os.PathLike):
                folder = make_folder(Path(opened).absolute())
                opened = SqliteLog(folder / LOG_NAME)
            undo.callback(opened.close)
            self._embedded = EmbeddedEngine(opened, folder=folder)
            self._book = Directory(self._embedded.fold, self._embedded.names)
            if self._embedded.position == 0:
                self._embedded.send([Request(Role.OPERATOR, 0, SetRules(step_maximum=TIME_STEP))])
            undo.pop_all()

    def define_asset(self, name: str, decimals: int | None = None) -> Outcome:
        """Define an asset; its ledger unit is 10**−decimals, by default that of `specs/units.md`."""
        return self._one(requests.define_asset(self._names, name, decimals))

    def define_instrument(
        self,
        name: str,
        lot: Amount | None = None,
        price_decimals: int | None = None,
        fee: Amount = 0,
        liquidation_fee: Amount = 0,
    ) -> Outcome:
        """Define a contract on defined assets.

        Args:
            name: In Deribit's or ccxt's spelling.
            lot: The smallest quantity; by default Deribit's (`domain.instruments.LOTS`).
            price_decimals: By default 2, and 4 for options whose premiums are in coins.
            fee: Of each side of a trade, as a fraction of its notional; whole millionths.
            liquidation_fee: Of a liquidated account to the insurance fund, likewise.
        """
        return self._one(requests.define_instrument(self._names, name, lot, price_decimals, fee, liquidation_fee))

    def define_model(
        self,
        name: str,
        parameters: AnyParameters | None = None,
        *,
        effective: Instant | None = None,
        force: bool = False,
    ) -> Outcome:
        """Define a margin model, by default the shipped set of that name, or the next version of one.

        Args:
            name: Of the model.
            parameters: The set.
            effective: Logical time from which it holds; None is at once.
            force: Whether to take it although accounts would fall below initial margin.
        """
        return self._one(requests.define_model(self._names, name, parameters, effective, force))

    def set_rules(self, **changes: int) -> Outcome:
        """Change how quotes become prices and clocks time: fields of `domain.commands.SetRules`, the others stay."""
        rules = self._embedded.fold.machine.registry.rules
        kept = {field: getattr(rules, field) for field in rules.__struct_fields__}
        return self._one(requests.set_rules(self._names, **(kept | changes)))

    def open_account(self, name: str, model: str | int | None = None) -> Outcome:
        """Open an account under a model, by default the first one defined."""
        return self._one(requests.open_account(self._names, name, model))

    def choose_model(self, account: str | int, model: str | int, *, dry_run: bool = False) -> Outcome:
        """Put an account under another model, or only see what its margin would be."""
        return self._one(requests.choose_model(self._names, account, model, dry_run))

    def tick(self, time: Instant | None = None) -> Outcome:
        """Let logical time go on to an instant, by default this machine's; what is due then happens."""
        answer = self._embedded.tick(None if time is None else requests.instant(time))
        return self._acted([answer], [Scene(f"it is {format_time(self._embedded.fold.time)}")])[0]

    def post_prices(self, prices: Mapping[str, Amount], *, source: str = SOURCE, mark: bool = True) -> Outcomes:
        """Quote prices at logical time and mark what they are of.

        Args:
            prices: Of assets in dollars, of perpetuals and futures in their quote currency, of options their annual
                volatilities (0.85). Rounded to the nearest step: 1e-8 dollars, a price step, 1e-6.
            source: Who quotes them; defined if new.
            mark: Whether to mark every underlying at once, and not at the next interval or threshold.

        Returns:
            One outcome for each price, in their order, then one for each mark.
        """
        number, fold = self._embedded.source(source), self._embedded.fold
        if fold.time == 0:
            raise InputError("missing-field", "time", None, "tick first, so that the prices have a time")
        items = [self._names.item(name, "prices") for name in prices]
        if len(set(items)) != len(items):
            raise InputError("duplicate-line", "prices", list(prices), "give each price once")
        # Contracts go first: the index may mark at once, and is then to find them renewed.
        order = sorted(range(len(items)), key=lambda n: self._names.items[items[n]].instrument is None)
        quotes = [self._quote(number, items[n], list(prices.items())[n]) for n in order]
        marks = [requests.mark(self._names, item) for item in self._underlyings(items)] if mark else []
        outcomes = self._many([*quotes, *marks])
        placed = dict(zip(order, outcomes, strict=False))
        return Outcomes([*(placed[n] for n in range(len(items))), *outcomes[len(items) :]])

    def _quote(self, source: int, item: int, quoted: tuple[str, Amount]) -> Command:
        name, price = quoted
        steps = nearest_count(price, self._names.quote_step(item), f"prices[{name}]")
        if steps <= 0:
            raise InputError("out-of-range", f"prices[{name}]", price, "give a price above 0")
        fold = self._embedded.fold
        sequence = int(fold.machine.state.quotes[item, source, Quote.SEQUENCE]) + 1
        content = commands.quote(0, 0, item, steps, fold.time, sequence)
        return Command(Request(Role.SOURCE, source, content), Scene(f"{name} is quoted at {price}", item=name))

    def _underlyings(self, items: Iterable[int]) -> list[int]:
        """The assets whose prices, or prices of contracts on them, are among the items; ascending."""
        numbers = self._embedded.fold.machine.registry.numbers
        instruments = {item: self._names.items[item].instrument for item in items}
        return sorted({item if of is None else numbers[of.underlying] for item, of in instruments.items()})

    def mark(self, asset: str | int) -> Outcome:
        """Freeze the prices of an asset and of everything on it, and look at every account exposed to it."""
        return self._one(requests.mark(self._names, asset))

    def deposit(self, account: str | int, asset: str | int, amount: Amount) -> Outcome:
        """Credit an account from the outside world; "insurance" is the insurance fund."""
        return self._one(requests.deposit(self._names, account, asset, amount))

    def withdraw(self, account: str | int, asset: str | int, amount: Amount, destination: str = "") -> Outcome:
        """Ask for a withdrawal; `made` is its number. The amount is reserved until it is released or cancelled."""
        return self._one(requests.withdraw(self._names, account, asset, amount, destination))

    def cancel_withdrawal(self, withdrawal: int) -> Outcome:
        """Give a reserved withdrawal back to its account."""
        return self._one(requests.cancel_withdrawal(self._names, withdrawal))

    def transfer(self, account: str | int, other: str | int, asset: str | int, amount: Amount) -> Outcome:
        """Move an asset from `account` to `other`."""
        return self._one(requests.transfer(self._names, account, other, asset, amount))

    def trade(
        self, account: str | int, other: str | int, instrument: str | int, quantity: Amount, price: Amount
    ) -> Outcome:
        """`account` buys a quantity from `other`, or sells where it is negative; margin is checked on both sides."""
        return self._one(requests.trade(self._names, account, other, instrument, quantity, price))

    def order(self, account: str | int, instrument: str | int, quantity: Amount, price: Amount) -> Outcome:
        """Place a limit order to buy, or to sell where the quantity is negative; `made` is its number."""
        return self._one(requests.order(self._names, account, instrument, quantity, price))

    def cancel(self, account: str | int, order: int) -> Outcome:
        """Cancel an open order by its number."""
        return self._one(requests.cancel(self._names, account, order))

    def fill(
        self,
        account: str | int,
        other: str | int,
        instrument: str | int,
        quantity: Amount,
        price: Amount,
        *,
        order: int = 0,
        other_order: int = 0,
    ) -> Outcome:
        """`account` buys from `other` by the open orders named; a side without one is checked as in a trade."""
        built = requests.fill(self._names, account, other, instrument, quantity, price, order, other_order)
        return self._one(built)

    def funding(self, instrument: str | int, rate: Amount) -> Outcome:
        """Longs of a perpetual pay shorts a fraction of the notional at its mark; below 0 the other way round."""
        return self._one(requests.funding(self._names, instrument, rate))

    def settle_expired(self) -> Outcomes:
        """Settle every expired contract that is still open; the outcomes say what some of them wait for."""
        return self._many([requests.settle(self._names, item) for item in expired(self._embedded.fold)])

    def release_account(self, account: str | int) -> Outcome:
        """Let an account that was frozen or set aside take part again."""
        return self._one(requests.release_account(self._names, account))

    def submit(self, batch: Sequence[Mapping[str, Any]]) -> Outcomes:
        """Send many commands in one durable group: much faster than one call each.

        Args:
            batch: Mappings of the arguments of the methods, with the method's name in "command":
                {"command": "trade", "account": "alice", "other": "bob", …}. Names must be known before the batch.

        Returns:
            One outcome for each, in their order.

        Raises:
            InputError: One of them cannot be a command; nothing was sent.
        """
        built = []
        for place, fields in enumerate(batch):
            with located(f"batch[{place}]"):
                built.append(requests.from_fields(self._names, fields))
        return self._many(built)

    def margin(self, account: str | int) -> Margin:
        """The margin of an account at the last mark: explain it, try trades on it.

        Raises:
            InputError: There is no such account, or no model yet.
        """
        fold = self._embedded.fold
        number = self._names.account(account)
        if not fold.machine.marked.tables:
            raise InputError("missing-field", "model", None, "define a margin model first")
        model = int(fold.machine.state.accounts[number, Account.MODEL])
        portfolio = views.portfolio_of(fold, self._names, number)
        return calculate(portfolio, fold.machine.marked.market, fold.machine.marked.tables[model].parameters)

    def account(self, account: str | int) -> views.AccountView:
        """Balances, positions, open orders, status and margin of an account."""
        return views.account_view(self._embedded.fold, self._names, self._names.account(account))

    def accounts(self) -> tuple[str, ...]:
        """Names of all accounts of clients, in the order of their opening; one without a name is "#" and its number."""
        return tuple(self._names.account_name(n) for n in range(SYSTEM_ACCOUNTS, self._names.accounts_count))

    def conservation(self) -> dict[str, Decimal]:
        """By asset and contract, what all accounts have of it together, the outside world included: always 0."""
        return views.sums(self._embedded.fold, self._names)

    def root(self) -> bytes:
        """The state root, 32 bytes: equal roots are equal states."""
        return self._embedded.fold.root()

    def snapshot(self) -> Path:
        """Write the state to the folder, so that the next opening replays only what came after."""
        return self._embedded.snapshot()

    def checkpoint(self) -> int:
        """Bring a cosigned checkpoint about now, so that everything so far can be proved; its frames.

        Empty frames fill up what is missing to the next root that is due (the rule `checkpoint_frames`).
        """
        return self._embedded.checkpoint()

    @property
    def position(self) -> int:
        """The position that the next frame of the log will get."""
        return self._embedded.position

    @property
    def time(self) -> int:
        """Logical time, nanoseconds since 1970; 0 before the first tick."""
        return self._embedded.fold.time

    @property
    def embedded(self) -> EmbeddedEngine:
        """The engine below names: frames, sessions, the fold."""
        return self._embedded

    def close(self) -> None:
        """Close the log; more than once is allowed."""
        self._embedded.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        when = format_time(self.time) if self.time else "no time yet"
        return f"<Engine: position {self.position}, {len(self.accounts())} accounts, {when}>"

    @property
    def _names(self) -> Directory:
        """The directory, once it is sure that the state behind it is to be trusted."""
        invariant(self._embedded.fold is not None, "an engine has a state")
        return self._book

    def _one(self, command: Command) -> Outcome:
        return self._many([command])[0]

    def _many(self, built: Sequence[Command]) -> Outcomes:
        if not built:
            return Outcomes()
        answers = self._embedded.send([command.request for command in built])
        return self._acted(answers, [command.scene for command in built])

    def _acted(self, answers: Sequence[Any], scenes: Sequence[Scene]) -> Outcomes:
        """The outcomes of what was sent, after the engine has done what is due."""
        outcomes = Outcomes(
            outcome_of(answer.outcome, scene, answer.detail) for answer, scene in zip(answers, scenes, strict=True)
        )
        self._embedded.decide()
        return outcomes


invariant(set(SYSTEM_NAMES.values()) == set(range(SYSTEM_ACCOUNTS)), "every account of the system has a name")
