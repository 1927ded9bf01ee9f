"""The initial parameters of the reference architectures."""

from __future__ import annotations

from torch import nn


def reset(network: nn.Module, he: bool) -> None:
    """Draw weights Glorot-uniform, or He-normal; biases 0, normalisation layers at their start.

    On the device "meta" nothing is drawn: PyTorch takes longer there than with numbers.
    """
    for module in network.modules():
        if any(parameter.is_meta for parameter in module.parameters(recurse=False)):
            continue
        if isinstance(module, nn.Conv2d | nn.Linear):
            if he and isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            else:
                nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            module.reset_parameters()
