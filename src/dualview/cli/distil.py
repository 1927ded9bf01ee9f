"""`dualview distil`: a trained network of the user's own -> a DLGN that does as it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dualview.cli.interruption import told_if_interrupted
from dualview.cli.options import (
    add_data_options,
    add_fields,
    add_machine_options,
    add_out,
    add_training_options,
    data_settings,
    gathered,
    switch,
    train_settings,
)
from dualview.experiments.records import RunRecord
from dualview.files.foreign_text import file_name
from dualview.files.user_code import own_name
from dualview.training import is_main_process
from dualview.training.distil_settings import DistilSettings

NAME = "distil"
HELP = "train a DLGN to do what a trained network of your own does, and keep it to be read"
DESCRIPTION = """\
Take a trained network apart with its weights copied, and train the DLGN (or DGN) on the
network's logits and the labels while the slope of its gates grows until they are as good as
hard. What is left has hard gates, where every statement on paths and kernels is exact:
`dualview explain` and `explore` take the folder that is left, with --model given again."""
EPILOG = """\
examples:
  dualview distil --model mine.py:Net --weights mine.safetensors --data data/cifar10
      the network that dualview or safetensors saved
  dualview distil --model mine.py:Net --weights mine.pt --epochs 10 --data data.npz
      a state dict that torch.save wrote

Interrupted, by Ctrl-C or otherwise? The same command goes on after the last finished epoch."""

KINDS_OFFERED = ("dlgn", "dgn")


def add_options(parser: Any) -> None:
    """The options of this command."""
    group = parser.add_argument_group("the trained network")
    group.add_argument(
        "--model",
        metavar="WHERE",
        type=str,
        required=True,
        help="what makes it: module:Class, ./mine.py:Class or a factory, called with those of "
        "num_classes and input_shape that it takes",
    )
    group.add_argument(
        "--weights",
        metavar="FILE",
        type=str,
        required=True,
        help="its parameters: .safetensors, or a state dict that torch.save wrote",
    )
    add_data_options(parser)
    group = parser.add_argument_group("what is learnt")
    group.add_argument("--kind", choices=list(KINDS_OFFERED), default="dlgn", help="of network")
    add_fields(group, DistilSettings, "share", "temperature", "fitting", "final_beta")
    switch(group, "hard", "keep the network with hard gates", default=True)
    add_training_options(parser)
    add_machine_options(parser)
    group = parser.add_argument_group("run")
    add_out(group, "where the run goes (default: runs/DATA-MODEL-distilled)")
    group.add_argument("--overwrite", action="store_true", help="delete an earlier run in --out")


def run(options: Any, again: str) -> int:
    """Distil, and say how well it went."""
    from dualview.experiments.data import load_settings
    from dualview.experiments.distilled_page import write_distilled_page
    from dualview.experiments.distilling import Distilling, distil_own
    from dualview.experiments.progress import TerminalProgress
    from dualview.experiments.run_folders import LEFT_NETWORK

    settings = Distilling(
        model=options.model,
        weights=Path(options.weights),
        kind=options.kind,
        hard=options.hard,
        teaching=gathered(DistilSettings, options),
        training=train_settings(options),
    )
    source = data_settings(options)
    name = file_name(own_name(options.model).replace(".py:", "-"))
    out = Path(options.out or f"runs/{Path(source.source).absolute().name}-{name}-distilled")
    with told_if_interrupted(f"finished epochs are kept. To go on: {again}"):
        record = distil_own(
            settings,
            load_settings(source),
            out,
            overwrite=options.overwrite,
            progress=TerminalProgress(),
        )
    if is_main_process():
        print(result_text(record))
        place = out / f"{record.kind}-seed0" / LEFT_NETWORK
        if record.status == "finished":
            print(f"\nReport:  {write_distilled_page(record, out / 'report.html')}", end="")
        print(f"\nNetwork: {place}\nExplore: dualview explore {place} --model {options.model}")
    return 0 if record.status == "finished" else 1


def result_text(record: RunRecord) -> str:
    """The accuracies, one on a line, with what each is of."""
    from dualview.experiments.distilled_page import accuracies

    if record.status != "finished":
        return f"\ndiverged: {record.message}"
    lines, found = accuracies(record), record.measurements
    width = max(len(text) for text, _ in lines)
    shown = [f"{text:<{width}}  {100 * value:6.2f} %" for text, value in lines]
    share = found["hard"] / found["teacher"] if found["teacher"] else 0.0
    return "\n".join(
        ["", f"Test accuracy on {record.data}", "", *shown, "", f"recovered: {100 * share:.1f} %"]
    )
