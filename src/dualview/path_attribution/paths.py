"""Paths as results: what one met on its way, and the strongest of an example."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

NodeKind = Literal["input", "bias", "weights", "gate"]

SHOWN_NODES = 5
"""Nodes of a longer path that its printed form shows at either end."""


@dataclass(frozen=True)
class PathNode:
    """One stop of a path.

    Attributes:
        layer: the layer's name in the user's model, "gate_1" ... for gates, "input".
        kind: "input", or "bias": where the path begins; "weights": a unit of a dense or
            convolutional layer; "gate": a gated unit.
        channel: of the unit (the first axis of the layer's value after the examples).
        position: the rest of its coordinates; () in a dense layer.
        factor: what the path is multiplied by here: the input's value, the bias, the weight of the
            connection that leads here, or the gate.
    """

    layer: str
    kind: NodeKind
    channel: int
    position: tuple[int, ...]
    factor: float

    def __str__(self) -> str:
        place = ", ".join(map(str, (self.channel, *self.position)))
        return f"{self.layer}{' bias' if self.kind == 'bias' else ''}[{place}]"


@dataclass(frozen=True)
class Path:
    """One path from the input, or from a bias, to an output.

    Attributes:
        nodes: from the beginning to the output.
        contribution: feature * value, what the path adds to the output.
        feature: input (1 for a bias) * gates * coefficient: phi(x)[p].
        value: the product of the weights (and of the bias it begins with): v[p].
        coefficient: the constants that it meets between its nodes: 1/m of an average over m, batch
            norm's scale, and -1 where the output that it leads to is subtracted. `contribution` is
            the coefficient times every node's factor.

    A number beyond the range of float64 is a whole one, and never infinite.
    """

    nodes: tuple[PathNode, ...]
    contribution: float
    feature: float
    value: float
    coefficient: float

    @property
    def start(self) -> PathNode:
        """Where it begins."""
        return self.nodes[0]

    @property
    def gated_units(self) -> tuple[PathNode, ...]:
        """The gates it passes; a skip passes none of the layers that it bypasses."""
        return tuple(node for node in self.nodes if node.kind == "gate")

    @property
    def units(self) -> tuple[PathNode, ...]:
        """The nodes without the gates of units that the path has just entered through a weight."""
        before = (None, *self.nodes)
        return tuple(
            node
            for node, last in zip(self.nodes, before, strict=False)
            if not (node.kind == "gate" and last is not None and _same_unit(node, last))
        )

    @property
    def negated(self) -> Path:
        """The same path, as one of those that are subtracted: its coefficient is negative.

        >>> node = PathNode("input", "input", 0, (), 2.0)
        >>> Path((node,), 2.0, 2.0, 1.0, 1.0).negated.contribution
        -2.0
        """
        return replace(
            self,
            contribution=-self.contribution,
            feature=-self.feature,
            coefficient=-self.coefficient,
        )

    def __str__(self) -> str:
        names = [str(node) for node in self.units]
        if len(names) > 2 * SHOWN_NODES + 1:
            names = [*names[:SHOWN_NODES], "...", *names[-SHOWN_NODES:]]
        return f"{self.contribution:+.4g}  {' > '.join(names)}"


def _same_unit(gate: PathNode, last: PathNode) -> bool:
    entered = last.kind in ("weights", "bias")
    return entered and (gate.channel, gate.position) == (last.channel, last.position)


class WholeNumber(int):
    """A whole number of any size, which every format of floats can show.

    >>> f"{WholeNumber(12):.3g}, {WholeNumber(10**400):.3g}"
    '12, 1.00e+400'
    """

    def __format__(self, spec: str) -> str:
        if not spec.endswith(("e", "f", "g", "%")):
            return format(int(self), spec)
        try:
            return format(float(self), spec)
        except OverflowError:
            return format(Decimal(int(self)), spec).lower()


def whole_or_float(mantissa: float, exponent: int) -> float | WholeNumber:
    """Mantissa * 2^exponent: a float, or the whole number that it is beyond a float's range.

    >>> whole_or_float(0.75, 3), whole_or_float(1.0, 2000) == 2**2000
    (6.0, True)
    """
    try:
        return math.ldexp(mantissa, exponent)
    except OverflowError:
        return WholeNumber(Fraction(mantissa) * 2**exponent)


def product(factors: Iterable[float]) -> float | WholeNumber:
    """The product of finite numbers, whatever those of some of them are.

    >>> product([1e200, 1e200, 1e-300])
    1e+100
    """
    mantissa, exponent = 1.0, 0
    for factor in factors:
        mantissa, more = math.frexp(mantissa * factor)
        exponent += more
    return whole_or_float(mantissa, exponent)


def exact_sum(values: Iterable[float]) -> float | WholeNumber:
    """The exact sum, rounded once."""
    return _rounded(sum(map(Fraction, values), Fraction()))


def _share(part: float, whole: float) -> float:
    """Part / whole of numbers of any size; NaN where the whole is 0."""
    return _rounded(Fraction(part) / Fraction(whole)) if whole else math.nan


def _rounded(value: Fraction) -> float | WholeNumber:
    """A float, or the whole number that it is beyond a float's range."""
    try:
        return float(value)
    except OverflowError:
        return WholeNumber(value)


def asked(output: int, against: int | None) -> str:
    """What was taken apart, in words: an output, or one less another."""
    return f"output {output}" + ("" if against is None else f" - output {against}")


@dataclass(frozen=True, repr=False)
class TopPaths:
    """The strongest paths of one example to one output, strongest first.

    Attributes:
        output: flat position in the network's output.
        paths: none of them has a contribution of 0.
        total: the output itself: the sum over all paths.
        magnitude: the sum of |contribution| over all paths; much larger than |total| where paths
            cancel. Beyond the range of float64 it is a whole number, and never infinite.
        n_paths: number of all paths to the output, those that contribute 0 included; exact below
            2^53, and to 15 digits however many there are. Paths that a max pool's choice has cut
            off are not counted.
        against: the output that was subtracted, if any: paths are then those to either, and those
            to this one count with the opposite sign.
    """

    output: int
    paths: tuple[Path, ...]
    total: float
    magnitude: float
    n_paths: WholeNumber
    against: int | None = None

    @property
    def sum(self) -> float:
        """The sum of the contributions listed."""
        return exact_sum(path.contribution for path in self.paths)

    @property
    def share_of_total(self) -> float:
        """`sum` / `total`: may exceed 1 or be negative, since paths cancel; NaN if total is 0."""
        return _share(self.sum, self.total)

    @property
    def share_of_magnitude(self) -> float:
        """The listed |contributions| over those of all paths: in 0 ... 1; NaN if all are 0."""
        return _share(exact_sum(abs(path.contribution) for path in self.paths), self.magnitude)

    def to_rows(self) -> list[dict[str, Any]]:
        """One row per stop, for a data frame: path (1 is the strongest), contribution, and node."""
        return [
            {"path": rank, "contribution": path.contribution, "stop": stop, **asdict(node)}
            for rank, path in enumerate(self.paths, start=1)
            for stop, node in enumerate(path.nodes)
        ]

    def __repr__(self) -> str:
        head = (
            f"TopPaths({asked(self.output, self.against)}: {self.total:.6g}; {len(self.paths)} of "
            f"{self.n_paths:.6g} paths, with {self.share_of_magnitude:.3g} of the sum of "
            f"|contributions|, add up to {self.sum:.4g})"
        )
        return "\n".join([head, *(f"{i:4}  {path}" for i, path in enumerate(self.paths, 1))])
