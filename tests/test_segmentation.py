"""Nets that go down and up again: transposed convolutions, unpooling, interpolation and pixel shuffle on the way down."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import deconvnet
from support.oracle import project_by_autograd, relative


def conv(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class SegNet(nn.Module):
    """Badrinarayanan et al. 2015, small: the decoder unpools by the encoder's switches."""

    def __init__(self):
        super().__init__()
        self.down1, self.down2 = conv(3, 6), conv(6, 8)
        self.up2, self.up1 = conv(8, 6), conv(6, 5)

    def forward(self, x):
        x = self.down1(x)
        size1 = x.shape[2:]
        x, switches1 = F.max_pool2d(x, 2, return_indices=True)
        x = self.down2(x)
        size2 = x.shape[2:]
        x, switches2 = F.max_pool2d(x, 2, return_indices=True)
        x = self.up2(F.max_unpool2d(x, switches2, 2, output_size=size2))
        return self.up1(F.max_unpool2d(x, switches1, 2, output_size=size1))


class NohDeconvNet(nn.Module):
    """Noh et al. 2015, small: unpooling modules and stacks of transposed convolutions above a fully connected waist."""

    def __init__(self):
        super().__init__()
        self.down = conv(3, 6)
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
        self.waist = nn.Conv2d(6, 10, 4)
        self.rise = nn.ConvTranspose2d(10, 6, 4)
        self.up = nn.Sequential(nn.ConvTranspose2d(6, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.finer = nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1, output_padding=1, groups=1)
        self.shuffled = nn.Sequential(nn.Conv2d(3, 8, 1), nn.PixelShuffle(2))

    def forward(self, x):
        x = self.down(x)
        x, switches = self.pool(x)
        x = self.up(self.unpool(self.rise(F.relu(self.waist(x))), switches))
        return {"out": self.shuffled(self.finer(x)), "coarse": x}


def check_against_autograd(model, images, layers, tolerance=1e-4):
    model.eval()
    net = deconvnet.DeconvNet(model)
    recording = net.record(images)
    for layer in layers:
        signal = torch.randn_like(recording.activations(layer))
        for rule in ("deconvnet", "guided", "gradient"):
            projected = net.project_signal(recording, layer, signal, rule=rule)
            expected = project_by_autograd(model, images, layer, signal, rule)
            assert relative(projected, expected) < tolerance, (layer, rule)


def test_segnet():
    """A SegNet is projected through, unpooling layers included, also for odd sizes."""
    check_against_autograd(SegNet(), torch.randn(2, 3, 21, 26), ("down2", "up2.0", "up1"))


def test_noh():
    """A DeconvNet for segmentation is projected through, and its dictionary's entries are layers."""
    model, images = NohDeconvNet(), torch.randn(2, 3, 16, 18)
    check_against_autograd(model, images, ("waist", "rise", "unpool", "up.0", "finer", "shuffled"))


@pytest.mark.parametrize("name", ["fcn_resnet50", "deeplabv3_resnet50"])
def test_torchvision_segmentation(name):
    """torchvision's segmentation nets come down from their classifiers, through the bilinear resizing as well."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
    images = torch.randn(1, 3, 65, 72)
    check_against_autograd(model, images, ("backbone.layer2", "classifier.0", "classifier"))
    net = deconvnet.DeconvNet(model)
    recording = net.record(images)
    assert isinstance(recording.output, dict)
    projection = net.project(recording, "interpolate", units=[(2, 30, 31)])
    assert projection.pixels.abs().sum() > 0
    layer = next(layer for layer in net.layers((3, 65, 72)) if layer.name == "interpolate")
    assert (layer.channels, layer.height, layer.width, layer.status) == (5, 65, 72, "exact")
