"""The generator of random logs lives beside the first engine's tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "core"))
