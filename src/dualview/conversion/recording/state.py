"""What a model's modules hold beside their parameters, so that a forward that sets it is found."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

_TORCHS = frozenset(vars(nn.Module()))
_PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None)})
_CONTAINERS = (list, deque, set, dict)


class State:
    """The attributes and buffers of all modules of `root` at one moment, one level deep."""

    def __init__(self, root: nn.Module) -> None:
        self.root = root
        self._held = {key: (place, _seen(place)) for key, place in _places(root)}

    def restore(self) -> None:
        """Put back what was there; values that a tensor has been given in place stay."""
        for place, seen in self._held.values():
            for name in set(_seen(place)) - set(seen):
                del place[name]
            for name, (value, content, _) in seen.items():
                place[name] = value
                if content is not None:
                    value.clear()
                    put = value.extend if isinstance(value, list | deque) else value.update
                    put(content)

    def changes(self) -> Iterator[tuple[str, Any, Any]]:
        """`module.attribute`, what it was (None: nothing), what was put there since."""
        for key, (place, seen) in self._held.items():
            now = _seen(place)
            for name in now.keys() | seen.keys():
                before, after = seen.get(name, _NOTHING), now.get(name, _NOTHING)
                if not _same(before, after):
                    path = f"{key[0]}.{name}" if key[0] else name
                    new = [v for v in _entries(after) if not any(v is o for o in _entries(before))]
                    yield f"self.{path}", before[0], new[0] if len(new) == 1 else new


_Seen = tuple[Any, Any, int]  # a value, a copy of what is in it, how often it was changed in place
_NOTHING: _Seen = (None, None, 0)


def _places(root: nn.Module) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for path, module in root.named_modules():
        yield (path, ""), vars(module)
        yield (path, "_buffers"), module._buffers


def _seen(place: Mapping[str, Any]) -> dict[str, _Seen]:
    return {
        name: (
            value,
            copy.copy(value) if isinstance(value, _CONTAINERS) else None,
            _times_changed(value),
        )
        for name, value in place.items()
        if name not in _TORCHS
    }


def _times_changed(value: Any) -> int:
    """How often a tensor, or those in a container, were changed in place."""
    if type(value) in _PLAIN:
        return 0
    held = value.values() if isinstance(value, dict) else value
    found = held if isinstance(value, _CONTAINERS) else [value]
    return sum(
        tensor._version for tensor in found if type(tensor) is Tensor and not tensor.is_inference()
    )


def _entries(seen: _Seen) -> list[Any]:
    value, content, _ = seen
    if content is None:
        return [value]
    return list(content.values()) if isinstance(content, dict) else list(content)


def _same(a: _Seen, b: _Seen) -> bool:
    if a[2] != b[2] or (a[0] is not b[0] and not _equal(a[0], b[0])):
        return False
    before, after = _entries(a), _entries(b)
    return len(before) == len(after) and all(
        x is y or _equal(x, y) for x, y in zip(before, after, strict=True)
    )


def _equal(a: Any, b: Any) -> bool:
    """Whether two plain values are one; others are one only if they are the same object."""
    return type(a) is type(b) and type(a) in _PLAIN and a == b


def holds_stand_in(value: Any) -> bool:
    """Whether a recording has left something in `value` that stands for a tensor."""
    return any(issubclass(type(leaf), fx.Proxy) for leaf in tree_leaves(value))
