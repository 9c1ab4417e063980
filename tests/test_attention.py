"""Transformers: their images move between axes, and the patterns of attention are held."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torchvision.models import SwinTransformer, VisionTransformer
from torchvision.models.swin_transformer import SwinTransformerBlockV2

import deconvnet
from deconvnet import rules
from deconvnet.batch_axis import BatchAxis
from deconvnet.drawings import draw
from deconvnet.tape import Tracer
from support.oracle import relative


class Held(TorchFunctionMode):
    """Lets autograd see what the mirror holds as constants: patterns of attention, and statistics of layer norms."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (F.softmax, torch.softmax, torch.Tensor.softmax):
            return func(*args, **kwargs).detach()
        if func is F.scaled_dot_product_attention:
            q, k, v = args
            return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1).detach() @ v
        if func is F.layer_norm:
            return held_layer_norm(*args, **kwargs)
        if func is F.normalize:
            return args[0] / args[0].norm(dim=kwargs.get("dim", 1), keepdim=True).clamp(min=1e-12).detach()
        if func is F.multi_head_attention_forward:
            return held_heads(*args, **kwargs), None
        return func(*args, **kwargs)


def held_layer_norm(x, axes, weight=None, bias=None, eps=1e-5):
    """A layer norm from its definition, with its statistics held."""
    dims = tuple(range(-len(axes), 0))
    mean, variance = x.mean(dims, keepdim=True).detach(), x.var(dims, unbiased=False, keepdim=True).detach()
    return (x - mean) / (variance + eps).sqrt() * weight + bias


