"""ONNX files as PyTorch networks.

- Every operation of the tables, with options of its own, gives what ONNX's reference evaluator
  gives, for other numbers of examples than the file was written for, in float64.
- What cannot be read is refused by name: an option, an operation, another domain, a file that is
  none, a path that is not there, a missing library.
- A network that PyTorch's exporter wrote, and a taken-apart network that was exported, come back as
  the function that they were, with the number of examples free; `disentangle` takes them.
- Weights are the file's: shared ones stay shared, and gradients reach them.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnxruntime import InferenceSession
from torch import nn

import dualview as dv
from dualview.conversion.onnx_files.reading import RULES, VERSION
from dualview.errors import ConversionError, MissingExtraError, UnsupportedOperationError

RANDOM = np.random.default_rng(0)


def one(op, *inputs, shape=(2, 4, 5, 6), outputs=1, low=None, domain="", **options):
    """A model of one operation on x and constants, None left out; and an x of three examples."""
    names = ["x" if k is X else "" if k is None else f"c{j}" for j, k in enumerate(inputs)]
    constants = {n: np.asarray(v) for n, v in zip(names, inputs, strict=True) if n.startswith("c")}
    ys = [f"y{k}" for k in range(outputs)]
    given = TensorProto.FLOAT if op == "LRN" else TensorProto.DOUBLE  # as the runtime has it
    kind = options.get("to", given) if op == "Cast" else given
    node = helper.make_node(op, names, ys, name="the_node", domain=domain, **options)
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", given, shape)],
        [helper.make_tensor_value_info(y, kind, None) for y in ys],
        [numpy_helper.from_array(value, n) for n, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", VERSION)] + (
        [helper.make_opsetid(domain, 1)] if domain else []
    )
    x = RANDOM.standard_normal((3, *shape[1:])).astype(helper.tensor_dtype_to_np_dtype(given))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return model, abs(x) + low if low is not None else x


X = object()


def draw(*shape):
    return RANDOM.standard_normal(shape)


def whole(*numbers):
    return np.array(numbers, dtype=np.int64)


PLAIN = [
    "Abs",
    "Atan",
    "Cos",
    "Cosh",
    "Erf",
    "Exp",
    "HardSwish",
    "Identity",
    "Mish",
    "Neg",
    "Reciprocal",
    "Relu",
    "Sigmoid",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Tan",
    "Tanh",
    "Selu",
    "Celu",
    "Elu",
    "LeakyRelu",
    "HardSigmoid",
    "ThresholdedRelu",
    "Gelu",
    "Softmax",
    "LogSoftmax",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Dropout",
    "Flatten",
]
REDUCED = [name for name in RULES if name.startswith("Reduce")]
PAIRS = ("Add", "Sub", "Mul", "Div")
STEPS = {
    **{f"{op}": lambda op=op: one(op, X) for op in PLAIN},
    **{f"{op}, positive": lambda op=op: one(op, X, low=0.5) for op in ("Sqrt", "Log")},
    **{f"{op}, an axis": lambda op=op: one(op, X, whole(-1), keepdims=0) for op in REDUCED},
    **{f"{op}, two kept": lambda op=op: one(op, X, whole(1, 3)) for op in REDUCED},
    **{f"{op} a vector": lambda op=op: one(op, X, draw(6)) for op in PAIRS},
    **{f"{op} from a number": lambda op=op: one(op, np.array([1.5]), X, low=1) for op in PAIRS},
    **{f"{op} itself": lambda op=op: one(op, X, X) for op in (*PAIRS, "Max", "Min")},
    "Sum of three": lambda: one("Sum", X, draw(6), X),
    "Mean of two": lambda: one("Mean", X, draw(4, 1, 1)),
    "Max with a number": lambda: one("Max", X, np.array(0.2)),
    "Min with a number": lambda: one("Min", np.array(0.2), X),
    "Pow": lambda: one("Pow", X, np.array(2.0)),
    "Where": lambda: one("Where", np.arange(6) < 3, X, draw(6)),
    "Clip": lambda: one("Clip", X, np.array(-0.3), np.array(0.4)),
    "Clip, ReLU6": lambda: one("Clip", X, np.array(0.0), np.array(6.0)),
    "Clip, ReLU": lambda: one("Clip", X, np.array(0.0)),
    "Clip, above": lambda: one("Clip", X, None, np.array(0.4)),
    "Elu, alpha": lambda: one("Elu", X, alpha=0.5),
    "Gelu, tanh": lambda: one("Gelu", X, approximate="tanh"),
    "HardSigmoid, PyTorch's": lambda: one("HardSigmoid", X, alpha=1 / 6),
    "Softmax, channels": lambda: one("Softmax", X, axis=1),
    "Einsum": lambda: one("Einsum", X, draw(5, 3), equation="nchw,hk->nckw"),
    "Cast": lambda: one("Cast", X, to=TensorProto.FLOAT),
    "Concat": lambda: one("Concat", X, X, axis=-1),
    "Split": lambda: one("Split", X, whole(1, 3), axis=1, outputs=2),
    "Split, equal": lambda: one("Split", X, axis=3, num_outputs=2, outputs=2),
    "Slice": lambda: one("Slice", X, whole(1, -4), whole(3, 2**62), whole(1, -1), whole(1, 2)),
    "Slice, all": lambda: one("Slice", X, whole(0), whole(2**62), whole(2)),
    "Slice, backwards": lambda: one("Slice", X, whole(-1), whole(-(2**62)), whole(2), whole(-1)),
    "Gather, one": lambda: one("Gather", X, np.array(-1), axis=2),
    "Gather, several": lambda: one("Gather", X, whole(3, -1), axis=1),
    "Reshape": lambda: one("Reshape", X, whole(0, -1)),
    "Reshape, written for two": lambda: one("Reshape", X, whole(2, 20, 6)),
    "Transpose": lambda: one("Transpose", X, perm=[0, 2, 3, 1]),
    "Squeeze": lambda: one("Squeeze", X, whole(2), shape=(2, 4, 1)),
    "Unsqueeze": lambda: one("Unsqueeze", X, whole(1, -1)),
    "Flatten, later": lambda: one("Flatten", X, axis=2),
    "Expand": lambda: one("Expand", X, whole(1, 3, 4), shape=(2, 1, 4)),
    "Tile": lambda: one("Tile", X, whole(1, 2, 1, 1)),
    "Pad": lambda: one("Pad", X, whole(0, 0, 1, 2, 0, 0, 3, 0)),
    "Pad, a number, an axis": lambda: one("Pad", X, whole(1, 2), np.array(-1.5), whole(-2)),
    "Pad, reflected": lambda: one("Pad", X, whole(1, 2), None, whole(3), mode="reflect"),
    "Pad, edge": lambda: one("Pad", X, whole(0, 0, 1, 2, 0, 0, 3, 0), mode="edge"),
    "Resize, nearest": lambda: one("Resize", X, None, np.float32([1, 1, 2, 3])),
    "Resize, floor": lambda: one(
        "Resize", X, None, np.float32([1, 1, 1.5, 2]),
        coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    "Resize, linear": lambda: one("Resize", X, None, np.float32([1, 1, 2, 2]), mode="linear"),
    "Resize, corners": lambda: one(
        "Resize", X, None, None, whole(2, 4, 7, 8), mode="linear",
        coordinate_transformation_mode="align_corners"),
    "Resize, cubic": lambda: one("Resize", X, None, np.float32([1, 1, 2, 2]), mode="cubic"),
    "DepthToSpace": lambda: one("DepthToSpace", X, blocksize=2, shape=(2, 8, 3, 2)),
    "DepthToSpace, CRD": lambda: one("DepthToSpace", X, blocksize=2, mode="CRD"),
    "SpaceToDepth": lambda: one("SpaceToDepth", X, blocksize=2, shape=(2, 3, 4, 6)),
    "Conv": lambda: one("Conv", X, draw(6, 2, 3, 2), draw(6), group=2, strides=[2, 1],
                        pads=[1, 0, 1, 0]),
    "Conv, uneven": lambda: one("Conv", X, draw(3, 4, 3, 3), pads=[0, 1, 2, 1]),
    "Conv, same": lambda: one("Conv", X, draw(3, 4, 2, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    "Conv, same below": lambda: one("Conv", X, draw(3, 4, 2, 2), auto_pad="SAME_LOWER"),
    "Conv, along a line": lambda: one("Conv", X, draw(3, 4, 3), dilations=[2], shape=(2, 4, 9)),
    "ConvTranspose": lambda: one("ConvTranspose", X, draw(4, 3, 2, 3), draw(3), strides=[2, 1],
                                 pads=[0, 1, 0, 1], output_padding=[1, 0]),
    "Gemm": lambda: one("Gemm", X, draw(3, 5), draw(3), transB=1, shape=(2, 5)),
    "Gemm, scaled": lambda: one("Gemm", X, draw(5, 3), draw(1), alpha=0.5, beta=2.0, shape=(2, 5)),
    "MatMul": lambda: one("MatMul", X, draw(6, 3)),
    "MatMul, turned": lambda: one("MatMul", draw(3, 5), X),
    "BatchNormalization": lambda: one(
        "BatchNormalization", X, draw(4), draw(4), draw(4), abs(draw(4)) + 0.5),
    "InstanceNormalization": lambda: one("InstanceNormalization", X, draw(4), draw(4)),
    "LayerNormalization": lambda: one("LayerNormalization", X, draw(6), draw(6), epsilon=0.1),
    "LayerNormalization, two": lambda: one("LayerNormalization", X, draw(5, 6), axis=-2),
    "GroupNormalization": lambda: one("GroupNormalization", X, draw(4), draw(4), num_groups=2),
    "LRN": lambda: one("LRN", X, size=3, alpha=0.2, beta=0.6, bias=2.0, shape=(3, 4, 5, 6)),
    "PRelu": lambda: one("PRelu", X, draw(4, 1, 1)),
    "PRelu, one slope": lambda: one("PRelu", X, draw(1)),
    "MaxPool": lambda: one("MaxPool", X, kernel_shape=[2, 3], strides=[2, 1], ceil_mode=1),
    "MaxPool, uneven": lambda: one("MaxPool", X, kernel_shape=[2, 2], pads=[0, 0, 1, 1],
                                   shape=(3, 4, 5, 6)),
    "MaxPool, room for the last": lambda: one(
        "MaxPool", X, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1], shape=(3, 4, 6, 8)
    ),
    "AveragePool": lambda: one("AveragePool", X, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "AveragePool, counted": lambda: one(
        "AveragePool", X, kernel_shape=[2, 2], pads=[0, 0, 1, 1], count_include_pad=1),
}  # fmt: skip
SINGLE = {"Cast", "Selu", "Erf", "HardSwish", "LeakyRelu", "HardSigmoid", "Gelu",
          "GroupNormalization"}  # fmt: skip
"""Of these the reference evaluator rounds to float32, whatever it is given."""
BY_RUNTIME = {"LRN", "MaxPool, uneven", "MaxPool, room for the last"}
"""Of these it follows another rule than the operation's; onnxruntime stands in."""
ELSEWHERE = {"ConstantOfShape", "Range"}
"""Read where sizes are computed: `test_sizes_that_are_computed`."""


