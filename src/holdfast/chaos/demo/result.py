"""What the demonstration says at the end. What may not live here: how it is shown."""

import msgspec


class FaultResult(msgspec.Struct, frozen=True):
    """One fault.

    Attributes:
        kind: Key of the fault.
        title: For people.
        target: What was hit.
        hit_s: Longest wait of clients of the replica that was hit, seconds; None where none was.
        others_s: Longest wait of all other clients for an acknowledgement; None where there are none.
        reads_s: Longest wait of any client for an answer to a question.
        well_after_s: When all servers and engines were well again.
    """

    kind: str
    title: str
    target: str
    hit_s: float | None
    others_s: float | None
    reads_s: float | None
    well_after_s: float


class DemoResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result.

    Attributes:
        minutes: How long the market was to be replayed.
        seed: Of population, noise and orders.
        seconds: How long the load lasted.
        faults: In their order.
        acknowledged: Commands that clients were told of.
        unknown: Commands of which clients were not told what became of them.
        acknowledged_lost: Of the acknowledged, those that the log has not, or with another outcome.
        applied_twice: Commands that took effect under a number more than once.
        frames: Of the log at the end.
        root: State root at the newest checkpoint that all engines took, hexadecimal.
        root_position: Its position.
        wrong_roots: What engines said of roots that the log does not give, in words.
        equal_roots: Whether every root of every engine, the newest included, is the one that the log gives.
        equal_copies: Whether the engines' copies of the log are the same.
        conserved: Whether everything sums to zero, as every engine says and as the log gives.
        accounts: How many, market makers included.
        liquidations: Begun.
        taken_over: Accounts taken over by the insurance fund.
        insurance_fund_start: Equity, dollars.
        insurance_fund: At the end.
        bitcoin: First, lowest and last price that was replayed, dollars.
        market_time: First and last instant of the replay, ISO 8601.
        degraded: What engines said was not as it should be.
        notes: What to know about these numbers.
    """

    minutes: float
    seed: int
    seconds: float
    faults: tuple[FaultResult, ...]
    acknowledged: int
    unknown: int
    acknowledged_lost: int
    applied_twice: int
    frames: int
    root: str
    root_position: int
    wrong_roots: tuple[str, ...]
    equal_roots: bool
    equal_copies: bool
    conserved: bool
    accounts: int
    liquidations: int
    taken_over: int
    insurance_fund_start: float
    insurance_fund: float
    bitcoin: tuple[float, float, float]
    market_time: tuple[str, str]
    degraded: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def is_kept(self) -> bool:
        """Whether every promise was kept."""
        nothing_lost = self.acknowledged > 0 and not self.acknowledged_lost and not self.applied_twice
        return nothing_lost and self.equal_roots and self.equal_copies and self.conserved

    def as_json(self) -> str:
        """The result as JSON, its fields in their order."""
        return msgspec.json.format(msgspec.json.encode(self)).decode()
