"""The network of one run: an architecture, taken apart as its kind says, drawn by its seed."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from dualview.architectures import build
from dualview.architectures.own import options_of, own_factory, own_model
from dualview.architectures.whitened import WHITENING_IMAGES, has_whitened_patches, whiten
from dualview.conversion.disentangling import disentangle
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import Gate, SoftGate
from dualview.conversion.sharing.rebuilding import network_outline
from dualview.conversion.structure import outline
from dualview.conversion.tracing import trace
from dualview.datasets import Batches, Dataset, Split
from dualview.errors import ArchitectureError, ConversionError
from dualview.experiments.settings import ComparisonSettings, split_kind
from dualview.files.user_code import is_place
from dualview.training import SettingsError
from dualview.training.feeding import transform_of

Maker = Callable[[], nn.Module]
"""Makes an architecture."""


def build_network(
    settings: ComparisonSettings,
    kind: str,
    seed: int,
    data: Dataset,
    *,
    gate_order: Sequence[int] | None = None,
    maker: Maker | None = None,
) -> nn.Module:
    """The untrained network of a kind; the same seed draws the same one, whatever else is random.

    With one seed, the gating network of a DGN starts from the DNN's initial parameters; its weights
    network is drawn independently of them. `gate_order` is as `disentangle` takes it. Gated
    networks carry the data's input transform and take images as they are; a "dnn" is a plain module
    that takes standardised ones. `maker` makes the architecture in place of what `settings.arch`
    names.

    Raises:
        SettingsError: the architecture cannot be built so.
        ConversionError: it cannot be taken apart so.
    """
    if maker is None:
        _check_size(settings, data)

    def model() -> nn.Module:
        made = _model(settings, data) if maker is None else maker()
        _whiten(made, data)
        return made

    base, weights_input = split_kind(kind)
    # Of what the user's own factory makes it is not known whether it is trained.
    fresh = None if maker is None and is_place(settings.arch) else "fresh"
    return drawn_apart(
        model,
        base,
        seed,
        SoftGate(settings.beta),
        example_input(data),
        weights=settings.weights or fresh,
        weights_input=weights_input,
        max_pool=settings.max_pool,
        gate_order=gate_order,
        input_transform=transform_of(data),
    )


def drawn_apart(
    model: Maker, kind: str, seed: int, gate: Gate, example: Tensor | None, **options: Any
) -> nn.Module:
    """A model as the network of a kind, drawn by its seed; gated ones are in training mode.

    With one seed, the gating network of a DGN or DLGN starts from the parameters of the "dnn", and
    its weights network is drawn anew. `options` are as `disentangle` takes them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        plain = model()
        if kind == "dnn":
            return plain
        given = {"weights": "fresh", "example_input": example, "seed": seed, **options}
        return disentangle(plain.eval(), cast(Any, kind), gate=gate, **given).train()


def as_gated(net: nn.Module, data: Dataset) -> GatedNetwork:
    """What `build_network` made as a gated network, a DNN too: its gates are its own."""
    if isinstance(net, GatedNetwork):
        return net
    return disentangle(
        net.eval(), "dnn", example_input=example_input(data), input_transform=transform_of(data)
    )


def _whiten(model: nn.Module, data: Dataset) -> None:
    """Give a network that looks at whitened patches the training images they are whitened by."""
    if has_whitened_patches(model):
        whiten(model, _normalised(data.train, WHITENING_IMAGES, data))


