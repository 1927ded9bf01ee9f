"""The compiled CPU kernel.

Properties:
1. Packed gates hold the bits of the channels, also where channels do not fill a word.
2. A chain's tile equals the recursion over all pairs of positions, written out in float64: sizes
   with height != width and down to 1 x 1, odd and even kernels, stride, dilation, uneven and large
   padding, no padding, circular padding, average pooling after a gate, flatten, dense layers,
   channels that do not fill a word, numbers of examples that do not fill a block.
3. A tile of a set with itself is symmetric, equals the tile of two equal sets, and its pairs do not
   depend on their place in the tile or on the number of threads.
4. A residual network as a program equals the recursion with gate products on its identity skip.
5. Dense tiles equal the product of inner products.
6. Inputs of ones work; scales stand for the factors they are.
7. Soft gates run through the same loops.
8. Arrays that do not fit are refused.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from dualview.errors import PathKernelError
from dualview.path_kernel.fast.offset_program import (
    OUTPUT,
    DenseLayer,
    OffsetProgram,
    Stage,
    Step,
    Window,
)
from dualview.path_kernel.fast.simd_block import LANES, ROWS
from dualview.path_kernel.fast.tile import dense_tile, offset_tile, pack_gates
from tests.path_kernel.fast.chains import ConvChain, ConvLayer, chain_tile

SAME = Window((3, 3), (1, 1, 1, 1))


# The oracle: K[y, x, v, u] over positions p = (y, x) and q = (v, u), one pair of examples


def convolve(kernel: np.ndarray, window: Window, circular: bool) -> np.ndarray:
    """K'[p, q] = sum_d K[s p + d, s q + d], entry by entry."""
    height, width = kernel.shape[:2]
    out_h, out_w = window.output_size((height, width))
    out = np.zeros((out_h, out_w, out_h, out_w))
    top, _, left, _ = window.padding

    def place(p: int, d: int, axis: int, before: int, size: int) -> int | None:
        position = p * window.stride[axis] + d * window.dilation[axis] - before
        if circular:
            return position % size
        return position if 0 <= position < size else None

    for dy, dx in itertools.product(*map(range, window.kernel)):
        for y, x, v, u in np.ndindex(out.shape):
            source = (
                place(y, dy, 0, top, height),
                place(x, dx, 1, left, width),
                place(v, dy, 0, top, height),
                place(u, dx, 1, left, width),
            )
            if None not in source:
                out[y, x, v, u] += kernel[source]
    return out


def overlap(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Channels on in both, for gates (c, height, width)."""
    return np.einsum("cyx,cvu->yxvu", left.astype(float), right.astype(float))


def pooled(kernel: np.ndarray, pool: tuple[int, int]) -> np.ndarray:
    """Mean over all pairs of positions in two windows."""
    height, width = kernel.shape[0] // pool[0], kernel.shape[1] // pool[1]
    out = np.zeros((height, width, height, width))
    for y, x, v, u in np.ndindex(out.shape):
        first = slice(y * pool[0], (y + 1) * pool[0]), slice(x * pool[1], (x + 1) * pool[1])
        second = slice(v * pool[0], (v + 1) * pool[0]), slice(u * pool[1], (u + 1) * pool[1])
        out[y, x, v, u] = kernel[*first, *second].mean()
    return out


def chain_pair(chain: ConvChain, x: tuple, gates: tuple) -> float:
    """The kernel of one pair: x and gates of the first and of the second example."""
    kernel = np.einsum("cyx,cvu->yxvu", x[0], x[1])
    convolutions = len(chain.layers)
    for layer, left, right in zip(chain.layers, gates[0], gates[1], strict=False):
        window = Window(layer.kernel, layer.padding, layer.stride, layer.dilation)
        kernel = convolve(kernel, window, chain.circular)
        kernel = kernel * overlap(left, right) * layer.scale
        if layer.pool is not None:
            kernel = pooled(kernel, layer.pool)
    value = kernel.mean() if chain.head == "average" else np.einsum("yxyx->", kernel)
    pairs = zip(chain.dense, gates[0][convolutions:], gates[1][convolutions:], strict=True)
    for layer, left, right in pairs:
        value *= layer.scale * float(left.astype(float) @ right)
    return float(value) * chain.scale


def table(pair, left: tuple, right: tuple) -> np.ndarray:
    """`pair` for all pairs of two sides (x, [gates of each layer])."""

    def example(side: tuple, i: int) -> tuple:
        return side[0][i].astype(float), [gates[i] for gates in side[1]]

    out = np.zeros((len(left[0]), len(right[0])))
    for a, b in np.ndindex(out.shape):
        (x1, g1), (x2, g2) = example(left, a), example(right, b)
        out[a, b] = pair((x1, x2), (g1, g2))
    return out


def draw(rng: np.random.Generator, n: int, chain: ConvChain, channels: int = 3) -> tuple:
    """Random inputs and gates for a chain."""
    x = rng.standard_normal((n, channels, chain.height, chain.width)).astype(np.float32)
    size, gates = (chain.height, chain.width), []
    for layer in chain.layers:
        window = Window(layer.kernel, layer.padding, layer.stride, layer.dilation)
        size = window.output_size(size)
        gates.append(rng.random((n, layer.channels, *size)) < 0.6)
        if layer.pool is not None:
            size = size[0] // layer.pool[0], size[1] // layer.pool[1]
    return x, gates + [rng.random((n, layer.width)) < 0.6 for layer in chain.dense]


def tile(left: tuple, right: tuple | None, chain: ConvChain, **options) -> np.ndarray:
    packed = [None if side is None else [pack_gates(g) for g in side[1]] for side in (left, right)]
    second = None if right is None else right[0]
    return chain_tile(left[0], packed[0], second, packed[1], chain, **options)


def assert_close(result: np.ndarray, expected: np.ndarray) -> None:
    """1e-5 of the entries' typical size: entries near 0 are sums that cancel."""
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).mean())


