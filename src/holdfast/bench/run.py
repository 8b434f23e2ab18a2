"""The benchmarks by name."""

from typing import Protocol

from holdfast.bench import embedded, fold, remargin, risk_table, single_account, witness
from holdfast.bench.result import Result
from holdfast.domain.errors import InputError


class Benchmark(Protocol):
    """A benchmark: its size and repeats have defaults, which are what docs/benchmarks.md quotes."""

    def __call__(self, *, size: int | None, repeat: int | None) -> Result:
        """Measure."""


BENCHMARKS: dict[str, Benchmark] = {
    "risk-table": risk_table.benchmark,
    "remargin": remargin.benchmark,
    "account": single_account.benchmark,
    "fold": fold.benchmark,
    "embedded": embedded.benchmark,
    "witness": witness.benchmark,
}
NAMES = tuple(BENCHMARKS)


def run(name: str, *, size: int | None = None, repeat: int | None = None) -> Result:
    """Run one benchmark.

    Args:
        name: One of `NAMES`.
        size: Accounts (`remargin`), options (`risk-table`) or positions (`account`); the documented size if not given.
        repeat: Rounds to take medians over.

    Returns:
        Times, ratios and digests.

    Raises:
        InputError: No such benchmark; a size or a repeat below 1; or a peer is not installed.
    """
    if name not in BENCHMARKS:
        raise InputError("malformed", "NAME", name, f"use one of {', '.join(NAMES)}", "is not a benchmark")
    for field, value in (("size", size), ("repeat", repeat)):
        if value is not None and value < 1:
            raise InputError("out-of-range", field, value, "give a whole number of at least 1")
    return BENCHMARKS[name](size=size, repeat=repeat)
