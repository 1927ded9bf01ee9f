"""The primal view: every gate of a DLGN as one linear filter and one offset.

In a DLGN the pre-activations of the gating network are affine in the input,
q[i, p](x) = <F[i, p], x> + c[i, p], for unit or channel i at position p. Filters have the axes of
one input, (channels, positions...) or (features,), after axes that say whose filters they are.
Source: arXiv 2110.03403, on primal linearity.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from dualview.arguments import byte_count, gated_layer, offering, optional, require, takes
from dualview.arguments import shape as shape_of
from dualview.conversion.examples import batch, check_takes, example, gated
from dualview.conversion.finite import check_network, check_preactivations
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.modes import evaluation_mode
from dualview.conversion.operations import WEIGHT_MODULES
from dualview.conversion.source_lines import module_of
from dualview.errors import PrimalFilterError
from dualview.primal.affine import LINEAR_KINDS, layer_network
from dualview.primal.chosen_gates import chosen_gates, flat_gates
from dualview.primal.composition import Walk, walk
from dualview.primal.local_distances import local_distances
from dualview.primal.local_maps import LocalMap
from dualview.primal.norms import (
    OPERATIONS_A_SECOND,
    Canvas,
    NormWork,
    canvas_of,
    linear_map,
    norm_work,
    say_long,
)
from dualview.progress import Progress, Unseen

TEMPORARIES = 3
"""How often differentiation may hold the values that one example holds at once."""


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
    _walked: Walk

    @property
    def gate_shape(self) -> tuple[int, ...]:
        """(units,) of a dense layer, (channels, positions...) of a convolutional one."""
        return tuple(self.offsets.shape)

    @property
    def has_channel_kernels(self) -> bool:
        """Whether `channel_kernels` exist: some position sees one kernel, free of the border."""
        return self._local is not None

    @property
    def can_compose(self) -> bool:
        """Whether `channel_kernels` exist and `memory` allows to compose them."""
        return self._local is not None and self._walked.nbytes <= self.memory

    @functools.cached_property
    def channel_kernels(self) -> Tensor:
        """The filter of each channel as one composed kernel (channels, input channels, sizes...).

        At the position p of the interior the filter is this kernel with its first entry at input
        position `origin(p)`, and 0 elsewhere. Exact, in closed form; composed when first asked for.

        Raises:
            PrimalFilterError: no position sees one kernel (dense layers; receptive fields larger
                than the image; upsampling and other operations with no closed form); or composing
                them would take more than `memory` bytes.
        """
        shape = tuple(self._map().kernels.shape)
        nbytes, seconds = self._walked.nbytes, self._walked.operations / OPERATIONS_A_SECOND
        if not self.can_compose:
            raise PrimalFilterError(
                f"the channel kernels of layer {self.layer}, of shape {shape}, take "
                f"{nbytes / 1e6:,.0f} MB and about {seconds:,.0f} s to compose; expected at most "
                f"memory={self.memory:g} bytes. Repair: filters(channels, positions), which takes "
                f"{self._held / 1e6:,.0f} MB, or memory={nbytes:.2g}"
            )
        local = walk(self._network, self.offsets.new_zeros(1, *self.input_shape)).local
        assert local is not None
        return local.kernels

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
        _, (place,) = self._chosen(None, [position])
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
            PrimalFilterError: no such channel or position, a result of more than `memory` bytes, or
                one gate that takes more.
        """
        chosen, places = self._chosen(channels, positions)
        lead = (len(chosen), len(places)) if self.gate_shape[1:] else (len(chosen),)
        self._refuse_large(math.prod(lead))
        linear = linear_map(self._network, self.offsets, self.input_shape, self.gate_shape)
        out = self.offsets.new_empty(math.prod(lead), *self.input_shape)
        gates = flat_gates(chosen, places, self.gate_shape).to(out.device)
        for part in torch.arange(len(gates)).split(self._block) if len(gates) else ():
            out[part] = linear.rows(gates[part])
        return out.reshape(*lead, *self.input_shape)

    @functools.cached_property
    def norms(self) -> Tensor:
        """Euclidean norm of the filter of every gate, exact at the border too, as `gate_shape`.

        Deep layers of large images take minutes, which a warning says beforehand. `norms_of` gives
        those of chosen gates.

        Raises:
            PrimalFilterError: the norm of one gate takes more than `memory` bytes.
        """
        return self._all_norms(Unseen())

    def _all_norms(self, progress: Progress) -> Tensor:
        if (local := self._everywhere) is not None:
            norms = local.flatten(1).norm(dim=1)
            return norms.reshape(-1, *(1,) * (local.dim() - 2)).expand(*self.gate_shape).clone()
        canvas, work = self._work_of_all
        norms = self._done(work, progress).reshape(canvas.gate_shape)
        for axis, places in enumerate(canvas.places):
            norms = norms.index_select(1 + axis, torch.tensor(places, device=norms.device))
        return norms

    @takes(PrimalFilterError, progress=optional(offering("counting")))
    def norms_of(
        self,
        channels: int | Iterable[int] | None = None,
        positions: Iterable[Sequence[int]] | None = None,
        *,
        progress: Progress | None = None,
    ) -> Tensor:
        """Norms of the filters of chosen gates: (channels, positions), or (units,).

        Many gates of a layer near the input take the passes of a few; many of a deep layer take
        long, which a warning says beforehand.

        Args:
            channels: as `filters`.
            positions: as `filters`.
            progress: told of the passes through the network.

        Raises:
            PrimalFilterError: as `filters`.
        """
        progress = progress or Unseen()
        if channels is None and positions is None:
            if "norms" not in self.__dict__:
                self.__dict__["norms"] = self._all_norms(progress)
            return self.norms.flatten(1) if self.gate_shape[1:] else self.norms
        return self._norms(*self._chosen(channels, positions), progress)

    def _norms(
        self, chosen: Sequence[int], places: Sequence[tuple[int, ...]], progress: Progress
    ) -> Tensor:
        if (local := self._everywhere) is not None:
            return local.flatten(1).norm(dim=1)[chosen].unsqueeze(1).repeat(1, len(places))
        canvas = canvas_of(self.input_shape, self.gate_shape, self._local)
        cut = [
            tuple(axis[p] for p, axis in zip(place, canvas.places, strict=True)) for place in places
        ]
        gates, back = flat_gates(chosen, cut, canvas.gate_shape).unique(return_inverse=True)
        norms = self._done(self._work(canvas, gates), progress)[back.to(self.offsets.device)]
        return norms.reshape(len(chosen), -1) if self.gate_shape[1:] else norms

    @property
    def _everywhere(self) -> Tensor | None:
        """The kernels, where every position sees them whole and they may be composed."""
        if self._local is None or not all(axis.all_interior for axis in self._local.axes):
            return None
        return self.channel_kernels if self.can_compose else None

    @functools.cached_property
    def _work_of_all(self) -> tuple[Canvas, NormWork]:
        canvas = canvas_of(self.input_shape, self.gate_shape, self._local)
        return canvas, self._work(canvas, torch.arange(math.prod(canvas.gate_shape)))

    def _work(self, canvas: Canvas, gates: Tensor) -> NormWork:
        self._refuse_one()
        return norm_work(
            self._network,
            self.offsets,
            canvas,
            gates.to(self.offsets.device),
            held=self._held,
            written=self._walked.elements * self.offsets.element_size(),
            memory=self.memory,
        )

    def _done(self, work: NormWork, progress: Progress) -> Tensor:
        """The norms, in the network's type; that they take long is said beforehand."""
        say_long(self.layer, work.way.passes, work.seconds, work.nbytes)
        passes, title = work.way.passes, f"norms, layer {self.layer}"
        with progress.counting(passes, title, unit="pass") as advance:
            return work.norms(advance).to(self.offsets.dtype)

    def preactivations(self, x: Tensor) -> Tensor:
        """The layer's pre-activations <F, x> + c of examples (n, *input shape).

        Raises:
            PrimalFilterError: another shape or type, values that are not finite, or overflow.
        """
        self._check_examples(x)
        values = self.offsets.new_empty(len(x), *self.gate_shape)
        with torch.no_grad():
            for part in torch.arange(len(x)).split(self._block):
                values[part] = self._network(x[part])
        check_preactivations("x", [values], PrimalFilterError)
        return values

    @takes(PrimalFilterError, progress=optional(offering("counting")))
    def distances(
        self,
        x: Tensor,
        channels: int | Iterable[int] | None = None,
        positions: Iterable[Sequence[int]] | None = None,
        *,
        progress: Progress | None = None,
    ) -> Tensor:
        """Signed Euclidean distance of examples (n, *input shape) to the hyperplane of every gate.

        Args:
            x: the examples.
            channels: as `filters`; with neither, the distances of all gates.
            positions: as `filters`.
            progress: as `norms_of`.

        Returns:
            (n, *gate shape), or (n, channels, positions) of chosen gates: q / |F|, positive where
            the gate is on. A gate that does not depend on the input has no hyperplane: infinity
            with the sign of its offset, or 0 for offset 0.

        Raises:
            PrimalFilterError: as `preactivations` and `filters`.
        """
        values = self.preactivations(x)
        if channels is None and positions is None:
            norms = self.norms_of(progress=progress).reshape(self.gate_shape)
        else:
            chosen, places = self._chosen(channels, positions)
            gates = flat_gates(chosen, places, self.gate_shape).to(values.device)
            norms = self._norms(chosen, places, progress or Unseen())
            values = values.flatten(1)[:, gates].reshape(len(x), *norms.shape)
        return torch.where(values == 0, values, values / norms)

    def __repr__(self) -> str:
        kernels = None if self._local is None else tuple(self._local.kernels.shape)
        return (
            f"PrimalFilters(layer={self.layer}, input_shape={self.input_shape}, "
            f"gate_shape={self.gate_shape}, channel_kernels={kernels})"
        )

    @property
    def _local(self) -> LocalMap | None:
        """Where kernels lie; the kernels themselves are shapes alone."""
        return self._walked.local

    @property
    def _held(self) -> int:
        """Bytes that differentiation may hold for one example."""
        return TEMPORARIES * self._walked.live * self.offsets.element_size()

    @property
    def _block(self) -> int:
        """Examples that differentiation may run at once."""
        self._refuse_one()
        return int(self.memory / self._held)

    def _refuse_one(self) -> None:
        if self._held > self.memory:
            raise PrimalFilterError(
                f"one gate of layer {self.layer} takes {self._held / 1e6:,.0f} MB; expected at "
                f"most memory={self.memory:g} bytes. Repair: memory={self._held:.2g}"
            )

    @property
    def norms_seconds(self) -> float:
        """Roughly what `norms` takes on a CPU."""
        return 0.0 if self._everywhere is not None else self._work_of_all[1].seconds

    def _map(self) -> LocalMap:
        if self._local is None:
            reason = "an operation before it has no closed form"
            if len(self.gate_shape) == 1:
                reason = "it is dense"
            elif reach := self._walked.reach:
                image, read = (" x ".join(map(str, s)) for s in (self.input_shape[1:], reach))
                reason = (
                    f"they would be larger than the image: a gate reads {read} positions or more "
                    f"of {image}, and no position is free of the border"
                )
            raise PrimalFilterError(
                f"layer {self.layer} of gates {self.gate_shape} has no channel kernels: {reason}. "
                f"Repair: filters(), which gives the filters of chosen gates over the whole input"
            )
        return self._local

    def _chosen(
        self, channels: int | Iterable[int] | None, positions: Iterable[Sequence[int]] | None
    ) -> tuple[list[int], list[tuple[int, ...]]]:
        return chosen_gates(channels, positions, self.gate_shape, self.layer)

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
    shape = _known_shape(net, network) if input_shape is None else tuple(input_shape)
    like = next((p for p in net.parameters() if p.is_floating_point()), torch.zeros(()))
    walked = walk(network, like.new_zeros(1, *shape), kernels=False)
    return PrimalFilters(int(layer), shape, walked.offsets, memory, network, walked)


