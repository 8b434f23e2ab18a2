"""Adapters for Deribit's cases: published ingredients of its margin, not whole portfolios.

What lives here: the translation of each published number into a portfolio, a market and parameters that make the
general code compute it. What may not: a formula. The venue states option margins with the mark inside, in coin.
"""

from typing import Any

from holdfast.domain.instruments import Instrument, Kind, entry_cost
from holdfast.domain.market import Expiry, Market, Price, Underlying
from holdfast.domain.parameters import (
    AnyParameters,
    Charge,
    Collateral,
    FutureRates,
    Measure,
    OptionRates,
    PortfolioParameters,
    Scenario,
    StandardParameters,
    VolatilityRange,
    VolatilityShock,
)
from holdfast.domain.portfolio import Portfolio, Position
from holdfast.margin import presets
from holdfast.margin.calculation import Margin, calculate
from holdfast.margin.scenarios import volatility_multiplier
from holdfast.pricing import black76
from holdfast.validate.conformance.cases import Adapter, Check, Evaluation, RawCase, near, path_of

COIN = "BTC"
DAY = 86_400 * 10**9
TIME = 20_000 * DAY
NEAR, FAR = TIME + 30 * DAY, TIME + 60 * DAY
NO_VOLATILITY = VolatilityRange(0.0, 0.0, 0.0, 0.0)
FREE = {"*": Collateral(), COIN: Collateral(underlying=COIN, scanned=True)}


def _checks(raw: RawCase, **computed: float) -> tuple[Check, ...]:
    """Each expected value within the stated tolerance, which the files give as an absolute number.

    A value that is expected and not computed fails.
    """
    bound = float(raw["tolerance"])
    return tuple(
        near(name, expected, computed.get(name, float("nan")), absolute=bound)
        for name, expected in raw["expected"].items()
    )


def _market(index: float, *, forwards: dict[int, float] | None = None, **volatilities: float) -> Market:
    marks = {
        Instrument(Kind.PERPETUAL, COIN, quote, settlement).name: Price(index)
        for quote, settlement in (("USD", COIN), ("USDC", "USDC"))
    }
    expiries = {time: Expiry(forward) for time, forward in (forwards or {}).items()}
    return Market(TIME, {COIN: Underlying(Price(index), marks, expiries, volatilities)}, {"USDC": Price(1.0)})


def _margin(parameters: AnyParameters, market: Market, *holdings: tuple[Instrument, float, float]) -> Margin:
    """The margin of positions entered at prices, backed by no balance."""
    positions = tuple(Position(i, quantity, entry_cost(i, quantity, price)) for i, quantity, price in holdings)
    return calculate(Portfolio({}, positions), market, parameters)


def _linear_perpetual(raw: RawCase) -> Evaluation:
    given = raw["inputs"]
    slope = given["slope_per_unit"]
    rates = FutureRates(given["im_base"], given["mm_base"], slope, slope, notional="index")
    parameters = StandardParameters(name="case", futures={"*": rates}, options={}, collateral=FREE)
    perpetual = Instrument(Kind.PERPETUAL, COIN, "USDC", "USDC")
    margin = _margin(parameters, _market(given["index"]), (perpetual, given["size"], given["index"]))
    return Evaluation(path_of(calculate), _checks(raw, im=margin.initial_margin, mm=margin.maintenance_margin))


def _inverse_future(raw: RawCase) -> Evaluation:
    given, index = raw["inputs"], 50_000.0
    slope = given["slope_per_100btc"] / 100.0
    rates = FutureRates(given["im_base"], given.get("mm_base", given["im_base"]), slope, slope, notional="index")
    parameters = StandardParameters(name="case", futures={"*": rates}, options={}, collateral=FREE)
    perpetual = Instrument(Kind.PERPETUAL, COIN, "USD", COIN)

    def required(size_in_coins: float) -> tuple[float, float]:
        margin = _margin(parameters, _market(index), (perpetual, size_in_coins * index, index))
        return margin.initial_margin / index, margin.maintenance_margin / index

    size = given["size_btc"]
    initial, maintenance = required(size)
    # The rate at size 0 is the limit of the requirement per coin.
    probe = size or 1e-9
    initial_rate, maintenance_rate = (requirement / probe for requirement in required(probe))
    checks = _checks(raw, im_btc=initial, mm_btc=maintenance, im_pct=initial_rate, mm_pct=maintenance_rate)
    return Evaluation(path_of(calculate), checks)


def _inverse_option(raw: RawCase) -> Evaluation:
    given = raw["inputs"]
    index, is_call = given["underlying"], given["side"].endswith("call")
    option = Instrument(Kind.OPTION, COIN, "USD", COIN, NEAR, given["strike"], is_call)
    market = _market(index, forwards={NEAR: index})
    market.underlyings[COIN].marks[option.name] = Price(given["mark_price_coin"])
    rules: OptionRates = presets.deribit_standard().options["*"]
    parameters = StandardParameters(name="case", futures={}, options={"*": rules}, collateral=FREE)
    margin = _margin(parameters, market, (option, -1.0 if "short" in given["side"] else 1.0, 0.0))
    return Evaluation(
        path_of(calculate),
        _checks(
            raw,
            im=(margin.initial_margin - margin.option_value) / index,
            mm=(margin.maintenance_margin - margin.option_value) / index,
        ),
    )


