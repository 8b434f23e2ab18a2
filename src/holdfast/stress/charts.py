"""Small charts as inline SVG: lines, bands, bars and marks over time, on a linear or logarithmic axis.

Colours are classes that the page's style sheet defines, so that one drawing serves light and dark. Nothing is fetched,
nothing moves, and every mark that stands for a number says it in its `<title>`. What may not live here: what is drawn.
"""

import datetime
import html
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from holdfast.domain.instruments import MONTHS

WIDTH, HEIGHT = 480.0, 230.0
LEFT, RIGHT, TOP, BOTTOM = 60.0, 10.0, 10.0, 24.0
"""The drawing, in units of its own, and what its edges leave for labels."""
DAY_NS = 86_400 * 10**9
DATE_LABELS_MAX = 6
TICKS = 4
RANGE_MIN = 1e-9
"""Ranges under this part of the values, and values under it, are drawn as one level."""
_MANTISSAS = (1.0, 2.0, 5.0, 10.0)

Numbers = Sequence[float]


class Axes(NamedTuple):
    """What is drawn where.

    Attributes:
        start: Time at the left edge, nanoseconds.
        end: Time at the right edge.
        bottom: Value at the lower edge; above 0 where logarithmic.
        top: Value at the upper edge.
        is_logarithmic: Whether equal distances are equal ratios.
    """

    start: int
    end: int
    bottom: float
    top: float
    is_logarithmic: bool = False

    def x(self, time: float) -> float:
        """Place of a time."""
        return LEFT + (WIDTH - LEFT - RIGHT) * (time - self.start) / max(self.end - self.start, 1)

    def y(self, value: float) -> float:
        """Place of a value; beyond the edges it is at them."""
        bottom, top, held = self.bottom, self.top, min(max(value, self.bottom), self.top)
        if self.is_logarithmic:
            bottom, top, held = math.log(bottom), math.log(top), math.log(held)
        share = (held - bottom) / (top - bottom) if top > bottom else 0.5
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def axes_over(times: Sequence[int], end: int, values: Iterable[float], *, from_zero: bool = False) -> Axes:
    """Linear axes that hold all values, with round numbers at the edges."""
    numbers = [*values]
    low, high = min(numbers), max(numbers)
    low = min(low, 0.0) if from_zero else low
    size = max(abs(low), abs(high))
    if high - low <= size * RANGE_MIN or size < RANGE_MIN:
        high = low + max(size * 0.1, 1.0)
    step = round_step((high - low) / TICKS)
    return Axes(times[0], end, math.floor(low / step) * step, math.ceil(high / step) * step)


def logarithmic_axes(times: Sequence[int], end: int, values: Iterable[float], least: float, most: float) -> Axes:
    """Logarithmic axes that hold the values between two bounds."""
    numbers = [min(max(value, least), most) for value in values]
    low, high = min(numbers), max(numbers)
    return Axes(times[0], end, low / 1.1, max(high * 1.1, low * 2.0), is_logarithmic=True)


def round_step(width: float) -> float:
    """The least of 1, 2, 5 and 10 times a power of ten that is not under `width`; `width` above 0."""
    tens = 10.0 ** math.floor(math.log10(width))
    return next(m * tens for m in _MANTISSAS if m * tens >= width * (1.0 - 1e-9))


def ticks(axes: Axes) -> list[float]:
    """Values to label: round steps, or 1, 2 and 5 times powers of ten, fewer where there are many."""
    if not axes.is_logarithmic:
        step = round_step((axes.top - axes.bottom) / TICKS)
        first = math.ceil(axes.bottom / step - 1e-9)
        return [n * step for n in range(first, math.floor(axes.top / step + 1e-9) + 1)]
    decades = range(math.floor(math.log10(axes.bottom)), math.ceil(math.log10(axes.top)) + 1)
    for mantissas in ((1.0, 2.0, 5.0), (1.0,)):
        found = [m * 10.0**d for d in decades for m in mantissas if axes.bottom <= m * 10.0**d <= axes.top]
        if len(found) <= TICKS + 3:
            return found
    return found[:: math.ceil(len(found) / (TICKS + 2))]


