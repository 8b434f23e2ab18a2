import pytest

from holdfast.stress.history import PriceHistory, load_window
from holdfast.stress.market import MarketPath
from holdfast.stress.population import Population, population
from stress.windows import path_of


@pytest.fixture
def history() -> PriceHistory:
    return load_window("2020-03")


@pytest.fixture
def path() -> MarketPath:
    return path_of("2020-03")


@pytest.fixture(scope="session")
def people() -> Population:
    return population(path_of("2020-03"), accounts=2_000)
