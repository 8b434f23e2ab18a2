"""One simulation from a seed: safety under faults, then healing, then liveness. What may not live here: the parts."""

from typing import Final, NamedTuple

from holdfast.core.state import Role
from holdfast.simulation.broker import Broker
from holdfast.simulation.disk import Store
from holdfast.simulation.engine import Engine, Stage, Surroundings
from holdfast.simulation.faults import Faults, Targets
from holdfast.simulation.genesis import ANN, BOB, genesis
from holdfast.simulation.network import Network
from holdfast.simulation.oracle import Oracle
from holdfast.simulation.scheduler import Scheduler, Violation
from holdfast.simulation.trader import Trader
from holdfast.simulation.weather import Weather
from holdfast.simulation.workload import Operating, Quoting, Trading, Unique

SAFETY_S: Final = (9.0, 15.0)
LIVENESS_S: Final = 30.0
"""Within which everything is answered and equal again after healing."""
SETTLED_AFTER_HEALING: Final = 2
"""Offers that each client must have settled after healing."""


class Result(NamedTuple):
    """What a seed led to.

    Attributes:
        seed: Of the run.
        law: That was broken; empty for none.
        problem: How.
        trace: SHA-256 of the trace, hexadecimal.
        seconds: Simulated.
        frames: Of the log in the end.
        kinds: Of faults.
        counts: What happened how often.
        lines: The trace, where it was kept.
    """

    seed: int
    law: str
    problem: str
    trace: str
    seconds: float
    frames: int
    kinds: tuple[str, ...]
    counts: dict[str, int]
    lines: list[str] | None


class Simulation:
    """Everything of one run."""

    def __init__(self, seed: int, *, keep_trace: bool = False) -> None:
        self.seed = seed
        self.scheduler = Scheduler(seed, keep_trace=keep_trace)
        self.weather = Weather()
        beginning = genesis()
        self.broker = Broker(self.scheduler, self.weather, beginning.frames)
        self.oracle = Oracle(self.scheduler, self.broker)
        self.network = Network(self.scheduler, self.weather)
        store = Store()
        surroundings = Surroundings(self.scheduler, self.weather, self.broker, store, self.oracle)
        self.engines = [Engine(number, surroundings, beginning.frames) for number in range(3)]
        self.oracle.engines = self.engines
        for engine in self.engines:
            engine.disk.keep(beginning.snapshot)
        self.network.join({engine.name: engine for engine in self.engines})
        self._unique = Unique(self.oracle.register)
        self.operating = Operating("operator", self.scheduler, self._unique)
        self.traders = self._traders()
        self._safety_s = self.scheduler.between(*SAFETY_S)
        targets = Targets(self.scheduler, self.weather, self.broker, store, self.oracle, self.engines, self.traders)
        self.faults = Faults(targets, self._safety_s)

    def run(self) -> Result:
        """Run it to its end, or to the first finding."""
        law = problem = ""
        try:
            self._run()
        except Violation as violation:
            law, problem = violation.law, str(violation)
        scheduler = self.scheduler
        scheduler.note("end", f"{problem or 'well'} {self.oracle.truth.fold.root().hex()}")
        return Result(
            self.seed,
            law,
            problem,
            scheduler.digest,
            scheduler.now,
            self.broker.end,
            self.faults.kinds,
            scheduler.counts,
            scheduler.lines,
        )

    def _run(self) -> None:
        self.oracle.follow()
        for engine in self.engines:
            engine.start()
        for trader in self.traders:
            trader.start()
        self.scheduler.run(self._safety_s)
        self._heal()
        if self.faults.forgets and self.broker.shortest is not None:
            self.scheduler.run(self.scheduler.now + 8.0)
        else:
            self._live()
        self.oracle.conclude(self.engines)

    def _heal(self) -> None:
        self.faults.heal()
        for engine in self.engines:
            if engine.is_corrupt:
                engine.crash()
                engine.repair()

    def _live(self) -> None:
        before, ticks = [trader.settled for trader in self.traders], list(self.oracle.ticks)
        limit = self.scheduler.now + LIVENESS_S
        while self.scheduler.now < limit:
            self.scheduler.run(self.scheduler.now + 0.5)
            self._repair()
            if self._is_well(before, ticks):
                self.oracle.compare_roots(self.engines)
                return
        raise Violation("liveness", self._why(before))

    def _is_well(self, settled: list[int], ticks: list[int]) -> bool:
        """Whether all clients and nodes have come on since these counts, and all nodes have all of the log."""
        clients = zip(self.traders, settled, strict=True)
        nodes = zip(self.oracle.ticks, ticks, strict=True)
        return (
            all(trader.settled >= count + SETTLED_AFTER_HEALING for trader, count in clients)
            and all(now > count for now, count in nodes)
            and self.oracle.converged(self.engines)
        )

    def _repair(self) -> None:
        """Do as the runbook says: an operator restores a suspended replica, which then starts on an empty disk."""
        replicas = self.oracle.truth.fold.machine.registry.replicas
        for engine in self.engines:
            if replicas[engine.number].suspended:
                self.operating.restore(engine.number)
            elif engine.stage is Stage.SUSPENDED:
                engine.repair()

    def _why(self, before: list[int]) -> str:
        """What is not as it should be long after healing."""
        out = [f"{LIVENESS_S:g} s after healing"]
        for engine in self.engines:
            position = "–" if engine.node is None else engine.node.fold.position
            out.append(f"{engine.name} is {engine.stage.value} at {position} of {self.broker.end}")
        out.append(f"ticks of the nodes {self.oracle.ticks}")
        for trader, count in zip(self.traders, before, strict=True):
            out.append(f"{trader.name} has settled {trader.settled - count}")
        return ", ".join(out)

    def _traders(self) -> list[Trader]:
        scheduler, unique = self.scheduler, self._unique
        falls_at = scheduler.between(1.0, 8.0) if scheduler.chance(0.7) else -1.0
        works = (
            ("operator", Role.OPERATOR, self.operating, 1.6),
            ("source", Role.SOURCE, Quoting("source", scheduler, unique, falls_at), 1.4),
            ("client-x", Role.CLIENT, Trading("client-x", scheduler, unique, (ANN, ANN + 1)), 0.7),
            ("client-y", Role.CLIENT, Trading("client-y", scheduler, unique, (BOB, BOB + 1)), 0.7),
        )
        return [
            Trader(
                scheduler,
                self.network,
                self.oracle,
                work,
                name=name,
                role=role,
                replicas=self._order_of_replicas(),
                has_journal=scheduler.chance(0.5),
                pause_s=pause_s,
                timeout_s=scheduler.random.choice((3.0, 8.0)),
            )
            for name, role, work, pause_s in works
        ]

    def _order_of_replicas(self) -> tuple[str, ...]:
        names = [engine.name for engine in self.engines]
        self.scheduler.random.shuffle(names)
        return tuple(names)


def simulate(seed: int, *, keep_trace: bool = False) -> Result:
    """Run a seed."""
    return Simulation(seed, keep_trace=keep_trace).run()
