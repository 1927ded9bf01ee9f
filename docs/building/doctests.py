"""Shows the `>>>` examples of docstrings as code: an extension of griffe, which reads them."""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)
"""From a prompt at the margin to the next blank line."""


class Doctests(griffe.Extension):
    """Fences every example."""

    def on_object(self, *, obj: griffe.Object, **rest: Any) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(docstring: str) -> str:
    """The docstring with each example as a block of code."""
    return EXAMPLE.sub(lambda example: f"```pycon\n{example[0]}\n```", docstring)
