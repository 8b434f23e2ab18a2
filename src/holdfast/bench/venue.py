"""A made-up venue for the benchmarks of the fold: real commands through the real fold, the same on every machine."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from holdfast.core.fold import Applied, Fold
from holdfast.domain import commands
from holdfast.domain.commands import ColdCommand
from holdfast.domain.errors import invariant
from holdfast.domain.frames import RECORD, RecordKind, Records, encode_frame
from holdfast.domain.parameters import PortfolioParameters
from holdfast.domain.signatures import public_key_of
from holdfast.margin import presets

COINS = {"BTC": 50_000, "ETH": 3_000, "SOL": 100, "XRP": 1}
"""Underlyings and their prices in dollars."""
OPTIONS_PER_EXPIRY = 42
EXPIRIES = 7
START = 1_700_000_000 * 10**9
BATCH = 4_096
"""Records per frame: 256 KiB."""
POSITIONS = 20
BOOKS = 1_000
"""Different choices of 20 contracts; accounts with the same one trade with each other."""
SEED = 1
REPLICA = commands.DefineReplica("one", public_key_of(bytes(range(32))))
"""Who ticks where nobody else is named."""


class Desk:
    """Frames for a fold: one gateway, numbered sessions.

    Attributes:
        fold: Where the frames go.
        frames: Everything that was sent.
    """

    def __init__(self, fold: Fold) -> None:
        self.fold = fold
        self.frames: list[bytes] = []
        self._numbers: dict[int, int] = {}
        self._frame = 0

    def open_session(self, role: str, subject: int = 0, kept: int = 64) -> int:
        """Open a session and return its id."""
        applied = self.cold(0, [commands.OpenSession(role, subject, kept)])
        return int(applied.outcomes[0]["made"])

    def cold(self, session: int, wanted: Sequence[ColdCommand]) -> Applied:
        """Send cold commands in one frame; all must be accepted."""
        number = self.number(session, len(wanted)) if session else 0
        applied = self.send(self.frame(*commands.cold_records(wanted, session, number)))
        refused = applied.outcomes["reason"] != 0
        invariant(not refused.any(), f"a command was refused: {applied.outcomes[refused][:1]} {applied.details}")
        return applied

    def number(self, session: int, count: int = 1) -> int:
        """The first of the session's next `count` numbers, which are used up."""
        first = self._numbers.get(session, 0) + 1
        self._numbers[session] = first + count - 1
        return first

    def frame(self, records: Records, blob: bytes = b"") -> bytes:
        """The gateway's next frame."""
        self._frame += 1
        return encode_frame(0, self._frame, records, blob)

    def send(self, frame: bytes) -> Applied:
        """Fold a frame."""
        self.frames.append(frame)
        return self.fold.apply(frame)


def parameters(*, with_multipliers: bool) -> PortfolioParameters:
    """Holdfast's own portfolio model, 32 scenarios; without multipliers for comparison."""
    model = presets.portfolio()
    invariant(len(model.scenarios) == 32, "the model has 32 scenarios")
    return model if with_multipliers else msgspec.structs.replace(model, discounts=None)


