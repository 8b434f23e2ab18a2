"""Where things lie in a cluster's folder.

    cluster.toml                       the plan: all other files but keys and data follow from it
    cluster.lock                       held by the command at work
    genesis.json                       that the log was begun, and where
    authority/authority.pem, .key      what signs the servers' certificates; the key may be kept elsewhere
    servers/<server>/                  server.conf, server.pem, server.key, authority.pem, data/, server.log, server.pid
    engines/<engine>/                  engine.toml, authority.pem, replica.key and what the engine keeps, engine.log,
                                       supervisor.pid, engine.pid
    clients/                           <role>.toml for each role, authority.pem
    machines/<region>/                 where each region has its own machine: the folder to copy there

What lives here: the names. What may not: contents.
"""

from dataclasses import dataclass
from pathlib import Path

from holdfast.cluster.plan import PLAN_NAME, Site

AUTHORITY_NAME, AUTHORITY_KEY_NAME = "authority.pem", "authority.key"
SERVER_FILE, SERVER_CERTIFICATE, SERVER_KEY = "server.conf", "server.pem", "server.key"
SERVER_LOG, SERVER_PROCESS, SERVER_DATA = "server.log", "server.pid", "data"
ENGINE_FILE, ENGINE_LOG, ENGINE_PROCESS = "engine.toml", "engine.log", "engine.pid"
SUPERVISOR_PROCESS, SUPERVISOR_LOCK = "supervisor.pid", "supervisor.lock"


@dataclass(frozen=True)
class Layout:
    """Paths within one cluster's folder."""

    folder: Path

    @property
    def plan(self) -> Path:
        """The plan."""
        return self.folder / PLAN_NAME

    @property
    def lock(self) -> Path:
        """Held while a command changes something."""
        return self.folder / "cluster.lock"

    @property
    def genesis(self) -> Path:
        """That the log was begun."""
        return self.folder / "genesis.json"

    @property
    def authority(self) -> Path:
        """The certificate authority's certificate."""
        return self.folder / "authority" / AUTHORITY_NAME

    @property
    def authority_key(self) -> Path:
        """Its private key."""
        return self.folder / "authority" / AUTHORITY_KEY_NAME

    @property
    def clients(self) -> Path:
        """Folder of the roles' files."""
        return self.folder / "clients"

    def client(self, role: str) -> Path:
        """The file of a role."""
        return self.clients / f"{role}.toml"

    def server(self, site: Site) -> Path:
        """Folder of a site's server."""
        return self.folder / "servers" / site.server

    def engine(self, site: Site) -> Path:
        """Folder of a site's engine."""
        return self.folder / "engines" / site.engine

    def machine(self, site: Site) -> "Layout":
        """The folder to copy to a site's machine."""
        return Layout(self.folder / "machines" / site.region)
