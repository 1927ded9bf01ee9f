"""Properties proved here.

1. A copy has the module's state, mode and outputs and shares no module, tensor or table of hooks
   with it; what is one in the module is one in the copy, and hooks are carried over.
2. What is to be shared is shared, and a module's own `__deepcopy__` is used.
"""

from __future__ import annotations

import copy
from collections import OrderedDict

import pytest
import torch
from torch import fx, nn

from dualview.conversion.copying import copied

X = torch.tensor([[1.0, -2.0]])


def plain():
    first = nn.Linear(2, 2)
    return nn.Sequential(first, nn.BatchNorm1d(2), nn.ReLU(), first).eval()


def hooked():
    model = plain()
    model[2].register_forward_hook(lambda module, inputs, output: 3 * output)
    return model


def of_one_table():
    model = plain()
    model.own = model[0].own = OrderedDict()
    return model


@pytest.mark.parametrize("make", [plain, hooked, of_one_table, lambda: fx.symbolic_trace(plain())])
def test_as_deepcopy(make):
    model = make()
    own = copied(model)
    assert torch.equal(own(X), model(X))
    assert [name for name, _ in own.named_modules()] == [name for name, _ in model.named_modules()]
    assert [part.training for part in own.modules()] == [p.training for p in model.modules()]
    state = own.state_dict()
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())

    def held(module):
        parts = list(module.modules())
        tables = [v for p in parts for v in vars(p).values() if isinstance(v, dict)]
        return {id(one) for one in (*parts, *module.parameters(), *module.buffers(), *tables)}

    assert not held(own) & held(model)
    assert len(held(own)) == len(held(copy.deepcopy(model)))


def test_what_is_shared():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    own = copied(model, {id(model[0].weight): model[0].weight})
    assert own[0].weight is model[0].weight
    assert own[0].bias is not model[0].bias


def test_its_own_deepcopy():
    class Own(nn.Module):
        def __deepcopy__(self, memo):
            return nn.Identity()

    assert isinstance(copied(Own()), nn.Identity)
    assert isinstance(copied(nn.Sequential(Own()))[0], nn.Identity)