@takes(
    PrimalFilterError,
    net=gated,
    x=example,
    memory=byte_count,
    progress=optional(offering("counting")),
)
def gate_distances(
    net: GatedNetwork,
    x: Tensor,
    layer: int,
    *,
    channels: int | Iterable[int] | None = None,
    positions: Iterable[Sequence[int]] | None = None,
    memory: float = 256e6,
    progress: Progress | None = None,
) -> Tensor:
    """Signed Euclidean distance of every example to the hyperplane {q = 0} of every gate.

    In a DLGN a gate has one hyperplane. **In a DNN or DGN the distance is local**: to the
    hyperplane that the gate has in the linear region of the example, q / |dq / dx|. The gate
    switches there only if no other gate switches before; `gate_crossings` finds where it does along
    a segment.

    Many gates near the input share passes through the network. All gates of a deep layer of large
    images take long, which a warning says beforehand, with time and memory: choose some.

    Args:
        net: a DLGN, as for `primal_filters`; or a DNN or DGN of ReLU, leaky ReLU, PReLU or ReLU6.
        x: examples (n, ...), of the network's type.
        layer: number of the gating network's pre-activation.
        channels: channels, or units of a dense layer; default: all.
        positions: such as [(row, column), ...]; default: all. Not for a dense layer.
        memory: bound, in bytes, on one block of work.
        progress: told of the passes through the network; default: nobody is.

    Returns:
        (n, units) or (n, channels, positions...), and (n, channels, positions) of chosen ones:
        q / |F|. How far the example would have to move for the gate to switch; positive where it is
        on.

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
    if net.kind not in LINEAR_KINDS:
        return _local_distances(net, x, layer, channels, positions, memory, progress or Unseen())
    try:
        found = primal_filters(net, layer, tuple(x.shape[1:]), memory=memory)
    except PrimalFilterError as error:
        if not _takes(net, layer, tuple(x.shape)):
            raise
        raise PrimalFilterError(
            f"x: expected examples (n, {', '.join(map(str, x.shape))}), got one without their "
            f"axis. Repair: x[None] is a batch of one example"
        ) from error
    return found.distances(x, channels, positions, progress=progress)


def _local_distances(
    net: GatedNetwork,
    x: Tensor,
    layer: int,
    channels: int | Iterable[int] | None,
    positions: Iterable[Sequence[int]] | None,
    memory: float,
    progress: Progress,
) -> Tensor:
    """The distances of a DNN or DGN, whose hyperplanes are those of each example's region."""
    check_network(net, PrimalFilterError)
    require("x", x, batch, PrimalFilterError)
    check_takes(net, "x", x, PrimalFilterError)
    index = require("layer", layer, gated_layer(net.n_gates), PrimalFilterError)
    with evaluation_mode(net), torch.no_grad():
        shape = tuple(net.preactivations(x[:1])[index].shape[1:])
    chosen, places = chosen_gates(channels, positions, shape, index)
    found = local_distances(net, x, index, flat_gates(chosen, places, shape), memory, progress)
    every = channels is None and positions is None
    dense = (len(chosen),) if len(shape) == 1 else (len(chosen), len(places))
    return found.reshape(len(x), *(shape if every else dense))


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
        return tuple(require("input_shape", options["input_shape"], shape_of(), PrimalFilterError))
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
