"""Reads a weights network's graph into the operations of the row kernel.

The graph is walked once, with `row_terms` for values. Where a weight layer reads one, operations
are written down that sum its channels and take windows of the sum. What moves channels or maps
positions (pools, slices, padding, rolls) is read off what it makes of numbers.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from dualview.conversion.normal_form import UNCHANGED, normal_call
from dualview.conversion.pooling import MaxPool, each_axis
from dualview.conversion.source_lines import called, describe, module_of
from dualview.path_kernel import addition_rules as additions
from dualview.path_kernel.fast import factors as recipes
from dualview.path_kernel.fast.plan import NotApplicableError
from dualview.path_kernel.fast.position_maps import (
    PositionMap,
    Size,
    adaptive_windows,
    pool_windows,
    read_off,
)
from dualview.path_kernel.fast.row_layers import BOOST, Layers
from dualview.path_kernel.fast.row_plan import RowPlan
from dualview.path_kernel.fast.row_terms import (
    NOWHERE,
    ONE,
    RowTerm,
    RowValue,
    added,
    chosen,
    mapped,
    ones,
    selected,
    times,
)
from dualview.path_kernel.setting import Setting


@dataclass(frozen=True)
class _Input:
    """A gate, a switch or a multiplier: its number among the weights network's inputs."""

    number: int
    name: str


@dataclass(frozen=True)
class _Pieces:
    """What a call returns that makes several tensors of one."""

    node: fx.Node
    value: RowValue
    call: Callable[[Tensor], Any]


def read_rows(
    graph: fx.Graph,
    shape: tuple[int, ...],
    setting: Setting,
    pools: dict[str, MaxPool],
    hard: bool,
    boost: float = BOOST,
) -> RowPlan:
    """The program for inputs of `shape`, without the examples' axis.

    Args:
        graph: the weights network's.
        shape: (channels, height, width), (channels, length) or (features,).
        setting: what the weights are drawn from.
        pools: the max pool of each switch, by its placeholder's name.
        hard: whether gates are 0 or 1.
        boost: what every sum of gated channels is multiplied by, so that float32 holds it.

    Raises:
        NotApplicableError: the torch rules must run; says why.
    """
    reader = _Reader(Layers(setting, boost), pools, hard)
    env: dict[fx.Node, Any] = {}
    count = 0
    for node in graph.nodes:
        if node.op == "placeholder":
            env[node] = _input(shape) if node.name == "x" else _Input(count, node.name)
            count += 1
        elif node.op == "output":
            result = env.get(node.args[0])
            if not isinstance(result, RowValue):
                raise NotApplicableError("the output is not one tensor")
            return RowPlan(*reader.layers.finish(result))
        else:
            env[node] = reader.take(node, env)
    raise AssertionError("a graph ends in an output")


def _input(shape: tuple[int, ...]) -> RowValue:
    """The input: the constant 1 times each example's values."""
    dims = len(shape) - 1
    if not 0 <= dims <= 2:
        raise NotApplicableError(f"inputs have shape {shape}")
    size: Any = (1, 1, *shape[1:])[-2:]
    factor = recipes.Given(0, shape[0], size, False)
    nothing = np.zeros(shape[0], int)
    return RowValue((RowTerm(None, factor, ONE, nothing, nothing),), shape[0], size, dims)


