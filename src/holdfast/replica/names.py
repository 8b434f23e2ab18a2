"""Names of accounts: what the log's accounts were called when they were opened.

The fold knows accounts by number. The names are a function of the log too, kept beside the fold: they are learned from
every frame that was folded, and written next to each snapshot, so that opening an engine does not read the log before
it. What may not live here: files.
"""

import hashlib
from collections.abc import Iterator

import msgspec

from holdfast.core.fold import Applied
from holdfast.core.state import FEES, INSURANCE, WITHDRAWALS, WORLD
from holdfast.domain.commands import OpenAccount, decode_cold
from holdfast.domain.errors import InputError
from holdfast.domain.frames import HASH_LENGTH, RecordKind, decode_frame
from holdfast.domain.reasons import Reason

SYSTEM_NAMES = {"world": WORLD, "fees": FEES, "insurance": INSURANCE, "withdrawals": WITHDRAWALS}
"""Accounts that every log has."""
NAME_LENGTH_MAXIMUM = 64
NUMBER_SIGN = "#"
"""An account without a name is called by its number behind this: "#7"."""
_TAG = str(OpenAccount.__struct_config__.tag).encode()


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    """Names as they are kept beside a snapshot."""

    position: int
    chain: bytes
    names: dict[int, str]


class AccountNames:
    """Names by number and numbers by name. Of two accounts with one name the first has it."""

    def __init__(self) -> None:
        self._names = {number: name for name, number in SYSTEM_NAMES.items()}
        self._numbers = dict(SYSTEM_NAMES)

    def learn(self, frame: bytes, applied: Applied) -> dict[int, str]:
        """Take the names of the accounts that a frame opened, and give them back, by number."""
        learned: dict[int, str] = {}
        # Frames of trades alone, nearly all there are, cost one search for the tag.
        if _TAG not in frame:
            return learned
        decoded = decode_frame(frame)
        for index, record in enumerate(decoded.records):
            outcome = applied.outcomes[index]
            if record["kind"] != RecordKind.COLD or outcome["reason"] != Reason.ACCEPTED or outcome["repeated"]:
                continue
            try:
                command = decode_cold(decoded.cold(index))
            except InputError:
                continue
            if isinstance(command, OpenAccount) and command.name:
                self._enter(int(outcome["made"]), command.name)
                learned[int(outcome["made"])] = command.name
        return learned

    def by_number(self) -> dict[int, str]:
        """All names."""
        return dict(self._names)

    def _enter(self, number: int, name: str) -> None:
        if name not in self._numbers:
            self._numbers[name] = number
            self._names[number] = name

    def number(self, name: str) -> int | None:
        """The account of a name, None for none."""
        return self._numbers.get(name)

    def name(self, number: int) -> str:
        """The name of an account, or its number behind a sign."""
        return self._names.get(number, f"{NUMBER_SIGN}{number}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def encode(self, position: int, chain: bytes) -> bytes:
        """The bytes kept beside the snapshot of a position: SHA-256 of what follows, then position, H and names."""
        names = {number: name for number, name in self._names.items() if name not in SYSTEM_NAMES}
        content = msgspec.msgpack.encode(_Kept(position, chain, names))
        return hashlib.sha256(content).digest() + content

    @classmethod
    def decode(cls, data: bytes, position: int, chain: bytes) -> "AccountNames":
        """The names kept beside the snapshot of a position.

        Raises:
            InputError: The bytes are damaged, or belong to another position or log.
        """
        advice = "delete it together with its snapshot"
        if hashlib.sha256(data[HASH_LENGTH:]).digest() != data[:HASH_LENGTH]:
            raise InputError("malformed", "names", None, advice, "are damaged")
        try:
            kept = msgspec.msgpack.decode(data[HASH_LENGTH:], type=_Kept)
        except msgspec.MsgspecError as error:
            raise InputError("malformed", "names", str(error), advice) from None
        if (kept.position, kept.chain) != (position, chain):
            raise InputError("malformed", "names", kept.position, advice, "belong to another position or log")
        names = cls()
        for number, name in kept.names.items():
            names._enter(number, name)
        return names
