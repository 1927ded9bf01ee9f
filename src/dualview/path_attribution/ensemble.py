"""A residual network's output as a sum over its 2^b sub-networks, or over their sizes.

At every residual block a path goes through the block or by the skip. The paths that go through
exactly the blocks in J are the sub-network J. With a variable t_i on every block, the output is a
polynomial in t_1 ... t_b, and the sub-network J is the coefficient of the product of its t_i: so
polynomials, and not numbers, are carried through the network, exactly. Only their coefficients by
degree are needed for the sums over sub-networks of equal size |J|, which is cheap for any b.

Axis 0, elsewhere the examples, holds the coefficients: row j of the polynomials in t_1 ... t_b is
that of the set whose members are j's binary digits, row j of those in one t is that of t^j.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from dualview.arguments import LARGEST_SEED, one_of, takes, whole
from dualview.conversion import operations as ops
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import apply_gate
from dualview.conversion.pooling import replay_switch
from dualview.conversion.spellings import key_at
from dualview.conversion.weights_graph import one_row_of_ones, spread_over_batch
from dualview.errors import PathKernelError, TooManyPathsError
from dualview.path_attribution.building import data_nodes, layer_name, recorded_values, run_node
from dualview.path_attribution.example import (
    OneExample,
    checked_output,
    one_example,
    output_node,
)

MEMBER_LIMIT = 1024
"""Most sub-networks that are told apart unless asked otherwise."""


@dataclass(frozen=True, eq=False)
class EnsembleContributions:
    """One output as a sum over the sub-networks of a residual network.

    Attributes:
        output: flat position in the network's output.
        blocks: the last weight layer of every residual block, b names; block i is number i.
        members: the blocks in J -> the sum over all paths through exactly those; None where only
            sizes were asked for. A path from a bias bypasses the blocks before it.
        by_size: (b + 1,): the sum over all members with |J| = 0 ... b.
        total: the output itself: the sum of all, to rounding.
    """

    output: int
    blocks: tuple[str, ...]
    members: Mapping[tuple[int, ...], float] | None
    by_size: np.ndarray
    total: float


@takes(PathKernelError, by=one_of("member", "size"), limit=whole(1, LARGEST_SEED))
def ensemble_contributions(
    net: GatedNetwork,
    x: Tensor,
    output: int,
    *,
    by: Literal["member", "size"] = "member",
    limit: int = MEMBER_LIMIT,
) -> EnsembleContributions:
    """What each sub-network of a residual network adds to an output, gates fixed.

    A residual block is an addition of two branches of which one passes more weight layers: that is
    the block, the other its skip (identity, option A or a projection).

    Args:
        net: a gated network made from a residual one; its own gates, in evaluation mode.
        x: one example, (1, ...) or (...).
        output: flat position in the network's output: the class.
        by: "member": every one of the 2^b sub-networks; "size": the b + 1 sums over those with
            equally many blocks, for any b.
        limit: most sub-networks to tell apart. Time and memory grow in proportion.

    Returns:
        The contributions; in float64 they sum to the output.

    Raises:
        TooManyPathsError: 2^b exceeds `limit`; the message gives the number.
        PathKernelError: there is no residual block, or an argument is not what it should be.

    Source: arXiv 2110.03403, section 4 (residual networks are ensembles); theory, section 4.4.

    >>> import dualview as dv
    >>> from dualview.architectures import ResNet
    >>> model = ResNet(1, 3, (2, 8, 8), width=2, batch_norm=True)
    >>> net, x = dv.disentangle(model, seed=0), torch.randn(2, 8, 8)
    >>> parts = ensemble_contributions(net, x, output=1)
    >>> len(parts.blocks), len(parts.members), parts.by_size.shape
    (3, 8, (4,))
    >>> abs(sum(parts.members.values()) - parts.total) < 1e-12
    True
    """
    example = one_example(net, x)
    values = recorded_values(example)
    whole = values[output_node(example.network)]
    entry = checked_output(output, whole.shape)
    blocks = residual_blocks(example.network.graph, values)
    _check_number(len(blocks), by, limit)
    with torch.no_grad():
        rows = _PolynomialRun(example, values, blocks, by).result()
    coefficients = rows.reshape(len(rows), -1)[:, entry].tolist()
    return EnsembleContributions(
        output=entry,
        blocks=tuple(block.name for block in blocks),
        members=None if by == "size" else _named(coefficients, len(blocks)),
        by_size=_by_size(coefficients, len(blocks), by),
        total=float(whole.reshape(-1)[entry]),
    )


def _check_number(blocks: int, by: str, limit: int) -> None:
    if not blocks:
        raise PathKernelError(
            "the network has no residual block (no addition of two branches of which one passes "
            "more weight layers than the other). Repair: use it for residual networks, and "
            "layer_contributions for any network"
        )
    if by == "member" and 2**blocks > limit:
        raise TooManyPathsError(
            f"the network has {blocks} residual blocks, hence {2**blocks} sub-networks: expected "
            f"at most {limit} (limit). Repair: by='size' sums those of equal size, for any number; "
            f"or raise limit"
        )


def _named(coefficients: list[float], blocks: int) -> dict[tuple[int, ...], float]:
    """Members by the blocks that they keep, smaller ones first."""
    members = {
        tuple(i for i in range(blocks) if row >> i & 1): value
        for row, value in enumerate(coefficients)
    }
    return dict(sorted(members.items(), key=lambda member: (len(member[0]), member[0])))


def _by_size(coefficients: list[float], blocks: int, by: str) -> np.ndarray:
    if by == "size":
        return np.array(coefficients)
    rows: list[list[float]] = [[] for _ in range(blocks + 1)]
    for row, value in enumerate(coefficients):
        rows[row.bit_count()].append(value)
    return np.array([math.fsum(values) for values in rows])


@dataclass(frozen=True)
class _Block:
    """A residual block: the addition, which of its operands is the block's, and a name."""

    addition: fx.Node
    branch: fx.Node
    skip: fx.Node
    name: str


