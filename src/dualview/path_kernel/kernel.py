"""The public kernels of a gated network: NPK and expected NTK, in tiles of pairs.

Gates are those of the network in evaluation mode, whatever its mode. Examples are on axis 0.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dualview.arguments import byte_count, flag, number, require, said, takes
from dualview.conversion.examples import gated
from dualview.conversion.finite import preactivation_check
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.modes import evaluation_mode
from dualview.conversion.trial_run import REFUSALS
from dualview.errors import DualviewWarning, ExampleInputError, PathKernelError
from dualview.path_kernel.examples import (
    LAW,
    BatchNorm,
    Gates,
    check_examples,
    check_fits,
    result_type,
)
from dualview.path_kernel.fast.kernel import TILE, fast_kernel, slices
from dualview.path_kernel.fast.plan import FastPlan
from dualview.path_kernel.fast.reader import LARGE, Slow, are_hard, read_network
from dualview.path_kernel.fast.row_plan import RowPlan
from dualview.path_kernel.parameters import fan_ins, uses
from dualview.path_kernel.propagate import Side, propagate
from dualview.path_kernel.scale import DOUBTFUL, Reader, within_middle
from dualview.path_kernel.setting import Setting
from dualview.path_kernel.tile_size import tile_size


@takes(PathKernelError, normalise=flag, memory=byte_count, **LAW)
def npk(
    net: GatedNetwork,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    normalise: bool = True,
    gates: Gates = "model",
    biases: bool = False,
    bias_variance: float = 1.0,
    batch_norm: BatchNorm = "identity",
    memory: float = 512e6,
) -> Tensor:
    """Neural path kernel NPK(x, x') = <phi(x), phi(x')>, exactly.

    It equals the mean of f(x) f(x') for one output f over independent zero-mean weights.

    Args:
        net: the network; its gates are taken in evaluation mode.
        x1: first examples (n1, ...).
        x2: second examples (n2, ...); default: `x1`, and then only one triangle is computed.
        normalise: divide by every weight layer's fan-in (weights of variance 1 / fan-in), which
            keeps values near 1. For a fully connected network this is
            <x, x'> / n * prod_l <G_l, G_l'> / width_l. Otherwise weights have variance 1, and
            values grow with the product of the widths.
        gates: "model": as the network applies them (soft ones included); "hard": 1{q > 0}.
        biases: count paths that start at a bias too; else there are none. A bias is whatever
            parameter is added, batch norm's among them. A number or buffer that is added counts
            with the biases behind a weight layer, as a path that starts at it; before the first
            one it belongs to the input, as in (x - 0.5) / 0.25.
        bias_variance: of the biases.
        batch_norm: "identity", or "scale": multiply by gamma / sqrt(running variance + eps), a
            constant. The running mean plays no part.
        memory: bound, in bytes, on what one tile of pairs may hold. Where one pair takes more, that
            is said before anything is computed.

    Returns:
        Kernel (n1, n2), of x1's type and on its device.

    Raises:
        PathKernelError: `net` was not made by `disentangle` or does not take the examples, x has
            NaN, an operation has no exact rule, weights are tied, one pair takes more than
            `memory` bytes, or a value is too large or too small for x1's type.

    Source: arXiv 2006.10529, section 3; arXiv 2110.03403; the rules for general graphs are this
    project's.

    >>> import dualview as dv
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> net = dv.disentangle(model, kind="dnn")
    >>> x = torch.randn(3, 4)
    >>> (g,) = net.gates(x)
    >>> bool(torch.allclose(dv.npk(net, x), (x @ x.T) / 4 * (g @ g.T) / 8))
    True
    """
    check_examples(net, gates, tried=False, x1=x1, x2=x2)
    variances = None if normalise else dict.fromkeys(weight_layers(net), 1.0)
    setting = Setting.of(biases, bias_variance, batch_norm, variances)
    smaller = "examples normalised as for training" if normalise else "normalise=True"
    larger = "normalise=False" if normalise else "larger examples"
    return _kernel(
        net, x1, x2, setting, gates, memory, Reader(result_type(net, x1), smaller, larger)
    )


@takes(PathKernelError, memory=byte_count, **LAW)
def expected_ntk(
    net: GatedNetwork,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    c: float | Mapping[str, float] = 1.0,
    gates: Gates = "model",
    biases: bool = False,
    bias_variance: float = 1.0,
    batch_norm: BatchNorm = "identity",
    memory: float = 512e6,
) -> Tensor:
    """Expected NTK of one output of the weights network over fresh weights, gates fixed.

    Weights are independent, zero-mean, of variance c^2 / fan-in. With gates fixed the network is
    multilinear in its weights, so this is exact at every finite width; only the concentration of
    the empirical NTK around it needs width. Between different outputs the expectation is 0.

    Args:
        net: the network; its gates are taken in evaluation mode.
        x1: first examples (n1, ...).
        x2: second examples (n2, ...); default: `x1`.
        c: one scale for all weight layers, or one for each by its name in the weights network
            (`dualview.path_kernel.kernel.weight_layers(net)` lists
            them).
        gates: "model" or "hard".
        biases: have biases, trained too; else there are none.
        bias_variance: of the biases; 0 for biases that start at 0, and are trained.
        batch_norm: as `npk`; its scale is not trained.
        memory: bound, in bytes, on what one tile of pairs may hold.

    Returns:
        Kernel (n1, n2).

    Raises:
        PathKernelError: as `npk`; or `c` names other layers than the network has.

    Source: arXiv 2006.10529, theorem 5.1; arXiv 2110.03403, theorems 2 and 3.
    """
    check_examples(net, gates, tried=False, x1=x1, x2=x2)
    layers = weight_layers(net)
    scales = layer_scales(c, layers)
    variances = {name: scales[name] ** 2 / inputs for name, inputs in layers.items()}
    setting = Setting.of(biases, bias_variance, batch_norm, variances, ntk=True)
    reader = Reader(result_type(net, x1), "a smaller c", "a larger c")
    return _kernel(net, x1, x2, setting, gates, memory, reader)


def layer_scales(c: Any, layers: Mapping[str, int]) -> dict[str, float]:
    """One scale for each weight layer."""
    if not isinstance(c, Mapping):
        return dict.fromkeys(layers, require("c", c, number(above=0), PathKernelError))
    if set(c) != set(layers):
        raise PathKernelError(
            f"c: expected a positive number for each of the weight layers {', '.join(layers)}, got "
            f"{said(c)}"
        )
    return {
        name: require(f"c[{name!r}]", c[name], number(above=0), PathKernelError) for name in layers
    }


@takes(PathKernelError, net=gated)
def weight_layers(net: GatedNetwork) -> dict[str, int]:
    """Name of each weight layer's node in the weights network -> its fan-in.

    Raises:
        PathKernelError: `net` was not made by `disentangle`.
    """
    network = net.weights_network
    inputs = fan_ins(network)
    found = {
        use.node: inputs[name]
        for name, of_name in uses(network).items()
        for use in of_name
        if use.role == "weight"
    }
    return {node.name: found[node] for node in network.graph.nodes if node in found}


def _kernel(
    net: GatedNetwork,
    x1: Tensor,
    x2: Tensor | None,
    setting: Setting,
    gates: Gates,
    memory: float,
    reader: Reader,
) -> Tensor:
    """Kernel (n1, n2), tile by tile; the lower triangle is mirrored where x2 is None."""
    request = _Request(net, x1, x1 if x2 is None else x2, setting, gates, memory, reader)
    plan = _plan(request)
    out = x1.new_zeros(len(x1), len(request.x2), dtype=reader.dtype)
    with evaluation_mode(net), torch.no_grad():
        if isinstance(plan, RowPlan):
            _fill_by_rows(request, plan, x2 is None, out)
        elif isinstance(plan, FastPlan):
            fast_kernel(net, x1, x2, plan, memory, out)
            _finish_fast(request, plan, x2 is None, out)
        else:
            warn_of_slowness(net, x1, len(x1) * len(request.x2) // (2 if x2 is None else 1), plan)
            rows, columns = range(len(x1)), range(len(request.x2))
            _fill(request, rows, columns, x2 is None, out)
    if x2 is None:
        _mirror(out)
    return out


@dataclass(frozen=True)
class _Request:
    """What is asked for, and how the result is to be read."""

    net: GatedNetwork
    x1: Tensor
    x2: Tensor
    setting: Setting
    gates: Gates
    memory: float
    reader: Reader


def _plan(request: _Request) -> FastPlan | RowPlan | Slow:
    """How the kernel is computed, of examples that the network takes.

    That is tried on one, but not on large ones that are gone through row by row: a plan for these
    knows the shape of every value, and a trial takes longer than what they need of the network.
    """
    net, x, setting, gates = request.net, request.x1, request.setting, request.gates
    if math.prod(x.shape[2:]) >= LARGE:
        with suppress(Exception):  # what does not fit is told of by the trial
            plan = Slow(EXTREME) if _is_extreme(request) else read_network(net, x, setting, gates)
            if isinstance(plan, RowPlan):
                return plan
    check_fits(net, "x1", x)
    return Slow(EXTREME) if _is_extreme(request) else read_network(net, x, setting, gates)


def _fill(
    request: _Request, rows: Sequence[int], columns: Sequence[int], symmetric: bool, out: Tensor
) -> None:
    """Write some rows and columns by the general rules; of a symmetric one the upper tiles only."""
    net, gates = request.net, request.gates
    double = _is_extreme(request)
    size = _tile_size(request, double)
    for high in slices(len(rows), size):
        left = _sides(net, request.x1, rows[high], gates, double)
        for wide in slices(len(columns), size):
            if symmetric and wide.start < high.start:
                continue
            right = _sides(net, request.x2, columns[wide], gates, double, "x2")
            block = propagate(net.weights_network, left, right, request.setting)
            out[high, wide] = request.reader(
                block.kernel[-1], block.log_scale, rows[high], columns[wide]
            )


EXTREME = "values of the examples are so large or small that their products need float64"

SLOW_SECONDS = 2e-8
"""What the torch rules take for a gated layer and a pair of positions, on one core, roughly."""

PATIENCE = 30.0
"""Seconds from which on a kernel that goes the slow way says so."""


def warn_of_slowness(net: GatedNetwork, x: Tensor, pairs: int, slow: Slow) -> None:
    """Say that the torch rules must run, why, and for about how long, where that is long."""
    seconds = pairs_of_positions(net, x) * pairs * SLOW_SECONDS
    if seconds > PATIENCE:
        warnings.warn(
            f"the path kernel of {pairs:,} pairs goes by the general rules, which take about "
            f"{_duration(seconds)}: {slow.reason}",
            DualviewWarning,
            stacklevel=4,
        )


def pairs_of_positions(net: GatedNetwork, x: Tensor) -> int:
    """Of all gated layers together, for one pair of examples like `x`."""
    return sum(math.prod(gate.shape[2:]) ** 2 for gate in net.gates(x[:1]))


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds > 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _fill_by_rows(request: _Request, plan: RowPlan, symmetric: bool, out: Tensor) -> None:
    """Write the kernel by the row kernel; of a symmetric one the upper tiles only."""
    from dualview.path_kernel.fast.rows import row_tiles

    hard = are_hard(request.net, request.gates)
    x2 = None if symmetric else request.x2
    tiles = row_tiles(request.net, request.x1, x2, request.setting, plan, hard, request.memory)
    try:
        for tile in tiles:
            rows, columns = (range(s.start, s.stop) for s in (tile.rows, tile.columns))
            value = request.reader(tile.kernel, plan.log_scale, rows, columns)
            out[tile.rows, tile.columns] = value
    except (ExampleInputError, *REFUSALS):
        check_fits(request.net, "x1", request.x1)  # says better what does not fit, if anything
        raise


def _finish_fast(request: _Request, plan: FastPlan, symmetric: bool, out: Tensor) -> None:
    """Give a fast kernel its scale, and compute by the rules what float32 may have lost on the way.

    The fast kernel works with no scale of its own: in a deep network it ends in 0.
    """
    log_scale = plan.log_scale
    if request.setting.ntk:
        assert plan.ntk is not None
        log_scale += math.log(plan.ntk)
    zero_is_doubtful = plan.log_smallest < math.log(DOUBTFUL)
    for rows in slices(len(request.x1), TILE):
        for columns in slices(len(request.x2), TILE):
            if symmetric and columns.start < rows.start:
                continue
            tile = out[rows, columns]
            sure = tile.abs() > DOUBTFUL
            if not zero_is_doubtful:
                sure |= tile == 0
            doubtful = ~(sure & tile.isfinite())
            numbers = range(rows.start, rows.stop), range(columns.start, columns.stop)
            if not doubtful.any():
                tile.copy_(request.reader(tile, log_scale, *numbers))
                continue
            tile.copy_(request.reader(tile.masked_fill(doubtful, 0), log_scale, *numbers))
            again = [doubtful.any(axis).nonzero().flatten() for axis in (1, 0)]
            high, wide = ([n[k] for k in a.tolist()] for n, a in zip(numbers, again, strict=True))
            values = tile.new_empty(len(high), len(wide))
            _fill(request, high, wide, False, values)
            tile[again[0][:, None], again[1]] = values


def _is_extreme(request: _Request) -> bool:
    """Whether products of the examples' values may leave their type's range."""
    examples = (request.x1, request.x2)
    if not request.x1.is_floating_point():
        return False
    return not all(within_middle(request.net.transformed(x)) for x in examples)


def _mirror(out: Tensor) -> None:
    """Mirror the upper triangle, to the last bit: in place, since the kernel may be large."""
    for rows in slices(len(out), TILE):
        corner = out[rows, rows]
        corner.copy_(corner.triu() + corner.triu(1).mT)
        right = slice(rows.stop, None)
        out[right, rows] = out[rows, right].mT


def _sides(
    net: GatedNetwork,
    x: Tensor,
    numbers: Sequence[int],
    gates: Gates,
    double: bool,
    name: str = "x1",
) -> Side:
    """Some examples and their gates; in float64 on request, the gates computed in x's type."""
    made = side(net, x[list(numbers)], gates, name, numbers)
    return made.double() if double else made


def side(
    net: GatedNetwork,
    x: Tensor,
    gates: Gates,
    name: str = "x1",
    numbers: Sequence[int] | None = None,
) -> Side:
    """The examples with the gates and switches that the network gives them.

    Raises:
        PathKernelError: pre-activations overflow; the message calls the examples by their name and
            numbers.
    """
    check = preactivation_check(name, PathKernelError, numbers)
    values, switches = net.gates_and_switches(x, hard=gates == "hard", check=check)
    return Side(net.transformed(x), values, switches)


def _tile_size(request: _Request, double: bool) -> int:
    """Examples on each side of a tile, from what a pair takes."""
    net, gates = request.net, request.gates
    one, other = (_sides(net, x, [0], gates, double) for x in (request.x1, request.x2))
    most = min(TILE, max(len(request.x1), len(request.x2)))
    return tile_size(net.weights_network, one, other, request.setting, request.memory, most)
