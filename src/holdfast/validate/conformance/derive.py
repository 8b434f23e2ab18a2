"""Adapters for Derive's cases: their field names on one side, the standard and portfolio models on the other.

What lives here: the translation of a case into parameters, a market and a portfolio, the call that users make, and the
comparison of its result. What may not: a formula. The venue's margins are signed: equity less our requirement.

Not compared, because the formula section does not define them: in the standard manager's cases, the maximum loss of an
underlying with several expiries (the source reports that of one of them only); in the portfolio manager's cases, the
columns that repeat inputs or split a contingency into parts that the contract does not have.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from holdfast.domain.instruments import Instrument, Kind
from holdfast.domain.market import SVI, Expiry, Market, Price, Underlying
from holdfast.domain.parameters import (
    BasisContingency,
    Charge,
    Collateral,
    ConfidenceRule,
    DepegRule,
    FutureRates,
    HaircutTier,
    Measure,
    OptionRates,
    PortfolioParameters,
    Scenario,
    SkewRange,
    StandardParameters,
    StaticDiscounts,
    VolatilityRange,
    VolatilityShock,
)
from holdfast.domain.portfolio import Portfolio, Position
from holdfast.margin.calculation import Margin, calculate
from holdfast.validate.conformance.cases import (
    Adapter,
    Check,
    Evaluation,
    RawCase,
    Tolerance,
    path_of,
    stated_tolerance,
)

CASH = "USDC"
TIME = 1_735_689_600 * 10**9
"""Any instant: cases give seconds to expiry, not dates."""
SECOND = 10**9
CLOSE = Tolerance(relative=1e-9, absolute=1e-9)
"""What exact published values are held to; sources compute with 18 decimals."""
SHOCKS = {
    "Up": VolatilityShock.UP,
    "None": VolatilityShock.NONE,
    "Down": VolatilityShock.DOWN,
    "LINEAR": VolatilityShock.SKEW_LINEAR,
    "ABS": VolatilityShock.SKEW_ABSOLUTE,
}
SIGNED_SHOCKS = {1: "Up", 0: "None", -1: "Down"}


def _perpetual(underlying: str) -> Instrument:
    return Instrument(Kind.PERPETUAL, underlying, CASH, CASH)


def _option(underlying: str, seconds: int, strike: float, *, is_call: bool) -> Instrument:
    return Instrument(Kind.OPTION, underlying, CASH, CASH, TIME + seconds * SECOND, strike, is_call)


def _perpetual_cost(quantity: float, price: float, profit: float) -> float:
    """The cost that leaves the stated unrealised profit at the stated mark."""
    return quantity * price - profit


def _standard(raw: RawCase) -> Evaluation:
    calculation = calculate(_standard_portfolio(raw), _standard_market(raw), _standard_parameters(raw))
    expected, tolerance = raw["expected"], stated_tolerance(raw, CLOSE)
    # A stated 0.1 % is the source's own test; the values are printed to 1e-9 and better, so hold them to that.
    tolerance = tolerance if tolerance.decimals is not None else CLOSE
    computed = {
        "im": calculation.available,
        "mm": calculation.equity - calculation.maintenance_margin,
        "mtm": calculation.equity,
    }
    checks = [tolerance.check(name, expected[name], value) for name, value in computed.items() if name in expected]
    checks += _standard_components(raw, calculation, tolerance)
    return Evaluation(path_of(calculate), tuple(checks))


def _standard_components(raw: RawCase, calculation: Margin, tolerance: Tolerance) -> Iterable[Check]:
    """The components that the source prints, from the workings of the calculation."""
    stated: Mapping[str, float] = raw["expected"].get("components", {})
    computed = {
        "PerpMargin": -calculation.figures.maintenance["charges"],
        "OracleConts": -calculation.figures.initial["confidence"],
        "DepegIMs": -calculation.figures.initial["depeg"],
        "Cash": raw["cash"],
        "BaseMargin": sum(
            calculation.collateral_credit(name)[1] for name, market in raw["markets"].items() if market["base"]
        ),
        "UnrealizedPNL": calculation.unrealised_profit(Kind.PERPETUAL),
        "UnsettledFunding": _funding(raw),
    }
    for name, market in raw["markets"].items():
        groups = calculation.option_margins(name)
        single = len({option["expiry_s"] for option in market["options"]}) <= 1
        for suffix, which in (("IM", 0), ("MM", 1)):
            computed[f"{name}Option{suffix}"] = sum(group.margin[which] for group in groups)
            computed[f"{name}OptionIsolated{suffix}"] = sum(group.isolated[which] for group in groups)
            if single:
                computed[f"{name}OptionBounded{suffix}"] = sum(group.unclamped_bound[which] for group in groups)
    return [tolerance.check(name, value, computed[name]) for name, value in stated.items() if name in computed]


def _funding(raw: RawCase) -> float:
    return float(sum(market["unsettled_funding"] for market in raw["markets"].values()))


def _standard_parameters(raw: RawCase) -> StandardParameters:
    params, options, oracle = raw["params"], raw["params"]["opt"], raw["params"]["oracle_contingency"]
    base, depeg = params["base_margin_factor"], params["depeg"]
    initial_loss = 1.0 - base * params["base_im_scale"]
    return StandardParameters(
        name="derive-standard case",
        futures={"*": FutureRates(params["perp_im"], params["perp_mm"], notional="mark")},
        options={
            "*": OptionRates(
                initial_maximum=options["maxSpotReq"],
                initial_minimum=options["minSpotReq"],
                call_maintenance=options["mmCallSpotReq"],
                put_maintenance=options["mmPutSpotReq"],
                put_maintenance_of_mark=options["MMPutMtMReq"],
                put_initial_over_maintenance=options["mmOffsetScale"],
                maximum_loss=True,
                unpaired_initial=options["unpairedIMScale"],
                unpaired_maintenance=options["unpairedMMScale"],
            )
        },
        collateral={CASH: Collateral()}
        | {
            name: Collateral(
                tiers=(HaircutTier(0.0, initial_loss, 1.0 - base),), underlying=name, credit_in_dollars=True
            )
            for name in raw["markets"]
        },
        confidence=ConfidenceRule(
            perpetual_threshold=oracle["perpThreshold"],
            option_threshold=oracle["optionThreshold"],
            collateral_threshold=oracle["baseThreshold"],
            factor=oracle["OCFactor"],
            options_short_only=True,
            options_with_perpetual=False,
            options_with_rate=False,
            collateral_own=False,
        ),
        depeg=DepegRule(CASH, depeg["threshold"], depeg["factor"]),
    )


def _standard_market(raw: RawCase) -> Market:
    return Market(
        time=TIME,
        underlyings={name: _standard_underlying(name, market) for name, market in raw["markets"].items()},
        assets={CASH: Price(raw["stable_price"])},
        numeraire=CASH,
    )


def _standard_underlying(name: str, market: Mapping[str, Any]) -> Underlying:
    options = [
        (_option(name, o["expiry_s"], o["strike"], is_call=o["call"]), o["expiry_s"], o["vol"], o["vol_conf"])
        for o in market["options"]
    ]
    expiries = {
        TIME + int(seconds) * SECOND: Expiry(
            forward=forward["price"],
            forward_confidence=forward["conf"],
            volatility_confidence=min((c for _, at, _, c in options if at == int(seconds)), default=1.0),
        )
        for seconds, forward in market["forwards"].items()
    }
    return Underlying(
        index=Price(market["spot"], market["spot_conf"]),
        marks={_perpetual(name).name: Price(market["perp_price"], market["perp_conf"])},
        expiries=expiries,
        volatilities={option.name: volatility for option, _, volatility, _ in options},
    )


def _standard_portfolio(raw: RawCase) -> Portfolio:
    balances, positions = {CASH: raw["cash"]}, []
    for name, market in raw["markets"].items():
        if market["base"]:
            balances[name] = market["base"]
        balances[CASH] += market["unsettled_funding"]
        if market["perp"] or market["unrealized_pnl"]:
            cost = _perpetual_cost(market["perp"], market["perp_price"], market["unrealized_pnl"])
            positions.append(Position(_perpetual(name), market["perp"], cost))
        positions += [
            Position(_option(name, o["expiry_s"], o["strike"], is_call=o["call"]), o["amount"], 0.0)
            for o in _netted(market["options"], ("expiry_s", "strike", "call"), "amount")
        ]
    return Portfolio(balances, tuple(positions))


def _netted(rows: Sequence[Mapping[str, Any]], key: Sequence[str], amount: str) -> list[dict[str, Any]]:
    """Rows of one contract as one row."""
    order = sorted(rows, key=lambda row: tuple(row[k] for k in key))
    grouped = itertools.groupby(order, key=lambda row: tuple(row[k] for k in key))
    return [{**(same := list(rows))[0], amount: sum(row[amount] for row in same)} for _, rows in grouped]


def _portfolio(raw: RawCase) -> Evaluation:
    underlying = "ETH"
    calculation = calculate(
        _portfolio_holdings(raw, underlying), _portfolio_market(raw, underlying), _portfolio_parameters(raw, underlying)
    )
    expected, tolerance = raw["expected"], stated_tolerance(raw, Tolerance(relative=1e-8))
    tolerance = Tolerance(relative=tolerance.relative, absolute=1e-8)
    spot_step = 1e-9
    computed = {
        (round((s["SpotShock"] - 1.0) / spot_step), s["VolShockDirection"]): result
        for s, result in zip(raw["params"]["Scenarios"], calculation.scenario_results(underlying), strict=True)
    }
    stated = {
        (round(float(move) / spot_step), SIGNED_SHOCKS[int(shock)]): float(loss)
        for move, shock, loss in [*expected["reg_losses"], *expected["tail_losses"]]
    } | {(0, name): float(loss) for name, loss in expected["skew_losses"]}
    checks = [
        tolerance.check("OptionMTM", expected["OptionMTM"], calculation.option_value),
        *(
            tolerance.check(
                f"scenario {shift * spot_step:+.4f} {shock}", loss, computed.get((shift, shock), float("nan"))
            )
            for (shift, shock), loss in stated.items()
        ),
        tolerance.check("ForwardContingency", expected["ForwardContingency"], calculation.basis_result(underlying)),
        tolerance.check("OracleCont", expected["OracleCont"], -calculation.figures.initial["confidence"]),
        tolerance.check("PortfolioMTM", expected["PortfolioMTM"], calculation.equity),
        tolerance.check("MM", expected["MM"], calculation.equity - calculation.maintenance_margin),
        tolerance.check("IM", expected["IM"], calculation.available),
    ]
    return Evaluation(path_of(calculate), tuple(checks))


def _portfolio_parameters(raw: RawCase, underlying: str) -> PortfolioParameters:
    params, holdings = raw["params"], raw["scenario"]["Collaterals"]
    margin, other, skew = params["Margin"], params["OtherContingency"], params["SkewShock"]
    volatility, basis = params["VolShock"], params["BasisContingency"]
    return PortfolioParameters(
        name="derive-portfolio case",
        scenarios=tuple(
            Scenario(s["SpotShock"], SHOCKS[s["VolShockDirection"]], s["DampeningFactor"]) for s in params["Scenarios"]
        ),
        volatility=VolatilityRange(
            up=volatility["VOLRANGEUP"],
            down=volatility["VOLRANGEDOWN"],
            short_power=volatility["SHORTTERMPOWER"],
            long_power=volatility["LONGTERMPOWER"],
            days_floor=volatility["DTE_FLOOR"],
            minimum_up=volatility["MIN_VOL_EVAL_SHOCKED"],
        ),
        skew=SkewRange(
            linear_cap=skew["LINEAR_SCALE_CAP"],
            linear_cap_per_root_year=skew["LINEAR_CBASE"],
            absolute_cap=skew["ABS_SCALE_CAP"],
            absolute_cap_per_root_year=skew["ABS_CBASE"],
            minimum_width=skew["MIN_K_STAR"],
            width_scale=skew["MIN_WIDTH_SCALE"],
            width_static=skew["VOL_PARAM_STATIC"],
            width_per_root_year=skew["VOL_PARAM_SCALE"],
        ),
        discounts=StaticDiscounts(
            long=margin["BASE_STATIC_DISCOUNT"],
            short=margin["BASE_STATIC_DISCOUNT_NEG"],
            long_rate_factor=margin["LONG_RATE_MULTSCALE"],
            long_rate_add=margin["LONG_RATE_ADDSCALE"],
            short_rate_factor=margin["SHORT_RATE_MULTSCALE"],
            short_rate_add=margin["SHORT_RATE_ADDSCALE"],
        ),
        basis=BasisContingency(
            price_up=basis["SCENARIO_SPOT_UP"],
            price_down=basis["SCENARIO_SPOT_DOWN"],
            add=basis["BASIS_CONT_ADD_FACTOR"],
            per_year=basis["BASIS_CONT_MULT_FACTOR"],
        ),
        charges=(
            _added("perpetual", Measure.GROSS, other["MM_PERP_PERCENT"], other["IM_PERP_PERCENT"]),
            _added("option", Measure.NET_SHORT_PER_STRIKE, other["MM_OPTION_PERCENT"], other["IM_OPTION_PERCENT"]),
        ),
        initial_factor=margin["IM_LOSS_FACTOR"],
        maintenance_factor=margin["MM_LOSS_FACTOR"],
        discounting=True,
        settlement_window_seconds=1800.0,
        confidence=ConfidenceRule(
            perpetual_threshold=other["CONF_THRESHOLD"],
            option_threshold=other["CONF_THRESHOLD"],
            collateral_threshold=other["CONF_THRESHOLD"],
            factor=other["CONF_MARGIN"],
        ),
        depeg=DepegRule(CASH, other["PEG_LOSS_THRESHOLD"], other["PEG_LOSS_FACTOR"]),
        collateral={CASH: Collateral()}
        | {
            _asset(held["Name"]): Collateral(
                tiers=(HaircutTier(0.0, held["MMHaircut"] + held["IMHaircut"], held["MMHaircut"]),),
                underlying=underlying,
                scanned=held["IsRiskCancelling"],
            )
            for held in holdings
        },
    )


def _added(kind: Any, measure: Measure, maintenance: float, addition: float) -> Charge:
    """A charge whose initial rate is stated as an addition to maintenance."""
    return Charge(kind, measure, maintenance + addition, maintenance)


def _asset(name: str) -> str:
    """A collateral's name apart from the coin of the case's underlying, whose price here is the index."""
    return f"{name}COLLATERAL"


def _portfolio_market(raw: RawCase, underlying: str) -> Market:
    scenario = raw["scenario"]
    marks = {}
    if scenario["NumPerps"]:
        marks[_perpetual(underlying).name] = Price(scenario["PerpPrice"], scenario["PerpConfidence"])
    return Market(
        time=TIME,
        underlyings={
            underlying: Underlying(
                index=Price(scenario["SpotPrice"], scenario["SpotConfidence"]),
                marks=marks,
                expiries={TIME + f["FeedExpiry"] * SECOND: _expiry(f) for f in scenario["OptionFeeds"]},
                volatilities={
                    _option(underlying, o["Expiry"], o["Strike"], is_call=bool(o["IsCall"])).name: o["MarkVol"]
                    for o in scenario["Options"]
                },
            )
        },
        assets={CASH: Price(scenario["StablePrice"])}
        | {_asset(held["Name"]): Price(held["Price"], held["Confidence"]) for held in scenario["Collaterals"]},
        numeraire=CASH,
    )


def _expiry(feed: Mapping[str, Any]) -> Expiry:
    a, b, rho, m, sigma, _, tau = (float(value) for value in feed["SVIparam"])
    return Expiry(
        forward=feed["Forward"],
        rate=feed["Rate"],
        forward_confidence=feed["ForwardConfidence"],
        rate_confidence=feed["RateConfidence"],
        volatility_confidence=feed["OptionVolConfidences"],
        svi=SVI(a, b, rho, m, sigma, tau),
    )


def _portfolio_holdings(raw: RawCase, underlying: str) -> Portfolio:
    scenario = raw["scenario"]
    balances = {CASH: scenario["Cash"] + scenario["UnrealisedFunding"]}
    balances |= {_asset(held["Name"]): held["Amount"] for held in scenario["Collaterals"]}
    positions = []
    if scenario["NumPerps"]:
        cost = _perpetual_cost(scenario["NumPerps"], scenario["PerpPrice"], scenario["UnrealisedPerpPNL"])
        positions.append(Position(_perpetual(underlying), scenario["NumPerps"], cost))
    else:
        balances[CASH] += scenario["UnrealisedPerpPNL"]
    positions += [
        Position(_option(underlying, o["Expiry"], o["Strike"], is_call=bool(o["IsCall"])), o["Amount"], 0.0)
        for o in _netted(scenario["Options"], ("Expiry", "Strike", "IsCall"), "Amount")
    ]
    return Portfolio(balances, tuple(positions))


ADAPTERS: dict[str, Adapter] = {"derive_srm": _standard, "derive_pmrm2": _portfolio}
