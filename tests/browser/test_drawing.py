"""Drawing and erasing in a real browser: the explorer's page computes the network itself.

Also with skips and pools, to 1e-5 what PyTorch computes in float64; gates that flip are counted.
"""

import numpy as np
import pytest
import torch

import dualview as dv
from dualview.explorer.explanations.explain import explain
from dualview.explorer.page import PageFacts, write_explorer
from tests.browser.reading import CASES, numbers
from tests.explorer.explanations.cases import exact, explained, inputs_of, network, small_data


@pytest.mark.parametrize("name", ["dense", "convolutional", "residual", "no filters"])
def test_the_page_computes_the_network(opened, name):
    page, net = opened(name), network(*CASES[name])
    if name == "no filters":  # a DGN: its gating network is no chain of linear layers
        assert "does not compute the operation" in page.locator("#drawing").inner_text()
        return
    generator = np.random.default_rng(0)
    for _ in range(3):
        pixels = generator.integers(0, 256, (3, 7, 7), dtype=np.uint8)
        found = page.evaluate(
            "(pixels) => { const { q, logits } = runProgram(drawing.program, pixels, data.input);"
            " return [q.map((one) => [...one]), logits]; }",
            (pixels.ravel() / 255).tolist(),
        )
        data = small_data()
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (data.mean, data.std))
        x = ((torch.from_numpy(pixels).double() / 255 - mean) / std)[None]
        exactly = exact(net)
        assert found[1] == pytest.approx(exactly(x)[0].tolist(), abs=1e-5)
        for one, q in zip(found[0], exactly.preactivations(x), strict=True):
            assert one == pytest.approx(q.flatten().tolist(), abs=1e-5)


class Pooled(torch.nn.Module):
    """Skips of other spellings: sliced before, padded behind, pooled."""

    def __init__(self):
        super().__init__()
        self.first, self.block = torch.nn.Conv2d(3, 2, 3), torch.nn.Conv2d(2, 3, 2)
        self.pool, self.last = torch.nn.AvgPool2d((2, 3), (2, 1)), torch.nn.Linear(12, 3)

    def forward(self, x):
        h = torch.relu(self.first(x))
        skip = torch.nn.functional.pad(h, (0, 0, 0, 0, 1, 0))[..., :-1, 1:]
        h = torch.relu(self.block(h) + skip)
        return self.last(self.pool(h).flatten(1))


def test_other_skips_and_pools(opened, tmp_path):
    torch.manual_seed(0)
    net = dv.disentangle(Pooled(), "dlgn", seed=0, example_input=torch.zeros(1, 3, 7, 7)).eval()
    page = opened(dv_page(net, tmp_path))
    x = exact(net)(inputs_of(0))
    found = page.evaluate("drawing.before.logits")
    assert found == pytest.approx(x[0].tolist(), abs=1e-5)


def dv_page(net, folder):
    found = explain(net, small_data(), [0, 2], n_train=0, planes=0)
    return write_explorer(found, PageFacts("Pools", "", ()), folder / "pools.html")


def test_drawing_flips_gates_and_moves_logits(opened):
    page = opened("dense")
    before = numbers(page, "#drawn .value")
    assert before == pytest.approx(explained("dense").examples[0].logits, rel=6e-3)
    assert "0 of 9 gates have flipped" in page.locator("#drawn").inner_text()
    page.get_by_role("button", name="All black").click()
    net = exact(network("dense"))
    data = small_data()
    x = (-torch.tensor(data.mean) / torch.tensor(data.std)).view(1, 3, 1, 1).expand(1, 3, 7, 7)
    old = net.preactivations(inputs_of(explained("dense").examples[0].row))
    new = net.preactivations(x.double())
    flips = sum(int(((a > 0) != (b > 0)).sum()) for a, b in zip(old, new, strict=True))
    assert f"{flips} of 9 gates have flipped" in page.locator("#drawn").inner_text()
    assert numbers(page, "#drawn .value") == pytest.approx(net(x.double())[0].tolist(), rel=6e-3)
    page.get_by_role("button", name="As it was").click()
    assert numbers(page, "#drawn .value") == before
    box = page.locator(".paper").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 14, box["y"] + box["height"] / 14)
    page.locator(".paper").press(" ")
    assert numbers(page, "#drawn .value") != before
