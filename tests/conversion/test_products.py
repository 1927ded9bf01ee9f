"""Products of two values that depend on the input.

- A squashed factor, a statistic, or the activated one of two is the multiplier: squeeze-and-excite,
  attention over channels and space, softmax over branches, GLU and SwiGLU, division by a norm. The
  dual form equals the model, in float64, and paths run through the other factor alone.
- Normalisations by statistics of the example are such products.
- A bilinear product is refused, and settled by `as_multiplier`, or by the name of the layer that
  gives the multiplier, through moves, sums with constants and products one after the other, whether
  symbolic tracing follows forward or export does; the choice is saved with the network. A name that
  decides nothing is refused.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.conversion.products import as_multiplier
from dualview.errors import ConversionError, UnsupportedOperationError


class Block(nn.Module):
    """convolution, ReLU, `product`, global average, dense."""

    def __init__(self, product, channels=4):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.side = nn.Conv2d(4, 4, 1)
        self.narrow, self.wide = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)
        self.out = nn.Linear(channels, 3)
        self.product = product

    def forward(self, x):
        h = self.product(self, torch.relu(self.conv(x)))
        return self.out(torch.tanh(h.mean((2, 3))))


def squeeze_and_excite(m, h):
    return h * torch.sigmoid(m.wide(torch.relu(m.narrow(F.adaptive_avg_pool2d(h, 1)))))


def convolutional_attention(m, h):
    pooled = [F.adaptive_avg_pool2d(h, 1), F.adaptive_max_pool2d(h, 1)]
    h = h * torch.sigmoid(sum(m.wide(torch.relu(m.narrow(p))) for p in pooled))
    return torch.sigmoid(h.mean(1, keepdim=True)) * h


def selective_kernels(m, h):
    branches = torch.stack([h, m.side(h)], 1)
    weights = torch.stack([m.side(h), h], 1).mean((3, 4), keepdim=True).softmax(1)
    return (branches * weights).sum(1)


def expanded_attention(m, h):
    """As pytorchcv's CBAM: the squashed branch takes the features' shape."""
    return h * torch.sigmoid(m.side(h).mean((2, 3)))[:, :, None, None].expand_as(h)


def hard_sigmoid_by_hand(m, h):
    """As MobileNetV3 in many libraries: both factors end in a ReLU6."""
    return F.relu6(m.side(h)) * (F.relu6(m.side(h).mean((2, 3), keepdim=True) + 3.0) / 6.0)


def hard_squeeze(m, h):
    return m.side(h).mul(F.hardsigmoid(m.side(h).mean((2, 3), keepdim=True)))


def swiglu(m, h):
    return F.silu(m.side(h)) * m.side(h.flip(1))


def glu(m, h):
    return F.glu(torch.cat([h, m.side(h)], 1), 1)


def gated_tanh(m, h):
    return torch.tanh(h) * torch.sigmoid(m.side(h))


def unit_length(m, h):
    return h / (h.norm(dim=1, keepdim=True) + 1e-3)


def residual_attention(m, h):
    return h * (1 + torch.sigmoid(m.side(h)))


def response(m, h):
    """ConvNeXt V2's global response normalisation."""
    size = torch.linalg.vector_norm(h, dim=(2, 3), keepdim=True)
    return h + 2 * (h * (size / (size.mean(1, keepdim=True) + 1e-6)))


def weighted_sum(m, h):
    return torch.addcmul(h, m.side(h), torch.sigmoid(m.side(h)).mean((2, 3), keepdim=True), value=2)


PRODUCTS = [
    squeeze_and_excite,
    convolutional_attention,
    selective_kernels,
    expanded_attention,
    hard_sigmoid_by_hand,
    hard_squeeze,
    swiglu,
    glu,
    gated_tanh,
    unit_length,
    residual_attention,
    response,
    weighted_sum,
]
NORMALISATIONS = {
    "GroupNorm": lambda: nn.GroupNorm(2, 4),
    "GroupNorm, no affine map": lambda: nn.GroupNorm(4, 4, affine=False),
    "InstanceNorm2d": lambda: nn.InstanceNorm2d(4, affine=True),
    "LocalResponseNorm": lambda: nn.LocalResponseNorm(3, alpha=0.5, beta=0.6, k=2.0),
    "LayerNorm": lambda: nn.LayerNorm([4, 5, 4]),
    "RMSNorm": lambda: nn.RMSNorm([5, 4]),
    "F.group_norm": lambda: lambda h: F.group_norm(h, 2, eps=0.1),
    "F.instance_norm": lambda: F.instance_norm,
    "F.normalize": lambda: lambda h: F.normalize(h, dim=1),
    "F.rms_norm": lambda: lambda h: F.rms_norm(h, (4,)),
    "F.local_response_norm": lambda: lambda h: F.local_response_norm(h, 2, 0.7),
}


def alive(model):
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model.double().eval()


