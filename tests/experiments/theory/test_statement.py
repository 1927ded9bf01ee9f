"""Properties proved here.

1. Verdicts follow from the numbers, at the bound and beside it, for each way to compare.
2. The record shows an entry of the worst pair, in its own units: the largest where the sides agree,
   the worst where they do not; errors are relative to the largest entry of the right side, or to
   the scale that is given.
3. Of several pairs one that fails is enough; pairs that must differ must all.
4. NaN, infinity and kernels that are 0 everywhere do not hold, and leave None in the record.
5. Sides of different shapes, and a mean without a standard error, are refused.
6. Quick settings draw less, never more.
"""

import math

import pytest
import torch

from dualview.experiments.theory.statement import (
    EXACT,
    MOST_STANDARD_ERRORS,
    Pair,
    Settings,
    Sides,
    Statement,
    judge,
    verdict,
)


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def statement(comparison="equal", bound=EXACT):
    return Statement(
        name="name",
        section="1",
        title="title",
        text="text",
        source="source",
        left="left",
        right="right",
        compute=lambda settings: None,
        comparison=comparison,
        bound=bound,
    )


def judged(*pairs, comparison="equal", bound=EXACT):
    return judge(statement(comparison, bound), Sides(pairs, 7, "things"), 1.5)


@pytest.mark.parametrize(
    ("comparison", "measure", "expected"),
    [
        ("equal", 0.1, "holds"),
        ("equal", 0.11, "does not hold"),
        ("equal", math.inf, "does not hold"),
        ("differ", 0.1, "holds"),
        ("differ", 0.09, "does not hold"),
        ("differ", math.inf, "does not hold"),
        ("mean", 0.04, "holds within 0.0 standard errors"),
        ("mean", MOST_STANDARD_ERRORS, "holds within 5.0 standard errors"),
        ("mean", MOST_STANDARD_ERRORS + 1e-9, "does not hold"),
        ("mean", math.inf, "does not hold"),
    ],
)
def test_verdict(comparison, measure, expected):
    assert verdict(comparison, measure, 0.1) == expected


def test_entry_that_is_shown():
    pair = Pair(tensor([1.0, -8.0], [2.5, 4]), tensor([1.0, -8.0], [2.0, 4]), label="second")
    record = judged(Pair(tensor(1.0), tensor(1.0), label="first"), pair, bound=0.1)
    assert (record.left, record.right, record.details) == (-8.0, -8.0, "second")
    assert record.error == 0.5 / 8
    assert (record.bound, record.standard_errors) == (0.1, None)
    assert (record.verdict, record.holds) == ("holds", True)
    assert (record.n, record.unit, record.seconds) == (7, "things", 1.5)
    failed = judge(statement(bound=0.01), Sides((pair,), 1), 0.0)
    assert (failed.verdict, failed.holds) == ("does not hold", False)
    assert (failed.left, failed.right) == (2.5, 2.0)
    different = judged(pair, comparison="differ", bound=0.01)
    assert (different.left, different.right) == (2.5, 2.0)


def test_scale_that_is_given():
    zero = tensor(0.0, 0.0)
    assert judged(Pair(tensor(0.0, 0.5), zero, scale=100.0), bound=0.01).error == 0.005


def test_mean_is_judged_by_standard_errors():
    off, near = tensor(10.0, 1.3), tensor(10.0, 1.0)
    record = judged(Pair(off, near, tensor(1.0, 0.1)), comparison="mean")
    assert record.standard_errors == pytest.approx(3, rel=1e-8)
    assert (record.left, record.right) == (10.0, 10.0)
    assert record.error == pytest.approx(0.03)
    assert record.bound == pytest.approx(0.1)
    assert record.verdict == "holds within 3.0 standard errors"
    far = judged(Pair(off, near, tensor(1.0, 0.05)), comparison="mean")
    assert (far.verdict, far.left, far.right) == ("does not hold", 1.3, 1.0)


def test_a_mean_that_never_varies_must_be_right_to_rounding():
    still = tensor(0.0)
    exact = judged(Pair(tensor(1 + 1e-13), tensor(1.0), still), comparison="mean")
    wrong = judged(Pair(tensor(1 + 1e-9), tensor(1.0), still), comparison="mean")
    assert (exact.holds, wrong.holds) == (True, False)


def test_one_pair_that_fails_is_enough():
    good, bad = Pair(tensor(1.0), tensor(1.0)), Pair(tensor(1.0), tensor(1.1))
    assert not judged(good, bad).holds
    assert not judged(bad, good).holds


def test_all_pairs_must_differ():
    same, other = Pair(tensor(1.0), tensor(1.0), label="same"), Pair(tensor(1.0), tensor(2.0))
    assert judged(other, comparison="differ", bound=0.1).holds
    record = judged(other, same, comparison="differ", bound=0.1)
    assert (record.holds, record.details, record.error) == (False, "same", 0.0)


@pytest.mark.parametrize("comparison", ["equal", "mean", "differ"])
@pytest.mark.parametrize(
    ("left", "right"),
    [
        (tensor(math.nan, 1.0), tensor(1.0, 1.0)),
        (tensor(math.inf, 1.0), tensor(1.0, 1.0)),
        (tensor(1.0, 1.0), tensor(math.nan, 1.0)),
        (tensor(0.0, 0.0), tensor(0.0, 0.0)),
    ],
    ids=["nan", "infinite", "nan on the right", "dead"],
)
def test_what_shows_nothing_does_not_hold(comparison, left, right):
    record = judged(Pair(left, right, tensor(1.0, 1.0)), comparison=comparison, bound=0.1)
    assert record.verdict == "does not hold"
    assert record.error is None
    numbers = (record.left, record.right, record.bound, record.standard_errors)
    assert all(number is None or math.isfinite(number) for number in numbers)


def test_refusals():
    with pytest.raises(ValueError, match=r"expected sides of one shape, got \(2,\) and \(3,\)"):
        judged(Pair(tensor(1.0, 2.0), tensor(1.0, 2.0, 3.0)))
    with pytest.raises(ValueError, match="expected a standard error, got none"):
        judged(Pair(tensor(1.0), tensor(1.0)), comparison="mean")


def test_quick_draws_less():
    quick, full = Settings(quick=True), Settings()
    assert [full.draws(n) for n in (1000, 4000)] == [1000, 4000]
    assert [quick.draws(n) for n in (1000, 4000)] == [333, 1333]


def test_texts_of_the_record_are_the_statement_s():
    record = judge(statement(), Sides((Pair(tensor(1.0), tensor(1.0)),), 1), 0)
    expected = ("name", "1", "title", "text", "source", "left", "right")
    found = (record.name, record.section, record.title, record.text, record.source)
    assert (*found, record.left_is, record.right_is) == expected
