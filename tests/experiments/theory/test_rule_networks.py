"""The networks in which rules are tried: each converts, is tiny, and needs no other data.

That the kernels agree in them is proved in `test_graph_rules`.
"""

import pytest
import torch

from dualview.experiments.theory.models import taken_apart
from dualview.experiments.theory.rule_networks import TRIED_RULES

pytestmark = pytest.mark.filterwarnings("ignore::dualview.DualviewWarning")


def test_names_and_titles():
    assert len({rule.name for rule in TRIED_RULES}) == len(TRIED_RULES)
    assert max(len(rule.title) for rule in TRIED_RULES) <= 39


@pytest.mark.parametrize("rule", TRIED_RULES, ids=lambda rule: rule.name)
def test_each_network_converts(rule):
    for factory in rule.models.values():
        net = taken_apart(factory(), **{"kind": "dlgn", **rule.converted}).double().eval()
        out = net(torch.randn(2, *rule.shape, dtype=torch.float64))
        assert out.shape[0] == 2
        assert out.isfinite().all()
        assert sum(p.numel() for p in net.weights_network.parameters()) < 2000
