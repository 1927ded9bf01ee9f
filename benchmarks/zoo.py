"""Claim: a third party's image classifiers convert exactly, or are refused for a stated reason.

Each model of `MODELS` (pytorchcv, one or two of every family that has an image classifier; random
weights) either has a dual form, `disentangle(model, "dnn", example_input=x, mode="evaluation")`,
whose output equals the model's to 2e-5 in float32 and 1e-12 in float64, or it is refused.

    python benchmarks/zoo.py               # all: record results/zoo.json, page docs/zoo.md
    python benchmarks/zoo.py nin_cifar10   # these anew; the others stay as recorded
    python benchmarks/zoo.py --page        # the page alone, from the record

An error is the largest deviation from the model's output divided by the largest output. Inputs and
weights are drawn with seed 0. Batch norm takes its statistics from the inputs, in one pass in
training mode: with those of a fresh model (mean 0, variance 1) the activations of deep networks
grow past 1e10 or vanish, and rounding decides what is measured.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from dualview import DualviewWarning, GatedNetwork, disentangle
from dualview.conversion.operations import BATCH_NORM_MODULES
from dualview.errors import ConversionError
from dualview.experiments.records import Provenance, provenance
from dualview.experiments.tables import Table, to_markdown
from dualview.files.writing import write_json

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "results" / "zoo.json"
PAGE = ROOT / "docs" / "zoo.md"
BOUNDS = {"float32": 2e-5, "float64": 1e-12}
EXAMPLES = 2

CIFAR_10 = {
    "DenseNet": ("densenet_cifar.densenet40_k12_cifar10",),
    "DIANet": ("diaresnet_cifar.diaresnet20_cifar10",),
    "FractalNet": ("fractalnet_cifar.fractalnet_cifar10",),
    "MSDNet": ("msdnet_cifar10.msdnet22_cifar10",),
    "Network in network": ("nin_cifar.nin_cifar10",),
    "PreResNet": ("preresnet_cifar.preresnet20_cifar10",),
    "PyramidNet": ("pyramidnet_cifar.pyramidnet110_a48_cifar10",),
    "ResNet": ("resnet_cifar.resnet20_cifar10",),
    "ResNet in ResNet": ("rir_cifar.rir_cifar10",),
    "ResNet of ResNets": ("ror_cifar.ror3_56_cifar10",),
    "ResNet, blocks dropped": ("resdropresnet_cifar.resdropresnet20_cifar10",),
    "ResNeXt": ("resnext_cifar.resnext20_16x4d_cifar10",),
    "SE-PreResNet": ("sepreresnet_cifar.sepreresnet20_cifar10",),
    "SE-ResNet": ("seresnet_cifar.seresnet20_cifar10",),
    "Shake-shake": ("shakeshakeresnet_cifar.shakeshakeresnet20_2x16d_cifar10",),
    "ShakeDrop": ("shakedropresnet_cifar.shakedropresnet20_cifar10",),
    "Wide ResNet": ("wrn_cifar.wrn16_10_cifar10",),
    "Wide ResNet, 1 bit": ("wrn1bit_cifar.wrn20_10_1bit_cifar10",),
    "X-DenseNet": ("xdensenet_cifar.xdensenet40_2_k24_bc_cifar10",),
}
"""Family -> module and constructor, for inputs of shape (3, 32, 32)."""

IMAGENET = {
    "AirNet": ("airnet.airnet50_1x64d_r2",),
    "AlexNet": ("alexnet.alexnet", "alexnet.alexnetb"),
    "BagNet": ("bagnet.bagnet9",),
    "BAM-ResNet": ("bamresnet.bam_resnet18",),
    "BN-Inception": ("bninception.bninception",),
    "CBAM-ResNet": ("cbamresnet.cbam_resnet18",),
    "ChannelNet": ("channelnet.channelnet",),
    "CondenseNet": ("condensenet.condensenet74_c4_g4",),
    "DarkNet": ("darknet.darknet_tiny", "darknet53.darknet53"),
    "DARTS": ("darts.darts",),
    "DenseNet": ("densenet.densenet121",),
    "DiceNet": ("dicenet.dicenet_wd5",),
    "DiracNetV2": ("diracnetv2.diracnet18v2",),
    "DLA": ("dla.dla34",),
    "DPN": ("dpn.dpn68",),
    "DRN": ("drn.drnc26",),
    "EfficientNet": ("efficientnet.efficientnet_b0",),
    "EfficientNet-Edge": ("efficientnetedge.efficientnet_edge_small_b",),
    "ESPNetv2": ("espnetv2.espnetv2_wd2",),
    "FBNet": ("fbnet.fbnet_cb",),
    "FD-MobileNet": ("fdmobilenet.fdmobilenet_wd4",),
    "FishNet": ("fishnet.fishnet99",),
    "GhostNet": ("ghostnet.ghostnet",),
    "HarDNet": ("hardnet.hardnet39ds",),
    "HRNet": ("hrnet.hrnet_w18_small_v1",),
    "IBN-ResNet": ("ibnresnet.ibn_resnet50",),
    "IGCV3": ("igcv3.igcv3_wd4",),
    "Inception-ResNet": ("inceptionresnetv2.inceptionresnetv2",),
    "InceptionV3": ("inceptionv3.inceptionv3",),
    "InceptionV4": ("inceptionv4.inceptionv4",),
    "i-RevNet": ("irevnet.irevnet301",),
    "iSQRT-COV-ResNet": ("isqrtcovresnet.isqrtcovresnet18",),
    "MENet": ("menet.menet108_8x1_g3",),
    "MixNet": ("mixnet.mixnet_s",),
    "MnasNet": ("mnasnet.mnasnet_b1", "mnasnet.mnasnet_small"),
    "MobileNet": ("mobilenet.mobilenet_wd4", "mobilenetb.mobilenetb_wd4"),
    "MobileNetV2": ("mobilenetv2.mobilenetv2_wd4", "mobilenetv2.mobilenetv2b_wd4"),
    "MobileNetV3": ("mobilenetv3.mobilenetv3_small_w7d20",),
    "NASNet": ("nasnet.nasnet_4a1056",),
    "Oct-ResNet": ("octresnet.octresnet10_ad2",),
    "PeleeNet": ("peleenet.peleenet",),
    "PreResNet": ("preresnet.preresnet10",),
    "ProxylessNAS": ("proxylessnas.proxylessnas_cpu",),
    "ResAttNet": ("resattnet.resattnet56",),
    "ResNeSt": ("resnesta.resnesta18",),
    "ResNet": ("resnet.resnet10",),
    "ResNet-A": ("resneta.resneta10",),
    "ResNet-D": ("resnetd.resnetd50b",),
    "ResNeXt": ("resnext.resnext14_16x4d",),
    "RevNet": ("revnet.revnet38",),
    "SCNet": ("scnet.scnet50",),
    "SelecSLS": ("selecsls.selecsls42",),
    "SENet": ("senet.senet16",),
    "SE-PreResNet": ("sepreresnet.sepreresnet10",),
    "SE-ResNet": ("seresnet.seresnet10",),
    "SE-ResNeXt": ("seresnext.seresnext50_32x4d",),
    "ShaResNet": ("sharesnet.sharesnet18",),
    "ShuffleNet": ("shufflenet.shufflenet_g1_w1",),
    "ShuffleNetV2": ("shufflenetv2.shufflenetv2_wd2", "shufflenetv2b.shufflenetv2b_wd2"),
    "SKNet": ("sknet.sknet50",),
    "SparseNet": ("sparsenet.sparsenet121",),
    "SPNASNet": ("spnasnet.spnasnet",),
    "SqueezeNet": ("squeezenet.squeezenet_v1_0",),
    "SqueezeNext": ("squeezenext.sqnxt23_w1",),
    "TResNet": ("tresnet.tresnet_m",),
    "VGG": ("vgg.vgg11", "vgg.bn_vgg11"),
    "VoVNet": ("vovnet.vovnet27s",),
    "Wide ResNet": ("wrn.wrn50_2",),
    "Xception": ("xception.xception",),
    "X-DenseNet": ("xdensenet.xdensenet121_2",),
}
"""Family -> module and constructor, for inputs of shape (3, 224, 224), or the model's own."""


