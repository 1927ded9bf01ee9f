"""Operations on the model's own parameters -> calls of layers.

A captured program shows `conv2d(x, weight, bias, stride, ...)`, with parameters that have a name in
the model. Where their owner is a layer of PyTorch with these options it is called again; where it
is something else (a layer of a library, a parameter used by hand) a layer of PyTorch with the same
parameters takes its place, so that every weight layer is one, whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

import torch
from torch import fx, nn

from dualview.conversion.capture.calls import Call
from dualview.conversion.layer_tensors import batch_norm, give_tensor
from dualview.conversion.multipliers import dot_product_weights
from dualview.conversion.operations import CONVOLUTION_MODULES, DROPOUT_MODULES
from dualview.conversion.pooling import each_axis

Key = tuple[Any, ...]


class Layers:
    """The layers of one network in the making, by what they compute.

    Args:
        own: a private copy of the model. Layers that take another's place are put into it.
        following: name of a captured node -> the probability with which it drops entries in
            training mode alone.

    Attributes:
        turned: weights that were turned, each with the model's own.
    """

    def __init__(self, own: nn.Module, following: Mapping[str, float]) -> None:
        self.turned: list[tuple[nn.Parameter, nn.Parameter]] = []
        self._own = own
        self._following = following
        self._paths: dict[Key, str] = {}
        self._rules: dict[str, Callable[[Call], fx.Node | None]] = {
            "linear": self._linear,
            "addmm": self._turned_linear,
            **dict.fromkeys(("conv1d", "conv2d", "conv3d"), self._convolution),
            "batch_norm": self._batch_norm,
            "layer_norm": self._layer_norm,
            **dict.fromkeys(("dropout", "dropout_"), self._dropout),
            **dict.fromkeys(("feature_dropout", "feature_dropout_"), self._dropout),
            "scaled_dot_product_attention": self._attention,
        }

    def call(self, call: Call) -> fx.Node | None:
        """The call of a layer that `call` is; None where it is none."""
        rule = self._rules.get(call.name)
        return None if rule is None else rule(call)

    def _linear(self, call: Call) -> fx.Node | None:
        tensors = _parameters(call, "weight", "bias")
        if tensors is None:
            return None

        def make() -> nn.Module:
            outputs, inputs = self._tensor(tensors["weight"]).shape
            return nn.Linear(inputs, outputs, bias=tensors["bias"] is not None, device="meta")

        return self._layer(call, ("linear",), tensors, make)

    def _turned_linear(self, call: Call) -> fx.Node | None:
        """`b + x @ w`, as Hugging Face's Conv1D is written: a dense layer whose weight is turned.

        A weight that is used elsewhere too stays what it is, since a turned copy would not be tied.
        """
        bias, weight = _parameter(call.args[0]), _parameter(call.args[2])
        source: Any = call.node.args[2]
        if weight is None or bias is None or len(source.users) > 1:
            return None
        own, added = self._tensor(weight), self._tensor(bias)
        plain = (call.arguments["beta"], call.arguments["alpha"]) == (1, 1)
        if not plain or not isinstance(own, nn.Parameter) or added.shape != own.shape[1:]:
            return None
        turned = nn.Parameter(own.detach().t().contiguous(), own.requires_grad)
        inputs, outputs = own.shape
        layer = nn.Linear(inputs, outputs, device="meta")
        self.turned.append((turned, own))
        path = self._place({"weight": weight, "bias": bias}, layer, {weight: turned})
        return call.graph.call_module(path, (call.args[1],))

    def _convolution(self, call: Call) -> fx.Node | None:
        tensors = _parameters(call, "weight", "bias")
        if tensors is None:
            return None
        dims = int(call.name[4])
        stride, padding, dilation = (
            option if isinstance(option, str) else each_axis(option, dims)
            for option in (call.arguments[name] for name in ("stride", "padding", "dilation"))
        )
        groups = call.arguments["groups"]

        def make() -> Any:
            outputs, inputs, *size = self._tensor(tensors["weight"]).shape
            options = {"stride": stride, "padding": padding, "dilation": dilation}
            return CONVOLUTION_MODULES[dims - 1](
                inputs * groups,
                outputs,
                tuple(size),
                groups=groups,
                bias=tensors["bias"] is not None,
                device="meta",
                **options,
            )

        key = (call.name, stride, padding, dilation, groups)
        return self._layer(call, key, tensors, make)

    def _batch_norm(self, call: Call) -> fx.Node | None:
        tensors = _parameters(call, "weight", "bias", "running_mean", "running_var")
        if tensors is None or tensors["running_mean"] is None or call.arguments["training"]:
            return None
        eps, momentum = call.arguments["eps"], call.arguments["momentum"]

        def make() -> nn.Module:
            own = {n: self._tensor(path) for n, path in tensors.items() if path is not None}
            return batch_norm(call.rank(), eps, momentum, own)

        return self._layer(call, ("batch_norm", call.rank(), eps), tensors, make)

    def _layer_norm(self, call: Call) -> fx.Node | None:
        tensors = _parameters(call, "weight", "bias")
        if tensors is None or tensors["weight"] is None:
            return None
        shape, eps = tuple(call.arguments["normalized_shape"]), call.arguments["eps"]

        def make() -> nn.Module:
            return nn.LayerNorm(shape, eps, bias=tensors["bias"] is not None, device="meta")

        return self._layer(call, ("layer_norm", shape, eps), tensors, make)

    def _dropout(self, call: Call) -> fx.Node | Any:
        """A dropout that is on in training mode alone; one that is never on is nothing."""
        stack = list(call.node.meta.get("nn_module_stack", {}).values())
        owner = stack[-1][0] if stack else ""
        of_torch = type(self._own.get_submodule(owner)) in DROPOUT_MODULES
        if call.arguments["train"]:
            return None
        if of_torch:
            return call.graph.call_module(owner, (call.args[0],))
        if call.node.name not in self._following:
            return call.args[0]
        kind = nn.Dropout if call.name.startswith("dropout") else nn.Dropout2d
        path = self._add(
            f"{owner}.dropout" if owner else "dropout", kind(self._following[call.node.name])
        )
        return call.graph.call_module(path, (call.args[0],))

    def _attention(self, call: Call) -> fx.Node | None:
        """Attention whose weights are thinned out in training: written out, with a dropout layer.

        Without a dropout it stays the one function that it was.
        """
        if call.node.name not in self._following or call.arguments["enable_gqa"]:
            return None
        names = ("attn_mask", "is_causal", "scale")
        options = {name: call.arguments[name] for name in names}
        query, key, value = call.args[:3]
        weights = call.function(dot_product_weights, query, key, **options)
        dropout = self._add("attention_dropout", nn.Dropout(self._following[call.node.name]))
        return call.function(torch.matmul, call.graph.call_module(dropout, (weights,)), value)

    def _layer(
        self, call: Call, key: Key, names: dict[str, str | None], make: Callable[[], nn.Module]
    ) -> fx.Node:
        """The call of the one layer with these options and these parameters."""
        key = (*key, *names.items())
        if key not in self._paths:
            self._paths[key] = self._place(names, make())
        return call.graph.call_module(self._paths[key], (call.args[0],))

    def _place(
        self,
        names: dict[str, str | None],
        layer: nn.Module,
        instead: Mapping[str, nn.Parameter] = {},
    ) -> str:
        """The path of a layer like `layer` that has the parameters called `names`.

        What is put in place of a parameter goes by its name into `instead`.
        """
        owners = {name.rpartition(".")[0] for name in names.values() if name is not None}
        path = owners.pop() if len(owners) == 1 else ""
        owner = self._own.get_submodule(path)
        if path and not instead and _alike(owner, layer):
            return path
        for name, parameter in names.items():
            if parameter is not None:
                own = instead[parameter] if parameter in instead else self._tensor(parameter)
                give_tensor(layer, name, own)
        if not path or self._holds_more(owner, names):
            return self._add(path or next(n for n in names.values() if n), layer)
        self._own.set_submodule(path, layer.train(owner.training))
        return path

    def _holds_more(self, owner: nn.Module, names: dict[str, str | None]) -> bool:
        """Whether `owner` has other parts than the parameters called `names`."""
        parts = {*owner._parameters, *owner._buffers} - {"num_batches_tracked"}
        parts = {part for part in parts if getattr(owner, part) is not None}
        known = {name.rpartition(".")[2] for name in names.values() if name is not None}
        return bool(owner._modules) or not parts <= known or known != set(known) & set(names)

    def _add(self, name: str, layer: nn.Module) -> str:
        """Put `layer` into the model under a name like `name` that is free."""
        above, _, stem = name.rpartition(".")
        owner = self._own.get_submodule(above)
        taken = (f"{stem}_{number}" for number in range(1, 10**6))
        free = next(candidate for candidate in taken if not hasattr(owner, candidate))
        owner.add_module(free, layer.train(owner.training))
        return f"{above}.{free}" if above else free

    def _tensor(self, path: str | None) -> Any:
        assert path is not None
        return attrgetter(path)(self._own)


def _parameter(value: Any) -> str | None:
    """The name of the model's parameter or buffer that `value` reads."""
    if isinstance(value, fx.Node) and value.op == "get_attr":
        return str(value.target)
    return None


def _parameters(call: Call, *names: str) -> dict[str, str | None] | None:
    """The parameters that a call is given, by name; None where one of them is computed."""
    found = {name: _parameter(call.arguments[name]) for name in names}
    computed = (found[n] is None and call.arguments[n] is not None for n in names)
    return None if any(computed) else found


def _alike(owner: nn.Module, layer: nn.Module) -> bool:
    """Whether `owner` is PyTorch's own layer with the options of `layer`."""
    return type(owner) is type(layer) and owner.extra_repr() == layer.extra_repr()