def _normalised(split: Split, count: int, data: Dataset) -> Tensor:
    """At most `count` images, evenly spread over the split, as a network meets them."""
    step = max(1, len(split) // count)
    some = split.at(slice(None, count * step, step))
    return torch.cat([x for x, _ in Batches(some, 512, mean=data.mean, std=data.std)])


def _check_size(settings: ComparisonSettings, data: Dataset) -> None:
    """See that the parameters fit into memory, by those of the network without numbers.

    A system may grant memory that it does not have, and kill the process that uses it.
    """
    if settings.width is None or is_place(settings.arch):
        return
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        _, needed = _size(*_made_of(settings, data))
    except (RuntimeError, TypeError, OverflowError):  # PyTorch's, of sizes beyond its integers
        needed = memory + 1
    if needed > memory:
        raise SettingsError(
            f"width: expected a network that fits into the memory of {memory / 2**30:.1f} GiB, got "
            f"{settings.width} for {settings.arch}. Repair: a smaller width"
        )


def _model(settings: ComparisonSettings, data: Dataset) -> nn.Module:
    if is_place(settings.arch):
        return _own_model(settings, data)
    return listed(*_made_of(settings, data))


@contextmanager
def _settings_error() -> Iterator[None]:
    """An architecture that cannot be made is an option that cannot be."""
    try:
        yield
    except ArchitectureError as error:
        raise SettingsError(str(error)) from error


def _made_of(settings: ComparisonSettings, data: Dataset) -> tuple[Any, ...]:
    """What decides an architecture of ours, as `listed` and `_size` take it."""
    return settings.arch, data.n_classes, data.input_shape, settings.width, settings.batch_norm


def listed(arch: str, *made_of: Any) -> nn.Module:
    """An architecture of ours, of so many classes, input shape, width, and batch norm or not.

    Raises:
        SettingsError: it cannot be built so.
    """
    names = ("num_classes", "input_shape", "width", "batch_norm")
    with _settings_error():
        return build(arch, **dict(zip(names, made_of, strict=True)))


@functools.lru_cache(maxsize=1024)  # planning asks again and again
def _size(*made_of: Any) -> tuple[int, int]:
    """Trained parameters of an architecture of ours, and bytes of all of them; nothing is drawn."""
    with torch.device("meta"):
        net = listed(*made_of)
    return count_parameters(net), sum(p.numel() * p.element_size() for p in net.parameters())


def _own_model(settings: ComparisonSettings, data: Dataset) -> nn.Module:
    with _settings_error():
        own_factory(settings.arch)  # no network itself: each seed draws its own
        return own_model(
            settings.arch,
            data.n_classes,
            data.input_shape,
            width=settings.width,
            batch_norm=settings.batch_norm,
        )


def has_width(settings: ComparisonSettings) -> bool:
    """Whether the architecture can be made in several widths.

    Raises:
        SettingsError: it is the user's own, and cannot be imported.
    """
    if not is_place(settings.arch):
        return True
    with _settings_error():
        return "width" in options_of(own_factory(settings.arch))


def structure_digest(net: nn.Module, data: Dataset) -> str:
    """What a network of the user's own is, its numbers aside, in 16 hexadecimal digits.

    Operations, options and shapes count, where it can be traced; else its layers alone.

    >>> from dualview.datasets import load
    >>> acts = (nn.ReLU(), nn.GELU())
    >>> two = [nn.Sequential(nn.Flatten(), act, nn.Linear(64, 10)) for act in acts]
    >>> len({structure_digest(net, load("digits")) for net in two})
    2
    """
    if isinstance(net, GatedNetwork):
        lines = list(network_outline(net))
    else:
        lines = [f"{name} {tuple(t.shape)}" for name, t in net.state_dict().items()]
        try:
            lines += outline(trace(net, example_input(data)).module)
        except ConversionError:
            lines.append(str(net))
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()[:16]


def example_input(data: Dataset) -> Tensor:
    """One training example, as it is: (1, c, h, w) float32."""
    first, _ = next(iter(Batches(data.train, 1, normalise=False)))
    return first


def measuring_device(accelerator: str) -> torch.device:
    """Where a trained network is measured: on the GPU, if it was trained on one; else the CPU.

    >>> measuring_device("cpu")
    device(type='cpu')
    """
    gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return torch.device("cuda" if gpu else "cpu")


def parameters_of_width(settings: ComparisonSettings, data: Dataset, width: int) -> int:
    """Parameters of the setting's architecture at another width; nothing is drawn.

    Raises:
        SettingsError: it cannot be built so.
    """
    wide = replace(settings, width=width)
    if not is_place(settings.arch):
        return _size(*_made_of(wide, data))[0]
    try:
        with torch.device("meta"):
            return count_parameters(_own_model(wide, data))
    except SettingsError:  # a factory that needs numbers
        return count_parameters(_own_model(wide, data))


def width_of_size(settings: ComparisonSettings, data: Dataset, parameters: int) -> int:
    """The width at which the setting's architecture has closest to so many parameters."""
    size = functools.cache(functools.partial(parameters_of_width, settings, data))
    high, least = 1, size(1)
    while size(high) < parameters:
        high *= 2
        if size(high) <= least:
            raise SettingsError(
                f"arch: expected more parameters with more width, got {least:,} from "
                f"{settings.arch} with the widths 1 and {high}. Repair: leave out the kind dnn-wide"
            )
    high = bisect_left(range(high), parameters, lo=max(1, high // 2), key=size)
    return min((max(1, high - 1), high), key=lambda width: abs(size(width) - parameters))


def count_parameters(net: nn.Module) -> int:
    """Numbers that training changes; what two networks share counts once."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)
