"""Norms of the vector of all path values: one number for what weights can do, whatever the gates.

The sum of |v|^q over all paths is the output of the network run once with |w|^q for every weight,
on an input of ones, with every gate open and max pools as sums: each path then brings |v|^q.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, fx

from dualview.arguments import flag, number, takes
from dualview.conversion.examples import example, gated
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.normal_form import normal_call
from dualview.conversion.operations import BATCH_NORM_MODULES
from dualview.conversion.pooling import switched_pools
from dualview.conversion.weights_graph import MULTIPLIER
from dualview.errors import PathKernelError
from dualview.path_attribution.building import ProgramBuilder, Rule
from dualview.path_attribution.evaluation import output_total
from dualview.path_attribution.example import OneExample, one_example
from dualview.path_attribution.program import steps_of
from dualview.path_attribution.step_rules import RULES, on_unit_images
from dualview.path_attribution.steps import Gather, Input, Part, Step, Sum, Weighted


@takes(PathKernelError, net=gated, x=example, q=number(above=0), biases=flag, log=flag)
def path_norm(
    net: GatedNetwork, x: Tensor, q: float = 1.0, *, biases: bool = True, log: bool = False
) -> float:
    """The norm (sum over all paths of |path value|^q)^(1/q) of the weights network, in one pass.

    Paths go from every input coordinate (and every bias) to every output; a path value is the
    product of all weights on it, 1/m of average pools and batch norm's scale included (its whole
    shift is one number that a path begins at). Gates are
    no part of it, so it is the same for all examples, and rescaling a unit's incoming weights by c
    and its outgoing ones by 1/c leaves it as it is.

    Args:
        net: a gated network; it is evaluated in float64.
        x: one example, (1, ...) or (...); only its shape matters.
        q: 1 bounds |f(x)| by |x| times it (largest |coordinate|, biases' 1 included), for any
            gates between 0 and 1.
        biases: whether paths that begin at biases count.
        log: return the natural logarithm, of networks whose norm float64 does not hold.

    Raises:
        PathKernelError: the norm is too large or too small for float64, or the network has
            multipliers (attention, normalisation by statistics of the example), whose path values
            are not of weights alone.
        UnsupportedOperationError: paths cannot be followed through an operation.

    Source: theory, section 11; arXiv 2310.01225.

    >>> import dualview as dv
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU(), torch.nn.Linear(2, 1, bias=False)
    ... )
    >>> with torch.no_grad():
    ...     _ = model[0].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 0.0]]))
    ...     _ = model[2].weight.copy_(torch.tensor([[1.0, -1.0]]))
    >>> path_norm(dv.disentangle(model, "dnn"), torch.ones(2))  # 1 + 2 + 3 + 0
    6.0
    """
    opened = _opened(one_example(net, torch.zeros_like(x)))
    rules = {**RULES, "switch": _window_rule(net)}
    program, _ = steps_of(opened, rules)
    steps = tuple(_powered(step, q, biases) for step in program.steps)
    total, exponent = output_total(replace(program, steps=steps), "contribution")
    size = float(total.sum())
    if size == 0:
        return -math.inf if log else 0.0
    found = (math.log(size) + exponent * math.log(2)) / q
    if log:
        return found
    limits = np.finfo(np.float64)
    if not math.log(limits.tiny) < found < math.log(limits.max):
        raise PathKernelError(
            f"q: expected a norm that float64 holds, got exp({found:.6g}). Repair: log=True"
        )
    return math.exp(found) if exponent or size > 1e300 else size ** (1 / q)


@takes(PathKernelError, net=gated, x=example)
def path_magnitudes(net: GatedNetwork, x: Tensor) -> dict[str, Tensor]:
    """For every weight, the sum of |path value| over all paths through it: |w| d norm / d |w|.

    Setting the weight to 0 takes so much from `path_norm(net, x, 1)`. Rescaling units changes
    none of it, which cannot be said of |w| itself.

    Args:
        net: as `path_norm` takes it, with max pools replaced by averages.
        x: one example; only its shape matters.

    Returns:
        Name of a parameter of the weights network -> float64 of its shape. Biases are weights on
        paths that begin there; that of a batch norm stands for its whole shift.

    Raises:
        PathKernelError: as `path_norm`, or the network has max-pool switches or subtracts, so that
            one run forwards and backwards does not give it.

    Source: theory, section 11; arXiv 2405.15006 (path-magnitude pruning).

    >>> import dualview as dv
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU(), torch.nn.Linear(2, 1, bias=False)
    ... )
    >>> with torch.no_grad():
    ...     _ = model[0].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 0.0]]))
    ...     _ = model[2].weight.copy_(torch.tensor([[1.0, -1.0]]))
    >>> found = path_magnitudes(dv.disentangle(model, "dnn"), torch.ones(2))
    >>> [values.tolist() for values in found.values()]
    [[[1.0, 2.0], [3.0, 0.0]], [[3.0, 3.0]]]
    """
    opened = _opened(one_example(net, torch.zeros_like(x)))
    network = opened.network
    with torch.inference_mode(False), torch.enable_grad():
        shifts = _shifts(network)
        sizes = {
            name: shifts.get(name, p).detach().abs().requires_grad_()
            for name, p in network.named_parameters()
        }
        constants = {
            name: torch.zeros_like(value) if name.endswith("running_mean") else value.abs()
            for name, value in network.named_buffers()
        }
        total = torch.func.functional_call(network, (sizes, constants), opened.arguments).sum()
        expected = path_norm(net, x, log=True)
        if not math.isclose(float(total.detach().log()), expected, rel_tol=1e-9, abs_tol=1e-9):
            raise PathKernelError(
                "net: expected sums of weights times activations alone, got an operation that "
                "subtracts, or a max pool's switch. Repair: disentangle(..., max_pool='average')"
            )
        derivatives = torch.autograd.grad(total, list(sizes.values()), allow_unused=True)
    return {
        name: torch.zeros_like(size) if d is None else (size * d).detach()
        for (name, size), d in zip(sizes.items(), derivatives, strict=True)
    }


def _shifts(network: fx.GraphModule) -> dict[str, Tensor]:
    """Name of a batch norm's bias -> all that the norm adds in evaluation mode."""
    found = {}
    for name, module in network.named_modules():
        if isinstance(module, BATCH_NORM_MODULES) and module.bias is not None:
            scale = module.weight / (module.running_var + module.eps).sqrt()
            found[f"{name}.bias"] = module.bias - module.running_mean * scale
    return found


