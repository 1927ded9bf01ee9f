"""Which pre-activations of a gating network are affine in the input.

In a DLGN all are, as long as no multiplier stands before them: a squeeze-and-excitation, a
normalisation by statistics of the example or attention is computed as the model computes it, and
what comes after it is affine no more. Embeddings are affine in one-hot vectors, not in numbers of
tokens.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import fx

from dualview.conversion.activations import is_activation
from dualview.conversion.pooling import is_max_pool
from dualview.conversion.signal_path import is_embedding, multiplies
from dualview.conversion.verification import is_known_affine, value_kinds


def affine_layers(gating: fx.GraphModule, n_gates: int) -> tuple[bool, ...]:
    """Whether each of the first `n_gates` outputs of a gating network is affine in its input."""
    kinds = value_kinds(gating.graph)
    affine: dict[fx.Node, bool] = {}
    for node in gating.graph.nodes:
        if node.op == "output":
            return tuple(affine[value] for value in node.args[0][:n_gates])
        data = [source for source in node.all_input_nodes if kinds[source] == "data"]
        affine[node] = all(affine[source] for source in data) and (
            not data or kinds[node] == "shape" or _is_affine(node, kinds)
        )
    raise AssertionError("a graph ends in an output")


def _is_affine(node: fx.Node, kinds: Mapping[fx.Node, str]) -> bool:
    nonlinear = is_activation(node) or is_max_pool(node) or is_embedding(node)
    return not nonlinear and not multiplies(node, kinds) and is_known_affine(node, kinds)
