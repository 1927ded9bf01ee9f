"""The recorder: a model's forward -> torch.fx graph, with nothing patched outside the model's copy.

`torch.fx.Tracer.trace` replaces `nn.Module.__call__` and `nn.Module.__getattr__` for the whole
process while it runs, so that another thread's modules are recorded too, and two traces at once
leave them replaced for good. Here the modules of the one private copy are led to the recorder, each
for itself: a call by `_compiled_call_impl`, which `nn.Module.__call__` asks first, and a parameter
or buffer that forward reads by the dictionaries in which the module keeps them. All other modules,
and all other threads, go on as they are.
"""

from __future__ import annotations

import builtins
import functools
import math
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import NoneType
from typing import Any, NoReturn

import torch
from torch import Tensor, fx, nn
from torch.fx import _symbolic_trace
from torch.utils._pytree import tree_leaves

from dualview.conversion.recording.stand_in import Refusal, StandIn
from dualview.conversion.source_lines import is_under, stack_trace_here
from dualview.conversion.thread_mode import ThreadMode

_CALL, _READ = nn.Module.__call__, nn.Module.__getattr__
_COMPILER = torch.__path__[0] + "/_dynamo/eval_frame.py", "_TorchDynamoContext."
_CALLED = "_compiled_call_impl"
_KEPT = ("_parameters", "_buffers")
AUTOCAST_DEVICES = ("cpu", "cuda")


class Tracer(fx.Tracer):
    """Records one forward of `root`, a private copy of a model."""

    def __init__(self, root: nn.Module) -> None:
        super().__init__(autowrap_modules=())  # type: ignore[arg-type]
        self.root = root
        self.root_module_name = root._get_name()
        self.submodule_paths = {module: path for path, module in root.named_modules()}
        self.tensor_attrs = _plain_tensors(root)
        self._known = set(self.tensor_attrs.values())
        self.graph = fx.Graph()
        self.refusal: Refusal | None = None
        """What forward asked and was refused, even where it has caught that."""
        self._qualname_counter = defaultdict(int)  # torch.fx has one for all threads
        self._buffers = {id(b): name for name, b in root.named_buffers()}
        self._parameters = {id(p): name for name, p in root.named_parameters()}
        self._modules = dict(root.named_modules())
        self._read: dict[str, fx.Proxy] = {}

    def record(self, name: str) -> fx.Graph:
        """The graph of `root(x)`, its input called `name`.

        Raises:
            Refusal: forward asks what only a value could tell, even where it has caught that.
        """
        with _led_here(self), _RandomNumbers(self):
            x = self.create_proxy("placeholder", name, (), {})
            out = self.root(x)
            self._refuse_output(out)
            self.create_node("output", "output", (self.create_arg(out),), {})
        if self.refusal is not None:
            raise self.refusal
        return self.graph

    def _refuse_output(self, out: Any) -> None:
        """What is returned comes back from a graph as tensors in plain containers."""
        if isinstance(out, tuple | list) and type(out) in (tuple, list):
            for part in out:
                self._refuse_output(part)
        elif type(out) in (dict, OrderedDict):
            self._refuse_output(list(out.values()))
        elif not issubclass(type(out), fx.Proxy | Tensor | bool | int | float | str | NoneType):
            self.refuse(
                f"returns a {type(out).__name__}, which converted networks do not make",
                "return a tensor, or a plain tuple, list or dict of tensors; or pass an "
                "example_input, with which torch.export makes a dictionary of it",
                exported=True,
            )

    def refuse(self, what: str, repair: str = "", *, exported: bool = False) -> NoReturn:
        """Raise a refusal: what forward does, as a verb, and the repair."""
        raise self.refused(what, repair, exported=exported)

    def refused(self, what: str, repair: str = "", *, exported: bool = False) -> Refusal:
        """A refusal, remembered so that forward cannot catch it unnoticed."""
        refusal = Refusal(what, repair, exported)
        self.refusal = self.refusal or refusal
        return refusal

    def forget_constants(self) -> dict[str, Tensor]:
        """Take the tensors that forward has made itself off the model; the graph names them."""
        made: dict[str, Any] = {name: value for value, name in self.tensor_attrs.items()}
        for name in self._known:
            made.pop(name)
        for name in made:
            delattr(self.root, name)
        return made

    def is_parameter(self, name: str) -> bool:
        """Whether the tensor that the graph calls `name` is a parameter of the model."""
        return name in self._parameters.values()

    def module(self, path: str) -> nn.Module:
        """The module at `path`."""
        return self._modules[path]

    def knows(self, tensor: Tensor | None) -> bool:
        """Whether `tensor` was a parameter or buffer of the model before it ran."""
        return id(tensor) in self._parameters or id(tensor) in self._buffers

    def stand_in(self, tensor: Tensor) -> fx.Proxy:
        """What forward gets for a parameter or buffer of the model; one for each."""
        name = self._parameters.get(id(tensor)) or self._buffers[id(tensor)]
        if name not in self._read:
            self._read[name] = self.create_proxy("get_attr", name, (), {})
        return self._read[name]

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """A stand-in for the value of `node`."""
        return StandIn(node, self)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        """A node that knows the user's line and what it ran under."""
        node = super().create_node(*args, **kwargs)
        if is_under(*_COMPILER):
            self.refuse(
                "calls a function that torch.compile has compiled",
                "call the function itself, and compile the converted network",
            )
        node.stack_trace = stack_trace_here()
        node.meta["grad"] = torch.is_grad_enabled()
        node.meta["autocast"] = _autocast()
        return node

    def create_arg(self, a: Any) -> Any:
        """A value as an argument of a node."""
        if issubclass(type(a), fx.Proxy):
            if a.tracer is not self:
                self.refuse(
                    "reads a value that an earlier call of forward has left behind",
                    "let forward depend on its input alone",
                )
            return a.node
        if isinstance(a, Tensor) and a.grad_fn is not None and not isinstance(a, nn.Parameter):
            self.refuse(
                "computes with parameters that it reads past their module, as self.parameters() "
                "gives them, which would freeze their values",
                "read each as an attribute, such as self.layer.weight",
            )
        return super().create_arg(a)

    def iter(self, obj: fx.Proxy) -> NoReturn:
        """Refuse to go through a stand-in whose length is not known."""
        self.refuse("goes through the entries of a value, or unpacks it with *")

    def to_bool(self, obj: fx.Proxy) -> NoReturn:
        """Refuse to decide by a stand-in."""
        self.refuse("decides by a value, size, dtype or device of a tensor")

    def run(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """What a call of `module` is while it is led here; hooks are not run."""
        if module is self.root:
            return module.forward(*args, **kwargs)
        return self.call_module(module, module.forward, args, kwargs)


def _plain_tensors(root: nn.Module) -> dict[Any, str]:
    """Tensors that are attributes of modules, neither parameters nor buffers, by their path."""
    return {
        value: f"{path}.{name}" if path else name
        for path, module in root.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, Tensor)
    }


