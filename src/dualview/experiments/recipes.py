"""How each architecture is made and trained in the two presets.

The paper preset is that of arXiv 2110.03403 and the papers it builds on. The cpu preset trains
narrow networks for a few epochs: on small data (the digits) in seconds a run, on CIFAR-10 in
minutes, with bfloat16 where the machine is faster with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dualview.datasets import Dataset
from dualview.experiments.data import enlarged
from dualview.experiments.experiment import Request, preset_of
from dualview.experiments.settings import ENLARGED, ComparisonSettings
from dualview.files.user_code import is_place
from dualview.training import TrainSettings, choose


@dataclass(frozen=True)
class TrainingRecipe:
    """One architecture in one preset."""

    width: int | None
    training: TrainSettings
    batch_norm: bool | None = None
    beta: float = 4.0
    max_pool: str | None = None
    seeds: int = 3
    scale: float = 1.0
    """Rough time of its DNN's epoch, in that of C4GAP in the same preset."""
    least_side: int = 1
    """Smaller images are enlarged to at least so many pixels."""
    augmented: bool = False
    """Colour images are mirrored and shifted at random; grey ones (digits) never."""
    shift: int = 0
    """By at most so many pixels, where they are augmented."""


_ADAM = TrainSettings(
    epochs=32, batch_size=128, optimizer="adam", learning_rate=3e-4, schedule="constant"
)
_SGD = TrainSettings(
    epochs=182,  # 64,000 steps on 45,000 examples
    batch_size=128,
    optimizer="sgd",
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=2.5e-4,
    schedule="steps",
)
PAPER_RECIPES: Mapping[str, TrainingRecipe] = {
    "fc": TrainingRecipe(128, replace(_ADAM, epochs=100, batch_size=32, learning_rate=1e-4)),
    "c4gap": TrainingRecipe(128, _ADAM, batch_norm=False, seeds=5),
    "vgg16": TrainingRecipe(
        64,
        _SGD,
        batch_norm=True,
        beta=10.0,
        max_pool="average",
        scale=6.0,
        least_side=16,
        augmented=True,
        shift=4,
    ),
    "resnet20": TrainingRecipe(
        16, _SGD, batch_norm=True, beta=10.0, scale=6.0, augmented=True, shift=4
    ),
    "resnet110": TrainingRecipe(
        16, _SGD, batch_norm=True, beta=10.0, scale=30.0, augmented=True, shift=4
    ),
}

_DIGITS = TrainSettings(epochs=20, batch_size=64, learning_rate=4e-3, threads=1)
SMALL_RECIPES: Mapping[str, TrainingRecipe] = {
    "fc": TrainingRecipe(64, replace(_DIGITS, epochs=40, learning_rate=2e-3), scale=0.3),
    "c4gap": TrainingRecipe(16, _DIGITS, batch_norm=True),
    "c6white": TrainingRecipe(8, replace(_DIGITS, epochs=15), scale=2.0, least_side=16),
    "c6late": TrainingRecipe(8, replace(_DIGITS, epochs=15), scale=2.4, least_side=16),
    "vgg16": TrainingRecipe(8, replace(_DIGITS, epochs=15), scale=3.0, least_side=16),
    "resnet20": TrainingRecipe(4, _DIGITS, scale=3.0),
    "resnet110": TrainingRecipe(4, _DIGITS, scale=16.0),
    "vit": TrainingRecipe(64, replace(_DIGITS, epochs=40, learning_rate=2e-3), scale=3.0),
}

_CIFAR = TrainSettings(epochs=8, batch_size=128, learning_rate=4e-3, precision="auto")
_STRONG = TrainSettings(
    epochs=12,
    batch_size=500,
    optimizer="sgd",
    learning_rate=0.5,
    momentum=0.9,
    nesterov=True,
    weight_decay=1e-3,
    decayed="weights",
    label_smoothing=0.1,
    precision="auto",
)
_C6WHITE = TrainingRecipe(
    32, _STRONG, batch_norm=True, seeds=1, scale=3.0, augmented=True, shift=2, least_side=16
)
LARGE_RECIPES: Mapping[str, TrainingRecipe] = {
    "fc": TrainingRecipe(128, replace(_CIFAR, learning_rate=1e-3), scale=0.3, seeds=1),
    "c4gap": TrainingRecipe(16, _CIFAR, batch_norm=True, seeds=2, augmented=True),
    "c6white": _C6WHITE,
    "c6late": replace(_C6WHITE, scale=3.5),
    "vgg16": TrainingRecipe(8, _CIFAR, seeds=1, scale=2.0, augmented=True, least_side=16),
    "resnet20": TrainingRecipe(8, _CIFAR, seeds=1, scale=3.0, augmented=True),
    "resnet110": TrainingRecipe(4, _CIFAR, seeds=1, scale=8.0, augmented=True),
}


def _own(table: Mapping[str, TrainingRecipe]) -> TrainingRecipe:
    """For architectures that are not ours: as C4GAP is trained, of their own width and norms."""
    return replace(table["c4gap"], width=None, batch_norm=None)


@dataclass(frozen=True)
class Setting:
    """An architecture as it is trained on some data."""

    comparison: ComparisonSettings
    data: Dataset
    """Enlarged where the architecture needs larger images."""
    scale: float
    """Rough time of a run of its DNN, in any unit that settings of one preset share."""
    enlarged: int = 1
    """How often each pixel is repeated in both directions."""

    @property
    def options(self) -> dict[str, Any]:
        """What its runs' configs say of it, beside the comparison: all that makes the data again.

        >>> from dualview.datasets import load
        >>> setting("mine", "vgg16", Request(), load("digits")).options
        {'enlarged': 2}
        """
        return {ENLARGED: self.enlarged} if self.enlarged > 1 else {}


def asked_or_usual(request: Request, small: bool) -> tuple[str, ...]:
    """The architecture asked for; else FC and C4GAP, of which large data has C4GAP alone."""
    return (request.arch,) if request.arch else ("fc", "c4gap") if small else ("c4gap",)


def setting(
    experiment: str, arch: str, request: Request, data: Dataset, *, epochs: int | None = None
) -> Setting:
    """The architecture as the preset trains it on such data, with what was asked for.

    Args:
        experiment: its name, for the records.
        arch: one of those that have a recipe in the preset, or the user's own, which is trained
            as C4GAP is.
        request: preset, and what was asked for.
        data: decides which size of the cpu preset.
        epochs: in place of the recipe's, where none were asked for.

    Raises:
        SettingsError: the architecture has no recipe in this preset, on data of this size.
    """
    table = preset_of(request, data, PAPER_RECIPES, SMALL_RECIPES, LARGE_RECIPES)
    recipe = _own(table) if is_place(arch) else table[choose("arch", arch, table)]
    training = request.applied(replace(recipe.training, epochs=epochs or recipe.training.epochs))
    if recipe.augmented and data.input_shape[0] == 3:
        training = replace(training, flip=True, crop=recipe.shift)
    factor = -(-recipe.least_side // min(data.input_shape[1:]))
    comparison = ComparisonSettings(
        arch=arch,
        width=request.width or recipe.width,
        batch_norm=recipe.batch_norm,
        seeds=request.seeds or recipe.seeds,
        beta=recipe.beta,
        max_pool=recipe.max_pool,
        training=training,
        experiment=experiment,
    )
    return Setting(
        comparison,
        enlarged(data, factor) if factor > 1 else data,
        recipe.scale * (training.epochs or 1),
        factor,
    )
