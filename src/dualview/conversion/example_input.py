"""The example input of a conversion: what the model gives for it, and every value's shape.

It is a tensor, or the model's inputs as a tuple (by position) or a dictionary (by name), examples
on axis 0 of each tensor. Its values do not matter.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from dualview.conversion.modes import evaluation_mode
from dualview.conversion.source_lines import describe
from dualview.errors import ExampleInputError, TracingError


@dataclass(frozen=True)
class Example:
    """The inputs of one call of a model, by position and by name."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @classmethod
    def of(cls, given: Any) -> Example:
        """What a user has given.

        Raises:
            ExampleInputError: neither a tensor nor a tuple or dictionary that holds one, or one
                without an axis of examples.
        """
        if isinstance(given, Tensor):
            made = cls((given,), {})
        elif isinstance(given, tuple | list):
            made = cls(tuple(given), {})
        elif isinstance(given, Mapping) and all(isinstance(name, str) for name in given):
            made = cls((), dict(given))
        else:
            made = cls((), {})
        if not made.tensors:
            raise ExampleInputError(
                f"example_input: expected a tensor, examples first (or a tuple or dictionary of "
                f"the model's inputs), got {type(given).__name__}"
            )
        for tensor in made.tensors:
            if tensor.dim() < 2 and tensor.is_floating_point():
                raise ExampleInputError(
                    f"example_input: expected a batch, examples first, got shape "
                    f"{tuple(tensor.shape)}. Repair: x.unsqueeze(0) makes a batch of one example"
                )
        return made

    @property
    def tensors(self) -> list[Tensor]:
        """Its tensors, in order."""
        return [leaf for leaf in pytree.tree_leaves((self.args, self.kwargs)) if _is_tensor(leaf)]

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of one example; None where there are several inputs."""
        return tuple(self.tensors[0].shape[1:]) if len(self.tensors) == 1 else None

    def copied(self) -> Example:
        """The same inputs in memory of their own."""
        return self._changed(lambda tensor: tensor.clone())

    def followed(self) -> Example:
        """The same inputs, such that autograd keeps what becomes of them."""
        return self._changed(
            lambda t: t.clone().requires_grad_().clone() if t.is_floating_point() else t
        )

    def of_several(self) -> Example:
        """A batch of at least two: one example alone is where a forward may do something else."""
        if all(len(tensor) > 1 for tensor in self.tensors):
            return self
        return self._changed(lambda tensor: torch.cat([tensor, tensor]))

    def free_batch(self, forward: Any) -> dict[str, Any]:
        """Which sizes are free, as `torch.export` takes them: the number of examples of each."""
        from torch.export import Dim

        bound = inspect.signature(forward).bind(*self.args, **self.kwargs).arguments
        return pytree.tree_map(lambda leaf: {0: Dim.DYNAMIC} if _is_tensor(leaf) else None, bound)

    def _changed(self, change: Any) -> Example:
        args, kwargs = pytree.tree_map(
            lambda leaf: change(leaf) if _is_tensor(leaf) else leaf, (self.args, self.kwargs)
        )
        return Example(args, kwargs)


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, Tensor)


def outputs_of(own: nn.Module, example: Example) -> Any:
    """What the model gives in evaluation mode; None where it does not take the example."""
    inputs = example.copied()
    try:
        with evaluation_mode(own), torch.no_grad():
            return own(*inputs.args, **inputs.kwargs)
    except Exception:  # that is told where the operation that fails is known
        return None


class _ShapeInterpreter(fx.Interpreter):
    """Runs the graph once and notes every tensor's shape."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[fx.Node, torch.Size] = {}

    def run_node(self, n: fx.Node) -> Any:
        try:
            value = super().run_node(n)
        except Exception as error:
            sources = [self.shapes[s] for s in n.all_input_nodes if s in self.shapes]
            got = ", ".join(str(tuple(shape)) for shape in sources)
            raise ExampleInputError(
                f"{describe(n)}: it cannot take a value of shape {got} ({error}). Repair: pass an "
                f"example_input of the shape that the model takes, examples first"
            ) from error
        if isinstance(value, Tensor):
            self.shapes[n] = value.shape
        return value


def shapes_in(module: fx.GraphModule, example: Example) -> dict[fx.Node, torch.Size]:
    """The shape of every tensor value of the graph, by node.

    Raises:
        ExampleInputError: an operation does not take its value.
    """
    with evaluation_mode(module), torch.no_grad():
        interpreter = _ShapeInterpreter(module)
        interpreter.extra_traceback = False
        interpreter.run(*example.copied().tensors)
    return interpreter.shapes


def compare(
    name: str,
    module: fx.GraphModule,
    squash: fx.GraphModule | None,
    expected: Any,
    example: Example,
) -> None:
    """Run the graph on the example: what tracing misses silently shows here.

    Args:
        name: of the model.
        module: the traced graph.
        squash: what follows it, if anything.
        expected: what the model gives.
        example: the inputs.

    Raises:
        TracingError: the outputs differ.
    """
    with evaluation_mode(module), torch.no_grad():
        value = module(*example.copied().tensors)
        got = pytree.tree_leaves(value if squash is None else squash(value))
    tolerance = 1e-3 if min(t.element_size() for t in example.tensors) < 8 else 1e-9
    for a, b in zip(got, pytree.tree_leaves(expected), strict=True):
        if not isinstance(b, Tensor):
            continue
        if not b.is_floating_point():
            same = torch.equal(a, b)
        else:
            tolerance = max(tolerance, 1e-3 if b.element_size() < 8 else 0)
            scale = b.abs().nan_to_num(0, 0, 0).max() if b.numel() else 1.0
            same = torch.allclose(a, b, 0, float(tolerance * scale), equal_nan=True)
        if not same:
            raise TracingError(
                f"{name}: the traced graph and the model give different outputs for "
                f"example_input. Something in forward is not seen by a trace: a branch on the type "
                f"or identity of a value (type(x), `h is x`), or a tensor changed through .data. "
                f"Repair: write forward without it"
            )
