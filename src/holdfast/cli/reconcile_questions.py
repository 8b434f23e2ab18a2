"""What a look asks for, and in how many questions: the same of a folder and of a cluster."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from holdfast.validate.reconcile.history import History, Moment
from holdfast.validate.reconcile.picture import Answered

Question = tuple[str, dict[str, Any]]
"""What is asked, and its arguments."""
Together = Callable[[Sequence[Question]], list[Answered]]
"""Answers some questions, all of one position."""


class Wanted(NamedTuple):
    """What a look has to bring.

    Attributes:
        accounts: Names of the accounts that statements speak of.
        everybody: Whether all accounts are wanted.
        items: Names of the items that statements speak of.
        moments: Of the statements.
        sets: Whether parameters are compared with a file, so that whole sets are wanted.
    """

    accounts: tuple[str, ...] = ()
    everybody: bool = False
    items: tuple[str, ...] = ()
    moments: tuple[Moment, ...] = ()
    sets: bool = False


class Gathered(NamedTuple):
    """The answers to everything that one engine is asked; see `validate.reconcile.picture.Seen`."""

    ledger: Answered
    holdings: tuple[Answered, ...]
    quotes: tuple[Answered, ...]
    parameters: Answered
    root: Answered
    sets: dict[str, Mapping[str, Any]]


def gather(together: Together, wanted: Wanted, history: History) -> Gathered:
    """Ask an engine for everything, at one position as far as one message holds it."""
    past = [item for name in history.begun for item in history.items(name)]
    described = {"items": list(dict.fromkeys([*wanted.items, *past]))}
    first = described if wanted.everybody else described | {"accounts": list(wanted.accounts)}
    questions = [("ledger", {}), ("holdings", first), ("quotes", {}), ("parameters", {}), ("root", {})]
    ledger, held, quoted, parameters, root = together(questions)
    holdings = [held]
    if wanted.everybody:
        holdings += _rest(together, "holdings", described, held)
    else:
        holdings += _named(together, described, wanted.accounts[int(held.content["end"]) :])
    if wanted.everybody:
        holdings += _named(together, described, wanted.accounts)
    names = [one["name"] for one in parameters.content["models"]] if wanted.sets else []
    quotes = (quoted, *_rest(together, "quotes", {}, quoted))
    return Gathered(ledger, tuple(holdings), quotes, parameters, root, sets_of(together, names))


def sets_of(together: Together, models: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """The parameter sets of some models, by digest."""
    found: dict[str, Mapping[str, Any]] = {}
    for model in models:
        (answer,) = together([("parameters", {"model": model})])
        found |= {one["digest"]: one["parameters"] for one in answer.content["models"] if "parameters" in one}
    return found


def _named(together: Together, arguments: Mapping[str, Any], accounts: Sequence[str]) -> list[Answered]:
    """As many answers as some accounts take."""
    found, left = list[Answered](), list(accounts)
    while left:
        found += together([("holdings", {**arguments, "accounts": left})])
        left = left[max(1, int(found[-1].content["end"])) :]
    return found


def _rest(together: Together, what: str, arguments: Mapping[str, Any], begun: Answered) -> list[Answered]:
    """The answers to a question that goes on from `end`, up to `count`."""
    found = [begun]
    while found[-1].content["end"] < found[-1].content["count"]:
        found += together([(what, {**arguments, "first": found[-1].content["end"]})])
    return found[1:]
