"""The margin rules of the dYdX v4 chain, in integers: notional, requirements, net collateral, liquidatability.

What lives here: the venue's own arithmetic, division by division, so that its numbers come out to the last unit. Python
integers have no width, so nothing overflows and no result depends on the machine. What may not live here: floats,
prices with a decimal point, the state of a market. specs/dydx.md holds the rules with worked numbers.

Theory of operation. The chain counts positions in base quantums (10^atomic_resolution coins), money in quote quantums
(10^-6 USDC) and ratios in ppm (millionths). Each conversion divides once and names its rounding:

- a notional is truncated towards zero, for longs and shorts alike;
- the margin rate that grows with open interest is rounded down to a whole ppm;
- requirements are rounded up, the maintenance margin twice, because it is a fraction of an initial margin that is
  itself already rounded up;
- ratios of collateral to requirement are never formed: accounts are compared by cross-multiplication.

The first of these lets dust escape: a position worth less than one quote quantum requires nothing, so dividing a
position into k accounts can lower its requirement, by at most k − 1 quote quantums. That is the venue's rule.

Source of every formula: github.com/dydxprotocol/v4-chain at commit 84d4664 (March 2026); the file is named with each.
"""

from collections.abc import Hashable, Mapping
from typing import TypeVar

import msgspec

from holdfast.domain.errors import InputError, invariant

PPM = 1_000_000
"""Parts per million in one."""
QUOTE_ATOMIC_RESOLUTION = -6
"""A quote quantum is 10**-6 USDC."""
UINT64_MAX = 2**64 - 1
"""Largest price and cap that the chain can store."""
EXPONENT_MAX = 64
"""Largest power of ten, either sign: beyond any market, and too small for a mistyped input to ask for a huge number."""

Identifier = TypeVar("Identifier", bound=Hashable)
"""What names a perpetual: the chain's number, or a symbol."""


def _require_integer(field: str, value: object, lowest: int | None, highest: int | None, unit: str) -> None:
    """Refuse what is not an `int` between the bounds (None: no bound); a truth value is not an integer here."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(
            "not-an-integer", field, value, f"give a whole number of {unit} as an int", "is not an integer"
        )
    if (lowest is not None and value < lowest) or (highest is not None and value > highest):
        bounds = f"at least {lowest}" if highest is None else f"between {lowest} and {highest}"
        raise InputError("out-of-range", field, value, f"give a number of {unit} that is {bounds}")


def _ceiling_divide(numerator: int, denominator: int) -> int:
    """⌈numerator / denominator⌉, for a denominator above zero."""
    return -(-numerator // denominator)


class LiquidityTier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The margin parameters that a group of markets shares (source: `x/perpetuals/types/liquidity_tier.go`).

    Attributes:
        initial_margin_ppm: Base initial margin, ppm of the notional, 0 to 1,000,000.
        maintenance_fraction_ppm: Maintenance margin, ppm of the base initial margin, 0 to 1,000,000.
        open_interest_lower_cap: Open interest in quote quantums up to which the base initial margin holds.
        open_interest_upper_cap: Open interest in quote quantums from which the initial margin is the whole notional;
            0 switches the scaling off. Not below the lower cap.

    Raises:
        InputError: A value is not an integer, is out of its range, or the caps are in the wrong order.
    """

    initial_margin_ppm: int
    maintenance_fraction_ppm: int
    open_interest_lower_cap: int = 0
    open_interest_upper_cap: int = 0

    def __post_init__(self) -> None:
        _require_integer("initial_margin_ppm", self.initial_margin_ppm, 0, PPM, "ppm")
        _require_integer("maintenance_fraction_ppm", self.maintenance_fraction_ppm, 0, PPM, "ppm")
        _require_integer("open_interest_lower_cap", self.open_interest_lower_cap, 0, UINT64_MAX, "quote quantums")
        _require_integer("open_interest_upper_cap", self.open_interest_upper_cap, 0, UINT64_MAX, "quote quantums")
        if self.open_interest_lower_cap > self.open_interest_upper_cap:
            raise InputError(
                "out-of-range",
                "open_interest_lower_cap",
                self.open_interest_lower_cap,
                f"give a cap of at most the upper cap, {self.open_interest_upper_cap} quote quantums",
            )


