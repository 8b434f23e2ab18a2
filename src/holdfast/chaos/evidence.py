"""What engines left on their disks: copies of the log and snapshots. Read when everything has ended.

What may not live here: judgement.
"""

import signal
from collections.abc import Collection, Iterator

from holdfast.chaos.stage import Stage
from holdfast.cluster.plan import Site
from holdfast.cluster.supervisor import deaths
from holdfast.core.snapshot import fold_from
from holdfast.domain.errors import HoldfastError
from holdfast.log.sqlite import SqliteLog
from holdfast.replica.folder import LOG_NAME, SnapshotFiles


def longest_copy(stage: Stage) -> tuple[Site, Iterator[bytes]]:
    """The engine whose copy of the log is the longest, and its frames."""
    ends = {}
    for site in stage.plan.sites:
        with _copy(stage, site) as log:
            ends[site] = log.end
    best = max(stage.plan.sites, key=lambda site: ends[site])
    return best, _frames(stage, best)


def _frames(stage: Stage, site: Site) -> Iterator[bytes]:
    with _copy(stage, site) as log:
        for _, frame in log.read(0):
            yield frame


def copies_of(stage: Stage, best: Site) -> list[tuple[str, str]]:
    """By engine, what is wrong with its copy of the log as against the longest one."""
    found = []
    with _copy(stage, best) as longest:
        for site in stage.plan.sites:
            problem = ""
            try:
                with _copy(stage, site) as log:
                    log.verify()
                    end = log.end
                    if end and log.hash_at(end - 1) != longest.hash_at(end - 1):
                        problem = f"differs from that of {best.engine} at or before position {end - 1}"
            except HoldfastError as error:
                problem = f"cannot be read: {error}"
            found.append((site.engine, problem))
    return found


def snapshots_of(stage: Stage) -> list[tuple[str, int, str]]:
    """Engine, position and root of every snapshot on an engine's disk, the root worked out from its content."""
    found = []
    for site in stage.plan.sites:
        for path in SnapshotFiles(stage.place.engine(site)).newest_first():
            fold = fold_from(path.read_bytes())
            found.append((site.engine, fold.position - 1, fold.root().hex()))
    return found


def crashes_of(stage: Stage, *, excused: Collection[str]) -> list[str]:
    """Deaths of engines that nobody killed, a line for each; those of some engines are excused."""
    return [
        f"{site.engine} ended by itself at {death.time} with status {death.status} after {death.ran_s:g} s"
        for site in stage.plan.sites
        if site.engine not in excused
        for death in deaths(stage.place.engine(site))
        if death.status != -signal.SIGKILL
    ]


def _copy(stage: Stage, site: Site) -> SqliteLog:
    return SqliteLog(stage.place.engine(site) / LOG_NAME, writable=False)
