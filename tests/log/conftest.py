"""Settings of the log's tests, and one cluster of real servers for all that need one."""

import asyncio

import pytest

pytest.register_assert_rewrite("conformance")


@pytest.fixture(scope="session")
def running_servers(tmp_path_factory):
    """Three servers, started once."""
    pytest.importorskip("nats")
    from servers import NAMES, Servers  # noqa: PLC0415

    servers = Servers(tmp_path_factory.mktemp("servers"))
    try:
        servers.start(*NAMES)
        yield servers
    finally:
        servers.kill()


@pytest.fixture
def servers(running_servers):
    """The three servers with an empty stream; those that a test stopped run again."""
    asyncio.run(running_servers.renew())
    return running_servers
