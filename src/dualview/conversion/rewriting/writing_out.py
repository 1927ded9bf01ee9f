"""Operations written out as the ones that the tables of conversion know.

After tracing, a call that stands for several steps becomes these steps: a normalisation by
statistics of the example becomes a product with its scale, `addcmul` a product and a sum, GLU a
product with a sigmoid, a maximum over a whole map a max pool.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from dualview.conversion.normalisation import (
    channel_affine,
    group_centred,
    group_scale,
    response_scale,
    rms_scale,
    unit_scale,
)
from dualview.conversion.source_lines import module_of

Keywords = dict[str, Any]


def write_out(module: fx.GraphModule, kinds: Mapping[fx.Node, str]) -> None:
    """Replace every call of the graph that has an entry here and depends on the input."""
    for node in list(module.graph.nodes):
        if kinds.get(node) != "data":
            continue
        found = _call(node)
        if found is None:
            continue
        rule, options = found
        with module.graph.inserting_before(node):
            result = rule(_Steps(module.graph, node), options)
        if result is None:
            continue
        node.replace_all_uses_with(result)
        module.graph.erase_node(node)


class _Steps:
    """Calls that take the place of one, at its line in the user's code."""

    def __init__(self, graph: fx.Graph, node: fx.Node) -> None:
        self._graph, self._node = graph, node

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        new = self._graph.call_function(function, args, kwargs)
        new.stack_trace = self._node.stack_trace
        new.meta = dict(self._node.meta)
        return new

    def parameter(self, name: str) -> fx.Node | None:
        """The parameter of the module that is called, if it has one of this name."""
        if getattr(module_of(self._node), name, None) is None:
            return None
        return self._graph.get_attr(f"{self._node.target}.{name}")


def _call(node: fx.Node) -> tuple[Callable[[_Steps, Keywords], fx.Node | None], Keywords] | None:
    """The rule for what `node` calls, and its arguments by name."""
    if node.op == "call_module":
        entry = _MODULES.get(type(module_of(node)))
        if entry is None:
            return None
        rule, names = entry
        module = module_of(node)
        (source,) = node.all_input_nodes
        return rule, {"input": source} | {name: getattr(module, name) for name in names}
    if node.op == "call_method":
        entry = _METHODS.get(str(node.target))
    else:
        entry = _FUNCTIONS.get(node.target)  # type: ignore[arg-type]
    if entry is None:
        return None
    rule, names = entry
    return rule, dict(zip(names, node.args, strict=False)) | node.kwargs


def _group_norm_module(step: _Steps, options: Keywords) -> fx.Node:
    weight, bias = step.parameter("weight"), step.parameter("bias")
    return _group_norm(step, options | {"weight": weight, "bias": bias})


def _group_norm(step: _Steps, options: Keywords) -> fx.Node:
    x, groups = options["input"], options["num_groups"]
    scale = step(group_scale, x, groups, options.get("eps", 1e-5))
    normal = step(torch.mul, step(group_centred, x, groups), scale)
    weight, bias = options.get("weight"), options.get("bias")
    if weight is None and bias is None:
        return normal
    return step(channel_affine, normal, weight, bias)


def _instance_norm_module(step: _Steps, options: Keywords) -> fx.Node | None:
    if options["track_running_stats"]:  # the mode's statistics: no one function of the example
        return None
    return _group_norm_module(step, options | {"num_groups": None})


def _instance_norm(step: _Steps, options: Keywords) -> fx.Node | None:
    if not options.get("use_input_stats", True) or options.get("running_mean") is not None:
        return None
    return _group_norm(step, options | {"num_groups": None})


def _rms_norm_module(step: _Steps, options: Keywords) -> fx.Node:
    return _rms_norm(step, options | {"weight": step.parameter("weight")})


def _rms_norm(step: _Steps, options: Keywords) -> fx.Node:
    x = options["input"]
    normal = step(torch.mul, x, step(rms_scale, x, options["normalized_shape"], options.get("eps")))
    weight = options.get("weight")
    return normal if weight is None else step(torch.mul, normal, weight)


def _response_norm(step: _Steps, options: Keywords) -> fx.Node:
    x = options.pop("input")
    return step(torch.mul, x, step(response_scale, x, **options))


def _normalize(step: _Steps, options: Keywords) -> fx.Node | None:
    if options.pop("out", None) is not None:
        return None
    x = options.pop("input")
    return step(torch.mul, x, step(unit_scale, x, **options))


