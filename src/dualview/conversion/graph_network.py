"""Graph modules that leave nothing behind when they go."""

from __future__ import annotations

import linecache
import threading
import weakref

from torch import fx
from torch.fx import graph_module
from torch.fx.graph import PythonCode

_ONE_AT_A_TIME = threading.Lock()


class GraphNetwork(fx.GraphModule):
    """A `torch.fx.GraphModule` that takes its generated source with it when it is collected.

    Every compilation, and so every copy, of a graph module adds its source to two tables of the
    process, for tracebacks, and torch.fx never takes it out: a process that converts networks again
    and again grows. Here the source can be read as long as its `forward` lives.

    >>> import gc, linecache, torch
    >>> graph = fx.Tracer().trace(torch.nn.Sequential())
    >>> network = GraphNetwork(torch.nn.Module(), graph)
    >>> source = network.forward.__code__.co_filename
    >>> source in linecache.cache
    True
    >>> del network, graph
    >>> _ = gc.collect()
    >>> source in linecache.cache
    False
    """

    def recompile(self) -> PythonCode:
        """Compile the graph anew, as torch.fx does."""
        with _ONE_AT_A_TIME:  # torch.fx counts the names of sources for all threads
            code = super().recompile()
        forward = type(self).forward
        source = forward.__code__.co_filename
        if source.startswith("<eval_with_key>"):  # other names can be shared by equal graphs
            weakref.finalize(forward, _forget, source).atexit = False
        return code


def _forget(source: str) -> None:
    linecache.cache.pop(source, None)
    graph_module._loader.eval_cache.pop(source, None)