def test_every_operation_has_a_case():
    assert {name.split(",")[0].split(" ")[0] for name in STEPS} | ELSEWHERE == set(RULES)


@pytest.mark.parametrize("name", STEPS)
def test_as_the_reference_evaluator_has_it(name):
    model, x = STEPS[name]()
    network = dv.from_onnx(model)
    if name in BY_RUNTIME:
        session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        expected = session.run(None, {"x": x})
    elif name == "Reshape, written for two":  # ONNX's own evaluator takes that for a number
        expected = [x.reshape(3, 20, 6)]
    elif name == "Resize, corners":
        expected = [ReferenceEvaluator(model).run(None, {"x": part})[0] for part in (x[:2], x[1:])]
        expected = [np.concatenate([expected[0], expected[1][1:]])]
    else:
        expected = ReferenceEvaluator(model).run(None, {"x": x})
    got = network(torch.from_numpy(x))
    got = list(got.values()) if isinstance(got, dict) else [got]
    tolerance = 1e-6 if name.split(",")[0] in SINGLE or name in BY_RUNTIME else 1e-11
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b, rtol=tolerance, atol=tolerance)


def test_room_for_the_last_window_is_no_pad():
    network = dv.from_onnx(STEPS["MaxPool, room for the last"]()[0])
    called = [node for node in network.graph.nodes if node.op.startswith("call")]
    assert [node.op for node in called] == ["call_module"]


