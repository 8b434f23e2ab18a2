"""A run's report, in Markdown and as plain values. What may not live here: measuring and judging."""

import math
import os
import platform
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from holdfast.chaos.gaps import Gap
from holdfast.chaos.history import Fate
from holdfast.chaos.run import Result

FINDINGS_SHOWN: Final = 20
"""Of each check; the rest is counted."""
_NONE = "–"


def plain(result: Result) -> dict[str, Any]:
    """A result as JSON can say it."""
    return {
        "seed": result.seed,
        "passed": not result.problems,
        "findings": {name: found[:FINDINGS_SHOWN] for name, found in result.findings.items()},
        "faults": [
            {
                "fault": gap.window.fault,
                "regions": gap.window.regions,
                "proofs": gap.window.proofs,
                "gap_hit_s": gap.hit,
                "gap_others_s": gap.others,
                "gap_reads_s": gap.reads,
                "problem": gap.window.problem,
            }
            for gap in result.gaps
        ],
        "skipped": result.skipped,
        "calls": _calls(result),
    }


def markdown(result: Result, again: str, took_s: float) -> str:
    """The report.

    Args:
        result: Of the run.
        again: The command that runs it again.
        took_s: How long it took, seconds.
    """
    verdict = "passed" if not result.problems else f"FAILED: {len(result.problems)} findings"
    lines = [
        "# Chaos report",
        "",
        f"Seed {result.seed}, {took_s / 60:.0f} minutes, {verdict}. Again: `{again}`. "
        "What is done and checked: `specs/chaos.md`.",
        "",
        f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}; "
        "three servers, three engines, three clients and the relays between them on one machine, so that a busy moment "
        "of one is felt by all.",
        "",
        "## Calls",
        "",
        *_table(("what", "how many"), [(name, f"{count:,}") for name, count in _calls(result).items()]),
        "",
        "## Faults",
        "",
        "Longest time without an acknowledgement, of clients in a region that was hit and of the others, and without "
        "an answer to a question; seconds, p50 / p99 / maximum over the times that the fault was hit.",
        "",
        *_table(("fault", "hit", "gap, hit", "gap, others", "gap, reads", "unknown"), _fault_rows(result.gaps)),
    ]
    if result.skipped:
        lines += ["", *(f"Not done here: {fault} ({reason})." for fault, reason in result.skipped.items())]
    lines += ["", "## Checks", "", *_table(("check", "findings"), _check_rows(result))]
    for name, found in result.findings.items():
        lines += [f"- {name}: {text}" for text in found[:FINDINGS_SHOWN]]
    return "\n".join(lines) + "\n"


def _calls(result: Result) -> dict[str, int]:
    fates = Counter(command.fate for command in result.history.commands)
    answered = sum(question.answered_at >= 0 for question in result.history.questions)
    return {
        "commands acknowledged": fates[Fate.OK],
        "commands certainly not done": fates[Fate.FAIL],
        "commands whose fate stayed unknown": fates[Fate.UNKNOWN],
        "questions answered": answered,
        "questions not answered": len(result.history.questions) - answered,
        "frames in the log": result.truth.end,
        "commands that came again and were recognised": result.truth.repeats,
        "frames refused whole": result.truth.refused_frames,
        "checkpoints": len(result.truth.roots),
    }


def _fault_rows(gaps: Sequence[Gap]) -> list[tuple[str, ...]]:
    rows = []
    for fault in sorted({gap.window.fault for gap in gaps}):
        tried = [gap for gap in gaps if gap.window.fault == fault]
        hit = [gap for gap in tried if gap.window.proofs]
        columns = [_spread([getattr(gap, name) for gap in hit]) for name in ("hit", "others", "reads")]
        rows.append((fault, f"{len(hit)} of {len(tried)}", *columns, str(sum(gap.unknown for gap in hit))))
    return rows


def _check_rows(result: Result) -> list[tuple[str, str]]:
    return [(name, str(len(found))) for name, found in result.findings.items()]


def _spread(values: Sequence[float]) -> str:
    known = sorted(value for value in values if value >= 0)
    if not known:
        return _NONE
    return " / ".join(f"{value:.2f}" for value in (_rank(known, 0.5), _rank(known, 0.99), known[-1]))


def _rank(values: Sequence[float], share: float) -> float:
    """The lowest of some ascending values that at least this share of them does not exceed."""
    return values[max(0, math.ceil(share * len(values)) - 1)]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    marks = ["---", *["---:"] * (len(heads) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (heads, marks, *rows)]
