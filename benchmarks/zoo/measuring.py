"""A model is converted and compared, or it is noted why it is refused.

An error is the largest deviation from the model's output divided by the largest output. Inputs and
weights are drawn with seed 0. Two things are done to random weights, so that rounding and chance do
not decide what is measured:

- A parameter that is one number throughout (a bias of 0, a layer's scale of 1e-6, the last scale of
  a branch at 0) is drawn anew, since a branch that gives nothing tests nothing.
- Batch norm takes its statistics from the inputs, in one pass in training mode: with those of a
  fresh model (mean 0, variance 1) the activations of deep networks grow past 1e10 or vanish.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from dualview import DualviewWarning, GatedNetwork, disentangle, npk
from dualview.conversion.example_input import Example
from dualview.conversion.operations import BATCH_NORM_MODULES
from dualview.errors import ConversionError, PathKernelError
from dualview.experiments.records import Provenance, provenance

from .models import ZooModel

BOUNDS = {"float32": 2e-5, "float64": 1e-12}
LEAST_SPREAD = 1e-3
WORKS = "works"


@dataclass(frozen=True)
class Outcome:
    """What became of one model."""

    library: str
    name: str
    input_shapes: tuple[tuple[int, ...], ...]
    """Of one example, for each input."""
    parameters: int
    gated_layers: int
    """0 if it was refused."""
    spread: float
    """How far the outputs of two examples are apart, by the largest output; 0 if it was refused."""
    errors: dict[str, float]
    """Type of the numbers -> error; empty if it was refused."""
    refusal: str
    """Operation, line and reason; empty if it was converted."""
    path_kernel: str
    """Of a pretrained model, "works" or why `npk` refuses it; of others ""."""
    distribution: str
    """The library and its version, for example "pytorchcv 0.0.67"."""
    provenance: Provenance

    @property
    def key(self) -> str:
        """Its name in the zoo."""
        return f"{self.library}/{self.name}"


def measure(model: ZooModel) -> Outcome:
    """Convert `model` and compare, or note why it is refused."""
    network = model.build()
    inputs = model.input(network)
    example = Example.of(inputs)
    if not (model.pretrained or model.drawn):
        redraw_constants(network)
        take_statistics(network, inputs)
    gated_layers, spread, errors, refusal, kernel = 0, 0.0, {}, "", ""
    try:
        net = taken_apart(network, inputs, multipliers=model.multipliers)
    except ConversionError as error:
        refusal = reason(error)
    else:
        gated_layers, spread = net.n_gates, spread_of(network, inputs)
        if model.pretrained:
            kernel = kernel_of(taken_apart(network, inputs, model.output), example.tensors[0])
        errors["float32"] = error_of(net, network, inputs)
        errors["float64"] = error_of(net.double(), network.double(), doubled(inputs))
    return Outcome(
        model.library,
        model.name,
        tuple(tuple(tensor.shape[1:]) for tensor in example.tensors),
        sum(p.numel() for p in network.parameters()),
        gated_layers,
        spread,
        errors,
        refusal,
        kernel,
        model.distribution(),
        provenance(f"cpu ({torch.get_num_threads()} threads)"),
    )


def taken_apart(
    network: nn.Module, inputs: Any, output: int | None = None, multipliers: Sequence[str] = ()
) -> GatedNetwork:
    """The model's dual form as it is in evaluation mode; the warnings of some are of that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DualviewWarning)
        return disentangle(
            network,
            kind="dnn",
            example_input=inputs,
            mode="evaluation",
            output=output,
            multipliers=multipliers,
        )


def kernel_of(net: GatedNetwork, x: Tensor) -> str:
    """Whether `npk` gives the path kernel of `net`, or why not."""
    try:
        kernel = npk(net, x)
    except PathKernelError as error:
        return reason(error)
    assert kernel.isfinite().all()
    return WORKS


def redraw_constants(network: nn.Module) -> None:
    """Draw every parameter that is one number throughout: around it, and not too near 0."""
    source = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        values = parameter.data
        if values.numel() < 2 or not values.is_floating_point() or values.amin() != values.amax():
            continue
        value = float(values.flatten()[0])
        drawn = torch.rand(values.shape, generator=source, dtype=values.dtype)
        values.copy_(0.4 * drawn - 0.2 if value == 0 else max(value, 0.1) * (0.5 + drawn))


def take_statistics(network: nn.Module, inputs: Any) -> None:
    """Give every batch norm the statistics of `inputs`, by one pass in training mode."""
    norms: list[Any] = [m for m in network.modules() if isinstance(m, BATCH_NORM_MODULES)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the average over all passes, of which there is one
    example = Example.of(inputs)
    with torch.no_grad():
        network.train()(*example.args, **example.kwargs)
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def error_of(net: nn.Module, network: nn.Module, inputs: Any) -> float:
    """Largest deviation of `net`'s outputs from `network`'s, by the largest of each output."""
    with torch.no_grad():
        got = net(*Example.of(inputs).tensors)
    pairs = zip(_tensors(got), _outputs(network, inputs), strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def spread_of(network: nn.Module, inputs: Any) -> float:
    """The largest difference between two examples' outputs, by the largest output; the least one.

    Where it is near 0 the outputs are equal whatever the network does.
    """
    found = _outputs(network, inputs)
    return min(float((out - out.roll(1, 0)).abs().max() / out.abs().max()) for out in found)


def _outputs(network: nn.Module, inputs: Any) -> list[Tensor]:
    example = Example.of(inputs)
    with torch.no_grad():
        return _tensors(network(*example.args, **example.kwargs))


def _tensors(outputs: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(_plain(outputs)) if isinstance(leaf, Tensor)]


def _plain(outputs: Any) -> Any:
    """Data classes of a library, which PyTorch's trees take for leaves, as dictionaries."""
    fields = getattr(outputs, "__dataclass_fields__", None)
    return {name: getattr(outputs, name) for name in fields} if fields else outputs


def doubled(inputs: Any) -> Any:
    """The same inputs in float64; whole numbers stay."""
    return pytree.tree_map(lambda leaf: leaf.double() if leaf.is_floating_point() else leaf, inputs)


def reason(error: Exception) -> str:
    """The message without its repair and without the folder that the zoo is installed in."""
    text = str(error).split(" Repair:")[0]
    return re.sub(r"\S*/(?:site|dist)-packages/", "", text)


def holds(outcome: Outcome) -> bool:
    """Whether the claim holds of it."""
    within = all(outcome.errors.get(kind, 1.0) <= bound for kind, bound in BOUNDS.items())
    converted = within and outcome.spread >= LEAST_SPREAD
    return bool(outcome.refusal) != converted