def _autocast() -> tuple[bool, ...]:
    return tuple(map(torch.is_autocast_enabled, AUTOCAST_DEVICES))


class _Kept(dict[str, Any]):
    """A module's parameters or buffers, which forward reads as stand-ins."""

    def __init__(self, tensors: dict[str, Any], tracer: Tracer) -> None:
        super().__init__(tensors)
        self.tracer = tracer

    def __getitem__(self, name: str) -> Any:
        tensor = super().__getitem__(name)
        return self.tracer.stand_in(tensor) if self.tracer.knows(tensor) else tensor

    def __setitem__(self, name: str, value: Any) -> None:
        if name in self or issubclass(type(value), fx.Proxy):
            self._refuse(name)
        super().__setitem__(name, value)

    def __delitem__(self, name: str) -> None:
        self._refuse(name)

    def _refuse(self, name: str) -> NoReturn:
        self.tracer.refuse(
            f"sets self.{name}, a parameter or buffer of the model, and converted networks hold no "
            f"state that a call changes",
            "return the value, or keep it outside the model",
        )


@contextmanager
def _led_here(tracer: Tracer) -> Iterator[None]:
    """Calls and parameters of every module of the tracer's root, led to the tracer."""
    modules = list(tracer.root.modules())
    kept = [(module, name, vars(module)[name]) for module in modules for name in _KEPT]
    for module in modules:
        vars(module)[_CALLED] = functools.partial(tracer.run, module)
    for module, name, tensors in kept:
        vars(module)[name] = _Kept(tensors, tracer)
    try:
        yield
    finally:
        for module, name, tensors in kept:
            tensors.update(dict.items(vars(module)[name]))  # what forward has registered
            vars(module)[name] = tensors
        for module in modules:
            del vars(module)[_CALLED]


def is_led_away(module: nn.Module) -> bool:
    """Whether `module` is being recorded, so that it is no ordinary module now."""
    return isinstance(vars(module).get("_parameters"), _Kept)


def torch_fx_is_tracing() -> bool:
    """Whether a trace of torch.fx has replaced how every module in this process is called."""
    return nn.Module.__call__ is not _CALL or nn.Module.__getattr__ is not _READ


class _RandomNumbers(ThreadMode):
    """Refuses random numbers that forward draws while it is recorded, in this thread alone."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.tracer.refuse(
                "draws random numbers, which tracing would freeze",
                "use nn.Dropout, or add the noise outside the model",
            )
        return func(*args, **(kwargs or {}))


_PATCHES = threading.RLock()


@contextmanager
def wrapped_functions(root: nn.Module) -> Iterator[None]:
    """`math`, and what `torch.fx.wrap` names, recorded as one call where they get a stand-in.

    Python's own functions ask a stand-in for a number that it has not. They are replaced where
    they stand for as long as the block lasts, by one thread at a time, with functions that do for
    everything but a stand-in what they did.
    """
    with _PATCHES:
        replaced: list[tuple[dict[str, Any], str, Any]] = []
        try:
            for where, name in _to_wrap(root):
                replaced.append((where, name, where.get(name)))
                where[name] = _recorded(where[name] if name in where else vars(builtins)[name])
            yield
        finally:
            for where, name, function in reversed(replaced):
                if function is None:
                    del where[name]
                else:
                    where[name] = function


def _to_wrap(root: nn.Module) -> list[tuple[dict[str, Any], str]]:
    """Each place, and the name in it, of a function that is to be recorded as one call."""
    of_math = {id(f) for name, f in vars(math).items() if callable(f) and name[0] != "_"}
    forwards = [getattr(type(module).forward, "__globals__", {}) for module in root.modules()]
    places = {id(place): place for place in (vars(math), *forwards)}
    found = {
        (id(place), name): (place, name)
        for place in places.values()
        for name, value in place.items()
        if name[0] != "_" and id(value) in of_math
    }
    for (_, name), place in list(_symbolic_trace._wrapped_fns_to_patch.items()):
        found[id(place), name] = (place, name)
    return list(found.values())


def _recorded(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        for value in tree_leaves((args, kwargs)):
            if issubclass(type(value), StandIn):
                return value.tracer.create_proxy("call_function", function, args, kwargs)
        return function(*args, **kwargs)

    return called