def _addcmul(step: _Steps, options: Keywords) -> fx.Node:
    product = step(torch.mul, options["tensor1"], options["tensor2"])
    if options.get("value", 1) != 1:
        product = step(torch.mul, product, options["value"])
    return step(torch.add, options["input"], product)


def _addmm(step: _Steps, options: Keywords) -> fx.Node:
    product = step(torch.matmul, options["mat1"], options["mat2"])
    if options.get("alpha", 1) != 1:
        product = step(torch.mul, product, options["alpha"])
    added = options["input"]
    if options.get("beta", 1) != 1:
        added = step(torch.mul, added, options["beta"])
    return step(torch.add, product, added)


def _baddbmm(step: _Steps, options: Keywords) -> fx.Node:
    return _addmm(step, options | {"mat1": options["batch1"], "mat2": options["batch2"]})


def _einsum(step: _Steps, options: Keywords) -> fx.Node | None:
    """A product of matrices, one for each example, which attention by einsum is; None: another."""
    terms, _, result = str(options["equation"]).replace(" ", "").partition("->")
    left, right = options.get("left"), options.get("right")
    if terms.count(",") != 1 or not isinstance(left, fx.Node) or not isinstance(right, fx.Node):
        return None
    one, two = terms.split(",")
    for (a, first), (b, second) in (((left, one), (right, two)), ((right, two), (left, one))):
        shared, made = first[:-2], second[-1:]
        plain = shared and len({*first, made}) == len(first) + 1
        product = second == shared + first[-1:] + made and result == first[:-1] + made
        if plain and product:
            return step(torch.matmul, a, b)
    return None


def _glu(step: _Steps, options: Keywords) -> fx.Node:
    halves = step(torch.chunk, options["input"], 2, options.get("dim", -1))
    left, right = (step(operator.getitem, halves, k) for k in (0, 1))
    return step(torch.mul, left, step(torch.sigmoid, right))


def _softmax_2d(step: _Steps, options: Keywords) -> fx.Node:
    return step(torch.softmax, options["input"], -3)


_GROUP = ("input", "num_groups", "weight", "bias", "eps")
_INSTANCE = (
    "input",
    "running_mean",
    "running_var",
    "weight",
    "bias",
    "use_input_stats",
    "momentum",
    "eps",
)
_RMS = ("input", "normalized_shape", "weight", "eps")
_RESPONSE = ("input", "size", "alpha", "beta", "k")
_UNIT = ("input", "p", "dim", "eps", "out")
_ADDCMUL = ("input", "tensor1", "tensor2")
_ADDMM = ("input", "mat1", "mat2")
_BADDBMM = ("input", "batch1", "batch2")
_EINSUM = ("equation", "left", "right")

_MODULES: dict[type[nn.Module], tuple[Callable[..., Any], tuple[str, ...]]] = {
    nn.GroupNorm: (_group_norm_module, ("num_groups", "eps")),
    nn.InstanceNorm1d: (_instance_norm_module, ("eps", "track_running_stats")),
    nn.InstanceNorm2d: (_instance_norm_module, ("eps", "track_running_stats")),
    nn.InstanceNorm3d: (_instance_norm_module, ("eps", "track_running_stats")),
    nn.RMSNorm: (_rms_norm_module, ("normalized_shape", "eps")),
    nn.LocalResponseNorm: (_response_norm, ("size", "alpha", "beta", "k")),
    nn.GLU: (_glu, ("dim",)),
    nn.Softmax2d: (_softmax_2d, ()),
}
"""Module -> rule, and the options that it takes off the module."""

_FUNCTIONS: dict[Callable[..., Any], tuple[Callable[..., Any], tuple[str, ...]]] = {
    F.group_norm: (_group_norm, _GROUP),
    torch.group_norm: (_group_norm, _GROUP),
    F.instance_norm: (_instance_norm, _INSTANCE),
    F.rms_norm: (_rms_norm, _RMS),
    torch.rms_norm: (_rms_norm, _RMS),
    F.local_response_norm: (_response_norm, _RESPONSE),
    F.normalize: (_normalize, _UNIT),
    torch.addcmul: (_addcmul, _ADDCMUL),
    torch.addmm: (_addmm, _ADDMM),
    torch.baddbmm: (_baddbmm, _BADDBMM),
    torch.einsum: (_einsum, _EINSUM),
    F.glu: (_glu, ("input", "dim")),
}
"""Function -> rule, and the names of its arguments in order."""

_METHODS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "addcmul": (_addcmul, _ADDCMUL),
    "addmm": (_addmm, _ADDMM),
    "baddbmm": (_baddbmm, _BADDBMM),
}
"""Method -> rule, and the names of its arguments in order."""
