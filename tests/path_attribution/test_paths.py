"""Paths as results: printed forms, rows, shares."""

import math

from dualview.path_attribution.paths import Path, PathNode, TopPaths


def node(kind, layer, *place, factor=1.0):
    return PathNode(layer, kind, place[0], tuple(place[1:]), factor)


LONG = Path(
    (
        node("input", "input", 0, 4, 5, factor=2.0),
        node("weights", "conv", 3, 4, 4, factor=-0.5),
        node("gate", "gate_1", 3, 4, 4),
        node("gate", "gate_2", 3, 4, 4),
        node("weights", "fc", 7, factor=3.0),
    ),
    -3.0,
    2.0,
    -1.5,
    1.0,
)
BIAS = Path(
    (node("bias", "conv", 3, 4, 4), node("gate", "gate_1", 3, 4, 4), node("weights", "fc", 7)),
    0.25,
    1.0,
    0.25,
    1.0,
)


def test_a_gate_is_named_only_where_a_skip_enters_it():
    assert str(LONG) == "-3  input[0, 4, 5] > conv[3, 4, 4] > gate_2[3, 4, 4] > fc[7]"
    assert str(BIAS) == "+0.25  conv bias[3, 4, 4] > fc[7]"
    assert [n.layer for n in LONG.gated_units] == ["gate_1", "gate_2"]


def test_long_paths_are_cut_in_the_middle():
    nodes = tuple(node("weights", f"l{i}", i) for i in range(20))
    text = str(Path(nodes, 1.0, 1.0, 1.0, 1.0))
    assert text.count(">") == 10
    assert "l4[4] > ... > l15[15]" in text


def test_rows_shares_and_printed_form():
    top = TopPaths(7, (LONG, BIAS), total=-5.5, magnitude=11.0, n_paths=1e6)
    assert top.sum == -2.75
    assert top.share_of_total == 0.5
    assert math.isclose(top.share_of_magnitude, 3.25 / 11)
    rows = top.to_rows()
    assert len(rows) == 8
    assert rows[1] == {
        "path": 1,
        "contribution": -3.0,
        "stop": 1,
        "layer": "conv",
        "kind": "weights",
        "channel": 3,
        "position": (4, 4),
        "factor": -0.5,
    }
    assert rows[-1]["path"] == 2
    lines = repr(top).splitlines()
    assert lines[0].startswith("TopPaths(output 7: -5.5; 2 of 1e+06 paths, with 0.295 of")
    assert lines[1:] == [f"   1  {LONG}", f"   2  {BIAS}"]
