"""A cluster to be maltreated: its folder, its relays, and hands to reach every process.

What lives here: making and filling it, looking at it, waiting until it is well. What may not: faults (`faults`), and
judgement (`checks`).
"""

import asyncio
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from holdfast.chaos.relays import Relays
from holdfast.chaos.wiring import Wiring
from holdfast.chaos.workload import PRICE, PRICE_UNIT, World
from holdfast.client.asynchronous import AsyncClient
from holdfast.cluster import operations
from holdfast.cluster.connections import ask_servers, configuration_of, connected
from holdfast.cluster.engines import engine_process, supervisor_process
from holdfast.cluster.errors import ClusterError, NotReadyError
from holdfast.cluster.layout import Layout
from holdfast.cluster.plan import Plan, Site
from holdfast.cluster.processes import Process
from holdfast.cluster.servers import server_process
from holdfast.cluster.status import leaders, status
from holdfast.domain import commands as c
from holdfast.domain.errors import HoldfastError, invariant
from holdfast.margin.presets import preset

REGIONS: Final = ("amsterdam", "frankfurt", "london")
READY_S: Final = 240.0
"""A first start compiles."""
WELL_S: Final = 120.0
_POLL_S = 0.2
_ACCOUNTS = tuple(f"account-{number}" for number in range(8))
_MONEY = 10**15
"""Of an account at the start, in units of the dollar."""
_RULES = c.SetRules(age_maximum=86_400 * 10**9, ahead_maximum=7_200 * 10**9, checkpoint_frames=64)
_CONTRACT = "BTC_USD-PERPETUAL"


class Skipped(Exception):  # noqa: N818 (no error: the machine cannot do it)
    """A fault cannot be done on this machine; the text says why."""


class Stage:
    """One cluster.

    Attributes:
        folder: Of the cluster.
        wiring: Its relays.
        chance: Of whoever chooses.
        no_small_disks: Why no folder has a small file system of its own; empty where some do (`disks`).
    """

    def __init__(self, folder: Path, relays: Relays, chance: random.Random) -> None:
        """A new cluster in a new folder, not started."""
        self.folder, self.chance = folder, chance
        self.wiring = Wiring(folder, REGIONS, relays)
        self.no_small_disks = "they were not asked for"

    @property
    def plan(self) -> Plan:
        """The cluster's plan."""
        return self.wiring.plan

    @property
    def place(self) -> Layout:
        """Where its files are."""
        return Layout(self.folder)

    # Looking.

    def any_site(self) -> Site:
        """One of the sites by chance."""
        return self.chance.choice(self.plan.sites)

    def site(self, region: str) -> Site:
        """The site of a region."""
        return next(site for site in self.plan.sites if site.region == region)

    def server(self, site: Site) -> Process:
        """The process of a server that runs."""
        return _running(server_process(self.place, site), site.server)

    def engine(self, site: Site) -> Process:
        """The process of an engine that runs."""
        return _running(engine_process(self.place, site), site.engine)

    def processes(self) -> dict[str, Process]:
        """All servers, engines and supervisors that run, by name."""
        found: dict[str, Process | None] = {}
        for site in self.plan.sites:
            found[site.server] = server_process(self.place, site)
            found[site.engine] = engine_process(self.place, site)
            found[f"supervisor of {site.engine}"] = supervisor_process(self.place, site)
        return {name: process for name, process in found.items() if process is not None}

    def log_leader(self) -> str:
        """Name of the server that leads the log; empty where none does or nobody says."""

        async def ask() -> str:
            async with connected(self.place, "system") as system:
                return leaders(self.plan, await ask_servers(system, "JSZ", len(self.plan.sites)))[1]

        try:
            return asyncio.run(ask())
        except HoldfastError:
            return ""

    def wait_for_leader(self, timeout_s: float, but: str = "") -> str:
        """The log's leader as soon as there is one other than `but`.

        Raises:
            NotReadyError: There is none in time.
        """
        deadline = time.monotonic() + timeout_s
        while (leader := self.log_leader()) in ("", but):
            if time.monotonic() > deadline:
                raise NotReadyError("the log", f"has no leader after {timeout_s:g} s", "see the servers' logs")
            time.sleep(_POLL_S)
        return leader

    def wait_until_well(self, timeout_s: float = WELL_S) -> None:
        """Wait until every server and engine is healthy.

        Raises:
            NotReadyError: They are not in time.
        """
        deadline = time.monotonic() + timeout_s
        while not (state := asyncio.run(status(self.place, self.plan))).healthy:
            if time.monotonic() > deadline:
                unwell = [row.name for row in state.servers if not row.healthy]
                unwell += [row.name for row in state.engines if not row.alive or row.suspended]
                problem = f"{', '.join(unwell) or 'the leaders'} not well after {timeout_s:g} s {state.problem}"
                raise NotReadyError(str(self.folder), problem, "see the logs in this folder")
            time.sleep(_POLL_S)

    # Doing.

    def up(self, name: str = "") -> None:
        """Start what does not run."""
        asyncio.run(operations.up(self.folder, name, ready_s=READY_S))

    def restart(self, name: str = "") -> None:
        """Restart one after another."""
        asyncio.run(operations.restart(self.folder, name, ready_s=WELL_S))

    def down(self, name: str = "") -> list[str]:
        """End what runs; the names of what had to be killed."""
        return asyncio.run(operations.down(self.folder, name))

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL, *, with_supervisor: bool = False) -> None:
        """Send a signal to a server or an engine."""
        operations.kill(self.folder, name, number, with_supervisor=with_supervisor)

    def fill(self) -> World:
        """Define what clients trade, open accounts and give them money."""
        return asyncio.run(self._fill())

    async def _fill(self) -> World:
        async with AsyncClient(configuration_of(self.place, "operator"), name="chaos operator") as operator:
            defined = await _made(
                operator,
                _RULES,
                c.DefineAsset("USD", 6),
                c.DefineAsset("BTC", 8),
                c.DefineInstrument(_CONTRACT, "0.001", len(str(PRICE_UNIT)) - 1),
                c.DefineModel("portfolio", preset("portfolio")),
                c.DefineSource("prices"),
            )
            _, dollar, coin, contract, model, source = defined
            async with AsyncClient(configuration_of(self.place, "source"), source=source, name="prices") as prices:
                await prices.submit(c.quote(0, 0, coin, PRICE * 10**8, time.time_ns(), 1))
            await _made(operator, c.Mark(coin))
            accounts = await _made(operator, *(c.OpenAccount(model, name) for name in _ACCOUNTS))
            await _made(operator, *(c.Deposit(account, dollar, _MONEY) for account in accounts))
            return World(tuple(accounts), _ACCOUNTS, dollar, contract)


async def _made(operator: AsyncClient, *commands: c.ColdCommand) -> Sequence[int]:
    """Send commands that must be accepted; what each made."""
    receipt = await operator.submit_cold(commands)
    invariant(bool(receipt), f"the beginning was refused: {receipt.outcomes['reason'].tolist()}")
    made: list[int] = receipt.outcomes["made"].tolist()
    return made


def _running(process: Process | None, name: str) -> Process:
    if process is None:
        raise ClusterError(name, "does not run", "see its log")
    return process
