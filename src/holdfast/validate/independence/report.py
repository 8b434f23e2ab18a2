"""A measurement in words and as plain data: the written report, and what `--json` prints.

What lives here: names and sentences. What may not: a number that `run` does not give.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from holdfast.validate.independence.judge import Outcome
from holdfast.validate.independence.mutation import KINDS, Place
from holdfast.validate.independence.run import AlikePair, Measurement, Mutant

_TEXT_LENGTH = 60
_NUMBER = re.compile(r"[-–]|[-+\d.,e%]+")


class Row(NamedTuple):
    """What became of the mutants of one engine, or of one kind of them.

    Attributes:
        engine: A or B.
        mutants: How many were tried.
        masked: Whose figures did not change on the bank.
        silently_agreed: Whose figures changed, never by more than the tolerance.
        detected: Whose figures differ from the other engine's by more than that somewhere.
        crashed: That raised, did not end, or gave no number somewhere.
        wrong_alone: Accounts that the engine alone would have liquidated wrongly, over all mutants.
        wrong_alone_mutants: Mutants with at least one such account.
        wrong_quorum: Accounts that the verdicts of both engines would have.
        held_back: Accounts whose liquidation was due and is held back.
    """

    engine: str
    mutants: int
    masked: int
    silently_agreed: int
    detected: int
    crashed: int
    wrong_alone: int
    wrong_alone_mutants: int
    wrong_quorum: int
    held_back: int

    @property
    def caught(self) -> float:
        """The share of mutants that were detected or crashed, of those that are not masked."""
        visible = self.mutants - self.masked
        return (self.detected + self.crashed) / visible if visible else 0.0


def row(engine: str, mutants: Iterable[Mutant]) -> Row:
    """The row of one engine's mutants among some."""
    own = [one.judgement for one in mutants if one.engine == engine]
    count = {outcome: sum(one.outcome is outcome for one in own) for outcome in Outcome}
    return Row(
        engine,
        len(own),
        count[Outcome.MASKED],
        count[Outcome.SILENT],
        count[Outcome.DETECTED],
        count[Outcome.CRASHED],
        sum(one.wrong_alone for one in own),
        sum(one.wrong_alone > 0 for one in own),
        sum(one.wrong_quorum for one in own),
        sum(one.held_back for one in own),
    )


def again(found: Measurement) -> str:
    """The command that measures the same."""
    return f"holdfast independence --seed {found.seed} --mutants {found.wanted} --minutes {found.minutes:g}"


def plain(found: Measurement) -> dict[str, Any]:
    """The measurement as JSON has it."""
    rows = [row(engine, found.mutants) for engine in "AB"]
    return {
        "command": again(found),
        "seed": found.seed,
        "seconds": round(found.seconds, 1),
        "complete": found.is_complete,
        "inputs": found.inputs._asdict(),
        "engines": [
            one._asdict()
            | {"caught": one.caught, "places": reach.all, "reached": len(reach.places), "functions": reach.functions}
            for one, reach in zip(rows, found.reaches, strict=True)
        ],
        "mutants": [{"engine": one.engine} | _place(one.place) | one.judgement._asdict() for one in found.mutants],
        "coincidence": {"every_pair": found.every_pair._asdict(), "alike": found.alike._asdict()},
        "pairs": [_pair(one) for one in found.pairs],
        "noise": [one._asdict() | {"share_detected": one.share_detected} for one in found.noise],
        "wrong_quorum": found.wrong_quorum,
    }


def _place(place: Place) -> dict[str, Any]:
    names = ("module", "function", "line", "kind", "before", "after")
    return {name: getattr(place, name) for name in names}


def _pair(one: AlikePair) -> dict[str, Any]:
    return {
        "rules": list(one.pair.rules),
        "likeness": round(one.pair.likeness, 3),
        "first": _place(one.pair.first) | {"outcome": one.first.outcome},
        "second": _place(one.pair.second) | {"outcome": one.second.outcome},
        "together": one.together._asdict() if one.together is not None else None,
    }


def markdown(found: Measurement) -> str:
    """The written report."""
    sections = (_opening, _summary, _classes, _by_kind, _coincidence, _alike_pairs, _noise, _not_found, _limits)
    return "\n\n".join(section(found) for section in sections) + "\n"


