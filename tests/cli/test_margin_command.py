"""The command line as people use it: through typer's runner, and once as a real process."""

import json
import math
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import holdfast
from holdfast import examples
from holdfast.cli.main import app
from holdfast.domain.market_formats import market_to_json

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "80"})


def answer(*arguments: object) -> dict:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout, parse_constant=pytest.fail)


def portfolio_file(folder: Path, *positions: dict, **fields: object) -> Path:
    path = folder / "portfolio.json"
    path.write_text(json.dumps({"balances": {"BTC": 5}, "positions": positions, **fields}))
    return path


def assert_refused(result: Result, *words: str) -> None:
    """One line, exit status 2, no traceback."""
    assert result.exit_code == 2, result.output
    errors = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    assert len(errors) == 1, result.stderr
    assert errors[0].startswith("error: ")
    for word in words:
        assert word in errors[0]
    assert result.stdout == ""


@pytest.mark.criterion("RES-7")
def test_json_has_components_that_sum_exactly() -> None:
    for model in ("standard", "portfolio", "tail", "derive-portfolio", "deribit-standard"):
        found = answer("margin", "--model", model)
        for kind in ("initial", "maintenance"):
            total = 0.0
            for component in found["components"].values():
                total += component[kind]
            assert total == found[f"{kind}_margin"]
        assert found["available"] == found["equity"] - found["initial_margin"]
        assert found["time"] == "2021-10-20T21:24:34Z"


@pytest.mark.criterion("RES-7")
def test_json_with_explanation_and_what_if() -> None:
    found = answer("margin", "--model", "standard", "--explain", "--what-if", examples.path("what_if.json"))
    assert math.fsum(share["euler"] for share in found["attribution"]) == found["initial_margin"]
    assert found["liquidation_prices"]["BTC"]["below"] < found["liquidation_prices"]["BTC"]["index"]
    assert found["available"] < 0.0 <= found["restoring_trade"]["available"]
    after, change = found["what_if"]["margin"], found["what_if"]["difference"]
    assert change["initial_margin"] == after["initial_margin"] - found["initial_margin"]


@pytest.mark.parametrize("model", ["portfolio", "standard", "tail"])
def test_tables_fit_eighty_columns(model: str) -> None:
    result = run("margin", "--model", model, "--explain", "--what-if", examples.path("what_if.json"))
    assert result.exit_code == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    for words in (
        "initial margin",
        "Liquidation prices",
        "time unchanged",
        "leave-one-out",
        "What if: buy 10 BTC-26NOV",
    ):
        assert words in result.stdout
    assert "…" not in result.stdout


def test_a_portfolio_of_each_format_gives_the_same_margin(tmp_path: Path) -> None:
    ours = portfolio_file(tmp_path, {"instrument": "BTC-26NOV21-70000-C", "quantity": -2}, balances={})
    table = tmp_path / "portfolio.csv"
    table.write_text("instrument;quantity\nBTC/USD:BTC-211126-70000-C;-2\n")
    deribit = tmp_path / "deribit.json"
    deribit.write_text(
        json.dumps({"result": [{"instrument_name": "BTC-26NOV21-70000-C", "size": -2, "direction": "sell"}]})
    )
    ccxt = tmp_path / "ccxt.json"
    ccxt.write_text(json.dumps([{"symbol": "BTC/USD:BTC-211126-70000-C", "contracts": 2, "side": "short"}]))
    found = [answer("margin", path) for path in (ours, table, deribit, ccxt)]
    assert found[0]["initial_margin"] > 0.0
    assert all(other == found[0] for other in found[1:])


