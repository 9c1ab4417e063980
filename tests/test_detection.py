"""torchvision's detectors: their transform takes a batch at once, to the same numbers, and their backbones are projected."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.detection.transform import GeneralizedRCNNTransform

import deconvnet
from support.oracle import relative


class Detector(nn.Module):
    """What is below the heads of a detector."""

    def __init__(self, **options):
        super().__init__()
        self.transform = GeneralizedRCNNTransform(48, 64, [0.4, 0.5, 0.6], [0.2, 0.3, 0.1], **options)
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 4, 3), nn.ReLU())

    def forward(self, images, targets=None):
        prepared, _ = self.transform(images, targets)
        return self.body(prepared.tensors)


@pytest.mark.parametrize("options", [{}, {"fixed_size": (40, 56)}, {"size_divisible": 16}], ids=str)
@pytest.mark.parametrize("size", [(37, 50), (48, 64), (90, 30)], ids=str)
def test_a_batch_gives_the_numbers_of_single_pictures(options, size):
    """Enlarged, reduced, padded: equal to torchvision's own way, and its gradient is the way down."""
    model = Detector(**options).eval()
    images = torch.rand(3, 3, *size, requires_grad=True)
    expected = model(list(images))  # one by one, copied into a canvas
    net = deconvnet.DeconvNet(model)
    recording = net.record(images.detach())
    assert torch.equal(recording.activations("body.4"), expected.detach())
    signal = torch.randn_like(expected)
    prepared, _ = model.transform(list(images))
    (below,) = torch.autograd.grad(model.body(prepared.tensors), images, signal)
    assert relative(net.project_signal(recording, "body.4", signal, rule="gradient", silent="first"), below) < 1e-5
    assert "forward" not in vars(model.transform)  # the model comes back as it was


def test_one_picture_of_a_batch_alone():
    """Units of one image go down by its own switches."""
    net = deconvnet.DeconvNet(Detector().eval())
    images = torch.rand(2, 3, 40, 50)
    both, alone = net.record(images), net.record(images[1:])
    first = net.project(both, "body.4", image=1, top=3)
    again = net.project(alone, "body.4", top=3)
    assert [unit.channel for unit in first.units] == [unit.channel for unit in again.units]
    assert relative(first.pixels, again.pixels) < 1e-5


def test_a_transform_with_a_forward_of_its_own_is_left_alone():
    """A subclass may do something else: nothing is put in its place."""

    class Own(GeneralizedRCNNTransform):
        def forward(self, images, targets=None):
            return super().forward([image * 0 for image in images], targets)

    model = Detector().eval()
    model.transform = Own(48, 64, [0, 0, 0], [1, 1, 1])
    net = deconvnet.DeconvNet(model)
    assert float(net.record(torch.rand(1, 3, 40, 50)).activations("body.2").std((0, 2, 3)).max()) < 1e-3


def test_a_whole_detector_runs_as_it_is():
    """Record, layers, projection; what it returns is still a list of boxes."""
    net = deconvnet.DeconvNet(ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None))
    recording = net.record(torch.rand(1, 3, 64, 64), layers=["backbone.features.0.3"], stop=False)
    assert set(recording.output[0]) == {"boxes", "labels", "scores"}
    projection = net.project(recording, "backbone.features.0.3", top=2)
    assert projection.pixels.abs().amax((1, 2, 3)).min() > 0
