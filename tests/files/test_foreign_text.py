"""Properties proved here.

1. Whatever the text, Markdown shows it as it is, character by character: no HTML, no link, no
   emphasis, no code, no further cell; Python-Markdown is the judge.
2. Whatever the text, no spreadsheet computes it; numbers stay numbers.
3. Whatever the text, as the name of a file it stays in its folder and can be written.
"""

import html
import re

import markdown
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualview.files.foreign_text import file_name, markdown_text, spreadsheet_text

HOSTILE = [
    "d<img src=x onerror=alert(1)>",
    "</td></tr></table><script>alert(1)</script>",
    "[click](javascript:alert(1))",
    "![x](http://a/b.png)",
    "a | b",
    "**bold** _it_ `code` ~~gone~~ snake_case_name",
    "&lt;b&gt; &#60; & ; AT&T",
    "line\nbreak\r\n# heading\u2028x",
    "<!-- hidden",
    "\\| \\` \\<b>",
    "https://example.org/<b>",
    '"><svg onload=alert(1)>',
]
TEXTS = st.one_of(
    st.sampled_from(HOSTILE), st.text("<>[]()!|*_`~\\&;#a1 \n\"'=/:", max_size=20), st.text()
)


def shown(text):
    """What a reader sees of a table's cell, and whether it holds any element."""
    page = markdown.markdown(
        f"| a | b |\n| --- | --- |\n| x{text}x | y |\n", extensions=["tables", "md_in_html"]
    )
    cells = re.findall(r"<td>(.*?)</td>", page, re.DOTALL)
    return page, cells


@given(TEXTS)
def test_markdown(text):
    _, cells = shown(markdown_text(text))
    assert len(cells) == 2
    (first, second) = cells
    assert second == "y"
    assert "<" not in first
    plain = re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]+", " ", text)
    assert html.unescape(first) == f"x{plain}x"


@given(TEXTS)
def test_spreadsheet(text):
    cell = spreadsheet_text(text)
    assert cell in (text, f"'{text}")
    if cell.lstrip()[:1] in tuple("=+-@") or cell[:1] in tuple("\t\r\n"):
        assert re.fullmatch(r"[-+][\d.,eE+ %±-]+", cell)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("-0.5", "-0.5"),
        ("+1.59 ± 1.14", "+1.59 ± 1.14"),
        ("-3 %", "-3 %"),
        ("-1e-5", "-1e-5"),
        ("=1+1", "'=1+1"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("\t=1", "'\t=1"),
        ("digits", "digits"),
    ],
)
def test_what_is_computed(text, cell):
    assert spreadsheet_text(text) == cell


@given(TEXTS)
def test_file_names(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("names")
    name = file_name(text)
    (folder / name).touch()
    assert [path.name for path in folder.iterdir()] == [name]
    assert not name.startswith((".", "-"))
