"""Properties proved here.

1. Every kind has its own colour in both schemes, and no page colour doubles as a kind's.
2. Colours that text is set in reach the contrast 4.5 : 1 on the page, in both schemes.
3. Kinds that differ in more than their input have different markers; constant-1 input is drawn
   apart by dash and filling.
4. An unknown kind is refused with the known ones named.
5. SVG for a page: the same bytes each time; no id is used twice when two figures meet in a page;
   all references resolve inside the figure; no colour is left fixed; text stays text; a hostile
   label is escaped; the user's matplotlib settings change nothing, nor are they changed.
6. A dollar sign in a name from elsewhere is drawn as one, in every figure that shows names.
7. A saved PNG holds the page's light ground and is the same each time.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest

from dualview.errors import RunError
from dualview.experiments.curves import learning_curves
from dualview.experiments.summary import KIND_NAMES
from dualview.pages.style import (
    KIND_STYLES,
    PAGE_COLOURS,
    css_variables,
    figure_svg,
    kind_style,
    save_figure,
)
from dualview.primal.figures.filters import SpectrumCurve, filter_grid, spectrum_curves
from dualview.primal.figures.gates import gate_overlap, kernel_map
from tests.record_cases import comparison


@pytest.fixture(scope="module")
def figure():
    return learning_curves(comparison())


def _luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_kind_of_the_summary_has_a_style():
    for kind in KIND_NAMES:
        assert not kind_style(kind).ones
        if kind == "dnn-wide":  # a DNN cannot read the constant 1, so nobody widens such a one
            continue
        assert kind_style(f"{kind}-ones").ones
        assert kind_style(f"{kind}-ones").marker == kind_style(kind).marker
    assert len({kind_style(kind).marker for kind in KIND_NAMES}) == len(KIND_NAMES)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_are_distinct_and_legible(scheme):
    kinds = [(style.light, style.dark)[scheme] for style in KIND_STYLES.values()]
    page = {name: colours[scheme] for name, colours in PAGE_COLOURS.items()}
    assert len({*kinds, *page.values()}) == len(kinds) + len(page)
    for colour in (*kinds, page["ink"], page["muted"]):
        assert _contrast(colour, page["page"]) >= 4.5, colour


def test_unknown_kind_is_refused():
    with pytest.raises(RunError, match=r"dnn, dnn-ones.*'cnn'.*KIND_STYLES"):
        kind_style("cnn")


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_css_variables_hold_the_table(scheme):
    declared = dict(re.findall(r"--([\w-]+):(#\w{6});", css_variables(("light", "dark")[scheme])))
    for kind, style in KIND_STYLES.items():
        assert declared.pop(f"kind-{kind}") == (style.light, style.dark)[scheme]
    assert declared == {name: colours[scheme] for name, colours in PAGE_COLOURS.items()}


def test_svg_is_the_same_each_time(figure):
    again = learning_curves(comparison())
    assert figure_svg(figure, "a", "x") == figure_svg(figure, "a", "x")
    assert figure_svg(figure, "a", "x") == figure_svg(again, "a", "x")


def test_svg_ids_are_unique_across_figures_and_resolve(figure):
    seen: set[str] = set()
    for name in ("a", "b"):
        svg = figure_svg(figure, name, "x")
        ids = re.findall(r'\bid="([^"]+)"', svg)
        references = re.findall(r'(?:url\(#|href="#)([^)"]+)', svg)
        assert len(ids) == len(set(ids))
        assert set(ids) == set(references)
        assert ids
        assert not seen & set(ids)
        seen |= set(ids)


def test_svg_follows_the_page(figure):
    svg = figure_svg(figure, "a", "x")
    fixed = re.findall(r"#[0-9a-f]{6}\b", re.sub(r"var\(--[\w-]+, #[0-9a-f]{6}\)", "", svg))
    assert fixed == []
    assert "var(--kind-dlgn, #" in svg
    assert "DejaVu" not in svg
    assert "<style" not in svg
    texts = {element.text for element in ElementTree.fromstring(svg).iter() if element.text}
    assert {"DNN", "DGN", "DLGN", "DLGN, ones", "epoch"} <= texts


def test_svg_label_is_escaped(figure):
    svg = figure_svg(figure, "a", '<script>"&')
    assert "<script" not in svg
    assert ElementTree.fromstring(svg).get("aria-label") == '<script>"&'


def test_user_settings_neither_matter_nor_change(figure):
    expected = figure_svg(figure, "a", "x")
    with matplotlib.rc_context({"axes.facecolor": "red", "xtick.direction": "in", "font.size": 30}):
        assert figure_svg(learning_curves(comparison()), "a", "x") == expected
        assert matplotlib.rcParams["font.size"] == 30
        assert matplotlib.rcParams["svg.hashsalt"] != "dualview"


FOREIGN = ("$x^2$ $\\frac{1}{2}$", "a$", "$\\nosuch$")
"""Names that mathtext would draw as formulas, or fail on."""


def _named_figures():
    points = np.ones((3, 4))
    kernel = np.eye(3)
    curves = [SpectrumCurve(name, np.arange(1, 5), points) for name in FOREIGN]
    return {
        "kernel_map": kernel_map(kernel, FOREIGN),
        "gate_overlap": gate_overlap([kernel], FOREIGN),
        "filter_grid": filter_grid(np.ones((3, 1, 2, 2)), titles=FOREIGN),
        "spectrum_curves": spectrum_curves(curves),
    }


@pytest.mark.parametrize("name", ["kernel_map", "gate_overlap", "filter_grid", "spectrum_curves"])
def test_a_dollar_is_a_dollar(name):
    figure = _named_figures()[name]
    texts = [e.text for e in ElementTree.fromstring(figure_svg(figure, "a", "x")).iter() if e.text]
    for foreign in FOREIGN:
        assert foreign in texts, texts


def test_logarithmic_axes_need_no_formulas():
    values = np.diag(10.0 ** -np.arange(5))
    svg = figure_svg(kernel_map(values, ["a", "b", "c", "d", "e"]), "a", "x")
    texts = [e.text for e in ElementTree.fromstring(svg).iter() if e.text]
    assert {"1", "0.01"} <= set(texts)
    assert not [text for text in texts if "$" in text or "mathdefault" in text]


def test_png_has_the_page_ground(figure, tmp_path):
    from PIL import Image

    first = save_figure(figure, tmp_path / "first.png", dpi=50)
    second = save_figure(figure, tmp_path / "second.png", dpi=50)
    assert first.read_bytes() == second.read_bytes()
    with Image.open(first) as image:
        corner = image.convert("RGB").getpixel((0, 0))
    assert corner == tuple(int(PAGE_COLOURS["page"][0][i : i + 2], 16) for i in (1, 3, 5))


@pytest.mark.parametrize("suffix", ["svg", "pdf"])
def test_vector_files_carry_no_date(figure, tmp_path, suffix):
    written = save_figure(figure, tmp_path / f"figure.{suffix}").read_bytes()
    assert b"CreationDate" not in written
    assert b"<dc:date>" not in written