@dataclass(frozen=True)
class ZooModel:
    """A constructor of the zoo."""

    family: str
    module: str
    name: str
    data: str
    """What it classifies: "CIFAR-10" or "ImageNet"."""

    def build(self) -> nn.Module:
        """The model in evaluation mode, its weights drawn with seed 0."""
        torch.manual_seed(0)
        # One by one: the zoo's `model_provider` imports every module, and with them torchvision.
        make = getattr(importlib.import_module(f"pytorchcv.models.{self.module}"), self.name)
        return make().eval()

    def input(self, model: nn.Module) -> Tensor:
        """Examples of the size that `model` is made for, (n, 3, height, width)."""
        default = (32, 32) if self.data == "CIFAR-10" else (224, 224)
        size: Any = getattr(model, "in_size", default)
        return torch.randn(EXAMPLES, 3, *size, generator=torch.Generator().manual_seed(0))


def _models(families: Mapping[str, tuple[str, ...]], data: str) -> dict[str, ZooModel]:
    paths = [(family, *path.split(".")) for family, group in families.items() for path in group]
    return {name: ZooModel(family, module, name, data) for family, module, name in paths}


MODELS = {**_models(CIFAR_10, "CIFAR-10"), **_models(IMAGENET, "ImageNet")}
"""Name -> model."""


