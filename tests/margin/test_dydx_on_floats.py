"""The preset `dydx` of the float kernel against the venue's own integers."""

from fractions import Fraction

import worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.market import Market, Price, Underlying
from holdfast.domain.portfolio import Portfolio, Position
from holdfast.margin import presets
from holdfast.margin.calculation import calculate
from holdfast.margin.dydx import LiquidityTier, Perpetual, account_risk

LARGE = LiquidityTier(20_000, 600_000)
SMALL = LiquidityTier(100_000, 500_000, 20 * 10**12, 50 * 10**12)
MARKETS = {"BTC": (-10, LARGE), "ETH": (-9, LARGE), "SOL": (-7, SMALL), "HYPE": (-6, SMALL)}
"""Atomic resolution and tier; prices have the exponent −5."""
QUANTUM = 1e-6


@st.composite
def accounts(draw):
    """Positions in base quantums, prices and open interest of the four markets, and a balance in quote quantums."""
    positions, perpetuals = {}, {}
    for coin, (resolution, tier) in MARKETS.items():
        price = draw(st.integers(10**3, 10**11))
        largest = 10**13 // max(1, price // 10**5) + 1  # ten million dollars of notional or so
        quantums = draw(st.integers(-largest, largest)) * 10 ** max(0, -resolution - 6)
        interest = draw(st.integers(0, 8 * 10**7)) * 10 ** (5 - resolution) // price
        perpetuals[coin] = Perpetual(resolution, price, -5, tier, interest)
        if draw(st.booleans()):
            positions[coin] = quantums
    return draw(st.integers(-(10**13), 10**13)), positions, perpetuals


@settings(max_examples=150)
@given(accounts())
def test_the_float_kernel_agrees_within_the_venues_roundings(account):
    """The bound, per position of notional N: the notional is truncated (less than one quantum off); the rate that grows
    with open interest is rounded down to a whole ppm and takes an open interest that is itself truncated (together less
    than 1 + 1/30 ppm of N); each requirement is rounded up once, maintenance twice, by less than a quantum. Floats add
    1e-14 of the gross. So: collateral 1 quantum, initial 2 quantums + 1.1e-6·N, maintenance 3 quantums.
    """
    balance, positions, perpetuals = account
    risk = account_risk(balance, positions, perpetuals)
    underlyings, held, gross, scaled = {}, [], abs(balance) * QUANTUM, 0.0
    for coin, perpetual in perpetuals.items():
        of = worlds.instrument(f"{coin}_USDC-PERPETUAL")
        price = float(Fraction(perpetual.price, 10**5))
        unit = Fraction(10) ** perpetual.atomic_resolution
        interest = float(perpetual.open_interest_quantums * unit)
        underlyings[coin] = Underlying(Price(price), marks={of.name: Price(price)}, open_interest={of.name: interest})
        if coin in positions:
            quantity = float(positions[coin] * unit)
            held.append(Position(of, quantity, 0.0))
            gross += abs(quantity) * price
            scaled += abs(quantity) * price * (perpetual.tier is SMALL)
    market = Market(worlds.NOW, underlyings, {"USDC": Price(1.0)}, "USDC")
    margin = calculate(Portfolio({"USDC": balance * QUANTUM}, tuple(held)), market, presets.dydx())
    count, floats = len(held), 1e-14 * gross
    assert abs(margin.equity - risk.net_collateral * QUANTUM) <= count * QUANTUM + floats
    assert abs(margin.initial_margin - risk.initial * QUANTUM) <= 2 * count * QUANTUM + 1.1e-6 * scaled + floats
    assert abs(margin.maintenance_margin - risk.maintenance * QUANTUM) <= 3 * count * QUANTUM + floats
    clear = abs(margin.equity - margin.maintenance_margin) > 4 * count * QUANTUM + floats
    if clear and risk.maintenance > 0:
        assert margin.is_liquidatable == risk.is_liquidatable
