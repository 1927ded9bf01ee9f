"""The spread of the NTK over fresh weights, gates held, by drawing: for any graph.

`dualview.path_kernel.concentration` has it in closed form where there is one. Kernels of one draw
are (n1, n2); of a group of draws (draws, n1, n2). Everything is float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx
from torch.func import vmap

from dualview.arguments import byte_count, seed_number, takes, whole
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.modes import evaluation_mode
from dualview.errors import PathKernelError
from dualview.path_kernel.examples import LAW, BatchNorm, Gates, check_examples, result_type
from dualview.path_kernel.fast.kernel import slices
from dualview.path_kernel.gradients import (
    Logit,
    Output,
    check_output,
    counted_parameters,
    gradients,
    logit_of,
    output_choice,
)
from dualview.path_kernel.kernel import layer_scales, side, weight_layers
from dualview.path_kernel.parameters import uses
from dualview.path_kernel.propagate import Side
from dualview.path_kernel.random_weights import draw_of, kernel_network, weight_deviations

DrawnWeights = Mapping[str, Tensor]
"""Parameter name -> its values, in a group of draws (draws, ...)."""


@dataclass(frozen=True)
class NTKSpread:
    """How far NTKs of fresh weights are from each other, by draws; every tensor is (n1, n2).

    Standard errors are those of many draws. At small widths an NTK has heavy tails, and a few
    hundred draws show too little of them: spread and error are then too small together.

    Attributes:
        mean: of the draws; `dualview.expected_ntk` is what it estimates.
        mean_error: its standard error.
        variance: over draws, unbiased.
        variance_error: its standard error.
        relative: standard deviation over |mean|; NaN where the NTK is always 0.
        relative_error: its standard error.
        draws: how many.
    """

    mean: Tensor
    mean_error: Tensor
    variance: Tensor
    variance_error: Tensor
    relative: Tensor
    relative_error: Tensor
    draws: int


@takes(
    PathKernelError,
    draws=whole(2),
    output=output_choice,
    seed=seed_number,
    memory=byte_count,
    **LAW,
)
def ntk_spread(
    net: GatedNetwork,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    draws: int = 200,
    c: float | Mapping[str, float] = 1.0,
    output: Output = 0,
    gates: Gates = "model",
    biases: bool = False,
    bias_variance: float = 1.0,
    batch_norm: BatchNorm = "identity",
    seed: int = 0,
    memory: float = 512e6,
) -> NTKSpread:
    """Spread of the NTK of one logit over fresh Gaussian weights, gates held, by drawing them.

    For any graph. Where `ntk_variance` has the closed form, this is an estimate of it.

    Args:
        net: the network; its gates are taken in evaluation mode.
        x1: first examples (n1, ...).
        x2: second examples (n2, ...); default: `x1`.
        draws: of all weights; errors fall as one over its root.
        c: weights have the variance c^2 / fan-in; as of `expected_ntk`.
        output: the logit, all of which have one law where the last layer is dense; or "sum", as of
            `empirical_ntk`.
        gates: "model" or "hard".
        biases: draw biases and differentiate by them too; else there are none.
        bias_variance: of the biases.
        batch_norm: as `empirical_ntk`.
        seed: for the weights: draw k is `draw_weights(net.weights_network, seed, k)`, at c = 1.
        memory: bound, in bytes, on the gradients held at once: fewer draws, then fewer examples at
            a time. The numbers do not depend on it, but for rounding.

    Returns:
        Mean, variance and relative spread of every pair, with their standard errors, of x1's type.

    Raises:
        PathKernelError: as `empirical_ntk`; or as `expected_ntk` for `c`.

    >>> import dualview as dv
    >>> from dualview.architectures import build
    >>> model = build("resnet20", num_classes=2, input_shape=(1, 8, 8), width=2)
    >>> net = dv.disentangle(model, "dlgn", seed=0)
    >>> found = ntk_spread(net, torch.randn(1, 1, 8, 8), draws=20)
    >>> bool(found.relative > 0.1)
    True
    """
    check_examples(net, gates, x1=x1, x2=x2)
    network = kernel_network(net, batch_norm=batch_norm, biases=biases).double()
    deviations = weight_deviations(
        network, variances=_variances(net, c), biases=biases, bias_variance=bias_variance
    )
    law = _Law(network, deviations, seed, draws)
    with evaluation_mode(net):
        check_output(net, x1, output)
        powers = _all_pairs(net, x1, x2, gates, law, biases, logit_of(output), memory)
    return _spread(powers, draws, result_type(net, x1), x1.device)


@dataclass(frozen=True)
class _Law:
    """What is drawn: the network, the deviation of each parameter, and how many times."""

    network: fx.GraphModule
    deviations: Mapping[str, float | None]
    seed: int
    draws: int

    def groups(self, size: int) -> Iterator[DrawnWeights]:
        """All draws, some at a time; constants are left out."""
        drawn = [name for name, deviation in self.deviations.items() if deviation is not None]
        for some in slices(self.draws, size):
            every = [
                draw_of(self.network, self.deviations, self.seed, k)
                for k in range(some.start, some.stop)
            ]
            yield {name: torch.stack([weights[name] for weights in every]) for name in drawn}


def _all_pairs(
    net: GatedNetwork,
    x1: Tensor,
    x2: Tensor | None,
    gates: Gates,
    law: _Law,
    biases: bool,
    logit: Logit,
    memory: float,
) -> Tensor:
    """What `_power_sums` finds, (6, n1, n2), block by block."""
    parameters, wanted = counted_parameters(law.network, {}, biases)
    gradient = 3 * 8 * sum(p.numel() for p in wanted.values())
    at_once = max(1, int(memory / (2 * gradient)))
    powers = torch.zeros(6, len(x1), len(x1 if x2 is None else x2), dtype=torch.float64)
    for rows, columns, left, right in _blocks(net, x1, x2, gates, at_once):
        group = max(1, int(memory / (gradient * (len(left.x) + len(right.x)))))
        of = _kernels(law.network, parameters, tuple(wanted), left, right, logit)
        block = _power_sums(of, law.groups(group)).cpu()
        powers[:, rows, columns] = block
        if x2 is None:
            powers[:, columns, rows] = block.mT
    return powers


def _variances(net: GatedNetwork, c: float | Mapping[str, float]) -> dict[str, float]:
    """Parameter name -> variance of its weights."""
    layers = weight_layers(net)
    scales = layer_scales(c, layers)
    found: dict[str, float] = {}
    for name, of_name in uses(net.weights_network).items():
        nodes = [use.node.name for use in of_name if use.role == "weight"]
        variances = {scales[node] ** 2 / layers[node] for node in nodes}
        if len(variances) > 1:
            raise PathKernelError(
                f"c: expected one number for the layers {', '.join(nodes)}, which share the "
                f"weights {name!r}"
            )
        found |= dict.fromkeys([name], *variances) if variances else {}
    return found


def _blocks(
    net: GatedNetwork, x1: Tensor, x2: Tensor | None, gates: Gates, at_once: int
) -> Iterator[tuple[slice, slice, Side, Side]]:
    """Blocks of pairs with their examples; of a symmetric kernel the upper ones only."""
    second = x1 if x2 is None else x2
    for rows in slices(len(x1), at_once):
        left = side(net, x1[rows], gates, "x1", range(rows.start, rows.stop)).double()
        for columns in slices(len(second), at_once):
            if x2 is None and columns.start < rows.start:
                continue
            numbers = range(columns.start, columns.stop)
            same = x2 is None and rows == columns
            right = left if same else side(net, second[columns], gates, "x2", numbers).double()
            yield rows, columns, left, right


def _kernels(
    network: fx.GraphModule,
    parameters: dict[str, Tensor],
    wanted: tuple[str, ...],
    left: Side,
    right: Side,
    logit: Logit,
) -> Callable[[DrawnWeights], Tensor]:
    """Weights of some draws, each (draws, ...) -> the NTKs (draws, n1, n2)."""

    def of_one(weights: DrawnWeights) -> Tensor:
        every = {**parameters, **weights}
        by = {name: every[name] for name in wanted}
        rows = gradients(network, every, by, left, logit)
        columns = rows if right is left else gradients(network, every, by, right, logit)
        return rows @ columns.mT

    return vmap(of_one)


def _power_sums(
    kernels: Callable[[DrawnWeights], Tensor], groups: Iterator[DrawnWeights]
) -> Tensor:
    """(6, n1, n2): scale s, centre m, and the sums over draws of ((k - m) / s)^(1 ... 4).

    Scale and centre are those of the first draws, so that little is lost to rounding.
    """
    scale = centre = sums = None
    for weights in groups:
        found = kernels(weights).detach()
        if not found.isfinite().all():
            raise PathKernelError("c: the NTK is beyond float64. Repair: a smaller c")
        if scale is None or centre is None or sums is None:
            largest = found.abs().amax(0)
            scale, centre = torch.where(largest > 0, largest, 1), found.mean(0)
            sums = torch.zeros(4, *centre.shape, dtype=centre.dtype, device=centre.device)
        off = (found - centre) / scale
        sums = sums + torch.stack([(off**k).sum(0) for k in (1, 2, 3, 4)])
    assert scale is not None
    assert centre is not None
    assert sums is not None
    return torch.cat([scale[None], centre[None], sums])


def _spread(powers: Tensor, draws: int, dtype: torch.dtype, device: torch.device) -> NTKSpread:
    """Moments from the sums of powers, and standard errors by the delta method."""
    scale, centre, *sums = powers
    a, b, c, d = (one / draws for one in sums)
    second = (b - a**2).clamp(min=0)
    third = c - 3 * a * b + 2 * a**3
    fourth = d - 4 * a * c + 6 * a**2 * b - 3 * a**4
    mean = centre / scale + a  # in units of the scale, as all of these
    variance = second * draws / (draws - 1)
    of_squares = (fourth - second**2).clamp(min=0)
    relative = variance.sqrt() / mean.abs()
    square = of_squares / (4 * second * mean**2) + second**2 / mean**4 - third / mean**3
    found = {
        "mean": mean * scale,
        "mean_error": (variance / draws).sqrt() * scale,
        "variance": variance * scale**2,
        "variance_error": (of_squares / draws).sqrt() * scale**2,
        "relative": relative,
        "relative_error": (square.clamp(min=0) / draws).sqrt(),
    }
    moments = {name: value.to(device=device, dtype=dtype) for name, value in found.items()}
    if not all(moments[name].isfinite().all() for name in ("mean", "variance", "variance_error")):
        raise PathKernelError(
            f"c: the NTK's moments are beyond {str(dtype).removeprefix('torch.')}. Repair: a "
            f"smaller c, or net.double() and x.double()"
        )
    return NTKSpread(**moments, draws=draws)
