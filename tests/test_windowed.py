"""The windowed projection equals the full one, and the full one is zero outside the window."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import deconvnet
from deconvnet import Unit, rules
from deconvnet.axes import from_maps
from deconvnet.mirror import project_value
from deconvnet.projection import project_units, start_signal
from support.nets import randomise_norms
from support.oracle import relative

# early, middle and late layers, chains and branches
LAYERS = {
    "alexnet": ("features.0", "features.4", "features.8", "features.11", "features.12", "classifier.2"),
    "vgg11": ("features.7", "features.12", "features.19"),
    "squeezenet1_0": ("features.3", "features.5", "features.10"),
    "resnet50": ("layer1.0", "layer2", "layer3.2.add", "layer4"),
    "googlenet": ("inception3a", "inception4b.branch4", "inception4e"),
    "densenet121": ("features.denseblock1", "features.denseblock2", "features.transition2.pool"),
    "mobilenet_v3_small": ("features.2", "features.5", "features.8"),
    "efficientnet_b0": ("features.2", "features.4.0"),
    "shufflenet_v2_x0_5": ("stage2", "stage3"),
    "convnext_tiny": ("features.1.0", "features.1.0.block.3", "features.3.1"),
}


def places_of(maps):
    """Return units at the corners, on the borders and inside, strong and random ones."""
    count, height, width = maps.shape[1:]
    generator = torch.Generator().manual_seed(1)
    places = [
        (0, 0),
        (height - 1, width - 1),
        (0, width // 2),
        (height // 2, 0),
        (height // 2, width // 2),
        (1 % height, width - 1),
    ]
    return [
        Unit("", int(torch.randint(count, (), generator=generator)), row, col, image=number % len(maps))
        for number, (row, col) in enumerate(places)
    ]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("rule", ["deconvnet", "guided", "gradient", "FFT", "last"])
def test_windowed_equals_full(name, rule):
    """Units at corners, borders and inside, of two images: windowed and full agree to 1e-5, and nothing lies outside."""
    torch.manual_seed(0)
    options = {"init_weights": False} if name == "googlenet" else {}
    model = randomise_norms(torchvision.models.get_model(name, weights=None, **options))
    net = deconvnet.DeconvNet(model, overlap="last" if rule == "last" else "sum")
    bits = rules.parse_rule("deconvnet" if rule == "last" else rule)
    recording = net.record(torch.randn(2, 3, 107, 128))
    table = net.rules.with_options(**bits)
    for layer in LAYERS[name] if rule == "deconvnet" else LAYERS[name][1:2]:
        tape, value = recording.tape_for(layer, table), recording.value(layer)
        maps = recording.stored_maps(layer)
        units = places_of(maps)
        windows, parts = project_units(recording, layer, units, table, "one")
        signal = from_maps(start_signal(maps, units, "one"), tape.axes[value])
        full = project_value(tape, value, signal, table, torch.tensor([unit.image for unit in units]))
        for window, part, pixels in zip(windows, parts, full, strict=True):
            inside = window.clip(107, 128)
            cut = pixels[:, inside.top : inside.bottom, inside.left : inside.right]
            assert part.shape == cut.shape
            assert relative(part, cut) < 1e-5 or not (cut.any() or part.any())
            pixels[:, inside.top : inside.bottom, inside.left : inside.right] = 0
            assert not pixels.any()


class Odd(nn.Module):
    """Everything that a patch has to leave the window for, or to move in it."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 4, stride=3, padding=1, dilation=2)
        self.reflect = nn.Conv2d(6, 6, 3, padding=1, padding_mode="reflect")
        self.same = nn.Conv2d(6, 6, 4, padding="same")
        self.groups = nn.Conv2d(6, 6, (1, 3), groups=3, padding=(0, 1))
        self.norm, self.layer = nn.GroupNorm(2, 6), nn.LayerNorm(6)
        self.up = nn.ConvTranspose2d(6, 6, 2, stride=2)
        self.scale = nn.Parameter(torch.rand(6, 1, 1))

    def forward(self, x):
        x = F.relu(self.first(x))
        y = self.groups(F.pad(x, (1, 2, 0, 1)))[:, :, : x.shape[2], : x.shape[3]]
        x = F.max_pool2d(x + y * self.scale, 3, stride=1, padding=1, ceil_mode=True)
        x = F.avg_pool2d(self.same(x), 2, stride=1) * torch.sigmoid(x.mean((2, 3), keepdim=True))
        z = F.leaky_relu(self.reflect(x))
        x = torch.cat([z[:, :3], x[:, 3:]], 1) + F.interpolate(F.max_pool2d(z, 2, ceil_mode=True), size=x.shape[2:])
        x = self.layer(self.norm(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = F.silu(x) * torch.tanh(z)
        return F.relu(self.up(x))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("rule", ["deconvnet", "guided", "gradient"])
def test_odd_nets(rule):
    """Every unit of every layer of a net made of special cases agrees with its full projection."""
    torch.manual_seed(0)
    net = deconvnet.DeconvNet(Odd().eval())
    recording = net.record(torch.randn(1, 3, 40, 49))
    table = net.rules.with_options(**rules.parse_rule(rule))
    for place in recording.records().values():
        tape, value = recording.tape_for(place.name, table), recording.value(place.name)
        if tape.axes[value][0] is None:
            continue
        maps = recording.stored_maps(place.name)
        units = [Unit("", 1, row, col) for row in range(maps.shape[2]) for col in range(0, maps.shape[3], 3)]
        _, parts = project_units(recording, place.name, units, table, "one")
        _, full = project_units(recording, place.name, units, table, "one", windowed=False)
        scale = max(part.abs().max() for part in full)
        for part, whole in zip(parts, full, strict=True):
            assert (part - whole).abs().max() <= 1e-5 * scale


@pytest.mark.parametrize("dim", [1, 2, -1])
@pytest.mark.parametrize("rule", ["deconvnet", "guided", "gradient"])
def test_a_softmax_over_places_leaves_the_window(dim, rule):
    """The derivative of a softmax along rows or columns needs them all: the windowed projection is still the full one."""
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Softmax(dim), nn.Conv2d(6, 5, 3))
    net = deconvnet.DeconvNet(model)
    recording = net.record(torch.randn(1, 3, 14, 15))
    table = net.rules.with_options(**rules.parse_rule(rule))
    units = [Unit("", 1, row, col) for row in range(10) for col in range(11)]
    windows, parts = project_units(recording, "3", units, table, "one")
    _, full = project_units(recording, "3", units, table, "one", windowed=False)
    scale = max(part.abs().max() for part in full)
    assert all((part - whole).abs().max() <= 1e-5 * scale for part, whole in zip(parts, full, strict=True))
    signal = torch.zeros(1, 5, 10, 11)
    signal[0, 1, 4, 5] = 1
    inside = windows[4 * 11 + 5].clip(14, 15)
    pixels = net.project_signal(recording, "3", signal, rule=rule)[0]
    pixels[:, inside.top : inside.bottom, inside.left : inside.right] = 0
    assert not pixels.any()


def test_a_single_unit_costs_no_full_frame(monkeypatch):
    """A unit of an early layer never makes a signal as large as the frame."""
    net = deconvnet.DeconvNet(torchvision.models.vgg11(weights=None).eval())
    recording = net.record(torch.randn(1, 3, 224, 224), layers=["features.4"])
    largest = []
    from deconvnet.rules.conv import Conv

    mirror = Conv.mirror

    def watched(self, kept, signal):
        result = mirror(self, kept, signal)
        largest.append(result.shape[2] * result.shape[3])
        return result

    monkeypatch.setattr(Conv, "mirror", watched)
    net.project(recording, "features.4", top=3)
    assert max(largest) < 32 * 32


@pytest.mark.parametrize("name", ["alexnet", "googlenet", "resnet50"])
def test_one_call_for_all(name, monkeypatch):
    """On a GPU patches are moved by one call for all of them; the same sums, which the CPU can be asked for too."""
    torch.manual_seed(0)
    options = {"init_weights": False} if name == "googlenet" else {}
    net = deconvnet.DeconvNet(randomise_norms(torchvision.models.get_model(name, weights=None, **options)))
    recording = net.record(torch.randn(2, 3, 107, 128))
    layer = LAYERS[name][2]
    units = places_of(recording.stored_maps(layer))
    _, one_by_one = project_units(recording, layer, units, net.rules, "one")
    monkeypatch.setattr("deconvnet.windowed.on_gpu", lambda signal: True)
    _, together = project_units(recording, layer, units, net.rules, "one")
    for part, other in zip(together, one_by_one, strict=True):
        assert relative(part, other) < 1e-5
