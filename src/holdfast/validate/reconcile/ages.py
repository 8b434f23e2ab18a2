"""Since when a finding is there: positions and logical times, kept in a file between runs.

What may not live here: the clock of a machine. Specification: specs/reconcile.md REC-9.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from holdfast.domain.errors import InputError
from holdfast.domain.reading import decoded
from holdfast.validate.reconcile.findings import Alarm, Break

FORMAT = 1

Found = TypeVar("Found", Break, Alarm)


class First(msgspec.Struct, frozen=True):
    """The position of a look, and logical time there, ns."""

    position: int
    time: int


class Ages(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When each finding that is there was first seen.

    Attributes:
        format: Of this record.
        log: What tells the log from others; empty where that is not known.
        position: Of the latest look.
        first: By the finding's key.
    """

    format: int = FORMAT
    log: str = ""
    position: int = -1
    first: dict[str, First] = {}


def read_ages(source: bytes) -> Ages:
    """The ages that a state file has.

    Raises:
        InputError: It is no state file of this format.
    """
    advice = "name a file that this command wrote, or delete it to begin anew"
    try:
        ages = msgspec.json.decode(decoded(source, "state"), type=Ages)
    except msgspec.MsgspecError as error:
        raise InputError("malformed", "state", None, advice, f"cannot be read ({error})") from None
    if ages.format != FORMAT:
        raise InputError("malformed", "state.format", ages.format, advice, "is of another version")
    return ages


def ages_bytes(ages: Ages) -> bytes:
    """The content of a state file."""
    return msgspec.json.format(msgspec.json.encode(ages), indent=2) + b"\n"


def check_ages(ages: Ages, log: str, position: int) -> None:
    """Refuse ages of another log, or ahead of the source (InputError)."""
    advice = "name the state file of this log, or delete it to begin anew"
    if ages.log and log and ages.log != log:
        raise InputError("malformed", "state", None, advice, "is of another log")
    if ages.position > position:
        raise InputError(
            "out-of-range", "state.position", ages.position, advice, f"is ahead of the source ({position})"
        )


def aged(findings: Sequence[Found], ages: Ages, position: int, time: int) -> tuple[Found, ...]:
    """The findings with the moment at which each was first seen: by these ages, else now."""
    now = First(position, time)
    return tuple(_since(one, ages.first.get(one.key, now)) for one in findings)


def _since(finding: Found, first: First) -> Found:
    return msgspec.structs.replace(finding, first_position=first.position, first_time=first.time)


def next_ages(findings: Iterable[Break | Alarm], log: str, position: int) -> Ages:
    """The ages after a look: those of its findings and of nothing else."""
    return Ages(FORMAT, log, position, {one.key: First(one.first_position, one.first_time) for one in findings})
