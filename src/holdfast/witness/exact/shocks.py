"""What a scenario does to prices and volatilities (PM-2 … PM-7, TAIL-1).

What lives here: shocked forwards, shocked volatilities, discounts and an option's value under them. What may not: sums
over an account.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from holdfast.domain.errors import InputError
from holdfast.witness.exact.black import Spread, black_units, intrinsic, log_ratio, spread
from holdfast.witness.exact.elementary import BITS, SCALE, exponential_of, power, square_root
from holdfast.witness.exact.inputs import Contract
from holdfast.witness.exact.intervals import NOTHING, ONE, ZERO, Interval, Number, greatest, least
from holdfast.witness.exact.market import Market
from holdfast.witness.exact.parameters import AnyModel, PortfolioModel, SkewRange, TailModel, VolatilityRange
from holdfast.witness.exact.parameters import Volatility as Shock

_GRID = BITS + 32
_ONE = Interval.point(ONE)
_DOWN_TO_0 = Interval.point(Fraction(-1))


@dataclass(frozen=True)
class Move:
    """One scenario as an underlying sees it.

    Attributes:
        price: Multiplier of prices.
        volatility: How implied volatilities move.
        weight: Fraction of a result that counts.
        response: Relative rise of volatilities per unit of absolute move (tail model).
    """

    price: Fraction
    volatility: Shock = "none"
    weight: Fraction = ONE
    response: Fraction = ZERO

    @property
    def is_skew(self) -> bool:
        """Whether it twists the surface; then it moves no price of an option (PM-4)."""
        return self.volatility.startswith("skew")


def moves(model: AnyModel, underlying: str) -> Sequence[Move]:
    """The scenarios of a model for an underlying; none in the standard model.

    Raises:
        InputError: `missing-field`, the tail model has no moves of the underlying (TAIL-1).
    """
    if isinstance(model, PortfolioModel):
        return [Move(each.price, each.volatility, each.weight) for each in model.scenarios]
    if not isinstance(model, TailModel):
        return ()
    if underlying not in model.moves:
        raise InputError("missing-field", f"parameters.moves[{underlying}]", None, "give the moves of every underlying")
    return [Move(1 + each, response=model.volatility_response) for each in model.moves[underlying]]


def basis_moves(model: AnyModel) -> Sequence[Move]:
    """The two named scenarios of the basis contingency, up first; none without one (PM-8)."""
    if not isinstance(model, PortfolioModel) or model.basis is None:
        return ()
    return Move(model.basis.price_up), Move(model.basis.price_down)


class Chain:
    """Options of one expiry that settle alike, in a list of cases: what they share is worked out once.

    The quotient x / F′ of an inverse option is 1 / F where the whole forward moves, also at x = 0.
    """

    def __init__(self, market: Market, model: AnyModel, option: Contract, cases: Sequence[Move | None]) -> None:
        """Work out the shocked forwards, and what a unit of the quote currency is worth in each case.

        Args:
            market: Prices.
            model: Parameters.
            option: Any of the options.
            cases: Moves; None for today.
        """
        self._market, self._model, self._cases = market, model, cases
        forward, unit = market.forward(option), market.value(option.settlement)
        fixed, discounting = fixed_part(market, model, option), discount(market, model, option)
        self._forwards, self._worth = list[Fraction](), list[Interval]()
        for move in cases:
            price = ONE if move is None or move.is_skew else move.price
            shocked = forward * (fixed + (1 - fixed) * price)
            coin = (price / shocked if shocked else 1 / forward) if option.is_inverse else ONE
            self._forwards.append(shocked)
            self._worth.append(discounting.times(unit * coin))

    def values(self, option: Contract) -> list[Number]:
        """Value of one unit of an option in the numeraire, in each case (TAB-1)."""
        years = self._market.years(option)
        spreads: dict[tuple[object, ...], Spread] = {}
        found = []
        for move, forward, worth in zip(self._cases, self._forwards, self._worth, strict=True):
            key = () if move is None else (move.volatility, move.response * abs(move.price - 1))
            if key not in spreads:
                spreads[key] = spread(years, shocked_volatility(self._market, self._model, option, move))
            units = black_units(forward, option.strike, spreads[key], is_call=option.is_call)
            if units is None:
                found.append(_number(worth.times(intrinsic(forward, option.strike, is_call=option.is_call))))
            else:
                found.append(_on_grid(*units, worth))
        return found


def _on_grid(low: int, high: int, worth: Interval) -> Number:
    """What lies from `low` to `high` units of 2 ** -SCALE, both at least 0, times what one is worth."""
    shift = SCALE - _GRID
    below = low * worth.low.numerator // (worth.low.denominator << shift)
    above = -(-high * worth.high.numerator // (worth.high.denominator << shift))
    return Number(Fraction(below + above, 2 << _GRID), Fraction(above - below, 2 << _GRID))


def _number(value: Interval) -> Number:
    """With a small denominator, unless the value is exact."""
    return Number.of(value if value.is_point else value.outward(_GRID))


def fixed_part(market: Market, model: AnyModel, option: Contract) -> Fraction:
    """Part of the forward that the settlement average has fixed (PM-2); only the portfolio model has a window."""
    settled = market.expiry(option).settled_fraction
    if not isinstance(model, PortfolioModel) or not model.settlement_window_seconds:
        return settled
    window = model.settlement_window_seconds
    return max(settled, 1 - market.days(option) * 86_400 / window)


def discount(market: Market, model: AnyModel, option: Contract) -> Interval:
    """D of PM-6."""
    if not isinstance(model, PortfolioModel) or not model.discounting:
        return _ONE
    return exponential_of(Interval.point(-_rate(market, option) * market.years(option)))


def _rate(market: Market, option: Contract) -> Fraction:
    return max(ZERO, market.expiry(option).rate)


def static_discounts(market: Market, model: AnyModel, option: Contract) -> tuple[Interval, Interval]:
    """M₊ and M₋ of an option's group (PM-7)."""
    if not isinstance(model, PortfolioModel) or model.discounts is None:
        return _ONE, _ONE
    rule, rate, years = model.discounts, _rate(market, option), market.years(option)
    positive = _growth(-years * (rate * rule.long_rate_factor + rule.long_rate_add)).times(rule.long)
    negative = _growth(years * (rate * rule.short_rate_factor + rule.short_rate_add)).times(rule.short)
    return positive, least(_ONE / discount(market, model, option), negative)


