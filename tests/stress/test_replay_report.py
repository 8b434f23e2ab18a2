"""The result of a replay and its page: specs/replay-report.md."""

import itertools
import re
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.domain.errors import InputError
from holdfast.stress import charts
from holdfast.stress.report import render
from holdfast.stress.result import ReplayResult, SweepTimes, result_from_json
from holdfast.stress.tables import summary_rows
from stress.results import ROOT, made_up

VOID = {"meta", "rect", "line", "path", "circle", "br"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; refuses tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "title"} & {*self.open[-1:]}:
            self.text += data


@pytest.fixture(scope="module")
def result() -> ReplayResult:
    return made_up()


@pytest.fixture(scope="module")
def page(result: ReplayResult) -> Page:
    return Page(render(result))


@pytest.mark.criterion("RPR-1")
def test_json_round_trip(result: ReplayResult) -> None:
    text = result.as_json()
    assert text == result.as_json()
    again = result_from_json(text)
    assert again == result
    assert again.as_json() == text
    names = list(msgspec.json.decode(text))
    assert names == list(ReplayResult.__struct_fields__)
    assert {"accounts", "commands", "liquidations", "bankruptcies", "insurance_fund", "shortfall", "sweep_ms"} < {
        *names
    }
    with pytest.raises(InputError, match="give the JSON of a replay"):
        result_from_json("{}")


@pytest.mark.criterion("RPR-1")
def test_bad_numbers_are_refused(result: ReplayResult) -> None:
    series = result.series
    for changes, field in (
        ({"price": series.price[:-1]}, "series.price"),
        ({"low": (*series.low[:-1], float("nan"))}, r"series.low\[143\]"),
        ({"time_ns": ()}, "series.time_ns"),
    ):
        with pytest.raises(InputError, match=field):
            msgspec.structs.replace(series, **changes)
    with pytest.raises(InputError, match="shortfall"):
        made_up(shortfall=float("inf"))
    with pytest.raises(InputError, match="sweep_ms"):
        made_up(sweep_ms=SweepTimes(1.0, float("nan"), 2.0))


BROKEN = [
    ({"acknowledged_lost": 3}, "3 acknowledged commands were lost."),
    ({"applied_twice": 2}, "2 commands were applied twice."),
    ({"replayed_identical": False}, "gave another state root"),
    ({"conserved": False}, "did not sum to zero"),
]


@pytest.mark.criterion("RPR-2")
@pytest.mark.parametrize(("changes", "words"), BROKEN)
def test_broken_promises_come_first(changes: dict[str, object], words: str) -> None:
    broken = made_up(**changes)
    assert not broken.is_kept
    text = Page(render(broken)).text
    assert "Every promise held" not in text
    assert text.index("A promise was broken.") < text.index(words) < text.index("Hour by hour")


@pytest.mark.criterion("RPR-2")
def test_kept_promises(result: ReplayResult, page: Page) -> None:
    assert result.is_kept
    assert "Every promise held." in page.text
    assert "A promise was broken" not in page.text


@pytest.mark.criterion("RPR-2", "RPR-4")
def test_kill_that_lost_the_state(result: ReplayResult) -> None:
    kill = msgspec.structs.replace(result.kill, root_after="ab" * 32)
    broken = made_up(kill=kill)
    assert not broken.is_kept
    text = Page(render(broken)).text
    assert "The state after the restart is not the state before the kill." in text
    assert "The roots differ" in text
    assert "ab" * 32 in text


@pytest.mark.criterion("RPR-3")
def test_nothing_is_fetched(result: ReplayResult, page: Page) -> None:
    html = render(result)
    for word in ("http", "//", "url(", "@import", "javascript", "data:"):
        assert word not in html
    assert not {"script", "link", "img", "iframe", "object", "use", "image"} & {*page.tags}
    assert not {name for _, name, _ in page.attributes} & {"src", "href", "srcset", "action", "onload"}


@pytest.mark.criterion("RPR-3")
def test_text_is_escaped() -> None:
    evil = '<script>alert("x")</script>&'
    found = Page(render(made_up(window=evil, source=evil, rerun=evil, degraded=(evil,), notes=(evil,), gaps=(evil,))))
    assert "script" not in found.tags
    assert found.text.count(evil) == 6


@pytest.mark.criterion("RPR-4")
def test_every_number_is_there(result: ReplayResult, page: Page) -> None:
    for name, number in summary_rows(result):
        assert name in page.text
        assert number in page.text
    for number in ("20,000 accounts", "312 commands", "61,234 trades", "2,960 accounts (14.80 %)", "1,694,422.50 USD"):
        assert number in page.text
    for times in ("1.710 ms", "6.920 ms", "19.400 ms", "1,840 ms", f"{result.log_bytes:,} bytes"):
        assert times in page.text
    assert page.text.count(ROOT) == 1
    assert page.text.count(ROOT[::-1]) == 2
    for words in (*result.degraded, *result.gaps, *result.notes, result.rerun, "48,211"):
        assert words in page.text


