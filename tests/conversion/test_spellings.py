"""The table of spellings, and one answer for every spelling in every view.

- No spelling has two keys, and none is an activation or a max pool.
- Every function, method (in place too) and module of what makes tensors of tensors is called, and
  all of one key and the same options give one answer: in conversion, the kernel, the fast kernel's
  plan, the strongest paths and (in a DLGN) primal filters. Keywords are those of `test_positional`.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.conversion import operations as ops
from dualview.conversion.activations import GATE_OF_FUNCTION, GATE_OF_METHOD, GATE_OF_MODULE
from dualview.conversion.pooling import MAX_POOL_FUNCTIONS, MAX_POOL_MODULES
from dualview.conversion.spellings import KEY_OF, OPERATIONS
from dualview.errors import DualviewError
from dualview.path_kernel.fast.reader import Slow, read_network
from dualview.path_kernel.setting import Setting
from tests.cases import enliven

pytestmark = [
    pytest.mark.filterwarnings("ignore::dualview.DualviewWarning"),
    pytest.mark.filterwarnings("ignore:.*nn.functional.upsample.*:UserWarning"),
]

D = torch.float64
W = torch.arange(-5, 7, dtype=D).reshape(3, 4) / 4
SQUARE = torch.arange(-7, 9, dtype=D).reshape(4, 4) / 4
KERNELS = {d: torch.arange(-2, 2**d - 2, dtype=D).reshape(1, 1, *[2] * d) / 2 for d in (1, 2, 3)}


def test_no_spelling_has_two_keys():
    spelt = [
        spelling
        for operation in OPERATIONS.values()
        for spelling in (*operation.functions, *operation.methods, *operation.modules)
    ]
    assert len(spelt) == len(set(spelt)) == len(KEY_OF)


def test_activations_and_pools_have_tables_of_their_own():
    others = {*GATE_OF_FUNCTION, *GATE_OF_METHOD, *GATE_OF_MODULE}
    assert not (others | {*MAX_POOL_FUNCTIONS, *MAX_POOL_MODULES}) & set(KEY_OF)


# Arguments after the value, and what is made of a value (n, 4, 4, 4) first

ARGUMENTS = {
    "dropout": (0.5, False),
    **dict.fromkeys(("add", "sub", "mul", "div"), (2.5,)),
    **dict.fromkeys(("mean", "sum"), ((2, 3), True)),
    "matmul": (SQUARE,),
    "group centred": (2,),
    "channel affine": (W[0], W[1]),
    "layer norm": ((4, 4),),
    "softmax": (1,),
    "average pool": (2, 1),
    "adaptive average pool": (2,),
    "interpolate": (None, 2.0),
    "pad": ((1, 1),),
    "pixel shuffle": (2,),
    "pixel unshuffle": (2,),
    "patches": (2,),
    "sum of patches": (5, 2),
    "windows": (2, 2, 1),
    "getitem": ((slice(None), slice(1, 3)),),
    **dict.fromkeys(("chunk", "select"), (2, 1)),
    "split": ([1, 3], 1),
    "unbind": (1,),
    "narrow": (1, 1, 2),
    "select": (1, 2),
    "index select": (1, torch.tensor([2, 0])),
    "roll": (1, 1),
    "flip": ((1,),),
    "cat": (1,),
    "stack": (2,),
    "flatten": (1, 2),
    "unflatten": (1, (2, 2)),
    "reshape": ((-1, 64),),
    "squeeze": (2,),
    "unsqueeze": (2,),
    "permute": ((0, 2, 3, 1),),
    "transpose": (1, 2),
    "movedim": (1, 2),
    "expand": ((-1, 4, 3, 4),),
    "repeat": (1, 2, 1, 1),
    "tile": ((1, 2, 1, 1),),
}
PREPARED = {
    "sum of patches": lambda h: h.flatten(2),
    "squeeze": lambda h: h.mean(2, keepdim=True),
    "expand": lambda h: h.mean(2, keepdim=True),
    "t": lambda h: h.mean((2, 3)),
    "linear": lambda h: h.mean((2, 3)),
    "mm": lambda h: h.mean(3).mean(2),
    "bmm": lambda h: h.mean(3),
}
OWN = {"type_as": lambda h: (h,), "to": lambda h: (D,)}
"""Arguments of one method alone."""
LEFT_OUT = {"attention", "einsum", "embedding", "batch norm"}
"""Keys of one spelling, and layers with statistics: other tests have them."""
FUNCTIONAL = {"linear", "convolution", "transposed"}
ROUNDING = {"half", "bfloat16", "float", "cuda"}

MODULES = {
    "same": [(2, nn.Identity())],
    "dropout": [(2, nn.Dropout()), (1, nn.Dropout1d()), (2, nn.Dropout2d()), (3, nn.Dropout3d())],
    "linear": [(2, nn.Linear(4, 3, bias=False))],
    "convolution": [(d, (nn.Conv1d, nn.Conv2d, nn.Conv3d)[d - 1](1, 1, 2)) for d in (1, 2, 3)],
    "transposed convolution": [
        (d, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[d - 1](1, 1, 2))
        for d in (1, 2, 3)
    ],
    "layer norm": [(2, nn.LayerNorm((4, 4), elementwise_affine=False))],
    "softmax": [(2, nn.Softmax(1))],
    "average pool": [(1, nn.AvgPool1d(2, 1)), (2, nn.AvgPool2d(2, 1)), (3, nn.AvgPool3d(2, 1))],
    "adaptive average pool": [
        *((1, nn.AdaptiveAvgPool1d(2)), (2, nn.AdaptiveAvgPool2d(2))),
        (3, nn.AdaptiveAvgPool3d(2)),
    ],
    "interpolate": [
        (2, nn.Upsample(scale_factor=2.0)),
        (2, nn.UpsamplingNearest2d(scale_factor=2.0)),
    ],
    "pad": [
        *((1, nn.ZeroPad1d(1)), (2, nn.ZeroPad2d((1, 1, 0, 0)))),
        *((3, nn.ZeroPad3d((1, 1, 0, 0, 0, 0))), (1, nn.ConstantPad1d(1, 0.0))),
        *((2, nn.ConstantPad2d((1, 1, 0, 0), 0)), (3, nn.ConstantPad3d((1, 1, 0, 0, 0, 0), 0.0))),
    ],
    "pixel shuffle": [(2, nn.PixelShuffle(2))],
    "pixel unshuffle": [(2, nn.PixelUnshuffle(2))],
    "patches": [(2, nn.Unfold(2))],
    "sum of patches": [(2, nn.Fold(5, 2))],
    "flatten": [(2, nn.Flatten(1, 2))],
    "unflatten": [(2, nn.Unflatten(1, (2, 2)))],
}
MODES = [
    ("circular", nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d),
    ("reflect", nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d),
    ("replicate", nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d),
]


def axes_of(name):
    return next((d for d in (1, 2, 3) if name.endswith(f"{d}d")), 2)


def with_axes(h, d):
    """(n, 4, 4, 4) with d axes of positions."""
    return {1: lambda: h.flatten(2), 2: lambda: h, 3: lambda: h.unsqueeze(1)}[d]()


def weight_of(key, d):
    return nn.Parameter(W if key == "linear" else KERNELS[d])


def called(target, key, d):
    """A function of a layer and a value that calls a function or method of the table."""
    name = target if isinstance(target, str) else target.__name__
    arguments = ARGUMENTS.get(key, ())
    joins = key in ("cat", "stack")

    def call(held, h):
        given = OWN[name](h) if name in OWN else arguments
        if held is not None:
            given = (held.weight, *arguments)
        if "convolution" in key:
            h = h[:, :1]
        if name == "bmm":
            given = (SQUARE.expand(h.shape[0], 4, 4),)
        if key in ("reshape as", "expand as"):
            given = (h,)
            h = h.flatten(1) if key == "reshape as" else h[:, :1]
        if isinstance(target, str):
            found = getattr(h, target)(*given)
            return found * h if key == "softmax" else found
        found = target([h, 2 * h] if joins else h, *given)
        return found * h if key == "softmax" else found

    prepare = PREPARED.get(name, PREPARED.get(key, lambda h: h))
    return lambda held, h: call(held, prepare(with_axes(h, d)))


def layer(module, key, d):
    weight = getattr(module, "weight", None)
    if weight is not None:
        module.weight = weight_of(key, d)
        module.register_parameter("bias", None)
    first = (lambda h: h[:, :1]) if "convolution" in key else PREPARED.get(key, lambda h: h)
    if key == "softmax":
        return module, lambda m, h: m(h) * h
    return module, lambda m, h: m(first(with_axes(h, d)))


def spellings():
    """(group, name) -> the layer to hold, if any, and the use of it on a value (n, 4, 4, 4)."""
    found = {}
    for key in sorted(ops.TENSOR_KEYS - LEFT_OUT):
        operation = OPERATIONS[key]
        for target in (*operation.functions, *operation.methods):
            name = target if isinstance(target, str) else f"{target.__module__}.{target.__name__}"
            if name in ROUNDING:
                continue
            special = name.endswith(("mm", "bmm"))  # of values of two and three axes
            group = name[-3:].strip(".") if special else f"{key} {axes_of(name)}"
            held = None
            if key in ops.WEIGHT_KEYS:
                held = nn.Module()
                held.weight = weight_of(key, axes_of(name))
            found[group, name] = (held, called(target, key, axes_of(name)))
            in_place = f"{name}_" if isinstance(target, str) else ""
            if in_place and hasattr(torch.Tensor, in_place):
                call = called(in_place, key, 2)
                found[group, in_place] = (None, lambda m, h, call=call: call(m, h.clone()))
        for d, module in MODULES.get(key, ()):
            found[f"{key} {d}", type(module).__name__] = layer(module, key, d)
    for mode, *kinds in MODES:
        for d, kind in enumerate(kinds, 1):
            pads = (1, 1) + (0, 0) * (d - 1)

            def padded(m, h, d=d, pads=pads, mode=mode):
                return F.pad(with_axes(h, d), pads, mode)

            found[f"{mode} {d}", "F.pad"] = (None, padded)
            found[f"{mode} {d}", kind.__name__] = layer(kind(pads), "pad", d)
    return found


SPELLINGS = spellings()
FIRST = {}
for _group, _name in SPELLINGS:
    FIRST.setdefault(_group, _name)


class Spelt(nn.Module):
    """conv, ReLU, the operation on (n, 4, 4, 4), leaky ReLU, dense."""

    def __init__(self, layer, use):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 1), nn.LazyLinear(2)
        self.layer = layer
        object.__setattr__(self, "use", use)

    def forward(self, x):
        h = F.relu(self.conv(x))
        y = self.use(self.layer, h)
        y = y[-1] if isinstance(y, tuple | list) else y
        return self.head(F.leaky_relu(y, 0.1).flatten(1))


def attempt(view, *given):
    """What a view gives, or the kind of its refusal."""
    try:
        return view(*given)
    except DualviewError as error:
        return type(error)


def plan(net, x):
    found = read_network(net.float(), x.float(), Setting(), "hard")
    return "slow" if isinstance(found, Slow) else str(found)


VIEWS = {
    "npk": lambda net, x: dv.npk(net, x, normalise=False),
    "paths": lambda net, x: torch.tensor([p.value for p in dv.top_paths(net, x[:1], 0, 3).paths]),
    "filters": lambda net, x: dv.primal_filters(net, 1, x.shape[1:]).filters(),
    "plan": plan,
}
_KNOWN = {}


def answers(group, name):
    if (group, name) not in _KNOWN:
        torch.manual_seed(1)
        held, use = SPELLINGS[group, name]
        model, x = Spelt(held, use).double().eval(), torch.randn(2, 1, 4, 4, dtype=D)
        with torch.no_grad():
            model(x)
        kept = None if held is None else {k: v.clone() for k, v in held.state_dict().items()}
        torch.manual_seed(2)
        for part in (model.conv, model.head):
            enliven(part)
        if kept:
            held.load_state_dict(kept)
        dual = dv.disentangle(model, "dnn", example_input=x).eval()
        torch.testing.assert_close(dual(x), model(x), rtol=1e-12, atol=1e-12)
        net = dv.disentangle(model, "dlgn", example_input=x, weights="copied").eval()
        _KNOWN[group, name] = {"output": model(x)} | {
            view: attempt(function, net, x) for view, function in VIEWS.items()
        }
    return _KNOWN[group, name]


@pytest.mark.parametrize(("group", "name"), SPELLINGS, ids=lambda part: part)
def test_one_answer_in_all_views(group, name):
    first, found = answers(group, FIRST[group]), answers(group, name)
    for view, expected in first.items():
        if view == "plan" and group.split()[0] in FUNCTIONAL:
            continue  # a layer's own weights alone go through the fast kernel
        if isinstance(expected, torch.Tensor):
            torch.testing.assert_close(found[view], expected, rtol=1e-9, atol=1e-12)
        else:
            assert found[view] == expected
