"""What a benchmark says: data with names, the same in Python, JSON and a table."""

import hashlib
import os
import platform
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import msgspec
import numpy as np

from holdfast.bench.timing import Samples

PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "QuantLib")


class Figure(msgspec.Struct, frozen=True):
    """One further number.

    Attributes:
        value: The number.
        unit: Its unit.
    """

    value: float
    unit: str


class Target(msgspec.Struct, frozen=True):
    """What a number should be, and whether it is.

    Attributes:
        text: The target in words.
        value: The number; None where this machine or installation cannot measure it.
        limit: The bound.
        is_met: Whether the number keeps to the bound; None without a number.
    """

    text: str
    value: float | None
    limit: float
    is_met: bool | None


def at_most(text: str, value: float | None, limit: float) -> Target:
    """A target that a number must not exceed."""
    return Target(text, value, limit, None if value is None else value <= limit)


def at_least(text: str, value: float | None, limit: float) -> Target:
    """A target that a number must reach."""
    return Target(text, value, limit, None if value is None else value >= limit)


class Result(msgspec.Struct, frozen=True):
    """The result of one benchmark.

    Attributes:
        name: The benchmark.
        items: What one pass works through: accounts, option values, calls.
        repeats: Passes measured.
        seconds: Median time of a pass of Holdfast's code.
        seconds_min: The shortest.
        per_item_ns: Median time per item.
        yardstick: What the yardstick is; None where there is none here.
        yardstick_seconds: Its median time for the same work.
        ratio_to_yardstick: Median over rounds of Holdfast's time over the yardstick's in the same round.
        peers: Median time of a pass of each other contender, seconds.
        ratios: For each of them, the median over rounds of its time over Holdfast's for the same work.
        figures: Further numbers.
        targets: What the project promises, and whether this run keeps it.
        notes: What to know when reading the numbers.
        digest: SHA-256 of Holdfast's results: the same on every machine, for one size and one version of NumPy, which
            makes up the population.
        machine: Processor, cores, system.
        versions: Python, Holdfast and the packages that took part.
    """

    name: str
    items: int
    repeats: int
    seconds: float
    seconds_min: float
    per_item_ns: float
    yardstick: str | None
    yardstick_seconds: float | None
    ratio_to_yardstick: float | None
    peers: dict[str, float]
    ratios: dict[str, float]
    figures: dict[str, Figure]
    targets: list[Target]
    notes: list[str]
    digest: str
    machine: dict[str, str]
    versions: dict[str, str]


def result_of(
    name: str,
    items: int,
    samples: Samples,
    *,
    yardstick: str | None,
    peers: dict[str, float],
    ratios: dict[str, float],
    figures: dict[str, Figure],
    targets: list[Target],
    notes: list[str],
    digest: str,
) -> Result:
    """A result from samples whose contender `holdfast` is the subject and `yardstick`, if there, the yardstick."""
    seconds = samples.median("holdfast")
    measured = "yardstick" in samples
    return Result(
        name=name,
        items=items,
        repeats=samples.rounds,
        seconds=seconds,
        seconds_min=samples.shortest("holdfast"),
        per_item_ns=seconds / items * 1e9,
        yardstick=yardstick if measured else None,
        yardstick_seconds=samples.median("yardstick") if measured else None,
        ratio_to_yardstick=samples.ratio("holdfast", "yardstick") if measured else None,
        peers=peers,
        ratios=ratios,
        figures=figures,
        targets=targets,
        notes=notes,
        digest=digest,
        machine=machine(),
        versions=versions(),
    )


def digest_of(arrays: Iterable[np.ndarray]) -> str:
    """SHA-256 over the bytes of arrays, in hexadecimal."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def machine() -> dict[str, str]:
    """The processor's name, the cores this process may use, and the system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cores": str(cores),
        "system": platform.platform(terse=True),
    }


def _processor() -> str:
    """Family and model stand beside the name, which hypervisors cut short."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    name = fields.get("model name", platform.processor() or "unknown")
    family = [f"{word} {fields[key]}" for word, key in (("family", "cpu family"), ("model", "model")) if key in fields]
    return ", ".join([name, *family])


def versions() -> dict[str, str]:
    """Versions of Python, Holdfast and the packages that can take part in a benchmark."""
    found = {"python": sys.version.split()[0]}
    for package in ("holdfast", *PACKAGES):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def render(result: Result) -> list[tuple[str, str]]:
    """Rows of (what, number with unit) for a table."""
    rows = [
        ("Holdfast", f"{result.seconds:.4g} s, {result.per_item_ns:.4g} ns per item ({result.items:,} items)"),
        ("shortest", f"{result.seconds_min:.4g} s in {result.repeats} rounds"),
    ]
    if result.yardstick_seconds is not None:
        rows.append((f"yardstick: {result.yardstick}", f"{result.yardstick_seconds:.4g} s"))
        rows.append(("ratio to the yardstick", f"{result.ratio_to_yardstick:.3f}"))
    for peer, seconds in result.peers.items():
        times = f", {result.ratios[peer]:.3g} times Holdfast's time" if peer in result.ratios else ""
        rows.append((peer, f"{seconds:.4g} s{times}"))
    rows += [(name, f"{figure.value:,.4g} {figure.unit}") for name, figure in result.figures.items()]
    verdict = {True: "met", False: "missed", None: "not measured here"}
    rows += [
        (target.text, f"{verdict[target.is_met]}" + ("" if target.value is None else f" ({target.value:.4g})"))
        for target in result.targets
    ]
    return rows + [("note", note) for note in result.notes]
