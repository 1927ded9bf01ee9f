"""The recorder.

- Nothing outside the model's copy is patched, neither while a model is traced nor afterwards.
- Conversions in many threads give what they give one after the other, while other threads call
  and train modules of their own, to the same numbers as alone.
- Inside a trace of torch.fx, or inside a forward that is being converted, it works or is refused.
- `math` on sizes, and what `torch.fx.wrap` names, are recorded and put back.
"""

import math
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import fx, nn
from torch.fx import _symbolic_trace

import dualview as dv
from dualview.conversion.tracing import trace
from dualview.errors import TracingError

N = 50


def model(k):
    torch.manual_seed(k)
    width = 2 + k % 3
    return nn.Sequential(
        *(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(9 * width, 5), nn.ReLU(), nn.Linear(5, 3)),
    )


def convert(original, k):
    return dv.disentangle(original, ("dnn", "dgn", "dlgn")[k % 3], seed=k).eval()


def losses(steps, stop):
    """Of another model, trained by this thread for `steps` steps, and on until `stop` is set."""
    numbers = torch.Generator().manual_seed(5)
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.0), nn.Linear(8, 1))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=numbers))
    optimiser = torch.optim.SGD(net.parameters(), 0.1)
    found = []
    while len(found) < steps or not stop.is_set():
        x = torch.randn(16, 3, generator=numbers)
        loss = (net(x) - x.sum(1, keepdim=True)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(loss.item())
    return found


def test_conversions_in_threads_while_another_thread_trains():
    models = [model(k) for k in range(N)]
    x = torch.randn(4, 1, 8, 8)
    alone = [convert(m, k)(x) for k, m in enumerate(models)]
    done = threading.Event()
    done.set()
    trained_alone = losses(100, done)
    interval, stop = sys.getswitchinterval(), threading.Event()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(17) as pool:
            other = pool.submit(losses, 100, stop)
            together = list(pool.map(convert, models, range(N)))
            stop.set()
            assert other.result()[:100] == trained_alone
    finally:
        stop.set()
        sys.setswitchinterval(interval)
    assert all(torch.equal(net(x), y) for net, y in zip(together, alone, strict=True))


def test_nothing_is_patched_while_a_model_is_traced():
    seen = []

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            seen.append((nn.Module.__call__, nn.Module.__getattr__, math.sqrt))
            return torch.relu(self.fc(x)) * nn.Identity()(3)

    before = (nn.Module.__call__, nn.Module.__getattr__, math.sqrt)
    trace(Model())
    assert seen
    assert set(seen) == {before}
    assert (nn.Module.__call__, nn.Module.__getattr__, math.sqrt) == before


def test_the_models_copy_is_an_ordinary_module_afterwards():
    traced = trace(model(0))
    for part in traced.module.modules():
        assert type(part._parameters) is dict
        assert "_compiled_call_impl" not in vars(part)


def outcome_of_tracing(root):
    try:
        return fx.symbolic_trace(root)
    except TracingError as error:
        return str(error)


def test_inside_a_trace_of_torch_fx_it_is_refused():
    found = outcome_of_tracing(lambda x: dv.disentangle(model(0), "dnn") and x)
    assert "torch.fx is tracing in this process" in found
    assert nn.Linear(2, 2)(torch.zeros(1, 2)).shape == (1, 2)


def test_inside_an_ordinary_forward_it_works():
    class Model(nn.Module):
        def forward(self, x):
            return convert(model(1), 0)(x)

    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(Model()(x), model(1).eval()(x))


def test_of_a_part_of_what_is_being_converted_it_is_refused():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return torch.relu(dv.disentangle(self.fc, "dnn")(x))

    with pytest.raises(TracingError, match="is being converted"):
        trace(Model())


def half(n):
    return n // 2 if n > 1 else n  # decides by a size, so that torch.fx cannot look into it


class Sizes(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.fc, self.function = nn.Linear(4, 4), function

    def forward(self, x):
        return torch.relu(self.fc(x) / self.function(x.size(-1)))


@pytest.mark.parametrize("function", [math.sqrt, lambda n: math.sqrt(n), lambda n: half(n)])
def test_functions_of_sizes(function, monkeypatch):
    monkeypatch.setitem(_symbolic_trace._wrapped_fns_to_patch, (id(globals()), "half"), globals())
    net = Sizes(function).double()
    if function is math.sqrt:  # held by the instance, where no name of it can be replaced
        with pytest.raises(TracingError, match=r"takes float\(\) of a value or size"):
            trace(net)
        return
    before = (math.sqrt, half)
    x = torch.randn(3, 4, dtype=torch.float64)
    assert torch.equal(trace(net).module(x), net(x))
    assert (math.sqrt, half) == before
