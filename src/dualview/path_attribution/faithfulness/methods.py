"""Explanations of a decision by input positions: path contributions, and those of other libraries.

Every method answers one question, so that the answers can be compared: how much does each position
add to the logit of one output minus that of another, counted from an input of 0 as the network
reads it (after its input transform)? Channels are summed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module

import torch
from torch import Tensor, nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.errors import needs
from dualview.path_attribution.contributions import input_contributions

INTEGRATION_STEPS = 50


@dataclass(frozen=True)
class Decision:
    """One example, and what is asked of it.

    Attributes:
        net: without an input transform, in evaluation mode.
        z: the example (1, ...), as the network reads it.
        output: flat position of the logit.
        against: that of the logit that is subtracted.
    """

    net: GatedNetwork
    z: Tensor
    output: int
    against: int

    def margins(self, z: Tensor) -> Tensor:
        """Logit minus logit of inputs (n, ...): (n,)."""
        logits = self.net.logits(z).flatten(1)
        return logits[:, self.output] - logits[:, self.against]


Method = Callable[[Decision, torch.Generator], Tensor]
"""(decision, for drawn numbers) -> positions (...), the input's shape without channels."""


def by_position(values: Tensor) -> Tensor:
    """Values (1, channels, positions...) summed over channels; of vectors (1, features) as is."""
    one = values.detach()[0].double().cpu()
    return one.sum(0) if one.dim() > 1 else one


def _paths(decision: Decision, draw: torch.Generator, soften: float | None = None) -> Tensor:
    found = input_contributions(
        decision.net, decision.z, decision.output, against=decision.against, soften=soften
    )
    return by_position(torch.from_numpy(found.coordinates)[None])


def _gradient_times_input(decision: Decision, draw: torch.Generator) -> Tensor:
    from captum.attr import InputXGradient

    z = decision.z.clone().requires_grad_()
    return by_position(InputXGradient(decision.margins).attribute(z))


def _integrated_gradients(decision: Decision, draw: torch.Generator) -> Tensor:
    from captum.attr import IntegratedGradients

    z = decision.z.clone().requires_grad_()
    return by_position(
        IntegratedGradients(decision.margins).attribute(
            z, torch.zeros_like(z), n_steps=INTEGRATION_STEPS
        )
    )


def _random(decision: Decision, draw: torch.Generator) -> Tensor:
    shape = decision.z.shape[2:] or decision.z.shape[1:]
    return torch.randn(shape, generator=draw, dtype=torch.float64)


def deep_lift(model: nn.Module) -> Method:
    """DeepLIFT by Captum, of the model that a network was made of.

    It gives activation modules a derivative of their own, so it runs on the model, not on a network
    that was taken apart.
    """

    def method(decision: Decision, draw: torch.Generator) -> Tensor:
        from captum.attr import DeepLift

        z = decision.z.clone().requires_grad_()
        margin = _Margin(model, decision.output, decision.against)
        with warnings.catch_warnings():
            # It says that it hooks into activations, and that the hooks go away.
            warnings.filterwarnings("ignore", "Setting forward, backward hooks")
            return by_position(DeepLift(margin).attribute(z, torch.zeros_like(z)))

    return method


class _Margin(nn.Module):
    """A model's difference of two outputs, as a module, since Captum hooks into one."""

    def __init__(self, model: nn.Module, output: int, against: int) -> None:
        super().__init__()
        self.model = model
        self.entries = (output, against)

    def forward(self, z: Tensor) -> Tensor:
        logits = self.model(z).flatten(1)
        return (logits[:, self.entries[0]] - logits[:, self.entries[1]])[:, None]


SOFTENED, DEEP_LIFT = "softened-paths", "deeplift"

_OF_CAPTUM: Mapping[str, Method] = {
    "gradient-input": _gradient_times_input,
    "integrated-gradients": _integrated_gradients,
}
_METHODS: Mapping[str, Method] = {
    "paths": _paths,
    SOFTENED: _paths,
    **_OF_CAPTUM,
    "random": _random,
}
NAMES = tuple(_METHODS)
"""Those that need no more than the network."""


def method_of(name: str, soften: float) -> Method:
    """The method called `name`, one of `NAMES`.

    Raises:
        MissingExtraError: it is Captum's, which is not installed.
    """
    if name in _OF_CAPTUM:
        with needs("evaluate", f"explanations by {name}"):
            import_module("captum.attr")  # told of now, and not after the first example
    return partial(_paths, soften=soften) if name == SOFTENED else _METHODS[name]
