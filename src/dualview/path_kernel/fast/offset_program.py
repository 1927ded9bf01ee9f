"""What the fast path kernel computes, as plain descriptions: programs over planes.

Convolution, gates and pooling treat a kernel K[p, q] over two positions one **offset** r = q - p at
a time: a convolution of stride s reads K[s p + d, s q + d], which lies on offset s r, and nothing
else. For one offset K is a **plane**, a 2-D field over p:

- zero padding: p and p + r must both lie in the image, so an image (H, W) has
  (2H - 1)(2W - 1) offsets, and the plane of r is a rectangle (H - |r_y|, W - |r_x|);
- circular padding: H * W offsets, each with a full plane (H, W), q = p + r modulo (H, W).

`OffsetProgram` describes any graph whose values are sums of (plane times gate product): one list of
`Step`s, run once for every offset. Average pooling mixes neighbouring offsets, so it ends a
`Stage`. `plan` works out sizes, borders, buffers and the range of offsets, and refuses what does
not decompose. Nothing here computes kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dualview.errors import PathKernelError

Size = tuple[int, int]

OUTPUT = -1
"""Target of the steps that end a stage: the sum over all positions, or the plane to be pooled."""

POOL_LIMIT = 512e6
"""Bytes that the planes between two stages may take, for one block of pairs."""


@dataclass(frozen=True)
class Window:
    """Offsets that a convolution reads, each for (height, width); padding top, bottom, left, right.

    >>> Window(kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1)).output_size((32, 33))
    (16, 17)
    """

    kernel: Size = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    stride: Size = (1, 1)
    dilation: Size = (1, 1)

    def __post_init__(self) -> None:
        if min(*self.kernel, *self.stride, *self.dilation) < 1 or min(self.padding) < 0:
            raise PathKernelError(
                f"window: expected kernel, stride and dilation of at least 1 and padding of at "
                f"least 0, got {self}"
            )

    def output_size(self, size: Size) -> Size:
        """Height and width after the convolution; below 1 where the window does not fit."""
        height, width = (
            (size[axis] + sum(self.padding[2 * axis : 2 * axis + 2]) - reach - 1) // stride + 1
            for axis, reach, stride in zip((0, 1), self.reach, self.stride, strict=True)
        )
        return height, width

    @property
    def reach(self) -> Size:
        """Distance between the first and the last position read, on each axis."""
        (kh, kw), (dh, dw) = self.kernel, self.dilation
        return (kh - 1) * dh, (kw - 1) * dw


@dataclass(frozen=True)
class Step:
    """`target[p] (+)= scale * overlap[p, p + r] * sum_d source[s p + d]`, for every offset r.

    Attributes:
        source: plane read; 0 is the stage's input.
        target: plane written, or `OUTPUT`.
        window: the offsets d and the stride s; by default d = 0 and s = 1.
        mask: which gates' overlap to multiply by (channels on in both examples); None: by 1.
        scale: a factor.
        add: add to the target in place of making it. Steps to `OUTPUT` after the first always add.
    """

    source: int
    target: int
    window: Window = Window()
    mask: int | None = None
    scale: float = 1.0
    add: bool = False


@dataclass(frozen=True)
class Stage:
    """Steps from one plane to one output; `pool` averages the output over windows of that size.

    The last stage has no pool: its output is summed over positions p, and over all offsets.
    """

    steps: tuple[Step, ...]
    pool: Size | None = None


@dataclass(frozen=True)
class OffsetProgram:
    """Stages from the input's inner products to one number a pair.

    Attributes:
        size: height and width of the input images.
        channels: channels of each mask.
        stages: run one after the other.
        circular: circular padding, in every step.
        diagonal: sum over offset 0 only (flatten and a dense layer), not over all offsets (global
            average pooling).
    """

    size: Size
    channels: tuple[int, ...]
    stages: tuple[Stage, ...]
    circular: bool = False
    diagonal: bool = False


@dataclass(frozen=True)
class DenseLayer:
    """The gate after a dense layer: its width, and a factor on the overlap."""

    width: int
    scale: float = 1.0


# Plans: the numbers that the compiled code reads.

STEP = np.dtype(
    [
        (name, np.int64)
        for name in (
            "source",  # plane
            "target",  # plane
            "kernel_y",
            "kernel_x",
            "stride_y",
            "stride_x",
            "dilation_y",
            "dilation_x",
            "top",  # padding above
            "left",  # padding to the left
            "mask",  # index, or -1
            "mode",  # STORE, ADD or SUM
        )
    ]
    + [("scale", np.float32)],
    align=True,
)
PLANE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "height",
            "width",
            "factor_y",  # offset of this plane = factor * offset of the stage's output
            "factor_x",
            "before",  # border columns on the left
            "after",  # border columns on the right
            "start",  # first block of its buffer
        )
    ]
)
STORE, ADD, SUM = 0, 1, 2


@dataclass(frozen=True)
class StagePlan:
    """One stage in numbers.

    Attributes:
        steps, planes: records of `STEP` and `PLANE`; the last plane is the output.
        reach: offsets r of the output with |r_y| < reach[0], |r_x| < reach[1] matter (for circular
            padding: 0 <= r < reach).
        pool: pooling window after the stage, or (0, 0).
        zeros: length of the row of zeros at the start of the scratch memory, in blocks.
        blocks: length of the scratch memory, in blocks.
    """

    steps: np.ndarray
    planes: np.ndarray
    reach: Size
    pool: Size
    zeros: int
    blocks: int


@dataclass(frozen=True)
class Plan:
    """A program in numbers: its stages, and the size of the plane at which each mask acts."""

    stages: tuple[StagePlan, ...]
    masks: tuple[Size, ...]


def plan(program: OffsetProgram, pairs: int) -> Plan:
    """Sizes, borders, buffers and offsets of a program that works on `pairs` pairs at once.

    Raises:
        PathKernelError: the program does not decompose over offsets, or is inconsistent.
    """
    if not program.stages or program.stages[-1].pool is not None:
        raise PathKernelError("a program: expected a last stage without pooling")
    sizes = _stage_sizes(program)
    masks: list[Size | None] = [None] * len(program.channels)
    stages: list[StagePlan] = []
    needed: Size | None = (1, 1) if program.diagonal else None
    for number in reversed(range(len(program.stages))):
        stage = program.stages[number]
        _note_masks(stage, sizes[number], masks, number)
        stages.insert(0, _plan_stage(stage, sizes[number], program.circular, needed, number))
        first = stages[0]
        if number and not program.circular:
            pool = program.stages[number - 1].pool
            assert pool is not None
            needed = _reach_before_pool(first, pool)
        else:
            needed = None
        if number and 4 * pairs * pooled_blocks(first.planes) > POOL_LIMIT:
            raise PathKernelError(
                f"stage {number}: the pooled planes {sizes[number][0]} take more than "
                f"{POOL_LIMIT / 1e6:.0f} MB for one block of pairs"
            )
    unused = [index for index, size in enumerate(masks) if size is None]
    if unused:
        raise PathKernelError(f"masks {unused}: no step uses them")
    return Plan(tuple(stages), tuple(size for size in masks if size is not None))


def pooled_blocks(planes: np.ndarray) -> int:
    """Blocks that a stage's input planes of all offsets take together."""
    return int(planes[0]["height"] * planes[0]["width"]) ** 2


