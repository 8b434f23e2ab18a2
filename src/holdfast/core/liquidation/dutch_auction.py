"""Derive's liquidation auction: a portfolio offered at a falling price, then to whoever is paid least for taking it.

What lives here: the price curves, how much may be sold, what a sale pays and leaves. What may not: margin rules (the
three figures of the portfolio are given), the auction's clock, bidders' accounts, the security module's balance.
specs/dutch-auction.md holds the rules with worked numbers; docs/explanation/venue-liquidations.md derives them.

Theory of operation. A portfolio below its maintenance margin is sold in proportions of the whole, so that its hedges
stay together. While it is worth something (solvent), bidders pay a fraction of its value that falls from nearly 1 to 0,
and may buy only as much as restores a margin with a buffer. Once it is worth nothing (insolvent), bidders are paid, an
amount that grows to the maintenance margin, out of the security module and then by all holders of cash. Cash that
earlier bidders paid is *reserved*: it stays with the account and is not sold to later ones.

Arithmetic is exact, in fractions. The contract works in integers of 1e-18 and truncates at each product and quotient;
its published numbers are either truncated far above that digit or computed in doubles, and both follow from the exact
value. With fractions the maximum proportion restores the buffer margin to exactly 0, and several sales leave what one
would. A floating-point number is refused, because 0.98 is not one: give `Fraction("0.98")`. Amounts of money become
ledger units where they are paid, not here.

Source of prices, proportion and buffer: github.com/derivexyz/v2-core at commit 7736900 (January 2026),
`src/liquidation/DutchAuction.sol`. The order of tests at an auction's end was read in another revision of that file.
"""

from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

import msgspec

from holdfast.domain.errors import InputError, invariant

ZERO, ONE = Fraction(0), Fraction(1)
Exact: TypeAlias = int | Fraction | Decimal
"""What a caller may give where a number has to be exact."""


def _require_exact(field: str, value: Exact, lowest: Fraction | None, highest: Fraction | None) -> Fraction:
    """`value` as a fraction; only whole numbers, decimals and fractions between the bounds (None: no bound)."""
    is_exact = isinstance(value, int | Fraction | Decimal) and not isinstance(value, bool)
    if not is_exact or (isinstance(value, Decimal) and not value.is_finite()):
        raise InputError("not-exact", field, value, "give an int, a Fraction or a Decimal", "is not an exact number")
    exact = Fraction(value)
    if (lowest is not None and exact < lowest) or (highest is not None and exact > highest):
        bounds = f"at least {lowest}" if highest is None else f"between {lowest} and {highest}"
        raise InputError("out-of-range", field, value, f"give a number that is {bounds}")
    return exact


class AuctionParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The curves and the target of auctions. Numbers are exact: `Fraction`, `int` or `Decimal`, kept as fractions.

    Attributes:
        starting_fraction: Fraction of the value asked at the start, 0 to 1.
        cutoff_fraction: Fraction asked where the fast phase ends and the slow one begins, 0 to `starting_fraction`.
        fast_length_seconds: Length of the fast phase, ≥ 0.
        slow_length_seconds: Length of the slow phase, ≥ 0; at its end the price is 0.
        insolvent_length_seconds: Time in which the payment of an insolvent auction reaches its largest, ≥ 0.
        buffer_fraction: What sales restore beyond maintenance margin, as a fraction of it, ≥ 0.
        whole_sale_below: Value in the numeraire, ≥ 0, below which the whole portfolio may be sold at once.

    Raises:
        InputError: A number is not exact or is out of its range.
    """

    starting_fraction: Fraction
    cutoff_fraction: Fraction
    fast_length_seconds: Fraction
    slow_length_seconds: Fraction
    insolvent_length_seconds: Fraction
    buffer_fraction: Fraction
    whole_sale_below: Fraction = ZERO

    def __post_init__(self) -> None:
        bounds = {
            "starting_fraction": (ZERO, ONE),
            "cutoff_fraction": (ZERO, ONE),
            "fast_length_seconds": (ZERO, None),
            "slow_length_seconds": (ZERO, None),
            "insolvent_length_seconds": (ZERO, None),
            "buffer_fraction": (ZERO, None),
            "whole_sale_below": (ZERO, None),
        }
        for field, (lowest, highest) in bounds.items():
            msgspec.structs.force_setattr(self, field, _require_exact(field, getattr(self, field), lowest, highest))
        if self.cutoff_fraction > self.starting_fraction:
            raise InputError(
                "out-of-range",
                "cutoff_fraction",
                self.cutoff_fraction,
                f"give at most the starting fraction, {self.starting_fraction}",
            )


class Auctioned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The figures of a portfolio under auction, in the numeraire, exact.

    Attributes:
        mark_to_market: Value of everything in the account, cash included, signed.
        maintenance_surplus: Value less maintenance margin, signed: below 0 the margin is not met. Derive calls it
            maintenance margin.
        reserved_cash: Cash that earlier bidders of this auction paid, ≥ 0; part of both figures above.

    Raises:
        InputError: A number is not exact, or the reserved cash is negative.
    """

    mark_to_market: Fraction
    maintenance_surplus: Fraction
    reserved_cash: Fraction = ZERO

    def __post_init__(self) -> None:
        for field, lowest in (("mark_to_market", None), ("maintenance_surplus", None), ("reserved_cash", ZERO)):
            msgspec.structs.force_setattr(self, field, _require_exact(field, getattr(self, field), lowest, None))

    def buffer_surplus(self, parameters: AuctionParameters) -> Fraction:
        """Value less (1 + buffer) × maintenance margin, signed (AUC-1): what sales bring back to 0."""
        requirement = self.mark_to_market - self.maintenance_surplus
        return self.maintenance_surplus - requirement * parameters.buffer_fraction

    def after_sale(self, proportion: Fraction, cash: Fraction) -> "Auctioned":
        """The figures when a proportion of all but the reserved cash is gone and `cash` has come in (AUC-6).

        Value and margin of a portfolio are proportional to its size, and cash adds to both what it is. This holds for
        Derive's margins; a margin with terms that grow faster than size leaves more than this says.
        """
        kept = 1 - proportion
        reserved = self.reserved_cash
        return Auctioned(
            (self.mark_to_market - reserved) * kept + reserved + cash,
            (self.maintenance_surplus - reserved) * kept + reserved + cash,
            reserved + cash,
        )


class SolventSale(msgspec.Struct, frozen=True):
    """A bid on a solvent auction, carried out.

    Attributes:
        proportion: Part of the current portfolio that was sold: at most what was asked and what may be sold.
        cash_from_bidder: What the bidder pays to the account, in the numeraire.
        bidder_cash_required: What the bidder must hold, in nothing but cash: the payment and the margin it takes over.
        ends_auction: Whether all that may be sold was.
        portfolio: The figures of what is left.
    """

    proportion: Fraction
    cash_from_bidder: Fraction
    bidder_cash_required: Fraction
    ends_auction: bool
    portfolio: Auctioned


class InsolventSale(msgspec.Struct, frozen=True):
    """A bid on an insolvent auction, carried out.

    Attributes:
        proportion: Part of the current portfolio that was taken over.
        cash_to_bidder: What the bidder is paid, in the numeraire: the sum of the next two.
        cash_from_security_module: Paid by the security module.
        cash_socialised: The rest, created and made good by a haircut on withdrawals of cash.
        bidder_cash_required: What the bidder must hold, in nothing but cash.
        ends_auction: Whether the whole portfolio is gone.
        portfolio: The figures of what is left.
    """

    proportion: Fraction
    cash_to_bidder: Fraction
    cash_from_security_module: Fraction
    cash_socialised: Fraction
    bidder_cash_required: Fraction
    ends_auction: bool
    portfolio: Auctioned


def discount(parameters: AuctionParameters, elapsed_seconds: Exact) -> Fraction:
    """The fraction of its value at which a portfolio is offered (AUC-2).

    Two straight lines: from the starting fraction to the cutoff over the fast phase, from there to 0 over the slow one.

    Args:
        parameters: The curve.
        elapsed_seconds: Time since the start, ≥ 0, exact.

    Returns:
        A fraction from the starting fraction down to 0, never rising with time.

    Raises:
        InputError: The time is negative or not exact.
    """
    elapsed = _require_exact("elapsed_seconds", elapsed_seconds, ZERO, None)
    start, cutoff = parameters.starting_fraction, parameters.cutoff_fraction
    fast, slow = parameters.fast_length_seconds, parameters.slow_length_seconds
    if elapsed < fast:
        return start - (start - cutoff) * elapsed / fast
    if elapsed >= fast + slow:
        return ZERO
    return cutoff - cutoff * (elapsed - fast) / slow


