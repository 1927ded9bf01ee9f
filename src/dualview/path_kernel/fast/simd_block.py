"""A small block of example pairs as one SIMD value, for numba.

A **block** is the outer product of `ROWS` first examples and `LANES` second examples, held in
registers: `ROWS` vectors of `LANES` 32-bit numbers. Kernels written with it state the arithmetic of
one pair, on scalars so to say, and get `ROWS * LANES` pairs at a time without relying on the
compiler's loop vectoriser. Examples lie in the lanes, so no lane ever waits for another.

Array convention: the arrays read are one-dimensional and contiguous; what belongs to the first
examples is stored as `[..., row]` with `ROWS` numbers side by side, what belongs to the second ones
as `[..., lane]` with `LANES`, and a block as `[..., row, lane]`.

    rows(a, i)          a[i + r]  for every lane         (a broadcast)
    lanes(b, j)         b[j + l]  for every row          (one vector load)
    load(f, k)          f[k + r * LANES + l]
    store(f, k, v)      the reverse
    store_rows(f, k, pitch, v)  f[k + r * pitch + l] = v
    gathered(f, at, i, k)       f[at[i + r] + k + l]
    scatter(f, at, i, k, v)     the reverse
    thinned(f, k, g, j) g[j + l] = f[k + 2 * l]        (copies every second number)
    accumulate(f, k, v) f[k + r * LANES + l] += v, f in float64
    fill(s)             the float32 s everywhere
    u + v, u * v        elementwise, float32
    overlap_of(u, v)    gates on in both: uint32 words -> a tally of `u & v`; float32 -> `u * v`
    counted(n)          a sum of up to `TALLIES` tallies -> the bits set; float32 as it is
    to_float(n)         a count as float32
    channels_on(a, i, step, b, j, words)   bits on in both of so many words, as float32: those of
                        a row lie `step` apart, those of a lane `LANES`; floats: their products

A **tally** is the number of bits set, where the processor counts those of a vector's words in one
instruction. Otherwise it is that of each byte, looked up half a byte at a time (a shuffle of bytes
is a table of 16 entries), and the four bytes of a word are added up only in the end.

uint32 arrays give blocks of words, float32 arrays blocks of floats. Addresses are not checked: the
callers lay out their own arrays.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: D103 - the list above documents them

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from dualview.errors import needs

with needs("kernel", "the fast path kernel"):
    from llvmlite import binding, ir
    from numba import njit, types
    from numba.core import config  # what the environment asks numba for
    from numba.extending import intrinsic as numba_intrinsic
    from numba.extending import models, overload, register_model

intrinsic: Any = numba_intrinsic
"""A function that writes LLVM code at compile time; callers see other arguments than it takes."""

compiled: Any = njit(nogil=True, cache=True, error_model="numpy")
"""Decorator of functions that use blocks: compiled once, run without the interpreter's lock."""

inlined: Any = njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
"""The same for functions that pass blocks in and out: a call would send them through memory."""


def _features() -> set[str]:
    """Instruction sets that numba compiles for: the processor's, or those it is told."""
    told: Any = config
    if told.CPU_FEATURES is not None:
        return {name[1:] for name in told.CPU_FEATURES.split(",") if name.startswith("+")}
    if told.CPU_NAME not in (None, "", binding.get_host_cpu_name()):
        return set()
    try:
        return {name for name, there in binding.get_host_cpu_features().items() if there}
    except RuntimeError:  # llvmlite does not know this platform's features
        return set()


_FEATURES = _features()
_WIDE = "avx512f" in _FEATURES
"""Whether there are 32 registers of 512 bits, and not 16 or 32 smaller ones."""

ROWS, LANES = (4, 16) if _WIDE else (4, 8) if "avx2" in _FEATURES else (2, 8)
BY_BYTES = "avx512vpopcntdq" not in _FEATURES and ("avx512bw" if _WIDE else "avx2") in _FEATURES
"""Whether bits are counted by tables of half a byte."""
TALLIES = 31 if BY_BYTES else 1 << 24
"""How many tallies may be added up: a byte holds 31 times 8."""

PAIRS = ROWS * LANES