@pytest.mark.criterion("RPR-4")
def test_every_number_of_the_result_has_a_row(result: ReplayResult) -> None:
    """A changed field changes its row, and the share liquidated where it is the accounts: no number is left out."""
    rows = summary_rows(result)
    named = {"window", "source", "rerun", "state_root", "kill", "degraded", "gaps", "notes", "series"}
    for name in set(ReplayResult.__struct_fields__) - named:
        value = getattr(result, name)
        times = isinstance(value, SweepTimes)
        other = (
            SweepTimes(7.0, 8.0, 9.0) if times else (not value if isinstance(value, bool) else value + 3_600 * 10**9)
        )
        changed = summary_rows(msgspec.structs.replace(result, **{name: other}))
        assert sum(a != b for a, b in zip(rows, changed, strict=True)) == {"sweep_ms": 3, "accounts": 2}.get(name, 1)


@pytest.mark.criterion("RPR-4")
def test_every_hour_is_in_the_table(result: ReplayResult, page: Page) -> None:
    hours = len(result.series.time_ns)
    assert page.tags.count("tr") == hours + 1 + len(summary_rows(result)) + 3
    assert sum(tag == "td" for tag in page.tags) >= hours * 21
    assert f"{result.series.price[77]:,.2f}" in page.text


@pytest.mark.criterion("RPR-5")
def test_drawings(page: Page, result: ReplayResult) -> None:
    labels = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    words = ("Price", "called for margin", "volatility", "Quantiles", "insurance fund", "shared losses", "sweep", "log")
    assert len(labels) == len(words)
    assert all(any(word in label for label in labels) for word in words)
    assert page.tags.count("circle") == sum(1 for n in result.series.liquidations if n)
    assert page.text.count("engine killed") == 2
    html = render(result)
    assert "prefers-color-scheme: dark" in html
    assert "viewport" in html


@pytest.mark.criterion("RPR-5")
def test_nothing_beyond_the_fund(result: ReplayResult) -> None:
    zeros = (0.0,) * len(result.series.price)
    series = msgspec.structs.replace(result.series, deleveraged=zeros, shared_loss=zeros)
    found = Page(render(made_up(series=series, kill=None, degraded=(), gaps=(), notes=())))
    assert "The fund paid for everything" in found.text
    assert "The engine was not killed in this replay." in found.text
    assert "Degraded" not in found.text
    assert found.tags.count("svg") == 7


def test_a_single_quiet_hour_is_drawn(result: ReplayResult) -> None:
    series = result.series
    one = {name: (0,) if "_ns" not in name else series.time_ns[:1] for name in series.__struct_fields__}
    assert Page(render(made_up(series=msgspec.structs.replace(series, **one)))).tags.count("svg") == 7


def test_rendering_is_repeatable(result: ReplayResult) -> None:
    assert render(result) == render(result_from_json(result.as_json()))


@pytest.mark.criterion("RPR-6")
def test_round_steps() -> None:
    assert [charts.round_step(width) for width in (0.3, 1.0, 7.0, 20.0)] == [0.5, 1.0, 10.0, 20.0]
    axes = charts.axes_over([0], 1, [3782.13, 9188.0])
    assert (axes.bottom, axes.top) == (2000.0, 10000.0)
    assert charts.ticks(axes) == [2000.0, 4000.0, 6000.0, 8000.0, 10000.0]


@pytest.mark.criterion("RPR-6")
@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=20), st.booleans())
def test_axes_hold_their_values(numbers: list[float], from_zero: bool) -> None:
    axes = charts.axes_over([0], 10, numbers, from_zero=from_zero)
    for number in numbers:
        assert axes.bottom <= number <= axes.top or number == pytest.approx(axes.bottom, rel=1e-9)
        assert charts.TOP - 1e-6 <= axes.y(number) <= charts.HEIGHT - charts.BOTTOM + 1e-6
    assert 2 <= len(charts.ticks(axes)) <= 7


@given(st.floats(1e-3, 1e3), st.floats(1.0, 1e6))
def test_logarithmic_axes(low: float, ratio: float) -> None:
    axes = charts.logarithmic_axes([0], 10, [low, low * ratio], 1e-3, 1e6)
    marks = charts.ticks(axes)
    assert len(marks) <= charts.TICKS + 3
    assert all(axes.bottom <= mark <= axes.top for mark in marks)
    places = [axes.y(mark) for mark in marks]
    assert all(a > b for a, b in itertools.pairwise(places))


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0, "0"), (0.05, "0.05"), (9188.4, "9,188"), (126_000.0, "126 k"), (1.5e6, "1.5 M"), (2e9, "2 G")],
)
def test_short_numbers(number: float, text: str) -> None:
    assert charts.short(number) == text


def test_no_number_of_a_drawing_is_broken(result: ReplayResult) -> None:
    drawings = re.findall(r"<svg.*?</svg>", render(result), re.DOTALL)
    assert len(drawings) == 8
    assert not any(re.search(r"nan|inf|e[+-]\d", re.sub(r"aria-label=\"[^\"]*\"", "", one)) for one in drawings)
