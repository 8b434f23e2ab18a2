"""A venue with two coins, every form of contract and three models, and a random life in it."""

import random

from witness_pair import DAY, HEALTHY, INSURANCE, LIQUIDATING, SECOND, START, Pair, hot

from holdfast.domain import commands as c

EXPIRY = "25SEP20"
SPOT = {"BTC": 10_000.0, "ETH": 400.0}
LOTS = {
    "BTC-PERPETUAL": ("10", 2), "BTC_USDC-PERPETUAL": ("0.001", 2), "BTC-25SEP20": ("10", 2),
    "BTC-25SEP20-10000-C": ("0.1", 4), "BTC-25SEP20-9000-P": ("0.1", 4), "BTC_USDC-25SEP20-10000-C": ("0.1", 2),
    "BTC-9OCT20-11000-C": ("0.1", 4), "BTC-9OCT20-11000-P": ("0.1", 4),
    "ETH-PERPETUAL": ("1", 2), "ETH_USDC-PERPETUAL": ("0.01", 2), "ETH_USDC-9OCT20": ("0.01", 2),
    "ETH_USDC-25SEP20-400-P": ("1", 2), "ETH_USDC-9OCT20-380-C": ("1", 2), "ETH-25SEP20-420-C": ("1", 4),
}  # fmt: skip


