"""Refuses a site that would load something from elsewhere: it has to work without a network."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

LOADED = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src"}
"""Tag -> the attribute whose address a browser loads by itself; links (`<a>`) wait for a click."""
ELSEWHERE = re.compile(r"^(?:https?:)?//")
IN_STYLES = re.compile(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s]+)")


def on_post_build(config: Any, **rest: Any) -> None:
    """Look through every page and style sheet.

    Raises:
        PluginError: one loads something from elsewhere; the message lists all.
    """
    site = Path(config.site_dir)
    found = [
        f"{path.relative_to(site)}: {address}"
        for path in sorted(site.rglob("*"))
        if path.suffix in (".html", ".css")
        for address in loaded_from_elsewhere(path.read_text(encoding="utf-8"), path.suffix)
    ]
    if found:
        raise PluginError(
            "expected a site that loads nothing from elsewhere, found\n  " + "\n  ".join(found)
        )


def loaded_from_elsewhere(text: str, suffix: str) -> list[str]:
    """Addresses that a page (".html") or style sheet (".css") makes a browser load.

    >>> loaded_from_elsewhere('<a href="https://a.org">a</a><img src="//b.org/b.png">', ".html")
    ['//b.org/b.png']
    """
    if suffix == ".css":
        return IN_STYLES.findall(text)
    page = _Page()
    page.feed(text)
    return page.addresses + IN_STYLES.findall(text)


class _Page(HTMLParser):
    """Collects the addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "mermaid" in given.get("class", "").split():  # the theme would fetch a library for it
            self.addresses.append("//mermaid")
        address = given.get(LOADED.get(tag, ""), "")
        if ELSEWHERE.match(address) and given.get("rel") != "canonical":
            self.addresses.append(address)
