"""Settings of all tests: importable helpers, and how hypothesis looks for counterexamples."""

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

_TESTS = Path(__file__).parent
sys.path[:0] = [str(_TESTS), str(_TESTS.parent / "tools")]

# The first example of a test may wait for a compiler, so no example has a deadline. Where CI is set, the same examples
# run every time: a failure there can be repeated by anybody. HYPOTHESIS_PROFILE=search looks for new ones, longer.
_SLOW_GENERATION = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("local", deadline=None, suppress_health_check=_SLOW_GENERATION)
settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=_SLOW_GENERATION)
settings.register_profile("search", deadline=None, max_examples=5_000, suppress_health_check=_SLOW_GENERATION)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "local"))
