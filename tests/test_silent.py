"""Silent windows: what becomes of the signal of a pooling window in which nothing fired, against slow twins.

A ReLU stands below most max pools, so that many windows are all zero: they have no maximum, and torch names the first of the
tied places.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import deconvnet
from deconvnet import Unit, rules
from deconvnet.drawings import draw
from deconvnet.forward import ModelInputs, trace
from deconvnet.images import open_picture
from deconvnet.mirror import project_value
from deconvnet.projection import project_units
from deconvnet.rules.switches import unpool, unpool_by_offsets
from support.nets import randomise_norms
from support.oracle import project_by_autograd, relative

#: kernel, stride, padding, dilation, ceil_mode
POOLS = [
    (2, 2, 0, 1, False),
    (3, 2, 0, 1, True),
    (3, 2, 1, 1, False),
    ((2, 3), (1, 2), (1, 0), (2, 1), False),
    (3, 1, 1, 2, True),
    (5, 2, 2, 1, True),
]
CHOICES = [(silent, overlap) for silent in ("drop", "first") for overlap in ("sum", "last")]


def sparse(*shape: int) -> torch.Tensor:
    """Return numbers most of which a ReLU sets to zero, so that many windows are silent and many are not."""
    return torch.randn(*shape, dtype=torch.float64) - 1.2


def slow_unpool(signal, pooled, indices, size, silent, overlap):
    """Put values one by one where torch's indices say, leaving out those of windows whose maximum is zero."""
    result = torch.zeros(*signal.shape[:2], size[0] * size[1], dtype=signal.dtype)
    for place in torch.cartesian_prod(*map(torch.arange, signal.shape)).tolist():
        n, c, row, col = place
        if silent == "drop" and pooled[n, c, row, col] == 0:
            continue
        index, value = indices[n, c, row, col], signal[n, c, row, col]
        result[n, c, index] = value + (result[n, c, index] if overlap == "sum" else 0)
    return result.view(*signal.shape[:2], *size)


def below_relu(pool: nn.Module, x: torch.Tensor, signal_of, **options):
    """Return what a pool above a ReLU sends down, the ReLU's own rule replaced by the identity."""
    table = rules.DEFAULT.with_options(**options, rectify=False)
    tape = trace(nn.Sequential(nn.ReLU(), pool), ModelInputs(x), table).tape
    return tape, project_value(tape, 2, signal_of(tape.shapes[2]), table)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize(("silent", "overlap"), CHOICES)
def test_a_pool_equals_a_plain_loop(pool, silent, overlap):
    """Every geometry, both choices for silent windows and for colliding switches: as a loop over places has it."""
    x = sparse(2, 3, 9, 8)
    pooled, indices = F.max_pool2d(x.relu(), *pool[:4], ceil_mode=pool[4], return_indices=True)
    assert 0 < (pooled == 0).sum() < pooled.numel()
    signal = torch.randn_like(pooled)
    module = nn.MaxPool2d(*pool[:4], ceil_mode=pool[4])
    _, result = below_relu(module, x, lambda shape: signal, silent=silent, overlap=overlap)
    assert relative(result, slow_unpool(signal, pooled, indices, (9, 8), silent, overlap)) < 1e-12


@pytest.mark.parametrize("size", [(4, 3), (1, 1), (5, 7), (9, 8)])
@pytest.mark.parametrize(("silent", "overlap"), CHOICES)
def test_an_adaptive_pool_equals_a_plain_loop(size, silent, overlap):
    """Bins of any sizes, overlapping ones too."""
    x = sparse(2, 3, 9, 8) - 1.5 * (size == (1, 1))
    pooled, indices = F.adaptive_max_pool2d(x.relu(), size, return_indices=True)
    signal = torch.randn_like(pooled)
    _, result = below_relu(nn.AdaptiveMaxPool2d(size), x, lambda shape: signal, silent=silent, overlap=overlap)
    assert relative(result, slow_unpool(signal, pooled, indices, (9, 8), silent, overlap)) < 1e-12


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("silent", ["drop", "first"])
def test_offset_by_offset_is_the_same(pool, silent):
    """The deterministic way that some GPUs take equals the fast way that the CPU takes."""
    tape, _ = below_relu(nn.MaxPool2d(*pool[:4], ceil_mode=pool[4]), sparse(2, 3, 9, 8), torch.zeros)
    saved, signal = tape.calls[1].saved, torch.randn(tape.shapes[2], dtype=torch.float64)
    assert saved.has_silent
    expected = unpool(signal, saved.switches, saved, silent)
    assert relative(unpool_by_offsets(signal, saved.switches, saved, silent), expected) < 1e-12


