"""What the tests of the core share: a venue ready for trade."""

import pytest
from fold_driver import Driver, venue


@pytest.fixture(name="venue")
def _venue():
    return venue()


@pytest.fixture
def driver():
    return Driver()
