"""The model card.

- It states kind, model, gates, order, sizes and versions as the config has them, and the line that
  loads the network, with the model where one is needed; nothing is claimed of data or accuracy.
"""

import pytest

from dualview.conversion.promises import Kind
from dualview.conversion.sharing.card import KIND_TEXTS, card_text
from dualview.conversion.sharing.describing import saved_config

from .saved import own_net, small_c4gap


def test_every_kind_has_words():
    assert set(KIND_TEXTS) == set(Kind.__args__)


@pytest.mark.parametrize("kind", ["dnn", "dlgn-sf"])
def test_facts(kind):
    text = card_text(saved_config(small_c4gap(kind)), 1234)
    assert f"# c4gap, taken apart ({kind})" in text
    assert 'from_pretrained("FOLDER OR HUB NAME")' in text
    for fact in (
        f"| Kind | `{kind}`, {KIND_TEXTS[kind]} |",
        "width 4, batch_norm True",
        "| One example | 2×6×6 |",
        "| Parameters | 1,234, float64 |",
        "| Gate order | as the layers |",
        "| Saved with | dualview ",
    ):
        assert fact in text
    assert "accura" not in text


def test_a_users_model():
    text = card_text(saved_config(own_net()), 1)
    assert 'from_pretrained("FOLDER OR HUB NAME", model=Net(...))' in text
    assert "| One example | as the model takes it |" in text


def test_order_and_ones():
    net = small_c4gap("dgn", gate_order=(3, 2, 1, 0), gate="hard")
    text = card_text(saved_config(net), 1)
    assert "| Gate order | 3, 2, 1, 0 |" in text
    assert "| Gates | HardGate |" in text
