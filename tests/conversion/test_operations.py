"""The tables of operations agree with each other.

- Weight, batch-norm and dropout modules are affine modules; view modules are too.
- Reasons are given under lower-case names, each with a repair.
- Operations with a gate of their own are not in the tables of affine ones.
"""

from dualview.conversion import operations as ops
from dualview.conversion.activations import GATE_OF_FUNCTION, GATE_OF_METHOD, GATE_OF_MODULE
from dualview.conversion.pooling import MAX_POOL_FUNCTIONS, MAX_POOL_MODULES


def test_modules():
    affine = set(ops.LINEAR_MODULES)
    for part in (ops.WEIGHT_MODULES, ops.BATCH_NORM_MODULES, ops.DROPOUT_MODULES, ops.VIEW_MODULES):
        assert set(part) <= affine
    assert not affine & (set(GATE_OF_MODULE) | set(MAX_POOL_MODULES))


def test_functions_and_methods():
    affine = ops.LINEAR_FUNCTIONS | ops.ADDITIVE_FUNCTIONS | ops.PRODUCT_FUNCTIONS
    assert not affine & (set(GATE_OF_FUNCTION) | set(MAX_POOL_FUNCTIONS))
    assert not (ops.LINEAR_METHODS | ops.ADDITIVE_METHODS) & set(GATE_OF_METHOD)
    assert set(ops.DROPOUT_FUNCTIONS) <= ops.LINEAR_FUNCTIONS
    assert not ops.ALLOCATING_FUNCTIONS & set(ops.DROPOUT_FUNCTIONS)


def test_reasons():
    for name, (reason, repair) in ops.REASONS.items():
        assert name == name.lower()
        assert reason
        assert repair
