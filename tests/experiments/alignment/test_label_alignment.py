"""Properties proved here.

1. The complexity is y' inverse(H / tr H) y by a plain solve, the alignment the cosine of H and
   y y'; neither depends on the kernel's scale.
2. The complexity is |y|^2 at least, and exactly that for a kernel y y' that has nothing else.
3. A singular kernel gives a number only if the labels lie in its range: two equal examples with
   equal labels do not matter, with different labels they make the complexity infinite, and so does
   an example for which no gate is open.
4. An eigenvalue of rounding size is never inverted.
5. What is no kernel is refused.
"""

import numpy as np
import pytest

from dualview.errors import PathKernelError
from dualview.experiments.alignment.label_alignment import label_alignment


def _case(n=7, seed=0):
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, n + 3))
    return features @ features.T, random.choice([-1.0, 1.0], n)


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_formula(scale):
    kernel, labels = _case()
    taken = label_alignment(scale * kernel, labels)
    expected = labels @ np.linalg.solve(kernel / np.trace(kernel), labels)
    assert taken.complexity == pytest.approx(expected, rel=1e-10)
    outer = np.outer(labels, labels)
    cosine = (kernel * outer).sum() / np.linalg.norm(kernel) / np.linalg.norm(outer)
    assert taken.alignment == pytest.approx(cosine, rel=1e-12)
    assert taken.rank == len(labels)
    assert taken.condition == pytest.approx(np.linalg.cond(kernel), rel=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_least_complexity(seed):
    kernel, labels = _case(seed=seed)
    assert label_alignment(kernel, labels).complexity >= labels @ labels


def test_the_labels_own_kernel():
    labels = _case()[1]
    taken = label_alignment(np.outer(labels, labels), labels)
    assert taken.complexity == pytest.approx(labels @ labels)
    assert (taken.rank, taken.alignment) == (1, pytest.approx(1.0))


def _doubled(kernel):
    """The kernel of the same examples with the last one twice."""
    rows = [*range(len(kernel)), len(kernel) - 1]
    return kernel[np.ix_(rows, rows)]


def test_equal_examples_with_equal_labels():
    kernel, labels = _case()
    taken = label_alignment(_doubled(kernel), np.append(labels, labels[-1]))
    assert taken.rank == len(labels)
    # The function that has the labels is the same; only the trace has grown.
    grown = np.trace(_doubled(kernel)) / np.trace(kernel)
    assert taken.complexity == pytest.approx(
        grown * label_alignment(kernel, labels).complexity, rel=1e-8
    )


def test_equal_examples_with_different_labels():
    kernel, labels = _case()
    taken = label_alignment(_doubled(kernel), np.append(labels, -labels[-1]))
    assert (taken.complexity, taken.rank) == (None, len(labels))


def test_an_example_without_open_gates():
    kernel, labels = _case()
    kernel[2] = kernel[:, 2] = 0.0
    assert label_alignment(kernel, labels).complexity is None


def test_rounding_is_not_inverted():
    labels = np.array([1.0, -1.0])
    for least in (0.0, 1e-17, -1e-17, 1e-14):
        taken = label_alignment(np.array([[1.0, 1.0], [1.0, 1.0 + least]]), labels)
        assert (taken.complexity, taken.rank) == (None, 1)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda k, y: (k[:-1], y), r"kernel \(n, n\)"),
        (lambda k, y: (k, y[:-1]), r"kernel \(n, n\)"),
        (lambda k, y: (k * np.nan, y), "finite"),
        (lambda k, y: (k + np.triu(np.ones_like(k), 1), y), "symmetric"),
        (lambda k, y: (k * 0, y), "positive trace"),
        (lambda k, y: (k, y * 0), "not all 0"),
        (lambda k, y: (k - 3 * np.eye(len(k)) * np.linalg.eigvalsh(k)[0], y), "negative"),
    ],
)
def test_no_kernel(change, match):
    with pytest.raises(PathKernelError, match=match):
        label_alignment(*change(*_case()))
