"""DLGN-SF: a gating network in which every layer reads the input directly, q_l = W_l x.

Each gated layer gets one map of its own from the input: a dense layer reads the flattened input; a
convolution reads it through one convolution that gives the layer's shape, with the layer's own
kernel size where strides and pooling before it allow, and never smaller than its stride, so that no
pixel is skipped. Batch norm between the layer and its gate stays.

Source: arXiv 2110.03403, section 3 (shallow features); the convolutional form is this project's.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, NoReturn

from torch import fx, nn

from dualview.conversion import operations as ops
from dualview.conversion.graph_network import GraphNetwork
from dualview.conversion.initialisation import Initialiser, seeded
from dualview.conversion.source_lines import describe, module_of
from dualview.conversion.tracing import TracedNetwork, data_argument
from dualview.conversion.verification import value_kinds
from dualview.errors import ExampleInputError, UnsupportedOperationError


def shallow_gating_network(
    traced: TracedNetwork, initialise: Initialiser | None, seed: int
) -> fx.GraphModule:
    """The gating network of a DLGN-SF: x -> (q_1, ..., q_L), each q_l affine in x in one step.

    Raises:
        UnsupportedOperationError: the model is not one chain of layers, or a layer has no defined
            map from the input.
        ExampleInputError: shapes are needed and no example input was given.
    """
    with seeded(seed):
        made = [
            _shallow_layer(traced, segment, activation)
            for segment, activation in zip(_segments(traced), traced.activations, strict=True)
        ]
        layers = nn.ModuleDict({f"layer_{k}": layer for k, layer in enumerate(made, 1)})
        if initialise is not None:
            initialise(layers)
    layers.train(traced.module.training)
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(tuple(graph.call_module(name, (x,)) for name in layers))
    return GraphNetwork(layers, graph, class_name="GatingNetwork")


def _segments(traced: TracedNetwork) -> list[list[fx.Node]]:
    """The nodes on data between one gate and the next, for every gate."""
    kinds = value_kinds(traced.graph)
    segments: list[list[fx.Node]] = []
    current: list[fx.Node] = []
    start = previous = traced.input
    activations = frozenset(traced.activations)
    for node in traced.graph.nodes:
        if len(segments) == len(activations):
            break
        if kinds[node] != "data" or node is start:
            continue
        sources = [n for n in node.all_input_nodes if kinds[n] == "data"]
        if sources != [previous]:
            _refuse(node, "the layers are not one chain (a skip, a branch or a concatenation)")
        if node in activations:
            segments.append(current)
            current = []
        else:
            current.append(node)
        previous = node
    return segments


def _shallow_layer(
    traced: TracedNetwork, segment: list[fx.Node], activation: fx.Node
) -> nn.Sequential:
    """A layer that reads the input itself in place of the segment before an activation."""
    weights = [n for n in segment if _is(n, ops.DENSE_MODULES + ops.CONVOLUTION_MODULES)]
    if len(weights) != 1:
        _refuse(activation, f"{len(weights)} weight layers stand between it and the gate before")
    node = weights[0]
    after = segment[segment.index(node) + 1 :]
    module = module_of(node)
    norms = [_fresh_norm(module_of(n)) for n in after if _is(n, ops.BATCH_NORM_MODULES)]
    if isinstance(module, nn.Linear):
        if traced.shapes and len(traced.shapes[data_argument(activation)]) != 2:
            _refuse(activation, "a dense layer is applied at every position of its input")
        first: list[nn.Module] = _dense_from_input(traced, module)
    else:
        first = [_convolution_from_input(traced, module, activation)]
    return nn.Sequential(*first, *norms)


def _fresh_norm(module: Any) -> nn.Module:
    norm = copy.deepcopy(module)
    norm.reset_parameters()
    return norm


def _dense_from_input(traced: TracedNetwork, module: nn.Linear) -> list[nn.Module]:
    if traced.shapes:
        inputs = math.prod(traced.shapes[traced.input][1:])
    else:
        first = module_of(next(n for n in traced.graph.nodes if _is(n, ops.WEIGHT_MODULES)))
        if not isinstance(first, nn.Linear):
            _need_shapes()
        inputs = first.in_features
    return [
        nn.Flatten(),
        nn.Linear(inputs, module.out_features, module.bias is not None).to(module.weight),
    ]


def _convolution_from_input(
    traced: TracedNetwork, module: nn.Module, activation: fx.Node
) -> nn.Module:
    """A convolution whose windows make the activation's positions of those of the input."""
    if not traced.shapes:
        _need_shapes()
    source: Any = traced.shapes[traced.input]
    target = traced.shapes[data_argument(activation)]
    if len(source) != len(target):
        _refuse(activation, f"it has shape {tuple(target)} and the input {tuple(source)}")
    found = [
        _window(inputs, outputs, size)
        for inputs, outputs, size in zip(source[2:], target[2:], module.kernel_size, strict=True)  # type: ignore[arg-type]
    ]
    if any(window is None for window in found):
        _refuse(
            activation,
            f"no single convolution makes its positions {tuple(target[2:])} from the input's "
            f"{tuple(source[2:])}",
        )
    kernel, stride, padding = zip(*found, strict=True)
    kind: Any = type(module)
    return kind(
        source[1],
        target[1],
        kernel,
        stride,
        padding,
        bias=module.bias is not None,
        padding_mode=module.padding_mode,
    ).to(module.weight)


def _window(inputs: int, outputs: int, size: int) -> tuple[int, int, int] | None:
    """(kernel size, stride, padding) that make `outputs` positions out of `inputs`.

    >>> _window(32, 32, 3), _window(32, 4, 3), _window(30, 28, 3)
    ((3, 1, 1), (8, 8, 0), (3, 1, 0))
    """
    stride = max(1, inputs // outputs)
    smallest = max(size, stride)
    for kernel in (smallest, smallest + 1):
        for padding in range(kernel):
            reach = inputs + 2 * padding - kernel
            if reach >= 0 and reach // stride + 1 == outputs:
                return kernel, stride, padding
    return None


def _is(node: fx.Node, kinds: Sequence[type[nn.Module]]) -> bool:
    return node.op == "call_module" and isinstance(module_of(node), tuple(kinds))


def _need_shapes() -> NoReturn:
    raise ExampleInputError(
        "kind='dlgn-sf' of a convolutional network: expected an example_input, which gives each "
        "layer's shape, got none. Repair: disentangle(..., example_input=torch.zeros(1, c, h, w))"
    )


def _refuse(node: fx.Node, reason: str) -> NoReturn:
    raise UnsupportedOperationError(
        f"{describe(node)}: kind='dlgn-sf' has no defined map from the input to this layer: "
        f"{reason}. Repair: use kind='dlgn', or a plain chain of dense and convolutional layers"
    )
