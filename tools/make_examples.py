"""Makes the market data that ship with the package, from the two files whose licences allow it.

    python tools/make_examples.py [../shared/data]

Writes, into src/holdfast/examples:

- `btc_chain_2021-10-21.csv`: the 49 quotes of btc_chain_bid_ask_iv_2021-10-21.parquet, unchanged;
- `btcusdt_daily_close_2017_2024.csv`: the close of each UTC day of btcusdt_binance_spot_1h_2017_2024.parquet, at the
  instant it was known, the midnight that ends the day. It is the close of the day's last hourly bar, the one that opens
  at 23:00; a day without exactly that bar is left out, not filled in;
- `ATTRIBUTION.txt`: where the numbers come from, with the licence of each package.
"""

import csv
import datetime
import sys
from pathlib import Path
from typing import Any

from pyarrow import parquet

TARGET = Path(__file__).parents[1] / "src" / "holdfast" / "examples"
CHAIN = ("btc_chain_bid_ask_iv_2021-10-21.parquet", "btc_chain_2021-10-21.csv")
CLOSES = ("btcusdt_binance_spot_1h_2017_2024.parquet", "btcusdt_daily_close_2017_2024.csv")
LAST_BAR = datetime.time(23)
"""Opening time of the bar whose close is the day's."""
ATTRIBUTION = """\
The market data in this folder come from two packages under the MIT licence.

btc_chain_2021-10-21.csv
    49 quotes of implied volatility of Bitcoin options, four expiries, 21 October 2021. From StochVolModels
    (https://github.com/ArturSepp/StochVolModels, also the package stochvolmodels 2.6.0), function
    get_btc_test_chain_data; unchanged but for the form.

btcusdt_daily_close_2017_2024.csv
    Daily closes of BTC/USDT, 17 August 2017 to 1 January 2024. From gapless-crypto-data 2.15.1
    (https://pypi.org/project/gapless-crypto-data/), whose hourly bars were cut down to the close of each UTC day; days
    whose last hour is missing are left out.

btcusdt_hourly_crash_months.csv.gz
    Hourly bars of BTC/USDT for the months around five crashes between 2020 and 2022, from the same package; made by
    tools/make_history.py, unchanged but for the form.

The licences of these packages do not speak for the exchanges where the prices were made.
"""


def main(source: Path) -> None:
    """Write the three files."""
    chain = parquet.read_table(source / CHAIN[0])
    _write(TARGET / CHAIN[1], chain.column_names, [list(row.values()) for row in chain.to_pylist()])
    closes = daily_closes(parquet.read_table(source / CLOSES[0], columns=["ts", "close"]).to_pylist())
    _write(TARGET / CLOSES[1], ["time", "BTC"], closes)
    licences = [
        f"StochVolModels\n\n{_licence(source, 'StochVolModels.MIT.txt')}",
        f"gapless-crypto-data\n\n{_licence(source, 'gapless-crypto-data.MIT.txt')}",
    ]
    text = "\n".join([ATTRIBUTION, *(f"{'-' * 80}\n{licence}\n" for licence in licences)])
    (TARGET / "ATTRIBUTION.txt").write_text(text, encoding="utf-8")


def daily_closes(bars: list[dict[str, Any]]) -> list[list[Any]]:
    """[time of the close, close] for each day whose last hourly bar is there."""
    last = (bar for bar in bars if bar["ts"].time() == LAST_BAR)
    return [[f"{bar['ts'] + datetime.timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}", bar["close"]] for bar in last]


def _licence(source: Path, name: str) -> str:
    return (source / "licenses" / name).read_text(encoding="utf-8").strip()


def _write(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data"))
