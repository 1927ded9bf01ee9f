"""One rule per operation of a weights network: the step that it is.

`RULES` is the table: key of `conversion.normal_form` -> rule. Stride, padding, dilation and
window rules are not written down here. An operation that moves entries is *run on labels* (the
numbers 1, 2, 3, ...), and where a label arrives says which entry was copied there; a pool is run on
unit vectors. So PyTorch itself says what it does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import fx

from dualview.conversion.normal_form import UNCHANGED, normal_call
from dualview.path_attribution.building import ProgramBuilder, Rule, refuse
from dualview.path_attribution.steps import Gather, Part, Sum, gather_of
from dualview.path_attribution.weight_rules import convolution, dense

# Gates, factors and constants


def identity(node: fx.Node, builder: ProgramBuilder) -> int:
    """Nothing new: dropout in evaluation mode, changes of type, a row of ones for all examples."""
    return builder.source(normal_call(node)["input"])


def gate(node: fx.Node, builder: ProgramBuilder) -> int:
    """Multiplication by the example's gate."""
    call = normal_call(node)
    label = builder.label(node, "gate", str(call["gate"].target))
    factor = builder.array(call["gate"], builder.shape(node))
    return builder.add(Sum(label, (Part(builder.source(call["input"]), None, factor),)))


def switch(node: fx.Node, builder: ProgramBuilder) -> int:
    """A max pool whose choice is given: each entry copies one."""
    call = normal_call(node)
    chosen = builder.values[call["switch"]].flatten(-call["dims"]).numpy()  # (1, c, pooled)
    count = int(np.prod(builder.shape(call["input"])[-call["dims"] :]))
    index = chosen + count * np.arange(chosen.shape[-2])[:, None]
    part = Part(builder.source(call["input"]), Gather(1, index.reshape(-1, 1)))
    return builder.add(Sum(builder.label(node), (part,)))


def product(node: fx.Node, builder: ProgramBuilder) -> int:
    """Multiplication by a constant: a number or a tensor."""
    call = normal_call(node)
    first, second = call["input"], call["other"]
    data, factor = (first, second) if builder.is_data(first) else (second, first)
    return _scaled(node, builder, data, builder.array(factor, builder.shape(node)), factor)


def quotient(node: fx.Node, builder: ProgramBuilder) -> int:
    """Division by a constant."""
    call = normal_call(node)
    if call.get("rounding_mode") is not None:
        refuse(node, "it rounds")
    divisor = builder.array(call["other"], builder.shape(node))
    return _scaled(node, builder, call["input"], 1 / divisor, call["other"])


def negation(node: fx.Node, builder: ProgramBuilder) -> int:
    """Multiplication by -1."""
    factor = builder.array(-1.0, builder.shape(node))
    return _scaled(node, builder, normal_call(node)["input"], factor, None)


def _scaled(
    node: fx.Node, builder: ProgramBuilder, data: fx.Node, factor: np.ndarray, origin: Any
) -> int:
    learnt = builder.is_learnt(origin)
    part = Part(builder.source(data), _spread(node, builder, data), factor, learnt)
    return builder.add(Sum(builder.label(node), (part,)))


def _spread(node: fx.Node, builder: ProgramBuilder, data: fx.Node) -> Gather | None:
    """How a broadcast repeats the entries of `data`; None where it repeats none."""
    shape, spread = builder.shape(data), builder.shape(node)
    if shape == spread:
        return None
    size = int(np.prod(shape))
    index = np.broadcast_to(np.arange(size).reshape(shape), spread)
    return Gather(1, index.reshape(-1, 1))


def addition(node: fx.Node, builder: ProgramBuilder) -> int:
    """A skip is a part without a factor; a constant is a bias."""
    call = normal_call(node)
    sign = -1.0 if call.key == "sub" else 1.0
    scale = builder.fixed(call["alpha"])
    terms = [(call["input"], 1.0), (call["other"], sign * scale)]
    if terms[0][0] is terms[1][0]:  # x + x is 2 x
        terms = [(terms[0][0], terms[0][1] + terms[1][1])]
    shape = builder.shape(node)
    constants = [(term, factor) for term, factor in terms if not builder.is_data(term)]
    parts = tuple(
        Part(
            builder.source(term),
            _spread(node, builder, term),
            None if factor == 1 else builder.array(factor, shape),
        )
        for term, factor in terms
        if builder.is_data(term)
    )
    if not constants:
        return builder.add(Sum(builder.label(node), parts))
    ((term, factor),) = constants
    constant = factor * builder.array(term, shape)
    return builder.add(Sum(builder.label(node), parts, constant, builder.is_learnt(term)))


