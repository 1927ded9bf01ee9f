"""Properties proved here.

1. A number, a range, a list and what NumPy has of these stand for the seeds that they say.
2. Whatever else is given is refused, with what was expected; a list is given back as it was read.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualview.arguments import LARGEST_SEED, UnfitError
from dualview.experiments.seeds import MOST_SEEDS, as_given, seed_numbers, seeds_value


@pytest.mark.parametrize(
    ("seeds", "numbers"),
    [
        (3, (0, 1, 2)),
        (np.int64(2), (0, 1)),
        ("3-5", (3, 4, 5)),
        ("7-7", (7,)),
        ("0,2,7", (0, 2, 7)),
        ("9,0-1", (9, 0, 1)),
        ([4, 2], (4, 2)),
        (range(2, 4), (2, 3)),
        (np.array([5, 6]), (5, 6)),
        (str(LARGEST_SEED) + "-" + str(LARGEST_SEED), (LARGEST_SEED,)),
    ],
)
def test_seeds(seeds, numbers):
    assert seed_numbers(seeds) == seed_numbers(seeds_value(seeds)) == numbers


@pytest.mark.parametrize(
    "seeds",
    [
        *(0, -1, 1.5, True, None, MOST_SEEDS + 1),
        *("", "a", "5-3", "1-", "-1", "1,,2", "1, 2", "1,1", "0-2,1", f"0-{MOST_SEEDS}"),
        *(f"{LARGEST_SEED + 1}-{LARGEST_SEED + 1}", "0-99999999999999999999"),
        *([], [1, 1], [-1], [0.5], {1, 2}, ["1"], range(MOST_SEEDS + 1)),
    ],
)
def test_what_is_none(seeds):
    with pytest.raises(UnfitError, match="a whole number from 1 to 10000"):
        seeds_value(seeds)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=20, unique=True))
def test_a_list_says_itself(seeds):
    text = ",".join(f"{seed}-{seed}" if len(seeds) == 1 else str(seed) for seed in seeds)
    assert seed_numbers(text) == seed_numbers(seeds) == tuple(seeds)


def test_as_the_command_line_gives_them():
    assert [as_given(text) for text in ("3", "-3", "3-5", 4)] == [3, -3, "3-5", 4]
