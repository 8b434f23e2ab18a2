"""Packaged windows, users' files and the walk: specs/replay-prices.md."""

import gzip
import importlib.util
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import examples
from holdfast.domain.errors import InputError, InvariantError, MissingLibraryError
from holdfast.domain.units import format_time, parse_time
from holdfast.stress import prices
from holdfast.stress.history import HOUR_NS, PriceHistory, load_window, windows
from holdfast.stress.prices import load_prices
from holdfast.stress.walk import walk, walk_bar

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
HEADER = "time,open,high,low,close\n"
BARS = (
    "2020-03-12T00:00:00Z,100,110,90,105\n"
    "2020-03-12T01:00:00Z,105,106,80,81.5\n"
    "2020-03-12T02:00:00Z,82,84,80,82\n"
    "2020-03-12T05:00:00Z,82,90,82,90\n"
)
MIDNIGHT = parse_time("2020-03-12T00:00Z")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def written(text: str) -> Path:
        file = tmp_path / "prices.csv"
        file.write_text(text, encoding="utf-8")
        return file

    return written


@pytest.mark.criterion("RPP-1")
@pytest.mark.parametrize(
    ("name", "begins", "ends", "bars", "lowest", "bars_of_month"),
    [
        ("2020-03", "2020-03-09", "2020-03-15", 144, 3782.13, 743),
        ("2021-05", "2021-05-16", "2021-05-21", 120, 30000.0, 744),
        ("2022-05", "2022-05-06", "2022-05-14", 192, 26700.0, 744),
        ("2022-06", "2022-06-10", "2022-06-20", 240, 17622.0, 720),
        ("2022-11", "2022-11-05", "2022-11-11", 144, 15588.0, 720),
    ],
)
def test_windows(name: str, begins: str, ends: str, bars: int, lowest: float, bars_of_month: int) -> None:
    window, month = load_window(name), load_window(name, whole_month=True)
    assert (int(window.time_ns[0]), window.end_ns) == (parse_time(f"{begins}T00:00Z"), parse_time(f"{ends}T00:00Z"))
    assert (window.bars, window.low.min(), window.gaps) == (bars, lowest, ())
    assert month.bars == bars_of_month
    assert window.crash_days[0].startswith(name)


@pytest.mark.criterion("RPP-1")
def test_missing_hour_is_said() -> None:
    assert windows() == ("2020-03", "2021-05", "2022-05", "2022-06", "2022-11")
    gaps = load_window("2020-03", whole_month=True).gaps
    assert [str(gap) for gap in gaps] == ["1 bar missing between 2020-03-04T09:00:00Z and 2020-03-04T11:00:00Z"]


@pytest.mark.criterion("RPP-2")
def test_earlier_bars_end_where_the_window_begins() -> None:
    for name in windows():
        window = load_window(name)
        assert window.earlier.end_ns == int(window.time_ns[0])
        assert int(window.time_ns[0]) - int(window.earlier.time_ns[0]) <= 31 * 24 * HOUR_NS
    assert load_window("2020-03", whole_month=True).earlier is None


def test_unknown_window() -> None:
    with pytest.raises(InputError, match="use one of 2020-03, 2021-05"):
        load_window("2019-01")


