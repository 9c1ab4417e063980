"""Units of small transformers and hybrids, against a brute force: which pixels move a unit with attention held, and by how much."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import deconvnet

timm = pytest.importorskip("timm", reason='no timm (pip install -e ".[timm]")')

from timm.models import (  # noqa: E402  # noqa: E402
    beit,
    byobnet,
    cait,
    crossvit,
    edgenext,
    efficientvit_msra,
    fastvit,
    levit,
    maxxvit,
    mvitv2,
    nest,
    pit,
    swin_transformer,
    swin_transformer_v2,
    tiny_vit,
    twins,
    visformer,
    vision_transformer,
    xcit,
)
from timm.models import deit as deit_models  # noqa: E402

STEP = 1e-5  # how far a pixel is moved
#: What is held as a gate; a factor that is broadcast, as mobilevit 2's context vector, is one too.
GATES = (
    Tensor.expand_as,
    F.softmax,
    torch.softmax,
    Tensor.softmax,
    torch.sigmoid,
    Tensor.sigmoid,
    Tensor.sigmoid_,
    F.sigmoid,
    F.hardsigmoid,
)


class Replayed(TorchFunctionMode):
    """Makes patterns of attention, gates and statistics of norms as the first pass had them, whatever the picture is then."""

    def __init__(self):
        super().__init__()
        self.kept, self.replay = [], None

    def rewind(self):
        self.replay = iter(self.kept)

    def hold(self, value):
        if self.replay is not None:
            return next(self.replay)
        self.kept.append(value)
        return value

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in GATES:
            return self.hold(func(*args, **kwargs))
        if func is F.scaled_dot_product_attention:
            return self.attend(*args, **kwargs)
        if func is F.layer_norm:
            return self.norm(*args, **kwargs)
        if func is F.group_norm:
            return self.group_norm(*args, **kwargs)
        if func is F.normalize:
            return args[0] / self.hold(args[0].norm(dim=kwargs.get("dim", 1), keepdim=True))
        return func(*args, **kwargs)

    def attend(self, q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None):
        assert not is_causal
        scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
        return self.hold((scores if attn_mask is None else scores + attn_mask).softmax(-1)) @ v

    def norm(self, x, axes, weight=None, bias=None, eps=1e-5):
        dims = tuple(range(-len(axes), 0))
        mean, variance = self.hold(x.mean(dims, keepdim=True)), self.hold(x.var(dims, unbiased=False, keepdim=True))
        return (x - mean) / (variance + eps).sqrt() * weight + bias

    def group_norm(self, x, groups, weight=None, bias=None, eps=1e-5):
        parts = x.reshape(len(x), groups, -1)
        mean = self.hold(parts.mean(2, keepdim=True))
        variance = self.hold(parts.var(2, unbiased=False, keepdim=True))
        column = (1, -1) + (1,) * (x.dim() - 2)
        return ((parts - mean) / (variance + eps).sqrt()).reshape(x.shape) * weight.view(column) + bias.view(column)


@dataclass(frozen=True)
class Case:
    """A net, the pictures that it takes, and where its layers' units stand: "maps", "last" (channels last), or tokens before them."""

    make: Callable[[], nn.Module]
    sizes: tuple[tuple[int, int], ...]
    layers: dict[str, tuple[str | int, int]]  # name -> where units stand, and how many pixels they are apart
    local: tuple[str, ...] = ()  # those before any attention


def vit(**options):
    return vision_transformer.VisionTransformer(
        img_size=16, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=5, dynamic_img_size=True, **options
    )


def maxxvit_of(*kinds):
    return maxxvit.MaxxVit(
        maxxvit.MaxxVitCfg(
            embed_dim=(8, 16),
            depths=(1, 1),
            block_type=kinds,
            stem_width=8,
            transformer_cfg=maxxvit.MaxxVitTransformerCfg(dim_head=4, window_size=(4, 4), grid_size=(4, 4)),
        ),
        img_size=32,
        num_classes=5,
    )


def mobilevit(kind, **options):
    cfg = byobnet.ByoModelCfg(
        blocks=(
            byobnet.ByoBlockCfg(type="bottle", d=1, c=8, s=2, gs=1, br=2.0, block_kwargs={"bottle_in": True}),
            byobnet.ByoBlockCfg(
                type=kind, d=1, c=8, s=1, gs=1, br=1.0, block_kwargs={"transformer_depth": 1, "patch_size": 2, **options}
            ),
        ),
        stem_chs=8,
        stem_type="3x3",
        stem_pool="",
        downsample="",
        act_layer="silu",
        num_features=16,
    )
    return byobnet.ByobNet(cfg, num_classes=5)