def _volatility_range(raw: RawCase) -> Evaluation:
    given = raw["inputs"]
    ranges = VolatilityRange(given["range"], given["range"], given["power"], given["power"])
    up = volatility_multiplier(ranges, VolatilityShock.UP, given["dte"])
    return Evaluation(path_of(volatility_multiplier), _checks(raw, v=up - 1.0))


def _contingency_only(charge: Charge) -> PortfolioParameters:
    """A scan that moves nothing, and one contingency."""
    return PortfolioParameters(
        name="case", scenarios=(Scenario(1.0),), volatility=NO_VOLATILITY, charges=(charge,), collateral=FREE
    )


def _offset_futures(raw: RawCase) -> Evaluation:
    given, index = raw["inputs"], 50_000.0
    futures = [Instrument(Kind.FUTURE, COIN, "USD", COIN, time) for time in (NEAR, FAR)]
    parameters = _contingency_only(Charge("future", Measure.OFFSET, given["pct"], given["pct"]))
    holdings = [(f, given[name] * index, index) for f, name in zip(futures, ("fut_A", "fut_B"), strict=True)]
    margin = _margin(parameters, _market(index, forwards={NEAR: index, FAR: index}), *holdings)
    return Evaluation(path_of(calculate), _checks(raw, v=margin.initial_margin / index))


def _option_contingency(raw: RawCase) -> Evaluation:
    """Calls and puts at one strike: on the gross number (the rule of 2017), or on the net short number per strike."""
    given, index = raw["inputs"], 50_000.0
    gross = "gross_options" in given
    rate = given["pct"] if "pct" in given else given["per_option"]
    measure = Measure.GROSS if gross else Measure.NET_SHORT_PER_STRIKE
    parameters = _contingency_only(Charge("option", measure, rate, rate))
    call, put = (Instrument(Kind.OPTION, COIN, "USD", COIN, NEAR, index, is_call) for is_call in (True, False))
    calls, puts = (given["gross_options"] / 2.0,) * 2 if gross else (given["call"], given["put"])
    market = _market(index, forwards={NEAR: index}, **{call.name: 0.6, put.name: 0.6})
    margin = _margin(parameters, market, (call, calls, 0.0), (put, puts, 0.0))
    return Evaluation(path_of(calculate), _checks(raw, v=margin.initial_margin / index))


def _linear_settlement(raw: RawCase) -> Evaluation:
    given = raw["inputs"]
    sign = -1.0 if given.get("type") == "put" else 1.0
    payoff = given["multiplier"] * float(black76.value(given["delivery"], given["strike"], 0.0, 0.0, 1.0, sign))
    return Evaluation(
        path_of(black76.value), _checks(raw, payoff=payoff, pnl=payoff - given["premium"] * given["multiplier"])
    )


def _forward_price(raw: RawCase) -> Evaluation:
    given: dict[str, Any] = raw["inputs"]
    forward = given["index"] / black76.discount_factor(given["abr"], given["days"] / 365.0)
    return Evaluation(path_of(black76.discount_factor), _checks(raw, F=float(forward)))


def _gross_futures(raw: RawCase) -> Evaluation:
    given = raw["inputs"]
    future = Instrument(Kind.FUTURE, COIN, "USDC", "USDC", NEAR)
    parameters = _contingency_only(Charge("future", Measure.GROSS, given["factor"], given["factor"]))
    market = _market(given["index"], forwards={NEAR: given["index"]})
    margin = _margin(parameters, market, (future, given["qty"], given["index"]))
    return Evaluation(path_of(calculate), _checks(raw, v=margin.initial_margin))


def _simulated_profit(raw: RawCase) -> Evaluation:
    given = raw["inputs"]
    future = Instrument(Kind.FUTURE, COIN, "USDC", "USDC", NEAR)
    parameters = PortfolioParameters(
        name="case", scenarios=(Scenario(1.0 + given["shock"]),), volatility=NO_VOLATILITY, collateral=FREE
    )
    margin = _margin(parameters, _market(given["F"], forwards={NEAR: given["F"]}), (future, given["qty"], given["F"]))
    (profit,) = margin.scenario_results(COIN)
    return Evaluation(path_of(calculate), _checks(raw, v=profit))


ADAPTERS: dict[str, Adapter] = {
    "linear_perp_standard_margin": _linear_perpetual,
    "inverse_future_standard_margin_in_BTC": _inverse_future,
    "inverse_option_standard_margin_per_unit_in_coin": _inverse_option,
    "pm_vol_range": _volatility_range,
    "pm_future_contingency_BTC": _offset_futures,
    "pm_option_contingency_BTC": _option_contingency,
    "linear_option_settlement": _linear_settlement,
    "forward_price": _forward_price,
    "pm_future_contingency": _gross_futures,
    "pm_future_sim_pnl": _simulated_profit,
}
