"""What the row kernel is asked for; reading it needs no compiler."""

from __future__ import annotations

from dataclasses import dataclass

from dualview.path_kernel.fast.row_program import RowProgram, estimated_work


@dataclass(frozen=True)
class RowPlan:
    """A network as a program.

    Attributes:
        program: the operations; with two copies of every plane where the NTK is asked for.
        log_scale: natural logarithm of what the result is multiplied by.
    """

    program: RowProgram
    log_scale: float

    @property
    def seconds(self) -> float:
        """What a pair takes on one core, roughly."""
        return estimated_work(self.program) * SECONDS

    def __str__(self) -> str:
        return f"{len(self.program.operations)} operations on rows of planes"


SECONDS = 1e-10
"""For one step of the work that is estimated: a word of a mask, or a number that is added."""
