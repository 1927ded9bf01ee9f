"""Paths as the explorer's page draws them: a few stops, each in a column.

Column 0 is the input, column l the gated layer l, the last one the output. A stop is
[column, unit, factor on the way to it, gate there]; factor and gate are None where there is none.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualview.path_attribution.groups import PathGroup
    from dualview.path_attribution.paths import Path, PathNode

Stop = list[Any]

DIGITS = 6
BEYOND_JSON = 1e300
"""From here on numbers are texts: JSON and JavaScript have none beyond 1.8e308."""


def path_stops(path: Path, n_layers: int) -> list[Stop]:
    """The stops of a path through a network of `n_layers` gated layers.

    A unit that a path enters by a weight and leaves by its gate is one stop. A bias is a stop of
    its own, half a column before its unit; a unit without a gate, half a column behind the last.

    >>> from dualview.path_attribution.paths import Path, PathNode
    >>> nodes = (
    ...     PathNode("input", "input", 0, (3, 4), 0.5),
    ...     PathNode("0", "weights", 7, (), 2.0),
    ...     PathNode("gate_1", "gate", 7, (), 0.9),
    ...     PathNode("2", "weights", 1, (), -1.0),
    ... )
    >>> path_stops(Path(nodes, -0.9, 0.45, -2.0, 1.0), n_layers=1)
    [[0, [0, 3, 4], 0.5, None], [1, [7], 2.0, 0.9], [2, [1], -1.0, None]]
    """
    stops: list[Stop] = []
    for node in path.nodes:
        if node.kind == "gate":
            _pass_gate(stops, node)
        else:
            stops.append([None, _unit(node), round_digits(node.factor), None])
    _set_columns(stops, path, n_layers)
    return stops


def group_stops(group: PathGroup, n_layers: int) -> list[Stop]:
    """The stops of a group of paths: channels without positions, weights or gates, and the output.

    >>> from dualview.path_attribution.groups import GroupNode, PathGroup
    >>> nodes = (
    ...     GroupNode("input", "input", 2),
    ...     GroupNode("0", "weights", 7),
    ...     GroupNode("gate_1", "gate", 7),
    ... )
    >>> group_stops(PathGroup(nodes, 0.5, None), n_layers=1)
    [[0, 2], [1, 7], [2, None]]
    """
    stops: list[Stop] = []
    for node in group.nodes:
        if node.kind != "gate":
            stops.append([None, node.channel])
        else:
            column = int(node.layer.rpartition("_")[2])
            if len(stops) > 1 and stops[-1] == [None, node.channel]:
                stops[-1][0] = column
            else:
                stops.append([column, node.channel])
    stops.append([n_layers + 1, None])
    stops[0][0] = 0
    for before, stop in itertools.pairwise(stops):
        if stop[0] is None:
            stop[0] = before[0] + 0.5
    return stops


def _pass_gate(stops: list[Stop], node: PathNode) -> None:
    """Put a gate at the unit that the path has just entered, or give it a stop of its own."""
    column = int(node.layer.rpartition("_")[2])
    entered = stops[-1]
    if len(stops) > 1 and entered[0] is None and entered[1] == _unit(node):
        entered[0], entered[3] = column, round_digits(node.factor)
    else:
        stops.append([column, _unit(node), None, round_digits(node.factor)])


def _set_columns(stops: list[Stop], path: Path, n_layers: int) -> None:
    """Give every stop without a gate its column."""
    if path.start.kind == "input":
        stops[0][0] = 0
    if len(stops) == 1:  # the output's own bias
        stops.append([None, stops[0][1], None, None])
    if stops[-1][0] is None:
        stops[-1][0] = n_layers + 1
    if stops[0][0] is None:
        following = next(stop[0] for stop in stops if stop[0] is not None)
        stops[0][0] = following - 0.5
    for before, stop in itertools.pairwise(stops):
        if stop[0] is None:
            stop[0] = before[0] + 0.5


def _unit(node: PathNode) -> list[int]:
    return [node.channel, *node.position]


def round_digits(value: float, digits: int = DIGITS) -> float:
    """A number as the page has it, where it need not be exact.

    >>> round_digits(1 / 3), round_digits(1 / 3, 2)
    (0.333333, 0.33)
    """
    return float(f"{value:.{digits}g}")


def of_any_size(value: float) -> float | str:
    """The same; a text, where JSON's numbers have no room for it.

    >>> from dualview.path_attribution.paths import WholeNumber
    >>> of_any_size(0.5), of_any_size(WholeNumber(-(10**400)))
    (0.5, '-1.00000e+400')
    """
    return round_digits(value) if abs(value) < BEYOND_JSON else f"{value:.{DIGITS}g}"
