"""What is random or takes statistics in training mode alone, as it is in evaluation mode.

`F.batch_norm(x, mean, variance, gamma, beta, False, momentum, eps)` is what a layer with these
tensors does, and becomes one. Alpha dropout is nothing, and a randomised leaky ReLU has its mean
slope. All of it only where the caller asks for the model as it is in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from dualview.conversion.example_input import Example, shapes_in
from dualview.conversion.layer_tensors import BATCH_NORM_OF_RANK, batch_norm
from dualview.conversion.source_lines import attribute_of, module_of

_NAMES = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
_DEFAULTS = {"weight": None, "bias": None, "training": False, "momentum": 0.1, "eps": 1e-5}
_TENSORS = ("running_mean", "running_var", "weight", "bias")


_DROPOUTS = (nn.AlphaDropout, nn.FeatureAlphaDropout)
_DROPOUT_FUNCTIONS: frozenset[Any] = frozenset(
    {
        F.alpha_dropout,
        F.feature_alpha_dropout,
        torch.alpha_dropout,
        torch.feature_alpha_dropout,
        torch.feature_dropout,
    }
)
_RRELU_FUNCTIONS: frozenset[Any] = frozenset({F.rrelu, torch.rrelu})


def write_evaluation_form(module: fx.GraphModule, example: Example | None) -> None:
    """Write all calls that training mode makes another thing of as they are in evaluation mode.

    A functional batch norm keeps its place, and so is refused, where `example` does not tell the
    number of axes of its input.
    """
    for node in list(module.graph.nodes):
        layer = module_of(node) if node.op == "call_module" else None
        if type(layer) in _DROPOUTS or node.target in _DROPOUT_FUNCTIONS:
            node.replace_all_uses_with(node.all_input_nodes[0])
            module.graph.erase_node(node)
        elif isinstance(layer, nn.RReLU):
            _use_mean_slope(node, layer.lower, layer.upper)
        elif node.target in _RRELU_FUNCTIONS:
            names = ("input", "lower", "upper")
            given = dict(zip(names, node.args, strict=False)) | node.kwargs
            _use_mean_slope(node, given.get("lower", 1 / 8), given.get("upper", 1 / 3))
    if example is not None and any(n.target is F.batch_norm for n in module.graph.nodes):
        _use_batch_norm_layers(module, shapes_in(module, example))


def _use_mean_slope(node: fx.Node, lower: float, upper: float) -> None:
    source = node.all_input_nodes[0]
    node.op, node.target = "call_function", F.leaky_relu
    node.args, node.kwargs = (source, (lower + upper) / 2), {}


def _use_batch_norm_layers(module: fx.GraphModule, shapes: Mapping[fx.Node, torch.Size]) -> None:
    """Put a layer in the place of every functional batch norm of the model's own tensors."""
    for node in list(module.graph.nodes):
        if node.target is not F.batch_norm:
            continue
        options = _DEFAULTS | dict(zip(_NAMES, node.args, strict=False)) | node.kwargs
        tensors = {name: options[name] for name in _TENSORS if options[name] is not None}
        read = all(isinstance(t, fx.Node) and t.op == "get_attr" for t in tensors.values())
        rank = len(shapes.get(options["input"], ()))
        if options["training"] or not read or rank not in BATCH_NORM_OF_RANK:
            continue
        own = {name: attribute_of(source) for name, source in tensors.items()}
        layer = batch_norm(rank, options["eps"], options["momentum"], own)
        name = f"functional_{node.name}"
        module.add_submodule(name, layer.train(module.training))
        node.op, node.target, node.args, node.kwargs = "call_module", name, (options["input"],), {}
