"""An engine that, where a file `wrong` lies beside its own, values coins and contracts a hundredth too low."""

import sys
from pathlib import Path

import numpy as np

from holdfast.core import marks
from holdfast.margin.table import LineField
from holdfast.replica.configuration import read_configuration
from holdfast.replica.node.process import run

_build = marks.build_table


def build_table(*arguments):
    table = _build(*arguments)
    others = np.arange(len(table.arrays.values)) != table.line_of_asset.get("USD", -1)
    table.arrays.values[others] *= 0.99
    table.arrays.today[others] *= 0.99
    table.arrays.lines[others, LineField.TODAY] *= 0.99
    return table


file = Path(sys.argv[1])
if (file.parent / "wrong").exists():
    marks.build_table = build_table
sys.exit(run(read_configuration(file)))
