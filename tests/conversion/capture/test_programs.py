"""Models that ask for shapes and types, captured by `torch.export`.

- The converted network equals the model in float64, for another number of examples too; a second
  copy of a layer's parameters is never made, and they keep their names.
- Dropout and batch norm follow the mode, as layers and as functions; what else differs between the
  modes is refused, and taken as in evaluation mode on request.
- Several inputs, tokens, several outputs and data classes convert; `output=` picks one. They are
  saved, loaded again to the last bit, and exported to ONNX for any number of examples.
- Without an example, and where export cannot follow, the message says so. An autograd function of
  the user's, whose backward would be lost, is refused.
"""

import io
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

import dualview as dv
from dualview.errors import ConversionError, ExampleInputError, SavedNetworkError, TracingError

D = torch.float64


class Checked(nn.Module):
    """Asks for a size, so that symbolic tracing cannot follow; then `step`."""

    def __init__(self, step, **parts):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 2)
        for name, part in parts.items():
            setattr(self, name, part)
        self.step = step

    def forward(self, x):
        if x.shape[1] != 3 or x.dtype == torch.int64:
            raise ValueError("expected three channels")
        h = self.step(self, torch.relu(self.conv(x)))
        return self.fc(h.flatten(2).mean(-1) if h.dim() > 2 else h)


class Other(nn.Conv2d):
    """A library's convolution: pads by itself."""

    def forward(self, x):
        return F.conv2d(F.pad(x, (1, 1, 1, 1)), self.weight, self.bias)


