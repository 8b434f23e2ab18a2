"""The report of a replay: one HTML page that carries everything it shows.

No request leaves the page: style and drawings are in it, and there is no script. It reads in light and dark and on a
phone. Every number stands with its unit, and what is degraded or broken is said first. What may not live here:
measuring (`result` is data) and drawing (`charts`). specs/replay-report.md.
"""

from collections.abc import Iterable
from html import escape
from importlib.resources import files

from holdfast.domain.units import format_time
from holdfast.stress import charts
from holdfast.stress.result import Kill, ReplayResult
from holdfast.stress.tables import hours_table, summary_rows

RATIO_MIN, RATIO_MAX = 0.5, 50.0
"""Ratios of equity to maintenance margin that the chart shows; those beyond are at its edge."""
SWEEP_MIN_MS, SWEEP_MAX_MS = 1e-3, 1e6
DOT_MAX, DOT_MIN = 11.0, 1.5
"""Radius of the mark of the hour with most liquidations, and of the least."""
_HOUR_NS = 3_600 * 10**9

Legend = tuple[tuple[str, str], ...]


def render(result: ReplayResult) -> str:
    """The page.

    Args:
        result: What a replay found.

    Returns:
        HTML, complete and self-contained; the same text for the same result.
    """
    style = (files(__package__) / "report.css").read_text(encoding="utf-8")
    title = f"Replay of {result.window}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{_subtitle(result)}</p>',
        *_verdicts(result),
        _tiles(result),
        "<h2>Hour by hour</h2>",
        f'<div class="charts">{"".join(_charts(result))}</div>',
        *_kill_section(result),
        "<h2>All numbers</h2>",
        _summary(result),
        *_notes(result),
        f"<details><summary>The hours as a table</summary>{hours_table(result.series)}</details>",
        f"<h2>Make it again</h2><p><code>{escape(result.rerun)}</code></p>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n<body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def _subtitle(result: ReplayResult) -> str:
    days = f"{_instant(result.start_ns)} to {_instant(result.end_ns)}"
    return escape(f"{result.accounts:,} made-up accounts, {days}. Prices: {result.source}.")


def _verdicts(result: ReplayResult) -> list[str]:
    """Whether the promises held, and what was degraded."""
    broken = _broken(result)
    if broken:
        said = _verdict("broken", "A promise was broken.", broken)
    else:
        kept = [f"{result.acknowledged_lost} acknowledged commands lost, {result.applied_twice} applied twice."]
        kept += ["The log folded again from its beginning gave the same state root."]
        kept += ["The state came back after the kill as it was."] if result.kill else []
        said = _verdict("kept", "Every promise held.", kept)
    if not result.degraded:
        return [said]
    return [said, _verdict("degraded", "Degraded: less than the standard deployment.", result.degraded)]


def _broken(result: ReplayResult) -> list[str]:
    wrong = []
    if result.acknowledged_lost:
        wrong.append(f"{result.acknowledged_lost:,} acknowledged commands were lost.")
    if result.applied_twice:
        wrong.append(f"{result.applied_twice:,} commands were applied twice.")
    if not result.replayed_identical:
        wrong.append("The log folded again from its beginning gave another state root.")
    if result.kill and not result.kill.is_identical:
        wrong.append("The state after the restart is not the state before the kill.")
    if not result.conserved:
        wrong.append("An instrument or an asset did not sum to zero over all accounts.")
    return wrong


def _verdict(kind: str, words: str, lines: Iterable[str]) -> str:
    said = "".join(f"<p>{escape(text)}</p>" for text in lines)
    return f'<div class="verdict {kind}"><strong>{escape(words)}</strong>{said}</div>'


def _tiles(result: ReplayResult) -> str:
    share, start = f"{100.0 * result.liquidated_share:.3g} % of accounts liquidated", result.insurance_fund_start
    tiles = (
        (f"{result.liquidations:,}", share),
        (f"{result.bankruptcies:,}", "bankruptcies, accounts"),
        (f"{charts.short(result.insurance_fund, 3)} USD", f"insurance fund, from {charts.short(start, 3)} USD"),
        (f"{charts.short(result.shortfall, 3)} USD", "shortfall beyond the fund"),
        (f"{result.sweep_ms.p99:,.3g} ms", "sweep of all accounts, p99"),
        (f"{result.commands:,}", "commands applied"),
    )
    cells = (f'<div class="tile"><b>{escape(number)}</b><span>{escape(words)}</span></div>' for number, words in tiles)
    return f'<div class="tiles">{"".join(cells)}</div>'


def _charts(result: ReplayResult) -> list[str]:
    return [
        _price_chart(result),
        _accounts_chart(result),
        _volatility_chart(result),
        _ratio_chart(result),
        _fund_chart(result),
        _loss_chart(result),
        _sweep_chart(result),
        _log_chart(result),
    ]


