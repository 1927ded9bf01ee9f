"""Sections 1 to 3 and 5 of the theory: gates, networks, paths, and the two linearities."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dualview.architectures import ARCHITECTURES, WITHOUT_DLGN, ResNet
from dualview.conversion.activations import GATE_OF_MODULE
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import HardGate
from dualview.experiments.theory.models import chain, enliven, normal, taken_apart
from dualview.experiments.theory.statement import Pair, Settings, Sides, Statement, entries
from dualview.path_enumeration import path_features, path_values
from dualview.path_kernel.kernel import npk

SIZES = {"vgg16": 16, "c6white": 16, "c6late": 16}
"""Length of an image's side, where an architecture needs more than 6."""

DEEP = ("resnet56", "resnet110")
"""Architectures that take a second to trace; left out where it is to be quick."""


def activations() -> list[type[nn.Module]]:
    """The activation modules of PyTorch that have a gate."""
    return [kind for kind in GATE_OF_MODULE if kind.__module__.startswith("torch.")]


def made(kind: type[nn.Module]) -> nn.Module:
    """An activation of this kind, with its default options where it has any."""
    return nn.Threshold(-0.3, 0.2) if kind is nn.Threshold else kind()


# Section 1: gates


def self_gated(settings: Settings) -> Sides:
    """Q G(q) against the activation itself."""
    q = torch.linspace(-9, 9, 10_001, dtype=torch.float64)
    pairs = []
    for kind in activations():
        activation = made(kind).double()
        gate = GATE_OF_MODULE[kind](activation)
        pairs.append(Pair(gate.at_zero + q * gate(q), activation(q), label=kind.__name__))
    return Sides(tuple(pairs), len(pairs) * len(q), "points")


def closed_at_zero(settings: Settings) -> Sides:
    """The hard gate at and beside 0."""
    q = torch.tensor([-1.0, -5e-324, -0.0, 0.0, 5e-324, 1.0], dtype=torch.float64)
    expected = torch.tensor([0.0, 0, 0, 0, 1, 1], dtype=torch.float64)
    return Sides((Pair(HardGate()(q), expected),), len(q), "points")


# Section 2: networks


def dual_form(settings: Settings) -> Sides:
    """Every reference architecture, shrunk, against its dual form."""
    pairs = []
    for name, factory in ARCHITECTURES.items():
        if settings.quick and name in DEEP:
            continue
        size = SIZES.get(name, 6)
        model = enliven(factory(3, (2, size, size), 8)).double().eval()
        x = normal(3, 2, size, size)
        pairs.append(Pair(taken_apart(model, "dnn")(x), model(x), label=name))
    return entries(pairs)


def dual_form_of_activations(settings: Settings) -> Sides:
    """One convolutional network with every self-gated activation against its dual form."""
    pairs = []
    for kind in activations():
        first, second = made(kind), made(kind)
        layers = [nn.Conv2d(2, 4, 3, padding=1), first, nn.Conv2d(4, 4, 3, 2), second]
        model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 3)).double()
        x = normal(4, 2, 5, 5)
        pairs.append(Pair(taken_apart(model, "dnn")(x), model(x), label=kind.__name__))
    return entries(pairs)


def definitions(settings: Settings) -> Sides:
    """DGN, DLGN and DLGN-SF against matrix products as section 2 writes them."""
    pairs = []
    for kind, weights_input in itertools.product(("dgn", "dlgn", "dlgn-sf"), ("data", "ones")):
        net = taken_apart(chain((3, 5, 6, 4, 2)), kind, weights_input=weights_input)
        x = normal(4, 3)
        label = f"{kind}, {weights_input}"
        pairs.append(Pair(net(x), _by_definition(net, kind, weights_input, x), label=label))
    return entries(pairs)


def _by_definition(net: GatedNetwork, kind: str, weights_input: str, x: Tensor) -> Tensor:
    gating, weights = (
        [p.detach() for p in network.parameters()]
        for network in (net.gating_network, net.weights_network)
    )
    u = x
    z = torch.ones_like(x) if weights_input == "ones" else x
    for w, v in zip(gating, weights, strict=False):  # the gating network has no output layer
        q = (x if kind == "dlgn-sf" else u) @ w.mT
        u = q * (q > 0) if kind == "dgn" else q
        z = (z @ v.mT) * torch.sigmoid(4 * q)
    return z @ weights[-1].mT


