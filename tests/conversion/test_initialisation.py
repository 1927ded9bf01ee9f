"""Fresh parameters.

- A seed gives the same parameters twice, others for another purpose, and never those that
  `torch.manual_seed` with the same number gives.
- PyTorch's global random state is left as it was.
- Parameters that no module knows how to draw are refused.
"""

import pytest
import torch
from torch import nn

from dualview.conversion.initialisation import derived_seed, redraw
from dualview.errors import ConversionError


def drawn(seed):
    layer = nn.Linear(3, 3)
    redraw(layer, None, seed)
    return layer.weight.detach().clone()


def test_same_seed_same_parameters():
    assert torch.equal(drawn(5), drawn(5))
    assert not torch.equal(drawn(5), drawn(6))


def test_purposes_and_global_seed_are_apart():
    seeds = {derived_seed(s, p) for s in range(100) for p in ("gating", "weights")}
    assert len(seeds) == 200
    assert not seeds & set(range(100))


def test_no_seed_follows_the_global_state():
    torch.manual_seed(3)
    first = derived_seed(None, "weights")
    torch.manual_seed(3)
    assert derived_seed(None, "weights") == first
    assert derived_seed(None, "weights") != first


def test_global_state_is_left_alone():
    layer = nn.Linear(3, 3)
    state = torch.get_rng_state()
    redraw(layer, None, 1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("seed", [-1, 0.5, "0", True])
def test_wrong_seed_is_refused(seed):
    with pytest.raises(ConversionError, match="whole number"):
        derived_seed(seed, "weights")


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))


def test_orphan_parameter_is_refused_and_named():
    with pytest.raises(ConversionError, match=r"'1' \(Bare\) holds the parameter 'scale'"):
        redraw(nn.Sequential(nn.Linear(2, 2), Bare()), None, 0)


def test_own_initialiser():
    model = Bare()
    redraw(model, lambda m: nn.init.constant_(m.scale, 3.0), 0)
    assert model.scale.tolist() == [3, 3]


def test_outer_reset_parameters_has_the_last_word():
    class Owner(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 2)

        def reset_parameters(self):
            nn.init.constant_(self.fc.weight, 7.0)

    model = Owner()
    redraw(nn.Sequential(model), None, 1)
    assert (model.fc.weight == 7).all()


def test_parameters_left_as_they_were_are_refused():
    class OwnOnly(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.arange(3.0))

        def reset_parameters(self):
            pass

    with pytest.raises(ConversionError, match=r"'scale' came out .* as it went in"):
        redraw(OwnOnly(), None, 0)
    with pytest.raises(ConversionError, match=r"'weight' came out"):
        redraw(nn.Linear(2, 2), lambda module: None, 0)


def test_inner_modules_are_drawn_also_where_an_outer_one_resets_only_its_own():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 2)
            self.scale = nn.Parameter(torch.ones(2))

        def reset_parameters(self):
            nn.init.ones_(self.scale)

    model = Scaled()
    before = model.fc.weight.detach().clone()
    redraw(model, None, 1)
    assert not torch.equal(model.fc.weight, before)


def test_reset_parameters_that_needs_arguments_is_refused():
    class Odd(nn.Module):
        def reset_parameters(self, gain):
            pass

    with pytest.raises(ConversionError, match=r"module 'x\.0' \(Odd\): reset_parameters"):
        redraw(nn.ModuleDict({"x": nn.Sequential(Odd())}), None, 0)