def solvent_bid_price(portfolio: Auctioned, parameters: AuctionParameters, elapsed_seconds: Exact) -> Fraction:
    """The price of the whole portfolio without its reserved cash (AUC-3): (value − reserved) · discount.

    Args:
        portfolio: Its figures now.
        parameters: The curve.
        elapsed_seconds: Time since the start, ≥ 0, exact.

    Returns:
        Price in the numeraire, ≥ 0; 0 once the slow phase is over, whatever the portfolio is worth.

    Raises:
        InputError: The time is negative or not exact, or the portfolio without its reserved cash is worth less than
            nothing: then the solvent auction is over.
    """
    fraction = discount(parameters, elapsed_seconds)
    if fraction == 0:
        return ZERO
    if portfolio.mark_to_market < portfolio.reserved_cash:
        raise InputError(
            "not-solvent",
            "mark_to_market",
            portfolio.mark_to_market,
            "end this auction, and begin an insolvent one if the value is below 0",
            f"is below the reserved cash of {portfolio.reserved_cash}",
        )
    return (portfolio.mark_to_market - portfolio.reserved_cash) * fraction


def maximum_proportion(portfolio: Auctioned, parameters: AuctionParameters, elapsed_seconds: Exact) -> Fraction:
    """How much of the current portfolio may be sold (AUC-4): what restores the buffer margin, and no more.

    Selling a part f leaves the buffer surplus B at (B − R)(1 − f) + R + f·(V − R)·d, with value V, reserved cash R and
    discount d. It is 0 at

        f = B / (B − V·d − R·(1 − d)).

    With B < 0 and V, R ≥ 0 the divisor is below 0 and no nearer to 0 than B, so f lies between 0 and 1. Where V ≥ R it
    grows as the price falls: a cheaper sale must be a larger one.

    Args:
        portfolio: Its figures now.
        parameters: The curve, the buffer, and the value below which everything may be sold.
        elapsed_seconds: Time since the start, ≥ 0, exact.

    Returns:
        A fraction of the current portfolio, 0 to 1; 1 if the value is below `whole_sale_below`, else 0 if the buffer
        margin is met.

    Raises:
        InputError: The time is negative or not exact.
    """
    fraction = discount(parameters, elapsed_seconds)
    if portfolio.mark_to_market < parameters.whole_sale_below:
        return ONE
    surplus = min(portfolio.buffer_surplus(parameters), ZERO)
    if surplus == 0:
        return ZERO
    divisor = surplus - portfolio.mark_to_market * fraction - portfolio.reserved_cash * (1 - fraction)
    proportion = surplus / divisor
    invariant(0 <= proportion <= 1, f"a maximum proportion of {proportion}")
    return proportion


def sell_solvent(
    portfolio: Auctioned,
    parameters: AuctionParameters,
    elapsed_seconds: Exact,
    proportion: Exact,
) -> SolventSale:
    """Carry out a bid on a solvent auction (AUC-5, AUC-6).

    Args:
        portfolio: Its figures now.
        parameters: The curve and the buffer.
        elapsed_seconds: Time since the start, ≥ 0, exact.
        proportion: Part of the current portfolio that the bidder asks for, above 0 to 1, exact.

    Returns:
        The sale.

    Raises:
        InputError: A number is not exact or out of its range, or the auction is over: its price is 0.
    """
    asked = _proportion(proportion)
    price = solvent_bid_price(portfolio, parameters, elapsed_seconds)
    if price == 0:
        raise InputError("auction-over", "price", price, "end this auction", "leaves nothing to bid for")
    available = maximum_proportion(portfolio, parameters, elapsed_seconds)
    sold = min(asked, available)
    cash = price * sold
    margin = abs(portfolio.buffer_surplus(parameters) - portfolio.reserved_cash) * sold
    return SolventSale(sold, cash, cash + margin, asked >= available, portfolio.after_sale(sold, cash))


