"""transformers: image and text models of small configurations; random weights.

A configuration is smaller than the published ones in widths and numbers of layers alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from .models import ZooModel, images, tokens
from .torchvision_import import declare_operators

SIZE = 64
VOCABULARY = 50
WIDTHS = [8, 16, 24, 32]
DEPTHS = [1, 1, 1, 1]
STAGES = {"hidden_sizes": WIDTHS, "depths": DEPTHS}
WEIGHTS = {"initializer_range": 0.2}
"""Wider than published, whose 0.02 leaves so narrow a network all but constant."""
TOKENS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
IMAGE_TOKENS = {**TOKENS, "intermediate_size": 32, "image_size": SIZE}
TEXT_TOKENS = {**TOKENS, "intermediate_size": 32, "vocab_size": VOCABULARY}

IMAGE_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "BEiT": ("Beit", IMAGE_TOKENS),
    "ConvNeXt": ("ConvNext", {**STAGES, "image_size": SIZE}),
    "ConvNeXt V2": ("ConvNextV2", {**STAGES, "image_size": SIZE}),
    "CvT": ("Cvt", {"embed_dim": [8, 16, 24], "depth": [1, 2, 3], "num_heads": [1, 2, 3]}),
    "DeiT": ("DeiT", IMAGE_TOKENS),
    "DINOv2": ("Dinov2", {**TOKENS, "image_size": SIZE, "patch_size": 16}),
    "EfficientNet": (
        "EfficientNet",
        {
            "image_size": SIZE,
            "width_coefficient": 0.25,
            "depth_coefficient": 0.3,
            "hidden_dim": 320,
        },
    ),
    "FocalNet": (
        "FocalNet",
        {
            "image_size": SIZE,
            "embed_dim": 8,
            "depths": [1, 1],
            "focal_levels": [2, 2],
            "focal_windows": [3, 3],
        },
    ),
    "LeViT": (
        "Levit",
        {
            "image_size": SIZE,
            "hidden_sizes": [16, 24, 32],
            "num_attention_heads": [2, 3, 4],
            "depths": [1, 1, 1],
            "key_dim": [4, 4, 4],
        },
    ),
    "MobileNet V1": ("MobileNetV1", {"image_size": SIZE, "depth_multiplier": 0.25}),
    "MobileNet V2": ("MobileNetV2", {"image_size": SIZE, "depth_multiplier": 0.35}),
    "MobileViT": (
        "MobileViT",
        {
            "image_size": SIZE,
            "hidden_sizes": [16, 24, 32],
            "neck_hidden_sizes": [8, 8, 16, 16, 24, 24, 32],
        },
    ),
    "PoolFormer": ("PoolFormer", STAGES),
    "PVT": ("Pvt", {**STAGES, "image_size": SIZE, "num_attention_heads": [1, 2, 3, 4]}),
    "RegNet": ("RegNet", {**STAGES, "embedding_size": 8, "groups_width": 4}),
    "ResNet": ("ResNet", {**STAGES, "embedding_size": 8}),
    "SegFormer": ("Segformer", {**STAGES, "num_attention_heads": [1, 2, 3, 4]}),
    "Swin": (
        "Swin",
        {
            "image_size": SIZE,
            "embed_dim": 8,
            "depths": [1, 1],
            "num_heads": [1, 2],
            "window_size": 4,
        },
    ),
    "ViT": ("ViT", IMAGE_TOKENS),
}
"""Family -> class `...ForImageClassification`, options of its configuration."""

TEXT_MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "BERT": ("BertForSequenceClassification", "BertConfig", TEXT_TOKENS),
    "DistilBERT": (
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        {"vocab_size": VOCABULARY, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    ),
    "GPT-2": (
        "GPT2LMHeadModel",
        "GPT2Config",
        {
            "vocab_size": VOCABULARY,
            "n_embd": 16,
            "n_layer": 2,
            "n_head": 2,
            "n_positions": 32,
            "use_cache": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
    ),
}
"""Family -> class, configuration, its options."""


GATES = {"FocalNet": ("*.projection_context",)}
"""Family -> layers that give the gate of its products of two plain values."""


def _maker(model: str, configuration: str, options: dict[str, Any]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        declare_operators()  # it imports torchvision where that is installed
        import transformers

        chosen = getattr(transformers, configuration)(**WEIGHTS, **options, num_labels=3)
        return getattr(transformers, model)(chosen)

    return make


MODELS = tuple(
    ZooModel(
        "transformers",
        family,
        f"{stem}ForImageClassification",
        _maker(f"{stem}ForImageClassification", f"{stem}Config", options),
        images(SIZE),
        multipliers=GATES.get(family, ()),
    )
    for family, (stem, options) in IMAGE_MODELS.items()
) + tuple(
    ZooModel(
        "transformers", family, name, _maker(name, configuration, options), tokens(8, VOCABULARY)
    )
    for family, (name, configuration, options) in TEXT_MODELS.items()
)
