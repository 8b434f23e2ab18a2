"""Each benchmark runs, at a size that says nothing about speed; what the contenders compute agrees."""

import shutil

import msgspec
import numpy as np
import pytest

from holdfast import bench
from holdfast.bench.options import contracts
from holdfast.bench.population import arrays_of_venue, population
from holdfast.bench.timing import Samples
from holdfast.bench.yardstick import COMPILERS, compiled_yardstick
from holdfast.domain.errors import InputError
from holdfast.margin import kernel, twin
from holdfast.margin.account import Account
from holdfast.margin.table import LineTag

SIZES = {"remargin": 200, "risk-table": 40, "account": 6, "fold": 200, "embedded": 200, "witness": 200}
ACCOUNTS = 300
needs_compiler = pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="no C compiler here")


@pytest.mark.parametrize("name", bench.NAMES)
def test_a_benchmark_runs_and_its_result_is_json(name):
    pytest.importorskip("scipy")
    pytest.importorskip("QuantLib")
    result = bench.run(name, size=SIZES[name], repeat=2)
    data = msgspec.json.decode(msgspec.json.encode(result))
    assert data["name"] == name
    assert data["per_item_ns"] == pytest.approx(data["seconds"] / data["items"] * 1e9)
    assert set(data["ratios"]) <= set(data["peers"])
    assert (data["ratio_to_yardstick"] is None) == (data["yardstick"] is None)
    assert len(data["digest"]) == 64
    assert all(isinstance(text, str) for row in bench.render(result) for text in row)


def test_digests_depend_on_the_population_alone():
    pytest.importorskip("scipy")
    first, second = (bench.run("remargin", size=50, repeat=1).digest for _ in range(2))
    assert first == second
    assert first != bench.run("remargin", size=51, repeat=1).digest


@pytest.mark.parametrize("with_multipliers", [True, False])
@pytest.mark.criterion("TAB-17")
def test_the_kernel_of_the_benchmark_has_the_bits_of_its_twin(with_multipliers):
    accounts, arrays = population(ACCOUNTS), arrays_of_venue(with_multipliers=with_multipliers)
    swept = np.zeros(ACCOUNTS)
    kernel.sweep_scan(arrays, *accounts, swept)
    for a in range(ACCOUNTS):
        held = slice(accounts.pointer[a], accounts.pointer[a + 1])
        workings = twin.workings_of(arrays, Account(accounts.line[held], accounts.quantity[held]))
        assert sum((scan.requirement for scan in workings.scans), 0.0) == swept[a]


def test_a_table_without_multipliers_sums_whole_underlyings():
    plain, other = (arrays_of_venue(with_multipliers=flag) for flag in (False, True))
    assert set(plain.tags[:, LineTag.RUN]) == {-2, -3, -4, -5}
    assert (other.tags[:, LineTag.RUN] == other.tags[:, LineTag.GROUP]).all()


@needs_compiler
@pytest.mark.parametrize("with_multipliers", [True, False])
def test_the_yardstick_computes_what_the_kernel_computes(with_multipliers):
    accounts, arrays = population(ACCOUNTS), arrays_of_venue(with_multipliers=with_multipliers)
    swept = np.zeros(ACCOUNTS)
    kernel.sweep_scan(arrays, *accounts, swept)
    with compiled_yardstick() as yardstick:
        assert yardstick is not None
        sweep = (yardstick.sweep_groups if with_multipliers else yardstick.sweep_underlyings)(arrays, accounts)
        sweep()
    np.testing.assert_allclose(sweep.out, swept, rtol=1e-9, atol=1e-9)


def test_without_a_compiler_there_is_no_yardstick_and_the_result_says_so(monkeypatch):
    pytest.importorskip("scipy")
    monkeypatch.setattr("holdfast.bench.yardstick.COMPILERS", ())
    result = bench.run("remargin", size=50, repeat=1)
    assert result.ratio_to_yardstick is None
    assert any("no C compiler" in note for note in result.notes)


def test_ratios_are_taken_within_rounds():
    samples = Samples({"a": [1.0, 10.0, 3.0], "b": [1.0, 5.0, 1.0]})
    assert samples.ratio("a", "b") == 2.0
    assert samples.median("a") == 3.0
    assert samples.rounds == 3


@pytest.mark.parametrize("count", [1, 40, 1000, 5000])
def test_the_options_of_the_benchmark_differ_and_have_strikes_above_0(count):
    held = contracts(count)
    assert (held.strike > 0.0).all()
    assert len(set(zip(held.expiry.tolist(), held.strike.tolist(), held.is_call.tolist(), strict=True))) == count


@pytest.mark.parametrize(("name", "size"), [("nothing", None), ("account", 0)])
def test_what_cannot_be_run_is_refused(name, size):
    with pytest.raises(InputError):
        bench.run(name, size=size)