REFUSED = {
    "gaps": lambda: one("AveragePool", X, kernel_shape=[2, 2], dilations=[2, 2]),
    "border": lambda: one("AveragePool", X, kernel_shape=[2, 2], pads=[0, 0, 1, 1]),
    "even windows": lambda: one("LRN", X, size=2),
    "statistics": lambda: one("BatchNormalization", X, *(abs(draw(4)),) * 4, training_mode=1,
                              outputs=3),
    "resizes channels": lambda: one("Resize", X, None, np.float32([1, 2, 1, 1])),
    "nearest entry": lambda: one("Resize", X, None, np.float32([1, 1, 1.5, 1.5])),
    "interpolate by": lambda: one("Resize", X, None, np.float32([1, 1, 2, 2]), mode="linear",
                                  coordinate_transformation_mode="asymmetric"),
    "antialiasing": lambda: one("Resize", X, None, np.float32([1, 1, 2, 2]), mode="linear",
                                antialias=1),
    "places": lambda: one("MaxPool", X, kernel_shape=[2, 2], outputs=2),
    "one for each channel": lambda: one("PRelu", X, draw(5, 6)),
    "pads the axis of examples": lambda: one("Pad", X, whole(1, 0, 0, 0, 0, 0, 0, 0)),
    "number of examples": lambda: one("Squeeze", X),
    "backwards": lambda: one("Slice", X, whole(3), whole(0), whole(2), whole(-1)),
    "table of places": lambda: one("Gather", X, np.array([[0, 1]]), axis=1),
    "of the paper": lambda: one("Selu", X, alpha=1.0),
    "got LSTM": lambda: one("LSTM", X, draw(1, 8, 3), draw(1, 8, 2), hidden_size=2,
                            shape=(2, 4, 3)),
    "not of ONNX's own set": lambda: one("Mine", X, domain="of.mine"),
}  # fmt: skip


