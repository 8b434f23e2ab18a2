"""`holdfast margin` and `holdfast models`."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.terminal import note, output, reported, while_compiling
from holdfast.domain.errors import InputError

if TYPE_CHECKING:
    from holdfast.domain.instruments import Instrument
    from holdfast.domain.market import Market
    from holdfast.domain.portfolio import Portfolio

PortfolioFile = Annotated[
    Path | None,
    typer.Argument(
        help="JSON, CSV or Parquet: ours, or positions as Deribit or ccxt list them. Left out: a shipped example.",
        show_default=False,
    ),
]
MarketFile = Annotated[
    Path | None,
    typer.Option(
        "--market",
        help="Our JSON, or an option chain as CSV or Parquet. Left out: the shipped BTC chain of October 2021.",
        show_default=False,
    ),
]
Model = Annotated[
    str, typer.Option("--model", help="A model that `holdfast models` lists, or a JSON file of parameters.")
]
HistoryFile = Annotated[
    Path | None,
    typer.Option(
        "--history",
        help="For --model tail: CSV or Parquet with a time column and prices in a column per underlying. "
        "Left out: shipped daily closes of BTC.",
        show_default=False,
    ),
]
Decay = Annotated[
    float | None,
    typer.Option("--decay", help="For --model tail: filter moves by volatility, decay in (0, 1), for example 0.94."),
]
Balances = Annotated[
    list[str] | None,
    typer.Option("--balance", help="Add a balance, as in BTC=1.5; for position lists, which have none. Repeatable."),
]
Explain = Annotated[bool, typer.Option("--explain", help="Why the margin is what it is, and what would change it.")]
WhatIfFile = Annotated[
    Path | None,
    typer.Option(
        "--what-if",
        help='Trades to try: a JSON list of {"instrument", "quantity", "price"}; without a price, at the mark.',
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON with the names that the library uses.")]


@reported
def margin(
    portfolio: PortfolioFile = None,
    *,
    market: MarketFile = None,
    model: Model = "portfolio",
    history: HistoryFile = None,
    decay: Decay = None,
    balance: Balances = None,
    explain: Explain = False,
    what_if: WhatIfFile = None,
    json_: Json = False,
) -> None:
    """Initial and maintenance margin of a portfolio; without arguments, of a shipped example on real prices."""
    from holdfast.cli import files

    held, priced = _portfolio_and_market(portfolio, market, what_if)
    held = files.with_balances(held, balance or ())
    if held.positions and not held.balances:
        note("there are no balances: equity is profit and option value only; add them with --balance BTC=1.5")
    parameters = files.read_parameters(model, history, decay, priced)
    if model == "tail":
        note(f"moves from {getattr(parameters, 'provenance', '')}")
    with while_compiling():
        from holdfast.margin import report
        from holdfast.margin.calculation import calculate

        result = calculate(held, priced, parameters)
        trades = files.read_trades(what_if, result) if what_if else ()
        after = result.what_if(trades) if what_if else None
        explanation = report.explain(result) if explain else None
    if json_:
        answer = report.as_dict(result, explanation=explanation, what_if=after)
        typer.echo(json.dumps(answer, indent=2, allow_nan=False, ensure_ascii=False))
        return
    from holdfast.cli import margin_view

    margin_view.show(output(), result, explanation, trades, after)


def _portfolio_and_market(
    portfolio: Path | None, market: Path | None, what_if: Path | None
) -> tuple["Portfolio", "Market"]:
    """What the arguments name, or what ships; a bare chain is completed and the assumption said."""
    from holdfast import examples
    from holdfast.cli import files

    if portfolio is None and market is not None:
        raise InputError("missing-field", "PORTFOLIO", None, "name the portfolio to margin at that market")
    held = examples.portfolio() if portfolio is None else files.read_portfolio(portfolio)
    if market is None:
        if portfolio is not None:
            note("no --market given: prices are those of the shipped BTC chain, October 2021")
        return held, examples.chain_market()
    priced, is_chain = files.read_market(market)
    if is_chain:
        priced, assumed = examples.with_assumed_prices(priced, _perpetuals(held, priced, wanted=what_if is not None))
        perpetuals = f"{', '.join(assumed)} marked at the index; " if assumed else ""
        stable = " and ".join(examples.ASSUMED_STABLE)
        note(f"the chain has option prices only: {perpetuals}index from the nearest forward; {stable} at 1 dollar")
    return held, priced


def _perpetuals(held: "Portfolio", market: "Market", *, wanted: bool) -> Iterable["Instrument"]:
    """Contracts that a completed chain should price: all held, and the usual perpetuals if trades are to be tried."""
    from holdfast.domain.names import parse_instrument

    for part in (held, *held.isolated.values()):
        yield from (position.instrument for position in part.positions)
        yield from (order.instrument for order in part.orders)
    if wanted:
        for coin in market.underlyings:
            yield from (parse_instrument(f"{head}-PERPETUAL") for head in (coin, f"{coin}_USDC", f"{coin}_USDT"))


@reported
def models() -> None:
    """The models that `holdfast margin --model` knows."""
    from rich.table import Table

    from holdfast.margin.presets import PRESETS, tail

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, make in (*PRESETS.items(), ("tail", tail)):
        summary = (make.__doc__ or "").strip().partition("\n")[0]
        table.add_row(name, summary)
    output().print(table)
