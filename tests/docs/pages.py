"""The fenced blocks of the pages: README, CONTRIBUTING and everything in Markdown under docs/."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
FENCED = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One block: its language, the file it is titled with ("" for none), and its lines."""

    language: str
    title: str
    text: str
    line: int


def blocks_of(page: Path, *languages: str) -> list[Block]:
    """The page's blocks in those languages, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCED.finditer(text):
        language, options, body = match.groups()
        title = re.search(r'title="(.*?)"', options)
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(language, title[1] if title else "", body, line))
    return [block for block in found if block.language in languages]


def name_of(page: Path) -> str:
    """As a test is called by it."""
    return page.relative_to(ROOT).as_posix()


def with_blocks(*languages: str) -> list[Path]:
    """The pages that have blocks in those languages."""
    return [page for page in PAGES if blocks_of(page, *languages)]
