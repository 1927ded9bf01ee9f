"""One block of a Gram matrix.

- The network of every architecture, frozen, comes back from a journey to another process with the
  same code, gates and kernel, to the last bit, though its author wrote annotations as text.
- Freezing changes nothing in the network it was given.
- The default block is a power of two, the smaller the longer a pair takes, and depends on shapes
  alone; the measured time is that of a pair.
- PyTorch's threads are one in a block, and what they were behind it, errors or not.
"""

import pickle

import pytest
import torch

import dualview as dv
from dualview.architectures import ARCHITECTURES
from dualview.path_kernel.gram import block as room
from dualview.path_kernel.gram.block import Job, default_block, frozen, measured_seconds, one_thread
from tests.cases import DLGN_ARCHITECTURES, small_architecture, small_input
from tests.path_kernel.gram.cases import dense

OPTIONS = {
    "normalise": True,
    "gates": "model",
    "batch_norm": "identity",
    "biases": False,
    "bias_variance": 1.0,
}
HARD = {**OPTIONS, "gates": "hard"}
BOTH = slice(0, 2)


def taken_apart(name, kind, x):
    model = small_architecture(name, batch_norm=name != "fc").eval()
    return dv.disentangle(model, kind, example_input=x[:1].double(), seed=0)


def meet_again(net):
    return pickle.loads(pickle.dumps(net))


@pytest.mark.parametrize("kind", ["dnn", "dlgn"])
@pytest.mark.parametrize("name", DLGN_ARCHITECTURES)
def test_networks_travel(name, kind):
    x = small_input(name, 2).float()
    net = frozen(taken_apart(name, kind, x), x)
    other = meet_again(net)
    for part in ("gating_network", "weights_network"):
        here, there = getattr(net, part), getattr(other, part)
        assert there.code == here.code
        assert [node.op for node in there.graph.nodes] == [node.op for node in here.graph.nodes]
    assert all(torch.equal(a, b) for a, b in zip(net.gates(x), other.gates(x), strict=True))
    grams = [Job(n, x, None, HARD).kernel(BOTH, BOTH) for n in (net, other)]
    assert torch.equal(*grams)


@pytest.mark.parametrize("name", ["c4gap", "vgg16", "resnet20"])
def test_networks_travel_for_the_torch_rules_too(name):
    x = small_input(name, 2)
    net = frozen(dv.disentangle(small_architecture(name).eval(), "dgn", max_pool="switch"), x)
    grams = [Job(n, x, None, OPTIONS).kernel(BOTH, BOTH) for n in (net, meet_again(net))]
    assert torch.equal(*grams)


def test_freezing_leaves_the_network_alone():
    x = small_input("resnet20", 1)
    net = taken_apart("resnet20", "dlgn", x).train()
    copy = frozen(net, x.float())
    assert all(module.training for module in net.modules())
    assert all(p.requires_grad and p.dtype == torch.float64 for p in net.parameters())
    assert not any(module.training for module in copy.modules())
    assert not any(p.requires_grad or p.dtype != torch.float32 for p in copy.parameters())


def job_of(name, size, n, options, **architecture):
    model = ARCHITECTURES[name](input_shape=(3, size, size), **architecture).eval()
    net = dv.disentangle(model, "dlgn", example_input=torch.zeros(1, 3, size, size), seed=0)
    return Job(net.eval(), torch.zeros(1, 3, size, size).expand(n, -1, -1, -1), None, options)


@pytest.mark.parametrize(
    ("name", "size", "options", "expected"),
    [
        ("fc", 8, HARD, 1024),
        ("fc", 8, OPTIONS, 1024),
        ("c4gap", 32, HARD, 64),  # about 8 s at full width
        ("c4gap", 32, OPTIONS, 16),
        ("resnet20", 32, HARD, 64),  # 2 s
        ("resnet20", 32, OPTIONS, 16),
        ("c4gap", 8, OPTIONS, 256),
    ],
)
def test_default_block_takes_seconds(name, size, options, expected):
    assert default_block(job_of(name, size, 10_000, options, width=4)) == expected


def test_default_block_leaves_work_for_all_workers():
    for n, expected in ((1, 16), (40, 16), (400, 64), (1000, 128), (10_000, 1024)):
        assert default_block(job_of("fc", 8, n, HARD, width=4)) == expected


def test_default_block_of_two_sets_looks_at_the_larger():
    job = job_of("fc", 8, 40, HARD, width=4)
    other = torch.zeros(1, 3, 8, 8).expand(1000, -1, -1, -1)
    assert default_block(Job(job.net, job.x, other, HARD)) == 128


def test_default_block_does_not_depend_on_a_clock(monkeypatch):
    job = job_of("c4gap", 8, 1000, OPTIONS, width=4)
    monkeypatch.setattr(room.time, "perf_counter", lambda: pytest.fail("looked at the clock"))
    assert default_block(job) == 128


def test_measured_time_is_that_of_a_pair(monkeypatch):
    """A kernel that takes 6 s, by a clock of our own, for 3 rows and 2 columns."""
    now = iter([100.0, 106.0])
    monkeypatch.setattr(room.time, "perf_counter", lambda: next(now))
    job = Job(frozen(dense(), torch.ones(1)), torch.randn(3, 6), torch.randn(2, 6), OPTIONS)
    assert measured_seconds(job) == 1.0


def test_a_block_runs_on_one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        with pytest.raises(ZeroDivisionError), one_thread():
            1 / 0
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_no_block_reads_beyond_its_own_examples():
    """Garbage in all other examples changes nothing."""
    net, x = frozen(dense(), torch.ones(1)), torch.randn(9, 6)
    garbled = torch.full_like(x, float("nan"))
    garbled[2:4], garbled[6:9] = x[2:4], x[6:9]
    blocks = [
        Job(net, data, None, OPTIONS).kernel(slice(2, 4), slice(6, 9)) for data in (x, garbled)
    ]
    assert torch.equal(*blocks)
