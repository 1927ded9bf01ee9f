"""Random features of the NPK: the weights network with fresh weights (theory, section 6).

For independent draws V_1 ... V_m of the weights, the mean of f_V(x) f_V(x') is an unbiased
estimate of the NPK for any graph, at a cost linear in the number of examples; its error falls as
1 / sqrt(m).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from dualview.arguments import byte_count, seed_number, takes, whole
from dualview.conversion.example_size import example_size, refuse_beyond
from dualview.conversion.finite import preactivation_check
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.modes import evaluation_mode
from dualview.conversion.source_lines import module_of
from dualview.errors import PathKernelError
from dualview.path_kernel.examples import LAW, BatchNorm, Gates, check_examples
from dualview.path_kernel.random_weights import draw_of, kernel_network, weight_deviations
from dualview.path_kernel.scale import lost_rows, out_of_range


@takes(
    PathKernelError,
    n_features=whole(1),
    seed=seed_number,
    per_draw=whole(1),
    batch_size=whole(1),
    memory=byte_count,
    **LAW,
)
def npk_features(
    net: GatedNetwork,
    x: Tensor,
    n_features: int = 1024,
    *,
    seed: int = 0,
    gates: Gates = "model",
    biases: bool = False,
    bias_variance: float = 1.0,
    batch_norm: BatchNorm = "identity",
    per_draw: int = 32,
    batch_size: int = 128,
    memory: float = 512e6,
) -> Tensor:
    """Features whose inner products estimate the normalised NPK, unbiased, for any graph.

    Args:
        net: the network; its gates (and the multipliers of LayerNorm and attention) are taken in
            evaluation mode.
        x: examples (n, ...).
        n_features: number of features; the error of an inner product falls as its inverse square
            root (see `per_draw`).
        seed: for the weights. Features of the same seed agree between calls, so train and test
            examples may be mapped apart, and more features continue fewer.
        gates: "model" or "hard".
        biases: as `npk`.
        bias_variance: as `npk`.
        batch_norm: as `npk`.
        per_draw: features that one draw of the weights gives, by as many fresh output units. They
            share the lower layers' weights: 1 gives independent features, more are cheaper.
        batch_size: most examples at a time.
        memory: bound, in bytes, on what a batch's gates and values hold, beside the weights that
            are drawn and the result: fewer examples at a time. Where one takes more, that is said
            before anything is computed.

    Returns:
        Features (n, n_features), so that `features @ features.T` estimates `npk(net, x)` with the
        same options.

    Raises:
        PathKernelError: as `npk`; no features are asked for, or one example takes more than
            `memory`.

    >>> import dualview as dv
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> net = dv.disentangle(model, kind="dnn")
    >>> features = npk_features(net, torch.randn(3, 4), 100)
    >>> features.shape
    torch.Size([3, 100])
    """
    check_examples(net, gates, x=x)
    size = min(batch_size, _examples_at_once(net, x, memory, -(-n_features // per_draw)))
    network = kernel_network(net, batch_norm=batch_norm, biases=biases)
    widen_output(network, per_draw)
    deviations = weight_deviations(network, biases=biases, bias_variance=bias_variance)
    parts = []
    with evaluation_mode(net), torch.no_grad():
        for start in range(0, len(x), size):
            numbers = range(start, min(start + size, len(x)))
            check = preactivation_check("x", PathKernelError, numbers)
            batch = x[start : start + size]
            values, switches = net.gates_and_switches(batch, hard=gates == "hard", check=check)
            inputs = (net.transformed(batch), *values, *switches)
            parts.append(_outputs(network, inputs, deviations, seed, n_features, numbers))
    return torch.cat(parts) / math.sqrt(n_features)


_SECONDS = 3e-11
"""For a multiplication by a weight in float32, on one core."""


def _examples_at_once(net: GatedNetwork, x: Tensor, memory: float, draws: int) -> int:
    """How many examples' gates, with the pre-activations they are made of, and values fit."""
    size = example_size(net, x[:1])
    needed = x.element_size() * (2 * size.gates + 6 * size.largest)
    seconds = _SECONDS * size.products * draws
    refuse_beyond(memory, needed, seconds, PathKernelError, what="the gates of one example")
    return int(memory // needed)


def _outputs(
    network: fx.GraphModule,
    inputs: tuple[Tensor, ...],
    deviations: Mapping[str, float | None],
    seed: int,
    n_features: int,
    numbers: range,
) -> Tensor:
    """Outputs (n, n_features) of all draws, those that leave the type's range on the way too."""
    out = _features(network, inputs, deviations, seed, n_features)
    lost = lost_rows(out)
    if not lost.any():
        return out
    if out.dtype != torch.float64:
        double = copy.deepcopy(network).double()
        again = tuple(v[lost].double() if v.is_floating_point() else v[lost] for v in inputs)
        exact = _features(double, again, deviations, seed, n_features)
    else:
        exact = out[lost]
    info, numbers_lost = torch.finfo(out.dtype), lost.nonzero().flatten().tolist()
    for row, peak in zip(numbers_lost, exact.abs().amax(1).tolist(), strict=True):
        if peak != 0 and not info.tiny <= peak <= info.max:
            log = math.log(peak) if math.isfinite(peak) else math.inf
            raise out_of_range(f"the features of x[{numbers[row]}]", log, out.dtype)
    out[lost] = exact.to(out.dtype)
    return out


def _features(
    network: fx.GraphModule,
    inputs: tuple[Tensor, ...],
    deviations: Mapping[str, float | None],
    seed: int,
    n_features: int,
) -> Tensor:
    """Outputs (n, n_features) of draw after draw, until there are enough."""
    columns: list[Tensor] = []
    while sum(column.shape[1] for column in columns) < n_features:
        weights = draw_of(network, deviations, seed, len(columns))
        out = functional_call(network, weights, inputs)
        if not isinstance(out, Tensor):
            raise PathKernelError(
                f"the network's output: expected one tensor, got {type(out).__name__}. Repair: "
                f"wrap the model in a module that returns one of them"
            )
        columns.append(out.reshape(len(out), -1))
    return torch.cat(columns, 1)[:, :n_features]


def widen_output(network: fx.GraphModule, outputs: int) -> None:
    """Give a final dense layer `outputs` units; networks that end otherwise keep their outputs."""
    last = next(node for node in network.graph.nodes if node.op == "output").args[0]
    if not (isinstance(last, fx.Node) and last.op == "call_module"):
        return
    module = module_of(last)
    calls = [node for node in network.graph.nodes if node.target == last.target]
    if isinstance(module, nn.Linear) and len(calls) == 1:
        # It draws nothing: its weights are given at each call.
        biased = module.bias is not None
        wide = nn.utils.skip_init(nn.Linear, module.in_features, outputs, biased)
        network.add_submodule(str(last.target), wide.to(module.weight))
