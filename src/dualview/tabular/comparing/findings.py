"""What a comparison on a table found: data, from which pages and files are made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dualview.arguments import file_path, takes
from dualview.errors import TableError
from dualview.files.writing import refused_by_the_system, write_json
from dualview.tabular.comparing.columns import TargetTable
from dualview.tabular.comparing.folds import ModelScores
from dualview.tabular.comparing.settings import TableSettings
from dualview.tabular.tree import ObliqueTree


@dataclass(frozen=True)
class Explained:
    """One prediction as a sum of what the table's columns add.

    Attributes:
        place: of the row, as messages name it.
        why: this row was chosen.
        predicted: class or number.
        true: what the row has.
        score: what the parts sum to: of the class predicted (of two classes: its score less the
            other's), or the prediction itself.
        of: what the score is of.
        parts: (column, its value in the row, what it adds), the largest first.
        rest: what comes of biases alone: the score of a row whose columns are all at their means,
            were it in this row's region.
    """

    place: str
    why: str
    predicted: str
    true: str
    score: float
    of: str
    parts: tuple[tuple[str, str, float], ...]
    rest: float


@dataclass(frozen=True, eq=False)
class TableComparison:
    """What was found on a table.

    Attributes:
        table: rows and target, as they were read.
        settings: what was asked for.
        scores: of the DLGN, its tree, and the others: accuracy, or R^2.
        fidelity: how far the tree says what the network says, on the rows held out.
        pipeline: scikit-learn's, which prepares columns; its last step is the fitted DLGN.
        tree: read off the DLGN.
        rows_learnt: how many it learnt from.
        rows_held_out: how many it is tried on.
        importance: (column, mean |what it adds to a score|), the largest first.
        explained: single predictions.
    """

    table: TargetTable
    settings: TableSettings
    scores: tuple[ModelScores, ...]
    fidelity: float
    pipeline: Any
    tree: ObliqueTree
    rows_learnt: int
    rows_held_out: int
    importance: tuple[tuple[str, float], ...]
    explained: tuple[Explained, ...]

    def __repr__(self) -> str:
        shown = ", ".join(f"{one.name} {one.held_out:.3f}" for one in self.scores)
        return f"TableComparison({self.table.target_name}: {shown})"

    @takes(TableError, path=file_path)
    def write_page(self, path: str | Path) -> Path:
        """Write the page, one HTML file that needs no network.

        Args:
            path: of the file; its folder is made.

        Raises:
            RunError: it cannot be written there.
        """
        from dualview.pages.page import write_page
        from dualview.tabular.comparing.report import page_of

        return write_page(page_of(self), Path(path))

    @takes(TableError, path=file_path)
    def write_numbers(self, path: str | Path) -> Path:
        """Write scores, rules, contributions and settings as JSON.

        Args:
            path: of the file; its folder is made.

        Raises:
            RunError: it cannot be written there.
        """
        path = Path(path)
        with refused_by_the_system(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, self.numbers())
        return path

    def numbers(self) -> dict[str, Any]:
        """Scores, rules, contributions and settings, as JSON has them."""
        return {
            "target": self.table.target_name,
            "measure": self.measure,
            "rows": len(self.table.target),
            "rows_learnt": self.rows_learnt,
            "rows_held_out": self.rows_held_out,
            "settings": asdict(self.settings),
            "scores": [asdict(one) for one in self.scores],
            "fidelity": self.fidelity,
            "rules": self.tree.rules(),
            "importance": dict(self.importance),
            "explained": [asdict(one) for one in self.explained],
        }

    @property
    def measure(self) -> str:
        """What scores are: "accuracy" or "R²"."""
        return "accuracy" if self.table.classification else "R²"
