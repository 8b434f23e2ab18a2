"""What goes wrong in a run, drawn from its seed: a plan of faults, each with its beginning and its end.

A run has some kinds of faults often and others not at all, so that combinations differ from seed to seed. What may not
live here: what the faults do to whom (`broker`, `weather`, `engine`, `trader` do it).
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from holdfast.simulation.broker import Broker
from holdfast.simulation.disk import Store
from holdfast.simulation.engine import Engine, Stage
from holdfast.simulation.forgery import corrupt, forged_snapshot
from holdfast.simulation.oracle import Oracle
from holdfast.simulation.scheduler import Scheduler
from holdfast.simulation.trader import Trader
from holdfast.simulation.weather import BROKER, Weather

HOUR_S: Final = 3_600.0
WINDOW_JUMP_S: Final = 130.0
"""More than the time for which the broker remembers ids."""
KIND_SHARE: Final = 0.4
"""Of the kinds of faults in one run."""
AMNESIA_SHARE: Final = 0.12
CORRUPTION_SHARE: Final = 0.3


class Targets(NamedTuple):
    """Everything that faults can strike."""

    scheduler: Scheduler
    weather: Weather
    broker: Broker
    store: Store
    oracle: Oracle
    engines: Sequence[Engine]
    traders: Sequence[Trader]


class Faults:
    """The plan of one run.

    Attributes:
        at: What is struck.
        forgets: Whether the broker will forget, so that commands may stay without an answer.
        kinds: That the run has, in words.
    """

    def __init__(self, targets: Targets, safety_s: float) -> None:
        self.at = targets
        self._end = safety_s
        chance = self.at.scheduler.chance
        self.forgets = chance(AMNESIA_SHARE)
        self.kinds = tuple(name for name in _KINDS if chance(KIND_SHARE))
        for name in self.kinds:
            for _ in range(self.at.scheduler.random.randint(1, 2)):
                self._at_some_time(name, _KINDS[name])
        if self.forgets:
            self.kinds += ("amnesia",)
            self._at_some_time("amnesia", _forget)
        elif chance(CORRUPTION_SHARE):
            self.kinds += ("corruption",)
            self.at.scheduler.after(
                self.at.scheduler.between(1.0, 0.6 * self._end), self._strike, "corruption", _corrupt
            )

    def heal(self) -> None:
        """Mend everything, and start what is down."""
        self.at.scheduler.note("faults", "heal")
        self.at.weather.clear()
        for engine in self.at.engines:
            engine.clock.mend()
            engine.start()
        for trader in self.at.traders:
            if not trader.is_alive:
                trader.start()

    def _at_some_time(self, name: str, fault: "Fault") -> None:
        self.at.scheduler.after(self.at.scheduler.between(0.5, self._end - 1.0), self._strike, name, fault)

    def _strike(self, name: str, fault: "Fault") -> None:
        if self.at.scheduler.now < self._end:
            self.at.scheduler.note("faults", name)
            fault(self)

    # What the kinds share.

    def later(self, seconds: float, action: Callable[..., None], *arguments: object) -> None:
        """Undo something, if the run is not healed before."""
        self.at.scheduler.after(seconds, self._if_ill, action, *arguments)

    def _if_ill(self, action: Callable[..., None], *arguments: object) -> None:
        if self.at.scheduler.now < self._end:
            action(*arguments)

    def engine(self) -> Engine:
        """One of the engines."""
        return self.at.engines[self.at.scheduler.random.randrange(len(self.at.engines))]

    def trader(self) -> Trader:
        """One of the clients."""
        return self.at.traders[self.at.scheduler.random.randrange(len(self.at.traders))]

    def between(self, least: float, most: float) -> float:
        """A number drawn evenly."""
        return self.at.scheduler.between(least, most)


Fault = Callable[[Faults], None]


def _rough(names: Sequence[str]) -> Fault:
    """Messages get lost or late for some seconds."""

    def strike(faults: Faults) -> None:
        weather, seconds = faults.at.weather, faults.between(1.0, 6.0)
        for name in names:
            setattr(weather, name, faults.between(0.1, 0.6))
            faults.later(seconds, setattr, weather, name, 0.0)

    return strike


def _elect(faults: Faults) -> None:
    faults.at.broker.elect(faults.between(4.0, 9.0))


def _jump(faults: Faults) -> None:
    for seconds in range(4):
        faults.later(float(seconds), faults.at.broker.jump, WINDOW_JUMP_S)


def _forget(faults: Faults) -> None:
    faults.at.broker.forget(faults.at.scheduler.random.randint(1, 10))
    faults.at.broker.elect(faults.between(0.2, 4.0))


def _stall(faults: Faults) -> None:
    until = faults.at.scheduler.now + faults.between(0.5, 5.0)
    faults.at.weather.stall(faults.engine().name, until)


def _cut_off(faults: Faults) -> None:
    """A node without the broker."""
    _cut(faults, [(faults.engine().name, BROKER)], 6.0)


def _part(faults: Faults) -> None:
    """Clients without a node."""
    node = faults.engine().name
    _cut(faults, [(trader.name, node) for trader in faults.at.traders if faults.at.scheduler.chance(0.7)], 5.0)


def _cut(faults: Faults, links: Sequence[tuple[str, str]], most_s: float) -> None:
    faults.at.weather.cut(links)
    faults.later(faults.between(0.5, most_s), faults.at.weather.mend, links)


def _crash(faults: Faults) -> None:
    engine = faults.engine()
    engine.crash()
    if engine.stage is Stage.DOWN:
        _spoil(faults, engine)
        faults.later(faults.between(0.1, 5.0), engine.start)


def _spoil(faults: Faults, engine: Engine) -> None:
    """Something may have happened to the disk."""
    draw, random = faults.between(0.0, 1.0), faults.at.scheduler.random
    if draw < 0.2:
        engine.disk.roll_back(random.randint(1, 30))
    elif draw < 0.4:
        engine.disk.damage(random.randrange(1 << 30))
    elif draw < 0.55:
        engine.disk.wipe()


def _crash_all(faults: Faults) -> None:
    for engine in faults.at.engines:
        engine.crash()
        faults.later(faults.between(0.1, 2.0), engine.start)


def _pause(faults: Faults) -> None:
    faults.engine().pause(faults.between(0.3, 4.0))


def _misset(faults: Faults) -> None:
    """A clock an hour off, stepping, or stopped."""
    clock, draw = faults.engine().clock, faults.between(0.0, 1.0)
    if draw < 0.3:
        clock.stop()
    elif draw < 0.8:
        clock.step(HOUR_S if draw < 0.55 else -HOUR_S)
    else:
        clock.step(faults.between(-5.0, 5.0))
        faults.later(faults.between(0.5, 3.0), clock.step, faults.between(-5.0, 5.0))
    if faults.between(0.0, 1.0) < 0.5:
        faults.later(faults.between(1.0, 6.0), clock.mend)


def _crash_client(faults: Faults) -> None:
    trader = faults.trader()
    if trader.is_alive:
        trader.crash()
        faults.later(faults.between(0.1, 3.0), trader.start)


def _forge(faults: Faults) -> None:
    """The newest snapshot of the store and of a disk is whole and of this log, but of another state."""
    copy = faults.engine().disk.copy
    if copy.end:
        forged = forged_snapshot([frame for _, frame in copy.read(0)])
        faults.at.store.put(copy.end - 1, forged)
        faults.engine().disk.keep(forged)


def _corrupt(faults: Faults) -> None:
    """A bit of a node's memory changes that no outcome hangs on: its state roots are wrong from then on."""
    engine = faults.engine()
    if engine.node is not None and not engine.node.halted:
        faults.at.oracle.corrupted.add(engine.number)
        engine.is_corrupt = True
        corrupt(engine.node.fold)


_KINDS: Final[dict[str, Fault]] = {
    "lost messages": _rough(["lost_publish"]),
    "lost acknowledgements": _rough(["lost_acknowledgement"]),
    "late messages": _rough(["late"]),
    "lost requests and replies": _rough(["lost_request", "lost_reply"]),
    "forged snapshot": _forge,
    "failing snapshots": _rough(["failing_write"]),
    "slow disks": _rough(["slow_disk"]),
    "election": _elect,
    "window over": _jump,
    "stalled delivery": _stall,
    "node without broker": _cut_off,
    "clients without node": _part,
    "crash": _crash,
    "crash of another": _crash,
    "crash of all": _crash_all,
    "pause": _pause,
    "clock": _misset,
    "crash of a client": _crash_client,
}