def examples():
    return torch.randn(5, 2, 5, 4, dtype=torch.float64)


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda f: f.__name__)
def test_dual_form_of_products(product):
    torch.manual_seed(0)
    model, x = alive(Block(product)), examples()
    net = dv.disentangle(model, "dnn")
    torch.testing.assert_close(net(x), model(x), rtol=1e-12, atol=1e-12)
    assert net(x).std(0).min() > 1e-3
    assert dv.disentangle(model, "dgn", seed=0)(x).shape == (5, 3)


NORMALISED = {
    "a squashed value": lambda m, h: torch.sigmoid(m.side(h)),
    "a quotient": lambda m, h: h / (1 + h.abs().mean((1, 2), keepdim=True)),
    "a multiplier by hand": lambda m, h: as_multiplier(m.side(h)),
}


@pytest.mark.parametrize("norm", ["RMSNorm", "LayerNorm", "F.normalize"])
@pytest.mark.parametrize("of", NORMALISED)
def test_dual_form_of_normalised_multipliers(of, norm):
    torch.manual_seed(0)
    layer, value = NORMALISATIONS[norm](), NORMALISED[of]
    model = Block(lambda m, h: m.layer(value(m, h)))
    model.layer = layer
    model, x = alive(model), examples()
    net = dv.disentangle(model, "dnn", example_input=x)
    torch.testing.assert_close(net(x), model(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_dual_form_of_normalisations(name):
    torch.manual_seed(0)
    norm = NORMALISATIONS[name]()
    model, x = Block(lambda m, h: m.norm(h)), examples()
    model.norm = norm
    model = alive(model)
    net = dv.disentangle(model, "dnn")
    torch.testing.assert_close(net(x), model(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("product", [squeeze_and_excite, swiglu], ids=lambda f: f.__name__)
def test_given_its_multipliers_the_weights_network_is_affine(product):
    torch.manual_seed(0)
    model, x = alive(Block(product)), examples()
    net = dv.disentangle(model, "dnn")
    gates, multipliers = net.gates_and_switches(x)
    assert len(multipliers) == 1
    y = examples()
    at_x, at_y, between = (
        net.weights_network(v, *gates, *multipliers) for v in (x, y, (x + y) / 2)
    )
    torch.testing.assert_close((at_x + at_y) / 2, between)


def test_bilinear_products_are_refused_or_settled_by_hand():
    torch.manual_seed(0)
    model = alive(Block(lambda m, h: m.side(h) * m.side(h.flip(1))))
    with pytest.raises(UnsupportedOperationError, match="as_multiplier"):
        dv.disentangle(model, "dnn")
    model, x = alive(Block(lambda m, h: m.side(h) * as_multiplier(m.side(h.flip(1))))), examples()
    torch.testing.assert_close(dv.disentangle(model, "dnn")(x), model(x))


class Modulated(nn.Module):
    """As in FocalNet: what one layer gives times what another one does, twice."""

    def __init__(self, asks=False):
        super().__init__()
        self.front = nn.Linear(4, 6)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"query": nn.Linear(6, 6), "context": nn.Linear(6, 6)}) for _ in range(2)
        )
        self.fc, self.asks = nn.Linear(6, 2), asks

    def forward(self, x):
        if self.asks and x.shape[1] != 4:
            raise ValueError("expected four values")
        h = torch.relu(self.front(x))
        for block in self.blocks:
            context = (block["context"](h).view(x.size(0), 2, 3) * 2 + 1).flatten(1)
            h = torch.relu(block["query"](h) * context)
        return self.fc(h)


@pytest.mark.parametrize("asks", [False, True])
def test_a_bilinear_product_is_settled_by_the_name_of_a_layer(asks, tmp_path):
    torch.manual_seed(0)
    model, x = Modulated(asks).double(), torch.randn(5, 4, dtype=torch.float64)
    with pytest.raises(UnsupportedOperationError, match=r"here 'blocks\.0\.query' or .*context"):
        dv.disentangle(model, "dnn", example_input=x)
    named = {}
    for name in ("query", "context"):
        net = dv.disentangle(model, "dnn", example_input=x, multipliers=[f"blocks.*.{name}"])
        torch.testing.assert_close(net(x), model(x), rtol=1e-12, atol=1e-12)
        multipliers = net.gates_and_switches(x)[1]
        assert len(multipliers) == 2
        named[name] = multipliers[0]
        net.eval().save_pretrained(tmp_path / name)
        again = dv.GatedNetwork.from_pretrained(tmp_path / name, model=model)
        torch.testing.assert_close(again(x), model(x), rtol=1e-12, atol=1e-12)
        assert again.recipe.multipliers == (f"blocks.*.{name}",)
    first = torch.relu(model.front(x))
    torch.testing.assert_close(named["query"], model.blocks[0]["query"](first))
    torch.testing.assert_close(named["context"], model.blocks[0]["context"](first) * 2 + 1)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["blocks.*.context", "block.0.query"], r"'block\.0\.query'; did you mean 'blocks"),
        (["blocks.*.context", "fc"], "'fc' names no layer whose output goes into a product"),
        ("blocks", "expected names of layers, got 'blocks'"),
    ],
)
def test_a_name_that_decides_nothing_is_refused(names, message):
    with pytest.raises(ConversionError, match=message):
        dv.disentangle(Modulated(), "dnn", multipliers=names)
