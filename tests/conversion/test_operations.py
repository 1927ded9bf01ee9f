"""The tables of operations agree with each other.

- Weight, batch-norm and dropout modules are affine modules.
- Every key of every table is one of the table of spellings.
- Reasons are given under lower-case names, each with a repair.
- Activations and max pools are not in the tables of affine ones.
"""

from dualview.conversion import operations as ops
from dualview.conversion.activations import GATE_OF_MODULE
from dualview.conversion.pooling import MAX_POOL_MODULES
from dualview.conversion.spellings import OPERATIONS


def test_modules():
    affine = set(ops.LINEAR_MODULES)
    for part in (ops.WEIGHT_MODULES, ops.BATCH_NORM_MODULES, ops.DROPOUT_MODULES):
        assert set(part) <= affine
    assert not affine & (set(GATE_OF_MODULE) | set(MAX_POOL_MODULES))


def test_keys():
    tables = (ops.TENSOR_KEYS, ops.SEVERAL, ops.SHAPE_KEYS, ops.ALLOCATING, ops.RESHAPING)
    for table in (*tables, ops.BATCH_AXIS_MOVERS):
        assert table <= set(OPERATIONS)
    assert not ops.ALLOCATING & (ops.RESHAPING | ops.SEVERAL | {"dropout", "getitem", "expand"})


def test_reasons():
    for name, (reason, repair) in ops.REASONS.items():
        assert name == name.lower()
        assert reason
        assert repair
