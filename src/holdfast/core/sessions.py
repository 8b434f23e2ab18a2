"""Sessions: who sends, in which order, and what was answered (specs/sessions.md).

A session's commands are numbered from 1 without a gap. A number that was used is a repeat and never executes again; one
that is ahead is a gap and consumes nothing. The latest outcomes of a session are kept in a ring, so that a repeat gets
the first answer. What may not live here: what commands do.
"""

from typing import Any

import numpy as np

from holdfast.compilation import compiled, inlined_only
from holdfast.core.arithmetic import whole
from holdfast.core.state import NONE, SESSIONS_MAXIMUM, Counter, Flags, Role, Session, State, grown
from holdfast.domain.frames import RecordKind
from holdfast.domain.outcomes import Outcomes
from holdfast.domain.reasons import Reason

ID, ROLE, NEXT, RING, KEPT, USED = (
    int(Session.ID),
    int(Session.ROLE),
    int(Session.NEXT),
    int(Session.RING),
    int(Session.KEPT),
    int(Session.USED),
)
SESSIONS = int(Counter.SESSIONS)
ALREADY_APPLIED, SESSION_UNKNOWN = int(Reason.ALREADY_APPLIED), int(Reason.SESSION_UNKNOWN)
SESSION_GAP, SESSION_ROLE = int(Reason.SESSION_GAP), int(Reason.SESSION_ROLE)

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""2**64 ÷ the golden ratio: multiplying by it spreads ids that differ little over the whole table."""
_SHIFT = np.uint64(32)

MAY = np.zeros((len(RecordKind), max(Role) + 1), np.bool_)
"""[kind, role] which roles may send which hot commands; cold ones say it in their handlers."""
for _kind in (RecordKind.TRADE, RecordKind.ORDER, RecordKind.CANCEL, RecordKind.FILL, RecordKind.TRANSFER):
    MAY[_kind, [Role.CLIENT, Role.OPERATOR]] = True
MAY[RecordKind.QUOTE, Role.SOURCE] = True
MAY[RecordKind.COLD] = True
MAY[RecordKind.COLD, Role.GATEWAY] = False  # its numbers count frames


@inlined_only
def home_of(state: State, session: int) -> int:
    """Where a session's id is looked for first."""
    return whole(((np.uint64(session) * _SPREAD) >> _SHIFT) & np.uint64(len(state.session_table) - 1))


@inlined_only
def slot_of(state: State, session: int) -> int:
    """The slot of an open session, NONE for none."""
    at = home_of(state, session)
    while True:
        slot = state.session_table[at]
        if slot == NONE or state.sessions[slot, ID] == session:
            return slot
        at = (at + 1) & (len(state.session_table) - 1)


@inlined_only
def check_turn(state: State, slot: int, kind: int, number: int, may: Flags) -> int:
    """0 where the command is the session's next and it may send it; else the reason. ALREADY_APPLIED for repeats."""
    if slot == NONE:
        return SESSION_UNKNOWN
    if not may[kind, state.sessions[slot, ROLE]]:
        return SESSION_ROLE
    expected = state.sessions[slot, NEXT]
    if number > expected or number < 1:
        return SESSION_GAP
    return ALREADY_APPLIED if number < expected else 0


@inlined_only
def repeat(state: State, slot: int, number: int, outcome: Any) -> None:
    """Give the first outcome of a number that was used, while it is kept."""
    size = state.sessions[slot, KEPT]
    if state.sessions[slot, NEXT] - number <= size:
        kept = state.kept[state.sessions[slot, RING] + number % size]
        outcome.reason, outcome.limit, outcome.passes = kept.reason, kept.limit, kept.passes
        outcome.made, outcome.equity, outcome.initial = kept.made, kept.equity, kept.initial
        outcome.command = kept.command
    else:
        outcome.reason = ALREADY_APPLIED
    outcome.repeated = 1


@inlined_only
def consume(state: State, slot: int, number: int, command: int, outcome: Any) -> None:
    """Use up a number: keep its outcome and expect the next."""
    ring = state.kept[state.sessions[slot, RING] + number % state.sessions[slot, KEPT]]
    ring.reason, ring.limit, ring.passes = outcome.reason, outcome.limit, outcome.passes
    ring.made, ring.equity, ring.initial = outcome.made, outcome.equity, outcome.initial
    ring.command = command
    state.sessions[slot, NEXT] = number + 1
    state.sessions[slot, USED] = command


