"""The numbers that the papers published, each with its source; nothing here was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NPK_PAPER = "arXiv 2006.10529"
"""Lakshminarayanan and Singh, Neural Path Features and Neural Path Kernel."""
DLGN_PAPER = "arXiv 2110.03403"
"""Lakshminarayanan and Singh, Disentangling deep neural networks with rectified linear units using
duality."""
DUAL_PAPER = "arXiv 2203.16455"
"""Lakshminarayanan, Singh and Rajkumar, Explicitising the implicit interpretability of deep neural
networks via duality."""


NPK_ARCHITECTURES = ("fc", "vconv", "gconv")
NPK_OPTIMIZERS = ("adam", "sgd")
"""What the experiments of arXiv 2006.10529 are about."""


@dataclass(frozen=True)
class Published:
    """One published accuracy."""

    percent: float
    """Mean; the maximum over epochs of the test accuracy, where `maximum`."""
    sd: float | None
    """Standard deviation over `runs`, in percentage points; None where none was given."""
    runs: int | None
    source: str
    maximum: bool = False
    """The best test accuracy of any epoch, which looks at the test set."""

    def __str__(self) -> str:
        """As tables show it.

        >>> print(Published(95.85, 0.10, 5, "somewhere"), Published(79.43, None, None, "there"))
        95.85 ± 0.10 79.43
        """
        return f"{self.percent:.2f}" + ("" if self.sd is None else f" ± {self.sd:.2f}")


REGIMES = ("frnpf-ii", "frnpf-di", "dlnpf", "flnpf", "relu")
"""Frozen random gates, independent of the weights (II) or from equal parameters (DI); decoupled
learning; gates frozen after learning; the plain ReLU network."""


def _regimes(*cells: tuple[float, float]) -> dict[str, Published]:
    return {
        regime: Published(mean, sd, 5, NPK_PAPER, maximum=True)
        for regime, (mean, sd) in zip(REGIMES, cells, strict=True)
    }


REGIME_ACCURACY: Mapping[tuple[str, str], Mapping[str, Published]] = {
    ("fc", "sgd"): _regimes(
        (95.85, 0.10), (95.85, 0.17), (97.86, 0.11), (97.10, 0.09), (97.85, 0.09)
    ),
    ("fc", "adam"): _regimes(
        (96.02, 0.13), (96.09, 0.12), (98.22, 0.05), (97.82, 0.02), (98.14, 0.07)
    ),
    ("vconv", "sgd"): _regimes(
        (58.92, 0.62), (58.83, 0.27), (63.21, 0.07), (63.06, 0.73), (67.02, 0.43)
    ),
    ("vconv", "adam"): _regimes(
        (64.86, 1.18), (64.68, 0.84), (69.45, 0.76), (71.40, 0.47), (72.43, 0.54)
    ),
    ("gconv", "sgd"): _regimes(
        (67.36, 0.56), (66.86, 0.44), (74.57, 0.43), (78.52, 0.39), (78.90, 0.37)
    ),
    ("gconv", "adam"): _regimes(
        (67.09, 0.58), (67.08, 0.27), (77.12, 0.19), (79.68, 0.32), (80.32, 0.35)
    ),
}
"""(architecture, optimiser) -> regime -> test accuracy; fc on MNIST, the others on CIFAR-10."""

REGIME_DATA: Mapping[str, str] = {"fc": "MNIST", "vconv": "CIFAR-10", "gconv": "CIFAR-10"}
"""Data of the rows of `REGIME_ACCURACY`."""

GATE_LEARNING: Mapping[int, Published] = {
    0: Published(67.09, None, None, NPK_PAPER),
    1: Published(72.29, None, None, NPK_PAPER),
    2: Published(74.42, None, None, NPK_PAPER),
    6: Published(79.43, None, None, NPK_PAPER),
}
"""Stage -> test accuracy of a fresh weights network on its frozen gates: GCONV, Adam, CIFAR-10."""

CNTK = Published(77.43, None, None, NPK_PAPER)
"""The pure kernel method with the convolutional neural tangent kernel; between stages 3 and 4."""


@dataclass(frozen=True)
class PublishedClaim:
    """A statement that an abstract makes of a number."""

    text: str
    at_least: float
    """A fraction."""
    source: str


DLGN_RECOVERY = PublishedClaim(
    "more than 83.5 % of the DNN's accuracy recovered, on CIFAR-10 and CIFAR-100, with C4GAP, "
    "VGG-16 and ResNet-110",
    0.835,
    f"{DLGN_PAPER}, abstract",
)

ONES_AND_ORDERS = (
    "weights train on a constant-1 input, and with the gates' layers shuffled, without significant "
    f"loss ({DUAL_PAPER}, abstract)"
)
"""What the invariances are compared with; the abstract gives no number."""
