"""How faithful explanations by input positions are to the network: `evaluate_explanations`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from dualview.arguments import (
    instance_of,
    number,
    offering,
    one_of,
    optional,
    seed_number,
    several,
    takes,
    whole,
)
from dualview.conversion.examples import batch, gated
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.modes import evaluation_mode
from dualview.errors import PathKernelError
from dualview.path_attribution.faithfulness.measures import (
    area,
    called,
    curve_masks,
    random_sets,
    rank_correlation,
    sensitivity,
)
from dualview.path_attribution.faithfulness.methods import (
    DEEP_LIFT,
    NAMES,
    Decision,
    Method,
    deep_lift,
    method_of,
)
from dualview.progress import Progress, Unseen

MEASURES = ("deletion", "insertion", "sensitivity", "stability")
"""Less is better for the first, more for the others."""

SIZES = (0.02, 0.05, 0.1, 0.25, 0.5)
"""Shares of the positions that random sets take away."""


@dataclass(frozen=True, eq=False)
class ExplanationScores:
    """Explanations of many decisions, each tried on the network.

    Attributes:
        methods: their names, in the order asked for.
        scores: measure ("deletion", "insertion", "sensitivity", "stability") -> (methods,
            examples), one number an example.
        fractions: of the positions that are taken away along the curves.
        curves: "deletion" or "insertion" -> (methods, examples, fractions), the probability of the
            predicted class.
        targets: (examples, 2): the predicted class and the runner-up; explanations are of the
            difference of their logits.
    """

    methods: tuple[str, ...]
    scores: Mapping[str, np.ndarray]
    fractions: tuple[float, ...]
    curves: Mapping[str, np.ndarray]
    targets: np.ndarray

    @property
    def n_examples(self) -> int:
        """How many decisions were explained."""
        return len(self.targets)

    def mean(self, measure: str, method: str) -> tuple[float, float]:
        """Mean over examples and its standard error (0 of a single example)."""
        values = self.scores[measure][self.methods.index(method)]
        error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
        return float(values.mean()), error

    def __repr__(self) -> str:
        return f"ExplanationScores({self.n_examples} examples; {', '.join(self.methods)})"


@takes(
    PathKernelError,
    net=gated,
    x=batch,
    methods=optional(several(one_of(*NAMES), "names of methods, each once")),
    model=optional(instance_of(nn.Module)),
    soften=number(above=0),
    steps=whole(2, 1000),
    sets=whole(3, 10_000),
    noise=number(above=0),
    seed=seed_number,
    progress=optional(offering("over", "counting", "note")),
)
def evaluate_explanations(
    net: GatedNetwork,
    x: Tensor,
    *,
    methods: Sequence[str] | None = None,
    model: nn.Module | None = None,
    soften: float = 1.0,
    steps: int = 20,
    sets: int = 40,
    noise: float = 0.05,
    seed: int = 0,
    progress: Progress | None = None,
) -> ExplanationScores:
    """Explain decisions by input positions, and try the explanations on the network.

    Explained is the logit of the predicted class minus that of the runner-up. A position is a pixel
    with all its channels, or a feature of a vector; it is taken away by what the network's input
    transform makes 0 (without one, by 0).

    Args:
        net: a gated network of at least two outputs; in evaluation mode.
        x: examples (n, ...); the more, the smaller the errors: 200 tell most methods apart.
        methods: some of "paths" (`input_contributions`), "softened-paths" (the same with `soften`),
            "gradient-input", "integrated-gradients" (both by Captum, the extra `evaluate`) and
            "random". Default: all.
        model: what `net` was made of, with the same parameters, taking what `net` takes after its
            input transform: "deeplift" (Captum's DeepLIFT) is then tried, too. Only for kind "dnn".
        soften: steepness of softened gates, in units of 1 / pre-activation.
        steps: points of the deletion and insertion curves, beside their beginning.
        sets: random sets of each size for sensitivity-n.
        noise: standard deviation of the noise that stability is measured under, in units of the
            standard deviation of all inputs together.
        seed: of sets, noise and the random explanation.
        progress: shows how it goes.

    Returns:
        Scores of every method and example, and the curves.

    Raises:
        PathKernelError: the network has one output, or several tensors of them, or gates that
            cannot be softened (leave "softened-paths" out).
        MissingExtraError: Captum is asked for and not installed.

    Source: theory, section 12; the measures, arXiv 1806.07421 and 1711.06104.

    >>> import dualview as dv
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> net = dv.disentangle(model, "dnn")
    >>> found = evaluate_explanations(net, torch.randn(6, 4), methods=["paths", "random"])
    >>> found.scores["sensitivity"].shape, found.mean("insertion", "paths")[0] > 0
    ((2, 6), True)
    """
    draw = torch.Generator().manual_seed(seed)
    chosen = _methods(net, methods, model, soften)
    fractions = tuple(np.linspace(0, 1, steps + 1).tolist())
    with evaluation_mode(net), torch.inference_mode(False):
        inner = net.without_input_transform()
        with torch.no_grad():
            z = net.transformed(x.detach().clone().to(next(net.parameters(), x)))
            targets = _targets(inner, z)
        spread = noise * float(z.double().std(correction=0))
        trial = _Trial(chosen, fractions, sets, spread, draw)
        rows = (progress or Unseen()).over(range(len(z)), "explaining and trying")
        found = [trial.of(inner, z[row : row + 1], targets[row]) for row in rows]
    scores = {name: np.array([one[0][name] for one in found]).T for name in MEASURES}
    curves = {
        name: np.array([one[1][name] for one in found]).swapaxes(0, 1)
        for name in ("deletion", "insertion")
    }
    return ExplanationScores(
        tuple(chosen),
        MappingProxyType(scores),
        fractions,
        MappingProxyType(curves),
        targets.numpy(),
    )


def _methods(
    net: GatedNetwork, names: Sequence[str] | None, model: nn.Module | None, soften: float
) -> dict[str, Method]:
    found = {name: method_of(name, soften) for name in (names or NAMES)}
    if model is not None:
        if net.kind != "dnn":
            raise PathKernelError(
                f"model: expected None for a network of kind {net.kind!r}, whose decisions are not "
                f"the model's. Repair: leave it out, or disentangle(model, 'dnn')"
            )
        found[DEEP_LIFT] = deep_lift(model.eval())
    return found


def _targets(net: GatedNetwork, z: Tensor) -> Tensor:
    """Predicted class and runner-up: (n, 2)."""
    logits = net.logits(z)
    if not isinstance(logits, Tensor) or logits.flatten(1).shape[1] < 2:
        got = tuple(logits.shape[1:]) if isinstance(logits, Tensor) else "several tensors"
        raise PathKernelError(
            f"net: expected logits of at least two classes, got {got}. Repair: a network that ends "
            f"in one logit a class"
        )
    return logits.flatten(1).topk(2, dim=1).indices.cpu()


@dataclass(frozen=True)
class _Trial:
    """All that is tried on one example, for all methods alike."""

    methods: Mapping[str, Method]
    fractions: tuple[float, ...]
    sets: int
    spread: float
    draw: torch.Generator

    def of(
        self, net: GatedNetwork, z: Tensor, target: Tensor
    ) -> tuple[dict[str, list[float]], dict[str, list[list[float]]]]:
        """Measure -> score, and name of a curve -> heights, both method by method."""
        decision = Decision(net, z, int(target[0]), int(target[1]))
        noisy = z + self.spread * torch.randn(z.shape, generator=self.draw).to(z)
        shape = z.shape[2:] or z.shape[1:]
        sizes = sorted({max(1, round(share * int(np.prod(shape)))) for share in SIZES})
        sets = random_sets(shape, sizes, self.sets, self.draw)
        with torch.no_grad():
            losses = decision.margins(z).double().cpu() - called(
                decision.margins, z, sets.flatten(0, 1)
            ).reshape(len(sizes), -1)
        scores: dict[str, list[float]] = {name: [] for name in MEASURES}
        curves: dict[str, list[list[float]]] = {"deletion": [], "insertion": []}
        for method in self.methods.values():
            given = method(decision, self.draw)
            again = method(Decision(net, noisy, decision.output, decision.against), self.draw)
            for name, masks in zip(curves, curve_masks(given, self.fractions), strict=True):
                curve = self._curve(decision, masks)
                curves[name].append(curve.tolist())
                scores[name].append(area(curve, self.fractions))
            scores["sensitivity"].append(sensitivity(given, sets, losses))
            scores["stability"].append(rank_correlation(given, again))
        return scores, curves

    @staticmethod
    @torch.no_grad()
    def _curve(decision: Decision, masks: Tensor) -> Tensor:
        def probability(z: Tensor) -> Tensor:
            logits = decision.net.logits(z).flatten(1)
            return logits.softmax(1)[:, decision.output]

        return called(probability, decision.z, masks)
