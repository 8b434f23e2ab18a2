"""What is done to a cluster: each fault by name, with its end, and with proof that it was really there.

A fault is a generator: up to its `yield` it strikes, behind it it heals. It yields a `Strike` when it is there, whose
`confirm` is called with what proves it. What lives here: processes, links, clocks. What may not: disks and folders
(`disks`), when a fault comes, and what it cost (`run`, `gaps`).
"""

import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from holdfast.chaos.relays import Direction, Link
from holdfast.chaos.stage import Stage
from holdfast.cluster.plan import Site
from holdfast.cluster.processes import Process
from holdfast.cluster.servers import monitored
from holdfast.cluster.supervisor import deaths

ELECTION_S: Final = 30.0
"""After which a log without a leader is a finding."""
_DETECTION_S: Final = 12.0
"""In which servers find out that a connection is dead."""
_POLL_S: Final = 0.1


@dataclass
class Strike:
    """A fault that is there.

    Attributes:
        regions: That are hit.
        proofs: That it was really there, in words.
        hold_s: How long it is to last.
    """

    regions: tuple[str, ...]
    hold_s: float = 5.0
    proofs: tuple[str, ...] = ()

    def confirm(self, proof: str, *, that: bool = True) -> None:
        """A proof, if it holds."""
        if that:
            self.proofs += (proof,)


Fault = Callable[[Stage], Iterator[Strike]]


def _gone(process: Process, timeout_s: float = 5.0) -> bool:
    return process.wait(timeout_s)


def engine_killed(stage: Stage) -> Iterator[Strike]:
    """SIGKILL to one engine; its supervisor starts it again."""
    site = stage.any_site()
    process, before = stage.engine(site), len(deaths(stage.place.engine(site)))
    strike = Strike((site.region,))
    stage.kill(site.engine)
    strike.confirm(f"process {process.pid} of {site.engine} ended", that=_gone(process))
    yield strike
    after = len(deaths(stage.place.engine(site)))
    strike.confirm(f"its supervisor counted {after - before} death", that=after > before)


def engine_stopped(stage: Stage) -> Iterator[Strike]:
    """SIGSTOP to one engine, and SIGCONT later."""
    site = stage.any_site()
    yield from _stopped(stage, stage.engine(site), site.engine, site)


def _stopped(stage: Stage, process: Process, name: str, site: Site) -> Iterator[Strike]:
    strike = Strike((site.region,), hold_s=stage.chance.uniform(6, 10))
    stage.kill(name, signal.SIGSTOP)
    try:
        strike.confirm(f"process {process.pid} of {name} is stopped", that=_comes(lambda: process.is_stopped, 2))
        yield strike
    finally:
        process.signal(signal.SIGCONT)


def server_killed(stage: Stage) -> Iterator[Strike]:
    """SIGKILL to a server that does not lead the log."""
    leader = stage.wait_for_leader(ELECTION_S)
    site = stage.chance.choice([site for site in stage.plan.sites if site.server != leader])
    process = stage.server(site)
    strike = Strike((site.region,))
    stage.kill(site.server)
    strike.confirm(f"process {process.pid} of {site.server} ended, {leader} led the log", that=_gone(process))
    yield strike
    stage.up(site.server)


def log_leader_killed(stage: Stage) -> Iterator[Strike]:
    """SIGKILL to the server that leads the log."""
    leader = stage.wait_for_leader(ELECTION_S)
    site = next(site for site in stage.plan.sites if site.server == leader)
    process = stage.server(site)
    strike = Strike((site.region,), hold_s=1.0)
    stage.kill(leader)
    _gone(process)
    yield strike
    other = stage.wait_for_leader(ELECTION_S, but=leader)
    strike.confirm(f"{leader} led the log and ended, then {other} led it")
    stage.up(leader)


def log_leader_stopped(stage: Stage) -> Iterator[Strike]:
    """SIGSTOP to the server that leads the log, and SIGCONT when another has led for a while."""
    leader = stage.wait_for_leader(ELECTION_S)
    site = next(site for site in stage.plan.sites if site.server == leader)
    yield from _stopped(stage, stage.server(site), leader, site)


def region_cut_off(stage: Stage) -> Iterator[Strike]:
    """One region and the two others lose all bytes for each other."""
    region = stage.any_site().region
    others = stage.wiring.others(region)
    links = stage.wiring.between((region,), others)
    yield from _lossy(stage, [(link, direction) for link in links for direction in Direction], (region,), (region,))


def all_regions_cut_off(stage: Stage) -> Iterator[Strike]:
    """Each region loses all bytes of the others: no two are a majority."""
    regions = stage.wiring.regions
    links = [
        link for link in stage.wiring.relays.links if stage.wiring.region_of(link[0]) != stage.wiring.region_of(link[1])
    ]
    yield from _lossy(stage, [(link, direction) for link in links for direction in Direction], regions, regions)


def region_cut_off_one_way(stage: Stage) -> Iterator[Strike]:
    """What one region sends to the others is lost; what they send arrives, or the other way round."""
    region = stage.any_site().region
    others = stage.wiring.others(region)
    ways = ((region,), others) if stage.chance.random() < 0.5 else (others, (region,))
    yield from _lossy(stage, list(stage.wiring.from_to(*ways)), (region,), (region,))


