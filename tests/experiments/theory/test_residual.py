"""Properties proved here: what is broken on purpose is found, for every number of skips.

1. An ensemble that forgets its largest network.
2. A weight that counts blocks without the first and the last, or takes another exponent.
3. A library that leaves a skip out of the kernel or scales the expected NTK.
"""

import pytest

from dualview.experiments.theory import closed_forms, residual
from dualview.experiments.theory.residual import BYPASSED
from tests.experiments.theory.checking import all_fail, tried

EVERY = [f"ensemble-{b}" for b in BYPASSED]


def test_forgotten_member(monkeypatch):
    own = closed_forms.ensemble
    monkeypatch.setattr(closed_forms, "ensemble", lambda blocks: own(blocks)[:-1] or own(blocks))
    assert all_fail(*EVERY[1:], "ensemble-signs")


@pytest.mark.parametrize(
    "layers",
    [lambda size, depth: max(size, 1) * depth, lambda size, depth: (size + 2) * depth + 1],
    ids=["without first and last", "one layer too many"],
)
def test_wrong_weights(monkeypatch, layers):
    def wrong(members, depth, variance):
        counts = [(layers(size, depth), kernel) for size, kernel in members]
        return sum(count * variance ** (count - 1) * kernel for count, kernel in counts)

    monkeypatch.setattr(closed_forms, "residual_ntk", wrong)
    assert all_fail(*EVERY, "ensemble-signs")
    assert tried(EVERY[2]).details == "E[NTK]"


def test_library_that_forgets_skips(monkeypatch):
    own = residual.npk
    monkeypatch.setattr(residual, "npk", lambda net, x, **o: own(net, x, **o) * 0.99)
    assert all_fail(*EVERY)
    assert tried(EVERY[2]).details == "NPK"
