"""Commands: what a log's frames ask the engine to do, cold ones as strict structs, hot ones as records.

A cold command is MessagePack of one of the structs of `ColdCommand`, tagged by `type`; unknown fields are refused, so
that no spelling mistake is silently a default. A hot command is one record of a frame; the functions here fill the
fields that its kind uses, and no others. What may not live here: what a command does. Meaning, refusals in their order
of precedence and worked examples: specs/commands.md.
"""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec
import numpy as np

from holdfast.domain.errors import InputError
from holdfast.domain.frames import RECORD, RecordKind, Records
from holdfast.domain.parameters import AnyParameters


class Cold(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What every cold command is."""


class OpenSession(Cold, frozen=True, tag="open-session"):
    """Open a session; the only command that needs none (its record has session 0 and number 0).

    Attributes:
        role: What the session may send: "client", "operator", "source", "replica" or "gateway".
        subject: Number of the price source or replica that it speaks for; 0 for the other roles.
        kept: How many of its latest outcomes are kept for repeats, 1 to 4,096.
    """

    role: str
    subject: int = 0
    kept: int = 64


class DefineAsset(Cold, frozen=True, tag="define-asset"):
    """Define an asset and its ledger unit, 10**−decimals; `made` is its item number."""

    name: str
    decimals: int


class DefineInstrument(Cold, frozen=True, tag="define-instrument"):
    """Define a contract; its underlying and settlement must be assets. `made` is its item number.

    Attributes:
        name: As `domain.names` reads it.
        lot: The smallest quantity, as a decimal text: "10", "0.1", "0.0001".
        price_decimals: Prices are whole numbers of 10**−price_decimals.
        fee_ppm: Fee of each side of a trade, in millionths of its notional.
        liquidation_fee_ppm: Fee of a liquidated account to the insurance fund, likewise.
    """

    name: str
    lot: str
    price_decimals: int
    fee_ppm: int = 0
    liquidation_fee_ppm: int = 0


class DefineModel(Cold, frozen=True, tag="define-model"):
    """Define a margin model or the next version of its parameters; `made` is the model's number.

    Attributes:
        name: Of the model; a known name means a new version.
        parameters: The set.
        effective: Logical time from which it holds, ns; 0 is at once.
        force: Whether to take it although accounts would fall below initial margin.
    """

    name: str
    parameters: AnyParameters
    effective: int = 0
    force: bool = False


class DefineSource(Cold, frozen=True, tag="define-source"):
    """Define a price source; `made` is its number."""

    name: str


class SetRules(Cold, frozen=True, tag="set-rules"):
    """How quotes become prices and clocks become logical time (specs/marks.md, specs/time.md).

    Attributes:
        age_maximum: A quote older than this is not fresh, ns.
        ahead_maximum: A quote may be this far ahead of logical time, ns.
        sources_minimum: Fresh sources that a price needs, else it is stale.
        outlier_ppm: Quotes further than this from the median of all are left out, in millionths.
        mark_interval: Logical time between marks of an underlying, ns.
        mark_threshold_ppm: A move of the index since its mark that causes the next one at once.
        step_maximum: How far one tick may advance logical time, ns.
        live_ticks: A replica is live while it ticked within this many latest ticks.
        checkpoint_frames: A state root is taken after every so many frames, 0 for none.
        witness_shortfall_ppm: Where several replicas are configured and the second engine has no result: how far below
            its maintenance margin an account must be, in millionths of it, for a vote to count (specs/quorum.md).
        breach_checkpoints: 1 where a state root is also taken after every frame with a mark that left an account below
            maintenance margin waiting for its quorum, so that the state that is voted on can be proved; 0 for none.
        tolerance_micros: How far the numbers of two engines may differ, in millionths of the numeraire, and
        tolerance_ppb: in billionths of the account's maintenance margin besides.
    """

    age_maximum: int = 60 * 10**9
    ahead_maximum: int = 5 * 10**9
    sources_minimum: int = 1
    outlier_ppm: int = 50_000
    mark_interval: int = 10**9
    mark_threshold_ppm: int = 5_000
    step_maximum: int = 10 * 10**9
    live_ticks: int = 8
    checkpoint_frames: int = 256
    witness_shortfall_ppm: int = 100_000
    breach_checkpoints: int = 0
    tolerance_micros: int = 10_000
    tolerance_ppb: int = 1_000


class DefineReplica(Cold, frozen=True, tag="define-replica"):
    """Define a replica, or give it another key; `made` is its number.

    Attributes:
        name: Of the replica.
        public_key: Ed25519, 32 bytes.
        region: Where it is.
    """

    name: str
    public_key: bytes
    region: str = ""


class RestoreReplica(Cold, frozen=True, tag="restore-replica"):
    """An operator lets a suspended replica take part again; what it said of state roots is forgotten."""

    replica: int


class ReleaseFreeze(Cold, frozen=True, tag="release-freeze"):
    """An operator lets acts begin again that cannot be taken back, after state roots differed."""


class ActivateVersion(Cold, frozen=True, tag="activate-version"):
    """Change the logic that folds from the next command on."""

    logic: int


class Tick(Cold, frozen=True, tag="tick"):
    """A replica's clock, ns; logical time follows (specs/time.md)."""

    replica: int
    clock: int


class OpenAccount(Cold, frozen=True, tag="open-account"):
    """Open an account under a model; `made` is its number."""

    model: int
    name: str = ""


class ChooseModel(Cold, frozen=True, tag="choose-model"):
    """Change an account's model, or with `dry_run` only say what its margin would be."""

    account: int
    model: int
    dry_run: bool = False


class Deposit(Cold, frozen=True, tag="deposit"):
    """Credit an account; `item` is the asset, `amount` in its units, above 0."""

    account: int
    item: int
    amount: int


class RequestWithdrawal(Cold, frozen=True, tag="request-withdrawal"):
    """First phase: move an amount out of the account into reserve; `made` is the withdrawal's number."""

    account: int
    item: int
    amount: int
    destination: str = ""


class CancelWithdrawal(Cold, frozen=True, tag="cancel-withdrawal"):
    """Give a reserved withdrawal back to its account."""

    withdrawal: int


class Funding(Cold, frozen=True, tag="funding"):
    """Longs pay shorts `rate_ppb` billionths of a perpetual's notional at its mark; below 0, shorts pay longs."""

    item: int
    rate_ppb: int


class Settle(Cold, frozen=True, tag="settle"):
    """Cash-settle an expired future or option at its settlement average."""

    item: int


class Mark(Cold, frozen=True, tag="mark"):
    """Mark an underlying now, whatever the interval."""

    item: int


class CastVote(Cold, frozen=True, tag="vote"):
    """A replica's signed batch (specs/votes.md)."""

    vote: bytes


class AccountDifference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What two engines found of one account at one mark, numeraire.

    Attributes:
        account: Its number.
        version: Of the account.
        first: Equity, initial and maintenance margin by the first engine, open orders included.
        second: By the other.
        first_parts: Components by name, initial and maintenance, where they were worked out.
        second_parts: The same by the other engine.
    """

    account: int
    version: int
    first: tuple[float, float, float]
    second: tuple[float, float, float]
    first_parts: dict[str, tuple[float, float]] = {}
    second_parts: dict[str, tuple[float, float]] = {}


class ReportDiscrepancy(Cold, frozen=True, tag="report-discrepancy"):
    """A replica's two engines do not agree; `made` is how many accounts that froze, `limit` how many rows were ignored.

    Attributes:
        replica: Its number.
        position: Of the mark.
        price_id: Of the mark.
        engine: The engine that differs from the first: "witness" or "exact".
        total: Accounts that differ.
        accounts: Those that differ most, 1 to 512, in ascending order of numbers.
    """

    replica: int
    position: int
    price_id: int
    engine: str
    total: int
    accounts: tuple[AccountDifference, ...]


class Cosign(Cold, frozen=True, tag="cosign"):
    """A replica's cosignature of the tree of frames that it computed itself (specs/proofs.md).

    Attributes:
        replica: Number of the replica, whose key signs.
        log: H at the frame that defined the log's first replica, 32 bytes: which log it is.
        size: Frames in the tree: those at the positions 0 to size − 1.
        root: Root of that tree, 32 bytes.
        time: Logical time after its last frame, whole seconds since 1970.
        signature: Ed25519, 64 bytes.
    """

    replica: int
    log: bytes
    size: int
    root: bytes
    time: int
    signature: bytes


class PublishLiabilities(Cold, frozen=True, tag="publish-liabilities"):
    """An operator states what the venue owes its clients at a checkpoint, for everybody the same (specs/proofs.md).

    Attributes:
        position: Of the checkpoint's frame.
        count: Leaves of the tree of liabilities.
        owed: Sum of the equities above 0, millionths of the numeraire.
        missing: Sum of what equities are below 0, likewise; never taken off what is owed.
        root: Root hash of the tree, 32 bytes.
    """

    position: int
    count: int
    owed: int
    missing: int
    root: bytes


class Liquidate(Cold, frozen=True, tag="liquidate"):
    """A stage of an account's liquidation: reductions to fill on the book.

    Attributes:
        account: Whose.
        version: Version of the account that the plan was made for.
        reductions: (item, signed lots) each of the opposite sign of the position and not beyond it; none means that no
            reduction is possible on the books, so that what remains is taken over.
    """

    account: int
    version: int
    reductions: tuple[tuple[int, int], ...] = ()


class TakeLease(Cold, frozen=True, tag="take-lease"):
    """Ask for a role for a span of logical time, ns; held by one replica at a time."""

    role: str
    replica: int
    duration: int


class ConfirmPayment(Cold, frozen=True, tag="confirm-payment"):
    """Say that a released withdrawal's payment is on its way outside; by the holder of the role `payer`."""

    withdrawal: int


class QuarantineCommand(Cold, frozen=True, tag="quarantine"):
    """Skip a command that broke the engine: signed by replicas (specs/votes.md)."""

    quarantine: bytes


class ReleaseAccount(Cold, frozen=True, tag="release-account"):
    """An operator lets an account that was set aside or frozen take part again."""

    account: int


ColdCommand: TypeAlias = (
    OpenSession
    | DefineAsset
    | DefineInstrument
    | DefineModel
    | DefineSource
    | SetRules
    | DefineReplica
    | ActivateVersion
    | Tick
    | OpenAccount
    | ChooseModel
    | Deposit
    | RequestWithdrawal
    | CancelWithdrawal
    | Funding
    | Settle
    | Mark
    | CastVote
    | Liquidate
    | TakeLease
    | QuarantineCommand
    | ReleaseAccount
    | RestoreReplica
    | ConfirmPayment
    | ReleaseFreeze
    | ReportDiscrepancy
    | Cosign
    | PublishLiabilities
)
"""Every cold command of format 1."""

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(ColdCommand)


def encode_cold(command: ColdCommand) -> bytes:
    """The bytes of a cold command."""
    return _ENCODER.encode(command)


def decode_cold(data: bytes) -> ColdCommand:
    """Read a cold command.

    Raises:
        InputError: code "malformed": the bytes are none, or a field is unknown, missing or of another type.
    """
    try:
        command: ColdCommand = _DECODER.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        problem = f"cannot be read: {error}"
        raise InputError("malformed", "command", None, "write it as specs/commands.md says", problem) from None
    return command


def _record(kind: RecordKind, session: int, number: int, **fields: int) -> Records:
    record: Records = np.zeros(1, RECORD)
    record["kind"], record["session"], record["number"] = kind, session, number
    for name, value in fields.items():
        record[name] = value
    return record


def cold_record(session: int, number: int, offset: int, length: int) -> Records:
    """The record of a cold command whose bytes are `length` bytes of the blob from `offset` on."""
    return _record(RecordKind.COLD, session, number, blob_offset=offset, blob_length=length)


def cold_records(commands: Sequence[ColdCommand], session: int = 0, number: int = 0) -> tuple[Records, bytes]:
    """The records of cold commands and the blob that they tile.

    Args:
        commands: One or more.
        session: Of all of them; 0 leaves session and numbers open, or is right for openings of sessions.
        number: Of the first; the others follow.
    """
    blobs = [encode_cold(command) for command in commands]
    lengths = np.array([len(blob) for blob in blobs], np.int64)
    records: Records = np.zeros(len(blobs), RECORD)
    records["kind"], records["blob_length"] = RecordKind.COLD, lengths
    records["blob_offset"] = np.cumsum(lengths) - lengths
    if session:
        records["session"], records["number"] = session, np.arange(number, number + len(blobs), dtype=np.uint64)
    return records, b"".join(blobs)


def trade(session: int, number: int, account: int, other: int, item: int, quantity: int, price: int) -> Records:
    """A bilateral trade: `account` buys `quantity` lots from `other`, or sells where it is negative."""
    fields = {"account": account, "other": other, "instrument": item, "quantity": quantity, "price": price}
    return _record(RecordKind.TRADE, session, number, **fields)


def order(session: int, number: int, account: int, item: int, quantity: int, price: int) -> Records:
    """A limit order to buy `quantity` lots, or to sell where it is negative."""
    fields = {"account": account, "instrument": item, "quantity": quantity, "price": price}
    return _record(RecordKind.ORDER, session, number, **fields)


def cancel(session: int, number: int, account: int, order_number: int) -> Records:
    """Cancel an account's open order by its number."""
    return _record(RecordKind.CANCEL, session, number, account=account, time=order_number)


def fill(
    session: int,
    number: int,
    buyer: int,
    seller: int,
    item: int,
    quantity: int,
    price: int,
    *,
    buy_order: int = 0,
    sell_order: int = 0,
) -> Records:
    """A fill of `quantity` > 0 lots; each side names its open order, or 0 where it has none and margin is checked."""
    fields = {"account": buyer, "other": seller, "instrument": item, "quantity": quantity, "price": price}
    return _record(RecordKind.FILL, session, number, **fields, time=buy_order | sell_order << 32)


def transfer(session: int, number: int, account: int, other: int, item: int, amount: int) -> Records:
    """Move `amount` > 0 units of an asset from `account` to `other`."""
    fields = {"account": account, "other": other, "instrument": item, "quantity": amount}
    return _record(RecordKind.TRANSFER, session, number, **fields)


def quote(session: int, number: int, item: int, price: int, time: int, sequence: int) -> Records:
    """A source's price of an item at its own time, ns, with its own growing sequence."""
    return _record(RecordKind.QUOTE, session, number, instrument=item, price=price, time=time, quantity=sequence)
