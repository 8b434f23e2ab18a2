"""Payments outside: what the holder of the role `payer` has to send, under ids that make a repeat harmless.

The state has every released withdrawal until its payment is confirmed. The holder publishes it, then confirms. If it
dies between the two, the next holder publishes the same again under the same id, which is made of the command that
released it. What may not live here: the broker, and who holds the role.
"""

import json
from typing import NamedTuple

from holdfast.core.fold import Fold
from holdfast.domain.outcomes import place_of
from holdfast.replica.amounts import amount_of, plain
from holdfast.replica.directory import Directory

SUBJECT = "holdfast.effects.payment"


class Effect(NamedTuple):
    """Something to be published outside the log.

    Attributes:
        id: The same whoever publishes it.
        withdrawal: What it pays.
        subject: Where to.
        content: JSON.
    """

    id: str
    withdrawal: int
    subject: str
    content: bytes


def due(fold: Fold, book: Directory) -> list[Effect]:
    """The payments that nobody has confirmed, by number of the withdrawal."""
    out = []
    for number, payment in sorted(fold.machine.registry.payments.items()):
        position, index = place_of(payment.released)
        name = f"payment-{position}-{index}-{number}"
        content = {
            "id": name,
            "withdrawal": number,
            "account": book.account_name(payment.account),
            "asset": book.items[payment.item].name,
            "amount": plain(amount_of(payment.amount, book.step(payment.item))),
            "destination": payment.destination,
            "position": position,
        }
        out.append(Effect(name, number, SUBJECT, json.dumps(content).encode()))
    return out
