"""Does the CPU kernel (`tile`) apply to a weights network? Then what it is asked to compute.

It applies to dense layers with gates between them, and to image networks of convolutions, gates,
additions of branches, option-A shortcuts and average pooling that end in global average pooling (or
flatten) and dense layers. The graph is read once into an `OffsetProgram` (planes and steps) and the
`Mask`s whose overlaps the steps multiply by. Everything else goes to the torch rules.
"""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import HardGate
from dualview.path_kernel.fast.masks import Mask
from dualview.path_kernel.setting import Setting

if TYPE_CHECKING:
    from dualview.path_kernel.fast.offset_program import DenseLayer, OffsetProgram

log = logging.getLogger("dualview.path_kernel")


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


def fast_plan(net: GatedNetwork, x: Tensor, setting: Setting, gates: str) -> FastPlan | None:
    """The plan for examples like `x`, or None; which of the two, and why, is logged (debug)."""
    try:
        _check_surroundings(net, x, setting, gates)
        from dualview.path_kernel.fast.reader import read_plan

        plan = read_plan(net.weights_network.graph, tuple(x.shape[1:]), setting)
    except NotApplicableError as reason:
        log.debug("path kernel by the torch rules: %s", reason)
        return None
    log.debug("path kernel by the fast tile: %s", plan)
    return plan


def _check_surroundings(net: GatedNetwork, x: Tensor, setting: Setting, gates: str) -> None:
    if importlib.util.find_spec("numba") is None:
        raise NotApplicableError("numba is not installed")
    if x.device.type != "cpu" or x.dtype != torch.float32:
        raise NotApplicableError(f"examples are {x.dtype} on {x.device}, not float32 on the CPU")
    if gates != "hard" and not all(isinstance(g, HardGate) for g in net.gate_functions):
        raise NotApplicableError("gates are not hard")
    if setting.biases or setting.batch_norm_scale:
        raise NotApplicableError("biases or batch-norm scales are asked for")


def pair(value: Any) -> tuple[int, int]:
    """A size that may be given as one number."""
    return (value, value) if isinstance(value, int) else tuple(value)
