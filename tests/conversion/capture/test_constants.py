"""What a forward computes anew at each call though no input changes it.

- A mask that is filled in place, as Swin's is, is a constant; what was read before a change stays.
- Fresh tensors of every kind are, beside the number of examples; what the input is written into is
  none.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.conversion.capture.constants import constants_of
from dualview.errors import ConversionError
from tests.conversion.capture.test_programs import Checked

D = torch.float64


def windows_shifted(m, h):
    """A mask of windows, filled in place as Swin's is, for scores between places."""
    regions = h.new_zeros((4, 4))
    for number, rows in enumerate((slice(0, -2), slice(-2, None))):
        for columns in (slice(0, -1), slice(-1, None)):
            regions[rows, columns] = float(number) + (columns.start or 0)
    flat = regions.view(1, 16)
    mask = (flat.unsqueeze(1) - flat.unsqueeze(2)).masked_fill(flat.unsqueeze(1) != 0, -9.0)
    tokens = h.flatten(2).transpose(1, 2)
    scores = torch.softmax(tokens @ tokens.transpose(1, 2) + mask, -1)
    regions.fill_(2.0)  # what was read before stays as it was
    return torch.relu(m.norm(scores @ tokens) * regions[0, :1]).transpose(1, 2)


def written_over(m, h):
    """A fresh tensor that values of the input are written into is no constant."""
    fresh = h.new_zeros((4,))
    part = fresh[1:]
    part += 3.0
    fresh.mul_(h.mean((0, 2, 3)))
    return torch.relu(h.mean((2, 3)) + fresh + part.sum())


def test_what_no_input_changes_is_a_constant():
    torch.manual_seed(0)
    model = Checked(windows_shifted, norm=nn.LayerNorm(4)).to(D).eval()
    x = torch.randn(5, 3, 4, 4, dtype=D)
    net = dv.disentangle(model, "dnn", example_input=x[:2])
    torch.testing.assert_close(net(x), model(x), rtol=1e-12, atol=1e-12)
    with pytest.raises(ConversionError, match=r"in place|examples"):
        dv.disentangle(Checked(written_over).to(D).eval(), "dnn", example_input=x[:2])


class Remembering(nn.Module):
    """It holds what it once computed of a parameter, as LeViT its attention biases."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(4))
        self.remembered = [self.table[[1, 0, 3, 2]]]

    def forward(self, x):
        return torch.relu(x + self.remembered[0])


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # by torch.export itself
def test_what_is_remembered_has_no_history():
    model = Remembering()
    dims = ({0: torch.export.Dim.DYNAMIC},)
    with torch.enable_grad():
        program = torch.export.export(model, (torch.zeros(3, 4),), dynamic_shapes=dims)
        constants, _ = constants_of(program)
    kept = [value for value in constants.values() if isinstance(value, torch.Tensor)]
    assert any(torch.equal(value, model.remembered[0]) for value in kept)
    assert not any(value.requires_grad for value in kept)


class Fresh(nn.Module):
    def forward(self, x):
        full = torch.full((2, 2), 3.0) + torch.ones(2, 2) + x.new_full((2, 2), 2.0)
        like = torch.zeros_like(full).add_(torch.arange(2.0)).mul(torch.arange(0, 4, 2))
        return x + full + like, torch.ones(x.size(0), 2) + torch.rand(2)


def test_fresh_tensors_are_constants():
    dims = ({0: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(Fresh(), (torch.zeros(3, 2, 2),), dynamic_shapes=dims)
    constants, computed = constants_of(program)
    read = [value for value in constants.values() if value.shape == (2, 2)]
    expected = torch.full((2, 2), 6.0), torch.tensor([[0.0, 2.0], [0.0, 2.0]])
    for value in expected:
        assert any(torch.equal(value, other) for other in read)
    left = {str(node.target) for node in program.graph.nodes if node not in computed}
    assert "aten.rand.default" in left
    assert "aten.ones.default" in left  # one for each example
    assert "aten.full.default" not in left
