"""Holdfast: exact, explained margin for portfolios of crypto derivatives.

    >>> import holdfast
    >>> print(holdfast.example())                                              # doctest: +SKIP
    >>> margin = holdfast.calculate(portfolio, market, holdfast.preset("portfolio"))   # doctest: +SKIP
    >>> holdfast.explain(margin)                                               # doctest: +SKIP

This is the library's face: the names that users need, each brought in when it is first asked for, so that `import
holdfast` takes no time. Everything else is found in the rooms: `domain` (values), `pricing`, `margin`, `validate`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast import examples
    from holdfast.client.asynchronous import AsyncClient
    from holdfast.client.synchronous import Client
    from holdfast.domain.errors import HoldfastError, InputError
    from holdfast.domain.instruments import Instrument, Kind
    from holdfast.domain.market import Expiry, Market, Price, Underlying
    from holdfast.domain.market_formats import load_market, market_from_chain
    from holdfast.domain.names import parse_instrument
    from holdfast.domain.portfolio import Order, Portfolio, Position, Trade
    from holdfast.domain.portfolio_formats import load_portfolio
    from holdfast.margin.calculation import Margin, calculate
    from holdfast.margin.history import joint_moves
    from holdfast.margin.presets import load_parameters, preset, tail
    from holdfast.margin.report import Explanation, as_dict, explain
    from holdfast.replica.engine import Engine
    from holdfast.replica.outcome import Outcome

__version__ = "0.1.0"

_HOMES = {
    "AsyncClient": "client.asynchronous",
    "Client": "client.synchronous",
    "Engine": "replica.engine",
    "Expiry": "domain.market",
    "Explanation": "margin.report",
    "HoldfastError": "domain.errors",
    "InputError": "domain.errors",
    "Instrument": "domain.instruments",
    "Kind": "domain.instruments",
    "Margin": "margin.calculation",
    "Market": "domain.market",
    "Order": "domain.portfolio",
    "Outcome": "replica.outcome",
    "Portfolio": "domain.portfolio",
    "Position": "domain.portfolio",
    "Price": "domain.market",
    "Trade": "domain.portfolio",
    "Underlying": "domain.market",
    "as_dict": "margin.report",
    "calculate": "margin.calculation",
    "explain": "margin.report",
    "joint_moves": "margin.history",
    "load_market": "domain.market_formats",
    "load_parameters": "margin.presets",
    "load_portfolio": "domain.portfolio_formats",
    "market_from_chain": "domain.market_formats",
    "parse_instrument": "domain.names",
    "preset": "margin.presets",
    "tail": "margin.presets",
}

__all__ = [
    "AsyncClient",
    "Client",
    "Engine",
    "Expiry",
    "Explanation",
    "HoldfastError",
    "InputError",
    "Instrument",
    "Kind",
    "Margin",
    "Market",
    "Order",
    "Outcome",
    "Portfolio",
    "Position",
    "Price",
    "Trade",
    "Underlying",
    "__version__",
    "as_dict",
    "calculate",
    "example",
    "examples",
    "explain",
    "joint_moves",
    "load_market",
    "load_parameters",
    "load_portfolio",
    "market_from_chain",
    "parse_instrument",
    "preset",
    "presets",
    "tail",
]


def __getattr__(name: str) -> Any:
    """Bring a name in from its home, once (PEP 562)."""
    if name in _HOMES:
        value = getattr(importlib.import_module(f"holdfast.{_HOMES[name]}"), name)
    elif name == "examples":
        value = importlib.import_module("holdfast.examples")
    else:
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def example(model: str = "portfolio") -> "Margin":
    """The margin of the shipped portfolio on the shipped option chain: a first result, without configuration.

    Args:
        model: One of `presets()`.

    Returns:
        The margin; `print` shows it.

    Raises:
        InputError: There is no such model, or it has no rules for the example's contracts.
    """
    from holdfast import examples
    from holdfast.margin.calculation import calculate
    from holdfast.margin.presets import preset

    return calculate(examples.portfolio(), examples.chain_market(), preset(model))


def presets() -> tuple[str, ...]:
    """Names of the parameter sets that `preset` knows; `tail` makes the one that needs a price history."""
    from holdfast.margin.presets import PRESETS

    return tuple(PRESETS)