@compiled
def find_session(state: State, session: int) -> int:
    """`slot_of` for callers outside compiled code."""
    return slot_of(state, session)


@compiled
def place(state: State, slot: int) -> None:
    """Enter a session into the table of hashes."""
    at = home_of(state, state.sessions[slot, ID])
    while state.session_table[at] != NONE:
        at = (at + 1) & (len(state.session_table) - 1)
    state.session_table[at] = slot


@compiled
def place_all(state: State) -> None:
    """`place` every session."""
    for slot in range(state.counters[SESSIONS]):
        place(state, slot)


def with_table(state: State, length: int) -> State:
    """The state with a new table of hashes over all its sessions."""
    state = state._replace(session_table=np.full(length, NONE, np.int32))
    place_all(state)
    return state


def opened(state: State, session: int, role: Role, subject: int, kept: int) -> tuple[State, int]:
    """Open a session, evicting the one unused for longest if there are too many.

    Args:
        state: Where.
        session: The id: the command id of the opening.
        role: What it may send.
        subject: The source or replica it speaks for.
        kept: How many outcomes are kept for it.

    Returns:
        The state, and the id of the session that was evicted, NONE for none.
    """
    slot = int(state.counters[Counter.SESSIONS])
    evicted = NONE
    if slot == SESSIONS_MAXIMUM:
        slot = _least_used(state)
        evicted = int(state.sessions[slot, Session.ID])
    elif slot == len(state.sessions):
        state = grown(state, "sessions", slot + 1)
    state, ring = _ring(state, slot, kept, reuse=evicted != NONE)
    state.sessions[slot] = 0
    state.sessions[slot, [ID, ROLE, Session.SUBJECT, NEXT]] = session, role, subject, 1
    state.sessions[slot, [RING, KEPT, USED]] = ring, kept, session
    if evicted == NONE:
        state.counters[Counter.SESSIONS] += 1
    if evicted != NONE:
        return with_table(state, len(state.session_table)), evicted
    if 2 * int(state.counters[Counter.SESSIONS]) > len(state.session_table):
        return with_table(state, 4 * len(state.session_table)), NONE
    place(state, slot)
    return state, NONE


def repeat_into(state: State, slot: int, number: int, outcome: Any) -> None:
    """`repeat` for a cold command."""
    one = np.zeros(1, state.kept.dtype)
    _repeat_first(state, slot, number, one)
    for field in one.dtype.names or ():
        outcome[field] = one[0][field]


def consume_into(state: State, slot: int, number: int, command: int, outcome: Any) -> None:
    """`consume` for a cold command."""
    one = np.array([outcome], state.kept.dtype)
    _consume_first(state, slot, number, command, one)


@compiled
def _repeat_first(state: State, slot: int, number: int, outcomes: Outcomes) -> None:
    repeat(state, slot, number, outcomes[0])


@compiled
def _consume_first(state: State, slot: int, number: int, command: int, outcomes: Outcomes) -> None:
    consume(state, slot, number, command, outcomes[0])


def _least_used(state: State) -> int:
    """The slot of the session unused for longest; the first gateway is never evicted."""
    used = state.sessions[: int(state.counters[Counter.SESSIONS]), USED]
    return 1 + int(used[1:].argmin())


def _ring(state: State, slot: int, kept: int, *, reuse: bool) -> tuple[State, int]:
    """Where a session's outcomes go: the evicted one's ring if it is as large, else new room at the end."""
    if reuse and int(state.sessions[slot, KEPT]) == kept:
        start = int(state.sessions[slot, RING])
    else:
        start = int(state.counters[Counter.KEPT_TOP])
        if start + kept > len(state.kept):
            state = grown(state, "kept", start + kept)
        state.counters[Counter.KEPT_TOP] = start + kept
    state.kept[start : start + kept] = np.zeros((), state.kept.dtype)
    return state, start


@compiled
def turn(state: State, slot: int, kind: int, number: int) -> int:
    """`check_turn` for callers outside compiled code."""
    return check_turn(state, slot, kind, number, MAY)


@compiled
def take_turns(state: State, session: int, count: int) -> int:
    """Look a session up and check its next number `count` times; for measuring what that costs."""
    passed = 0
    for _ in range(count):
        slot = slot_of(state, session)
        passed += check_turn(state, slot, 1, state.sessions[slot, NEXT], MAY) == 0
    return passed
