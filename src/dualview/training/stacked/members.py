"""What one network of a stack carries from epoch to epoch, in memory and in its own folder.

Each member has the files of a run of its own: a checkpoint after every epoch, the curve as CSV, the
model at the end. So a stack that was interrupted may go on with other companions, or alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dualview.conversion.parameters import save_parameters
from dualview.training.checkpoints import CURVE, curve_of, read_checkpoint, write_checkpoints
from dualview.training.feeding import Feed, completed_state
from dualview.training.metrics import EpochMetrics, TrainingResult, write_metrics
from dualview.training.run import CHECKPOINT, METRICS, MODEL
from dualview.training.settings import TrainSettings
from dualview.training.stacked.network import Stack

OptimiserState = list[dict[str, Tensor]]
"""For each parameter of the stack what the optimiser remembers of one network's share of it."""


@dataclass(eq=False)
class Member:
    """One network of a stack.

    Attributes:
        net: holds the parameters whenever no stack is being trained.
        fed: how it gets its images.
        settings: resolved.
        folder: of its run.
        job: what its run is, as of `identity`.
        curve: of the completed epochs.
        optimiser: empty before the first epoch.
        diverged: why it is out; empty otherwise.
    """

    net: nn.Module
    fed: Feed
    settings: TrainSettings
    folder: Path
    job: Mapping[str, Any] = field(default_factory=dict)
    curve: list[EpochMetrics] = field(default_factory=list)
    optimiser: OptimiserState = field(default_factory=list)
    diverged: str = ""

    @property
    def epochs_done(self) -> int:
        """Completed epochs."""
        return len(self.curve)

    def resume(self) -> None:
        """Take up what an interrupted call left in the folder, if anything.

        Raises:
            RunError: the checkpoint is damaged, or of another run.
        """
        path = self.folder / CHECKPOINT
        checkpoint = read_checkpoint(path, self.job)
        if checkpoint is None:
            return
        self.curve = curve_of(checkpoint, self.settings.epochs, path)
        self.net.load_state_dict(completed_state(checkpoint["network"], self.net))
        self.optimiser = checkpoint["optimiser"]

    def checkpoint(self) -> dict[str, Any]:
        """All that `resume` takes up."""
        return {
            "network": self.net.state_dict(),
            CURVE: [asdict(epoch) for epoch in self.curve],
            "optimiser": self.optimiser,
        }

    def finish(self, device: str) -> TrainingResult:
        """Write curve and model; the network ends in evaluation mode, on the CPU."""
        self.net.cpu().eval()
        write_metrics(self.curve, self.folder / METRICS)
        if not self.diverged:
            save_parameters(self.net, self.folder / MODEL)
        return TrainingResult(
            "diverged" if self.diverged else "finished",
            self.diverged,
            tuple(self.curve),
            sum(p.numel() for p in self.net.parameters() if p.requires_grad),
            device,
            network=self.fed.whole.cpu().eval(),
        )


def keep(members: Sequence[Member]) -> None:
    """Write everyone's curve and checkpoint, the checkpoints to be there all at once.

    A kill in the instant between two renamings leaves some one epoch ahead of others; they wait for
    each other when the stack goes on.
    """
    for member in members:
        write_metrics(member.curve, member.folder / METRICS)
    write_checkpoints(
        (member.folder / CHECKPOINT, member.job, member.checkpoint()) for member in members
    )


def hand_out(stack: Stack, optimiser: Optimizer, members: Sequence[Member]) -> None:
    """Give each member its share of the stack's parameters and of the optimiser's memory."""
    parameters = list(stack.parameters())
    with torch.no_grad():
        for stacked, sources in zip(parameters, stack.sources, strict=True):
            for own, source in zip(stacked, sources, strict=True):
                source.copy_(own.t() if source.dim() == 2 else own[0])
    for i, member in enumerate(members):
        member.optimiser = [
            {
                name: (value[i] if value.dim() else value).detach().cpu().clone()
                for name, value in optimiser.state[parameter].items()
                if value is not None
            }
            for parameter in parameters
        ]


def take_in(stack: Stack, optimiser: Optimizer, members: Sequence[Member]) -> None:
    """Give the optimiser what the members remember; all have done equally many epochs."""
    if not members[0].optimiser:
        return
    for place, parameter in enumerate(stack.parameters()):
        shares = [member.optimiser[place] for member in members]
        for name, first in shares[0].items():
            value = torch.stack([share[name] for share in shares]) if first.dim() else first
            # The count of steps stays where the optimiser keeps it: with the parameters.
            optimiser.state[parameter][name] = value.clone().to(parameter.device)


def mean_metrics(members: Sequence[Member]) -> EpochMetrics:
    """The last epoch's metrics, averaged over the members; for showing progress."""
    last = [asdict(member.curve[-1]) for member in members]
    means = {
        name: fmean(epoch[name] for epoch in last) if value is not None else None
        for name, value in last[0].items()
    }
    return EpochMetrics(**{**means, "epoch": last[0]["epoch"]})