class World(Pair):
    """Two engines and a venue; `life` lets random things happen to it."""

    def __init__(
        self,
        models,
        seed=0,
        accounts=8,
        replicas=1,
        sources=1,
        fee_ppm=500,
        liquidation_fee_ppm=2_500,
        scale=3,
        fund=10**12,
    ):
        super().__init__(replicas, sources)
        self.random = random.Random(seed)
        self.spot = dict(SPOT)
        self.scale = scale
        self.ok(c.SetRules(step_maximum=400 * DAY, mark_interval=5 * SECOND, checkpoint_frames=0))
        self.tick(START)
        for name, decimals in {"USD": 6, "USDC": 6, "BTC": 8, "ETH": 9}.items():
            self.asset(name, decimals)
        for number, model in enumerate(models):
            self.ok(c.DefineModel(f"model-{number}", model))
        for name, (lot, decimals) in LOTS.items():
            self.contract(name, lot, decimals, fee_ppm, liquidation_fee_ppm)
        self.clients = []
        self.now = START
        self.prices()
        for number in range(accounts):
            self.clients.append(self.account(number % len(models), **self.deposits()))
        self.ok(c.Deposit(INSURANCE, self.items["USDC"], fund))

    def deposits(self):
        size = self.random.choice((0.2, 1, 2, 5))
        return {
            "USD": int(self.random.choice((0, 5_000)) * size * 10**6),
            "USDC": int(self.random.choice((0, 20_000)) * size * 10**6),
            "BTC": int(self.random.choice((1, 2)) * size * 10**8),
            "ETH": int(self.random.choice((0, 30)) * size * 10**9),
        }

    def price_of(self, name, shift=1.0):
        """A price near the spot in the steps of a trade."""
        coin, decimals = name[:3], LOTS[name][1]
        spot = self.spot[coin]
        parts = name.split("-")
        if len(parts) < 4:
            return max(1, round(spot * shift * 10**decimals))
        strike, sign = float(parts[2]), 1 if parts[3] == "C" else -1
        value = (max(0.0, sign * (spot - strike)) + 0.05 * spot) * shift
        return max(1, round(value / (spot if "_" not in name else 1) * 10**decimals))

    def prices(self, marks=True):
        """Every price anew, and marks."""
        sent = []
        for name, spot in self.spot.items():
            sent.append(self.quoted(name, round(spot * 10**8)))
        sent.append(self.quoted("USDC", round(self.random.choice((1.0, 1.0, 0.97, 1.002)) * 10**8)))
        for name in LOTS:
            if self.random.random() < 0.85:
                option = name[-1] in "CP" and name.count("-") == 3
                price = (
                    round(self.random.uniform(0.4, 1.4) * 10**6)
                    if option
                    else self.price_of(name, self.random.uniform(0.99, 1.01))
                )
                sent.append(self.quoted(name, price))
        self.send(*((self.random.choice(self.sources), quote) for quote in sent))
        for name in ("BTC", "ETH", "USDC") if marks else ():
            self.mark(name)

    def life(self, steps):
        things = (
            (5, self.trades), (3, self.orders), (2, self.fills), (2, self.move), (1, self.money), (1, self.time),
            (1, self.choices), (2, self.votes), (1, self.funding),
        )  # fmt: skip
        weights, calls = zip(*things, strict=True)
        for _ in range(steps):
            self.random.choices(calls, weights)[0]()
        return self

    def lots(self, name):
        size = self.scale * {"10": 300, "0.001": 800, "0.1": 15, "1": 500, "0.01": 900}[LOTS[name][0]]
        if name.endswith(("-C", "-P")):
            size = 20 * self.scale
        return self.random.randint(1, size) * self.random.choice((-1, 1))

    def trades(self):
        def one():
            name = self.random.choice(list(LOTS))
            buyer, seller = self.random.sample(self.clients, 2)
            price = self.price_of(name, self.random.uniform(0.98, 1.02))
            return self.client, hot(c.trade, buyer, seller, self.items[name], self.lots(name), price)

        self.send(*(one() for _ in range(self.random.randint(1, 8))))

    def orders(self):
        def one():
            name = self.random.choice(list(LOTS))
            lots = self.lots(name)
            price = self.price_of(name, self.random.uniform(0.9, 1.1))
            return self.client, hot(c.order, self.random.choice(self.clients), self.items[name], lots, price)

        self.send(*(one() for _ in range(self.random.randint(1, 4))))

    def open_orders(self):
        return [order for own in self.witness._state.book.by_account.values() for order in own.values()]

    def fills(self):
        for order in self.random.sample(self.open_orders(), min(3, len(self.open_orders()))):
            other = self.random.choice([client for client in self.clients if client != order.account])
            lots = self.random.randint(1, abs(order.remaining))
            pair = (order.account, other) if order.remaining > 0 else (other, order.account)
            named = {"buy_order": order.number} if order.remaining > 0 else {"sell_order": order.number}
            self.send((self.client, hot(c.fill, *pair, order.item, lots, order.price, **named)))
            if self.random.random() < 0.2:
                self.send((self.client, hot(c.cancel, order.account, order.number)))

    def move(self):
        factor = self.random.choice((0.75, 0.9, 0.97, 1.0, 1.02, 1.1, 1.3))
        for name in self.spot:
            self.spot[name] *= factor * self.random.uniform(0.97, 1.03)
        self.prices(self.random.random() < 0.7)

    def money(self):
        giver, receiver = self.random.sample(self.clients, 2)
        item, amount = self.random.choice((("USD", 10**9), ("USDC", 10**9), ("BTC", 10**7), ("ETH", 10**9)))
        asset = self.items[item]
        self.send(
            (self.client, hot(c.transfer, giver, receiver, asset, amount)),
            (self.client, c.RequestWithdrawal(receiver, asset, amount // 2)),
            (self.operator, c.Deposit(giver, asset, 3 * amount)),
        )
        if self.random.random() < 0.4:
            self.send((self.client, c.CancelWithdrawal(self.random.randint(1, 6))))

    def time(self):
        self.now += self.random.choice((1, 7, 3_600)) * SECOND
        self.tick(self.now)

    def choices(self):
        model = self.random.randrange(len(self.witness._state.models))
        self.send((self.client, c.ChooseModel(self.random.choice(self.clients), model)))

    def funding(self):
        name = self.random.choice(("BTC-PERPETUAL", "BTC_USDC-PERPETUAL", "ETH_USDC-PERPETUAL"))
        self.send((self.operator, c.Funding(self.items[name], self.random.randint(-(10**6), 10**6))))

    def votes(self):
        self.vote()
        for account in self.clients:
            if self.status(account) == LIQUIDATING:
                assets = {self.items[name] for name in ("USD", "USDC", "BTC", "ETH")}
                held = [(item, -amount) for item, (amount, _) in self.rows(account).items() if item not in assets]
                plan = [(item, lots // 2 or lots) for item, lots in held if self.random.random() < 0.7]
                if self.liquidate(account, *plan)["reason"]:
                    self.liquidate(account)

    def expire(self):
        """Let the first expiry pass and be settled."""
        expiry = 1_601_020_800 * SECOND
        for moment in (expiry - 900 * SECOND, expiry - 300 * SECOND, expiry, expiry + SECOND):
            self.now = max(self.now, moment)
            self.tick(self.now)
            self.prices(marks=False)
            self.mark("BTC")
        for name in LOTS:
            if EXPIRY in name:
                self.send((self.operator, c.Settle(self.items[name])))
        return self


def healthy(world):
    """Accounts that take part."""
    return [account for account in world.clients if world.status(account) == HEALTHY]