def _table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; columns of numbers are aligned to the right."""
    cells = [[_cell(cell) for cell in line] for line in rows]
    aligned = ["--:" if all(_NUMBER.fullmatch(line[n]) for line in cells) else "---" for n in range(len(headings))]
    return "\n".join("| " + " | ".join(line) + " |" for line in (headings, aligned, *cells))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _code(text: str) -> str:
    short = text if len(text) <= _TEXT_LENGTH else text[: _TEXT_LENGTH - 1] + "…"
    return "`" + short.replace("|", "\\|").replace("`", "'") + "`"


def _opening(found: Measurement) -> str:
    inputs, cut = found.inputs, "" if found.is_complete else " Time ran out: not all that was asked for was tried."
    names = ", ".join(dict.fromkeys(inputs.situations))
    return "\n\n".join(
        (
            "# Independence of the two engines",
            "What is measured and how: `specs/independence.md`. "
            f"Made by `{again(found)}` in {found.seconds:,.0f} s.{cut}",
            f"The bank has {inputs.accounts:,} accounts in {len(inputs.situations)} situations of three models with "
            f"drawn parameters ({names}). {inputs.below:,} accounts are below maintenance margin, {inputs.near:,} are "
            f"at it within the tolerance, {inputs.with_orders:,} have open orders. The unchanged engines agree on all "
            f"of them to {inputs.agreement:.1e} of the tolerance; the first one's source read as plain Python gives "
            "the bits of the compiled kernel.",
        )
    )


def _summary(found: Measurement) -> str:
    """What the tables below say, in a few sentences."""
    rows = [row(engine, found.mutants) for engine in "AB"]
    visible = sum(one.mutants - one.masked for one in rows)
    caught = sum(one.detected + one.crashed for one in rows)
    wrong, alone = sum(one.wrong_quorum for one in rows), sum(one.wrong_alone for one in rows)
    every, alike = found.every_pair, found.alike
    sentences = (
        f"One engine wrong: of {visible:,} mutants that changed anything, {caught:,} were caught by the comparison or "
        f"by breaking. Alone they would have liquidated {alone:,} accounts wrongly, by the verdicts of both {wrong:,}.",
        f"Both wrong by chance: {every.rate:.1e} of all inputs had the same wrong figures from both, and "
        f"{every.share_alike:.1%} of the coincident failures; {every.escaping:,} of {every.pairs:,} pairs escape.",
        f"Both wrong alike: {alike.share_alike:.0%} of the coincident failures had the same wrong figures; "
        f"{alike.escaping:,} of {alike.pairs:,} pairs escape. Two engines protect against errors that each makes for "
        "itself, and hardly against one that both make: for that there are worked numbers, laws, and the third engine.",
        f"Noise on A's table: {sum(one.missed for one in found.noise):,} figures beyond the tolerance were missed, and "
        f"{sum(one.wrong_quorum for one in found.noise):,} accounts liquidated wrongly by the verdicts of both.",
    )
    return "\n".join(f"- {one}" for one in sentences)


def _classes(found: Measurement) -> str:
    rows = [row(engine, found.mutants) for engine in "AB"]
    headings = (
        "engine", "places", "reached", "mutants", "masked", "silently agreed", "detected", "crashed",
        "caught of visible",
    )  # fmt: skip
    classes = [
        (one.engine, reach.all, len(reach.places), *one[1:6], f"{one.caught:.1%}")
        for one, reach in zip(rows, found.reaches, strict=True)
    ]
    verdicts = [(one.engine, one.wrong_alone, one.wrong_alone_mutants, one.wrong_quorum, one.held_back) for one in rows]
    of_verdicts = (
        "engine", "accounts liquidated wrongly by it alone", "by so many mutants", "by the verdicts of both",
        "due and held back",
    )  # fmt: skip
    return "\n\n".join(
        (
            "## One engine is wrong",
            _table(headings, classes),
            "*Masked*: no figure of any account changed. *Silently agreed*: figures changed, never by more than the "
            "tolerance of QRM-19. *Detected*: equity, initial or maintenance margin differs from the other engine's by "
            "more than that on at least one account. *Crashed*: it raised, did not end in time, or gave no number.",
            "What would have been liquidated, summed over all mutants that gave figures:",
            _table(of_verdicts, verdicts),
        )
    )


def _by_kind(found: Measurement) -> str:
    rows = []
    for kind in KINDS:
        for engine in "AB":
            one = row(engine, [mutant for mutant in found.mutants if mutant.place.kind == kind])
            if one.mutants:
                rows.append((kind, *one[:6]))
    headings = ("change", "engine", "mutants", "masked", "silently agreed", "detected", "crashed")
    return f"### By kind of change\n\n{_table(headings, rows)}"


def _coincidence(found: Measurement) -> str:
    rows = []
    for name, one in (
        ("every mutant of A with every one of B", found.every_pair),
        ("pairs that are alike", found.alike),
    ):
        ratio = one.together / one.expected if one.expected else 0.0
        counts = (one.pairs, one.inputs, one.together, one.expected, f"{ratio:.2f}", one.z, one.alike)
        rates = f"{one.together / one.inputs if one.inputs else 0.0:.2e}", f"{one.rate:.2e}"
        rows.append((name, *counts, *rates, f"{one.share_alike:.2%}", one.escaping, one.wrong_quorum, one.wrong_agreed))
    headings = (
        "", "pairs", "inputs", "coincident failures", "expected", "ratio", "z", "of them alike", "coincident ÷ inputs",
        "alike ÷ inputs",
        "alike ÷ coincident", "pairs that escape", "liquidated wrongly by both", "of them in agreement",
    )  # fmt: skip
    return "\n\n".join(
        (
            "## Both engines are wrong",
            "A mutant fails on an account where its figures are further from its own engine's than the tolerance; "
            "inputs are accounts times pairs; expected is what independence would give. *Alike* are failures of both "
            "on one account with the same wrong figures, which no comparison finds. A pair *escapes* where nothing "
            "differs anywhere on the bank. Counted are pairs that both give figures and both fail somewhere.",
            "Liquidated wrongly by both are accounts that both call BELOW. Where their figures differ, that is "
            "reported in the log, but it does not hold the liquidation back (QRM-19, QRM-22): the rule asks for one "
            "verdict, not for one number. The last column is what would be left if it asked for both.",
            _table(headings, rows),
            "For comparison: of 48 versions of one program written apart, 429 coincident failures were found where "
            "independence would have given 115.36, a ratio of 3.7 and z = 29.2 (arXiv 2606.20158).",
        )
    )


def _alike_pairs(found: Measurement) -> str:
    rows = []
    for one in found.pairs:
        changed = f"{_code(one.pair.first.before)} → {_code(one.pair.first.after)}"
        other = f"{_code(one.pair.second.before)} → {_code(one.pair.second.after)}"
        both = one.together
        numbers = (both.first, both.second, both.alike, "yes" if both.escapes else "no") if both else ("–",) * 4
        outcomes = f"{one.first.outcome}, {one.second.outcome}"
        rows.append((", ".join(one.pair.rules), changed, other, outcomes, *numbers))
    headings = ("rules", "in A", "in B", "each alone", "A fails on", "B fails on", "alike on", "escapes")
    return f"""### Pairs that are alike

