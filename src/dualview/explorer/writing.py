"""`explain_page` and `explorer_page`: predictions of a network taken apart, as one HTML page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualview.arguments import (
    Check,
    file_path,
    flag,
    instance_of,
    offering,
    one_of,
    optional,
    said,
    several,
    takes,
    whole,
    words,
)
from dualview.conversion.examples import gated
from dualview.datasets import Dataset, Split
from dualview.datasets.dataset import SPLIT_NAMES
from dualview.datasets.fingerprint import data_fingerprint
from dualview.experiments.records import provenance
from dualview.experiments.summary import kind_name, percent
from dualview.explorer.explanations.explain import explain
from dualview.explorer.explanations.inputs import spread_rows, wrong_rows
from dualview.explorer.explanations.records import Explanations
from dualview.explorer.page import PageFacts, write_explorer
from dualview.progress import Progress
from dualview.training import SettingsError
from dualview.training.threads import use_threads

if TYPE_CHECKING:
    from dualview.conversion.gated_network import GatedNetwork
    from dualview.experiments.finished import FinishedRun
    from dualview.path_kernel.examples import Gates


def _finished_run(value: Any) -> Any:
    """A check as `dualview.arguments` has them."""
    from dualview.experiments.finished import FinishedRun

    return instance_of(FinishedRun, repair="dualview.experiments.load_run(folder)")(value)


_OF_A_PAGE: Mapping[str, Check] = {
    "net": gated,
    "data": instance_of(Dataset),
    "out": file_path,
    "split": one_of(*SPLIT_NAMES),
    "n_train": optional(whole(0)),
    "machine_gates": optional(one_of("model", "hard")),
    "run": optional(_finished_run),
    "command": words,
    "watcher": optional(offering("over", "note")),
}


@takes(SettingsError, **_OF_A_PAGE, rows=several(whole(0), "rows of the split", empty=True))
def explain_page(
    net: GatedNetwork,
    data: Dataset,
    rows: Sequence[int],
    out: Path | str,
    *,
    split: str = "test",
    n_train: int | None = None,
    machine_gates: Gates | None = None,
    run: FinishedRun | None = None,
    command: str = "",
    watcher: Progress | None = None,
) -> Explanations:
    """Take predictions apart, exactly, and write one page that opens in any browser, also offline.

    The page shows of each example the logits, the gates by layer and the filters behind them, what
    each layer adds, the strongest paths, and the training images that speak for and against.

    Args:
        net: a gated network that takes the data's images: as they are if it carries its input
            transform, else standardised by the data's statistics.
        data: where the examples are from, and the kernel machine's training examples.
        rows: of the examples in the split.
        out: the file to write, which ends in .html; its folder is made.
        split: "train", "validation" or "test".
        n_train: training examples of the kernel machine, 0 for none. Default: 1,000 for dense
            networks, 200 for others, and no machine where that takes more than ten minutes.
        machine_gates: "model" or "hard". Default: "model" for dense networks, else "hard".
        run: where the network is from, for the page's head.
        command: what made the page, for its foot.
        watcher: told how it goes.

    Returns:
        What the page shows, as numbers and arrays; `notes` say what is missing and why.

    Raises:
        SettingsError: `out` is no such file, or there is no such split.
        DataError: no rows, or a row that the split does not have.
        MissingExtraError: jinja2 or Pillow is not installed.

    >>> import tempfile, torch, dualview as dv
    >>> from dualview.architectures import fc
    >>> from dualview.datasets import load
    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <...>
    >>> net = dv.disentangle(fc(10, (1, 8, 8), width=8, depth=3), "dlgn", seed=0).eval()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = Path(folder) / "explanation.html"
    ...     found = explain_page(net, load("digits"), [17], page, n_train=20)
    ...     text = page.read_text()
    >>> len(found.examples), "DLGN on digits" in text
    (1, True)
    """
    path = page_path(out)
    threads = None if run is None else run.record.config.get("threads")
    with use_threads(threads):
        found = explain(
            net,
            data,
            rows,
            split=split,
            n_train=n_train,
            machine_gates=machine_gates,
            watcher=watcher,
        )
    write_explorer(found, page_facts(found, data, run, command), path)
    return found


@takes(SettingsError, **_OF_A_PAGE, examples=whole(1), wrong=flag)
def explorer_page(
    net: GatedNetwork,
    data: Dataset,
    out: Path | str,
    *,
    examples: int = 200,
    wrong: bool = False,
    split: str = "test",
    n_train: int | None = None,
    machine_gates: Gates | None = None,
    run: FinishedRun | None = None,
    command: str = "",
    watcher: Progress | None = None,
) -> Explanations:
    """As `explain_page`, of many examples: a page to choose them on, by class or by mistake.

    It also shows what the network has learnt over all of them: the network in ten boxes; of each
    class, or the difference of two, the units that add to it; of each unit, what opens it, what it
    adds to each class, its neighbours, and how far its filter can be read; a confusion matrix and a
    map of the examples.

    Args:
        net: as `explain_page` takes it.
        data: the same.
        out: the same.
        examples: how many, spread evenly over the split; all if there are fewer.
        wrong: only such as the network takes for another class.
        split: as `explain_page` takes it, and so is all that follows.
        n_train: of the kernel machine.
        machine_gates: of the kernel machine.
        run: where the network is from.
        command: what made the page.
        watcher: told how it goes.

    Returns:
        What the page shows.

    Raises:
        SettingsError: `examples` is no whole number from 1 on, or as `explain_page`.
        DataError: `wrong`, and there is no such example.
        MissingExtraError: as `explain_page`.

    >>> import tempfile, dualview as dv
    >>> from dualview.architectures import fc
    >>> from dualview.datasets import load
    >>> net = dv.disentangle(fc(10, (1, 8, 8), width=8, depth=3), "dlgn", seed=0).eval()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = Path(folder) / "explorer.html"
    ...     found = explorer_page(net, load("digits"), page, examples=3, n_train=0)
    >>> [example.row for example in found.examples]
    [0, 179, 358]
    """
    page_path(out)
    part: Split = getattr(data, split)
    rows = wrong_rows(net, data, part, examples) if wrong else spread_rows(examples, len(part))
    return explain_page(
        net,
        data,
        rows,
        out,
        split=split,
        n_train=n_train,
        machine_gates=machine_gates,
        run=run,
        command=command,
        watcher=watcher,
    )


def page_path(out: Path | str) -> Path:
    """Where the page goes, before minutes of work depend on it.

    Raises:
        SettingsError: it is a folder, or does not end in .html.
    """
    path = Path(out)
    if path.suffix not in (".html", ".htm") or path.is_dir():
        raise SettingsError(f"--out: expected a file such as explorer.html, got {said(path)}")
    return path


def page_facts(
    found: Explanations, data: Dataset, run: FinishedRun | None, command: str
) -> PageFacts:
    """Title and provenance of the page."""
    made, count = provenance("cpu"), len(found.examples)
    what = (
        f"{found.split} example {found.examples[0].row}"
        if count == 1
        else f"{count} of {found.n_split:,} {found.split} examples"
    )
    if run is None:
        name, standfirst = kind_name(found.kind), f"Gates: {found.gate}."
        facts = [("Data", f"{data.description}; fingerprint {data_fingerprint(data)}")]
    else:
        name, standfirst = kind_name(run.record.kind), _run_line(run)
        record, trained = run.record, run.record.provenance
        print_of_data = record.config.get("data_fingerprint", "–")
        facts = [
            ("Run", str(run.folder)),
            ("Trained", f"{trained.finished}, dualview {trained.dualview}, {trained.device}"),
            ("Data", f"{record.data}; fingerprint {print_of_data}"),
        ]
    facts.append(("Examples", _examples_text(found)))
    if run is not None:
        facts.append(("Options of the run", json.dumps(run.record.config, sort_keys=True)))
    facts.append(("Page made", f"{made.finished}, dualview {made.dualview}, commit {made.code}"))
    facts.append(("With", f"PyTorch {made.torch}, Python {made.python}, {made.machine}"))
    if command:
        facts.append(("Command", command))
    return PageFacts(f"{name} on {found.data}: {what}, and why", standfirst, tuple(facts))


def _run_line(run: FinishedRun) -> str:
    record = run.record
    width = "" if record.width is None else f", width {record.width}"
    return (
        f"{record.architecture}{width}, seed {record.seed}, {record.epochs} epochs; it classifies "
        f"{percent(record.test_accuracy, None)} % of the test split rightly."
    )


def _examples_text(found: Explanations) -> str:
    rows = [example.row for example in found.examples]
    some = ", ".join(map(str, rows[:5])) + (", …" if len(rows) > 5 else "")
    return f"{len(rows):,} of the {found.n_split:,} of the {found.split} split: rows {some}"