@pytest.mark.parametrize(
    ("kernel", "padding", "dtype"),
    [
        *((kernel, padding, torch.uint8) for kernel, padding in ((2, 0), (11, 0), (11, 5), (13, 6), (15, 0))),
        *((kernel, padding, torch.int32) for kernel, padding in ((15, 7), (16, 0), (17, 8))),
    ],
)
def test_a_silent_window_takes_no_byte_more(kernel, padding, dtype):
    """One byte a switch in windows of up to 255 places without padding; both choices come from one recording."""
    x = torch.full((1, 2, 40, 40), -1.0, dtype=torch.float64)
    x[0, 0, 3, 4] = x[0, 1, 39, 39] = 2.0
    pooled, indices = F.max_pool2d(x.relu(), kernel, padding=padding, return_indices=True)
    signal = 1 + torch.rand_like(pooled)
    for silent in ("drop", "first"):
        tape, result = below_relu(nn.MaxPool2d(kernel, padding=padding), x, lambda shape: signal, silent=silent)
        assert tape.calls[1].saved.switches.dtype == dtype
        assert torch.equal(result, slow_unpool(signal, pooled, indices, (40, 40), silent, "sum"))


def test_a_net_that_pads_large_windows_itself_stays_in_its_windows():
    """A first place that a byte has no room for is moved nearer, and never taken for one that fired."""
    x = torch.full((1, 1, 30, 30), -1.0)
    x[0, 0, 20, 20] = 1.0
    model = nn.Sequential(nn.ReLU(), nn.ConstantPad2d(7, -torch.inf), nn.MaxPool2d(15))
    tape = trace(model, ModelInputs(x), rules.DEFAULT).tape
    assert tape.calls[2].saved.switches.dtype == torch.uint8
    signal = torch.ones(tape.shapes[3])
    table = rules.DEFAULT.with_options(silent="drop")
    assert project_value(tape, 3, signal, table).nonzero().tolist() == [[0, 0, 20, 20]]
    assert project_value(tape, 3, signal, table.with_options(silent="first"))[0, 0, 20, 20] == 1


class Shifted(nn.Module):
    def forward(self, x):
        return F.max_pool2d(F.relu(x) - 1, 2)


UNRECTIFIED = {
    "the image": nn.MaxPool2d(2),
    "a convolution": nn.Sequential(nn.Conv2d(3, 3, 1), nn.MaxPool2d(2)),
    "a norm": nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.MaxPool2d(2)),
    "a shift": Shifted(),
    "a leaky rectifier": nn.Sequential(nn.LeakyReLU(0.2), nn.MaxPool2d(2)),
    "a clamp below zero": nn.Sequential(nn.Hardtanh(-1, 1), nn.MaxPool2d(2)),
}
RECTIFIED = {
    "relu6": nn.Sequential(nn.ReLU6(), nn.MaxPool2d(2)),
    "hardtanh": nn.Sequential(nn.Hardtanh(0, 2), nn.MaxPool2d(2)),
    "dropout": nn.Sequential(nn.ReLU(), nn.Dropout(), nn.MaxPool2d(2)),
    "padding": nn.Sequential(nn.ReLU(), nn.ZeroPad2d(1), nn.MaxPool2d(2)),
    "response norm": nn.Sequential(nn.ReLU(), nn.LocalResponseNorm(3), nn.MaxPool2d(2)),
    "another pool": nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, stride=1), nn.MaxPool2d(2)),
    "an average": nn.Sequential(nn.ReLU(), nn.AvgPool2d(2, stride=1), nn.MaxPool2d(2)),
}


@pytest.mark.parametrize("below", UNRECTIFIED)
def test_values_that_no_rectifier_cut_have_a_maximum_everywhere(below):
    """A maximum of zero or less is a real one: nothing is dropped."""
    x = torch.randn(1, 3, 8, 8) - 2
    x[:, :, :4] = 0
    table = rules.DEFAULT
    tape = trace(UNRECTIFIED[below].eval(), ModelInputs(x), table).tape
    pool = next(call for call in tape.calls if call.name == "max_pool2d")
    assert not pool.saved.has_silent
    signal = torch.ones(tape.shapes[pool.outputs[0]])
    assert unpool(signal, pool.saved.switches, pool.saved, "drop").sum() == signal.sum()


@pytest.mark.parametrize("below", RECTIFIED)
def test_a_rectifier_is_seen_through_what_keeps_zero(below):
    """Dropout, padding, response norms and pools keep a rectifier's zero; ReLU6 and clamps at zero are rectifiers."""
    tape = trace(RECTIFIED[below].eval(), ModelInputs(torch.full((1, 3, 8, 8), -1.0)), rules.DEFAULT).tape
    pool = tape.calls[-1]
    assert pool.name == "max_pool2d"
    assert not unpool(torch.ones(tape.shapes[-1]), pool.saved.switches, pool.saved, "drop").any()


def real_squeezenet(shared):
    weights = shared / "weights" / "squeezenet1_0.safetensors"
    return deconvnet.load_model("torchvision:squeezenet1_0", weights=str(weights))


