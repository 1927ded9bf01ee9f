"""Properties proved here.

1. FC and C4GAP on small data, C4GAP elsewhere, one of them where asked; kinds in order, seed by
   seed.
2. Residual networks, which have no shallow form, are refused when planned.
"""

from __future__ import annotations

import pytest

from dualview.errors import ConversionError
from dualview.experiments.experiment import Request
from dualview.experiments.shallow import plan as shallow
from dualview.experiments.shallow.plan import plan
from dualview.experiments.shallow.tables import COMPARED_KINDS
from tests.experiments.reproduced import few_digits

DATA = few_digits(20)


def _planned(tmp_path, **asked):
    jobs = plan(Request(width=4, seeds=1, **asked), DATA, tmp_path)
    return [(job.config["arch"], job.kind) for job in jobs]


def test_what_is_planned(tmp_path, monkeypatch):
    both = [(arch, kind) for arch in ("fc", "c4gap") for kind in COMPARED_KINDS]
    assert _planned(tmp_path) == both
    assert _planned(tmp_path, arch="fc", kinds=("dlgn-sf",)) == [("fc", "dlgn-sf")]
    assert _planned(tmp_path, preset="paper") == both[3:]
    monkeypatch.setattr(shallow, "is_small", lambda data: False)
    assert _planned(tmp_path) == both[3:]


def test_residual_networks_are_refused(tmp_path):
    with pytest.raises(ConversionError, match="Repair"):
        plan(Request(arch="resnet20", width=4), DATA, tmp_path)
