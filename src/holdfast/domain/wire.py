"""What the strict binary formats of the cluster have in common: their error, and the checks that all of them make.

A reader refuses everything that its writer does not write, names the first rule that is broken, and takes time in
proportion to the length whatever the bytes. What lives here: the checks. What may not: a layout.
"""

import hashlib
import re
from typing import TypeAlias

from holdfast.domain.errors import HoldfastError

HASH_LENGTH = 32
"""Bytes of a SHA-256."""
UNSIGNED_32_MAXIMUM = (1 << 32) - 1
UNSIGNED_64_MAXIMUM = (1 << 64) - 1
SIGNED_64_MINIMUM = -(1 << 63)
SIGNED_64_MAXIMUM = (1 << 63) - 1

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
"""The two blocks of control characters. They are fixed for ever, whatever else a version of Unicode calls printable."""


class WireError(HoldfastError, ValueError):
    """Bytes that are not of a format, or content that the format cannot carry.

    Attributes:
        form: Which format, in one word.
        field: Where: a field of the layout, `rows[7].verdict`, or `length` for the whole.
        value: What stands there.
        expected: What may stand there.
    """

    form = "bytes"

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field = field
        self.value = value
        self.expected = expected
        super().__init__(field, value, expected)

    def __str__(self) -> str:
        return f"{self.form}: {self.field} is {self.value}, expected {self.expected}"


ErrorType: TypeAlias = type[WireError]


def as_bytes(error: ErrorType, data: object) -> bytes:
    """The bytes of a buffer; copied unless they are `bytes`, so that nobody can change them after a check."""
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    raise error("length", f"a {type(data).__name__}", "bytes")


def expect(error: ErrorType, field: str, value: object, expected: object) -> None:
    """Refuse a value other than the one that must stand there."""
    if value != expected:
        raise error(field, repr(value), repr(expected))


def check_length(error: ErrorType, length: int, minimum: int, maximum: int) -> None:
    """Refuse a length of the whole, in bytes, outside its limits."""
    if not minimum <= length <= maximum:
        raise error("length", f"{length} bytes", f"{minimum} to {maximum}")


def check_integer(error: ErrorType, field: str, value: object, minimum: int, maximum: int) -> None:
    """Refuse what is not a whole number from `minimum` to `maximum`."""
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise error(field, repr(value), f"a whole number from {minimum} to {maximum}")


def check_octets(error: ErrorType, field: str, value: object, length: int) -> None:
    """Refuse what is not `bytes` of one length."""
    if not isinstance(value, bytes) or len(value) != length:
        given = f"{len(value)} bytes" if isinstance(value, bytes) else f"a {type(value).__name__}"
        raise error(field, given, f"{length} bytes")


def text_bytes(error: ErrorType, field: str, text: object, minimum: int, maximum: int) -> bytes:
    """The UTF-8 of a text that has `minimum` to `maximum` bytes and no control character."""
    if not isinstance(text, str):
        raise error(field, f"a {type(text).__name__}", "a text")
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        raise error(field, ascii(text), "a text that UTF-8 can write") from None
    _check_text(error, field, text, len(data), minimum, maximum)
    return data


def read_text(error: ErrorType, field: str, data: bytes, minimum: int, maximum: int) -> str:
    """The text of UTF-8 bytes; refuses what `text_bytes` would not write."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise error(field, repr(data), "UTF-8") from None
    _check_text(error, field, text, len(data), minimum, maximum)
    return text


def sealed(data: bytes) -> bytes:
    """The bytes with their SHA-256 behind them."""
    return data + hashlib.sha256(data).digest()


def check_seal(error: ErrorType, data: bytes) -> None:
    """Refuse bytes whose last 32 are not the SHA-256 of those before."""
    computed = hashlib.sha256(memoryview(data)[:-HASH_LENGTH]).digest()
    stored = data[-HASH_LENGTH:]
    if stored != computed:
        raise error("checksum", stored.hex(), f"{computed.hex()}; the bytes were changed after they were written")


def _check_text(error: ErrorType, field: str, text: str, length: int, minimum: int, maximum: int) -> None:
    if not minimum <= length <= maximum:
        raise error(field, f"{length} bytes", f"{minimum} to {maximum} bytes")
    if _CONTROL.search(text):
        raise error(field, repr(text), "a text without control characters")
