"""Settings of the log's tests."""

import pytest

pytest.register_assert_rewrite("conformance")
