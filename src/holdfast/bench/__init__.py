"""The benchmarks: how fast the margin core is on this machine, beside its peers and a yardstick, in one run.

What lives here: measuring, and so the only clocks outside what people see. The libraries it compares with are imported
when a benchmark runs. The figures and their targets: docs/benchmarks.md.

    >>> from holdfast import bench
    >>> result = bench.run("account")  # doctest: +SKIP
"""

from holdfast.bench.result import Figure, Result, Target, render
from holdfast.bench.run import NAMES, run

__all__ = ["NAMES", "Figure", "Result", "Target", "render", "run"]
