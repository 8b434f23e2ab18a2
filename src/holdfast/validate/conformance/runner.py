"""Runs case files and counts: which cases pass, which fail and by how much, which nobody computes yet.

What lives here: the choice of files and adapters, and the report. What may not: anything of a venue (its adapter), the
printing of the report (the command line).
"""

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import msgspec

from holdfast.domain.errors import InputError, invariant
from holdfast.validate.conformance import deribit, derive, derive_auction, dydx
from holdfast.validate.conformance.cases import Adapter, Case, Evaluation, Unsupported, path_of, read_cases


def collect(modules: Iterable[ModuleType]) -> Mapping[str, Adapter]:
    """The adapters of several modules in one table; two adapters for one kind are a bug."""
    adapters: dict[str, Adapter] = {}
    for module in modules:
        for kind, adapter in module.ADAPTERS.items():
            invariant(kind not in adapters, f"two adapters for the kind {kind!r}; one is in {module.__name__}")
            adapters[kind] = adapter
    return MappingProxyType(adapters)


MODULES: tuple[ModuleType, ...] = (derive, derive_auction, deribit, dydx)
"""One module for each source of cases, with its `ADAPTERS` by kind."""
ADAPTERS: Mapping[str, Adapter] = collect(MODULES)


class Failure(msgspec.Struct, frozen=True):
    """A case that failed, by the first of its checks that did.

    Attributes:
        id: The case; empty where the file itself is what failed.
        quantity: What disagreed; `error` if the evaluation raised, `file` if the file could not be read.
        expected: The published value.
        actual: The computed value, or the text of what went wrong.
        path: The production function that computed it; the adapter's where the evaluation raised.
    """

    id: str
    quantity: str
    expected: Any
    actual: Any
    path: str


class FileReport(msgspec.Struct, frozen=True):
    """The outcome of one file; counts are cases.

    Attributes:
        file: The path of the file.
        passed: Cases with every check passed.
        failed: Cases with a failed check or an error; 1 for a file that cannot be read.
        unsupported: Cases that no adapter computes.
        failures: One entry for each failed case, in the order of the file.
        unsupported_kinds: Count of unsupported cases by kind.
        paths: The production functions that computed the cases, ascending.
    """

    file: str
    passed: int
    failed: int
    unsupported: int
    failures: tuple[Failure, ...]
    unsupported_kinds: dict[str, int]
    paths: tuple[str, ...]


class Report(msgspec.Struct, frozen=True):
    """The outcome of a run; counts are cases over all files.

    Attributes:
        passed: Cases passed.
        failed: Cases failed; unsupported cases are not among them.
        unsupported: Cases that no adapter computes.
        files: One entry for each file, in the order run.
    """

    passed: int
    failed: int
    unsupported: int
    files: tuple[FileReport, ...]

    @property
    def exit_status(self) -> int:
        """0 if nothing failed and nothing was unsupported, else 1."""
        return 0 if self.failed == 0 and self.unsupported == 0 else 1

    def as_dict(self) -> dict[str, Any]:
        """The report as plain JSON values: what JSON cannot write is text."""
        plain: dict[str, Any] = _plain(msgspec.to_builtins(self, enc_hook=_plain))
        return plain

    def as_json(self, indent: int | None = 2) -> str:
        """The report as strict JSON text; `indent` in spaces, None for one line."""
        return json.dumps(self.as_dict(), indent=indent, ensure_ascii=False, allow_nan=False)


def run(paths: Iterable[str | os.PathLike[str]], adapters: Mapping[str, Adapter] = ADAPTERS) -> Report:
    """Run case files.

    Args:
        paths: Files, and folders of which every file ending in `.json` is taken. At least one.
        adapters: What computes each kind of case.

    Returns:
        The counts, the failures and the unsupported kinds, file by file.

    Raises:
        InputError: There is no path, a path does not exist, or a folder holds no case file.
    """
    files = tuple(_run_file(file, adapters) for file in _files(paths))
    return Report(
        passed=sum(file.passed for file in files),
        failed=sum(file.failed for file in files),
        unsupported=sum(file.unsupported for file in files),
        files=files,
    )


def _files(paths: Iterable[str | os.PathLike[str]]) -> tuple[Path, ...]:
    """The files that the paths stand for, in order, each once."""
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise InputError("missing-field", "paths", None, "name at least one case file or folder")
    unique: dict[Path, Path] = {}
    for path in given:
        for file in _files_of(Path(path)):
            unique.setdefault(file.resolve(), file)
    return tuple(unique.values())


def _files_of(path: Path) -> list[Path]:
    if not path.exists():
        raise InputError("unknown-path", "paths", str(path), "name a file or folder that exists", "does not exist")
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix == ".json" and not file.is_dir())
    if not files:
        raise InputError("no-cases", "paths", str(path), "name a folder that holds .json files", "holds no case file")
    return files


def _run_file(file: Path, adapters: Mapping[str, Adapter]) -> FileReport:
    try:
        cases = read_cases(file)
    except InputError as error:
        failure = Failure(id="", quantity="file", expected="a JSON list of cases", actual=str(error), path="")
        return FileReport(str(file), 0, 1, 0, (failure,), {}, ())
    failures: list[Failure] = []
    kinds: Counter[str] = Counter()
    computed_by: set[str] = set()
    for case in cases:
        try:
            evaluation = _evaluate(case, adapters)
            failures.extend(_first_failure(case, evaluation))
            computed_by.add(evaluation.path)
        except Unsupported as verdict:
            kinds[verdict.kind] += 1
        except Exception as error:  # Whatever an evaluation raises is a failure of that case, told and counted.
            failures.append(_error(case, adapters[case.kind], error))
    return FileReport(
        file=str(file),
        passed=len(cases) - len(failures) - kinds.total(),
        failed=len(failures),
        unsupported=kinds.total(),
        failures=tuple(failures),
        unsupported_kinds=dict(sorted(kinds.items())),
        paths=tuple(sorted(computed_by)),
    )


def _evaluate(case: Case, adapters: Mapping[str, Adapter]) -> Evaluation:
    adapter = adapters.get(case.kind)
    if adapter is None:
        raise Unsupported(case.kind)
    return adapter(case.raw)


def _first_failure(case: Case, evaluation: Evaluation) -> list[Failure]:
    """The failure of a case as a list of none or one. A case that checks nothing has failed."""
    if not evaluation.checks:
        return [Failure(case.id, "checks", case.raw["expected"], "nothing was checked", evaluation.path)]
    failed = (check for check in evaluation.checks if not check.passed)
    return [Failure(case.id, c.quantity, c.expected, c.actual, evaluation.path) for c in failed][:1]


def _error(case: Case, adapter: Adapter, error: Exception) -> Failure:
    return Failure(case.id, "error", case.raw["expected"], f"{type(error).__name__}: {error}", path_of(adapter))


def _plain(value: Any) -> Any:
    """`value` in what strict JSON can write: NaN, the infinities and foreign values become text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if hasattr(value, "item"):  # A NumPy scalar is the Python number it holds.
        return _plain(value.item())
    return value if isinstance(value, float) and math.isfinite(value) else str(value)
