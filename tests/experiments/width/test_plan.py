"""What is planned; that it is trained and measured, `test_registry` shows with every experiment."""

import torch

from dualview.conversion.gates import HardGate
from dualview.experiments.experiment import Machine, Request
from dualview.experiments.width import plan as width
from dualview.training.feeding import transform_of
from tests.experiments.reproduced import few_digits


def test_networks(tmp_path):
    data = few_digits(20)
    request = Request(width=4, seeds=2, machine=Machine("cpu", threads=1))
    jobs = width.plan(request, data, tmp_path)
    planned = [(job.config["arch"], job.config["width"], job.seed) for job in jobs]
    assert planned == [
        (arch, 4 * times, seed)
        for arch in ("fc", "c4gap")
        for times in width.TIMES
        for seed in (0, 1)
    ]
    assert len({job.folder for job in jobs}) == len(jobs)
    assert [job.config["epochs"] for job in jobs[:: 2 * len(width.TIMES)]] == [20, 10]


def test_gates_are_hard_fixed_and_see_pixels(tmp_path):
    data = few_digits(20)
    request = Request(arch="fc", width=4, seeds=1, machine=Machine("cpu", threads=1))
    settings = width.setting(width.NAME, "fc", request, data).comparison
    net, again = (width._frozen(settings, data, 3) for _ in range(2))
    assert all(isinstance(gate, HardGate) for gate in net.gate_functions)
    assert not any(p.requires_grad for p in net.gating_network.parameters())
    assert net.input_transform.mean == transform_of(data).mean
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(net(x), again(x))