def batch_norm(node: fx.Node, builder: ProgramBuilder) -> int:
    """Batch norm in evaluation mode: a scale, and a shift where paths begin."""
    call = normal_call(node)
    module: Any = call.module
    shape = builder.shape(node)
    scale = 1 / torch.sqrt(module.running_var + module.eps)
    if module.weight is not None:
        scale = scale * module.weight
    shift = -module.running_mean * scale
    if module.bias is not None:
        shift = shift + module.bias
    columns = (1, -1, *(1,) * (len(shape) - 2))
    factor, constant = (builder.array(part.reshape(columns), shape) for part in (scale, shift))
    part = Part(builder.source(call["input"]), None, factor)
    return builder.add(Sum(builder.label(node), (part,), constant, module.bias is not None))


# Moves and pools


def move(node: fx.Node, builder: ProgramBuilder) -> int:
    """Every entry copies one entry, or is a constant: views, slices, padding, concatenation."""
    sources = builder.sources(node)
    zeros = {source: torch.zeros(builder.shape(source)).double() for source in sources}
    constant = builder.run_on(node, zeros)
    labels, first, starts = {}, 1, []
    for source in sources:
        count = builder.values[source].numel()
        numbers = torch.arange(first, first + count, dtype=torch.float64)
        labels[source] = numbers.reshape(builder.shape(source))
        starts.append((builder.source(source), first, first + count))
        first += count
    arrived = (builder.run_on(node, labels) - constant).round().long().numpy()
    parts = tuple(
        Part(step, Gather(1, np.where(here, arrived - start, -1)[:, None]))
        for step, start, stop in starts
        if (here := (arrived >= start) & (arrived < stop)).any()
    )
    held = constant.numpy() if bool(constant.any()) else None
    return builder.add(Sum(builder.label(node), parts, held))


def pool(node: fx.Node, builder: ProgramBuilder) -> int:
    """Average pooling and upsampling: a linear map over positions, the same for each channel."""
    data = normal_call(node)["input"]
    shape = builder.shape(data)
    gather = on_unit_images(
        lambda images: builder.run_on(node, {data: images}), shape[2:], shape[0] * shape[1]
    )
    part = Part(builder.source(data), gather)
    return builder.add(Sum(builder.label(node), (part,)))


def on_unit_images(function: Any, positions: tuple[int, ...], blocks: int) -> Gather:
    """Which positions every new position reads, and how often, the same in each of the blocks."""
    count = int(np.prod(positions))
    new = function(torch.zeros(1, 1, *positions).double()).numel()
    size = max(1, 2**21 // max(count, new))
    found = []
    for start in range(0, count, size):
        rows = torch.arange(start, min(start + size, count))
        images = torch.zeros(len(rows), count, dtype=torch.float64)
        images[torch.arange(len(rows)), rows] = 1
        response = function(images.reshape(-1, 1, *positions)).reshape(len(rows), -1)
        row, column = response.nonzero(as_tuple=True)
        found.append((row + start, column, response[row, column]))
    read, written, factor = (torch.cat(part).numpy() for part in zip(*found, strict=True))
    return gather_of(read, written, factor, new, blocks)


def mean(node: fx.Node, builder: ProgramBuilder) -> int:
    """Mean or sum over some axes."""
    call = normal_call(node)
    shape = builder.shape(call["input"])
    dim = builder.fixed(call.get("dim"))
    named = range(len(shape)) if dim is None or dim == () else np.atleast_1d(dim)
    axes = tuple(int(axis) % len(shape) for axis in named)
    entries = np.moveaxis(np.arange(int(np.prod(shape))).reshape(shape), axes, range(-len(axes), 0))
    index = entries.reshape(-1, int(np.prod([shape[axis] for axis in axes])))
    coefficients = None if call.key == "sum" else np.full(index.shape, 1 / index.shape[1])
    part = Part(builder.source(call["input"]), Gather(1, index, coefficients))
    return builder.add(Sum(builder.label(node), (part,)))


_MOVES = (
    "pad",
    "getitem",
    "chunk",
    "split",
    "unbind",
    "narrow",
    "select",
    "index select",
    "roll",
    "flip",
    "cat",
    "stack",
    "flatten",
    "unflatten",
    "reshape",
    "reshape as",
    "squeeze",
    "unsqueeze",
    "permute",
    "transpose",
    "movedim",
    "t",
    "expand",
    "expand as",
    "repeat",
    "tile",
    "pixel shuffle",
    "pixel unshuffle",
    "channel shuffle",
    "patches",
    "windows",
)

RULES: dict[str, Rule] = {
    **dict.fromkeys(("linear", "matmul", "einsum"), dense),
    **dict.fromkeys(("convolution", "transposed convolution"), convolution),
    "batch norm": batch_norm,
    **dict.fromkeys((*UNCHANGED, "ones", "spread"), identity),
    "gate": gate,
    "switch": switch,
    "mul": product,
    "div": quotient,
    "neg": negation,
    **dict.fromkeys(("add", "sub"), addition),
    **dict.fromkeys(("average pool", "adaptive average pool", "interpolate"), pool),
    **dict.fromkeys(("mean", "sum"), mean),
    **dict.fromkeys(_MOVES, move),
}
"""Key of `conversion.normal_form` -> rule."""
