"""The servers of a cluster that run on this machine.

What lives here: starting one, knowing that it runs, ending it so that nobody waits for an election. What may not: what
the servers keep.
"""

import http.client
import json
import signal
import time
from pathlib import Path

from holdfast.cluster import layout
from holdfast.cluster.errors import ForeignError, NotReadyError, StartError
from holdfast.cluster.layout import Layout
from holdfast.cluster.plan import LOOPBACK, PLAN_NAME, Plan, Site
from holdfast.cluster.processes import Process, find, said, start
from holdfast.cluster.server_file import LAME_DUCK_S
from holdfast.log.jetstream.server import server_binary

START_S = 15.0
_POLL_S = 0.02
_MONITOR_S = 2.0


def server_process(place: Layout, site: Site) -> Process | None:
    """The process of a site's server that was started from this folder; None where none runs."""
    return find(place.server(site) / layout.SERVER_PROCESS)


def server_runs(place: Layout, site: Site) -> bool:
    """Whether a site's server runs on this machine, whoever started it."""
    return server_process(place, site) is not None or bool(monitored(site))


def monitored(site: Site, page: str = "/varz") -> dict[str, object]:
    """What a server on this machine says about itself; empty where it does not answer.

    Raises:
        ForeignError: Something else answers there.
    """
    connection = http.client.HTTPConnection(LOOPBACK, site.monitor_port, timeout=_MONITOR_S)
    try:
        connection.request("GET", page)
        answer = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException):
        return {}
    except ValueError:
        answer = None
    finally:
        connection.close()
    if not isinstance(answer, dict) or answer.get("server_name") != site.server:
        problem = f"something else answers on its monitor port {site.monitor_port}"
        raise ForeignError(site.server, problem, f"end that, or change the port in {PLAN_NAME}")
    return answer


def start_server(plan: Plan, place: Layout, site: Site) -> Process:
    """Start a site's server and wait until it takes connections.

    Raises:
        StartError: It ended while it started.
        NotReadyError: It did not answer in time.
    """
    folder = place.server(site)
    output = folder / layout.SERVER_LOG
    process = start([str(_program(plan)), "-c", layout.SERVER_FILE], folder, output)
    process.write(folder / layout.SERVER_PROCESS)
    deadline = time.monotonic() + START_S
    while not monitored(site):
        if not process.is_alive:
            raise StartError(site.server, f"ended while it started{said(output)}", f"read {output}")
        if time.monotonic() > deadline:
            raise NotReadyError(site.server, f"does not answer within {START_S:g} s", f"read {output}")
        time.sleep(_POLL_S)
    return process


def _program(plan: Plan) -> Path:
    return server_binary(Path(plan.programs.server) if plan.programs.server else None)


def retire_server(process: Process, site: Site) -> None:
    """End a server in lame-duck mode: it hands over what it leads and sends its clients away, then ends.

    Raises:
        NotReadyError: It did not end in time.
    """
    process.signal(signal.SIGUSR2)
    if not process.wait(2 * LAME_DUCK_S):
        problem = f"did not end within {2 * LAME_DUCK_S} s of being told to hand over"
        raise NotReadyError(site.server, problem, "see its log; `holdfast cluster down` with its name ends it at once")