def _card(title: str, drawing: str, legend: Legend, words: str) -> str:
    keys = "".join(f'<span><i class="{colour}"></i>{escape(name)}</span>' for colour, name in legend)
    return (
        f'<section class="card"><h3>{escape(title)}</h3><div class="legend">{keys}</div>'
        f"{drawing}<p>{escape(words)}</p></section>"
    )


def _end(result: ReplayResult) -> int:
    return result.series.time_ns[-1] + _HOUR_NS


def _price_chart(result: ReplayResult) -> str:
    series = result.series
    axes = charts.axes_over(series.time_ns, _end(result), [*series.low, *series.high])
    most = max(*series.liquidations, 1)
    marks = [
        (t, low, max(DOT_MIN, DOT_MAX * (n / most) ** 0.5), f"{n:,} accounts liquidated, {_instant(t)}")
        for t, low, n in zip(series.time_ns, series.low, series.liquidations, strict=True)
        if n
    ]
    parts = [
        charts.band(axes, series.time_ns, series.low, series.high, "blue"),
        charts.line(axes, series.time_ns, series.price, "blue"),
        charts.dots(axes, marks, "red"),
    ]
    if result.kill:
        parts.append(charts.moment(axes, result.kill.time_ns, "engine killed"))
    legend = (("blue", "close"), ("blue faint", "low to high of the hour"), ("red", "liquidations, by area"))
    words = f"From {series.price[0]:,.2f} USD; lowest {min(series.low):,.2f} USD, last {series.price[-1]:,.2f} USD."
    drawing = charts.svg(axes, parts, "Price of Bitcoin in US dollars, with liquidations")
    return _card("Price of Bitcoin, USD", drawing, legend, words)


def _accounts_chart(result: ReplayResult) -> str:
    series = result.series
    both = [a + b for a, b in zip(series.margin_calls, series.liquidations, strict=True)]
    axes = charts.axes_over(series.time_ns, _end(result), both, from_zero=True)
    parts = [
        charts.bars(axes, series.time_ns, series.liquidations, "red"),
        charts.bars(axes, series.time_ns, series.margin_calls, "amber", below=series.liquidations),
    ]
    worst = max(range(len(both)), key=lambda i: series.liquidations[i])
    words = (
        f"{result.margin_calls:,} accounts fell below initial margin and {result.liquidations:,} were liquidated; most "
        f"liquidations in an hour: {series.liquidations[worst]:,}, from {_instant(series.time_ns[worst])}."
    )
    legend = (("red", "liquidations"), ("amber", "margin calls, on top"))
    drawing = charts.svg(axes, parts, "Accounts called for margin and accounts liquidated per hour")
    return _card("Margin calls and liquidations, accounts per hour", drawing, legend, words)


def _volatility_chart(result: ReplayResult) -> str:
    series = result.series
    percent = [100.0 * volatility for volatility in series.volatility]
    axes = charts.axes_over(series.time_ns, _end(result), percent, from_zero=True)
    drawing = charts.svg(axes, [charts.line(axes, series.time_ns, percent, "amber")], "Annual volatility in per cent")
    words = f"From {percent[0]:,.0f} % to at most {max(percent):,.0f} %; option volatilities follow from it."
    return _card("Volatility of the index, % a year", drawing, (("amber", "weighted mean of squared returns"),), words)


def _ratio_chart(result: ReplayResult) -> str:
    series = result.series
    spread = [*series.ratio_p05, *series.ratio_p95, 1.0]
    axes = charts.logarithmic_axes(series.time_ns, _end(result), spread, RATIO_MIN, RATIO_MAX)
    parts = [
        charts.band(axes, series.time_ns, series.ratio_p05, series.ratio_p95, "violet"),
        charts.band(axes, series.time_ns, series.ratio_p25, series.ratio_p75, "violet"),
        charts.line(axes, series.time_ns, series.ratio_p50, "violet"),
        charts.level(axes, 1.0, "liquidation below 1"),
    ]
    legend = (("violet", "median"), ("violet faint", "middle 50 % and 90 % of accounts with positions"))
    words = (
        f"Equity over maintenance margin, logarithmic, drawn from {RATIO_MIN:g} to {RATIO_MAX:g}. 5 % of accounts were "
        f"below {min(series.ratio_p05):,.2f} in the worst hour; the median fell to {min(series.ratio_p50):,.2f}."
    )
    drawing = charts.svg(axes, parts, "Quantiles of equity over maintenance margin", unit=lambda v: f"{v:g}×")
    return _card("Margin ratio of accounts", drawing, legend, words)


def _fund_chart(result: ReplayResult) -> str:
    series = result.series
    axes = charts.axes_over(series.time_ns, _end(result), series.insurance_fund, from_zero=True)
    parts = [charts.line(axes, series.time_ns, series.insurance_fund, "green")]
    words = (
        f"From {result.insurance_fund_start:,.0f} USD to {result.insurance_fund:,.0f} USD; {result.bankruptcies:,} "
        f"bankrupt accounts taken over."
    )
    drawing = charts.svg(axes, parts, "Equity of the insurance fund in US dollars")
    return _card("Insurance fund, USD", drawing, (("green", "equity of the fund"),), words)


