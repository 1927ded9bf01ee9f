"""Parts of an output that sum to it: by the units of a gated layer, and by where paths begin.

With gates fixed the output is affine in any layer's activations z: f = <z, df/dz> + (the rest), and
z_i df/dz_i is the sum over all paths through unit i. What does not pass the layer is the rest:
skips around it and biases after it. No path is listed, so any operation will do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx

from dualview.arguments import require, whole
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import apply_gate
from dualview.errors import PathKernelError
from dualview.path_attribution.affine_run import AffineRun, offsets, value_with
from dualview.path_attribution.example import OneExample, one_example


@dataclass(frozen=True, eq=False)
class LayerContributions:
    """One output as a sum over the units of one gated layer, and what bypasses them.

    Attributes:
        output: flat position in the network's output.
        layer: number of the gated layer, from 0.
        name: of its gates in the weights network: "gate_1" for layer 0.
        units: (channels, positions...): the sum over all paths through each unit.
        skips: the sum over all paths from the input that bypass the layer.
        biases: the sum over all paths from biases that bypass it: those of later layers, and
            earlier ones that go by a skip.
        total: the output itself: the sum of `units`, `skips` and `biases`, to rounding.
    """

    output: int
    layer: int
    name: str
    units: np.ndarray
    skips: float
    biases: float
    total: float

    @property
    def through(self) -> float:
        """The sum over all units."""
        return math.fsum(self.units.ravel())

    def top(self, k: int = 10) -> list[tuple[tuple[int, ...], float]]:
        """The k units with the largest |contribution|: coordinates and contribution.

        >>> layer = LayerContributions(0, 0, "gate_1", np.array([0.5, -2.0]), 0.0, 0.0, -1.5)
        >>> layer.top(1)
        [((1,), -2.0)]
        """
        k = require("k", k, whole(1), PathKernelError)
        flat = self.units.ravel()
        order = np.argsort(-np.abs(flat), kind="stable")[:k]
        return [(_coordinates(i, self.units.shape), float(flat[i])) for i in order]

    def __repr__(self) -> str:
        return (
            f"LayerContributions(output {self.output}: {self.total:.6g} = {self.through:.6g} by "
            f"the units {self.units.shape} of layer {self.layer} + {self.skips:.6g} by skips + "
            f"{self.biases:.6g} from biases)"
        )


@dataclass(frozen=True, eq=False)
class InputContributions:
    """One output as a sum over the places where paths begin.

    Attributes:
        output: flat position in the network's output.
        coordinates: the input's shape: the sum over all paths from each coordinate.
        biases: layer's name -> the sum over all paths that begin at its biases (at batch norm's
            shift, at an added constant).
        total: the output itself: the sum of all, to rounding.
    """

    output: int
    coordinates: np.ndarray
    biases: Mapping[str, float]
    total: float

    @property
    def from_input(self) -> float:
        """The sum over all coordinates."""
        return math.fsum(self.coordinates.ravel())

    @property
    def from_biases(self) -> float:
        """The sum over all biases."""
        return math.fsum(self.biases.values())

    def __repr__(self) -> str:
        return (
            f"InputContributions(output {self.output}: {self.total:.6g} = {self.from_input:.6g} "
            f"from the input {self.coordinates.shape} + {self.from_biases:.6g} from the biases of "
            f"{len(self.biases)} layers)"
        )


def _coordinates(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(flat, shape))


def layer_contributions(
    net: GatedNetwork, x: Tensor, output: int, layer: int
) -> LayerContributions:
    """What each unit of one gated layer adds to an output: activation * gradient, gates fixed.

    Args:
        net: a gated network; its own gates, in evaluation mode.
        x: one example, (1, ...) or (...).
        output: flat position in the network's output: the class.
        layer: number of the gated layer, from 0; negative ones count from the last.

    Returns:
        The units' contributions and what bypasses the layer; in float64 they sum to the output.

    Raises:
        PathKernelError: `layer` or `output` is out of range, or x is not one example.

    Source: arXiv 2006.10529, section 2: the output is linear in path space.

    >>> import dualview as dv
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> net, x = dv.disentangle(model, seed=0), torch.randn(4)
    >>> parts = layer_contributions(net, x, output=1, layer=0)
    >>> parts.units.shape, abs(parts.through + parts.skips + parts.biases - parts.total) < 1e-12
    ((8,), True)
    """
    example = one_example(net, x)
    number = _checked_layer(layer, net.n_gates)
    node = _gate_node(example, number)
    values: list[Tensor] = []

    def as_variable(value: Tensor) -> Tensor:
        values.append(value.detach().requires_grad_())
        return values[0]

    with _derivatives():
        run = AffineRun(example, {node: as_variable})
        entry = run.entry(output)
        result = run.result.reshape(-1)[entry]
        gradient = _gradient(result, values)[0]
    zero = {node: torch.zeros_like}
    bypass = value_with(example, entry, zero)
    biases = value_with(example, entry, {**zero, example.input_node: torch.zeros_like})
    units = values[0].detach() * gradient
    return LayerContributions(
        output=entry,
        layer=number,
        name=f"gate_{number + 1}",
        units=units[0].numpy(),
        skips=bypass - biases,
        biases=biases,
        total=float(result.detach()),
    )


def input_contributions(net: GatedNetwork, x: Tensor, output: int) -> InputContributions:
    """What each input coordinate and each layer's biases add to an output, gates fixed.

    It is the input times the gates-fixed gradient. Where the weights network reads ones, the
    coordinates are those of the constant 1.

    Args:
        net: a gated network; its own gates, in evaluation mode.
        x: one example, (1, ...) or (...).
        output: flat position in the network's output: the class.

    Returns:
        The contributions; in float64 they sum to the output.

    Raises:
        PathKernelError: `output` is out of range, or x is not one example.

    Source: arXiv 2006.10529, section 2.

    >>> import dualview as dv
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> net, x = dv.disentangle(model, seed=0), torch.randn(4)
    >>> parts = input_contributions(net, x, output=1)
    >>> sorted(parts.biases), abs(parts.from_input + parts.from_biases - parts.total) < 1e-12
    (['0', '2'], True)
    """
    example = one_example(net, x)
    first = example.input_node

    def as_variable(value: Tensor) -> Tensor:
        return value.detach().requires_grad_()

    with _derivatives():
        run = AffineRun(example, {first: as_variable})
        entry = run.entry(output)
        added = offsets(example, run.values)
        watched = [run.values[first], *(run.values[node] for node in added)]
        result = run.result.reshape(-1)[entry]
        gradients = _gradient(result, watched)
    biases: dict[str, float] = {}
    for (node, offset), gradient in zip(added.items(), gradients[1:], strict=True):
        name = str(node.target) if node.op == "call_module" else node.name
        biases[name] = biases.get(name, 0.0) + float((offset * gradient).sum())
    return InputContributions(
        output=entry,
        coordinates=(watched[0].detach() * gradients[0])[0].numpy(),
        biases=biases,
        total=float(result.detach()),
    )


@contextmanager
def _derivatives() -> Iterator[None]:
    """Derivatives are taken here, also where the caller has switched them off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def _gradient(result: Tensor, values: list[Tensor]) -> list[Tensor]:
    """The gradient in each value, 0 where the result does not depend on it."""
    if not result.requires_grad:
        return [torch.zeros_like(value) for value in values]
    found = torch.autograd.grad(result, values, allow_unused=True)
    pairs = zip(found, values, strict=True)
    return [torch.zeros_like(value) if g is None else g for g, value in pairs]


def _checked_layer(layer: int, count: int) -> int:
    number: int = require("layer", layer, whole(-count, count - 1), PathKernelError)
    return number % count


def _gate_node(example: OneExample, number: int) -> fx.Node:
    """The multiplication by the gates of one layer."""
    for node in example.network.graph.nodes:
        if node.target is apply_gate and node.args[1].target == f"gate_{number + 1}":
            return node
    raise AssertionError("every gated layer is one multiplication")
