"""Outcomes: what became of each command, as one structured array per frame.

An outcome is a function of the log up to its command, so that every replica gives the same one, and a repeat of the
command gets the first one again. What may not live here: texts for people (`replica` phrases them) and what a command
means. Meaning of `limit`, `passes` and `made` per reason: specs/commands.md.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from holdfast.domain.frames import RECORDS_MAXIMUM
from holdfast.domain.reasons import Reason

OUTCOME: np.dtype[np.void] = np.dtype(
    [
        ("reason", "<i4"),
        ("repeated", "<i4"),
        ("limit", "<i8"),
        ("passes", "<i8"),
        ("made", "<i8"),
        ("equity", "<f8"),
        ("initial", "<f8"),
        ("command", "<i8"),
        ("reserved", "<i8"),
    ],
    align=True,
)
"""Fields: `reason`; `repeated` 1 where the session had sent the command before; `limit` the limiting amount and
`passes` what would have passed, in the units that specs/commands.md gives per reason; `made` the number of what was
made (account, item, order, withdrawal); `equity` and `initial`, the margin of the command's account after it, numeraire
(0 where the command has none); `command`, the id of the command that this is the outcome of."""

Outcomes: TypeAlias = npt.NDArray[np.void]
"""A flat array of type OUTCOME, one element per record of a frame."""


def command_id(position: int, index: int) -> int:
    """The id of record `index` of the frame at `position` of the log: 1 + position × 16,384 + index.

    It starts at 1 because session 0, the first gateway of a log, was opened by no command.
    """
    return 1 + position * RECORDS_MAXIMUM + index


def place_of(command: int) -> tuple[int, int]:
    """The position of the frame and the index in it of a command id."""
    return divmod(command - 1, RECORDS_MAXIMUM)


def describe(outcome: Any) -> str:
    """One outcome as a line of text."""
    reason = Reason(int(outcome["reason"]))
    text = f"{reason.name} command {int(outcome['command'])}"
    for field in ("made", "limit", "passes"):
        if outcome[field]:
            text += f" {field} {int(outcome[field])}"
    if outcome["equity"] or outcome["initial"]:
        text += f" equity {float(outcome['equity']):.2f} initial {float(outcome['initial']):.2f}"
    return text + (" (repeat)" if outcome["repeated"] else "")
