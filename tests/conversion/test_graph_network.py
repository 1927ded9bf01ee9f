"""Properties proved here.

1. Converting, copying, saving and recompiling networks leaves no source behind: the tables of
   torch.fx and linecache are what they were, once the networks are gone.
2. As long as a network lives its source can be read, also after an equal network has gone.
3. It is the graph module it stands for, by name and outcome; its copy too.
"""

import copy
import gc
import inspect
import io
import linecache

import pytest
import torch
from torch import fx, nn
from torch.fx import graph_module

import dualview as dv
from dualview.conversion.graph_network import GraphNetwork

MODEL = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def thrice(x):
    return 3 * x


def made():
    return GraphNetwork(nn.Module(), fx.Tracer().trace(thrice), class_name="Thrice")


def convert():
    dv.disentangle(MODEL, "dgn", example_input=torch.zeros(1, 4))


def convert_shallow():
    dv.disentangle(MODEL, "dlgn-sf", example_input=torch.zeros(1, 4))


def copied():
    copy.deepcopy(dv.disentangle(MODEL, "dlgn"))


def saved():
    torch.save(dv.disentangle(MODEL, "dnn"), io.BytesIO())


def recompiled():
    network = made()
    for _ in range(3):
        network.recompile()


def read_filters():
    net = dv.disentangle(MODEL, "dlgn")
    dv.primal_filters(net, 0)


def tables():
    """The names of sources in the two tables."""
    gc.collect()
    return {name for name in linecache.cache if "eval_with_key" in name}, set(
        graph_module._loader.eval_cache
    )


@pytest.fixture(scope="module", autouse=True)
def _only_what_is_new_is_collected():
    """A collection goes through all that lives, which takes long behind other tests."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize(
    "work", [convert, convert_shallow, copied, saved, recompiled, read_filters]
)
def test_nothing_is_left_behind(work):
    before = tables()
    work()
    after = tables()
    assert [new - old for new, old in zip(after, before, strict=True)] == [set(), set()]


def test_source_of_a_living_network():
    network, other = made(), made()
    del other
    gc.collect()
    assert "3 * x" in inspect.getsource(type(network).forward)


def test_it_is_its_graph_module():
    network = made()
    assert type(network).__name__ == "Thrice"
    for one in (network, copy.deepcopy(network)):
        assert isinstance(one, fx.GraphModule)
        assert torch.equal(one(torch.ones(2)), torch.full((2,), 3.0))