def _reach_before_pool(stage: StagePlan, pool: Size) -> Size:
    """Offsets before pooling that the offsets read after it come from."""
    source = stage.planes[0]
    factors = int(source["factor_y"]), int(source["factor_x"])
    y, x = (
        size * (factor * (reach - 1) + 1)
        for size, factor, reach in zip(pool, factors, stage.reach, strict=True)
    )
    return y, x


def _stage_sizes(program: OffsetProgram) -> list[dict[int, Size]]:
    """Size of every plane of every stage."""
    size = program.size
    if min(size) < 1:
        raise PathKernelError(f"images: expected at least one position, got {size}")
    stages: list[dict[int, Size]] = []
    for number, stage in enumerate(program.stages):
        sizes = {0: size}
        for index, step in enumerate(stage.steps):
            where = f"stage {number}, step {index}"
            _note_size(step, sizes, where, program.circular)
        if OUTPUT not in sizes:
            raise PathKernelError(f"stage {number}: no step writes its output")
        stages.append(sizes)
        size = sizes[OUTPUT]
        if stage.pool is not None:
            size = _pooled_size(size, stage.pool, number, program.circular)
    return stages


def _note_size(step: Step, sizes: dict[int, Size], where: str, circular: bool) -> None:
    """The size of the plane that a step makes, if it fits what is there."""
    if step.source not in sizes or step.source == OUTPUT:
        raise PathKernelError(f"{where}: plane {step.source} is read before it is written")
    source, window = sizes[step.source], step.window
    size = window.output_size(source)
    if min(size) < 1:
        raise PathKernelError(
            f"{where}: the window {window.kernel} does not fit into the plane {source}"
        )
    whole = tuple(n * s for n, s in zip(size, window.stride, strict=True))
    if circular and whole != source:
        raise PathKernelError(
            f"{where}: circular padding needs an output of the size of the plane over the stride, "
            f"expected {source}, got {size} times {window.stride}"
        )
    joins = step.add or (step.target == OUTPUT and OUTPUT in sizes)
    if joins and sizes.get(step.target) != size:
        raise PathKernelError(
            f"{where}: adds a plane {size} to plane {step.target} of size {sizes.get(step.target)}"
        )
    if not joins and step.target in sizes:
        raise PathKernelError(f"{where}: plane {step.target} is written twice")
    sizes[step.target] = size


