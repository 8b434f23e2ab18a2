"""Every published case that a file of the conformance folder holds, where that folder is present."""

from pathlib import Path

import pytest

from holdfast.validate.conformance.runner import run

PUBLISHED = Path(__file__).parents[3] / "shared" / "conformance"
IN_SCOPE = ("derive_srm.json", "derive_pmrm2.json", "derive_auction.json", "deribit_docs.json", "dydx_v4.json")

needs_cases = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason="the published conformance cases are not beside this repository"
)


@needs_cases
def test_no_published_case_fails():
    report = run([PUBLISHED])
    assert [f for file in report.files for f in file.failures] == []
    assert report.failed == 0
    assert report.passed > 0


@needs_cases
@pytest.mark.parametrize("name", IN_SCOPE)
def test_the_files_in_scope_are_computed_whole(name):
    file = run([PUBLISHED / name]).files[0]
    assert file.failed == 0
    assert file.unsupported_kinds == {}
    assert file.passed > 10
    assert file.paths
    assert not any(path.startswith("holdfast.validate") for path in file.paths)
