"""What a comparison on a table is asked for: `TableSettings`, with its checks."""

from __future__ import annotations

from dataclasses import dataclass

from dualview.arguments import (
    fraction,
    one_of,
    require_fields,
    several,
    text_value,
    whole,
)
from dualview.errors import TableError

TASKS = ("auto", "classification", "regression")

OTHERS = {
    "forest": "random forest",
    "boosting": "gradient boosting",
    "mlp": "MLP",
    "linear": "linear",
}
"""What a DLGN is compared with: names of options -> names in tables."""

_names = several(text_value, "names of columns", empty=True)


@dataclass(frozen=True)
class TableSettings:
    """How a table is read, and how a DLGN is compared with others on it.

    Attributes:
        task: "classification", "regression" or "auto": classes where the target is text, or whole
            numbers of at most ten values.
        categories: columns of numbers that are names, such as postcodes.
        leave_out: columns that are not looked at.
        others: what the DLGN is compared with: "forest" (random forest), "boosting" (histogram
            gradient boosting), "mlp", "linear" (logistic or ridge regression).
        test: share of the rows held out to the end.
        folds: parts of the other rows, each of which the estimators are tried on once.
        most_rows: of a larger table so many rows are drawn.
        width: gates of each layer of the DLGN.
        depth: weight layers of the DLGN.
        max_depth: of the tree that is read off it.
        kind: of the network, "dlgn" or "dlgn-sf".
        seed: of splits, networks and forests.

    Raises:
        TableError: a value cannot be meant.
    """

    task: str = "auto"
    categories: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    others: tuple[str, ...] = tuple(OTHERS)
    test: float = 0.2
    folds: int = 5
    most_rows: int = 20_000
    width: int = 32
    depth: int = 4
    max_depth: int = 3
    kind: str = "dlgn"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        require_fields(
            self,
            TableError,
            task=one_of(*TASKS),
            categories=_names,
            leave_out=_names,
            others=several(one_of(*OTHERS), "names of estimators"),
            test=fraction,
            folds=whole(2, 100),
            most_rows=whole(20),
            width=whole(1),
            depth=whole(2),
            max_depth=whole(1, 20),
            kind=one_of("dlgn", "dlgn-sf"),
            seed=whole(0, 2**32 - 1),
        )
