"""What figures look like: one table of colours and markers, and the forms they are saved in.

Figures are drawn in the light scheme. `figure_svg` turns one into SVG for a page: text stays text,
and colours become CSS variables (`css_variables`) that follow the page's light or dark scheme.
`save_figure` writes a PNG, SVG or PDF file.

In `KIND_STYLES` hue is the kind; a dashed line and a hollow marker mean a constant-1 input. Each
kind has a marker of its own beside its hue, and the colours are dark (or, on a dark page, light)
enough to be read as text.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualview.errors import RunError, needs
from dualview.files.writing import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class KindStyle:
    """How one kind of network is drawn, in every figure and table."""

    light: str
    """Colour on a light page."""
    dark: str
    """Colour on a dark page."""
    marker: str
    ones: bool = False
    """Constant-1 input: dashed line, hollow marker."""


KIND_STYLES: Mapping[str, KindStyle] = {
    "dnn": KindStyle("#3d4350", "#d4d8df", "s"),
    "dnn-ones": KindStyle("#6b7280", "#9aa1ae", "s", ones=True),
    "dnn-wide": KindStyle("#0e6659", "#5cc8b4", "P"),
    "dgn": KindStyle("#9f3009", "#ff8a5c", "^"),
    "dgn-ones": KindStyle("#9c6600", "#f0c04a", "^", ones=True),
    "dlgn": KindStyle("#0a4fae", "#5b9dff", "o"),
    "dlgn-ones": KindStyle("#187ab6", "#8fd0f7", "o", ones=True),
    "dlgn-sf": KindStyle("#75246a", "#d068bd", "D"),
    "dlgn-sf-ones": KindStyle("#b44d9a", "#eba6da", "D", ones=True),
}
"""In the order in which figures and tables show them."""

PAGE_COLOURS: Mapping[str, tuple[str, str]] = {
    "page": ("#fdfdfc", "#14171c"),
    "ink": ("#1b2029", "#e8eaee"),
    "muted": ("#596170", "#a4acb9"),
    "line": ("#dcdfe4", "#333944"),
}
"""Name: (light, dark). The colours of everything that belongs to no kind."""

LIGHT = {name: light for name, (light, _) in PAGE_COLOURS.items()}
"""The page colours of the light scheme, which figures are drawn in."""
FONT_SIZE = 10.5
"""In points."""
SMALL_FONT_SIZE = 0.76 * FONT_SIZE
_RC: Mapping[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": FONT_SIZE,
    "text.color": LIGHT["ink"],
    # Names of data, classes and layers are from elsewhere, and a $ in them is a $.
    "text.parse_math": False,
    "axes.edgecolor": LIGHT["muted"],
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "grid.color": LIGHT["line"],
    "grid.linewidth": 0.7,
    "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"],
    "figure.facecolor": "none",
    "savefig.facecolor": "auto",
    "svg.fonttype": "none",
    "svg.hashsalt": "dualview",
}


def kind_style(kind: str) -> KindStyle:
    """The style of `kind`.

    Raises:
        RunError: the kind is in no table.

    Example:
        >>> kind_style("dlgn-ones").ones
        True
    """
    try:
        return KIND_STYLES[kind]
    except KeyError:
        raise RunError(
            f"expected a kind among {', '.join(KIND_STYLES)}, got {kind!r}; give it a colour and a "
            f"marker in dualview.pages.style.KIND_STYLES"
        ) from None


def css_variables(scheme: str) -> str:
    """The colours of `scheme`, "light" or "dark", as CSS declarations.

    Example:
        >>> "--ink:#1b2029;" in css_variables("light")
        True
    """
    colours = _colours(dark=scheme == "dark")
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())


def _colours(*, dark: bool) -> dict[str, str]:
    """Name of a CSS variable -> its colour."""
    kinds = {f"kind-{kind}": (style.light, style.dark) for kind, style in KIND_STYLES.items()}
    return {name: pair[dark] for name, pair in {**PAGE_COLOURS, **kinds}.items()}


_COLOUR_VARIABLES: Mapping[str, str] = {
    colour: f"var(--{name}, {colour})" for name, colour in _colours(dark=False).items()
}


def house_style() -> AbstractContextManager[None]:
    """The settings of this module for the length of a `with` block, whatever the user's own are.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with needs("train", "drawing figures"):
        from matplotlib import style
    return style.context(["default", dict(_RC)])


def figure_svg(figure: Figure, name: str, label: str) -> str:
    """`figure` as an `<svg>` element for a page; the same figure gives the same bytes.

    Colours become CSS variables with the light colour to fall back on: `var(--ink, #…)`,
    `var(--kind-dlgn, #…)`. Element ids that nothing refers to go; the others start with `name`, so
    that several figures fit in one document.

    Args:
        figure: a figure drawn in the house style.
        name: a prefix for ids, unique in the page.
        label: what the figure shows, for readers who do not see it.
    """
    buffer = io.StringIO()
    with house_style():
        figure.savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None}
        )
    root = ElementTree.fromstring(buffer.getvalue())
    for metadata in root.findall("{*}metadata"):
        root.remove(metadata)
    for definitions in root.findall("{*}defs"):
        for style in definitions.findall("{*}style"):  # it would apply to all of the page
            definitions.remove(style)
    root.set("stroke-linejoin", "round")
    referenced = set(re.findall(r"#([A-Za-z_][\w.-]*)", buffer.getvalue()))
    for element in root.iter():
        element.tag = _local(element.tag)
        attributes = {_local(key): value for key, value in element.attrib.items()}
        if attributes.get("id") not in referenced:
            attributes.pop("id", None)
        element.attrib.clear()
        element.attrib.update({k: _adapt(k, v, name) for k, v in attributes.items()})
    root.attrib.pop("width", None)
    root.attrib.pop("height", None)
    root.set("role", "img")
    root.set("aria-label", label)
    root.set("xmlns", "http://www.w3.org/2000/svg")
    return ElementTree.tostring(root, encoding="unicode")


def save_figure(figure: Figure, path: Path, dpi: int = 200) -> Path:
    """Write `figure` in the light scheme, on a page-coloured ground; the suffix is the format."""

    def write(part: Path) -> None:
        figure.savefig(part, dpi=dpi, facecolor=LIGHT["page"], metadata=_no_date(path))

    with house_style():
        write_atomically(path, write, flush=False)
    return path


def _no_date(path: Path) -> dict[str, None]:
    """Metadata that keeps the file the same from one day to the next."""
    return {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower(), {})


def _local(name: str) -> str:
    """`name` without its XML namespace; HTML knows `svg`, `href` and the like by bare names."""
    return name.rpartition("}")[2]


def _adapt(key: str, value: str, name: str) -> str:
    """One attribute, with ids made unique and colours and font handed to the page's style."""
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return value.replace("#", f"#{name}-", 1)
    value = re.sub(r"url\(#", f"url(#{name}-", value)
    value = re.sub(
        r"(font(?:-family)?:[^;]*?)'DejaVu Sans'[^;]*", r"\1var(--sans, sans-serif)", value
    )
    return re.sub(r"#[0-9a-f]{6}\b", lambda match: _COLOUR_VARIABLES.get(match[0], match[0]), value)