# Section 3: paths


def paths_of_dense_networks(settings: Settings) -> Sides:
    """f(x) against the sum over paths, each spelled out: one coordinate and one unit per layer."""
    pairs = []
    for kind in ("dnn", "dgn", "dlgn"):
        net = taken_apart(chain((3, 6, 5, 4, 2)), kind)
        x = normal(4, 3)
        weights = [p.detach() for p in net.weights_network.parameters()]
        pairs.append(Pair(net(x), _sum_over_paths(x, net.gates(x), weights), label=kind))
    return Sides(tuple(pairs), 3 * 3 * 6 * 5 * 4, "paths")


def _sum_over_paths(x: Tensor, gates: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    *hidden, last = weights
    total = torch.zeros(len(x), len(last), dtype=torch.float64)
    for start, *units in itertools.product(range(x.shape[1]), *(range(len(w)) for w in hidden)):
        feature, value, previous = x[:, start], torch.ones((), dtype=torch.float64), start
        for unit, gate, weight in zip(units, gates, hidden, strict=True):
            feature = feature * gate[:, unit]
            value = value * weight[unit, previous]
            previous = unit
        total += torch.outer(feature, value * last[:, previous])
    return total


def paths_of_any_graph(settings: Settings) -> Sides:
    """f(x) against <phi(x), v> over enumerated bundles: biases, convolutions, pooling, skips."""
    pairs = [
        Pair(net(x), path_features(net, x) @ path_values(net, x.shape[1:]).mT, label=label)
        for label, (net, x) in _enumerable().items()
    ]
    return entries(pairs)


def kernel_of_features(settings: Settings) -> Sides:
    """The path kernel against the inner products of enumerated path features."""
    pairs = []
    for label, (net, x) in _enumerable().items():
        features = path_features(net, x)
        kernel = npk(net, x, normalise=False, biases=True)
        pairs.append(Pair(kernel, features @ features.mT, label=label))
    return entries(pairs)


def _enumerable() -> dict[str, tuple[GatedNetwork, Tensor]]:
    """Networks with few enough paths to list; one output layer, so outputs share features."""
    dense = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    circular = nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular")
    strided = nn.Conv2d(2, 2, 3, stride=2, padding=1)
    pooled = [nn.AvgPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(2, 2)]
    convolutional = nn.Sequential(circular, nn.ReLU(), strided, *pooled)
    residual = ResNet(1, 2, (1, 1, 2), 1, False)
    return {
        "dense with biases": (taken_apart(dense, "dlgn"), normal(4, 3)),
        "convolutional with biases": (taken_apart(convolutional, "dlgn"), normal(3, 1, 4, 4)),
        "residual": (taken_apart(_with_biases(residual), "dlgn"), normal(3, 1, 1, 2)),
    }


def _with_biases(model: nn.Module) -> nn.Module:
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    return model


# Section 5: the two linearities


def affine_preactivations(settings: Settings) -> Sides:
    """In a DLGN, q(x + y) - q(y) against q(x) - q(0), for every architecture that has one."""
    pairs = []
    for name, factory in ARCHITECTURES.items():
        if name in WITHOUT_DLGN or (settings.quick and name in DEEP):
            continue
        size = SIZES.get(name, 6)
        net = taken_apart(enliven(factory(3, (2, size, size), 4)), "dlgn")
        x, y = normal(2, 2, size, size), normal(2, 2, size, size)
        sums, shifts, plain, zero = (
            net.preactivations(v)[-1] for v in (x + y, y, x, torch.zeros_like(x))
        )
        pairs.append(Pair(sums - shifts, plain - zero, label=name))
    return entries(pairs)


def regression_in_path_space(settings: Settings) -> Sides:
    """Kernel ridge regression on the NPK against ridge regression on the path features."""
    net = taken_apart(chain((3, 4, 3, 1)), "dlgn")
    x, new, targets = normal(12, 3), normal(6, 3), normal(12)
    penalty = 0.1
    kernel = npk(net, x, normalise=False)
    alpha = torch.linalg.solve(kernel + penalty * torch.eye(12, dtype=torch.float64), targets)
    features = path_features(net, x)
    gram = features.mT @ features + penalty * torch.eye(features.shape[1], dtype=torch.float64)
    values = torch.linalg.solve(gram, features.mT @ targets)
    predictions = npk(net, new, x, normalise=False) @ alpha
    return entries([Pair(predictions, path_features(net, new) @ values)])


STATEMENTS = (
    Statement(
        name="self-gated",
        section="1",
        title="a(q) = q · G(q)",
        text="Every self-gated activation (ReLU, leaky ReLU, PReLU, ReLU6, GELU, SiLU, Hardswish, "
        "Mish) multiplies its pre-activation by a gate.",
        source="derived; ReLU: arXiv 2110.03403, section 2",
        left="q times the library’s gate, on −9 … 9",
        right="PyTorch’s own activation",
        compute=self_gated,
    ),
    Statement(
        name="zero-gate",
        section="1",
        title="G(q) = 1{q > 0}: closed at 0",
        text="The hard gate is 1{q > 0}: closed at 0 and at −0, open at the smallest number above.",
        source="convention",
        left="the library’s hard gate",
        right="0, 0, 0, 0, 1, 1 written out",
        compute=closed_at_zero,
    ),
    Statement(
        name="dual-form",
        section="2",
        title="dual form = the network itself",
        text="A network’s gates, taken from itself and applied to its own weights, give its own "
        "output: FC, VCONV, GCONV, C4GAP, VGG-16, ResNets up to 110 layers, with batch norm.",
        source="arXiv 2110.03403, section 2",
        left="gating network, gates, weights network",
        right="the model as written",
        compute=dual_form,
    ),
    Statement(
        name="dual-form-activations",
        section="2",
        title="dual form, any self-gated activation",
        text="The same identity for a convolutional network with each activation of section 1.",
        source="derived",
        left="gating network, gates, weights network",
        right="the model as written",
        compute=dual_form_of_activations,
    ),
    Statement(
        name="definitions",
        section="2",
        title="zₗ = (Vₗ zₗ₋₁) ⊙ Gₗ(x)",
        text="DGN, DLGN and DLGN-SF, reading the data or the constant 1, compute what section 2 "
        "defines: gates from a DNN, from a deep linear network, or from the input directly.",
        source="arXiv 2110.03403, section 2; arXiv 2203.16455 (ones)",
        left="the converted network",
        right="matrix products written out",
        compute=definitions,
    ),
    Statement(
        name="paths",
        section="3",
        title="f(x) = ⟨φ(x), v⟩, fully connected",
        text="The output is a sum over paths of path feature (input times gates) times path value "
        "(product of weights). For the DNN both come from one network, for DGN and DLGN from two.",
        source="arXiv 2006.10529, section 2",
        left="the network’s output",
        right="explicit sum over every path",
        compute=paths_of_dense_networks,
    ),
    Statement(
        name="bundles",
        section="3",
        title="f(x) = ⟨φ(x), v⟩, any graph",
        text="The same with paths that share all their weights joined in bundles, average pooling "
        "as 1/m, skips as shorter paths, and biases as inputs of value 1.",
        source="arXiv 2110.03403, section 4; biases: derived",
        left="the network’s output",
        right="enumerated features times values",
        compute=paths_of_any_graph,
    ),
    Statement(
        name="kernel-of-features",
        section="3",
        title="NPK(x, x′) = ⟨φ(x), φ(x′)⟩",
        text="The kernel that the library computes by rules is the inner product of path features.",
        source="arXiv 2006.10529, definition 2.5",
        left="dv.npk",
        right="inner products of enumerated features",
        compute=kernel_of_features,
    ),
    Statement(
        name="affine",
        section="5",
        title="DLGN: q(x+y) − q(y) = q(x) − q(0)",
        text="Primal linearity: every pre-activation of a deep linearly gated network is affine in "
        "the input, in evaluation mode, also through batch norm, stride, pooling and skips.",
        source="arXiv 2110.03403, section 3",
        left="last gated layer at x + y and y",
        right="last gated layer at x and 0",
        compute=affine_preactivations,
    ),
    Statement(
        name="path-regression",
        section="5",
        title="ridge on φ = kernel ridge on NPK",
        text="Dual linearity: given the gates, learning is linear in path space, and kernel ridge "
        "regression on the NPK predicts what ridge regression on the path features does.",
        source="derived (representer theorem)",
        left="Σⱼ αⱼ NPK(x, xⱼ), by dv.npk",
        right="normal equations on enumerated features",
        compute=regression_in_path_space,
        bound=1e-8,
    ),
)
