"""Does a network take these examples? Tried on two copies of the first one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dualview.conversion.modes import evaluation_mode
from dualview.errors import DualviewError, ExampleInputError

REFUSALS = (RuntimeError, ValueError, IndexError, TypeError, AssertionError)
"""What layers raise of a tensor whose shape, type or device they do not take. Anything else, such
as an AttributeError, is a fault of the network's own code, which is not to be blamed on the data.
"""


def outputs_of_two(net: nn.Module, x: Tensor) -> Any:
    """What the network makes of two copies of the first example of `x`, in evaluation mode.

    Two, since `squeeze` in a network would drop the axis of a batch of one.

    Raises:
        ExampleInputError: a layer does not take them, in that layer's words.
        DualviewError: the network's own.
    """
    try:
        with evaluation_mode(net), torch.no_grad():
            return net(torch.cat([x[:1], x[:1]]))  # a view needs memory of its own
    except (DualviewError, torch.OutOfMemoryError):
        raise  # they are RuntimeErrors and ValueErrors too, and say better what is wrong
    except REFUSALS as error:
        raise ExampleInputError(str(error)) from error
