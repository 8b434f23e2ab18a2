"""Faults of disks, folders, clocks and members: a full disk, a server's data of yesterday, an hour's difference.

A full disk is a small file system of its own, mounted over a folder before the cluster starts and filled later. Where
that is not allowed these faults are skipped. What may not live here: what `faults` does to processes and links.
"""

import ctypes
import ctypes.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from holdfast.chaos.faults import ELECTION_S, Strike
from holdfast.chaos.stage import Skipped, Stage
from holdfast.client.asynchronous import AsyncClient
from holdfast.client.configuration import read_toml
from holdfast.cluster import layout
from holdfast.cluster.connections import configuration_of
from holdfast.cluster.files import write_cluster
from holdfast.cluster.plan import Site, read_plan
from holdfast.cluster.toml import toml_text
from holdfast.domain.commands import DefineReplica
from holdfast.domain.errors import invariant
from holdfast.domain.signatures import public_key_of
from holdfast.replica.configuration import Configuration
from holdfast.replica.folder import KEY_NAME, key_of, replace_file

SMALL_DISK_BYTES: Final = 512 << 20
HOUR_S: Final = 3_600.0
_BALLAST = "ballast"
_PIECE = bytes(1 << 16)
_SECRET = 0o600
_DETACH = 2


class SmallDisks:
    """File systems of their own for some folders, while a block runs.

    Attributes:
        problem: Why there are none; empty where there are.
    """

    def __init__(self, folders: tuple[Path, ...], size: int = SMALL_DISK_BYTES) -> None:
        """File systems of `size` bytes each."""
        self._folders, self._size = folders, size
        self._mounted: list[Path] = []
        self.problem = ""

    def __enter__(self) -> "SmallDisks":
        for folder in self._folders:
            problem = _mount(folder, self._size)
            if problem:
                self.problem = f"{folder.name} gets no file system of its own: {problem}"
                break
            self._mounted.append(folder)
        return self

    def __exit__(self, *_: object) -> None:
        """Bring what is on them to the folders below, as it is looked at later."""
        for folder in self._mounted:
            kept = folder.with_name(f"{folder.name}.kept")
            shutil.copytree(folder, kept)
            _library().umount2(os.fsencode(folder), _DETACH)
            shutil.copytree(kept, folder, dirs_exist_ok=True)
            shutil.rmtree(kept)


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)


def _mount(folder: Path, size: int) -> str:
    """Mount a small file system over a folder and put there what the folder had; why not, if it cannot be."""
    kept = folder.with_name(f"{folder.name}.kept")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder, kept)
    try:
        options = f"size={size},mode=700".encode()
        if _library().mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, options):
            return os.strerror(ctypes.get_errno())
        shutil.copytree(kept, folder, dirs_exist_ok=True)
    finally:
        shutil.rmtree(kept)
    return ""


def disk_folders(stage: Stage) -> tuple[Path, ...]:
    """The folders whose disk a fault may fill."""
    return stage.place.engine(full_engine(stage)), stage.place.server(stage.plan.sites[1]) / layout.SERVER_DATA


def full_engine(stage: Stage) -> Site:
    """The site of the engine whose disk is filled. It dies of that, and its supervisor starts it again and again."""
    return stage.plan.sites[0]


def engine_disk_full(stage: Stage) -> Iterator[Strike]:
    """The disk of one engine has no byte left, then has."""
    site = full_engine(stage)
    folder = stage.place.engine(site)
    yield from _full(stage, folder, site, folder / layout.ENGINE_LOG, b"full")


def server_disk_full(stage: Stage) -> Iterator[Strike]:
    """The disk of one server's data has no byte left, then has; the server is started again."""
    site = stage.plan.sites[1]
    folder = stage.place.server(site)
    yield from _full(stage, folder / layout.SERVER_DATA, site, folder / layout.SERVER_LOG, b"no space left")
    # A server that met a full disk keeps nothing more until it is started again.
    process = stage.processes().get(site.server)
    if process is not None:
        process.end(15.0)
    stage.up(site.server)


