"""A client's file: how to reach the cluster, and as whom. TOML, written by `holdfast cluster up`.

    region = "amsterdam"                     # where this program runs: the nearest replica is asked first

    [log]
    servers = ["tls://127.0.0.1:4222"]       # near first
    user = "client"
    password = "…"
    certificate_authority = "authority.pem"  # paths count from the folder of the file
    inbox = "_INBOX.client"

    [[replicas]]
    name = "engine-amsterdam"
    region = "amsterdam"

What lives here: this file, and what it shares with a replica's (the way to the log, names, the reading of TOML). A file
with a field that means nothing is refused, so that a misspelt one is never ignored. What may not: connections.
"""

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import msgspec

from holdfast.domain.errors import InputError
from holdfast.domain.reading import decoded, located

if TYPE_CHECKING:
    from holdfast.log.jetstream.connection import Access

NAME_LENGTH_MAXIMUM = 48
"""Of names of replicas, servers, regions and users: they are parts of subjects and names of folders."""
_NAME = re.compile(rf"[a-z0-9](?:[a-z0-9-]{{0,{NAME_LENGTH_MAXIMUM - 2}}}[a-z0-9])?", re.ASCII)
_SERVER = re.compile(r"(?P<scheme>tls|nats)://(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):(?P<port>\d{1,5})", re.ASCII)
_INBOX = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*", re.ASCII)
_PLACED = re.compile(r"(?P<what>.*?)(?: - at `\$?(?P<place>[^`]*)`)?", re.DOTALL)
_FIELD = re.compile(r"Object (?P<problem>contains unknown|missing required) field `(?P<field>[^`]*)`")

T = TypeVar("T")


class LogAccess(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The way to the servers of the log.

    Attributes:
        servers: Addresses as `tls://host:port`, near ones first.
        user: As whom.
        password: Of the user.
        inbox: Prefix of the subjects on which answers come; the only ones the user may choose.
        certificate_authority: File of the authority that signed the servers' certificates; without it the connection
            is not encrypted, and the addresses are `nats://host:port`.
    """

    servers: tuple[str, ...]
    user: str
    password: str
    inbox: str
    certificate_authority: Path | None = None

    def access(self) -> "Access":
        """The same as the log's connections take it."""
        # Here, so that a file can be read and checked where nats-py is not installed.
        from holdfast.log.jetstream.connection import Access  # noqa: PLC0415

        return Access(
            servers=self.servers,
            user=self.user,
            password=self.password,
            certificate_authority=self.certificate_authority,
            inbox=self.inbox,
        )


class ReplicaPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A replica that may be asked."""

    name: str
    region: str


class Configuration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client knows of its cluster.

    Attributes:
        log: The way to the servers.
        replicas: All replicas, in the order of their numbers.
        region: Of the client: replicas of this region are asked first. Empty where it does not matter.
    """

    log: LogAccess
    replicas: tuple[ReplicaPlace, ...]
    region: str = ""


def read_configuration(path: Path) -> Configuration:
    """A client's configuration.

    Args:
        path: Of the TOML file. Paths in it count from its folder.

    Raises:
        InputError: The file is no such configuration; the field is named.
        OSError: The file cannot be read.
    """
    with located(path.name):
        configuration = read_toml(path, Configuration)
        check_log(configuration.log, "log")
        check_places(configuration.replicas)
        if configuration.region:
            check_name(configuration.region, "region")
    return configuration


def read_toml(path: Path, kind: type[T]) -> T:
    """The values of a TOML file as a struct; paths in it are made to count from the file's folder.

    Raises:
        InputError: It is not TOML, a field is unknown, missing, or of another type.
        OSError: The file cannot be read.
    """
    try:
        values = tomllib.loads(decoded(path.read_bytes(), ""))
    except tomllib.TOMLDecodeError as error:
        raise InputError("malformed", "", None, f"mend the TOML: {error}") from None
    folder = path.parent.absolute()

    def value_of(wanted: type, given: Any) -> Any:
        if wanted is not Path or not isinstance(given, str) or not given:
            raise TypeError("Expected the text of a path")
        return folder / given

    try:
        return msgspec.convert(values, kind, dec_hook=value_of)
    except msgspec.ValidationError as error:
        _refuse(str(error))


def check_name(name: str, field: str) -> None:
    """Refuse what cannot be part of a subject and the name of a folder."""
    if not _NAME.fullmatch(name):
        advice = f"use at most {NAME_LENGTH_MAXIMUM} small letters, digits and hyphens, no hyphen at an end"
        raise InputError("malformed", field, name, advice)


def check_log(log: LogAccess, field: str) -> None:
    """Refuse addresses, users and inboxes that cannot be."""
    with located(field):
        if not log.servers:
            raise InputError("missing-field", "servers", None, "give at least one address")
        scheme = "nats" if log.certificate_authority is None else "tls"
        for place, server in enumerate(log.servers):
            found = _SERVER.fullmatch(server)
            if found is None or not 0 < int(found["port"]) <= 65_535:
                raise InputError("malformed", f"servers[{place}]", server, f"write it like {scheme}://10.0.0.1:4222")
            if found["scheme"] != scheme:
                advice = "write tls:// with a certificate_authority, and nats:// without one"
                raise InputError("malformed", f"servers[{place}]", server, advice, "does not fit the rest")
        check_name(log.user, "user")
        if not log.password:
            raise InputError("missing-field", "password", None, "give the user's password")
        if not _INBOX.fullmatch(log.inbox):
            raise InputError("malformed", "inbox", log.inbox, "write it like _INBOX.client")


def check_places(replicas: "tuple[ReplicaPlace, ...]", field: str = "replicas") -> None:
    """Refuse a list of replicas that is empty, or in which a name is wrong or given twice."""
    if not replicas:
        raise InputError("missing-field", field, None, "give at least one replica")
    known: set[str] = set()
    for place, replica in enumerate(replicas):
        with located(f"{field}[{place}]"):
            check_name(replica.name, "name")
            check_name(replica.region, "region")
            if replica.name in known:
                raise InputError("duplicate-line", "name", replica.name, "give each replica once")
        known.add(replica.name)


def _refuse(message: str) -> NoReturn:
    """What the decoder found wrong, in the form of all errors."""
    placed = _PLACED.fullmatch(message)
    place = (placed["place"] or "").lstrip(".") if placed else ""
    what = placed["what"] if placed else message
    found = _FIELD.fullmatch(what)
    if found is None:
        problem = f"{what[0].lower()}{what[1:]}".replace("`", "")
        raise InputError("malformed", place, None, "mend it", f"cannot be read ({problem})")
    field = f"{place}.{found['field']}".lstrip(".")
    if found["problem"] == "missing required":
        raise InputError("missing-field", field, None, "add it")
    raise InputError("malformed", field, None, "remove it, or mend its spelling", "means nothing")
