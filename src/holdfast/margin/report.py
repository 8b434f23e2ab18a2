"""A margin as people and programs read it: names and numbers (RES-1 to RES-7), plain text, and a table for notebooks.

What lives here: the one list of names that Python, the command line's `--json` and notebooks share. What may not: a
formula, a file, or anything that knows a terminal.
"""

import html as markup
import math
from dataclasses import dataclass
from typing import Any

from holdfast.domain.errors import InputError
from holdfast.domain.instruments import Instrument, Kind
from holdfast.domain.portfolio import Portfolio, Position
from holdfast.domain.units import format_time
from holdfast.margin.calculation import BindingScenario, Margin, calculate
from holdfast.margin.explain import Share, attribution
from holdfast.margin.solve import LiquidationPrice, RestoringTrade, liquidation_prices, restoring_trade
from holdfast.margin.table import Component, LineField

LIQUIDATION_ASSUMPTION = "volatilities, other underlyings and time unchanged; without open orders"
"""What a liquidation price rests on."""
FIGURES = ("equity", "initial_margin", "maintenance_margin", "available", "option_value")
"""The figures of a margin, in the order in which they are shown."""
_FIGURE_WORDS = {name: name.replace("_", " ") for name in FIGURES}


@dataclass(frozen=True)
class Explanation:
    """Why a margin is what it is, and what would change it. Of the cross part.

    Attributes:
        attribution: Shares of the initial margin by position and balance (RES-2, RES-3).
        liquidation_prices: By underlying, each moved alone (RES-4).
        restoring_trade: The smallest trade that restores initial margin; None if none is needed or none does (RES-6).
        binding_scenarios: What decides the scan, by underlying.
    """

    attribution: tuple[Share, ...]
    liquidation_prices: tuple[LiquidationPrice, ...]
    restoring_trade: RestoringTrade | None
    binding_scenarios: dict[str, BindingScenario]


def explain(margin: Margin) -> Explanation:
    """Everything there is to say about a margin; takes a few hundred times as long as the margin itself."""
    return Explanation(
        attribution(margin), liquidation_prices(margin), restoring_trade(margin), margin.binding_scenarios
    )


def mark_price(margin: Margin, instrument: Instrument) -> float:
    """The price at which a contract is marked, as trades state prices.

    Args:
        margin: Its market and model are used; the contract need not be held.
        instrument: The contract.

    Returns:
        The mark of a perpetual or future in its quote currency; the model value of an option in its settlement asset.

    Raises:
        InputError: The contract has expired, or the market lacks what its price takes. The field is empty.
    """
    held = Portfolio({}, (Position(instrument, 1.0, 0.0),))
    try:
        held.validate_against(margin.market)
    except InputError as error:
        raise InputError(error.code, "", error.value, error.advice, error.problem) from None
    if instrument.kind is not Kind.OPTION:
        return margin.market.mark(instrument).price
    table = calculate(Portfolio({}), margin.market, margin.parameters, lines=(instrument,)).table
    return float(table.arrays.lines[table.line_of_instrument[instrument], LineField.IN_ASSET])


def as_dict(margin: Margin, *, explanation: Explanation | None = None, what_if: Margin | None = None) -> dict[str, Any]:
    """The margin as plain JSON values, with the names that every interface uses.

    Args:
        margin: The margin.
        explanation: Adds attribution, liquidation prices and the restoring trade.
        what_if: The margin after some trades; adds it, and its difference to this one in every figure.

    Returns:
        Mappings, lists, texts, finite floats, truth values and None. Components add up to the totals exactly, from
        first to last; `ledger` has the same amounts as decimal texts, rounded to the ledger unit (CON-6).
    """
    result: dict[str, Any] = {
        "model": margin.parameters.name,
        "parameters_digest": margin.parameters.digest,
        "version": margin.parameters.version,
        "time": format_time(margin.market.time),
        "numeraire": margin.market.numeraire,
        "equity": _number(margin.equity),
        "initial_margin": _number(margin.initial_margin),
        "maintenance_margin": _number(margin.maintenance_margin),
        "available": _number(margin.available),
        "liquidatable": bool(margin.is_liquidatable),
        "option_value": _number(margin.option_value),
        "components": components(margin),
        "binding_scenarios": {
            underlying: {"scenario": binding.label, "result": _number(binding.result)}
            for underlying, binding in margin.binding_scenarios.items()
        },
        "ledger": margin.ledger,
        "isolated": {name: as_dict(part) for name, part in margin.isolated.items()},
    }
    if explanation is not None:
        result |= _explanation(explanation)
    if what_if is not None:
        result["what_if"] = {"margin": as_dict(what_if), "difference": difference(margin, what_if)}
    return result


def components(margin: Margin) -> dict[str, dict[str, float | None]]:
    """Initial and maintenance requirement by component, in the order in which they are summed."""
    initial, maintenance = margin.figures.initial, margin.figures.maintenance
    return {
        component.label: {
            "initial": _number(initial[component.label]),
            "maintenance": _number(maintenance[component.label]),
        }
        for component in Component
    }


