"""`dualview explore`: a page to browse a run's predictions with, example by example."""

from __future__ import annotations

from typing import Any

from dualview.cli.explaining import add_run_options, load_network, write_page
from dualview.cli.interruption import told_if_interrupted
from dualview.training import at_least

NAME = "explore"
USAGE = "dualview explore RUN [OPTION ...]"
HELP = "write a page to browse many predictions of a run with, and see what they are made of"
DESCRIPTION = """\
Take many predictions of a trained network apart, exactly, and write one page that opens in
any browser, also offline. See the units that speak for a class and what opens them, the
confusions, a map; choose an example, by class or among the wrong ones, and see its logits,
gates, filters, layers, paths, and the training images that speak for and against."""
EPILOG = """\
examples:
  dualview explore demo/dlgn-seed0
      200 of the digits that `dualview demo` tests on
  dualview explore demo/dlgn-seed0 --wrong
      those that it takes for another digit
  dualview explore runs/cifar10-c4gap/dlgn-seed0 --data data/cifar10 --examples 50
      test images of CIFAR-10, spread evenly over the split
  dualview explore runs/mine --model mine.py:Net --data data/cifar10
      a network of your own, in a folder that save_pretrained or train wrote, or a run of
      `dualview compare --arch mine.py:Net`"""


def add_options(parser: Any) -> None:
    """The options of this command."""
    add_run_options(parser, out="explorer.html")
    parser.add_argument(
        "--examples",
        metavar="N",
        type=int,
        default=200,
        help="how many, spread evenly over the split",
    )
    parser.add_argument(
        "--wrong",
        action="store_true",
        help="only examples that the network takes for another class",
    )


def run(options: Any, again: str) -> int:
    """Explain so many examples, and write the page."""
    from dualview.explorer.explanations.inputs import spread_rows, wrong_rows
    from dualview.explorer.writing import page_path

    page_path(options.out)
    at_least("examples", options.examples, 1)
    with told_if_interrupted("no page was written"):
        loaded = load_network(options)
        part = getattr(loaded.data, options.split)
        rows = (
            wrong_rows(loaded.net, loaded.data, part, options.examples)
            if options.wrong
            else spread_rows(options.examples, len(part))
        )
        return write_page(options, loaded, rows, again)
