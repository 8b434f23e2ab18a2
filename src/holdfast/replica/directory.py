"""Names and numbers: which item, account or model a name means, and what one lot, price step or unit of it is.

Everything is read from the fold when it is asked, so that a definition counts at once. A number is taken wherever a
name is. What may not live here: amounts of anybody, and commands.
"""

import contextlib
from fractions import Fraction
from typing import NoReturn

from holdfast.core.fold import Fold
from holdfast.core.marks import PRICE_DECIMALS_OF_INDEX, VOLATILITY_UNIT
from holdfast.core.registry import Definition
from holdfast.core.state import Counter, Item
from holdfast.domain.errors import InputError
from holdfast.domain.instruments import Instrument, Kind
from holdfast.domain.names import asset_name, parse_instrument
from holdfast.replica.amounts import step_of
from holdfast.replica.names import NUMBER_SIGN, AccountNames


class Directory:
    """What the names of a log mean."""

    def __init__(self, fold: Fold, names: AccountNames) -> None:
        self._fold = fold
        self._names = names

    @property
    def items(self) -> tuple[Definition, ...]:
        """Definitions of assets and contracts by number."""
        return self._fold.machine.registry.items

    def account(self, given: str | int, field: str = "account") -> int:
        """The number of an account, given by name, by number, or as "#7"; InputError if there is none."""
        number: int | None = None
        if isinstance(given, str):
            number = self._names.number(given)
            digits = given.removeprefix(NUMBER_SIGN)
            if number is None and digits != given and digits.isascii() and digits.isdigit():
                number = int(digits)
        elif isinstance(given, int) and not isinstance(given, bool):
            number = given
        if number is None or not 0 <= number < self.accounts_count:
            _unknown("account", field, given, "open it first, or mend the name")
        return number

    @property
    def accounts_count(self) -> int:
        """How many accounts there are, those of the system included."""
        return int(self._fold.machine.state.counters[Counter.ACCOUNTS])

    def account_name(self, number: int) -> str:
        """What an account is called."""
        return self._names.name(number)

    def is_named(self, name: str) -> bool:
        """Whether an account has this name."""
        return self._names.number(name) is not None

    def item(self, given: str | int, field: str) -> int:
        """The number of an asset or contract, in any spelling of its name; InputError if there is none."""
        if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < len(self.items):
            return given
        numbers = self._fold.machine.registry.numbers
        found = [numbers[name] for name in _spellings(given) if name in numbers]
        if not found:
            _unknown("item", field, given, "define it first, or mend the name")
        return found[0]

    def asset(self, given: str | int, field: str = "asset") -> int:
        """The number of an asset; InputError if it is none."""
        number = self.item(given, field)
        if self.items[number].instrument is not None:
            _unknown("asset", field, given, "give the name of an asset")
        return number

    def contract(self, given: str | int, field: str = "instrument") -> int:
        """The number of a contract; InputError if it is none."""
        number = self.item(given, field)
        if self.items[number].instrument is None:
            _unknown("instrument", field, given, "give the name of a contract")
        return number

    def instrument(self, item: int) -> Instrument:
        """The contract of an item that is one."""
        instrument = self.items[item].instrument
        if instrument is None:
            _unknown("instrument", "instrument", self.items[item].name, "give the name of a contract")
        return instrument

    def model(self, given: str | int | None, field: str = "model") -> int:
        """The number of a margin model, the first where none is given; InputError if there is none."""
        names = [model.name for model in self._fold.machine.registry.models]
        if given is None and names:
            return 0
        if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < len(names):
            return given
        if given not in names:
            _unknown("model", field, given, f"define it first (now: {', '.join(names) or 'none'})")
        return names.index(str(given))

    def model_name(self, number: int) -> str:
        """What a model is called."""
        return self._fold.machine.registry.models[number].name

    def step(self, item: int) -> Fraction:
        """What the ledger counts of an item, in main units: a unit of an asset, a lot of a contract."""
        row = self._fold.machine.state.items[item]
        return Fraction(int(row[Item.MULTIPLIER]), int(row[Item.DIVISOR]))

    def settlement(self, item: int) -> int:
        """The asset that a contract settles in."""
        return int(self._fold.machine.state.items[item, Item.SETTLEMENT])

    def unit(self, item: int) -> str:
        """What quantities of an item are counted in: coins, or a currency."""
        instrument = self.items[item].instrument
        return self.items[item].name if instrument is None else instrument.quantity_unit

    def price_step(self, item: int) -> Fraction:
        """One step of a contract's trade prices."""
        return step_of(self.items[item].decimals)

    def quote_step(self, item: int) -> Fraction:
        """One step of an item's quotes: of dollars for an asset, of volatility for an option, else of its price."""
        instrument = self.items[item].instrument
        if instrument is None:
            return step_of(PRICE_DECIMALS_OF_INDEX)
        return Fraction(1, VOLATILITY_UNIT) if instrument.kind is Kind.OPTION else self.price_step(item)


def _spellings(given: object) -> list[str]:
    """Names of the log that a text could mean, the likeliest first."""
    if not isinstance(given, str):
        return []
    names = [given, asset_name(given)]
    with contextlib.suppress(InputError):
        names.append(parse_instrument(given).name)
    return names


def _unknown(what: str, field: str, given: object, advice: str) -> NoReturn:
    raise InputError(f"unknown-{what}", field, given, advice, f"is no {what} of this log")
