"""Reads a weights network's graph into the steps of the CPU kernel.

A value of the graph is a sum of terms, each a *plane* (the kernel of one convolution's output, at
one offset between positions) times the overlap of a `Mask`. A convolution sums its input's terms
into one plane and takes windows of it. Each term names the convolution it comes from: values of
different convolutions are uncorrelated, and only those may be added.

Every path of a network without skips passes every weight layer once, so unequal variances and the
NTK are factors there: E[NTK] = NPK * sum_l 1 / variance_l.
"""

from __future__ import annotations

import importlib.util
import logging
import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx

from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import HardGate
from dualview.conversion.normal_form import UNCHANGED, Call, normal_call
from dualview.conversion.pooling import each_axis
from dualview.conversion.source_lines import describe
from dualview.conversion.verification import is_batch_size, value_kinds
from dualview.errors import PathKernelError
from dualview.path_kernel.fast.masks import ChannelPad, Mask, Stride
from dualview.path_kernel.fast.offset_program import (
    OUTPUT,
    DenseLayer,
    OffsetProgram,
    Size,
    Stage,
    Step,
    Window,
)
from dualview.path_kernel.fast.offset_program import plan as offset_plan
from dualview.path_kernel.fast.plan import FastPlan, NotApplicableError, on_gpu
from dualview.path_kernel.fast.row_plan import RowPlan
from dualview.path_kernel.setting import Setting
from dualview.path_kernel.weight_rules import fan_in

log = logging.getLogger("dualview.path_kernel")


@dataclass
class Convolved:
    """A convolution's output: what it reads, and the plane that holds it once one is needed."""

    node: Any
    source: int
    window: Window
    scale: float
    plane: int | None = None


@dataclass(frozen=True)
class Term:
    """A convolution's output (None: the input, or a pooled plane) times a mask (None: 1)."""

    origin: Convolved | None
    mask: Mask | None


@dataclass(frozen=True)
class Value:
    """A node's value; `head` tells how an image became a vector."""

    terms: tuple[Term, ...] = ()
    channels: int = 0
    size: Size | None = None
    stage: int = 0
    head: str = ""


@dataclass
class Plan:
    """What has been read so far."""

    steps: list[Step] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    planes: int = 1
    masks: dict[Mask, int] = field(default_factory=dict)
    circular: bool | None = None
    dense: list[DenseLayer] = field(default_factory=list)
    first_dense: int = 0
    log_scale: float = 0.0
    precisions: list[float] = field(default_factory=list)
    branches: bool = False
    ones: bool = False
    vector: fx.Node | None = None
    """Dense layer whose gate has not come yet."""
    seen: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Slow:
    """Why the torch rules must run."""

    reason: str


LARGE = 96 * 96
"""Positions from which on rows of one pair are gone through, and not offsets of 64 pairs."""


def read_network(
    net: GatedNetwork, x: Tensor, setting: Setting, gates: str
) -> FastPlan | RowPlan | Slow:
    """How the CPU computes the kernel of examples like `x`; it is logged (debug), too.

    Small images and dense networks go offset by offset, many pairs at once; all others row by row.
    On a GPU some of the former do, by Triton.
    """
    try:
        _check_surroundings(x)
        hard = are_hard(net, gates)
        by_offsets = _offsets(net, x, setting, hard)
        if on_gpu(x.device):
            _check_triton(by_offsets)
        plan = by_offsets or _rows(net, x, setting, hard)
    except NotApplicableError as reason:
        log.debug("path kernel by the torch rules: %s", reason)
        return Slow(str(reason))
    log.debug("path kernel by the fast tile: %s", plan)
    return plan


def are_hard(net: GatedNetwork, gates: str) -> bool:
    """Whether the gates asked for are 0 or 1."""
    return gates == "hard" or all(isinstance(gate, HardGate) for gate in net.gate_functions)