def conv(channels: int, **options) -> ConvLayer:
    return ConvLayer(channels, scale=1 / channels, **options)


NONE = (0, 0, 0, 0)
CHAINS = {
    "3x3": ConvChain(4, 5, (conv(5), conv(70), conv(33))),
    "circular": ConvChain(4, 5, (conv(5), conv(70), conv(33)), circular=True),
    "one position": ConvChain(1, 1, (conv(64), conv(3))),
    "one position, circular": ConvChain(1, 1, (conv(64), conv(3)), circular=True),
    "one row": ConvChain(1, 5, (conv(8), conv(8))),
    "two columns, circular": ConvChain(3, 2, (conv(8), conv(8)), circular=True),
    "1x1": ConvChain(3, 4, (conv(9, kernel=(1, 1), padding=NONE), conv(9))),
    "1x1, circular": ConvChain(3, 4, (conv(9, kernel=(1, 1), padding=NONE), conv(9)), True),
    "5x5": ConvChain(4, 3, (conv(40, kernel=(5, 5), padding=(2, 2, 2, 2)), conv(7))),
    "5x5, circular": ConvChain(4, 3, (conv(7, kernel=(5, 5), padding=(2,) * 4),), circular=True),
    "even": ConvChain(4, 5, (conv(6, kernel=(2, 4), padding=(0, 1, 1, 2)), conv(6))),
    "even, circular": ConvChain(
        4, 5, (conv(6, kernel=(2, 4), padding=(0, 1, 1, 2)), conv(6)), circular=True
    ),
    "3x3, uneven padding": ConvChain(4, 5, (conv(6, padding=(2, 0, 0, 2)), conv(6))),
    "no padding": ConvChain(6, 5, (conv(6, padding=NONE), conv(6, padding=NONE))),
    "padding that grows": ConvChain(2, 3, (conv(6, padding=(2, 2, 3, 2)), conv(6))),
    "3x1": ConvChain(4, 4, (conv(6, kernel=(3, 1), padding=(1, 1, 0, 0)), conv(6))),
    "dilation": ConvChain(5, 6, (conv(6), conv(6, dilation=(2, 3), padding=(2, 2, 3, 3)))),
    "dilation, circular": ConvChain(
        5, 6, (conv(6, dilation=(2, 3), padding=(2, 2, 3, 3)), conv(6)), circular=True
    ),
    "dilated rows": ConvChain(6, 4, (conv(6, dilation=(2, 1), padding=(2, 2, 1, 1)),)),
    "stride": ConvChain(5, 6, (conv(6, stride=(2, 2)), conv(6), conv(6, stride=(1, 2)))),
    "stride over rows": ConvChain(6, 5, (conv(6), conv(6, stride=(2, 1)), conv(6))),
    "stride, circular": ConvChain(4, 6, (conv(6), conv(6, stride=(2, 3)), conv(6)), circular=True),
    "pool": ConvChain(6, 4, (conv(6, pool=(2, 2)), conv(6))),
    "pools": ConvChain(7, 8, (conv(6), conv(6, pool=(2, 2)), conv(6, pool=(3, 2)), conv(6))),
    "pool last": ConvChain(4, 5, (conv(6), conv(6, pool=(2, 3)))),
    "pools, circular": ConvChain(
        4, 6, (conv(6, pool=(1, 3)), conv(6, pool=(2, 2)), conv(6)), circular=True
    ),
    "pool and stride": ConvChain(8, 7, (conv(6, pool=(2, 2)), conv(6, stride=(2, 2)), conv(6))),
    "flatten": ConvChain(4, 5, (conv(5), conv(6)), head="flatten"),
    "flatten, circular": ConvChain(4, 3, (conv(5), conv(6)), head="flatten", circular=True),
    "flatten, pool, stride": ConvChain(
        8, 9, (conv(5), conv(6, pool=(2, 2)), conv(6, stride=(2, 1))), head="flatten"
    ),
    "flatten, pool, circular": ConvChain(
        4, 4, (conv(5), conv(6, pool=(2, 2)), conv(6)), head="flatten", circular=True
    ),
    "dense": ConvChain(
        3, 4, (conv(5), conv(6)), dense=(DenseLayer(70, 1 / 70), DenseLayer(31)), scale=0.25
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_equals_the_recursion_over_all_positions(name):
    chain, rng = CHAINS[name], np.random.default_rng(len(name))
    left, right = draw(rng, 3, chain), draw(rng, 2, chain)

    def pair(x, gates):
        return chain_pair(chain, x, gates)

    assert_close(tile(left, right, chain), table(pair, left, right))


@pytest.mark.parametrize("n", [ROWS + 1, LANES + 3])
@pytest.mark.parametrize("circular", [False, True])
def test_any_number_of_examples(n, circular):
    chain = replace(CHAINS["dense"], circular=circular)
    rng = np.random.default_rng(n)
    left, right = draw(rng, n, chain), draw(rng, n + 1, chain)
    expected = table(lambda x, gates: chain_pair(chain, x, gates), left, right)
    assert_close(tile(left, right, chain), expected)


def test_a_set_with_itself():
    chain, rng = CHAINS["pool and stride"], np.random.default_rng(0)
    chain = replace(chain, dense=(DenseLayer(40, 1 / 40),))
    side = draw(rng, LANES + ROWS + 1, chain)
    half, whole = tile(side, None, chain), tile(side, side, chain)
    np.testing.assert_array_equal(half, half.T)
    np.testing.assert_array_equal(np.triu(half), np.triu(whole))
    np.testing.assert_allclose(whole, whole.T, rtol=1e-5, atol=1e-6 * np.abs(whole).max())


def test_pairs_do_not_depend_on_their_place_or_on_threads():
    chain, rng = CHAINS["3x3"], np.random.default_rng(0)
    left, right = draw(rng, 2 * ROWS + 1, chain), draw(rng, LANES + 2, chain)
    whole = tile(left, right, chain)
    np.testing.assert_array_equal(tile(left, right, chain, threads=3), whole)
    part = tile((left[0][3:4], [g[3:4] for g in left[1]]), right, chain)
    np.testing.assert_array_equal(part, whole[3:4])


def test_ones_and_unscaled_counts():
    chain = ConvChain(3, 4, (ConvLayer(33), ConvLayer(8)))
    rng = np.random.default_rng(0)
    left, right = draw(rng, 2, chain), draw(rng, 3, chain)
    left, right = (np.ones_like(left[0]), left[1]), (np.ones_like(right[0]), right[1])
    result = tile(left, right, chain)
    expected = table(lambda x, gates: chain_pair(chain, x, gates), left, right)
    np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["dense", "pools, circular"])
def test_soft_gates(name):
    chain, rng = CHAINS[name], np.random.default_rng(0)
    sides = []
    for n in (2, 3):
        x, gates = draw(rng, n, chain)
        sides.append((x, [rng.random(g.shape, dtype=np.float32) for g in gates]))
    left, right = sides
    last = [[np.moveaxis(g, 1, -1) for g in side[1]] for side in sides]
    expected = table(lambda x, gates: chain_pair(chain, x, gates), left, right)
    assert_close(chain_tile(left[0], last[0], right[0], last[1], chain), expected)


# Residual networks


def residual_pair(x: tuple, gates: tuple) -> float:
    """conv, gate, then a strided block with a 1x1 shortcut, gate, pooled; three-term bookkeeping.

    y1 = G1 conv(x); y2 = G3 (conv(G2 conv_stride(y1)) + shortcut(y1)); y3 = G4 (conv(y2) + y2).
    """
    stride, short = Window((3, 3), (1, 1, 1, 1), (2, 2)), Window(stride=(2, 2))
    g = [overlap(left, right) for left, right in zip(*gates, strict=True)]
    one = convolve(np.einsum("cyx,cvu->yxvu", *x), SAME, False) * g[0]
    two = convolve(convolve(one, stride, False) * g[1], SAME, False) + convolve(one, short, False)
    both = [left[2] & left[3] for left in gates]
    three = convolve(two * g[2], SAME, False) * g[3] + two * overlap(*both)
    return float(three.mean())


def test_a_residual_network():
    stride, short = Window((3, 3), (1, 1, 1, 1), (2, 2)), Window(stride=(2, 2))
    steps = (
        Step(0, 1, SAME, mask=0),
        Step(1, 2, stride, mask=1),
        Step(2, 3, SAME),
        Step(1, 3, short, add=True),
        Step(3, 4, mask=2),
        Step(4, OUTPUT, SAME, mask=3, scale=1 / 3**4),
        Step(3, OUTPUT, mask=4, scale=1 / 3**4),
    )
    program = OffsetProgram((5, 6), (5, 6, 7, 7, 7), (Stage(steps),))
    rng = np.random.default_rng(0)

    def side(n: int) -> tuple:
        x = rng.standard_normal((n, 2, 5, 6)).astype(np.float32)
        shapes = ((5, 5, 6), (6, 3, 3), (7, 3, 3), (7, 3, 3))
        return x, [rng.random((n, *shape)) < 0.6 for shape in shapes]

    left, right = side(3), side(2)
    packed = [[pack_gates(g) for g in (*gates, gates[2] & gates[3])] for _, gates in (left, right)]
    result = offset_tile(left[0], packed[0], right[0], packed[1], program)
    np.testing.assert_allclose(result, table(residual_pair, left, right), rtol=1e-5)


# Gates and dense layers


@pytest.mark.parametrize("channels", [1, 8, 63, 64, 65, 130])
def test_packed_gates_hold_the_bits(channels):
    gates = np.random.default_rng(channels).random((2, channels, 3, 2)) < 0.5
    packed = pack_gates(gates)
    assert packed.dtype == np.uint64
    assert packed.shape == (2, 3, 2, -(-channels // 64))
    for channel in range(channels):
        bit = packed[..., channel // 64] >> np.uint64(channel % 64) & np.uint64(1)
        np.testing.assert_array_equal(bit.astype(bool), gates[:, channel])
    assert int(np.bitwise_count(packed).sum()) == int(gates.sum())


@pytest.mark.parametrize(("n1", "n2"), [(1, 1), (ROWS + 1, LANES + 1), (2 * ROWS, 2 * LANES)])
@pytest.mark.parametrize("features", [1, 300])
def test_dense_tiles(n1, n2, features):
    rng = np.random.default_rng(features)
    widths = (30, 64, 200)
    x = [rng.standard_normal((n, features)).astype(np.float32) for n in (n1, n2)]
    gates = [[rng.random((n, width)) < 0.6 for width in widths] for n in (n1, n2)]
    packed = [[pack_gates(g) for g in side] for side in gates]
    layers = [DenseLayer(width, 1 / width) for width in widths]
    expected = x[0].astype(float) @ x[1].astype(float).T
    for left, right, width in zip(*gates, widths, strict=True):
        expected *= left.astype(float) @ right.astype(float).T / width
    assert_close(dense_tile(x[0], packed[0], x[1], packed[1], layers), expected)
    half = dense_tile(x[1], packed[1], None, None, layers, threads=2)
    np.testing.assert_array_equal(half, dense_tile(x[1], packed[1], x[1], packed[1], layers))


# Refusals


def test_arrays_that_do_not_fit():
    chain, rng = CHAINS["3x3"], np.random.default_rng(0)
    x, gates = draw(rng, 2, chain)
    packed = [pack_gates(g) for g in gates]
    with pytest.raises(PathKernelError, match="expected 3 packed arrays, got 2"):
        chain_tile(x, packed[:2], None, None, chain)
    with pytest.raises(
        PathKernelError, match=r"gates 1: expected packed gates uint64 \(2, 4, 5, 2"
    ):
        chain_tile(x, [packed[0], packed[0], packed[2]], None, None, chain)
    with pytest.raises(PathKernelError, match=r"x: expected \(n, 3, 4, 5\)"):
        chain_tile(x[..., :4], packed, None, None, chain)
    with pytest.raises(PathKernelError, match="gates2: expected both, or None for both"):
        chain_tile(x, packed, x, None, chain)
    with pytest.raises(PathKernelError, match="expected booleans"):
        pack_gates(x)
    with pytest.raises(PathKernelError, match=r"x: expected \(n, 3\)"):
        dense_tile(np.ones((2, 3), np.float32), [], np.ones((2, 4), np.float32), [], [])
