"""The picture of the demonstration in a terminal, its lines elsewhere, and the tables at the end.

What lives here: drawing a `Scene` and a `DemoResult`. What may not: finding anything out.
"""

import contextlib
import logging
import math
import time
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from rich import box
from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from holdfast.chaos.demo.result import DemoResult
from holdfast.chaos.demo.scene import DONE, DUE, UNDER_WAY, Act, Scene
from holdfast.chaos.demo.waits import Longest
from holdfast.core.state import Status
from holdfast.domain.units import NANOSECONDS_PER_SECOND, format_time

BLOCKS: Final = "▁▂▃▄▅▆▇"
"""Without the full block, so that lines above each other stay apart."""
FRAMES_PER_SECOND: Final = 4
PLAIN_S: Final = 10.0
"""Between two lines that say how things are, where nobody watches a picture."""
COLOURS: Final = {
    "well": "green",
    "catching up": "yellow",
    "starting": "yellow",
    "silent": "yellow",
    "stopped": "bold magenta",
    "dead": "bold red",
    "suspended": "bold red",
}
STATUSES: Final = {
    Status.HEALTHY: "green",
    Status.RESTRICTED: "yellow",
    Status.BREACH_PENDING: "dark_orange",
    Status.LIQUIDATING: "red",
    Status.BANKRUPT: "magenta",
    Status.FROZEN: "blue",
    Status.ASIDE: "cyan",
}
MARKS: Final = {DUE: ("·", "dim"), UNDER_WAY: ("▶", "bold yellow"), DONE: ("✓", "green")}
LINE_WIDTH: Final = 30
_ABSENT = "–"


@contextlib.contextmanager
def shown(scene: Scene, console: Console) -> Iterator[None]:
    """Show a scene for as long as the block runs: a picture on a terminal, lines elsewhere."""
    # The broker's library makes asyncio say something about TLS at each broken connection, across the picture.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    if not console.is_terminal:
        scene.listen = _Lines(scene, console).say
        yield
        return
    live = Live(
        get_renderable=lambda: picture(scene, time.monotonic()),
        console=console,
        screen=True,
        refresh_per_second=FRAMES_PER_SECOND,
    )
    with live:
        yield


class _Lines:
    """Events as lines, and now and then how things are."""

    def __init__(self, scene: Scene, console: Console) -> None:
        self._scene, self._console = scene, console
        self._next_s = PLAIN_S

    def say(self, at_s: float, text: str) -> None:
        self._console.print(f"{at_s:7.1f} s  {text}")
        if at_s >= self._next_s and self._scene.meter is not None:
            self._next_s = at_s + PLAIN_S
            self._console.print(f"{at_s:7.1f} s  {line(self._scene, time.monotonic())}")


def line(scene: Scene, now: float) -> str:
    """How things are, in one line."""
    parts = [f"{scene.meter.rate(now):,.0f} commands/s" if scene.meter else "no load yet"]
    if scene.step is not None:
        parts.append(f"BTC {scene.step.index[0]:,.0f}, ETH {scene.step.index[1]:,.2f}")
    if scene.seen is not None:
        parts.append(f"{scene.seen.begun} liquidations begun, fund {scene.seen.fund:,.0f} USD")
    away = [f"{row.name} {row.state}" for row in (*scene.servers, *scene.engines) if row.state != "well"]
    return "; ".join([*parts, ", ".join(away) or "all servers and engines are well"])


def picture(scene: Scene, now: float) -> Layout:
    """The whole picture; it fills the terminal, and looks as it should from 100 × 30 on."""
    whole = Layout()
    nodes, numbers = Layout(size=5), Layout(size=5)
    nodes.split_row(Layout(_panel(_engines(scene), "engines")), Layout(_panel(_servers(scene), "servers of the log")))
    numbers.split_row(
        Layout(_panel(_load(scene, now), "clients near three regions")), Layout(_panel(_market(scene), "market"))
    )
    whole.split_column(
        Layout(_header(scene, now), size=3),
        Layout(_panel(schedule(scene.acts, _elapsed(scene, now)), "faults, and the longest waits"), size=9),
        nodes,
        numbers,
        Layout(_panel(_accounts(scene), _accounts_title(scene)), size=6),
        Layout(_Events(scene), ratio=1),
    )
    return whole


def _panel(content: RenderableType, title: str) -> Panel:
    return Panel(content, title=title, title_align="left", border_style="bright_black", box=box.ROUNDED, padding=(0, 1))


