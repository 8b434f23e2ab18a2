"""What client and engine process say to each other, over pipes: one MessagePack message after its length.

What may not live here: what either does with it.
"""

import struct
from typing import IO, Any

import msgspec

from holdfast.domain.errors import HoldfastError

_LENGTH = struct.Struct("<I")


class GoneError(HoldfastError):
    """The other end closed its pipe: the process died."""


class Submit(msgspec.Struct, frozen=True, tag="submit"):
    """Commands to append, in order: hot records as bytes, or (session, number, bytes) of a cold command."""

    parts: list[bytes | tuple[int, int, bytes]]


class Advance(msgspec.Struct, frozen=True, tag="advance"):
    """Tick, then decide what there is to decide.

    Attributes:
        clock: Nanoseconds.
        decide: Whether to decide after it.
        look: Whether to say how the accounts stand.
        snapshot: Whether to write a snapshot after it.
        root: Whether to say the state root.
    """

    clock: int
    decide: bool = False
    look: bool = False
    snapshot: bool = False
    root: bool = False


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """End."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The engine is open.

    Attributes:
        position: Next position of its log.
        replayed: Commands folded to get there.
        root_at: State root at the position that was asked for, hexadecimal; empty for none.
    """

    position: int
    replayed: int
    root_at: str = ""


class Done(msgspec.Struct, frozen=True, tag="done"):
    """Everything of a message is durable and folded.

    Attributes:
        outcomes: Of the commands of a Submit, as bytes of type `domain.outcomes.OUTCOME`.
        sweeps_ms: Durations of the sweeps that it caused.
        position: Next position of the log.
        ratios: Quantiles 5, 25, 50, 75, 95 of equity over maintenance margin, if asked for.
        fund: Equity of the insurance fund, dollars, if asked for.
        log_bytes: Size of the log's files, if asked for.
        root: State root, hexadecimal, if asked for.
    """

    outcomes: bytes
    sweeps_ms: list[float]
    position: int
    ratios: tuple[float, ...] = ()
    fund: float = 0.0
    log_bytes: int = 0
    root: str = ""


Question = Submit | Advance | Stop
Answer = Ready | Done


def write(pipe: IO[bytes], message: msgspec.Struct) -> None:
    """Send a message.

    Raises:
        GoneError: The other end is gone.
    """
    data = msgspec.msgpack.encode(message)
    try:
        pipe.write(_LENGTH.pack(len(data)) + data)
        pipe.flush()
    except (BrokenPipeError, ValueError) as error:
        raise GoneError(str(error)) from error


def read(pipe: IO[bytes], kind: Any) -> Any:
    """Wait for a message of a kind.

    Raises:
        GoneError: The other end is gone.
    """
    (length,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    return msgspec.msgpack.decode(_exactly(pipe, length), type=kind)


def _exactly(pipe: IO[bytes], count: int) -> bytes:
    data = pipe.read(count)
    if len(data) != count:
        raise GoneError(f"{len(data)} of {count} bytes came")
    return data
