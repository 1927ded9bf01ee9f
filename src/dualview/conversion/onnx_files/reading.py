"""An ONNX file or model -> a PyTorch network.

The library `onnx` loads the file, writes its functions out, brings its operations to one version,
infers shapes and computes what is constant; the tables of this folder turn each operation that is
left into a layer or a function of PyTorch. onnx2torch 1.5.15 was tried first: it does not know the
versions of operations that PyTorch's exporter writes today, and imports torchvision, as
onnx2pytorch does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from dualview.conversion.onnx_files.building import Builder, identifier
from dualview.conversion.onnx_files.calls import Dims, OnnxCall, OnnxValue
from dualview.conversion.onnx_files.layers import LAYERS
from dualview.conversion.onnx_files.operations import OPERATIONS
from dualview.conversion.onnx_files.sizes import of_sizes
from dualview.errors import ConversionError, UnsupportedOperationError, need

VERSION = 21
"""Of the operator set that every file is brought to; the tables are of it."""

RULES = {**OPERATIONS, **LAYERS}
"""Name of an ONNX operation -> what it is in PyTorch."""


def from_onnx(model: Any) -> fx.GraphModule:
    """Read a network from an ONNX file, as a PyTorch module that `disentangle` takes.

    Weights become parameters of ordinary layers. The number of examples is free, also in a file
    that was written for one number, where its operations leave the axis of examples alone.

    Args:
        model: path of the file, or an `onnx.ModelProto`.

    Returns:
        The network in evaluation mode. It takes the file's inputs in their order; of several
        outputs it gives a dictionary by name.

    Raises:
        ConversionError: there is no such file, it is no ONNX file, or (UnsupportedOperationError)
            an operation of it is not read; the message names it.
        MissingExtraError: the extra `onnx` is not installed.

    >>> import onnx, tempfile, dualview as dv
    >>> from onnx import TensorProto, helper
    >>> shape = helper.make_tensor_value_info
    >>> graph = helper.make_graph(
    ...     [helper.make_node("Relu", ["x"], ["h"]), helper.make_node("Gemm", ["h", "w"], ["y"])],
    ...     "small",
    ...     [shape("x", TensorProto.FLOAT, ["n", 2])],
    ...     [shape("y", TensorProto.FLOAT, ["n", 1])],
    ...     [helper.make_tensor("w", TensorProto.FLOAT, [2, 1], [1.0, 2.0])],
    ... )
    >>> network = from_onnx(helper.make_model(graph))
    >>> network(torch.tensor([[1.0, -1.0], [2.0, 3.0]])).detach()
    tensor([[1.],
            [8.]])
    """
    proto = _upgraded(_loaded(model))
    graph = proto.graph
    examples = _free_examples(graph)
    weights = {tensor.name: _tensor(tensor) for tensor in graph.initializer}
    builder = Builder({id(tensor): name for name, tensor in weights.items()}, examples)
    values: dict[str, OnnxValue] = dict(weights)
    for given in graph.input:
        if given.name not in values:
            values[given.name] = builder.graph.placeholder(identifier(given.name))
    sizes = _inferred_sizes(proto)
    for number, node in enumerate(graph.node):
        _add(builder, node, values, sizes, node.name or f"{node.op_type}_{number}")
    found = {out.name: builder.operand(values[out.name], rank=-1) for out in graph.output}
    builder.graph.output(found if len(found) > 1 else next(iter(found.values())))
    name = identifier(graph.name).title().replace("_", "") or "Onnx"
    return fx.GraphModule(builder.root, builder.graph, class_name=name).eval()


def _loaded(model: Any) -> Any:
    onnx = need("onnx", "onnx", "reading an ONNX file")
    if isinstance(model, onnx.ModelProto):
        return model
    if not isinstance(model, str | Path):
        raise ConversionError(
            f"model: expected the path of an ONNX file or an onnx.ModelProto, got "
            f"{type(model).__name__}"
        )
    try:
        return onnx.load(str(model))
    except OSError as error:
        raise ConversionError(f"model: cannot read {str(model)!r} ({error.strerror})") from error
    except Exception as error:  # whatever protobuf makes of other bytes
        raise ConversionError(
            f"model: expected an ONNX file, got {str(model)!r}, which cannot be read as one "
            f"({type(error).__name__}). Repair: torch.onnx.export writes one"
        ) from error


def _upgraded(proto: Any) -> Any:
    """The same model without functions of its own, its operations of one version.

    Raises:
        ConversionError: the model is damaged, or of a version that `onnx` cannot bring there.
    """
    from onnx import inliner, version_converter

    try:
        plain = inliner.inline_local_functions(proto)
        own = {entry.domain: entry.version for entry in plain.opset_import}.get("", VERSION)
        return plain if own == VERSION else version_converter.convert_version(plain, VERSION)
    except Exception as error:  # its C++ part raises errors of any type
        said = str(error).strip().split("\n")[0]
        raise ConversionError(
            f"model: it cannot be brought to ONNX's operator set {VERSION} ({said}). Repair: "
            f"export it with opset_version between 9 and {VERSION}"
        ) from error


def _free_examples(graph: Any) -> int | None:
    """Free the number of examples of each input; the number that the file was written for."""
    weights = {tensor.name for tensor in graph.initializer}
    written = set()
    for given in graph.input:
        dims = given.type.tensor_type.shape.dim
        if given.name in weights or not dims:
            continue
        if dims[0].HasField("dim_value"):
            written.add(dims[0].dim_value)
        dims[0].Clear()
        dims[0].dim_param = "examples"
    for value in (*graph.output, *graph.value_info):
        value.type.tensor_type.ClearField("shape")
    return written.pop() if len(written) == 1 else None


def _inferred_sizes(proto: Any) -> dict[str, Dims]:
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(proto, data_prop=True).graph
    found: dict[str, Dims] = {t.name: tuple(t.dims) for t in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        tensor = value.type.tensor_type
        if tensor.HasField("shape"):
            found[value.name] = tuple(
                dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim
            )
    return found


def _add(
    builder: Builder, node: Any, values: dict[str, OnnxValue], sizes: dict[str, Dims], name: str
) -> None:
    """Add what `node` is to the graph, and its outputs to `values`."""
    missing = [key for key in node.input if key and key not in values]
    if missing:
        raise ConversionError(
            f"{node.op_type} {name!r}: it reads {missing[0]!r}, which nothing in the file gives "
            f"before it. Repair: onnx.checker.check_model tells what is wrong with the file"
        )
    inputs = tuple(values[key] if key else None for key in node.input)
    call = OnnxCall(
        node.op_type,
        name,
        inputs,
        _options(node),
        sum(map(bool, node.output)),
        tuple(sizes.get(key) for key in node.input),
        builder,
    )
    found = _value(call, node)
    outputs = found if isinstance(found, tuple) else (found,)
    for key, value in zip(node.output, outputs, strict=False):
        values[key] = value


def _value(call: OnnxCall, node: Any) -> Any:
    """What a node of the file makes: a constant, sizes, or a node of the graph."""
    if node.domain not in ("", "ai.onnx"):
        raise call.refused(f"it is an operation of {node.domain!r}, not of ONNX's own set")
    known = all(value is None or isinstance(value, Tensor) for value in call.inputs)
    if known and call.op != "Shape":
        return _computed(call, node)
    sized = of_sizes(call)
    if sized is not None:
        return sized
    if call.op not in RULES:
        raise UnsupportedOperationError(
            f"{call.op} {call.name!r}: expected an operation that dualview reads from ONNX files, "
            f"got {call.op}. Repair: write that part in PyTorch; those that are read are "
            f"{', '.join(sorted(RULES))}"
        )
    return RULES[call.op](call)


def _computed(call: OnnxCall, node: Any) -> tuple[Tensor, ...]:
    """What an operation of constants gives, by ONNX's own definition of it."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    names = [key for key in node.input if key]
    given = [value.numpy() for value in call.inputs if isinstance(value, Tensor)]
    graph = helper.make_graph(
        [node],
        "constant",
        [helper.make_empty_tensor_value_info(key) for key in dict.fromkeys(names)],
        [helper.make_empty_tensor_value_info(key) for key in node.output if key],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", VERSION)])
    found = ReferenceEvaluator(model).run(None, dict(zip(names, given, strict=True)))
    return tuple(torch.as_tensor(value) for value in found)


def _options(node: Any) -> dict[str, Any]:
    from onnx import TensorProto, helper

    found = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {
        name: value.decode()
        if isinstance(value, bytes)
        else _tensor(value)
        if isinstance(value, TensorProto)
        else value
        for name, value in found.items()
    }


def _tensor(proto: Any) -> Tensor:
    from onnx import numpy_helper

    return torch.from_numpy(numpy_helper.to_array(proto).copy())
