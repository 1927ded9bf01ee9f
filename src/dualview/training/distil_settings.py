"""The options of learning from a teacher, and their checks. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from dualview.arguments import number, optional, require_fields
from dualview.training.settings import SettingsError


@dataclass(frozen=True)
class DistilSettings:
    """What a network learns from its teacher, beside the labels.

    Attributes:
        share: of the loss, from 0 to 1: what the teacher's logits have; the labels have the rest.
        temperature: logits of both networks are divided by it before they are compared, which
            shows what the teacher holds for likely beside its choice (Hinton et al. 2015). The
            term is multiplied by its square, so that gradients stay as large.
        fitting: share of the epochs, from the first, in which the gating network also learns to
            open the gates that are open in the teacher: the cross-entropy of each gate, averaged
            over the units of a layer and summed over the layers. 0, the default: gates follow from
            the copied parameters and the logits alone. More is for networks whose copied gates are
            far from the teacher's.
        final_beta: the slope of soft gates at the end; it grows from epoch to epoch by the same
            factor, so that the gates can be made hard afterwards. None: it stays as it is.

    >>> DistilSettings(temperature=0)
    Traceback (most recent call last):
    ...
    dualview.training.settings.SettingsError: temperature: expected a finite number above 0, got 0
    """

    share: float = 0.7
    temperature: float = 2.0
    fitting: float = 0.0
    final_beta: float | None = 400.0

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        require_fields(
            self,
            SettingsError,
            share=number(least=0, most=1),
            temperature=number(above=0),
            fitting=number(least=0, most=1),
            final_beta=optional(number(above=0)),
        )