def swin(module=swin_transformer.SwinTransformer, **options):
    return module(
        img_size=32, patch_size=2, embed_dim=8, depths=(2, 2), num_heads=(2, 2), window_size=4, num_classes=5, **options
    )


SQUARE = ((16, 16),)
CASES = {
    # transformers
    "class token and registers": Case(
        lambda: vit(reg_tokens=2),
        ((16, 16), (12, 20)),
        {"blocks.0.norm1": (3, 4), "blocks.0.mlp.act": (3, 4), "blocks.1": (3, 4)},
        ("blocks.0.norm1",),
    ),
    "registers alone": Case(
        lambda: vit(reg_tokens=3, class_token=False, global_pool="avg", qk_norm=True), SQUARE, {"blocks.1.mlp.act": (3, 4)}
    ),
    "no token before the grid": Case(lambda: vit(class_token=False, global_pool="avg"), ((16, 8),), {"norm": (0, 4)}),
    "shifted windows": Case(
        lambda: swin(strict_img_size=False),
        ((32, 32), (16, 24)),
        {"layers.0.blocks.0.norm1": ("last", 2), "layers.0.blocks.1.mlp.act": (0, 2), "layers.1.blocks.1": ("last", 4)},
        ("layers.0.blocks.0.norm1",),
    ),
    "swin v2": Case(
        lambda: swin(swin_transformer_v2.SwinTransformerV2),
        ((32, 32),),
        {"layers.0.blocks.1": ("last", 2), "layers.1.blocks.0.mlp.act": (0, 4)},
    ),
    "two class tokens": Case(
        lambda: deit_models.VisionTransformerDistilled(
            img_size=16, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=5
        ),
        SQUARE,
        {"blocks.0": (2, 4), "blocks.1.mlp.act": (2, 4)},
    ),
    "beit": Case(
        lambda: beit.Beit(img_size=16, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=5, use_rel_pos_bias=True),
        SQUARE,
        {"blocks.0.mlp.act": (1, 4), "blocks.1": (1, 4)},
    ),
    "cait": Case(
        lambda: cait.Cait(img_size=16, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=5),
        SQUARE,
        {"blocks.0.mlp.act": (0, 4), "blocks.1": (0, 4)},
    ),
    "xcit": Case(
        lambda: xcit.Xcit(img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=5),
        ((32, 32),),
        {"blocks.0.mlp.act": (0, 8), "blocks.1": (0, 8)},
    ),
    "pit": Case(
        lambda: pit.PoolingVisionTransformer(
            img_size=32, patch_size=4, stride=4, stem_type="", base_dims=(8, 8), depth=(1, 1), heads=(2, 4), num_classes=5
        ),
        ((32, 32),),
        {"transformers.0.blocks.0.mlp.act": (1, 4)},
    ),
    "nest": Case(
        lambda: nest.Nest(
            img_size=32, patch_size=4, num_levels=2, embed_dims=(8, 16), num_heads=(2, 2), depths=(1, 1), num_classes=5
        ),
        ((32, 32),),
        {"levels.0": ("maps", 4)},
    ),
    "crossvit": Case(
        lambda: crossvit.CrossVit(
            img_size=32, img_scale=(1.0, 1.0), patch_size=(4, 8), embed_dim=(8, 8), depth=((1, 1, 0),), num_heads=(2, 2),
            mlp_ratio=(2, 2, 1), num_classes=5,
        ),
        ((32, 32),),
        {"blocks.0.blocks.0.0.mlp.act": (1, 4)},
    ),
    "twins": Case(
        lambda: twins.Twins(
            img_size=32, patch_size=4, embed_dims=(8, 8, 8, 8), num_heads=(2, 2, 2, 2), depths=(1, 1, 1, 1), wss=(2, 2, 2, 2),
            sr_ratios=(2, 2, 1, 1), num_classes=5,
        ),
        ((32, 32),),
        {"blocks.0.0.mlp.act": (0, 4)},
    ),
    # hybrids
    "coatnet": Case(
        lambda: maxxvit_of("C", "T"), ((32, 32),), {"stages.0": ("maps", 4), "stages.1": ("maps", 8)}, ("stages.0",)
    ),
    "maxvit": Case(lambda: maxxvit_of("M", "M"), ((32, 32),), {"stages.0": ("maps", 4), "stages.1": ("maps", 8)}),
    "mobilevit": Case(
        lambda: mobilevit("mobilevit", transformer_dim=8, num_heads=2),
        ((16, 16), (24, 16)),
        {"stages.0": ("maps", 4), "stages.1": ("maps", 4)},
        ("stages.0",),
    ),
    "mobilevit 2": Case(
        lambda: mobilevit("mobilevit2"), SQUARE, {"stages.0": ("maps", 4), "stages.1": ("maps", 4)}, ("stages.0",)
    ),
    "edgenext": Case(
        lambda: edgenext.EdgeNeXt(
            dims=(8, 8, 16, 16), depths=(1, 1, 2, 2), global_block_counts=(0, 1, 1, 1), kernel_sizes=(3, 3, 3, 3),
            heads=(2, 2, 2, 2), d2_scales=(2, 2, 3, 4), num_classes=5,
        ),
        ((64, 64),),
        {"stages.1": ("maps", 8), "stages.3": ("maps", 32)},
    ),
    "fastvit": Case(
        lambda: fastvit.FastVit(
            layers=(1, 1, 1, 1), embed_dims=(8, 8, 16, 32), token_mixers=("repmixer",) * 3 + ("attention",), num_classes=5
        ),
        ((64, 64),),
        {"stages.1": ("maps", 8), "stages.3": ("maps", 32)},
    ),
    "visformer": Case(
        lambda: visformer.Visformer(
            img_size=64, init_channels=8, embed_dim=16, depth=(1, 1, 1), num_heads=2, num_classes=5, spatial_conv="100",
            attn_stage="011", group=2,
        ),
        ((64, 64),),
        {"stage1": ("maps", 8), "stage2": ("maps", 16)},
    ),
    "efficientvit": Case(
        lambda: efficientvit_msra.EfficientVitMsra(
            img_size=64, embed_dim=(16, 24, 32), key_dim=(8, 8, 8), depth=(1, 1, 1), num_heads=(2, 2, 2),
            window_size=(2, 2, 2), kernels=(5, 5, 5, 5), num_classes=5,
        ),
        ((64, 64),),
        {"stages.0": ("maps", 16)},
    ),
    "mvit 2": Case(
        lambda: mvitv2.MultiScaleVit(
            mvitv2.MultiScaleVitCfg(depths=(1, 1), embed_dim=8, num_heads=1), img_size=32, num_classes=5
        ),
        ((32, 32),),
        {"stages.0.blocks.0.mlp.act": (0, 4)},
    ),
    "levit": Case(
        lambda: levit.Levit(
            img_size=64, embed_dim=(16, 24), key_dim=4, depth=(1, 1), num_heads=(2, 2), attn_ratio=2, mlp_ratio=2,
            stem_type="s16", num_classes=5,
        ),
        ((64, 64),),
        {"stages.0.blocks.0.mlp.act": (0, 16), "stages.1": (0, 32)},
    ),
    "tiny_vit": Case(
        lambda: tiny_vit.TinyVit(embed_dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 2), window_sizes=(4, 4, 4, 4), num_classes=5),
        ((64, 64),),
        {"stages.1": ("maps", 8), "stages.2": ("maps", 16)},
    ),
}  # fmt: skip
#: Those that run in each run of the tests; the others are slow.
FAST = ("class token and registers", "shifted windows", "coatnet", "mobilevit")


