"""Writes down what weight layers do to a value: sums of channels, windows, biases.

Every plane has a scale of its own, known before any example is: kernels are kept near 1 by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import fx

from dualview.conversion.source_lines import describe, module_of
from dualview.path_kernel.addition_rules import origin_of
from dualview.path_kernel.fast.factors import (
    Constant,
    Factor,
    Flattened,
    Ordered,
    Patches,
    Product,
    Selected,
    WindowWeights,
)
from dualview.path_kernel.fast.plan import NotApplicableError
from dualview.path_kernel.fast.position_maps import PositionMap, Size, window
from dualview.path_kernel.fast.row_grouped import alike, waiting_terms
from dualview.path_kernel.fast.row_joined import joined
from dualview.path_kernel.fast.row_program import (
    Diagonal,
    Layer,
    Mapping,
    Mask,
    Overlap,
    Plane,
    RowProgram,
    RowWindows,
    Summand,
)
from dualview.path_kernel.fast.row_taken import taken
from dualview.path_kernel.fast.row_terms import (
    NOWHERE,
    RowTerm,
    RowValue,
    added,
    mapped,
    ones,
    times,
)
from dualview.path_kernel.setting import Setting
from dualview.path_kernel.weight_rules import fan_in

BOOST = 3.0
"""Hard gates leave about a third of a kernel; this keeps deep networks within float32."""

PATCH = 512
"""Most numbers that a window of the input holds where windows are multiplied as they are."""

FAR = 60.0
"""Logarithms of a plane's scale beside which float32 still holds a bias."""


