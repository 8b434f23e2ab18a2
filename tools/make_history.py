"""Makes the hourly prices of five crashes that ship with the package, from the one file whose licence allows it.

    python tools/make_history.py [../shared/data]

Writes `btcusdt_hourly_crash_months.csv.gz` into src/holdfast/examples: every hourly bar of btcusdt_binance_spot_1h_
2017_2024.parquet that opens in one of the months below, unchanged, in order of time. Hours that the source lacks are
lacking here too. The file's first lines say where the numbers come from; the licence is in ATTRIBUTION.txt and NOTICE.
"""

import gzip
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pyarrow import parquet

TARGET = Path(__file__).parents[1] / "src" / "holdfast" / "examples"
SOURCE, NAME = "btcusdt_binance_spot_1h_2017_2024.parquet", "btcusdt_hourly_crash_months.csv.gz"
MONTHS = ("2020-03", "2021-05", "2022-05", "2022-06", "2022-11")
PRICES = ("open", "high", "low", "close")
HEADER = """\
# Hourly bars of BTC/USDT on Binance, five months, unchanged. Time is the bar's opening, UTC; prices in USDT.
# From gapless-crypto-data 2.15.1 (https://pypi.org/project/gapless-crypto-data/), MIT licence,
# Copyright (c) 2025 Eon Labs; the licence's text is in ATTRIBUTION.txt beside this file.
"""


def main(source: Path) -> None:
    """Write the file; its bytes carry no time of making."""
    table = parquet.read_table(source / SOURCE, columns=["ts", *PRICES])
    text = HEADER + "".join(f"{line}\n" for line in lines(table.to_pylist()))
    (TARGET / NAME).write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


def lines(bars: Iterable[dict[str, Any]]) -> list[str]:
    """The table's lines: a header and one bar each."""
    chosen = (bar for bar in bars if f"{bar['ts']:%Y-%m}" in MONTHS)
    rows = [",".join([f"{bar['ts']:%Y-%m-%dT%H:%M:%SZ}", *(repr(bar[name]) for name in PRICES)]) for bar in chosen]
    return [",".join(["time", *PRICES]), *rows]


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data"))
