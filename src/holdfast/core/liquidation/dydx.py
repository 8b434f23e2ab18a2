"""Liquidation on the dYdX v4 chain, in integers: bankruptcy price, fillable price, insurance fund, deleveraging.

What lives here: what a liquidation costs whom, on top of the margin rules of `holdfast.margin.dydx`. What may not: a
margin rule, floats, the book that fills an order, limits per block, and the choice of whom to liquidate.
specs/dydx-liquidation.md holds the rules with worked numbers; docs/explanation/venue-liquidations.md derives them.

Theory of operation. An account with net collateral C and maintenance margin M is liquidatable if C < M. Each position
is given the part of C that its share of M says, so that an account of several positions can be closed one at a time:
whoever is closed first takes no more than its share. At the bankruptcy price a position uses up exactly that part.
Better than that, the fund may take a fee; worse than that, the fund pays; where the fund cannot, accounts on the other
side are closed at the bankruptcy price, if they can bear it.

There is one division in each rule. Its rounding favours the account that is closed, so that closing it at the rounded
bankruptcy price never asks the fund for anything; the fee is rounded down. The fillable price is not rounded at all: it
is a fraction, which the book rounds to its own tick.

Signs: quantities of base and quote are changes of the account that is liquidated. Selling 3 for 7 is (−3, +7).

Source of the prices and payments: github.com/dydxprotocol/v4-chain at commit 84d4664 (March 2026), `x/clob/keeper/
liquidations.go`. Which changes are permitted and the order of deleveraging (`x/subaccounts/lib/updates.go`,
`x/clob/keeper/deleveraging.go`) were read in other revisions of the same repository.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from fractions import Fraction
from typing import Generic

import msgspec

from holdfast.domain.errors import InputError, invariant
from holdfast.margin.dydx import (
    PPM,
    Identifier,
    Perpetual,
    Risk,
    account_risk,
    maintenance_margin_of_notional,
    notional_quote_quantums,
    riskier,
)


def _require_integer(field: str, value: object, lowest: int | None, highest: int | None, unit: str) -> None:
    """Refuse what is not an `int` between the bounds (None: no bound); a truth value is not an integer here."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError("not-an-integer", field, value, f"give a whole number of {unit}", "is not an integer")
    if (lowest is not None and value < lowest) or (highest is not None and value > highest):
        bounds = f"at least {lowest}" if highest is None else f"between {lowest} and {highest}"
        raise InputError("out-of-range", field, value, f"give a number of {unit} that is {bounds}")


class LiquidationParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What governance sets for liquidations (source: `x/clob/types/liquidations_config.go`).

    Attributes:
        bankruptcy_adjustment_ppm: How fast the fillable price goes to its worst as collateral runs out, ppm, ≥ 0;
            1,000,000 reaches it when net collateral is 0, 2,000,000 at half of the maintenance margin.
        spread_to_maintenance_ppm: Worst distance of the fillable price from the oracle price, ppm of the position's
            maintenance margin, 0 to 1,000,000.
        fee_ppm_max: Most that a liquidation pays to the insurance fund, ppm of the quote traded, 0 to 1,000,000.

    Raises:
        InputError: A value is not an integer or is out of its range.
    """

    bankruptcy_adjustment_ppm: int = 1_000_000
    spread_to_maintenance_ppm: int = 100_000
    fee_ppm_max: int = 5_000

    def __post_init__(self) -> None:
        _require_integer("bankruptcy_adjustment_ppm", self.bankruptcy_adjustment_ppm, 0, None, "ppm")
        _require_integer("spread_to_maintenance_ppm", self.spread_to_maintenance_ppm, 0, PPM, "ppm")
        _require_integer("fee_ppm_max", self.fee_ppm_max, 0, PPM, "ppm")


class Account(msgspec.Struct, Generic[Identifier], frozen=True):
    """What an account holds; an isolated market's position is an account of its own.

    Attributes:
        quote_balance: USDC in quote quantums, negative where it owes.
        positions: Signed size in base quantums for each perpetual held.
        custom_initial_margin_ppm: Rates that the account chose, ppm for each perpetual where it chose one.

    Raises:
        InputError: A balance or size is not an integer.
    """

    quote_balance: int
    positions: Mapping[Identifier, int]
    custom_initial_margin_ppm: Mapping[Identifier, int] = {}

    def __post_init__(self) -> None:
        _require_integer("quote_balance", self.quote_balance, None, None, "quote quantums")
        for identifier, quantums in self.positions.items():
            _require_integer(f"positions[{identifier!r}]", quantums, None, None, "base quantums")

    def risk(self, perpetuals: Mapping[Identifier, Perpetual]) -> Risk:
        """Net collateral and requirements in quote quantums, by `holdfast.margin.dydx.account_risk`."""
        return account_risk(self.quote_balance, self.positions, perpetuals, self.custom_initial_margin_ppm)

    def traded(self, identifier: Identifier, base_delta: int, quote_delta: int) -> "Account[Identifier]":
        """The account after its position changes by `base_delta` and its balance by `quote_delta`; no position is 0."""
        positions = {**self.positions, identifier: self.positions.get(identifier, 0) + base_delta}
        held = {name: quantums for name, quantums in positions.items() if quantums}
        return Account(self.quote_balance + quote_delta, held, self.custom_initial_margin_ppm)


def bankruptcy_quote(
    account: Account[Identifier],
    perpetuals: Mapping[Identifier, Perpetual],
    identifier: Identifier,
    base_delta: int,
) -> int:
    """The quote for which closing part of a position uses up exactly its share of the collateral (DYL-1).

    With net collateral C and maintenance margin M of the account, notional N and maintenance margin m of the position,
    and primes after the close: the close at the oracle price would bring −(N′ − N). The share of C that belongs to what
    is closed is C · (m − m′)/M, and giving exactly that away leaves

        −(N′ − N) − ⌊C · (m − m′) / M⌋.

    N′ − N and m − m′ are differences of rounded numbers, not roundings of a difference: what is closed and what is left
    then add up. The share is rounded down, so the quote is rounded up, by less than one quote quantum: closing at it
    never needs the fund. Where C < 0 the share is a debt and the account asks for more than the oracle price.

    Args:
        account: The account that is liquidated.
        perpetuals: The markets, with prices.
        identifier: The perpetual that is closed.
        base_delta: Change of the position in base quantums: against its sign and at most its size.

    Returns:
        Change of the quote balance in quote quantums: what a long must receive, or minus what a short may pay. Negative
        for a long that can be given away and still leaves something.

    Raises:
        InputError: The change does not reduce the position, a perpetual is missing, or the account has no maintenance
            margin, so that it is never liquidatable.
    """
    position = _require_reduction(account, identifier, base_delta)
    risk = _risk_with_maintenance(account, perpetuals)
    perpetual = perpetuals[identifier]
    notional = notional_quote_quantums(perpetual, position)
    notional_left = notional_quote_quantums(perpetual, position + base_delta)
    released = _maintenance(perpetual, notional) - _maintenance(perpetual, notional_left)
    invariant(released >= 0, f"a reduction raises the maintenance margin by {-released} quote quantums")
    share = risk.net_collateral * released // risk.maintenance
    return notional - notional_left - share


def fillable_price(
    account: Account[Identifier],
    perpetuals: Mapping[Identifier, Perpetual],
    identifier: Identifier,
    parameters: LiquidationParameters,
) -> Fraction:
    """The worst price at which a liquidation order may fill (DYL-3).

    The emptier the account, the further from the oracle price the order may go. With net collateral C and maintenance
    margin M of the account, and size q, notional N and maintenance margin m of the position:

        a = clamp(adjustment · (1 − C/M), 0, 1)           0 at C = M, 1 when nothing is left
        price = (N − a · spread · m) / q

    Both N and q are negative for a short, so its price is above the oracle price by the same rule. Nothing is rounded.

    Args:
        account: The account that is liquidated.
        perpetuals: The markets, with prices.
        identifier: The perpetual whose position is closed.
        parameters: The adjustment and the spread.

    Returns:
        Quote quantums per base quantum, ≥ 0.

    Raises:
        InputError: There is no position, a perpetual is missing, or the account has no maintenance margin.
    """
    position = _require_reduction(account, identifier, -account.positions.get(identifier, 0))
    risk = _risk_with_maintenance(account, perpetuals)
    perpetual = perpetuals[identifier]
    notional = notional_quote_quantums(perpetual, position)
    emptiness = 1 - Fraction(risk.net_collateral, risk.maintenance)
    adjusted = min(max(emptiness * Fraction(parameters.bankruptcy_adjustment_ppm, PPM), Fraction(0)), Fraction(1))
    spread = Fraction(parameters.spread_to_maintenance_ppm, PPM) * _maintenance(perpetual, notional)
    price = (notional - adjusted * spread) / position
    invariant(price >= 0, f"a fillable price of {price} quote quantums per base quantum")
    return price


def insurance_fund_delta(
    account: Account[Identifier],
    perpetuals: Mapping[Identifier, Perpetual],
    identifier: Identifier,
    base_delta: int,
    quote_delta: int,
    parameters: LiquidationParameters,
) -> int:
    """What a fill pays to the insurance fund, or takes from it (DYL-4).

    Let e be what the fill brought beyond the bankruptcy quote. If e ≤ 0 the fund makes up the difference, exactly, and
    the account ends where the bankruptcy price would have left it. If e > 0 the account pays a fee on what it traded,
    rounded down, but never more than e: a fee does not make an account poorer than bankruptcy would.

    Args:
        account: The account before the fill.
        perpetuals: The markets, with prices.
        identifier: The perpetual that was filled.
        base_delta: Change of the position in base quantums.
        quote_delta: Change of the quote balance in quote quantums, before this payment.
        parameters: The largest fee.

    Returns:
        Quote quantums: above 0 the account pays the fund, below 0 the fund pays the account.

    Raises:
        InputError: As `bankruptcy_quote`, or `quote_delta` is not an integer.
    """
    _require_integer("quote_delta", quote_delta, None, None, "quote quantums")
    excess = quote_delta - bankruptcy_quote(account, perpetuals, identifier, base_delta)
    if excess <= 0:
        return excess
    return min(abs(quote_delta) * parameters.fee_ppm_max // PPM, excess)


def is_permitted_change(before: Risk, after: Risk) -> bool:
    """Whether an account may go from one state to another (DYL-5).

    Always, if it covers its initial margin afterwards. Otherwise only if its maintenance margin does not grow and it is
    not riskier than before; where one of the maintenance margins is 0 that comparison says nothing, and both must be 0
    and the net collateral must grow.

    Args:
        before: The account's risk before the change.
        after: Its risk afterwards.

    Returns:
        True if permitted.
    """
    if after.is_initially_collateralized:
        return True
    if after.maintenance > before.maintenance:
        return False
    if before.maintenance == 0 or after.maintenance == 0:
        return before.maintenance == after.maintenance and after.net_collateral > before.net_collateral
    return riskier(after, before) <= 0


class PriceBasis(Enum):
    """The price at which an account is deleveraged."""

    BANKRUPTCY = "bankruptcy"
    ORACLE = "oracle"


def deleveraging_basis(risk: Risk, *, is_final_settlement: bool) -> PriceBasis | None:
    """Whether an account's position is deleveraged, and at what price (DYL-6).

    Args:
        risk: The account's risk.
        is_final_settlement: Whether the market is being wound up.

    Returns:
        The bankruptcy price if net collateral is below 0; else the oracle price if the market is being wound up; else
        None, because the account is not deleveraged.
    """
    if risk.net_collateral < 0:
        return PriceBasis.BANKRUPTCY
    return PriceBasis.ORACLE if is_final_settlement else None


class DeleveragingFill(msgspec.Struct, frozen=True):
    """One trade between the deleveraged account and a candidate.

    Attributes:
        candidate: Index of the candidate in the sequence given.
        base_delta: Change of the deleveraged account's position in base quantums; the candidate's is minus this.
        quote_delta: Change of the deleveraged account's balance in quote quantums; the candidate's is minus this.
    """

    candidate: int
    base_delta: int
    quote_delta: int


class Deleveraging(msgspec.Struct, Generic[Identifier], frozen=True):
    """The outcome of a deleveraging.

    Attributes:
        liquidated: The deleveraged account afterwards.
        offsetting: The candidates afterwards, in their order.
        fills: The trades made, in their order.
        remaining: Change of the position in base quantums that found no counterparty.
    """

    liquidated: Account[Identifier]
    offsetting: tuple[Account[Identifier], ...]
    fills: tuple[DeleveragingFill, ...]
    remaining: int


def deleverage(
    liquidated: Account[Identifier],
    offsetting: Sequence[Account[Identifier]],
    perpetuals: Mapping[Identifier, Perpetual],
    identifier: Identifier,
    basis: PriceBasis = PriceBasis.BANKRUPTCY,
) -> Deleveraging[Identifier]:
    """Close a position against accounts on the other side, as far as they can bear it (DYL-7, DYL-8).

    Candidates are taken in the order given; the chain starts at a pseudo-random one, which is the caller's affair. Each
    trades as much as both sides hold. The quote is the liquidated account's, at its state at that moment, so that
    several fills give it what one would. A trade that either account may not make (`is_permitted_change`) is left out
    whole, and the next candidate is asked: such a candidate could not pay the liquidated account's bankruptcy price.

    Args:
        liquidated: The account to close; `deleveraging_basis` says whether it may be.
        offsetting: The candidates. Those without a position on the other side are passed over.
        perpetuals: The markets, with prices.
        identifier: The perpetual to close.
        basis: The price of the trades.

    Returns:
        The accounts afterwards and what remains. Base and quote are conserved exactly. A remainder without maintenance
        margin has no bankruptcy price and stays.

    Raises:
        InputError: A perpetual is missing.
    """
    after, fills, given = list(offsetting), [], liquidated
    for index, candidate in enumerate(offsetting):
        base_delta = _overlap(liquidated.positions.get(identifier, 0), candidate.positions.get(identifier, 0))
        if base_delta == 0 or (basis is PriceBasis.BANKRUPTCY and liquidated.risk(perpetuals).maintenance == 0):
            continue
        if basis is PriceBasis.ORACLE:
            quote_delta = notional_quote_quantums(perpetuals[identifier], -base_delta)
        else:
            quote_delta = bankruptcy_quote(liquidated, perpetuals, identifier, base_delta)
        closed = liquidated.traded(identifier, base_delta, quote_delta)
        offset = candidate.traded(identifier, -base_delta, -quote_delta)
        pairs = ((liquidated, closed), (candidate, offset))
        if all(is_permitted_change(old.risk(perpetuals), new.risk(perpetuals)) for old, new in pairs):
            liquidated, after[index] = closed, offset
            fills.append(DeleveragingFill(index, base_delta, quote_delta))
    _check_conservation((given, *offsetting), (liquidated, *after), identifier)
    return Deleveraging(liquidated, tuple(after), tuple(fills), -liquidated.positions.get(identifier, 0))


def _require_reduction(account: Account[Identifier], identifier: Identifier, base_delta: int) -> int:
    """The position, if the change is against its sign and not larger than it."""
    _require_integer("base_delta", base_delta, None, None, "base quantums")
    position = account.positions.get(identifier, 0)
    if position * base_delta >= 0 or abs(base_delta) > abs(position):
        raise InputError(
            "not-a-reduction",
            "base_delta",
            base_delta,
            f"close at most the position of {position} base quantums in {identifier!r}",
            "does not reduce the position",
        )
    return position


def _risk_with_maintenance(account: Account[Identifier], perpetuals: Mapping[Identifier, Perpetual]) -> Risk:
    """The account's risk, if its rules have something to divide by."""
    risk = account.risk(perpetuals)
    if risk.maintenance == 0:
        raise InputError(
            "never-liquidatable",
            "account",
            risk.net_collateral,
            "liquidate accounts whose maintenance margin is above 0 quote quantums",
            "has no maintenance margin, with a net collateral in quote quantums of",
        )
    return risk


def _maintenance(perpetual: Perpetual, notional: int) -> int:
    return maintenance_margin_of_notional(perpetual.tier, notional)


def _overlap(position: int, candidate: int) -> int:
    """The change of `position` that a candidate on the other side can take; 0 if it is not on the other side."""
    if position * candidate >= 0:
        return 0
    size = min(abs(position), abs(candidate))
    return -size if position > 0 else size


def _check_conservation(
    before: Sequence[Account[Identifier]], after: Sequence[Account[Identifier]], identifier: Identifier
) -> None:
    quote = sum(new.quote_balance - old.quote_balance for old, new in zip(before, after, strict=True))
    base = sum(account.positions.get(identifier, 0) for account in after)
    base -= sum(account.positions.get(identifier, 0) for account in before)
    invariant(quote == 0, f"deleveraging made {quote} quote quantums")
    invariant(base == 0, f"deleveraging made {base} base quantums")
