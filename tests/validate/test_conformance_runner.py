"""The conformance runner on case files made here, and the published dYdX cases where their folder is present."""

import json
import math
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.errors import InputError, InvariantError
from holdfast.validate.conformance import dydx
from holdfast.validate.conformance.cases import (
    UNRECOGNISED,
    Evaluation,
    Tolerance,
    Unsupported,
    exact,
    kind_of,
    near,
    path_of,
    read_cases,
    stated_tolerance,
    truncated,
)
from holdfast.validate.conformance.runner import ADAPTERS, MODULES, collect, run

PUBLISHED = Path(__file__).parents[3] / "shared" / "conformance"
DYDX_KINDS = {
    "bankruptcy_price",
    "deleveraging",
    "fillable_price",
    "insurance_fund_delta",
    "is_liquidatable",
    "margin_requirement",
    "oi_scaled_im",
    "oi_scaled_imf_ppm",
    "risk_order",
}

LIQUIDATABLE = {"id": "equal", "kind": "is_liquidatable", "inputs": {"nc": 5, "mmr": 5}, "expected": False}
WORKED = [
    LIQUIDATABLE,
    {
        "id": "worked 1",
        "kind": "margin_requirement",
        "inputs": {
            "perpetual": {
                "atomic_resolution": -10,
                "price": 6_100_512_345,
                "exponent": -5,
                "im_ppm": 20_000,
                "mm_frac_ppm": 600_000,
            },
            "quantums": -1_234_567,
            "open_interest_quantums": 5 * 10**12,
            "oi_lower_cap": 20 * 10**12,
            "oi_upper_cap": 50 * 10**12,
        },
        "expected": [2_734_557, 90_378],
    },
    {
        "id": "worked 2",
        "kind": "oi_scaled_im",
        "inputs": {
            "im_ppm": 20_000,
            "oi_lower_cap": 20 * 10**12,
            "oi_upper_cap": 50 * 10**12,
            "oi_notional": 31_415_926_535_897,
            "notional": 7_531_531,
        },
        "expected": 2_959_290,
    },
    {
        "id": "worked 3",
        "kind": "oi_scaled_imf_ppm",
        "inputs": {
            "im_ppm": 20_000,
            "oi_lower_cap": 20 * 10**12,
            "oi_upper_cap": 50 * 10**12,
            "oi_notional": 31_415_926_535_897,
        },
        "expected": 392_920,
    },
    {"id": "worked 4", "kind": "risk_order", "inputs": {"first": [21, 30], "second": [7, 10]}, "expected": 1},
]


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="cases.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write_file


def doubled(value):
    return 2 * value


def near_adapter(raw):
    return Evaluation(path_of(doubled), (near("double", raw["expected"], doubled(raw["inputs"]), relative=0.01),))


def case(expected=2, inputs=1, **members):
    return {"id": "a case", "kind": "double", "inputs": inputs, "expected": expected, **members}


@pytest.mark.criterion("CONF-5", "CONF-14")
def test_worked_dydx_cases_pass_through_the_production_functions(write):
    report = run([write(WORKED)])
    assert (report.passed, report.failed, report.unsupported, report.exit_status) == (5, 0, 0, 0)
    assert report.files[0].paths == (
        "holdfast.margin.dydx.initial_margin_of_notional",
        "holdfast.margin.dydx.is_liquidatable",
        "holdfast.margin.dydx.margin_requirements",
        "holdfast.margin.dydx.riskier",
        "holdfast.margin.dydx.scaled_initial_margin_ppm",
    )


@pytest.mark.criterion("CONF-7", "CONF-14")
@pytest.mark.parametrize(
    ("index", "expected", "quantity", "actual"),
    [
        (0, True, "liquidatable", False),
        (0, 0, "liquidatable", False),
        (1, [2_734_558, 90_378], "initial margin", 2_734_557),
        (1, [2_734_557, 90_379], "maintenance margin", 90_378),
        (1, [0, 0], "initial margin", 2_734_557),
        (2, 2_959_289, "initial margin", 2_959_290),
        (3, 392_921, "initial margin ppm", 392_920),
        (4, -1, "order of risk", 1),
    ],
)
def test_a_case_one_unit_off_fails_with_both_numbers(write, index, expected, quantity, actual):
    report = run([write([{**WORKED[index], "expected": expected}])])
    (failure,) = report.files[0].failures
    assert (report.passed, report.failed, report.exit_status) == (0, 1, 1)
    assert (failure.id, failure.quantity, failure.actual) == (WORKED[index]["id"], quantity, actual)
    assert failure.path.startswith("holdfast.margin.dydx.")


