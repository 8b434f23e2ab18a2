"""The client's journal: what was sent and what was acknowledged, forced to disk before anything goes on.

It is the only witness of what the client was promised, so it is written by the client alone, and what it holds of
commands is enough to find each of them in the log: session, number and a digest. What may not live here: the engine.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from holdfast.domain.frames import Records
from holdfast.domain.outcomes import Outcomes

ENTRY: np.dtype[np.void] = np.dtype(
    [("kind", "<u8"), ("session", "<u8"), ("number", "<u8"), ("digest", "<u8"), ("reason", "<i8"), ("command", "<i8")]
)
SENT, ACKNOWLEDGED = 1, 2
Entries = npt.NDArray[np.void]


_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


def digests_of(records: Records) -> npt.NDArray[np.uint64]:
    """A number of 64 bits for each hot command, of all its bytes: enough to see that a command is the one sent."""
    words = np.ascontiguousarray(records).view(np.uint64).reshape(len(records), -1)
    digest = np.zeros(len(records), np.uint64)
    for column in range(words.shape[1]):
        digest = (digest ^ words[:, column]) * _MULTIPLIER
        digest ^= digest >> _SHIFT
    return digest


def digest_of(content: bytes) -> int:
    """The same for a cold command: the first 8 bytes of the SHA-256 of its bytes."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little")


def hot_entries(records: Records) -> Entries:
    """Entries of hot commands, kind still 0."""
    entries = np.zeros(len(records), ENTRY)
    entries["session"], entries["number"] = records["session"], records["number"]
    entries["digest"] = digests_of(records)
    return entries


def cold_entries(commands: Sequence[tuple[int, int, bytes]]) -> Entries:
    """Entries of cold commands (session, number, bytes), kind still 0."""
    entries = np.zeros(len(commands), ENTRY)
    for entry, (session, number, content) in zip(entries, commands, strict=True):
        entry["session"], entry["number"], entry["digest"] = session, number, digest_of(content)
    return entries


class Journal:
    """An append-only file of entries."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def sent(self, keys: Entries) -> None:
        """Record commands before they are sent: entries with session, number and digest."""
        entries = keys.copy()
        entries["kind"] = SENT
        self._force(entries)

    def acknowledged(self, keys: Entries, outcomes: Outcomes) -> None:
        """Record what each command was answered."""
        entries = keys.copy()
        entries["kind"] = ACKNOWLEDGED
        entries["reason"], entries["command"] = outcomes["reason"], outcomes["command"]
        self._force(entries)

    def _force(self, entries: Entries) -> None:
        os.write(self._file, entries.tobytes())
        os.fdatasync(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def read_journal(path: Path) -> Entries:
    """Every entry of a journal; a torn last one is left out."""
    data = path.read_bytes()
    whole = len(data) // ENTRY.itemsize * ENTRY.itemsize
    return np.frombuffer(data[:whole], ENTRY)


class Findings(NamedTuple):
    """What the comparison of journal and log found.

    Attributes:
        acknowledged: Commands acknowledged.
        lost: Acknowledged commands that the log does not have with the same content and outcome.
        twice: Commands that took effect more than once.
        unknown: Commands sent and never acknowledged.
    """

    acknowledged: int
    lost: int
    twice: int
    unknown: int


EXECUTED: np.dtype[np.void] = np.dtype(
    [("session", "<u8"), ("number", "<u8"), ("digest", "<u8"), ("reason", "<i8"), ("command", "<i8")]
)
"""What an audit says of each command that used up its number."""


def compare(journal: Entries, executed: npt.NDArray[np.void]) -> Findings:
    """Hold what a client was told against what the log says.

    Args:
        journal: The client's entries.
        executed: Of type EXECUTED, every first execution in the log, of all sessions.
    """
    found: dict[tuple[int, int], tuple[int, int, int]] = {}
    twice = 0
    rows = zip(*(executed[name].tolist() for name in EXECUTED.names or ()), strict=True)
    for session, number, digest, reason, command in rows:
        twice += (session, number) in found
        found[session, number] = digest, reason, command
    said = journal[journal["kind"] == ACKNOWLEDGED]
    lost = 0
    answers: dict[tuple[int, int], tuple[int, int, int]] = {}
    names = ("session", "number", "digest", "reason", "command")
    for session, number, digest, reason, command in zip(*(said[name].tolist() for name in names), strict=True):
        answers[session, number] = digest, reason, command
        lost += found.get((session, number)) != (digest, reason, command)
    sent = journal[journal["kind"] == SENT]
    asked = set(zip(sent["session"].tolist(), sent["number"].tolist(), strict=True))
    return Findings(len(answers), lost, twice, len(asked - answers.keys()))