def _full(stage: Stage, folder: Path, site: Site, log: Path, word: bytes) -> Iterator[Strike]:
    if stage.no_small_disks:
        raise Skipped(stage.no_small_disks)
    strike = Strike((site.region,), hold_s=8.0)
    ballast, said = folder / _BALLAST, log.stat().st_size
    fill_up(ballast)
    strike.confirm(f"{folder.name} has no byte left", that=shutil.disk_usage(folder).free == 0)
    try:
        yield strike
        with log.open("rb") as file:
            file.seek(said)
            strike.confirm(f"{log.name} says so", that=word in file.read().lower())
    finally:
        ballast.unlink(missing_ok=True)


def fill_up(ballast: Path) -> None:
    """Make a file that leaves its disk no byte."""
    piece = _PIECE
    with ballast.open("wb", buffering=0) as file:
        while piece:
            try:
                file.write(piece)
            except OSError:
                piece = piece[: len(piece) // 2]


def server_rolled_back(stage: Stage) -> Iterator[Strike]:
    """A server's data become again what they were some seconds ago, as if its disk had not kept what it was told."""
    leader = stage.wait_for_leader(ELECTION_S)
    site = stage.any_site()
    data = stage.place.server(site) / layout.SERVER_DATA
    kept = stage.folder / "chaos" / "rolled-back"
    _end(stage, site)
    shutil.copytree(data, kept)
    stage.up(site.server)
    stage.wait_until_well()
    strike = Strike((site.region,), hold_s=5.0)
    yield strike
    _end(stage, site)
    differ = _contents(data) != _contents(kept)
    for one in data.iterdir():  # The folder itself may be a mounted one.
        shutil.rmtree(one)
    shutil.copytree(kept, data, dirs_exist_ok=True)
    shutil.rmtree(kept)
    stage.up(site.server)
    role = "led" if leader == site.server else "followed"
    strike.confirm(f"{site.server}, which {role} at first, lost what it had stored since", that=differ)


def _end(stage: Stage, site: Site) -> None:
    process = stage.server(site)
    stage.kill(site.server)
    invariant(process.wait(10.0), "a killed server ends")


def _contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Length and last bytes of every file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            found[str(path.relative_to(folder))] = len(content), content[-4_096:]
    return found


def clock_an_hour_off(stage: Stage) -> Iterator[Strike]:
    """One engine's clock is an hour ahead or behind; it is always the same engine."""
    site = stage.plan.sites[-1]
    offset_s = stage.chance.choice((-HOUR_S, HOUR_S))
    strike = Strike((site.region,), hold_s=8.0)
    try:
        _set_clock(stage, site, offset_s)
        stage.restart(site.engine)
        strike.confirm(f"{site.engine} runs {offset_s:+,.0f} s off")
        yield strike
    finally:
        _set_clock(stage, site, 0.0)
    stage.restart(site.engine)


def _set_clock(stage: Stage, site: Site, offset_s: float) -> None:
    path = stage.place.engine(site) / layout.ENGINE_FILE
    configuration = msgspec.structs.replace(read_toml(path, Configuration), clock_offset_s=offset_s)
    replace_file(path, toml_text(configuration, f"The replica {site.engine}.").encode(), mode=_SECRET)


async def _define(stage: Stage, site: Site) -> bool:
    async with AsyncClient(configuration_of(stage.place, "operator"), name="chaos members") as operator:
        return bool(
            await operator.submit_cold([DefineReplica(site.engine, bytes.fromhex(site.public_key), site.region)])
        )


def engine_replaced(stage: Stage) -> Iterator[Strike]:
    """One engine goes for ever, and another one with another key, in an empty folder, takes its place."""
    import asyncio  # noqa: PLC0415

    site = stage.plan.sites[1]
    strike = Strike((site.region,), hold_s=2.0)
    stage.kill(site.engine, with_supervisor=True)
    yield strike
    folder = stage.place.engine(site)
    gone = stage.folder / "chaos" / f"{site.engine}.{len(list((stage.folder / 'chaos').glob(f'{site.engine}.*')))}"
    shutil.copytree(folder, gone)
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    other = msgspec.structs.replace(site, public_key=public_key_of(key_of(folder)).hex())
    invariant(other.public_key != site.public_key and (folder / KEY_NAME).exists(), "another engine has another key")
    stage.wiring.replace(other)
    write_cluster(stage.place, stage.plan)
    accepted = asyncio.run(_define(stage, other))
    stage.up(site.engine)
    named = read_plan(stage.folder).sites[1].public_key == other.public_key
    strike.confirm(f"{site.engine} has another key and began with an empty folder", that=accepted and named)
