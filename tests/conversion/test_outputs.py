"""Which output is meant: by name of a mapping, a data class or a named tuple, or by number.

What is not there is refused, with the names that are.
"""

import collections
import dataclasses

import pytest
import torch
from torch import fx, nn

from dualview.conversion.outputs import select_output, selected
from dualview.errors import ConversionError


@dataclasses.dataclass
class Given:
    logits: int
    loss: int

    @property
    def hidden(self):
        raise AssertionError("attributes that are no outputs are never read")


Named = collections.namedtuple("Named", ["logits", "loss"])


@pytest.mark.parametrize(
    ("value", "output"),
    [
        ({"logits": 1, "loss": 2}, "logits"),
        (Given(1, 2), "logits"),
        (Named(1, 2), "logits"),
        (Named(2, 1), 1),
        ((2, 1), 1),
        ([1], 0),
    ],
)
def test_selected(value, output):
    assert selected(value, output) == 1


@pytest.mark.parametrize(
    ("value", "output", "said"),
    [
        ({"logits": 1}, "loss", "'logits', got 'loss'"),
        ({"logits": 1}, 0, "'logits', got 0"),
        (Given(1, 2), "hidden", "got 'hidden'"),
        (Named(1, 2), "count", "'logits', 'loss', got 'count'"),
        ((1, 2), 2, "0, 1, got 2"),
        ((1, 2), -1, "0, 1, got -1"),
        (1, 0, "leave it out, since the model gives one tensor"),
    ],
)
def test_not_there(value, output, said):
    with pytest.raises(ConversionError, match=said):
        selected(value, output)


class Two(nn.Module):
    def forward(self, x):
        return {"double": 2 * x, "triple": 3 * x}


def test_the_graph_gives_it_alone():
    module = fx.symbolic_trace(Two())
    select_output(module, "triple")
    module.recompile()
    assert module(torch.tensor(1.0)) == 3
    assert len(module.graph.nodes) == 3, "what no output needs is gone"