The same rule of the pages, changed in the same way in both: what one misunderstanding shared by both would do.

{_table(headings, rows)}"""


def _noise(found: Measurement) -> str:
    rows = [
        (
            f"{one.size:.0e}", one.inputs, one.moved, one.detected, f"{one.share_detected:.1%}", one.missed,
            one.wrong_alone, one.wrong_quorum, one.held_back, one.largest,
        )
        for one in found.noise
    ]  # fmt: skip
    headings = (
        "relative noise", "inputs", "moved beyond tolerance", "detected", "share detected", "moved and missed",
        "wrong by A alone", "wrong by both", "due and held back", "largest move, tolerances",
    )  # fmt: skip
    return "\n\n".join(
        (
            "## Noise on A's table",
            "Every value of A's tables is multiplied by 1 + ε·u, u drawn evenly from −1 to 1. Wrong is a liquidation "
            "of an account that is not below maintenance margin without noise.",
            _table(headings, rows),
        )
    )


def _not_found(found: Measurement) -> str:
    parts = ["## What was not found"]
    for outcome in (Outcome.SILENT, Outcome.MASKED):
        own = sorted(
            (one for one in found.mutants if one.judgement.outcome is outcome),
            key=lambda one: (one.engine, one.place.module, one.place.line),
        )
        headings = ("engine", "function", "line", "change", "accounts changed", "largest difference, tolerances")
        shown = len(headings) if outcome is Outcome.SILENT else 4
        rows = [_mutant(one)[:shown] for one in own]
        parts += [f"### {str(outcome).capitalize()}", _table(headings[:shown], rows) if rows else "None."]
    return "\n\n".join(parts)


def _mutant(one: Mutant) -> tuple[Any, ...]:
    place, judgement = one.place, one.judgement
    name = f"{place.module.removeprefix('holdfast.')}.{place.function}".rstrip(".")
    change = f"{_code(place.before)} → {_code(place.after)}"
    return one.engine, name, place.line, change, judgement.changed, judgement.largest


_LIMITS = (
    "Mutants are small changes of working code. What people misunderstand is larger, and shared: see the pairs that "
    "are alike.",
    "A mutant of A runs as plain Python. Where it reads outside of an array it is counted as crashed; compiled, it "
    "would read whatever lies there.",
    "A masked mutant is one that this bank does not see: some change nothing that any input could show, others would "
    "show on inputs that are not in it.",
    "What lies before the frozen prices and the rows (quotes, time, the ledger's postings) and after the verdicts "
    "(votes, stages) is not mutated here: there the engines are compared to the unit, and the quorum is judged by the "
    "simulation.",
)


def _limits(_found: Measurement) -> str:
    return "## What this does not show\n\n" + "\n".join(f"- {one}" for one in _LIMITS)
