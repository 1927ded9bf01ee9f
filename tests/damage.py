"""Files as a bad disk or a broken copy leaves them: cut short, or with some bytes altered."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Other bytes than `content`, which is not empty."""
    if draw(st.booleans()):
        return content[: draw(st.integers(0, len(content) - 1))]
    altered = bytearray(content)
    places = st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3, unique=True)
    for place in draw(places):
        altered[place] ^= draw(st.integers(1, 255))
    return bytes(altered)
