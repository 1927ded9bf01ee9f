"""Links of notebooks, which MkDocs does not see: they lead to pages, and none to nowhere."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mkdocs.exceptions import PluginError

TO_MARKDOWN = re.compile(r'(<a\b[^>]*\bhref="(?!\w+:)[^"#]*)\.md(?=["#])')


def on_page_content(html: str, page: Any, **rest: Any) -> str:
    """A notebook's page, its links to Markdown leading to the page that is made of it."""
    return TO_MARKDOWN.sub(r"\1.html", html) if page.file.src_uri.endswith(".ipynb") else html


def on_post_build(config: Any, **rest: Any) -> None:
    """Follow every link within the site.

    Raises:
        PluginError: one leads nowhere; the message lists all.
    """
    site = Path(config.site_dir)
    found = [
        f"{path.relative_to(site)}: {address}"
        for path in sorted(site.rglob("*.html"))
        if path.name != "404.html"  # its links begin at the server's root
        for address in links(path.read_text(encoding="utf-8"))
        if leads_nowhere(site, path, address)
    ]
    if found:
        raise PluginError("expected links that lead somewhere, found\n  " + "\n  ".join(found))


def leads_nowhere(site: Path, page: Path, address: str) -> bool:
    """Whether a link has no file of the site at its end, or the file has no such anchor."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return False
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    target = target / "index.html" if target.is_dir() else target
    if not (target.is_file() and target.is_relative_to(site.resolve())):
        return True
    anchor = f'id="{unquote(parts.fragment)}"'
    return bool(parts.fragment) and anchor not in target.read_text(encoding="utf-8")


def links(html: str) -> list[str]:
    """Addresses of the links of a page.

    >>> links('<a href="a.html#b">a</a><a id="c">c</a>')
    ['a.html#b']
    """
    page = _Page()
    page.feed(html)
    return page.addresses


class _Page(HTMLParser):
    """Collects the addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get("href")
        if tag == "a" and address:
            self.addresses.append(address)
