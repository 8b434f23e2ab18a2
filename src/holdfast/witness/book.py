"""Open orders: who has which, and in which order a liquidation meets them.

What lives here: orders and their numbers. What may not: margin and rows.
"""

from dataclasses import dataclass


@dataclass
class Order:
    """An open order.

    Attributes:
        account: Whose.
        number: Of the account's orders, from 1.
        item: The contract.
        remaining: Lots left, below 0 to sell.
        price: Its limit, price steps.
        command: Id of the command that placed it.
    """

    account: int
    number: int
    item: int
    remaining: int
    price: int
    command: int


class Book:
    """All open orders."""

    def __init__(self) -> None:
        self.by_account: dict[int, dict[int, Order]] = {}
        self.by_item: dict[int, dict[tuple[int, int], Order]] = {}
        self.last: dict[int, int] = {}

    def place(self, account: int, item: int, lots: int, price: int, command: int) -> None:
        """An order under the account's next number."""
        number = self.last.get(account, 0) + 1
        self.last[account] = number
        self.add(Order(account, number, item, lots, price, command))

    def add(self, order: Order) -> None:
        """An order that has its number."""
        self.by_account.setdefault(order.account, {})[order.number] = order
        self.by_item.setdefault(order.item, {})[order.account, order.number] = order

    def find(self, account: int, number: int) -> Order | None:
        """An open order, none where there is no such."""
        return self.by_account.get(account, {}).get(number)

    def remove(self, order: Order) -> None:
        """Take an order out."""
        own = self.by_account[order.account]
        del own[order.number]
        if not own:
            del self.by_account[order.account]
        del self.by_item[order.item][order.account, order.number]

    def reduce(self, order: Order, lots: int) -> None:
        """Take lots off an order, with its sign; one with none left is gone."""
        order.remaining -= lots
        if order.remaining == 0:
            self.remove(order)

    def of_account(self, account: int) -> list[Order]:
        """An account's open orders."""
        return list(self.by_account.get(account, {}).values())

    def of_item(self, item: int) -> list[Order]:
        """All open orders on an item."""
        return list(self.by_item.get(item, {}).values())

    def meeting(self, account: int, item: int, lots: int) -> list[Order]:
        """Others' orders that a reduction by `lots` meets: best price first, then the older (LIQ-5)."""
        found = [order for order in self.of_item(item) if order.account != account and order.remaining * lots < 0]
        side = 1 if lots > 0 else -1
        return sorted(found, key=lambda order: (side * order.price, order.command))