def randomised(model):
    """Give every parameter values that matter: some begin as zero."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, mean=0.0 if parameter.dim() > 1 else 0.5, std=0.3)
    return model.double().eval()


def value_at(output, place, stride, size, unit):
    """Read a unit from what a module made, by its own idea of where units stand."""
    channel, row, col = unit
    if place == "maps":
        return output[:, channel, row, col]
    if place == "last":
        return output[:, row, col, channel]
    return output[:, place + row * (size[1] // stride) + col, channel]


def own_pixels(units, stride):
    """Yield the pixels that units stand over, of every second row, so that none is missed by the lattice."""
    for _, row, col in units:
        for down in range(0, stride, 2):
            yield from ((row * stride + down, col * stride + right) for right in range(0, stride, 2))


def slow_gradients(model, image, pixels, read):
    """Move one pixel after the other up and down, with what is held as it is in the picture: (pixels, units)."""
    up = image.repeat(len(pixels), 1, 1, 1)
    down = up.clone()
    for number, (row, col) in enumerate(pixels):
        up[number, 0, row, col] += STEP
        down[number, 0, row, col] -= STEP
    mode = Replayed()
    with torch.no_grad(), mode:
        model(image.repeat(len(pixels), 1, 1, 1))
        mode.rewind()
        above = read(up)
        mode.rewind()
        below = read(down)
    return (above - below) / (2 * STEP)


def reader(model, case, size, units):
    """Return a function that runs the net and reads units of all layers, in order."""

    def read(images):
        outputs = {}
        keep = {layer: lambda _, inputs, output, layer=layer: outputs.update({layer: output}) for layer in case.layers}
        hooks = [model.get_submodule(layer).register_forward_hook(keep[layer]) for layer in case.layers]
        model(images)
        for hook in hooks:
            hook.remove()
        return torch.stack(
            [value_at(outputs[layer], *case.layers[layer], size, unit) for layer in case.layers for unit in units[layer]], 1
        )

    return read


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)  # fmt: skip
def test_units_are_moved_by_the_pixels_of_their_projection(name):
    """By as much as the projection says, to 1e-5, and by none outside the window, which is tight before attention."""
    case = CASES[name]
    model = randomised(case.make())
    net = deconvnet.DeconvNet(model, silent="first")
    for size in case.sizes:
        image = torch.rand(1, 3, *size, dtype=torch.float64)
        recording = net.record(image)
        units = {}
        for layer, (_, stride) in case.layers.items():
            rows, cols = size[0] // stride, size[1] // stride
            assert recording.maps(layer).shape[2:] == (rows, cols)
            units[layer] = [(1, 0, 0), (2, rows // 2, cols - 1), (0, rows - 1, cols // 2)]
        every = 1 if max(size) <= 24 else 3
        lattice = {(row, col) for row in range(0, size[0], every) for col in range(0, size[1], every)}
        pixels = sorted(
            lattice | {pixel for layer, (_, stride) in case.layers.items() for pixel in own_pixels(units[layer], stride)}
        )
        moved = slow_gradients(model, image, pixels, reader(model, case, size, units))
        number = 0
        for layer in case.layers:
            projection = net.project(recording, layer, units=units[layer], rule="gradient", start="one")
            for found, window in zip(projection.pixels, projection.windows, strict=True):
                expected, number = moved[:, number], number + 1
                at = torch.stack([found[0, row, col] for row, col in pixels])
                assert float((at - expected).abs().max()) < 1e-5 * float(expected.abs().max())
                reached = [
                    pixel for pixel, move in zip(pixels, expected, strict=True) if abs(move) > 1e-7 * expected.abs().max()
                ]
                inside = [
                    (row, col)
                    for row, col in pixels
                    if row in range(window.top, window.bottom) and col in range(window.left, window.right)
                ]
                assert set(reached) <= set(inside)
                if layer in case.local:
                    assert set(reached) == set(inside) != set(pixels)
                else:
                    assert len(reached) > len(pixels) / 16  # attention has looked elsewhere, or the layer is not worth a test


class LateRegisters(nn.Module):
    """Register tokens put between the class token and the grid, once both are one value: as in Transformers' DINOv2."""

    def __init__(self):
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 6, 4, stride=4), nn.LayerNorm(6)
        self.tokens, self.registers = nn.Parameter(torch.randn(1, 1, 6)), nn.Parameter(torch.randn(1, 4, 6))

    def forward(self, x):
        grid = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.tokens.expand(len(x), -1, -1), grid], 1) * 2
        x = torch.cat([x[:, :1], self.registers.expand(len(x), -1, -1), x[:, 1:]], 1)
        return self.norm(x)


def test_registers_between_the_class_token_and_the_grid():
    """Rows and columns are the grid's, after five tokens without a place; a unit is moved by its own patch alone."""
    model = randomised(LateRegisters().double())
    net = deconvnet.DeconvNet(model)
    images = torch.randn(2, 3, 8, 12, dtype=torch.float64)
    recording = net.record(images)
    assert recording.axes("norm").prefix == 5
    assert recording.maps("norm").shape == (2, 6, 2, 3)
    assert torch.equal(recording.maps("norm")[1, :, 1, 2], recording.activations("norm")[1, 5 + 5])
    projection = net.project(recording, "norm", channels=[1], image=1, start="one", rule="gradient")
    unit, pixels = projection.units[0], torch.as_tensor(projection.pixels[0])
    own = pixels[:, 4 * unit.row : 4 * unit.row + 4, 4 * unit.col : 4 * unit.col + 4].clone()
    pixels[:, 4 * unit.row : 4 * unit.row + 4, 4 * unit.col : 4 * unit.col + 4] = 0
    assert own.abs().min() > 0
    assert not pixels.any()
