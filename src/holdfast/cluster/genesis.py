"""The first commands of a cluster's log: its rules and its replicas.

They are sent once, by the folder of the first region or the one that directs machines, and `genesis.json` then says so.
Were they sent twice, the log would say the same again. What lives here: which commands. What may not: how a command
gets into the log, which is the client's.
"""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from holdfast.client.asynchronous import AsyncClient
from holdfast.client.configuration import Configuration
from holdfast.cluster.connections import configuration_of
from holdfast.cluster.errors import ClusterError
from holdfast.cluster.layout import Layout
from holdfast.cluster.plan import Plan
from holdfast.domain.commands import ColdCommand, DefineReplica, SetRules
from holdfast.domain.reasons import Reason
from holdfast.replica.folder import replace_file

Sender = Callable[[Configuration, Sequence[ColdCommand]], Awaitable[None]]
"""Takes a role's configuration and commands; returns once the log has accepted all of them."""


def is_due(place: Layout, plan: Plan) -> bool:
    """Whether this folder is the one to send them, and has not."""
    directs = not plan.here or plan.sites[0].region in plan.here
    return directs and not place.genesis.exists()


def commands(plan: Plan) -> tuple[ColdCommand, ...]:
    """The rules, then the replicas in the order of their numbers."""
    replicas = (DefineReplica(site.engine, bytes.fromhex(site.public_key), site.region) for site in plan.sites)
    # With a state root at every breach each liquidation can be proved to outsiders.
    return (SetRules(breach_checkpoints=1), *replicas)


async def genesis(place: Layout, plan: Plan, send: Sender | None = None) -> bool:
    """Send the first commands where they are due; whether they were sent.

    Args:
        place: The cluster's folder.
        plan: Its plan.
        send: How; by default through a client as operator.
    """
    if not is_due(place, plan):
        return False
    await (send or _through_client)(configuration_of(place, "operator"), commands(plan))
    replace_file(place.genesis, msgspec.json.encode({"replicas": [site.engine for site in plan.sites]}) + b"\n")
    return True


async def _through_client(configuration: Configuration, first: Sequence[ColdCommand]) -> None:
    async with AsyncClient(configuration, name="genesis") as client:
        receipt = await client.submit_cold(first)
    for index in receipt.refused.tolist():
        reason = Reason(int(receipt.outcomes[index]["reason"])).name
        advice = "mend cluster.toml, or delete genesis.json where the log was begun another way"
        raise ClusterError("the log's first commands", f"{first[index]} was refused: {reason}", advice)
