"""`remargin`: the scan requirement of a whole venue's accounts, on one core."""

import resource
import sys
from collections.abc import Callable

import numpy as np

from holdfast.bench.population import Population, arrays_of_venue, population, preset_population, preset_table
from holdfast.bench.result import Figure, Result, at_least, at_most, digest_of, result_of
from holdfast.bench.sparse import SparseSweep
from holdfast.bench.timing import Samples, interleaved
from holdfast.bench.yardstick import Yardstick, compiled_yardstick
from holdfast.domain.errors import invariant
from holdfast.margin import kernel
from holdfast.margin.table import Floats

ACCOUNTS, ROUNDS = 1_000_000, 7
AGREEMENT = 1e-9
"""Largest difference between contenders relative to the largest requirement; only the order of sums differs."""
OFF = "multipliers off"
C_OFF, HOLDFAST_OFF = f"C, {OFF}", f"Holdfast, {OFF}"
SCIPY, SCIPY_CUT = f"SciPy sparse product, {OFF}", f"SciPy sparse product, chunks cut beforehand, {OFF}"
PRODUCT = f"SciPy sparse product without minima or underlyings, {OFF}"
COMPLETE = "Holdfast, complete margin"
PRESET = f"{COMPLETE}, preset portfolio, a tenth of the accounts"
PRESET_PART = 10


def benchmark(*, size: int | None, repeat: int | None) -> Result:
    """Time the sweep, its yardstick and its peers on the same accounts."""
    with compiled_yardstick() as yardstick:
        return _measured(population(size or ACCOUNTS), yardstick, repeat or ROUNDS)


def _measured(accounts: Population, yardstick: Yardstick | None, rounds: int) -> Result:
    on, off = arrays_of_venue(with_multipliers=True), arrays_of_venue(with_multipliers=False)
    with_multipliers, without = np.zeros(accounts.accounts), np.zeros(accounts.accounts)
    complete = np.zeros((accounts.accounts, 3))
    contenders: dict[str, Callable[[], object]] = {
        "holdfast": lambda: kernel.sweep_scan(on, *accounts, with_multipliers)
    }
    expected: list[tuple[str, Floats, Floats]] = []
    if yardstick is not None:
        sweeps = (yardstick.sweep_groups(on, accounts), yardstick.sweep_underlyings(off, accounts))
        contenders |= {"yardstick": sweeps[0]}
        expected += [("C", sweeps[0].out, with_multipliers), (C_OFF, sweeps[1].out, without)]
    contenders[HOLDFAST_OFF] = lambda: kernel.sweep_scan(off, *accounts, without)
    if yardstick is not None:
        contenders[C_OFF] = sweeps[1]
    scipy = SparseSweep(off, accounts)
    expected.append((SCIPY, scipy.out, without))
    contenders |= {SCIPY: scipy.sweep, SCIPY_CUT: scipy.sweep_of_chunks, PRODUCT: scipy.product_alone}
    contenders[COMPLETE] = lambda: kernel.sweep(on, *accounts, complete)
    table = preset_table()
    others = preset_population(table, max(1, accounts.accounts // PRESET_PART))
    preset = np.zeros((others.accounts, 3))
    contenders[PRESET] = lambda: kernel.sweep(table.arrays, *others, preset)
    samples = interleaved(contenders, rounds)
    for name, theirs, ours in expected:
        difference = float(np.abs(theirs - ours).max() / np.abs(ours).max())
        invariant(difference <= AGREEMENT, f"{name} and Holdfast disagree by {difference:.2g} of the largest margin")
    return _result(accounts.accounts, samples, yardstick, scipy.chunk, digest_of((with_multipliers, without)))


def _result(accounts: int, samples: Samples, yardstick: Yardstick | None, chunk: int, digest: str) -> Result:
    memory = _peak_memory_bytes()
    nanoseconds = {name: samples.median(name) / accounts * 1e9 for name in samples.seconds}
    nanoseconds[PRESET] = samples.median(PRESET) / max(1, accounts // PRESET_PART) * 1e9
    figures = {
        "peak memory of the process": Figure(memory / 1e9, "GB"),
        "SciPy's best chunk": Figure(chunk, "accounts"),
        "per account, complete margin": Figure(nanoseconds[COMPLETE], "ns"),
        "per account, complete margin, preset": Figure(nanoseconds[PRESET], "ns"),
        f"per account, {OFF}": Figure(nanoseconds[HOLDFAST_OFF], "ns"),
    }
    ratio = c_off = None
    if yardstick is not None:
        ratio = samples.ratio("holdfast", "yardstick")
        c_off = samples.shortest(C_OFF) / accounts * 1e9
        figures |= {
            "per account, C": Figure(nanoseconds["yardstick"], "ns"),
            f"per account, C, {OFF}": Figure(nanoseconds[C_OFF], "ns"),
            f"per account, C, {OFF}, shortest": Figure(c_off, "ns"),
        }
    fair = yardstick is not None and yardstick.vectors == "AVX-512"
    return result_of(
        "remargin",
        accounts,
        samples,
        yardstick=None if yardstick is None else f"C with {yardstick.vectors} vectors ({yardstick.compiler})",
        peers={name: samples.median(name) for name in samples.seconds if name not in ("holdfast", "yardstick")},
        ratios={
            name: samples.ratio(name, HOLDFAST_OFF) for name in (C_OFF, SCIPY, SCIPY_CUT, PRODUCT) if name in samples
        },
        figures=figures,
        targets=[
            at_most("at most 1.5 times the C yardstick", ratio, 1.5),
            at_most(f"the yardstick is fair: at most 75 ns per account, {OFF}", c_off if fair else None, 75.0),
            at_least(
                f"SciPy's sparse product takes at least 5 times as long, {OFF}", samples.ratio(SCIPY, HOLDFAST_OFF), 5.0
            ),
            at_most("under 2 GB", memory / 1e9, 2.0),
        ],
        notes=_notes(yardstick),
        digest=digest,
    )


def _notes(yardstick: Yardstick | None) -> list[str]:
    notes = [f"ratios of {OFF} are to Holdfast's own time with {OFF}"]
    if yardstick is None:
        notes.append("no C compiler here, or it failed: there is no yardstick in this run; install gcc or clang")
    return notes


def _peak_memory_bytes() -> int:
    """The largest resident size that this process has had; the system counts it in kilobytes, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
