"""Graph modules that leave nothing behind when they go, and such as are still worked on."""

from __future__ import annotations

import linecache
import threading
import weakref
from collections import deque
from typing import Any

from torch import fx, nn
from torch.fx import graph_module
from torch.fx.graph import PythonCode

_ONE_AT_A_TIME = threading.Lock()
_GONE: deque[str] = deque()
"""Sources of networks that were collected, to be taken out of the tables.

Not while they are collected: that can happen in the midst of a traceback, which goes through
linecache's table and does not expect a name to vanish.
"""


class GraphNetwork(fx.GraphModule):
    """A `torch.fx.GraphModule` whose generated source does not outlive it for long.

    Every compilation, and so every copy, of a graph module adds its source to two tables of the
    process, for tracebacks, and torch.fx never takes it out: a process that converts networks again
    and again grows. Here the source can be read as long as its `forward` lives, and the next
    compilation takes out those of networks that were collected.

    >>> import gc, linecache, torch
    >>> network, other = (
    ...     GraphNetwork(torch.nn.Module(), fx.Tracer().trace(torch.nn.Sequential())) for _ in "ab")
    >>> source = network.forward.__code__.co_filename
    >>> source in linecache.cache
    True
    >>> del network
    >>> _ = gc.collect()
    >>> _ = other.recompile()
    >>> source in linecache.cache
    False
    """

    def recompile(self) -> PythonCode:
        """Compile the graph anew, as torch.fx does."""
        with _ONE_AT_A_TIME:  # torch.fx counts the names of sources for all threads
            _forget_the_gone()
            code = super().recompile()
        forward = type(self).forward
        source = forward.__code__.co_filename
        if source.startswith("<eval_with_key>"):  # other names can be shared by equal graphs
            weakref.finalize(forward, _GONE.append, source).atexit = False
        return code


class GraphDraft(fx.GraphModule):
    """A graph that is worked on: it is run node by node, and so never compiled.

    To compile a graph takes longer than most changes to it, and torch.fx does it at each.

    >>> import torch
    >>> draft = GraphDraft(torch.nn.Module(), fx.symbolic_trace(torch.nn.ReLU()).graph)
    >>> draft(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def recompile(self) -> Any:
        """Nothing."""

    def forward(self, *inputs: Any) -> Any:
        """The graph's output."""
        interpreter = fx.Interpreter(self)
        interpreter.extra_traceback = False
        return interpreter.run(*inputs)


def without_graph(network: fx.GraphModule) -> nn.Module:
    """The modules, parameters and buffers of a network under their names, without its graph."""
    holder = nn.Module()
    holder.training = network.training
    for kind in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
        setattr(holder, kind, getattr(network, kind))
    return holder


def _forget_the_gone() -> None:
    while _GONE:
        source = _GONE.popleft()
        linecache.cache.pop(source, None)
        graph_module._loader.eval_cache.pop(source, None)
