"""Random parameters of the three models, every field of the reference used somewhere."""

from holdfast.domain import parameters as p

COINS = ("BTC", "ETH")


def collateral(random, *, scanned):
    """Rules of assets: coins scanned with themselves where the model scans."""

    def tiers(most):
        starts = [0.0, random.choice((10_000.0, 150_000.0))][: random.randint(1, 2)]
        return tuple(
            p.HaircutTier(start, most * (place + 1) / 2, most * (place + 1) / 3) for place, start in enumerate(starts)
        )

    rules = {
        coin: p.Collateral(
            tiers=tiers(random.uniform(0.0, 0.3)),
            liability=random.choice((0.0, 0.05)),
            underlying=coin,
            scanned=scanned,
        )
        for coin in COINS
    }
    rules["USDC"] = p.Collateral(tiers=tiers(0.05), liability=random.choice((0.0, 0.02)), credit_in_dollars=True)
    if random.random() < 0.5:
        rules["USD"] = p.Collateral()
    if random.random() < 0.3:
        rules["*"] = p.Collateral(tiers=(p.HaircutTier(0.0, 0.1, 0.1),), liability=0.1)
    return rules


def charges(random):
    """Contingency charges of every measure."""
    found = []
    for kind in ("perpetual", "future", "option"):
        slopes = (1e-5, 5e-6) if kind != "option" and random.random() < 0.5 else (0.0, 0.0)
        if random.random() < 0.7:
            found.append(p.Charge(kind, p.Measure.GROSS, 0.01, 0.005, *slopes))
        if random.random() < 0.4:
            found.append(p.Charge(kind, p.Measure.SHORT, 0.004, 0.002))
        if kind != "option" and random.random() < 0.5:
            found.append(p.Charge(kind, p.Measure.OFFSET, random.uniform(0.001, 0.02), 0.001))
    for measure in (p.Measure.NET_SHORT_PER_STRIKE, p.Measure.NET_SHORT_PER_EXPIRY):
        if random.random() < 0.6:
            found.append(p.Charge("option", measure, random.uniform(0.001, 0.02), 0.001))
    return tuple(found)


def shared(random, *, scanned):
    """Fields of all three models."""
    depeg = p.DepegRule("USDC", 0.99, 2.0) if random.random() < 0.6 else None
    confidence = p.ConfidenceRule(0.6, 0.6, 0.6, 0.5) if random.random() < 0.5 else None
    return {
        "collateral": collateral(random, scanned=scanned),
        "charges": charges(random),
        "depeg": depeg,
        "confidence": confidence,
    }


def standard(random):
    """The standard model."""
    futures = {
        name: p.FutureRates(
            0.06, 0.03, *random.choice(((0.0, 0.0), (1e-4, 5e-5))), notional=random.choice(("mark", "index"))
        )
        for name in ("BTC", "*")
    }
    options = {
        "*": p.OptionRates(
            0.15, 0.1, 0.075, 0.075, random.choice((0.0, 0.5)), random.choice((1.0, 1.1)),
            maximum_loss=random.random() < 0.7, unpaired_initial=1.2, unpaired_maintenance=1.1,
        )
    }  # fmt: skip
    return p.StandardParameters(name="s", futures=futures, options=options, **shared(random, scanned=False))


def portfolio(random):
    """The portfolio model."""
    shock = p.VolatilityShock
    scenarios = [
        p.Scenario(price, volatility)
        for price in (0.8, 0.9, 1.0, 1.1, 1.2)
        for volatility in (shock.UP, shock.NONE, shock.DOWN)
    ]
    scenarios += [p.Scenario(0.5, shock.UP, 0.35), p.Scenario(2.0, shock.UP, 0.2)]
    skew = None
    if random.random() < 0.7:
        scenarios += [p.Scenario(1.0, shock.SKEW_LINEAR), p.Scenario(1.0, shock.SKEW_ABSOLUTE, 0.8)]
        skew = p.SkewRange(0.15, -0.05, 0.12, -0.04, 0.01, 4.0, 0.6, -0.1)
    discounts = p.StaticDiscounts(0.97, 1.02, 1.0, 0.02, 0.5, 0.02) if random.random() < 0.6 else None
    basis = p.BasisContingency(1.05, 0.95, 0.5, 1.0, futures=random.random() < 0.5) if random.random() < 0.6 else None
    return p.PortfolioParameters(
        name="p", scenarios=tuple(scenarios),
        volatility=p.VolatilityRange(0.5, 0.3, 0.3, 0.13, random.choice((0.0, 1.0)), random.choice((0.0, 0.7))),
        skew=skew, discounts=discounts, basis=basis, initial_factor=random.choice((1.0, 1.25)),
        maintenance_factor=random.choice((0.8, 1.0)), discounting=random.random() < 0.5,
        settlement_window_seconds=random.choice((0.0, 1_800.0)), **shared(random, scanned=True),
    )  # fmt: skip


def tail(random, count=40):
    """The tail model."""
    moves = {coin: tuple(random.gauss(0, 0.06) for _ in range(count)) for coin in COINS}
    if random.random() < 0.5:
        moves["BTC"] = (-1.0, *moves["BTC"][1:])
    return p.TailParameters(
        name="t", moves=moves, confidence_level=random.choice((0.9, 0.975, 0.93)),
        volatility_response=random.choice((0.0, 2.0)), offset_cap=random.choice((0.0, 0.5, 1.0)),
        initial_factor=1.1, maintenance_factor=0.8, **shared(random, scanned=True),
    )  # fmt: skip
