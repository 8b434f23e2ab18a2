"""The servers' log made anew from an engine's own copy, when the servers forgot or lost what they had acknowledged.

Theory of operation. An engine answers nothing that its own copy of the log does not hold durably. So every acknowledged
command is in the copy of the engine that acknowledged it, and where all copies are beginnings of the longest one, the
longest is the whole log. What the servers still have is kept in a file first. Then their stream is deleted, made again,
and filled with the copy's frames in their order, so that each has its old position.

What lives here: comparing copies, and filling the stream. What may not: deciding which of two histories is the right
one, which is for people: they name the engine whose copy is to be believed.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from holdfast.cluster import layout
from holdfast.cluster.connections import connected
from holdfast.cluster.engines import engine_runs, statuses
from holdfast.cluster.errors import UnhealthyError
from holdfast.cluster.layout import Layout
from holdfast.cluster.permissions import LOG_STREAM
from holdfast.cluster.plan import Plan, Site, read_plan
from holdfast.cluster.processes import sole
from holdfast.cluster.provision import meta_leader, provide
from holdfast.domain.errors import InputError, invariant
from holdfast.log.errors import LogError, MissingLogError
from holdfast.log.jetstream.api import SilenceError
from holdfast.log.jetstream.connection import Access
from holdfast.log.jetstream.log import JetStreamLog
from holdfast.log.jetstream.stream import create_stream, stream_state
from holdfast.log.sqlite import SqliteLog
from holdfast.replica.configuration import read_configuration
from holdfast.replica.folder import LOG_NAME, make_folder

_TOLD_EVERY = 1_000
_READY_S = 60.0
_DELETE_S = 10.0


class Compared(NamedTuple):
    """An engine's copy beside the one to be believed.

    Attributes:
        engine: Whose copy it is.
        end: Frames that it holds.
        common: Frames from the beginning that are the same in both.
    """

    engine: str
    end: int
    common: int


class Rebuilt(NamedTuple):
    """What was done.

    Attributes:
        frames: That the log has now.
        kept: File with what the servers had before; empty where they had nothing.
        contradicting: Engines whose copies hold other frames: their folders must be emptied before they start.
    """

    frames: int
    kept: str
    contradicting: tuple[str, ...]


def compared(place: Layout, plan: Plan, believed: Site) -> list[Compared]:
    """The copies of this folder beside one of them."""
    found = []
    with _copy(place, believed) as chosen:
        for site in plan.sites:
            if site is not believed and (place.engine(site) / LOG_NAME).exists():
                with _copy(place, site) as other:
                    found.append(Compared(site.engine, other.end, _common(chosen, other)))
    return found


async def rebuild(
    folder: Path, engine: str, *, even_if_lost: bool = False, tell: Callable[[str], None] = lambda _line: None
) -> Rebuilt:
    """Make the servers' log anew from the copy of an engine of this machine.

    Args:
        folder: Of the cluster; its servers run, and no engine does.
        engine: Whose copy is to be believed.
        even_if_lost: Go on though another copy of this folder holds frames that this one does not.
        tell: Takes lines of progress.

    Raises:
        UnhealthyError: An engine runs, or another copy holds more or something else. Nothing was changed.
        LogError: The copy is damaged, and nothing was changed; or the servers did not take it all: do it again.
    """
    place = Layout(folder)
    with sole(place.lock, "another `holdfast cluster` command"):
        plan = read_plan(folder)
        believed = next((site for site in plan.local if site.engine == engine), None)
        if believed is None or not (place.engine(believed) / LOG_NAME).exists():
            advice = "name an engine of this machine whose folder has a copy of the log"
            raise InputError("malformed", "ENGINE", engine, advice, "has no copy here")
        await meta_leader(place, plan, _READY_S, tell)
        await _refuse_running(place, plan)
        contradicting = contradicting_copies(place, plan, believed, even_if_lost=even_if_lost)
        with _copy(place, believed) as copy:
            copy.verify()
        access, kept = _access(place, believed), ""
        if await _has_stream(place):
            kept = await asyncio.to_thread(_keep, access, make_folder(folder / "kept"))
            tell("what the servers had is kept")
        await _empty(place, plan)
        frames = await asyncio.to_thread(_fill, access, place, believed, tell)
    return Rebuilt(frames, kept, contradicting)


async def _refuse_running(place: Layout, plan: Plan) -> None:
    running = [site.engine for site in plan.local if engine_runs(place, site)]
    async with connected(place, "operator") as operator:
        running += [name for name in await statuses(operator, plan) if name not in running]
    if running:
        raise UnhealthyError(", ".join(running), "runs", "end every engine first (`holdfast cluster down NAME`)")


def contradicting_copies(place: Layout, plan: Plan, believed: Site, *, even_if_lost: bool) -> tuple[str, ...]:
    """The engines whose copies hold frames that the believed one does not.

    Raises:
        UnhealthyError: There are such, and their frames are not to be lost.
    """
    more = [one for one in compared(place, plan, believed) if one.end > one.common]
    if more and not even_if_lost:
        one = more[0]
        problem = f"{one.engine} holds {one.end} frames, of which only the first {one.common} are in this copy"
        advice = "rebuild from that one, or say that its frames may be lost (docs/how-to/repair-a-cluster.md)"
        raise UnhealthyError(believed.engine, problem, advice)
    return tuple(one.engine for one in more)


def _common(first: SqliteLog, second: SqliteLog) -> int:
    """How many frames from the beginning two logs share: the chain hash at a position stands for all before it."""
    low, high = 0, min(first.end, second.end)
    while low < high:
        middle = (low + high + 1) // 2
        if first.hash_at(middle - 1) == second.hash_at(middle - 1):
            low = middle
        else:
            high = middle - 1
    return low


def _copy(place: Layout, site: Site) -> SqliteLog:
    return SqliteLog(place.engine(site) / LOG_NAME, writable=False)


def _access(place: Layout, site: Site) -> Access:
    return read_configuration(place.engine(site) / layout.ENGINE_FILE).log.access()


async def _has_stream(place: Layout) -> bool:
    async with connected(place, "admin") as admin:
        try:
            await stream_state(admin)
        except MissingLogError:
            return False
        except SilenceError:
            return True  # It is there and has no leader; what can be read is tried.
    return True


def _keep(access: Access, folder: Path) -> str:
    """Copy what the servers have into a file; its name."""
    path = folder / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.sqlite"
    log = JetStreamLog(access, SqliteLog(path), name="rebuild-keep", patience_s=_READY_S)
    try:
        # The end is reached when all that can be read is in the file; a fault on the way leaves what came before it.
        with contextlib.suppress(LogError):
            invariant(log.end >= 0, "a log has an end")
    finally:
        log.close()
    return str(path)


async def _empty(place: Layout, plan: Plan) -> None:
    """Delete the stream and make it again."""
    async with connected(place, "admin") as admin:
        # Deleting one that is not there is answered with an error, which is as well.
        await admin.request(f"$JS.API.STREAM.DELETE.{LOG_STREAM}", b"", timeout=_DELETE_S)
        await create_stream(admin, replicas=plan.copies)
    await provide(place, plan)


def _fill(access: Access, place: Layout, believed: Site, tell: Callable[[str], None]) -> int:
    """Append the copy's frames; how many."""
    log = JetStreamLog(access, name="rebuild-fill", patience_s=_READY_S)
    try:
        with _copy(place, believed) as copy:
            for position, frame in copy.read(0):
                got = log.append(frame)
                invariant(got == position, f"the frame of position {position} got {got}: something else appends")
                if position % _TOLD_EVERY == 0:
                    tell(f"{position:,} of {copy.end:,} frames are back")
            return copy.end
    finally:
        log.close()
