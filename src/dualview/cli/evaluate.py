"""`dualview evaluate`: are the explanations of a trained network true?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dualview.cli.explaining import SPLITS, add_network_options
from dualview.cli.interruption import told_if_interrupted
from dualview.cli.options import add_out, data_settings
from dualview.progress import Terminal
from dualview.training import SettingsError, at_least

NAME = "evaluate"
USAGE = "dualview evaluate RUN [OPTION ...]"
HELP = "try the explanations of a run on its network: does it lose what they say it would?"
DESCRIPTION = """\
Explain decisions of a trained network by pixels - path contributions, the same with softened
gates, and by Captum gradient x input and integrated gradients - and try each explanation on the
network: take away the pixels that it names (deletion, insertion), take away random sets of them
(sensitivity-n), add a little noise (stability). Ends with a table and a page, with error bars."""
EPILOG = """\
examples:
  dualview evaluate demo/dlgn-seed0
      200 of the digits that `dualview demo` tests on
  dualview evaluate runs/cifar10-c4gap/dlgn-seed0 --data data/cifar10 --examples 500
      more of them, for smaller errors
  dualview evaluate demo/dlgn-seed0 --methods paths softened-paths random --soften 4
      without Captum, gates softened less

`dualview reproduce explanations` trains networks and compares all of it."""


def add_options(parser: Any) -> None:
    """The options of this command."""
    add_network_options(parser)
    group = parser.add_argument_group("trial")
    group.add_argument(
        "--examples", metavar="N", type=int, default=200, help="decisions to explain"
    )
    group.add_argument("--split", choices=list(SPLITS), default="test", help="of the data")
    group.add_argument(
        "--methods",
        metavar="NAME",
        nargs="+",
        type=str,
        help="some of paths, softened-paths, gradient-input, integrated-gradients, random "
        "(default: all)",
    )
    group.add_argument(
        "--soften",
        metavar="BETA",
        type=float,
        default=1.0,
        help="steepness of softened gates, sigmoid(BETA * pre-activation)",
    )
    group.add_argument("--seed", metavar="N", type=int, default=0, help="of all that is drawn")
    add_out(
        group, "where page, numbers and figure go (default: evaluation in the folder of the run)"
    )


def run(options: Any, again: str) -> int:
    """Explain, try, and write what was found."""
    from dualview.experiments.explanations.evaluated_page import write_evaluated_page
    from dualview.experiments.explanations.figures import curves
    from dualview.experiments.explanations.tables import table_of
    from dualview.experiments.explanations.trial import tried
    from dualview.experiments.finished import load_network
    from dualview.experiments.tables import to_csv, to_markdown, to_text
    from dualview.files.writing import write_json, write_text
    from dualview.pages.style import save_figure

    at_least("examples", options.examples, 2)
    out = Path(options.out or Path(options.run_folder) / "evaluation")
    if out.exists() and not out.is_dir():
        raise SettingsError(f"--out: expected a folder, got the file {out}")
    with told_if_interrupted("nothing was written"):
        found = load_network(options.run_folder, data_settings(options), model=options.model)
        measured = tried(
            found.net,
            found.data,
            split=options.split,
            examples=options.examples,
            methods=options.methods,
            soften=options.soften,
            seed=options.seed,
            progress=Terminal(),
        )
    title = f"{found.folder.name} on {found.data.description}"
    table = table_of(measured, f"Explanations of {title}, tried on the network")
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "explanations.json", measured)
    write_text(out / "explanations.md", to_markdown(table) + "\n")
    write_text(out / "explanations.csv", to_csv(table))
    save_figure(curves(measured, title), out / "explanations.svg")
    page = write_evaluated_page(measured, title, out / "explanations.html")
    print(f"{to_text(table)}\n\nPage:    {page}\nNumbers: {out / 'explanations.json'}")
    return 0
