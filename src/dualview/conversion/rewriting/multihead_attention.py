"""`nn.MultiheadAttention` written out, so that its values can be told from its attention weights.

torch.fx takes the module as one call. Here the call becomes the operations that it stands for:
projections, scores, softmax, dropout, and the product with the values. Source: the definition in
arXiv 1706.03762, section 3.2.2, and PyTorch's documentation of the module.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from dualview.conversion.multipliers import query_of_examples
from dualview.conversion.source_lines import module_of

_ARGUMENTS = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask")


def write_out_attention(module: fx.GraphModule) -> None:
    """Replace every `nn.MultiheadAttention` of the graph that is used for its first output alone.

    Calls with masks, and modules with `bias_k` or `add_zero_attn`, stay as they are, and
    `dualview.conversion.verification` refuses them.
    """
    for node in list(module.graph.nodes):
        if node.op == "call_module" and type(module_of(node)) is nn.MultiheadAttention:
            call = dict(zip(_ARGUMENTS, node.args, strict=False)) | node.kwargs
            if _is_plain(module_of(node), call) and _gives_values_only(node):
                _write_out(module, node, call)


def _is_plain(attention: Any, call: dict[str, Any]) -> bool:
    masked = any(call.get(name) is not None for name in ("key_padding_mask", "attn_mask"))
    extended = attention.bias_k is not None or attention.add_zero_attn
    return not (masked or extended or call.get("is_causal", False))


def _gives_values_only(node: fx.Node) -> bool:
    return all(
        user.target is operator.getitem and (user.args[1] == 0 or not user.users)
        for user in node.users
    )


def _write_out(module: fx.GraphModule, node: fx.Node, call: dict[str, Any]) -> None:
    writer = _Writer(module, node)
    with module.graph.inserting_before(node):
        result = writer.attention(call["query"], call["key"], call["value"])
    for user in list(node.users):
        user.replace_all_uses_with(result)
        module.graph.erase_node(user)
    module.graph.erase_node(node)


class _Writer:
    """Writes the operations of the call at `node`; values are (n, tokens, features) between."""

    def __init__(self, module: fx.GraphModule, node: fx.Node) -> None:
        self.module, self.node = module, node
        self.own: Any = module_of(node)

    def attention(self, query: fx.Node, key: fx.Node, value: fx.Node) -> fx.Node:
        """The first output of the module."""
        query = self._function(query_of_examples, query)  # first, and no part of the values' path
        q, k, v = (
            self._by_head(self._projected(number, self._examples_first(source)))
            for number, source in enumerate((query, key, value))
        )
        scale = 1 / math.sqrt(self.own.head_dim)
        scores = self._function(torch.matmul, q, self._method("transpose", k, -2, -1))
        weights = self._function(torch.softmax, self._function(operator.mul, scores, scale), 3)
        mixed = self._function(torch.matmul, self._dropout(weights), v)
        merged = self._method("flatten", self._method("transpose", mixed, 1, 2), 2)
        out = self._function(
            F.linear, merged, self._parameter("out_proj.weight"), self._parameter("out_proj.bias")
        )
        return self._examples_first(out)

    def _examples_first(self, value: fx.Node) -> fx.Node:
        """(tokens, n, ...) <-> (n, tokens, ...), unless the module has the examples first."""
        return value if self.own.batch_first else self._method("transpose", value, 0, 1)

    def _projected(self, number: int, source: fx.Node) -> fx.Node:
        """The query, key or value (0, 1, 2) of the tokens of `source`."""
        rows = slice(number * self.own.embed_dim, (number + 1) * self.own.embed_dim)
        if self.own.in_proj_weight is None:
            weight = self._parameter(("q", "k", "v")[number] + "_proj_weight")
        else:
            weight = self._function(operator.getitem, self._parameter("in_proj_weight"), rows)
        bias = self._parameter("in_proj_bias")
        if bias is not None:
            bias = self._function(operator.getitem, bias, rows)
        return self._function(F.linear, source, weight, bias)

    def _by_head(self, value: fx.Node) -> fx.Node:
        parted = self._method("unflatten", value, 2, (self.own.num_heads, self.own.head_dim))
        return self._method("transpose", parted, 1, 2)  # (n, heads, tokens, features)

    def _dropout(self, weights: fx.Node) -> fx.Node:
        if not self.own.dropout:
            return weights
        name = f"dropout_{self.node.name}"
        self.module.add_submodule(name, nn.Dropout(self.own.dropout).train(self.own.training))
        return self._noted(self.module.graph.call_module(name, (weights,)))

    def _parameter(self, name: str) -> fx.Node | None:
        if operator.attrgetter(name)(self.own) is None:
            return None
        return self._noted(self.module.graph.get_attr(f"{self.node.target}.{name}"))

    def _function(self, function: Any, *args: Any) -> fx.Node:
        return self._noted(self.module.graph.call_function(function, args))

    def _method(self, name: str, *args: Any) -> fx.Node:
        return self._noted(self.module.graph.call_method(name, args))

    def _noted(self, made: fx.Node) -> fx.Node:
        made.stack_trace = self.node.stack_trace
        return made
