"""Which mutants are tried: drawn with a seed over the functions that margin goes through; and pairs that are alike.

Every function that the bank reaches is as likely as another, whatever its length, and in it every kind of change. A
pair is a place in each engine that follows the same rule of the pages (both name it in their docstrings), changed in
the same way, in statements that speak of the same things: what one misunderstanding of one sentence would do to both.

What may not live here: trying them.
"""

import ast
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from holdfast.validate.independence.engines import Engine, source_of
from holdfast.validate.independence.mutation import Place, places

_RULE = re.compile(r"([A-Z]{2,4})-(\d+)(?: to \1-(\d+))?")
_UNSAID = {
    "holdfast.pricing.black76.time_value": "PRC-5",
    "holdfast.pricing.black76.value": "PRC-5 PRC-7",
    "holdfast.pricing.black76.total_volatility": "PRC-5",
    "holdfast.domain.market.Market.years_to_expiry": "CON-2",
    "holdfast.core.ledger.units_of": "LED-2",
    "holdfast.core.ledger.cost_of": "LED-5",
    "holdfast.core.ledger.fee_of": "LED-6",
    "holdfast.core.marks._underlying": "MKS-8",
    "holdfast.core.marks.market_of": "MKS-8",
    "holdfast.margin.expiries.expiry_rows": "PM-2",
    "holdfast.margin.expiries._volatility_multipliers": "TAIL-1",
    "holdfast.margin.fields.group_fields": "PM-8",
    "holdfast.margin.fields.asset_fields": "COL-2",
    "holdfast.margin.option_values.values_in_scenarios": "PM-2 PM-4",
    "holdfast.margin.orders._credit_lost": "ORD-8",
    "holdfast.witness.black._time_value": "PRC-5",
    "holdfast.witness.lines.FrozenMarket.mark": "MKS-8",
    "holdfast.witness.lines.FrozenMarket._dollar": "MKS-8",
    "holdfast.witness.shocks._volatility": "PM-4",
    "holdfast.witness.shocks.TailPlan._moves": "TAIL-1 TAIL-7",
    "holdfast.witness.table._netted_rates": "CHG-4 CHG-5",
    "holdfast.witness.table._group": "PM-8",
    "holdfast.witness.population.group_result": "TAB-4",
    "holdfast.witness.population._scan": "TAB-5 TAB-7",
    "holdfast.witness.population.figures": "CHG-2 CHG-3",
    "holdfast.witness.bounds._lower_group": "ORD-3",
    "holdfast.witness.bounds._lower_basis": "ORD-4",
    "holdfast.witness.bounds._maximum_loss": "ORD-6",
    "holdfast.witness.bounds._against_mark": "ORD-7",
    "holdfast.witness.bounds.initial": "ORD-7",
}
"""Rules of functions whose docstrings name none, by qualified name."""
LIKENESS_LEAST = 0.35
"""Share of words that the two places of a pair have in common, at least."""


class Reach(NamedTuple):
    """The places of an engine.

    Attributes:
        all: How many there are in its modules.
        places: Those that the bank reaches.
        functions: How many functions these are in.
    """

    all: int
    places: tuple[Place, ...]
    functions: int


class Pair(NamedTuple):
    """Two places that are alike, the rules that both follow, and how much they have in common."""

    first: Place
    second: Place
    rules: tuple[str, ...]
    likeness: float


def reach(engine: Engine, lines: Mapping[str, frozenset[int]]) -> Reach:
    """The places of an engine that the bank reaches.

    Args:
        engine: Which one.
        lines: By module, the lines that were reached.
    """
    every = [place for module in engine.modules for place in places(module, source_of(module))]
    usable = tuple(p for p in every if not lines[p.module].isdisjoint(range(p.line, p.last_line + 1)))
    return Reach(len(every), usable, len({(place.module, place.function) for place in usable}))


def drawn(places_: Iterable[Place], count: int, random: Random) -> list[Place]:
    """As many places, functions in turn and in each the kinds of change in turn, both in random order."""
    by_function: dict[tuple[str, str], dict[str, list[Place]]] = {}
    for place in places_:
        by_function.setdefault((place.module, place.function), {}).setdefault(place.kind, []).append(place)
    queues = [_shuffled_kinds(kinds, random) for kinds in by_function.values()]
    random.shuffle(queues)
    turns = itertools.zip_longest(*queues)
    return [place for turn in turns for place in turn if place is not None][:count]


def _shuffled_kinds(kinds: Mapping[str, list[Place]], random: Random) -> list[Place]:
    groups = [random.sample(group, len(group)) for group in kinds.values()]
    random.shuffle(groups)
    return [place for turn in itertools.zip_longest(*groups) for place in turn if place is not None]


def pairs(first: Sequence[Place], second: Sequence[Place], count: int, random: Random) -> list[Pair]:
    """As many pairs, the rules in turn, each place of either engine at most once."""
    candidates: dict[str, list[Place]] = {}
    for place in second:
        for rule in rules_of(place):
            candidates.setdefault(rule, []).append(place)
    found = [pair for place in first for pair in [_best(place, candidates)] if pair is not None]
    by_rule: dict[tuple[str, ...], list[Pair]] = {}
    for pair in sorted(found, key=lambda pair: -pair.likeness):
        by_rule.setdefault(pair.rules, []).append(pair)
    queues = list(by_rule.values())
    random.shuffle(queues)
    chosen: list[Pair] = []
    taken: set[Place] = set()
    for pair in itertools.chain.from_iterable(itertools.zip_longest(*queues)):
        if pair is not None and not taken & {pair.first, pair.second}:
            chosen.append(pair)
            taken |= {pair.first, pair.second}
    return chosen[:count]


def _best(place: Place, candidates: Mapping[str, list[Place]]) -> Pair | None:
    """The place of the second engine that is most like one of the first."""
    rules = rules_of(place)
    others = {other for rule in rules for other in candidates.get(rule, ()) if place.turn and other.turn == place.turn}
    scored = sorted((-_likeness(place, other), other) for other in others)
    if not scored or -scored[0][0] < LIKENESS_LEAST:
        return None
    likeness, other = scored[0]
    return Pair(place, other, tuple(sorted(rules & rules_of(other))), -likeness)


def _likeness(one: Place, other: Place) -> float:
    """The share of words in common: of the statements, and of what is changed where that is more than a constant."""
    around, own = _common(one.words, other.words), _common(one.own_words, other.own_words)
    return around if one.kind == "constant" else (around + own) / 2


def _common(one: frozenset[str], other: frozenset[str]) -> float:
    together = len(one | other)
    return len(one & other) / together if together else 0.0


_DOCSTRINGS: dict[str, dict[str, str]] = {}


def rules_of(place: Place) -> frozenset[str]:
    """The rules of the pages that the function around a place follows, such as {"STD-4", "STD-5"}."""
    if place.module not in _DOCSTRINGS:
        _DOCSTRINGS[place.module] = _docstrings(ast.parse(source_of(place.module)), "")
    text = _DOCSTRINGS[place.module].get(place.function, "") + " " + _UNSAID.get(f"{place.module}.{place.function}", "")
    found: set[str] = set()
    for page, first, last in _RULE.findall(text):
        found.update(f"{page}-{number}" for number in range(int(first), int(last or first) + 1))
    return frozenset(found)


def _docstrings(tree: ast.AST, around: str) -> dict[str, str]:
    """Docstrings by qualified name of the function."""
    found: dict[str, str] = {}
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = f"{around}.{node.name}".lstrip(".")
            found[name] = ast.get_docstring(node) or ""
            found |= _docstrings(node, name)
    return found
