"""The model card: what a saved network is, and how to load it. Only what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dualview.conversion.sharing.config import SavedConfig
from dualview.files.foreign_text import markdown_text

PAPER_URL = "https://arxiv.org/abs/2110.03403"

KIND_TEXTS = {
    "dnn": "the dual form of a ReLU network: gates and weights are its own",
    "dgn": "a deep gated network (DGN): a ReLU network makes the gates",
    "dlgn": "a deep linearly gated network (DLGN): a deep linear network makes the gates",
    "dlgn-sf": "a DLGN with shallow features: every gate reads the input directly",
}
"""Kind -> what it is, in words."""

_BEGAN = {
    (True, None): "the model's own",
    (False, None): "a fresh draw",
    (False, "copied"): "a copy of the model's",
    (True, "copied"): "the model's own",
}
"""Whether it is a DNN, `Recipe.weights` -> in words."""


def card_text(config: SavedConfig, parameters: int) -> str:
    """The card's text, in Markdown, without metadata; `parameters` is their number."""
    made = config.recipe.architecture
    model = "" if made else f", model={config.recipe.model}(...)"
    shape = config.recipe.example_shape
    facts = {
        "Kind": f"`{config.kind}`, {KIND_TEXTS[config.kind]}",
        "Model": f"`{made.name}`, {_options(made.options)}" if made else f"`{config.recipe.model}`",
        "Gates": _options(config.recipe.gate or {}),
        "Weights network reads": "the data" if config.weights_input == "data" else "the constant 1",
        "Weights network began as": _BEGAN[config.kind == "dnn", config.recipe.weights],
        "Gate order": _order(config.gate_order),
        "In place of max pooling": config.recipe.max_pool,
        "One example": "×".join(map(str, shape)) if shape else "as the model takes it",
        "Done to inputs first": _transform(config),
        "Parameters": f"{parameters:,}, {config.dtype}",
        "Saved with": _options(config.versions),
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    return f"""\
# {made.name if made else config.recipe.model}, taken apart ({config.kind})

This is {KIND_TEXTS[config.kind]}.
What decides the gates, and what the gates multiply, are two networks that `dualview` looks into:
gates, paths, the neural path kernel ([the paper]({PAPER_URL})).

```python
import dualview as dv

net = dv.GatedNetwork.from_pretrained("FOLDER OR HUB NAME"{model})
```

| | |
| --- | --- |
{table}

`config.json` says how the network is made, `model.safetensors` holds its numbers; loading runs no
code of theirs. On what it was trained and how well it does are not known here: write it below.
"""


def _transform(config: SavedConfig) -> str:
    if config.input_transform is None:
        return "nothing"
    mean, std = (", ".join(f"{v:.6g}" for v in part) for part in config.input_transform)
    return f"less the mean {mean}, divided by the standard deviation {std}, channel by channel"


def _options(options: Mapping[str, Any]) -> str:
    told = (str(value) if name == "name" else f"{name} {value}" for name, value in options.items())
    return markdown_text(", ".join(told))


def _order(order: tuple[int, ...]) -> str:
    return "as the layers" if order == tuple(range(len(order))) else ", ".join(map(str, order))
