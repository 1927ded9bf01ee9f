"""Parts of an output that sum to it: by the units of a gated layer, and by where paths begin.

With gates fixed the output is affine in any layer's activations z: f = <z, df/dz> + (the rest), and
z_i df/dz_i is the sum over all paths through unit i. What does not pass the layer is the rest:
skips around it and biases after it. No path is listed, so any operation will do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx

from dualview.arguments import byte_count, gated_layer, number, optional, require, whole
from dualview.conversion.example_size import ExampleSize, refuse_beyond
from dualview.conversion.examples import gated
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import apply_gate
from dualview.conversion.normal_form import normal_call
from dualview.errors import PathKernelError
from dualview.path_attribution.affine_run import affine_pass, unit
from dualview.path_attribution.building import layer_name
from dualview.path_attribution.example import checked_against, checked_output, one_example
from dualview.path_attribution.paths import asked
from dualview.path_attribution.softening import softened


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
        against: the output that was subtracted, if any: all parts are then of the difference.
    """

    output: int
    layer: int
    name: str
    units: np.ndarray
    skips: float
    biases: float
    total: float
    against: int | None = None

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
        places = np.transpose(np.unravel_index(order, self.units.shape)).tolist()
        return [(tuple(at), part) for at, part in zip(places, flat[order].tolist(), strict=True)]

    def __repr__(self) -> str:
        return (
            f"LayerContributions({asked(self.output, self.against)}: {self.total:.6g} = "
            f"{self.through:.6g} by the units {self.units.shape} of layer {self.layer} + "
            f"{self.skips:.6g} by skips + {self.biases:.6g} from biases)"
        )


@dataclass(frozen=True, eq=False)
class InputContributions:
    """One output as a sum over the places where paths begin.

    Attributes:
        output: flat position in the network's output.
        coordinates: the input's shape: the sum over all paths from each coordinate.
        biases: layer's name -> the sum over all paths that begin at its biases (at batch norm's
            shift, at an added constant).
        total: the output itself: the sum of all, to rounding. Of softened gates, what the output
            is under them.
        against: the output that was subtracted, if any: all parts are then of the difference.
    """

    output: int
    coordinates: np.ndarray
    biases: Mapping[str, float]
    total: float
    against: int | None = None

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
            f"InputContributions({asked(self.output, self.against)}: {self.total:.6g} = "
            f"{self.from_input:.6g} from the input {self.coordinates.shape} + "
            f"{self.from_biases:.6g} from the biases of {len(self.biases)} layers)"
        )


def layer_contributions(
    net: GatedNetwork,
    x: Tensor,
    output: int,
    layer: int,
    *,
    against: int | None = None,
    memory: float = 1e9,
) -> LayerContributions:
    """What each unit of one gated layer adds to an output: activation * gradient, gates fixed.

    Args:
        net: a gated network; its own gates, in evaluation mode.
        x: one example, (1, ...) or (...).
        output: flat position in the network's output: the class.
        layer: number of the gated layer, from 0; negative ones count from the last.
        against: another output, to be subtracted: what decides between two classes.
        memory: bound, in bytes, on what is held beside parameters, input and result; a layer's
            parameters are taken in float64 one at a time. More is refused beforehand.

    Returns:
        The units' contributions and what bypasses the layer; in float64 they sum to the output.

    Raises:
        PathKernelError: `layer` or an output is out of range, x is not one example, or takes more
            than `memory`.

    Source: arXiv 2006.10529, section 2: the output is linear in path space.

    >>> import dualview as dv
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> net, x = dv.disentangle(model, seed=0), torch.randn(4)
    >>> parts = layer_contributions(net, x, output=1, layer=0)
    >>> parts.units.shape, abs(parts.through + parts.skips + parts.biases - parts.total) < 1e-12
    ((8,), True)
    """
    example = one_example(net, x, in_place=True, allowed=_within(memory))
    number = _checked_layer(layer, net.n_gates)
    node = gate_nodes(example.network)[number]
    run = affine_pass(example, keep=[node, example.input_node])
    target = _Target.of(output, against, run.result)
    value, units, skips, biases = run.kept[node], torch.zeros_like(run.kept[node]), 0.0, 0.0
    with torch.inference_mode(False), torch.no_grad():
        for at, gradient in run.pull_back(target.cotangent, barrier=[node]):
            if at is node:
                units = value * gradient
            elif at is run.first:
                skips = float((run.kept[at] * gradient).sum())
            else:
                biases += run.added(at, gradient) or 0.0
    return LayerContributions(
        output=target.output,
        layer=number,
        name=f"gate_{number + 1}",
        units=units[0].numpy(),
        skips=skips,
        biases=biases,
        total=target.value,
        against=target.against,
    )


