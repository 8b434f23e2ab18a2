"""What the benchmark of the cluster says."""

from collections.abc import Sequence

import msgspec
import numpy as np

from holdfast.bench.result import Target


class Spread(msgspec.Struct, frozen=True):
    """Quantiles of durations.

    Attributes:
        p50: Median.
        p99: 99th percentile; of few values, the highest.
        max: The highest.
        count: How many values.
    """

    p50: float
    p99: float
    max: float
    count: int


def spread(values: Sequence[float]) -> Spread:
    """The quantiles of values; of none, NaN."""
    p50, p99 = np.percentile(values, [50, 99], method="higher") if values else (float("nan"), float("nan"))
    return Spread(float(p50), float(p99), max(values, default=float("nan")), len(values))


class Gap(msgspec.Struct, frozen=True):
    """The longest time without an acknowledgement after a fault, over all trials, seconds.

    Attributes:
        hit: For clients of the replica that was hit; the same as `others` where none was.
        others: For the other clients.
        reads: The longest time without an answer to a question, for all clients.
    """

    hit: Spread
    others: Spread
    reads: Spread


class ClusterResult(msgspec.Struct, frozen=True):
    """The result.

    Attributes:
        trades_per_second: Acknowledged, submitted in batches; the median of the rounds.
        rounds: The same for each round.
        order_ms: Single orders at `orders_per_second`: from sending to the acknowledgement.
        orders_per_second: Sent, by all clients together.
        append_ms: The log alone: one small frame, from publishing to the acknowledgement of its majority.
        order_ms_by_delay: Single orders, one after the other, by the delay between regions, one way, in milliseconds.
        gap_s: By fault.
        acknowledged_lost: Commands that a client was told of and the log does not have that way.
        applied_twice: Commands that took effect more than once.
        acknowledged: Commands that were checked for both.
        equal_roots: Whether all engines had one state at the end.
        frames_per_second: Of the log, while orders came at that rate.
        targets: What the project promises, and whether this run keeps it.
        notes: What to know when reading the numbers.
        machine: Processor, cores, system.
        versions: Python, Holdfast and the packages that took part.
    """

    trades_per_second: float
    rounds: list[float]
    order_ms: Spread
    orders_per_second: float
    append_ms: Spread
    order_ms_by_delay: dict[str, Spread]
    gap_s: dict[str, Gap]
    acknowledged_lost: int
    applied_twice: int
    acknowledged: int
    equal_roots: bool
    frames_per_second: float
    targets: list[Target]
    notes: list[str]
    machine: dict[str, str]
    versions: dict[str, str]


def render(result: ClusterResult) -> list[tuple[str, str]]:
    """Rows of (what, number with unit) for a table."""
    rows = [
        ("trades acknowledged, in batches", f"{result.trades_per_second:,.0f} /s"),
        (f"single order at {result.orders_per_second:,.0f}/s", _text(result.order_ms, "ms")),
        ("one small frame, the log alone", _text(result.append_ms, "ms")),
        ("frames meanwhile", f"{result.frames_per_second:,.0f} /s"),
    ]
    for delay, order in result.order_ms_by_delay.items():
        rows.append((f"order, {delay} ms between regions", _text(order, "ms")))
    for fault, gap in result.gap_s.items():
        rows.append((f"{fault}: its clients wait", _text(gap.hit, "s")))
        rows.append((f"{fault}: others wait", _text(gap.others, "s")))
        rows.append((f"{fault}: reads wait", _text(gap.reads, "s")))
    rows += [
        ("acknowledged and lost", f"{result.acknowledged_lost} of {result.acknowledged:,}"),
        ("applied twice", f"{result.applied_twice}"),
        ("one state at the end", "yes" if result.equal_roots else "NO"),
    ]
    verdict = {True: "met", False: "missed", None: "not measured here"}
    rows += [
        (target.text, verdict[target.is_met] + ("" if target.value is None else f" ({target.value:.4g})"))
        for target in result.targets
    ]
    return rows + [("note", note) for note in result.notes]


def _text(spread: Spread, unit: str) -> str:
    return f"p50 {spread.p50:.3g}, p99 {spread.p99:.3g}, max {spread.max:.3g} {unit} ({spread.count})"
