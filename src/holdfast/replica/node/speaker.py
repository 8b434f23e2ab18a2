"""What a node says by itself: its clock, votes, roots, requests for roles, and what a holder of a role has to send.

Each kind of saying waits until the one before it is in the log, so that nothing piles up while the log elects a leader.
All go through one session of the role `replica`, opened through the node's own gateway. What may not live here: when
what is due is decided by the state alone (`replica.decisions`), clocks, the broker.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from holdfast.core.cold.roles import PAYER
from holdfast.core.fold import Fold
from holdfast.domain.commands import (
    ColdCommand,
    ConfirmPayment,
    OpenSession,
    ReportDiscrepancy,
    TakeLease,
    Tick,
    cold_records,
)
from holdfast.domain.messages import Batch
from holdfast.domain.reasons import Reason
from holdfast.proof.frame_tree import FrameTree
from holdfast.replica.decisions import SecondEngine, cosignatures, decisions, root_votes, votes_for
from holdfast.replica.gateway import ClientSession
from holdfast.replica.node.outbox import Outbox, Resolved

LEASE_S: Final = 10
"""Logical seconds for which a role is asked; a dead holder's role is free again after that."""
DECISION_INTERVAL_S: Final = 0.01
"""Between two looks at what the state makes due."""
DECIDER: Final = "decider"
"""The role whose holder sends the stages of liquidations and settlements; by it nobody plans the same stage twice."""
CLOCK, COSIGNATURE, DECISION, OPENING, PAYMENT, REPORT, ROOT = (
    "clock",
    "cosignature",
    "decision",
    "opening",
    "payment",
    "report",
    "root",
)


class Own(NamedTuple):
    """The token of a batch that the node itself sent."""

    kind: str


class Speaker:
    """The session of a node and what of its sayings is under way."""

    def __init__(
        self,
        number: int,
        key: bytes,
        *,
        tick_interval_s: float,
        second: SecondEngine | None = None,
        tree: FrameTree | None = None,
    ) -> None:
        self.number = number
        self._second, self._tree = second, tree
        self._key = key
        self._interval_s = tick_interval_s
        self._session: ClientSession | None = None
        self._under_way: set[str] = set()
        self._ticked_at = float("-inf")
        self._looked_at = -1
        self._decided_at = float("-inf")

    def speak(self, fold: Fold, outbox: Outbox, now: float, clock: int) -> None:
        """Offer what is to be said now."""
        if self._session is None:
            if OPENING not in self._under_way:
                self._offer(outbox, OPENING, [OpenSession("replica", self.number, 1)])
            return
        if now - self._ticked_at >= self._interval_s and CLOCK not in self._under_way:
            self._ticked_at = now
            said: list[ColdCommand] = [Tick(self.number, clock)]
            wanted = [DECIDER, PAYER] if fold.machine.registry.payments else [DECIDER]
            said += [TakeLease(role, self.number, LEASE_S * 10**9) for role in wanted if self._wants(fold, role)]
            self._offer(outbox, CLOCK, said)
        if fold.position == self._looked_at or now - self._decided_at < DECISION_INTERVAL_S:
            return
        self._looked_at, self._decided_at = fold.position, now
        if ROOT not in self._under_way and (roots := root_votes(fold, self.number, self._key)):
            self._offer(outbox, ROOT, roots)
        if self._tree is not None and COSIGNATURE not in self._under_way:
            self._cosign(fold, outbox, self._tree)
        if DECISION not in self._under_way:
            self._decide(fold, outbox, now)

    def next_at(self, fold: Fold) -> float:
        """When something is to be said next; never, as far as that waits for what was said before."""
        if self._session is None and OPENING in self._under_way:
            return float("inf")
        looked = fold.position == self._looked_at
        tick = float("inf") if CLOCK in self._under_way else self._ticked_at + self._interval_s
        return tick if looked else min(tick, self._decided_at + DECISION_INTERVAL_S)

    def confirm(self, outbox: Outbox, withdrawal: int) -> None:
        """Say that a payment is on its way."""
        if self._session is not None:
            self._offer(outbox, f"{PAYMENT} {withdrawal}", [ConfirmPayment(withdrawal)])

    def answered(self, resolved: Resolved) -> None:
        """A batch of the node's own is in the log."""
        kind = resolved.token.kind
        self._under_way.discard(kind)
        reasons = resolved.outcomes["reason"]
        if kind == OPENING and int(reasons[0]) == Reason.ACCEPTED:
            self._session = ClientSession(int(resolved.outcomes["made"][0]))
        elif (reasons == int(Reason.SESSION_UNKNOWN)).any():
            self._session = None  # Evicted: another is opened.

    def holds(self, fold: Fold, role: str) -> bool:
        """Whether this node holds a role at logical time."""
        lease = fold.machine.registry.leases.get(role)
        return lease is not None and lease.replica == self.number and lease.until > fold.time

    def _cosign(self, fold: Fold, outbox: Outbox, tree: FrameTree) -> None:
        """Sign the tree of frames at the newest checkpoint whose root the log has this node's word on."""
        for said in cosignatures(fold, self.number, self._key, tree):
            tree.forget(said.size)
            self._offer(outbox, COSIGNATURE, [said])

    @property
    def may_report(self) -> bool:
        """Whether no report of its own is under way."""
        return self._session is not None and REPORT not in self._under_way

    def report(self, outbox: Outbox, report: ReportDiscrepancy) -> None:
        """Say which accounts' engines differ."""
        self._offer(outbox, REPORT, [report])

    def _decide(self, fold: Fold, outbox: Outbox, now: float) -> None:
        # Only the holder plans stages: planning is what takes long.
        decide = decisions if self.holds(fold, DECIDER) else votes_for
        due = decide(fold, self.number, self._key, self._second, now)
        if due:
            self._offer(outbox, DECISION, due)

    def _wants(self, fold: Fold, role: str) -> bool:
        """Whether the role is free, or this node's and half over."""
        lease = fold.machine.registry.leases.get(role)
        if fold.time == 0:
            return False
        if lease is None or lease.until <= fold.time:
            return True
        return lease.replica == self.number and lease.until - fold.time < LEASE_S * 10**9 // 2

    def _offer(self, outbox: Outbox, kind: str, commands: Sequence[ColdCommand]) -> None:
        self._under_way.add(kind)
        session = self._session
        numbered = () if session is None else (session.id, session.take(len(commands)).start)
        outbox.offer(Own(kind), Batch(*cold_records(commands, *numbered)))
