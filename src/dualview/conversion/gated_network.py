"""A traced network -> gating network + weights network, and the two joined again.

The data flow is a plain function:
x -> gating network -> pre-activations (q_1 ... q_L) -> gates (G_1 ... G_L)
  -> weights network(x or 1, G_1 ... G_L) -> the model's outputs.

Tensors have the example on axis 0. Pre-activations and gates keep the shape that the model's own
activations have: (n, units) or (n, channels, positions...).
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, get_args

import torch
from torch import Tensor, fx, nn

from dualview.arguments import (
    UnfitError,
    file_path,
    flag,
    instance_of,
    one_of,
    optional,
    require,
    said,
    several,
    takes,
    text_value,
    whole,
)
from dualview.conversion.affinity import affine_layers
from dualview.conversion.gates import HardGate
from dualview.conversion.input_transform import InputTransform, blank_transform
from dualview.conversion.promises import Kind, WeightsInput, no_permutation, shapes_differ
from dualview.conversion.recipe import Recipe
from dualview.conversion.trial_run import REFUSALS
from dualview.errors import ConversionError, DualviewError, ExampleInputError, SavedNetworkError

Options = ParamSpec("Options")
Result = TypeVar("Result")


def _token(value: Any) -> str | bool | None:
    """A check as `dualview.arguments` has them: what the hub's library takes for a token."""
    if value is None or isinstance(value, bool | str):
        return value
    raise UnfitError("a text, True, False or None", got=type(value).__name__)  # it may be secret


def says_what_it_takes(
    method: Callable[Concatenate[Any, Tensor, Options], Result],
) -> Callable[Concatenate[Any, Tensor, Options], Result]:
    """Decorate a method of examples: what a layer says of those it does not take comes as ours.

    Tried only where something fails, so that shapes and types stay the layers' own business.
    """

    @functools.wraps(method)
    def called(net: Any, x: Tensor, *args: Options.args, **kwargs: Options.kwargs) -> Result:
        require("hard", kwargs.get("hard", False), flag, ExampleInputError)
        try:
            return method(net, x, *args, **kwargs)
        except (DualviewError, torch.OutOfMemoryError):
            raise
        except (*REFUSALS, AttributeError) as error:
            if isinstance(error, AttributeError) and isinstance(x, Tensor):
                raise  # a fault of the network's own code
            raise ExampleInputError(
                f"x: expected examples that the network takes, got {said(x)} ({error}). Repair: "
                f"examples as the model was trained on, in its type and on its device"
            ) from error

    return called