def input_contributions(
    net: GatedNetwork,
    x: Tensor,
    output: int,
    *,
    against: int | None = None,
    soften: float | None = None,
    memory: float = 1e9,
) -> InputContributions:
    """What each input coordinate and each layer's biases add to an output, gates fixed.

    It is the input times the gates-fixed gradient. Where the weights network reads ones, the
    coordinates are those of the constant 1.

    Args:
        net: a gated network; its own gates, in evaluation mode.
        x: one example, (1, ...) or (...).
        output: flat position in the network's output: the class.
        against: another output, to be subtracted: what decides between two classes.
        soften: steepness beta of gates sigmoid(beta * q) that take the place of steps 1{q > 0}, in
            units of 1 / pre-activation; the pre-activations q stay those of the network itself.
            Paths that are nearly open then count, too. Default: the network's own gates.
        memory: bound, in bytes, on what is held beside parameters, input and result; a layer's
            parameters are taken in float64 one at a time. More is refused beforehand.

    Returns:
        The contributions; in float64 they sum to the output (under softened gates, to `total`).

    Raises:
        PathKernelError: an output is out of range, x is not one example or takes more than
            `memory`, or gates to be softened are no steps.

    Source: arXiv 2006.10529, section 2; softened, the excitation pullbacks of arXiv 2507.22832.

    >>> import dualview as dv
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> net, x = dv.disentangle(model, seed=0), torch.randn(4)
    >>> parts = input_contributions(net, x, output=1)
    >>> sorted(parts.biases), abs(parts.from_input + parts.from_biases - parts.total) < 1e-12
    (['0', '2'], True)
    """
    beta = require("soften", soften, optional(number(above=0)), PathKernelError)
    if beta is not None:
        net = softened(require("net", net, gated, PathKernelError), beta)
    example = one_example(net, x, in_place=True, allowed=_within(memory))
    first = example.input_node
    run = affine_pass(example, keep=[first])
    target = _Target.of(output, against, run.result)
    coordinates, found = torch.zeros_like(run.kept[first]), []
    with torch.inference_mode(False), torch.no_grad():
        for at, gradient in run.pull_back(target.cotangent):
            if at is first:
                coordinates = run.kept[first] * gradient
            elif (part := run.added(at, gradient)) is not None:
                found.append((layer_name(at), part))
    return InputContributions(
        output=target.output,
        coordinates=coordinates[0].numpy(),
        biases=_by_name(reversed(found)),
        total=target.value,
        against=target.against,
    )


_SECONDS = 3e-10
"""For a multiplication by a weight: gates, the run in float64 and the way back; on one core."""


def _within(memory: float) -> Callable[[ExampleSize], None]:
    """Refuses an example whose contributions hold more than `memory`.

    Gates and the pre-activations they are made of are in the network's type; of values in float64
    those of a block with its skip, of its units, and of their cotangents.
    """
    bound = require("memory", memory, byte_count, PathKernelError)

    def check(size: ExampleSize) -> None:
        needed = 2 * 4 * size.gates + 8 * 8 * size.largest
        seconds = _SECONDS * size.products
        refuse_beyond(bound, needed, seconds, PathKernelError, what="the gates of this example")

    return check


def _by_name(parts: Iterable[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, part in parts:
        found[name] = found.get(name, 0.0) + part
    return found


@dataclass(frozen=True, eq=False)
class _Target:
    """One output, or one minus another: its cotangent in the network's result, and its value."""

    output: int
    against: int | None
    cotangent: Tensor
    value: float

    @classmethod
    def of(cls, output: int, against: int | None, result: Tensor) -> _Target:
        entry = checked_output(output, result.shape)
        cotangent, value = unit(result, entry), float(result.reshape(-1)[entry])
        if against is None:
            return cls(entry, None, cotangent, value)
        other = checked_against(against, entry, result.shape)
        value -= float(result.reshape(-1)[other])
        return cls(entry, other, cotangent - unit(result, other), value)


def _checked_layer(layer: int, count: int) -> int:
    return require("layer", layer, gated_layer(count, from_end=True), PathKernelError) % count


def gate_nodes(network: fx.GraphModule) -> dict[int, fx.Node]:
    """Number of each gated layer -> the multiplication by its gates."""
    return {
        int(str(normal_call(node)["gate"].target).rpartition("_")[2]) - 1: node
        for node in network.graph.find_nodes(op="call_function", target=apply_gate)
    }
