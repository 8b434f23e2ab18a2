"""A margin in the terminal: figures, components, what decides them, and what would change them; 80 columns suffice."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from holdfast.domain.instruments import Instrument, Kind
from holdfast.domain.parameters import TailParameters
from holdfast.domain.portfolio import Trade
from holdfast.domain.units import format_time
from holdfast.margin import report
from holdfast.margin.calculation import Margin
from holdfast.margin.explain import ORDERS_LINE, Share
from holdfast.margin.solve import LiquidationPrice
from holdfast.margin.table import Component

MEANINGS = {
    Component.SCAN: "worst scenario of each underlying",
    Component.OPTIONS: "options by formula, per expiry",
    Component.CHARGES: "on each contract held",
    Component.NETTED: "net short options",
    Component.OFFSET: "longs and shorts that offset",
    Component.CONFIDENCE: "prices that are not sure",
    Component.DEPEG: "a stable asset off its peg",
    Component.COLLATERAL: "haircuts on balances, debts",
    Component.ORDERS: "worst fills of open orders",
}
"""What each component is for, in a few words."""


def show(
    console: Console,
    margin: Margin,
    explanation: report.Explanation | None,
    trades: Sequence[Trade],
    after: Margin | None,
) -> None:
    """Print a margin, with its explanation and the effect of trades where they are given."""
    _show_title(console, margin)
    _show_trades(console, trades)
    console.print(_figures(margin, after))
    _say(console, _verdict(margin, "Now: " if after else ""))
    if after is not None:
        _say(console, _verdict(after, "After: "))
    console.print(_components(margin, after))
    _show_bindings(console, margin, after)
    if explanation is not None:
        _show_explanation(console, margin, explanation)
    if margin.isolated:
        console.print(_isolated(margin))
        for name, part in margin.isolated.items():
            _say(console, _verdict(part, f"isolated {report.printable(name)}: "))


def _show_title(console: Console, margin: Margin) -> None:
    name = report.printable(margin.portfolio.name)
    console.print()
    console.print(Text(f" Margin of {name}" if name else " Margin", style="bold"))
    parameters, market = margin.parameters, margin.market
    instant = format_time(market.time).replace("T", " ").replace("Z", " UTC")
    model = f"{parameters.name} v{parameters.version} ({parameters.digest[:12]})"
    console.print(Text(f" model {model} · {instant} · amounts in {market.numeraire}", style="dim"))


def _figures(margin: Margin, after: Margin | None) -> Table:
    table = _table("", "now" if after else margin.market.numeraire, *(("after", "change") if after else ("of equity",)))
    for name in report.FIGURES:
        value = getattr(margin, name)
        cells = [_money(value, 2, signed=name == "available")]
        if after is not None:
            new = getattr(after, name)
            cells += [_money(new, 2, signed=name == "available"), _change(new - value, 2)]
        else:
            cells.append(_fraction(value, margin.equity) if name.endswith("margin") else Text(""))
        table.add_row(Text(name.replace("_", " "), style="bold" if name == "initial_margin" else ""), *cells)
    return table


def _verdict(margin: Margin, prefix: str) -> Text:
    style = "bold red" if margin.is_liquidatable else "bold yellow" if margin.available < 0.0 else "green"
    return Text.assemble(prefix, (report.verdict(margin), style))


def _show_trades(console: Console, trades: Sequence[Trade]) -> None:
    if trades:
        console.print()
    for trade in trades:
        _say(console, Text(f"What if: {_trade(trade.instrument, trade.quantity, trade.price)}"))


def _components(margin: Margin, after: Margin | None) -> Table:
    headings = ("initial", "maintenance", *(("initial after", "change") if after else ()))
    table = _table("component", *headings)
    if after is None:
        table.add_column("what it covers", style="dim")
    before, later = margin.figures, after.figures if after else margin.figures
    for component in Component:
        label = component.label
        amounts = (before.initial[label], before.maintenance[label], later.initial[label], later.maintenance[label])
        if any(amounts):
            cells = [_money(amounts[0]), _money(amounts[1])]
            changes = [_money(amounts[2]), _change(amounts[2] - amounts[0])]
            table.add_row(label, *cells, *(changes if after else [_meaning(margin, component)]))
    total = [_money(margin.initial_margin), _money(margin.maintenance_margin)]
    if after is not None:
        total += [_money(after.initial_margin), _change(after.initial_margin - margin.initial_margin)]
    table.add_section()
    table.add_row("total", *total, style="bold")
    return table


def _meaning(margin: Margin, component: Component) -> str:
    level = _tail_level(margin)
    if component is Component.SCAN and level is not None:
        return f"mean of the worst {1.0 - level:.2g} of moves"
    return MEANINGS[component]


def _tail_level(margin: Margin) -> float | None:
    """The confidence of the tail model; None for models whose worst scenario binds alone."""
    return margin.parameters.confidence_level if isinstance(margin.parameters, TailParameters) else None


def _show_bindings(console: Console, margin: Margin, after: Margin | None) -> None:
    for underlying, binding in margin.binding_scenarios.items():
        line = f"Binding scenario of {underlying}: {binding.label}, result {binding.result:,.0f}"
        _say(console, Text(line if _tail_level(margin) is None else line.replace("Binding", "Worst")))
        changed = after.binding_scenarios.get(underlying) if after else None
        if changed is not None and changed != binding:
            _say(console, Text(f"  after the trades: {changed.label}, result {changed.result:,.0f}"))
    orders = margin.figures.initial[Component.ORDERS.label]
    if orders:
        share = orders / margin.initial_margin
        _say(console, Text(f"Open orders hold {orders:,.0f} of the initial margin ({share:.1%})."))


def _show_explanation(console: Console, margin: Margin, explanation: report.Explanation) -> None:
    console.print()
    console.print(_attribution(explanation.attribution, margin))
    _say(console, Text("Values are less cost. Euler shares add up to the margin; leave-one-out is", style="dim"))
    _say(console, Text("what closing the line at its mark would save.", style="dim"))
    console.print()
    console.print(_liquidation_prices(explanation.liquidation_prices))
    _say(console, Text(f"Assumed: {report.LIQUIDATION_ASSUMPTION}.", style="dim"))
    console.print()
    _say(console, Text("Smallest trade that restores initial margin", style="bold"))
    _say(console, _restoring(margin, explanation))
    console.print()


def _attribution(shares: Iterable[Share], margin: Margin) -> Table:
    table = _table(
        "line", "quantity", "value", "Euler share", "leave-one-out", title="Where the initial margin comes from"
    )
    for share in shares:
        has_line = share.name != ORDERS_LINE
        table.add_row(
            share.name,
            _quantity(share.quantity) if has_line else "",
            _money(share.value) if has_line else "",
            _money(share.euler),
            "" if share.leave_one_out is None else _money(share.leave_one_out),
        )
    table.add_section()
    table.add_row("total", "", _money(margin.equity), _money(margin.initial_margin), "", style="bold")
    return table


def _liquidation_prices(prices: Iterable[LiquidationPrice]) -> Table:
    table = _table("underlying", "index", "below", "", "above", "", title="Liquidation prices")
    for price in prices:
        below, above = _distance(price.below, price.index), _distance(price.above, price.index)
        table.add_row(price.underlying, _price(price.index), _price(price.below), below, _price(price.above), above)
    return table


def _restoring(margin: Margin, explanation: report.Explanation) -> Text:
    trade = explanation.restoring_trade
    if trade is not None:
        what = _trade(trade.instrument, trade.quantity, trade.price)
        return Text(f"{what} (notional {trade.notional:,.0f} USD)", style="yellow")
    if margin.available >= 0.0:
        return Text("none is needed", style="green")
    return Text("no single trade of up to twice the largest position does it", style="red")


def _isolated(margin: Margin) -> Table:
    table = _table("isolated", "equity", "initial", "maintenance", "available", title="Isolated parts, margined apart")
    for name, part in margin.isolated.items():
        amounts = (part.equity, part.initial_margin, part.maintenance_margin)
        table.add_row(report.printable(name), *map(_money, amounts), _money(part.available, signed=True))
    return table


def _table(first: str, *headings: str, title: str = "") -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=f" {title}" if title else None, title_justify="left", title_style="bold")
    table.add_column(first, overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _say(console: Console, line: Text) -> None:
    console.print(Padding(line, (0, 1, 0, 2)))


def _money(value: float, digits: int = 0, *, signed: bool = False) -> Text:
    style = "red" if signed and value < 0.0 else "green" if signed else ""
    return Text(f"{value + 0.0:,.{digits}f}", style=style)


def _change(value: float, digits: int = 0) -> Text:
    shown = f"{value + 0.0:+,.{digits}f}"
    return Text(shown, style="" if value else "dim")


def _fraction(value: float, whole: float) -> Text:
    return Text(f"{value / whole:.1%}" if whole > 0.0 else "", style="dim")


def _quantity(value: float) -> str:
    """Six significant digits, more where the number is whole."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.6g}"


def _price(value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:,.2f}" if value >= 1.0 else f"{value:.6g}"


def _distance(price: float | None, index: float) -> Text:
    return Text("" if price is None else f"{price / index - 1.0:+.1%}", style="dim")


def _trade(instrument: Instrument, quantity: float, price: float) -> str:
    side = "buy" if quantity > 0.0 else "sell"
    currency = instrument.settlement if instrument.kind is Kind.OPTION else instrument.quote
    unit = f"{instrument.quantity_unit} of " if instrument.quantity_unit == instrument.quote else ""
    return f"{side} {_quantity(abs(quantity))} {unit}{instrument.name} at {_price(price)} {currency}"
