"""Paths one by one: path features, path values and kernels of tiny networks by brute force.

This is the oracle against which `dv.npk` and the rest are tested, and shares no code with them. A
path runs from an input coordinate (or from a constant 1: a bias) to an output and multiplies what
it meets: weights, gates, constant coefficients (1/m of an average pool). Paths that hold the same
weights form one *bundle*, one monomial of the weights; the *path feature* of a bundle is the sum
over its paths of coefficient x input x gates, its *path value* the product of its weights. So

    f_o(x) = sum over bundles of feature x value,

the network's output as a polynomial in its weights. All is float64 and in evaluation mode (batch
norm's scale is a coefficient). Arrays: examples x bundles, and outputs x bundles.

Source: arXiv 2006.10529, section 2; arXiv 2110.03403, section 4.
"""

from dualview.path_enumeration.bundles import path_features, path_values
from dualview.path_enumeration.edges import GateUnit, Weight
from dualview.path_enumeration.kernels import enumerated_expected_ntk, enumerated_npk
from dualview.path_enumeration.paths import Path, count_paths, paths
from dualview.path_enumeration.recursion import recursive_expected_ntk, recursive_npk

__all__ = [
    "GateUnit",
    "Path",
    "Weight",
    "count_paths",
    "enumerated_expected_ntk",
    "enumerated_npk",
    "path_features",
    "path_values",
    "paths",
    "recursive_expected_ntk",
    "recursive_npk",
]
