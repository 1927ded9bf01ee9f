"""Small networks as steps that the page can compute itself, so that a reader can draw and erase."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import HardGate, SoftGate
from dualview.conversion.modes import evaluation_mode
from dualview.conversion.normal_form import Call, normal_call
from dualview.conversion.pooling import each_axis
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

    Dense layers, convolutions, batch norms, averages and skips, with data as the weights network's
    input, are taken, if they are small.
    """
    images = np.stack([example.image for example in examples])
    if images.dtype != np.uint8:
        images = images.astype("<f4")
    size = sum(p.numel() for p in net.parameters())
    if size > MOST_NUMBERS or images.nbytes > IMAGE_BYTES:
        return None, "There is no drawing: network or images are too large for the page to compute."
    try:
        layer = {f"gate_{i + 1}": i for i in range(net.n_gates)}
        x = torch.zeros(1, *data.input_shape).to(next(net.parameters()))
        with evaluation_mode(net), torch.no_grad():
            given = net.gates_and_switches(x)
            shapes = _shapes(net.gating_network, net.transformed(x))
            shapes |= _shapes(net.weights_network, net.transformed(x), *given[0], *given[1])
        gating, numbers = _steps(net.gating_network, {}, shapes)
        weights, _ = _steps(net.weights_network, layer, shapes)
        gates = tuple(_gate(gate) for gate in net.gate_functions)
        (output,) = net.gating_network.graph.find_nodes(op="output")
        values: Any = output.args[0]
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


Shapes = dict[fx.Node, tuple[int, ...]]


def _shapes(network: fx.GraphModule, *given: Tensor) -> Shapes:
    """The shape of every value of one example, without the axis of examples."""
    run = fx.Interpreter(network, garbage_collect_values=False)
    run.run(*given)
    return {n: tuple(v.shape[1:]) for n, v in run.env.items() if isinstance(v, Tensor)}


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


def _steps(
    network: fx.GraphModule, layer: Mapping[str, int], shapes: Shapes
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
            if call.key == "add":
                steps.append(_addition(call, number, shapes))
            else:
                step = _move(call, number[source], shapes)
                steps.append(step or _step(node, call, number[source], layer))
            number[node] = len(steps) - 1
    return tuple(steps), number


def _addition(call: Call, number: Mapping[fx.Node, int], shapes: Shapes) -> ProgramStep:
    """Of two values of one shape: a skip."""
    source, other = call["input"], call["other"]
    if other not in number or call["alpha"] != 1 or shapes[source] != shapes[other]:
        raise _NoStepError("additions of other things than two values of one shape")
    return ProgramStep("add", number[source], other=number[other])


def _move(call: Call, source: int, shapes: Shapes) -> ProgramStep | None:
    """Every so-manieth entry of three axes, or zeros around them; None for anything else."""
    shape = shapes[call["input"]]
    if len(shape) != 3:
        return None
    if call.key == "getitem":
        key = _slices(call["key"])
        if len(key) == 4 and all(isinstance(one, slice) for one in key) and key[0] == slice(None):
            taken = [range(size)[one] for size, one in zip(shape, key[1:], strict=True)]
            numbers = tuple(n for own in taken for n in (own.start, len(own), own.step))
            return ProgramStep("take", source, numbers=numbers)
    if call.key == "pad" and call["mode"] == "constant" and not call["value"]:
        amounts = (*call["pad"], *(0,) * 6)[:6]
        if len(call["pad"]) <= 6 and min(amounts) >= 0:
            return ProgramStep("pad", source, numbers=(*amounts[4:], *amounts[2:4], *amounts[:2]))
    return None


def _slices(key: Any) -> tuple[Any, ...]:
    """What is taken of each of four axes; other keys may be of another length."""
    key = key if isinstance(key, tuple) else (key,)
    at = next((i for i, one in enumerate(key) if one is ...), len(key))
    before, behind = key[:at], key[at + 1 :]
    return (*before, *(slice(None),) * (4 - len(before) - len(behind)), *behind)


def _step(node: fx.Node, call: Call, source: int, layer: Mapping[str, int]) -> ProgramStep:
    """What the page computes at one node."""
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
    if call.key == "average pool" and (numbers := _windows(call)):
        return ProgramStep("pool", source, numbers=numbers)
    if call.key == "convolution" and _is_plain(call):
        return ProgramStep(
            "convolution",
            source,
            _numbers(call["weight"]),
            _numbers(call["bias"]),
            (*call["stride"], *call["padding"]),
        )
    raise _NoStepError(f"the operation {call.key!r}, or one with such options")


def _windows(call: Call) -> tuple[int, ...]:
    """Window and stride of a pool without padding, rows first; () of another one."""
    size = each_axis(call["kernel_size"], 2)
    stride = each_axis(call["stride"] or size, 2)
    plain = each_axis(call["padding"], 2) == (0, 0) and not call["ceil_mode"]
    return (*size, *stride) if plain and not call["divisor_override"] else ()


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
