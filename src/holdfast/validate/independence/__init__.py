"""How independent the two engines are, measured: mutants of each against the other, and noise.

What lives here: `measure`, which plants errors in the source of one engine or of both, runs them over a bank of inputs
beside the other, and says what a comparison finds, what it lets through, and what would have been liquidated wrongly.
What may not: anything that a running engine uses. Specification: specs/independence.md.
"""

from holdfast.validate.independence.run import Measurement, measure

__all__ = ["Measurement", "measure"]
