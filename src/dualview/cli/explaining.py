"""What `explain` and `explore` share: a run as a network, its examples explained, the page."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dualview.cli.kernel import NETWORK, gated_network, read_config
from dualview.cli.options import add_data_options, data_settings
from dualview.errors import RunError
from dualview.experiments.settings import KINDS, ComparisonSettings
from dualview.training import SettingsError, at_least, choose
from dualview.training.threads import use_threads

if TYPE_CHECKING:
    from dualview.conversion.gated_network import GatedNetwork
    from dualview.datasets import Dataset
    from dualview.experiments.records import RunRecord
    from dualview.explorer.explanations.records import Explanations
    from dualview.explorer.page import PageFacts

Item = TypeVar("Item")

SPLITS = ("train", "validation", "test")
GATES = ("model", "hard")
MOST_BYTES = 15e6
"""A page that is larger is slow to open; the command says so."""


@dataclass(frozen=True)
class Run:
    """A trained network, and where it is from."""

    folder: Path
    net: GatedNetwork
    data: Dataset
    record: RunRecord


def add_run_options(parser: Any, out: str) -> None:
    """The run, its data, the kernel machine, and the page."""
    parser.add_argument(
        "run_folder",
        metavar="RUN",
        type=str,
        help="the folder of one finished run, as in demo/dlgn-seed0",
    )
    add_data_options(parser)
    group = parser.add_argument_group("page")
    group.add_argument("--out", metavar="FILE", type=str, default=out, help="the page")
    group.add_argument(
        "--split", choices=list(SPLITS), default="test", help="of the data, to choose examples from"
    )
    group.add_argument(
        "--train",
        metavar="N",
        type=int | None,
        help="training examples of the kernel machine, 0 for none (default: 1,000 for dense "
        "networks, 200 for others, and no machine where that takes more than ten minutes)",
    )
    group.add_argument(
        "--machine-gates",
        choices=list(GATES),
        help="gates of the kernel machine: as the network applies them, or 1{q > 0}, which is much "
        "faster in convolutional networks (default: model for dense networks, else hard)",
    )


def page_path(out: str) -> Path:
    """Where the page goes, before minutes of work depend on it.

    Raises:
        SettingsError: it is a folder, or does not end in .html.
    """
    path = Path(out)
    if path.is_dir() or path.suffix not in (".html", ".htm"):
        raise SettingsError(f"--out: expected a file such as explorer.html, got {out}")
    return path


def load_run(options: Any) -> Run:
    """The run that the options name, as a network, with its data.

    Raises:
        RunError: it is no finished run, it diverged, or it was trained on other data.
    """
    from dualview.experiments.comparison import load_data

    folder = Path(options.run_folder)
    at_least("train", options.train, 0)
    record = _record(folder)
    config = read_config(folder)
    given = {name: config[name] for name in NETWORK if config[name] is not None}
    kind, seed = given.pop("kind"), given.pop("seed")
    choose("kind", kind, KINDS)
    settings = ComparisonSettings(data=data_settings(options), kinds=(kind,), **given)
    data = load_data(settings)
    net = gated_network(settings, kind, seed, data, str(folder), config)
    return Run(folder, net.eval(), data, record)


def _record(folder: Path) -> RunRecord:
    """The run's record, if the run finished.

    Raises:
        RunError: otherwise; the message names runs that lie in the folder.
    """
    from dualview.experiments.records import load_record
    from dualview.experiments.run_folders import RECORD

    if not (folder / RECORD).exists():
        names = sorted(path.parent.name for path in folder.glob(f"*/{RECORD}"))
        inside = sorted(names, key=lambda name: not name.startswith("dlgn-seed"))
        hint = f"one of the runs in it, such as {folder / inside[0]}" if inside else "such a folder"
        raise RunError(
            f"{folder}: expected the folder of a finished run, as in runs/digits-fc/dlgn-seed0, "
            f"found no {RECORD}. Repair: give {hint}"
        )
    record = load_record(folder / RECORD)
    if record.status != "finished":
        raise RunError(
            f"{folder}: the run {record.status} ({record.message}), so that its predictions mean "
            f"nothing. Repair: give a run that finished"
        )
    return record


def explained(options: Any, run: Run, rows: Sequence[int]) -> Explanations:
    """The explanations, with a progress bar in a terminal."""
    from dualview.explorer.explanations.explain import explain

    with use_threads(run.record.config.get("threads")):
        return explain(
            run.net,
            run.data,
            rows,
            split=options.split,
            n_train=options.train,
            machine_gates=options.machine_gates,
            watcher=TerminalWatcher(),
        )


def write_page(run: Run, found: Explanations, again: str, path: Path) -> int:
    """Write the page, and say where it is and what is missing; returns the exit status."""
    from dualview.explorer.page import write_explorer

    write_explorer(found, page_facts(run, found, again), path)
    for note in found.notes:
        print(f"dualview: note: {note}", file=sys.stderr)
    size = path.stat().st_size
    if size > MOST_BYTES:
        print(
            f"dualview: note: the page has {size / 1e6:.0f} MB and will be slow to open; fewer "
            f"examples make it smaller",
            file=sys.stderr,
        )
    print(f"Page: {path} ({size / 1e6:.1f} MB)")
    return 0


def page_facts(run: Run, found: Explanations, again: str) -> PageFacts:
    """Title and provenance of the page."""
    from dualview.experiments.records import provenance
    from dualview.experiments.summary import kind_name, percent
    from dualview.explorer.page import PageFacts

    record, count = run.record, len(found.examples)
    what = (
        f"{found.split} example {found.examples[0].row}"
        if count == 1
        else f"{count} of {found.n_split:,} {found.split} examples"
    )
    width = "" if record.width is None else f", width {record.width}"
    right = percent(record.test_accuracy, None)
    made = provenance("cpu")
    commit = made.commit.replace("+changes", " with uncommitted changes") or "none"
    trained = record.provenance
    return PageFacts(
        title=f"{kind_name(record.kind)} on {record.data}: {what}, and why",
        standfirst=f"{record.architecture}{width}, seed {record.seed}, {record.epochs} epochs; "
        f"it classifies {right} % of the test split rightly.",
        facts=(
            ("Run", str(run.folder)),
            ("Trained", f"{trained.finished}, dualview {trained.dualview}, {trained.device}"),
            ("Data", f"{record.data}; fingerprint {record.config.get('data_fingerprint', '–')}"),
            ("Examples", _examples_text(found)),
            ("Options of the run", json.dumps(record.config, sort_keys=True)),
            ("Page made", f"{made.finished}, dualview {made.dualview}, commit {commit}"),
            ("With", f"PyTorch {made.torch}, Python {made.python}, {made.machine}"),
            ("Command", again),
        ),
    )


def _examples_text(found: Explanations) -> str:
    rows = [example.row for example in found.examples]
    some = ", ".join(map(str, rows[:5])) + (", …" if len(rows) > 5 else "")
    return f"{len(rows):,} of the {found.n_split:,} of the {found.split} split: rows {some}"


class TerminalWatcher:
    """A bar in a terminal, on standard error; elsewhere a line at the start of each step."""

    def over(self, items: Sequence[Item], title: str) -> Iterable[Item]:
        """The items, with a bar that goes away at its end."""
        from tqdm import tqdm

        if not sys.stderr.isatty():
            if items:
                self.note(title)
            return items
        return self._bar(tqdm(items, title, leave=False, dynamic_ncols=True))

    def _bar(self, bar: Any) -> Iterator[Any]:
        yield from bar

    def note(self, text: str) -> None:
        """A line on standard error."""
        print(text, file=sys.stderr, flush=True)