@pytest.mark.parametrize("reason", REFUSED)
def test_refused_by_name(reason):
    model, _ = REFUSED[reason]()
    with pytest.raises(UnsupportedOperationError, match=f"the_node.*{reason}.*Repair"):
        dv.from_onnx(model)


def test_what_is_no_model_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ConversionError, match=r"expected the path of an ONNX file.*got int"):
        dv.from_onnx(3)
    with pytest.raises(ConversionError, match=r"cannot read .*none\.onnx"):
        dv.from_onnx(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(ConversionError, match=r"expected an ONNX file, got .*text\.onnx"):
        dv.from_onnx(tmp_path / "text.onnx")
    model, _ = one("Relu", X)
    model.graph.node[0].input[0] = "missing"
    with pytest.raises(ConversionError, match="'missing', which nothing in the file gives"):
        dv.from_onnx(model)
    model.opset_import[0].version = 5
    with pytest.raises(ConversionError, match="operator set"):
        dv.from_onnx(model)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"dualview\[onnx\]"):
        dv.from_onnx(model)


def exported(model, x, path, **options):
    """What PyTorch's exporter writes, with the number of examples free."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (x,), path, dynamo=True, verbose=False,
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), **options)  # fmt: skip
    return path


class Mixed(nn.Module):
    """Convolution, group norm, squeeze-and-excite, attention: what exporters spell at length."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.GroupNorm(2, 4)
        self.narrow, self.wide = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.last, self.fc = nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, x):
        h = nn.functional.gelu(self.norm(self.conv(x)))
        h = h * torch.sigmoid(self.wide(torch.relu(self.narrow(h.mean((2, 3), keepdim=True)))))
        tokens = nn.functional.interpolate(h, scale_factor=2.0).flatten(2).transpose(1, 2)
        tokens = self.last(tokens + self.attention(tokens, tokens, tokens)[0])
        return self.fc(tokens.view(x.shape[0], -1, 4).mean(1))


