"""`cluster`: three servers of the log and three engines on this machine, under load, and then killed one by one.

What lives here: the stage (`stage`), the load (`load`), the faults (`faults`), the audit of what was acknowledged
against the log (`audit`), and the flow of them all (`run`).
"""

from holdfast.bench.cluster.result import ClusterResult, Gap, render
from holdfast.bench.cluster.run import benchmark

__all__ = ["ClusterResult", "Gap", "benchmark", "render"]