def test_squeezenet_with_real_weights(shared):
    """A photograph through the real SqueezeNet equals autograd, with a pool's zeros dropped or not."""
    loaded = real_squeezenet(shared)
    photograph = min((shared / "images").rglob("*.jpg"))
    images = loaded.preprocess(open_picture(photograph))[None, :, :160, :144]
    check_against_autograd(loaded.model, images, ("features.7", "features.12"))


@pytest.mark.parametrize("layer", ["features.6", "features.10", "features.13"])
def test_tiny(tiny, layer):
    """tiny's pools stand above ReLUs with overlapping windows and ceil_mode."""
    check_against_autograd(tiny.model, tiny.preprocess(draw("face", seed=3).picture)[None], (layer,))


def check_against_autograd(model, images, layers):
    """Compare whole nets with the oracle, by both choices, from one recording."""
    net = deconvnet.DeconvNet(model)
    recording = net.record(images)
    for layer in layers:
        activations = recording.activations(layer)
        signal = activations * (activations == activations.max())  # a whole map's signal arrives as nothing in the real net
        projected = {silent: net.project_signal(recording, layer, signal, silent=silent) for silent in ("first", "drop")}
        for silent, pixels in projected.items():
            assert relative(pixels, project_by_autograd(model, images, layer, signal, silent=silent)) < 1e-5
        assert relative(projected["drop"], projected["first"]) > 0.01
        assert torch.equal(net.project_signal(recording, layer, signal), projected["drop"])
        first = deconvnet.DeconvNet(model, silent="first")
        assert torch.equal(first.project_signal(first.record(images), layer, signal), projected["first"])


@pytest.mark.parametrize(
    ("name", "layers"), [("alexnet", ("features.11",)), ("resnet18", ("layer2",)), ("googlenet", ("inception3b",))]
)
@pytest.mark.parametrize("silent", ["drop", "first"])
def test_in_windows_and_in_full(name, layers, silent):
    """Units at corners, borders and inside: what is computed in their windows is what the full way down gives."""
    torch.manual_seed(0)
    options = {"init_weights": False} if name == "googlenet" else {}
    model = randomise_norms(torchvision.models.get_model(name, weights=None, **options))
    net = deconvnet.DeconvNet(model, silent=silent)
    recording = net.record(torch.randn(2, 3, 107, 128))
    for layer in layers:
        height, width = recording.stored_maps(layer).shape[2:]
        positions = [(0, 0), (height - 1, width - 1), (height // 2, 0), (height // 2, width // 2)]
        units = [Unit(layer, 3 * number, *at, image=number % 2) for number, at in enumerate(positions)]
        table = net.table("deconvnet")
        windows, parts = project_units(recording, layer, units, table, "one")
        _, full = project_units(recording, layer, units, table, "one", windowed=False)
        scale = max(part.abs().max() for part in full)
        assert all((part - whole).abs().max() <= 1e-5 * scale for part, whole in zip(parts, full, strict=True))


@pytest.mark.parametrize("rule", ["guided", "gradient", "TTF"])
def test_masked_rules_do_not_care(tiny, rule):
    """Where the forward mask is applied, it takes away what silent windows would send down."""
    net = deconvnet.DeconvNet(tiny)
    recording = net.record(draw("face", seed=3))
    dropped, first = (net.project(recording, "features.13", rule=rule, silent=silent).pixels for silent in ("drop", "first"))
    assert torch.equal(dropped, first)


def test_filters_alone_do_not_care(tiny):
    """Without switches the way down knows nothing of the picture, and so not which windows are silent."""
    net = deconvnet.DeconvNet(tiny)
    recording = net.record(draw("face", seed=3))
    dropped, first = (net.project(recording, "features.13", rule="FFF", silent=silent).pixels for silent in ("drop", "first"))
    assert torch.equal(dropped, first)


def test_steps_and_projections_agree(tiny):
    """The way down call by call ends where the projection does."""
    net = deconvnet.DeconvNet(tiny)
    recording = net.record(draw("face", seed=3))
    projection = net.project(recording, "features.13", top=1)
    _, pixels = net.steps(recording, projection.units[0])[-1]
    assert relative(projection.pixels[0], pixels) < 1e-5
    assert projection.settings["silent"] == "drop"


def test_an_unknown_choice_is_refused(tiny):
    """Wherever it is given."""
    message = "silent cannot be 'keep': it is one of drop, first."
    net = deconvnet.DeconvNet(tiny)
    recording = net.record(draw("face", seed=3))
    signal = recording.activations("features.13")
    for call in (
        lambda: deconvnet.DeconvNet(tiny, silent="keep"),
        lambda: net.project(recording, silent="keep"),
        lambda: net.project_signal(recording, "features.13", signal, silent="keep"),
    ):
        with pytest.raises(deconvnet.OptionError) as error:
            call()
        assert str(error.value) == message