@pytest.mark.skipif(not SHARED.exists(), reason="the folder of shared data is absent")
def test_packaged_bars_are_what_the_tool_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    spec = importlib.util.spec_from_file_location("make_history", ROOT / "tools" / "make_history.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setattr(tool, "TARGET", tmp_path)
    tool.main(SHARED)
    made, shipped = (gzip.decompress((path).read_bytes()) for path in (tmp_path / tool.NAME, examples.path(tool.NAME)))
    assert made == shipped
    assert b"Copyright (c) 2025 Eon Labs" in shipped


@pytest.mark.criterion("RPP-3", "RPP-6")
def test_csv(write: Callable[[str], Path]) -> None:
    text = "# a remark\n\nVolume,Close, LOW,high,Open,Date,TS\n"
    rows = [row.split(",") for row in BARS.split()]
    text += "".join(f"1e3,{c},{low},{h},{o},ignored,{t}\n" for t, o, h, low, c in rows)
    history = load_prices(write("\ufeff" + text))
    assert [format_time(t)[11:13] for t in history.time_ns.tolist()] == ["00", "01", "02", "05"]
    assert history.open.tolist() == [100.0, 105.0, 82.0, 82.0]
    assert history.high.tolist() == [110.0, 106.0, 84.0, 90.0]
    assert history.low.tolist() == [90.0, 80.0, 80.0, 82.0]
    assert history.close.tolist() == [105.0, 81.5, 82.0, 90.0]
    assert history.bar_ns == HOUR_NS
    assert [str(gap) for gap in history.gaps] == [
        "2 bars missing between 2020-03-12T02:00:00Z and 2020-03-12T05:00:00Z"
    ]
    assert history.end_ns == MIDNIGHT + 6 * HOUR_NS


@pytest.mark.criterion("RPP-3")
@pytest.mark.parametrize("column", ["close", "PRICE"])
def test_plain_prices_make_flat_bars(write: Callable[[str], Path], column: str) -> None:
    history = load_prices(write(f"time,{column}\n1583971200,100.5\n1583974800,99\n"))
    for four in (history.open, history.high, history.low, history.close):
        assert four.tolist() == [100.5, 99.0]


@pytest.mark.criterion("RPP-3")
def test_compressed_csv(tmp_path: Path) -> None:
    file = tmp_path / "prices.csv.gz"
    file.write_bytes(gzip.compress((HEADER + BARS).encode()))
    assert load_prices(file).bars == 4


@pytest.mark.criterion("RPP-4")
@pytest.mark.parametrize(
    "cells",
    [
        ("1583971200", "1583974800"),
        ("1583971200.0", "1583974800.0"),
        ("1583971200000", "1583974800000"),
        ("1583971200000000", "1583974800000000"),
        ("1583971200000000000", "1583974800000000000"),
        ("2020-03-12T01:00:00+01:00", "2020-03-12 01:00Z"),
        ("2020-03-12 00:00:00 UTC", "2020-03-12T01:00:00.000000000Z"),
    ],
)
def test_times(write: Callable[[str], Path], cells: tuple[str, str]) -> None:
    history = load_prices(write("timestamp,price\n" + "".join(f"{cell},1\n" for cell in cells)))
    assert history.time_ns.tolist() == [MIDNIGHT, MIDNIGHT + HOUR_NS]


@pytest.mark.criterion("RPP-4")
def test_times_without_a_zone_need_consent(write: Callable[[str], Path]) -> None:
    file = write("date,price\n2020-03-12,1\n2020-03-13 12:00,2\n")
    with pytest.raises(InputError, match=r"prices\.csv\.line 2, column date: has no time zone: '2020-03-12'"):
        load_prices(file)
    assert load_prices(file, assume_utc=True).time_ns.tolist() == [MIDNIGHT, MIDNIGHT + 36 * HOUR_NS]


BAD_ROWS = [
    ("2020-03-12T03:00:00Z,nan,90,80,85", "not-a-number", "line 5, column open"),
    ("2020-03-12T03:00:00Z,82,inf,80,85", "not-a-number", "line 5, column high"),
    ("2020-03-12T03:00:00Z,82,90,1e999,85", "not-a-number", "line 5, column low"),
    ("2020-03-12T03:00:00Z,82,90,80,abc", "not-a-number", "line 5, column close"),
    ("2020-03-12T03:00:00Z,82,90,80,", "missing-field", "line 5, column close"),
    ("2020-03-12T03:00:00Z,82,90,0,85", "out-of-range", "line 5, column low"),
    ("2020-03-12T03:00:00Z,82,90,-80,85", "out-of-range", "line 5, column low"),
    ("2020-03-12T03:00:00Z,82,79,80,85", "out-of-range", "line 5, column high"),
    ("2020-03-12T03:00:00Z,82,84,80,85", "out-of-range", "line 5, column high"),
    ("2020-03-12T03:00:00Z,82,90,83,85", "out-of-range", "line 5, column low"),
    ("2020-03-12T02:00:00Z,82,90,80,85", "duplicate-line", "line 5, column time"),
    ("2020-03-12T01:30:00Z,82,90,80,85", "out-of-range", "line 5, column time"),
    ("2020-03-12T02:00:00.5Z,82,90,80,85", "out-of-range", "line 5, column time"),
    ("2020-03-12T03:00:00,82,90,80,85", "malformed", "line 5, column time"),
    ("2020-02-30T03:00:00Z,82,90,80,85", "malformed", "line 5, column time"),
    ("12/03/2020 03:00,82,90,80,85", "malformed", "line 5, column time"),
    ("yesterday,82,90,80,85", "malformed", "line 5, column time"),
    (",82,90,80,85", "missing-field", "line 5, column time"),
    ("2020-03-12T03:00:00Z,82,90,80", "malformed", "line 5"),
    ("7,82,90,80,85", "out-of-range", "line 5, column time"),
]


@pytest.mark.criterion("RPP-5")
@pytest.mark.parametrize(("row", "code", "place"), BAD_ROWS)
def test_bad_rows_are_named(write: Callable[[str], Path], row: str, code: str, place: str) -> None:
    lines = BARS.splitlines()
    file = write(HEADER + "\n".join([*lines[:3], row, lines[3]]) + "\n")
    with pytest.raises(InputError) as raised:
        load_prices(file)
    assert (raised.value.code, raised.value.field) == (code, f"prices.csv.{place}")
    assert raised.value.advice


@pytest.mark.criterion("RPP-5")
def test_the_first_bad_row_is_named(write: Callable[[str], Path]) -> None:
    rows = ["2020-03-12T00:00:00Z,1,1,1,1", "2020-03-12T01:00:00Z,1,1,2,1", "2020-03-12T00:30:00Z,1,1,1,-1"]
    with pytest.raises(InputError, match="line 3, column high"):
        load_prices(write(HEADER + "\n".join(rows)))


@pytest.mark.criterion("RPP-4", "RPP-5")
def test_counts_in_two_units_are_refused(write: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match=r"line 3, column ts: .*count all rows in one unit"):
        load_prices(write("ts,price\n1583971200,1\n1583974800000,1\n"))


@pytest.mark.criterion("RPP-3", "RPP-5")
@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("when,price\n1583971200,1\n1583974800,1\n", "column time"),
        ("time,open,high,close\n1583971200,1,1,1\n1583974800,1,1,1\n", "column low"),
        ("time,volume\n1583971200,1\n1583974800,1\n", "column open"),
        ("time,Close,CLOSE\n1583971200,1,1\n1583974800,1,1\n", "column close"),
        ("time,price\n1583971200,1\n", "rows"),
        ("", "rows"),
    ],
)
def test_bad_tables_are_named(write: Callable[[str], Path], text: str, field: str) -> None:
    with pytest.raises(InputError) as raised:
        load_prices(write(text))
    assert raised.value.field == f"prices.csv.{field}"


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: is not there"):
        load_prices(tmp_path / "none.csv")


