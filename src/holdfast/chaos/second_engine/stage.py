"""The cluster of the drill in its folder: made with second engines, begun with the venue, and hands to reach it.

What may not live here: which errors are made when (`acts`), and judgement.
"""

import asyncio
import calendar
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from holdfast.chaos.second_engine import program
from holdfast.chaos.second_engine.venue import (
    BITCOIN,
    MAKER,
    PERPETUAL,
    PRICE_STEPS,
    PRICE_UNIT,
    Venue,
    make_venue,
)
from holdfast.client.asynchronous import AsyncClient
from holdfast.client.configuration import Configuration
from holdfast.cluster import operations
from holdfast.cluster.connections import configuration_of, connected
from holdfast.cluster.engines import start_engine
from holdfast.cluster.errors import NotReadyError
from holdfast.cluster.files import make_cluster
from holdfast.cluster.layout import Layout
from holdfast.cluster.plan import Plan, Programs, Site
from holdfast.cluster.processes import process_of
from holdfast.cluster.provision import meta_leader, provide
from holdfast.domain import commands as c
from holdfast.domain.errors import invariant
from holdfast.domain.frames import Records
from holdfast.log.jetstream.api import Answer, ask
from holdfast.log.jetstream.connection import connect
from holdfast.log.jetstream.publisher import Fate, publish
from holdfast.log.jetstream.stream import STREAM
from holdfast.replica.configuration import read_configuration
from holdfast.replica.folder import LOG_NAME

REGIONS: Final = ("amsterdam", "frankfurt", "london")
READY_S: Final = 300.0
"""A first start compiles."""
WAIT_S: Final = 90.0
"""How long anything that is waited for may take."""
POLL_S: Final = 0.1
BID_LOTS: Final = 5_000_000
"""Of the maker's bid: more than all clients hold that an act reaches."""
TOGETHER: Final = 32
"""Questions under way for times of frames."""

Tell = Callable[[str], None]


class _Stored(msgspec.Struct, frozen=True):
    time: str


class _Message(Answer, frozen=True, kw_only=True):
    message: _Stored


class Stage:
    """A running cluster with its operator, its source of prices and its market maker.

    Attributes:
        place: Its files.
        plan: Its plan.
        venue: What its log began with.
        price: Bitcoin's last, dollars.
    """

    def __init__(self, place: Layout, plan: Plan, venue: Venue) -> None:
        self.place, self.plan, self.venue = place, plan, venue
        self.price, self._sequence = venue.price, venue.sequence
        self.operator = AsyncClient(configuration_of(place, "operator"), name="drill operator")
        self.source = AsyncClient(configuration_of(place, "source"), name="drill prices")
        self.maker = AsyncClient(configuration_of(place, "client"), name="drill maker")
        self._bids = 0

    @property
    def copy(self) -> Path:
        """The first engine's copy of the log."""
        return self.place.engine(self.plan.sites[0]) / LOG_NAME

    # Doing.

    async def bid(self, price: float) -> None:
        """Let the maker bid for Bitcoin's perpetual at a price, in place of its last bid."""
        orders = [c.order(0, 0, MAKER, PERPETUAL, BID_LOTS, round(price * PRICE_STEPS))]
        if self._bids:
            orders.insert(0, c.cancel(0, 0, MAKER, self._bids))
        for order in orders:
            await _accepted(self.maker, order)
        self._bids += 1

    async def quote(self, price: float) -> None:
        """Say Bitcoin's price; one that moved far enough makes a mark."""
        self.price, self._sequence = price, self._sequence + 1
        quote = c.quote(0, 0, BITCOIN, round(price * PRICE_UNIT), time.time_ns() - 10**9, self._sequence)
        await _accepted(self.source, quote)

    async def mark(self) -> None:
        """Mark Bitcoin at the price that it has."""
        receipt = await self.operator.submit_cold([c.Mark(BITCOIN)])
        invariant(bool(receipt), f"the mark was refused: {receipt.outcomes['reason'].tolist()}")

    async def set_rules(self, rules: c.SetRules) -> None:
        """Set the log's rules."""
        receipt = await self.operator.submit_cold([rules])
        invariant(bool(receipt), f"the rules were refused: {receipt.outcomes['reason'].tolist()}")

    def plant(self, sites: Collection[Site]) -> None:
        """Have the error in the engines of these sites from their next mark on, and in no others."""
        for site in self.plan.sites:
            sign = self.place.engine(site) / program.SIGN
            if site in sites:
                sign.touch()
            else:
                sign.unlink(missing_ok=True)

    # Looking.

    async def position(self) -> int:
        """Of the last frame that the first engine folded."""
        answer = await self.status(self.plan.sites[0])
        return int(answer.get("position", -1))

    async def status(self, site: Site) -> dict[str, Any]:
        """What an engine says of itself; empty where it says nothing."""
        return await self.operator.status(site.engine) or {}

    async def second(self, site: Site) -> dict[str, Any]:
        """What an engine says of its second engine."""
        return (await self.status(site)).get("witness") or {}

    async def until(self, what: str, is_so: Callable[[], Awaitable[bool]], seconds: float = WAIT_S) -> None:
        """Wait for something.

        Raises:
            NotReadyError: It did not come.
        """
        deadline = time.monotonic() + seconds
        while not await is_so():
            if time.monotonic() > deadline:
                problem = f"waited {seconds:g} s for {what}"
                raise NotReadyError("the drill", problem, "run it again, on a calmer machine")
            await asyncio.sleep(POLL_S)

    async def with_second_engines(self) -> None:
        """Wait until every engine that is not suspended has its second engine."""

        async def all_there() -> bool:
            seen = [await self.second(site) for site in self.plan.sites]
            return all(one.get("absent") == "" for one in seen if one)

        await self.until("the second engines", all_there)

    async def kill_second_engines(self) -> int:
        """SIGKILL to every second engine that runs; how many."""
        killed = 0
        for site in self.plan.sites:
            found = await self.second(site)
            process = process_of(int(found.get("pid") or 0))
            killed += process is not None and process.signal(signal.SIGKILL)
        return killed

    async def stored_at(self, first: int, end: int) -> list[float]:
        """When the log stored the frames at the positions `first` to `end` − 1, seconds since 1970."""
        async with connected(self.place, "admin") as link:

            async def one(position: int) -> float:
                found = await ask(link, f"STREAM.MSG.GET.{STREAM}", {"seq": position + 1}, _Message, 5.0)
                return _seconds(found.message.time)

            times = list[float]()
            for some in range(first, end, TOGETHER):
                times += await asyncio.gather(*(one(n) for n in range(some, min(end, some + TOGETHER))))
            return times