def _header(scene: Scene, now: float) -> Panel:
    since = max(0.0, now - scene.now_since) if scene.now_since else 0.0
    row = Table.grid(expand=True)
    row.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    row.add_column(justify="right", no_wrap=True)
    is_fault = any(act.state == UNDER_WAY for act in scene.acts)
    told = Text(f"{'▶' if is_fault else ' '} {scene.now}", style="bold yellow" if is_fault else "bold")
    row.add_row(told, Text(f" {since:.1f} s", style="bold"))
    left = f"{_clock(scene.duration_s - scene.left_s(now))} of {_clock(scene.duration_s)}"
    title = f"[bold]Holdfast[/]: a cluster under fire in the crash of March 2020 · {left} "
    style = "yellow" if is_fault else "bright_black"
    return Panel(row, title=title, title_align="left", border_style=style, box=box.ROUNDED, padding=(0, 1))


def schedule(acts: Sequence[Act], elapsed_s: float | None) -> Table:
    """The faults and the waits after them.

    Args:
        acts: In their order.
        elapsed_s: Of the load; None before it began.
    """
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1), header_style="dim")
    for title, justify in (("", "left"), ("fault", "left"), ("hit", "left")):
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for title in ("its clients", "others", "reads", "all well"):
        table.add_column(title, justify="right", no_wrap=True)
    for act in acts:
        mark, style = MARKS[act.state]
        waits = _waits(act.longest) if act.state != DUE else ("", "", "")
        table.add_row(mark, act.fault.title, act.target or "", *waits, _when(act, elapsed_s), style=style)
    return table


def _when(act: Act, elapsed_s: float | None) -> str:
    if act.state == DONE:
        return f"after {act.well_after_s:.1f} s"
    if act.state == UNDER_WAY or elapsed_s is None:
        return "…" if act.state == UNDER_WAY else ""
    return f"in {math.ceil(act.due_s - elapsed_s)} s" if act.due_s > elapsed_s else "next"


def _waits(longest: Longest) -> tuple[str, ...]:
    return tuple(_ABSENT if wait is None else f"{wait:.2f} s" for wait in longest)


def _engines(scene: Scene) -> Table:
    table = _rows()
    for row in scene.engines:
        place = f"{row.position:,}" if row.position >= 0 else _ABSENT
        lag = f"{row.lag} behind" if row.position >= 0 else ""
        table.add_row(row.name, Text(row.state, style=COLOURS[row.state]), place, lag)
    return table


def _servers(scene: Scene) -> Table:
    table = _rows()
    for row in scene.servers:
        leads = Text("leads the log", style="bold cyan") if row.leads else Text("")
        table.add_row(row.name, Text(row.state, style=COLOURS[row.state]), leads)
    return table


def _rows() -> Table:
    table = Table(box=None, show_header=False, expand=True, pad_edge=False, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, min_width=11)
    table.add_column(no_wrap=True, justify="right")
    return table


def _load(scene: Scene, now: float) -> Group:
    if scene.meter is None or scene.waits is None:
        return Group(Text("not yet", style="dim"))
    history = Text(f"{scene.meter.rate(now):>7,.0f}/s  ", style="bold")
    history.append(sparkline(scene.meter.history(now), LINE_WIDTH, least=0.0), style="cyan")
    told = f"{scene.meter.total:,} commands acknowledged, {scene.unknown:,} unknown"
    names = zip(("hit", "others", "reads"), scene.waits.longest(now), strict=True)
    waits = "  ".join(f"{name} {wait:.2f}" for name, wait in names if wait is not None)
    return Group(history, Text(told), Text(f"waits: {waits} s", style="yellow"))


def _market(scene: Scene) -> Group:
    if scene.step is None:
        return Group(Text("closed", style="dim"))
    lines = []
    for name, prices in (("BTC", scene.prices), ("ETH", scene.ether)):
        text = Text(f"{name} {prices[-1]:>9,.2f}  ", style="bold")
        text.append(sparkline(list(prices), LINE_WIDTH), style="magenta")
        lines.append(text)
    return Group(*lines, Text(f"{_minute(scene.step.time_ns)}, quoted as the present", style="dim"))


def _accounts_title(scene: Scene) -> str:
    if scene.seen is None or not scene.seen.time:
        return "accounts"
    return f"{sum(scene.seen.statuses):,} accounts at the log's time {_second(scene.seen.time)}"


def _accounts(scene: Scene) -> Group:
    seen = scene.seen
    if seen is None or not sum(seen.statuses):
        return Group(Text("not yet", style="dim"))
    there = {status: seen.statuses[status] for status in Status if seen.statuses[status]}
    legend = Text("  ").join(
        Text.assemble(("■ ", STATUSES[status]), f"{status.name.lower().replace('_', ' ')} {count}")
        for status, count in there.items()
    )
    begun = (
        f"{seen.begun} liquidations begun, {seen.taken_over} taken over by the insurance fund of {seen.fund:,.0f} USD"
    )
    degraded = f"degraded: {'; '.join(scene.degraded)}" if scene.degraded else "nothing degraded"
    return Group(_Bar(there), legend, Text(begun), Text(degraded, style="dim", overflow="ellipsis", no_wrap=True))