def _pooled_size(size: Size, pool: Size, number: int, circular: bool) -> Size:
    pooled = size[0] // pool[0], size[1] // pool[1]
    if min(pooled) < 1 or (circular and (size[0] % pool[0] or size[1] % pool[1])):
        raise PathKernelError(f"stage {number}: pooling windows {pool} do not tile {size}")
    return pooled


def _note_masks(stage: Stage, sizes: dict[int, Size], masks: list[Size | None], at: int) -> None:
    for index, step in enumerate(stage.steps):
        if step.mask is None:
            continue
        size = sizes[step.target]
        if not 0 <= step.mask < len(masks) or masks[step.mask] not in (None, size):
            raise PathKernelError(
                f"stage {at}, step {index}: mask {step.mask} does not exist, or acts on planes of "
                f"two sizes"
            )
        masks[step.mask] = size


def _plan_stage(
    stage: Stage, sizes: dict[int, Size], circular: bool, needed: Size | None, number: int
) -> StagePlan:
    names = [name for name in sizes if name != OUTPUT] + [OUTPUT]
    index = {name: i for i, name in enumerate(names)}
    planes = np.zeros(len(names), PLANE)
    factors = _factors(stage, sizes, number)
    for name, plane in zip(names, planes, strict=True):
        plane["height"], plane["width"] = sizes[name]
        plane["factor_y"], plane["factor_x"] = factors[name]
    _set_borders(stage, sizes, planes, index)
    row = planes["width"] + planes["before"] + planes["after"]
    zeros, lengths = int(row.max()), planes["height"] * row
    planes["start"] = zeros + _place(stage, lengths, index)
    blocks = int((planes["start"] + lengths).max())
    steps = _step_records(stage, index)
    reach = _reach(stage, planes, circular, number)
    if needed is not None:
        reach = min(reach[0], needed[0]), min(reach[1], needed[1])
    return StagePlan(steps, planes, reach, stage.pool or (0, 0), zeros, blocks)


def _factors(stage: Stage, sizes: dict[int, Size], number: int) -> dict[int, Size]:
    """Offset of each plane as a multiple of the output's: the strides between them."""
    factors: dict[int, Size] = {OUTPUT: (1, 1)}
    for step in reversed(stage.steps):
        if step.target not in factors:
            raise PathKernelError(f"stage {number}: plane {step.target} is never read")
        (fy, fx), (sy, sx) = factors[step.target], step.window.stride
        if factors.setdefault(step.source, (fy * sy, fx * sx)) != (fy * sy, fx * sx):
            raise PathKernelError(
                f"stage {number}: plane {step.source} is read through two different strides"
            )
    return factors


def _set_borders(
    stage: Stage, sizes: dict[int, Size], planes: np.ndarray, index: dict[int, int]
) -> None:
    """Columns on either side that windows read outside the image."""
    for step in stage.steps:
        plane, window, size = planes[index[step.source]], step.window, sizes[step.source]
        last = (sizes[step.target][1] - 1) * window.stride[1] + window.reach[1] - window.padding[2]
        plane["before"] = max(plane["before"], window.padding[2])
        plane["after"] = max(plane["after"], last - (size[1] - 1))


