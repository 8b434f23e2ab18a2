"""How a new cluster's log begins here: definitions, accounts, first prices, money, first positions.

What lives here: the order of these, and that all of them are accepted. What may not: their contents (`people`).
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import numpy as np

from holdfast.chaos.demo import people
from holdfast.chaos.demo.market import ASSETS, FIRST_ITEM, Step
from holdfast.chaos.demo.people import People
from holdfast.chaos.demo.traffic import Account, Source
from holdfast.client.asynchronous import AsyncClient
from holdfast.client.outcome import Receipt
from holdfast.domain.commands import ColdCommand, Mark
from holdfast.domain.errors import invariant
from holdfast.domain.reasons import Reason

ATTEMPTS: Final = 50
"""First quotes and marks wait for the log's first clocks."""
_PAUSE_S: Final = 0.1


async def begin(operator: AsyncClient, sources: Sequence[Source], trader: Account, crowd: People, step: Step) -> None:
    """Bring everything to the log.

    Args:
        operator: Defines and deposits.
        sources: Quote the first step.
        trader: Makes the first trades.
        crowd: Everybody.
        step: The first.
    """
    await _cold(operator, people.definitions())
    await _cold(operator, people.openings(crowd))
    await _priced(operator, sources, step)
    await _cold(operator, people.deposits(crowd))
    receipt = await trader.settle(trader.client.post_records(people.first_trades(crowd, step)), counts=False)
    invariant(receipt is not None, "the first trades were not answered")
    if receipt is not None:
        _check(receipt, "first trades")


async def _cold(operator: AsyncClient, commands: Sequence[ColdCommand]) -> None:
    _check(await operator.submit_cold(commands), type(commands[-1]).__name__)


async def _priced(operator: AsyncClient, sources: Sequence[Source], step: Step) -> None:
    """Quote the first step, and again until there is a mark of everything."""
    marks = [Mark(FIRST_ITEM + n) for n in range(len(ASSETS))]
    for _ in range(ATTEMPTS):
        await asyncio.gather(*(source.quote(step) for source in sources))
        if await operator.submit_cold(marks):
            return
        await asyncio.sleep(_PAUSE_S)
    invariant(condition=False, message="the sources' first quotes made no price")


def _check(receipt: Receipt, what: str) -> None:
    if len(receipt.refused):
        reasons = {Reason(int(n)).name for n in np.unique(receipt.outcomes["reason"][receipt.refused])}
        invariant(
            condition=False, message=f"{what}: {len(receipt.refused)} were refused ({', '.join(sorted(reasons))})"
        )
