"""Attributions of a prediction to training examples: by the kernel machine, and by others.

Each says how much every training example adds to the *margin* of some targets: the logit of their
class minus the log-sum-exp of the others, which is the logarithm of its odds.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dualview.conversion.gated_network import GatedNetwork
from dualview.path_kernel.attribution import kernel_attributions
from dualview.path_kernel.machines import NPKClassifier

AT_ONCE = 64
"""Examples whose gradients are held at once."""
PROJECTED = 512
"""Dimensions that TRAK projects gradients to."""


@dataclass(frozen=True)
class Case:
    """A trained network, its training examples, and the targets that are to be explained."""

    net: GatedNetwork
    train: Tensor
    train_labels: Tensor
    targets: Tensor
    target_labels: Tensor


Attribution = Callable[[Case], np.ndarray]
"""case -> (targets, training examples)."""


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Logarithm of the odds of each row's class: (n, classes) -> (n,).

    >>> margins(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor([0.])
    """
    own = torch.arange(logits.shape[1]) == labels[:, None]
    others = logits.masked_fill(own, -torch.inf).logsumexp(1)
    return logits.gather(1, labels[:, None])[:, 0] - others


def kernel_machine(case: Case) -> np.ndarray:
    """Parts in the scores of ridge regression on the path kernel: own class minus the others."""
    machine = NPKClassifier(case.net).fit(case.train.numpy(), case.train_labels.numpy())
    found = kernel_attributions(machine, case.targets.numpy())
    rows = []
    for one, label in zip(found, case.target_labels.tolist(), strict=True):
        column = one.classes.tolist().index(label)
        rest = (one.parts.sum(1) - one.parts[:, column]) / (len(one.classes) - 1)
        rows.append(one.parts[:, column] - rest)
    return np.array(rows)


def gradient_similarity(case: Case) -> np.ndarray:
    """What a small step of gradient descent on each training example adds to a target's margin."""
    target = torch.cat(list(_gradients(case.net, case.targets, case.target_labels)))
    found = []
    for part, x, y in zip(
        _gradients(case.net, case.train, case.train_labels),
        case.train.split(AT_ONCE),
        case.train_labels.split(AT_ONCE),
        strict=True,
    ):
        with torch.no_grad():  # the derivative of -log p by the margin is p - 1
            step = 1 - margins(case.net(x), y).sigmoid()
        found.append(target @ (part * step[:, None]).T)
    return torch.cat(found, dim=1).double().numpy()


def _gradients(net: GatedNetwork, x: Tensor, labels: Tensor) -> Iterator[Tensor]:
    """Gradients of the margins, batch by batch: (batch, parameters)."""
    own = {name: p.detach() for name, p in net.named_parameters() if p.requires_grad}
    rest = {n: p.detach() for n, p in (*net.named_parameters(), *net.named_buffers())}

    def margin(parameters: dict[str, Tensor], one: Tensor, label: Tensor) -> Tensor:
        state = rest | parameters
        logits = torch.func.functional_call(net, state, (one[None],))
        return margins(logits, label[None])[0]

    each = torch.func.vmap(torch.func.grad(margin), (None, 0, 0))
    for part, label in zip(x.split(AT_ONCE), labels.split(AT_ONCE), strict=True):
        yield torch.cat([g.flatten(1) for g in each(own, part, label).values()], dim=1)


def trak(case: Case) -> np.ndarray:
    """TRAK of this one network, by the library `traker`."""
    from trak import TRAKer
    from trak.projectors import BasicProjector, ProjectionType

    count = sum(p.numel() for p in case.net.parameters() if p.requires_grad)
    dimensions = min(PROJECTED, count)
    projector = BasicProjector(
        grad_dim=count,
        proj_dim=dimensions,
        seed=0,
        proj_type=ProjectionType.normal,
        device="cpu",
        block_size=max(1, min(100, dimensions // 2)),  # a single block is forgotten on the way
    )
    with tempfile.TemporaryDirectory() as folder:
        tracer = TRAKer(
            model=case.net,
            task="image_classification",
            train_set_size=len(case.train),
            save_dir=folder,
            device="cpu",
            projector=projector,
            use_half_precision=False,
            logging_level=logging.ERROR,
        )
        state = case.net.state_dict()
        tracer.load_checkpoint(state, model_id=0)
        _feed(tracer.featurize, case.train, case.train_labels)
        tracer.finalize_features()
        tracer.start_scoring_checkpoint(
            exp_name="targets", checkpoint=state, model_id=0, num_targets=len(case.targets)
        )
        _feed(tracer.score, case.targets, case.target_labels)
        return np.array(tracer.finalize_scores(exp_name="targets")).T


def _feed(step: Callable[..., Any], x: Tensor, labels: Tensor) -> None:
    for part, label in zip(x.split(AT_ONCE), labels.split(AT_ONCE), strict=True):
        step(batch=(part, label), num_samples=len(part))


def same_class(case: Case) -> np.ndarray:
    """1 for training examples of the target's class, 0 for others: what labels alone say."""
    return (case.target_labels[:, None] == case.train_labels[None]).double().numpy()


def attributions() -> Mapping[str, Attribution]:
    """Name -> attribution; TRAK only where its library is installed."""
    found: dict[str, Attribution] = {
        "kernel machine": kernel_machine,
        "gradient similarity": gradient_similarity,
        "same class": same_class,
    }
    return found | ({"TRAK": trak} if find_spec("trak") else {})