def _opened(fixed: OneExample) -> OneExample:
    """The same network on ones, with every gate open."""
    names = [node.target for node in fixed.network.graph.nodes if node.op == "placeholder"]
    if any(str(name).startswith(MULTIPLIER) for name in names):
        raise PathKernelError(
            "net: expected path values that are products of weights, got multipliers as well "
            "(attention, squeeze-and-excite, a norm by the example's own statistics), which "
            "depend on the example. Repair: npk_features or contributions, which take them as given"
        )
    given = tuple(
        torch.ones_like(value) if str(name).startswith("gate_") else value
        for name, value in zip(names[1:], fixed.given, strict=True)
    )
    return replace(fixed, x=torch.ones_like(fixed.x), given=given)


def _window_rule(net: GatedNetwork) -> Rule:
    """A max pool adds up its window: a path may pass each of its entries."""
    pools = switched_pools(net.gating_network.graph)

    def rule(node: fx.Node, builder: ProgramBuilder) -> int:
        call = normal_call(node)
        pool = pools[str(call["switch"].target)]
        shape = builder.shape(call["input"])
        axes = shape[-pool.dims :]
        blocks = math.prod(shape) // math.prod(axes)
        gather = on_unit_images(lambda x: pool.max_function(x, **pool.options), axes, blocks)
        part = Part(builder.source(call["input"]), gather)
        return builder.add(Sum(builder.label(node), (part,)))

    return rule


def _powered(step: Step, q: float, biases: bool) -> Step:
    """Every number of a step to |.|^q; constants, where paths begin, left out if asked."""
    if isinstance(step, Input):
        return replace(step, values=_power(step.values, q))
    if isinstance(step, Weighted):
        bias = _power(step.bias, q) if biases and step.bias is not None else None
        return replace(step, weight=_power(step.weight, q), bias=bias)
    constant = _power(step.constant, q) if biases and step.constant is not None else None
    parts = tuple(_powered_part(part, q) for part in step.parts)
    return replace(step, parts=parts, constant=constant)


def _powered_part(part: Part, q: float) -> Part:
    gather, factor = part.gather, part.factor
    if gather is not None and gather.coefficients is not None:
        gather = Gather(gather.blocks, gather.index, _power(gather.coefficients, q))
    return replace(part, gather=gather, factor=None if factor is None else _power(factor, q))


def _power(values: np.ndarray, q: float) -> np.ndarray:
    return np.abs(values) ** q
