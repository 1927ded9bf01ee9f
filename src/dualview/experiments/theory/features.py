"""Section 6 of the theory: the weights network with fresh weights is a random feature map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dualview.architectures import ResNet
from dualview.conversion.gated_network import GatedNetwork
from dualview.experiments.theory.measurement import Measurement, Sample
from dualview.experiments.theory.models import normal, parameter_names, taken_apart
from dualview.experiments.theory.statement import Pair, Settings, Sides, Statement
from dualview.path_enumeration import enumerated_npk
from dualview.path_kernel.features import npk_features
from dualview.path_kernel.kernel import npk

SHARED = 32
"""Features of one draw that share the lower layers' weights."""
BLOCKS = 16
"""Estimates at the largest number of features."""


def unbiased(settings: Settings) -> Sides:
    """Means of feature products against the exact kernel, with and without shared lower layers."""
    net, x = _residual(), normal(3, 2, 6, 6)
    exact = npk(net, x)
    draws = settings.draws(3000)
    pairs = []
    for label, per_draw in (("independent features", 1), (f"{SHARED} features a draw", SHARED)):
        count = draws if per_draw == 1 else draws // 4 * per_draw
        features = npk_features(net, x, count, seed=settings.seed, per_draw=per_draw)
        pairs.append(_mean_pair(features, exact, per_draw, label))
    return Sides(tuple(pairs), draws, "draws")


def exchanged(settings: Settings) -> Sides:
    """The same for a network whose channels become positions, against enumerated paths."""
    net, x = taken_apart(Transposing(), "dlgn"), normal(3, 2, 3)
    names = parameter_names(net)
    fan_ins = {name: net.weights_network.get_parameter(name)[0].numel() for name in names.values()}
    variances = {name: 1 / inputs for name, inputs in fan_ins.items()}
    exact = enumerated_npk(net, x, output=0, variances=variances)
    draws = settings.draws(4000)
    features = npk_features(net, x, draws, seed=settings.seed, per_draw=1)
    return Sides((_mean_pair(features, exact, 1, ""),), draws, "draws")


def _mean_pair(features: Tensor, exact: Tensor, per_draw: int, label: str) -> Pair:
    """Mean over draws of what one draw estimates, and its standard error."""
    n, count = features.shape
    by_draw = features.view(n, count // per_draw, per_draw) * count**0.5
    estimates = torch.einsum("idf,jdf->dij", by_draw, by_draw) / per_draw
    error = estimates.std(0) / len(estimates) ** 0.5
    return Pair(estimates.mean(0), exact, error, label=label)


class Transposing(nn.Module):
    """Exchanges channels and positions between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(2, 3, 1, bias=False), nn.Conv1d(3, 2, 1, bias=False)
        self.last = nn.Linear(6, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 2, 3) -> (n, 1)."""
        u = torch.relu(self.first(x)).transpose(1, 2)
        return self.last(torch.relu(self.second(u)).flatten(1))


def _residual() -> GatedNetwork:
    return taken_apart(ResNet(1, 1, (2, 6, 6), 4, False), "dlgn")


def measure(settings: Settings, per_draw: int) -> Measurement:
    """Error of the estimated kernel for ever more features, disjoint blocks of one long run."""
    net, x = _residual(), normal(3, 2, 6, 6)
    exact = npk(net, x)
    longest = 8 * SHARED if settings.quick else 32 * SHARED
    total = BLOCKS * longest
    features = npk_features(net, x, total, seed=settings.seed, per_draw=per_draw) * total**0.5
    samples = []
    size = SHARED
    while size <= longest:
        blocks = features.view(len(x), total // size, size)
        estimates = torch.einsum("ibf,jbf->bij", blocks, blocks) / size
        samples.append(Sample(size, estimates, exact.expand_as(estimates)))
        size *= 2
    return Measurement(tuple(samples), BLOCKS, SHARED, total, "features")


STATEMENTS = (
    Statement(
        name="unbiased",
        section="6",
        title="E[(1/m) Σ f(x) f(x′)] = NPK",
        text="Outputs of the weights network with fresh weights are features whose mean product is "
        "the NPK, without bias: a post-activation ResNet. Features that share their lower layers "
        "are not independent, and unbiased all the same.",
        source="derived",
        left="mean over draws of dv.npk_features",
        right="dv.npk",
        compute=unbiased,
        comparison="mean",
    ),
    Statement(
        name="exchanged",
        section="6",
        title="the same, channels become positions",
        text="A network that exchanges channels and positions between two layers.",
        source="derived",
        left="mean over draws of dv.npk_features",
        right="enumerated paths",
        compute=exchanged,
        comparison="mean",
    ),
    Statement(
        name="feature-slope",
        section="6",
        title="error ∝ 1 / √m",
        text="The error of the kernel that m independent features estimate falls as one over the "
        "root of m: slope of log root mean square error against log m.",
        source="derived",
        left="fit to errors against dv.npk",
        right="−1/2",
        compute=Measurement.slope_sides,
        comparison="mean",
        measurement="features",
    ),
)
