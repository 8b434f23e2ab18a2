"""Makes `tests/targets.py` and the programs of `tools/` importable."""

import sys
from pathlib import Path

_REPOSITORY = Path(__file__).parents[2]
sys.path[:0] = [str(_REPOSITORY / "tests"), str(_REPOSITORY / "tools")]