def _offsets(net: GatedNetwork, x: Tensor, setting: Setting, hard: bool) -> FastPlan | None:
    """The plan for planes of one offset, if there is one that is no worse than that for rows."""
    try:
        _check_law(setting, hard)
        plan = read_plan(net.weights_network.graph, tuple(x.shape[1:]), setting)
    except NotApplicableError as reason:
        log.debug("path kernel not by offsets: %s", reason)
        return None
    program = plan.program
    large = program is not None and math.prod(program.size) >= LARGE and not program.diagonal
    return None if large else plan


def _rows(net: GatedNetwork, x: Tensor, setting: Setting, hard: bool) -> RowPlan:
    """The plan for rows of planes."""
    from dualview.path_kernel.fast.rows import row_plan

    plan = row_plan(net, x, setting, hard)
    if all(plane.size == (1, 1) for plane in plan.program.planes):
        raise NotApplicableError("there are no positions: the rules are matrix products")
    return plan


def _check_surroundings(x: Tensor) -> None:
    if importlib.util.find_spec("numba") is None:
        raise NotApplicableError("numba is not installed")
    if x.dtype != torch.float32 or not (x.device.type == "cpu" or on_gpu(x.device)):
        raise NotApplicableError(f"examples are {x.dtype} on {x.device}, not float32 on the CPU")


def _check_triton(plan: FastPlan | None) -> None:
    if importlib.util.find_spec("triton") is None:
        raise NotApplicableError("examples are on a GPU, and triton is not installed")
    from dualview.path_kernel.fast.triton_tile import left_out

    reason = "no plan by offsets" if plan is None else left_out(plan)
    if reason:
        raise NotApplicableError(f"examples are on a GPU: {reason}")


def _check_law(setting: Setting, hard: bool) -> None:
    if not hard:
        raise NotApplicableError("gates are not hard")
    if setting.biases or setting.batch_norm_scale:
        raise NotApplicableError("biases or batch-norm scales are asked for")


def read_plan(graph: fx.Graph, shape: tuple[int, ...], setting: Setting) -> FastPlan:
    """The plan for inputs of `shape` (channels, height, width) or (features,).

    Raises:
        NotApplicableError: the torch rules must run; says why.
    """
    reader = _Reader(shape, setting)
    env: dict[fx.Node, Value] = {}
    result: Value | None = None
    gates = [node for node in graph.nodes if node.op == "placeholder" and node.name != "x"]
    kinds = value_kinds(graph)
    for node in graph.nodes:
        if node.op == "output":
            result = env.get(node.args[0])
        elif node.op == "placeholder":
            if node.name == "x":
                env[node] = reader.input()
        elif kinds[node] == "data":
            env[node] = reader.take(node, env, gates)
    if result is None:
        raise NotApplicableError("the output is not one tensor")
    return reader.finish(result)