@dataclass
class _Reader:
    layers: Layers
    pools: dict[str, MaxPool]
    hard: bool
    steps: dict[str, Callable[..., Any]] = field(init=False)
    """Key of `conversion.normal_form` -> method that writes down what the rule computes."""

    def __post_init__(self) -> None:
        structural = (
            *("average pool", "adaptive average pool", "interpolate", "pad", "mean", "sum"),
            *("getitem", "chunk", "split", "narrow", "roll", "flip", "channel shuffle"),
        )
        self.steps = {
            "linear": self.dense,
            "convolution": self.convolution,
            "batch norm": lambda node, args, kwargs: self.layers.batch_norm(node, args[0]),
            **dict.fromkeys((*UNCHANGED, "spread"), lambda node, args, kwargs: args[0]),
            "gate": self.gate,
            "ones": self.row_of_ones,
            "mul": self.product,
            "div": self.quotient,
            "neg": self.negation,
            **dict.fromkeys(("add", "sub"), self.addition),
            "switch": self.max_pool,
            **dict.fromkeys(("size", "dim", "attribute"), self.shape),
            "cat": self.concatenation,
            **dict.fromkeys(structural, self.structural),
            **dict.fromkeys(("flatten", "reshape", "squeeze"), self.flatten),
        }

    def take(self, node: fx.Node, env: dict[fx.Node, Any]) -> Any:
        """The value of one node."""
        args: Any = fx.map_arg(node.args, lambda n: env[n])
        kwargs: Any = fx.map_arg(node.kwargs, lambda n: env[n])
        if "input" in kwargs:
            args = (kwargs["input"], *args)
            kwargs = {name: value for name, value in kwargs.items() if name != "input"}
        if not _holds((args, kwargs), (RowValue, _Pieces, _Input)):
            return called(node, args, kwargs)
        if isinstance(args[0], _Pieces):
            return self._piece(node, args[0], args[1])
        if isinstance(args[0], tuple) and node.target is operator.getitem:
            return args[0][args[1]]
        step = self.steps.get(normal_call(node).key)
        if step is None or not _holds((args, kwargs), RowValue):
            raise NotApplicableError(f"{describe(node)} has no step in the fast kernel")
        return step(node, args, kwargs)

    def _piece(self, node: fx.Node, pieces: _Pieces, at: Any) -> Any:
        """One of several tensors, or some of them."""
        value, call = pieces.value, pieces.call
        numbers = range(len(call(torch.zeros(value.shape, dtype=torch.float64))))[at]
        if isinstance(numbers, int):
            return self._moved(node, value, lambda t: call(t)[numbers])
        return tuple(self._piece(node, pieces, number) for number in numbers)

    # Nothing new

    def row_of_ones(self, node: fx.Node, args: Any, kwargs: Any) -> RowValue:
        """The constant-1 input."""
        (term,) = args[0].terms
        term = replace(term, factor=None)
        return replace(args[0], terms=(term,))

    def shape(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        """Sizes, as one example would have them."""
        return called(node, (torch.empty(args[0].shape), *args[1:]), kwargs)

    def flatten(self, node: fx.Node, args: Any, kwargs: Any) -> RowValue:
        """Flatten, and views that do or undo it."""
        value = args[0]
        shape = called(node, (torch.empty(value.shape), *args[1:]), kwargs).shape
        if tuple(shape[1:]) == (value.channels * value.positions,):
            return replace(value, flat=True)
        image = (value.channels, *value.size[2 - value.dims :])
        if tuple(shape[1:]) == image:
            return replace(value, flat=False)
        raise NotApplicableError(f"{describe(node)} is no flatten of everything but the examples")

    # Factors

    def gate(self, node: fx.Node, args: Any, kwargs: Any) -> RowValue:
        """Every term times a gate."""
        value, given = args
        return times(value, recipes.Given(given.number, value.channels, value.size, self.hard))

    def product(self, node: fx.Node, args: Any, kwargs: Any) -> RowValue:
        """A constant factor, or a multiplier that the gating network computed."""
        first, second = _operands(args, kwargs)
        value, factor = (first, second) if isinstance(first, RowValue) else (second, first)
        if not isinstance(factor, _Input):
            return self._scaled(node, value, factor)
        if value.flat and value.positions > 1:
            raise NotApplicableError(f"{describe(node)} multiplies a flattened image")
        return times(value, recipes.Given(factor.number, value.channels, value.size, False))

    def quotient(self, node: fx.Node, args: Any, kwargs: Any) -> RowValue:
        """Division by a constant."""
        value, divisor = _operands(args, kwargs)
        if kwargs.get("rounding_mode") is not None or isinstance(divisor, RowValue | _Input):
            raise NotApplicableError(f"{describe(node)} rounds, or divides by the data")
        return self._scaled(node, value, 1 / torch.as_tensor(divisor, dtype=torch.float32))

    def negation(self, node: fx.Node, args: Any, kwargs: Any) -> RowValue:
        """Times -1."""
        return self._scaled(node, args[0], -1.0)

    def _scaled(self, node: fx.Node, value: Any, factor: Any) -> RowValue:
        if not isinstance(value, RowValue) or isinstance(factor, RowValue):
            raise NotApplicableError(f"{describe(node)} multiplies two values")
        if isinstance(factor, Tensor) and factor.numel() > 1:
            return times(value, recipes.Constant(_spread(node, value, factor)))
        number = float(factor)
        terms = tuple(replace(t, coefficient=t.coefficient * number) for t in value.terms)
        return replace(value, terms=terms)

    # Sums

    def addition(self, node: fx.Node, args: Any, kwargs: Any) -> RowValue:
        """Both sides' terms; a constant belongs to the input, or is a bias and left out."""
        left, right = _operands(args, kwargs)
        factor = kwargs.get("alpha", 1) * (-1 if normal_call(node).key == "sub" else 1)
        if isinstance(left, RowValue) and isinstance(right, RowValue):
            if (left.channels, left.size, left.flat) != (right.channels, right.size, right.flat):
                raise NotApplicableError(f"{describe(node)} adds values of different shapes")
            return added(left, self._scaled(node, right, factor))
        if isinstance(left, RowValue):
            return self._shifted(node, left, right, node.args[1:], factor)
        return self._shifted(node, self._scaled(node, right, factor), left, node.args[:1], 1)

    def _shifted(
        self, node: fx.Node, value: RowValue, constant: Any, made_of: Any, factor: float
    ) -> RowValue:
        parameter = any(isinstance(n, fx.Node) and additions.reads_parameter(n) for n in made_of)
        random = any(term.origin != ONE for term in value.terms)
        if isinstance(constant, _Input) or (self.layers.setting.biases and (parameter or random)):
            raise NotApplicableError(f"{describe(node)} adds a bias that is not a layer's own")
        if parameter or random:
            return value
        (term,) = value.terms
        shift = _spread(node, value, factor * torch.as_tensor(constant, dtype=torch.float32))
        if term.pending is not None or term.factor is None:
            raise NotApplicableError(f"{describe(node)} shifts the constant input")
        shift = shift / term.coefficient
        return replace(value, terms=(replace(term, factor=recipes.Shifted(term.factor, shift)),))

    def concatenation(self, node: fx.Node, args: Any, kwargs: Any) -> RowValue:
        """Each part's terms, zero in the others' channels."""
        parts = list(args[0] if args else kwargs["tensors"])
        axis: Any = kwargs.get("dim", args[1] if len(args) > 1 else 0)
        if not all(isinstance(part, RowValue) for part in parts):
            raise NotApplicableError(f"{describe(node)} joins a constant")
        first = parts[0]
        rank = len(first.shape)
        moves = first.flat and first.positions > 1
        if axis % rank != 1 or moves or any(p.size != first.size for p in parts):
            raise NotApplicableError(f"{describe(node)} joins another axis than the channels")
        total, at = sum(part.channels for part in parts), 0
        terms: list[RowTerm] = []
        for part in parts:
            index = torch.full((total,), NOWHERE)
            index[at : at + part.channels] = torch.arange(part.channels)
            terms += selected(part, index).terms
            at += part.channels
        return replace(first, terms=tuple(terms), channels=total)

    # Weight layers

    def dense(self, node: fx.Node, args: Any, kwargs: Any) -> RowValue:
        """A dense layer on a vector, or on a flattened image."""
        value = args[0]
        if node.op != "call_module":
            raise NotApplicableError(f"{describe(node)} is given its weights")
        if not value.flat and value.dims:
            raise NotApplicableError(f"{describe(node)} is applied at every position of an image")
        return self.layers.dense(node, value)

    def convolution(self, node: fx.Node, args: Any, kwargs: Any) -> RowValue:
        """A convolution of one or two axes."""
        if node.op != "call_module":
            return self.fixed_convolution(node, args, kwargs)
        value = args[0]
        module: Any = module_of(node)
        if value.flat or value.dims != len(module.kernel_size):
            raise NotApplicableError(f"{describe(node)} reads a value of {value.dims} axes")
        return self.layers.convolution(node, value)

    def fixed_convolution(self, node: fx.Node, args: Any, kwargs: Any) -> RowValue:
        """A convolution with constant weights, of the input."""
        value, *rest = args
        constants = [n for n in node.all_input_nodes if n is not node.all_input_nodes[0]]
        parameter = any(additions.reads_parameter(n) for n in constants)
        of_input = len(value.terms) == 1 and value.terms[0].origin == ONE and not value.flat
        if _holds((rest, kwargs), (RowValue, _Input)) or parameter or not of_input:
            raise NotApplicableError(f"{describe(node)} has fixed weights behind a weight layer")

        def call(image: Tensor) -> Tensor:
            return called(node, (image, *rest), kwargs)

        made = call(torch.zeros(value.shape))
        (term,) = value.terms
        factor = recipes.Called(term.factor or ones(value.channels, value.size), call, value.dims)
        nothing = np.zeros(made.shape[1], int)
        size: Any = (1, 1, *made.shape[2:])[-2:]
        term = replace(term, factor=factor, channels=nothing, groups=nothing)
        return RowValue((term,), made.shape[1], size, value.dims)

    # Channels and positions

    def max_pool(self, node: fx.Node, args: Any, kwargs: Any) -> RowValue:
        """A max pool whose choices are given."""
        value, switch = args[:2]
        pool = self.pools.get(switch.name)
        if pool is None or pool.dims != value.dims or value.flat:
            raise NotApplicableError(f"{describe(node)} has windows that are not known")
        image = torch.zeros(value.shape)
        made = pool.max_function(image, **pool.options)
        pooled: Any = (1, 1, *made.shape[2:])[-2:]
        if pool.adaptive:
            windows = adaptive_windows(value.size, pooled)
        else:
            kernel = pool.options["kernel_size"]
            stride = pool.options.get("stride") or kernel
            others = (pool.options.get(name, n) for name, n in (("dilation", 1), ("padding", 0)))
            options = zip((kernel, stride, *others), (1, 1, 1, 0), strict=True)
            each = (_both(option, default, pool.dims) for option, default in options)
            windows = pool_windows(value.size, pooled, *each)
        return chosen(value, windows, switch.number)

    def structural(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        """What moves channels or maps positions: pools, slices, padding, pieces, rolls."""
        value, *rest = args
        if not isinstance(value, RowValue) or _holds((rest, kwargs), (RowValue, _Input)):
            raise NotApplicableError(f"{describe(node)} has no step in the fast kernel")

        def call(tensor: Tensor) -> Any:
            return called(node, (tensor, *rest), kwargs)

        if isinstance(call(torch.zeros(value.shape, dtype=torch.float64)), tuple | list):
            return _Pieces(node, value, call)
        return self._moved(node, value, call)

    def _moved(self, node: fx.Node, value: RowValue, call: Callable[[Tensor], Tensor]) -> RowValue:
        if value.flat and value.positions > 1:
            raise NotApplicableError(f"{describe(node)} moves a flattened image")
        index, size, dims = _read_channels(node, value, call)
        if torch.equal(index, torch.arange(value.channels)):
            return _positions_mapped(value, call, size, dims)
        probe = torch.rand(value.shape, dtype=torch.float64)
        want = probe.index_select(1, index.clamp(min=0))
        want = want * (index >= 0).reshape(-1, *(1,) * (probe.dim() - 2))
        if call(probe).shape != want.shape or not torch.equal(call(probe), want):
            raise NotApplicableError(f"{describe(node)} moves channels and positions at once")
        return selected(value, index)


def _operands(args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Both sides of a sum, product or quotient."""
    first, *rest = args
    return first, rest[0] if rest else kwargs["other"]


def _read_channels(
    node: fx.Node, value: RowValue, call: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Size, int]:
    """Which channel is at every channel of a call's result, its size and number of axes."""
    ones = call(torch.ones(value.shape, dtype=torch.float64))
    if call(torch.zeros(value.shape, dtype=torch.float64)).any() or len(ones) != 1:
        raise NotApplicableError(f"{describe(node)} adds a constant, or moves examples")
    numbers = torch.arange(value.channels, dtype=torch.float64)
    numbers = numbers.reshape(1, -1, *(1,) * (len(value.shape) - 2)).expand(value.shape)
    sizes, named = (t.reshape(ones.shape[1], -1) for t in (ones, call(numbers)))
    place = sizes.abs().argmax(1, keepdim=True)
    sizes, named = sizes.gather(1, place)[:, 0], named.gather(1, place)[:, 0]
    index = torch.where(sizes == 0, float(NOWHERE), named / sizes).round().long()
    size: Any = (1, 1, *ones.shape[2:])[-2:]
    return index, size, ones.dim() - 2


def _positions_mapped(
    value: RowValue, call: Callable[[Tensor], Tensor], size: Size, dims: int
) -> RowValue:
    """The value after a call that treats all channels alike."""
    axes = value.dims

    def on_images(image: Tensor) -> Tensor:
        if axes == 1:
            image = image[:, :, 0]
        if axes == 0:
            image = image[:, :, 0, 0]
        moved = call(image)
        if moved.numel() != len(image) * size[0] * size[1]:
            raise NotApplicableError("an operation joins or drops examples")
        return moved.reshape(len(image), 1, *size)

    if value.positions == 1 and size == (1, 1):
        return replace(value, dims=dims)
    over: PositionMap = read_off(on_images, value.size)
    terms = mapped(value, over, on_images)
    return replace(value, terms=terms, size=size, dims=dims, flat=dims == 0)


def _both(option: Any, default: int, dims: int) -> Size:
    """An option of a pool for rows and columns; images of one axis have one row."""
    return (default, *each_axis(option, dims))[-2:]


def _spread(node: fx.Node, value: RowValue, constant: Tensor) -> Tensor:
    """A constant over (channels, height, width)."""
    tensor = constant.detach().float().cpu()
    try:
        spread = tensor.broadcast_to(value.shape)
    except RuntimeError as error:
        raise NotApplicableError(f"{describe(node)} has a constant of another shape") from error
    return spread.reshape(value.channels, *value.size)


def _holds(value: Any, kinds: Any) -> bool:
    """Whether one of these kinds is somewhere in nested arguments."""
    if isinstance(value, dict):
        return any(_holds(v, kinds) for v in value.values())
    if isinstance(value, tuple | list):
        return any(_holds(v, kinds) for v in value)
    return isinstance(value, kinds)