@pytest.mark.criterion("RPP-3", "RPP-4")
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parquet(tmp_path: Path, unit: str) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    times = [MIDNIGHT // 10**9, MIDNIGHT // 10**9 + 3600]
    zoned = arrow.array(times, "int64").cast(arrow.timestamp("s", tz="UTC")).cast(arrow.timestamp(unit, tz="UTC"))
    columns = {
        "Time": zoned,
        "open": [1.0, 2.0],
        "High": [3.0, 3.0],
        "low": [1.0, 1.0],
        "close": [2, 2],
        "extra": ["", ""],
    }
    file = tmp_path / "prices.parquet"
    parquet.write_table(arrow.table(columns), file)
    history = load_prices(file)
    assert history.time_ns.tolist() == [MIDNIGHT, MIDNIGHT + HOUR_NS]
    assert history.close.tolist() == [2.0, 2.0]
    parquet.write_table(arrow.table(columns | {"low": [1.0, float("nan")]}), file)
    with pytest.raises(InputError, match=r"prices\.parquet\.row 2, column low"):
        load_prices(file)
    naive = arrow.array(times, "int64").cast(arrow.timestamp("s")).cast(arrow.timestamp(unit))
    parquet.write_table(arrow.table(columns | {"Time": naive}), file)
    with pytest.raises(InputError, match=r"row 1, column Time: has no time zone"):
        load_prices(file)
    assert load_prices(file, assume_utc=True).time_ns.tolist() == [MIDNIGHT, MIDNIGHT + HOUR_NS]


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    file = tmp_path / "prices.parquet"
    file.write_bytes(b"")
    monkeypatch.setattr(prices.importlib, "import_module", absent)
    with pytest.raises(MissingLibraryError, match=r"pip install 'holdfast\[data\]'"):
        load_prices(file)


def test_not_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    file = tmp_path / "prices.parquet"
    file.write_bytes(b"no such thing")
    with pytest.raises(InputError, match="give a Parquet file"):
        load_prices(file)


@pytest.mark.criterion("RPP-6")
def test_distance_and_gaps(write: Callable[[str], Path]) -> None:
    minutes = [0, 60, 120, 150, 240, 300, 361]
    rows = "".join(f"{MIDNIGHT // 10**9 + 60 * minute},5\n" for minute in minutes)
    history = load_prices(write("ts,price\n" + rows))
    assert history.bar_ns == HOUR_NS
    assert [(gap.missing, gap.after_ns - MIDNIGHT) for gap in history.gaps] == [
        (1, 150 * HOUR_NS // 60),
        (1, 300 * HOUR_NS // 60),
    ]
    assert (history.durations_ns() * 60 // HOUR_NS).tolist() == [60, 60, 30, 60, 60, 60, 60]


def test_a_history_cannot_hold_a_bad_bar() -> None:
    good = np.array([1.0, 1.0])
    with pytest.raises(InvariantError, match="out-of-range"):
        PriceHistory("x", "y", 1, np.array([0, 10**10]), good, good, good + 1.0, good)


@pytest.mark.criterion("RPP-7")
def test_walk_of_a_bar() -> None:
    assert walk_bar(100.0, 110.0, 90.0, 105.0) == (100.0, 90.0, 110.0, 105.0)
    assert walk_bar(105.0, 110.0, 90.0, 100.0) == (105.0, 110.0, 90.0, 100.0)
    assert walk_bar(100.0, 110.0, 90.0, 100.0) == (100.0, 90.0, 110.0, 100.0)


@pytest.mark.criterion("RPP-7")
@given(st.lists(st.floats(1.0, 1e6), min_size=4, max_size=4))
def test_walk_moves_least(four: list[float]) -> None:
    low, *between, high = sorted(four)
    for opened, close in (between, between[::-1]):
        steps = walk_bar(opened, high, low, close)
        assert sorted(steps) == sorted([opened, high, low, close])
        assert (steps[0], steps[3]) == (opened, close)
        other = (steps[0], steps[2], steps[1], steps[3])
        length, longer = (sum(abs(b - a) for a, b in itertools.pairwise(way)) for way in (steps, other))
        assert longer - length == pytest.approx(2.0 * abs(close - opened), abs=1e-6)


@pytest.mark.criterion("RPP-7")
def test_walk_of_a_history() -> None:
    history = load_window("2020-03", whole_month=True)
    steps = walk(history)
    assert steps.time_ns.size == 4 * history.bars
    assert (np.diff(steps.time_ns) > 0).all()
    by_bar = steps.price.reshape(-1, 4)
    four = np.stack([history.open, history.high, history.low, history.close], axis=1)
    assert (np.sort(by_bar, axis=1) == np.sort(four, axis=1)).all()
    assert by_bar[100].tolist() == list(walk_bar(*four[100]))
    offset = (steps.time_ns - history.time_ns[steps.bar]).reshape(-1, 4)
    assert (offset == np.arange(4) * HOUR_NS // 4).all()