_F32, _F64, _I32, _I64 = ir.FloatType(), ir.DoubleType(), ir.IntType(32), ir.IntType(64)


class BlockType(types.Type):
    """The numba type of a block: of float32 numbers, or of 32-bit words."""

    def __init__(self, floating: bool) -> None:
        self.floating = floating
        super().__init__(name=f"Block({'float32' if floating else 'uint32'}, {ROWS}, {LANES})")

    @property
    def element(self) -> ir.Type:
        """The LLVM type of one number."""
        return _F32 if self.floating else _I32


FLOATS, WORDS = BlockType(floating=True), BlockType(floating=False)


@register_model(BlockType)
class _BlockModel(models.PrimitiveModel):
    def __init__(self, manager: Any, block: BlockType) -> None:
        super().__init__(manager, block, ir.ArrayType(_vector(block.element), ROWS))


def _vector(element: ir.Type) -> ir.Type:
    return ir.VectorType(element, LANES)


def _split(builder: Any, block: Any) -> list[Any]:
    return [builder.extract_value(block, row) for row in range(ROWS)]


def _join(builder: Any, vectors: list[Any]) -> Any:
    block = ir.Constant(ir.ArrayType(vectors[0].type, ROWS), ir.Undefined)
    for row, vector in enumerate(vectors):
        block = builder.insert_value(block, vector, row)
    return block


def _broadcast(builder: Any, scalar: Any) -> Any:
    empty = ir.Constant(_vector(scalar.type), ir.Undefined)
    first = builder.insert_element(empty, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, empty, ir.Constant(_vector(_I32), [0] * LANES))


def _addresses(ctx: Any, builder: Any, sig: Any, args: Any, element: ir.Type) -> list[Any]:
    """One pointer a row, `element`s apart, from the (array, index) that open `args`."""
    data = ctx.make_array(sig.args[0])(ctx, builder, args[0]).data
    first = builder.gep(data, [args[1]], inbounds=True)
    first = builder.bitcast(first, element.as_pointer())
    return [builder.gep(first, [ir.Constant(_I64, row)], inbounds=True) for row in range(ROWS)]


def _block_of(array: Any) -> BlockType:
    return FLOATS if array.dtype == types.float32 else WORDS


@intrinsic
def rows(typing_context, array, index):
    kind = _block_of(array)

    def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointers = _addresses(ctx, builder, sig, args, kind.element)
        return _join(builder, [_broadcast(builder, builder.load(p)) for p in pointers])

    return kind(array, types.intp), generate


@intrinsic
def lanes(typing_context, array, index):
    kind = _block_of(array)

    def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _addresses(ctx, builder, sig, args, _vector(kind.element))[0]
        return _join(builder, [builder.load(pointer, align=4)] * ROWS)

    return kind(array, types.intp), generate


@intrinsic
def load(typing_context, array, index):
    kind = _block_of(array)

    def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointers = _addresses(ctx, builder, sig, args, _vector(kind.element))
        return _join(builder, [builder.load(p, align=4) for p in pointers])

    return kind(array, types.intp), generate


@intrinsic
def store(typing_context, array, index, block):
    def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointers = _addresses(ctx, builder, sig, args, _vector(block.element))
        for pointer, vector in zip(pointers, _split(builder, args[2]), strict=True):
            builder.store(vector, pointer, align=4)
        return ctx.get_dummy_value()

    return types.void(array, types.intp, block), generate


@intrinsic
def store_rows(typing_context, array, index, pitch, block):
    def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
        array_value, start, stride, value = args
        for row, vector in enumerate(_split(builder, value)):
            place = builder.add(start, builder.mul(stride, ir.Constant(_I64, row)))
            pointers = _addresses(ctx, builder, sig, (array_value, place), _vector(block.element))
            builder.store(vector, pointers[0], align=4)
        return ctx.get_dummy_value()

    return types.void(array, types.intp, types.intp, block), generate


