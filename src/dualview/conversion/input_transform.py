"""What a network does to its input before its first layer: subtract a mean, divide by a deviation.

A network that was trained on standardised inputs is right for those alone. So it carries the
transform, and is called on inputs as they are: pixels from 0 to 1. Axes: examples on axis 0,
channels (or features) on axis 1.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dualview.arguments import number, require, several
from dualview.errors import ConversionError, ExampleInputError

Numbers = float | Sequence[float] | Tensor


class InputTransform(nn.Module):
    """(x - mean) / std, channel by channel: the first thing that a network does to its input.

    Give it to `disentangle(model, input_transform=...)`, put it in front of a model,
    `nn.Sequential(InputTransform(mean, std), model)`, or set `net.input_transform`. `train` gives a
    network that of its data.

    The path kernel, the paths and the weights network have the standardised input for their input:
    `npk(net, x)` is that of the network without the transform on standardised x. Filters and
    distances are of x as it is given.

    Args:
        mean: of each channel, or one number for all.
        std: standard deviation of each channel, or one for all; positive.

    Raises:
        ConversionError: numbers that are not finite or of two lengths, or a deviation that is not
            positive.

    >>> x = torch.tensor([[1.0, 4.0]])
    >>> InputTransform(mean=(1, 2), std=(1, 4))(x)
    tensor([[0.0000, 0.5000]])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Numbers, std: Numbers) -> None:
        super().__init__()
        values = [_as_row(value, name) for name, value in (("mean", mean), ("std", std))]
        lengths = sorted({len(value) for value in values} - {1})
        if len(lengths) > 1:
            raise ConversionError(
                f"mean and std: expected as many numbers, or one for all channels, got "
                f"{len(values[0])} and {len(values[1])}"
            )
        size = lengths[0] if lengths else 1
        if not bool((values[1] > 0).all()):
            raise ConversionError(
                f"std: expected positive numbers, got {values[1].tolist()}. Repair: 1 for a "
                f"channel whose values are all equal"
            )
        for name, value in zip(("mean", "std"), values, strict=True):
            self.register_buffer(name, value.expand(size).clone())

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, ...) -> the same shape.

        Raises:
            ExampleInputError: another number of channels than there are means.
        """
        size = self.mean.shape[0]
        if x.dim() < 2 or (size > 1 and x.shape[1] != size):
            raise ExampleInputError(
                f"x: expected (n, {size if size > 1 else 'channels'}, ...), as the network's input "
                f"transform has it, got {tuple(x.shape)}"
            )
        shape = (1, size, *(1,) * (x.dim() - 2))
        return (x - self.mean.view(shape)) / self.std.view(shape)

    def is_that_of(self, mean: Sequence[float], std: Sequence[float]) -> bool:
        """Whether it is the transform by these numbers, to the rounding of float32."""
        wanted = InputTransform(mean, std)
        size = max(len(self.mean), len(wanted.mean))
        return all(
            len(own) in (1, size)
            and torch.equal(own.cpu().float().expand(size), other.float().expand(size))
            for own, other in ((self.mean, wanted.mean), (self.std, wanted.std))
        )

    def extra_repr(self) -> str:
        """What `print` shows of it."""
        mean, std = (
            ", ".join(f"{v:.4g}" for v in part[:4].tolist()) + (", ..." if len(part) > 4 else "")
            for part in (self.mean, self.std)
        )
        return f"mean=({mean}), std=({std})"


def blank_transform(net: nn.Module, shape: tuple[int, ...]) -> InputTransform:
    """A transform that does nothing, where and of the type that `net` is, for numbers to come.

    >>> blank_transform(nn.Linear(2, 2).double(), (3,)).std
    tensor([1., 1., 1.], dtype=torch.float64)
    """
    like = next((p for p in net.parameters() if p.is_floating_point()), torch.zeros(()))
    return InputTransform(torch.zeros(shape), torch.ones(shape)).to(like)


def taken_off(model: nn.Module) -> tuple[nn.Module, InputTransform | None]:
    """The model behind the transform at its front, and the transform.

    Raises:
        ConversionError: there is one elsewhere in the model.

    >>> model, transform = taken_off(nn.Sequential(InputTransform(0, 2), nn.Linear(4, 3)))
    >>> model, transform.std
    (Linear(in_features=4, out_features=3, bias=True), tensor([2.]))
    """
    transform = None
    if type(model) is nn.Sequential and len(model) > 1 and isinstance(model[0], InputTransform):
        transform = model[0]
        model = model[1] if len(model) == 2 else model[1:]
    for name, module in model.named_modules():
        if isinstance(module, InputTransform):
            raise ConversionError(
                f"'{name}': expected an InputTransform at the front of a model only. Repair: "
                f"nn.Sequential(InputTransform(mean, std), model), or arithmetic in its place"
            )
    return model, transform


def same_transform(one: InputTransform | None, other: InputTransform | None) -> bool:
    """Whether both do the same to an input; None does nothing.

    >>> same_transform(None, InputTransform(0, 1)), same_transform(None, InputTransform(0, 2))
    (True, False)
    """
    given = one or other
    if given is None:
        return True
    rest = (other if one is not None else None) or InputTransform(0.0, 1.0)
    return given.is_that_of(rest.mean.tolist(), rest.std.tolist())


def _as_row(value: Numbers, name: str) -> Tensor:
    numbers = require(name, value, _numbers, ConversionError)
    return torch.tensor(numbers, dtype=torch.get_default_dtype())


def _numbers(value: Any) -> tuple[float, ...]:
    """A check as `dualview.arguments` has them: a number, or one for each channel."""
    single = not isinstance(value, list | tuple) and getattr(value, "ndim", 0) == 0
    wanted = "a number, or one for each channel, all finite in the default type"
    limit = torch.finfo(torch.get_default_dtype()).max
    one = number(least=-limit, most=limit)
    return several(one, wanted)([value] if single else value)


def without_front(
    model: nn.Module, given: InputTransform | None
) -> tuple[nn.Module, InputTransform | None]:
    """The model without its input transform, and a copy of that where and of the type it is."""
    if not isinstance(model, nn.Module):
        return model, None  # for the tracer to refuse
    model, own = taken_off(model)
    if given is not None and own is not None:
        raise ConversionError(
            "input_transform: expected none for a model that begins with one, got another. Repair: "
            "leave one of them out"
        )
    transform = own if given is None else given
    if transform is None:
        return model, None
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    return model, copy.deepcopy(transform).to(like)
