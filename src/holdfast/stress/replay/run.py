"""The main job: a venue's whole population taken through a crash on real prices, with the engine killed at the worst.

    from holdfast.stress.replay.run import replay
    result = replay(Job(history=load_window("2020-03")), folder)

What lives here: the order of things and the result. What may not: the parts (see the package's picture).
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from holdfast.domain.errors import invariant
from holdfast.domain.units import format_time
from holdfast.stress.flow import flow
from holdfast.stress.history import PriceHistory
from holdfast.stress.market import MarketPath, market_path
from holdfast.stress.population import ACCOUNTS, Population, population
from holdfast.stress.replay import market_commands as make
from holdfast.stress.replay.audit import Audit
from holdfast.stress.replay.client import Client
from holdfast.stress.replay.journal import Findings, compare, read_journal
from holdfast.stress.result import Kill, ReplayResult, ReplaySeries, SweepTimes
from holdfast.stress.sources import SOURCES
from holdfast.stress.sources import quotes as source_quotes
from holdfast.stress.venue import venue_for

KILL_AFTER_S = 0.004
"""How long after a batch was sent the engine is killed: in the midst of appending or folding it."""
COLD_BATCH, HOT_BATCH = 2_000, 4_096
MARK_DELAY_NS = 10**9
"""The second tick of a step comes a second after its quotes, and marks them."""
SNAPSHOT_STEPS = 96
NOTES = (
    "prices are real hourly bars, walked open, low, high, close (high first where the bar falls); volatilities and "
    "bases follow stated rules, the population and its orders are made up (docs/explanation/replay.md)",
    "of five price sources one lies and one is stale at stated hours",
)
DEGRADED = ("quorum of one: a single engine decided liquidations, without a second engine's word",)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to replay.

    Attributes:
        history: The prices.
        accounts: Of users, market makers included.
        seed: Of population, noise and flow.
        model: "standard" or "portfolio" for all accounts; None lets each have its own.
        kill: Whether to kill the engine at the lowest price.
        rerun: The command that does this again.
    """

    history: PriceHistory
    accounts: int = ACCOUNTS
    seed: int = 1
    model: str | None = None
    kill: bool = True
    rerun: str = ""


Progress = Callable[[str, float], None]
"""Called with what is being done and how much of the whole is done, 0 to 1."""


class _Hours:
    """What is measured while it happens, one entry per hour."""

    def __init__(self) -> None:
        self.ratios: list[tuple[float, ...]] = []
        self.fund: list[float] = []
        self.log_bytes: list[int] = []
        self.sweeps: list[list[float]] = []


def replay(job: Job, folder: Path, progress: Progress | None = None) -> ReplayResult:
    """Run a replay in a folder that is empty or new; log, snapshots and journal stay there.

    Raises:
        InputError: The prices or the number of accounts cannot be used.
        LogError: The folder cannot be written.
    """
    say = progress or (lambda _what, _share: None)
    folder.mkdir(parents=True, exist_ok=True)
    history = job.history
    venue = venue_for(int(history.time_ns[0]), int(history.end_ns), float(history.open[0]))
    path = market_path(history, venue)
    people = population(path, accounts=job.accounts, seed=job.seed)
    run = _Run(job, folder, path, people, say)
    run.build()
    run.walk()
    say("folding the log again from its beginning, in a fresh process", 0.9)
    found = _audited(folder, path, run)
    findings = compare(read_journal(folder / "journal.bin"), np.load(folder / "executed.npy"))
    say("done", 1.0)
    return _result(job, run, found, findings)


