"""How a gated network was made.

- Every described gate is made again from its description, with every option.
- What has no description says so; unknown names and options make nothing.
- `disentangle` records what it was given: architecture, gate, max pool, example, seed.
"""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.architectures import c4gap
from dualview.conversion.gates import ParametricGate
from dualview.conversion.recipe import DESCRIBED_GATES, describe_gate, gate_from, gate_options
from dualview.errors import SavedNetworkError

OPTIONS = {"beta": 2.5, "eps": 0.1, "slope": 0.3, "approximate": "tanh"}


@pytest.mark.parametrize("name", DESCRIBED_GATES)
def test_gate_made_again(name):
    kind = DESCRIBED_GATES[name]
    options = {option: OPTIONS[option] for option in gate_options(kind)}
    gate = kind(**options)
    description = describe_gate(gate)
    assert description == {"name": name, **options}
    again, q = gate_from(description), torch.linspace(-3, 3, 9, dtype=torch.float64)
    assert type(again) is kind
    assert torch.equal(again(q), gate(q))


def test_own_gates():
    assert gate_from(describe_gate("own")) == "own"


def test_gates_without_description():
    class SoftGate(dv.SoftGate):
        pass

    assert describe_gate(SoftGate()) is None
    assert describe_gate(ParametricGate(nn.Parameter(torch.ones(1)))) is None


@pytest.mark.parametrize(
    "description",
    [
        {},
        {"name": None},
        {"name": ["HardGate"]},
        {"name": "os.system"},
        {"name": "ParametricGate"},
        {"name": "own", "beta": 1},
        {"name": "SoftGate"},
        {"name": "SoftGate", "beta": "1", "eps": 0},
        {"name": "SoftGate", "beta": -1.0, "eps": 0},
        {"name": "SoftGate", "beta": float("nan"), "eps": 0},
        {"name": "SoftGate", "beta": 10**400, "eps": 0},
        {"name": "GELUGate", "approximate": "no"},
        {"name": "HardGate", "__class__": 1},
    ],
)
def test_unknown_gates_are_refused(description):
    with pytest.raises(SavedNetworkError, match=r"^gate: "):
        gate_from(description)


def test_what_disentangle_records():
    model, x = c4gap(3, (2, 6, 6), width=4), torch.zeros(5, 2, 6, 6)
    recipe = dv.disentangle(model, "dgn", gate=dv.SoftGate(3), example_input=x, seed=7).recipe
    assert recipe.model == "Sequential"
    assert (recipe.architecture.name, recipe.architecture.options["width"]) == ("c4gap", 4)
    assert recipe.gate == {"name": "SoftGate", "beta": 3.0, "eps": 0.0}
    assert (recipe.max_pool, recipe.example_shape, recipe.seed) == ("switch", (2, 6, 6), 7)


def test_what_disentangle_records_by_default():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    recipe = dv.disentangle(model, "dnn").recipe
    assert (recipe.architecture, recipe.gate) == (None, {"name": "own"})
    assert (recipe.example_shape, recipe.seed) == (None, None)
    assert dv.disentangle(model, "dlgn").recipe.gate == describe_gate(dv.SoftGate())
