"""What the papers claim, held against collected records: `Claim`, `Finding`, the table of verdicts.

A claim is told by the experiment that tries it. Its `find` looks at the records of one data set and
says what was measured there and whether the claim holds; the verdict follows from that and from the
size of the runs, and is never written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from dualview.arguments import calling, require_fields, text_value
from dualview.experiments.naming import architecture_name, counted, epoch_span
from dualview.experiments.records import RunRecord
from dualview.experiments.tables import Table
from dualview.training import SettingsError

REPRODUCED = "reproduced"
SMALL = "holds at small size"
CONTRADICTED = "contradicted"
CONTRADICTED_SMALL = "contradicted at small size"
UNTESTED = "not tested at size"

COLUMNS = ("Claim", "Verdict", "Measured here", "Published", "Setting")


@dataclass(frozen=True)
class Finding:
    """What the records of one data set say of a claim."""

    measured: str
    """In words, with the numbers."""
    holds: bool | None
    """None: the data cannot tell, as where everything is learnt with any gates."""
    setting: str
    """Networks, epochs and seeds that it was measured with (`setting_of`)."""


@dataclass(frozen=True)
class Claim:
    """One statement of a paper.

    Attributes:
        text: the statement, in a few words.
        published: its number as published, or that there is none, and the source.
        find: records of one data set -> what they say; several findings where its networks
            disagree; None where none of the records is about it.

    Raises:
        SettingsError: a text is empty, or `find` takes no records.
    """

    text: str
    published: str
    find: Callable[[Sequence[RunRecord]], Finding | tuple[Finding, ...] | None]

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        require_fields(self, SettingsError, text=text_value, published=text_value, find=calling(1))


@dataclass(frozen=True)
class Part:
    """The records of one data set, as the page names and orders them."""

    name: str
    records: tuple[RunRecord, ...]
    faithful: bool
    """Whether the runs have the paper's sizes and settings (`--preset paper`)."""
    folder: str = ""
    """Of the collected records."""


def verdict(finding: Finding | None, *, faithful: bool) -> str:
    """The verdict in words.

    >>> verdict(Finding("90 %", True, ""), faithful=True), verdict(None, faithful=True)
    ('reproduced', 'not tested at size')
    """
    if finding is None or finding.holds is None:
        return UNTESTED
    if faithful:
        return REPRODUCED if finding.holds else CONTRADICTED
    return SMALL if finding.holds else CONTRADICTED_SMALL


def verdict_table(rows: Iterable[tuple[str, ...]]) -> Table:
    """Rows of `verdict_rows` under their heading, with what the words mean."""
    return Table(
        "verdicts",
        "What the papers claim, and what was found",
        COLUMNS,
        tuple(rows),
        (
            "A verdict follows from the records by a rule. “Reproduced” and “contradicted”: with "
            "the paper’s sizes and settings. “At small size”: with smaller networks, fewer epochs "
            "or other data, as the setting says. “Not tested at size”: no run, or one that cannot "
            "tell, by its data or by a difference too small. The row is of the data nearest to the "
            "paper’s; other data stand below it where they disagree.",
        ),
        texts=COLUMNS,
    )


def verdict_rows(claim: Claim, parts: Sequence[Part]) -> list[tuple[str, ...]]:
    """One row for the claim on the best data there is, and one for each that disagrees with it.

    Args:
        claim: of an experiment.
        parts: the experiment's records, the data nearest to the paper's first.
    """
    found = [(part, finding) for part in parts for finding in _findings(claim, part)]
    if not found:
        return [(claim.text, verdict(None, faithful=False), "–", claim.published, "no run")]
    telling = [pair for pair in found if pair[1].holds is not None] or found
    best = telling[0]
    others = [pair for pair in telling[1:] if pair[1].holds != best[1].holds]
    row = _row(claim.text, claim.published, *best)
    return [row, *(_row("", "", *other) for other in others)]


def _findings(claim: Claim, part: Part) -> tuple[Finding, ...]:
    found = claim.find(part.records)
    return (found,) if isinstance(found, Finding) else found or ()


def _row(text: str, published: str, part: Part, finding: Finding) -> tuple[str, ...]:
    measured = finding.measured.replace(" ± ", "\u00a0±\u00a0").replace(" %", "\u00a0%")
    where = f"{part.name}: {finding.setting}"
    return text, verdict(finding, faithful=part.faithful), measured, published, where


def setting_of(records: Sequence[RunRecord]) -> str:
    """Networks, epochs and seeds of some runs, in words.

    Args:
        records: one at least.
    """
    sizes = dict.fromkeys(
        architecture_name(record.architecture)
        + (f" of width {record.width}" if record.width else "")
        for record in records
    )
    seeds = len({record.seed for record in records})
    span = epoch_span(record.epochs for record in records)
    return f"{', '.join(sizes)}; {span}; {counted(seeds, 'seed')}"
