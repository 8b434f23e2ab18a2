"""What clients were told, against the log itself: nothing lost, nothing twice."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from holdfast.bench.cluster.load import Acknowledged
from holdfast.core.fold import Fold
from holdfast.domain.frames import decode_frame
from holdfast.domain.reasons import Reason
from holdfast.log.sqlite import SqliteLog

_TYPE = np.dtype([("session", "<i8"), ("number", "<i8"), ("command", "<i8"), ("reason", "<i8")])


class Audit(NamedTuple):
    """What was found.

    Attributes:
        acknowledged: Commands that clients were told of.
        lost: Of them, those that the log has not, or with another outcome.
        twice: Commands that the log applied more than once.
        root: State root at the end of the log.
    """

    acknowledged: int
    lost: int
    twice: int
    root: bytes


def audit(copy: Path, told: Iterable[Acknowledged]) -> Audit:
    """Fold a replica's copy of the log from its beginning, and compare.

    Args:
        copy: The file.
        told: What all clients were told.
    """
    sessions = sorted({one.session for one in told})
    fold, found = Fold(), []
    with SqliteLog(copy, writable=False) as log:
        for _, frame in log.read(0):
            records = decode_frame(frame).records
            outcomes = fold.apply(frame).outcomes
            kept = (outcomes["repeated"] == 0) & (outcomes["command"] != 0) & np.isin(records["session"], sessions)
            if kept.any():
                rows = np.zeros(int(kept.sum()), _TYPE)
                rows["session"], rows["number"] = records["session"][kept], records["number"][kept]
                rows["command"], rows["reason"] = outcomes["command"][kept], outcomes["reason"][kept]
                # A command that came too early used up no number: it was not applied.
                found.append(rows[rows["reason"] != int(Reason.SESSION_GAP)])
    applied = np.sort(np.concatenate(found) if found else np.zeros(0, _TYPE), order=("session", "number"))
    same = (applied[1:]["session"] == applied[:-1]["session"]) & (applied[1:]["number"] == applied[:-1]["number"])
    return Audit(sum(len(one.numbers) for one in told), _lost(applied, list(told)), int(same.sum()), fold.root())


def _lost(applied: npt.NDArray[np.void], told: Sequence[Acknowledged]) -> int:
    lost = 0
    for one in told:
        of_session = applied[applied["session"] == one.session]
        places = np.minimum(np.searchsorted(of_session["number"], one.numbers), max(0, len(of_session) - 1))
        if not len(of_session):
            lost += len(one.numbers)
            continue
        row = of_session[places]
        same = (row["reason"] == one.reasons) & ((one.commands == 0) | (row["command"] == one.commands))
        # A client whose first outcome is no longer kept is told only that it was applied.
        right = (row["number"] == one.numbers) & (same | (one.reasons == int(Reason.ALREADY_APPLIED)))
        lost += int((~right).sum())
    return lost