def short(value: float, digits: int = 4) -> str:
    """A number in little room, to so many digits: 1.2 M, 350 k, 0.05; whole numbers under 100,000 are written out."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e5, " k")):
        if abs(value) >= size:
            return f"{value / min(size, 1e3 if letter == ' k' else size):.{digits}g}{letter}"
    return f"{value:,.0f}" if abs(value) >= 1e3 else f"{value:,.{digits}g}"


def svg(axes: Axes, parts: Iterable[str], label: str, unit: Callable[[float], str] = short) -> str:
    """A drawing with its axes.

    Args:
        axes: What its edges are.
        parts: What `line`, `band`, `bars`, `dots` and `moment` return, drawn in that order.
        label: What it shows, for those who cannot see it.
        unit: Labels of values.
    """
    body = "".join([*(_level(axes, value, unit) for value in ticks(axes)), *_dates(axes), *parts])
    return (
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{html.escape(label, quote=True)}">{body}</svg>'
    )


def line(axes: Axes, times: Sequence[int], values: Numbers, colour: str) -> str:
    """A line through values; `colour` is a class."""
    return f'<path class="line {colour}" d="M{_points(axes, times, values)}"/>'


def band(axes: Axes, times: Sequence[int], low: Numbers, high: Numbers, colour: str) -> str:
    """The area between two lines."""
    forth = _points(axes, times, high)
    back = _points(axes, list(reversed(times)), list(reversed(low)))
    return f'<path class="band {colour}" d="M{forth}L{back}Z"/>'


def bars(axes: Axes, times: Sequence[int], values: Numbers, colour: str, below: Numbers | None = None) -> str:
    """A bar for each value that is not 0, from `below` (else from 0) upwards."""
    width = max((WIDTH - LEFT - RIGHT) / max(len(times), 1) * 0.9, 0.6)
    rects = []
    for place, (time, value) in enumerate(zip(times, values, strict=True)):
        if value:
            base = below[place] if below is not None else 0.0
            y, foot = axes.y(base + value), axes.y(base)
            height = max(foot - y, 0.8)
            rects.append(
                f'<rect x="{axes.x(time):.1f}" y="{foot - height:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
            )
    return f'<g class="bars {colour}">{"".join(rects)}</g>'


def dots(axes: Axes, marks: Iterable[tuple[int, float, float, str]], colour: str) -> str:
    """Circles at (time, value) with a radius and words."""
    circles = (
        f'<circle cx="{axes.x(time):.1f}" cy="{axes.y(value):.1f}" r="{radius:.1f}"><title>{html.escape(words)}</title>'
        "</circle>"
        for time, value, radius, words in marks
    )
    return f'<g class="dots {colour}">{"".join(circles)}</g>'


def moment(axes: Axes, time: int, words: str) -> str:
    """A vertical line at a time, with words beside it on the side that has room."""
    x = axes.x(time)
    is_late = x > WIDTH * 0.6
    anchor, at = ("end", x - 4.0) if is_late else ("start", x + 4.0)
    return (
        f'<line class="moment" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP:g}" y2="{HEIGHT - BOTTOM:g}"/>'
        f'<text class="moment" x="{at:.1f}" y="{TOP + 10.0:g}" text-anchor="{anchor}">{html.escape(words)}</text>'
    )


def level(axes: Axes, value: float, words: str) -> str:
    """A horizontal line at a value, with words under it at the right edge."""
    if not axes.bottom <= value <= axes.top:
        return ""
    y = axes.y(value)
    right = WIDTH - RIGHT
    return (
        f'<line class="level" x1="{LEFT:g}" x2="{right:g}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="moment" x="{right - 2.0:g}" y="{y - 4.0:.1f}" text-anchor="end">{html.escape(words)}</text>'
    )


def _points(axes: Axes, times: Sequence[int], values: Numbers) -> str:
    return "L".join(f"{axes.x(t):.1f} {axes.y(v):.1f}" for t, v in zip(times, values, strict=True))


def _level(axes: Axes, value: float, unit: Callable[[float], str]) -> str:
    y = axes.y(value)
    return (
        f'<line class="grid" x1="{LEFT:g}" x2="{WIDTH - RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 6.0:g}" y="{y + 4.0:.1f}" text-anchor="end">{html.escape(unit(value))}</text>'
    )


def _dates(axes: Axes) -> list[str]:
    """Midnights with their days, as many as have room; hours where the window is shorter than two days."""
    step = DAY_NS if axes.end - axes.start >= 2 * DAY_NS else DAY_NS // 4
    marks = range(-(-axes.start // step) * step, axes.end, step)
    every = math.ceil(len(marks) / DATE_LABELS_MAX) or 1
    return [
        f'<line class="tick" x1="{axes.x(t):.1f}" x2="{axes.x(t):.1f}" y1="{HEIGHT - BOTTOM:g}" '
        f'y2="{HEIGHT - BOTTOM + 4.0:g}"/>'
        f'<text x="{axes.x(t):.1f}" y="{HEIGHT - 6.0:g}" text-anchor="middle">{_date(t, step)}</text>'
        for t in marks[::every]
        if axes.x(t) < WIDTH - RIGHT - 14.0
    ]


def _date(time: int, step: int) -> str:
    when = datetime.datetime.fromtimestamp(time // 10**9, datetime.UTC)
    return f"{when.day} {MONTHS[when.month - 1].title()}" if step == DAY_NS else f"{when:%H:%M}"
