"""Both engines over the bank, from sources that may have been changed.

`install` puts fresh copies of one engine's modules in place of the imported ones, from their sources, one of which may
be a mutant's; it is meant for a process of its own that ends afterwards (`trial`). `FIRST` and `SECOND` say which
modules these are and how figures are worked out with them. Of the first engine that is everything between frozen prices
and figures: market, plan, values, charges, table, kernel, order bound, read as plain Python (`plain`). Of the second it
is everything between a snapshot's integers and figures.

What may not live here: choosing mutants, and judging them.
"""

import ast
import functools
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple

import numpy as np

import holdfast.witness  # noqa: F401 (what it needs is loaded, or found missing, before the first fork)
from holdfast.validate.independence.bank import Figures, Situation
from holdfast.validate.independence.plain import stand_ins

_FIRST_MODULES = (
    "holdfast.pricing.elementary",
    "holdfast.pricing.black76",
    "holdfast.domain.market",
    "holdfast.margin.option_values",
    "holdfast.margin.plan",
    "holdfast.margin.scenarios",
    "holdfast.margin.expiries",
    "holdfast.margin.values",
    "holdfast.margin.charges",
    "holdfast.margin.fields",
    "holdfast.margin.build",
    "holdfast.margin.scan",
    "holdfast.margin.held_charges",
    "holdfast.margin.kernel",
    "holdfast.margin.order_box",
    "holdfast.margin.orders",
    "holdfast.core.arithmetic",
    "holdfast.core.ledger",
    "holdfast.core.margins",
    "holdfast.core.marks",
)
_SECOND_MODULES = tuple(
    f"holdfast.witness.{name}"
    for name in (
        "black",
        "whole",
        "contracts",
        "lines",
        "shocks",
        "table",
        "population",
        "bounds",
        "ledger",
        "accounts",
    )
)
_SECOND_AROUND = (
    *(
        f"holdfast.witness.{name}"
        for name in (
            "book", "clock", "cold", "engine", "hot", "liquidation", "market", "quorum", "reading", "rules", "snapshot",
            "state", "votes",
        )
    ),
    "holdfast.witness",
)  # fmt: skip


class Engine(NamedTuple):
    """One of the two.

    Attributes:
        letter: A or B.
        modules: Whose functions margin goes through: what mutants are made of.
        around: Modules that import those and must be fresh with them.
        stand_ins: What takes the place of modules that only a compiler understands.
        figures: Figures of a situation, with whatever modules are imported when it is called.
    """

    letter: str
    modules: tuple[str, ...]
    around: tuple[str, ...]
    stand_ins: Callable[[], Mapping[str, ModuleType]]
    figures: Callable[[Situation], Figures]


def _first_figures(situation: Situation) -> Figures:
    """Market, tables and figures anew from the state's frozen prices, definitions, rows and orders."""
    marks = importlib.import_module("holdfast.core.marks")
    margins = importlib.import_module("holdfast.core.margins")
    machine = situation.fold.machine
    marked = marks.build(machine.state, machine.registry)
    marks.set_lines(machine.state, machine.registry, marked.tables)
    margins.relabel_all(machine.state)
    found: Figures = margins.figures_of(machine.state, marked.arrays, situation.accounts)
    return found


def _second_figures(situation: Situation) -> Figures:
    """The second engine from the snapshot on; not a number for an account that it leaves out."""
    witness = importlib.import_module("holdfast.witness").Witness
    margins = witness.from_snapshot({"position": situation.position}, situation.parts).margins(
        situation.accounts.tolist()
    )
    found = np.full((len(situation.accounts), 3), np.nan)
    places = np.searchsorted(situation.accounts, margins.accounts)
    found[places] = np.stack([margins.equity, margins.initial, margins.maintenance], axis=1)
    return found


FIRST = Engine("A", _FIRST_MODULES, (), stand_ins, _first_figures)
SECOND = Engine("B", _SECOND_MODULES, _SECOND_AROUND, dict, _second_figures)
ENGINES = (FIRST, SECOND)


@functools.cache
def source_of(module: str) -> str:
    """The source text of a module, without importing it; read once, so that all trials are of one version."""
    return path_of(module).read_text(encoding="utf-8")


def path_of(module: str) -> Path:
    """The file of a module of this package."""
    base = Path(__file__).parents[2].joinpath(*module.split(".")[1:])
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


class _Fresh(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads some modules from code objects."""

    def __init__(self, codes: Mapping[str, CodeType]) -> None:
        self._codes = codes

    def find_spec(self, fullname: str, *_path_and_target: object) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._codes:
            return None
        is_package = path_of(fullname).name == "__init__.py"
        spec = importlib.util.spec_from_loader(fullname, self, is_package=is_package)
        if spec is not None and is_package:
            spec.submodule_search_locations = [str(path_of(fullname).parent)]
        return spec

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = str(path_of(module.__name__))
        exec(self._codes[module.__name__], vars(module))  # noqa: S102 (the point of it)


class Codes:
    """Code objects of modules, compiled from their sources once."""

    def __init__(self) -> None:
        self._codes: dict[str, CodeType] = {}

    def of(self, modules: Iterable[str]) -> dict[str, CodeType]:
        """Code by module."""
        for module in modules:
            if module not in self._codes:
                self._codes[module] = compile(source_of(module), str(path_of(module)), "exec")
        return {module: self._codes[module] for module in modules}


def install(engine: Engine, codes: Codes, mutant: tuple[str, ast.Module] | None = None) -> None:
    """Put fresh copies of an engine's modules in place, one of them changed; the process can do nothing else after it.

    Args:
        engine: Which one.
        codes: Of unchanged modules.
        mutant: The module that is changed, and its syntax tree.
    """
    fresh = codes.of((*engine.modules, *engine.around))
    if mutant is not None:
        module, tree = mutant
        fresh[module] = compile(tree, str(path_of(module)), "exec")
    stand_ins = engine.stand_ins()
    for module in (*fresh, *stand_ins):
        sys.modules.pop(module, None)
        parent, _, name = module.rpartition(".")
        vars(sys.modules[parent]).pop(name, None) if parent in sys.modules else None
    for module, stand_in in stand_ins.items():
        sys.modules[module] = stand_in
        setattr(sys.modules[module.rpartition(".")[0]], module.rpartition(".")[2], stand_in)
    sys.meta_path.insert(0, _Fresh(fresh))
