"""The part of `witness` about the exact engine: a breach of many accounts examined, a table certified, one account.

What lives here: measuring. What may not: a pipe; messages are encoded and decoded as they are on their way through one.
"""

import statistics
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from holdfast.bench.result import Figure, Target, at_most
from holdfast.bench.venue import START
from holdfast.core.fold import Applied, Fold
from holdfast.domain.errors import invariant
from holdfast.margin.presets import preset
from holdfast.replica.node.examination import Examination
from holdfast.replica.witnessing.messages import LENGTH_SIZE, encoded, from_third, to_third
from holdfast.replica.witnessing.third import Tables, examined
from holdfast.witness import exact

OPTIONS: Final = 1_000
LINES: Final = 20
ACCOUNTS: Final = 200
"""Times that one account is worked out."""
BREACH_S, TABLE_S, ACCOUNT_S = 60.0, 6.0, 0.004
"""What is asked for."""
EXPIRIES: Final = (
    "24NOV23",
    "1DEC23",
    "8DEC23",
    "29DEC23",
    "26JAN24",
    "23FEB24",
    "29MAR24",
    "28JUN24",
    "27SEP24",
    "27DEC24",
)


class Followed(NamedTuple):
    """How the exact engine followed a breach.

    Attributes:
        accounts: That were examined.
        seconds: From the mark to the last answer, the table's certificate included.
        questions: That it took.
        asking: Seconds that the node's loop stopped to make a question, at most.
        answering: Seconds that it stopped to read an answer, at most.
    """

    accounts: int
    seconds: float
    questions: int
    asking: float
    answering: float


class Alone(NamedTuple):
    """Seconds of a table of options, of its certificate, and of an account on it (median)."""

    table: float
    certificate: float
    account: float


def follow(fold: Fold, marked: Applied, next_frame: Callable[[], Applied]) -> Followed:
    """Let an exact engine follow what a mark has made of many accounts.

    Args:
        fold: After the frame with the mark.
        marked: What that frame was.
        next_frame: Folds a frame without a mark.
    """
    view, tables = Examination(), Tables()
    view.started()
    began = time.perf_counter()
    asking, answering, applied = [0.0], [0.0], marked
    while True:
        at = time.perf_counter()
        view.folded(fold, applied)
        questions = [encoded(message) for message in view.messages()]
        asking.append(time.perf_counter() - at)
        if not questions:
            break
        answer = encoded(examined(to_third.decode(questions[0][LENGTH_SIZE:]), tables))
        at = time.perf_counter()
        view.answered(from_third.decode(answer[LENGTH_SIZE:]))
        answering.append(time.perf_counter() - at)
        applied = next_frame()
    seconds = time.perf_counter() - began
    invariant(not view.problems, f"the exact engine objects: {list(view.problems)}")
    return Followed(view.accounts, seconds, len(answering) - 1, max(asking), max(answering))


def chain(options: int) -> exact.Inputs:
    """Options of ten expiries on one coin."""
    names = [
        f"BTC-{expiry}-{20_000 + 2_000 * step}-{kind}"
        for expiry in EXPIRIES
        for step in range(options // (2 * len(EXPIRIES)))
        for kind in "CP"
    ]
    contracts = [exact.contract(number, name, "0.1", 4) for number, name in enumerate(names)]
    frozen = {"BTC": 61_234_56789012, **{name: 600_000 + 37 * number for number, name in enumerate(names)}}
    models = {"portfolio": msgspec.to_builtins(preset("portfolio"))}
    return exact.Inputs((exact.Asset("USD", 6), exact.Asset("BTC", 8)), contracts, models, frozen, START)


def alone(options: int = OPTIONS) -> Alone:
    """Time the exact engine on a market of its own."""
    inputs = chain(options)
    began = time.perf_counter()
    table = exact.table(inputs, "portfolio")
    built = time.perf_counter()
    claims = {
        name: (float(line.v0.value), [float(each.value) for each in line.v]) for name, line in table.lines.items()
    }
    claimed = time.perf_counter()
    invariant(exact.certify(table, claims).within, "the nearest doubles were not certified")
    certified = time.perf_counter()
    names = [each.name for each in inputs.contracts][:: max(1, len(inputs.contracts) // LINES)][:LINES]
    rows = {"BTC": (10**9, 0), **{name: ((-1) ** place * 7, 0) for place, name in enumerate(names)}}
    exact.margin(table, rows)
    taken = []
    for _ in range(ACCOUNTS):
        at = time.perf_counter()
        exact.margin(table, rows)
        taken.append(time.perf_counter() - at)
    return Alone(built - began, certified - claimed, statistics.median(taken))


def figures(followed: Followed, one: Alone, options: int) -> dict[str, Figure]:
    """The rows of the result."""
    return {
        "exact engine: accounts examined": Figure(followed.accounts, "accounts"),
        "exact engine: accounts of that breach examined, in seconds (asked 60)": Figure(followed.seconds, "s"),
        "exact engine: questions for them": Figure(followed.questions, "questions"),
        "exact engine: the node's loop stops for a question, at most": Figure(followed.asking, "s"),
        "exact engine: the node's loop stops for an answer, at most": Figure(followed.answering, "s"),
        f"exact engine: table of {options:,} options, 32 scenarios": Figure(one.table, "s"),
        "exact engine: its certificate": Figure(one.certificate, "s"),
        f"exact engine: an account of {LINES} lines and cash": Figure(one.account, "s"),
    }


def targets(followed: Followed, one: Alone) -> list[Target]:
    """What is asked of it."""
    return [
        at_most(
            "a breach of an eighth of the accounts examined by the exact engine in 60 s", followed.seconds, BREACH_S
        ),
        at_most("an exact table of 1,000 options in 6 s", one.table, TABLE_S),
        at_most("an account of 20 lines exactly in 4 ms", one.account, ACCOUNT_S),
    ]
