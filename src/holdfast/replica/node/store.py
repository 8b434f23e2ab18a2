"""Snapshots in the broker's object store, so that a new or wiped node need not fold the log from its beginning.

What may not live here: which snapshot to trust (`joining`).
"""

import contextlib
from typing import Final

import nats.errors
import nats.js.errors
from nats.aio.client import Client as Connection

from holdfast.log.errors import StorageError
from holdfast.replica.node.joining import Candidate

BUCKET: Final = "SNAPSHOTS"
LIFE_S: Final = 6 * 3_600
"""How long the store keeps a snapshot."""
_FAULTS = (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError)


class SnapshotStore:
    """The bucket of snapshots; names are positions in 20 digits."""

    def __init__(self, link: Connection) -> None:
        self._jetstream = link.jetstream(timeout=5)

    async def put(self, position: int, snapshot: bytes, names: bytes) -> None:
        """Keep a snapshot, its names first.

        Raises:
            StorageError: The store did not take it.
        """
        try:
            bucket = await self._jetstream.object_store(BUCKET)
            await bucket.put(f"{position:020}.names", names)
            await bucket.put(f"{position:020}.hfsn", snapshot)
        except _FAULTS as error:
            raise StorageError(
                BUCKET, f"did not take the snapshot ({error!r})", "nothing; the next one is tried"
            ) from None

    async def newest(self) -> Candidate | None:
        """The snapshot of the highest position; None where there is none, or the store does not answer."""
        with contextlib.suppress(*_FAULTS):
            bucket = await self._jetstream.object_store(BUCKET)
            names = sorted(info.name for info in await bucket.list() if info.name and info.name.endswith(".hfsn"))
            if names:
                stem = names[-1].removesuffix(".hfsn")
                snapshot, beside = await bucket.get(names[-1]), await bucket.get(f"{stem}.names")
                return Candidate(f"object store {stem}", snapshot.data or b"", beside.data or b"")
        return None
