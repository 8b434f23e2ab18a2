"""The second engine: the same log, another method, written from the specifications alone.

What lives here: `Witness`, which follows a log beside the first engine and is asked for margins to compare. Sparse and
dense matrix products over all accounts, SciPy's normal distribution, its own reading of frames, names, units and
parameters, its own netting. What may not: anything of `core`, `margin` or `pricing`; of the package only the errors.
Contract: specs/witness.md.
"""

from holdfast.witness.accounts import Margins
from holdfast.witness.engine import Difference, Witness

__all__ = ["Difference", "Margins", "Witness"]
