"""The configuration file of one NATS server.

What lives here: the settings and why each has its value. Paths in the file count from the server's folder, in which the
server is started, so that the folder can be moved. What may not: the users' rights, which are in `permissions`.
"""

import json
from typing import Any

from holdfast.cluster import layout
from holdfast.cluster.permissions import Rights, rights, system_rights
from holdfast.cluster.plan import LOOPBACK, Plan, Site, address_of

PAYLOAD_BYTES_MAXIMUM = 2 * 1024 * 1024
"""Longest message. A frame has at most 256 KiB, unless a single command is longer."""
LAME_DUCK_S = 30
"""In lame-duck mode a server closes its connections over this time, each at most a second after the one before. The
server takes no shorter time."""
ACCOUNT, SYSTEM_ACCOUNT = "HOLDFAST", "SYS"
REGION_TAG = "region:"
NOWHERE = f"{LOOPBACK}:1"
_LOG_BYTES, _LOG_FILES = 16 * 1024 * 1024, 4


def server_text(plan: Plan, site: Site) -> str:
    """The configuration of the server of a site."""
    heading = f"# {site.server} of the cluster {plan.name}. Written by holdfast from cluster.toml; change it there."
    return (
        "\n".join([heading, *(f"{name}: {json.dumps(value)}" for name, value in _settings(plan, site).items())]) + "\n"
    )


def _settings(plan: Plan, site: Site) -> dict[str, Any]:
    return {
        "server_name": site.server,
        "server_tags": [f"{REGION_TAG}{site.region}"],
        "listen": address_of(site.listen, site.client_port),
        "http": f"{LOOPBACK}:{site.monitor_port}",
        "tls": _tls(),
        "max_payload": PAYLOAD_BYTES_MAXIMUM,
        # A stopped process keeps its connections: they are closed, and requests go elsewhere, after three pings.
        "ping_interval": "2s",
        "ping_max": 2,
        "lame_duck_duration": f"{LAME_DUCK_S}s",
        "lame_duck_grace_period": "1s",
        "log_file": layout.SERVER_LOG,
        "logfile_size_limit": _LOG_BYTES,
        "logfile_max_num": _LOG_FILES,
        "jetstream": {
            "store_dir": layout.SERVER_DATA,
            # An acknowledgement means that a majority has forced the message to its storage.
            "sync_interval": "always",
            # The copies of a stream are never put in one region.
            "unique_tag": REGION_TAG,
        },
        **_cluster(plan, site),
        "system_account": SYSTEM_ACCOUNT,
        "accounts": _accounts(plan),
    }


def _cluster(plan: Plan, site: Site) -> dict[str, Any]:
    if len(plan.sites) == 1:
        return {}
    routes = {
        "name": plan.name,
        "listen": address_of(site.listen, site.route_port),
        # Addresses are those of the plan, as relays and firewalls need it; none is passed on.
        "no_advertise": True,
        "ping_interval": "1s",
        "ping_max": 2,
        "tls": {**_tls(), "ca_file": layout.AUTHORITY_NAME, "verify": True},
        "routes": [plan.route_address(site.server, other) for other in plan.sites if other is not site],
    }
    if plan.ways:
        # Servers tell each other of third ones all the same: the address told is one that nobody answers at, so that
        # no connection is made beside the ways of the plan.
        routes["advertise"] = NOWHERE
    return {"cluster": routes}


def _tls() -> dict[str, Any]:
    # Five seconds, for handshakes on machines that are busy just then.
    files = {"cert_file": layout.SERVER_CERTIFICATE, "key_file": layout.SERVER_KEY}
    return {**files, "min_version": "1.3", "timeout": 5}


def _accounts(plan: Plan) -> dict[str, Any]:
    users = [_user(user, plan.passwords[user], granted) for user, granted in rights(plan).items()]
    system = _user("system", plan.passwords["system"], system_rights())
    return {SYSTEM_ACCOUNT: {"users": [system]}, ACCOUNT: {"jetstream": "enabled", "users": users}}


def _user(name: str, password: str, granted: Rights) -> dict[str, Any]:
    permissions = {"publish": {"allow": granted.publish}, "subscribe": {"allow": granted.subscribe}}
    return {"user": name, "password": password, "permissions": permissions}