def test_parquet_portfolio_and_chain(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    held = tmp_path / "portfolio.parquet"
    parquet.write_table(arrow.table({"instrument": ["BTC-26NOV21-70000-C", "BTC"], "quantity": [-2.0, 3.0]}), held)
    chain = tmp_path / "chain.parquet"
    rows = examples.path("btc_chain_2021-10-21.csv").read_text().splitlines()
    names, cells = rows[0].split(","), [line.split(",") for line in rows[1:]]
    parquet.write_table(arrow.table({name: [row[i] for row in cells] for i, name in enumerate(names)}), chain)
    result = run("margin", held, "--market", chain, "--json")
    assert "note: the chain has option prices only" in result.stderr
    assert json.loads(result.stdout)["initial_margin"] == answer("margin", held)["initial_margin"]
    held.write_bytes(b"not parquet")
    assert_refused(run("margin", held), "portfolio.parquet", "Parquet")


def test_own_market_and_own_parameters(tmp_path: Path) -> None:
    market = tmp_path / "market.json"
    market.write_bytes(market_to_json(examples.chain_market()))
    assert answer("margin", examples.path("portfolio.json"), "--market", market) == answer("margin")
    parameters = tmp_path / "parameters.json"
    parameters.write_text(
        '{"type": "standard", "name": "mine", "futures": {}, "options": {}, "collateral": {"BTC": {}}}'
    )
    found = answer("margin", portfolio_file(tmp_path), "--model", parameters)
    assert found["model"] == "mine"
    assert found["initial_margin"] == 0.0


def test_tail_model_uses_no_prices_after_the_market(tmp_path: Path) -> None:
    lines = examples.path("btcusdt_daily_close_2017_2024.csv").read_text().splitlines()
    whole, known = tmp_path / "whole.csv", tmp_path / "known.csv"
    whole.write_text("\n".join(lines))
    known.write_text("\n".join([lines[0], *(line for line in lines[1:] if line < "2021-10-20T21:24:34Z")]))
    figures = [answer("margin", "--model", "tail", "--history", path)["initial_margin"] for path in (whole, known)]
    assert figures[0] == figures[1] == answer("margin", "--model", "tail")["initial_margin"]
    assert answer("margin", "--model", "tail", "--decay", "0.97")["initial_margin"] != figures[0]
    few = tmp_path / "few.csv"
    few.write_text("\n".join(lines[:20]))
    assert run("margin", "--model", "tail", "--history", few).exit_code == 2


def test_what_if_at_the_mark_changes_no_equity(tmp_path: Path) -> None:
    trades = tmp_path / "trades.json"
    trades.write_text(json.dumps([{"instrument": n, "quantity": 1} for n in ("BTC-26NOV21-80000-C", "BTC-PERPETUAL")]))
    change = answer("margin", "--what-if", trades)["what_if"]["difference"]
    assert abs(change["equity"]) < 1e-6
    assert change["initial_margin"] != 0.0


REFUSALS = [
    ("unknown instrument", {"instrument": "BTC-DOGS", "quantity": 1}, "positions[0].instrument"),
    ("expired option", {"instrument": "BTC-1OCT21-60000-C", "quantity": 1}, "has expired"),
    ("no volatility", {"instrument": "BTC-26NOV21-60500-C", "quantity": 1}, "has no volatility"),
    ("no underlying", {"instrument": "ETH-26NOV21-4000-C", "quantity": 1}, "ETH"),
    ("no price", {"instrument": "BTC_USDT-PERPETUAL", "quantity": 1, "entry_price": 60000}, "has no price"),
    ("no entry price", {"instrument": "BTC-PERPETUAL", "quantity": 1}, "entry_price"),
    ("infinite", {"instrument": "BTC-26NOV21-70000-C", "quantity": "1e999"}, "positions[0].quantity"),
]


@pytest.mark.parametrize(("position", "words"), [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS])
def test_a_wrong_position_is_one_line(tmp_path: Path, position: dict, words: str) -> None:
    assert_refused(run("margin", portfolio_file(tmp_path, position)), words)


def test_a_wrong_file_is_one_line(tmp_path: Path) -> None:
    assert_refused(run("margin", tmp_path / "absent.json"), "absent.json", "No such file")
    assert_refused(run("margin", tmp_path / "absent.parquet"), "absent.parquet", "No such file")
    assert_refused(run("margin", tmp_path), "directory")
    twice = portfolio_file(tmp_path, *[{"instrument": "BTC-26NOV21-70000-C", "quantity": 1}] * 2)
    assert_refused(run("margin", twice), "positions[1].instrument", "given twice")
    broken = tmp_path / "broken.json"
    broken.write_text('{"balances": {"BTC": NaN}}')
    assert_refused(run("margin", broken), "NaN")
    broken.write_text("{")
    assert_refused(run("margin", broken), "line 1")


def test_wrong_options_are_one_line(tmp_path: Path) -> None:
    assert_refused(run("margin", "--model", "nothing"), "nothing", "deribit-standard")
    assert_refused(run("margin", "--model", "dydx"), "options[BTC]")
    assert_refused(run("margin", "--decay", "0.9"), "--model tail")
    assert_refused(run("margin", "--model", "tail", "--decay", "1.5"), "decay", "1.5")
    assert_refused(run("margin", "--market", examples.path("btc_chain_2021-10-21.csv")), "PORTFOLIO")
    trades = tmp_path / "trades.json"
    trades.write_text('[{"instrument": "BTC-1OCT21-60000-C", "quantity": 1}]')
    assert_refused(run("margin", "--what-if", trades), "trades.json[0].instrument", "has expired")
    trades.write_text('{"instrument": "BTC-PERPETUAL"}')
    assert_refused(run("margin", "--what-if", trades), "list")


def test_names_from_files_are_not_styles(tmp_path: Path) -> None:
    result = run("margin", portfolio_file(tmp_path, name="[red]loss[/red] :smile:"))
    assert "[red]loss[/red] :smile:" in result.stdout


def test_isolated_parts_are_shown(tmp_path: Path) -> None:
    part = {"balances": {"BTC": 1}, "positions": [{"instrument": "BTC-26NOV21-70000-C", "quantity": -1}]}
    held = portfolio_file(tmp_path, isolated={"apart": part})
    assert "apart" in run("margin", held).stdout
    assert answer("margin", held)["isolated"]["apart"]["initial_margin"] > 0.0


def test_models_lists_every_preset() -> None:
    result = run("models")
    for name in (*holdfast.presets(), "tail"):
        assert name in result.stdout


def test_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert run("--version").stdout == f"holdfast {project['project']['version']}\n"


def process(*arguments: str, **fields: object) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *filter(None, sys.path)])}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False, cwd=ROOT, **fields
    )


