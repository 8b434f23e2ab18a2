"""A second margin engine, written from specs/ alone: slow, plain, with SciPy's normal distribution.

It shares with the package only the values of the domain (instruments, markets, portfolios, parameters). Tests compare
the two on random portfolios; where they differ, one of them or the page is wrong.
"""

import math
from collections import defaultdict

import numpy as np
from scipy.special import ndtr

from holdfast.domain.instruments import Kind
from holdfast.domain.parameters import Measure, PortfolioParameters, StandardParameters, TailParameters

NAMES = ("scan", "options", "charges", "netted", "offset", "confidence", "depeg", "collateral")


def black(forward, strike, years, volatility, discount, is_call):
    """Black-76, textbook form; intrinsic value where nothing is left of time or volatility."""
    forward, volatility = np.broadcast_arrays(np.asarray(forward, float), np.asarray(volatility, float))
    sign = 1.0 if is_call else -1.0
    deviation = volatility * math.sqrt(max(years, 0.0))
    result = np.array(np.maximum(sign * (forward - strike), 0.0))
    alive = (deviation > 0.0) & (forward > 0.0)
    f, s = forward[alive], deviation[alive]
    d1 = np.log(f / strike) / s + 0.5 * s
    result[alive] = sign * (f * ndtr(sign * d1) - strike * ndtr(sign * (d1 - s)))
    return discount * result


def smile(svi, strike, forward):
    bound = 4.0 * math.sqrt(max(svi.a + svi.b * svi.sigma, 0.0))
    k = min(max(math.log(strike / forward), -bound), bound) - svi.m
    w = svi.a + svi.b * (svi.rho * k + math.sqrt(k * k + svi.sigma**2))
    return math.sqrt(min(max(w, 0.0), 144.0) / svi.tau)