class _Reader:
    def __init__(self, shape: tuple[int, ...], setting: Setting) -> None:
        self.shape = shape
        self.setting = setting
        self.plan = Plan()
        self.diagonal = False

    def input(self) -> Value:
        """The input: an image, or a vector."""
        if len(self.shape) == 3:
            return Value((Term(None, None),), self.shape[0], (self.shape[1], self.shape[2]))
        if len(self.shape) == 1:
            return Value((), self.shape[0], None, head="vector")
        raise NotApplicableError(f"inputs have shape {self.shape}")

    def take(self, node: fx.Node, env: dict[fx.Node, Value], gates: list[fx.Node]) -> Value:
        """The value of one node."""
        call = normal_call(node)
        sources = [env[n] for n in node.all_input_nodes if n in env]
        if not sources:
            raise NotApplicableError(f"{describe(node)} does not read the data")
        value = sources[0]
        if any(source.stage != len(self.plan.stages) for source in sources if source.size):
            raise NotApplicableError(f"{describe(node)} reads a value from before a pooling layer")
        if call.key == "add" and len(sources) == 2 and call["alpha"] == 1:
            return self._add(node, value, sources[1])
        if call.key == "gate":
            return self._gate(node, value, gates.index(call["gate"]))
        if call.key in _READERS:
            return _READERS[call.key](self, node, call, value)
        if call.key in (*UNCHANGED, "spread", "batch norm"):
            return value
        raise NotApplicableError(f"{describe(node)} has no step in the fast kernel")

    # Weight layers

    def _weight(self, node: fx.Node, module: Any) -> None:
        if module is None:
            raise NotApplicableError(f"{describe(node)} has weights that are no layer's")
        if id(module.weight) in self.plan.seen:
            raise NotApplicableError(f"{describe(node)} uses weights a second time")
        self.plan.seen.add(id(module.weight))
        inputs = fan_in(module)
        given = self.setting.variances
        variance = 1 / inputs if given is None else given[node.name]
        self.plan.log_scale += math.log(inputs * variance)
        self.plan.precisions.append(1 / variance)

    def convolution(self, node: fx.Node, call: Call, value: Value) -> Value:
        """Windows of the sum of the input's terms."""
        module: Any = call.module
        self._weight(node, module)
        circular = module.padding_mode == "circular"
        if value.size is None or value.head or module.groups != 1:
            raise NotApplicableError(f"{describe(node)} has groups, or reads no image")
        if module.padding_mode not in ("zeros", "circular"):
            raise NotApplicableError(f"{describe(node)} pads by {module.padding_mode}")
        if self.plan.circular not in (None, circular):
            raise NotApplicableError("padding is zero here and circular there")
        self.plan.circular = circular
        left, right, top, bottom = module._reversed_padding_repeated_twice
        window = Window(
            module.kernel_size, (top, bottom, left, right), module.stride, module.dilation
        )
        source = self._sum(node, value)
        scale = 1 / math.prod(module.kernel_size)
        origin = Convolved(node, source, window, scale)
        size = window.output_size(value.size)
        return Value((Term(origin, None),), module.out_channels, size, value.stage)

    def dense(self, node: fx.Node, call: Call, value: Value) -> Value:
        """A dense layer on a vector; on an image it must be pooled or flattened first."""
        if not value.head or self.plan.vector is not None:
            raise NotApplicableError(
                f"{describe(node)} reads an image, or no gate stands before it"
            )
        module: Any = call.module
        self._weight(node, module)
        self.plan.vector = node
        if value.terms:  # the image part ends here
            self._end(node, value)
        return Value((), module.out_features, None, value.stage, "vector")

    # Gates, branches, pools

    def _gate(self, node: fx.Node, value: Value, gate: int) -> Value:
        if value.head == "vector":
            if self.plan.vector is None:
                raise NotApplicableError(f"{describe(node)} gates the input or a gated value")
            if not self.plan.dense:
                self.plan.first_dense = gate
            elif gate != self.plan.first_dense + len(self.plan.dense):
                raise NotApplicableError("dense gates are out of order")
            self.plan.dense.append(DenseLayer(value.channels, 1 / value.channels))
            self.plan.vector = None
            return value
        if value.head or any(term.origin is None for term in value.terms):
            raise NotApplicableError(f"{describe(node)} gates the input or a pooled value")
        one = Mask(value.channels, ())
        masks = ((term.mask or one).gated(gate) for term in value.terms)
        terms = (replace(t, mask=mask) for t, mask in zip(value.terms, masks, strict=True))
        return replace(value, terms=tuple(terms))

    def _add(self, node: fx.Node, left: Value, right: Value) -> Value:
        if left.head or right.head or (left.channels, left.size) != (right.channels, right.size):
            raise NotApplicableError(f"{describe(node)} adds vectors, or different shapes")
        origins = [term.origin for value in (left, right) for term in value.terms]
        layers = {origin.node for origin in origins if origin is not None}
        if len(layers) < len(origins):
            raise NotApplicableError(f"{describe(node)} adds two views of one value, or the input")
        self.plan.branches = True
        return replace(left, terms=(*left.terms, *right.terms))

    def subsample(self, node: fx.Node, call: Call, value: Value) -> Value:
        """`x[:, :, ::s, ::s]`."""
        key = call["key"]
        keys = list(key) if isinstance(key, tuple) else [key]
        keys += [slice(None)] * (4 - len(keys))
        steps = [k.step or 1 for k in keys if isinstance(k, slice)]
        whole = all(isinstance(k, slice) and k.start is k.stop is None for k in keys)
        if not whole or len(keys) != 4 or steps[:2] != [1, 1] or value.head or not value.size:
            raise NotApplicableError(f"{describe(node)} does more than take every s-th position")
        rows, columns = steps[2:]
        window = Window(stride=(rows, columns))
        terms = []
        for term in value.terms:
            if term.origin is None or term.mask is None:
                raise NotApplicableError(f"{describe(node)} reads a value without a gate")
            origin = Convolved(term.origin.node, self._plane(term.origin), window, 1.0)
            terms.append(Term(origin, term.mask.edited(Stride(rows, columns))))
        return replace(value, terms=tuple(terms), size=window.output_size(value.size))

    def pad_channels(self, node: fx.Node, call: Call, value: Value) -> Value:
        """Padding that adds channels of zeros."""
        pad, zeros = call["pad"], call["mode"] == "constant" and not call["value"]
        if not zeros or len(pad) != 6 or any(pad[:4]) or any(t.mask is None for t in value.terms):
            raise NotApplicableError(f"{describe(node)} pads more than channels of zeros")
        edit = ChannelPad(pad[4], pad[5])
        terms = tuple(
            Term(term.origin, term.mask.edited(edit)) for term in value.terms if term.mask
        )
        return replace(value, terms=terms, channels=value.channels + pad[4] + pad[5])

    def pool(self, node: fx.Node, call: Call, value: Value) -> Value:
        """Average pooling with windows side by side ends a stage."""
        size = each_axis(call["kernel_size"], 2)
        stride, padding = each_axis(call["stride"] or size, 2), each_axis(call["padding"], 2)
        if call["dims"] != 2 or call["divisor_override"] is not None:
            raise NotApplicableError(f"{describe(node)} is no mean over windows of an image")
        if value.head or value.size is None or any(term.mask is None for term in value.terms):
            raise NotApplicableError(f"{describe(node)} does not follow a gate")
        divides = value.size[0] % size[0] == 0 and value.size[1] % size[1] == 0
        if stride != size or padding != (0, 0) or not divides:
            raise NotApplicableError(f"{describe(node)} has windows that overlap, or do not fit")
        self._emit_sum(value, OUTPUT, 1 / math.prod(size) ** 2)
        self.plan.stages.append(Stage(tuple(self.plan.steps), size))
        self.plan.steps, self.plan.planes = [], 1
        pooled = value.size[0] // size[0], value.size[1] // size[1]
        return Value((Term(None, None),), value.channels, pooled, len(self.plan.stages))

    def average(self, node: fx.Node, call: Call, value: Value) -> Value:
        """Global average pooling."""
        if call.key == "mean":
            dims = call["dim"]
            axes = dims if isinstance(dims, tuple | list) else (dims,)
            whole = {axis % 4 for axis in axes if isinstance(axis, int)} == {2, 3}
        else:
            size = call["output_size"]
            whole = (
                call["dims"] == 2 and isinstance(size, int | tuple) and each_axis(size, 2) == (1, 1)
            )
        if not whole or value.head or value.size is None:
            raise NotApplicableError(f"{describe(node)} is no global average of an image")
        return replace(value, head="average")

    def flatten(self, node: fx.Node, call: Call, value: Value) -> Value:
        """Flatten of an image, or of what global pooling left of it."""
        positions = 1 if value.head or value.size is None else math.prod(value.size)
        if call.key == "flatten":
            whole = call["start_dim"] == 1 and call["end_dim"] in (-1, 3)
        else:
            whole = _makes_rows(call["shape"], value.channels * positions)
        if not whole:
            raise NotApplicableError(f"{describe(node)} does not make one vector of each example")
        return value if value.head else replace(value, head="flatten")

    # Steps

    def _sum(self, node: fx.Node, value: Value) -> int:
        """The plane that holds the mean over channels of a value; 0 for input and pooled planes."""
        if value.terms[0].origin is None:
            return 0
        return self._emit_sum(value, self._new_plane(), 1.0)

    def _emit_sum(self, value: Value, target: int, factor: float) -> int:
        """Steps that sum all terms, times their overlaps, into a target."""
        for number, term in enumerate(value.terms):
            origin = term.origin
            if origin is None or term.mask is None:
                raise NotApplicableError("two weight layers follow each other without a gate")
            mask = self._mask(term.mask)
            scale = factor / value.channels
            if origin.plane is None and len(value.terms) == 1:  # windows and overlap in one step
                step = Step(origin.source, target, origin.window, mask, origin.scale * scale)
            else:
                step = Step(self._plane(origin), target, mask=mask, scale=scale, add=number > 0)
            self.plan.steps.append(step)
        return target

    def _plane(self, origin: Convolved) -> int:
        """The plane of a convolution's output, made if there is none yet."""
        if origin.plane is None:
            origin.plane = self._new_plane()
            self.plan.steps.append(
                Step(origin.source, origin.plane, origin.window, scale=origin.scale)
            )
        return origin.plane

    def _new_plane(self) -> int:
        self.plan.planes += 1
        return self.plan.planes - 1

    def _mask(self, mask: Mask) -> int:
        return self.plan.masks.setdefault(mask, len(self.plan.masks))

    def _end(self, node: fx.Node, value: Value) -> None:
        """The image part's last sum: over all pairs of positions, or equal ones."""
        if value.size is None or value.head not in ("average", "flatten"):
            raise NotApplicableError(f"{describe(node)} reads an image that is not pooled")
        positions = math.prod(value.size)
        factor = 1 / positions**2 if value.head == "average" else 1 / positions
        if value.terms[0].origin is None:
            if value.terms[0].mask is None and not self.plan.stages and value.head == "flatten":
                return  # a dense network that reads a flattened image
            self.plan.steps.append(Step(0, OUTPUT, scale=factor))
        else:
            self._emit_sum(value, OUTPUT, factor)
        self.plan.stages.append(Stage(tuple(self.plan.steps)))
        self.plan.steps = []
        self.diagonal = value.head == "flatten"

    def finish(self, result: Value) -> FastPlan:
        """The finished plan; refuses what the kernel cannot run."""
        plan = self.plan
        if plan.vector is None or result.head != "vector":
            raise NotApplicableError("the network does not end in a dense layer")
        if plan.branches and (self.setting.ntk or self.setting.variances is not None):
            raise NotApplicableError("branches pass different numbers of weight layers")
        program = None
        if plan.stages:
            program = OffsetProgram(
                (self.shape[1], self.shape[2]),
                tuple(mask.channels for mask in plan.masks),
                tuple(plan.stages),
                bool(plan.circular),
                self.diagonal,
            )
            try:
                offset_plan(program, pairs=64)
            except PathKernelError as error:
                raise NotApplicableError(str(error)) from error
        steps = [step.scale for stage in plan.stages for step in stage.steps]
        scales = [*steps, *(layer.scale for layer in plan.dense)]
        inputs = self.shape[0] if program else math.prod(self.shape)
        return FastPlan(
            program,
            tuple(plan.masks),
            tuple(plan.dense),
            plan.first_dense,
            plan.ones,
            plan.log_scale - math.log(inputs),
            None if plan.branches else sum(plan.precisions),
            sum(math.log(scale) for scale in scales),
        )

    def row_of_ones(self, node: fx.Node, call: Call, value: Value) -> Value:
        """The constant-1 input."""
        self.plan.ones = True
        return value


def _makes_rows(shape: Any, entries: int) -> bool:
    """Whether a shape is (examples, entries)."""
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        return False
    examples, rest = shape
    if isinstance(examples, fx.Node):
        return is_batch_size(examples) and rest in (-1, entries)
    return examples == -1 and rest == entries


_READERS: dict[str, Any] = {
    "ones": _Reader.row_of_ones,
    "convolution": _Reader.convolution,
    "linear": _Reader.dense,
    "getitem": _Reader.subsample,
    "pad": _Reader.pad_channels,
    "average pool": _Reader.pool,
    **dict.fromkeys(("adaptive average pool", "mean"), _Reader.average),
    **dict.fromkeys(("flatten", "reshape"), _Reader.flatten),
}
"""Key of `conversion.normal_form` -> step."""
