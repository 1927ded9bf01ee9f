"""Can numbers computed with a network be right? One check, with one message, for all that compute.

A gate of NaN is 0 and looks like one that is off: without these checks a network that diverged, an
example that overflows, or a batch norm that couples the examples would give numbers of no meaning.
Examples are on axis 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from dualview.conversion.operations import BATCH_NORM_MODULES
from dualview.errors import DualviewError

Refusal = type[DualviewError]


def check_network(network: nn.Module, error: Refusal, *, statistics: bool = True) -> None:
    """Refuse a network that gives no example a number of its own.

    Args:
        network: a gated network, or a part of one.
        error: what to raise.
        statistics: its batch norms are used.

    Raises:
        DualviewError: of the class given; a parameter, or a statistic of batch norm, is NaN or
            infinite, a buffer is NaN (infinite ones may be masks), or a batch norm keeps no running
            statistics, so that it couples the examples in evaluation mode too.

    >>> layer = nn.Linear(1, 1)
    >>> _ = nn.init.constant_(layer.weight, float("nan"))
    >>> check_network(layer, DualviewError)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    dualview.errors.DualviewError: parameter 'weight': expected finite numbers, got nan at (0, 0)...
    """
    for what, name, tensor, infinite in _tensors(network):
        if tensor.sum().isfinite():  # NaN and infinity stay in a sum, which is read in one go
            continue
        wrong = tensor.isnan() if infinite else ~tensor.isfinite()
        if wrong.any():
            at = tuple(wrong.nonzero()[0].tolist())
            raise error(
                f"{what} '{name}': expected finite numbers, got {float(tensor[at])} at {at}. "
                f"Repair: load a checkpoint from before training diverged"
            )
    for name, module in network.named_modules() if statistics else ():
        if isinstance(module, BATCH_NORM_MODULES) and module.running_var is None:
            raise error(
                f"batch norm '{name}': its statistics are those of the batch, also in evaluation "
                f"mode, so no example has gates of its own. Repair: track_running_stats=True, and "
                f"statistics of the training examples"
            )


def _tensors(network: nn.Module) -> Iterator[tuple[str, str, Tensor, bool]]:
    """Kind, name, tensor, and whether it may hold infinities."""
    for name, parameter in network.named_parameters():
        if parameter.is_floating_point() and not parameter.is_meta:
            yield "parameter", name, parameter.detach(), False
    for name, buffer in network.named_buffers():
        if buffer.is_floating_point() and not buffer.is_meta:
            yield "buffer", name, buffer, not name.endswith(("running_mean", "running_var"))


def check_preactivations(
    name: str, values: Sequence[Tensor], error: Refusal, numbers: Sequence[int] | None = None
) -> None:
    """Refuse examples for which what the gating network computes (n, ...) is not finite.

    `numbers`: of the examples, where they are not 0, 1, ...

    Raises:
        DualviewError: of the class given; the message names the first, and which of the values.
    """
    for layer, q in enumerate(values):
        row = first_wrong(q) if q.is_floating_point() else None
        if row is not None:
            raise error(
                f"{name}: expected finite pre-activations, got NaN or inf in number {layer} of "
                f"{len(values)} for row {row if numbers is None else numbers[row]}: its values are "
                f"too large for {str(q.dtype).removeprefix('torch.')}. "
                f"Repair: examples normalised as for training"
                + ("" if q.dtype == torch.float64 else ", or net.double() and x.double()")
            )


def preactivation_check(
    name: str, error: Refusal, numbers: Sequence[int] | None = None
) -> Callable[[Sequence[Tensor]], None]:
    """`check_preactivations` of examples whose pre-activations are yet to be computed."""
    return lambda values: check_preactivations(name, values, error, numbers)


def first_wrong(x: Tensor) -> int | None:
    """The first row of x (n, ...) with a number that is not finite, if there is one."""
    if x.sum().isfinite() or x.isfinite().all():  # NaN and infinity stay in a sum
        return None
    return int((~x.flatten(1).isfinite().all(1)).nonzero()[0, 0])