class Rows(nn.Module):
    """A dense layer whose weight lies the other way round."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4))

    def forward(self, h):
        return torch.addmm(self.bias, h.reshape(-1, h.size(-1)), self.weight).view(h.shape)


def by_hand(m, h):
    h = F.batch_norm(h, m.bn.running_mean, m.bn.running_var, m.bn.weight, m.bn.bias, m.training)
    h = F.relu(F.conv2d(h, m.w, m.b, padding=1, stride=2))
    return F.dropout(h, 0.25, m.training)


def moved(m, h):
    n, c, rows, columns = h.shape
    h = h.view(n, c, rows * columns).permute(0, 2, 1)[:, ::2]
    h = torch.tanh(h).transpose(1, 2).contiguous().view(n, c, -1, columns)
    first, rest = h.split([1, int(h.shape[1]) - 1], 1)
    return torch.cat([rest, first], 1).narrow(2, 0, 2).expand(-1, -1, 2, -1)[:, :, 1:2]


def attention(m, h):
    tokens = h.flatten(2).transpose(1, 2)
    heads = [part(tokens).unflatten(-1, (2, 2)).transpose(1, 2) for part in (m.q, m.k, m.v)]
    p = 0.25 if m.training else 0.0
    mixed = F.scaled_dot_product_attention(*heads, dropout_p=p, is_causal=True)
    return m.norm(tokens + mixed.transpose(1, 2).flatten(2)).transpose(1, 2)


MODELS = {
    "layers": lambda: Checked(
        lambda m, h: m.drop(m.pool(m.bn(h))),
        bn=nn.BatchNorm2d(4),
        pool=nn.MaxPool2d(3, 2, 1),
        drop=nn.Dropout(0.25),
    ),
    "by hand": lambda: Checked(
        by_hand,
        bn=nn.BatchNorm2d(4),
        w=nn.Parameter(torch.randn(4, 4, 3, 3)),
        b=nn.Parameter(torch.randn(4)),
    ),
    "other layers": lambda: Checked(
        lambda m, h: m.rows(F.gelu(m.other(h)).mean((2, 3))), other=Other(4, 4, 3), rows=Rows()
    ),
    "one layer twice": lambda: Checked(
        lambda m, h: m.c(torch.relu(m.c(h))), c=nn.Conv2d(4, 4, 3, padding=1)
    ),
    "moved": lambda: Checked(moved),
    "attention": lambda: Checked(
        attention,
        **{name: nn.Linear(4, 4) for name in "qkv"},
        norm=nn.LayerNorm(4),
    ),
    "upsampled": lambda: Checked(
        lambda m, h: F.interpolate(F.avg_pool2d(h, 2), size=h.shape[2:], mode="bilinear")
    ),
    "in place": lambda: Checked(
        lambda m, h: F.hardswish(h.add_(1.0).mul_(0.5), inplace=True).clamp_(max=2.0)
    ),
    "squeeze and excite": lambda: Checked(
        lambda m, h: h * torch.sigmoid(m.e(F.adaptive_avg_pool2d(h, 1))), e=nn.Conv2d(4, 4, 1)
    ),
}


def draw(model):
    for parameter in model.parameters():
        nn.init.normal_(parameter)


def alive(name):
    torch.manual_seed(0)
    model = MODELS[name]().double()
    model(torch.randn(8, 3, 6, 4, dtype=D))
    return model.eval(), torch.randn(2, 3, 6, 4, dtype=D)


@pytest.mark.parametrize("name", MODELS)
def test_equals_the_model(name):
    model, x = alive(name)
    with pytest.raises(TracingError, match="example_input"):
        dv.disentangle(model, "dnn")
    net = dv.disentangle(model, "dnn", example_input=x)
    more = torch.randn(5, 3, 6, 4, dtype=D)
    assert model(more).std(0).min() > 1e-6
    torch.testing.assert_close(net(more), model(more), rtol=1e-11, atol=1e-12)
    names = {name for name, _ in net.weights_network.named_parameters()}
    assert names <= {name for name, _ in model.named_parameters()} or name == "by hand"
    kept = {id(p): p.numel() for p in net.parameters()}
    assert sum(kept.values()) == sum(p.numel() for p in model.parameters())
    dgn = dv.disentangle(model, "dgn", example_input=x, seed=0, initialise=draw)
    assert dgn(more).shape == (5, 2)
    theirs = [p for p in model.parameters() if p.numel() > 1]
    for parameter in dgn.weights_network.parameters():  # all are drawn afresh, by whatever name
        assert not any(p.shape == parameter.shape and torch.equal(p, parameter) for p in theirs)


@pytest.mark.parametrize("name", ["layers", "by hand", "attention"])
def test_follows_the_mode(name):
    model, x = alive(name)
    net = dv.disentangle(model, "dgn", example_input=x, seed=0, initialise=draw)
    drops = [m for m in net.weights_network.modules() if isinstance(m, nn.Dropout)]
    drops += [m for m in net.gating_network.modules() if isinstance(m, nn.Dropout)]
    assert {m.p for m in drops} == {0.25}
    assert torch.equal(net(x), net(x))
    net.train()
    assert not torch.equal(net(x), net(x))


def test_other_differences_between_the_modes():
    def dropped_path(m, h):
        if m.training:
            h = h * (torch.rand(h.shape[0], 1, 1, 1) < 0.5)
        return h

    model = Checked(dropped_path).double().eval()
    x = torch.randn(3, 3, 6, 4, dtype=D)
    with pytest.raises(TracingError, match="mode='evaluation'"):
        dv.disentangle(model, "dnn", example_input=x)
    net = dv.disentangle(model, "dnn", example_input=x, mode="evaluation")
    torch.testing.assert_close(net(x), model(x))
    with pytest.raises(ConversionError, match="mode: expected 'evaluation'"):
        dv.disentangle(model, "dnn", example_input=x, mode="training")


def test_evaluation_form_of_what_symbolic_tracing_follows():
    class Helped(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.aid = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x):
            h = torch.relu(self.a(x))
            return (self.b(h), self.aid(h)) if self.training else self.b(h)

    model, x = Helped().double(), torch.randn(5, 3, dtype=D)
    with pytest.raises(TracingError, match="mode='evaluation'"):
        dv.disentangle(model, "dnn")
    net = dv.disentangle(model, "dnn", mode="evaluation")
    torch.testing.assert_close(net(x), model.eval()(x))


@dataclass
class Answer:
    logits: torch.Tensor
    hidden: torch.Tensor


pytree.register_dataclass(Answer)


class Several(nn.Module):
    """Two inputs, one of them optional; several outputs of the kind that is asked for."""

    def __init__(self, form):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(2, 4), nn.Linear(4, 2)
        self.form = form

    def forward(self, x, y=None, *, scale: float = 1.0):
        h = self.a(x)
        if y is not None:
            h = h + self.b(y)
        h = torch.relu(h) * scale
        return self.form(self.c(h), h)


FORMS = {
    "tuple": lambda z, h: (z, h),
    "dictionary": lambda z, h: {"logits": z, "hidden": h},
    "data class": Answer,
}


@pytest.mark.parametrize("form", FORMS)
def test_several_inputs_and_outputs(form):
    model = Several(FORMS[form]).double()
    x, y = torch.randn(4, 3, dtype=D), torch.randn(4, 2, dtype=D)
    expected = pytree.tree_leaves(model(x, y))
    for example in ((x, y), {"x": x, "y": y}):
        net = dv.disentangle(model, "dnn", example_input=example)
        for got, value in zip(pytree.tree_leaves(net(x, y)), expected, strict=True):
            torch.testing.assert_close(got, value)
    name = 0 if form == "tuple" else "logits"
    net = dv.disentangle(model, "dnn", example_input=(x, y), output=name)
    torch.testing.assert_close(net(x, y), expected[0])
    example = {"x": x, "y": y, "scale": 3.0}
    net = dv.disentangle(model, "dnn", example_input=example, output=name)
    scaled = pytree.tree_leaves(model(x, y, scale=3.0))[0]
    torch.testing.assert_close(net(x, y), scaled)
    with pytest.raises(ConversionError, match="output: expected one of"):
        dv.disentangle(model, "dnn", example_input=(x, y), output="loss")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["dnn", "dgn", "dlgn"])
def test_several_are_saved_and_loaded(form, kind, tmp_path):
    model = Several(FORMS[form]).double()
    x, y = torch.randn(4, 3, dtype=D), torch.randn(4, 2, dtype=D)
    example = {"x": x, "y": y, "scale": 3.0}
    net = dv.disentangle(model, kind, example_input=example, seed=0).eval()
    net.save_pretrained(tmp_path)
    assert "pickle" not in (tmp_path / "config.json").read_text()
    again = dv.GatedNetwork.from_pretrained(tmp_path, model=Several(FORMS[form]).double())
    for got, value in zip(
        pytree.tree_leaves(again(x, y)), pytree.tree_leaves(net(x, y)), strict=True
    ):
        assert torch.equal(got, value)
    with pytest.raises(SavedNetworkError, match="differs first in operation"):
        dv.GatedNetwork.from_pretrained(tmp_path, model=Several(lambda z, h: z).double())


def test_inputs_that_no_file_describes(tmp_path):
    model, x = Several(FORMS["tuple"]).double(), torch.randn(4, 3, dtype=D)
    y = torch.randn(4, 2, dtype=D)
    net = dv.disentangle(model, "dgn", example_input=(x, y), seed=0)
    net.recipe = replace(net.recipe, example_inputs={})
    with pytest.raises(SavedNetworkError, match=r"plain values.*state_dict"):
        net.save_pretrained(tmp_path)


@pytest.mark.parametrize("form", ["tuple", "dictionary"])
def test_several_in_onnx(form):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = Several(FORMS[form])
    example = torch.randn(3, 3), torch.randn(3, 2)
    net = dv.disentangle(model, "dlgn", example_input=example, seed=0).eval()
    batch = {0: torch.export.Dim.DYNAMIC}
    program = torch.onnx.export(
        net, example, dynamo=True, dynamic_shapes=(batch, (batch,)), verbose=False
    )
    file = io.BytesIO()
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    for n in (1, 5):
        x, y = torch.randn(n, 3), torch.randn(n, 2)
        names = [given.name for given in session.get_inputs()]
        got = session.run(None, dict(zip(names, (x.numpy(), y.numpy()), strict=True)))
        expected = pytree.tree_leaves(net(x, y))
        for one, value in zip(got, expected, strict=True):
            torch.testing.assert_close(torch.from_numpy(one), value, rtol=1e-5, atol=1e-6)


def test_one_output_is_taken_apart():
    model = Several(FORMS["dictionary"]).double()
    x = torch.randn(4, 3, dtype=D)
    with pytest.raises(dv.DualviewError, match="output="):
        dv.npk(dv.disentangle(model, "dnn"), x)
    net = dv.disentangle(model, "dnn", output="logits")
    assert dv.npk(net, x).shape == (4, 4)


def test_tokens(tmp_path):
    class Language(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.places = nn.Embedding(9, 4), nn.Embedding(5, 4)
            self.a, self.c = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, tokens):
            places = torch.cumsum((tokens != 0).long(), 1).clamp(max=4)
            h = self.words(tokens) + self.places(places)
            mask = (tokens != 0)[:, None, None, :]
            h = h[:, None]
            h = F.scaled_dot_product_attention(h, h, h, attn_mask=mask)[:, 0]
            return self.c(F.gelu(self.a(h[:, 0])))

    model, tokens = Language().double(), torch.randint(1, 9, (3, 5))
    tokens[0, 3:] = 0
    for example in (None, tokens):
        net = dv.disentangle(model, "dnn", example_input=example)
        torch.testing.assert_close(net(tokens), model(tokens))
        assert dv.disentangle(model, "dgn", example_input=example, seed=0)(tokens).shape == (3, 2)
    with pytest.raises(ConversionError, match="tokens"):
        dv.disentangle(model, "dgn", weights_input="ones", seed=0)
    net = dv.disentangle(model, "dgn", example_input=tokens, seed=0).eval()
    net.save_pretrained(tmp_path)
    again = dv.GatedNetwork.from_pretrained(tmp_path, model=Language().double())
    assert torch.equal(again(tokens), net(tokens))


def test_what_export_cannot_follow():
    def by_value(m, h):
        return h if h.sum() > 0 else -h

    model, x = Checked(by_value), torch.randn(2, 3, 6, 4)
    with pytest.raises(TracingError, match="neither symbolic tracing nor torch"):
        dv.disentangle(model, "dnn", example_input=x)

    def counting(m, h):
        m.calls.add_(1)
        return h

    model = Checked(counting)
    model.register_buffer("calls", torch.zeros(()))
    with pytest.raises(ConversionError, match="calls"):
        dv.disentangle(model, "dnn", example_input=x)
    for wrong in ([], "x", {"x": 1}, object()):
        with pytest.raises(ExampleInputError, match="expected a tensor"):
            dv.disentangle(Checked(lambda m, h: h), "dnn", example_input=wrong)


def test_save_and_load(tmp_path):
    model, x = alive("layers")
    net = dv.disentangle(model, "dlgn", example_input=x, mode="evaluation", seed=0).eval()
    net.save_pretrained(tmp_path)
    again = dv.GatedNetwork.from_pretrained(tmp_path, model=MODELS["layers"]().double())
    torch.testing.assert_close(again(x), net(x))
    assert again.recipe.mode == "evaluation"


class Steep(torch.autograd.Function):
    """Twice its input, and a slope that is none of that."""

    @staticmethod
    def forward(ctx, h):
        return h * 2

    @staticmethod
    def backward(ctx, g):
        return g * 100


@pytest.mark.parametrize("frozen", [False, True])
def test_a_backward_of_its_own_is_not_lost(frozen):
    model = Checked(lambda m, h: torch.relu(Steep.apply(h) - 1)).requires_grad_(not frozen)
    with pytest.raises(TracingError, match=r"calls Steep, a torch\.autograd\.Function"):
        dv.disentangle(model, "dnn", example_input=torch.randn(2, 3, 4, 4))
    assert all(p.requires_grad is not frozen for p in model.parameters())