@dataclass(frozen=True)
class Outcome:
    """What became of one model."""

    name: str
    input_shape: tuple[int, ...]
    parameters: int
    gated_layers: int
    """0 if it was refused."""
    errors: dict[str, float]
    """Type of the numbers -> error; empty if it was refused."""
    refusal: str
    """Operation, line and reason; empty if it was converted."""
    zoo: str
    """Version of the zoo, for example "pytorchcv 0.0.67"."""
    provenance: Provenance


def measure(model: ZooModel) -> Outcome:
    """Convert `model` and compare, or note why it is refused."""
    network = model.build()
    x = model.input(network)
    parameters = sum(p.numel() for p in network.parameters())
    gated_layers, errors, refusal = 0, {}, ""
    try:
        taken_apart(network, x)
    except ConversionError as error:
        refusal = reason(error)
    else:
        take_statistics(network, x)
        net = taken_apart(network, x)
        gated_layers = net.n_gates
        errors["float32"] = error_of(net, network, x)
        errors["float64"] = error_of(net.double(), network.double(), x.double())
    return Outcome(
        model.name,
        tuple(x.shape[1:]),
        parameters,
        gated_layers,
        errors,
        refusal,
        f"pytorchcv {version('pytorchcv')}",
        provenance(f"cpu ({torch.get_num_threads()} threads)"),
    )


def taken_apart(network: nn.Module, x: Tensor) -> GatedNetwork:
    """The model's dual form as it is in evaluation mode; the warnings of some are of that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DualviewWarning)
        return disentangle(network, kind="dnn", example_input=x, mode="evaluation")


def take_statistics(network: nn.Module, x: Tensor) -> None:
    """Give every batch norm the statistics of `x`, by one pass in training mode."""
    norms: list[Any] = [m for m in network.modules() if isinstance(m, BATCH_NORM_MODULES)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the average over all passes, of which there is one
    with torch.no_grad():
        network.train()(x)
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def error_of(net: nn.Module, network: nn.Module, x: Tensor) -> float:
    """Largest deviation of `net`'s outputs from `network`'s, by the largest of each output."""
    with torch.no_grad():
        pairs = zip(pytree.tree_leaves(net(x)), pytree.tree_leaves(network(x)), strict=True)
        return max(
            float((got - expected).abs().max() / expected.abs().max()) for got, expected in pairs
        )


def reason(error: ConversionError) -> str:
    """The message without its repair and without the folder that the zoo is installed in."""
    text = str(error).split(" Repair:")[0]
    return re.sub(r"\S*/(?=pytorchcv/)", "", text)


def read(path: Path = RECORD) -> dict[str, Outcome]:
    """Recorded outcomes by name, in the order of `MODELS`; of listed models only."""
    if not path.exists():
        return {}
    kept = {
        entry["name"]: entry for entry in json.loads(path.read_text(encoding="utf-8"))["models"]
    }
    return {name: _outcome(kept[name]) for name in MODELS if name in kept}


def _outcome(entry: dict[str, Any]) -> Outcome:
    shape, where = tuple(entry.pop("input_shape")), Provenance(**entry.pop("provenance"))
    return Outcome(**entry, input_shape=shape, provenance=where)


def write(outcomes: dict[str, Outcome], path: Path = RECORD) -> None:
    """Write the record, in the order of `MODELS`."""
    write_json(path, {"models": [asdict(outcomes[name]) for name in MODELS if name in outcomes]})


def holds(outcome: Outcome) -> bool:
    """Whether the claim holds of it."""
    within = all(outcome.errors.get(kind, 1.0) <= bound for kind, bound in BOUNDS.items())
    return bool(outcome.refusal) != within


def page(outcomes: Iterable[Outcome]) -> str:
    """The Markdown page."""
    listed = list(outcomes)
    converted = [o for o in listed if not o.refusal]
    refused = [o for o in listed if o.refusal]
    parts = [_HEAD.format(converted=len(converted), refused=len(refused), **_totals(listed))]
    parts += ["## Converted", to_markdown(_converted_table(converted))]
    parts += ["## Refused", _REFUSED, "\n".join(map(_refused_line, refused))]
    return "\n\n".join([*parts, _where(listed)]) + "\n"


_HEAD = """\
# A zoo of models

