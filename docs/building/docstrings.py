"""Docstrings as Markdown: an extension of griffe, which reads them.

`>>>` examples become code, and a `<` of a formula such as <F, x> stays one: in Markdown it would
begin a tag, which browsers do not show.
"""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"(^>>> .*(?:\n(?!\s*$).*)*)", re.MULTILINE)
"""From a prompt at the margin to the next blank line."""
CODE_OR_TAG = re.compile(r"`[^`]*`|<")


class Docstrings(griffe.Extension):
    """Makes Markdown of every docstring."""

    def on_object(self, *, obj: griffe.Object, **rest: Any) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(docstring: str) -> str:
    """The docstring with each example as a block of code, and no tags beside.

    >>> as_markdown("The sum <F, x>, as in `a < b`.")
    'The sum &lt;F, x>, as in `a < b`.'
    """
    parts = EXAMPLE.split(docstring)  # text, example, text, ...
    parts[::2] = [CODE_OR_TAG.sub(_escaped, text) for text in parts[::2]]
    parts[1::2] = [f"```pycon\n{example}\n```" for example in parts[1::2]]
    return "".join(parts)


def _escaped(found: re.Match[str]) -> str:
    return "&lt;" if found[0] == "<" else found[0]
