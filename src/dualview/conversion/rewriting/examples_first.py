"""The examples stay on axis 0 where a model puts another axis before them for a while.

`qkv.permute(2, 0, 3, 1, 4).unbind(0)`, as many vision transformers take queries, keys and values
apart, puts the three in front of the examples and takes them away again; so does
`torch.stack(branches).mean(0)`. Here the pieces are picked first and each is permuted, and branches
are stacked behind the examples, so that whatever reads the graph finds these in their place.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping

import torch
from torch import fx

from dualview.conversion.spellings import key_at


def keep_examples_first(graph: fx.Graph, kinds: Mapping[fx.Node, str]) -> None:
    """Rewrite permutations and stacks that put another axis before the examples.

    Those stay that are read otherwise than by picks, sums or means along that axis. Arguments must
    stand in their positions (`positional`).
    """
    for node in list(graph.nodes):
        if kinds.get(node) != "data":
            continue
        if key_at(node) == "stack":
            _stack_behind(node)
        if key_at(node) != "permute":
            continue
        order = _order(node)
        if order is None or order[0] == 0 or order[1] != 0:
            continue
        picks = {user: found for user in node.users if (found := _picks(user)) is not None}
        if node.users and len(picks) == len(node.users):
            axis, rest = order[0], [at - (at > order[0]) for at in order[1:]]
            for user, numbers in picks.items():
                _rewrite(graph, node, user, numbers, axis, rest)
            graph.erase_node(node)


def _stack_behind(node: fx.Node) -> None:
    """Stack behind the examples what is summed over at once."""
    if len(node.args) > 1 and node.args[1] != 0:
        return
    sums = [user for user in node.users if key_at(user) in ("sum", "mean")]
    over = [user for user in sums if len(user.args) == 2 and user.args[1] in (0, (0,), [0])]
    if sums and len(over) == len(node.users) and not any(user.kwargs for user in over):
        node.args = (node.args[0], 1)
        for user in over:
            user.args = (node, 1)


def _order(node: fx.Node) -> list[int] | None:
    """The axes of a permutation; None where they are no plain numbers."""
    given = node.args[1:]
    axes = given[0] if len(given) == 1 else given
    if not isinstance(axes, tuple | list) or not all(isinstance(axis, int) for axis in axes):
        return None
    return [axis % len(axes) for axis in axes if isinstance(axis, int)]


def _picks(node: fx.Node) -> dict[fx.Node, int] | None:
    """Which piece along axis 0 each of some nodes is; None where the node does something else."""
    key = key_at(node)
    if key == "getitem" and isinstance(node.args[1], int):
        return {node: node.args[1]}
    if key == "select" and node.args[1] == 0 and isinstance(node.args[2], int):
        return {node: node.args[2]}
    if key != "unbind" or (len(node.args) > 1 and node.args[1] != 0) or node.kwargs:
        return None
    found = {user: user.args[1] for user in node.users if user.target is operator.getitem}
    whole = {user: number for user, number in found.items() if isinstance(number, int)}
    return whole if len(whole) == len(node.users) else None


def _rewrite(
    graph: fx.Graph,
    node: fx.Node,
    user: fx.Node,
    numbers: Mapping[fx.Node, int],
    axis: int,
    rest: list[int],
) -> None:
    """Pick from what `node` permutes, and permute each piece."""
    for piece, number in numbers.items():
        with graph.inserting_before(piece):
            picked = graph.call_function(torch.select, (node.args[0], axis, number))
            value = picked
            if rest != sorted(rest):
                value = graph.call_function(torch.permute, (picked, tuple(rest)))
        for new in (picked, value):
            new.stack_trace, new.meta = piece.stack_trace, dict(piece.meta)
        piece.replace_all_uses_with(value)
        graph.erase_node(piece)
    if user not in numbers:
        graph.erase_node(user)