class GatedNetwork(nn.Module):
    """A network taken apart: what decides the gates, and what they multiply.

    Made by `disentangle`. Both networks are ordinary `torch.fx.GraphModule`s.

    Attributes:
        kind: "dnn", "dgn", "dlgn" or "dlgn-sf".
        weights_input: "data" or "ones".
        gate_order: entry l says which gating layer supplies the gates of layer l.
        gating_network: x -> (q_1, ..., q_L), then one switch per replayed max pool, then one
            multiplier per LayerNorm and attention (`dualview.conversion.multipliers`).
        weights_network: (x, gate_1, ..., gate_L, switches..., multipliers...) -> the model's
            outputs.
        recipe: the model and the options it was made with; None: put together by hand.
        squash: the softmax, log-softmax or sigmoid that ends the model: logits -> the model's
            outputs; None: the model gives its logits.
        input_transform: what is done to an input before all else, or None. All methods, and all
            functions of this package, take inputs as they are before it; the two networks by
            themselves take what comes after it.
    """

    @takes(
        ConversionError,
        gating_network=instance_of(fx.GraphModule),
        weights_network=instance_of(fx.GraphModule),
        gate_functions=several(instance_of(nn.Module), "one gate for each layer", empty=True),
        kind=one_of(*get_args(Kind)),
        weights_input=one_of(*get_args(WeightsInput)),
        gate_order=several(whole(0), "a permutation of the layers", empty=True),
        recipe=optional(instance_of(Recipe)),
        squash=optional(instance_of(fx.GraphModule)),
        input_transform=optional(instance_of(InputTransform)),
    )
    def __init__(
        self,
        gating_network: fx.GraphModule,
        weights_network: fx.GraphModule,
        gate_functions: Sequence[nn.Module],
        kind: Kind,
        weights_input: WeightsInput,
        gate_order: Sequence[int],
        recipe: Recipe | None = None,
        squash: fx.GraphModule | None = None,
        input_transform: InputTransform | None = None,
    ) -> None:
        if sorted(gate_order) != list(range(len(gate_functions))):
            raise no_permutation(gate_order, len(gate_functions))
        super().__init__()
        self.gating_network = gating_network
        self.weights_network = weights_network
        self.gate_functions = nn.ModuleList(gate_functions)
        self.kind = kind
        self.weights_input = weights_input
        self.gate_order = tuple(gate_order)
        self.recipe = recipe
        self.register_module("squash", squash)
        self.register_module("input_transform", input_transform)
        self.training = weights_network.training
        ending = () if squash is None else squash.modules()
        for module in (gating_network, *self.gate_functions.modules(), *ending):
            module.training = self.training

    input_transform: InputTransform | None
    squash: fx.GraphModule | None

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A network that was pickled before networks had a part has none of it."""
        super().__setstate__(state)
        for name in ("input_transform", "squash"):
            self._modules.setdefault(name, None)

    @property
    def n_gates(self) -> int:
        """Number of gated layers (activation call sites)."""
        return len(self.gate_functions)

    @property
    def affine_layers(self) -> tuple[bool, ...]:
        """Whether the pre-activations of each gating layer are affine in the input.

        In a DLGN all are that no multiplier stands before (attention, squeeze-and-excitation,
        normalisation by statistics of the example).
        """
        if self.kind == "dlgn-sf":  # each reads the input directly
            return (True,) * self.n_gates
        return affine_layers(self.gating_network, self.n_gates)

    def forward(self, x: Tensor, *more: Tensor) -> Any:
        """What the model returned: logits under the gates of `x`, and its last squash if any."""
        logits = self.logits(x, *more)
        return logits if self.squash is None else self.squash(logits)

    def transformed(self, x: Tensor) -> Tensor:
        """What the two networks read: `x` after the input transform, if there is one."""
        return x if self.input_transform is None else self.input_transform(x)

    def without_input_transform(self) -> GatedNetwork:
        """The same network, sharing every module, for inputs that are transformed already.

        >>> from dualview.conversion.disentangling import disentangle
        >>> from dualview.conversion.input_transform import InputTransform
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> net = disentangle(model, "dnn", input_transform=InputTransform(0.5, 0.25))
        >>> x = torch.rand(3, 4)
        >>> torch.equal(net(x), net.without_input_transform()((x - 0.5) / 0.25))
        True
        """
        if self.input_transform is None:
            return self
        return self.with_parts(input_transform=None)

    def with_parts(self, **parts: nn.Module | None) -> GatedNetwork:
        """The same network with these modules in place of its own, sharing all others.

        Args:
            parts: by the names of attributes, such as `weights_network`; None: without it.

        >>> from dualview.conversion.disentangling import disentangle
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> net, other = (disentangle(model, "dlgn", seed=seed) for seed in (0, 1))
        >>> x = torch.rand(3, 4)
        >>> torch.equal(net.with_parts(weights_network=other.weights_network)(x), other(x))
        True
        """
        other = copy.copy(self)
        other._modules = {**self._modules, **parts}
        return other

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """As every module; a state that has an input transform brings it."""
        mean = state_dict.get(f"{prefix}input_transform.mean")
        if self.input_transform is None and isinstance(mean, Tensor):
            self.input_transform = blank_transform(self, tuple(mean.shape))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    @says_what_it_takes
    def logits(self, x: Tensor, *more: Tensor) -> Any:
        """The outputs of the weights network under the gates of `x`, before a last squash.

        Path kernels, paths and contributions are of these.
        """
        z = self.transformed(x)
        gates, switches = self._gates_and_switches(z, *more)
        return self.weights_network(z, *more, *gates, *switches)

    @says_what_it_takes
    def preactivations(self, x: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        """Pre-activations q_1 ... q_L of the gating network, each of its layer's shape."""
        return tuple(self.gating_network(self.transformed(x), *more)[: self.n_gates])

    @says_what_it_takes
    def gates(self, x: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        """Gates G_1 ... G_L as the weights network receives them (gate order applied)."""
        return self.gates_and_switches(x, *more)[0]

    @says_what_it_takes
    def gates_and_switches(
        self,
        x: Tensor,
        *more: Tensor,
        hard: bool = False,
        check: Callable[[Sequence[Tensor]], None] | None = None,
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """All that the weights network needs beside its input: gates, and what is replayed as is.

        That is max-pool switches, then the multipliers of LayerNorm and attention. `hard` takes
        1{q > 0} in place of the network's own gate functions. `check` is called with all that the
        gating network gives, since a gate of NaN may look like any other.

        Raises:
            GateOrderError: the gate order joins layers of different shapes.
            ExampleInputError: the network does not take `x`.
        """
        return self._gates_and_switches(self.transformed(x), *more, hard=hard, check=check)

    def _gates_and_switches(
        self,
        z: Tensor,
        *more: Tensor,
        hard: bool = False,
        check: Callable[[Sequence[Tensor]], None] | None = None,
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        values = self.gating_network(z, *more)
        if check is not None:
            check(values)
        n = self.n_gates
        functions = [HardGate()] * n if hard else self.gate_functions
        own = [function(q) for function, q in zip(functions, values[:n], strict=True)]
        for layer, source in enumerate(self.gate_order):
            if own[layer].shape != own[source].shape:
                raise shapes_differ(layer, source, own[layer].shape, own[source].shape)
        return tuple(own[source] for source in self.gate_order), tuple(values[n:])

    @takes(SavedNetworkError, folder=file_path, repo_id=optional(text_value), push_to_hub=flag)
    def save_pretrained(
        self,
        folder: str | Path,
        *,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        **push_options: Any,
    ) -> str | None:
        """Save the network to a folder, and on request to the Hugging Face hub (extra `hub`).

        Written are `config.json` (how the network was made), `model.safetensors` (parameters and
        buffers) and `README.md` (a model card; one that is there already stays). An earlier state
        of the same network is replaced, anything else refused.

        Args:
            folder: the folder, made where it is missing.
            repo_id: `organisation/name` on the hub. Default: the folder's name.
            push_to_hub: also upload.
            push_options: of `huggingface_hub.ModelHubMixin.push_to_hub`: `private`, `token`, ...

        Returns:
            The address of the upload, or None.

        Raises:
            SavedNetworkError: a gate or the network itself is not `disentangle`'s, a number is not
                finite, the folder holds something else, or the hub does not answer.
            MissingExtraError: the extra `hub` is not installed.

        >>> import tempfile
        >>> from dualview.architectures import fc
        >>> from dualview.conversion.disentangling import disentangle
        >>> net = disentangle(fc(3, (1, 2, 2), width=4, depth=3), "dlgn", seed=0).eval()
        >>> x = torch.randn(5, 1, 2, 2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net.save_pretrained(folder)
        ...     again = GatedNetwork.from_pretrained(folder)
        >>> torch.equal(again(x), net(x))
        True
        """
        from dualview.conversion.sharing.hub import save_shared

        return save_shared(self, folder, repo_id=repo_id, push_to_hub=push_to_hub, **push_options)

    @classmethod
    @takes(
        SavedNetworkError,
        name=file_path,
        model=optional(instance_of(nn.Module)),
        revision=optional(text_value),
        token=_token,
        cache_dir=optional(file_path),
        force_download=flag,
        local_files_only=flag,
    )
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        model: nn.Module | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
    ) -> GatedNetwork:
        """Load a network that `save_pretrained` saved (extra `hub`).

        Nothing in its files is run: this package's code, and `model` where one is passed, makes
        the network anew, and numbers are put in once everything was found to fit.

        Args:
            name: a folder, or `organisation/name` on the hub.
            model: what the network was made of, where that is no architecture of this package; its
                operations, options and shapes are compared, its parameters do not matter.
            revision: branch, tag or commit on the hub.
            token: for the hub; default: as the hub's library finds it.
            cache_dir: where the hub's library keeps downloads.
            force_download: download again what it has kept.
            local_files_only: use only what it has kept.

        Returns:
            The network in evaluation mode, on the CPU or where `model` is, all parameters with
            gradients as in a fresh one.

        Raises:
            SavedNetworkError: no such network; or one that is damaged, unfit, of another model, or
                needs a model; or the hub does not answer.
            MissingExtraError: the extra `hub` is not installed.

        >>> import tempfile
        >>> from dualview.conversion.disentangling import disentangle
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     disentangle(model, "dgn").save_pretrained(folder)
        ...     net = GatedNetwork.from_pretrained(folder, model=model)
        >>> net.kind
        'dgn'
        """
        from dualview.conversion.sharing.hub import load_shared

        return load_shared(
            name,
            model,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
        )

    def extra_repr(self) -> str:
        """What `print` shows of it."""
        text = f"kind={self.kind!r}, weights_input={self.weights_input!r}"
        if self.gate_order != tuple(range(self.n_gates)):
            text += f", gate_order={self.gate_order}"
        return text
