"""A kernel machine on the network's path kernel, and the training examples that it goes by.

The kernel is computed in the network's own type, in which it is fast; the machine's sums are
float64.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from dualview.conversion.gated_network import GatedNetwork
from dualview.datasets import Dataset
from dualview.errors import PathKernelError
from dualview.explorer.explanations.inputs import inputs, spread_rows
from dualview.explorer.explanations.records import Machine, MachineParts
from dualview.path_kernel.examples import Gates
from dualview.path_kernel.kernel import npk

if TYPE_CHECKING:
    from dualview.path_kernel.attribution import KernelAttribution

DENSE_EXAMPLES, OTHER_EXAMPLES = 1000, 200
"""Training examples unless asked otherwise: the kernel of dense layers is quick."""
MOST_SECONDS = 600.0
"""A machine that should take longer is not made unless asked for."""
PROBES = (4, 16, 64)
"""Examples on each side of the tile whose time is measured: the first that takes long enough."""
ENOUGH_SECONDS = 0.3
LISTED = 6
"""Training examples listed on either side of a prediction."""


@dataclass(frozen=True)
class MachinePlan:
    """How the machine is made.

    Attributes:
        n_train: training examples.
        gates: "model", or "hard", which is much faster in convolutional networks.
        asked: whether `n_train` was asked for; if not, a slow machine is left out.
    """

    n_train: int
    gates: Gates
    asked: bool


def machine_plan(
    is_dense: bool, n_train: int | None, gates: Gates | None, available: int
) -> MachinePlan:
    """The machine's size and gates, where they are not asked for.

    >>> machine_plan(is_dense=False, n_train=None, gates=None, available=45_000)
    MachinePlan(n_train=200, gates='hard', asked=False)
    """
    default = DENSE_EXAMPLES if is_dense else OTHER_EXAMPLES
    count = min(default if n_train is None else n_train, available)
    return MachinePlan(count, gates or ("model" if is_dense else "hard"), n_train is not None)


def fit(
    net: GatedNetwork,
    data: Dataset,
    x: Tensor,
    plan: MachinePlan,
    note: Callable[[str], None],
) -> tuple[Machine | None, tuple[KernelAttribution, ...], str]:
    """A kernel machine, and what its training examples add to its scores of each example.

    Args:
        net: its gates and architecture make the kernel.
        data: its train split has the training examples.
        x: examples to attribute (m, ...).
        plan: how large it is.
        note: told what begins.

    Returns:
        The machine, not yet compared with the network, m attributions, and "". Or None, none, and
        why.
    """
    rows = spread_rows(plan.n_train, len(data.train))
    labels = data.train.labels[rows]
    if not plan.n_train:
        return None, (), "No kernel machine was asked for."
    if len(labels.unique()) < 2:
        return None, (), "There is no kernel machine: its training examples are of one class."
    own = copy.deepcopy(net).cpu().eval()
    train = inputs(net, data, data.train, rows)
    try:
        seconds = seconds_for(own, x, train, plan.gates)
    except PathKernelError as error:
        return None, (), f"There is no kernel machine: {error}."
    if seconds > MOST_SECONDS and not plan.asked:
        return (
            None,
            (),
            f"There is no kernel machine: on {len(rows):,} training examples it should take about "
            f"{seconds / 60:.0f} minutes here. Option --train makes it all the same, of any size.",
        )
    note(f"kernel machine of {len(rows):,} training examples, about {max(1, round(seconds))} s")
    from dualview.path_kernel.attribution import kernel_attributions  # scikit-learn takes a moment
    from dualview.path_kernel.machines import NPKClassifier

    machine = NPKClassifier(own, gates=plan.gates).fit(train, labels.numpy())
    images = data.train.images[rows].numpy()
    facts = (tuple(rows), tuple(labels.tolist()), images, plan.gates, float(machine.ridge_))
    return Machine(*facts), kernel_attributions(machine, x), ""


def seconds_for(net: GatedNetwork, x: Tensor, train: Tensor, gates: Gates) -> float:
    """How long the machine's kernel should take here, from a few pairs.

    Raises:
        PathKernelError: the kernel has no exact rule for this network.
    """
    npk(net, train[:1], x[:1], gates=gates)  # compiles, the first time
    for side in PROBES:
        tile = train[:side]
        start = time.perf_counter()
        npk(net, tile, tile, gates=gates)
        seconds = time.perf_counter() - start
        if seconds > ENOUGH_SECONDS:
            break
    return seconds / len(tile) ** 2 * len(train) * (len(train) / 2 + len(x))


def machine_parts(
    found: KernelAttribution, label: int, against: int | None = None
) -> MachineParts | None:
    """The score of one class in parts, or its lead over another class's.

    None if no training example is of one of the classes.
    """
    columns = {int(one): column for column, one in enumerate(found.classes.tolist())}
    if label not in columns or (against is not None and against not in columns):
        return None
    weights = np.zeros((len(columns), 1))
    weights[columns[label]] = 1.0
    if against is not None:
        weights[columns[against]] = -1.0
    asked = replace(  # of a machine of one score
        found,
        scores=found.scores @ weights,
        offset=found.offset @ weights,
        parts=found.parts @ weights,
        coefficients=found.coefficients @ weights,
    )
    return MachineParts(
        score=asked.scores.item(),
        offset=asked.offset.item(),
        speak_for=float(asked.parts[asked.parts > 0].sum()),
        speak_against=float(asked.parts[asked.parts < 0].sum()),
        strongest_for=tuple(asked.top_for(k=LISTED)),
        strongest_against=tuple(asked.top_against(k=LISTED)),
    )


def all_scores(found: KernelAttribution, n_classes: int) -> np.ndarray:
    """The scores of all classes; NaN for one of which there is no training example."""
    scores = np.full(n_classes, np.nan)
    scores[found.classes] = found.scores
    return scores
