"""A replica's file: who it is, where it keeps what it knows, and how it reaches the log.

It is TOML, written by `holdfast cluster up` and read by `holdfast replica run FILE`:

    cluster = "holdfast"
    name = "engine-amsterdam"
    region = "amsterdam"
    folder = "."                             # holds replica.key, the copy of the log, snapshots

    [log]                                    # as in a client's file (client/configuration.py)
    servers = ["tls://127.0.0.1:4222", "tls://127.0.0.1:4223"]
    user = "engine-amsterdam"
    password = "…"
    certificate_authority = "authority.pem"
    inbox = "_INBOX.engine-amsterdam"

    [[replicas]]                             # all of them, in the order of their numbers
    name = "engine-amsterdam"
    region = "amsterdam"
    public_key = "…"                         # 64 hexadecimal digits

What lives here: this file. What may not: the making of keys, and connections.
"""

from pathlib import Path

import msgspec

from holdfast.client.configuration import LogAccess, ReplicaPlace, check_log, check_name, check_places, read_toml
from holdfast.domain.errors import InputError
from holdfast.domain.reading import check_finite, located
from holdfast.domain.signatures import KEY_LENGTH, is_usable_key

TICK_INTERVAL_MS_MAXIMUM = 60_000
SNAPSHOT_INTERVAL_S_MAXIMUM = 86_400


class ReplicaKey(ReplicaPlace, frozen=True, forbid_unknown_fields=True):
    """A replica of the cluster, with the key under which its votes are checked.

    Attributes:
        public_key: Ed25519, 64 hexadecimal digits.
    """

    public_key: str

    @property
    def key(self) -> bytes:
        """The public key, 32 bytes."""
        return bytes.fromhex(self.public_key)


class Configuration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one replica is told.

    Attributes:
        cluster: Name of the cluster.
        name: Of this replica.
        region: Where it runs.
        folder: Where it keeps its key, its copy of the log and its snapshots.
        log: The way to the servers, those of its own region first.
        replicas: All replicas of the cluster, in the order of their numbers.
        tick_interval_ms: Time between the ticks it appends, milliseconds.
        snapshot_interval_s: Time between the snapshots it takes, seconds.
        witness: Whether a second engine runs beside it, in a process of its own.
        clock_offset_s: Added to the machine's clock, seconds: for tests of clocks that are wrong.
    """

    cluster: str
    name: str
    region: str
    folder: Path
    log: LogAccess
    replicas: tuple[ReplicaKey, ...]
    tick_interval_ms: int = 250
    snapshot_interval_s: float = 60.0
    witness: bool = True
    clock_offset_s: float = 0.0

    @property
    def number(self) -> int:
        """Place of this replica among all: its number in the log."""
        return next(place for place, replica in enumerate(self.replicas) if replica.name == self.name)


def read_configuration(path: Path) -> Configuration:
    """A replica's configuration.

    Args:
        path: Of the TOML file. Paths in it count from its folder.

    Raises:
        InputError: The file is no such configuration; the field is named.
        OSError: The file cannot be read.
    """
    with located(path.name):
        configuration = read_toml(path, Configuration)
        for field in ("cluster", "name", "region"):
            check_name(getattr(configuration, field), field)
        check_log(configuration.log, "log")
        check_places(configuration.replicas)
        _check_keys(configuration.replicas)
        _check_membership(configuration)
        _check_times(configuration)
    return configuration


def encode_configuration(configuration: Configuration) -> bytes:
    """A configuration for another process of the same replica, as JSON."""
    return msgspec.json.encode(configuration, enc_hook=str)


def decode_configuration(data: bytes) -> Configuration:
    """A configuration from `encode_configuration`.

    Raises:
        msgspec.DecodeError: The bytes are none.
    """
    return msgspec.json.decode(data, type=Configuration, dec_hook=lambda kind, value: kind(value))


def _check_keys(replicas: tuple[ReplicaKey, ...]) -> None:
    known: set[bytes] = set()
    for place, replica in enumerate(replicas):
        field = f"replicas[{place}].public_key"
        try:
            key = replica.key
        except ValueError:
            key = b""
        if len(replica.public_key) != 2 * KEY_LENGTH or not is_usable_key(key):
            advice = f"give the {2 * KEY_LENGTH} hexadecimal digits that `holdfast replica key FILE` prints there"
            raise InputError("malformed", field, replica.public_key, advice, "is no public key")
        if key in known:
            raise InputError("duplicate-line", field, replica.public_key, "give each replica a key of its own")
        known.add(key)


def _check_membership(configuration: Configuration) -> None:
    own = [replica for replica in configuration.replicas if replica.name == configuration.name]
    if not own:
        names = ", ".join(replica.name for replica in configuration.replicas)
        raise InputError("malformed", "name", configuration.name, f"name one of {names}", "is none of the replicas")
    if own[0].region != configuration.region:
        advice = f"write {own[0].region}, as the list of replicas does"
        raise InputError("malformed", "region", configuration.region, advice, "is not the region of this replica")


def _check_times(configuration: Configuration) -> None:
    if not 1 <= configuration.tick_interval_ms <= TICK_INTERVAL_MS_MAXIMUM:
        advice = f"give milliseconds from 1 to {TICK_INTERVAL_MS_MAXIMUM}"
        raise InputError("out-of-range", "tick_interval_ms", configuration.tick_interval_ms, advice)
    for field in ("snapshot_interval_s", "clock_offset_s"):
        check_finite(getattr(configuration, field), field)
    if not 0 < configuration.snapshot_interval_s <= SNAPSHOT_INTERVAL_S_MAXIMUM:
        advice = f"give seconds above 0, at most {SNAPSHOT_INTERVAL_S_MAXIMUM}"
        raise InputError("out-of-range", "snapshot_interval_s", configuration.snapshot_interval_s, advice)
