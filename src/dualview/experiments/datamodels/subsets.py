"""Random halves of the training examples, and the score of an attribution over them. No torch."""

from __future__ import annotations

import numpy as np

SHARE = 0.5
"""Of the training examples, in each subset."""


def members(n: int, number: int) -> np.ndarray:
    """Rows of subset `number` of n training examples, sorted; the same on every machine."""
    draw = np.random.Generator(np.random.PCG64([n, number]))
    return np.sort(draw.permutation(n)[: round(SHARE * n)])


def datamodelling_scores(
    attributions: np.ndarray, subsets: np.ndarray, outputs: np.ndarray
) -> np.ndarray:
    """The linear datamodelling score of each target.

    Args:
        attributions: (targets, n): what each training example is said to add.
        subsets: (m, n), 1 where a training example is in the subset, else 0.
        outputs: (m, targets): what the network trained on the subset says.

    Returns:
        (targets,): rank correlations, over the subsets, of the sum of attributions in the subset
        with the output; 0 where either is the same for all.

    Source: arXiv 2303.14186, section 2.

    >>> subsets = np.array([[1, 0], [0, 1], [1, 1]])
    >>> datamodelling_scores(np.array([[2.0, 1.0]]), subsets, np.array([[5.0], [4.0], [9.0]]))
    array([1.])
    """
    from scipy.stats import rankdata

    said = subsets @ attributions.T
    found = []
    for one, other in zip(said.T, outputs.T, strict=True):
        a, b = (rankdata(np.round(values, 9)) for values in (one, other))
        a, b = a - a.mean(), b - b.mean()
        size = np.linalg.norm(a) * np.linalg.norm(b)
        found.append(float(a @ b / size) if size else 0.0)
    return np.array(found)