def small():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3), nn.Softmax(1))  # fmt: skip


@pytest.mark.parametrize("make", [small, Mixed])
def test_what_the_exporter_writes_comes_back(make, tmp_path):
    torch.manual_seed(0)
    model = make().eval()
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    network = dv.from_onnx(exported(model, torch.randn(2, 2, 6, 6), tmp_path / "model.onnx"))
    x = torch.randn(5, 2, 6, 6)
    torch.testing.assert_close(network(x), model(x), rtol=1e-5, atol=1e-6)
    net = dv.disentangle(network, "dnn", example_input=x)
    torch.testing.assert_close(net(x), model(x), rtol=1e-5, atol=1e-6)
    assert not network.training


def test_a_taken_apart_network_comes_back(tmp_path):
    torch.manual_seed(0)
    x = torch.randn(5, 2, 6, 6)
    net = dv.disentangle(small(), "dlgn", seed=0, example_input=x).eval()
    path = exported(net, x, tmp_path / "model.onnx")
    torch.testing.assert_close(dv.from_onnx(str(path))(x), net(x), rtol=1e-5, atol=1e-6)


def test_weights_stay_shared_and_learn():
    weight = draw(4, 4, 1, 1).astype(np.float32)
    shape = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("Conv", ["r", "w"], ["y"]),
        ],
        "twice",
        [shape("x", TensorProto.FLOAT, [1, 4, 2, 2])],
        [shape("y", TensorProto.FLOAT, [1, 4, 2, 2])],
        [numpy_helper.from_array(weight, "w")],
    )
    network = dv.from_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)]))
    (parameter,) = network.parameters()
    network(torch.randn(3, 4, 2, 2)).sum().backward()
    assert parameter.grad.abs().max() > 0


def test_sizes_that_are_computed():
    """Flattening by Shape, Gather, Concat, and tokens repeated for every example."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        helper.make_node("Unsqueeze", ["n", "first"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["flat"]),
        helper.make_node("Concat", ["n1", "width"], ["zeros_shape"], axis=0),
        helper.make_node("ConstantOfShape", ["zeros_shape"], ["zeros"],
                         value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0.5])),
        helper.make_node("Concat", ["flat", "zeros"], ["y"], axis=1),
        helper.make_node("Mul", ["n", "three"], ["n3"]),
        helper.make_node("Range", ["zero", "n3", "one"], ["z"]),
    ]  # fmt: skip
    constants = {"zero": np.int64(0), "first": whole(0), "rest": whole(-1), "width": whole(2),
                 "three": np.int64(3), "one": np.int64(1)}  # fmt: skip
    shape = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "sizes", [shape("x", TensorProto.FLOAT, [1, 2, 3])],
        [shape("y", TensorProto.FLOAT, None), shape("z", TensorProto.INT64, None)],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    x = torch.randn(4, 2, 3)
    got = dv.from_onnx(model)(x)
    torch.testing.assert_close(got["y"], torch.cat([x.flatten(1), torch.full((4, 2), 0.5)], 1))
    assert got["z"].tolist() == list(range(12))


def test_tokens_are_looked_up():
    shape = helper.make_tensor_value_info
    table = draw(7, 3).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "t"], ["y"])],
        "tokens",
        [shape("t", TensorProto.INT64, [1, 4])],
        [shape("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(table, "table")],
    )
    network = dv.from_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]))
    tokens = torch.randint(0, 7, (3, 4))
    torch.testing.assert_close(network(tokens), torch.from_numpy(table)[tokens])


def test_a_table_of_whole_numbers_is_refused():
    shape = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "t"], ["y"], name="the_node")],
        "whole numbers",
        [shape("t", TensorProto.INT64, [1, 4])],
        [shape("y", TensorProto.INT64, None)],
        [numpy_helper.from_array(np.arange(21).reshape(7, 3), "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    with pytest.raises(UnsupportedOperationError, match=r"the_node.*looks up whole numbers"):
        dv.from_onnx(model)