def _lossy(
    stage: Stage, ways: list[tuple[Link, Direction]], hit: tuple[str, ...], isolated: Iterable[str]
) -> Iterator[Strike]:
    """Throw bytes away until servers have noticed, and then for a while."""
    relays, links = stage.wiring.relays, {link for link, _ in ways}
    before = relays.counts(links)
    strike = Strike(hit, hold_s=stage.chance.uniform(3, 6))
    try:
        for direction in Direction:
            relays.drop([link for link, way in ways if way is direction], direction)
        for region in isolated:
            site = stage.site(region)
            alone = _comes(lambda site=site: not monitored(site, "/routez").get("num_routes"), _DETECTION_S)  # type: ignore[misc]
            strike.confirm(f"{site.server} has no route", that=alone)
        yield strike
    finally:
        lost = (relays.counts(links) - before).dropped
        relays.heal(links)
    strike.confirm(f"{lost:,} bytes were lost", that=lost > 0)


def links_slow(stage: Stage) -> Iterator[Strike]:
    """Bytes between regions take 40 to 160 ms each way."""
    regions = stage.wiring.regions
    links = [link for region in regions for link in stage.wiring.between((region,), stage.wiring.others(region))]
    delay_s = stage.chance.uniform(0.04, 0.16)
    relays = stage.wiring.relays
    yield from _conditioned(
        stage, set(links), regions, lambda: relays.delay(links, delay_s, delay_s / 4), "delayed", 10.0
    )


def region_frozen(stage: Stage) -> Iterator[Strike]:
    """Bytes between one region and the others stay on their way, and arrive later."""
    region = stage.any_site().region
    links = stage.wiring.between((region,), stage.wiring.others(region))
    hold_s = stage.chance.uniform(1, 6)
    yield from _conditioned(stage, set(links), (region,), lambda: stage.wiring.relays.freeze(links), "held", hold_s)


def connections_cut(stage: Stage) -> Iterator[Strike]:
    """All connections between one region and the others are closed, and refused for a moment."""
    region = stage.any_site().region
    links = stage.wiring.between((region,), stage.wiring.others(region))
    yield from _conditioned(stage, set(links), (region,), lambda: stage.wiring.relays.cut(links), "cut", 1.0)


def _conditioned(
    stage: Stage, links: set[Link], hit: tuple[str, ...], strike_now: Callable[[], None], counted: str, hold_s: float
) -> Iterator[Strike]:
    """A condition of links, which their relays count."""
    relays = stage.wiring.relays
    before = relays.counts(links)
    strike = Strike(hit, hold_s=hold_s)
    try:
        strike_now()
        yield strike
    finally:
        counts = relays.counts(links) - before
        relays.heal(links)
    number = getattr(counts, counted)
    strike.confirm(f"{number:,} {'connections' if counted == 'cut' else 'bytes'} {counted}", that=number > 0)


def two_engines_dead(stage: Stage) -> Iterator[Strike]:
    """SIGKILL to two engines and their supervisors."""
    sites = stage.chance.sample(stage.plan.sites, 2)
    processes = [stage.engine(site) for site in sites]
    strike = Strike(tuple(site.region for site in sites))
    for site in sites:
        stage.kill(site.engine, with_supervisor=True)
    gone = all(_gone(process) for process in processes)
    yield strike
    strike.confirm(
        f"{' and '.join(site.engine for site in sites)} ended and stayed away",
        that=gone and not any(site.engine in stage.processes() for site in sites),
    )
    stage.up()


def everything_killed(stage: Stage) -> Iterator[Strike]:
    """SIGKILL to all servers, engines and supervisors at once, then a start."""
    processes = stage.processes()
    strike = Strike(stage.wiring.regions, hold_s=1.0)
    for name in sorted(processes, reverse=True):  # Supervisors first, so that none starts an engine again.
        processes[name].signal(signal.SIGKILL)
    gone = [name for name, process in processes.items() if _gone(process)]
    strike.confirm(f"{len(gone)} processes ended", that=len(gone) == len(processes) == 3 * len(stage.plan.sites))
    yield strike
    stage.up()


def rolling_restart(stage: Stage) -> Iterator[Strike]:
    """One engine after another, then one server after another, is restarted in order."""
    before = stage.processes()
    strike = Strike(stage.wiring.regions, hold_s=0.0)
    yield strike
    stage.restart()
    after = stage.processes()
    changed = [name for name, process in before.items() if after.get(name) not in (None, process)]
    strike.confirm(f"{len(changed)} processes are others", that=len(changed) == len(before))


def leader_steps_down(stage: Stage) -> Iterator[Strike]:
    """The server that leads the log is restarted in order: it hands over first."""
    leader = stage.wait_for_leader(ELECTION_S)
    site = next(site for site in stage.plan.sites if site.server == leader)
    before = stage.server(site)
    strike = Strike((site.region,), hold_s=0.0)
    yield strike
    stage.restart(leader)
    strike.confirm(f"{leader} led the log and was restarted", that=stage.server(site) != before)


def _comes(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Whether something becomes true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
