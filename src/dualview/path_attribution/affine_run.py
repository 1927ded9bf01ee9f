"""A weights network of one example run forwards and backwards, in float64 throughout.

With gates and switches fixed the network is affine, and so is every operation in it. That holds for
any operation that a network may consist of, so nothing here depends on which there are.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, fx

from dualview.conversion.affine_pass import AffinePass
from dualview.conversion.shape_run import twin
from dualview.conversion.source_lines import module_of
from dualview.conversion.spellings import key_at
from dualview.path_attribution.example import OneExample, output_node


def affine_pass(
    example: OneExample,
    keep: Collection[fx.Node] = (),
    *,
    zero_input: bool = False,
) -> AffinePass:
    """One run of an example's weights network, from which derivatives in its input can be taken.

    Args:
        example: gates fixed.
        keep: nodes whose values are kept.
        zero_input: 0 in place of the example (or of the ones), where only biases speak.

    Raises:
        PathKernelError: the network returns several tensors.
    """
    output_node(example.network)
    start = torch.zeros_like(example.x) if zero_input else None
    call = ExactCall(example.network)
    with torch.inference_mode(False), torch.no_grad():
        first = example.input_node
        return AffinePass(
            example.network,
            example.arguments,
            first,
            call=call,
            module=call.module,
            keep=keep,
            start=start,
        )


class ExactCall:
    """Calls what nodes call in float64, except methods that would round."""

    def __init__(self, network: fx.GraphModule) -> None:
        self._interpreter = fx.Interpreter(network)

    def __call__(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        """What the node makes of its arguments."""
        if key_at(node) == "same" and node.op != "call_module":  # which names a type
            return args[0] if args else kwargs["input"]
        if node.op == "call_module":
            return self.module(node)(*args, **kwargs)
        value = getattr(self._interpreter, node.op)(node.target, args, kwargs)
        return _exact(value) if node.op == "get_attr" and isinstance(value, Tensor) else value

    def module(self, node: fx.Node) -> Any:
        """What a node calls, in float64, made when it is called and not kept."""
        return twin(module_of(node), _exact)


def _exact(tensor: Tensor) -> Tensor:
    return tensor.detach().double() if tensor.is_floating_point() else tensor


def unit(result: Tensor, output: int) -> Tensor:
    """The cotangent of one entry of the result, by its flat position."""
    cotangent = torch.zeros_like(result)
    cotangent.reshape(-1)[output] = 1
    return cotangent
