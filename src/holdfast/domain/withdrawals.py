"""Withdrawals: the bytes of one withdrawal on its way through two phases, version 1.

What lives here: the layout, the states, encoding, strict decoding, and a text for people. What may not: which state may
follow which, and why. Normative: `specs/votes.md`.
"""

import enum
import struct
from dataclasses import dataclass

from holdfast.domain.errors import invariant
from holdfast.domain.wire import (
    HASH_LENGTH,
    SIGNED_64_MAXIMUM,
    UNSIGNED_32_MAXIMUM,
    UNSIGNED_64_MAXIMUM,
    WireError,
    as_bytes,
    check_integer,
    check_length,
    check_seal,
    expect,
    read_text,
    sealed,
    text_bytes,
)

MAGIC = b"HFWD"
FORMAT = 1
WITHDRAWAL_HEADER_LENGTH = 48
DESTINATION_LENGTH_MAXIMUM = 256
"""Bytes of a destination: an address with its network and memo, or a bank account."""
NUMBER_MAXIMUM = UNSIGNED_32_MAXIMUM
"""The row of a vote names a withdrawal by 32 bits."""

_HEADER = struct.Struct("<4sHHQIIqB7sQ")
_RESERVED = bytes(7)
_LENGTH_MINIMUM = WITHDRAWAL_HEADER_LENGTH + HASH_LENGTH
_LENGTH_MAXIMUM = _LENGTH_MINIMUM + DESTINATION_LENGTH_MAXIMUM

invariant(_HEADER.size == WITHDRAWAL_HEADER_LENGTH, "the header has the length that the page states")


class WithdrawalState(enum.IntEnum):
    """How far a withdrawal has come. Append-only: a number is never reused and never changes its meaning."""

    REQUESTED = 1
    RESERVED = 2
    RELEASED = 3
    CANCELLED = 4


class WithdrawalError(WireError):
    """Bytes that are no withdrawal, or content that no withdrawal can carry."""

    form = "withdrawal"


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A withdrawal.

    Attributes:
        number: Of the withdrawal, 0 to 2**32 − 1.
        account: Whose.
        asset: Item number of the asset.
        amount: In the asset's ledger units, above 0.
        state: How far it has come.
        requested_at: Command id of the request.
        destination: Where it goes, 0 to 256 bytes of UTF-8; empty where the venue knows.
    """

    number: int
    account: int
    asset: int
    amount: int
    state: WithdrawalState
    requested_at: int
    destination: str


def encode_withdrawal(withdrawal: Withdrawal) -> bytes:
    """The bytes of a withdrawal.

    Raises:
        WithdrawalError: The content breaks a rule that `decode_withdrawal` would refuse it for.
    """
    check_integer(WithdrawalError, "number", withdrawal.number, 0, NUMBER_MAXIMUM)
    check_integer(WithdrawalError, "account", withdrawal.account, 0, UNSIGNED_32_MAXIMUM)
    check_integer(WithdrawalError, "asset", withdrawal.asset, 0, UNSIGNED_32_MAXIMUM)
    check_integer(WithdrawalError, "amount", withdrawal.amount, 1, SIGNED_64_MAXIMUM)
    _check_state(withdrawal.state)
    check_integer(WithdrawalError, "requested_at", withdrawal.requested_at, 0, UNSIGNED_64_MAXIMUM)
    destination = text_bytes(WithdrawalError, "destination", withdrawal.destination, 0, DESTINATION_LENGTH_MAXIMUM)
    whose = (withdrawal.number, withdrawal.account, withdrawal.asset, withdrawal.amount)
    rest = (withdrawal.state, _RESERVED, withdrawal.requested_at)
    return sealed(_HEADER.pack(MAGIC, FORMAT, len(destination), *whose, *rest) + destination)


def decode_withdrawal(data: bytes | bytearray | memoryview) -> Withdrawal:
    """Read a withdrawal, refusing everything that `encode_withdrawal` does not write.

    Raises:
        WithdrawalError: The first rule that is broken, in the order of VOT-13.
    """
    data = as_bytes(WithdrawalError, data)
    check_length(WithdrawalError, len(data), _LENGTH_MINIMUM, _LENGTH_MAXIMUM)
    head = _HEADER.unpack_from(data)
    magic, version, destination_length, number, account, asset, amount, state, reserved, requested_at = head
    expect(WithdrawalError, "magic", magic, MAGIC)
    expect(WithdrawalError, "format", version, FORMAT)
    expect(WithdrawalError, "destination_length", destination_length, len(data) - _LENGTH_MINIMUM)
    check_seal(WithdrawalError, data)
    check_integer(WithdrawalError, "number", number, 0, NUMBER_MAXIMUM)
    check_integer(WithdrawalError, "amount", amount, 1, SIGNED_64_MAXIMUM)
    _check_state(state)
    expect(WithdrawalError, "reserved", reserved, _RESERVED)
    text = data[WITHDRAWAL_HEADER_LENGTH:-HASH_LENGTH]
    destination = read_text(WithdrawalError, "destination", text, 0, DESTINATION_LENGTH_MAXIMUM)
    return Withdrawal(number, account, asset, amount, WithdrawalState(state), requested_at, destination)


def describe(withdrawal: Withdrawal) -> str:
    """A withdrawal as a line of text for people."""
    return (
        f"withdrawal {withdrawal.number}, format {FORMAT}: {WithdrawalState(withdrawal.state).name}, "
        f"{withdrawal.amount} units of asset {withdrawal.asset} from account {withdrawal.account} "
        f"to {withdrawal.destination!r}, requested by command {withdrawal.requested_at}"
    )


def _check_state(state: int) -> None:
    check_integer(WithdrawalError, "state", state, min(WithdrawalState), max(WithdrawalState))