class Reference:
    """Values, scenarios and charges of one model at one market."""

    def __init__(self, parameters, market):
        self.parameters, self.market = parameters, market
        self.scan = parameters.scenarios if isinstance(parameters, PortfolioParameters) else ()

    # Values of one unit.

    def v(self, asset):
        return self.market.asset_price(asset).price / self.market.asset_price(self.market.numeraire).price

    def index(self, underlying):
        return self.market.underlying(underlying).index.price

    def years(self, of):
        return max(0, of.expiry - self.market.time) / (365 * 86_400 * 10**9)

    def discount(self, of):
        on = isinstance(self.parameters, PortfolioParameters) and self.parameters.discounting
        return math.exp(-max(self.market.expiry_of(of).rate, 0.0) * self.years(of)) if on else 1.0

    def volatility(self, of):
        quoted = self.market.underlying(of.underlying).volatilities.get(of.name)
        expiry = self.market.expiry_of(of)
        return quoted if quoted is not None else smile(expiry.svi, of.strike, expiry.forward)

    def in_asset(self, of):
        """Value of one unit today in its settlement asset."""
        if of.kind is Kind.OPTION:
            forward = self.market.expiry_of(of).forward
            value = float(black(forward, of.strike, self.years(of), self.volatility(of), self.discount(of), of.is_call))
            return value / forward if of.inverse else value
        price = self.market.mark(of).price
        return -1.0 / price if of.inverse else price

    def today(self, of):
        return self.in_asset(of) * self.v(of.settlement)

    def coins(self, of):
        return 1.0 / self.index(of.underlying) if of.inverse and of.kind is not Kind.OPTION else 1.0

    def settled(self, of):
        fraction = self.market.expiry_of(of).settled_fraction
        window = getattr(self.parameters, "settlement_window_seconds", 0.0)
        if window > 0.0:
            seconds = max(0, of.expiry - self.market.time) / 1e9
            fraction = max(fraction, 0.0, 1.0 - seconds / window)
        return fraction

    def shocked(self, of, scenarios, moves):
        """Values of one unit per scenario; `scenarios` None where only the price moves (tail)."""
        x = np.asarray(moves)
        if of.kind is not Kind.OPTION:
            return np.full(len(x), self.today(of)) if of.inverse else self.today(of) * x
        skews = np.array([s is not None and s.volatility.is_skew for s in scenarios])
        moved = np.where(skews, 1.0, x)
        forward, settled = self.market.expiry_of(of).forward, self.settled(of)
        forwards = forward * (settled + (1.0 - settled) * moved)
        volatility = np.array([self.shocked_volatility(of, s, m) for s, m in zip(scenarios, x, strict=True)])
        value = black(forwards, of.strike, self.years(of), volatility, self.discount(of), of.is_call)
        return (value / forwards * moved if of.inverse else value) * self.v(of.settlement)

    def shocked_volatility(self, of, scenario, move):
        sigma = self.volatility(of)
        if scenario is None:
            return sigma * (1.0 + self.parameters.volatility_response * abs(move - 1.0))
        kind, r = str(scenario.volatility), self.parameters.volatility
        if kind in ("up", "down"):
            days = self.years(of) * 365.0
            floored = max(days, r.days_floor)
            m = (30.0 / floored) ** (r.short_power if days <= 30.0 else r.long_power) if floored > 0.0 else 0.0
            return max(r.minimum_up, sigma * (1 + r.up * m)) if kind == "up" else sigma * max(0.0, 1 - r.down * m)
        if kind.startswith("skew"):
            return sigma * max(0.0, self.twist(of, linear=kind == "skew-linear"))
        return sigma

    def twist(self, of, *, linear):
        k = math.log(of.strike / self.market.expiry_of(of).forward)
        k = k if linear else abs(k)
        return twist(self.parameters.skew, self.years(of), k, linear=linear)

    # The account.

    def account(self, portfolio):
        """Quantities of contracts, and cash − cost of assets."""
        held = {p.instrument: p.quantity for p in portfolio.positions if p.quantity or p.cost}
        assets = defaultdict(float, portfolio.balances)
        for p in portfolio.positions:
            assets[p.instrument.settlement] -= p.cost
        return held, dict(assets)

    def requirement(self, portfolio):
        """(equity, initial by component, maintenance by component) without orders."""
        held, assets = self.account(portfolio)
        equity = sum(q * self.today(i) for i, q in held.items()) + sum(q * self.v(a) for a, q in assets.items())
        initial, maintenance = dict.fromkeys(NAMES, 0.0), dict.fromkeys(NAMES, 0.0)
        if not isinstance(self.parameters, StandardParameters):
            scan = self.scan_requirement(held, assets)
            initial["scan"] = scan * (self.parameters.initial_factor + self.peg_shortfall(PortfolioParameters))
            maintenance["scan"] = scan * self.parameters.maintenance_factor
        for n, out in enumerate((initial, maintenance)):
            self.per_position(held, n, out)
            self.per_expiry(held, n, out)
            self.offsets(held, n, out)
            self.collateral(held, assets, n, out)
        self.confidence(held, initial)
        self.collateral_confidence(held, assets, initial)
        for i, q in held.items():
            if not (i.kind is Kind.OPTION and q > 0.0):
                notional = abs(q) * self.coins(i) * self.index(i.underlying)
                initial["depeg"] += notional * self.peg_shortfall(StandardParameters)
        return equity, initial, maintenance

    def peg_shortfall(self, model):
        rule = self.parameters.depeg
        if rule is None or not isinstance(self.parameters, model):
            return 0.0
        return max(0.0, rule.threshold - self.market.asset_price(rule.asset).price) * rule.factor

    # The scan.

    def groups(self, held, assets):
        """By underlying, by group: (values today, values by scenario) per unit and quantity."""
        result = defaultdict(lambda: defaultdict(list))
        for i, q in held.items():
            result[i.underlying][(i.expiry, i.kind is Kind.OPTION) if i.expiry else None].append((i, q))
        for a, q in assets.items():
            rule = self.parameters.collateral_of(a)
            if rule.scanned:
                result[rule.underlying][None].append((a, q))
        return result

    def line(self, of, scenarios, moves):
        if isinstance(of, str):
            return self.v(of), self.v(of) * np.asarray(moves)
        return self.today(of), self.shocked(of, scenarios, moves)

    def multipliers(self, key, example, scenarios):
        ones = np.ones(len(scenarios))
        if not isinstance(self.parameters, PortfolioParameters):
            return 1.0, 1.0, ones, ones
        w = np.array([s.weight for s in scenarios])
        if key is None or not key[1]:
            return 1.0, 1.0, w, w
        gains = np.where([s.volatility.is_skew for s in scenarios], -w, w)
        d = self.parameters.discounts
        if d is None:
            return 1.0, 1.0, gains, w
        t, rate = self.years(example), self.market.expiry_of(example).rate
        long = d.long * math.exp(-t * (max(rate, 0.0) * d.long_rate_factor + d.long_rate_add))
        short = d.short / math.exp(-t * (max(rate, 0.0) * d.short_rate_factor + d.short_rate_add))
        return long, min(1.0 / self.discount(example), short), gains, w

    def results(self, held, assets):
        """By underlying (R[s], B)."""
        found = {}
        for u, groups in self.groups(held, assets).items():
            if isinstance(self.parameters, TailParameters):
                moves = 1.0 + np.array(self.parameters.moves[u])
                scenarios = [None] * len(moves)
            else:
                moves, scenarios = np.array([s.price for s in self.scan]), list(self.scan)
            total, basis = np.zeros(len(moves)), 0.0
            for key, members in groups.items():
                example = members[0][0]
                v, v0 = np.zeros(len(moves)), 0.0
                for of, q in members:
                    unit0, unit = self.line(of, scenarios, moves)
                    v, v0 = v + q * unit, v0 + q * unit0
                m_plus, m_minus, p_plus, p_minus = self.multipliers(key, example, scenarios)
                g = np.where(v > 0.0, m_plus, m_minus) * v - v0
                total += np.where(g > 0.0, p_plus, p_minus) * g
                basis += self.basis(key, members)
            found[u] = total, basis
        return found

    def basis(self, key, members):
        b = getattr(self.parameters, "basis", None)
        if b is None or key is None or not (key[1] or b.futures):
            return 0.0
        factor = b.add + b.per_year * self.years(members[0][0])
        plain = type("Plain", (), {"volatility": type("None_", (str,), {"is_skew": False})("none")})
        results = np.zeros(2)
        for of, q in members:
            unit0, unit = self.line(of, [plain, plain], [b.price_up, b.price_down])
            results = results + q * (unit - unit0)
        return factor * min(0.0, results.min())

    def scan_requirement(self, held, assets):
        results = self.results(held, assets)
        if not results:
            return 0.0
        if isinstance(self.parameters, TailParameters):
            mass = (1.0 - self.parameters.confidence_level) * self.parameters.scenario_count
            alone = sum(shortfall(r, mass) for r, _ in results.values())
            joint = shortfall(sum(r for r, _ in results.values()), mass)
            return max(joint, alone - self.parameters.offset_cap * max(0.0, alone - joint))
        return sum(-min(0.0, float(r.min()), basis) for r, basis in results.values())

    # Charges.

    def rates_of(self, of, n):
        found = self.parameters.futures
        return found.get(of.underlying) or found["*"]

    def per_position(self, held, n, out):
        pick = ("initial", "maintenance")[n]
        for i, q in held.items():
            size, notional = abs(q), self.coins(i) * self.index(i.underlying)
            for c in self.parameters.charges:
                counts = c.measure is Measure.GROSS or (c.measure is Measure.SHORT and q < 0.0)
                if c.applies_to == str(i.kind) and counts:
                    rate = getattr(c, pick) + getattr(c, f"{pick}_slope") * size * self.coins(i)
                    out["charges"] += size * notional * rate
            if isinstance(self.parameters, StandardParameters) and i.kind is not Kind.OPTION:
                out["charges"] += self.future_requirement(i, size, n)

    def future_requirement(self, i, size, n):
        r = self.rates_of(i, n)
        at_mark = abs(self.today(i))
        at_index = 1.0 if i.inverse else self.index(i.underlying) * self.v(i.settlement)
        rate, slope = (r.initial, r.initial_slope) if n == 0 else (r.maintenance, r.maintenance_slope)
        if n == 0 and r.open_interest is not None:
            interest = self.market.underlying(i.underlying).open_interest.get(i.name, 0.0) * at_mark
            lower, upper = r.open_interest.lower, r.open_interest.upper
            rate = min(1.0, rate + max(0.0, (interest - lower) / (upper - lower)) * (1.0 - rate))
        return size * (at_mark if r.notional == "mark" else at_index) * (rate + slope * size * self.coins(i))

    def isolated_option(self, i, q, n):
        r = self.parameters.options.get(i.underlying) or self.parameters.options["*"]
        s, m = self.index(i.underlying), self.today(i)
        if q > 0.0:
            return q * m
        otm = max(0.0, i.strike - s if i.is_call else s - i.strike) / s
        initial = max(r.initial_maximum - otm, r.initial_minimum) * s + m
        if i.is_call:
            maintenance = r.call_maintenance * s + m
        else:
            maintenance = max(r.put_maintenance * s, r.put_maintenance_of_mark * m) + m
            initial = max(initial, maintenance * r.put_initial_over_maintenance)
        return -q * ((initial, maintenance)[n] - m)

    def per_expiry(self, held, n, out):
        pick = ("initial", "maintenance")[n]
        expiries = defaultdict(list)
        for i, q in held.items():
            if i.kind is Kind.OPTION:
                expiries[(i.underlying, i.expiry)].append((i, q))
        for (u, _), members in expiries.items():
            s = self.index(u)
            strikes = defaultdict(float)
            for i, q in members:
                strikes[i.strike] += q
            for c in self.parameters.charges:
                if c.measure is Measure.NET_SHORT_PER_STRIKE:
                    out["netted"] += sum(max(0.0, -q) for q in strikes.values()) * s * getattr(c, pick)
                if c.measure is Measure.NET_SHORT_PER_EXPIRY:
                    out["netted"] += max(0.0, -sum(q for _, q in members)) * s * getattr(c, pick)
            if isinstance(self.parameters, StandardParameters):
                out["options"] += self.option_requirement(u, members, n)

    def option_requirement(self, u, members, n):
        r = self.parameters.options.get(u) or self.parameters.options["*"]
        isolated = sum(self.isolated_option(i, q, n) for i, q in members)
        if not r.maximum_loss:
            return isolated
        pars = {i: 1.0 / self.market.numeraire_price() if i.inverse else self.v(i.settlement) for i, _ in members}

        def payoff(price):
            return sum(q * pars[i] * max(0.0, price - i.strike if i.is_call else i.strike - price) for i, q in members)

        floor = min(0.0, payoff(0.0), *(payoff(i.strike) for i, _ in members))
        calls = sum(q for i, q in members if i.is_call)
        forward = self.market.expiry_of(members[0][0]).forward
        par = max((pars[i] for i, q in members if i.is_call and q), default=0.0)
        unpaired = (r.unpaired_initial, r.unpaired_maintenance)[n] * forward * par * max(0.0, -calls)
        return min(isolated, sum(q * self.today(i) for i, q in members) - floor + unpaired)

    def offsets(self, held, n, out):
        pick = ("initial", "maintenance")[n]
        charges = [c for c in self.parameters.charges if c.measure is Measure.OFFSET]
        kinds = {c.applies_to for c in charges}
        rate = max((sum(getattr(c, pick) for c in charges if c.applies_to == k) for k in kinds), default=0.0)
        sides = defaultdict(lambda: [0.0, 0.0])
        for i, q in held.items():
            if str(i.kind) in kinds:
                sides[i.underlying][q < 0.0] += abs(q) * self.coins(i) * self.index(i.underlying)
        out["offset"] += sum(rate * min(s) for s in sides.values())

    # Collateral and confidence.

    def worth(self, held, assets):
        worth = {a: q * self.v(a) for a, q in assets.items()}
        for i, q in held.items():
            worth[i.settlement] += q * self.today(i)
        return worth

    def dollars(self, asset):
        return self.market.numeraire_price() if self.parameters.collateral_of(asset).credit_in_dollars else 1.0

    def collateral(self, held, assets, n, out):
        for a, w in self.worth(held, assets).items():
            rule = self.parameters.collateral_of(a)
            if w < 0.0:
                out["collateral"] += rule.liability * -w
                continue
            for k, tier in enumerate(rule.tiers):
                end = rule.tiers[k + 1].above if k + 1 < len(rule.tiers) else math.inf
                part = max(0.0, min(w, end) - tier.above)
                loss = (tier.initial, tier.maintenance)[n]
                out["collateral"] += part * max(0.0, 1.0 - (1.0 - loss) * self.dollars(a))

    def missing(self, confidence, threshold):
        return (1.0 - confidence) * self.parameters.confidence.factor if confidence < threshold else 0.0

    def confidence(self, held, out):
        rule = self.parameters.confidence
        if rule is None:
            return
        for i, q in held.items():
            index = self.market.underlying(i.underlying).index.confidence
            notional = abs(q) * self.coins(i) * self.index(i.underlying)
            if i.kind is not Kind.OPTION:
                out["confidence"] += notional * self.missing(
                    min(index, self.market.mark(i).confidence), rule.perpetual_threshold
                )
                continue
            e = self.market.expiry_of(i)
            sure = [index, e.forward_confidence, e.volatility_confidence]
            sure += [e.rate_confidence] if rule.options_with_rate else []
            if rule.options_with_perpetual:
                perpetuals = [
                    p for p, n in held.items() if p.kind is Kind.PERPETUAL and p.underlying == i.underlying and n
                ]
                sure += [self.market.mark(p).confidence for p in perpetuals]
            if q < 0.0 or not rule.options_short_only:
                out["confidence"] += notional * self.missing(min(sure), rule.option_threshold)

    def collateral_confidence(self, held, assets, out):
        rule = self.parameters.confidence
        for a, w in self.worth(held, assets).items() if rule is not None else ():
            of = self.parameters.collateral_of(a).underlying
            sure = [self.market.underlying(of).index.confidence] if of else [1.0]
            sure += [self.market.asset_price(a).confidence] if rule.collateral_own else []
            out["confidence"] += max(0.0, w) * self.missing(min(sure), rule.collateral_threshold) * self.dollars(a)


def twist(skew, years, k, *, linear):
    """PM-4: the multiplier of volatility, before it is floored at 0."""
    root = math.sqrt(years)
    base, slope = (
        (skew.linear_cap, skew.linear_cap_per_root_year)
        if linear
        else (skew.absolute_cap, skew.absolute_cap_per_root_year)
    )
    cap = base + slope * root
    width = max(skew.minimum_width, root * skew.width_scale * (skew.width_static + skew.width_per_root_year * root))
    product = k * cap
    r = product / width if width > 0.0 else math.copysign(math.inf, product) if product else 0.0
    return 1.0 + (min(r, cap) if k >= 0.0 else max(r, -cap))


def shortfall(results, mass):
    """TAIL-2."""
    ordered = sorted(results)
    whole = int(mass)
    total = sum(ordered[:whole]) + ((mass - whole) * ordered[whole] if whole < len(ordered) else 0.0)
    return max(0.0, -total / mass)
