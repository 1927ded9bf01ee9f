"""`dualview demo`: the comparison on built-in data, in a few minutes, with nothing to choose."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from dualview.cli.comparison import run_comparison
from dualview.cli.interruption import told_if_interrupted
from dualview.progress import Terminal
from dualview.training import is_main_process

NAME = "demo"
EXPLORER = "explorer.html"
EXPLORED = 100
"""Examples on that page."""
HELP = "compare DNN, DGN and DLGN on handwritten digits, in a few minutes, without a download"
DESCRIPTION = """\
Train a fully connected network of six layers as DNN, DGN, DLGN and DLGN with constant-1
input, three seeds each, on scikit-learn's handwritten digits (1,797 images of 8x8 pixels).
Prints one table and writes a page with figures, and another that explores what the first DLGN
has learnt; both open in any browser, also offline."""
EPILOG = """\
examples:
  dualview demo
  dualview demo --out /tmp/demo"""


def add_options(parser: Any) -> None:
    """The options of this command."""
    parser.add_argument(
        "--out", metavar="FOLDER", type=str, default="demo", help="where runs and report go"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="delete the runs of an earlier demo there"
    )


def run(options: Any, again: str) -> int:
    """Compare, and report; `again` is the command that goes on after an interruption."""
    from dualview.experiments.demo import DEMO

    out = Path(options.out)
    title = "DNN, DGN and DLGN on handwritten digits"
    status = run_comparison(DEMO, out, overwrite=options.overwrite, again=again, title=title)
    if status == 0 and is_main_process():
        with told_if_interrupted(f"the report is written. For the explorer: {again}"):
            _explore(out)
    return status


def _explore(out: Path) -> None:
    """The page of the first DLGN, unless that diverged."""
    from dualview.errors import RunError
    from dualview.experiments.finished import load_run
    from dualview.explorer.writing import explorer_page

    try:
        run = load_run(out / "dlgn-seed0")
    except RunError as error:
        print(f"dualview demo: note: nothing to explore: {error}", file=sys.stderr)
        return
    page = out / EXPLORER
    explorer_page(
        run.net,
        run.data,
        page,
        examples=EXPLORED,
        run=run,
        command=f"dualview explore {run.folder} --examples {EXPLORED} --out {page}",
        watcher=Terminal(),
    )
    print(f"Explore: {page}")
