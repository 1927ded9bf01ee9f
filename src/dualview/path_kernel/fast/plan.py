"""What the offset kernel (`tile`) is asked to compute; `reader.read_network` says if it applies.

It applies to dense layers with gates between them, and to image networks of convolutions, gates,
additions of branches, option-A shortcuts and average pooling that end in global average pooling (or
flatten) and dense layers. The graph is read once into an `OffsetProgram` (planes and steps) and the
`Mask`s whose overlaps the steps multiply by. Everything else goes to the row kernel (`rows`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dualview.path_kernel.fast.masks import Mask

if TYPE_CHECKING:
    from dualview.path_kernel.fast.offset_program import DenseLayer, OffsetProgram


def on_gpu(device: torch.device) -> bool:
    """Whether Triton's kernel is to run there, not the compiled loops."""
    return device.type == "cuda"


@dataclass(frozen=True)
class FastPlan:
    """What the CPU kernel is asked for.

    Attributes:
        program: the image part, or None for dense layers alone.
        masks: of the program, in its order.
        dense: gated dense layers (behind the image part, if there is one).
        first_dense: number of the first of their gates.
        ones: the input is the constant 1.
        log_scale: natural logarithm of what the result is multiplied by.
        ntk: factor from the NPK to the expected NTK; None where there is no such factor.
        log_smallest: logarithm of the least that one open path may contribute, before `log_scale`
            and but for the input: whether a result of 0 in float32 is 0.
    """

    program: OffsetProgram | None
    masks: tuple[Mask, ...]
    dense: tuple[DenseLayer, ...]
    first_dense: int
    ones: bool
    log_scale: float
    ntk: float | None
    log_smallest: float

    def __str__(self) -> str:
        steps = sum(len(stage.steps) for stage in self.program.stages) if self.program else 0
        return f"{steps} steps over planes, {len(self.dense)} gated dense layers"


class NotApplicableError(Exception):
    """Why the torch rules must run."""