class _Run:
    """One run: the client's side."""

    def __init__(self, job: Job, folder: Path, path: MarketPath, people: Population, say: Progress) -> None:
        self.job, self.path, self.people = job, path, people
        self._say = say
        say("starting the engine", 0.0)
        self.client = Client(folder)
        self.numbers = make.Numbers(people.venue)
        self.hours = _Hours()
        self.kill: Kill | None = None
        self.final_root = ""

    def build(self) -> None:
        """Definitions, accounts, money, first prices, first positions."""
        client, models = self.client, ("standard", "portfolio")
        operator = client.open_session("operator")
        _accepted(client.cold(operator, make.definitions(self.people.venue, models)))
        self._send_cold(operator, make.openings(self.people, models, self.job.model), "opening accounts")
        self.sources = [client.open_session("source", number) for number in range(len(SOURCES))]
        self.trader = client.open_session("client")
        self._quotes = source_quotes(self.path, seed=self.job.seed)
        self._flow = flow(self.path, self.people, seed=self.job.seed)
        self._orders = make.OrderBook(self.numbers, self.trader)
        self._price(0)
        self._send_cold(operator, make.deposits(self.people), "depositing")
        records = make.first_trades(self.people, self.numbers, self.path.at(0), self.trader)
        for some in range(0, len(records), HOT_BATCH):
            self.client.hot(records[some : some + HOT_BATCH].copy())
            self._say("trading the first positions", 0.05)

    def _send_cold(self, session: int, commands: list, what: str) -> None:  # type: ignore[type-arg]
        for some in range(0, len(commands), COLD_BATCH):
            _accepted(self.client.cold(session, commands[some : some + COLD_BATCH]))
            self._say(what, 0.02)

    def _price(self, step: int) -> None:
        """A step's time and quotes, and their mark; liquidations follow from it."""
        at = self.path.at(step)
        self.client.advance(at.time_ns)
        self.client.hot(make.quotes(next(self._quotes), self.numbers, self.sources, step))
        last_of_bar = step + 1 == self.path.steps or self.path.at(step + 1).bar != at.bar
        snapshot = step > 0 and step % SNAPSHOT_STEPS == 0
        done = self.client.advance(at.time_ns + MARK_DELAY_NS, decide=True, look=last_of_bar, snapshot=snapshot)
        if last_of_bar:
            self.hours.ratios.append(done.ratios)
            self.hours.fund.append(done.fund)
            self.hours.log_bytes.append(done.log_bytes)
            self.hours.sweeps.append(self.client.sweeps_ms[sum(map(len, self.hours.sweeps)) :])

    def walk(self) -> None:
        """Every step of the window: prices, liquidations, orders and trades."""
        worst = make.kill_step(self.path) if self.job.kill else -1
        self._orders_of_step()
        for step in range(1, self.path.steps):
            self._price(step)
            if step == worst:
                self._die_and_return(step)
            else:
                self._orders_of_step()
            if step % 4 == 0:
                self._say(format_time(self.path.at(step).time_ns), 0.05 + 0.85 * step / self.path.steps)
        last = self.path.at(self.path.steps - 1).time_ns + 2 * MARK_DELAY_NS
        self.final_root = self.client.advance(last, root=True).root
        self.client.close()

    def _orders_of_step(self) -> None:
        records, references = self._orders.records(next(self._flow))
        outcomes = self.client.hot(records)
        self._orders.learn(references, outcomes["made"].tolist())

    def _die_and_return(self, step: int) -> None:
        """Kill the engine while a batch is in flight; the client notices, restarts it and sends the batch again."""
        client, at = self.client, self.path.at(step)
        before = client.advance(at.time_ns + 2 * MARK_DELAY_NS, root=True)
        position = before.position - 1
        dying = client.engine
        timer = dying.kill_soon(KILL_AFTER_S)
        began = time.monotonic()
        self._orders_of_step()
        timer.join()
        if client.engine is dying:  # It answered before it died: the death comes between two batches.
            dying.kill()
            client.restart(position)
        self.kill = Kill(
            time_ns=at.time_ns,
            reason=f"the lowest price of the window, {at.index_price:,.2f} USD",
            position=position,
            root_before=before.root,
            root_after=client.engine.ready.root_at,
            replayed_commands=client.engine.ready.replayed,
            recovery_ms=(time.monotonic() - began) * 1e3,
        )