def _place(stage: Stage, lengths: np.ndarray, index: dict[int, int]) -> np.ndarray:
    """Start of each plane's buffer; a plane that is not read any more leaves its own to others."""
    last_read = {step.source: at for at, step in enumerate(stage.steps)}
    starts = np.zeros(len(lengths), np.int64)
    alive: list[tuple[int, int, int]] = [(0, int(lengths[0]), 0)]  # start, end, plane
    for at, step in enumerate(stage.steps):
        alive = [p for p in alive if p[2] == OUTPUT or last_read[p[2]] >= at]
        if step.target in [plane for *_, plane in alive]:
            continue
        start, length = 0, int(lengths[index[step.target]])
        for begin, end, _ in sorted(alive):
            if start + length <= begin:
                break
            start = max(start, end)
        starts[index[step.target]] = start
        alive.append((start, start + length, step.target))
    return starts


def _step_records(stage: Stage, index: dict[int, int]) -> np.ndarray:
    records = np.zeros(len(stage.steps), STEP)
    written = False
    for record, step in zip(records, stage.steps, strict=True):
        window = step.window
        record["source"], record["target"] = index[step.source], index[step.target]
        record["kernel_y"], record["kernel_x"] = window.kernel
        record["stride_y"], record["stride_x"] = window.stride
        record["dilation_y"], record["dilation_x"] = window.dilation
        record["top"], record["left"] = window.padding[0], window.padding[2]
        record["mask"] = -1 if step.mask is None else step.mask
        record["scale"] = step.scale
        record["mode"] = ADD if step.add else STORE
        if step.target == OUTPUT:
            record["mode"] = SUM if stage.pool is None else ADD if written else STORE
            written = True
    return records


def _reach(stage: Stage, planes: np.ndarray, circular: bool, number: int) -> Size:
    """How many offsets of the output have a value other than 0, on each axis, from 0 on."""
    output = planes[-1]
    own = int(output["height"]), int(output["width"])
    if circular:
        return own
    y = int(((planes["height"] - 1) // planes["factor_y"] + 1).min())
    x = int(((planes["width"] - 1) // planes["factor_x"] + 1).min())
    reads = [step.source for step in stage.steps]
    plain = len(set(reads)) == len(reads) and not any(step.add for step in stage.steps)
    if (y, x) != own and not plain:
        raise PathKernelError(
            f"stage {number}: branches grow beyond the plane that they come from by padding"
        )
    return min(y, own[0]), min(x, own[1])


def check_masks(
    masks: Sequence[np.ndarray],
    channels: Sequence[int],
    sizes: Sequence[tuple[int, ...]],
    examples: int,
) -> None:
    """Raise unless there is one mask for each of `channels`, of the shape that a tile reads."""
    if len(masks) != len(channels):
        raise PathKernelError(f"gates: expected {len(channels)} packed arrays, got {len(masks)}")
    for number, (mask, size) in enumerate(zip(masks, sizes, strict=True)):
        hard, soft = -(-channels[number] // 64), channels[number]
        expected = [(np.uint64, (examples, *size, hard)), (np.float32, (examples, *size, soft))]
        if (mask.dtype, mask.shape) not in expected or mask.dtype != masks[0].dtype:
            raise PathKernelError(
                f"gates {number}: expected packed gates uint64 {expected[0][1]} (or soft ones, all "
                f"of them, float32 {expected[1][1]}), got {mask.dtype} {mask.shape}. Repair: "
                f"pack_gates(gates)"
            )


def check_images(x: np.ndarray, channels: int, program: OffsetProgram) -> None:
    """Raise unless x is (n, channels, height, width)."""
    if x.ndim != 4 or x.shape[1:] != (channels, *program.size):
        height, width = program.size
        raise PathKernelError(f"x: expected (n, {channels}, {height}, {width}), got {x.shape}")


def check_vectors(x: np.ndarray, features: int) -> None:
    """Raise unless x is (n, features)."""
    if x.ndim != 2 or x.shape[1] != features:
        raise PathKernelError(f"x: expected (n, {features}), got {x.shape}")