def _row_pointers(ctx: Any, builder: Any, sig: Any, args: Any, element: ir.Type) -> list[Any]:
    """One pointer a row, from (array, starts of the rows, index of the first start, offset)."""
    array, places, first, offset = args[:4]
    data = ctx.make_array(sig.args[0])(ctx, builder, array).data
    starts = ctx.make_array(sig.args[1])(ctx, builder, places).data
    pointers = []
    for row in range(ROWS):
        number = builder.add(first, ir.Constant(_I64, row))
        start = builder.load(builder.gep(starts, [number], inbounds=True))
        pointer = builder.gep(data, [builder.add(start, offset)], inbounds=True)
        pointers.append(builder.bitcast(pointer, element.as_pointer()))
    return pointers


@intrinsic
def gathered(typing_context, array, places, first, offset):
    kind = _block_of(array)

    def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointers = _row_pointers(ctx, builder, sig, args, _vector(kind.element))
        return _join(builder, [builder.load(p, align=4) for p in pointers])

    return kind(array, places, types.intp, types.intp), generate


@intrinsic
def scatter(typing_context, array, places, first, offset, block):
    def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointers = _row_pointers(ctx, builder, sig, args, _vector(block.element))
        for pointer, vector in zip(pointers, _split(builder, args[4]), strict=True):
            builder.store(vector, pointer, align=4)
        return ctx.get_dummy_value()

    return types.void(array, places, types.intp, types.intp, block), generate


@intrinsic
def thinned(typing_context, array, index, target, place):
    def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
        source, start, to, at = args
        wide = ir.VectorType(_F32, 2 * LANES)
        read = _addresses(ctx, builder, sig, (source, start), wide)[0]
        data = ctx.make_array(sig.args[2])(ctx, builder, to).data
        goal = builder.bitcast(builder.gep(data, [at], inbounds=True), _vector(_F32).as_pointer())
        both = builder.load(read, align=4)
        even = ir.Constant(_vector(_I32), [2 * lane for lane in range(LANES)])
        empty = ir.Constant(wide, ir.Undefined)
        builder.store(builder.shuffle_vector(both, empty, even), goal, align=4)
        return ctx.get_dummy_value()

    return types.void(array, types.intp, target, types.intp), generate


@intrinsic
def accumulate(typing_context, array, index, block):
    def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
        wide = _vector(_F64)
        pointers = _addresses(ctx, builder, sig, args, wide)
        for pointer, vector in zip(pointers, _split(builder, args[2]), strict=True):
            total = builder.fadd(builder.load(pointer, align=8), builder.fpext(vector, wide))
            builder.store(total, pointer, align=8)
        return ctx.get_dummy_value()

    if array.dtype != types.float64:
        return None
    return types.void(array, types.intp, FLOATS), generate


@intrinsic
def fill(typing_context, scalar):
    def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _join(builder, [_broadcast(builder, args[0])] * ROWS)

    return FLOATS(types.float32), generate


@intrinsic
def to_float(typing_context, block):
    def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
        if block.floating:
            return args[0]
        # Counts stay far below 2^31, and the signed conversion is one instruction everywhere.
        vectors = _split(builder, args[0])
        return _join(builder, [builder.sitofp(v, _vector(_F32)) for v in vectors])

    return FLOATS(block), generate


def _elementwise(emit: Callable[[Any, BlockType, Any, Any], Any]) -> Any:
    """An intrinsic of two blocks of one kind; `emit(builder, kind, u, v)` makes one vector."""

    @intrinsic
    def operation(typing_context, u, v):
        def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
            pairs = zip(_split(builder, args[0]), _split(builder, args[1]), strict=True)
            return _join(builder, [emit(builder, u, x, y) for x, y in pairs])

        return u(u, u), generate

    return operation


def _emit_sum(builder: Any, kind: BlockType, x: Any, y: Any) -> Any:
    # "contract": a product and the sum it goes into may become one fused operation.
    return builder.fadd(x, y, flags=("contract",)) if kind.floating else builder.add(x, y)


def _emit_product(builder: Any, kind: BlockType, x: Any, y: Any) -> Any:
    return builder.fmul(x, y, flags=("contract",))


def _emit_overlap(builder: Any, kind: BlockType, x: Any, y: Any) -> Any:
    if kind.floating:
        return _emit_product(builder, kind, x, y)
    both = builder.and_(x, y)
    if BY_BYTES:
        return _bits_of_bytes(builder, both)
    vector = _vector(_I32)
    return builder.call(_declared(builder, f"llvm.ctpop.v{LANES}i32", vector, [vector]), [both])


