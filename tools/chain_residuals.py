"""Prices two published option chains with our Black-76 and reports how far the exchange's numbers lie from ours.

    python tools/chain_residuals.py ../shared/data [--write]

Reads deribit_btc_chain_2025-12-05.parquet (marks of 676 options) and deribit_option_tickers_greeks_2021-07-22.parquet
(89 tickers with greeks) in the folder given. Prices with rate 0, the published underlying price as forward and the
published mark volatility. Prints a Markdown report; `--write` puts it into docs/reports/chain-residuals.md.

An exchange publishes rounded numbers, so each residual stands beside what rounding of the *inputs* allows: the change
of our number when volatility moves by half of 0.01 % (and time by half of its last digit, where time is published
rounded), plus half a unit of the published number itself. A second allowance is for the forward: the underlying price
beside a mark is not always the one that the mark was made of.
"""

import argparse
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pyarrow import parquet

from holdfast.pricing import black76
from holdfast.pricing.implied import implied_volatility

Floats = npt.NDArray[np.float64]

CHAIN_FILE = "deribit_btc_chain_2025-12-05.parquet"
TICKER_FILE = "deribit_option_tickers_greeks_2021-07-22.parquet"
REPORT = Path(__file__).parents[1] / "docs" / "reports" / "chain-residuals.md"
TICK = 0.0001
"""The unit of the exchange's option prices, in coin."""
VOLATILITY_UNIT = 1e-4
"""The unit of published volatilities: 0.01 %."""
GREEK_UNIT = 1e-5
YEARS_UNIT = 1e-5
"""The unit of the chain's times to expiry, in years."""
CHAIN_FORWARD_SHIFT = 1e-5
"""Relative allowance for the forward of the chain, which was collected within seconds: about 0.93 USD."""
TICKER_FORWARD_SHIFT = 1.2e-4
"""Relative allowance for the forward of the tickers: less than half of what it moves between two updates."""


class Options(NamedTuple):
    """What a price needs, as arrays, and the names of the options."""

    name: Any
    forward: Floats
    strike: Floats
    years: Floats
    volatility: Floats
    is_call: Any

    def values(self) -> Floats:
        """Values in the money of the forward."""
        return black76.values(self.forward, self.strike, self.years, self.volatility, 1.0, self.is_call)

    def marks(self) -> Floats:
        """Values in coin."""
        return self.values() / self.forward

    def greeks(self) -> dict[str, Floats]:
        """Greeks in the exchange's conventions, by the exchange's names.

        Vega is per 1 % of volatility, theta per day and never more than the whole value, rho per 1 % of the rate with
        the spot held fixed.
        """
        g = black76.greeks_of(self.forward, self.strike, self.years, self.volatility, 1.0, self.is_call)
        return {
            "delta": g.delta,
            "gamma": g.gamma,
            "vega": g.vega / 100,
            "theta": np.maximum(g.theta / 365, -self.values()),
            "rho": (g.rho + self.years * self.forward * g.delta) / 100,
        }


class Residuals(NamedTuple):
    """Ours minus published for one quantity, per option.

    Attributes:
        quantity: What it is, with the unit the report uses.
        name: Names of the options.
        unit: Size of the report's unit.
        difference: Ours minus published.
        rounding: What rounding of inputs and of the published number allows.
        shift: What the allowance for the forward adds to that.
    """

    quantity: str
    name: Any
    unit: float
    difference: Floats
    rounding: Floats
    shift: Floats

    def beyond_rounding(self) -> Any:
        """Which options rounding alone does not explain."""
        return np.abs(self.difference) > self.rounding

    def unexplained(self) -> Any:
        """Which options rounding and the allowance for the forward together do not explain."""
        return np.abs(self.difference) > self.rounding + self.shift


def _table(path: Path) -> dict[str, Any]:
    return {name: np.array(column) for name, column in parquet.read_table(path).to_pydict().items()}


def _change(number: Callable[[Options], Floats], options: Options, field: str, steps: Floats) -> Floats:
    """The larger change of a number when one field moves up or down by `steps`."""
    base, at = number(options), getattr(options, field)
    moved = [np.abs(number(options._replace(**{field: at + sign * steps})) - base) for sign in (1.0, -1.0)]
    return np.maximum(*moved)


def _residuals(
    quantity: str,
    number: Callable[[Options], Floats],
    options: Options,
    published: Floats,
    published_unit: float,
    shift: float,
    years_unit: float,
    unit: float,
) -> Residuals:
    rounding = _change(number, options, "volatility", np.full(published.size, VOLATILITY_UNIT / 2))
    rounding = rounding + _change(number, options, "years", np.full(published.size, years_unit / 2))
    moved = _change(number, options, "forward", options.forward * shift)
    difference = number(options) - published
    return Residuals(quantity, options.name, unit, difference, rounding + published_unit / 2, moved)


def chain_options(table: dict[str, Any]) -> Options:
    """The options of the chain of 2025-12-05."""
    return Options(
        name=table["instrument_name"],
        forward=table["S0"],
        strike=table["strike"],
        years=table["T_years"],
        volatility=table["mark_iv"] / 100,
        is_call=table["type"] == "call",
    )


def ticker_options(table: dict[str, Any]) -> Options:
    """The options of the tickers of 2021-07-22; they expire at 08:00 UTC of the day in their name."""
    parts = [str(name).split("-") for name in table["instrument_name"]]
    expiry = np.array(
        [datetime.datetime.strptime(f"{p[1]} 08+0000", "%d%b%y %H%z").timestamp() for p in parts]  # 08:00 UTC
    )
    return Options(
        name=table["instrument_name"],
        forward=table["underlying_price"],
        strike=np.array([float(p[2]) for p in parts]),
        years=(expiry - table["timestamp"] / 1e3) / (365 * 86_400),
        volatility=table["mark_iv"] / 100,
        is_call=np.array([p[3] == "C" for p in parts]),
    )