class Venue:
    """A venue with accounts that hold 20 positions each.

    Attributes:
        desk: Its frames.
        client: The session of its trades.
        held: [accounts, POSITIONS] items that each account holds.
        prices: [items] mark of each item in its price steps.
    """

    def __init__(
        self,
        accounts: int,
        *,
        with_multipliers: bool = True,
        checkpoint_frames: int = 0,
        positions: bool = True,
        replicas: Sequence[commands.DefineReplica] = (REPLICA,),
    ) -> None:
        self.desk = Desk(Fold())
        self._define(with_multipliers, checkpoint_frames, replicas)
        self._open(accounts)
        random = np.random.default_rng(SEED)
        books = np.stack([random.choice(self.contracts, POSITIONS, replace=False) for _ in range(BOOKS)])
        book = random.integers(0, BOOKS, accounts // 2).repeat(2)
        self.held = books[book]
        self._by_book = np.argsort(book, kind="stable")
        self._first = np.searchsorted(book[self._by_book], book)
        self._alike = np.bincount(book, minlength=BOOKS)[book]
        if positions:
            for frame in self._first_positions(random):
                applied = self.desk.send(frame)
                invariant(not applied.outcomes["reason"].any(), "a first position was refused")

    def _define(
        self,
        with_multipliers: bool,  # noqa: FBT001
        checkpoint_frames: int,
        replicas: Sequence[commands.DefineReplica],
    ) -> None:
        desk = self.desk
        self.operator = desk.open_session("operator")
        desk.cold(self.operator, [commands.DefineAsset("USD", 6)])
        desk.cold(self.operator, [commands.DefineAsset(coin, 8) for coin in COINS])
        model = commands.DefineModel("portfolio", parameters(with_multipliers=with_multipliers))
        rules = commands.SetRules(checkpoint_frames=checkpoint_frames, mark_interval=3600 * 10**9)
        desk.cold(self.operator, [model, rules, commands.DefineSource("one"), *replicas])
        names = list(_contracts())
        for some in range(0, len(names), 500):
            desk.cold(
                self.operator,
                [commands.DefineInstrument(name, "0.01", 4) for name in names[some : some + 500]],
            )
        first = 1 + len(COINS)
        self.contracts = np.arange(first, first + len(names))
        source, replica = desk.open_session("source", 0), desk.open_session("replica", 0)
        desk.cold(replica, [commands.Tick(0, START)])
        quotes = [price * 10**8 for price in COINS.values()] + [800_000 if "-C" in n or "-P" in n else 0 for n in names]
        quoted = [(item, price) for item, price in enumerate(quotes, 1) if price]
        first_number = desk.number(source, len(quoted))
        records = [
            commands.quote(source, first_number + n, item, price, START, n + 1)
            for n, (item, price) in enumerate(quoted)
        ]
        desk.send(desk.frame(np.concatenate(records)))
        desk.cold(self.operator, [commands.Mark(item) for item in range(1, 1 + len(COINS))])
        self.prices = self._marks()

    def _marks(self) -> np.ndarray:
        """Each contract's value at the mark in price steps of 1e-4 dollars."""
        table = self.desk.fold.machine.marked.tables[0]
        registry = self.desk.fold.machine.registry
        values = np.zeros(len(registry.items))
        for instrument, line in table.line_of_instrument.items():
            values[registry.numbers[instrument.name]] = table.arrays.today[line]
        return np.maximum(1, np.round(values * 10_000)).astype(np.int64)

    def _open(self, accounts: int) -> None:
        desk = self.desk
        for some in range(0, accounts, 2_000):
            count = min(2_000, accounts - some)
            desk.cold(self.operator, [commands.OpenAccount(0)] * count)
            first = 4 + some
            desk.cold(self.operator, [commands.Deposit(first + n, 0, 10**7 * 10**6) for n in range(count)])
        self.accounts = accounts
        self.client = desk.open_session("client", kept=64)

    def _first_positions(self, random: np.random.Generator) -> Iterator[bytes]:
        """Every account's 20 positions, in trades between neighbours."""
        buyers = np.arange(0, self.accounts, 2).repeat(POSITIONS)
        items = self.held[::2].reshape(-1)
        quantities = random.integers(1, 100, len(items))
        for some in range(0, len(items), BATCH):
            cut = slice(some, some + BATCH)
            yield self.trades(buyers[cut] + 4, buyers[cut] + 5, items[cut], quantities[cut])

    def trades(self, buyers: np.ndarray, sellers: np.ndarray, items: np.ndarray, quantities: np.ndarray) -> bytes:
        """A frame of bilateral trades at the mark."""
        records = np.zeros(len(buyers), RECORD)
        records["kind"], records["session"] = RecordKind.TRADE, self.client
        first = self.desk.number(self.client, len(buyers))
        records["number"] = np.arange(first, first + len(buyers))
        records["account"], records["other"], records["instrument"] = buyers, sellers, items
        records["quantity"], records["price"] = quantities, self.prices[items]
        return self.desk.frame(records)

    def random_trades(self, frames: int, seed: int) -> list[bytes]:
        """Frames of trades in what both sides hold, between accounts at random of those that hold the same contracts.

        So accounts keep their 20 positions.
        """
        random = np.random.default_rng(seed)
        made = []
        for _ in range(frames):
            buyers = random.integers(0, self.accounts, BATCH)
            place = self._first[buyers] + random.integers(0, self._alike[buyers])
            sellers = self._by_book[place]
            sellers = np.where(sellers == buyers, buyers ^ 1, sellers)
            items = self.held[buyers, random.integers(0, POSITIONS, BATCH)]
            quantities = random.integers(1, 10, BATCH) * random.choice([-1, 1], BATCH)
            made.append(self.trades(buyers + 4, sellers + 4, items, quantities))
        return made


def _contracts() -> Iterator[str]:
    """Names: per coin a perpetual and 7 expiries of 42 options each, linear, in dollars."""
    start = datetime.fromtimestamp(START / 1e9, tz=UTC)
    for coin, price in COINS.items():
        yield f"{coin}_USD-PERPETUAL"
        for n in range(EXPIRIES):
            day = start + timedelta(days=14 + 30 * n)
            expiry = f"{day.day}{day:%b}{day:%y}".upper()
            for strike in range(OPTIONS_PER_EXPIRY // 2):
                level = f"{price * (0.5 + 0.05 * strike):.4f}".rstrip("0").rstrip(".").replace(".", "d")
                for kind in "CP":
                    yield f"{coin}_USD-{expiry}-{level}-{kind}"
