"""The drill's report, in Markdown and as plain values. What may not live here: measuring and judging."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from holdfast.chaos.second_engine.error import FACTOR, UNDERLYING
from holdfast.chaos.second_engine.result import WITH_ERROR, Act, Result

HEADS: Final = (
    "act",
    "marks",
    "below",
    "only by the error",
    "begun",
    "wrong",
    "withheld",
    "frozen",
    "named after",
    "last begun after",
)
_NONE = "–"
_EXPLAINED = (
    ("below", "accounts whose equity is below maintenance margin at a mark of the act, by both right engines"),
    ("only by the error", "accounts that a first engine with the error finds below, and right engines do not"),
    ("begun, wrong", "liquidations that began, and those of accounts that were not below"),
    ("withheld", "accounts below whose liquidation has not begun when the act ends"),
    ("frozen", "accounts that froze because engines disagree, until an operator lets them go"),
    ("named after", "marks after the first wrong one, and seconds, until the log says that something is wrong"),
    ("last begun after", "seconds from the act's first mark to the frame that begins its last liquidation"),
)


def plain(result: Result) -> dict[str, Any]:
    """A result as JSON can say it."""
    content: dict[str, Any] = msgspec.to_builtins(result)
    return {"passed": not result.problems, "problems": result.problems, **content}


def rows(result: Result) -> list[tuple[str, ...]]:
    """A row of texts for each act, as `HEADS` says."""
    return [_row(act) for act in result.acts]


def _row(act: Act) -> tuple[str, ...]:
    numbers = (act.marks, act.below, act.by_error, act.begun, act.wrong, act.withheld, act.frozen)
    texts = [f"{number:,}" for number in numbers]
    if act.name not in WITH_ERROR:
        texts[2] = _NONE
    named = _NONE if act.named_s is None else f"{act.marks_to_name} marks, {act.named_s:.2f} s"
    last = _NONE if act.begun_s is None else f"{act.begun_s[1]:.2f} s"
    return (act.name, *texts, named, last)


def markdown(result: Result, again: str) -> str:
    """The report.

    Args:
        result: Of the drill.
        again: The command that runs it again.
    """
    wrong, begun = sum(act.wrong for act in result.acts), sum(act.begun for act in result.acts)
    verdict = "passed" if not result.problems else "FAILED"
    machine = ", ".join((f"{result.machine['cores']} cores", result.machine["processor"], result.machine["system"]))
    lines = [
        "# A planted error in the first engine",
        "",
        f"Written by `{again} --report FILE`: {result.accounts:,} accounts, {result.took_s / 60:.0f} minutes, "
        f"**{verdict}**. Of {begun:,} liquidations that began, {wrong:,} were wrong. What is done and judged: "
        "`specs/drill.md`; how to run it: [Drill the second engine](../how-to/drill-the-second-engine.md).",
        "",
        f"{machine}; Python {result.versions['python']}, Holdfast {result.versions['holdfast']}. Three servers, three "
        "engines, their second and exact engines and the drill share this machine.",
        "",
        *(f"- {problem}" for problem in result.problems),
        *([""] if result.problems else []),
        "## Acts",
        "",
        f"The error: values of {UNDERLYING} contracts times {FACTOR:g}, today and in every scenario, in the tables of "
        "the first engine. In each act the price falls, but for the two in which something ends.",
        "",
        *_table(HEADS, rows(result)),
        "",
        *(f"- *{what}*: {meaning}." for what, meaning in _EXPLAINED),
        "",
        *_sentences(result),
        "",
        "## Who named it",
        "",
        *_names(result),
        "",
        "## How it was judged",
        "",
        f"By a pass over a copy of the log, {result.frames:,} frames, after the cluster had ended: a fold by the "
        "right code and a second engine of its own, each liquidation at the frame that began it. "
        f"{result.roots_certified} state roots that a majority of the replicas signed are those of this pass, "
        f"{result.roots_strange} are not. Seconds are between the times at which the log's servers stored frames.",
        "",
        "## Evidence",
        "",
        *_evidence(result),
    ]
    return "\n".join(lines) + "\n"


def _sentences(result: Result) -> list[str]:
    found, known = list[str](), set[str]()
    for act in result.acts:
        if act.without_second:
            found.append(
                f"- {act.name}: {result.killed} second engines were killed. {act.without_second:,} liquidations began "
                f"without their numbers, {act.too_close} of them within the wider shortfall; {act.withheld:,} waited."
            )
        new = [text for text in act.degraded if text not in known]
        known.update(new)
        if new:
            found.append(f"- {act.name}: an engine answers at its end with: {'; '.join(new)}.")
        if act.suspended:
            found.append(f"- {act.name}: suspended {', '.join(act.suspended)}; the others went on.")
    return found


def _names(result: Result) -> list[str]:
    found = []
    for act in result.acts:
        if act.named_by:
            named = f", {act.accounts_named:,} accounts by number" if act.accounts_named else ""
            found.append(f"- **{act.name}**{named}: {'; '.join(act.named_by)}.")
    return found or ["Nobody named anything."]


def _evidence(result: Result) -> list[str]:
    seen = result.evidence
    said = {True: "yes", False: "**no**"}
    return [
        f"Of account {seen.account}, made with `holdfast prove liquidation` from an engine that ran, {seen.bytes:,} "
        f"bytes. It was checked in an empty folder with a copy of `proof/verifier.py` and the keys, by "
        f"`{seen.command}`.",
        "",
        *_table(
            ("", ""),
            [
                ("Holdfast cannot be imported there", said[seen.is_alone]),
                ("the proof holds", said[seen.holds]),
                ("the same about another account is refused", said[seen.refuses_altered]),
            ],
        ),
        "",
        *(f"- {check}" for check in seen.checks),
    ]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    marks = ["---", *["---:"] * (len(heads) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (heads, marks, *rows)]
