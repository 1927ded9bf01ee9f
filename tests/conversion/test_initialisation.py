"""Fresh parameters.

- A seed gives the same parameters twice, others for another purpose, and never those that
  `torch.manual_seed` with the same number gives.
- PyTorch's global random state is left as it was.
- Parameters that no module knows how to draw are refused.
"""

import copy

import pytest
import torch
from torch import nn

from dualview.conversion.disentangling import disentangle
from dualview.conversion.initialisation import derived_seed, redraw, seeded
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
        disentangle(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), seed=seed)


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


def everything_random():
    w = torch.empty(7, 5)
    with torch.no_grad():
        return [
            *(nn.init.kaiming_uniform_(w.clone(), a=2), nn.init.normal_(w.clone())),
            *(nn.init.orthogonal_(w.clone()), nn.init.trunc_normal_(w.clone())),
            *(nn.init.sparse_(w.clone(), 0.3), nn.Linear(3, 4).weight, torch.rand(3)),
            *(torch.randn(3, dtype=torch.float64), torch.randperm(9), torch.randint(5, (4,))),
            *(torch.randint(2, 9, (4,)), torch.rand_like(w), torch.randn_like(w)),
            *(torch.randint_like(w, 9), torch.bernoulli(torch.full((9,), 0.5))),
            *(torch.normal(0.0, 1.0, (3,)), torch.normal(torch.zeros(3), torch.ones(3))),
            *(torch.multinomial(torch.ones(5), 3), torch.dropout(torch.ones(9), 0.5, True)),
            *(w.clone().exponential_(), w.clone().random_(10), torch.poisson(torch.ones(4))),
        ]


def test_what_is_drawn_is_what_manual_seed_gives_and_the_global_state_stays():
    torch.manual_seed(11)
    wanted = everything_random()
    before = torch.get_rng_state()
    with seeded(11):
        got = everything_random()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))


def test_a_generator_that_is_given_is_used():
    numbers = (torch.Generator().manual_seed(3) for _ in range(2))
    with seeded(11):
        inside = torch.rand(3, generator=next(numbers))
    assert torch.equal(inside, torch.rand(3, generator=next(numbers)))


def test_what_has_no_values_is_refused():
    with pytest.raises(ConversionError, match=r"'weight' has no values.*Repair: model.to_empty"):
        redraw(nn.Linear(2, 2, device="meta"), None, 0)


def test_a_model_that_draws_its_modules_one_by_one():
    """As the models of Hugging Face's transformers do."""

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.randn(3))

        def forward(self, x):
            return x * self.factor

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.scaled = nn.Linear(2, 3), Scaled()

        def _init_weights(self, module):
            if isinstance(module, Scaled):
                nn.init.normal_(module.factor, std=7.0)

        def forward(self, x):
            return self.scaled(torch.relu(self.a(x)))

    model = Model()
    before = copy.deepcopy(model.state_dict())
    redraw(model, None, 3)
    for name, value in model.state_dict().items():
        assert not torch.equal(value, before[name])
    assert model.scaled.factor.abs().max() > 3
