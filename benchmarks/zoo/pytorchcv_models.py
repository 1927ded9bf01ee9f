"""pytorchcv: one or two models of every family that has an image classifier; random weights.

Inputs are of the size that a model is made for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from .models import ZooModel, noise

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


def _models(families: Mapping[str, tuple[str, ...]], size: int) -> Iterator[ZooModel]:
    for family, paths in families.items():
        for path in paths:
            module, name = path.split(".")
            yield ZooModel("pytorchcv", family, name, _maker(module, name), _inputs(size))


def _maker(module: str, name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        # One by one: the zoo's `model_provider` imports every module, and with them torchvision.
        return getattr(importlib.import_module(f"pytorchcv.models.{module}"), name)()

    return make


def _inputs(size: int) -> Callable[[nn.Module], Tensor]:
    def inputs(model: nn.Module) -> Tensor:
        own: Any = getattr(model, "in_size", (size, size))
        return noise(3, *own)(model)

    return inputs


MODELS = (*_models(CIFAR_10, 32), *_models(IMAGENET, 224))
