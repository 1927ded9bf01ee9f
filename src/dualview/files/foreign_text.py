"""Text from elsewhere, as data and classes are called, where it would be read as something more.

Names of data sets, classes and architectures come from files of others. In Markdown, a table of
figures, or the name of a file they are text and nothing else. (HTML and SVG are escaped by the
libraries that write them.)
"""

from __future__ import annotations

import re

_MARKUP = re.compile(r"[\\`*\[\]|]|(?<!\w)_|_(?!\w)")
"""What Markdown reads; an underscore within a word is none."""

_BREAKS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")

_ENTITIES = re.compile(r"&(?=#?\w)")

_NUMBER = re.compile(r"[-+]?\.?\d[\d.,]*([eE][-+]?\d+)?( ?%)?( ± [\d.,]+)?")


def markdown_text(text: str) -> str:
    r"""Text that Markdown, and HTML in it, shows as it is, behind something else on one line.

    >>> print(markdown_text("<b>MNIST</b> | [a](b), x86_64, 4 > 3"))
    &lt;b>MNIST&lt;/b> \| \[a\](b), x86_64, 4 > 3
    """
    line = _BREAKS.sub(" ", text)
    return _MARKUP.sub(r"\\\g<0>", _ENTITIES.sub("&amp;", line)).translate(
        {ord("<"): "&lt;", ord("~"): "&#126;"}
    )


def spreadsheet_text(text: str) -> str:
    """Text that a spreadsheet shows as it is, and does not compute.

    >>> spreadsheet_text("=cmd()"), spreadsheet_text("-0.5"), spreadsheet_text("C4GAP")
    ("'=cmd()", '-0.5', 'C4GAP')
    """
    risky = text.lstrip()[:1] in ("=", "+", "-", "@") or text[:1] in ("\t", "\r", "\n")
    return f"'{text}" if risky and not _NUMBER.fullmatch(text) else text


def file_name(text: str) -> str:
    """Text as the name, or part of the name, of a file: no folder, nothing hidden, nothing odd.

    >>> file_name("c4gap-curves"), file_name("../../x y"), file_name("..")
    ('c4gap-curves', 'x-y', 'x')
    """
    return re.sub(r"[^\w.-]+", "-", text).lstrip("-.")[:100] or "x"
