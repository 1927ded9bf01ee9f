"""Names that tables show: every architecture and optimiser that has a recipe has one of its own."""

import pytest

from dualview.architectures import NAMES
from dualview.experiments import recipes
from dualview.experiments.naming import (
    ARCHITECTURE_NAMES,
    architecture_name,
    architecture_place,
    setting_title,
)
from dualview.experiments.published import NPK_ARCHITECTURES, NPK_OPTIMIZERS


def test_every_recipe_has_a_name():
    assert {
        *recipes.SMALL_RECIPES,
        *recipes.LARGE_RECIPES,
        *recipes.PAPER_RECIPES,
        *NPK_ARCHITECTURES,
    } <= set(ARCHITECTURE_NAMES)
    assert set(ARCHITECTURE_NAMES) <= set(NAMES)
    assert len(set(ARCHITECTURE_NAMES.values())) == len(ARCHITECTURE_NAMES)


@pytest.mark.parametrize("arch", NPK_ARCHITECTURES)
@pytest.mark.parametrize("optimizer", NPK_OPTIMIZERS)
def test_settings_of_the_paper(arch, optimizer):
    title = setting_title(arch, optimizer)
    assert title.startswith(f"{architecture_name(arch)}, ")
    assert title.rpartition(", ")[2].lower() == optimizer


def test_unknown_ones_come_last_by_their_names():
    order = sorted(["zzz", "aaa", *ARCHITECTURE_NAMES], key=architecture_place)
    assert order == [*ARCHITECTURE_NAMES, "aaa", "zzz"]