@pytest.mark.criterion("CONF-5", "CONF-15")
def test_the_published_dydx_cases_pass():
    file = PUBLISHED / "dydx_v4.json"
    if not file.exists():
        pytest.skip(f"the published cases are not beside this checkout ({file})")
    report = run([file])
    assert report.files[0].failures == ()
    assert report.passed == len(json.loads(file.read_text(encoding="utf-8"))) > 0


@pytest.mark.criterion("CONF-6")
def test_every_published_file_can_be_read_and_every_unsupported_kind_has_a_name():
    if not PUBLISHED.is_dir():
        pytest.skip(f"the published cases are not beside this checkout ({PUBLISHED})")
    report = run([PUBLISHED])
    assert not [failure for file in report.files for failure in file.failures if failure.quantity == "file"]
    assert not [file.file for file in report.files if UNRECOGNISED in file.unsupported_kinds]


@pytest.mark.criterion("CONF-1", "CONF-3")
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is not JSON"),
        ("[{]", "is not JSON"),
        ('[{"id": "a", "expected": NaN}]', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ({"id": "a", "expected": 1}, "is not a list"),
        ("7", "is not a list"),
        ([], "holds no case"),
        ([7], "[0]: is not an object"),
        ([LIQUIDATABLE, {"expected": 1}], "[1].id: is not a text"),
        ([{"id": "", "expected": 1}], "[0].id: is not a text"),
        ([{"id": 7, "expected": 1}], "[0].id: is not a text"),
        ([{"id": "a", "kind": "risk_order"}], "[0].expected: is missing"),
    ],
)
def test_a_malformed_file_is_one_failure_that_says_what_is_wrong(write, content, problem):
    bad, good = write(content, "bad.json"), write([LIQUIDATABLE], "good.json")
    report = run([bad, good])
    assert (report.passed, report.failed, report.unsupported, report.exit_status) == (1, 1, 0, 1)
    (failure,) = report.files[0].failures
    assert (failure.id, failure.quantity) == ("", "file")
    assert problem in failure.actual
    assert str(bad) in failure.actual
    with pytest.raises(InputError, match=r"bad\.json"):
        read_cases(bad)


@pytest.mark.criterion("CONF-3")
def test_a_file_that_is_not_text_is_one_failure(tmp_path):
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe[]")
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    report = run([tmp_path])
    assert (report.failed, [file.failures[0].quantity for file in report.files]) == (2, ["file", "file"])


@pytest.mark.criterion("CONF-1")
def test_integers_of_any_size_are_read_exactly(write):
    huge = 10**40 + 1
    report = run([write([{**LIQUIDATABLE, "inputs": {"nc": huge, "mmr": huge}}])])
    assert report.passed == 1
    assert read_cases(write([{"id": "a", "expected": huge}]))[0].raw["expected"] == huge


@pytest.mark.criterion("CONF-2")
def test_a_folder_gives_its_json_files_in_order_of_name(write, tmp_path, monkeypatch):
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter(sorted(listed(folder), reverse=True)))
    for name in ("b.json", "a.json", "c.json"):
        write([LIQUIDATABLE], name)
    write("not a case file", "README.md")
    write("\0", "reserve.bin")
    (tmp_path / "folder.json").mkdir()
    report = run([tmp_path])
    assert [Path(file.file).name for file in report.files] == ["a.json", "b.json", "c.json"]
    assert report.passed == 3


@pytest.mark.criterion("CONF-2")
def test_a_file_reached_twice_runs_once_where_it_was_first_named(write, tmp_path, monkeypatch):
    write([LIQUIDATABLE], "a.json")
    write([LIQUIDATABLE], "b.json")
    monkeypatch.chdir(tmp_path)
    report = run(["b.json", tmp_path, tmp_path / "a.json"])
    assert [file.file for file in report.files] == ["b.json", str(tmp_path / "a.json")]


@pytest.mark.criterion("CONF-2")
def test_a_run_that_would_check_nothing_is_refused(tmp_path):
    for paths in ([], [tmp_path / "absent"], [tmp_path]):
        with pytest.raises(InputError) as refusal:
            run(paths)
        assert refusal.value.field == "paths"


@pytest.mark.criterion("CONF-4", "CONF-6")
def test_the_kind_or_the_shape_of_a_case_chooses_its_adapter(write):
    assert kind_of({"kind": "double", "markets": {}}) == "double"
    assert kind_of({"markets": {}}) == "derive_srm"
    assert kind_of({"scenario": {}, "params": {}}) == "derive_pmrm2"
    assert kind_of({"markets": 7}) == kind_of({}) == UNRECOGNISED
    cases = [
        {"id": "derive_srm", "expected": 1},
        {"id": "b", "markets": {}, "expected": 1},
        {"id": "c", "kind": "tea_leaves", "expected": 1},
        {"id": "d", "kind": "tea_leaves", "expected": 1},
    ]
    report = run([write(cases, "dydx_v4.json")], adapters={})
    assert (report.passed, report.failed, report.unsupported, report.exit_status) == (0, 0, 4, 1)
    assert report.files[0].unsupported_kinds == {"derive_srm": 1, "tea_leaves": 2, UNRECOGNISED: 1}
    assert report.files[0].failures == ()


