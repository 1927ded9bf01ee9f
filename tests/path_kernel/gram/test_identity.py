"""What a Gram matrix depends on.

- Everything that can change the kernel changes the identity: the gating network's parameters,
  buffers and code, gate functions, the structure of the weights network, its constants, its batch
  norm where that counts, the data.
- What cannot, does not: the weights that the kernel averages over, the network's mode, where the
  data lies in memory.
- Other versions of libraries are warned of.
"""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.path_kernel.gram.identity import differences, identity
from dualview.path_kernel.gram.store import GramStore
from dualview.path_kernel.kernel import npk
from tests.path_kernel.gram.cases import BLOCK, convolutional, dense, failing_write

X = torch.ones(3, 6)


def changes(net, other, x=X, x2=None, options=None, **data):
    """What differs between the identities of two networks, or of two data sets."""
    options = {"batch_norm": "identity"} if options is None else options
    before = identity(net, x, x2, options)
    return differences(before, identity(other, data.get("x_now", x), x2, options))


def test_the_same_has_one_identity():
    assert changes(dense(), dense()) == []
    assert changes(convolutional(), convolutional()) == []


@pytest.mark.parametrize("number", range(6))
def test_every_gating_parameter_counts(number):
    other = dense()
    parameters = list(other.gating_network.parameters())
    assert len(parameters) == 4  # of two layers
    parameters[number % 4].data.view(-1)[-1] += 1e-6
    assert changes(dense(), other) == ["another gating network"]


def test_statistics_of_the_gating_batch_norm_count():
    other = convolutional()
    (norm,) = (m for m in other.gating_network.modules() if isinstance(m, nn.BatchNorm2d))
    norm.running_mean += 1e-3
    assert changes(convolutional(), other) == ["another gating network"]


def test_gate_functions_count():
    other = dense(gate=dv.SoftGate(4.5))
    assert changes(dense(gate=dv.SoftGate(4.0)), other) == ["another gates"]


@pytest.mark.parametrize("batch_norm", ["identity", "scale"])
def test_averaged_weights_do_not_count(batch_norm):
    """Neither here nor in the kernel; batch norm does in both where its scale is asked for."""
    net, other, x = convolutional(), convolutional(), torch.randn(3, 2, 4, 4)
    for module in other.weights_network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight)
    assert changes(net, other, options={"batch_norm": batch_norm}) == []
    assert torch.equal(*(npk(n, x, batch_norm=batch_norm) for n in (net, other)))
    (norm,) = (m for m in other.weights_network.modules() if isinstance(m, nn.BatchNorm2d))
    norm.weight.data += 0.5
    counts = batch_norm == "scale"
    expected = ["another weights network"] if counts else []
    assert changes(net, other, options={"batch_norm": batch_norm}) == expected
    assert torch.equal(*(npk(n, x, batch_norm=batch_norm) for n in (net, other))) is not counts


def test_structure_of_the_weights_network_counts():
    def net(padding_mode="zeros", stride=1, width=4, times=1.0):
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.first = nn.Conv2d(2, 4, 3, padding=1, padding_mode=padding_mode, stride=stride)
                self.second = nn.Conv2d(4, width, 1)
                self.register_buffer("times", torch.tensor(times), persistent=False)

            def forward(self, x):
                x = self.second(torch.relu(self.first(x))) * self.times
                return torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1)

        torch.manual_seed(0)
        return dv.disentangle(Model(), "dgn", seed=0)

    for other in ({"padding_mode": "circular"}, {"stride": 2}, {"width": 5}, {"times": 2.0}):
        assert "another weights network" in changes(net(), net(**other)), other


def test_mode_and_memory_do_not_count():
    assert changes(dense().train(), dense().eval()) == []
    strided = torch.ones(6, 3).T
    assert not strided.is_contiguous()
    assert changes(dense(), dense(), x_now=strided) == []


def test_data_count():
    for now in (X.double(), X.view(3, 2, 3), torch.nextafter(X, X + 1)):
        assert changes(dense(), dense(), x_now=now) == ["another data x"]
    assert changes(dense(), dense(), x_now=torch.cat([X, X])) == [
        "another data x",
        "3 x 3 examples, not 6 x 6",
    ]


@pytest.mark.parametrize("shape", [None, "3", [3], {"n": 3}])
def test_a_damaged_shape_differs(shape):
    found = identity(dense(), X, None, {})
    assert len(differences({**found, "shape": shape}, found)) == 1
    del found["shape"]
    assert len(differences(found, identity(dense(), X, None, {}))) == 1


def test_other_versions_are_warned_of(tmp_path, monkeypatch):
    x, out = torch.randn(11, 6), tmp_path / "gram.zarr"
    monkeypatch.setattr(GramStore, "write", failing_write(KeyboardInterrupt(), 2))
    with pytest.raises(KeyboardInterrupt):
        dv.npk_gram(dense(), x, out, block=BLOCK, workers=1)
    monkeypatch.undo()
    monkeypatch.setattr("dualview.path_kernel.gram.identity.version", lambda name: "0.0")
    with pytest.warns(dv.DualviewWarning, match=r"torch 2.* then, 0.0 now"):
        gram = dv.npk_gram(dense(), x, out, block=BLOCK)[:]
    torch.testing.assert_close(torch.from_numpy(gram), dv.npk(dense(), x))
