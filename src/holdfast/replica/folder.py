"""The folder of an engine: its key, its sessions, its snapshots. Every file is replaced whole or not at all.

    log.sqlite               the log, with its own files beside it
    replica.key              the replica's Ed25519 key, 32 bytes, readable by its owner only
    sessions.json            which sessions of the log are this engine's own
    snapshots/<position>.hfsn    the state after the frame at that position
    snapshots/<position>.names   the names of its accounts
    snapshots/<position>.tree    the tree of the frames up to there, as far as it is needed to go on

What lives here: reading and writing these files. What may not: what is in a snapshot or a frame.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from holdfast.domain.signatures import KEY_LENGTH, is_usable_key, public_key_of
from holdfast.log.side_file import error_of_system
from holdfast.replica.errors import KeyFileError

LOG_NAME = "log.sqlite"
KEY_NAME = "replica.key"
SESSIONS_NAME = "sessions.json"
SNAPSHOTS_NAME = "snapshots"
SNAPSHOT_SUFFIX, NAMES_SUFFIX, TREE_SUFFIX = ".hfsn", ".names", ".tree"
SNAPSHOTS_KEPT = 3
"""Snapshots that stay. One would do; the others are for the day on which the newest turns out to be damaged."""
_NEW_SUFFIX = ".new"
_OWNER_ONLY = 0o600
_OTHERS = 0o077


class OwnSession(NamedTuple):
    """A session that this engine opened.

    Attributes:
        role: Of the session, as a number.
        subject: The source or replica that it speaks for.
        id: The command id of its opening.
        chain: H at the position of its opening, in hexadecimal: which log it belongs to.
    """

    role: int
    subject: int
    id: int
    chain: str


def make_folder(path: Path) -> Path:
    """The folder, made if need be.

    Raises:
        LogError: It cannot be made, or is something else.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise error_of_system(error, path) from error
    return path


def replace_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file under another name, force it to the storage, rename it, and force the name to the storage.

    Raises:
        LogError: It could not be written; what was there before still is.
    """
    new = path.with_name(path.name + _NEW_SUFFIX)
    try:
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        new.rename(path)
        _force(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise error_of_system(error, path) from error


def _force(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def key_of(folder: Path | None) -> bytes:
    """The replica's private key: from its file, made at the first time; without a folder one that nobody keeps.

    Raises:
        KeyFileError: The file holds no key, or others than its owner may read it.
        LogError: It cannot be read or written.
    """
    if folder is None:
        return secrets.token_bytes(KEY_LENGTH)
    path = folder / KEY_NAME
    try:
        mode, key = path.stat().st_mode, path.read_bytes()
    except FileNotFoundError:
        key = secrets.token_bytes(KEY_LENGTH)
        replace_file(path, key, mode=_OWNER_ONLY)
        return key
    except OSError as error:
        raise error_of_system(error, path) from error
    if mode & _OTHERS:
        advice = f"run chmod 600 {path}; if a stranger may have read it, delete it, and a new key is made"
        raise KeyFileError(str(path), f"others than its owner may use it (mode {mode & 0o777:o})", advice)
    if len(key) != KEY_LENGTH or not is_usable_key(public_key_of(key)):
        advice = "put the right file back, or delete it, and a new key is made"
        raise KeyFileError(str(path), f"holds {len(key)} bytes and no key of {KEY_LENGTH}", advice)
    return key


def own_sessions(folder: Path | None) -> list[OwnSession]:
    """The sessions that the folder says are the engine's own; none where it does not say."""
    if folder is None:
        return []
    try:
        return msgspec.json.decode((folder / SESSIONS_NAME).read_bytes(), type=list[OwnSession])
    except (OSError, msgspec.MsgspecError):
        return []


def keep_sessions(folder: Path | None, sessions: list[OwnSession]) -> None:
    """Write down which sessions are the engine's own. Errors as `replace_file`."""
    if folder is not None:
        replace_file(folder / SESSIONS_NAME, msgspec.json.encode(sessions) + b"\n")


class SnapshotFiles:
    """The snapshots of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / SNAPSHOTS_NAME

    def newest_first(self) -> list[Path]:
        """The files named as snapshots, that of the highest position first."""
        try:
            found = [path for path in self._folder.iterdir() if path.suffix == SNAPSHOT_SUFFIX and _position(path) >= 0]
        except OSError:
            return []
        return sorted(found, key=_position, reverse=True)

    def write(self, position: int, snapshot: bytes, names: bytes, tree: bytes = b"") -> Path:
        """Write the snapshot of a position, what belongs to it first, and remove all but the newest.

        Raises:
            LogError: It could not be written; the snapshots that were there still are.
        """
        make_folder(self._folder)
        path = _snapshot_path(self._folder, position)
        replace_file(path.with_suffix(NAMES_SUFFIX), names)
        if tree:
            replace_file(path.with_suffix(TREE_SUFFIX), tree)
        replace_file(path, snapshot)
        self._prune()
        return path

    def _prune(self) -> None:
        kept = {path.stem for path in self.newest_first()[:SNAPSHOTS_KEPT]}
        for path in self._ours():
            if path.name.endswith(_NEW_SUFFIX) or path.stem not in kept:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)

    def _ours(self) -> Iterator[Path]:
        """Snapshots, names, trees, and what an interrupted writing left of any."""
        for path in list(self._folder.iterdir()):
            name = path.name.removesuffix(_NEW_SUFFIX)
            if name.endswith((SNAPSHOT_SUFFIX, NAMES_SUFFIX, TREE_SUFFIX)) and _position(path) >= 0:
                yield path


def tree_path(folder: Path, position: int) -> Path:
    """The tree that belongs to the snapshot of a position in an engine's folder."""
    return _snapshot_path(folder / SNAPSHOTS_NAME, position).with_suffix(TREE_SUFFIX)


def _snapshot_path(snapshots: Path, position: int) -> Path:
    return snapshots / f"{position:020}{SNAPSHOT_SUFFIX}"


def _position(path: Path) -> int:
    """The position that a file's name states, −1 for none."""
    stem = path.name.split(".", 1)[0]
    return int(stem) if stem.isascii() and stem.isdigit() else -1