@pytest.mark.criterion("CONF-6")
def test_an_adapter_may_leave_a_case_unsupported(write):
    def adapter(raw):
        raise Unsupported(f"{raw['kind']}, second generation")

    report = run([write([case()])], {"double": adapter})
    assert (report.unsupported, report.failed) == (1, 0)
    assert report.files[0].unsupported_kinds == {"double, second generation": 1}


@pytest.mark.criterion("CONF-7")
def test_an_evaluation_that_raises_fails_its_case_and_no_other(write):
    cases = [case(inputs=None), {**LIQUIDATABLE, "inputs": {"nc": 1}}, case()]
    report = run([write(cases)], {**ADAPTERS, "double": near_adapter})
    assert (report.passed, report.failed) == (1, 2)
    first, second = report.files[0].failures
    assert (first.quantity, first.expected, second.quantity) == ("error", 2, "error")
    assert first.actual.startswith("TypeError: ")
    assert first.path.endswith("test_conformance_runner.near_adapter")
    assert second.actual == "KeyError: 'mmr'"


@pytest.mark.criterion("CONF-7")
def test_an_adapter_that_checks_nothing_or_returns_nothing_fails_the_case(write):
    for adapter, quantity in ((lambda raw: Evaluation("here", ()), "checks"), (lambda raw: None, "error")):
        report = run([write([case()])], {"double": adapter})
        assert (report.passed, report.failed) == (0, 1)
        assert report.files[0].failures[0].quantity == quantity


@pytest.mark.criterion("CONF-5")
def test_adapters_of_all_modules_are_collected_and_none_twice():
    assert set(ADAPTERS) == {kind for module in MODULES for kind in module.ADAPTERS} >= DYDX_KINDS
    with pytest.raises(InvariantError, match="two adapters"):
        collect([dydx, dydx])


@pytest.mark.criterion("CONF-8")
@pytest.mark.parametrize(
    ("expected", "actual", "passed"),
    [
        (3, 3, True),
        (3, 3.0, True),
        (3, 4, False),
        (True, True, True),
        (True, 1, False),
        (0, False, False),
        ([1, 2], (1, 2), True),
        ([1, 2], (1, 2, 3), False),
        ([1, 2], (2, 1), False),
        ([1, True], [1, 1], False),
        ({"a": [0]}, {"a": (0,)}, True),
        ({"a": [0]}, {"a": (1,)}, False),
        ({"a": 0}, {}, False),
        ("24999/50", "24999/50", True),
        ("12", [1, 2], False),
        (2**70, 2**70 + 1, False),
    ],
)
def test_exact_comparison(expected, actual, passed):
    assert exact("quantity", expected, actual).passed is passed


@pytest.mark.criterion("CONF-9")
@pytest.mark.parametrize(
    ("expected", "actual", "relative", "absolute", "passed"),
    [
        (200, 198, 0.01, 0, True),
        (200, 202, 0.01, 0, True),
        (200, 197.999, 0.01, 0, False),
        (-200, -202, 0.01, 0, True),
        (-200, 200, 0.01, 0, False),
        (0, -0.5, 0, 0.5, True),
        (0, -0.5, 0.9, 0.25, False),
        (200, 203, 0.01, 3, True),
        (200, 204, 0.01, 3, False),
        (5, 5, 0, 0, True),
        (math.nan, math.nan, 1, 1, False),
        (math.inf, math.inf, 1, 1, False),
        (1, True, 1, 1, False),
        (1, None, 1, 1, False),
    ],
)
def test_near_comparison(expected, actual, relative, absolute, passed):
    assert near("quantity", expected, actual, relative=relative, absolute=absolute).passed is passed


@pytest.mark.criterion("CONF-10")
@pytest.mark.parametrize(
    ("expected", "actual", "decimals", "passed"),
    [
        (-365, -365.9, 0, True),
        (-365, -364.9999999999999, 0, True),
        (-365, -366, 0, False),
        (-365, -364.9, 0, False),
        (0, -0.99, 0, True),
        (0, 1, 0, False),
        (1803, 1803.9999, 0, True),
        (0.5366, 0.53669, 4, True),
        (0.5366, 0.5366, 4, True),
        (0.5366, 0.53659, 4, False),
        (0.5366, 0.5367, 4, False),
        (12_000, 12_999.9, -3, True),
        (0.25, 0.25, 1, False),
        (1, math.nan, 0, False),
        (math.inf, math.inf, 0, False),
    ],
)
def test_truncated_comparison(expected, actual, decimals, passed):
    assert truncated("quantity", expected, actual, decimals).passed is passed


