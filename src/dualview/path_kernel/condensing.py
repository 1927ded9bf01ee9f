"""Many terms as one, where nobody can tell them apart any more: so that depth costs in proportion.

Every block of a residual network of dense layers adds a term, and every gate after it multiplies
all of them. Terms of different origins are uncorrelated; where no other value holds an origin, it
can meet nothing that it is correlated with, and the terms are one covariance for each channel.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from dualview.path_kernel.scale import balanced, summed
from dualview.path_kernel.terms import Term, Value, own_channels, times_square, whole_kernel

MOST_TERMS = 16
"""With gates of their own, fewer are cheaper apart: products of matrices are faster."""


def condensed(value: Any, node: fx.Node, others: Collection[Any]) -> Any:
    """The value with terms that are its own alone as one, where that is no larger.

    Those without factors always are one; those with factors where they are many, and no image: a
    covariance for each channel and pair of positions would be larger.

    Args:
        value: of `node`.
        node: names what is random in the new term.
        others: all other values that are still to be read.
    """
    if not isinstance(value, Value) or len(value.terms) < 2:
        return value
    layout = value.terms[-1].layout
    many = len(value.terms) > MOST_TERMS and math.prod(layout.positions) == 1
    fit = [t for t in value.terms if many or (t.left is None and _one_group(t))]
    if len(fit) < 2:
        return value
    alive = {term.root for other in others for term in _terms(other)}
    roots = [term.root for term in value.terms]
    own = [
        term
        for term in fit
        if term.layout == layout and roots.count(term.root) == 1 and _is_own(term, alive)
    ]
    if len(own) < 2:
        return value
    parts = [(times_square(whole_kernel(t), t.coefficient), t.log_scale) for t in own]
    kernel, log_scale = summed(parts)
    kernel, log_scale = balanced(kernel, log_scale)
    channels = own_channels(layout.channels)
    one = Term(kernel, None, None, log_scale, node, channels, layout, root=node)
    rest = tuple(term for term in value.terms if not any(term is mine for mine in own))
    return value.with_terms((*rest, one))


def _terms(value: Any) -> list[Term]:
    leaves = pytree.tree_leaves(value, is_leaf=lambda v: isinstance(v, Value))
    return [term for leaf in leaves if isinstance(leaf, Value) for term in leaf.terms]


def _is_own(term: Term, alive: set[Hashable]) -> bool:
    """Whether it is the output of a weight layer, channel by channel, that nobody else holds."""
    of_layer = isinstance(term.origin, fx.Node) and term.kernel is not None and not term.pending
    free = of_layer and not term.mixed and term.root not in alive
    return free and torch.equal(term.channels, own_channels(term.layout.channels))


def _one_group(term: Term) -> bool:
    return term.kernel is not None and term.kernel.shape[3] == 1
