"""An engine with a planted error: its first engine values every contract and coin a hundredth too high."""

import sys
from pathlib import Path

import numpy as np

from holdfast.core import marks
from holdfast.replica.configuration import read_configuration
from holdfast.replica.node.process import run

_build = marks.build_table


def build_table(*arguments):
    table = _build(*arguments)
    for name in ("values", "today"):
        values = getattr(table.arrays, name)
        lines = np.arange(len(values)) != table.line_of_asset.get("USD", -1)
        values[lines] *= 1.01
    return table


marks.build_table = build_table
sys.exit(run(read_configuration(Path(sys.argv[1]))))
