"""What the tests of proofs share: the venue of the core's tests, kept in a log and signed by its replicas."""

import sys
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).parents[1] / other) for other in ("core", "margin")]

import signed_venue


@pytest.fixture(scope="session")
def venue_log():
    """A venue of three replicas in two regions that liquidated an account; nobody may append to it."""
    return signed_venue.liquidated()


@pytest.fixture(scope="session")
def prover(venue_log):
    return signed_venue.prover_of(venue_log)
