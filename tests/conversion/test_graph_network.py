"""Properties proved here.

1. Converting, copying, saving and recompiling networks leaves no source behind: the tables of
   torch.fx and linecache are what they were, once the networks are gone and another is compiled.
   Networks that are collected while linecache goes through its table do not disturb it.
2. As long as a network lives its source can be read, also after an equal network has gone.
3. It is the graph module it stands for, by name and outcome; its copy too.
4. A draft gives what its graph gives at each time, and its copy does; it compiles nothing.
5. What is left without the graph are the same tensors under the same names, in the same mode.
"""

import copy
import gc
import inspect
import io
import linecache
import operator
import os

import pytest
import torch
from torch import fx, nn
from torch.fx import graph_module

import dualview as dv
from dualview.conversion.graph_network import GraphDraft, GraphNetwork, without_graph
from dualview.conversion.tracing import named_tensors

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
    """The names of sources in the two tables, but for that of a network compiled just now."""
    gc.collect()
    own = made()
    source = type(own).forward.__code__.co_filename
    found = {name for name in linecache.cache if "eval_with_key" in name}
    return found - {source}, set(graph_module._loader.eval_cache) - {source}


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


def test_collected_while_linecache_looks(monkeypatch):
    linecache.getlines(__file__)
    networks = [made() for _ in range(3)]
    sources = [type(network).forward.__code__.co_filename for network in networks]
    assert set(sources) < set(linecache.cache)

    def stat(*place, found=os.stat, **options):
        networks.clear()
        gc.collect()
        return found(*place, **options)

    with monkeypatch.context() as patched:
        patched.setattr(linecache.os, "stat", stat)
        linecache.checkcache()
    assert not networks


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


def test_drafts(monkeypatch):
    monkeypatch.setattr(fx.Graph, "python_code", None)
    draft = GraphDraft(nn.Module(), fx.Tracer().trace(thrice))
    assert draft(torch.tensor(2.0)) == 6
    (product,) = draft.graph.find_nodes(op="call_function", target=operator.mul)
    with draft.graph.inserting_after(product):
        half = draft.graph.call_function(torch.div, (product, 2))
    product.replace_all_uses_with(half, delete_user_cb=lambda user: user is not half)
    draft.recompile()
    assert draft(torch.tensor(2.0)) == copy.deepcopy(draft)(torch.tensor(2.0)) == 3


def test_without_graph():
    network = fx.symbolic_trace(nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))).eval()
    network.register_buffer("own", torch.ones(1), persistent=False)
    alone = without_graph(network)
    assert not isinstance(alone, fx.GraphModule)
    assert not alone.training
    assert [(name, id(tensor)) for name, tensor in named_tensors(alone)] == [
        (name, id(tensor)) for name, tensor in named_tensors(network)
    ]
    assert alone.state_dict().keys() == network.state_dict().keys()