def test_a_real_process() -> None:
    done = process("-m", "holdfast.cli.main", "margin", "--explain", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == answer("margin", "--explain")
    failed = process("-m", "holdfast.cli.main", "margin", "absent.json")
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr == "error: absent.json: No such file or directory\n"


def test_the_library_and_the_command_start_without_the_kernels() -> None:
    code = "import holdfast, sys; print(sorted({m.split('.')[0] for m in sys.modules} & {'numba', 'numpy', 'typer'}))"
    assert process("-c", code).stdout == "[]\n"
    code = "import holdfast.cli.main, sys; print(sorted({m.split('.')[0] for m in sys.modules} & {'numba', 'pyarrow'}))"
    assert process("-c", code).stdout == "[]\n"


@pytest.mark.skipif(not SHARED.exists(), reason="the folder of shared data is absent")
def test_the_full_chain_of_the_shared_data(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    option = {"instrument": "BTC-26DEC25-100000-C", "quantity": -3}
    held = portfolio_file(tmp_path, option, {"instrument": "BTC-PERPETUAL", "quantity": 1000, "entry_price": 90000})
    found = answer("margin", held, "--market", SHARED / "deribit_btc_chain_2025-12-05.parquet")
    assert found["time"].startswith("2025-12-05T01:")
    assert found["initial_margin"] > 0.0


def test_balances_can_be_added_to_a_list_of_positions(tmp_path: Path) -> None:
    positions = tmp_path / "positions.json"
    positions.write_text(
        '[{"instrument_name": "BTC-26NOV21-70000-C", "size": -1.0, "average_price": 0.05, "kind": "option"}]'
    )
    bare = run("margin", str(positions), "--json")
    assert "there are no balances" in bare.stderr
    backed = run("margin", str(positions), "--balance", "btc=1.5", "--balance", "USDC=10", "--json")
    assert "there are no balances" not in backed.stderr
    difference = json.loads(backed.stdout)["equity"] - json.loads(bare.stdout)["equity"]
    assert difference == pytest.approx(1.5 * holdfast.examples.chain_market().asset_price("BTC").price + 10.0)
    assert_refused(run("margin", str(positions), "--balance", "BTC"), "--balance", "BTC=1.5")
    assert_refused(run("margin", str(positions), "--balance", "BTC=x"), "--balance BTC", "x")


def test_an_isolated_part_below_maintenance_is_said(tmp_path: Path) -> None:
    part = {"balances": {"USDC": 1.0}, "positions": [{"instrument": "BTC-26NOV21-70000-C", "quantity": -1.0}]}
    portfolio = tmp_path / "portfolio.json"
    portfolio.write_text(json.dumps({"balances": {"BTC": 5.0}, "isolated": {"bad \x1b[2J part": part}}))
    result = run("margin", str(portfolio))
    assert "isolated bad \\x1b[2J part: equity is below maintenance margin: liquidatable" in " ".join(
        result.stdout.split()
    )
    assert "\x1b[2J" not in result.stdout


def test_a_scenario_of_the_tail_model_has_its_dates() -> None:
    answer = json.loads(run("margin", "--model", "tail", "--json").stdout)
    assert " to 20" in answer["binding_scenarios"]["BTC"]["scenario"]
