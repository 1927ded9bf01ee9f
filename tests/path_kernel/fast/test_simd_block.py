"""Blocks of pairs as SIMD values.

Properties:
1. Loads and stores touch exactly the entries that the module's table names, at any address.
2. Sums and products are elementwise; the overlap counts the bits of words that are set in both,
   for all 32 of them, and multiplies soft gates.
3. Accumulation is in float64.
4. All of it holds where the compiler knows of AVX2 alone, too.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from dualview.path_kernel.fast import simd_block
from dualview.path_kernel.fast.simd_block import LANES, PAIRS, ROWS, compiled


@compiled
def outer(a, i, b, j, out, k):
    """out = overlap of rows a[i:] and lanes b[j:]."""
    block = simd_block.overlap_of(simd_block.rows(a, i), simd_block.lanes(b, j))
    simd_block.store(out, k, simd_block.to_float(simd_block.counted(block)))


@compiled
def arithmetic(f, g, s, out):
    """out = (f + g) * s."""
    block = simd_block.load(f, 0) + simd_block.load(g, 0)
    simd_block.store(out, 0, block * simd_block.fill(s))


@compiled
def count_twice(a, b, out):
    """out = the overlap of words, counted twice."""
    block = simd_block.overlap_of(simd_block.rows(a, 0), simd_block.lanes(b, 0))
    simd_block.store(out, 0, simd_block.to_float(simd_block.counted(block + block)))


@compiled
def add_up(f, total, k):
    """total[k:] += f, in float64."""
    simd_block.accumulate(total, k, simd_block.load(f, 0))


@compiled
def spread(f, out, k, pitch):
    """Rows of f go `pitch` apart."""
    simd_block.store_rows(out, k, pitch, simd_block.load(f, 0))


@compiled
def halved(f, k, out, j):
    """Every second number of f[k:]."""
    simd_block.thinned(f, k, out, j)


@pytest.mark.parametrize("place", [0, 1, 3])
def test_every_second_number(place):
    numbers = np.arange(2 * LANES + 8, dtype=np.float32)
    out = np.full(LANES + 8, -1, np.float32)
    halved(numbers, place, out, 2 * place)
    expected = numbers[place : place + 2 * LANES : 2]
    np.testing.assert_array_equal(out[2 * place : 2 * place + LANES], expected)
    assert (np.delete(out, slice(2 * place, 2 * place + LANES)) == -1).all()


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("dtype", [np.uint32, np.float32])
def test_overlap_of_rows_and_lanes(dtype, place):
    rng = np.random.default_rng(place)
    if dtype is np.uint32:
        a, b = (rng.integers(0, 2**32, n + 4, dtype=dtype) for n in (ROWS, LANES))
    else:
        a, b = (rng.standard_normal(n + 4).astype(dtype) for n in (ROWS, LANES))
    out = np.full(PAIRS + 8, -1, np.float32)
    outer(a, place, b, 1, out, place)
    row, lane = a[place : place + ROWS, None], b[None, 1 : 1 + LANES]
    expected = np.bitwise_count(row & lane) if dtype is np.uint32 else row * lane
    np.testing.assert_array_equal(out[place : place + PAIRS].reshape(ROWS, LANES), expected)
    assert (np.delete(out, slice(place, place + PAIRS)) == -1).all()


def test_every_bit_counts():
    for bit in range(32):
        a, b = np.full(ROWS, 1 << bit, np.uint32), np.zeros(LANES, np.uint32)
        b[::2] = 1 << bit
        out = np.zeros(PAIRS, np.float32)
        count_twice(a, b, out)
        np.testing.assert_array_equal(out.reshape(ROWS, LANES)[:, ::2], 2)
        np.testing.assert_array_equal(out.reshape(ROWS, LANES)[:, 1::2], 0)


def test_sums_and_products():
    rng = np.random.default_rng(0)
    f, g = (rng.standard_normal(PAIRS).astype(np.float32) for _ in range(2))
    out = np.zeros_like(f)
    arithmetic(f, g, np.float32(0.3), out)
    np.testing.assert_array_equal(out, (f + g) * np.float32(0.3))


def test_accumulation_is_in_float64():
    f, total = np.full(PAIRS, 1e-3, np.float32), np.full(PAIRS + 2, 1e9)
    add_up(f, total, 1)
    np.testing.assert_array_equal(total[1:-1], 1e9 + np.float64(f[0]))
    np.testing.assert_array_equal(total[[0, -1]], 1e9)


def test_rows_far_apart():
    f = np.arange(PAIRS, dtype=np.float32)
    out = np.full((ROWS, LANES + 5), -1, np.float32)
    spread(f, out.reshape(-1), 2, LANES + 5)
    np.testing.assert_array_equal(out[:, 2 : 2 + LANES], f.reshape(ROWS, LANES))
    assert (out[:, :2] == -1).all()
    assert (out[:, 2 + LANES :] == -1).all()


NARROW = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx,+avx2,+bmi,+bmi2,+cx16,+f16c,+fma,+lzcnt,+movbe,+popcnt,"
    "+sse4.2,+ssse3,+64bit",
}


@pytest.mark.skipif(not simd_block._WIDE, reason="the processor has no wider registers")
def test_narrower_registers(tmp_path):
    own = {"NUMBA_CACHE_DIR": str(tmp_path), "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "--noconftest", __file__]
    done = subprocess.run(
        command, env={**os.environ, **NARROW, **own}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("s") == 1, "this test alone is skipped there"