def _growth(exponent: Fraction) -> Interval:
    return exponential_of(Interval.point(exponent))


def shocked_volatility(market: Market, model: AnyModel, option: Contract, move: Move | None) -> Interval:
    """σ′ (PM-3, PM-4, TAIL-1); σ for today."""
    volatility = market.volatility(option)
    if move is None or not market.years(option):
        return Interval.point(volatility)
    if isinstance(model, TailModel):
        return Interval.point(volatility * (1 + move.response * abs(move.price - 1)))
    if not isinstance(model, PortfolioModel) or move.volatility == "none":
        return Interval.point(volatility)
    if not move.is_skew:
        return _ranged(model.volatility, market.days(option), volatility, rises=move.volatility == "up")
    if model.skew is None:
        raise InputError("missing-field", "parameters.skew", None, "give the sizes of the twists or leave them out")
    factor = skew_multiplier(
        model.skew,
        market.forward(option),
        option.strike,
        market.years(option),
        absolute=move.volatility != "skew-linear",
    )
    return greatest(NOTHING, factor).times(volatility)


def _ranged(rule: VolatilityRange, days: Fraction, volatility: Fraction, *, rises: bool) -> Interval:
    size = term_factor(rule, days)
    if rises:
        return greatest(Interval.point(rule.minimum_up), size.times(rule.up).plus(ONE).times(volatility))
    return greatest(NOTHING, size.times(-rule.down).plus(ONE)).times(volatility)


def term_factor(rule: VolatilityRange, days: Fraction) -> Interval:
    """(30 / max(days, floor))^power, 0 where the divisor is 0 (PM-3)."""
    counted = max(days, rule.days_floor)
    if not counted:
        return NOTHING
    return power(30 / counted, rule.short_power if days <= 30 else rule.long_power)


def skew_multiplier(
    rule: SkewRange, forward: Fraction, strike: Fraction, years: Fraction, *, absolute: bool
) -> Interval:
    """1 + the twist of PM-4, which may be below 0."""
    cap, width = _cap_and_width(rule, years, absolute)
    is_above = absolute or strike >= forward
    distance = log_ratio(strike, forward).interval
    if absolute and strike < forward:
        distance = -distance
    return _capped((distance * cap).outward(_GRID), cap, width, is_above=is_above).plus(ONE)


@lru_cache(maxsize=256)
def _cap_and_width(rule: SkewRange, years: Fraction, absolute: bool) -> tuple[Interval, Interval]:  # noqa: FBT001
    root = square_root(years)
    if absolute:
        cap = root.times(rule.absolute_cap_per_root_year).plus(rule.absolute_cap)
    else:
        cap = root.times(rule.linear_cap_per_root_year).plus(rule.linear_cap)
    width = (root * root.times(rule.width_per_root_year).plus(rule.width_static)).times(rule.width_scale)
    return cap, greatest(Interval.point(rule.minimum_width), width)


def _capped(product: Interval, cap: Interval, width: Interval, *, is_above: bool) -> Interval:
    """min(r, cap) or max(r, −cap), r = product / width; at width 0 an infinity of the product's sign, or 0."""
    if width.low > 0:
        ratio = product / width
    elif product.low == product.high == 0:
        ratio = NOTHING
    elif width.high == 0 and product.low > 0 and is_above:
        return cap
    elif width.high == 0 and product.high < 0:
        return _DOWN_TO_0 if is_above else -cap
    else:
        raise InputError("out-of-range", "parameters.skew.minimum_width", 0, "give a width above 0")
    return least(ratio, cap) if is_above else greatest(ratio, -cap)