def _loss_chart(result: ReplayResult) -> str:
    series, title = result.series, "Beyond the fund, USD per hour"
    both = [a + b for a, b in zip(series.deleveraged, series.shared_loss, strict=True)]
    if not any(both):
        return _card(
            title, "", (), "The fund paid for everything: no position was deleveraged, 0 USD of losses were shared."
        )
    axes = charts.axes_over(series.time_ns, _end(result), both, from_zero=True)
    parts = [
        charts.bars(axes, series.time_ns, series.deleveraged, "amber"),
        charts.bars(axes, series.time_ns, series.shared_loss, "red", below=series.deleveraged),
    ]
    words = (
        f"{result.deleveraged:,.0f} USD of positions closed against their holders' profitable opposites, "
        f"{result.shared_loss:,.0f} USD of losses shared."
    )
    legend = (("amber", "auto-deleveraged notional"), ("red", "shared losses, on top"))
    drawing = charts.svg(axes, parts, "Deleveraged notional and shared losses per hour in US dollars")
    return _card(title, drawing, legend, words)


def _sweep_chart(result: ReplayResult) -> str:
    series = result.series
    spread = [*series.sweep_p50_ms, *series.sweep_max_ms]
    axes = charts.logarithmic_axes(series.time_ns, _end(result), spread, SWEEP_MIN_MS, SWEEP_MAX_MS)
    parts = [
        charts.line(axes, series.time_ns, series.sweep_max_ms, "red"),
        charts.line(axes, series.time_ns, series.sweep_p99_ms, "amber"),
        charts.line(axes, series.time_ns, series.sweep_p50_ms, "blue"),
    ]
    times = result.sweep_ms
    words = (
        f"Over the window: p50 {times.p50:,.3g} ms, p99 {times.p99:,.3g} ms, longest {times.max:,.3g} ms. Logarithmic."
    )
    legend = (("blue", "p50"), ("amber", "p99"), ("red", "longest of the hour"))
    drawing = charts.svg(axes, parts, "Time of a sweep over all exposed accounts in milliseconds")
    return _card("Sweep over all accounts, ms", drawing, legend, words)


def _log_chart(result: ReplayResult) -> str:
    series = result.series
    megabytes = [size / 1e6 for size in series.log_bytes]
    axes = charts.axes_over(series.time_ns, _end(result), megabytes, from_zero=True)
    parts = [charts.line(axes, series.time_ns, megabytes, "blue")]
    if result.kill:
        parts.append(charts.moment(axes, result.kill.time_ns, "engine killed"))
    words = f"{result.log_bytes / 1e6:,.1f} MB at the end for {result.commands:,} commands."
    drawing = charts.svg(axes, parts, "Size of the log in megabytes")
    return _card("Log, MB", drawing, (("blue", "size at the end of the hour"),), words)


def _kill_section(result: ReplayResult) -> list[str]:
    kill = result.kill
    if kill is None:
        return ["<h2>Kill and restart</h2><p>The engine was not killed in this replay.</p>"]
    return ["<h2>Kill and restart</h2>", f'<div class="card">{_kill_text(kill)}{_kill_table(kill)}</div>']


def _kill_text(kill: Kill) -> str:
    same = "The roots are equal." if kill.is_identical else "The roots differ: the state did not come back."
    text = (
        f"Killed at {_instant(kill.time_ns)}, {kill.reason}. Restarted from the log, it read "
        f"{kill.replayed_commands:,} commands again and answered after {kill.recovery_ms:,.0f} ms. {same}"
    )
    return f"<p>{escape(text)}</p>"


def _kill_table(kill: Kill) -> str:
    rows = (("State root before", kill.root_before), ("State root after", kill.root_after))
    cells = "".join(f"<tr><th>{name}</th><td><code>{escape(root)}</code></td></tr>" for name, root in rows)
    return f"<table><tr><th>Log position</th><td>{kill.position:,}</td></tr>{cells}</table>"


def _summary(result: ReplayResult) -> str:
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td class="number">{escape(number)}</td></tr>'
        for name, number in summary_rows(result)
    )
    roots = f"<p>State root at the end: <code>{escape(result.state_root)}</code></p>"
    return f'<div class="card"><table>{rows}</table>{roots}</div>'


def _notes(result: ReplayResult) -> list[str]:
    words = [*(f"Prices: {gap}" for gap in result.gaps), *result.notes]
    if not words:
        return []
    items = "".join(f"<li>{escape(text)}</li>" for text in words)
    return [f"<h2>To know when reading this</h2><ul>{items}</ul>"]


def _instant(time_ns: int) -> str:
    """2020-03-12 10:00 UTC."""
    return f"{format_time(time_ns)[:16].replace('T', ' ')} UTC"
