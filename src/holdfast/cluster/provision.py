"""What a cluster's servers hold before an engine starts: the log's stream, the effects' stream, the snapshots' bucket.

What lives here: making them, by the admin. What may not: the settings of the log's stream, which are its own.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, StorageType, StreamConfig

from holdfast.cluster.connections import ask_servers, connected
from holdfast.cluster.errors import NotReadyError
from holdfast.cluster.layout import Layout
from holdfast.cluster.permissions import EFFECTS_STREAM, EFFECTS_SUBJECTS, SNAPSHOT_BUCKET, SNAPSHOT_STREAM
from holdfast.cluster.plan import Plan
from holdfast.log.jetstream.stream import DUPLICATE_WINDOW_S, create_stream

SNAPSHOTS_KEPT: Final = timedelta(hours=6)
"""How long the bucket keeps a snapshot; replicas take new ones all the time."""
EFFECTS_KEPT: Final = timedelta(days=7)
"""How long an effect waits for whoever carries it out."""
_POLL_S, _ANSWER_S = 0.1, 2.0
_OTHERS_S = 30.0


async def meta_leader(place: Layout, plan: Plan, timeout_s: float, tell: Callable[[str], None]) -> str:
    """Wait until the servers have a leader, without which no stream can be made; its name.

    Raises:
        NotReadyError: They have none in time.
    """
    deadline, told = time.monotonic() + timeout_s, False
    answered: set[str] = set()
    async with connected(place, "system", timeout_s) as system:
        while time.monotonic() < deadline:
            answers = await ask_servers(system, "JSZ", len(plan.sites))
            answered = set(answers)
            for answer in answers.values():
                raft = answer.data.meta_cluster
                if len(plan.sites) == 1 or (raft and raft.leader):
                    return raft.leader if raft else answer.server.name
            if not told and len(answers) <= len(plan.sites) // 2:
                told = True
                tell("waiting for a majority of the servers")
            await asyncio.sleep(_POLL_S)
    missing = ", ".join(site.server for site in plan.sites if site.server not in answered) or "none"
    problem = f"the servers have no leader after {timeout_s:g} s; silent: {missing}"
    raise NotReadyError(str(place.folder), problem, "start the silent ones, and see that all reach each other")


async def provide(place: Layout, plan: Plan) -> None:
    """Make what is missing.

    Raises:
        LogError: The log's stream is there with other settings, or could not be made in time.
        NotReadyError: The others could not be made.
    """
    async with connected(place, "admin") as admin:
        await create_stream(admin, replicas=plan.copies)
        deadline = time.monotonic() + _OTHERS_S
        # After all servers were down each stream chooses a leader by itself; until it has one nobody answers for it.
        while True:
            try:
                return await _provide_others(admin, plan.copies)
            except (nats.errors.Error, TimeoutError) as error:
                if time.monotonic() > deadline:
                    problem = f"effects and snapshots have no place ({error})"
                    raise NotReadyError(str(place.folder), problem, "run `holdfast cluster up` again") from error
            await asyncio.sleep(_POLL_S)


async def _provide_others(admin: Client, copies: int) -> None:
    jetstream = admin.jetstream(timeout=_ANSWER_S)
    try:
        await jetstream.stream_info(EFFECTS_STREAM)
    except nats.js.errors.NotFoundError:
        await jetstream.add_stream(
            StreamConfig(
                name=EFFECTS_STREAM,
                subjects=[EFFECTS_SUBJECTS],
                storage=StorageType.FILE,
                discard=DiscardPolicy.NEW,
                num_replicas=copies,
                max_age=EFFECTS_KEPT.total_seconds(),
                duplicate_window=DUPLICATE_WINDOW_S,
                deny_delete=True,
                deny_purge=True,
                allow_direct=True,
            )
        )
    try:
        await jetstream.stream_info(SNAPSHOT_STREAM)
    except nats.js.errors.NotFoundError:
        await jetstream.create_object_store(
            SNAPSHOT_BUCKET, storage=StorageType.FILE, replicas=copies, ttl=SNAPSHOTS_KEPT.total_seconds()
        )
