"""LaTeX of the pages -> MathML, while the site is built: browsers show it, and load nothing for it.

The `arithmatex` extension marks `$...$` and `$$...$$`; this hook of MkDocs converts what it marked.
"""

import re
from html import unescape
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

MARKED = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<tex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)


def on_page_content(html: str, page: Any, **rest: Any) -> str:
    """The page with its formulas as MathML."""

    def converted(found: re.Match[str]) -> str:
        block = found["tag"] == "div"
        return mathml(unescape(found["tex"]).strip(), block, page.file.src_uri)

    return MARKED.sub(converted, html)


def mathml(tex: str, block: bool, place: str) -> str:
    """One formula.

    Args:
        tex: LaTeX, without delimiters.
        block: on lines of its own, or within one.
        place: the page, for the message.

    Raises:
        PluginError: the converter does not know a command, or braces do not match.

    >>> mathml("x^2", False, "page.md").count("<msup>")
    1
    """
    if len(re.findall(r"(?<!\\){", tex)) != len(re.findall(r"(?<!\\)}", tex)):
        raise PluginError(f"{place}: expected as many {{ as }}, got {tex!r}")
    try:
        made = convert(tex, display="block" if block else "inline")
    except Exception as error:  # the converter has no base class of its errors
        raise PluginError(f"{place}: cannot read the formula {tex!r} ({error!r})") from error
    unknown = re.search(r"\\[A-Za-z]+|&(?!#?\w+;)", made)
    if unknown:  # what it does not know it shows as text
        raise PluginError(f"{place}: {unknown[0]} in {tex!r} has no MathML. Repair: do without")
    return f'<div class="formula">{made}</div>' if block else made
