"""Forward passes over a program: sums over all paths, and the best path to every entry.

What is summed over the paths is chosen by a *view*: their contributions, the magnitudes of these,
or 1 for each path. The best prefix of an entry is the largest magnitude of any path that ends
there, found by the same recursion with maxima in place of sums (dynamic programming). It is kept as
a logarithm, so that a hundred layers neither underflow nor overflow, and maximum-product becomes
maximum-sum. Arrays are flat, one number per entry.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dualview.path_attribution.steps import Gather, Input, Program, Step, Weighted, sources

View = Literal["contribution", "magnitude", "count"]

LARGE = 512
"""Sums of 2 to this power are divided by a power of two."""

CELLS = 2**21
"""Most numbers of a temporary array: 16 MB."""

TILE = 2**15
"""Most numbers that one step of a layer's maxima compares: it stays in cache, and in one thread."""

FEW_POSITIONS = 8
"""Up to here a layer's maxima are faster taken over a block of weights than weight by weight."""


def each_total(program: Program, view: View) -> Iterator[np.ndarray]:
    """For each step, the sum over all paths that end at each of its entries.

    A sum is held here only as long as later ones read it.
    """
    last_use, values = _last_uses(program), dict[int, np.ndarray]()
    for number, step in enumerate(program.steps):
        values[number] = _total(step, values, view)
        yield values[number]
        for source in (number, *sources(step)):
            if last_use[source] == number:
                values.pop(source, None)


def _last_uses(program: Program) -> dict[int, int]:
    """Which step is the last that reads each step's value; the output's is read in the end."""
    last_use = dict[int, int]()
    for number, step in enumerate(program.steps):
        last_use |= dict.fromkeys((number, *sources(step)), number)
    last_use[program.output] = len(program.steps)
    return last_use


def output_total(program: Program, view: View) -> tuple[np.ndarray, int]:
    """The sum over all paths to each entry of the output, divided by a power of two; its exponent.

    Sums beyond what float64 holds stay finite, and values are held only as long as they are read.
    Up to 2^512 the exponent is 0.
    """
    last_use = _last_uses(program)
    values: dict[int, np.ndarray] = {}
    exponents: dict[int, int] = {}
    for number, step in enumerate(program.steps):
        own = sources(step)
        exponent = max((exponents[source] for source in own), default=0)
        aligned = {
            source: values[source]
            if exponents[source] == exponent
            else np.ldexp(values[source], exponents[source] - exponent)
            for source in own
        }
        value = _total(step, aligned, view, math.ldexp(1.0, max(-exponent, -2000)))
        _, size = math.frexp(float(np.abs(value).max(initial=0.0)))
        if size > LARGE:
            value, exponent = np.ldexp(value, -size), exponent + size
        values[number], exponents[number] = value, exponent
        for source in (number, *own):
            if last_use[source] == number:
                values.pop(source, None)
    return values[program.output], exponents[program.output]


def best_prefixes(program: Program) -> list[np.ndarray]:
    """For each step, the logarithm of the largest magnitude of a path that ends at each entry.

    -inf where every path is 0. The path's own gates and weights up to the entry are included.
    """
    values: list[np.ndarray] = []
    for step in program.steps:
        values.append(_best(step, values))
    return values


def log_magnitude(array: np.ndarray) -> np.ndarray:
    """The logarithm of |array|, -inf where it is 0."""
    with np.errstate(divide="ignore"):
        return np.log(np.abs(array))


# Sums


def _seen(array: np.ndarray, view: View) -> np.ndarray:
    if view == "contribution":
        return array
    return np.abs(array) if view == "magnitude" else np.ones_like(array)


def _total(
    step: Step, values: Mapping[int, np.ndarray], view: View, unit: float = 1.0
) -> np.ndarray:
    """The step's value from those of its sources, all of them times `unit`."""
    if isinstance(step, Input):
        return _seen(step.values, view)
    if isinstance(step, Weighted):
        return _weighted_total(step, values[step.source], view, unit)
    total = np.zeros(step.label.size)
    if step.constant is not None:
        present = 1.0 if step.learnt else step.constant != 0
        total += _seen(step.constant, view) * present * unit
    for part in step.parts:
        value = values[part.source]
        if part.gather is not None:
            value = _gathered_total(part.gather, value, view)
        total += value if part.factor is None else value * _seen(part.factor, view)
    return total


def _gathered_total(gather: Gather, value: np.ndarray, view: View) -> np.ndarray:
    terms = picked(gather, value, 0.0)
    if gather.coefficients is not None:
        terms = terms * _seen(gather.coefficients, view)
    return terms.sum(-1).reshape(-1)


def picked(gather: Gather, value: np.ndarray, missing: float) -> np.ndarray:
    """The entries that each entry reads: (blocks, entries of a block, m)."""
    return _extended(value.reshape(gather.blocks, -1), missing)[:, gather.index]


def _extended(value: np.ndarray, missing: float) -> np.ndarray:
    """One more entry at the end of the last axis, which the index -1 finds."""
    return np.concatenate([value, np.full((*value.shape[:-1], 1), missing)], axis=-1)


