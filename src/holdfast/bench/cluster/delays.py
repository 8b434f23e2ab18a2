"""What distance costs: single orders, one after the other, while relays delay everything between regions.

Each region's server, engine and client are close to each other; what passes between regions takes so long, one way. The
delays are of user-space relays on one machine: what is real is the number of journeys that a commit makes.
"""

import random
import tempfile
import time
from pathlib import Path
from typing import Final

from holdfast.bench.cluster.result import Spread, spread
from holdfast.chaos.relays import Relays
from holdfast.chaos.stage import Stage
from holdfast.client.asynchronous import AsyncClient
from holdfast.domain import commands as c
from holdfast.domain.errors import invariant
from holdfast.log import loops

DELAYS_MS: Final = (0, 10, 40, 80)
"""One way; the journey there and back takes twice that."""
ORDERS: Final = 40
"""For each delay and region."""
SETTLE_S: Final = 3.0
"""After a change of the delay, for what is on its way."""


def order_ms_by_delay() -> dict[str, Spread]:
    """By delay in milliseconds, as text: from sending an order to its acknowledgement, from all three regions."""
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as name, Relays() as relays:
        stage = Stage(Path(name) / "cluster", relays, random.Random(1))  # noqa: S311 (nothing is drawn)
        try:
            stage.up()
            world = stage.fill()
            return {str(delay): spread(_orders(stage, world.accounts, world.contract, delay)) for delay in DELAYS_MS}
        finally:
            relays.heal()
            stage.down()


def _orders(stage: Stage, accounts: tuple[int, ...], contract: int, delay_ms: int) -> list[float]:
    """Milliseconds of each order."""
    wiring = stage.wiring
    links = {link for region in wiring.regions for link in wiring.between([region], wiring.others(region))}
    stage.wiring.relays.heal()
    if delay_ms:
        stage.wiring.relays.delay(links, delay_ms / 1_000)
    time.sleep(SETTLE_S)
    taken: list[float] = []
    folder = stage.folder / "bench"
    folder.mkdir(exist_ok=True)
    for region in stage.wiring.regions:
        loops.run(_from(stage.wiring.client_file(folder, region), accounts, contract, taken))
    return taken


async def _from(file: Path, accounts: tuple[int, ...], contract: int, taken: list[float]) -> None:
    async with AsyncClient(file, name="bench") as client:
        await client.open_session()
        for number in range(ORDERS):
            order = c.order(0, 0, accounts[number % len(accounts)], contract, 1, 1)
            began = time.perf_counter()
            receipt = await client.submit(order)
            taken.append((time.perf_counter() - began) * 1e3)
            invariant(bool(receipt), f"an order was refused: {receipt.outcomes['reason'].tolist()}")
