"""What units reach: how many max pools lie below a layer, how far their switches move a value, and which rule that calls for."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import deconvnet
from deconvnet.reach import choose_rule, pools_below
from support.oracle import relative

NO_POOL = (
    "No max pool lies below {}: the deconvnet's projection would be the same for any picture, "
    "so it is made by guided backpropagation (Springenberg et al. 2015)."
)
WARNING = (
    "No max pool lies below {}: by the deconvnet rule the projection is the same for any picture. "
    "The rule guided takes more of the picture into it."
)


def strided() -> nn.Sequential:
    """A net without pools: three strided convolutions."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 8), (8, 12), (12, 16)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


class Branches(nn.Module):
    """Two paths, one with a wide pool, the other with two small ones."""

    def forward(self, x):
        a = F.max_pool2d(x, 5, stride=1, padding=2)
        b = F.max_pool2d(F.max_pool2d(x, 3, stride=1, padding=1), (1, 3), stride=1, padding=(0, 1))
        return torch.cat([a, b], 1)


NETS = {
    "one pool": (nn.MaxPool2d(2), 1, (1, 1)),
    "a pool above a stride": (nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.MaxPool2d(3, 2)), 1, (4, 4)),
    "three pools": (nn.Sequential(*(nn.MaxPool2d(2) for _ in range(3))), 3, (7, 7)),
    "dilation": (nn.MaxPool2d((2, 3), stride=1, dilation=(3, 2)), 1, (3, 4)),
    "bins": (nn.AdaptiveMaxPool2d((5, 1)), 1, (7, 31)),
    "the longest of two paths": (Branches(), 3, (4, 4)),
    "no pool": (nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.AvgPool2d(2)), 0, (0, 0)),
}


@pytest.mark.parametrize("name", NETS)
def test_pools_and_their_reach(name):
    """The number of pools, and the pixels between the first and the last place where a value can arrive."""
    model, count, reach = NETS[name]
    net = deconvnet.DeconvNet(model)
    tape = net.record(torch.randn(1, 3, 32, 32)).tape
    pools = pools_below(tape, len(tape.shapes) - 1)
    assert (pools.count, pools.reach) == (count, reach)


@pytest.mark.parametrize("name", ["three pools", "dilation", "a pool above a stride"])
def test_the_reach_is_reached(name):
    """Over many pictures, one unit's value arrives at places that far apart, and never farther."""
    model, _, reach = NETS[name]
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    for convolution in convolutions:  # a single weight: each place comes from one pixel
        convolution.weight.data.zero_()[:, 0, 1, 1] = 1
    net = deconvnet.DeconvNet(model)
    recording = net.record(torch.randn(400, 3, 32, 32))
    layer = list(recording.records())[-1]
    signal = torch.zeros_like(recording.activations(layer))
    signal[:, 0, 1, 1] = 1
    places = net.project_signal(recording, layer, signal).nonzero()[:, 2:]
    assert tuple((places.max(0).values - places.min(0).values).tolist()) == reach


def test_auto_is_the_paper_rule_where_a_pool_lies_below(tiny):
    """Nets with pools keep the deconvnet, byte for byte, and nothing is said."""
    net = deconvnet.DeconvNet(tiny)
    recording = net.record(torch.randn(1, 3, 96, 96))
    for layer in ("features.5", "features.10", "features.13"):
        auto, named = net.project(recording, layer), net.project(recording, layer, rule="deconvnet")
        assert torch.equal(auto.pixels, named.pixels)
        assert (auto.rule, auto.rule_reason, named.rule_reason) == ("deconvnet", "", "")
        assert (auto.settings["rule_asked"], named.settings["rule_asked"]) == ("auto", "deconvnet")


def test_auto_is_guided_where_none_does():
    """Without switches the deconvnet shows every picture alike: guided is taken, and the reason given."""
    net = deconvnet.DeconvNet(strided())
    recording = net.record(torch.randn(2, 3, 32, 32))
    projection = net.project(recording, "5")
    assert torch.equal(projection.pixels, net.project(recording, "5", rule="guided").pixels)
    assert (projection.rule, projection.settings["bits"]) == ("guided", "TTT")
    assert projection.rule_reason == projection.settings["rule_reason"] == NO_POOL.format("5")
    units = [deconvnet.Unit("5", 3, 1, 2, image=image) for image in (0, 1)]
    for rule in ("deconvnet", "FTT"):
        named = net.project(recording, "5", units=units, rule=rule, start="one")
        assert (named.rule, named.rule_reason) == ("deconvnet", WARNING.format("5"))
        assert relative(named.pixels[0], named.pixels[1]) < 1e-6
    assert net.project(recording, "5", rule="gradient").rule_reason == ""


@pytest.mark.parametrize("layer", ["0", "1"])
def test_first_filters_are_shown_by_the_paper_rule(layer):
    """Below them no activation's mask could tell pictures apart: by either rule a unit shows its filter."""
    net = deconvnet.DeconvNet(strided())
    recording = net.record(torch.rand(1, 3, 32, 32))
    projection = net.project(recording, layer)
    assert (projection.rule, projection.rule_reason) == ("deconvnet", "")
    assert torch.equal(projection.pixels, net.project(recording, layer, rule="guided").pixels)


@pytest.mark.parametrize(
    ("name", "layer", "rule"),
    [
        ("mobilenet_v3_small", "features.6", "guided"),
        ("efficientnet_b0", "features.4", "guided"),
        ("regnet_y_400mf", "trunk_output.block3", "guided"),
        ("convnext_tiny", "features.3", "guided"),
        ("resnet18", "layer3", "deconvnet"),
        ("densenet121", "features.denseblock2", "deconvnet"),
    ],
)
def test_nets_of_torchvision(name, layer, rule):
    """Nets that only stride get guided, nets with a pool in their stem keep the paper's rule."""
    model = torchvision.models.get_model(name, weights=None).eval()
    recording = deconvnet.DeconvNet(model).record(torch.randn(1, 3, 64, 64), layers=[layer])
    assert choose_rule(recording.tape, layer, recording.value(layer), "auto").rule == rule


def test_steps_take_the_same_rule():
    """The way down call by call is that of the projection."""
    net = deconvnet.DeconvNet(strided())
    recording = net.record(torch.randn(1, 3, 32, 32))
    projection = net.project(recording, "5", top=1)
    _, pixels = net.steps(recording, projection.units[0])[-1]
    assert relative(projection.pixels[0], pixels) < 1e-5
