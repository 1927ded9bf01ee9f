"""`distil`: a trained network -> one of the same architecture whose gates can be read."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dualview.arguments import (
    file_path,
    flag,
    instance_of,
    number,
    offering,
    one_of,
    optional,
    takes,
)
from dualview.training.distil_settings import DistilSettings
from dualview.training.run import dataset_value, module_value, train
from dualview.training.settings import SettingsError, TrainSettings

if TYPE_CHECKING:
    from torch import nn

    from dualview.conversion.gated_network import GatedNetwork
    from dualview.conversion.input_transform import InputTransform
    from dualview.datasets import Dataset
    from dualview.training.metrics import TrainingResult
    from dualview.training.watcher import Watcher

DistilKind = Literal["dgn", "dlgn"]


@dataclass(frozen=True, eq=False)
class Distilled:
    """A network that learnt from a trained one, and how well it did.

    Attributes:
        network: hard gates where `distil` was asked for them; takes images as they are.
        teacher_accuracy: of the trained network, on the test split.
        copied_accuracy: of the network before it learnt anything: copied weights, soft gates.
        soft_accuracy: of the trained network with the soft gates that it was trained with.
        hard_accuracy: with every gate 1{q > 0}.
        result: the training run; it may have diverged.
    """

    network: GatedNetwork
    teacher_accuracy: float
    copied_accuracy: float
    soft_accuracy: float
    hard_accuracy: float
    result: TrainingResult

    @property
    def recovered(self) -> float:
        """Accuracy of `network` divided by the teacher's."""
        hard = all(type(gate).__name__ == "HardGate" for gate in self.network.gate_functions)
        own = self.hard_accuracy if hard else self.soft_accuracy
        return own / self.teacher_accuracy if self.teacher_accuracy else 0.0

    @property
    def accuracies(self) -> dict[str, float]:
        """As records keep them: "before", "soft", "hard" and "teacher"; none where it diverged."""
        if self.result.status != "finished":
            return {}
        return {
            "before": self.copied_accuracy,
            "soft": self.soft_accuracy,
            "hard": self.hard_accuracy,
            "teacher": self.teacher_accuracy,
        }

    def __repr__(self) -> str:
        return (
            f"Distilled(teacher {100 * self.teacher_accuracy:.2f} %, copied "
            f"{100 * self.copied_accuracy:.2f} %, trained {100 * self.soft_accuracy:.2f} % with "
            f"soft and {100 * self.hard_accuracy:.2f} % with hard gates: "
            f"{100 * self.recovered:.1f} % recovered)"
        )


def _transform(value: Any) -> Any:
    """A check as `dualview.arguments` has them; PyTorch is imported when it is asked."""
    from dualview.conversion.input_transform import InputTransform

    return instance_of(InputTransform, repair="dualview.InputTransform(mean, std)")(value)


