"""Small networks as steps that the page can compute itself, so that a reader can draw and erase."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, fx, nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import HardGate, SoftGate
from dualview.conversion.normal_form import Call, normal_call
from dualview.conversion.source_lines import module_of
from dualview.datasets import Dataset
from dualview.explorer.explanations.network_records import Program, ProgramStep
from dualview.explorer.explanations.records import ExampleExplanation

MOST_NUMBERS = 400_000
"""Parameters of both networks: four bytes each, before a third is added to make them text."""
MOST_PRODUCTS = 3e7
"""Of one run, which a browser does in a fraction of a second."""
IMAGE_BYTES = 1_000_000
"""Of the images of the page."""


class _NoStepError(Exception):
    """An operation that the page does not compute."""


def program_of(
    net: GatedNetwork, data: Dataset, examples: Sequence[ExampleExplanation]
) -> tuple[Program | None, str]:
    """The network as steps, and why there is none, or "".

    Chains of dense layers, convolutions, batch norms and a global average, with data as the weights
    network's input, are taken, if they are small.
    """
    images = np.stack([example.image for example in examples])
    if images.dtype != np.uint8:
        images = images.astype("<f4")
    size = sum(p.numel() for p in net.parameters())
    if size > MOST_NUMBERS or images.nbytes > IMAGE_BYTES:
        return None, "There is no drawing: network or images are too large for the page to compute."
    try:
        layer = {f"gate_{i + 1}": i for i in range(net.n_gates)}
        gating, numbers = _steps(net.gating_network, {})
        weights, _ = _steps(net.weights_network, layer)
        gates = tuple(_gate(gate) for gate in net.gate_functions)
        values = _outputs(net.gating_network)
        found = Program(
            *_standardisation(net, data),
            gating,
            tuple(numbers[values[source]] for source in net.gate_order),
            weights,
            gates,
            images,
        )
    except _NoStepError as error:
        return None, f"There is no drawing: the page does not compute {error}."
    if _products(net, images.shape[1:]) > MOST_PRODUCTS:
        return None, "There is no drawing: the network is too large for the page to compute."
    return found, ""


def _standardisation(
    net: GatedNetwork, data: Dataset
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    own, channels = net.input_transform, data.input_shape[0]
    if own is None:
        return tuple(data.mean), tuple(data.std)
    mean, std = (value.double().flatten().expand(channels) for value in (own.mean, own.std))
    return tuple(mean.tolist()), tuple(std.tolist())


def _gate(gate: nn.Module) -> tuple[float, float]:
    if isinstance(gate, HardGate):
        return math.inf, 1.0
    if isinstance(gate, SoftGate):
        return float(gate.beta), 1.0 + float(gate.eps)
    raise _NoStepError(f"gates {type(gate).__name__}")


def _outputs(network: fx.GraphModule) -> Sequence[fx.Node]:
    result = next(node for node in network.graph.nodes if node.op == "output").args[0]
    return [node for node in result if isinstance(node, fx.Node)] if result else []


def _steps(
    network: fx.GraphModule, layer: Mapping[str, int]
) -> tuple[tuple[ProgramStep, ...], dict[fx.Node, int]]:
    """The network's operations in order, and the number of each node's."""
    steps: list[ProgramStep] = []
    number: dict[fx.Node, int] = {}
    for node in network.graph.nodes:
        if node.op == "placeholder" and not number:
            number[node] = -1
        elif node.op.startswith("call"):
            call = normal_call(node)
            source = call.arguments.get("input")
            if not isinstance(source, fx.Node) or source not in number:
                raise _NoStepError(f"the operation {call.key!r}")
            steps.append(_step(node, call, number[source], layer))
            number[node] = len(steps) - 1
    return tuple(steps), number


def _step(node: fx.Node, call: Call, source: int, layer: Mapping[str, int]) -> ProgramStep:
    if call.key == "gate":
        return ProgramStep("gate", source, numbers=(layer[str(call["gate"].target)],))
    if call.key == "flatten" and call["start_dim"] == 1 and call["end_dim"] == -1:
        return ProgramStep("flatten", source)
    if call.key == "linear" and isinstance(call["weight"], Tensor):
        return ProgramStep("linear", source, _numbers(call["weight"]), _numbers(call["bias"]))
    if call.key == "batch norm" and isinstance(norm := module_of(node), nn.BatchNorm2d):
        return _scale(norm, source)
    if call.key == "adaptive average pool" and call["output_size"] in (1, (1, 1)):
        return ProgramStep("average", source)
    if call.key == "convolution" and _is_plain(call):
        numbers = (*call["stride"], *call["padding"])
        return ProgramStep(
            "convolution", source, _numbers(call["weight"]), _numbers(call["bias"]), numbers
        )
    raise _NoStepError(f"the operation {call.key!r}, or one with such options")


def _is_plain(call: Call) -> bool:
    weight = call["weight"]
    return (
        isinstance(weight, Tensor)
        and weight.dim() == 4
        and call.get("groups", 1) == 1
        and all(size == 1 for size in call.get("dilation", (1, 1)))
        and call.get("padding_mode", "zeros") == "zeros"
        and all(isinstance(call[name], tuple) for name in ("stride", "padding"))
    )


def _numbers(value: Tensor | None) -> np.ndarray | None:
    return None if value is None else value.detach().float().cpu().numpy()


def _scale(norm: nn.BatchNorm2d, source: int) -> ProgramStep:
    if norm.running_mean is None or norm.running_var is None:
        raise _NoStepError("a batch norm without running statistics")
    with torch.no_grad():
        scale = 1 / (norm.running_var.double() + norm.eps).sqrt()
        scale = scale if norm.weight is None else scale * norm.weight.double()
        shift = -norm.running_mean.double() * scale
        shift = shift if norm.bias is None else shift + norm.bias.double()
    return ProgramStep("scale", source, _numbers(scale), _numbers(shift))


def _products(net: GatedNetwork, shape: Sequence[int]) -> float:
    """Of one run: every weight of a convolution at every place of an image, at most."""
    places = math.prod(shape[1:])
    return sum(float(p.numel()) * (places if p.dim() == 4 else 1) for p in net.parameters())
