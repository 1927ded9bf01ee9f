"""What `dualview theory` found, as a row of the table of verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualview.experiments.claims import CONTRADICTED, REPRODUCED
from dualview.experiments.published import DLGN_PAPER, NPK_PAPER

if TYPE_CHECKING:
    from dualview.experiments.theory.run import TheoryRecord


def theory_row(record: TheoryRecord) -> tuple[str, ...]:
    """One row for all statements; they are exact, so that their sizes do not matter."""
    count, failed = len(record.statements), len(record.failed)
    return (
        "The output is ⟨path features, path values⟩, and the expected tangent kernel follows from "
        "the neural path kernel: dense, convolutional, residual",
        CONTRADICTED if failed else REPRODUCED,
        f"{count - failed} of {count} statements hold",
        f"theorems ({NPK_PAPER}, {DLGN_PAPER})",
        "small random networks; both sides by independent code",
    )