class Perpetual(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A perpetual future with the oracle price at which it is margined.

    Attributes:
        atomic_resolution: Power of ten: a base quantum is 10**atomic_resolution coins, −64 to 64.
        price: Oracle price of one coin in units of 10**price_exponent USDC, 0 to 2**64 − 1.
        price_exponent: Power of ten of the price, −64 to 64.
        tier: The margin parameters.
        open_interest_quantums: Open interest of the market in base quantums, ≥ 0.

    Raises:
        InputError: A value is not an integer or is out of its range.
    """

    atomic_resolution: int
    price: int
    price_exponent: int
    tier: LiquidityTier
    open_interest_quantums: int = 0

    def __post_init__(self) -> None:
        _require_integer("atomic_resolution", self.atomic_resolution, -EXPONENT_MAX, EXPONENT_MAX, "powers of ten")
        _require_integer("price", self.price, 0, UINT64_MAX, "units of 10**price_exponent USDC")
        _require_integer("price_exponent", self.price_exponent, -EXPONENT_MAX, EXPONENT_MAX, "powers of ten")
        _require_integer("open_interest_quantums", self.open_interest_quantums, 0, None, "base quantums")


class Requirements(msgspec.Struct, frozen=True):
    """What a position must be covered by, in quote quantums, both ≥ 0.

    Attributes:
        initial: Initial margin: needed to open or increase.
        maintenance: Maintenance margin: needed to keep; never above the initial margin.
    """

    initial: int
    maintenance: int


class Risk(msgspec.Struct, frozen=True):
    """An account's collateral and requirements, in quote quantums.

    Attributes:
        net_collateral: Quote balance plus the signed notional of every position.
        initial: Initial margin of the account, ≥ 0.
        maintenance: Maintenance margin of the account, 0 to `initial`.

    Raises:
        InputError: A value is not an integer, or the requirements are negative or in the wrong order.
    """

    net_collateral: int
    initial: int
    maintenance: int

    def __post_init__(self) -> None:
        _require_integer("net_collateral", self.net_collateral, None, None, "quote quantums")
        _require_integer("initial", self.initial, 0, None, "quote quantums")
        _require_integer("maintenance", self.maintenance, 0, self.initial, "quote quantums")

    @property
    def is_initially_collateralized(self) -> bool:
        """Whether the net collateral covers the initial margin; equality suffices."""
        return self.net_collateral >= self.initial

    @property
    def is_liquidatable(self) -> bool:
        """Whether the maintenance margin is above zero and above the net collateral; see `is_liquidatable`."""
        return is_liquidatable(self.net_collateral, self.maintenance)


def notional_quote_quantums(perpetual: Perpetual, quantums: int) -> int:
    """The value of a position at the oracle price (DYDX-1).

    quantums · 10^r coins, times price · 10^e USDC per coin, over 10^-6 USDC per quote quantum, is
    quantums · price · 10^(r + e + 6): one multiplication, then one division if the power is negative, truncated towards
    zero, so that a short is worth exactly minus a long of the same size. Source: `lib/quantums.go`, conversion of base
    to quote quantums.

    Args:
        perpetual: The market, with its price.
        quantums: Position in base quantums, negative if short.

    Returns:
        Signed value in quote quantums.

    Raises:
        InputError: `quantums` is not an integer.
    """
    _require_integer("quantums", quantums, None, None, "base quantums")
    power = perpetual.atomic_resolution + perpetual.price_exponent - QUOTE_ATOMIC_RESOLUTION
    magnitude = abs(quantums) * perpetual.price
    scale: int = 10 ** abs(power)
    magnitude = magnitude * scale if power >= 0 else magnitude // scale
    return -magnitude if quantums < 0 else magnitude


def scaled_initial_margin_ppm(tier: LiquidityTier, open_interest_notional: int) -> int:
    """The initial margin rate that open interest makes effective (DYDX-2).

    With base rate b, caps L and U and open interest O, the rate rises in a straight line from b at O = L to 1 at O = U:
    b + (1 − b)(O − L)/(U − L). In ppm, the increase is rounded down to a whole ppm. The cases outside L < O < U come
    first, so U = L never divides by zero. Source: `x/perpetuals/types/liquidity_tier.go`, adjusted initial margin.

    Args:
        tier: Base rate and caps; an upper cap of 0 switches the scaling off.
        open_interest_notional: Open interest at the oracle price in quote quantums, ≥ 0.

    Returns:
        Rate in ppm, from the base rate to 1,000,000.

    Raises:
        InputError: `open_interest_notional` is not an integer ≥ 0.
    """
    _require_integer("open_interest_notional", open_interest_notional, 0, None, "quote quantums")
    lower, upper, base_ppm = tier.open_interest_lower_cap, tier.open_interest_upper_cap, tier.initial_margin_ppm
    if upper == 0 or open_interest_notional <= lower:
        return base_ppm
    if open_interest_notional >= upper:
        return PPM
    return base_ppm + (PPM - base_ppm) * (open_interest_notional - lower) // (upper - lower)


def initial_margin_of_notional(
    tier: LiquidityTier, notional: int, open_interest_notional: int = 0, custom_initial_margin_ppm: int = 0
) -> int:
    """The initial margin of a value at risk (DYDX-3): ⌈|notional| · max(scaled rate, custom rate)⌉.

    Source: `x/perpetuals/types/liquidity_tier.go`, initial margin in quote quantums.

    Args:
        tier: Margin parameters.
        notional: Value in quote quantums; the sign does not matter.
        open_interest_notional: Open interest at the oracle price in quote quantums, ≥ 0.
        custom_initial_margin_ppm: Rate that the account chose for this market, 0 to 1,000,000; 0 where it chose none.

    Returns:
        Initial margin in quote quantums, rounded up, from 0 to |notional|.

    Raises:
        InputError: A value is not an integer or is out of its range.
    """
    _require_integer("notional", notional, None, None, "quote quantums")
    _require_integer("custom_initial_margin_ppm", custom_initial_margin_ppm, 0, PPM, "ppm")
    rate_ppm = max(scaled_initial_margin_ppm(tier, open_interest_notional), custom_initial_margin_ppm)
    return _ceiling_divide(abs(notional) * rate_ppm, PPM)


def maintenance_margin_of_notional(tier: LiquidityTier, notional: int) -> int:
    """The maintenance margin of a value at risk (DYDX-4): ⌈⌈|notional| · base rate⌉ · maintenance fraction⌉.

    It is a fraction of the *base* initial margin, rounded up before and after: neither open interest nor the account's
    own choice moves it, so that a crowded market does not liquidate those already in it. Source:
    `x/perpetuals/lib/lib.go`, margin requirements in quote quantums.

    Args:
        tier: Margin parameters.
        notional: Value in quote quantums; the sign does not matter.

    Returns:
        Maintenance margin in quote quantums, rounded up, from 0 to the initial margin.

    Raises:
        InputError: `notional` is not an integer.
    """
    _require_integer("notional", notional, None, None, "quote quantums")
    base_initial = _ceiling_divide(abs(notional) * tier.initial_margin_ppm, PPM)
    return _ceiling_divide(base_initial * tier.maintenance_fraction_ppm, PPM)


def margin_requirements(
    perpetual: Perpetual,
    quantums: int,
    open_interest_quantums: int | None = None,
    custom_initial_margin_ppm: int = 0,
) -> Requirements:
    """The requirements of one position (DYDX-5): those of its notional, at the open interest's own notional.

    Source: `x/perpetuals/lib/lib.go`, margin requirements in quote quantums.

    Args:
        perpetual: The market, with its price and margin parameters.
        quantums: Position in base quantums, negative if short.
        open_interest_quantums: Open interest in base quantums, ≥ 0, where another than the perpetual's own is meant,
            such as the one after a trade.
        custom_initial_margin_ppm: Rate that the account chose for this market, 0 to 1,000,000; 0 where it chose none.

    Returns:
        Both requirements in quote quantums.

    Raises:
        InputError: A value is not an integer or is out of its range.
    """
    if open_interest_quantums is None:
        open_interest_quantums = perpetual.open_interest_quantums
    _require_integer("open_interest_quantums", open_interest_quantums, 0, None, "base quantums")
    notional = notional_quote_quantums(perpetual, quantums)
    open_interest_notional = notional_quote_quantums(perpetual, open_interest_quantums)
    initial = initial_margin_of_notional(perpetual.tier, notional, open_interest_notional, custom_initial_margin_ppm)
    maintenance = maintenance_margin_of_notional(perpetual.tier, notional)
    invariant(
        0 <= maintenance <= initial <= abs(notional),
        f"maintenance {maintenance}, initial {initial} and notional {notional} quote quantums do not ascend",
    )
    return Requirements(initial, maintenance)


def account_risk(
    quote_balance: int,
    positions: Mapping[Identifier, int],
    perpetuals: Mapping[Identifier, Perpetual],
    custom_initial_margin_ppm: Mapping[Identifier, int] | None = None,
) -> Risk:
    """The net collateral and requirements of one account (DYDX-7): sums over its positions, without netting.

    A position in an isolated market lives in an account of its own on this venue: call once for the cross-margined
    account and once for each isolated one, each with its own balance (DYDX-9). Source: `lib/margin/risk.go`, addition.

    Args:
        quote_balance: USDC of the account in quote quantums, negative where it owes.
        positions: Signed size in base quantums for each perpetual held.
        perpetuals: The markets; may hold more than the account needs.
        custom_initial_margin_ppm: Rates that the account chose, ppm for each perpetual where it chose one.

    Returns:
        The account's risk in quote quantums.

    Raises:
        InputError: A position's perpetual is missing, or a value is not an integer or is out of its range.
    """
    _require_integer("quote_balance", quote_balance, None, None, "quote quantums")
    chosen_ppm = custom_initial_margin_ppm or {}
    net_collateral, initial, maintenance = quote_balance, 0, 0
    for identifier, quantums in positions.items():
        perpetual = perpetuals.get(identifier)
        if perpetual is None:
            raise InputError(
                "unknown-perpetual",
                "positions",
                identifier,
                "give the perpetual of every position in `perpetuals`",
                "holds a perpetual that is not given",
            )
        required = margin_requirements(perpetual, quantums, custom_initial_margin_ppm=chosen_ppm.get(identifier, 0))
        net_collateral += notional_quote_quantums(perpetual, quantums)
        initial += required.initial
        maintenance += required.maintenance
    return Risk(net_collateral, initial, maintenance)


def is_liquidatable(net_collateral: int, maintenance: int) -> bool:
    """Whether an account may be liquidated (DYDX-8): maintenance margin above zero and above the net collateral.

    Equality is safe, and an account that requires nothing is never liquidatable, whatever it owes. Source:
    `lib/margin/risk.go`.

    Args:
        net_collateral: Net collateral in quote quantums.
        maintenance: Maintenance margin in quote quantums, ≥ 0.

    Returns:
        True if liquidatable.

    Raises:
        InputError: A value is not an integer, or `maintenance` is negative.
    """
    _require_integer("net_collateral", net_collateral, None, None, "quote quantums")
    _require_integer("maintenance", maintenance, 0, None, "quote quantums")
    return maintenance > 0 and maintenance > net_collateral


def riskier(first: Risk, second: Risk) -> int:
    """Compare two accounts by net collateral over maintenance margin, without dividing (DYDX-10).

    C₁/M₁ < C₂/M₂ is C₁ · M₂ < C₂ · M₁ for M > 0, exact in integers, and it orders accounts with M = 0 sensibly: those
    that owe come before all others, those that own come last. Where the products are equal, the larger M is riskier; if
    both are 0, the smaller C. Sort from the riskiest with `sorted(risks, key=functools.cmp_to_key(riskier),
    reverse=True)`. Source: `lib/margin/risk.go`, comparison.

    Args:
        first: An account.
        second: Another; the initial margins take no part.

    Returns:
        1 if `first` is the riskier, −1 if `second` is, 0 only if both have the same collateral and maintenance margin.
    """
    left, right = second.net_collateral * first.maintenance, first.net_collateral * second.maintenance
    if left == right and first.maintenance == second.maintenance == 0:
        left, right = second.net_collateral, first.net_collateral
    elif left == right:
        left, right = first.maintenance, second.maintenance
    return (left > right) - (left < right)
