"""Residual networks with blocks dropped after training.

To drop a block is to set what its two convolutions add to the skip to zero; the skip and the gate
after the addition stay. Given the gates, that removes from the dual form all paths through the
block. It is done on a copy, in one of two places: in the weights network alone (gates as trained),
or in both networks (later gates change as well). A DNN is one network, so it has the second only.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence

import torch
from torch import nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.experiments.invariances.tables import PLACES
from dualview.training import SettingsError

BLOCK = re.compile(r"stages\.\d+\.\d+")


def blocks(net: nn.Module) -> list[str]:
    """Names of the residual blocks, first to last: ["stages.0.0", "stages.0.1", ...].

    Raises:
        SettingsError: the network has none.
    """
    part = net.weights_network if isinstance(net, GatedNetwork) else net
    names = (BLOCK.match(name) for name, _ in part.named_modules())
    found = list(dict.fromkeys(match[0] for match in names if match))
    if not found:
        raise SettingsError(
            "expected a residual network to drop blocks of, got one without; name resnet20, "
            "resnet32, resnet56 or resnet110"
        )
    return found


def without(net: nn.Module, dropped: Sequence[str], place: str = "both") -> nn.Module:
    """A copy of the network with blocks dropped.

    Args:
        net: a residual network of this package, or one taken apart.
        dropped: names from `blocks`.
        place: "weights" (the weights network alone) or "both".
    """
    assert place in PLACES
    changed = copy.deepcopy(net)
    parts: list[nn.Module] = [changed]
    if isinstance(changed, GatedNetwork):
        parts = [changed.weights_network]
        if place == "both":
            parts.append(changed.gating_network)
    for part in parts:
        for block in dropped:
            _silence(part, block)
    return changed


def _silence(part: nn.Module, block: str) -> None:
    """Set the last affine layers of the block's branch to zero, batch norm where there is one."""
    for name, module in part.named_modules():
        if name in (f"{block}.bn2", f"{block}.conv2"):
            with torch.no_grad():
                for parameter in module.parameters(recurse=False):
                    parameter.zero_()
