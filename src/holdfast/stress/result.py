"""What a replay found: a summary and hourly series, the same in Python, JSON and the report.

What lives here: data, checked when made. What may not: drawing (`report`), and any measuring. specs/replay-report.md
says what each number counts.
"""

import math

import msgspec

from holdfast.domain.errors import InputError


class SweepTimes(msgspec.Struct, frozen=True):
    """How long a sweep over all exposed accounts takes after a mark, milliseconds.

    Attributes:
        p50: Half of the sweeps are no longer.
        p99: 99 in 100 are no longer.
        max: The longest.
    """

    p50: float
    p99: float
    max: float


class Kill(msgspec.Struct, frozen=True):
    """The engine's death in the middle, and its return.

    Attributes:
        time_ns: Instant of the market at which it was killed, nanoseconds UTC.
        reason: Why then, in words.
        position: Log position of the last frame acknowledged before.
        root_before: State root at that position before it, hexadecimal.
        root_after: State root at that position after the restart, hexadecimal.
        replayed_commands: Commands read again to get there.
        recovery_ms: From start of the process to its first answer, milliseconds.
    """

    time_ns: int
    reason: str
    position: int
    root_before: str
    root_after: str
    replayed_commands: int
    recovery_ms: float

    @property
    def is_identical(self) -> bool:
        """Whether the state came back as it was."""
        return self.root_before == self.root_after


class ReplaySeries(msgspec.Struct, frozen=True):
    """One number per hour of the window; all of one length.

    Attributes:
        time_ns: When the hour begins, nanoseconds UTC, ascending.
        price: Index at its end, US dollars per coin.
        low: Lowest index in it.
        high: Highest.
        volatility: Annual volatility at its end, as a fraction.
        commands: Commands applied in it.
        margin_calls: Accounts that fell below initial margin in it.
        liquidations: Accounts whose liquidation began in it.
        bankruptcies: Accounts that the insurance fund took over in it.
        ratio_p05: Equity over maintenance margin that 5 in 100 accounts with positions are below, at its end.
        ratio_p25: The same for 25 in 100.
        ratio_p50: The median.
        ratio_p75: The same for 75 in 100.
        ratio_p95: The same for 95 in 100.
        insurance_fund: The fund's equity at its end, US dollars.
        deleveraged: Notional closed by auto-deleveraging in it, US dollars.
        shared_loss: Loss shared among accounts in it, US dollars.
        sweep_p50_ms: Median sweep of the hour, milliseconds.
        sweep_p99_ms: 99 in 100 sweeps of the hour are no longer.
        sweep_max_ms: The longest.
        log_bytes: Size of the log at its end, bytes.
    """

    time_ns: tuple[int, ...]
    price: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    volatility: tuple[float, ...]
    commands: tuple[int, ...]
    margin_calls: tuple[int, ...]
    liquidations: tuple[int, ...]
    bankruptcies: tuple[int, ...]
    ratio_p05: tuple[float, ...]
    ratio_p25: tuple[float, ...]
    ratio_p50: tuple[float, ...]
    ratio_p75: tuple[float, ...]
    ratio_p95: tuple[float, ...]
    insurance_fund: tuple[float, ...]
    deleveraged: tuple[float, ...]
    shared_loss: tuple[float, ...]
    sweep_p50_ms: tuple[float, ...]
    sweep_p99_ms: tuple[float, ...]
    sweep_max_ms: tuple[float, ...]
    log_bytes: tuple[int, ...]

    def __post_init__(self) -> None:
        hours = len(self.time_ns)
        if hours < 1:
            raise InputError("missing-field", "series.time_ns", hours, "give at least one hour")
        for name in self.__struct_fields__:
            numbers = getattr(self, name)
            if len(numbers) != hours:
                raise InputError("out-of-range", f"series.{name}", len(numbers), f"give one number per hour: {hours}")
            _check_finite(f"series.{name}", numbers)


class ReplayResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one replay. Amounts are US dollars.

    Attributes:
        window: Name of the window or of the prices' file.
        source: Where the prices come from.
        start_ns: Start of the window, nanoseconds UTC.
        end_ns: Its end.
        seed: What population, noise and flow were drawn with.
        rerun: The command that makes this result again.
        accounts: Accounts of users, market makers included.
        instruments: Contracts defined.
        commands: Commands applied, refused ones included.
        refused: Commands refused with a reason.
        trades: Trades made, fills of orders included.
        margin_calls: Accounts that fell below initial margin at least once.
        liquidations: Accounts whose liquidation began at least once.
        bankruptcies: Accounts that the insurance fund took over.
        insurance_fund_start: The fund at the start.
        insurance_fund: The fund at the end.
        deleveraged: Notional closed by auto-deleveraging.
        shared_loss: Loss shared among accounts.
        shortfall: Loss of bankrupt accounts that the fund could not pay.
        sweep_ms: Sweeps over the whole window.
        log_bytes: Size of the log at the end.
        acknowledged_lost: Commands acknowledged and not in the state after the restart; anything but 0 is a failure.
        applied_twice: Commands applied more than once; anything but 0 is a failure.
        state_root: State root at the end, hexadecimal.
        replayed_identical: Whether folding the log from its beginning gave that root again.
        conserved: Whether every instrument and asset summed to zero whenever it was looked at.
        kill: The engine's death in the middle; None where it was not killed.
        degraded: What was less than the standard deployment, in words: "quorum of one: …".
        gaps: Where the prices have gaps, in words.
        notes: What else a reader must know.
        series: Hour by hour.
    """

    window: str
    source: str
    start_ns: int
    end_ns: int
    seed: int
    rerun: str
    accounts: int
    instruments: int
    commands: int
    refused: int
    trades: int
    margin_calls: int
    liquidations: int
    bankruptcies: int
    insurance_fund_start: float
    insurance_fund: float
    deleveraged: float
    shared_loss: float
    shortfall: float
    sweep_ms: SweepTimes
    log_bytes: int
    acknowledged_lost: int
    applied_twice: int
    state_root: str
    replayed_identical: bool
    conserved: bool
    kill: Kill | None
    degraded: tuple[str, ...]
    gaps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    series: ReplaySeries

    def __post_init__(self) -> None:
        for name in ("insurance_fund_start", "insurance_fund", "deleveraged", "shared_loss", "shortfall"):
            _check_finite(name, (getattr(self, name),))
        _check_finite("sweep_ms", (self.sweep_ms.p50, self.sweep_ms.p99, self.sweep_ms.max))

    @property
    def is_kept(self) -> bool:
        """Whether every promise held: nothing lost, nothing twice, the same state again, and sums of zero."""
        same = self.replayed_identical and (self.kill is None or self.kill.is_identical)
        return same and self.conserved and self.acknowledged_lost == 0 and self.applied_twice == 0

    @property
    def liquidated_share(self) -> float:
        """Accounts liquidated over accounts."""
        return self.liquidations / max(self.accounts, 1)

    def as_json(self) -> str:
        """Canonical JSON: fields in the order of the class, one line, the same bytes for the same result."""
        return msgspec.json.encode(self).decode()


def result_from_json(text: str | bytes) -> ReplayResult:
    """The result of its JSON.

    Raises:
        InputError: The text is not that of a result ("malformed").
    """
    try:
        return msgspec.json.decode(text, type=ReplayResult)
    except msgspec.DecodeError as error:
        raise InputError("malformed", "result", None, f"give the JSON of a replay: {error}") from None


def _check_finite(field: str, numbers: tuple[float, ...]) -> None:
    for place, number in enumerate(numbers):
        if not math.isfinite(number):
            raise InputError("not-a-number", f"{field}[{place}]", number, "give a finite number")