@takes(
    SettingsError,
    model=module_value,
    data=dataset_value,
    kind=one_of("dgn", "dlgn"),
    folder=file_path,
    settings=optional(instance_of(TrainSettings)),
    teaching=optional(instance_of(DistilSettings)),
    beta=number(above=0),
    hard=flag,
    input_transform=optional(_transform),
    watcher=optional(offering("started", "stepped", "epoch_done")),
)
def distil(
    model: nn.Module,
    data: Dataset,
    kind: DistilKind = "dlgn",
    *,
    folder: Path,
    settings: TrainSettings | None = None,
    teaching: DistilSettings | None = None,
    beta: float = 4.0,
    hard: bool = True,
    input_transform: InputTransform | None = None,
    watcher: Watcher | None = None,
    **conversion: Any,
) -> Distilled:
    """Train a DGN or DLGN to do what a trained network does, from that network's own parameters.

    Both networks of the DGN or DLGN start from the trained parameters. Then it learns the trained
    network's logits, with the labels, while the slope of its gates grows until they are as good as
    hard. The model is never changed. Interrupted, the same call goes on after the last finished
    epoch.

    Args:
        model: a trained classifier that `disentangle` takes; maps images (b, c, h, w) to logits.
        data: what to learn on; the test split is looked at for the accuracies alone.
        kind: "dlgn" (gates from a deep linear network) or "dgn" (from a ReLU network).
        folder: where the run's files go, as `dualview.training.train` leaves them.
        settings: of the training. Default: those of `train` for so many examples.
        teaching: what is learnt from the trained network. Default: `DistilSettings()`.
        beta: slope of the gates at the start.
        hard: whether the network that is returned has hard gates, with which every statement about
            paths and kernels of gates is exact; else those it was trained with.
        input_transform: what the model expects to be done to images; default: one at its front, or
            that they are standardised by the statistics of the data, as `train` does it.
        watcher: told of every step and epoch.
        conversion: options of `disentangle`: `mode`, `output`, `max_pool`, `example_input`.

    Raises:
        ConversionError: (and its subclasses) the model has no network of this kind.
        RunError: the folder's checkpoint is damaged, or of another run.
        SettingsError: the network does not fit the data, or a value cannot be meant.

    >>> import tempfile, torch, dualview as dv, dualview.datasets as datasets
    >>> from dualview.training import TrainSettings, train
    >>> data, _ = datasets.load("digits"), torch.manual_seed(0)
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = train(model, data, TrainSettings(epochs=9, threads=1), Path(folder) / "model")
    ...     found = dv.distil(model, data, folder=Path(folder) / "dlgn",
    ...                       settings=TrainSettings(epochs=3, threads=1))
    >>> found.recovered > 0.9, found.network.kind
    (True, 'dlgn')
    """
    from dualview.conversion.gates import SoftGate
    from dualview.training.accuracy import accuracy
    from dualview.training.teacher import Teacher

    taken_apart = _maker(model, data, input_transform, conversion)
    own = taken_apart("dnn")
    student = taken_apart(kind, gate=SoftGate(beta), weights="copied")
    copied = accuracy(student, data)
    chosen, teaching = settings or TrainSettings(), teaching or DistilSettings()
    teacher = Teacher(own.without_input_transform(), teaching, beta)
    result = train(student, data, chosen, Path(folder), watcher=watcher, teacher=teacher)
    epochs = len(result.curve)
    teacher.set_gates(student, epochs - 1, epochs)  # as a call that had nothing left to do did not
    student = _described(student)
    hardened = with_hard_gates(student)
    return Distilled(
        network=(hardened if hard else student).eval(),
        teacher_accuracy=accuracy(own, data),
        copied_accuracy=copied,
        soft_accuracy=accuracy(student, data),
        hard_accuracy=accuracy(hardened, data),
        result=result,
    )


def with_hard_gates(net: GatedNetwork) -> GatedNetwork:
    """A copy of the network with every gate 1{q > 0}, which its recipe says.

    >>> import torch, dualview as dv
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> with_hard_gates(dv.disentangle(model, "dlgn", weights="fresh", seed=0)).gate_functions
    ModuleList(
      (0): HardGate()
    )
    """
    from torch import nn

    from dualview.conversion.gates import HardGate

    hard = copy.deepcopy(net)
    hard.gate_functions = nn.ModuleList([HardGate()] * net.n_gates)
    return _described(hard)


def _described(net: GatedNetwork) -> GatedNetwork:
    """The network; its recipe says what gates it has now, which are all alike."""
    from dualview.conversion.gates import Gate
    from dualview.conversion.recipe import describe_gate

    for gate in net.gate_functions[:1]:
        if net.recipe is not None and isinstance(gate, Gate):
            net.recipe = replace(net.recipe, gate=describe_gate(gate))
    return net


def _maker(
    model: nn.Module, data: Dataset, given: InputTransform | None, conversion: dict[str, Any]
) -> Callable[..., GatedNetwork]:
    """`disentangle` of the model, behind the transform of its inputs."""
    from dualview.conversion.disentangling import disentangle
    from dualview.conversion.input_transform import without_front
    from dualview.training.feeding import transform_of

    model, transform = without_front(model, given)
    transform = transform or transform_of(data)
    return functools.partial(disentangle, model, input_transform=transform, **conversion)
