"""The training examples that pull a prediction up or down, by the kernel machine on the NPK.

Ridge regression on the neural path kernel predicts f(x) = offset + sum_j alpha_j NPK(x, x_j), one
coefficient alpha_j a class: each training example's part in the prediction is a number, and the
parts sum to it. Arrays are numpy float64; training examples are on axis 0, classes on the last.

Source: theory, section 5; arXiv 2006.10529, section 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from dualview.arguments import array as array_of
from dualview.arguments import require, said, whole
from dualview.conversion.gated_network import GatedNetwork
from dualview.errors import PathKernelError
from dualview.path_kernel.examples import Gates
from dualview.path_kernel.machines import NPKClassifier, kernel_rows


@dataclass(frozen=True)
class TrainingExample:
    """One training example's part in a prediction.

    Attributes:
        index: its row in the training examples.
        label: its class.
        part: coefficient * kernel: what it adds to the score.
        kernel: NPK(x, x_j).
        coefficient: alpha_j for the class asked about.
    """

    index: int
    label: Any
    part: float
    kernel: float
    coefficient: float


@dataclass(frozen=True, eq=False)
class KernelAttribution:
    """The scores of one example as sums over the training examples.

    Attributes:
        classes: (k,).
        scores: (k,): the machine's scores of the example.
        offset: (k,): the part of no example: each class's share of the training examples.
        parts: (n, k): what each training example adds to each score; `offset + parts.sum(0)` are
            the scores, to rounding.
        kernel: (n,): NPK(x, x_j).
        coefficients: (n, k): alpha.
        labels: (n,): the training examples' classes.
    """

    classes: np.ndarray
    scores: np.ndarray
    offset: np.ndarray
    parts: np.ndarray
    kernel: np.ndarray
    coefficients: np.ndarray
    labels: np.ndarray

    def __repr__(self) -> str:
        def said(found: list[TrainingExample]) -> str:
            return ", ".join(f"{e.index} ({e.label}) {e.part:+.3g}" for e in found) or "none"

        return (
            f"KernelAttribution(predicted {self.predicted.item()!r}: score "
            f"{self.scores.max():.4g}, of {len(self.labels):,} training examples; most for it: "
            f"{said(self.top_for(k=3))}; most against: {said(self.top_against(k=3))})"
        )

    @property
    def predicted(self) -> Any:
        """The class with the highest score."""
        return self.classes[int(self.scores.argmax())]

    @property
    def discrepancy(self) -> float:
        """Largest |score - offset - sum of parts|: rounding alone."""
        return float(np.abs(self.scores - self.offset - self.parts.sum(0)).max())

    def top_for(self, label: Any = None, k: int = 5) -> list[TrainingExample]:
        """The k examples that raise the score of `label` (default: the predicted class) most.

        Fewer come back where fewer raise it.
        """
        return self._top(label, k, sign=1.0)

    def top_against(self, label: Any = None, k: int = 5) -> list[TrainingExample]:
        """The k examples that lower the score of `label` (default: the predicted class) most."""
        return self._top(label, k, sign=-1.0)

    def by_class(self, label: Any = None) -> dict[Any, float]:
        """What the training examples of each class add, together, to the score of `label`."""
        parts = self.parts[:, self._column(label)]
        return {c: float(parts[self.labels == c].sum()) for c in self.classes.tolist()}

    def _column(self, label: Any) -> int:
        if label is None:
            return int(self.scores.argmax())
        classes = self.classes.tolist()
        plain = getattr(label, "item", lambda: label)() if not getattr(label, "ndim", 0) else None
        found = [i for i, c in enumerate(classes) if type(c) is type(plain) and c == plain]
        if len(found) != 1:
            raise PathKernelError(
                f"label: expected one of the classes {classes}, got {said(label)}"
            )
        return found[0]

    def _top(self, label: Any, k: int, sign: float) -> list[TrainingExample]:
        k = require("k", k, whole(1), PathKernelError)
        column = self._column(label)
        parts = sign * self.parts[:, column]
        order = np.argsort(-parts, kind="stable")[:k]
        return [
            TrainingExample(
                index=int(j),
                label=self.labels[j].item(),
                part=float(self.parts[j, column]),
                kernel=float(self.kernel[j]),
                coefficient=float(self.coefficients[j, column]),
            )
            for j in order
            if parts[j] > 0
        ]


def kernel_attribution(
    net: GatedNetwork | NPKClassifier,
    x: Any,
    train_x: Any = None,
    train_labels: Any = None,
    *,
    ridge: float | Sequence[float] | Literal["auto"] | None = None,
    gates: Gates | None = None,
) -> KernelAttribution:
    """What each training example adds to the kernel machine's scores of one example.

    Args:
        net: a gated network: an `NPKClassifier` on its kernel is fitted to the training examples
            first (time n^3). Or a fitted `NPKClassifier`: nothing is fitted.
        x: one example, (1, ...) or (...); an array or a tensor.
        train_x: training examples (n, ...). Leave it out for a fitted machine, which keeps them.
        train_labels: the class of each (n,). Leave it out for a fitted machine, which keeps them;
            others than those are refused.
        ridge: as for `NPKClassifier` ("auto" unless given); of a network only.
        gates: "model" (unless given) or "hard"; of a network only.

    Returns:
        The attribution. The scores are those of the kernel machine, which is not the network
        itself: how well it agrees is a question of its own.

    Raises:
        PathKernelError: something is missing, too much, or of the wrong shape.
        MissingExtraError: scikit-learn or scipy is not installed.

    Source: theory, section 5; arXiv 2006.10529, section 6.

    >>> import torch
    >>> import dualview as dv
    >>> from sklearn.datasets import load_digits
    >>> digits, labels = load_digits(return_X_y=True)
    >>> digits = torch.tensor(digits) / 16
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
    ... ).double()
    >>> net = dv.disentangle(model, kind="dlgn", seed=0)
    >>> why = kernel_attribution(net, digits[200], digits[:200], labels[:200])
    >>> why.parts.shape, why.discrepancy < 1e-9
    ((200, 10), True)
    >>> [example.part > 0 for example in why.top_for(k=2)]
    [True, True]
    """
    machine = _machine(net, train_x, train_labels, ridge, gates)
    return kernel_attributions(machine, _as_batch(machine, x, single=True), train_labels)[0]


def kernel_attributions(
    machine: NPKClassifier, x: Any, train_labels: Any = None
) -> tuple[KernelAttribution, ...]:
    """The attributions of several examples by one fitted machine.

    The gates of all training examples are computed once, which for a convolutional network costs
    more than all else.

    Args:
        machine: fitted.
        x: examples (m, ...).
        train_labels: the classes (n,) that it was fitted to; it keeps them itself.

    Returns:
        One attribution for each of the m examples.

    Raises:
        PathKernelError: the machine is not fitted, something has the wrong shape, or the labels are
            others than those it was fitted to.
    """
    labels = _checked_labels(machine, train_labels)
    rows = kernel_rows(machine, _as_batch(machine, x, single=False))
    scores = machine.intercept_ + rows @ machine.dual_coef_
    return tuple(
        KernelAttribution(
            classes=machine.classes_,
            scores=score,
            offset=machine.intercept_,
            parts=row[:, None] * machine.dual_coef_,
            kernel=row,
            coefficients=machine.dual_coef_,
            labels=labels,
        )
        for row, score in zip(rows, scores, strict=True)
    )


def _machine(net: Any, train_x: Any, train_labels: Any, ridge: Any, gates: Any) -> NPKClassifier:
    """A fitted machine: the one given, or a new one."""
    options: Mapping[str, Any] = {
        name: value for name, value in (("ridge", ridge), ("gates", gates)) if value is not None
    }
    if isinstance(net, NPKClassifier):
        extra = [*options, *(["train_x"] if train_x is not None else [])]
        if extra:
            raise PathKernelError(
                f"{extra[0]}: a fitted machine has its own, got another. Repair: leave it out, or "
                f"pass the network to fit a new machine"
            )
        return net
    if not isinstance(net, GatedNetwork):
        raise PathKernelError(
            f"net: expected a GatedNetwork or a fitted NPKClassifier (random features have no "
            f"part for each example), got {type(net).__name__}"
        )
    if train_x is None or train_labels is None:
        missing = "train_x" if train_x is None else "train_labels"
        raise PathKernelError(f"{missing}: expected the training examples and labels, got none")
    return NPKClassifier(net, **options).fit(train_x, train_labels)


def _checked_labels(machine: NPKClassifier, train_labels: Any) -> np.ndarray:
    if not isinstance(machine, NPKClassifier) or not hasattr(machine, "dual_coef_"):
        raise PathKernelError(
            f"machine: expected a fitted NPKClassifier, got {type(machine).__name__}. Repair: "
            f"machine.fit(train_x, train_labels)"
        )
    own: np.ndarray = machine.y_fit_
    if train_labels is None:
        return own
    labels = _array_of_labels(train_labels)
    if labels.shape != own.shape:
        raise PathKernelError(
            f"train_labels: expected the class of each of the {len(own)} training examples, got "
            f"shape {labels.shape}. Repair: leave them out, the machine keeps its own"
        )
    pairs = enumerate(zip(labels.tolist(), own.tolist(), strict=True))
    others = [(i, given, fitted) for i, (given, fitted) in pairs if given != fitted]
    if others:
        row, given, fitted = others[0]
        raise PathKernelError(
            f"train_labels: expected those that the machine was fitted to, got {said(given)} for "
            f"example {row}, fitted as {said(fitted)} ({len(others)} differ). Repair: leave them "
            f"out, or fit a machine to the others"
        )
    return own


def _array_of_labels(labels: Any) -> np.ndarray:
    try:
        if isinstance(labels, Tensor):
            labels = labels.detach().cpu().numpy()
        found = np.asarray(labels)
        hash(tuple(found.ravel().tolist()))
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise PathKernelError(
            f"train_labels: expected the class of each training example, got {said(labels)}"
        ) from None
    return found


def _as_batch(machine: NPKClassifier, x: Any, single: bool) -> np.ndarray:
    """Examples as rows of shape (m, *input shape), one of them if `single`."""
    array: np.ndarray = require("x", x, array_of, PathKernelError)
    shape = getattr(machine, "input_shape_", array.shape)
    flat = int(np.prod(shape))
    one = array.shape in (shape, (flat,))
    rows = array[None] if single and one else array
    many = rows.ndim > 1 and rows.shape[1:] in (shape, (flat,)) and (len(rows) == 1 or not single)
    if not many or not np.isfinite(array).all():
        wanted = f"one example of shape {shape}" if single else f"examples of shape {shape}"
        got = f"shape {array.shape}" if np.isfinite(array).all() else "NaN or inf"
        raise PathKernelError(f"x: expected {wanted}, got {got}")
    return rows.reshape(len(rows), *shape)
