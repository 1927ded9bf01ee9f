"""Self-contained HTML pages, composed of sections and blocks; a page knows nothing of records.

A `Page` is a headline and a sequence of `Section`s; a section is a title and a sequence of blocks
(`Prose`, `Notice`, `Table`, `Figures`, `Facts`, `DefinedTerms`, `Fold`); every block names the
template that draws it. Strings are text, not HTML: the templates escape them all. The one exception
is `Panel.svg`, which `style.figure_svg` makes.

The page needs no network and no script: style and figures are inside it. It follows the reader's
light or dark scheme, and is laid out for a phone, a screen and paper.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from dualview.errors import needs
from dualview.files.writing import refused_by_the_system, write_text
from dualview.pages.style import css_variables

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Prose:
    """Paragraphs."""

    paragraphs: tuple[str, ...]
    template: ClassVar[str] = "prose.html"


@dataclass(frozen=True)
class Notice:
    """What a reader must not miss, in a frame."""

    text: str
    items: tuple[str, ...] = ()
    template: ClassVar[str] = "notice.html"


@dataclass(frozen=True)
class Row:
    """A row of a `Table`: its name, then its values."""

    cells: tuple[str, ...]
    kind: str | None = None
    """Kind of network whose colour stands before the name."""


@dataclass(frozen=True)
class Table:
    """Rows of numbers, set to the right; the first column names the row.

    Raises:
        ValueError: a row has another number of cells than there are columns.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    """Paragraphs under the table."""
    stacks: bool = False
    """On a phone, set the cells of a row below one another; a table scrolls sideways otherwise."""
    template: ClassVar[str] = "table.html"

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(
                    f"expected {len(self.columns)} cells ({', '.join(self.columns)}), got "
                    f"{len(row.cells)}: {row.cells}; give every column a cell"
                )


@dataclass(frozen=True)
class Panel:
    """One drawing and how to read it."""

    svg: str
    """An `<svg>` element; it goes into the page as it is."""
    caption: str


@dataclass(frozen=True)
class Figures:
    """Panels, side by side where there is room."""

    figures: tuple[Panel, ...]
    scrolls: bool = False
    """Keep a size at which wide drawings can be read, over the whole page; a phone scrolls them."""
    template: ClassVar[str] = "figures.html"


@dataclass(frozen=True)
class Facts:
    """Names and their values."""

    facts: tuple[tuple[str, str], ...]
    template: ClassVar[str] = "facts.html"


@dataclass(frozen=True)
class DefinedTerm:
    """A name and what it means."""

    name: str
    text: str
    kind: str | None = None
    """Kind of network whose colour stands before the name."""


@dataclass(frozen=True)
class DefinedTerms:
    """A short glossary."""

    terms: tuple[DefinedTerm, ...]
    template: ClassVar[str] = "terms.html"


@dataclass(frozen=True)
class Fold:
    """A block that opens when the reader asks for it."""

    summary: str
    inside: PageBlock
    template: ClassVar[str] = "fold.html"


PageBlock = Prose | Notice | Table | Figures | Facts | DefinedTerms | Fold


@dataclass(frozen=True)
class Section:
    """A titled part of a page, also an entry of its contents list."""

    title: str
    blocks: tuple[PageBlock, ...]


@dataclass(frozen=True)
class Page:
    """Everything that `render` puts into one file."""

    title: str
    headlines: tuple[str, ...]
    """What was found, a sentence each; the first is the large one."""
    standfirst: str
    """A line or two under the headline: what was done."""
    sections: tuple[Section, ...]
    footer: str = "Written by dualview. This file needs no network connection."


def render(page: Page) -> str:
    """`page` as HTML; the same page gives the same text.

    Raises:
        MissingExtraError: jinja2 is not installed.

    Example:
        >>> section = Section("Result", (Prose(("1 < 2",)),))
        >>> "<p>1 &lt; 2</p>" in render(Page("Sizes", ("One is less.",), "", (section,)))
        True
    """
    sections = list(zip(_anchors(page.sections), page.sections, strict=True))
    template = environment().get_template("page.html")
    return template.render(page=page, sections=sections, css_variables=css_variables) + "\n"


def write_page(page: Page, path: Path) -> Path:
    """Write `page` to `path`, whose folder is made; the file appears whole or not at all."""
    return write_html(render(page), path)


def write_html(html: str, path: Path) -> Path:
    """The same of a page that is rendered already."""
    with refused_by_the_system(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, html)
    return path


def drawing(name: str) -> str:
    """The drawing `name`.svg that comes with the package, for a `Panel`."""
    return environment().get_template(f"{name}.svg").render()


def environment(**rooms: str) -> Environment:
    """Jinja's, for the templates of this package; a name without a value is an error.

    Args:
        rooms: prefix -> a package with templates of its own, which are `prefix/name`.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    with needs("train", "writing a page"):
        from jinja2 import (
            ChoiceLoader,
            Environment,
            PackageLoader,
            PrefixLoader,
            StrictUndefined,
        )
    own = PrefixLoader({prefix: PackageLoader(room) for prefix, room in rooms.items()})
    return Environment(
        loader=ChoiceLoader([PackageLoader("dualview.pages"), own]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _anchors(sections: Sequence[Section]) -> list[str]:
    """A name for each section that links can use, unique in the page."""
    anchors: list[str] = []
    for section in sections:
        slug = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-") or "section"
        taken = sum(anchor.rpartition(".")[0] == slug for anchor in anchors)
        anchors.append(f"{slug}.{taken + 1}")
    return [anchor.removesuffix(".1") for anchor in anchors]
