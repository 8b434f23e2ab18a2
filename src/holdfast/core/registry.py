"""The cold part of the state: definitions, rules, replicas, leases, withdrawals. Few, in Python, replaced as a whole.

A registry is a value; a command makes another one, and an error before the end leaves the old one in place. What may
not live here: anything that hot commands touch, and what commands do.
"""

import msgspec

from holdfast.domain.commands import SetRules
from holdfast.domain.instruments import Instrument
from holdfast.domain.parameters import AnyParameters

LOGIC_VERSIONS = (1,)
"""The versions of the fold's logic that this program can replay."""


class Definition(msgspec.Struct, frozen=True):
    """An item.

    Attributes:
        name: Of the asset, or the canonical name of the contract.
        decimals: Asset: of its ledger unit. Contract: of its prices.
        lot: Of a contract, as a decimal text; empty for an asset.
        instrument: The contract; None for an asset.
    """

    name: str
    decimals: int
    lot: str = ""
    instrument: Instrument | None = None


class Model(msgspec.Struct, frozen=True):
    """A margin model: the parameters that hold, and those to come.

    Attributes:
        name: Of the model.
        parameters: That hold.
        version: From 1, one more with every change.
        pending: To come, with the logical time from which they hold, ns; None for none.
    """

    name: str
    parameters: AnyParameters
    version: int = 1
    pending: tuple[int, AnyParameters] | None = None


class Replica(msgspec.Struct, frozen=True):
    """A replica: who may vote and tick.

    Attributes:
        name: Of the replica.
        public_key: Ed25519, 32 bytes.
        region: Where it is.
        clock: Its last tick, ns; 0 before the first.
        ticked: Number of that tick among all; 0 before the first.
        suspended: Whether it named another state root than the majority, and no operator restored it since.
    """

    name: str
    public_key: bytes
    region: str = ""
    clock: int = 0
    ticked: int = 0
    suspended: bool = False


class Withdrawal(msgspec.Struct, frozen=True):
    """A reserved withdrawal: number of the account, item, amount in its units, destination, command that asked."""

    account: int
    item: int
    amount: int
    destination: str
    command: int


class Payment(msgspec.Struct, frozen=True):
    """A released withdrawal that nobody has confirmed to be on its way outside, and the command that released it."""

    account: int
    item: int
    amount: int
    destination: str
    released: int


class Lease(msgspec.Struct, frozen=True):
    """A role held by one replica until a logical time, ns; the id is the command that granted it."""

    replica: int
    until: int
    command: int


class Ballot(msgspec.Struct, frozen=True):
    """What one replica said of one account or withdrawal.

    Attributes:
        version: Of the account that it looked at.
        position: Of the mark.
        price_id: Of the mark.
        time: Logical time at which it said so, ns.
        with_b: Whether the second engine agreed.
        beyond: Whether the account was beyond the wider shortfall, so that it counts without the second engine.
    """

    version: int
    position: int
    price_id: int
    time: int
    with_b: bool
    beyond: bool = False


class Discrepancy(msgspec.Struct, frozen=True):
    """What one replica found of an account whose engines differ.

    Attributes:
        version: Of the account.
        position: Of the mark.
        price_id: Of the mark.
        engine: The engine that differs from the first.
        first: Equity, initial and maintenance margin by the first engine, numeraire.
        second: By the other.
    """

    version: int
    position: int
    price_id: int
    engine: str
    first: tuple[float, float, float]
    second: tuple[float, float, float]


class MarkPlace(msgspec.Struct, frozen=True):
    """Where a mark happened: position of its frame, the price id after it, H there."""

    position: int
    price_id: int
    chain: bytes


class CheckpointPlace(msgspec.Struct, frozen=True):
    """Where a state root was due: position of the frame, H there. The root itself is for the replicas to name."""

    position: int
    chain: bytes


class CertifiedCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint whose state root more than half of the configured replicas named."""

    position: int
    chain: bytes
    root: bytes


class OpenQuarantine(msgspec.Struct, frozen=True):
    """A quarantine that too few replicas have signed so far: SHA-256 of its statement, and who has, ascending."""

    digest: bytes
    replicas: tuple[int, ...]


class Alarm(msgspec.Struct, frozen=True):
    """Something that should not have happened and was set aside: the command at hand, where, and what."""

    command: int
    site: str
    text: str


ALARMS_MAXIMUM = 64
MARKS_REMEMBERED = 64
"""Votes about older marks come too late."""
CHECKPOINTS_REMEMBERED = 64
"""Votes on the roots of older checkpoints come too late."""
QUARANTINES_OPEN_MAXIMUM = 64
"""Statements that wait for signatures; beyond it the one that was signed last the longest ago is forgotten."""


DISCREPANCIES_MAXIMUM = 1_024
"""Accounts whose discrepancies are kept; beyond it that of the oldest mark is forgotten, the lowest account first."""


class Registry(msgspec.Struct, frozen=True):
    """Everything cold.

    Attributes:
        items: Definitions by item number.
        numbers: Item number by name; derived.
        models: By number.
        sources: Names by number.
        replicas: By number.
        rules: How quotes become prices and clocks time.
        logic: The version of the logic that folds.
        ticks: Ticks so far.
        withdrawals: Reserved ones by number.
        withdrawals_made: Number of the last withdrawal.
        leases: By role.
        quarantined: Subjects that a majority signed quarantines of, command ids or positions of frames: a record. What
            is skipped is decided by signatures, when the fold meets the subject.
        quarantines: Those that wait for further signatures, the one signed last the last.
        alarms: What went wrong inside, the newest last; at most ALARMS_MAXIMUM.
        marks: Where the latest marks happened, the newest last; at most MARKS_REMEMBERED.
        ballots: For liquidation, by account and replica.
        releases: For withdrawal, by withdrawal and replica.
        checkpoints: Where state roots were due, the newest last; at most CHECKPOINTS_REMEMBERED.
        roots: The state roots that were named for them, by position and replica.
        certified: The certified ones by ascending position; at most CHECKPOINTS_REMEMBERED.
        payments: Released withdrawals that wait to be paid, by number.
        discrepancies: What replicas say of accounts whose engines differ, by account and replica.
        frozen: Whether nothing begins that cannot be taken back, as state roots had no majority.
    """

    items: tuple[Definition, ...] = ()
    numbers: dict[str, int] = {}
    models: tuple[Model, ...] = ()
    sources: tuple[str, ...] = ()
    replicas: tuple[Replica, ...] = ()
    rules: SetRules = SetRules()
    logic: int = 1
    ticks: int = 0
    withdrawals: dict[int, Withdrawal] = {}
    withdrawals_made: int = 0
    leases: dict[str, Lease] = {}
    quarantined: frozenset[int] = frozenset()
    alarms: tuple[Alarm, ...] = ()
    marks: tuple[MarkPlace, ...] = ()
    ballots: dict[int, dict[int, Ballot]] = {}
    releases: dict[int, dict[int, Ballot]] = {}
    quarantines: tuple[OpenQuarantine, ...] = ()
    checkpoints: tuple[CheckpointPlace, ...] = ()
    roots: dict[int, dict[int, bytes]] = {}
    certified: tuple[CertifiedCheckpoint, ...] = ()
    payments: dict[int, Payment] = {}
    discrepancies: dict[int, dict[int, Discrepancy]] = {}
    frozen: bool = False


def with_alarm(registry: Registry, alarm: Alarm) -> Registry:
    """The registry with one alarm more, the oldest forgotten beyond ALARMS_MAXIMUM."""
    return msgspec.structs.replace(registry, alarms=(*registry.alarms, alarm)[-ALARMS_MAXIMUM:])
