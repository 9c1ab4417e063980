"""Whole nets against autograd with ReLU's backward replaced: the deconvnet, guided, and the plain gradient."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

import deconvnet
from support.oracle import project_by_autograd, relative

# a conv, a relu and a pool layer of each, and a block
LAYERS = {
    "alexnet": ("features.8", "features.4", "features.12"),
    "vgg11": ("features.11", "features.7", "features.10"),
    "squeezenet1_0": ("features.7.expand3x3", "features.4.squeeze_activation", "features.6", "features.10"),
    "resnet18": ("layer3.0.conv2", "relu", "maxpool", "layer3"),
    "googlenet": ("inception4b.branch2.1.conv", "inception3b.branch4.0", "maxpool3", "inception4e"),
}
CASES = [(name, layer) for name, layers in LAYERS.items() for layer in layers]
RULES = {"deconvnet": "deconvnet", "guided": "guided", "gradient": "TTF"}


@pytest.fixture(scope="module")
def nets():
    """One net at a time, random weights with BatchNorm statistics that are not all ones, and two images."""
    models = {}

    def net(name):
        if name not in models:
            models.clear()
            torch.manual_seed(0)
            options = {"init_weights": False} if name == "googlenet" else {}
            model = torchvision.models.get_model(name, weights=None, **options)
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    nn.init.uniform_(module.weight, -1, 1)
                    nn.init.uniform_(module.running_var, 0.5, 2)
            models[name] = model.eval(), torch.randn(2, 3, 107, 128)
        return models[name]

    return net


@pytest.mark.parametrize(("name", "layer"), CASES)
def test_project_signal_equals_autograd(nets, name, layer):
    """Random signals on a conv, relu and pool layer come down as autograd brings them, to 1e-5 of the largest pixel.

    With both choices for silent windows; where the forward mask is applied, they are the same.
    """
    model, images = nets(name)
    net = deconvnet.DeconvNet(model, lrn="identity")
    recording = net.record(images, layers=[layer])
    signal = torch.randn_like(recording.activations(layer))
    for oracle_rule, rule in RULES.items():
        plain = project_by_autograd(model, images, layer, signal, oracle_rule, silent="first")
        expected = project_by_autograd(model, images, layer, signal, oracle_rule) if rule == "deconvnet" else plain
        assert relative(net.project_signal(recording, layer, signal, rule=rule), expected) < 1e-5, rule
        assert relative(net.project_signal(recording, layer, signal, rule=rule, silent="first"), plain) < 1e-5, rule


@pytest.mark.parametrize("lrn", ["identity", "derivative"])
@pytest.mark.parametrize("layer", ["features.4", "features.9", "features.14", "classifier.2"])
def test_local_response_norm_is_passed_or_derived(tiny, lrn, layer):
    """On a net with response normalisation both choices equal their oracles, also from the fully connected layers."""
    net = deconvnet.DeconvNet(tiny, lrn=lrn)
    images = torch.randn(2, 3, 96, 96)
    recording = net.record(images)
    signal = torch.randn_like(recording.activations(layer))
    for oracle_rule, rule in RULES.items():
        projected = net.project_signal(recording, layer, signal, rule=rule)
        expected = project_by_autograd(tiny.model, images, layer, signal, oracle_rule, lrn)
        assert relative(projected, expected) < 1e-5


def test_same_call_same_bytes(tiny):
    """The same call gives the same bytes, from two recordings of the same picture too."""
    images = torch.randn(1, 3, 96, 96)
    pixels = []
    for _ in range(2):
        net = deconvnet.DeconvNet(tiny)
        recording = net.record(images)
        pixels += [net.project(recording, "features.12").pixels for _ in range(2)]
    assert all(torch.equal(pixels[0], other) for other in pixels[1:])


def test_signal_of_another_shape_is_refused(tiny):
    """A signal that does not have the layer's shape gets one line."""
    net = deconvnet.DeconvNet(tiny)
    recording = net.record(torch.randn(2, 3, 96, 96))
    with pytest.raises(deconvnet.DeconvnetError) as error:
        net.project_signal(recording, "features.12", torch.zeros(1, 64, 11, 11))
    expected = "a signal for layer 'features.12' must have its shape, 2x64x11x11; found 1x64x11x11."
    assert str(error.value) == expected


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_precision_of_the_model(dtype):
    """A double net is mirrored in double, a half one in float32."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3)).to(dtype)
    net = deconvnet.DeconvNet(model)
    recording = net.record(torch.randn(1, 3, 12, 13))
    pixels = net.project(recording, "3").pixels
    assert pixels.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    signal = torch.randn_like(recording.activations("3"))
    projected = net.project_signal(recording, "3", signal)
    expected = project_by_autograd(model.double(), recording.images.double(), "3", signal.double())
    assert relative(projected.double(), expected) < {torch.float64: 1e-12}.get(dtype, 0.2)


def test_a_layer_of_one_number_sends_no_signal():
    """The largest value of a batch, as detectors look it up, belongs to no image: one line says so."""

    class Largest(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3)

        def forward(self, x):
            x = self.conv(x)
            return x / x.max()

    net = deconvnet.DeconvNet(Largest())
    recording = net.record(torch.rand(2, 3, 8, 8))
    with pytest.raises(deconvnet.OptionError) as error:
        net.project_signal(recording, "max", torch.tensor(1.0))
    assert str(error.value) == "layer 'max' is one number for all images, and sends no signal. Take a layer before it."
