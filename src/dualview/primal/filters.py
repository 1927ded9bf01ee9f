"""The primal view: every gate of a DLGN as one linear filter and one offset.

In a DLGN the pre-activations of the gating network are affine in the input,
q[i, p](x) = <F[i, p], x> + c[i, p], for unit or channel i at position p. Filters have the axes of
one input, (channels, positions...) or (features,), after axes that say whose filters they are.
Source: arXiv 2110.03403, on primal linearity.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from dualview.arguments import byte_count, optional, require, sequence, takes, whole
from dualview.arguments import shape as shape_of
from dualview.conversion.examples import example, gated
from dualview.conversion.finite import check_preactivations
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.operations import WEIGHT_MODULES
from dualview.conversion.source_lines import module_of
from dualview.errors import PrimalFilterError
from dualview.primal.affine import layer_network
from dualview.primal.composition import walk
from dualview.primal.local_maps import LocalMap
from dualview.primal.norms import filter_norms, filters_of

TEMPORARIES = 2
"""How often differentiation may hold the values of one example."""


@dataclass(frozen=True, eq=False)
class PrimalFilters:
    """The filters and offsets of all gates of one layer; made by `primal_filters`.

    A snapshot: training the network afterwards does not change it.

    Attributes:
        layer: number of the gating network's pre-activation.
        input_shape: (channels, positions...) or (features,) of one input.
        offsets: c of every gate, of the shape of one example's gates: (units,) or
            (channels, positions...).
        memory: bound, in bytes, on what one block of work and one result may hold.
    """

    layer: int
    input_shape: tuple[int, ...]
    offsets: Tensor
    memory: float
    _network: fx.GraphModule
    _local: LocalMap | None
    _elements: int

    @property
    def gate_shape(self) -> tuple[int, ...]:
        """(units,) of a dense layer, (channels, positions...) of a convolutional one."""
        return tuple(self.offsets.shape)

    @property
    def has_channel_kernels(self) -> bool:
        """Whether `channel_kernels` exist: some position sees one kernel, free of the border."""
        return self._local is not None

    @property
    def channel_kernels(self) -> Tensor:
        """The filter of each channel as one composed kernel (channels, input channels, sizes...).

        At the position p of the interior the filter is this kernel with its first entry at input
        position `origin(p)`, and 0 elsewhere. Exact, in closed form.

        Raises:
            PrimalFilterError: no position sees one kernel (dense layers; receptive fields as large
                as the image; upsampling and other operations with no closed form).
        """
        return self._map().kernels

    @property
    def interior(self) -> tuple[range, ...]:
        """Positions, for each position axis, where the channel kernels are the filters.

        Empty ranges where there are no channel kernels; no range for a dense layer.
        """
        if self._local is None:
            return (range(0),) * (len(self.gate_shape) - 1)
        return tuple(axis.interior for axis in self._local.axes)

    def origin(self, position: Sequence[int]) -> tuple[int, ...]:
        """Input position of the first entry of a channel's kernel, for a gate of the interior.

        Under circular padding the kernel goes on modulo the size of the input.

        Raises:
            PrimalFilterError: the position is not in the interior, or there are no channel kernels.
        """
        axes = self._map().axes
        (place,) = self._positions([position])
        if not all(p in axis.interior for p, axis in zip(place, axes, strict=True)):
            raise PrimalFilterError(
                f"position: expected one in the interior {self.interior}, got {place}, whose "
                f"filter is cut off by the border. Repair: filters(positions=[{place}])"
            )
        return tuple(
            (axis.stride * p + axis.first) % axis.input_size
            for p, axis in zip(place, axes, strict=True)
        )

    def filters(
        self,
        channels: int | Iterable[int] | None = None,
        positions: Iterable[Sequence[int]] | None = None,
    ) -> Tensor:
        """Filters of chosen gates over the whole input, exact at the border too.

        They come by vector-Jacobian products, in blocks of at most `memory` bytes.

        Args:
            channels: channels, or units of a dense layer; default: all.
            positions: such as [(row, column), ...]; default: all. Not for a dense layer.

        Returns:
            (units, *input shape) for a dense layer, else (channels, positions, *input shape).

        Raises:
            PrimalFilterError: no such channel or position, or a result of more than `memory` bytes.
        """
        chosen = self._channels(channels)
        spatial = self.gate_shape[1:]
        places = self._positions(positions)
        strides = [math.prod(spatial[axis + 1 :]) for axis in range(len(spatial))]
        inner = [sum(map(operator.mul, place, strides)) for place in places]
        device = self.offsets.device
        gates = torch.tensor(chosen, device=device).unsqueeze(1) * math.prod(spatial)
        gates = (gates + torch.tensor(inner, device=device)).flatten()
        self._refuse_large(len(gates))
        example = self._example()
        parts = [example[:0]]
        for part in gates.split(self._block) if len(gates) else ():
            parts.append(filters_of(self._network, example, self.gate_shape, part))
        lead = (len(chosen), len(places)) if spatial else (len(chosen),)
        return torch.cat(parts).reshape(*lead, *self.input_shape)

    @functools.cached_property
    def norms(self) -> Tensor:
        """Euclidean norm of the filter of every gate, exact at the border too, as `gate_shape`."""
        return filter_norms(
            self._network, self._example(), self.gate_shape, self._local, self._block
        )

    def preactivations(self, x: Tensor) -> Tensor:
        """The layer's pre-activations <F, x> + c of examples (n, *input shape).

        Raises:
            PrimalFilterError: another shape or type, values that are not finite, or overflow.
        """
        self._check_examples(x)
        with torch.no_grad():
            values = torch.cat([self._network(part) for part in x.split(self._block)])
        check_preactivations("x", [values], PrimalFilterError)
        return values

    def distances(self, x: Tensor) -> Tensor:
        """Signed Euclidean distance of examples (n, *input shape) to the hyperplane of every gate.

        Returns:
            (n, *gate shape): q / |F|, positive where the gate is on. A gate that does not depend on
            the input has no hyperplane: infinity with the sign of its offset, or 0 for offset 0.

        Raises:
            PrimalFilterError: as `preactivations`.
        """
        values = self.preactivations(x)
        return torch.where(values == 0, values, values / self.norms)

    def __repr__(self) -> str:
        kernels = tuple(self.channel_kernels.shape) if self.has_channel_kernels else None
        return (
            f"PrimalFilters(layer={self.layer}, input_shape={self.input_shape}, "
            f"gate_shape={self.gate_shape}, channel_kernels={kernels})"
        )

    def _example(self) -> Tensor:
        return self.offsets.new_zeros(1, *self.input_shape)

    @property
    def _block(self) -> int:
        """Examples that differentiation may run at once."""
        held = TEMPORARIES * self._elements * self.offsets.element_size()
        return max(1, int(self.memory / held))

    def _map(self) -> LocalMap:
        if self._local is None:
            reason = (
                "it is dense"
                if len(self.gate_shape) == 1
                else "no position is free of the border, or an operation has no closed form"
            )
            raise PrimalFilterError(
                f"layer {self.layer} of gates {self.gate_shape} has no channel kernels: {reason}. "
                f"Repair: filters(), which gives the filters of chosen gates over the whole input"
            )
        return self._local

    def _channels(self, channels: int | Iterable[int] | None) -> list[int]:
        count = self.gate_shape[0]
        if channels is None:
            return list(range(count))
        one = not hasattr(channels, "__iter__") or getattr(channels, "ndim", 1) == 0
        given: list[Any] = (
            [channels] if one else require("channels", channels, sequence, PrimalFilterError)
        )
        return [_index(channel, count, "channels") for channel in given]

    def _positions(self, positions: Iterable[Sequence[int]] | None) -> list[tuple[int, ...]]:
        """Every position as a tuple; for a dense layer the one position ()."""
        spatial = self.gate_shape[1:]
        if positions is None:
            return list(_every(spatial))
        given = require("positions", positions, sequence, PrimalFilterError)
        places = [
            tuple(require("positions", place, sequence, PrimalFilterError)) for place in given
        ]
        if not spatial:
            raise PrimalFilterError(
                f"positions: expected none for layer {self.layer}, which is dense, got some"
            )
        for place in places:
            if len(place) != len(spatial):
                raise PrimalFilterError(
                    f"positions: expected {len(spatial)} numbers each, for the positions "
                    f"{spatial} of layer {self.layer}, got {place}"
                )
        return [
            tuple(_index(p, n, "positions") for p, n in zip(place, spatial, strict=True))
            for place in places
        ]

    def _refuse_large(self, gates: int) -> None:
        size = gates * math.prod(self.input_shape) * self.offsets.element_size()
        if size > self.memory:
            raise PrimalFilterError(
                f"the filters of {gates} gates take {size / 1e6:.0f} MB; expected at most "
                f"memory={self.memory:g} bytes. Repair: choose channels and positions, use "
                f"channel_kernels for all channels, or raise memory"
            )

    def _check_examples(self, x: Tensor) -> None:
        require("x", x, example, PrimalFilterError)
        if x.shape[1:] != self.input_shape or x.dtype != self.offsets.dtype:
            wanted = ", ".join(map(str, ("n", *self.input_shape)))
            raise PrimalFilterError(
                f"x: expected {self.offsets.dtype} of shape ({wanted}), got {x.dtype} "
                f"{tuple(x.shape)}"
            )


@takes(PrimalFilterError, net=gated, input_shape=optional(shape_of()), memory=byte_count)
def primal_filters(
    net: GatedNetwork,
    layer: int,
    input_shape: Sequence[int] | None = None,
    *,
    memory: float = 256e6,
) -> PrimalFilters:
    """The linear filter and the offset of every gate of a layer of a DLGN, exactly.

    Zero padding, circular padding, strides, dilation, groups, pooling, skips and batch norm in
    evaluation mode are all in the filters; no matrix of a whole layer is ever made.

    Args:
        net: a network of kind "dlgn" or "dlgn-sf", in evaluation mode if it has batch norm.
        layer: number of the gating network's pre-activation, 0 to L - 1. With a permuted gate
            order, layer m of the weights network gets its gates from layer `net.gate_order[m]`.
        input_shape: shape of one example, such as (3, 32, 32); `x.shape[1:]`. Default: that of the
            example input or of the reference architecture that `net` was made from; for others,
            what a dense first layer reads.
        memory: bound, in bytes, on what one block of work and one result may hold.

    Raises:
        PrimalFilterError: another kind of network, no such layer, training mode, parameters that
            are not finite, or a shape that is not known or that the network cannot take.

    Source: arXiv 2110.03403, on primal linearity. Filters at the border, norms and the closed form
    for general graphs are this project's.

    >>> import dualview as dv
    >>> from dualview.architectures import c4gap
    >>> net = dv.disentangle(c4gap(width=8), kind="dlgn", seed=0).eval()
    >>> found = primal_filters(net, layer=3)
    >>> found.channel_kernels.shape, found.interior
    (torch.Size([8, 3, 9, 9]), (range(4, 28), range(4, 28)))
    >>> corner = found.filters(channels=5, positions=[(0, 0)])
    >>> corner.shape
    torch.Size([1, 1, 3, 32, 32])
    >>> x = torch.randn(1, 3, 32, 32)
    >>> q = (corner * x).sum() + found.offsets[5, 0, 0]
    >>> bool(torch.allclose(q, net.preactivations(x)[3][0, 5, 0, 0], atol=1e-5))
    True
    """
    network = layer_network(net, layer)
    shape = _known_shape(net, network) if input_shape is None else _checked_shape(input_shape)
    like = next((p for p in net.parameters() if p.is_floating_point()), torch.zeros(()))
    walked = walk(network, like.new_zeros(1, *shape))
    return PrimalFilters(
        int(layer),
        shape,
        walked.offsets,
        memory,
        network,
        walked.local,
        walked.elements,
    )


@takes(PrimalFilterError, net=gated, x=example, memory=byte_count)
def gate_distances(net: GatedNetwork, x: Tensor, layer: int, *, memory: float = 256e6) -> Tensor:
    """Signed Euclidean distance of every example to the hyperplane {q = 0} of every gate.

    Args:
        net: a DLGN, as for `primal_filters`.
        x: examples (n, ...), of the network's type.
        layer: number of the gating network's pre-activation.
        memory: bound, in bytes, on one block of work.

    Returns:
        (n, units) or (n, channels, positions...): q / |F|. How far the example would have to move
        for the gate to switch; positive where it is on.

    Raises:
        PrimalFilterError: as `primal_filters` and `PrimalFilters.distances`.

    >>> import dualview as dv
    >>> model = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1))
    >>> _ = model[0].weight.data.copy_(torch.tensor([[3.0, 4.0]])), model[0].bias.data.zero_()
    >>> net = dv.disentangle(model, kind="dlgn", seed=0).eval()
    >>> gate_distances(net, torch.tensor([[3.0, 4.0], [0.0, -1.0]]), layer=0)
    tensor([[ 5.0000],
            [-0.8000]])
    """
    try:
        found = primal_filters(net, layer, tuple(x.shape[1:]), memory=memory)
    except PrimalFilterError as error:
        if not _takes(net, layer, tuple(x.shape)):
            raise
        raise PrimalFilterError(
            f"x: expected examples (n, {', '.join(map(str, x.shape))}), got one without their "
            f"axis. Repair: x[None] is a batch of one example"
        ) from error
    return found.distances(x)


def _takes(net: GatedNetwork, layer: int, input_shape: tuple[int, ...]) -> bool:
    try:
        primal_filters(net, layer, input_shape)
    except PrimalFilterError:
        return False
    return True


def _known_shape(net: GatedNetwork, network: fx.GraphModule) -> tuple[int, ...]:
    """The shape of one example, where the network's making or its first layer tells it."""
    made = net.recipe
    if made is not None and made.example_shape is not None:
        return made.example_shape
    options = {} if made is None or made.architecture is None else made.architecture.options
    if "input_shape" in options:
        return _checked_shape(options["input_shape"])
    for node in network.graph.nodes:
        module = module_of(node) if node.op == "call_module" else None
        if isinstance(module, nn.Linear):
            return (module.in_features,)
        if isinstance(module, WEIGHT_MODULES):
            break
    raise PrimalFilterError(
        "input_shape: expected the shape of one example, which this network does not fix, got "
        "None. Repair: primal_filters(net, layer, x.shape[1:]), or disentangle(model, "
        "example_input=x)"
    )


def _checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    sizes: tuple[int, ...] = require("input_shape", shape, shape_of(), PrimalFilterError)
    return sizes


def _index(value: int, count: int, name: str) -> int:
    index: int = require(name, value, whole(0, count - 1), PrimalFilterError)
    return index


def _every(sizes: Sequence[int]) -> Iterable[tuple[int, ...]]:
    """Every position of an array, in order; the one position () of an array without axes."""
    indices = torch.cartesian_prod(*(torch.arange(n) for n in sizes)) if sizes else None
    if indices is None:
        return [()]
    return [tuple(row) for row in indices.reshape(-1, len(sizes)).tolist()]
