"""Programs of whole networks: every step's value is the network's, and a difference is refused."""

import pytest
import torch

from dualview.errors import UnsupportedOperationError
from dualview.path_attribution import program as rooms
from dualview.path_attribution.example import one_example
from dualview.path_attribution.program import program_of
from dualview.path_attribution.steps import Input
from tests.cases import DLGN_CASES, small_architecture, small_input
from tests.path_enumeration.models import gated


@pytest.mark.parametrize("options", [{"kind": "dnn"}, {"kind": "dlgn", "weights_input": "ones"}])
@pytest.mark.parametrize(("name", "batch_norm"), DLGN_CASES)
def test_values_of_every_architecture(name, batch_norm, options):
    net = gated(small_architecture(name, batch_norm), **options)
    x = small_input(name, 1)
    program, output = program_of(one_example(net, x))
    with torch.no_grad():
        expected = net(x)
    got = torch.from_numpy(output).reshape(program.shape)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)
    (start,) = [step for step in program.steps if isinstance(step, Input)]
    assert bool((start.values == 1).all()) == ("weights_input" in options)


def test_a_difference_is_refused_where_it_begins(monkeypatch):
    plain = rooms.each_total

    def wrong(program, view):
        for step, value in enumerate(plain(program, view)):
            value[0] += 1e-3 * (step == 3)
            yield value

    monkeypatch.setattr(rooms, "each_total", wrong)
    net = gated(small_architecture("fc"), "dlgn")
    with pytest.raises(UnsupportedOperationError, match=r"apply_gate.*not what its rule says"):
        program_of(one_example(net, small_input("fc", 1)))