def held_heads(
    query, key, value, width, count, in_weight, in_bias, bias_k, bias_v, zero, dropout, out_weight, out_bias, **rest
):
    """torch's function from its definition, (L, N, E)."""
    parts = F.linear(query, in_weight, in_bias).chunk(3, -1)
    q, k, v = (part.unflatten(-1, (count, width // count)).permute(1, 2, 0, 3) for part in parts)
    pattern = (q @ k.mT / (width // count) ** 0.5).softmax(-1).detach()
    return F.linear((pattern @ v).permute(2, 0, 1, 3).flatten(2), out_weight, out_bias)


def randomised(model):
    """Give every parameter values that matter: some begin as zero."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.double().eval()


def vit():
    return VisionTransformer(image_size=16, patch_size=4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=5)


def swin(**options):
    return SwinTransformer([2, 2], 8, [2, 2], [2, 4], [4, 4], num_classes=5, stochastic_depth_prob=0.0, **options)


class Timm(nn.Module):
    """Attention as most of timm's nets write it, fused, with a class token, relative positions and talking heads."""

    def __init__(self):
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.zeros(1, 1, 8))
        self.norm, self.qkv, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.talk, self.bias, self.head = nn.Linear(2, 2), nn.Parameter(torch.zeros(2, 17, 17)), nn.Linear(8, 5)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), dim=1)
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(batch, length, 3, 2, width // 2).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, width))
        pattern = (q * 0.5 @ k.transpose(-2, -1) + self.bias).softmax(dim=-1)
        x = x + (pattern @ v).transpose(1, 2).flatten(2)
        return self.head(x[:, 0])


MODELS = {
    "vit": vit,
    "swin": swin,
    "swin v2": lambda: swin(block=SwinTransformerBlockV2),
    "timm": Timm,
}


@pytest.mark.parametrize("name", MODELS)
def test_the_way_down_is_autograd_with_the_patterns_held(name):
    """The gradient of every class, of several images at once and of one image alone, to 1e-10."""
    model = randomised(MODELS[name]())
    net = deconvnet.DeconvNet(model)
    images = torch.rand(3, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    with Held():
        output = model(images)
    assert relative(output.detach(), model(images).detach()) < 1e-10  # the oracle is the same net
    recording = net.record(images)
    layer = next(reversed([layer for layer, record in recording.records().items() if record.value is not None]))
    signal = torch.randn(3, 5, dtype=torch.float64)
    (expected,) = torch.autograd.grad(output, images, signal, retain_graph=True)
    assert relative(net.project_signal(recording, layer, signal, rule="gradient"), expected) < 1e-10
    projection = net.project(recording, layer, channels=[0, 1, 3, 4], image=1, rule="gradient", start="one")
    for unit, pixels in zip(projection.units, projection.pixels, strict=True):
        (expected,) = torch.autograd.grad(output[1, unit.channel], images, retain_graph=True)
        assert relative(pixels, expected[1]) < 1e-10
    alone = net.record(images[1:2].detach())
    again = net.project(alone, layer, channels=[0, 1, 3, 4], rule="gradient", start="one")
    assert relative(again.pixels, projection.pixels) < 1e-10
    assert "held" in projection.settings["statuses"]


def test_a_pattern_of_another_image_is_another_way_down():
    """What is held is of each picture: the same unit of two pictures has two projections."""
    net = deconvnet.DeconvNet(randomised(Timm()))
    recording = net.record(torch.rand(2, 3, 16, 16, dtype=torch.float64))
    first, second = (net.project(recording, "head", channels=[2], image=image, start="one").pixels for image in (0, 1))
    assert relative(first, second) > 0.01


@pytest.mark.parametrize(
    ("batch", "size", "output", "expected"),
    [
        (BatchAxis(), (4, 12, 6), (4, 12, 3, 2), BatchAxis()),
        (BatchAxis(), (4, 12, 6), (4, 72), BatchAxis()),
        (BatchAxis(), (4, 12, 6), (16, 3, 6), BatchAxis(0, 1, 4)),
        (BatchAxis(0, 1, 4), (16, 3, 6), (4, 2, 2, 3, 6), BatchAxis()),
        (BatchAxis(1), (12, 4, 6), (12, 8, 3), BatchAxis(1, 1, 2)),
        (BatchAxis(1), (3, 4, 6), (12, 6), BatchAxis(0, 3, 1)),
        (BatchAxis(0, 3, 1), (12, 6), (3, 4, 6), BatchAxis(1)),
        (BatchAxis(), (1, 8, 6), (1, 2, 4, 6), BatchAxis()),
        (BatchAxis(), (4, 6), (8, 3), BatchAxis(0, 1, 2)),
        (BatchAxis(), (4, 6), (3, 8), None),
        (BatchAxis(1), (6, 4), (8, 3), None),
    ],
)
def test_a_reshape_takes_the_images_along(batch, size, output, expected):
    """The factor of an axis that counts images is found again, or torn apart; and each image stays whole there."""
    assert batch.reshaped(size, output) == expected
    if expected is None:
        return
    count = batch.count(size)
    numbers = torch.arange(count).view(*[1] * batch.axis, 1, count, 1, *[1] * (len(size) - batch.axis - 1))
    marked = numbers.expand(*size[: batch.axis], batch.outer, count, batch.inner, *size[batch.axis + 1 :]).reshape(size)
    for image in range(count):
        assert bool((expected.select(marked.reshape(output), torch.tensor([image])) == image).all())


@pytest.mark.parametrize("batch", [BatchAxis(), BatchAxis(1), BatchAxis(0, 1, 3), BatchAxis(1, 2, 3)])
@pytest.mark.parametrize("name", ["repeat", "repeat with a new axis", "tile", "tile of the last", "interleave", "interleave others",
                                  "expand others", "expand to a new axis"])  # fmt: skip
def test_copies_take_the_images_along(batch, name):
    """Copies of images, side by side or one after the other, are each image's; the way down adds them up, for K signals too."""
    calls = {
        "repeat": lambda x: x.repeat(*(2, 3, 1)[: x.dim()]),
        "repeat with a new axis": lambda x: x.repeat(2, *(3, 1, 2)[: x.dim()]),
        "tile": lambda x: torch.tile(x, (2, 3, 2)),
        "tile of the last": lambda x: torch.tile(x, (2,)),
        "interleave": lambda x: x.repeat_interleave(4, dim=batch.axis, output_size=4 * x.shape[batch.axis]),
        "interleave others": lambda x: torch.repeat_interleave(x, 2, dim=-1),
        "expand others": lambda x: x.expand(*x.shape[:-1], 5),
        "expand to a new axis": lambda x: x.expand(4, *x.shape),
    }
    count, size = 2, [1, 1, 1]
    size[batch.axis] = 2 * batch.outer * batch.inner
    size[1 - batch.axis] = 3
    numbers = torch.arange(count, dtype=torch.float64).view(1, count, 1).expand(batch.outer, count, batch.inner).flatten()
    marked = numbers.view([-1 if axis == batch.axis else 1 for axis in range(3)]).expand(size).contiguous()
    tape, copied = recorded_call(calls[name], marked, batch, count)
    above = tape.batches[-1]
    for image in range(count):
        assert bool((above.select(copied, torch.tensor([image])) == image).all())
    call = tape.calls[-1]
    signal = torch.randn(above.resized(copied.shape, 5), dtype=torch.float64)
    below = torch.zeros(batch.resized(marked.shape, 5), dtype=torch.float64, requires_grad=True)
    if name == "interleave":
        (expected,) = torch.autograd.grad(below.repeat_interleave(4, dim=batch.axis), below, signal)
    else:
        (expected,) = torch.autograd.grad(calls[name](below), below, signal)
    assert relative(tape.rule(call).mirror(call.saved, signal), expected) < 1e-12


def recorded_call(function, value, batch, count):
    """Make a call of a value whose images are anywhere, and return the tape and what the call made."""
    tracer = Tracer([], rules.DEFAULT)
    with torch.no_grad(), tracer.tracing(torch.zeros(count, 1, 1, 1)):
        tracer._number(value, (None, None, None), batch)
        return tracer.tape, function(value)


@pytest.mark.parametrize(("name", "args", "kwargs", "torn"), [("unbind", (), {}, 0), ("unbind", (-1,), {}, 2),
                                  ("split", (1,), {}, 0), ("split", (2,), {"dim": 1}, 1), ("split", (1, 2), {}, 2)])  # fmt: skip
def test_what_tears_an_axis_is_known_without_tearing_it(name, args, kwargs, torn):
    """Whether an axis outlives a call is found by making it very long: no call is made that would take it apart into as many."""
    called = []

    def call(*args, **kwargs):
        called.append(args)
        return getattr(torch, name)(*args, **kwargs)

    call.__name__ = name
    for axis in range(3):
        moved = BatchAxis(axis).moved(call, (2, 4, 3), args, kwargs)
        expected = axis - (axis > torn) if name == "unbind" else axis
        assert moved == (None if axis == torn else BatchAxis(expected))
        assert len(called) == (0 if axis == torn else 1)
        called.clear()


def test_an_axis_of_images_is_not_expanded():
    """One image is no repetition of several: the call says so."""
    tape, _ = recorded_call(lambda x: x.expand(3, 4), torch.rand(1, 4), BatchAxis(), 1)
    assert tape.calls[-1].problem == "it mixes the images of the batch"


class GlobalQueries(nn.Module):
    """Windows that share their image's queries, as GCViT has them."""

    def __init__(self):
        super().__init__()
        self.patches, self.pool, self.kv, self.head = nn.Conv2d(3, 8, 2, 2), nn.MaxPool2d(2), nn.Linear(8, 16), nn.Linear(8, 5)

    def forward(self, x):
        maps = self.patches(x)
        queries = self.pool(maps).permute(0, 2, 3, 1).flatten(1, 2).repeat_interleave(4, dim=0)  # (4 N, 16, 8)
        windows = maps.unflatten(3, (2, 4)).unflatten(2, (2, 4)).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, 8)
        k, v = self.kv(windows).chunk(2, -1)
        mixed = (queries @ k.mT).softmax(-1) @ v
        return self.head(mixed.view(-1, 2, 2, 4, 4, 8).permute(0, 1, 3, 2, 4, 5).reshape(-1, 64, 8).mean(1))


@pytest.mark.parametrize("attention", ["held", "product"])
def test_windows_may_share_their_images_queries(attention):
    """Patterns held or not, of several images at once and of one alone, to 1e-10."""
    model = randomised(GlobalQueries())
    images = torch.rand(3, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    with Held() if attention == "held" else nullcontext():
        output = model(images)
    net = deconvnet.DeconvNet(model, attention=attention, silent="first")
    recording = net.record(images.detach())
    signal = torch.randn(3, 5, dtype=torch.float64)
    (expected,) = torch.autograd.grad(output, images, signal, retain_graph=True)
    assert relative(net.project_signal(recording, "head", signal, rule="gradient"), expected) < 1e-10
    projection = net.project(recording, "head", units=[(2, 0, 0), (0, 0, 0)], image=1, rule="gradient", start="one")
    for unit, pixels in zip(projection.units, projection.pixels, strict=True):
        (expected,) = torch.autograd.grad(output[1, unit.channel], images, retain_graph=True)
        assert relative(pixels, expected[1]) < 1e-10


class Summed(nn.Module):
    """Rows, counted among the images, go through a call that has no rule."""

    def __init__(self):
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)

    def forward(self, x):
        x = self.patches(x).permute(0, 2, 3, 1)
        rows = torch.cumsum(x.reshape(-1, *x.shape[2:]), 1)
        return self.norm(rows.reshape(*x.shape[:3], -1).permute(0, 3, 1, 2))


def test_what_has_no_rule_is_blamed_not_what_follows():
    """Above a call without a rule nobody knows where the images are: it is named, not the reshape that seems to mix them."""
    net = deconvnet.DeconvNet(Summed().eval())
    recording = net.record(torch.rand(2, 3, 8, 8))
    with pytest.raises(deconvnet.NoRuleError) as caught:
        net.project(recording, "norm")
    assert str(caught.value) == "no mirror rule for cumsum in 'cumsum'. Add one: see docs/your-own-rule.md."


def test_calls_that_mix_images_are_refused_whichever_axis_they_are_on():
    """Statistics of the batch and products over it are problems, and say so."""

    class Mixes(nn.Module):
        def forward(self, x):
            tokens = x.flatten(2).permute(2, 0, 1)
            return (tokens - tokens.mean(1, keepdim=True)).transpose(0, 1).flatten(1)

    net = deconvnet.DeconvNet(Mixes())
    recording = net.record(torch.rand(2, 3, 4, 4))
    with pytest.raises(deconvnet.NoRuleError, match="it mixes the images of the batch"):
        net.project(recording, "flatten_1", channels=[0])


# ---- tokens


def test_tokens_are_maps():
    """Rows and columns come from the grid of patches; the class token before it has no place."""
    net = deconvnet.DeconvNet(randomised(Timm()))
    recording = net.record(torch.rand(2, 3, 16, 16))
    for layer in ("norm", "add", "add_2", "out"):
        tokens = recording.activations(layer)
        expected = tokens[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
        assert torch.equal(recording.maps(layer), expected)
    listed = net.layers((3, 16, 16))
    assert (listed["norm"].channels, listed["norm"].height, listed["norm"].width) == (8, 4, 4)
    with pytest.raises(deconvnet.UnitError):
        recording.maps("permute")


@pytest.mark.parametrize("name", ["timm", "vit", "swin"])
def test_units_of_tokens_stand_where_their_patch_is(name):
    """Before any attention a unit is its patch's: its window, and all of its projection, lie there and nowhere else."""
    model = randomised(MODELS[name]())
    net = deconvnet.DeconvNet(model)
    recording = net.record(torch.rand(1, 3, 16, 16))
    layer, size = {"timm": ("norm", 4), "vit": ("encoder.layers.encoder_layer_0.ln_1", 4), "swin": ("features.0.2", 2)}[name]
    count = recording.maps(layer).shape[2]
    assert count == 16 // size
    for row, col in ((0, 0), (1, count - 1), (count - 1, 2)):
        projection = net.project(recording, layer, units=[(3, row, col)], rule="gradient", start="one")
        window = deconvnet.Window(row * size, col * size, size, size)
        assert projection.windows == [window]
        _, rows, cols = projection.pixels[0].nonzero().T
        assert (rows // size == row).all()
        assert (cols // size == col).all()


@pytest.mark.parametrize("name", ["vit", "swin", "swin v2"])
def test_units_of_tokens_behind_attention_equal_autograd(name):
    """Units by channel, row and column, of layers with maps that are not convolutions'."""
    model = randomised(MODELS[name]())
    net = deconvnet.DeconvNet(model)
    images = torch.rand(2, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    layer = "encoder.layers.encoder_layer_1.mlp.1" if name == "vit" else "features.3.1.mlp.1"
    recording = net.record(images.detach())
    maps = recording.maps(layer)
    kept = {}
    hook = model.get_submodule(layer).register_forward_hook(lambda module, inputs, output: kept.update(output=output))
    with Held():
        model(images)
    hook.remove()
    values = kept["output"]
    assert values.dim() == (3 if name == "vit" else 4)
    for channel, row, col in ((0, 0, 0), (5, 1, maps.shape[3] - 1), (7, maps.shape[2] - 1, 1)):
        projection = net.project(recording, layer, units=[(channel, row, col)], image=1, rule="gradient", start="one")
        unit = values[1, 1 + row * maps.shape[3] + col, channel] if name == "vit" else values[1, row, col, channel]
        assert projection.units[0].activation == pytest.approx(float(unit.detach()))
        (expected,) = torch.autograd.grad(unit, images, retain_graph=True)
        assert relative(projection.pixels[0], expected[1]) < 1e-10


def test_own_of_a_transformer_is_in_its_attention():
    """With patterns held, a unit's projection differs between pictures by the paper's rule; with one pattern for all it does less."""
    images = torch.rand(2, 3, 16, 16, dtype=torch.float64)

    def alike(model):
        net = deconvnet.DeconvNet(model)
        recording = net.record(images)
        projections = [net.project(recording, "add_2", units=[(3, 1, 2)], image=image, start="one") for image in (0, 1)]
        assert {projection.settings["rule"] for projection in projections} == {"deconvnet"}
        first, second = (projection.pixels.flatten() for projection in projections)
        return float(torch.cosine_similarity(first, second, dim=0))

    model = randomised(Timm())
    model.qkv.weight.data[:16] *= 8
    model.out.weight.data *= 20  # what attention brings is much of what there is
    attentive = alike(model)
    for tensor in (model.qkv.weight, model.qkv.bias, model.bias):
        tensor.data[:16] = 0.0  # queries and keys: every token looks at all alike
    uniform = alike(model)
    assert attentive < 0.95
    assert uniform > 0.99


# ---- shapes that other nets give attention


class LengthFirst(nn.Module):
    """Tokens as (L, N, C), as CLIP has them, with values of a width of their own and a mask made of the image."""

    def __init__(self):
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, vdim=6)
        self.values, self.act, self.head = nn.Linear(8, 6), nn.GELU(), nn.Linear(8, 5)

    def forward(self, x):
        tokens = self.norm(self.patches(x).flatten(2).permute(2, 0, 1))
        ignored = (tokens[..., 0] < tokens[..., 0].mean(0, keepdim=True)).transpose(0, 1)
        mixed, _ = self.attention(tokens, tokens, self.values(tokens), key_padding_mask=ignored, need_weights=False)
        return self.head(self.act(tokens + mixed).mean(0))


def test_tokens_before_images():
    """Units of (L, N, C) have rows and columns, and go down with K signals where N was, to 1e-10."""
    model = randomised(LengthFirst())
    net = deconvnet.DeconvNet(model)
    images = torch.rand(3, 3, 16, 12, dtype=torch.float64, requires_grad=True)
    layers, names = {}, ("norm", "act")
    hooks = [
        model.get_submodule(name).register_forward_hook(lambda module, inputs, output, name=name: layers.update({name: output}))
        for name in names
    ]
    with HeldSeparate(model):
        model(images)
    for hook in hooks:
        hook.remove()
    recording = net.record(images.detach())
    for name in names:
        maps = recording.maps(name)
        assert torch.equal(maps, recording.activations(name).permute(1, 2, 0).unflatten(2, (4, 3)))
        units = [(0, 0, 0), (5, 3, 1), (7, 2, 2), (3, 1, 0)]
        projection = net.project(recording, name, units=units, image=1, rule="gradient", start="one")
        for unit, pixels in zip(projection.units, projection.pixels, strict=True):
            value = layers[name][unit.row * 3 + unit.col, 1, unit.channel]
            (expected,) = torch.autograd.grad(value, images, retain_graph=True)
            assert relative(pixels, expected[1]) < 1e-10


class HeldSeparate(TorchFunctionMode):
    """As `Held`, for attention whose values have a width of their own, with a mask of keys."""

    def __init__(self, model):
        super().__init__()
        self.attention = model.attention

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is F.layer_norm:
            return held_layer_norm(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            query, key, value = args[:3]
            layer, bias = self.attention, self.attention.in_proj_bias.chunk(3)
            weights = (layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight)
            parts = (F.linear(*each) for each in zip((query, key, value), weights, bias, strict=True))
            q, k, v = (part.unflatten(-1, (2, 4)).permute(1, 2, 0, 3) for part in parts)
            scores = q @ k.mT / 2 + kwargs["key_padding_mask"][:, None, None, :]
            mixed = (scores.softmax(-1).detach() @ v).permute(2, 0, 1, 3).flatten(2)
            return F.linear(mixed, layer.out_proj.weight, layer.out_proj.bias), None
        return func(*args, **kwargs)


class Pooled(nn.Module):
    """A learned query looks at the tokens: what it makes has no grid."""

    def __init__(self):
        super().__init__()
        self.patches, self.query, self.head = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.zeros(1, 2, 1, 4)), nn.Linear(8, 5)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        keys = tokens.unflatten(2, (2, 4)).transpose(1, 2)
        return self.head(
            F.scaled_dot_product_attention(self.query.expand(len(x), -1, -1, -1), keys, keys).transpose(1, 2).flatten(1)
        )


def test_a_learned_query_has_no_grid():
    """Its layers are maps of one position, or none; the classes go down as autograd has it."""
    model = randomised(Pooled())
    net = deconvnet.DeconvNet(model)
    images = torch.rand(2, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    with Held():
        output = model(images)
    recording = net.record(images.detach())
    for layer in recording.records():
        if recording.axes(layer)[0] is not None:
            assert len(recording.maps(layer)) == 2
    projection = net.project(recording, "head", channels=[1, 4], image=1, rule="gradient", start="one")
    for unit, pixels in zip(projection.units, projection.pixels, strict=True):
        (expected,) = torch.autograd.grad(output[1, unit.channel], images, retain_graph=True)
        assert relative(pixels, expected[1]) < 1e-10


@pytest.mark.parametrize("name", MODELS)
def test_layers_have_a_map_of_each_image_or_none(name):
    """Where heads or windows are counted among the images, or tokens and images changed places, no layer shows other things."""
    net = deconvnet.DeconvNet(randomised(MODELS[name]()))
    recording = net.record(torch.rand(3, 3, 16, 16))
    listed = net.layers((3, 16, 16)).names
    for layer, record in recording.records().items():
        if record.value is None:
            continue
        if recording.axes(layer)[0] is None:
            assert layer not in listed
            with pytest.raises(deconvnet.UnitError):
                recording.maps(layer)
        else:
            assert layer in listed
            assert len(recording.maps(layer)) == 3


class Folds(nn.Module):
    """Counts the windows of its maps among the images, convolves there, and puts them together again."""

    def __init__(self):
        super().__init__()
        self.below, self.inside, self.pool, self.above = (
            nn.Conv2d(3, 4, 1),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 5, 1),
        )

    def forward(self, x):
        y = self.below(x).unflatten(3, (2, 4)).unflatten(2, (2, 4)).permute(0, 2, 4, 1, 3, 5)
        y = self.pool(F.relu(self.inside(y.reshape(-1, 4, 4, 4))))
        y = y.reshape(-1, 2, 2, 4, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(-1, 4, 4, 4)
        return self.above(y)


def test_windows_among_the_images_keep_each_image_s_switches():
    """Layers inside the windows have no maps; above them, K signals of one image go by that image's switches."""
    torch.manual_seed(0)
    model = Folds().double()
    net = deconvnet.DeconvNet(model, silent="first")
    images = torch.rand(3, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    recording, output = net.record(images.detach()), model(images)
    for layer in ("inside", "pool"):
        with pytest.raises(deconvnet.UnitError):
            recording.maps(layer)
    units = [(0, 0, 0), (1, 3, 3), (4, 1, 2), (2, 2, 0), (3, 0, 3)]
    for image in range(3):
        projection = net.project(recording, "above", units=units, image=image, rule="gradient", start="one")
        for unit, pixels in zip(projection.units, projection.pixels, strict=True):
            (expected,) = torch.autograd.grad(output[image, unit.channel, unit.row, unit.col], images, retain_graph=True)
            assert relative(pixels, expected[image]) < 1e-10


# ---- patterns that a net changes before it attends, heads that share keys, and patterns that are not held


class Talking(nn.Module):
    """Talking heads: the patterns are mixed among heads, masked and scaled before they meet the values."""

    def __init__(self):
        super().__init__()
        self.patches, self.qkv, self.mix = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 24), nn.Linear(2, 2)
        self.norm, self.head = nn.BatchNorm2d(2), nn.Linear(8, 5)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(tokens).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4).unbind(0)
        pattern = (q @ k.mT).softmax(-1)
        pattern = self.norm(self.mix(pattern.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)) * 0.7
        pattern = pattern / pattern.sum(-1, keepdim=True)
        return self.head((pattern @ v).transpose(1, 2).flatten(2).mean(1))


class Grouped(nn.Module):
    """Four heads of queries, two of keys and values."""

    def __init__(self):
        super().__init__()
        self.patches, self.q, self.k, self.v = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 16), nn.Linear(8, 8), nn.Linear(8, 8)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        q, k, v = (layer(tokens).unflatten(-1, (-1, 4)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        return self.head(mixed.transpose(1, 2).flatten(2).mean(1))


class HeldGrouped(TorchFunctionMode):
    """Shared heads from their definition, with their patterns held or not."""

    def __init__(self, held):
        super().__init__()
        self.held = held

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        q, k, v = args
        k, v = (part.repeat_interleave(2, 1) for part in (k, v))
        pattern = (q @ k.mT / 2).softmax(-1)
        return (pattern.detach() if self.held else pattern) @ v


@pytest.mark.parametrize(
    ("make", "oracle"), [(Talking, Held), (Grouped, lambda: HeldGrouped(held=True))], ids=["talking", "grouped"]
)
def test_patterns_that_are_mixed_or_shared_are_held_too(make, oracle):
    """The gradient with all that softmaxes made taken as constants, to 1e-10."""
    model = randomised(make())
    images = torch.rand(3, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    with oracle():
        output = model(images)
    net = deconvnet.DeconvNet(model)
    recording = net.record(images.detach())
    signal = torch.randn(3, 5, dtype=torch.float64)
    (expected,) = torch.autograd.grad(output, images, signal)
    assert relative(net.project_signal(recording, "head", signal, rule="gradient"), expected) < 1e-10
    alone = net.project(recording, "head", units=[(2, 0, 0)], image=1, rule="gradient", start="one").pixels[0]
    with oracle():
        (expected,) = torch.autograd.grad(model(images)[1, 2], images)
    assert relative(alone, expected[1]) < 1e-10


@pytest.mark.parametrize("make", [Timm, Talking, Grouped, swin], ids=["timm", "talking", "grouped", "swin"])
def test_as_a_product_attention_is_the_plain_gradient(make):
    """With `attention="product"` queries and keys take a signal: only norms are held."""
    model = randomised(make())
    images = torch.rand(2, 3, 16, 16, dtype=torch.float64, requires_grad=True)

    class HeldNorms(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return (held_layer_norm if func is F.layer_norm else func)(*args, **(kwargs or {}))

    with HeldNorms():
        output = model(images)
    net = deconvnet.DeconvNet(model, attention="product")
    recording = net.record(images.detach())
    signal = torch.randn(2, 5, dtype=torch.float64)
    (expected,) = torch.autograd.grad(output, images, signal)
    layer = "head"
    if make is Talking:  # a quotient of two things that are no gates is not what this is about
        held = deconvnet.DeconvNet(model).project_signal(recording, layer, signal, rule="gradient")
        assert relative(net.project_signal(recording, layer, signal, rule="gradient"), held) > 1e-3
        return
    assert relative(net.project_signal(recording, layer, signal, rule="gradient"), expected) < 1e-10
    alone = net.project(recording, layer, units=[(2, 0, 0)], image=1, rule="gradient", start="one")
    with HeldNorms():
        (expected,) = torch.autograd.grad(model(images)[1, 2], images)
    assert relative(alone.pixels[0], expected[1]) < 1e-10
    assert alone.settings["attention"] == "product"


def test_a_mask_of_the_image_and_torchs_own_layer_have_no_product():
    """They say so when a projection meets them."""
    net = deconvnet.DeconvNet(randomised(vit()), attention="product")
    recording = net.record(torch.rand(1, 3, 16, 16, dtype=torch.float64))
    with pytest.raises(deconvnet.NoRuleError, match=r"nn.MultiheadAttention holds its patterns"):
        net.project(recording, "heads", channels=[0])
    with pytest.raises(deconvnet.OptionError, match="attention cannot be 'none'"):
        deconvnet.DeconvNet(nn.Identity(), attention="none")


class SigmoidValues(nn.Module):
    """Values that a sigmoid made: they are no gate where a softmax's pattern meets them."""

    def __init__(self):
        super().__init__()
        self.patches, self.qk, self.v, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 16), nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        q, k = self.qk(tokens).chunk(2, -1)
        mixed = self.v(tokens).sigmoid().transpose(1, 2) @ (q @ k.mT).softmax(-1).mT
        return self.head(mixed.mean(2))


def test_a_softmax_is_the_pattern_where_a_gate_meets_it():
    """The signal goes through the values, whichever stands first."""
    model = randomised(SigmoidValues())
    images = torch.rand(2, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    with Held():
        output = model(images)
    net = deconvnet.DeconvNet(model)
    signal = torch.randn(2, 5, dtype=torch.float64)
    (expected,) = torch.autograd.grad(output, images, signal)
    assert relative(net.project_signal(net.record(images.detach()), "head", signal, rule="gradient"), expected) < 1e-10


# ---- scans


class SmallTransformer(nn.Module):
    """Two blocks with a class token, and an MLP whose neurons are scanned."""

    def __init__(self):
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 8, 6, 6), nn.Parameter(torch.randn(1, 1, 8))
        self.attention, self.up, self.act, self.down = nn.Linear(8, 24), nn.Linear(8, 20), nn.GELU(), nn.Linear(20, 8)

    def forward(self, x):
        x = torch.cat((self.token.expand(len(x), -1, -1), self.patches(x).flatten(2).transpose(1, 2)), 1)
        for _ in range(2):
            q, k, v = self.attention(x).chunk(3, -1)
            x = x + F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
            x = x + self.down(self.act(self.up(x)))
        return x[:, 0]


def test_a_scan_of_a_transformer_equals_a_brute_force(tmp_path):
    """The top pictures of every neuron of two layers, with the place of the patch they look at; the class token is no place."""
    torch.manual_seed(1)
    model = SmallTransformer().eval()
    preprocess = deconvnet.Preprocess(resize=24, crop=24, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    net = deconvnet.DeconvNet(model, preprocess)
    for number in range(25):
        draw(seed=number, size=24).picture.save(tmp_path / f"{number:02d}.png")
    layers = ["act", "act_1"]
    kept = {layer: [] for layer in layers}
    for number in range(25):
        made = []
        hook = model.act.register_forward_hook(lambda module, inputs, output, made=made: made.append(output))
        with torch.no_grad():
            model(preprocess(tmp_path / f"{number:02d}.png")[None])
        hook.remove()
        for layer, tokens in zip(layers, made, strict=True):
            kept[layer].append(tokens[0, 1:])
    with deconvnet.scan(net, tmp_path, tmp_path / "net.scan", layers=layers) as scan:
        assert scan.size("act") == (20, 4, 4)
        for layer in layers:
            strongest, places = torch.stack(kept[layer]).max(1)  # (25, 20)
            for channel in range(20):
                order = sorted(range(25), key=lambda number, c=channel, s=strongest: (-float(s[number, c]), number))[:9]
                hits = scan.top(layer, channel)
                assert [hit.path for hit in hits] == [f"{number:02d}.png" for number in order]
                assert [hit.row * 4 + hit.col for hit in hits] == [int(places[number, channel]) for number in order]
        scan.plate("act_1", channels=[3]).save(tmp_path / "plate.png")
    assert (tmp_path / "plate.png").stat().st_size > 3000
