"""Is a YAML file of options as small as options are? Looked at before anything is made of it.

A few lines of YAML can stand for more values than memory holds: anchors of anchors, each named
several times. Events are counted one by one, without making the values.
"""

from __future__ import annotations

from pathlib import Path

from dualview.files.opening import text_of

MOST_BYTES = 2**20
MOST_VALUES = 10_000
DEEPEST = 20
"""Lists in lists; options are lists of names at most."""


def expect_small_file(path: str | Path) -> None:
    """See that a file can be read as options.

    Raises:
        OSError: it is no plain file, or a large one.
        ValueError: it is not UTF-8, or stands for too many values.
    """
    expect_small(text_of(path, MOST_BYTES))


def expect_small(text: str) -> None:
    r"""See that YAML stands for few values, none of them deep; other faults are passed over.

    Raises:
        ValueError: otherwise.

    >>> expect_small("kinds: [dnn, dlgn]")
    >>> lines = ["a0: &a0 [1, 1]"] + [f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]" for k in range(1, 40)]
    >>> expect_small("\n".join(lines))
    Traceback (most recent call last):
    ...
    ValueError: expected options, at most 10,000 values; got aliases that stand for more
    """
    import yaml

    known: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if isinstance(event, yaml.CollectionStartEvent):
                open_nodes.append((event.anchor, 1))
                if len(open_nodes) > DEEPEST:
                    raise ValueError(f"expected options, got lists nested {DEEPEST} deep")
                continue
            if isinstance(event, yaml.CollectionEndEvent):
                anchor, size = open_nodes.pop()
            elif isinstance(event, yaml.AliasEvent):
                endless = any(event.anchor == anchor for anchor, _ in open_nodes)
                anchor, size = None, MOST_VALUES if endless else known.get(event.anchor, 1)
            elif isinstance(event, yaml.ScalarEvent):
                anchor, size = event.anchor, 1
            else:
                continue
            if anchor is not None:
                known[anchor] = size
            outer, so_far = open_nodes[-1]
            open_nodes[-1] = (outer, so_far + size)
            if so_far + size > MOST_VALUES:
                got = "aliases that stand for more" if known else "more"
                raise ValueError(f"expected options, at most {MOST_VALUES:,} values; got {got}")
    except yaml.YAMLError:
        return
