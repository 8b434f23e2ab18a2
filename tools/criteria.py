"""Compares the numbered criteria of specs/ with the criteria that tests name.

    python tools/criteria.py [--specs FOLDER] [--tests FOLDER]

A criterion is a line of a page `*.md` that starts with its number in bold (`- **TAB-1** …`, in a list of any kind or at
the start of a paragraph); numbers elsewhere in a line are references. A test names criteria with
`@pytest.mark.criterion("TAB-1")`, on a function, a class, a parameter or a whole file. Test files are parsed and not
imported, so a missing library hides nothing.

Prints what is wrong, one line each with its place: criteria that no test names, numbers that tests name and no page
has, numbers given twice, and names that are not literal text. The exit status is 0 only if nothing is wrong.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[1]

_NUMBER = r"\*\*(?P<number>[A-Z][A-Z0-9]*-\d+)\*\*"
_LIST_ITEM = re.compile(rf"\s*(?:[-*+]|\d+[.)])\s+{_NUMBER}")
_PARAGRAPH = re.compile(_NUMBER)
_FENCE = re.compile(r"\s*(?:```|~~~)")
_HEADING = re.compile(r"#{1,6}\s")


class Mention(NamedTuple):
    """A criterion's number and where it stands."""

    number: str
    file: Path
    line: int

    @property
    def place(self) -> str:
        """File and line, as editors read them."""
        return f"{self.file}:{self.line}"


class Findings(NamedTuple):
    """What a comparison found; each of the last four is empty when all is well.

    Attributes:
        pages: The criteria of the pages, first mentions.
        named: The numbers that tests name.
        uncovered: Criteria that no test names.
        unknown: Numbers that tests name and no page has.
        repeated: Second and further mentions of a number on the pages.
        unreadable: Marks whose arguments are not literal texts; their number is the source of the argument.
    """

    pages: tuple[Mention, ...]
    named: frozenset[str]
    uncovered: tuple[Mention, ...]
    unknown: tuple[Mention, ...]
    repeated: tuple[tuple[Mention, Mention], ...]
    unreadable: tuple[Mention, ...]

    @property
    def is_clean(self) -> bool:
        """Whether there are criteria and nothing is wrong with them."""
        return bool(self.pages) and not (self.uncovered or self.unknown or self.repeated or self.unreadable)


def criteria_of_page(file: Path) -> Iterator[Mention]:
    """The criteria that a page states, in order; code blocks are skipped."""
    in_code, after_break = False, True
    for line, text in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if _FENCE.match(text):
            in_code = not in_code
        elif not in_code:
            found = _LIST_ITEM.match(text) or (_PARAGRAPH.match(text) if after_break else None)
            if found:
                yield Mention(found["number"], file, line)
        after_break = not text.strip() or bool(_HEADING.match(text))


def criteria_of_tests(file: Path) -> Iterator[tuple[Mention, bool]]:
    """What the marks of a test file name, and whether it is literal text."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if not (isinstance(node, ast.Call) and _is_criterion_mark(node.func)):
            continue
        for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
            literal = isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            number = argument.value if literal else ast.unparse(argument)  # type: ignore[attr-defined]
            yield Mention(number, file, argument.lineno), literal


def _is_criterion_mark(function: ast.expr) -> bool:
    """Whether an expression is `pytest.mark.criterion` or `mark.criterion`."""
    if not (isinstance(function, ast.Attribute) and function.attr == "criterion"):
        return False
    owner = function.value
    return (isinstance(owner, ast.Attribute) and owner.attr == "mark") or (
        isinstance(owner, ast.Name) and owner.id == "mark"
    )


def compare(specs: Path, tests: Path) -> Findings:
    """Compare the pages of one folder with the test files of another and its subfolders."""
    first: dict[str, Mention] = {}
    repeated = []
    for mention in (m for page in sorted(specs.glob("*.md")) for m in criteria_of_page(page)):
        if mention.number in first:
            repeated.append((mention, first[mention.number]))
        else:
            first[mention.number] = mention
    marks = [m for file in sorted(tests.rglob("*.py")) for m in criteria_of_tests(file)]
    named = frozenset(mention.number for mention, literal in marks if literal)
    return Findings(
        pages=tuple(first.values()),
        named=named,
        uncovered=tuple(m for m in first.values() if m.number not in named),
        unknown=tuple(m for m, literal in marks if literal and m.number not in first),
        repeated=tuple(repeated),
        unreadable=tuple(m for m, literal in marks if not literal),
    )


def report(findings: Findings) -> str:
    """The findings as text: a line for each problem, and a summary."""
    lines = [f"{m.place}: {m.number} is named by no test" for m in findings.uncovered]
    lines += [f"{m.place}: {m.number} is on no page" for m in findings.unknown]
    lines += [f"{m.place}: {m.number} is given already at {before.place}" for m, before in findings.repeated]
    lines += [f"{m.place}: {m.number} is not literal text; write the number out" for m in findings.unreadable]
    covered = len(findings.pages) - len(findings.uncovered)
    lines.append(
        f"{len(findings.pages)} criteria: {covered} covered, {len(findings.uncovered)} uncovered, "
        f"{len(findings.unknown)} unknown, {len(findings.repeated)} repeated, {len(findings.unreadable)} unreadable"
    )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison; 0 if there are criteria and nothing is wrong with them, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--specs", type=Path, default=REPOSITORY / "specs", help="folder of the pages")
    parser.add_argument("--tests", type=Path, default=REPOSITORY / "tests", help="folder of the tests")
    options = parser.parse_args(arguments)
    findings = compare(options.specs, options.tests)
    print(report(findings))
    if not findings.pages:
        print(f"{options.specs}: no page states a criterion; check the folder")
    return 0 if findings.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
