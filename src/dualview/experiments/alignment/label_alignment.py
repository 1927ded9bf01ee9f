"""How well a kernel suits labels: the complexity y' (H / tr H)^-1 y, and what it takes to trust it.

The complexity is |y|^2 at its very least, since with trace 1 no eigenvalue exceeds 1. It is small
where the labels lie along the kernel's leading eigenvectors, and bounds the error of kernel
regression (Arora et al., arXiv 1901.08584; on the NPK: arXiv 2006.10529).

An inverse magnifies rounding by the kernel's condition number. So it is taken eigenvector by
eigenvector in float64, and eigenvalues below `RESOLUTION` times the largest count as 0. A label
vector with a part along those has no finite complexity, and is said to have none; one without such
a part has that of the pseudo-inverse, which is the limit of a vanishing ridge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dualview.errors import PathKernelError

RESOLUTION = 1e-12
"""Eigenvalues that are so small, relative to the largest, are not told from 0: the entries of a
kernel have relative errors of a few 1e-16, its eigenvalues errors of as many times the largest."""

OUTSIDE = 1e-9
"""Share of the labels' squared length that may lie outside the kernel's range by rounding alone."""

SYMMETRY = 1e-10
"""Largest difference of opposite entries, relative to the largest entry."""


@dataclass(frozen=True)
class LabelAlignment:
    """How one kernel suits one vector of labels."""

    complexity: float | None
    """y' (H / tr H)^-1 y; None where it is infinite, as no function of the kernel has the labels.
    It is |y|^2 at least."""
    alignment: float
    """y' H y / (|y|^2 |H|_F), at most 1: the cosine of the kernel and y y' (Cristianini et al.
    2001). It needs no inverse."""
    rank: int
    """Eigenvalues that are told from 0; n if the kernel is invertible."""
    condition: float
    """The largest eigenvalue over the smallest that is told from 0."""


def label_alignment(kernel: np.ndarray, labels: np.ndarray) -> LabelAlignment:
    """Complexity and alignment of labels under a kernel; neither depends on the kernel's scale.

    Args:
        kernel: (n, n), symmetric and positive semi-definite.
        labels: (n,), for example -1 and +1; not all 0.

    Raises:
        PathKernelError: the kernel is not finite, symmetric, positive semi-definite and different
            from 0, or the labels do not fit.

    Source: arXiv 2006.10529 (complexity).

    >>> label_alignment(np.diag([3.0, 1.0]), np.array([1.0, -1.0])).complexity
    5.333333333333333
    """
    kernel, labels = _checked(np.asarray(kernel, np.float64), np.asarray(labels, np.float64))
    values, vectors = np.linalg.eigh(kernel / np.trace(kernel))
    least = RESOLUTION * values[-1]
    if values[0] < -len(values) * least:
        raise PathKernelError(
            f"kernel: expected no negative eigenvalue, got {values[0] / values[-1]:.3g} times the "
            "largest; compute it in float64"
        )
    kept = values > least
    parts = (vectors.T @ labels) ** 2
    complete = parts[~kept].sum() <= OUTSIDE * parts.sum()
    return LabelAlignment(
        complexity=float((parts[kept] / values[kept]).sum()) if complete else None,
        alignment=float(labels @ kernel @ labels / (labels @ labels * np.linalg.norm(kernel))),
        rank=int(kept.sum()),
        condition=float(values[-1] / values[kept][0]),
    )


def _checked(kernel: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = len(labels)
    if labels.ndim != 1 or kernel.shape != (n, n) or not n:
        raise PathKernelError(
            f"expected a kernel (n, n) and labels (n,), got {kernel.shape} and {labels.shape}"
        )
    if not (np.isfinite(kernel).all() and np.isfinite(labels).all()):
        raise PathKernelError("expected a finite kernel and finite labels, got NaN or inf")
    largest = np.abs(kernel).max()
    if np.abs(kernel - kernel.T).max() > SYMMETRY * largest:
        raise PathKernelError("kernel: expected a symmetric one; pass dv.npk(net, x)")
    if not (math.isfinite(largest) and np.trace(kernel) > 0 and labels.any()):
        raise PathKernelError(
            f"expected a kernel with a positive trace and labels that are not all 0, got a trace "
            f"of {np.trace(kernel):g}: no gate is open for any example"
        )
    return (kernel + kernel.T) / 2, labels
