"""What is proved of `tabular/readings.py`.

- Hyperplanes are the network's pre-activations, in units of the data; also as a table and in words.
- Parts of columns are those of `input_contributions`, parts of gates those of `layer_contributions`
  (other code), to 1e-10.
- Local maps are the network's derivative with gates held: a difference quotient inside a region.
"""

import numpy as np
import pytest
import torch

import dualview as dv
from dualview.errors import TableError
from dualview.tabular.readings import column_parts, gate_parts, hyperplanes_of, local_maps
from tests.tabular.tables import classes_table, classifier, numbers_table, regressor


def fitted(kind="dlgn", gates="hard", weights_input="data"):
    return classifier(kind=kind, gates=gates, weights_input=weights_input).fit(*classes_table())


@pytest.mark.parametrize("kind", ["dlgn", "dlgn-sf"])
def test_hyperplanes(kind):
    net, x = fitted(kind).net_, classes_table(seed=1)[0]
    planes = hyperplanes_of(net, list("abcd"))
    assert (len(planes), planes.columns) == (12, tuple("abcd"))
    with torch.no_grad():
        wanted = torch.cat(net.preactivations(torch.from_numpy(x)), dim=1)
    np.testing.assert_allclose(x @ planes.normals.T + planes.offsets, wanted, rtol=1e-9, atol=1e-9)
    assert list(zip(planes.layers, planes.units, strict=True)) == [
        (layer, unit) for layer in range(2) for unit in range(6)
    ]
    np.testing.assert_allclose(planes.importances.sum(1), 1)
    frame = planes.to_frame()
    assert list(frame.columns) == ["layer", "unit", *"abcd", "offset"]
    np.testing.assert_array_equal(frame[list("abcd")], planes.normals)


def test_a_hyperplane_in_words():
    planes = hyperplanes_of(fitted().net_, ["age", "height", "weight", "income"])
    normal, offset, scale = planes.normals[3], planes.offsets[3], planes.deviations
    length = np.linalg.norm(normal * scale)
    top = int(np.argmax(np.abs(normal * scale)))
    words = planes.in_words(3, most=1)
    sign = np.sign(normal[top])
    first = f"{abs(normal[top]) / length:.4g} {planes.columns[top]} + ... "
    assert words == f"{first}{'>' if sign > 0 else '<'} {-sign * offset / length:.4g}"
    with pytest.raises(TableError, match="gate: expected a whole number from 0 to 11, got 12"):
        planes.in_words(12)


@pytest.mark.parametrize("weights_input", ["data", "ones"])
@pytest.mark.parametrize("gates", ["hard", "soft"])
def test_parts_are_those_of_paths(gates, weights_input):
    net = fitted(gates=gates, weights_input=weights_input).net_
    x = torch.from_numpy(classes_table(5, seed=1)[0])
    columns, totals = column_parts(net, x)
    units, again = gate_parts(net, x, 1)
    np.testing.assert_array_equal(totals, again)
    for row in range(5):
        for output in range(3):
            wanted = dv.input_contributions(net, x[row], output)
            found = columns[row, output] if weights_input == "data" else 0
            expected = wanted.coordinates if weights_input == "data" else 0
            np.testing.assert_allclose(found, expected, atol=1e-10)
            assert totals[row, output] == pytest.approx(wanted.total, abs=1e-10)
            layer = dv.layer_contributions(net, x[row], output, 1)
            np.testing.assert_allclose(units[row, output], layer.units, atol=1e-10)
    if weights_input == "ones":
        assert not columns.any()


@pytest.mark.parametrize("kind", ["dlgn", "dlgn-sf"])
def test_local_maps(kind):
    x, y = numbers_table()
    net = regressor(kind=kind).fit(x, np.stack([y, 2 * y], axis=1)).net_
    x = torch.from_numpy(x[:6])
    maps, step = local_maps(net, x), 1e-7
    assert maps.shape == (6, 2, 4)
    with torch.no_grad():
        for column in range(4):
            moved = x.clone()
            moved[:, column] += step * float(x[:, column].std())
            same = torch.stack(
                [(a == b).all(1) for a, b in zip(net.gates(x), net.gates(moved), strict=True)]
            ).all(0)
            slope = (net(moved) - net(x)) / (moved - x)[:, column, None]
            assert same.any()
            np.testing.assert_allclose(slope[same], maps[same, :, column], rtol=1e-4, atol=1e-4)
