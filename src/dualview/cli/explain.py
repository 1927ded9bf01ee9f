"""`dualview explain`: what one prediction of a run is made of, as a page."""

from __future__ import annotations

from typing import Any

from dualview.cli.explaining import add_run_options, load_network, write_page
from dualview.cli.interruption import told_if_interrupted
from dualview.training import SettingsError

NAME = "explain"
USAGE = "dualview explain RUN --index N [N ...] [OPTION ...]"
HELP = "write a page about single predictions of a run: gates, filters, paths, training images"
DESCRIPTION = """\
Take predictions of a trained network apart, exactly, and write one page that opens in any
browser, also offline: the logits, the gates by layer and the filters behind them, what each
layer adds, the strongest paths, and the training images that speak for and against."""
EPILOG = """\
examples:
  dualview explain demo/dlgn-seed0 --index 17
      one of the digits that `dualview demo` tests on
  dualview explain runs/cifar10-c4gap/dlgn-seed0 --data data/cifar10 --index 3 8 12
      some test images of CIFAR-10
  dualview explain runs/mine --model mine.py:Net --data data/cifar10 --index 3
      a network of your own, in a folder that save_pretrained or train wrote, or a run of
      `dualview compare --arch mine.py:Net`"""


def add_options(parser: Any) -> None:
    """The options of this command."""
    add_run_options(parser, out="explanation.html")
    parser.add_argument(
        "--index",
        metavar="N",
        nargs="+",
        type=int,
        help="rows of the examples in the split, counted from 0",
    )


def run(options: Any, again: str) -> int:
    """Explain the examples, and write the page."""
    from dualview.explorer.writing import page_path

    page_path(options.out)
    if not options.index:
        raise SettingsError("--index: expected the row of an example or more, as in --index 17")
    with told_if_interrupted("no page was written"):
        rows = list(dict.fromkeys(options.index))
        return write_page(options, load_network(options), rows, again)
