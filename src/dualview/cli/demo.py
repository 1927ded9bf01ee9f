"""`dualview demo`: the comparison on built-in data, in a few minutes, with nothing to choose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dualview.cli.comparison import run_comparison

NAME = "demo"
HELP = "compare DNN, DGN and DLGN on handwritten digits, in a few minutes, without a download"
DESCRIPTION = """\
Train a fully connected network of six layers as DNN, DGN, DLGN and DLGN with constant-1
input, three seeds each, on scikit-learn's handwritten digits (1,797 images of 8x8 pixels).
Prints one table and writes a page with figures, which opens in any browser, also offline."""
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

    title = "DNN, DGN and DLGN on handwritten digits"
    return run_comparison(
        DEMO, Path(options.out), overwrite=options.overwrite, again=again, title=title
    )