def difference(before: Margin, after: Margin) -> dict[str, Any]:
    """After less before, in every figure and component."""
    result: dict[str, Any] = {name: _number(getattr(after, name) - getattr(before, name)) for name in FIGURES}
    old, new = before.figures, after.figures
    result["components"] = {
        component.label: {
            "initial": _number(new.initial[component.label] - old.initial[component.label]),
            "maintenance": _number(new.maintenance[component.label] - old.maintenance[component.label]),
        }
        for component in Component
    }
    return result


def _explanation(explanation: Explanation) -> dict[str, Any]:
    return {
        "attribution": [
            {
                "name": share.name,
                "quantity": _number(share.quantity),
                "value": _number(share.value),
                "euler": _number(share.euler),
                "leave_one_out": _number(share.leave_one_out),
            }
            for share in explanation.attribution
        ],
        "liquidation_prices": {
            p.underlying: {"index": _number(p.index), "below": _number(p.below), "above": _number(p.above)}
            for p in explanation.liquidation_prices
        },
        "liquidation_assumption": LIQUIDATION_ASSUMPTION,
        "restoring_trade": _restoring_trade(explanation.restoring_trade),
    }


def _restoring_trade(trade: RestoringTrade | None) -> dict[str, Any] | None:
    if trade is None:
        return None
    return {
        "instrument": trade.instrument.name,
        "quantity": _number(trade.quantity),
        "price": _number(trade.price),
        "notional": _number(trade.notional),
        "available": _number(trade.available),
    }


def _number(value: float | None) -> float | None:
    """A float that JSON can write, −0 made 0; None for what is absent or not finite."""
    if value is None or not math.isfinite(value):
        return None
    return float(value) + 0.0


def printable(text_: str) -> str:
    """A text from outside with what could steer a terminal, or cannot be written, shown as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text_)


def title(margin: Margin) -> str:
    """What was margined, by which model, at which instant, in which money."""
    model = f"{margin.parameters.name} model, version {margin.parameters.version}"
    instant = format_time(margin.market.time)
    name = printable(margin.portfolio.name) or "a portfolio"
    return f"Margin of {name}: {model}, {instant}, in {margin.market.numeraire}"


def rows(margin: Margin) -> list[tuple[str, float, float]]:
    """Components that are not zero, with initial and maintenance requirement, and the total."""
    initial, maintenance = margin.figures.initial, margin.figures.maintenance
    shown = [(name, initial[name], maintenance[name]) for name in initial if initial[name] or maintenance[name]]
    return [*shown, ("total", margin.initial_margin, margin.maintenance_margin)]


def verdict(margin: Margin) -> str:
    """Where the account stands, in words."""
    if margin.is_liquidatable:
        return "equity is below maintenance margin: liquidatable"
    if margin.available < 0.0:
        return "equity is below initial margin: may only reduce risk"
    return "margin is met"


def text(margin: Margin) -> str:
    """The margin as a plain-text table, 62 columns wide."""
    lines = [title(margin), ""]
    lines += [f"  {_FIGURE_WORDS[name]:<22}{getattr(margin, name):>20,.2f}" for name in FIGURES]
    lines += [f"  {verdict(margin)}", "", f"  {'component':<22}{'initial':>20}{'maintenance':>20}"]
    lines += [f"  {name:<22}{initial:>20,.2f}{maintenance:>20,.2f}" for name, initial, maintenance in rows(margin)]
    bindings = margin.binding_scenarios.items()
    lines += [""] * bool(bindings) + [f"  {u} binds at {b.label}: {b.result:,.2f}" for u, b in bindings]
    for name, part in margin.isolated.items():
        lines += [
            "",
            f"  isolated {name}: equity {part.equity:,.2f}, initial {part.initial_margin:,.2f}, {verdict(part)}",
        ]
    return "\n".join(lines)


def html(margin: Margin) -> str:
    """The margin as a self-contained table for notebooks."""
    figures = "".join(_row(_FIGURE_WORDS[name], [f"{getattr(margin, name):,.2f}", ""]) for name in FIGURES)
    body = "".join(_row(name, [f"{initial:,.2f}", f"{upkeep:,.2f}"]) for name, initial, upkeep in rows(margin))
    bindings = "; ".join(f"{u} binds at {b.label}: {b.result:,.2f}" for u, b in margin.binding_scenarios.items())
    notes = ". ".join(note for note in (verdict(margin), bindings) if note)
    parts = "".join(
        f"<details><summary>isolated {_escaped(n)}</summary>{html(m)}</details>" for n, m in margin.isolated.items()
    )
    return (
        f'<div><p style="margin: 0.5em 0"><strong>{_escaped(title(margin))}</strong></p>'
        '<table style="border-collapse: collapse; font-variant-numeric: tabular-nums">'
        f"<tbody>{figures}</tbody>"
        f'<tbody style="border-top: 1px solid #888">{_row("component", ["initial", "maintenance"], "th")}{body}</tbody>'
        f'</table><p style="margin: 0.5em 0">{_escaped(notes)}</p>{parts}</div>'
    )


def _row(name: str, cells: list[str], tag: str = "td") -> str:
    """A table row: a name on the left, texts on the right."""
    style = "padding: 0.15em 0.8em; text-align:"
    head = f'<{tag} style="{style} left">{_escaped(name)}</{tag}>'
    return f"<tr>{head}" + "".join(f'<{tag} style="{style} right">{cell}</{tag}>' for cell in cells) + "</tr>"


def _escaped(text_: str) -> str:
    return markup.escape(text_)
