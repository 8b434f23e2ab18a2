"""What was heard: answers to the questions of a reconciliation, read into values. No judging."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from holdfast.validate.reconcile.history import History

ZERO = Decimal(0)


class Answered(NamedTuple):
    """The answer to one question.

    Attributes:
        content: By name (specs/messages.md MSG-5).
        position: Of the last frame that it reflects.
        time: Logical time there, ns.
        replica: Who answered.
        degraded: What that one says is not as it should be.
    """

    content: Mapping[str, Any]
    position: int
    time: int
    replica: str = ""
    degraded: tuple[str, ...] = ()


class Heard(NamedTuple):
    """What one replica was heard to say of its state.

    Attributes:
        name: Of the replica.
        region: Where it is.
        root: Its answer to `root`; None where it did not answer.
        parameters: Its answer to `parameters`, of the same position; None where it did not answer.
        problem: Why it did not answer.
    """

    name: str
    region: str
    root: Answered | None = None
    parameters: Answered | None = None
    problem: str = ""


class Seen(NamedTuple):
    """Everything that one look at a source brought.

    Attributes:
        source: What was looked at, for people.
        log: What tells this log from others, in hexadecimal; empty where that is not known.
        folded: Whether this program folded the log itself, and `root` is what it came to.
        ledger: Answer to `ledger`.
        holdings: Answers to `holdings`, each of other accounts.
        quotes: Answers to `quotes`, each of other items.
        parameters: Answer to `parameters`.
        root: Answer to `root`.
        replicas: What each configured replica was heard to say; empty where only the log speaks.
        sets: Parameter sets by digest, as far as they were asked for.
        history: What is known of the accounts' past.
    """

    source: str
    log: str
    folded: bool
    ledger: Answered
    holdings: tuple[Answered, ...]
    quotes: tuple[Answered, ...]
    parameters: Answered
    root: Answered
    replicas: tuple[Heard, ...]
    sets: Mapping[str, Mapping[str, Any]]
    history: History

    @property
    def position(self) -> int:
        """The position of the look."""
        return self.ledger.position

    @property
    def time(self) -> int:
        """Logical time there, ns."""
        return self.ledger.time


class Row(NamedTuple):
    """What an account has of an item: lots × lot, or cash; and cost, in the settlement asset. Main units."""

    amount: Decimal
    cost: Decimal


class Account(NamedTuple):
    """An account as it was answered, with the position and logical time, ns, of the answer."""

    name: str
    number: int
    rows: Mapping[str, Row]
    position: int
    time: int


class Item(NamedTuple):
    """An asset or contract.

    Attributes:
        name: Of it.
        is_asset: Whether it is an asset.
        unit: What quantities of it are counted in.
        step: What the ledger counts, in main units: a unit of an asset, a lot of a contract.
        settlement: The asset that it is settled in; its own for an asset.
        is_open: Whether it may be held.
        expiry: ns, 0 for none.
        value: Of one unit at the last mark, dollars; None where it has none.
    """

    name: str
    is_asset: bool
    unit: str
    step: Decimal
    settlement: str
    is_open: bool
    expiry: int
    value: float | None


class Withdrawal(NamedTuple):
    """A withdrawal that is "reserved", or "released" and not yet paid: the account no longer has it."""

    number: int
    account: str
    asset: str
    amount: Decimal
    state: str


class Picture(NamedTuple):
    """What accounts hold.

    Attributes:
        accounts: By name.
        items: By name: those that are held or were asked for.
        withdrawals: Under way.
    """

    accounts: Mapping[str, Account]
    items: Mapping[str, Item]
    withdrawals: tuple[Withdrawal, ...]


def picture_of(answers: Iterable[Answered]) -> Picture:
    """The holdings of answers to `holdings`, taken together."""
    accounts, items, withdrawals = dict[str, Account](), dict[str, Item](), list[Withdrawal]()
    for answer in answers:
        for one in answer.content["accounts"]:
            rows = {item: Row(Decimal(amount), Decimal(cost)) for item, amount, cost in one["rows"]}
            accounts[one["name"]] = Account(one["name"], one["number"], rows, answer.position, answer.time)
        items |= {name: _item(name, one) for name, one in answer.content["items"].items()}
        withdrawals += [
            Withdrawal(n, who, asset, Decimal(amount), state)
            for n, who, asset, amount, state in answer.content["withdrawals"]
        ]
    return Picture(accounts, items, tuple(withdrawals))


def _item(name: str, one: Mapping[str, Any]) -> Item:
    step = Decimal(one["step"])
    return Item(name, one["asset"], one["unit"], step, one["settlement"], one["open"], one["expiry"], one["value"])
