"""Markets and portfolios at random, for the exact engine and, through its public door, for the fast one.

What lives here: one description of a world, turned into what each engine takes. What may not: expectations.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import msgspec

import holdfast
from holdfast.witness.exact import Asset, Contract, Expiry, Inputs, Order, contract

ASSETS = (Asset("USD", 6), Asset("USDC", 6), Asset("BTC", 8), Asset("ETH", 9))
NOW = 1_634_774_400 * 10**9
EXPIRIES = {"21OCT21": 1_634_803_200, "29OCT21": 1_635_494_400, "31DEC21": 1_640_937_600, "24JUN22": 1_656_057_600}
_RANDOM_LOTS = {"perpetual": "0.01", "future": "0.01", "option": "0.1"}


@dataclass(frozen=True)
class World:
    """Inputs of the exact engine and one account of it."""

    inputs: Inputs
    holdings: Mapping[str, tuple[int, int]]
    orders: Sequence[Order] = ()

    def contracts(self) -> dict[str, Contract]:
        return {each.name: each for each in self.inputs.contracts}


def preset(name: str, **changes: Any) -> dict[str, Any]:
    """The mapping of a shipped parameter set."""
    return {**msgspec.to_builtins(holdfast.preset(name)), **changes}


def tail(seed: int = 1, scenarios: int = 40, **changes: Any) -> dict[str, Any]:
    """A tail model on random moves."""
    draw = random.Random(seed)
    moves = {name: tuple(max(-1.0, draw.gauss(0, 0.08)) for _ in range(scenarios)) for name in ("BTC", "ETH")}
    collateral = preset("portfolio")["collateral"]
    return {
        "type": "tail",
        "name": "tail",
        "collateral": {name: collateral[name] for name in ("USD", "USDC", "BTC", "ETH")},
        "confidence_level": 0.97,
        "moves": moves,
        "volatility_response": 0.7,
        **changes,
    }


def random_models(seed: int) -> dict[str, dict[str, Any]]:
    """A set of each model with every parameter drawn, so that each has an influence."""
    draw = random.Random(seed)
    shared = {
        "collateral": _collateral(draw),
        "charges": _charges(draw),
        "confidence": _confidence(draw),
        "depeg": _peg(),
    }
    return {
        "standard": {"type": "standard", "name": "standard", **shared, **_standard(draw)},
        "portfolio": {"type": "portfolio", "name": "portfolio", **shared, **_portfolio(draw)},
        "tail": {**tail(seed, 40, offset_cap=draw.uniform(0, 1), initial_factor=draw.uniform(1, 1.5)), **shared},
    }


def _peg() -> dict[str, Any]:
    return {"asset": "USDC", "threshold": 0.99, "factor": 1.5}


def _collateral(draw: random.Random) -> dict[str, Any]:
    result = {}
    for name in ("USD", "USDC", "BTC", "ETH"):
        tiers = [
            {"above": above, "initial": draw.uniform(0, 1.3), "maintenance": draw.uniform(0, 0.1)}
            for above in (0.0, draw.uniform(1e4, 1e5), draw.uniform(1e5, 4e5))
        ]
        result[name] = {
            "tiers": [
                {**each, "initial": each["maintenance"] + each["initial"]} for each in tiers[: draw.randrange(4)]
            ],
            "liability": draw.choice((0.0, 0.15)),
            "underlying": name if "USD" not in name else draw.choice((None, "BTC")),
            "scanned": "USD" not in name,
            "credit_in_dollars": draw.random() < 0.3,
        }
    if draw.random() < 0.3:
        del result["USD"]
    return result


def _charges(draw: random.Random) -> list[dict[str, Any]]:
    kinds = ("perpetual", "future", "option")
    pairs = [(kind, measure) for kind in kinds for measure in ("gross", "short")]
    pairs += [("option", "net-short-per-strike"), ("option", "net-short-per-expiry")]
    pairs += [("perpetual", "offset"), ("future", "offset")]
    result = []
    for kind, measure in draw.choices(pairs, k=6):
        maintenance = draw.uniform(0, 0.02)
        each = {"applies_to": kind, "measure": measure, "initial": 1.3 * maintenance, "maintenance": maintenance}
        slopes = {"initial_slope": 3e-5, "maintenance_slope": 2e-5} if measure == "gross" else {}
        result.append({**each, **slopes})
    return result


def _confidence(draw: random.Random) -> dict[str, Any]:
    flags = ("options_short_only", "options_with_perpetual", "options_with_rate", "collateral_own")
    thresholds = ("perpetual_threshold", "option_threshold", "collateral_threshold")
    rule: dict[str, Any] = {name: draw.uniform(0.5, 1) for name in thresholds}
    return {**rule, "factor": draw.uniform(0.2, 1.5), **{name: draw.random() < 0.5 for name in flags}}


def _standard(draw: random.Random) -> dict[str, Any]:
    maintenance = draw.uniform(0.01, 0.05)
    rates = {
        "initial": 1.5 * maintenance,
        "maintenance": maintenance,
        "initial_slope": 4e-5,
        "maintenance_slope": 3e-5,
        "notional": draw.choice(("mark", "index")),
        "open_interest": draw.choice((None, {"lower": 1e5, "upper": 1e7})),
    }
    options = {
        "initial_maximum": draw.uniform(0.15, 0.25),
        "initial_minimum": draw.uniform(0.1, 0.15),
        "call_maintenance": draw.uniform(0.05, 0.1),
        "put_maintenance": draw.uniform(0.02, 0.1),
        "put_maintenance_of_mark": draw.uniform(0, 1),
        "put_initial_over_maintenance": draw.uniform(1, 1.2),
        "maximum_loss": draw.random() < 0.7,
        "unpaired_initial": draw.uniform(0, 1.3),
        "unpaired_maintenance": draw.uniform(0, 1),
    }
    return {"futures": {"*": rates}, "options": {"*": options}}


def _portfolio(draw: random.Random) -> dict[str, Any]:
    kinds = ("up", "none", "down", "skew-linear", "skew-absolute")
    scenarios = [{"price": draw.uniform(0.4, 2), "volatility": each, "weight": draw.uniform(0.2, 1)} for each in kinds]
    return {
        "scenarios": [{**each, "price": 1.0} if "skew" in each["volatility"] else each for each in scenarios],
        "volatility": {
            "up": draw.uniform(0, 1),
            "down": draw.uniform(0, 0.6),
            "short_power": 0.3,
            "long_power": 0.13,
            "days_floor": draw.choice((0.0, 1.0, 8.5)),
            "minimum_up": draw.uniform(0, 1),
        },
        "skew": {
            "linear_cap": draw.uniform(0.05, 0.3),
            "linear_cap_per_root_year": draw.uniform(-0.5, 0.1),
            "absolute_cap": draw.uniform(0.05, 0.3),
            "absolute_cap_per_root_year": draw.uniform(-0.1, 0.1),
            "minimum_width": 0.01,
            "width_scale": 4.0,
            "width_static": 0.6,
            "width_per_root_year": -0.1,
        },
        "discounts": draw.choice((None, _discounts(draw))),
        "basis": {"price_up": 1.2, "price_down": 0.7, "add": 0.8, "per_year": 2.0, "futures": draw.random() < 0.5},
        "initial_factor": draw.uniform(1, 1.5),
        "maintenance_factor": draw.uniform(0.7, 1),
        "discounting": draw.random() < 0.5,
        "settlement_window_seconds": draw.choice((0.0, 1_800.0, 40_000.0)),
    }


def _discounts(draw: random.Random) -> dict[str, float]:
    return {
        "long": draw.uniform(0.8, 1),
        "short": draw.uniform(1, 1.2),
        "long_rate_factor": draw.uniform(0, 1),
        "long_rate_add": draw.uniform(0, 0.1),
        "short_rate_factor": draw.uniform(0, 1),
        "short_rate_add": draw.uniform(0, 0.1),
    }


def random_world(
    seed: int,
    models: Mapping[str, Mapping[str, Any]],
    *,
    orders: bool = False,
    rates: bool = False,
    doubts: bool = False,
) -> World:
    """A market of two coins with all kinds of contracts, and an account that holds some of them."""
    draw = random.Random(seed)
    index = {"BTC": draw.uniform(20_000, 90_000), "ETH": draw.uniform(900, 5_000)}
    contracts, frozen = _contracts(draw, index)
    frozen |= {name: round(price * 10**8) for name, price in index.items()}
    frozen["USDC"] = round(draw.choice((1, draw.uniform(0.9, 1.02))) * 10**8)
    expiries = {
        (name, expiry * 10**9): Expiry(rate=Fraction(draw.randrange(-20, 120), 1000))
        for name in index
        for expiry in EXPIRIES.values()
    }
    inputs = Inputs(ASSETS, contracts, models, frozen, NOW, expiries=expiries if rates else {})
    if doubts:
        inputs = _doubtful(draw, inputs)
    world = World(inputs, _holdings(draw, contracts, frozen, index))
    return replace(world, orders=_orders(draw, contracts, frozen, index)) if orders else world


def _doubtful(draw: random.Random, inputs: Inputs) -> Inputs:
    """The same with confidences, settled fractions and open interest."""

    def part() -> Fraction:
        return Fraction(draw.randrange(50, 101), 100)

    names = ["BTC", "ETH", *(each.name for each in inputs.contracts if not each.is_option)]
    expiries = {
        key: replace(
            each,
            settled_fraction=draw.choice((Fraction(0), part())),
            forward_confidence=part(),
            rate_confidence=part(),
            volatility_confidence=part(),
        )
        for key, each in inputs.expiries.items()
    }
    interest = {each.name: Fraction(draw.randrange(10**6)) for each in inputs.contracts if not each.is_option}
    confidences = {name: part() for name in [*names, "USDC"]}
    return replace(inputs, confidences=confidences, expiries=expiries, open_interest=interest)


def _contracts(draw: random.Random, index: Mapping[str, float]) -> tuple[list[Contract], dict[str, int]]:
    names = []
    for coin in index:
        names += [f"{coin}-PERPETUAL", f"{coin}_USDC-PERPETUAL"]
        for expiry in EXPIRIES:
            names += [f"{coin}-{expiry}", f"{coin}_USDC-{expiry}"] if draw.random() < 0.5 else []
            for _ in range(4):
                strike = _strike(draw, index[coin])
                names.append(f"{coin}{draw.choice(('', '_USDC'))}-{expiry}-{strike}-{draw.choice('CP')}")
    draw.shuffle(names)
    contracts, frozen = [], {}
    for number, name in enumerate(dict.fromkeys(names)):
        each = _contract(number, name)
        contracts.append(each)
        if each.is_option:
            frozen[name] = draw.randrange(200_000, 2_000_000)
        elif draw.random() < 0.8:
            frozen[name] = round(index[each.underlying] * draw.uniform(0.97, 1.05) * 100)
    return contracts, frozen


def _strike(draw: random.Random, index: float) -> int:
    step = 10 ** (len(str(int(index))) - 2)
    return max(1, round(index * draw.uniform(0.5, 1.8) / step)) * step


def _contract(number: int, name: str) -> Contract:
    kind = contract(number, name, "1", 2).kind
    inverse_future = kind != "option" and "_" not in name
    return contract(number, name, "10" if inverse_future else _RANDOM_LOTS[kind], 4 if kind == "option" else 2)


def _holdings(
    draw: random.Random, contracts: Sequence[Contract], frozen: Mapping[str, int], index: Mapping[str, float]
) -> dict[str, tuple[int, int]]:
    rows: dict[str, tuple[int, int]] = {}
    costs: dict[str, int] = {}
    units = {each.name: 10**each.decimals for each in ASSETS}
    for each in draw.sample(list(contracts), draw.randrange(1, 12)):
        amount = draw.randrange(-300, 300) * (100 if each.lot == 10 else 1) or 1
        entry = _price(draw, each, frozen, index) * (1 if each.is_option else 1 / 100)
        unit = entry if each.is_option else -1 / entry if each.is_inverse else entry
        cost = round(amount * float(each.lot) * unit * units[each.settlement]) if not each.is_option else 0
        rows[each.name] = (amount, cost)
        costs[each.settlement] = costs.get(each.settlement, 0) + cost
    for each in ASSETS:
        cash = round(draw.uniform(-0.3, 1) * 200_000 / index.get(each.name, 1) * units[each.name])
        if draw.random() < 0.8 or each.name in costs:
            rows[each.name] = (cash, costs.get(each.name, 0))
    return rows


def _price(draw: random.Random, each: Contract, frozen: Mapping[str, int], index: Mapping[str, float]) -> int:
    """A limit in price steps, about the mark."""
    if each.is_option:
        typical = 0.05 if each.is_inverse else 0.05 * index[each.underlying]
        return round(typical * draw.uniform(0, 4) * 10**each.price_decimals)
    return round(frozen.get(each.name, index[each.underlying] * 100) * draw.uniform(0.96, 1.04))


def _orders(
    draw: random.Random, contracts: Sequence[Contract], frozen: Mapping[str, int], index: Mapping[str, float]
) -> list[Order]:
    result = []
    for each in draw.choices(list(contracts), k=draw.randrange(1, 8)):
        amount = draw.randrange(-200, 200) * (100 if each.lot == 10 else 1) or 1
        result.append(Order(each.name, amount, _price(draw, each, frozen, index)))
    return result


@dataclass
class Fast:
    """The same world for the fast engine."""

    world: World

    def margin(self, model: str) -> Any:
        portfolio = holdfast.load_portfolio(json.dumps(self._portfolio()))
        market = holdfast.load_market(json.dumps(self._market()))
        parameters = holdfast.load_parameters(json.dumps(self.world.inputs.models[model]))
        return holdfast.calculate(portfolio, market, parameters)

    def _portfolio(self) -> dict[str, Any]:
        decimals = {each.name: each.decimals for each in ASSETS}
        positions, balances = [], {}
        contracts = self.world.contracts()
        for name, (amount, cost) in self.world.holdings.items():
            if name in contracts:
                settled = 10 ** decimals[contracts[name].settlement]
                quantity = float(amount * contracts[name].lot)
                positions.append({"instrument": name, "quantity": quantity, "cost": cost / settled})
            else:
                balances[name] = amount / 10 ** decimals[name]
        orders = [
            {
                "instrument": each.item,
                "quantity": float(each.amount * contracts[each.item].lot),
                "limit_price": float(each.price * contracts[each.item].price_step),
            }
            for each in self.world.orders
        ]
        return {"balances": balances, "positions": positions, "orders": orders}

    def _market(self) -> dict[str, Any]:
        inputs = self.world.inputs
        coins = {each.underlying for each in inputs.contracts}
        assets = {each.name: self._sure(each.name, inputs.frozen[each.name] / 10**8) for each in ASSETS[1:]}
        return {
            "time": _text(inputs.time),
            "underlyings": {coin: self._underlying(coin, assets[coin]) for coin in coins},
            "assets": {name: price for name, price in assets.items() if name not in coins},
        }

    def _sure(self, item: str, price: float) -> dict[str, float]:
        return {"price": price, "confidence": float(self.world.inputs.confidences.get(item, 1))}

    def _doubt(self, name: str) -> float:
        """A future without a price of its own is as sure as its forward."""
        inputs, each = self.world.inputs, self.world.contracts()[name]
        if each.kind == "perpetual" or name in inputs.frozen:
            return float(inputs.confidences.get(name, 1))
        return float(inputs.expiries.get((each.underlying, each.expiry), Expiry()).forward_confidence)

    def _underlying(self, coin: str, index: dict[str, float]) -> dict[str, Any]:
        inputs = self.world.inputs
        contracts = [each for each in inputs.contracts if each.underlying == coin]
        marks = {each.name: self._mark(each, index["price"]) for each in contracts if not each.is_option}
        futures = sorted((each for each in contracts if each.kind == "future"), key=lambda each: each.number)
        forwards = {each.expiry: marks[each.name] for each in futures}
        return {
            "index": index,
            "marks": {name: {"price": price, "confidence": self._doubt(name)} for name, price in marks.items()},
            "expiries": {
                _text(expiry): self._expiry(coin, expiry, forwards.get(expiry, index["price"]))
                for expiry in {each.expiry for each in contracts if each.expiry}
            },
            "volatilities": {each.name: inputs.frozen[each.name] / 10**6 for each in contracts if each.is_option},
            "open_interest": {name: float(units) for name, units in inputs.open_interest.items() if name in marks},
        }

    def _expiry(self, coin: str, expiry: int, forward: float) -> dict[str, float]:
        known = self.world.inputs.expiries.get((coin, expiry), Expiry())
        fields = ("rate", "settled_fraction", "forward_confidence", "rate_confidence", "volatility_confidence")
        return {"forward": forward, **{name: float(getattr(known, name)) for name in fields}}

    def _mark(self, each: Contract, index: float) -> float:
        price = self.world.inputs.frozen.get(each.name)
        return index if price is None else float(price * each.price_step)


def _text(time: int) -> str:
    return datetime.fromtimestamp(time // 10**9, UTC).isoformat()
