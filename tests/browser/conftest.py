"""Chromium, without a window or a network, and the pages that it opens.

Tests that ask for them are skipped where there is no Chromium or no playwright.
"""

import shutil

import pytest

from dualview.explorer.page import PageFacts, write_explorer
from tests.browser.reading import CASES, SCREEN
from tests.explorer.explanations.cases import explained

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="package")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium, or the like")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="package")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    facts = PageFacts("A network on rows", "what it is", (("Run", "runs/x"),))
    return {
        name: write_explorer(explained(*case), facts, folder / f"{name}.html")
        for name, case in CASES.items()
    }


@pytest.fixture(scope="package")
def window(browser):
    """One page for all tests, and what was said on its console or asked of the network."""
    page, said = browser.new_page(), []
    page.set_default_timeout(5000)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda r: said.append(r.url) if r.url.startswith("http") else None)
    return page, said


@pytest.fixture
def opened(window, written):
    """Opens a file afresh, and fails if anything was said on the console."""
    page, said = window
    said.clear()

    def opened(name, size=SCREEN, scheme="light", address=""):
        page.goto("about:blank")
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.emulate_media(color_scheme=scheme)
        path = written.get(name, name)
        page.goto(path.as_uri() + address)
        return page

    yield opened
    assert said == []
