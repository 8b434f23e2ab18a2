"""`holdfast reconcile`: an engine or cluster against itself, outside statements, its sources, approved parameters."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.terminal import is_compiled, messages, note, output, reported, while_compiling
from holdfast.domain.errors import HoldfastError, InputError

if TYPE_CHECKING:
    from holdfast.cli.reconcile_cluster import ClusterSource
    from holdfast.cli.reconcile_folder import FolderSource
    from holdfast.cli.reconcile_questions import Wanted
    from holdfast.validate.reconcile.ages import Ages
    from holdfast.validate.reconcile.approval import Approved
    from holdfast.validate.reconcile.lines import Statement
    from holdfast.validate.reconcile.run import Asked, Report

CLUSTER_FILE = Path("clients", "client.toml")
"""Where the folder of a cluster has the file of a client."""
PROGRESS_FRAMES = 256
"""Frames between two notes of how far folding is."""
EVERY_MINIMUM_S = 0.1

SourcePath = Annotated[
    Path, typer.Argument(help="An engine's or replica's folder, or a cluster's client.toml.", show_default=False)
]
Statements = Annotated[
    list[Path] | None,
    typer.Option("--statement", help="CSV, JSON, or Deribit's answers; may be given several times."),
]
AccountName = Annotated[str | None, typer.Option("--account", help="Whose a statement is that does not say it.")]
Complete = Annotated[bool, typer.Option("--complete", help="Accounts in no statement are stated to hold nothing.")]
Tolerances = Annotated[
    list[str] | None, typer.Option("--tolerance", help="ITEM=AMOUNT that may differ, as BTC=0.0001.")
]
ParametersFile = Annotated[
    Path | None, typer.Option("--parameters", help="What was approved: a parameter set, or models and rules, as JSON.")
]
StateFile = Annotated[Path | None, typer.Option("--state", help="Where to keep since when each finding is there.")]
Every = Annotated[float | None, typer.Option("--every", help="Look again every so many seconds; print what changed.")]
FromSnapshot = Annotated[
    bool, typer.Option("--from-snapshot", help="Begin folding at a snapshot, which is faster and trusts it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@reported
def reconcile(
    source: SourcePath,
    *,
    statement: Statements = None,
    account: AccountName = None,
    complete: Complete = False,
    tolerance: Tolerances = None,
    parameters: ParametersFile = None,
    state: StateFile = None,
    every: Every = None,
    from_snapshot: FromSnapshot = False,
    as_json: AsJson = False,
) -> None:
    """Compare an engine with itself, outside statements, other replicas, price sources and approved parameters.

    Exit status 0: nothing found; 1: a break or an alarm; 2: wrong input.
    """
    from holdfast.validate.reconcile.ages import Ages, read_ages

    if every is not None and not every >= EVERY_MINIMUM_S:
        raise InputError("out-of-range", "--every", every, f"give at least {EVERY_MINIMUM_S:g} seconds")
    paths = tuple(statement or ())
    tolerances, approved = _tolerances(tolerance or ()), _approved(parameters)
    # A statement that cannot be read is said before anything is folded.
    given = _statements(paths, account, complete=complete)
    ages = read_ages(state.read_bytes()) if state is not None and state.exists() else Ages()
    with closing(_source(source, from_snapshot=from_snapshot)) as opened:
        looks = _Looks(opened, state, ages)
        with while_compiling():
            report = looks.look(_asked(given, tolerances, approved))
        _show(report, as_json=as_json)
        if every is None:
            raise typer.Exit(report.status)
        while True:
            _wait(every, report)
            try:
                given = _statements(paths, account, complete=complete)
            except (InputError, OSError) as error:
                note(f"the last statements stand: {error}")
            try:
                again = looks.look(_asked(given, tolerances, approved))
            except (HoldfastError, OSError) as error:
                note(f"no look: {error}")
                continue
            _show_changes(report, again, as_json=as_json)
            report = again


class _Looks:
    """Looks at one source, with since when findings are there."""

    def __init__(self, source: "FolderSource | ClusterSource", state: Path | None, ages: "Ages") -> None:
        self._source, self._state, self._ages = source, state, ages

    def look(self, asked: "Asked") -> "Report":
        """Look, judge, and keep the ages."""
        from holdfast.replica.folder import replace_file
        from holdfast.validate.reconcile.ages import ages_bytes
        from holdfast.validate.reconcile.run import reconcile as judge

        report, self._ages = judge(self._seen(_wanted(asked)), asked, self._ages)
        if self._state is not None:
            replace_file(self._state, ages_bytes(self._ages))
        return report

    def _seen(self, wanted: "Wanted") -> Any:
        from holdfast.cli.reconcile_folder import FolderSource

        if not isinstance(self._source, FolderSource):
            return self._source.look(wanted)
        with _progress() as told:
            return self._source.look(wanted, told)


@contextmanager
def _progress() -> Iterator[Any]:
    """Shows how far folding is where somebody is watching."""
    console = messages()
    if not console.is_terminal or not is_compiled():
        yield lambda _at, _end: None
        return
    with console.status("reading the log") as status:

        def told(at: int, end: int) -> None:
            if at % PROGRESS_FRAMES == 0:
                status.update(f"folded {at:,} of {end:,} frames")

        yield told


def _source(path: Path, *, from_snapshot: bool) -> "FolderSource | ClusterSource":
    from holdfast.cli.reconcile_cluster import ClusterSource
    from holdfast.cli.reconcile_folder import folder_source

    of_cluster = path / CLUSTER_FILE
    configuration = path if path.suffix == ".toml" else of_cluster if of_cluster.is_file() else None
    if configuration is None:
        return folder_source(path, from_snapshot=from_snapshot)
    if from_snapshot:
        advice = "leave it out: a running cluster is asked, not folded"
        raise InputError("malformed", "--from-snapshot", None, advice, "has no meaning here")
    return ClusterSource(configuration.expanduser())


def _statements(paths: Sequence[Path], account: str | None, *, complete: bool) -> "tuple[Statement, ...]":
    from holdfast.validate.reconcile.statement import read_statements

    found = read_statements([(path.name, path.read_bytes()) for path in paths], account)
    if not found and (complete or account):
        name = "--complete" if complete else "--account"
        raise InputError("missing-field", "--statement", None, f"give a statement, or leave {name} out")
    return tuple(one._replace(complete=one.complete or complete) for one in found)


def _tolerances(given: Sequence[str]) -> dict[str, Decimal]:
    from holdfast.validate.reconcile.statement import exact, item_name

    found: dict[str, Decimal] = {}
    for written in given:
        name, equals, amount = written.partition("=")
        if not equals:
            raise InputError("malformed", "--tolerance", written, "write it like BTC=0.0001")
        allowed = exact(amount, f"--tolerance {name}")
        if allowed < 0:
            raise InputError("out-of-range", f"--tolerance {name}", amount, "give 0 or more")
        found[item_name(name, "--tolerance")[0]] = allowed
    return found


def _approved(path: Path | None) -> "Approved | None":
    from holdfast.domain.reading import located
    from holdfast.validate.reconcile.approval import read_approved

    if path is None:
        return None
    with located(path.name):
        return read_approved(path.read_bytes())


def _asked(
    statements: "tuple[Statement, ...]", tolerances: Mapping[str, Decimal], approved: "Approved | None"
) -> "Asked":
    from holdfast.validate.reconcile.run import Asked

    return Asked(statements, tolerances, approved)


def _wanted(asked: "Asked") -> "Wanted":
    from holdfast.cli.reconcile_questions import Wanted

    lines = [line for one in asked.statements for lines in one.accounts.values() for line in lines]
    return Wanted(
        accounts=tuple(dict.fromkeys(name for one in asked.statements for name in one.accounts)),
        everybody=any(one.complete for one in asked.statements),
        items=tuple(dict.fromkeys(item for _, item in lines)),
        moments=tuple(one.moment for one in asked.statements),
        sets=asked.approved is not None,
    )


def _show(report: "Report", *, as_json: bool) -> None:
    from holdfast.cli.reconcile_view import show

    if as_json:
        output().print(json.dumps(report.as_dict(), ensure_ascii=False), soft_wrap=True)
    else:
        show(output(), report)


def _show_changes(before: "Report", now: "Report", *, as_json: bool) -> None:
    from holdfast.cli.reconcile_view import show_changes
    from holdfast.validate.reconcile.run import changes, plain

    found = changes(before, now)
    if as_json:
        output().print(json.dumps(plain(found), ensure_ascii=False), soft_wrap=True)
    else:
        show_changes(output(), found)


def _wait(seconds: float, report: "Report") -> None:
    console = messages()
    if not console.is_terminal:
        time.sleep(seconds)
        return
    found = len(report.findings)
    with console.status(
        f"position {report.position:,}: {found} finding{'' if found == 1 else 's'}; looking every {seconds:g} s"
    ):
        time.sleep(seconds)