class _Bar:
    """Numbers of accounts as parts of a bar that fills its place."""

    def __init__(self, counts: dict[Status, int]) -> None:
        self._counts = counts

    def __rich_console__(self, console: Console, options: object) -> Iterator[RenderableType]:
        width = getattr(options, "max_width", console.width)
        text = Text()
        for status, cells in shares(self._counts, width).items():
            text.append("█" * cells, style=STATUSES[status])
        yield text


def shares(counts: dict[Status, int], width: int) -> dict[Status, int]:
    """Cells of a bar for each number: at least one where it is not 0, together the width."""
    total = sum(counts.values())
    cells = {status: max(1, width * count // total) for status, count in counts.items() if count}
    largest = max(cells, key=lambda status: cells[status])
    cells[largest] += width - sum(cells.values())
    return cells


class _Events:
    """As many of the latest events as there is room for."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def __rich_console__(self, console: Console, options: object) -> Iterator[RenderableType]:
        height = getattr(options, "height", None) or 8
        lines = Text(no_wrap=True, overflow="ellipsis")
        for at_s, text in list(self._scene.events)[-max(1, height - 2) :]:
            lines.append(f"{at_s:6.1f} s  ", style="dim")
            lines.append(f"{text}\n")
        yield Panel(lines, title="log", title_align="left", border_style="bright_black", height=height, padding=(0, 1))


def sparkline(values: Sequence[float], width: int, least: float | None = None) -> str:
    """Values as blocks, the newest last; more than fit are averaged in equal groups.

    Args:
        values: Any finite numbers.
        width: Cells at most.
        least: The value of the lowest block; by default the lowest value.
    """
    if not values:
        return ""
    groups = np.array_split(np.asarray(values, np.float64), min(width, len(values)))
    means = [float(group.mean()) for group in groups]
    low, high = min(means) if least is None else least, max(means)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round(max(0.0, mean - low) * scale)] for mean in means)


def summary(result: DemoResult) -> Iterator[RenderableType]:
    """The tables at the end."""
    yield _faults(result)
    yield _checks(result)
    for mark in result.degraded:
        yield Padding(Text(f"degraded: {mark}"), (0, 0, 0, 2))
    for note in result.notes:
        yield Padding(Text(note, style="dim"), (0, 0, 0, 2))


def _faults(result: DemoResult) -> Table:
    title = f"{result.seconds:.0f} s of load, longest waits after each fault"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for column in ("fault", "hit"):
        table.add_column(column, no_wrap=True)
    for column in ("its clients", "others", "reads", "all well after"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in result.faults:
        waits = _waits(Longest(one.hit_s, one.others_s, one.reads_s))
        table.add_row(one.title, one.target, *waits, f"{one.well_after_s:.1f} s")
    return table


def _checks(result: DemoResult) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_header=False)
    table.add_column("what")
    table.add_column("found", justify="right")
    for what, found, is_right in checks(result):
        table.add_row(what, Text(found, style="green" if is_right else "bold red"))
    for what, found in _market_rows(result):
        table.add_row(what, found)
    return table


def checks(result: DemoResult) -> list[tuple[str, str, bool]]:
    """What was checked, what was found, and whether it is right."""
    root = f"{result.root[:16]}… at {result.root_position:,}" if result.equal_roots else "NO"
    return [
        ("acknowledged commands, looked up in the log", f"{result.acknowledged:,}", result.acknowledged > 0),
        ("of them lost", f"{result.acknowledged_lost:,}", not result.acknowledged_lost),
        ("applied twice", f"{result.applied_twice:,}", not result.applied_twice),
        ("one state root on all engines", root, result.equal_roots),
        (
            "one log in all engines' copies",
            f"{result.frames:,} frames" if result.equal_copies else "NO",
            result.equal_copies,
        ),
        ("every asset and contract sums to zero", "yes" if result.conserved else "NO", result.conserved),
    ]


def _market_rows(result: DemoResult) -> Iterator[tuple[str, str]]:
    first, low, last = result.bitcoin
    yield "commands whose fate clients were not told", f"{result.unknown:,}"
    yield "BTC first, lowest, last", f"{first:,.2f}  {low:,.2f}  {last:,.2f} USD"
    yield f"of {result.accounts:,} accounts, liquidations begun", f"{result.liquidations:,}"
    yield "taken over by the insurance fund", f"{result.taken_over:,}"
    yield "insurance fund, from and to", f"{result.insurance_fund_start:,.0f} → {result.insurance_fund:,.0f} USD"


def _elapsed(scene: Scene, now: float) -> float | None:
    return None if scene.load_began is None else now - scene.load_began


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _minute(time_ns: int) -> str:
    return format_time(time_ns).replace("T", " ")[:16] + " UTC"


def _second(time_ns: int) -> str:
    return (
        format_time(time_ns // NANOSECONDS_PER_SECOND * NANOSECONDS_PER_SECOND).replace("T", " ").replace("Z", " UTC")
    )
