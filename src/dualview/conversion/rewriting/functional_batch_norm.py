"""Functional batch norm, as libraries fuse it with an activation, becomes a layer.

`F.batch_norm(x, mean, variance, gamma, beta, False, momentum, eps)` is what a layer with these
tensors does in evaluation mode. A layer of PyTorch follows the network's mode besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from dualview.conversion.layer_tensors import BATCH_NORM_OF_RANK, empty_batch_norm, give_tensor

_NAMES = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
_DEFAULTS = {"weight": None, "bias": None, "training": False, "momentum": 0.1, "eps": 1e-5}
_TENSORS = ("running_mean", "running_var", "weight", "bias")


def has_functional_batch_norm(graph: fx.Graph) -> bool:
    """Whether one is called, for which ranks must be known."""
    return any(node.target is F.batch_norm for node in graph.nodes)


def use_batch_norm_layers(module: fx.GraphModule, shapes: Mapping[fx.Node, torch.Size]) -> None:
    """Put a layer in the place of every functional batch norm of the model's own tensors.

    Args:
        module: the traced network; layers are added to it.
        shapes: of its values, by node. A value of unknown shape keeps the call, which is refused.
    """
    for node in list(module.graph.nodes):
        if node.target is not F.batch_norm:
            continue
        options = _DEFAULTS | dict(zip(_NAMES, node.args, strict=False)) | node.kwargs
        tensors = {name: options[name] for name in _TENSORS if options[name] is not None}
        own = all(isinstance(t, fx.Node) and t.op == "get_attr" for t in tensors.values())
        rank = len(shapes.get(options["input"], ()))
        if options["training"] or not own or rank not in BATCH_NORM_OF_RANK:
            continue
        layer = empty_batch_norm(
            rank,
            len(_tensor(module, tensors["running_mean"])),
            options["eps"],
            options["momentum"],
            "weight" in tensors,
        )
        for name, source in tensors.items():
            give_tensor(layer, name, _tensor(module, source))
        name = f"functional_{node.name}"
        module.add_submodule(name, layer.train(module.training))
        node.op, node.target, node.args, node.kwargs = "call_module", name, (options["input"],), {}


def _tensor(module: nn.Module, node: fx.Node) -> torch.Tensor:
    value: Any = module
    for name in str(node.target).split("."):
        value = getattr(value, name)
    return value