def chain_residuals(folder: Path) -> list[Residuals]:
    """Marks of the chain, and the volatilities that its out-of-the-money marks imply."""
    table = _table(folder / CHAIN_FILE)
    options, marks = chain_options(table), table["market_price_btc"]
    result = [
        _residuals("mark, 0.0001 BTC", Options.marks, options, marks, 1e-8, CHAIN_FORWARD_SHIFT, YEARS_UNIT, TICK)
    ]
    outside = np.flatnonzero(options.is_call == (options.strike > options.forward))
    few = Options(*(column[outside] for column in options))
    prices = marks[outside] * few.forward
    vega = black76.greeks_of(few.forward, few.strike, few.years, few.volatility, 1.0, few.is_call).vega
    implied = np.array(
        [
            implied_volatility(p, f, k, t, 1.0, 1.0 if c else -1.0)
            for p, f, k, t, c in zip(prices, few.forward, few.strike, few.years, few.is_call, strict=True)
        ]
    )
    of_mark = result[0]
    result.append(
        Residuals(
            "implied volatility, 0.01 %",
            few.name,
            VOLATILITY_UNIT,
            implied - few.volatility,
            of_mark.rounding[outside] * few.forward / vega * (1 + 1e-3),
            of_mark.shift[outside] * few.forward / vega,
        )
    )
    return result


def ticker_residuals(folder: Path) -> list[Residuals]:
    """Marks and greeks of the tickers."""
    table = _table(folder / TICKER_FILE)
    options = ticker_options(table)
    mark_unit = np.where(np.char.startswith(options.name.astype(str), "BTC"), 1e-8, 1e-6)
    result = [
        _residuals(
            "mark, 0.0001 coin", Options.marks, options, table["mark_price"], 0.0, TICKER_FORWARD_SHIFT, 0.0, TICK
        )
    ]
    result[0] = result[0]._replace(rounding=result[0].rounding + mark_unit / 2)
    for greek in ("delta", "gamma", "vega", "theta", "rho"):
        of_greek = _one_greek(greek)
        published, quantity = table[f"greek_{greek}"], f"{greek}, 0.00001"
        result.append(
            _residuals(quantity, of_greek, options, published, GREEK_UNIT, TICKER_FORWARD_SHIFT, 0.0, GREEK_UNIT)
        )
    return result


def _one_greek(name: str) -> Callable[[Options], Floats]:
    return lambda options: options.greeks()[name]


def _rows(residuals: list[Residuals]) -> list[str]:
    lines = [
        "| quantity, unit | numbers | median | 90 % | largest | largest at | beyond rounding | beyond both |",
        "|---|--:|--:|--:|--:|---|--:|--:|",
    ]
    for r in residuals:
        size = np.abs(r.difference) / r.unit
        median, most, largest = np.percentile(size, [50, 90, 100])
        lines.append(
            f"| {r.quantity} | {size.size} | {median:.3f} | {most:.3f} | {largest:.3f} | {r.name[size.argmax()]} "
            f"| {int(r.beyond_rounding().sum())} | {int(r.unexplained().sum())} |"
        )
    return lines


def report(folder: Path) -> str:
    """The Markdown text."""
    return "\n".join(
        [
            "# Residuals against published chains",
            "",
            "Made by `python tools/chain_residuals.py ../shared/data --write`. Absolute differences between our "
            "Black-76 (rate 0, the published underlying price as forward, the published mark volatility) and the "
            "exchange's "
            'numbers, in the unit named. "Beyond rounding" counts those that rounding of volatility, time and the '
            'number itself does not explain; "beyond both" those that remain when the forward, too, may be off by the '
            "allowance stated.",
            "",
            "## Deribit BTC options, 2025-12-05",
            f"676 options, 11 expiries. Allowance for the forward: {CHAIN_FORWARD_SHIFT:g} of it, about 0.93 USD.",
            "",
            *_rows(chain_residuals(folder)),
            "",
            "What rounding does not explain are options far in the money, whose value hardly depends on volatility: "
            "their marks state a forward, up to 0.58 USD away from the published one. The file itself has up to three "
            "forwards per expiry, up to 0.44 USD apart, because the chain was collected over some seconds. The largest "
            "implied volatilities apart are of options so far out of the money that the last digit of the mark moves "
            "them that much.",
            "",
            "## Deribit BTC and ETH tickers, 2021-07-22",
            f"89 updates of 10 options in 31 s. Allowance for the forward: {TICKER_FORWARD_SHIFT:g} of it; the largest "
            "that a number needs is 0.000104. Within the 31 s the forwards move by 0.0002 to 0.0006 of themselves, by "
            "up to 0.0003 between two updates of one option, so a mark made of the forward a moment before explains "
            "it. Conventions that the numbers show:",
            "- vega is per 1 % of volatility, rho per 1 % of the rate with the spot held fixed, theta per day;",
            "- theta never exceeds the whole value of the option: nine hours before expiry ETH-23JUL21-2300-C shows "
            "minus its value, not the 22 times larger decay that one more day would have.",
            "",
            *_rows(ticker_residuals(folder)),
            "",
        ]
    )


def main() -> None:
    """Print the report, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder with the two files")
    parser.add_argument("--write", action="store_true", help="write docs/reports/chain-residuals.md too")
    options = parser.parse_args()
    text = report(options.folder)
    print(text)
    if options.write:
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        REPORT.write_text(text)


if __name__ == "__main__":
    main()