def _columns(step: Weighted, value: np.ndarray, positions: slice, missing: float) -> np.ndarray:
    """What each new position reads: (groups, c * offsets, new positions)."""
    source = _extended(value.reshape(step.groups, step.inputs, -1), missing)
    columns = source[:, :, step.index[:, positions]]  # (groups, c, offsets, new positions)
    return columns.reshape(step.groups, -1, columns.shape[-1])


def _position_blocks(step: Weighted) -> list[slice]:
    count = step.index.shape[1]
    size = max(1, CELLS // (step.groups * step.weight.shape[2]))
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _weighted_total(step: Weighted, value: np.ndarray, view: View, unit: float = 1.0) -> np.ndarray:
    groups, outputs = step.weight.shape[:2]
    total = np.empty((groups, outputs, step.index.shape[1]))
    weight = _seen(step.weight, view) if view != "count" else step.weight
    for positions in _position_blocks(step):
        columns = _columns(step, value, positions, 0.0)
        if view == "count":
            total[:, :, positions] = columns.sum(1, keepdims=True)
        else:
            np.matmul(weight, columns, out=total[:, :, positions])
    if step.bias is not None:
        total += _seen(step.bias, view).reshape(groups, outputs, 1) * unit
    return total.reshape(-1)


# Maxima


def _best(step: Step, values: list[np.ndarray]) -> np.ndarray:
    """Logarithm of the largest |product| of any path to each entry of a step."""
    if isinstance(step, Input):
        return log_magnitude(step.values)
    if isinstance(step, Weighted):
        return _weighted_best(step, values[step.source])
    best = np.full(step.label.size, -np.inf)
    if step.constant is not None:
        best = log_magnitude(step.constant)
    for part in step.parts:
        value = values[part.source]
        if part.gather is not None:
            value = _gathered_best(part.gather, value)
        if part.factor is not None:
            value = value + log_magnitude(part.factor)
        best = np.maximum(best, value)
    return best


def _gathered_best(gather: Gather, value: np.ndarray) -> np.ndarray:
    terms = picked(gather, value, -np.inf)
    if gather.coefficients is not None:
        terms = terms + log_magnitude(gather.coefficients)
    return terms.max(-1).reshape(-1)


def _weighted_best(step: Weighted, value: np.ndarray) -> np.ndarray:
    groups, outputs = step.weight.shape[:2]
    best = np.empty((groups, outputs, step.index.shape[1]))
    weight = log_magnitude(step.weight)
    for positions in _position_blocks(step):
        columns = _columns(step, value, positions, -np.inf)
        best[:, :, positions] = _max_plus(weight, columns)
    if step.bias is not None:
        best = np.maximum(best, log_magnitude(step.bias).reshape(groups, outputs, 1))
    return best.reshape(-1)


def _max_plus(weight: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """max_j weight[g, i, j] + columns[g, j, q]: (groups, outputs, positions)."""
    outputs, positions = weight.shape[1], columns.shape[-1]
    if positions <= FEW_POSITIONS:
        return np.stack([_max_plus_one(weight, columns[..., q]) for q in range(positions)], -1)
    longer = outputs > positions  # the longer axis is the inner one, for long vectors
    one, other = (columns, weight.transpose(0, 2, 1)) if longer else (weight, columns)
    if longer:
        one = one.transpose(0, 2, 1)
    best = _max_plus_rows(one, np.ascontiguousarray(other))
    return best.transpose(0, 2, 1) if longer else best


def _max_plus_rows(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """max_j rows[g, i, j] + columns[g, j, q]: (groups, i, q), some rows at a time, on all cores.

    Each piece is small and done by one thread, so that pieces run side by side.
    """
    groups, count, _ = rows.shape
    inner = columns.shape[-1]
    best = np.empty((groups, count, inner))
    pairs = torch.from_numpy(columns).unsqueeze(1).unbind(2)
    size = max(1, TILE // (groups * inner))

    def fill(start: int) -> None:
        block = np.ascontiguousarray(rows[:, start : start + size].transpose(2, 0, 1))
        best[:, start : start + size] = _max_plus_tile(block, pairs, inner)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(fill, range(0, count, size)))
    return best


def _max_plus_tile(weight: np.ndarray, columns: Sequence[Tensor], inner: int) -> np.ndarray:
    """The same for a few rows: weight (terms, groups, rows), columns (groups, 1, inner).

    In torch, whose maximum is faster than numpy's.
    """
    best = torch.full((*weight.shape[1:], inner), -math.inf, dtype=torch.float64)
    added = torch.empty_like(best)
    for of_rows, of_columns in zip(
        torch.from_numpy(weight).unsqueeze(-1).unbind(), columns, strict=True
    ):
        torch.add(of_rows, of_columns, out=added)
        torch.maximum(best, added, out=best)
    return best.numpy()


def _max_plus_one(weight: np.ndarray, column: np.ndarray) -> np.ndarray:
    """The same for one position: column (groups, terms)."""
    rows = max(1, CELLS // (weight.shape[0] * weight.shape[2]))
    blocks = (slice(start, start + rows) for start in range(0, weight.shape[1], rows))
    return np.concatenate([(weight[:, b] + column[:, None]).max(-1) for b in blocks], axis=1)
