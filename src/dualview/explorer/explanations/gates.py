"""Gates by layer, what each layer adds to an output, and the channels that matter most."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, fx, nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import HardGate, SoftGate, apply_gate
from dualview.conversion.modes import evaluation_mode
from dualview.conversion.operations import WEIGHT_MODULES
from dualview.conversion.source_lines import module_of
from dualview.explorer.explanations.budget import Budget, map_shape, shrink_factor, shrunk
from dualview.explorer.explanations.distances import distances, nearest
from dualview.explorer.explanations.records import ChannelPart, Layer, LayerGates, LayerParts
from dualview.path_attribution.contributions import LayerContributions, gate_nodes
from dualview.path_attribution.layer_sums import contributions_of_layers, difference_of


@dataclass(frozen=True, eq=False)
class GateValues:
    """Gates and pre-activations of one example, as arrays of each gated layer's shape."""

    gates: tuple[np.ndarray, ...]
    preactivations: tuple[np.ndarray, ...]


def gate_values(net: GatedNetwork, x: Tensor) -> GateValues:
    """The gates that the weights network receives for one example (1, ...), and their q."""
    with evaluation_mode(net), torch.no_grad():
        gates, q = net.gates(x), net.preactivations(x)
    return GateValues(
        tuple(gate[0].numpy() for gate in gates),
        tuple(q[source][0].numpy() for source in net.gate_order),
    )


def gate_text(net: GatedNetwork) -> str:
    """The network's gate functions in words, each once.

    >>> import dualview as dv
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> gate_text(dv.disentangle(model, "dlgn")), gate_text(dv.disentangle(model, "dnn"))
    ('sigmoid(4 q)', '1 where q > 0')
    """
    if not net.n_gates:
        return "none, its activations only multiply the signal"
    return ", ".join(dict.fromkeys(_gate_text(gate) for gate in net.gate_functions))


def _gate_text(gate: nn.Module) -> str:
    if isinstance(gate, HardGate):
        return "1 where q > 0"
    if isinstance(gate, SoftGate):
        return f"{'' if gate.eps == 0 else f'{1 + gate.eps:g} '}sigmoid({gate.beta:g} q)"
    return repr(gate)


def layers_of(net: GatedNetwork, x: Tensor) -> tuple[Layer, ...]:
    """The gated layers, from one example (1, ...)."""
    shapes = (gate.shape for gate in gate_values(net, x).gates)
    modules = modules_of(net)
    return tuple(Layer(f"gate_{i + 1}", tuple(shape), modules[i]) for i, shape in enumerate(shapes))


def modules_of(net: GatedNetwork) -> list[str]:
    """What each layer's gates multiply: the nearest layer with weights before, by type and name.

    >>> import dualview as dv
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> modules_of(dv.disentangle(model, "dlgn"))
    ['Linear 0']
    """
    nodes = gate_nodes(net.weights_network)
    return [_module_before(nodes[i]) if i in nodes else "" for i in range(net.n_gates)]


def _module_before(gate: fx.Node) -> str:
    """By breadth first, so that the branch comes before what a skip brings; not past gates."""
    ahead, seen = deque(gate.all_input_nodes[:1]), {gate}
    while ahead:
        node = ahead.popleft()
        if node in seen or node.target is apply_gate:
            continue
        seen.add(node)
        module = module_of(node) if node.op == "call_module" else None
        if isinstance(module, WEIGHT_MODULES):
            return f"{type(module).__name__} {node.target}"
        ahead.extend(node.all_input_nodes)
    return ""


def layer_views(
    net: GatedNetwork,
    x: Tensor,
    outputs: Sequence[int],
    values: GateValues,
    budget: Budget,
    interiors: Sequence[tuple[range, ...]],
    norms: Sequence[np.ndarray | None],
) -> tuple[tuple[LayerGates, ...], list[tuple[LayerParts, ...]]]:
    """What is shown of every gated layer of one example, and its parts of each output.

    The channels shown are those with the largest |part| of any of the outputs, or of the difference
    of the first two, which comes last.

    Args:
        net: a gated network.
        x: one example (1, ...).
        outputs: the classes explained, one or two.
        values: of `x`.
        budget: how many channels, how large a map.
        interiors: for each layer the positions free of the border; () where unknown.
        norms: for each layer those of its gates' filters; None where unknown.

    Returns:
        For each layer its gates, and for each output its layers' parts; then those of the
        difference, where there are two.
    """
    gates: list[LayerGates] = []
    by_output = contributions_of_layers(net, x, outputs)
    if len(outputs) > 1:
        by_output.append([difference_of(*pair) for pair in zip(*by_output[:2], strict=True)])
    parts: list[list[LayerParts]] = [[] for _ in by_output]
    for layer, found in enumerate(zip(*by_output, strict=True)):
        shown = strongest_channels(found, budget.channels)
        gate, q = values.gates[layer], values.preactivations[layer]
        far = None if (norm := norms[layer]) is None else distances(q, norm)
        near = None if far is None else nearest(far)
        gates.append(replace(_layer_gates(gate, q, shown, budget.side), nearest=near))
        for one, mine in zip(found, parts, strict=True):
            mine.append(_layer_parts(one, shown, gate, q, far, interiors[layer]))
    return tuple(gates), [tuple(mine) for mine in parts]


def strongest_channels(found: Sequence[LayerContributions], count: int) -> tuple[int, ...]:
    """The channels with the largest |sum over positions| for any of the outputs, largest first."""
    sums = np.abs([one.units.reshape(len(one.units), -1).sum(1) for one in found]).max(0)
    return tuple(np.argsort(-sums, kind="stable")[:count].tolist())


def _layer_gates(gate: np.ndarray, q: np.ndarray, shown: tuple[int, ...], side: int) -> LayerGates:
    on = float((q > 0).mean())
    if gate.ndim == 1:
        return LayerGates(on, shown, gate[None], np.empty((0, 1, len(gate))))
    maps = gate.reshape(len(gate), *map_shape(gate.shape[1:]))  # (channels, rows, columns)
    factor = shrink_factor(maps.shape[1:], side)
    return LayerGates(on, shown, shrunk(maps.mean(0), factor), shrunk(maps[list(shown)], factor))


def _layer_parts(
    found: LayerContributions,
    shown: Sequence[int],
    gate: np.ndarray,
    q: np.ndarray,
    far: np.ndarray | None,
    interior: tuple[range, ...],
) -> LayerParts:
    """What a layer adds and takes away, and of each channel shown its strongest place."""
    channels = []
    for channel in shown:
        units = found.units[channel]
        place = tuple(map(int, np.unravel_index(int(np.abs(units).argmax()), units.shape)))
        at = (channel, *place)
        channels.append(
            ChannelPart(
                channel=channel,
                part=float(units.sum()),
                place=place,
                gate=float(gate[at]),
                preactivation=float(q[at]),
                is_interior=all(p in axis for p, axis in zip(place, interior, strict=False)),
                distance=None if far is None else float(far[at]),
            )
        )
    parts = found.units.ravel()
    adding, taking = float(parts[parts > 0].sum()), float(parts[parts < 0].sum())
    return LayerParts(adding, taking, found.skips, found.biases, tuple(channels))
