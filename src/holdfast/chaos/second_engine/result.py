"""What the drill found, as plain values, and whether it is as it should be. What may not live here: finding out."""

import msgspec

from holdfast.chaos.second_engine.evidence import Evidence

NO_ERROR, KILLED, BACK = "no error", "second engines killed", "second engines back"
IN_ALL, GONE, OUTVOTED, IN_ONE = "error in all", "error gone", "error in one, outvoted", "error in one"
WITH_ERROR = (IN_ALL, OUTVOTED, IN_ONE)
MARKS_TO_NAME = 1
"""An error is named before so many further marks."""


class Act(msgspec.Struct, frozen=True):
    """One act; accounts are clients', "right" is by both right engines of the judging pass.

    Attributes:
        name: Of the act.
        marks: In it.
        below: Accounts that are rightly below maintenance margin at one of its marks.
        by_error: Accounts that only a first engine with the error finds below at one of its marks.
        begun: Liquidations.
        wrong: Of them, those of accounts that were not below.
        without_second: Of them, those that began without a second engine's numbers.
        too_close: Of those, the ones not beyond the wider shortfall.
        withheld: Accounts rightly below at its end whose liquidation has not begun.
        frozen: Accounts that froze.
        named_by: Who named an error, in words, in order of the log; only the first word of each.
        accounts_named: How many accounts those words name.
        marks_to_name: Marks between the first one of the act and the first such word; None where there is none.
        named_s: Seconds from that mark to that word, by the log's servers.
        suspended: Replicas that were suspended.
        begun_s: Seconds from the first mark to the first and to the last liquidation's beginning.
        degraded: What an engine says at the end of the act that is not as it should be.
    """

    name: str
    marks: int
    below: int
    by_error: int
    begun: int
    wrong: int
    without_second: int
    too_close: int
    withheld: int
    frozen: int
    named_by: list[str]
    accounts_named: int
    marks_to_name: int | None
    named_s: float | None
    suspended: list[str]
    begun_s: tuple[float, float] | None
    degraded: list[str]


class Result(msgspec.Struct, frozen=True):
    """A drill.

    Attributes:
        accounts: Of clients.
        seed: Of the venue.
        acts: In order.
        evidence: Of one liquidation.
        frames: In the log.
        killed: Second engines killed.
        roots_certified: State roots that a majority signed and that the judging pass has too.
        roots_strange: Those that it has not.
        contradicted: What the judging pass's second engine finds impossible.
        took_s: Of everything.
        machine: Processor, cores, system.
        versions: Python and Holdfast.
    """

    accounts: int
    seed: int
    acts: list[Act]
    evidence: Evidence
    frames: int
    killed: int
    roots_certified: int
    roots_strange: int
    contradicted: list[str]
    took_s: float
    machine: dict[str, str]
    versions: dict[str, str]

    @property
    def problems(self) -> list[str]:
        """What is not as it should be."""
        found = [problem for act in self.acts for problem in problems_of(act)]
        if self.roots_strange or not self.roots_certified:
            found.append(
                f"the judging pass has {self.roots_certified} of the roots signed, and {self.roots_strange} not"
            )
        found += [f"the judging second engine: {text}" for text in self.contradicted[:3]]
        seen = self.evidence
        for is_so, text in (
            (seen.is_alone, "Holdfast could be imported where the evidence was checked"),
            (seen.holds, "the evidence was refused"),
            (seen.refuses_altered, "altered evidence was not refused"),
        ):
            if not is_so:
                found.append(text)
        return found


def problems_of(act: Act) -> list[str]:
    """What is not as it should be in one act."""
    found = []
    if act.wrong:
        found.append(f"{act.name}: {act.wrong} wrong liquidations")
    if act.too_close:
        found.append(f"{act.name}: {act.too_close} liquidations without a second engine within the wider shortfall")
    if act.name == NO_ERROR and (act.begun != act.below or not act.begun):
        found.append(f"{act.name}: {act.begun} liquidations of {act.below} accounts below")
    if act.name == BACK and act.withheld:
        found.append(f"{act.name}: {act.withheld} accounts still wait for their liquidation")
    is_error = act.name in WITH_ERROR
    if is_error and not act.by_error:
        found.append(f"{act.name}: no account would have been liquidated wrongly, so nothing was tried")
    if is_error and (act.marks_to_name is None or act.marks_to_name >= MARKS_TO_NAME):
        found.append(f"{act.name}: not named within a mark")
    if not is_error and act.frozen:
        found.append(f"{act.name}: {act.frozen} accounts froze without an error")
    return found
