"""The program that compares the criteria of specs/ with the tests, on temporary folders."""

import importlib.util
import textwrap
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "criteria.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("criteria", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folders(tmp_path):
    """A function that writes a page and a test file, and returns the two folders."""

    def write(page, tests, *, page_name="page.md"):
        specs_folder, tests_folder = tmp_path / "specs", tmp_path / "tests"
        (tests_folder / "inner").mkdir(parents=True, exist_ok=True)
        specs_folder.mkdir(exist_ok=True)
        (specs_folder / page_name).write_text(textwrap.dedent(page), encoding="utf-8")
        (tests_folder / "inner" / "test_it.py").write_text(textwrap.dedent(tests), encoding="utf-8")
        return specs_folder, tests_folder

    return write


def numbers(mentions):
    return [mention.number for mention in mentions]


ONE_PAGE = "- **TAB-1** First.\n- **TAB-2** Second.\n"
BOTH_NAMED = """
    import pytest
    import a_library_that_is_not_installed

    @pytest.mark.criterion("TAB-1", "TAB-2")
    def test_it(): ...
"""


def test_all_covered(tool, folders, capsys):
    specs, tests = folders(ONE_PAGE, BOTH_NAMED)
    assert tool.main(["--specs", str(specs), "--tests", str(tests)]) == 0
    assert capsys.readouterr().out == "2 criteria: 2 covered, 0 uncovered, 0 unknown, 0 repeated, 0 unreadable\n"


def test_forms_in_which_a_page_states_a_criterion(tool, folders):
    page = """\
        **TAB-1** opens a paragraph.
        **TAB-99** only continues it, and so does **TAB-98**.

        **TAB-2** opens another.
        # A heading
        **TAB-3** follows a heading.
        - **TAB-4** is an item
          - **TAB-5** is an inner one
        * **X9Y-60** star
        1. **TAB-6** number
        - See **TAB-97**, a reference.
        - A **criterion** has no number.

        | **TAB-96** | a table |

        ```
        - **TAB-95** is code
        ```
    """
    specs, tests = folders(page, "")
    expected = ["TAB-1", "TAB-2", "TAB-3", "TAB-4", "TAB-5", "X9Y-60", "TAB-6"]
    assert numbers(tool.compare(specs, tests).pages) == expected


def test_forms_in_which_a_test_names_a_criterion(tool, folders):
    source = """
        import pytest
        from pytest import mark

        pytestmark = pytest.mark.criterion("TAB-1")

        @pytest.mark.criterion("TAB-2", "TAB-3")
        class TestIt:
            @mark.criterion("TAB-4")
            def test_method(self): ...

        @pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.criterion("TAB-5"))])
        def test_parameter(x): ...

        def test_text():
            \"\"\"@pytest.mark.criterion("TAB-6")\"\"\"
            criterion("TAB-7")
    """
    specs, tests = folders("", source)
    assert tool.compare(specs, tests).named == {"TAB-1", "TAB-2", "TAB-3", "TAB-4", "TAB-5"}


def test_uncovered(tool, folders, capsys):
    specs, tests = folders(ONE_PAGE + "\n**TAB-3** Third.\n", BOTH_NAMED)
    assert tool.main(["--specs", str(specs), "--tests", str(tests)]) == 1
    out = capsys.readouterr().out
    assert f"{specs / 'page.md'}:4: TAB-3 is named by no test\n" in out
    assert "3 criteria: 2 covered, 1 uncovered" in out


def test_unknown(tool, folders, capsys):
    specs, tests = folders("- **TAB-1** First.\n", BOTH_NAMED)
    assert tool.main(["--specs", str(specs), "--tests", str(tests)]) == 1
    assert f"{tests / 'inner' / 'test_it.py'}:5: TAB-2 is on no page\n" in capsys.readouterr().out


def test_repeated_on_another_page(tool, folders, capsys):
    folders(ONE_PAGE, BOTH_NAMED)
    specs, tests = folders("- **TAB-2** Again.\n", BOTH_NAMED, page_name="second.md")
    assert tool.main(["--specs", str(specs), "--tests", str(tests)]) == 1
    expected = f"{specs / 'second.md'}:1: TAB-2 is given already at {specs / 'page.md'}:2\n"
    assert expected in capsys.readouterr().out


def test_a_name_that_is_not_literal(tool, folders, capsys):
    source = BOTH_NAMED + '\n    NAME = "TAB-1"\n\n    @pytest.mark.criterion(NAME)\n    def test_more(): ...\n'
    specs, tests = folders(ONE_PAGE, source)
    assert tool.main(["--specs", str(specs), "--tests", str(tests)]) == 1
    assert "NAME is not literal text; write the number out" in capsys.readouterr().out


def test_pages_without_criteria_are_not_a_success(tool, folders, capsys):
    specs, tests = folders("# Nothing here\n", "")
    assert tool.main(["--specs", str(specs), "--tests", str(tests)]) == 1
    assert "no page states a criterion" in capsys.readouterr().out


def test_the_projects_own_pages_are_read(tool):
    pages = tool.compare(tool.REPOSITORY / "specs", tool.REPOSITORY / "tests").pages
    assert {"CON-1", "TAB-1", "PRC-15", "DYDX-13"} <= set(numbers(pages))