def _seconds(text: str) -> float:
    """A time as JetStream writes it, in seconds since 1970."""
    whole, _, rest = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{rest or 0}")


async def _accepted(client: AsyncClient, records: Records) -> None:
    receipt = await client.submit(records)
    invariant(bool(receipt), f"a command of the drill was refused: {receipt.outcomes['reason'].tolist()}")


@contextlib.asynccontextmanager
async def staged(folder: Path, accounts: int, seed: int, tell: Tell) -> AsyncIterator[Stage]:
    """A cluster whose log begins with a venue, all engines and second engines there; ended afterwards.

    Args:
        folder: Of the cluster, new.
        accounts: Of clients.
        seed: Of the venue.
        tell: Takes lines of progress.
    """
    plan = make_cluster(folder, REGIONS, programs=Programs(engine=program.COMMAND))
    replicas = [c.DefineReplica(one.engine, bytes.fromhex(one.public_key), one.region) for one in plan.sites]
    venue = await asyncio.to_thread(make_venue, accounts, seed, replicas, time.time_ns())
    tell(f"a venue of {accounts:,} accounts is made; Bitcoin at {venue.price:,.2f} dollars")
    stage = Stage(Layout(folder), plan, venue)
    try:
        await _begin(stage)
        tell("servers, engines and second engines run")
        async with stage.operator, stage.source, stage.maker:
            await stage.with_second_engines()
            yield stage
    finally:
        await operations.down(folder)


async def _begin(stage: Stage) -> None:
    """Servers, then the venue's frames, then the engines, which fold them as they start."""
    for site in stage.plan.sites:
        await operations.up(stage.place.folder, site.server)
    await meta_leader(stage.place, stage.plan, READY_S, operations.silent)
    await provide(stage.place, stage.plan)
    await _fill(stage)
    for site in stage.plan.sites:
        start_engine(stage.plan, stage.place, site)
    await operations.up(stage.place.folder, ready_s=READY_S, send=_nothing)


async def _nothing(_configuration: Configuration, _commands: Sequence[c.ColdCommand]) -> None:
    """The venue's frames define the replicas already."""


async def _fill(stage: Stage) -> None:
    """Publish the venue's frames as an engine would."""
    file = stage.place.engine(stage.plan.sites[0]) / "engine.toml"
    link = await connect(read_configuration(file).log.access(), name="drill")
    try:
        for number, frame in enumerate(stage.venue.frames):
            published = await publish(link, frame, f"venue.{number}", 10.0)
            stored = published.fate is Fate.STORED and published.position == number
            invariant(stored, f"the venue's frame {number} was not stored: {published}")
    finally:
        await link.close()