def _accepted(outcomes: np.ndarray) -> None:
    refused = outcomes[outcomes["reason"] != 0]
    invariant(not len(refused), f"{len(refused)} commands of the venue's set-up were refused: {refused[:1]}")


def _audited(folder: Path, path: MarketPath, run: _Run) -> Audit:
    """Run the audit in a process of its own and read what it wrote."""
    positions = [] if run.kill is None else [str(run.kill.position)]
    start, hours = int(path.at(0).time_ns), len(run.hours.fund)
    command = [sys.executable, "-m", "holdfast.stress.replay.audit", str(folder), str(start), str(hours), *positions]
    subprocess.run(command, check=True)  # noqa: S603
    return msgspec.json.decode((folder / "audit.json").read_bytes(), type=Audit)


def _result(job: Job, run: _Run, found: Audit, findings: Findings) -> ReplayResult:
    history, sweeps = job.history, run.client.sweeps_ms
    same = found.root == run.final_root
    if run.kill is not None:
        same = same and found.roots.get(run.kill.position) == run.kill.root_before
    return ReplayResult(
        window=history.name,
        source=history.source,
        start_ns=int(history.time_ns[0]),
        end_ns=int(history.end_ns),
        seed=job.seed,
        rerun=job.rerun,
        accounts=run.people.accounts,
        instruments=len(run.people.venue.instruments),
        commands=sum(found.commands),
        refused=found.refused,
        trades=found.trades,
        margin_calls=found.margin_called,
        liquidations=found.liquidated,
        bankruptcies=sum(found.bankruptcies),
        insurance_fund_start=found.fund_start,
        insurance_fund=found.fund,
        deleveraged=sum(found.deleveraged),
        shared_loss=sum(found.shared),
        shortfall=found.shortfall,
        sweep_ms=_times(sweeps),
        log_bytes=run.hours.log_bytes[-1],
        acknowledged_lost=findings.lost,
        applied_twice=findings.twice,
        state_root=found.root,
        replayed_identical=same,
        conserved=found.conserved,
        kill=run.kill,
        degraded=DEGRADED,
        gaps=tuple(str(gap) for gap in history.gaps),
        notes=NOTES,
        series=_series(run, found),
    )


def _times(sweeps: list[float]) -> SweepTimes:
    return SweepTimes(*(float(np.percentile(sweeps or [0.0], q)) for q in (50, 99, 100)))


def _series(run: _Run, found: Audit) -> ReplaySeries:
    history, hours = run.job.history, run.hours
    count = len(hours.fund)
    volatility = [run.path.at(n).volatility for n in range(3, run.path.steps, 4)]
    times = [_times(one) for one in hours.sweeps]
    quantiles = list(zip(*hours.ratios, strict=True))
    return ReplaySeries(
        time_ns=tuple(int(t) for t in history.time_ns[:count]),
        price=tuple(history.close[:count].tolist()),
        low=tuple(history.low[:count].tolist()),
        high=tuple(history.high[:count].tolist()),
        volatility=tuple(volatility[:count]),
        commands=tuple(found.commands),
        margin_calls=tuple(found.margin_calls),
        liquidations=tuple(found.liquidations),
        bankruptcies=tuple(found.bankruptcies),
        ratio_p05=quantiles[0],
        ratio_p25=quantiles[1],
        ratio_p50=quantiles[2],
        ratio_p75=quantiles[3],
        ratio_p95=quantiles[4],
        insurance_fund=tuple(hours.fund),
        deleveraged=tuple(found.deleveraged),
        shared_loss=tuple(found.shared),
        sweep_p50_ms=tuple(t.p50 for t in times),
        sweep_p99_ms=tuple(t.p99 for t in times),
        sweep_max_ms=tuple(t.max for t in times),
        log_bytes=tuple(hours.log_bytes),
    )
