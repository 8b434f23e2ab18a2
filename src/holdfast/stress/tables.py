"""The tables of a report: every number of a result as text, with its unit."""

from collections.abc import Callable
from html import escape
from typing import Any

from holdfast.domain.units import format_time
from holdfast.stress.result import ReplayResult, ReplaySeries

_HOURS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("price", "price, USD", "{:,.2f}".format),
    ("low", "low, USD", "{:,.2f}".format),
    ("high", "high, USD", "{:,.2f}".format),
    ("volatility", "volatility, % a year", lambda v: f"{100.0 * v:,.0f}"),
    ("commands", "commands", "{:,}".format),
    ("margin_calls", "margin calls, accounts", "{:,}".format),
    ("liquidations", "liquidations, accounts", "{:,}".format),
    ("bankruptcies", "bankruptcies, accounts", "{:,}".format),
    ("ratio_p05", "ratio p5", "{:,.2f}".format),
    ("ratio_p25", "ratio p25", "{:,.2f}".format),
    ("ratio_p50", "ratio p50", "{:,.2f}".format),
    ("ratio_p75", "ratio p75", "{:,.2f}".format),
    ("ratio_p95", "ratio p95", "{:,.2f}".format),
    ("insurance_fund", "insurance fund, USD", "{:,.0f}".format),
    ("deleveraged", "deleveraged, USD", "{:,.0f}".format),
    ("shared_loss", "shared losses, USD", "{:,.0f}".format),
    ("sweep_p50_ms", "sweep p50, ms", "{:,.2f}".format),
    ("sweep_p99_ms", "sweep p99, ms", "{:,.2f}".format),
    ("sweep_max_ms", "sweep longest, ms", "{:,.2f}".format),
    ("log_bytes", "log, bytes", "{:,}".format),
)
"""Column, its heading, and how its numbers are written."""


def summary_rows(result: ReplayResult) -> list[tuple[str, str]]:
    """(what, number with unit) of everything that a result says in one number."""
    return [
        ("Window", f"{format_time(result.start_ns)} to {format_time(result.end_ns)}"),
        ("Seed", f"{result.seed}"),
        ("Accounts", f"{result.accounts:,} accounts"),
        ("Contracts", f"{result.instruments:,} contracts"),
        ("Commands applied", f"{result.commands:,} commands"),
        ("Refused with a reason", f"{result.refused:,} commands"),
        ("Trades made", f"{result.trades:,} trades"),
        ("Fell below initial margin", f"{result.margin_calls:,} accounts"),
        ("Liquidated", f"{result.liquidations:,} accounts ({100.0 * result.liquidated_share:.2f} %)"),
        ("Taken over by the insurance fund", f"{result.bankruptcies:,} accounts"),
        ("Insurance fund at the start", f"{result.insurance_fund_start:,.2f} USD"),
        ("Insurance fund at the end", f"{result.insurance_fund:,.2f} USD"),
        ("Auto-deleveraged notional", f"{result.deleveraged:,.2f} USD"),
        ("Losses shared", f"{result.shared_loss:,.2f} USD"),
        ("Shortfall beyond the fund", f"{result.shortfall:,.2f} USD"),
        ("Sweep, median", f"{result.sweep_ms.p50:,.3f} ms"),
        ("Sweep, 99 in 100 within", f"{result.sweep_ms.p99:,.3f} ms"),
        ("Sweep, longest", f"{result.sweep_ms.max:,.3f} ms"),
        ("Log", f"{result.log_bytes:,} bytes"),
        ("Acknowledged and lost", f"{result.acknowledged_lost:,} commands"),
        ("Applied twice", f"{result.applied_twice:,} commands"),
        ("Log folded again gives the same state", _yes(holds=result.replayed_identical)),
        ("Every instrument and asset sums to zero", _yes(holds=result.conserved)),
    ]


def hours_table(series: ReplaySeries) -> str:
    """The series as an HTML table, one row per hour."""
    head = "".join(f'<th class="number">{escape(heading)}</th>' for _, heading, _ in _HOURS)
    columns = [[write(value) for value in getattr(series, name)] for name, _, write in _HOURS]
    rows = (
        f"<tr><td>{format_time(time)}</td>"
        + "".join(f'<td class="number">{escape(cell)}</td>' for cell in cells)
        + "</tr>"
        for time, cells in zip(series.time_ns, zip(*columns, strict=True), strict=True)
    )
    return f'<div class="scroll"><table class="hours"><tr><th>hour, UTC</th>{head}</tr>{"".join(rows)}</table></div>'


def _yes(*, holds: bool) -> str:
    return "yes" if holds else "no"
