"""`dualview results`: committed records -> the page of results, with its tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

NAME = "results"
HELP = "rebuild the page of results from kept records, or add records to those"
DESCRIPTION = """\
Rebuild docs/results.md and its figures from the records in results/: every table, published
numbers beside measured ones, and where the numbers come from. Nothing is trained, and no
number is typed by hand; comments are read from docs/discussion/EXPERIMENT.md.

With --collect, add the records of finished experiments to results/ first."""
EPILOG = """\
examples:
  dualview results
      rebuild docs/results.md and docs/images/
  dualview results --collect runs/architectures-digits --suffix mine
      add the records of that run folder, beside those that are kept, then rebuild
  dualview results --collect runs/architectures-cifar10-paper
      the same; records of the paper preset stand beside those of the cpu preset
  dualview results --collect runs/architectures-digits --overwrite
      in place of kept records of the same names; others stay
  dualview results --collect runs/mine-digits --experiment mine.py
      records of an experiment of your own, with its tables and figures"""


def add_options(parser: Any) -> None:
    """The options of this command."""
    parser.add_argument(
        "--records", metavar="FOLDER", type=str, default="results", help="where records are kept"
    )
    parser.add_argument(
        "--docs", metavar="FOLDER", type=str, default="docs", help="where the page goes"
    )
    parser.add_argument(
        "--collect",
        metavar="RUN_FOLDER",
        nargs="+",
        type=str,
        help="output folders of `dualview reproduce` whose records are added",
    )
    parser.add_argument(
        "--suffix",
        metavar="WORD",
        type=str | None,
        help="behind the data's name, to keep several runs of one experiment apart",
    )
    parser.add_argument(
        "--experiment",
        metavar="FILE",
        nargs="+",
        type=str,
        help="experiments of your own, as `dualview reproduce` takes them, whose tables and "
        "figures are shown",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace kept records of the same name"
    )


def run(options: Any, again: str) -> int:
    """Collect, rebuild, and say what was written."""
    from dualview.experiments.collected import collect
    from dualview.experiments.registry import find
    from dualview.experiments.results_page import write_results

    own = [find(where) for where in options.experiment or ()]
    records = Path(options.records)
    for folder in options.collect or ():
        written = collect(Path(folder), records, options.suffix or "", overwrite=options.overwrite)
        print(f"{len(written)} records of {folder} -> {written[0].parent}")
    page, *figures = write_results(records, Path(options.docs), own)
    print(f"Page:    {page}")
    if figures:
        print(f"Figures: {len(figures)} in {figures[0].parent}")
    return 0
