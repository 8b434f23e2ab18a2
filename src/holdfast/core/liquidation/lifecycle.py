"""The life cycle of an account, as a table of states and transitions (specs/liquidation.md).

At every mark an account lies in a zone: SAFE (equity ≥ initial margin), THIN (below initial, not below maintenance),
BELOW (below maintenance; equality is safe), or BROKEN (its margin is no number). `MOVES[status, zone]` is its next
status. Commands make the other transitions: a quorum moves BREACH_PENDING to LIQUIDATING, a takeover LIQUIDATING to
BANKRUPT and on to HEALTHY with nothing in it. What may not live here: how a liquidation is carried out.
"""

import enum

import numpy as np

from holdfast.core.state import Status


class Zone(enum.IntEnum):
    """Where an account's equity lies at a mark."""

    SAFE = 0
    THIN = 1
    BELOW = 2
    BROKEN = 3


_TABLE: dict[Status, tuple[Status, Status, Status, Status]] = {
    #                        SAFE             THIN                   BELOW                  BROKEN
    Status.HEALTHY: (Status.HEALTHY, Status.RESTRICTED, Status.BREACH_PENDING, Status.ASIDE),
    Status.RESTRICTED: (Status.HEALTHY, Status.RESTRICTED, Status.BREACH_PENDING, Status.ASIDE),
    Status.BREACH_PENDING: (Status.HEALTHY, Status.RESTRICTED, Status.BREACH_PENDING, Status.ASIDE),
    Status.LIQUIDATING: (Status.HEALTHY, Status.LIQUIDATING, Status.LIQUIDATING, Status.ASIDE),
    Status.BANKRUPT: (Status.BANKRUPT, Status.BANKRUPT, Status.BANKRUPT, Status.ASIDE),
    Status.FROZEN: (Status.FROZEN, Status.FROZEN, Status.FROZEN, Status.ASIDE),
    Status.ASIDE: (Status.ASIDE, Status.ASIDE, Status.ASIDE, Status.ASIDE),
}

MOVES = np.array([_TABLE[status] for status in Status], np.int64)
"""[status, zone] the next status at a mark."""