def _declared(builder: Any, name: str, result: ir.Type, arguments: list[ir.Type]) -> Any:
    """A function of LLVM's, declared in the module that is written."""
    known = builder.module.globals.get(name)
    return known or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


_BYTES = ir.VectorType(ir.IntType(8), 4 * LANES)
_HALVES = ir.VectorType(ir.IntType(16), 2 * LANES)


def _bits_of_bytes(builder: Any, word: Any) -> Any:
    """The number of bits set in each byte of a vector of words."""
    name = "llvm.x86.avx512.pshuf.b.512" if _WIDE else "llvm.x86.avx2.pshuf.b"
    look_up = _declared(builder, name, _BYTES, [_BYTES, _BYTES])
    table = ir.Constant(_BYTES, [n.bit_count() for n in range(16)] * (LANES // 4))
    low = ir.Constant(_BYTES, [15] * 4 * LANES)
    four = ir.Constant(_BYTES, [4] * 4 * LANES)
    value = builder.bitcast(word, _BYTES)
    halves = builder.and_(value, low), builder.lshr(value, four)
    parts = [builder.call(look_up, [table, half]) for half in halves]
    return builder.bitcast(builder.add(*parts), _vector(_I32))


def _sum_of_bytes(builder: Any, word: Any) -> Any:
    """The sum of the four bytes of each word."""
    names = (
        ("avx512.pmaddubs.w.512", "avx512.pmaddw.d.512")
        if _WIDE
        else ("avx2.pmadd.ub.sw", "avx2.pmadd.wd")
    )
    pairs = _declared(builder, f"llvm.x86.{names[0]}", _HALVES, [_BYTES, _BYTES])
    words = _declared(builder, f"llvm.x86.{names[1]}", _vector(_I32), [_HALVES, _HALVES])
    ones = ir.Constant(_BYTES, [1] * 4 * LANES), ir.Constant(_HALVES, [1] * 2 * LANES)
    twos = builder.call(pairs, [builder.bitcast(word, _BYTES), ones[0]])
    return builder.call(words, [twos, ones[1]])


@intrinsic
def counted(typing_context, block):
    def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
        if block.floating or not BY_BYTES:
            return args[0]
        return _join(builder, [_sum_of_bytes(builder, v) for v in _split(builder, args[0])])

    return block(block), generate


_sum, _product = _elementwise(_emit_sum), _elementwise(_emit_product)
overlap_of = _elementwise(_emit_overlap)


@overload(operator.add)
def _add_blocks(u, v):
    if isinstance(u, BlockType) and u == v:
        return lambda u, v: _sum(u, v)
    return None


@overload(operator.mul)
def _multiply_blocks(u, v):
    if u == FLOATS and v == FLOATS:
        return lambda u, v: _product(u, v)
    return None


@inlined
def _on_at_once(a, i, step, b, j, words):
    """The channels on in both, where a sum of tallies holds them all."""
    count = overlap_of(rows(a, i), lanes(b, j))
    for k in range(1, words):
        count = count + overlap_of(rows(a, i + k * step), lanes(b, j + k * LANES))
    return to_float(count)


@inlined
def _on_by_tallies(a, i, step, b, j, words):
    """The channels on in both, counted every `TALLIES` words."""
    count = overlap_of(rows(a, i), lanes(b, j))
    for k in range(1, min(words, TALLIES)):
        count = count + overlap_of(rows(a, i + k * step), lanes(b, j + k * LANES))
    total = to_float(counted(count))
    for start in range(TALLIES, words, TALLIES):
        count = overlap_of(rows(a, i + start * step), lanes(b, j + start * LANES))
        for k in range(start + 1, min(words, start + TALLIES)):
            count = count + overlap_of(rows(a, i + k * step), lanes(b, j + k * LANES))
        total = total + to_float(counted(count))
    return total


# One loop where one will do: the second costs registers, and twice the time.
channels_on = _on_by_tallies if BY_BYTES else _on_at_once
