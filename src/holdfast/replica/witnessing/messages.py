"""What a node and the processes of its other engines say to each other: MessagePack behind a length of 4 bytes.

The pipe keeps its order, so a question is answered at exactly the position after the last frame sent before it. What
may not live here: meaning. Both ends are of one program, so this form has no version.
"""

from typing import Any, Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

LENGTH_SIZE: Final = 4


class Array(msgspec.Struct, frozen=True, array_like=True):
    """A NumPy array: type, shape, bytes in row-major order."""

    type: str
    shape: tuple[int, ...]
    content: bytes


class Begin(msgspec.Struct, frozen=True, tag=True):
    """Follow from a snapshot; without parts from the beginning of the log.

    Attributes:
        configuration: Of the replica, as JSON.
        position: Of the last frame that is in it, −1 for none.
        parts: By name.
        names: Of accounts, by number.
    """

    configuration: bytes
    position: int
    parts: dict[str, Array | bytes]
    names: dict[int, str] = {}


class Follow(msgspec.Struct, frozen=True, tag=True):
    """A frame, the first engine's reasons (i4 each), and the names of accounts that it opened."""

    position: int
    frame: bytes
    reasons: bytes
    names: dict[int, str] = {}


class Ask(msgspec.Struct, frozen=True, tag=True):
    """A question for margins at the position reached.

    Attributes:
        ticket: Comes back with the answer.
        accounts: Numbers, i8 each; None for all clients'.
        parts: Accounts whose components are wanted besides.
    """

    ticket: int
    accounts: bytes | None
    parts: tuple[int, ...] = ()


class Answer(msgspec.Struct, frozen=True, tag=True):
    """Margins: flat arrays, i8 and f8, of equal length, for the accounts that have a result.

    Attributes:
        ticket: Of the question.
        position: Of the last frame followed.
        price_id: Of the last mark.
        accounts: Numbers.
        versions: Of the accounts.
        equity: Numeraire, as all that follow.
        initial: Open orders included.
        maintenance: Of positions.
        parts: By account and component: initial and maintenance.
        differences: Since the last answer: what the first engine accepted and the second finds impossible.
    """

    ticket: int
    position: int
    price_id: int
    accounts: bytes
    versions: bytes
    equity: bytes
    initial: bytes
    maintenance: bytes
    parts: dict[int, dict[str, tuple[float, float]]] = {}
    differences: tuple[str, ...] = ()


class Broken(msgspec.Struct, frozen=True, tag=True):
    """The second engine cannot go on: why."""

    problem: str


class Holdings(msgspec.Struct, frozen=True):
    """Accounts for the exact engine, in arrays of i8: a question of thousands is to be made in milliseconds.

    Attributes:
        accounts: [n] numbers, most urgent first.
        models: [n] place of each one's model in `Examine.models`.
        counts: [n, 2] how many rows and how many open orders it has.
        rows: [rows, 3] item, amount, cost, account by account.
        orders: [orders, 3] item, lots, limit in steps, account by account.
    """

    accounts: Array
    models: Array
    counts: Array
    rows: Array
    orders: Array


class Examine(msgspec.Struct, frozen=True, tag=True):
    """A question for the exact engine, with all that it needs (`witness.exact.Inputs`).

    Attributes:
        ticket: Comes back with the answer.
        time: Of the tables, ns.
        items: Names by number.
        assets: Name and decimals.
        contracts: Number, name, lot and price decimals.
        models: Parameters by name.
        models_digest: SHA-256 of them.
        frozen: Frozen prices by item.
        holdings: Accounts to work out.
        certified: The model whose table is to be certified; empty for none.
        values: Of that table, by line: today, the scenarios, the basis contingency.
    """

    ticket: int
    time: int
    items: list[str]
    assets: list[tuple[str, int]]
    contracts: list[tuple[int, str, str, int]]
    models: dict[str, dict[str, Any]]
    models_digest: bytes
    frozen: dict[str, int]
    holdings: Holdings
    certified: str
    values: dict[str, Array]


class Examined(msgspec.Struct, frozen=True, tag=True):
    """The exact engine's answer.

    Attributes:
        ticket: Of the question.
        bounds: [n, 3, 2] of the first n accounts asked for, as many as time allowed: between what equity, initial
            margin with open orders, and maintenance margin lie, f8, numeraire; NaN where it cannot be worked out.
        values: Values of the table that were compared.
        ulps: The largest distance among them, in spacings of doubles.
        problems: What did not fit, in words; at most 20.
        seconds: That it took.
        accounts_seconds: Of them, for the accounts.
    """

    ticket: int
    bounds: Array
    values: int
    ulps: float
    problems: tuple[str, ...]
    seconds: float
    accounts_seconds: float


ToChild: TypeAlias = Begin | Follow | Ask
FromChild: TypeAlias = Answer | Broken
Message: TypeAlias = ToChild | FromChild | Examine | Examined
_ENCODER = msgspec.msgpack.Encoder()
to_child = msgspec.msgpack.Decoder(ToChild)
from_child = msgspec.msgpack.Decoder(FromChild)
to_third = msgspec.msgpack.Decoder(Examine)
from_third = msgspec.msgpack.Decoder(Examined)


def encoded(message: Message) -> bytes:
    """A message with its length before it."""
    content = _ENCODER.encode(message)
    return len(content).to_bytes(LENGTH_SIZE, "little") + content


def array_of(values: npt.NDArray[Any]) -> Array:
    """An array to be sent."""
    return Array(values.dtype.str, values.shape, np.ascontiguousarray(values).tobytes())


def values_of(array: Array) -> npt.NDArray[Any]:
    """An array that was sent."""
    found: npt.NDArray[Any] = np.frombuffer(array.content, np.dtype(array.type)).reshape(array.shape)
    return found
