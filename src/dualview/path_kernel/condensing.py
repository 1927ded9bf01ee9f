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
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from dualview.path_kernel.scale import LogScale, balanced, summed
from dualview.path_kernel.terms import Term, Value, factor_product, own_channels, with_groups

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
    many = len(value.terms) > MOST_TERMS and math.prod(value.positions) == 1
    fit = [t for t in value.terms if many or (t.left is None and _one_group(t))]
    if len(fit) < 2:
        return value
    alive = {term.origin for other in others for term in _terms(other)}
    own = [term for term in fit if _is_own(term, value, alive)]
    if len(own) < 2:
        return value
    parts = [_for_each_channel(term, value) if many else _plain(term) for term in own]
    kernel, log_scale = summed(parts)
    kernel, log_scale = balanced(kernel, log_scale)
    one = Term(kernel, None, None, log_scale, node, own_channels(value.channels))
    rest = tuple(term for term in value.terms if not any(term is mine for mine in own))
    return Value((*rest, one), value.channels, value.positions, value.flat)


def _terms(value: Any) -> list[Term]:
    leaves = pytree.tree_leaves(value, is_leaf=lambda v: isinstance(v, Value))
    return [term for leaf in leaves if isinstance(leaf, Value) for term in leaf.terms]


def _is_own(term: Term, value: Value, alive: set[Hashable]) -> bool:
    """Whether it is the output of a weight layer, channel by channel, that nobody else holds."""
    of_layer = isinstance(term.origin, fx.Node) and term.kernel is not None and not term.pending
    free = of_layer and term.origin not in alive
    return free and torch.equal(term.channels, own_channels(value.channels))


def _one_group(term: Term) -> bool:
    return term.kernel is not None and term.kernel.shape[3] == 1


def _plain(term: Term) -> tuple[Tensor, LogScale]:
    assert term.kernel is not None
    if term.coefficient in (1, -1):
        return term.kernel, term.log_scale
    return term.kernel * term.coefficient**2, term.log_scale


def _for_each_channel(term: Term, value: Value) -> tuple[Tensor, LogScale]:
    kernel = with_groups(term, value.channels)
    if term.left is not None:
        kernel = kernel * factor_product(term)
    return kernel * term.coefficient**2, term.log_scale