def insolvent_bid_price(portfolio: Auctioned, parameters: AuctionParameters, elapsed_seconds: Exact) -> Fraction:
    """The price of a portfolio that nobody would pay for (AUC-7): minus what is paid to whoever takes it.

    A straight line from min(value, 0) to the maintenance surplus, at which the taker is given the whole margin.

    Args:
        portfolio: Its figures now.
        parameters: The length of the line.
        elapsed_seconds: Time since this auction started, ≥ 0, exact.

    Returns:
        Price in the numeraire, ≤ 0; 0 if the maintenance margin is met.

    Raises:
        InputError: The time is negative or not exact.
    """
    elapsed = _require_exact("elapsed_seconds", elapsed_seconds, ZERO, None)
    end, length = portfolio.maintenance_surplus, parameters.insolvent_length_seconds
    if end >= 0:
        return ZERO
    if elapsed >= length:
        return end
    start = min(portfolio.mark_to_market, ZERO)
    return start + (end - start) * elapsed / length


def sell_insolvent(
    portfolio: Auctioned,
    parameters: AuctionParameters,
    elapsed_seconds: Exact,
    proportion: Exact,
    security_module_cash: Exact,
) -> InsolventSale:
    """Carry out a bid on an insolvent auction (AUC-8).

    Args:
        portfolio: Its figures now.
        parameters: The length of the line.
        elapsed_seconds: Time since this auction started, ≥ 0, exact.
        proportion: Part of the current portfolio that the bidder takes, above 0 to 1, exact. There is no maximum.
        security_module_cash: What the security module can pay, in the numeraire, ≥ 0, exact.

    Returns:
        The sale. The account receives nothing.

    Raises:
        InputError: A number is not exact or out of its range, or the maintenance margin is met.
    """
    taken = _proportion(proportion)
    funds = _require_exact("security_module_cash", security_module_cash, ZERO, None)
    if portfolio.maintenance_surplus >= 0:
        raise InputError(
            "auction-over",
            "maintenance_surplus",
            portfolio.maintenance_surplus,
            "end this auction",
            "meets the maintenance margin",
        )
    paid = -insolvent_bid_price(portfolio, parameters, elapsed_seconds) * taken
    from_module = min(paid, funds)
    return InsolventSale(
        taken,
        paid,
        from_module,
        paid - from_module,
        max(-portfolio.maintenance_surplus * taken - paid, ZERO),
        taken == 1,
        portfolio.after_sale(taken, ZERO),
    )


def may_end(portfolio: Auctioned, parameters: AuctionParameters, elapsed_seconds: Exact, *, is_insolvent: bool) -> bool:
    """Whether anybody may end an auction (AUC-9).

    Args:
        portfolio: Its figures now.
        parameters: The lengths and the buffer.
        elapsed_seconds: Time since the start, ≥ 0, exact.
        is_insolvent: Whether it is an insolvent auction.

    Returns:
        For an insolvent auction, and for a solvent one past its length: whether the maintenance margin is met. For a
        solvent one that runs: whether the buffer margin is met, or nothing is left to sell (the value is below 0 or no
        more than the reserved cash; it is then begun anew as what it has become).

    Raises:
        InputError: The time is negative or not exact.
    """
    elapsed = _require_exact("elapsed_seconds", elapsed_seconds, ZERO, None)
    if is_insolvent or elapsed >= parameters.fast_length_seconds + parameters.slow_length_seconds:
        return portfolio.maintenance_surplus >= 0
    if portfolio.mark_to_market < 0 or portfolio.mark_to_market <= portfolio.reserved_cash:
        return True
    return portfolio.buffer_surplus(parameters) >= 0


def withdrawals_are_blocked(insolvent_shortfall: Exact, security_module_cash: Exact) -> bool:
    """Whether cash may not be withdrawn by anybody (AUC-10): insolvent auctions may cost more than there is.

    Args:
        insolvent_shortfall: Sum over running insolvent auctions of minus the maintenance surplus, ≥ 0, exact.
        security_module_cash: What the security module can pay, in the numeraire, exact.

    Returns:
        True while the shortfall is above the cash.

    Raises:
        InputError: A number is not exact, or the shortfall is negative.
    """
    shortfall = _require_exact("insolvent_shortfall", insolvent_shortfall, ZERO, None)
    return shortfall > max(_require_exact("security_module_cash", security_module_cash, None, None), ZERO)


def _proportion(value: Exact) -> Fraction:
    proportion = _require_exact("proportion", value, ZERO, ONE)
    if proportion == 0:
        raise InputError("out-of-range", "proportion", value, "ask for more than 0 of the portfolio")
    return proportion
