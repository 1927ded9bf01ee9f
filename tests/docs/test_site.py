"""The documentation site.

1. It builds without a warning: links and anchors within it lead somewhere, pages are in the
   navigation, docstrings are understood.
2. Every public name, every error and every command is in its reference.
3. Formulas are MathML: no LaTeX is left. Examples of docstrings are code, and their formulas are
   text: none is taken for a tag.
4. A page that would load something from elsewhere, a formula that cannot be shown and a link that
   leads nowhere, from a page or from a notebook, are each refused.
5. A section of the theory that a docstring names is one of the page.
"""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

import dualview as dv
from dualview import errors
from dualview.cli.commands import COMMANDS
from tests.docs.pages import ROOT

pytest.importorskip("mkdocs", reason="the extra 'docs' is not installed")
pytestmark = pytest.mark.xdist_group("site")  # one process builds it, once


def building(name):
    """A module of docs/building, which MkDocs loads by its path."""
    path = ROOT / "docs" / "building" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(config, out):
    options = ["--strict", "-f", config, "-d", out]  # --quiet would not count warnings
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", *options]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_reference_is_complete(site):
    pages = "".join(page.read_text() for page in (site / "reference").glob("*.html"))
    anchors = set(re.findall(r'id="dualview\.(?:[\w.]+\.)?(\w+)"', pages))
    assert set(dv.__all__) - anchors == set()
    assert {name for name in vars(errors) if name.endswith("Error")} - anchors == set()
    headings = set(
        re.findall(r'<h2 id="([\w-]+)"', (site / "reference/command-line.html").read_text())
    )
    assert {command.NAME for command in COMMANDS} <= headings


def test_formulas_and_examples(site):
    theory = (site / "theory.html").read_text()
    assert theory.count("<math") > 40
    for page in site.glob("**/*.html"):
        assert "arithmatex" not in page.read_text()
    examples = (site / "reference" / "conversion.html").read_text()
    assert "<blockquote>" not in examples
    assert '<span class="gp">&gt;&gt;&gt; </span>' in examples


def test_formulas_in_docstrings_are_text(site):
    filters = (site / "reference/filters.html").read_text()
    (text,) = re.findall(r"pre-activations .{0,40} \+ c", filters)
    assert "&lt;F, x&gt;" in text
    written = {tag for page in site.glob("concepts/*.html") for tag in tags(page)}
    written |= {"h3", "h4", "b", "small"}  # of headings, labels and marks of the reference
    assert {tag for page in site.glob("reference/*.html") for tag in tags(page)} <= written


def tags(page):
    """Names of the elements of a page; scripts and styles aside."""
    html = re.sub(r"<(script|style)\b.*?</\1>", "", page.read_text(), flags=re.DOTALL)
    return set(re.findall(r"<([a-zA-Z][\w-]*)", html))


def test_sections_of_the_theory(site):
    headings = re.findall(r"<h[23] id=\"[\w-]+\">(\d[.\d]*) ", (site / "theory.html").read_text())
    named = {
        number
        for path in ROOT.glob("src/**/*.py")
        for phrase in re.findall(r"theory,? sections? ([\d. and]+)", path.read_text())
        for number in re.findall(r"\d(?:\.\d)?", phrase)
    }
    assert {"4.5", "5", "6"} <= named <= set(headings)


def test_links_of_notebooks(site):
    links = building("links")
    html = (site / "tutorials/explain_a_digit.html").read_text()
    assert any(address.endswith("results.html") for address in links.links(html))
    page = site / "theory.html"
    outside = str(ROOT / "LICENSE")
    for address in ("results.md", "results.html#no-such", "#no-such", outside):
        assert links.leads_nowhere(site, page, address)
    for address in ("results.html#results", "#1-gates", "https://a.org/b", ".", "mailto:a@b"):
        assert not links.leads_nowhere(site, page, address)


def test_pages_load_nothing_from_elsewhere():
    found = building("offline").loaded_from_elsewhere
    assert found('<a href="https://a.org">a</a><img src="pictures/b.png">', ".html") == []
    for text in (
        '<script src="https://a.org/x.js"></script>',
        '<link rel="stylesheet" href="//a.org/x.css">',
        '<link rel="preconnect" href="https://a.org">',
        "<style>body { background: url('https://a.org/x.png') }</style>",
        '<pre class="mermaid">',
    ):
        assert len(found(text, ".html")) == 1, text
    assert found("@import 'https://a.org/x.css';", ".css") == ["https://a.org/x.css"]
    assert found("a { background: url(x.png) }", ".css") == []


@pytest.mark.parametrize(
    "tex", [r"\nosuchcommand{x}", r"\frac{1", r"\begin{aligned} a & b \end{aligned}"]
)
def test_formulas_that_cannot_be_shown(tex):
    equations = building("equations")
    with pytest.raises(equations.PluginError, match=r"page\.md"):
        equations.mathml(tex, True, "page.md")


def test_a_link_that_leads_nowhere(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# A\n\n[b](b.md) [c](#c)\n")
    kept = (ROOT / "mkdocs.yml").read_text().partition("\nvalidation:")[2]
    config = "site_name: a\ntheme: {name: mkdocs, highlightjs: false}\nvalidation:" + kept
    (tmp_path / "mkdocs.yml").write_text(config)
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    assert "b.md" in done.stderr + done.stdout
    assert "#c" in done.stderr + done.stdout
