"""The linear regions of a gating network along a line: what bends, and where the next bend is.

A gating network of piecewise-linear activations and max pools is affine in its input as long as no
pre-activation passes a kink of its activation, and no max pool changes its choice. So at a point
inside a region the values and their slopes along the line say exactly how far the region reaches,
by a division for each value. All numbers are float64; points of a line are on axis 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx
from torch.nn.utils.rnn import pad_sequence

from dualview.conversion.activations import is_activation
from dualview.conversion.copying import copied
from dualview.conversion.examples import check_takes
from dualview.conversion.finite import check_network
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import Gate, HardGate, LeakyGate, ParametricGate, ReLU6Gate
from dualview.conversion.graph_network import GraphNetwork
from dualview.conversion.pooling import (
    MaxPool,
    each_axis,
    is_max_pool,
    max_pool_at,
    max_pool_switch,
)
from dualview.conversion.source_lines import describe
from dualview.conversion.tracing import data_argument, drop_dead_code, gate_of
from dualview.errors import PrimalFilterError, UnsupportedOperationError
from dualview.primal.affine import check_modes, is_detach, put_first

KINKS: dict[type[Gate], tuple[float, ...]] = {
    HardGate: (0.0,),
    LeakyGate: (0.0,),
    ParametricGate: (0.0,),
    ReLU6Gate: (0.0, 6.0),
}
"""Gates of piecewise-linear activations -> the pre-activations at which these bend."""

STEPS = (HardGate, LeakyGate, ParametricGate)
"""Gates that are constant on either side of 0."""

NOISE = 1e-14
"""Values and slopes this small beside the largest of their layer are rounding, not crossings."""


@dataclass(frozen=True, eq=False)
class Bends:
    """A gating network that also gives everything that can bend.

    Attributes:
        network: x (n, ...) -> pre-activations of every gate, then what `kinks` and `pools` read.
        n_gates: how many gates there are.
        kinks: for each further value in turn, where it bends.
        pools: the max pools that the last values are the inputs of.
    """

    network: fx.GraphModule
    n_gates: int
    kinks: tuple[tuple[float, ...], ...]
    pools: tuple[MaxPool, ...]

    def along(self, x: Tensor, direction: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Every value at points (n, ...) with its derivative along one direction (...)."""
        ahead = direction.expand_as(x).contiguous()
        with torch.no_grad():
            values, slopes = torch.func.jvp(self.network, (x,), (ahead,))[:2]
        return list(zip(values, slopes, strict=True))

    def reach(self, noted: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
        """How far the regions of points reach back and ahead, and which points lie on a bend: (n,).

        Args:
            noted: of `along`.
        """
        values = noted[0][0]
        n = len(values)
        back, ahead = values.new_full((n,), -math.inf), values.new_full((n,), math.inf)
        at_bend = torch.zeros(n, dtype=torch.bool)
        for gap, slope in self._gaps(noted):
            if not gap.numel():
                continue
            big = gap.isfinite()
            noise = gap.abs() <= NOISE * _largest(gap, big)
            noise &= slope.abs() <= NOISE * _largest(slope, big)
            moves = (slope != 0) & ~noise & big
            at_bend |= ((gap == 0) & moves).any(1)
            step = torch.where(moves, gap / slope, math.nan)
            back = torch.maximum(back, torch.where(step < 0, step, -math.inf).amax(1))
            ahead = torch.minimum(ahead, torch.where(step > 0, step, math.inf).amin(1))
        return back, ahead, at_bend

    def _gaps(self, noted: Sequence[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Distances to every bend, and how fast they shrink: (n, bends) each."""
        gates, rest = noted[: self.n_gates], noted[self.n_gates :]
        for value, slope in gates:
            yield -value.flatten(1), slope.flatten(1)
        for (value, slope), kinks in zip(rest, self.kinks, strict=False):
            for kink in kinks:
                yield kink - value.flatten(1), slope.flatten(1)
        for (value, slope), pool in zip(rest[len(self.kinks) :], self.pools, strict=True):
            yield _overtaking(value, slope, pool)


def bends_of(net: GatedNetwork, until: int | None = None) -> Bends:
    """A frozen float64 copy of the gating network, in evaluation mode, that notes what can bend.

    Args:
        net: any network whose gating network is piecewise linear.
        until: leave out what comes behind the pre-activations of this layer.

    Raises:
        PrimalFilterError: an activation or a multiplier is not piecewise linear, there are several
            inputs, or the normalisation is that of the batch.
    """
    exact = exact_copy(net)
    gating, graph, env = exact.gating_network, fx.Graph(), dict[fx.Node, fx.Node]()
    _expect_one_input(gating.graph)
    bending: list[fx.Node] = []  # activations, max pools and switches, of the gating graph
    for node in gating.graph.nodes:
        if node.op == "output":
            break
        if is_detach(node):  # the same value, and derivatives would miss it
            env[node] = env[node.all_input_nodes[0]]
            continue
        env[node] = graph.node_copy(node, env.__getitem__)
        if is_activation(node) or is_max_pool(node) or node.target is max_pool_switch:
            bending.append(node)
    values = list(gating.graph.output_node().args[0])  # type: ignore[arg-type]
    wanted = values if until is None else [values[until]]
    before = _before([env[node] for node in wanted])
    _refuse_multipliers([n for n in values[net.n_gates :] if env[n] in before])
    bending = [node for node in bending if env[node] in before]
    chosen = [env[node] for node in wanted[: net.n_gates]]
    kinks = [(env[data_argument(n)], _kinks(n)) for n in bending if is_activation(n)]
    kinks = [pair for pair in kinks if pair[0] not in chosen or pair[1] != (0.0,)]
    pools = _different((env[data_argument(n)], _pool(n)) for n in bending if not is_activation(n))
    graph.output((*chosen, *(n for n, _ in kinks), *(n for n, _ in pools)))
    drop_dead_code(graph)
    network = GraphNetwork(gating, graph)
    if exact.input_transform is not None:
        put_first(exact.input_transform, network)
    check_modes(network)
    return Bends(
        copied(network).requires_grad_(False),
        len(chosen),
        tuple(where for _, where in kinks),
        tuple(pool for _, pool in pools),
    )


def _expect_one_input(graph: fx.Graph) -> None:
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        raise PrimalFilterError(
            f"net: expected one input, got {len(inputs)}, which make no one line. Repair: fix the "
            f"others inside the model"
        )


def _before(chosen: Sequence[fx.Node]) -> set[fx.Node]:
    """The nodes that the chosen ones are computed from, and they themselves."""
    found, waiting = set(chosen), list(chosen)
    while waiting:
        sources = waiting.pop().all_input_nodes
        waiting += [source for source in sources if source not in found]
        found.update(sources)
    return found


def _pool(node: fx.Node) -> MaxPool:
    """The max pool at a node, or the one that a switch is of, where no gate lies behind it."""
    if node.target is not max_pool_switch:
        return max_pool_at(node)
    _, dims, adaptive = node.args
    return MaxPool(cast(int, dims), cast(bool, adaptive), dict(node.kwargs))


def _different(pairs: Iterable[tuple[fx.Node, MaxPool]]) -> list[tuple[fx.Node, MaxPool]]:
    """Each once: a pool and its switch bend together."""
    found: list[tuple[fx.Node, MaxPool]] = []
    for pair in pairs:
        if pair not in found:
            found.append(pair)
    return found


def _kinks(node: fx.Node) -> tuple[float, ...]:
    try:
        gate = gate_of(node)
    except UnsupportedOperationError as error:
        raise PrimalFilterError(str(error)) from error
    if type(gate) not in KINKS:
        raise PrimalFilterError(
            f"{describe(node)}: expected activations that are piecewise linear (ReLU, leaky ReLU, "
            f"PReLU, ReLU6) in the gating network, got one with the gate {type(gate).__name__}, "
            f"whose pre-activations bend everywhere. Repair: kind='dlgn', whose gating network has "
            f"no activations"
        )
    return KINKS[type(gate)]


def _refuse_multipliers(values: Sequence[fx.Node]) -> None:
    """Refuse what the gating network gives beside gates and switches."""
    for value in values:
        if value.target is not max_pool_switch:
            raise PrimalFilterError(
                f"{value}: a multiplier that depends on the example (attention, "
                f"squeeze-and-excitation, normalisation by its statistics), so that "
                f"pre-activations are not piecewise linear in the input. Repair: a network without"
            )


def _largest(values: Tensor, where: Tensor) -> Tensor:
    return torch.where(where, values.abs(), 0).amax()


def _overtaking(value: Tensor, slope: Tensor, pool: MaxPool) -> tuple[Tensor, Tensor]:
    """How far each entry of a window is below its largest, and how fast it comes nearer."""
    windows = windows_of(pool, tuple(value.shape[2:]))  # (windows, entries), -1 for none
    inside = windows >= 0
    places = windows.clamp(min=0)
    values, slopes = (part.flatten(2)[:, :, places] for part in (value, slope))  # (n, c, w, e)
    values = torch.where(inside, values, -math.inf)
    top = values.argmax(-1, keepdim=True)
    gap = values.gather(-1, top) - values
    nearer = torch.where(inside, slopes - slopes.gather(-1, top), 0)
    return gap.flatten(1), nearer.flatten(1)


def windows_of(pool: MaxPool, sizes: tuple[int, ...]) -> Tensor:
    """The flat input positions of every window, (windows, entries); -1 where there is none.

    >>> windows_of(MaxPool(1, False, {"kernel_size": 2, "stride": 2, "padding": 0, "dilation": 1,
    ...     "ceil_mode": True}), (3,))
    tensor([[ 0,  1],
            [ 2, -1]])
    """
    flat = torch.zeros(1, 1, dtype=torch.long)
    for axis, size in enumerate(sizes):
        read = [entries.nonzero().flatten() for entries in _axis_windows(pool, axis, size)]
        own = pad_sequence(read, batch_first=True, padding_value=-1)[:, None]
        before = flat[:, None, :, None]  # (windows so far, 1, entries, 1)
        joined = torch.where((before < 0) | (own < 0), -1, before * size + own)
        flat = joined.flatten(2).flatten(0, 1)
    return flat


def _axis_windows(pool: MaxPool, axis: int, size: int) -> Tensor:
    """Whether each window along one axis reads each position, (windows, size): the pool tells."""
    options = {
        name: value and each_axis(value, pool.dims)[axis] for name, value in pool.options.items()
    }
    if pool.adaptive:
        options["output_size"] = options["output_size"] or size
    along = MaxPool(1, pool.adaptive, options)
    return along.max_function(torch.eye(size).unsqueeze(1), **options)[:, 0].T > 0


def exact_copy(net: GatedNetwork) -> GatedNetwork:
    """A float64 copy on the CPU, in evaluation mode."""
    return copied(net).cpu().double().eval().requires_grad_(False)


def examples_of(net: GatedNetwork, *examples: Tensor) -> list[Tensor]:
    """Examples as batches of one, float64; they are called a, b, ...

    Raises:
        PrimalFilterError: the network has numbers that are not finite, or does not take them.
    """
    check_network(net, PrimalFilterError)
    exact, found = exact_copy(net), []
    for name, x in zip("abc", examples, strict=False):
        batch = x.detach().cpu().double()
        if len(batch) != 1 or batch.dim() < 2:
            batch = batch[None]
        check_takes(exact, name, batch, PrimalFilterError)
        found.append(batch)
    if len({x.shape for x in found}) > 1:
        shapes = ", ".join(str(tuple(x.shape[1:])) for x in found)
        raise PrimalFilterError(f"a, b: expected examples of one shape, got {shapes}")
    return found


def expect_logits(value: Any, n: int) -> Tensor:
    """Logits (n, outputs); of a constant-1 input, one row for all.

    Raises:
        PrimalFilterError: there are several outputs, or none of that form.
    """
    if not isinstance(value, Tensor) or value.dim() != 2:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise PrimalFilterError(
            f"net: expected one output (n, outputs), got {got}. Repair: disentangle(..., "
            f"output=...)"
        )
    return value.expand(n, -1)


def logits_at(net: GatedNetwork, x: Tensor, inside: Tensor, *, hard: bool) -> Tensor:
    """Logits (n, outputs) at points (n, ...), under the gates that other points (n, ...) have.

    Raises:
        PrimalFilterError: as `expect_logits`.
    """
    with torch.no_grad():
        gates, switches = net.gates_and_switches(inside, hard=hard)
        value = net.weights_network(net.transformed(x), *gates, *switches)
    return expect_logits(value, len(x))
