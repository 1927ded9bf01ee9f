"""Properties proved here.

1. Every kind of block is drawn by its template; a new one in `PageBlock` must be tried here.
2. All text is escaped, wherever it stands; only the SVG of a panel goes in as it is.
3. The page is balanced HTML, refers to nothing outside itself and runs no script; the contents list
   reaches every section, also when titles repeat or hold no letters.
4. A table whose row does not fit its columns is refused.
5. The file appears whole or not at all, in a folder that is made; the same page is the same bytes.
6. Every template and style sheet is part of the package.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import get_args

import pytest

from dualview.pages import page as page_module
from dualview.pages.page import (
    DefinedTerm,
    DefinedTerms,
    Facts,
    Figures,
    Fold,
    Notice,
    Page,
    PageBlock,
    Panel,
    Prose,
    Row,
    Section,
    Table,
    drawing,
    render,
    write_page,
)
from tests.html_reading import ReadPage

BLOCKS: tuple[PageBlock, ...] = (
    Prose(("one prose", "two prose")),
    Notice("a notice", ("first item", "second item")),
    Table(("Name", "Value"), (Row(("row", "1.5"), "dlgn-ones"), Row(("plain", "2"))), ("a note",)),
    Figures((Panel("<svg><path d='M0 0'/></svg>", "a caption"),)),
    Facts((("a fact", "its value"),)),
    DefinedTerms((DefinedTerm("a term", "its meaning", "dnn"), DefinedTerm("another", "its own"))),
    Fold("a fold", Facts((("inside", "the fold"),))),
)


def _page(*blocks: PageBlock, title: str = "Section") -> Page:
    return Page("A title", ("A headline",), "A standfirst", (Section(title, blocks),))


def _strings(value: object) -> list[str]:
    """All strings inside a block, its template's and its kinds' names left out."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, tuple):
        return [text for item in value for text in _strings(item)]
    fields = getattr(value, "__dict__", {})
    return [t for k, v in fields.items() if k not in ("kind", "svg") for t in _strings(v)]


def test_every_kind_of_block_is_tried():
    assert {type(block) for block in BLOCKS} == set(get_args(PageBlock))


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: type(block).__name__)
def test_block_shows_its_text(block):
    text = ReadPage(render(_page(block))).texts["section"][0]
    strings = _strings(block)
    assert strings
    for string in strings:
        assert string in text


def test_table_cells_and_swatches():
    html = render(_page(BLOCKS[2]))
    assert ReadPage(html).tables == [[["Name", "Value"], ["row", "1.5"], ["plain", "2"]]]
    assert html.count('class="swatch') == 1
    assert 'class="swatch ones" style="--swatch: var(--kind-dlgn-ones' in html


def test_text_is_escaped_everywhere():
    bad = "<script>alert('x')</script>\"&"
    blocks = (
        Prose((bad,)),
        Notice(bad, (bad,)),
        Table((bad, bad), (Row((bad, bad), bad),), (bad,), stacks=True),
        Figures((Panel("<svg></svg>", bad),)),
        Facts(((bad, bad),)),
        DefinedTerms((DefinedTerm(bad, bad, bad),)),
        Fold(bad, Prose((bad,))),
    )
    assert {type(block) for block in blocks} == set(get_args(PageBlock))
    read = ReadPage(render(Page(bad, (bad, bad), bad, (Section(bad, blocks),), bad)))
    assert "script" not in read.tags
    assert not any(name.startswith("on") for name, _ in read.attributes)
    assert read.texts["title"] == [bad]
    assert bad in read.texts["h1"][0]


def test_page_stands_alone():
    read = ReadPage(render(_page(*BLOCKS)))
    assert read.doctype.lower() == "doctype html"
    assert {f"#{anchor}" for anchor in read.ids} >= set(read.references)
    assert not {"script", "link", "img", "iframe"} & set(read.tags)
    style = read.texts["style"][0]
    assert "@import" not in style
    assert "url(" not in style
    assert "prefers-color-scheme: dark" in style


def test_headline_keeps_its_words():
    headline = "DLGN on CIFAR-10, a re-encoding, <b>"
    read = ReadPage(render(Page("t", (headline, "Another"), "s", ())))
    assert read.texts["h1"] == [headline]
    assert "Another" in read.texts["p"]


@pytest.mark.parametrize(
    "titles",
    [
        ("Result", "Runs"),
        ("Result", "Result", "Result"),
        ("…", "—"),
        ("Result", "Result 2", "Result"),
    ],
)
def test_contents_list_reaches_every_section(titles):
    sections = tuple(Section(title, (Prose((title,)),)) for title in titles)
    read = ReadPage(render(Page("t", ("h",), "s", sections)))
    assert len(set(read.ids)) == len(read.ids) == len(titles)
    assert read.references == [f"#{anchor}" for anchor in read.ids]
    assert all(re.fullmatch(r"[a-z][\w.-]*", anchor) for anchor in read.ids)


def test_row_must_fit_its_columns():
    with pytest.raises(ValueError, match=r"expected 2 cells \(a, b\), got 1: \('x',\)"):
        Table(("a", "b"), (Row(("x",)),))


def test_write_page_makes_the_folder_and_repeats_itself(tmp_path):
    page = _page(*BLOCKS)
    path = write_page(page, tmp_path / "new" / "page.html")
    first = path.read_bytes()
    assert first.decode("utf-8") == render(page)
    write_page(page, path)
    assert path.read_bytes() == first
    assert [entry.name for entry in path.parent.iterdir()] == ["page.html"]


def test_failure_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_page(_page(*BLOCKS), tmp_path / "page.html")
    before = path.read_bytes()

    def fail(page: Page) -> str:
        raise OSError("disk full")

    monkeypatch.setattr(page_module, "render", fail)
    with pytest.raises(OSError, match="disk full"):
        write_page(_page(), path)
    assert path.read_bytes() == before


def test_templates_ship_with_the_package():
    shipped = {entry.name for entry in files("dualview").joinpath("pages/templates").iterdir()}
    assert {block.template for block in BLOCKS} | {"page.html", "page.css"} <= shipped


def test_drawing_is_balanced_and_follows_the_page():
    svg = drawing("dual_view")
    read = ReadPage(svg)
    assert read.tags[0] == "svg"
    assert not re.search(r"#[0-9a-fA-F]{3,6}\b", svg)
    assert "gating network" in read.texts["svg"][0]
