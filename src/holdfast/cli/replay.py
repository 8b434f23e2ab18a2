"""`holdfast replay`: a venue's population taken through a crash on real prices, the engine killed in the middle."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.terminal import messages, output, reported
from holdfast.domain.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from holdfast.stress.history import PriceHistory
    from holdfast.stress.result import ReplayResult

PREFIX = "crash-"
BROKEN_PROMISE = 1
"""Exit status where something was lost or doubled, or the log folds to another state."""
ACCOUNTS_MAXIMUM = 1_000_000

Window = Annotated[
    str, typer.Argument(help="crash-2020-03, crash-2021-05, crash-2022-05, crash-2022-06 or crash-2022-11.")
]
Prices = Annotated[
    Path | None, typer.Option("--prices", help="Your own hourly prices, CSV or Parquet, in place of a window.")
]
Accounts = Annotated[int, typer.Option("--accounts", help="Accounts, market makers included.")]
Seed = Annotated[int, typer.Option("--seed", help="Of population, noise and orders.")]
Model = Annotated[str | None, typer.Option("--model", help="One model for all accounts: standard or portfolio.")]
Folder = Annotated[Path | None, typer.Option("--folder", help="Keep log, snapshots and journal here (new or empty).")]
Report = Annotated[Path, typer.Option("--report", help="Where to write the HTML report.")]
Kill = Annotated[bool, typer.Option("--kill/--no-kill", help="Kill the engine at the lowest price, and restart it.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@reported
def replay(
    window: Window = "crash-2020-03",
    *,
    prices: Prices = None,
    accounts: Accounts = 20_000,
    seed: Seed = 1,
    model: Model = None,
    folder: Folder = None,
    report: Report = Path("holdfast-replay.html"),
    kill: Kill = True,
    json_: Json = False,
) -> None:
    """Replay a crash; exit status 0 only if nothing was lost or doubled and the log folds to the same state again."""
    from holdfast.stress.replay.run import Job
    from holdfast.stress.replay.run import replay as run
    from holdfast.stress.report import render

    _check(accounts, model, folder)
    history = _history(window, prices)
    rerun = _rerun(window, prices, accounts, seed, model)
    job = Job(history=history, accounts=accounts, seed=seed, model=model, kill=kill, rerun=rerun)
    with ExitStack() as stack:
        home = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-replay-")))
        progress = stack.enter_context(_progress())
        result = run(job, home, progress)
    report.write_text(render(result), encoding="utf-8")
    if json_:
        typer.echo(result.as_json())
    else:
        _show(result, report)
    raise typer.Exit(0 if result.is_kept else BROKEN_PROMISE)


def _check(accounts: int, model: str | None, folder: Path | None) -> None:
    if not 100 <= accounts <= ACCOUNTS_MAXIMUM:
        raise InputError("out-of-range", "--accounts", accounts, f"give a number from 100 to {ACCOUNTS_MAXIMUM:,}")
    if model not in (None, "standard", "portfolio"):
        raise InputError("malformed", "--model", model, "use standard or portfolio")
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("malformed", "--folder", str(folder), "name a folder that is new or empty", "is in use")


def _history(window: str, prices: Path | None) -> "PriceHistory":
    from holdfast.stress.history import load_window, windows
    from holdfast.stress.prices import load_prices

    if prices is not None:
        return load_prices(prices)
    name = window.removeprefix(PREFIX)
    if name not in windows():
        known = ", ".join(PREFIX + one for one in windows())
        raise InputError("malformed", "WINDOW", window, f"use one of {known}, or --prices FILE", "is not a window")
    return load_window(name)


def _rerun(window: str, prices: Path | None, accounts: int, seed: int, model: str | None) -> str:
    what = f"--prices {prices}" if prices is not None else window
    return f"holdfast replay {what} --accounts {accounts} --seed {seed}" + (f" --model {model}" if model else "")


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error where somebody is watching, and nothing elsewhere."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = messages()
    if not console.is_terminal:
        yield lambda _what, _share: None
        return
    columns = (
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda what, share: bar.update(task, completed=share, description=what)


def _show(result: "ReplayResult", report: Path) -> None:
    console = output()
    console.print(_summary(result))
    for mark in result.degraded:
        console.print(f"  degraded: {mark}")
    console.print(f"  report: {report}")
    console.print(f"  again:  {result.rerun}")


def _summary(result: "ReplayResult") -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_header=False, title=f"{result.window}: {result.accounts:,} accounts")
    table.add_column("what")
    table.add_column("number", justify="right")
    for what, number in _rows(result):
        table.add_row(what, number)
    return table


def _rows(result: "ReplayResult") -> Iterator[tuple[str, str]]:
    yield "commands, of them refused", f"{result.commands:,}, {result.refused:,}"
    yield "margin calls, accounts", f"{result.margin_calls:,}"
    yield "liquidations, accounts", f"{result.liquidations:,}"
    yield "taken over by the insurance fund", f"{result.bankruptcies:,}"
    yield "insurance fund, from and to", f"{result.insurance_fund_start:,.0f} → {result.insurance_fund:,.0f} USD"
    yield "deleveraged", f"{result.deleveraged:,.0f} USD"
    yield "losses shared", f"{result.shared_loss:,.0f} USD"
    yield (
        "sweep p50 / p99 / max",
        " / ".join(f"{ms:.1f}" for ms in (result.sweep_ms.p50, result.sweep_ms.p99, result.sweep_ms.max)) + " ms",
    )
    yield "acknowledged and lost", f"{result.acknowledged_lost}"
    yield "applied twice", f"{result.applied_twice}"
    if result.kill is not None:
        same = "the same state" if result.kill.is_identical else "ANOTHER STATE"
        yield "engine killed, back after", f"{result.kill.recovery_ms / 1e3:.1f} s, {same}"
    yield "folded again from position 0", "identical" if result.replayed_identical else "DIFFERENT"
    yield "every contract and asset sums to zero", "yes" if result.conserved else "NO"
    yield "state root", result.state_root[:16] + "…"