def residual_blocks(graph: fx.Graph, values: Mapping[fx.Node, Any]) -> list[_Block]:
    """The residual blocks, in the order in which they run."""
    data = data_nodes(graph, values)
    depth: dict[fx.Node, int] = {}
    last_layer: dict[fx.Node, str] = {}  # on the way with most of them
    blocks = []
    for node in data:
        sources = [source for source in node.all_input_nodes if source in data]
        deepest = max(sources, key=depth.__getitem__, default=None)
        has_weights = key_at(node) in ops.WEIGHT_KEYS
        depth[node] = (depth[deepest] if deepest else 0) + has_weights
        inherited = last_layer[deepest] if deepest else ""
        last_layer[node] = layer_name(node) if has_weights else inherited
        adds_two = key_at(node) in ops.ADDITIVE and len(sources) == 2
        if adds_two and depth[sources[0]] != depth[sources[1]]:
            skip, branch = sorted(sources, key=depth.__getitem__)
            blocks.append(_Block(node, branch, skip, last_layer[branch]))
    return blocks


class _PolynomialRun:
    """Carries polynomials through an example's weights network.

    A value holds the coefficients up to the highest that is not 0: (rows, ...).
    """

    def __init__(
        self,
        example: OneExample,
        values: Mapping[fx.Node, Any],
        blocks: list[_Block],
        by: Literal["member", "size"],
    ) -> None:
        self.network = example.network
        self.plain = values
        self.rows = 2 ** len(blocks) if by == "member" else len(blocks) + 1
        self.blocks = {block.addition: block for block in blocks}
        self.shift = {
            block.addition: 2**number if by == "member" else 1
            for number, block in enumerate(blocks)
        }
        self.data = data_nodes(self.network.graph, values)

    def result(self) -> Tensor:
        """The coefficients of the output: (2^b or b + 1, ...)."""
        of: dict[fx.Node, Any] = {}
        last_use = {source: node for node in self.data for source in node.all_input_nodes}
        result = output_node(self.network)
        for node in self.data:
            of[node] = self._value(node, of)
            for source in node.all_input_nodes:
                if last_use[source] is node and source is not result:
                    of.pop(source, None)
        return _padded(of[result], self.rows)

    def _value(self, node: fx.Node, of: Mapping[fx.Node, Any]) -> Any:
        if node.op == "placeholder" or node.target is one_row_of_ones:
            return self.plain[node]
        if node.target is spread_over_batch:
            return of[node.args[0]]  # type: ignore[index]
        block = self.blocks.get(node)
        if block is None:
            return self._affine(node, {s: of[s] for s in node.all_input_nodes if s in self.data})
        zero = {block.branch: torch.zeros_like(of[block.branch][:1])}
        skip = self._affine(node, {block.skip: of[block.skip], **zero})
        zero = {block.skip: torch.zeros_like(of[block.skip][:1])}
        branch = self._affine(node, {block.branch: of[block.branch], **zero})
        return _sum(skip, branch, self.shift[node])

    def _affine(self, node: fx.Node, of: Mapping[fx.Node, Any]) -> Any:
        """The operation on every row; what it adds on its own belongs to row 0 alone."""
        rows = max(_rows(value) for value in of.values())
        sizes = [s for s in node.all_input_nodes if s not in self.data and self._is_size(s)]
        count = self.rows if sizes else rows  # a size is that of all rows, which must be there
        given = {source: _map(value, lambda v: _padded(v, count)) for source, value in of.items()}
        value = self._run(node, given, count)
        if node.target not in (apply_gate, replay_switch):
            few = 1 if node.op == "call_module" else count
            zeros = {s: _map(v, lambda v: torch.zeros_like(v[:few])) for s, v in given.items()}
            value = pytree.tree_map(_without_constant, value, self._run(node, zeros, few))
        return _map(value, lambda v: v[:rows])

    def _run(self, node: fx.Node, given: Mapping[fx.Node, Any], rows: int) -> Any:
        """Call what the node calls, as for `rows` examples of equal gates."""

        def argument(source: fx.Node) -> Any:
            if source in given:
                return given[source]
            if source in self.data:  # only its size is asked for
                return _map(self.plain[source], lambda v: v[:1].expand(rows, *v.shape[1:]))
            if source.op == "placeholder":
                return self.plain[source].expand(rows, *self.plain[source].shape[1:])
            return self._run(source, {}, rows) if self._is_size(source) else self.plain[source]

        args, kwargs = fx.map_arg((node.args, node.kwargs), argument)
        return run_node(node, args, kwargs)

    def _is_size(self, node: fx.Node) -> bool:
        """Whether a value that is no data is made from the shape of some."""
        return any(s in self.data or self._is_size(s) for s in node.all_input_nodes)


def _map(value: Any, function: Any) -> Any:
    return pytree.tree_map_only(Tensor, function, value)


def _rows(value: Any) -> int:
    return max(len(leaf) for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor))


def _padded(value: Tensor, rows: int) -> Tensor:
    """The value with rows of zeros after its own."""
    missing = rows - len(value)
    if missing <= 0:
        return value
    return torch.cat([value, value.new_zeros(missing, *value.shape[1:])])


def _without_constant(value: Tensor, alone: Tensor) -> Tensor:
    """The value with what the operation adds on its own taken from every row but the first."""
    if not bool(alone[:1].any()):
        return value
    return torch.cat([value[:1], value[1:] - alone[:1]])


def _sum(skip: Tensor, branch: Tensor, first: int) -> Tensor:
    """The skip, plus the branch times the block's own variable: its rows begin at `first`."""
    total = skip.new_zeros(max(len(skip), first + len(branch)), *skip.shape[1:])
    total[: len(skip)] += skip
    total[first : first + len(branch)] += branch
    return total
