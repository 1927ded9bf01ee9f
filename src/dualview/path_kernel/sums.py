"""Sums of values: which terms are the same random values, and which stand side by side."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dualview.path_kernel.terms import (
    NOWHERE,
    SideStep,
    Term,
    own_channels,
    select_channels,
    with_factors,
)


def added(left: tuple[Term, ...], right: tuple[Term, ...]) -> tuple[Term, ...]:
    """The terms of a sum of two values.

    Where two terms are the same random values they add their factors. Others stand side by side;
    what they may share is counted where a weight layer sums them (`spread.correlated`).
    """
    terms = list(left)
    for term in right:
        rest: Term | None = term
        for i, other in enumerate(terms):
            if rest is None or other.origin != rest.origin:
                continue
            if rest.is_certain:
                rest = _relaid(rest, other)
            if other.layout != rest.layout or other.mixed != rest.mixed:
                continue
            same = (other.channels == rest.channels) & (rest.channels != NOWHERE)
            one, seen = _in_one_view(other, rest)
            if _same_view(one, seen) and (not one.mixed or bool(same.all())):
                terms[i], rest = _merged(one, seen, same)
        if rest is not None:
            terms = _with_zeros_filled(terms, rest)
    return tuple(terms)


def _relaid(term: Term, other: Term) -> Term:
    """What is not random, in the other's layout."""
    if term.layout == other.layout:
        return term
    made = with_factors(term, lambda factor: other.layout.arranged(term.layout.as_tensor(factor)))
    return replace(made, layout=other.layout, channels=other.channels)


def _names(term: Term) -> tuple[Hashable, ...]:
    return tuple(name for name, _ in term.pending)


def _same_view(one: Term, other: Term) -> bool:
    return one.view == other.view and _names(one) == _names(other)


def _in_one_view(one: Term, other: Term) -> tuple[Term, Term]:
    """Both terms, with maps of the one pending as they are for the other, if they are the same.

    A map acts at once on a term without factors, and waits where there are some.
    """
    if len(one.view) > len(other.view):
        return _as_pending_as(one, other), other
    return one, _as_pending_as(other, one)


def _as_pending_as(term: Term, other: Term) -> Term:
    """The term with the other's kernel, if that is its own before maps that the other awaits."""
    whole = (*term.view, *_names(term)) == (*other.view, *_names(other))
    if term.view == other.view or not whole or term.left is not None or other.kernel is None:
        return term
    if not torch.equal(term.channels, other.channels):  # whose kernels may differ
        return term
    return replace(term, kernel=other.kernel, view=other.view, pending=other.pending)


def _with_zeros_filled(terms: list[Term], term: Term) -> list[Term]:
    """One more term, put into channels where another one is zero if that one's kernel is its own.

    So concatenation and its like do not make more terms than there are kernels.
    """
    for i, other in enumerate(terms):
        whole = term.kernel is None or term.kernel.shape[3] == 1
        alike = other.origin == term.origin and other.kernel is term.kernel
        alike = alike and other.layout == term.layout and not term.mixed
        if whole and alike and _same_view(other, term) and other.left is not None:
            free = (other.channels == NOWHERE) & (term.channels != NOWHERE)
            if torch.equal(free, term.channels != NOWHERE):
                merged, _ = _merged(other, term, free)
                return [*terms[:i], merged, *terms[i + 1 :]]
    return [*terms, term]


def _merged(one: Term, other: Term, where: Tensor) -> tuple[Term, Term | None]:
    """`one` with the other's channels `where` added to it, and what is left of the other.

    Both are of one view, and of one channel wherever both are not zero.
    """
    if not where.any():
        return one, other
    if bool(where.all()) and one.left is None and other.left is None:
        total = one.coefficient + other.coefficient
        return _joint(one, other, replace(one, coefficient=total)), None
    rest = ~where & (other.channels != NOWHERE)
    channels = torch.where(where, other.channels, one.channels)
    moved = _times_mask(other, where)
    constant = one.is_constant and other.is_constant
    left: Any = _factor(one, one.left) + _factor(moved, moved.left)
    right: Any = left if constant else _factor(one, one.right) + _factor(moved, moved.right)
    merged = replace(one, left=left, right=right, channels=channels, coefficient=1.0)
    return _joint(one, moved, merged), _times_mask(other, rest) if rest.any() else None


def _joint(one: Term, other: Term, merged: Term) -> Term:
    """The merged term with what was done to both of them as one step."""
    if one.is_certain:
        return merged
    first, second = one.steps, other.steps
    channelwise = all(step.channelwise for step in (*first, *second))

    def both(array: Tensor, side: int) -> Tensor:
        parts = [array, array]
        for k, steps in enumerate((first, second)):
            for step in steps:
                parts[k] = step.act(parts[k], side)
        return parts[0] + parts[1]

    return replace(
        merged,
        base=one.base or replace(one, base=None, steps=()),
        steps=(SideStep(both, channelwise),),
    )


def _factor(term: Term, factor: Tensor | None) -> Tensor | float:
    return term.coefficient if factor is None else term.coefficient * factor


def _times_mask(term: Term, mask: Tensor) -> Term:
    """The term with zeros outside of the channels of `mask`."""
    if mask.all():
        return term
    keep = torch.where(mask, own_channels(len(mask)), NOWHERE)
    return select_channels(term, keep, term.layout)
