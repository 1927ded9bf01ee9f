"""The notebooks of docs/tutorials.

Proved here, of each of them:
- it runs from its first cell to its last, in a kernel of its own, with no error and no warning;
- it prints what is stored in it: the same words, and numbers to their last digit or so;
- every result that its text names stands in one of its outputs;
- it is stored as run once, from the top, in at most 1.5 MB.
"""

import re
import runpy
from importlib.util import find_spec
from pathlib import Path

import pytest

if not find_spec("captum"):
    pytest.skip("needs captum: pip install 'dualview[docs]'", allow_module_level=True)

import nbformat

pytestmark = pytest.mark.xdist_group("notebooks")  # each is run once, in one process

FOLDER = Path(__file__).parents[2] / "docs" / "tutorials"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 1_500_000
COUNTED = 10
"""Whole numbers up to it are classes and counts of things in the text itself."""
NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?")
NOT_PROSE = re.compile(r"`[^`]*`|\[arXiv [\d.]+\]|\([^)\s]*/[^)\s]*\)")
"""Code, papers' numbers, addresses."""


def stored(path):
    return nbformat.read(path, as_version=4)


def cells(notebook, kind):
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def printed(notebook, stream="stdout"):
    """All that the cells wrote to a stream, in order."""
    outputs = [output for cell in cells(notebook, "code") for output in cell.outputs]
    texts = [o.text for o in outputs if o.output_type == "stream" and o.name == stream]
    return "".join(texts)


def value(number):
    return float(number.replace(",", ""))


def last_digit(number):
    """What 1 more in its last digit is worth."""
    return 10.0 ** -len(number.partition(".")[2])


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture(scope="module")
def again(path):
    return runpy.run_path(str(FOLDER / "run.py"))["executed"](path)


def test_there_are_notebooks():
    assert NOTEBOOKS


def test_runs_without_a_warning(again):
    assert printed(again, "stderr") == ""


def test_prints_what_is_stored(path, again):
    before, now = printed(stored(path)), printed(again)
    assert NUMBER.sub("#", now) == NUMBER.sub("#", before)
    for new, old in zip(NUMBER.findall(now), NUMBER.findall(before), strict=True):
        assert value(new) == pytest.approx(value(old), rel=1e-3, abs=1.01 * last_digit(old))


def test_draws_what_is_stored(path, again):
    def pictures(notebook):
        return [["image/png" in o.get("data", {}) for o in c.get("outputs", ())] for c in notebook]

    assert pictures(again.cells) == pictures(stored(path).cells)


def test_results_in_the_text_are_printed(path):
    notebook = stored(path)
    known = set(NUMBER.findall(printed(notebook)))
    text = "\n".join(NOT_PROSE.sub(" ", cell.source) for cell in cells(notebook, "markdown"))
    results = [n for n in NUMBER.findall(text) if "." in n or value(n) > COUNTED]
    assert results
    assert not set(results) - known


def test_is_stored_as_run_once_from_the_top(path):
    code = cells(stored(path), "code")
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert path.stat().st_size <= MOST_BYTES
