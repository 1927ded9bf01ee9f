"""Paths grouped by the channels that they stop at, and the strongest groups of an example."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from dualview.arguments import byte_count, takes, whole
from dualview.conversion.gated_network import GatedNetwork
from dualview.errors import PathKernelError
from dualview.path_attribution.evaluation import each_total
from dualview.path_attribution.example import checked_against, checked_output, one_example
from dualview.path_attribution.group_search import FoundGroup, GroupSearch
from dualview.path_attribution.paths import NodeKind, asked
from dualview.path_attribution.program import program_of
from dualview.path_attribution.steps import Input, Program, Step, Weighted
from dualview.path_attribution.strongest_paths import within

WIDTH = 64
"""States of the search that go on at every stop, unless asked otherwise."""


@dataclass(frozen=True)
class GroupNode:
    """One stop of a group: a channel of a layer, at any position.

    Attributes:
        layer: as `PathNode` has it.
        kind: "input", "weights" or "gate".
        channel: the first axis of the layer's value after the examples.
    """

    layer: str
    kind: NodeKind
    channel: int


@dataclass(frozen=True, eq=False)
class PathGroup:
    """All paths from one input channel through the same channels, at any positions.

    Attributes:
        nodes: from the input on; without the output's own unit, which all paths share.
        contribution: the sum over its paths, exactly.
        starts: what of it begins at each position of the input channel; sums to `contribution`.
    """

    nodes: tuple[GroupNode, ...]
    contribution: float
    starts: np.ndarray

    def __str__(self) -> str:
        stops = [node for node in self.nodes if node.kind != "weights"]
        names = " > ".join(f"{node.layer}[{node.channel}]" for node in stops)
        return f"{self.contribution:+.4g}  {names}"


@dataclass(frozen=True, eq=False, repr=False)
class TopPathGroups:
    """The strongest groups of one example's paths to an output, strongest first.

    Attributes:
        output: flat position in the network's output.
        groups: none of them sums to 0.
        total: the output itself: the sum over all groups, and over the paths from biases.
        from_input: the sum over all groups.
        others_at_most: no group that is not listed has a larger |contribution|.
        against: the output that was subtracted, if any.
    """

    output: int
    groups: tuple[PathGroup, ...]
    total: float
    from_input: float
    others_at_most: float
    against: int | None = None

    @property
    def is_proven(self) -> bool:
        """Whether the groups listed are surely the strongest of all."""
        last = min((abs(group.contribution) for group in self.groups), default=0.0)
        return self.others_at_most <= last * (1 + 1e-9)

    @property
    def sum(self) -> float:
        """The sum of the contributions listed."""
        return float(sum(group.contribution for group in self.groups))

    def __repr__(self) -> str:
        proven = "the strongest" if self.is_proven else "the strongest found"
        head = (
            f"TopPathGroups({asked(self.output, self.against)}: {self.total:.6g}; paths from the "
            f"input add {self.from_input:.4g}, of which the {len(self.groups)} groups listed, "
            f"{proven}, {self.sum:.4g}; no other exceeds {self.others_at_most:.3g})"
        )
        return "\n".join([head, *(f"{i:4}  {group}" for i, group in enumerate(self.groups, 1))])


class GroupTables:
    """The tables of one example, from which the groups of every output are read.

    Args:
        program: of the example; where paths begin at constants, they are left out.
    """

    def __init__(self, program: Program) -> None:
        self._shape = program.shape
        self._total = _output_of(program)
        self._program = replace(program, steps=tuple(map(_without_constant, program.steps)))
        self._from_input = _output_of(self._program)
        with np.errstate(over="ignore", invalid="ignore"):
            self._search = GroupSearch(self._program)

    def top(
        self, output: int, k: int, *, against: int | None = None, width: int = WIDTH
    ) -> TopPathGroups:
        """The k strongest groups to `output`; see `top_path_groups`."""
        entry = checked_output(output, self._shape)
        entries, signs = [entry], [1.0]
        if against is not None:
            entries.append(checked_against(against, entry, self._shape))
            signs.append(-1.0)
        with np.errstate(over="ignore", invalid="ignore"):
            found, others = self._search.find(entries, signs, k, max(k, width))
        if not all(np.isfinite(group.contribution) for group in found):
            raise PathKernelError(
                f"net: expected products of weights and gates along the paths to output {entry} "
                f"within float64, got some beyond float64. Repair: top_paths, whose numbers may be "
                f"of any size"
            )
        return TopPathGroups(
            output=entry,
            groups=tuple(self._group(one) for one in found),
            total=float(self._total[entries] @ signs),
            from_input=float(self._from_input[entries] @ signs),
            others_at_most=float(np.nan_to_num(others, nan=np.inf, posinf=np.inf)),
            against=entries[1] if len(entries) > 1 else None,
        )

    def _group(self, found: FoundGroup) -> PathGroup:
        nodes = tuple(_node(self._program.steps[step], channel) for step, channel in found.stops)
        return PathGroup(nodes, found.contribution, found.starts)


@takes(PathKernelError, k=whole(1), width=whole(1), memory=byte_count)
def top_path_groups(
    net: GatedNetwork,
    x: Tensor,
    output: int,
    k: int = 10,
    *,
    against: int | None = None,
    width: int = WIDTH,
    memory: float = 4e9,
) -> TopPathGroups:
    """The strongest groups of paths to one output: those through the same channels.

    A single path is a tiny share of an output, and in a convolutional network there is one for
    every choice of positions. A group is all paths from one channel of the input through one
    channel of every layer that they meet, at any positions; in a dense network, from all pixels
    through the same units. What a group adds is the exact sum over its paths: none is left out.
    All groups together, with the paths that begin at biases, sum to the output.

    The groups are looked for from the output back, with a bound on what each can still add. In a
    network of dense layers the bound is exact, and so are those found the strongest. Elsewhere
    positions cancel; `others_at_most` says how large any other group can be, and `is_proven`
    whether it leaves no doubt. Each group's own sum is exact in any case.

    Args:
        net: a gated network; its own gates, in evaluation mode.
        x: one example, (1, ...) or (...).
        output: flat position in the network's output: the class.
        k: how many groups; fewer where fewer do not sum to 0.
        against: another output, to be subtracted: a group is then what its channels add to the
            difference of the two.
        width: how many partial groups go on at every layer. More find more, and take longer.
        memory: as `top_paths`.

    Raises:
        PathKernelError: an argument is not what it should be, or the tables take more than
            `memory`.
        UnsupportedOperationError: an operation whose paths cannot be followed.

    Source: derived; each sum is a layer-wise product of matrices restricted to a channel.

    >>> import torch
    >>> import dualview as dv
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 3, 3), torch.nn.ReLU(),
    ...     torch.nn.Flatten(), torch.nn.Linear(12, 2))
    >>> net, x = dv.disentangle(model, kind="dlgn", seed=0), torch.randn(1, 1, 6, 6)
    >>> top = top_path_groups(net, x, output=1, k=12)
    >>> len(top.groups), top.groups[0].starts.shape  # 4 * 3 pairs of channels
    (12, (6, 6))
    >>> abs(top.sum - top.from_input) < 1e-9, top.is_proven
    (True, True)
    """
    program, _ = program_of(one_example(net, x, allowed=within(net, memory)))
    return GroupTables(program).top(output, k, against=against, width=width)


def _output_of(program: Program) -> np.ndarray:
    every = enumerate(each_total(program, "contribution"))
    return next(value for step, value in every if step == program.output)


def _without_constant(step: Step) -> Step:
    if isinstance(step, Input):
        return step
    return replace(step, bias=None) if isinstance(step, Weighted) else replace(step, constant=None)


def _node(step: Step, channel: int) -> GroupNode:
    kind: NodeKind = (
        "input" if isinstance(step, Input) else "weights" if isinstance(step, Weighted) else "gate"
    )
    return GroupNode(step.label.layer, kind, channel)
