"""How long work goes on: what it tells of itself, and the one class that draws it.

What takes long takes a `Progress` and knows nothing of terminals. A training run and the runs of an
experiment tell of more, in `dualview.training.Watcher` and `dualview.experiments.progress`; what is
drawn of that is drawn here, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, TextIO, TypeVar

Item = TypeVar("Item")

Advance = Callable[[int], None]
"""Told how many more are done."""


class Progress(Protocol):
    """Told how work goes on."""

    def over(self, items: Sequence[Item], title: str) -> Iterable[Item]:
        """The items, one by one."""

    def counting(
        self,
        total: int,
        title: str,
        *,
        unit: str,
        done: int = 0,
        tell: Advance | None = None,
        expected: str = "",
    ) -> AbstractContextManager[Advance]:
        """Around work on `total` units, of which `done` are done; enter it for an `Advance`.

        `tell` hears how many are done at every tenth, where nobody sees a bar; `expected`, how long
        it should take, stands there until the first are done.
        """

    def note(self, text: str) -> None:
        """What begins, and how long it should take."""


class Unseen:
    """Progress that nobody looks at."""

    def over(self, items: Sequence[Item], title: str) -> Iterable[Item]:
        """The items."""
        return items

    def counting(
        self,
        total: int,
        title: str,
        *,
        unit: str,
        done: int = 0,
        tell: Advance | None = None,
        expected: str = "",
    ) -> AbstractContextManager[Advance]:
        """Count, for `tell`."""
        return nullcontext(_by_tenths(total, done, tell) if tell else _ignore)

    def note(self, text: str) -> None:
        """Ignored."""


class Terminal:
    r"""Bars in a terminal or a notebook, which go away at their end; elsewhere a line a step.

    Args:
        stream: where to write; standard error if None.

    >>> import io
    >>> stream = io.StringIO()
    >>> list(Terminal(stream).over([1, 2], "pairs")), stream.getvalue()
    ([1, 2], 'pairs\n')
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        in_notebook = type(self.stream).__module__.startswith("ipykernel")
        self.draws = (self.stream.isatty() or in_notebook) and _tqdm() is not None

    def over(self, items: Sequence[Item], title: str) -> Iterable[Item]:
        """The items, with a bar; where there are no bars, a line first."""
        if self.draws:
            return self._over(items, title)
        if items:
            self.note(title)
        return items

    def _over(self, items: Sequence[Item], title: str) -> Iterator[Item]:
        yield from self.bar(len(items), desc=title, iterable=items)

    @contextmanager
    def counting(
        self,
        total: int,
        title: str,
        *,
        unit: str,
        done: int = 0,
        tell: Advance | None = None,
        expected: str = "",
    ) -> Iterator[Advance]:
        """As `Progress` says."""
        if not self.draws:
            with Unseen().counting(total, title, unit=unit, done=done, tell=tell) as advance:
                yield advance
            return
        with self.bar(total, desc=title, unit=unit, initial=done, postfix=expected or None) as bar:

            def advance_bar(more: int) -> None:
                if expected and bar.postfix:
                    bar.set_postfix_str("", refresh=False)
                bar.update(more)

            yield advance_bar
            bar.refresh()  # what came last is seen before the bar goes

    def note(self, text: str) -> None:
        """A line, above the bars where there are any."""
        tqdm = _tqdm()
        if tqdm is None:
            print(text, file=self.stream)
        else:
            tqdm.write(text, file=self.stream)
        self.stream.flush()

    def status(self, text: str) -> None:
        """What is going on, in a line that the next one replaces, in a terminal only."""
        if self.stream.isatty():
            print(f"\r\033[K{text[:98]}\r", end="", file=self.stream, flush=True)

    def bar(self, total: float, **options: Any) -> Any:
        """A bar as tqdm has them, for those that draw more than one; only where this one draws."""
        tqdm = _tqdm()
        assert tqdm is not None
        return tqdm(total=total, file=self.stream, dynamic_ncols=True, leave=False, **options)


def _tqdm() -> Any:
    """The class that draws bars, of text; None: it is not installed."""
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        return None
    return tqdm


def _by_tenths(total: int, done: int, tell: Advance) -> Advance:
    def advance(more: int) -> None:
        nonlocal done
        before, done = done, done + more
        if done * 10 // total > before * 10 // total:
            tell(done)

    return advance


def _ignore(more: int) -> None:
    """Nobody counts."""