This page is made from the record `results/zoo.json`; `python benchmarks/zoo.py` makes both.

Of {models} image classifiers of [pytorchcv](https://github.com/osmr/pytorchcv), from {families}
families, {converted} convert by `dualview.disentangle(model, kind="dnn")`, with an example
input and `mode="evaluation"` where they need it, and {refused} are
refused. The output of a converted model equals the model's own: the largest error is {float32} in
float32 and {float64} in float64. An error is the largest deviation divided by the largest output.
It is exactly 0 where every gate is 0, 1 or a leaky ReLU's slope: multiplying by these rounds as the
activation does.

The weights are random. Batch norm has the statistics of the inputs, so that activations neither
vanish nor grow; the models are in evaluation mode."""

_REFUSED = """\
What cannot be taken apart exactly is refused. The reasons are those of the error messages, which
give a repair, too; each names the first obstacle, and there may be others."""


def _totals(outcomes: list[Outcome]) -> dict[str, Any]:
    errors = {k: max((o.errors.get(k, 0.0) for o in outcomes), default=0.0) for k in BOUNDS}
    families = {MODELS[outcome.name].family for outcome in outcomes}
    return {
        "models": len(outcomes),
        "families": len(families),
        **{kind: f"{error:.1e}" for kind, error in errors.items()},
    }


def _converted_table(outcomes: list[Outcome]) -> Table:
    rows = [
        (
            f"{MODELS[o.name].family}: {o.name}",
            "×".join(map(str, o.input_shape)),
            f"{o.parameters / 1e6:.2f}",
            str(o.gated_layers),
            *(f"{o.errors[kind]:.1e}" for kind in BOUNDS),
        )
        for o in outcomes
    ]
    columns = ("Model", "Input", "Parameters, millions", "Gated layers")
    errors = tuple(f"Error, {kind}" for kind in BOUNDS)
    return Table("converted", "Converted", (*columns, *errors), tuple(rows))


def _refused_line(outcome: Outcome) -> str:
    return f"- {MODELS[outcome.name].family}: `{outcome.name}`. {_as_text(outcome.refusal)}"


def _as_text(message: str) -> str:
    """A message inside a page: its line of code must not be read as Markdown."""
    return re.sub(r"([*_<>\[\]`])", r"\\\1", message)


def _where(outcomes: list[Outcome]) -> str:
    kept = Counter((o.zoo, replace(o.provenance, finished="")) for o in outcomes)
    lines = [
        f"- {n} models of {zoo} at commit {at.commit or 'unknown'}, PyTorch {at.torch}, "
        f"Python {at.python}, {at.machine}, {at.device}."
        for (zoo, at), n in kept.items()
    ]
    return "\n".join(["Measured:", "", *lines])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="MODEL", help="only these (all if absent)")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(MODELS))
    if unknown:
        parser.error(f"expected models of the list ({', '.join(MODELS)}), got {', '.join(unknown)}")
    return options


def main() -> None:
    options = arguments()
    outcomes = read()
    for name in [] if options.page else options.names or MODELS:
        start = time.perf_counter()
        outcomes[name] = measure(MODELS[name])
        print(f"{name:36}{time.perf_counter() - start:6.1f} s  {_line(outcomes[name])}", flush=True)
        write(outcomes)
    PAGE.write_text(page(read().values()), encoding="utf-8")
    failed = [name for name, outcome in outcomes.items() if not holds(outcome)]
    print(f"claim {'DOES NOT HOLD for ' + ', '.join(failed) if failed else 'holds'}")


def _line(outcome: Outcome) -> str:
    if outcome.refusal:
        return f"refused: {outcome.refusal}"
    return "converted: " + ", ".join(f"{kind} {e:.1e}" for kind, e in outcome.errors.items())


if __name__ == "__main__":
    main()