@dataclass
class Layers:
    """The program so far."""

    setting: Setting
    boost: float = BOOST
    program: RowProgram = field(init=False)
    logs: list[float] = field(default_factory=list)
    """Logarithm of each plane's scale."""
    seen: set[int] = field(default_factory=set)
    """Weights that were used."""
    sums: dict[tuple[int, int], tuple[RowValue, int]] = field(default_factory=dict)
    """Planes of sums, by the value and the groups."""

    def __post_init__(self) -> None:
        self.program = RowProgram(2 if self.setting.ntk else 1)

    # Layers

    def convolution(self, node: fx.Node, value: RowValue) -> RowValue:
        """Channels are summed within groups, and windows over both positions at once."""
        module: Any = module_of(node)
        _expect(node, module.in_channels, value.channels)
        over = _windows(module, value)
        if min(over.size) < 1:
            raise NotApplicableError(f"{describe(node)} has a window larger than its image")
        waiting = waiting_terms(self.program, value, over, module.groups, module.weight.shape[0])
        if waiting is not None:
            return self._waiting(node, waiting, over, value.dims)
        groups = 1 if alike(self.program, value) else module.groups
        one = over.taps == 1 and over.selects and module.padding_mode == "zeros"
        if one and over.size != value.size:
            value = _at_once(value, over)
        if one and over.size == value.size:
            return self._layer(node, value, groups, None, value.dims)
        numbers = value.channels // module.groups * over.taps
        if numbers > PATCH or any(t.plane is not None or t.window for t in value.terms):
            return self._layer(node, value, groups, over, value.dims)
        terms = tuple(_patch(term, value, over, module.groups) for term in value.terms)
        value = replace(value, terms=terms, channels=value.channels * over.taps, size=over.size)
        return self._layer(node, value, module.groups, None, value.dims)

    def dense(self, node: fx.Node, value: RowValue) -> RowValue:
        """The sum over channels and equal positions."""
        _expect(node, module_of(node).in_features, value.channels * value.positions)
        if value.positions > 1 and all(t.plane is None and not t.window for t in value.terms):
            value = _flattened(value)
        elif value.positions > 1:
            value = self._diagonal(value)
        return self._layer(node, value, 1, None, 0)

    def _layer(
        self, node: fx.Node, value: RowValue, groups: int, over: PositionMap | None, dims: int
    ) -> RowValue:
        """A weight layer's value: its overlap where nothing is pending, else its windows."""
        module: Any = module_of(node)
        variance, grown = self._variance(node)
        if over is None and all(term.pending is None for term in value.terms):
            plane = self._overlap(value, groups, lambda log: self._law(node, log + grown, variance))
        else:
            source = self.sum(value, groups)
            law = self._law(node, self.logs[source] + grown, variance)
            size = value.size if over is None else over.size
            plane = self._plane(Plane(size, groups), self.logs[source])
            over = over or _identity(value.size)
            scale = 1 / (over.taps if over.taps > 1 else 1)
            self.program.operations.append(RowWindows(plane, source, over, scale, law))
        self.logs[plane] += grown
        count = module.weight.shape[0]
        term = RowTerm(plane, None, node, np.arange(count), np.arange(count) * groups // count)
        return RowValue((term,), count, self.program.planes[plane].size, dims)

    def _waiting(
        self, node: fx.Node, terms: tuple[RowTerm, ...], over: PositionMap, dims: int
    ) -> RowValue:
        """A convolution whose terms wait for what reads them; see `row_grouped`."""
        module: Any = module_of(node)
        variance, grown = self._variance(node)
        count, slope = module.weight.shape[0], self._law(node, 0.0, variance).slope
        made = [
            replace(
                term,
                origin=node,
                coefficient=term.coefficient / math.sqrt(fan_in(module)),
                slope=term.slope + slope,
                log=term.log + grown,
            )
            for term in terms
        ]
        return self._with_bias(module, RowValue(tuple(made), count, over.size, dims))

    def _with_bias(self, module: Any, value: RowValue) -> RowValue:
        """The value with a bias in every channel, if biases are asked for."""
        if not self.setting.biases or module.bias is None:
            return value
        assert self.setting.bias_variance is not None
        channels, nothing = np.arange(value.channels), np.zeros(value.channels, int)
        moments = (self.setting.bias_variance, 1.0)
        term = RowTerm(None, None, origin_of(module.bias), channels, nothing, moments=moments)
        return added(value, replace(value, terms=(term,)))

    def _variance(self, node: fx.Node) -> tuple[float, float]:
        """That of a layer's weights; the logarithm of what it multiplies a mean by."""
        module: Any = module_of(node)
        if id(module.weight) in self.seen:
            raise NotApplicableError(f"{describe(node)} uses weights a second time")
        self.seen.add(id(module.weight))
        inputs, given = fan_in(module), self.setting.variances
        variance = 1 / inputs if given is None else given[node.name]
        return variance, math.log(inputs * variance)

    def _law(self, node: fx.Node, log: float, variance: float) -> Layer:
        """What a layer adds to a plane of this scale."""
        module: Any = module_of(node)
        slope = 1 / variance if self.setting.ntk else 0.0
        if not self.setting.biases or module.bias is None:
            return Layer(slope)
        assert self.setting.bias_variance is not None
        return Layer(slope, (self.setting.bias_variance * _one(log), _one(log)))

    def batch_norm(self, node: fx.Node, value: RowValue) -> RowValue:
        """Its scale if asked for, and its bias if biases are."""
        module: Any = module_of(node)
        if value.flat and value.positions > 1:
            raise NotApplicableError(f"{describe(node)} normalises a flattened image")
        _expect(node, module.num_features, value.channels)
        if self.setting.batch_norm_scale:
            if module.running_var is None:
                raise NotApplicableError(f"{describe(node)} has no statistics")
            gamma = 1.0 if module.weight is None else module.weight.detach()
            scale = (gamma / torch.sqrt(module.running_var + module.eps)).float().cpu()
            spread = scale[:, None, None].expand(-1, *value.size)
            value = times(value, Constant(spread))
        return self._with_bias(module, value)

    def finish(self, result: RowValue) -> tuple[RowProgram, float]:
        """The program that ends in the kernel of one output, and the logarithm of its scale."""
        plain = all(
            term.factor is None and not term.groups.any() and (term.channels != NOWHERE).all()
            for term in result.terms
        )
        if not plain or result.positions > 1 or not self.program.operations:
            raise NotApplicableError("the network does not end in a weight layer, or its pool")
        (term,) = result.terms if len(result.terms) == 1 else (None,)
        last = self.program.operations[-1].target
        if term is None or term.plane != last or term.pending is not None or term.coefficient != 1:
            last = self.sum(result, 1)
        self._drop_unread(last)
        return joined(self.program), self.logs[last]

    def _drop_unread(self, last: int) -> None:
        """Drop operations that nothing reads."""
        wanted, kept = {last}, []
        for operation in reversed(self.program.operations):
            if operation.target in wanted:
                kept.append(operation)
                wanted |= set(_read_by(operation))
        self.program.operations[:] = kept[::-1]

    # Sums

    def sum(self, value: RowValue, groups: int) -> int:
        """The plane of the mean over channels of a value, in each of so many groups."""
        known = self.sums.get((id(value), groups))
        if known is None:
            known = value, self._overlap(value, groups, lambda log: Layer())
            self.sums[id(value), groups] = known
        return known[1]

    def _overlap(self, value: RowValue, groups: int, law: Any) -> int:
        """One operation for the terms of each pending map; law(log) is what is done at the end."""
        waiting = [term for term in value.terms if term.pending is not None]
        terms = [term for term in value.terms if term.pending is None]
        for over in {id(term.pending): term.pending for term in waiting}.values():
            assert over is not None  # summed where they stand, and mapped then
            alike = tuple(replace(t, pending=None) for t in waiting if t.pending is over)
            inner = self._overlap(
                RowValue(alike, value.channels, over.before, 2), groups, lambda log: Layer()
            )
            plane = self._plane(Plane(value.size, groups), self.logs[inner])
            self.program.operations.append(Mapping(plane, inner, over))
            channels, group = np.arange(value.channels), _groups(value, groups)
            terms.append(RowTerm(plane, None, object(), channels, group))
        logs = [self.logs[t.plane] + t.log for t in terms if t.plane is not None]
        boosted = any(term.factor is not None and term.factor.hard for term in terms)
        log = (max(logs) if logs else 0.0) - (math.log(self.boost) if boosted else 0.0)
        parts = tuple(self._part(term, value, groups, log) for term in terms)
        plane = self._plane(Plane(value.size, groups), log)
        self.program.operations.append(Overlap(plane, parts, law(log)))
        return plane

    def _part(self, term: RowTerm, value: RowValue, groups: int, log: float) -> Summand:
        """The mean over channels of one term, beside a plane of scale `log`."""
        own = 1 if term.plane is None else self.program.planes[term.plane].groups
        channels, factor = value.channels, term.factor
        index = np.arange(channels)
        fine = math.lcm(own, groups)
        if own > 1 and (channels % own or (term.groups != index * own // channels).any()):
            fine = channels
            factor = factor or ones(channels, value.size)
        if term.plane is None and term.window is not None and not term.window.plain:
            assert factor is not None
            factor = Product(factor, WindowWeights(term.window))  # there is no plane to weigh
        if term.ties is not None and factor is not None:
            factor = Ordered(factor, torch.from_numpy(_by_ties(term.ties)[0]))
        scale = term.coefficient**2
        if term.plane is None:
            scale *= _one(log - term.log)
        else:
            scale *= math.exp(self.logs[term.plane] + term.log - log)
        of_source = np.zeros(fine, int)
        if own > 1:
            of_source = term.groups[index[:: channels // fine]]
        of_target = np.arange(fine) * groups // fine
        if factor is None:
            mask, scale = None, scale * groups / fine
        else:
            kept = np.flatnonzero(term.channels != NOWHERE)
            count = channels
            if fine == 1 and len(kept) < channels:
                factor, count = Selected(factor, torch.from_numpy(kept)), max(len(kept), 1)
            mask = len(self.program.masks)
            self.program.masks.append(Mask(factor, count, fine))
            scale *= groups / channels
        lanes = tuple(zip(of_source.tolist(), of_target.tolist(), strict=True))
        constant = term.moments if term.plane is None else (0.0, 0.0)
        how = None if term.window is None or term.ties is not None else taken(term.window)
        order, ties = (None, None) if term.ties is None else _by_ties(term.ties)
        window, slope = term.window, term.slope
        return Summand(term.plane, mask, scale, lanes, window, constant, how, order, ties, slope)

    def _diagonal(self, value: RowValue) -> RowValue:
        """A flattened image as one position: the mean over channels and equal positions."""
        source = self.sum(replace(value, flat=False), 1)
        plane = self._plane(Plane((1, 1)), self.logs[source])
        scale = 1 / value.positions
        self.program.operations.append(Diagonal(plane, source, scale))
        nothing = np.zeros(1, int)
        return RowValue((RowTerm(plane, None, object(), nothing, nothing),), 1, (1, 1), 0)

    def _plane(self, plane: Plane, log: float) -> int:
        self.program.planes.append(plane)
        self.logs.append(log)
        return len(self.program.planes) - 1


def _expect(node: fx.Node, wanted: Any, got: int) -> None:
    """See that a layer takes a value: its weights are never multiplied, so nothing else would."""
    if wanted != got:
        raise NotApplicableError(f"{describe(node)} takes {wanted} numbers, and gets {got}")


def _one(log: float) -> float:
    """1 beside a plane of this scale."""
    if abs(log) > FAR:
        raise NotApplicableError("weights of such variances leave float32 beside a constant")
    return math.exp(-log)


def _by_ties(ties: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Windows in an order in which those that meet stand together; their ties then."""
    order = np.argsort(ties, kind="stable")
    return order, ties[order]


def _groups(value: RowValue, groups: int) -> np.ndarray:
    return np.arange(value.channels) * groups // value.channels


def _read_by(operation: Any) -> list[int]:
    if isinstance(operation, Overlap):
        return [part.source for part in operation.parts if part.source is not None]
    return [operation.source]


def _windows(module: Any, value: RowValue) -> PositionMap:
    """What a convolution reads; one of one axis sees images of one row."""
    first = (1,) * (2 - value.dims)
    kernel, stride, dilation = (
        (*first, *option) for option in (module.kernel_size, module.stride, module.dilation)
    )
    padding = [*module._reversed_padding_repeated_twice, *(0, 0) * (2 - value.dims)]
    return window(value.size, kernel, stride, dilation, tuple(padding), module.padding_mode)


def _at_once(value: RowValue, over: PositionMap) -> RowValue:
    """The value at the positions that a 1 x 1 convolution of a stride reads."""
    rows = torch.from_numpy(over.rows.source[:, 0])
    columns = torch.from_numpy(over.columns.source[:, 0])

    def taken(image: torch.Tensor) -> torch.Tensor:
        return image[:, :, rows][:, :, :, columns]

    terms = mapped(value, over, taken)
    return replace(value, terms=terms, size=over.size)


def _patch(term: RowTerm, value: RowValue, over: PositionMap, groups: int) -> RowTerm:
    """An input's windows as channels."""
    factor: Factor = Patches(term.factor or ones(value.channels, value.size), over, groups)
    many = np.repeat(term.channels.reshape(groups, -1), over.taps, 1)
    count = value.channels * over.taps
    return replace(term, factor=factor, channels=many.flatten(), groups=np.zeros(count, int))


def _flattened(value: RowValue) -> RowValue:
    """What no weight layer has met, with all its entries as channels."""
    count = value.channels * value.positions
    terms = tuple(
        replace(
            term,
            factor=Flattened(term.factor or ones(value.channels, value.size)),
            channels=np.repeat(term.channels, value.positions),
            groups=np.zeros(count, int),
        )
        for term in value.terms
    )
    return RowValue(terms, count, (1, 1), 0)


def _identity(size: Size) -> PositionMap:
    return window(size, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), "zeros")