@pytest.mark.criterion("CONF-10")
@settings(deadline=None)
@given(st.floats(-1e12, 1e12), st.integers(0, 4))
def test_a_number_agrees_with_its_own_truncation_and_not_with_its_neighbour(value, decimals):
    digits = math.trunc(Fraction(str(value)) * 10**decimals)
    assert truncated("quantity", float(Fraction(digits, 10**decimals)), value, decimals).passed
    wrong_by_one = float(Fraction(digits + (1 if value >= 0 else -1), 10**decimals))
    assert not truncated("quantity", wrong_by_one, value * (1 - 1e-9), decimals).passed


@pytest.mark.criterion("CONF-11")
@pytest.mark.parametrize(
    ("members", "tolerance"),
    [
        ({}, Tolerance(relative=0.5)),
        ({"tolerance": None}, Tolerance(relative=0.5)),
        ({"tolerance": 0}, Tolerance()),
        ({"tolerance": 0.06}, Tolerance(absolute=0.06)),
        ({"tolerance": "0.1% relative (test), vols given to 18dp"}, Tolerance(relative=0.001)),
        ({"tolerance": "1e-8 relative on OptionMTM, MM, IM"}, Tolerance(relative=1e-8)),
        ({"tolerance": "exact after truncation toward zero"}, Tolerance(decimals=0)),
    ],
)
def test_the_tolerance_a_case_states_is_read(members, tolerance):
    assert stated_tolerance(members, Tolerance(relative=0.5)) == tolerance


@pytest.mark.criterion("CONF-11")
@pytest.mark.parametrize("stated", ["close enough", -1, True, math.nan, [1]])
def test_a_tolerance_that_cannot_be_read_is_refused(stated):
    with pytest.raises(InputError) as refusal:
        stated_tolerance({"tolerance": stated}, Tolerance())
    assert refusal.value.field == "tolerance"


@pytest.mark.criterion("CONF-9", "CONF-10", "CONF-11")
def test_a_tolerance_makes_the_check_it_stands_for():
    assert Tolerance(relative=0.01).check("q", 200, 202).passed
    assert not Tolerance().check("q", 200, 200.0001).passed
    assert Tolerance(decimals=0, relative=1.0).check("q", 200, 200.9).passed
    assert not Tolerance(decimals=0, relative=1.0).check("q", 200, 201).passed


@pytest.mark.criterion("CONF-12")
def test_the_report_is_strict_json_of_the_stated_members(write):
    def adapter(raw):
        actual = {"nan": math.nan, "numpy": np.float64(2.5), "count": np.int64(7), "ratio": Fraction(1, 3)}
        return Evaluation(path_of(doubled), (exact("things", raw["expected"], (actual, 2**70)),))

    report = run([write([case(), LIQUIDATABLE, case(kind="other")])], {**ADAPTERS, "double": adapter})
    read = json.loads(report.as_json(), parse_constant=pytest.fail)
    assert read == report.as_dict()
    assert list(read) == ["passed", "failed", "unsupported", "files"]
    (file,) = read["files"]
    assert list(file) == ["file", "passed", "failed", "unsupported", "failures", "unsupported_kinds", "paths"]
    assert file["unsupported_kinds"] == {"other": 1}
    (failure,) = file["failures"]
    assert list(failure) == ["id", "quantity", "expected", "actual", "path"]
    assert failure["actual"] == [{"nan": "nan", "numpy": 2.5, "count": 7, "ratio": "1/3"}, 2**70]
    assert file["paths"] == ["holdfast.margin.dydx.is_liquidatable", path_of(doubled)]


@pytest.mark.criterion("CONF-13")
@pytest.mark.parametrize(
    ("cases", "exit_status"),
    [([case()], 0), ([case(expected=3)], 1), ([case(kind="other")], 1), ([case(), case(kind="other")], 1)],
)
def test_the_exit_status_is_zero_only_if_everything_was_checked_and_passed(write, cases, exit_status):
    assert run([write(cases)], {"double": near_adapter}).exit_status == exit_status


def test_a_single_path_and_any_kind_of_path_are_taken(write):
    path = write([LIQUIDATABLE])
    for given_paths in (str(path), path, [str(path)], (p for p in [path]), [os.fspath(path)]):
        assert run(given_paths).passed == 1
