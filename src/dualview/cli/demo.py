"""`dualview demo`: the main job on data that needs no download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dualview.cli.compare import compare_and_report
from dualview.cli.options import Parser

DESCRIPTION = """\
Train DNN, DGN, DLGN and DLGN with constant-1 input on scikit-learn's handwritten digits (1,797 real
8x8 images), three seeds each: about a minute on two CPU cores. Prints a table and writes
OUT/report.html, one page that works offline.
"""


def parser() -> Parser:
    """The options of the command."""
    made = Parser("demo", DESCRIPTION)
    made.option("--out", default="demo", help="folder of the runs and of report.html")
    made.option("--overwrite", type=bool, default=False, help="true: delete earlier runs in --out")
    return made


def run(options: Any) -> int:
    """Train, print the table, write the report."""
    from dualview.experiments.demo import DEMO

    title = "DNN, DGN and DLGN on handwritten digits"
    return compare_and_report(DEMO, Path(options.out), overwrite=options.overwrite, title=title)
