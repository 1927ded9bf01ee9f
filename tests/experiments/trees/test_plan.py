"""What is planned; that it is measured, `test_registry` shows with every experiment."""

from dualview.experiments.experiment import Machine, Request
from dualview.experiments.trees.plan import CPU_PRESET, plan
from dualview.tabular.estimators import DLGNClassifier


def test_jobs(tmp_path):
    jobs = plan(Request(seeds=2, machine=Machine("cpu", threads=1)), None, tmp_path)
    assert [job.name for job in jobs] == [
        f"{columns}-columns-seed{seed}" for seed in (0, 1) for columns, _, _ in CPU_PRESET.sizes
    ]


def test_parameters_are_counted(tmp_path):
    (job, *_) = plan(Request(width=3, seeds=1), None, tmp_path)
    x = [[float(i + j) for j in range(20)] for i in range(9)]
    net = DLGNClassifier(width=3, depth=CPU_PRESET.depth, max_iter=1).fit(x, [0, 1, 0] * 3).net_
    assert job.parameters == sum(p.numel() for p in net.parameters())
